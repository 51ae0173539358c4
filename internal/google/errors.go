package google

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keyturn/keyturn/internal/cmek"
)

// explain is the error of a call with what was tried: the API's reason cut to a readable length, with cmek.ErrDenied,
// cmek.ErrNotFound or the context's error where that is the reason, and nothing else of Google's clients.
func explain(err error, doing string) error { return fmt.Errorf("%s: %w", doing, reason(err)) }

func reason(err error) error {
	var token tokenError
	if errors.As(err, &token) {
		return fmt.Errorf("%w: %w: get a token: %s", cmek.ErrDenied, cmek.ErrNoCredentials, clip(token.Error()))
	}
	var refusal *googleapi.Error
	if errors.As(err, &refusal) {
		return refused(refusal)
	}
	switch s, ok := status.FromError(err); {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), !ok:
		return clipped{err}
	default:
		return refusedCall(s)
	}
}

// refused is the answer of a REST API. Only an answer of the API's own form says who refused
// (cloud.google.com/apis/design/errors, "HTTP mapping"; Cloud Storage has no status, but the reasons).
func refused(e *googleapi.Error) error {
	var body struct {
		Error struct {
			Code   int    `json:"code"`
			Status string `json:"status"`
		} `json:"error"`
	}
	if json.Unmarshal([]byte(e.Body), &body) != nil || body.Error.Code != e.Code || e.Message == "" {
		return fmt.Errorf("HTTP %d, not an answer of the API", e.Code)
	}
	text := fmt.Sprintf("HTTP %d %s: %s", e.Code, clip(body.Error.Status), clip(e.Message))
	switch e.Code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %s", cmek.ErrDenied, text)
	case http.StatusNotFound:
		return fmt.Errorf("%w: %s", cmek.ErrNotFound, text)
	}
	return errors.New(text)
}

// refusedCall is the answer of a gRPC API.
func refusedCall(s *status.Status) error {
	text := fmt.Sprintf("%s: %s", s.Code(), clip(s.Message()))
	for code, is := range map[codes.Code]error{
		codes.PermissionDenied: cmek.ErrDenied, codes.Unauthenticated: cmek.ErrDenied, codes.NotFound: cmek.ErrNotFound,
		codes.Canceled: context.Canceled, codes.DeadlineExceeded: context.DeadlineExceeded,
	} {
		if s.Code() == code {
			return fmt.Errorf("%w: %s", is, text)
		}
	}
	return errors.New(text)
}

// clipped is an error whose text may quote an answer.
type clipped struct{ error }

func (c clipped) Error() string { return clip(c.error.Error()) }
func (c clipped) Unwrap() error { return c.error }

// clip keeps an error readable, whatever a server writes into it.
func clip(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// connectionError marks an error of the way to a server and back.
type connectionError struct{ error }

func (e connectionError) Unwrap() error { return e.error }

// passing reports an error that may be gone at the next try.
func passing(err error) bool {
	var refusal *googleapi.Error
	if errors.As(err, &refusal) {
		return refusal.Code == http.StatusTooManyRequests || refusal.Code >= 500 && refusal.Code != http.StatusNotImplemented
	}
	var connection connectionError
	var token tokenError
	return errors.As(err, &connection) && !errors.As(err, &token) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
