package cockroachcloud

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/keyturn/keyturn/internal/cmek"
)

// write sends the request at most once and says what is known about it. proof returns nil if the body of a 2xx shows that
// the API did what was asked; without that, the outcome of a 2xx is unknown.
func (c *Client) write(ctx context.Context, method, path string, body any, proof func(reply) error) cmek.Answer {
	encoded, err := json.Marshal(body)
	if err != nil {
		return refuse(fmt.Errorf("encode body: %w", err))
	}
	key, err := c.credential.get(ctx)
	if err != nil {
		return refuse(err)
	}
	got, failure := c.attempt(ctx, key, request{method: method, path: path, body: encoded})
	if failure != nil {
		if failure.denied() {
			c.credential.forget(key) // For the next call; this one was sent.
		}
		return failure.answer()
	}
	if err := proof(got); err != nil {
		return cmek.Answer{
			Outcome: cmek.Unknown, HTTPStatus: got.status,
			Message: clip(fmt.Sprintf("a %d that proves nothing: %v", got.status, err)),
		}
	}
	return cmek.Answer{Outcome: cmek.Accepted, HTTPStatus: got.status}
}

// refuse is the answer to a write that is not sent for a reason of our own.
func refuse(reason error) cmek.Answer {
	return cmek.Answer{Outcome: cmek.Refused, Message: clip(reason.Error()), Unsent: true}
}

func (e *Error) answer() cmek.Answer {
	a := cmek.Answer{
		Outcome:    e.outcome(),
		HTTPStatus: e.HTTPStatus,
		Message:    e.reason(),
		RetryAfter: e.RetryAfter,
		Denied:     e.denied(),
		Unsent:     e.unsent,
	}
	a.Busy = a.Outcome == cmek.Refused && e.busy()
	if a.Message == "" {
		a.Message = http.StatusText(e.HTTPStatus)
	}
	return a
}

// clientClosedRequest is the status of a request that was canceled, as nginx and grpc-gateway use it.
const clientClosedRequest = 499

// outcome judges a write that failed. What is not listed here proves nothing: a proxy may have written it after the server
// got the request, and a redirect may follow the deed (303) or come from a sign-in page in front of it.
func (e *Error) outcome() cmek.Outcome {
	switch e.HTTPStatus {
	case 0:
		if e.unsent {
			return cmek.Refused
		}
		return cmek.Unknown
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusTooManyRequests:
		return cmek.Refused // Whoever asks for a credential or counts requests does so before anything is done.
	}
	if e.rateLimited {
		return cmek.Refused
	}
	refused := false
	switch e.HTTPStatus {
	case http.StatusRequestTimeout, clientClosedRequest:
		// gRPC's Canceled, by the gateway's old and new mapping: the operation may have begun.
	case http.StatusConflict, http.StatusServiceUnavailable:
		refused = e.locked // Any other may be "transport is closing", or a proxy that lost the server.
	default:
		refused = e.HTTPStatus/100 == 4 && e.apiStatus
	}
	if refused {
		return cmek.Refused
	}
	return cmek.Unknown
}

// busy reports that waiting is all that is needed. 400 is among the statuses with which a lock may be reported.
func (e *Error) busy() bool {
	switch e.HTTPStatus {
	case http.StatusBadRequest, http.StatusConflict, http.StatusServiceUnavailable:
		return e.rateLimited || e.locked
	}
	return e.rateLimited
}
