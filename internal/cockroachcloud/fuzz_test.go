package cockroachcloud

import (
	"context"
	"encoding/json"
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
		{200, `{"clusters":[{"id":"a","name":"one","state":"CREATED","regions":[{"node_count":3}],"labels":null}],"pagination":{"next_page":"p"}}`, ""},
		{200, `{"entries":[{"id":"1","payload":{}}],"next_starting_from":"2026-01-01T00:00:00Z","nodes":null,"backups":[{}]}`, ""},
		{200, anyAnswer, ""},
		{200, `{"code":14,"message":"upstream unavailable"}`, ""},
		{200, `{"region_infos":[{"region":"us-east-2"}]}`, ""},
		{404, `{"code":5,"message":"gone"}`, ""},
		{409, `{"code":10,"message":"cluster lock is held"}`, ""},
		{503, `{"code":14,"message":"transport is closing"}`, ""},
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
				switch answer.Outcome {
				case cmek.Accepted:
					if status/100 != 2 || !proves(name, body) {
						t.Errorf("%s: accepted by %d %q", name, status, body)
					}
				case cmek.Refused:
					if !refuses(status, string(body)) {
						t.Errorf("%s: refused by %d %q", name, status, body)
					}
				}
			})
		}
	})
}

// proves is the least that the body of an accepted write holds, however it is spelled.
func proves(name string, body []byte) bool {
	var fields struct {
		ID          string
		Status      string
		RegionInfos []struct{ Region string } `json:"region_infos"`
	}
	if json.Unmarshal(body, &fields) != nil {
		return false
	}
	names := false
	for _, r := range fields.RegionInfos {
		names = names || r.Region == testSpecs[0].Region || name == "RevokeCMEK" && r.Region != ""
	}
	switch name {
	case "AddRegions", "SetLabels":
		return strings.EqualFold(fields.ID, clusterID)
	case "RevokeCMEK":
		return names || fields.Status != ""
	}
	return names
}

// refuses is what a refusal may be made of at most: a listed status, or a Status in a 4xx or a 503.
func refuses(status int, body string) bool {
	text := strings.ToLower(body)
	var fields struct {
		Code    int
		Message string
	}
	isStatus := json.Unmarshal([]byte(body), &fields) == nil && fields.Code != 0
	message := strings.ToLower(fields.Message)
	lock := strings.Contains(message, "lock") || strings.Contains(message, "not ready")
	switch {
	case status == 401 || status == 403 || status == 407 || status == 429:
		return true
	case status >= 400 && strings.Contains(text, "rate limit exceeded"):
		return true
	case status == 408 || status == 499:
		return false
	case status == 409 || status == 503:
		return isStatus && lock
	}
	return status/100 == 4 && isStatus
}

func checkMessage(t *testing.T, name, message string) {
	t.Helper()
	if len(message) > 600 || strings.ContainsFunc(message, unicode.IsControl) || strings.Contains(message, testKey) {
		t.Errorf("%s: message is not fit for a log: %q", name, message)
	}
}
