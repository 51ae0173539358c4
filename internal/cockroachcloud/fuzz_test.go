package cockroachcloud

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/keyturn/keyturn/internal/cmek"
)

// FuzzAnswers gives every call any answer: none may panic, hang, or write unreadable messages.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []struct {
		status     int
		body       string
		retryAfter string
	}{
		{200, `{"status":"ENABLED","region_infos":[{"region":"us-east-1","key_infos":[{"spec":{"uri":"arn:x"},"updated_at":""}]}]}`, ""},
		{200, `{"clusters":[{"id":"a","regions":[{"node_count":3}],"labels":null}],"pagination":{"next_page":"p"}}`, ""},
		{200, `{"entries":[{"id":"1","payload":{}}],"next_starting_from":"2026-01-01T00:00:00Z","nodes":null,"backups":[{}]}`, ""},
		{404, `{"code":5,"message":"gone"}`, ""},
		{429, `rate limit exceeded`, "3"},
		{502, `<html><style>`, "Sun, 22 Nov 2026 10:00:09 GMT"},
		{307, ``, ""},
	} {
		f.Add(seed.status, []byte(seed.body), seed.retryAfter)
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, retryAfter string) {
		client := newClient(t, &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: status,
				Header:     http.Header{"Retry-After": {retryAfter}},
				Body:       io.NopCloser(strings.NewReader(string(body))),
			}, nil
		})})
		call := func(f func(ctx context.Context)) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			client.throttle.paused = time.Time{} // A rate-limit answer must not slow down the fuzzer.
			f(ctx)
		}
		for name, read := range reads {
			call(func(ctx context.Context) {
				err := read(ctx, client)
				if err == nil {
					if status/100 != 2 {
						t.Errorf("%s: status %d is no error", name, status)
					}
					return
				}
				checkMessage(t, name, err.Error())
				if e, ok := errors.AsType[*Error](err); ok && (e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter) {
					t.Errorf("%s: retry after is %v", name, e.RetryAfter)
				}
			})
		}
		for name, write := range writes {
			call(func(ctx context.Context) {
				answer := write(ctx, client)
				checkMessage(t, name, answer.Message)
				if accepted := answer.Outcome == cmek.Accepted; accepted != (status/100 == 2) {
					t.Errorf("%s: status %d is %s", name, status, answer.Outcome)
				}
			})
		}
	})
}

func checkMessage(t *testing.T, name, message string) {
	t.Helper()
	if len(message) > 600 || strings.ContainsFunc(message, unicode.IsControl) || strings.Contains(message, testKey) {
		t.Errorf("%s: message is not fit for a log: %q", name, message)
	}
}
