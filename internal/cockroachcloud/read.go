package cockroachcloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Backoff between the attempts of a read, before jitter takes up to half of it away.
const (
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 8 * time.Second
)

// read sends a GET, repeats it while that is worth it, and decodes the answer. check is [decode]'s. An answer of use to
// nobody is repeated like a 5xx: what stands between us and the API gives both.
func read[T any](ctx context.Context, c *Client, path string, query url.Values, check func(T) error) (T, error) {
	r := request{method: http.MethodGet, path: path, query: query}
	for attempt := 1; ; attempt++ {
		got, failure := c.readOnce(ctx, r)
		if failure == nil {
			result, err := decode(got, check)
			if err == nil {
				return result, nil
			}
			failure = r.unreadable(got.status, err, true)
		}
		var none T
		if !failure.retryable || attempt >= c.maxReadAttempts {
			return none, failure
		}
		// The server's answer says more than the end of ctx would.
		if sleep(ctx, max(failure.RetryAfter, c.backoff(attempt))) != nil {
			return none, failure
		}
	}
}

// readOnce is one attempt, or two if the server refused the API key and the source has a new one.
func (c *Client) readOnce(ctx context.Context, r request) (reply, *Error) {
	key, err := c.credential.get(ctx)
	if err != nil {
		return reply{}, &Error{Method: r.method, Path: r.path, cause: err, unsent: true}
	}
	got, failure := c.attempt(ctx, key, r)
	if failure == nil || !failure.denied() {
		return got, failure
	}
	c.credential.forget(key)
	if renewed, err := c.credential.get(ctx); err == nil && renewed != key {
		return c.attempt(ctx, renewed, r)
	}
	return reply{}, failure
}

// backoff doubles with each attempt. Jitter keeps clients that failed together from coming back together.
func (c *Client) backoff(attempt int) time.Duration {
	most := min(firstBackoff<<min(attempt-1, 10), maxBackoff)
	c.jitterMu.Lock()
	defer c.jitterMu.Unlock()
	return most/2 + time.Duration(c.jitter.Int64N(int64(most/2)))
}

// decode reads the body of a 2xx answer. A 2xx is no proof by itself: sign-in and maintenance pages of proxies carry one,
// and APIs are known to report errors inside it. So check says what the body lacks, with an error from [missing], and the
// error of decode says what came instead.
func decode[T any](got reply, check func(T) error) (result T, err error) {
	if code, message, isStatus := parseStatus(got.body); isStatus {
		return result, fmt.Errorf("the body is an error: %s (gRPC code %d)", clip(redact(message, got.key)), code)
	}
	if len(bytes.TrimSpace(got.body)) == 0 {
		return result, errors.New("the body is empty")
	}
	var decoded *T // Null decodes into anything else without a trace.
	if err := json.Unmarshal(got.body, &decoded); err != nil {
		return result, fmt.Errorf("decode body: %w%s", redactError(err, got.key), excerpt(got))
	}
	if decoded == nil {
		return result, errors.New("the body is null")
	}
	if err := check(*decoded); err != nil {
		return result, fmt.Errorf("%w%s", redactError(err, got.key), excerpt(got))
	}
	return *decoded, nil
}

// missing is the error of an answer without the field.
func missing(field string) error {
	return fmt.Errorf("%w: %s is missing", cmek.ErrIncomplete, field)
}

// missingArray is missing for a list that is absent or null, nil for one that is there: an empty list is a claim, an absent
// one is not.
func missingArray[T any](field string, list []T) error {
	if list == nil {
		return missing(field)
	}
	return nil
}

// excerpt is the beginning of a body, short enough to stand at the end of a message; "" if there is nothing to read.
func excerpt(got reply) string {
	const most = 80
	text := clip(redact(string(got.body[:min(len(got.body), maxErrorBody)]), got.key))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	if text == "" {
		return ""
	}
	return ", in " + text
}

var idPattern = regexp.MustCompile(`^[0-9A-Za-z-]+$`)

// clusterPath is the path of a cluster or of something below it. Ids are UUIDs; anything that could change the path is an
// error, because the neighboring paths take PUT and PATCH too.
func clusterPath(id, below string) (string, error) {
	if id == "" {
		return "", errors.New("the cluster id is empty")
	}
	if !idPattern.MatchString(id) {
		return "", fmt.Errorf("cluster id %q is not a UUID", clip(id))
	}
	return "/api/v1/clusters/" + id + below, nil
}

// maxPages bounds a walk through a list that a broken server never ends.
const maxPages = 10_000

// walk yields the items of all pages. An error ends it.
func walk[T any](fetch func(page string) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		page := ""
		for range maxPages {
			items, next, err := fetch(page)
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			if next == page {
				yield(none, fmt.Errorf("list pages: page %q names itself as the next", clip(page)))
				return
			}
			page = next
		}
		yield(none, fmt.Errorf("list pages: no end after %d", maxPages))
	}
}

// pagination is the API's KeysetPaginationResponse; it may be null.
type pagination struct {
	NextPage string `json:"next_page"`
}

func pageQuery(page string) url.Values {
	if page == "" {
		return url.Values{}
	}
	return url.Values{"pagination.page": {page}}
}

// timestamp is an RFC 3339 time. Anything else, an empty text included, is the zero time: one odd date must not hide a
// whole fleet.
type timestamp struct{ time.Time }

func (t *timestamp) UnmarshalJSON(data []byte) error {
	var text string
	_ = json.Unmarshal(data, &text) // What is no text stays "".
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		t.Time = at.UTC()
	}
	return nil
}
