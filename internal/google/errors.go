package google

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"google.golang.org/api/googleapi"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keyturn/keyturn/internal/cmek"
)

// explain is the error of a call with what was tried: the API's reason cut to a readable length, with cmek.ErrDenied,
// cmek.ErrNotFound, a [*cmek.SwitchedOffError] or the context's error where that is the reason, and nothing else of Google's clients.
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
			Code    int               `json:"code"`
			Status  string            `json:"status"`
			Details []json.RawMessage `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal([]byte(e.Body), &body) != nil || body.Error.Code != e.Code || e.Message == "" {
		return fmt.Errorf("HTTP %d, not an answer of the API", e.Code)
	}
	text := fmt.Sprintf("HTTP %d %s: %s", e.Code, clip(body.Error.Status), clip(e.Message))
	if e.Code == http.StatusForbidden {
		for _, detail := range body.Error.Details {
			var info struct {
				Type     string            `json:"@type"`
				Reason   string            `json:"reason"`
				Domain   string            `json:"domain"`
				Metadata map[string]string `json:"metadata"`
			}
			if json.Unmarshal(detail, &info) != nil || info.Type != "type.googleapis.com/google.rpc.ErrorInfo" {
				continue
			}
			if off := switchedOff(info.Reason, info.Domain, info.Metadata, text); off != nil {
				return off
			}
		}
	}
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
	if s.Code() == codes.PermissionDenied {
		for _, detail := range s.Details() {
			if info, is := detail.(*errdetails.ErrorInfo); is {
				if off := switchedOff(info.Reason, info.Domain, info.Metadata, text); off != nil {
					return off
				}
			}
		}
	}
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

// switchedOff is the refusal whose reason is that an API, or the billing of it, is off, in the project that the answer names: it need not
// be the one that was asked about. Nil for any other reason (cloud.google.com/service-infrastructure/docs/service-management/reference/rpc/google.api, ErrorReason).
func switchedOff(reason, domain string, metadata map[string]string, text string) error {
	if domain != "googleapis.com" {
		return nil
	}
	// An answer is data: what is no name does not get into a command.
	where, project, service, unnamed := "a project that the answer does not name", "PROJECT", metadata["service"], []string{"PROJECT"}
	if named := strings.TrimPrefix(metadata["consumer"], "projects/"); cmek.IsProject(named) {
		where, project, unnamed = "project "+named, named, nil
	}
	off := &cmek.SwitchedOffError{Err: errors.New(text)}
	help := func(what, command string) {
		if len(unnamed) > 0 {
			what += "; replace " + strings.Join(unnamed, " and ")
		}
		off.Help = []string{what + ":", command}
	}
	switch reason {
	case "SERVICE_DISABLED":
		off.What = "the API " + service + " of " + where + " is off"
		if !serviceName.MatchString(service) {
			off.What, service, unnamed = "an API of "+where+" is off", "API", append(unnamed, "API")
		}
		help("Enable the API", "gcloud services enable "+service+" --project="+project)
	case "BILLING_DISABLED":
		off.What, unnamed = "the billing of "+where+" is off", append(unnamed, "BILLING_ACCOUNT")
		help("Link the project to a billing account", "gcloud billing projects link "+project+" --billing-account=BILLING_ACCOUNT")
	default:
		return nil
	}
	return off
}

// serviceName is how Google names its APIs.
var serviceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}[.]googleapis[.]com$`)

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
