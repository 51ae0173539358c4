package cockroachcloud

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestAReadIsRepeatedWhileThatMayHelp(t *testing.T) {
	for name, tt := range map[string]struct {
		first    http.HandlerFunc
		requests int
	}{
		"503 not ready":                     {answering(503, `{"code":14,"message":"not ready"}`), 2},
		"500 server error":                  {answering(500, `{"code":13}`), 2},
		"502 from a proxy":                  {answering(502, `<html>Bad Gateway</html>`), 2},
		"429 without a header":              {answering(429, `slow down`), 2},
		"429 in plain text":                 {answering(429, `rate limit exceeded`, "Retry-After: 1"), 2},
		"rate limit by another status":      {answering(400, `{"message":"rate limit exceeded"}`), 2},
		"rate limit that looks like denial": {answering(403, `{"message":"rate limit exceeded"}`), 2},
		"501 plan without CMEK":             {answering(501, `{"code":12}`), 1},
		"any status with Retry-After":       {answering(404, `{"code":5}`, "Retry-After: 1"), 2},
		"408 request timeout":               {answering(408, ``), 2},
		"425 too early":                     {answering(425, ``), 2},
		"400 bad field":                     {answering(400, `{"code":3,"message":"invalid Cc-Version"}`), 1},
		"404 unknown cluster":               {answering(404, `{"code":5,"message":"gone"}`), 1},
		"409 conflict":                      {answering(409, `{"code":10}`), 1},
		"403 role missing":                  {answering(403, `{"code":7}`), 1},
		"404 of a proxy":                    {answering(404, `<html>Not Found</html>`), 2},
		"200 that is not JSON":              {answering(200, `<html>`), 2},
		"200 that lacks fields":             {answering(200, `{}`), 2},
		"200 with an error inside":          {answering(200, `{"code":14,"message":"upstream unavailable"}`), 2},
		"200 about another cluster":         {answering(200, `{"id":"x","state":"CREATED"}`), 2},
		"307 redirect":                      {answering(307, ``, "Location: https://example.com/"), 1},
		"connection closed by the server":   {func(http.ResponseWriter, *http.Request) { panic(io.ErrUnexpectedEOF) }, 2},
		"answer that is larger than 8 MiB ": {answering(200, strings.Repeat(" ", maxBody+1)), 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				handler := inTurn(tt.first, answering(200, anyAnswer))
				client := newClient(t, &http.Client{Transport: roundTripper(func(r *http.Request) (resp *http.Response, err error) {
					requests++
					defer func() {
						if p := recover(); p != nil {
							err = p.(error)
						}
					}()
					return inProcess(handler).Transport.RoundTrip(r)
				})}, func(o *Options) { o.MaxReadAttempts = 3 })
				_, err := client.Cluster(t.Context(), clusterID)
				if requests != tt.requests || (err == nil) != (tt.requests == 2) {
					t.Errorf("%d requests and error %v, want %d requests", requests, err, tt.requests)
				}
			})
		})
	}
}

func TestAReadGivesUpAfterItsAttemptsWithTheLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
			at = append(at, time.Since(start))
			answering(503, `{"code":14,"message":"cluster is locked"}`)(w, r)
		}), func(o *Options) { o.MaxReadAttempts = 4 })
		_, err := client.Cluster(t.Context(), clusterID)
		if err == nil || !strings.Contains(err.Error(), "503 Service Unavailable: cluster is locked (gRPC code 14)") {
			t.Errorf("error is %v, want the server's last answer", err)
		}
		if len(at) != 4 {
			t.Fatalf("%d attempts, want 4", len(at))
		}
		for i, most := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second} {
			if pause := at[i+1] - at[i]; pause < most/2 || pause > most {
				t.Errorf("pause %d is %v, want %v to %v", i+1, pause, most/2, most)
			}
		}
	})
}

func TestTheSameSeedGivesTheSamePauses(t *testing.T) {
	pauses := func(seed uint64) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			client := newClient(t, inProcess(answering(500, ``)), func(o *Options) {
				o.MaxReadAttempts, o.Rand = 5, rand.New(rand.NewPCG(seed, 0))
			})
			start := time.Now()
			client.Organization(t.Context())
			took = time.Since(start)
		})
		return took
	}
	if a, b, c := pauses(1), pauses(1), pauses(2); a != b || a == c {
		t.Errorf("seed 1 took %v and %v, seed 2 took %v; want equal, equal, different", a, b, c)
	}
}

func TestAReadDoesNotWaitForWhatItsDeadlineForbids(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, inProcess(answering(503, `busy`, "Retry-After: 30")), func(o *Options) { o.MaxReadAttempts = 3 })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		start := time.Now()
		_, err := client.Cluster(ctx, clusterID)
		if took := time.Since(start); took != 0 {
			t.Errorf("gave up after %v, want at once", took)
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.RetryAfter != 30*time.Second || e.HTTPStatus != 503 {
			t.Errorf("error is %v, want the 503 with its Retry-After", err)
		}
	})
}

func TestEachAttemptHasATimeoutOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		client := newClient(t, &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if requests++; requests == 1 {
				<-r.Context().Done()
				return nil, context.Cause(r.Context())
			}
			return inProcess(answering(200, anyAnswer)).Transport.RoundTrip(r)
		})}, func(o *Options) { o.MaxReadAttempts, o.Timeout = 2, 3*time.Second })
		if _, err := client.Cluster(t.Context(), clusterID); err != nil || requests != 2 {
			t.Errorf("%d requests and error %v, want success on the second", requests, err)
		}
		requests, client.maxReadAttempts = 0, 1
		_, err := client.Cluster(t.Context(), clusterID)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no complete answer within 3s") {
			t.Errorf("error is %v, want one that says how long it waited", err)
		}
	})
}

func TestRequestsAreSpreadEvenlyOverTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Duration
		start := time.Now()
		client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(start).Round(time.Millisecond))
			io.WriteString(w, anyAnswer)
		}), func(o *Options) { o.Rate = 8 })
		var group sync.WaitGroup
		for i := range 9 {
			group.Go(func() {
				if i%2 == 0 {
					client.RotateCMEK(t.Context(), clusterID, testSpecs)
				} else if _, err := client.CMEK(t.Context(), clusterID); err != nil {
					t.Errorf("CMEK: %v", err)
				}
			})
		}
		group.Wait()
		for i, got := range at {
			if want := time.Duration(i) * 125 * time.Millisecond; got != want {
				t.Errorf("request %d left after %v, want %v", i, got, want)
			}
		}
	})
}

func TestARateLimitAnswerHoldsBackEveryRequest(t *testing.T) {
	for _, limited := range []http.HandlerFunc{
		answering(429, `rate limit exceeded`, "Retry-After: 20", "Content-Type: text/plain"),
		answering(503, `{"code":8,"message":"Rate limit exceeded"}`, "Retry-After: 20"),
	} {
		synctest.Test(t, func(t *testing.T) {
			var at []time.Duration
			start := time.Now()
			handler := inTurn(limited, answering(200, anyAnswer))
			client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
				at = append(at, time.Since(start).Round(time.Millisecond))
				handler(w, r)
			}), func(o *Options) { o.Rate = 2 })
			if a := client.RotateCMEK(t.Context(), clusterID, testSpecs); a.Outcome != cmek.Refused || a.RetryAfter != 20*time.Second {
				t.Errorf("answer is %+v, want refused for 20s", a)
			}
			var group sync.WaitGroup
			for range 3 {
				group.Go(func() { client.Organization(t.Context()) })
			}
			short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := client.Organization(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error is %v, want that the deadline comes first", err)
			}
			if a := client.RotateCMEK(short, clusterID, testSpecs); a.Outcome != cmek.Refused || a.HTTPStatus != 0 {
				t.Errorf("answer to a PUT that would leave too late is %+v, want refused", a)
			}
			group.Wait()
			if len(at) != 4 || at[1] < 20*time.Second || at[3]-at[1] < time.Second {
				t.Errorf("requests left after %v, want three from 20s on, half a second apart", at)
			}
		})
	}
}

func TestABusyClusterDoesNotHoldBackOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, inProcess(inTurn(answering(503, `{"code":14,"message":"locked"}`, "Retry-After: 20"), answering(200, anyAnswer))))
		client.RotateCMEK(t.Context(), clusterID, testSpecs)
		start := time.Now()
		if _, err := client.Cluster(t.Context(), clusterID); err != nil || time.Since(start) != 0 {
			t.Errorf("the next read took %v and failed with %v, want neither", time.Since(start), err)
		}
	})
}

func TestRetryAfterIsSecondsOrADateUpToAMinute(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                                 0,
		"0":                                0,
		"-5":                               0,
		"soon":                             0,
		"NaN":                              0,
		"7":                                7 * time.Second,
		" 1.5 ":                            1500 * time.Millisecond,
		"60":                               time.Minute,
		"3600":                             time.Minute,
		"99999999999999999999999999999999": time.Minute,
		"Sun, 22 Nov 2026 10:00:09 GMT":    9 * time.Second,
		"Sun, 22 Nov 2026 12:00:00 GMT":    time.Minute,
		"Sun, 22 Nov 2026 09:00:00 GMT":    0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("Retry-After %q is %v, want %v", value, got, want)
		}
	}
}

func TestARotatedKeyIsReadOnceMore(t *testing.T) {
	for _, status := range []int{401, 403} {
		synctest.Test(t, func(t *testing.T) {
			keys := []string{"old-key", "new-key\n", "newer-key"}
			var used []string
			keyReads := 0
			client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
				used = append(used, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
				if used[len(used)-1] == "old-key" {
					w.WriteHeader(status)
					return
				}
				io.WriteString(w, anyAnswer)
			}), func(o *Options) {
				o.APIKey = func(context.Context) (string, error) { keyReads++; return keys[keyReads-1], nil }
			})
			for range 2 {
				if _, err := client.Organization(t.Context()); err != nil {
					t.Errorf("Organization: %v", err)
				}
			}
			if want := []string{"old-key", "new-key", "new-key"}; !slices.Equal(used, want) || keyReads != 2 {
				t.Errorf("keys used are %q after %d reads of the source, want %q after 2", used, keyReads, want)
			}
		})
	}
}

func TestAKeyThatStaysRefusedIsReadAgainOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keyReads, requests := 0, 0
		client := newClient(t, inProcess(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			w.WriteHeader(http.StatusForbidden)
		}), func(o *Options) {
			o.APIKey = func(context.Context) (string, error) { keyReads++; return testKey, nil }
		})
		for range 5 {
			if _, err := client.Organization(t.Context()); !errors.Is(err, cmek.ErrDenied) {
				t.Errorf("error is %v, want denied", err)
			}
		}
		if keyReads != 2 || requests != 5 {
			t.Errorf("%d reads of the key and %d requests, want 2 and 5", keyReads, requests)
		}
		time.Sleep(renewalInterval)
		client.Organization(t.Context())
		if keyReads != 3 {
			t.Errorf("%d reads of the key after a minute, want 3", keyReads)
		}
	})
}

func TestARefusedWriteIsNotRepeatedWithANewKey(t *testing.T) {
	var used []string
	keyReads := 0
	client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
		used = append(used, r.Header.Get("Authorization"))
		if used[len(used)-1] == "Bearer 1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, anyAnswer)
	}), func(o *Options) {
		o.APIKey = func(context.Context) (string, error) { keyReads++; return string(rune('0' + keyReads)), nil }
	})
	if a := client.RotateCMEK(t.Context(), clusterID, testSpecs); !a.Denied || a.Outcome != cmek.Refused || len(used) != 1 {
		t.Errorf("answer is %+v after %d requests, want denied after 1", a, len(used))
	}
	if a := client.RotateCMEK(t.Context(), clusterID, testSpecs); a.Outcome != cmek.Accepted || used[1] != "Bearer 2" {
		t.Errorf("the next answer is %+v, want accepted with the new key", a)
	}
}

func TestABadKeySourceIsAnErrorThatIsNotRepeated(t *testing.T) {
	down := errors.New("secret store is down")
	for want, source := range map[string]func(context.Context) (string, error){
		"read API key: secret store is down":     func(context.Context) (string, error) { return "", down },
		"read API key: the API key is empty":     StaticAPIKey(" \n"),
		"read API key: the API key holds a blan": StaticAPIKey(`{"key": "CCDB1"}`),
	} {
		client := newClient(t, inProcess(func(http.ResponseWriter, *http.Request) { t.Error("the request left") }),
			func(o *Options) { o.APIKey, o.MaxReadAttempts = source, 9 })
		if _, err := client.Organization(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

func TestAClientMayBeSharedByGoroutines(t *testing.T) {
	var mu sync.Mutex
	requests := 0
	client := newClient(t, inProcess(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if requests++; requests%7 == 0 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, anyAnswer)
	}), func(o *Options) { o.Rate = math.MaxFloat64 })
	var group sync.WaitGroup
	for range 4 {
		for _, read := range reads {
			group.Go(func() { read(t.Context(), client) })
		}
		for _, write := range writes {
			group.Go(func() { write(t.Context(), client) })
		}
	}
	group.Wait()
	if want := 4 * (len(reads) + len(writes)); requests != want {
		t.Errorf("%d requests, want %d", requests, want)
	}
}
