package cockroachcloud

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/keyturn/keyturn/internal/cmek"
)

// write sends the request at most once and says what is known about it. accepted is the body of a 2xx answer, nil
// without one or if it could not be read.
func (c *Client) write(ctx context.Context, method, path string, body any) (answer cmek.Answer, accepted []byte) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return refuse(fmt.Errorf("encode body: %w", err)), nil
	}
	key, err := c.credential.get(ctx)
	if err != nil {
		return refuse(err), nil
	}
	got, failure := c.attempt(ctx, key, request{method: method, path: path, body: encoded})
	if failure == nil {
		return cmek.Answer{Outcome: cmek.Accepted, HTTPStatus: got.status}, got.body
	}
	if failure.denied() {
		c.credential.forget(key) // For the next call; this one was sent.
	}
	return failure.answer(), nil
}

// refuse is the answer to a write that is not sent for a reason of our own.
func refuse(reason error) cmek.Answer {
	return cmek.Answer{Outcome: cmek.Refused, Message: clip(reason.Error())}
}

func (e *Error) answer() cmek.Answer {
	a := cmek.Answer{
		Outcome:    e.outcome(),
		HTTPStatus: e.HTTPStatus,
		Message:    e.reason(),
		RetryAfter: e.RetryAfter,
		Denied:     e.denied(),
	}
	if a.Message == "" {
		a.Message = http.StatusText(e.HTTPStatus)
	}
	return a
}

// clientClosedRequest is the status of a request that was canceled, as nginx and grpc-gateway use it.
const clientClosedRequest = 499

// outcome judges a write that failed. The API answers 4xx, 501 and 503 (cluster not ready, or locked by another job)
// without having begun; a 500, or a 502 and 504 from a proxy, may have come after that.
func (e *Error) outcome() cmek.Outcome {
	switch status := e.HTTPStatus; {
	case e.unsent:
		return cmek.Refused
	case status/100 == 2:
		return cmek.Accepted // The server said yes, even if the rest of its answer is lost.
	case !e.rateLimited && (status == http.StatusRequestTimeout || status == clientClosedRequest):
		return cmek.Unknown // gRPC's Canceled, by the gateway's old and new mapping: the operation may have begun
	case e.rateLimited, status/100 == 4, e.redirect(),
		status == http.StatusNotImplemented, status == http.StatusServiceUnavailable:
		return cmek.Refused
	}
	return cmek.Unknown
}
