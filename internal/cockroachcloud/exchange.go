package cockroachcloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"
)

// Bounds on what is read of a response.
const (
	maxBody      = 8 << 20
	maxErrorBody = 64 << 10
)

// defaultPause is how long a rate-limit answer without Retry-After holds back the client: the budget is counted per
// second.
const defaultPause = time.Second

// request is one call of the API.
type request struct {
	method string
	path   string
	query  url.Values
	body   []byte // nil for a read
}

// reply is a 2xx answer.
type reply struct {
	status int
	body   []byte
	key    string // what the request was sent with, to be kept out of messages
}

// attempt sends the request at most once and reads the answer. The failure is nil exactly if the answer was a 2xx and its
// body arrived whole.
func (c *Client) attempt(ctx context.Context, key string, r request) (reply, *Error) {
	if err := c.throttle.wait(ctx); err != nil {
		return reply{}, &Error{Method: r.method, Path: r.path, cause: err, unsent: true}
	}
	caller := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout,
		fmt.Errorf("no complete answer within %v: %w", c.timeout, context.DeadlineExceeded))
	defer cancel()

	var trail trail
	resp, err := c.http.Do(c.newRequest(trail.follow(ctx), key, r))
	if err != nil {
		return reply{}, &Error{
			Method: r.method, Path: r.path, cause: redactError(withoutURL(err), key),
			unsent: trail.unsent(err), retryable: caller.Err() == nil,
		}
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // The part that arrived is better than nothing.
		failure := r.refusal(resp, body, err == nil, key)
		if failure.rateLimited {
			c.throttle.pause(max(failure.RetryAfter, defaultPause))
		}
		return reply{}, failure
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return reply{}, r.unreadable(resp.StatusCode, fmt.Errorf("read body: %w", redactError(err, key)), caller.Err() == nil)
	}
	if len(body) > maxBody {
		return reply{}, r.unreadable(resp.StatusCode, fmt.Errorf("read body: larger than %d MiB", maxBody>>20), false)
	}
	return reply{resp.StatusCode, body, key}, nil
}

// unreadable is the failure of a 2xx answer whose body is of no use.
func (r request) unreadable(status int, cause error, retryable bool) *Error {
	return &Error{Method: r.method, Path: r.path, HTTPStatus: status, cause: cause, retryable: retryable}
}

func (c *Client) newRequest(ctx context.Context, key string, r request) *http.Request {
	target := *c.server
	target.Path += r.path
	target.RawQuery = r.query.Encode()
	req := (&http.Request{Method: r.method, URL: &target, Header: make(http.Header)}).WithContext(ctx)
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Cc-Version", c.version)
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept", "application/json")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
		// GetBody stays nil on purpose: without it, net/http cannot send the body again on another connection.
		req.Body = io.NopCloser(bytes.NewReader(r.body))
		req.ContentLength = int64(len(r.body))
	}
	return req
}

// withoutURL takes off the wrapping of http.Client, which repeats method and URL.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// trail tells how far a request came.
type trail struct{ askedForConn, gotConn atomic.Bool }

func (t *trail) follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { t.askedForConn.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { t.gotConn.Store(true) },
	})
}

// unsent reports whether the request certainly never left: the transport asked for a connection and got none, or says
// that dialing failed. Once there was a connection nothing is certain, since the transport may still be writing when a
// canceled call returns. Transports that do not trace give no evidence.
func (t *trail) unsent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	dialFailed := ok && op.Op == "dial"
	return !t.gotConn.Load() && (t.askedForConn.Load() || dialFailed)
}
