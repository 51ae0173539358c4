package google

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"google.golang.org/api/googleapi"
)

// rest calls REST APIs for which one request does what Google's client would need a package of megabytes for.
type rest struct {
	config Config
	client *http.Client
}

func (c Config) rest() rest { return rest{c, c.client()} }

// request is a call that may be repeated.
type request struct {
	method string // "" is GET
	host   string
	path   string // escaped
	query  url.Values
	body   []byte
	header http.Header
}

// jsonBody is the header of a request whose body is JSON.
func jsonBody() http.Header { return http.Header{"Content-Type": {"application/json"}} }

// A call is tried at most so often, with a pause after the first try that doubles.
const (
	mostTries  = 3
	firstPause = 200 * time.Millisecond
)

// call returns the body of a 2xx. A refusal is a *googleapi.Error. What a server answers that is overloaded, and a connection that
// broke, lead to another try.
func (r rest) call(ctx context.Context, q request) ([]byte, error) {
	ctx, cancel := r.config.within(ctx)
	defer cancel()
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		body, err := r.once(ctx, q)
		if err == nil || try == mostTries || !passing(err) {
			return body, err
		}
		if sleep(ctx, firstPause<<(try-1)) != nil {
			return nil, err
		}
	}
}

func (r rest) once(ctx context.Context, q request) ([]byte, error) {
	target, err := url.Parse(cmp.Or(r.config.base(), "https://"+q.host) + q.path)
	if err != nil {
		return nil, err
	}
	target.RawQuery = q.query.Encode()
	req, err := http.NewRequestWithContext(ctx, cmp.Or(q.method, http.MethodGet), target.String(), bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	for name, values := range q.header {
		req.Header[name] = values
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, connectionError{err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, connectionError{err}
	}
	if err := googleapi.CheckResponseWithBody(resp, body); err != nil {
		return nil, err
	}
	return body, nil
}

// Call calls a REST API at the path, which is escaped, of Google's host, or of the configuration's endpoint. It sends message, [url.Values] as a
// form and anything else as JSON, if it is not nil, and decodes the answer into what into points to. The error wraps [cmek.ErrDenied] and [cmek.ErrNotFound] where that is the reason.
// A call that does not arrive is repeated, so it must be one that may be made twice.
func (c Config) Call(ctx context.Context, doing, method, host, path string, query url.Values, message, into any) error {
	q := request{method: method, host: host, path: path, query: query}
	if form, ok := message.(url.Values); ok {
		q.body, q.header = []byte(form.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	} else if message != nil {
		body, err := json.Marshal(message)
		if err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		q.body, q.header = body, jsonBody()
	}
	text, err := c.rest().call(ctx, q)
	if err != nil {
		return explain(err, doing)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: the answer is not the API's", doing)
	}
	return nil
}
