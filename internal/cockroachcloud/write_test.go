package cockroachcloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// named is a CMEKClusterInfo that names the regions of [testSpecs], and one region more.
const named = `{"status":"ROTATING","region_infos":[{"region":"eu-west-1"},{"region":"us-east-1","status":"ROTATING"}]}`

// Bodies of errors: the API's own, and what may stand in its place.
const (
	lockStatus     = `{"code":14,"message":"Cluster LOCK is held by another job","details":[]}`
	notReadyStatus = `{"code":14,"message":"the cluster is Not Ready yet"}`
	closingStatus  = `{"code":14,"message":"transport is closing"}`
	otherStatus    = `{"code":3,"message":"no such thing"}`
	emptyStatus    = `{"code":3,"message":""}`
	envoy          = "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
	page           = "<!DOCTYPE html><html><head><title>Oops</title></head><body>lock, not ready</body></html>"
)

// notStatus are near misses of the API's Status. Each speaks of a lock, so that only its form tells it from one.
var notStatus = map[string]string{
	"no body":                    ``,
	"plain text":                 `cluster lock is held`,
	"plain text of Envoy":        envoy,
	"a page":                     page,
	"an empty object":            `{}`,
	"null":                       `null`,
	"no code":                    `{"message":"cluster lock is held"}`,
	"no message":                 `{"code":14}`,
	"a null message":             `{"code":14,"message":null}`,
	"a message that is a number": `{"code":14,"message":7}`,
	"a code that is text":        `{"code":"14","message":"cluster lock is held"}`,
	"a code with a fraction":     `{"code":14.5,"message":"cluster lock is held"}`,
	"the code OK":                `{"code":0,"message":"cluster lock is held"}`,
	"an HTTP status as code":     `{"code":503,"message":"cluster lock is held"}`,
	"a Status inside":            `{"error":` + lockStatus + `}`,
	"a list of Status":           `[` + lockStatus + `]`,
	"a Status that is cut":       lockStatus[:len(lockStatus)-1],
	"a Status and more":          lockStatus + `<html>`,
}

func TestAnAnswerToAWriteProvesNoMoreThanDocumented(t *testing.T) {
	type row struct {
		name    string
		status  int
		body    string
		header  string
		outcome cmek.Outcome
		busy    bool
		message string // a part of it; "" wants none
	}
	rows := []row{
		{"2xx that names the region", 200, named, "", cmek.Accepted, false, ""},
		{"any 2xx that names the region", 202, named, "", cmek.Accepted, false, ""},
		{"2xx without a body", 200, ``, "", cmek.Unknown, false, "body is empty"},
		{"204", 204, ``, "", cmek.Unknown, false, "body is empty"},
		{"2xx of a sign-in page", 200, `<html><title>Sign in</title></html>`, "", cmek.Unknown, false, "Sign in"},
		{"2xx {}", 200, `{}`, "", cmek.Unknown, false, "us-east-1"},
		{"2xx null", 200, `null`, "", cmek.Unknown, false, "null"},
		{"2xx []", 200, `[]`, "", cmek.Unknown, false, "[]"},
		{"2xx with the info in a list", 200, `[` + named + `]`, "", cmek.Unknown, false, "array"},
		{"2xx with the info as text", 200, `"us-east-1"`, "", cmek.Unknown, false, "string"},
		{"2xx with an error", 200, `{"code":14,"message":"upstream unavailable"}`, "", cmek.Unknown, false, "upstream unavailable"},
		{"2xx with an error and the regions", 200, `{"code":14,"message":"upstream unavailable",` + named[1:], "", cmek.Unknown, false, "upstream unavailable"},
		{"2xx with the rate-limit text", 200, `rate limit exceeded`, "", cmek.Unknown, false, "rate limit exceeded"},
		{"2xx that is cut", 200, named[:len(named)-1], "", cmek.Unknown, false, "unexpected end"},
		{"2xx with another region", 200, `{"status":"ROTATING","region_infos":[{"region":"us-east-2"}]}`, "", cmek.Unknown, false, `"us-east-2"`},
		{"2xx with the region in another case", 200, `{"region_infos":[{"region":"US-EAST-1"}]}`, "", cmek.Unknown, false, `"US-EAST-1"`},
		{"2xx without regions", 200, `{"status":"ROTATING"}`, "", cmek.Unknown, false, "us-east-1"},
		{"2xx with null regions", 200, `{"status":"ROTATING","region_infos":null}`, "", cmek.Unknown, false, "us-east-1"},
		{"2xx with no regions", 200, `{"status":"ROTATING","region_infos":[]}`, "", cmek.Unknown, false, "us-east-1"},
		{"2xx with regions of another type", 200, `{"region_infos":["us-east-1"]}`, "", cmek.Unknown, false, "region_infos"},
		{"2xx that repeats the request", 200, specsJSON, "", cmek.Unknown, false, "us-east-1"},

		{"401", 401, otherStatus, "", cmek.Refused, false, "no such thing"},
		{"401 of a proxy", 401, page, "", cmek.Refused, false, "Oops"},
		{"403", 403, `{"code":7,"message":"no"}`, "", cmek.Refused, false, "no"},
		{"403 without a body", 403, ``, "", cmek.Refused, false, "Forbidden"},
		{"407 of a proxy", 407, page, "", cmek.Refused, false, "Oops"},
		{"429", 429, `rate limit exceeded`, "Retry-After: 7", cmek.Refused, true, "rate limit exceeded"},
		{"429 without a body", 429, ``, "", cmek.Refused, true, "Too Many Requests"},
		{"400 with the rate-limit text", 400, `rate limit exceeded`, "Retry-After: 7", cmek.Refused, true, "rate limit"},
		{"408 with the rate-limit text", 408, `rate limit exceeded`, "", cmek.Refused, true, "rate limit"},
		{"409 with the rate-limit text", 409, `rate limit exceeded`, "", cmek.Refused, true, "rate limit"},
		{"500 with the rate-limit text", 500, `Rate Limit Exceeded`, "Retry-After: 7", cmek.Refused, true, "Rate Limit"},
		{"503 with the rate-limit text", 503, `{"code":8,"message":"rate limit exceeded"}`, "", cmek.Refused, true, "rate limit"},
		{"403 with the rate-limit text", 403, `{"message":"rate limit exceeded"}`, "Retry-After: 7", cmek.Refused, true, "rate limit"},
		{"403 with the rate-limit text in a page", 403, `<html><body>Rate limit exceeded</body></html>`, "Retry-After: 7", cmek.Refused, true, "Rate limit"},
		{"500 with the text in another field", 500, `{"code":8,"message":"slow down","details":[{"reason":"rate limit exceeded"}]}`, "", cmek.Refused, true, "slow down"},
		{"500 with a text near the rate-limit text", 500, `rate limit not exceeded`, "", cmek.Unknown, false, "rate limit not"},
		{"307 with the rate-limit text", 307, `rate limit exceeded`, "Location: https://example.com/", cmek.Unknown, false, "rate limit"},

		{"400", 400, otherStatus, "", cmek.Refused, false, "no such thing"},
		{"400 about a lock", 400, `{"code":9,"message":"cluster lock is held"}`, "", cmek.Refused, true, "lock"},
		{"404", 404, otherStatus, "", cmek.Refused, false, "no such thing"},
		{"404 about a lock", 404, lockStatus, "", cmek.Refused, false, "LOCK"},
		{"410", 410, otherStatus, "", cmek.Refused, false, "no such thing"},
		{"422 with an empty message", 422, emptyStatus, "", cmek.Refused, false, `{"code":3`},
		{"425", 425, otherStatus, "", cmek.Refused, false, "no such thing"},
		{"408 whatever the body", 408, lockStatus, "", cmek.Unknown, false, "LOCK"},
		{"499 whatever the body", 499, lockStatus, "", cmek.Unknown, false, "LOCK"},

		{"409 about a lock", 409, lockStatus, "", cmek.Refused, true, "LOCK"},
		{"409 not ready", 409, notReadyStatus, "", cmek.Refused, true, "Not Ready"},
		{"409 for another reason", 409, `{"code":6,"message":"already exists"}`, "", cmek.Unknown, false, "already exists"},
		{"503 about a lock", 503, lockStatus, "Retry-After: 7", cmek.Refused, true, "LOCK"},
		{"503 not ready", 503, notReadyStatus, "", cmek.Refused, true, "Not Ready"},
		{"503 transport is closing", 503, closingStatus, "", cmek.Unknown, false, "transport is closing"},
		{"503 about readiness", 503, `{"code":14,"message":"not yet ready"}`, "", cmek.Unknown, false, "not yet ready"},
		{"503 with an empty message", 503, `{"code":14,"message":"","details":[{"message":"lock"}]}`, "", cmek.Unknown, false, "lock"},

		{"500", 500, `{"code":13,"message":"oops"}`, "", cmek.Unknown, false, "oops"},
		{"500 about a lock", 500, lockStatus, "", cmek.Unknown, false, "LOCK"},
		{"500 that asks to wait", 500, `{"code":13,"message":"oops"}`, "Retry-After: 7", cmek.Unknown, false, "oops"},
		{"501", 501, `{"code":12,"message":"not supported"}`, "", cmek.Unknown, false, "not supported"},
		{"502", 502, page, "", cmek.Unknown, false, "Oops"},
		{"502 about a lock", 502, lockStatus, "", cmek.Unknown, false, "LOCK"},
		{"504", 504, ``, "", cmek.Unknown, false, "Gateway Timeout"},
		{"599", 599, otherStatus, "", cmek.Unknown, false, "no such thing"},
		{"101", 101, lockStatus, "", cmek.Unknown, false, ""},
		{"301", 301, otherStatus, "Location: https://example.com/", cmek.Unknown, false, "no such thing"},
		{"303", 303, ``, "Location: https://example.com/", cmek.Unknown, false, "See Other"},
		{"304", 304, ``, "", cmek.Unknown, false, "Not Modified"},
		{"307", 307, ``, "Location: https://example.com/", cmek.Unknown, false, "Temporary Redirect"},
	}
	for form, body := range notStatus {
		for _, status := range []int{400, 404, 405, 409, 413, 425, 503} {
			rows = append(rows, row{fmt.Sprintf("%d with %s", status, form), status, body, "", cmek.Unknown, false, ""})
		}
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
					requests++
					answering(tt.status, tt.body, tt.header)(w, r)
				}), func(o *Options) { o.MaxReadAttempts = 5 })
				got := client.RotateCMEK(t.Context(), clusterID, testSpecs)
				if got.Outcome != tt.outcome || got.HTTPStatus != tt.status || !strings.Contains(got.Message, tt.message) {
					t.Errorf("answer is %+v, want %s with status %d and message %q", got, tt.outcome, tt.status, tt.message)
				}
				if tt.outcome == cmek.Accepted && (got.Message != "" || len(got.Info.RegionInfos) != 2) {
					t.Errorf("answer is %+v, want no message and the two regions", got)
				}
				if want := (tt.status == 401 || tt.status == 403) && !tt.busy; got.Denied != want || got.Busy != tt.busy || got.Unsent {
					t.Errorf("denied is %v, busy %v, unsent %v; want %v, %v, false", got.Denied, got.Busy, got.Unsent, want, tt.busy)
				}
				if want := tt.header == "Retry-After: 7"; (got.RetryAfter == 7*time.Second) != want {
					t.Errorf("retry after is %v", got.RetryAfter)
				}
				if requests != 1 {
					t.Errorf("%d requests left, want exactly 1", requests)
				}
			})
		})
	}
}

// What each write must find in a 2xx, with near misses.
func TestEachWriteAsksForItsOwnProof(t *testing.T) {
	const cluster = `{"id":"` + clusterID + `","name":"payments"}`
	two := append(slices.Clone(testSpecs), cmek.RegionSpec{Region: "eu-west-1", KeySpec: testSpecs[0].KeySpec})
	put := func(specs []cmek.RegionSpec) func(context.Context, *Client) cmek.Answer {
		return func(ctx context.Context, c *Client) cmek.Answer { return c.RotateCMEK(ctx, clusterID, specs) }
	}
	for _, tt := range []struct {
		name  string
		write func(context.Context, *Client) cmek.Answer
		body  string
		want  cmek.Outcome
	}{
		{"PUT of two regions", put(two), named, cmek.Accepted},
		{"PUT of two regions, one named", put(two), `{"region_infos":[{"region":"us-east-1"}]}`, cmek.Unknown},
		{"PUT answered by a cluster", put(testSpecs), cluster, cmek.Unknown},
		{"POST", writes["EnableCMEK"], named, cmek.Accepted},
		{"POST without the region", writes["EnableCMEK"], `{"status":"ENABLING","region_infos":[]}`, cmek.Unknown},
		{"REVOKE with a status", writes["RevokeCMEK"], `{"status":"REVOKING"}`, cmek.Accepted},
		{"REVOKE with a region", writes["RevokeCMEK"], `{"region_infos":[{"region":"us-east-1"}]}`, cmek.Accepted},
		{"REVOKE with an invented status", writes["RevokeCMEK"], `{"status":"error"}`, cmek.Unknown},
		{"REVOKE with no region", writes["RevokeCMEK"], `{"status":"","region_infos":[{"status":"REVOKING"}]}`, cmek.Unknown},
		{"REVOKE without fields", writes["RevokeCMEK"], `{}`, cmek.Unknown},
		{"AddRegions", writes["AddRegions"], cluster, cmek.Accepted},
		{"AddRegions with another cluster", writes["AddRegions"], `{"id":"11111111-2222-4333-8444-555555555556"}`, cmek.Unknown},
		{"AddRegions with a CMEK", writes["AddRegions"], named, cmek.Unknown},
		{"SetLabels", writes["SetLabels"], strings.Replace(cluster, "payments", "é", 1), cmek.Accepted},
		{"SetLabels without an id", writes["SetLabels"], `{"name":"payments"}`, cmek.Unknown},
		{"SetLabels with an error", writes["SetLabels"], `{"code":13,"message":"oops","id":"` + clusterID + `"}`, cmek.Unknown},
	} {
		if got := tt.write(t.Context(), newClient(t, inProcess(answering(200, tt.body)))); got.Outcome != tt.want {
			t.Errorf("%s: answer is %+v, want %s", tt.name, got, tt.want)
		}
	}
}

// A Status that did not arrive whole may have been anything.
func TestAnErrorBodyThatBreaksOffIsNoStatus(t *testing.T) {
	broken := func(status int, body string) *http.Client {
		return &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			text := io.MultiReader(strings.NewReader(body), brokenBody{"connection reset"})
			return &http.Response{StatusCode: status, Body: io.NopCloser(text)}, nil
		})}
	}
	for _, status := range []int{400, 409, 503} {
		if got := newClient(t, broken(status, lockStatus)).RotateCMEK(t.Context(), clusterID, testSpecs); got.Outcome != cmek.Unknown {
			t.Errorf("%d: answer is %+v, want unknown", status, got)
		}
	}
	if got := newClient(t, broken(403, `{"code`)).RotateCMEK(t.Context(), clusterID, testSpecs); got.Outcome != cmek.Refused {
		t.Errorf("403: answer is %+v, want refused whatever the body", got)
	}
}

func TestAWriteThatNeverLeftIsRefused(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	unreached := inProcess(func(http.ResponseWriter, *http.Request) { t.Error("the request left") })
	closed := httptest.NewServer(nil)
	closed.Close()
	untrusted := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request left") }))
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0) // The handshake that fails is meant to.
	defer untrusted.Close()
	dialing := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	for name, send := range map[string]func() cmek.Answer{
		"connection refused": func() cmek.Answer {
			return writes["RotateCMEK"](t.Context(), newClient(t, nil, func(o *Options) { o.Server = closed.URL }))
		},
		"name that does not resolve": func() cmek.Answer {
			return writes["RotateCMEK"](t.Context(), newClient(t, nil, func(o *Options) { o.Server = "https://cloud.invalid" }))
		},
		"certificate of nobody we trust": func() cmek.Answer {
			return writes["RotateCMEK"](t.Context(), newClient(t, nil, func(o *Options) { o.Server = untrusted.URL }))
		},
		"mistake of ours": func() cmek.Answer {
			return newClient(t, unreached).RotateCMEK(t.Context(), clusterID, nil)
		},
		"context ended before": func() cmek.Answer {
			return writes["RotateCMEK"](canceled, newClient(t, unreached))
		},
		"timeout while dialing": func() cmek.Answer {
			return writes["RotateCMEK"](t.Context(), newClient(t, &http.Client{Transport: dialing}, func(o *Options) {
				o.Timeout = 10 * time.Millisecond
			}))
		},
		"dial error of a transport that does not trace": func() cmek.Answer {
			return writes["RotateCMEK"](t.Context(), newClient(t, &http.Client{Transport: roundTripper(
				func(*http.Request) (*http.Response, error) {
					return nil, &net.OpError{Op: "dial", Err: errors.New("no route to host")}
				})}))
		},
		"API key cannot be read": func() cmek.Answer {
			return writes["RotateCMEK"](t.Context(), newClient(t, unreached, func(o *Options) {
				o.APIKey = func(context.Context) (string, error) { return "", errors.New("secret store is down") }
			}))
		},
	} {
		if got := send(); got.Outcome != cmek.Refused || !got.Unsent || got.HTTPStatus != 0 || got.Message == "" {
			t.Errorf("%s: answer is %+v, want refused as unsent with a reason", name, got)
		}
	}
}

// Each of these servers has read the PUT whole when the connection breaks, so it may have acted on it.
func TestAWriteWhoseAnswerIsLostIsUnknownAndSentOnce(t *testing.T) {
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}
	reset := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		tcp := conn.(*tls.Conn).NetConn().(*net.TCPConn)
		tcp.SetLinger(0)
		tcp.Close()
	}
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, tt := range map[string]struct {
		afterPUT http.HandlerFunc
		http2    bool
	}{
		"connection closed": {hangUp, false},
		"connection reset":  {reset, false},
		"no answer in time": {hang, false},
		"HTTP/2 reset":      {abort, true},
		"HTTP/2 no answer":  {hang, true},
	} {
		t.Run(name, func(t *testing.T) {
			var puts atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					io.WriteString(w, anyAnswer)
					return
				}
				io.ReadAll(r.Body)
				puts.Add(1)
				tt.afterPUT(w, r)
			}))
			server.EnableHTTP2 = tt.http2
			server.StartTLS()
			defer server.Close()
			client := newClient(t, server.Client(), func(o *Options) {
				o.Server, o.Timeout = server.URL, 200*time.Millisecond
			})
			// net/http resends on its own only on a connection that it used before.
			if _, err := client.CMEK(t.Context(), clusterID); err != nil {
				t.Fatalf("CMEK: %v", err)
			}
			if got := client.RotateCMEK(t.Context(), clusterID, testSpecs); got.Outcome != cmek.Unknown || got.Unsent || got.Message == "" {
				t.Errorf("answer is %+v, want unknown with a reason", got)
			}
			if n := puts.Load(); n != 1 {
				t.Errorf("%d PUTs arrived, want exactly 1", n)
			}
		})
	}
}

func TestAWriteOnAConnectionThatDiedWhileIdleArrivesAtMostOnce(t *testing.T) {
	var puts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			puts.Add(1)
		}
		io.WriteString(w, anyAnswer)
	}))
	defer server.Close()
	client := newClient(t, server.Client(), func(o *Options) { o.Server = server.URL })
	for range 20 {
		puts.Store(0)
		if _, err := client.CMEK(t.Context(), clusterID); err != nil {
			t.Fatalf("CMEK: %v", err)
		}
		server.CloseClientConnections()
		answer := client.RotateCMEK(t.Context(), clusterID, testSpecs)
		if n := puts.Load(); n > 1 || answer.Outcome == cmek.Refused || n == 1 != (answer.Outcome == cmek.Accepted) {
			t.Errorf("%d PUTs arrived and the answer is %+v", n, answer)
		}
	}
}

func TestA2xxWhoseBodyBreaksOffIsUnknown(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, named)
	}))
	defer server.Close()
	got := newClient(t, server.Client(), func(o *Options) { o.Server = server.URL }).RotateCMEK(t.Context(), clusterID, testSpecs)
	if got.Outcome != cmek.Unknown || got.HTTPStatus != 200 || !strings.Contains(got.Message, "read body") {
		t.Errorf("answer is %+v, want unknown with a note about the body", got)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s arrived at the other host, with Authorization %v", r.Method, r.Header["Authorization"] != nil)
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(other.URL, status))
		client := newClient(t, server.Client(), func(o *Options) { o.Server = server.URL })
		for name, write := range writes {
			if got := write(t.Context(), client); got.Outcome != cmek.Unknown || got.HTTPStatus != status {
				t.Errorf("%s: answer to a %d is %+v", name, status, got)
			}
		}
		if _, err := client.Cluster(t.Context(), clusterID); err == nil {
			t.Errorf("a read answered by %d did not fail", status)
		}
		server.Close()
	}
}
