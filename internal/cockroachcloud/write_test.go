package cockroachcloud

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestAWritesOutcomeFollowsFromTheAnswer(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		body    string
		header  string
		outcome cmek.Outcome
		message string
	}{
		{"accepted", 200, `{"status":"ROTATING"}`, "", cmek.Accepted, ""},
		{"accepted without a body", 204, ``, "", cmek.Accepted, "accepted, but the answer cannot be read: unexpected end"},
		{"accepted with a body that is not JSON", 200, `<html>`, "", cmek.Accepted, "accepted, but the answer cannot be read"},
		{"bad field", 400, `{"code":3,"message":"bad region"}`, "", cmek.Refused, "bad region"},
		{"locked, said with 400", 400, `{"code":9,"message":"cluster lock is held"}`, "", cmek.Refused, "cluster lock is held"},
		{"expired key", 401, `{"code":16,"message":"bad token"}`, "", cmek.Refused, "bad token"},
		{"role missing", 403, `{"code":7,"message":"no"}`, "", cmek.Refused, "no"},
		{"unknown cluster", 404, `{"code":5,"message":"gone"}`, "", cmek.Refused, "gone"},
		{"locked, said with 409", 409, `{"code":10,"message":"cluster lock is held"}`, "", cmek.Refused, "cluster lock is held"},
		{"rate limit", 429, `rate limit exceeded`, "Retry-After: 7", cmek.Refused, "rate limit exceeded"},
		{"rate limit by another status", 500, `Rate limit exceeded`, "Retry-After: 7", cmek.Refused, "Rate limit exceeded"},
		{"rate limit that looks like a denial", 403, `{"message":"rate limit exceeded"}`, "Retry-After: 7", cmek.Refused, "rate limit exceeded"},
		{"rate limit in a proxy's page", 403, `<html><body>Rate limit exceeded</body></html>`, "Retry-After: 7", cmek.Refused, "Rate limit exceeded"},
		{"plan without CMEK", 501, `{"code":12}`, "", cmek.Refused, `{"code":12}`},
		{"not ready or locked", 503, `{"code":14,"message":"not ready"}`, "", cmek.Refused, "not ready"},
		{"redirect", 307, ``, "Location: https://example.com/", cmek.Refused, "Temporary Redirect"},
		{"redirect after the deed", 303, ``, "Location: https://example.com/", cmek.Unknown, "See Other"},
		{"server error", 500, `{"code":13,"message":"oops"}`, "", cmek.Unknown, "oops"},
		{"server error that asks to wait", 500, `{"code":13}`, "Retry-After: 7", cmek.Unknown, `{"code":13}`},
		{"bad gateway", 502, `<html><head><title>502</title></head><body><h1>Bad Gateway</h1></body></html>`, "", cmek.Unknown, "502 Bad Gateway"},
		{"gateway timeout", 504, ``, "", cmek.Unknown, "Gateway Timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
					requests++
					answering(tt.status, tt.body, tt.header)(w, r)
				}), func(o *Options) { o.MaxReadAttempts = 5 })
				got := client.RotateCMEK(t.Context(), clusterID, testSpecs)
				if got.Outcome != tt.outcome || got.HTTPStatus != tt.status || !strings.HasPrefix(got.Message, tt.message) {
					t.Errorf("answer is %+v, want %s with status %d and message %q", got, tt.outcome, tt.status, tt.message)
				}
				if tt.message == "" && got.Message != "" {
					t.Errorf("message is %q, want none", got.Message)
				}
				if want := (tt.status == 401 || tt.status == 403) && tt.header == ""; got.Denied != want {
					t.Errorf("denied is %v, want %v", got.Denied, want)
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

func TestAWriteThatNeverLeftIsRefused(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	unreached := inProcess(func(http.ResponseWriter, *http.Request) { t.Error("the request left") })
	closed := httptest.NewServer(nil)
	closed.Close()
	dialing := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	for name, send := range map[string]func() cmek.Answer{
		"connection refused": func() cmek.Answer {
			return writes["RotateCMEK"](t.Context(), newClient(t, nil, func(o *Options) { o.Server = closed.URL }))
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
		if got := send(); got.Outcome != cmek.Refused || got.HTTPStatus != 0 || got.Message == "" {
			t.Errorf("%s: answer is %+v, want refused with a reason", name, got)
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
					io.WriteString(w, `{}`)
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
			if got := client.RotateCMEK(t.Context(), clusterID, testSpecs); got.Outcome != cmek.Unknown || got.Message == "" {
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
		io.WriteString(w, `{}`)
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

func TestAnAcceptedWriteWhoseBodyBreaksOffIsAccepted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, `{"status":"ROTA`)
	}))
	defer server.Close()
	got := newClient(t, server.Client(), func(o *Options) { o.Server = server.URL }).RotateCMEK(t.Context(), clusterID, testSpecs)
	if got.Outcome != cmek.Accepted || got.HTTPStatus != 200 || !strings.Contains(got.Message, "read body") {
		t.Errorf("answer is %+v, want accepted with a note about the body", got)
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
			if got := write(t.Context(), client); got.Outcome == cmek.Accepted || got.HTTPStatus != status {
				t.Errorf("%s: answer to a %d is %+v", name, status, got)
			}
		}
		if _, err := client.Cluster(t.Context(), clusterID); err == nil {
			t.Errorf("a read answered by %d did not fail", status)
		}
		server.Close()
	}
}
