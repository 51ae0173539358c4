package cmektest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// server counts the requests that it gets, and answers with the time.
type server struct {
	got map[string]int
	// open are the answers' bodies that nobody has closed.
	open int
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	if s.got == nil {
		s.got = map[string]int{}
	}
	s.got[req.Method]++
	body := strconv.FormatInt(time.Now().UnixNano(), 10)
	s.open++
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(len(body)),
		Body: &openBody{strings.NewReader(body), func() { s.open-- }},
	}, nil
}

// openBody notes that it is closed.
type openBody struct {
	io.Reader
	closed func()
}

func (b *openBody) Close() error {
	if b.closed != nil {
		b.closed()
		b.closed = nil
	}
	return nil
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

const cmekURL = "http://127.0.0.1/api/v1/clusters/c-1/cmek"

// send sends a request and checks that its body was closed.
func send(t *testing.T, n *cmektest.Network, method, url string) (*http.Response, error) {
	t.Helper()
	closed := false
	req, err := http.NewRequestWithContext(t.Context(), method, url, &openBody{strings.NewReader("{}"), func() { closed = true }})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := n.RoundTrip(req)
	if !closed {
		t.Errorf("the body of %s %s was not closed", method, url)
	}
	return resp, err
}

func read(t *testing.T, resp *http.Response) (body string, err error) {
	t.Helper()
	data, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); closeErr != nil {
		t.Error(closeErr)
	}
	return string(data), err
}

func TestNetwork_eachReplacement(t *testing.T) {
	for _, tc := range []struct {
		fault   cmektest.NetworkFault
		set     func(*cmektest.Chances)
		status  int
		body    string
		refuses bool
	}{
		{cmektest.PlainUnavailable, func(c *cmektest.Chances) { c.PlainUnavailable = 1 }, 503, "upstream connect error or disconnect/reset before headers", false},
		{cmektest.SignInPage, func(c *cmektest.Chances) { c.SignInPage = 1 }, 200, "<html>", false},
		{cmektest.EmptyAnswer, func(c *cmektest.Chances) { c.EmptyAnswer = 1 }, 2, "", false},
		{cmektest.EmptyObject, func(c *cmektest.Chances) { c.EmptyObject = 1 }, 200, "{}", false},
		{cmektest.ClosingOK, func(c *cmektest.Chances) { c.ClosingOK = 1 }, 200, `"message":"transport is closing"`, false},
		{cmektest.ClosingUnavailable, func(c *cmektest.Chances) { c.ClosingUnavailable = 1 }, 503, `"message":"transport is closing"`, false},
		{cmektest.BadGateway, func(c *cmektest.Chances) { c.BadGateway = 1 }, 502, "<html>", false},
		{cmektest.GatewayTimeout, func(c *cmektest.Chances) { c.GatewayTimeout = 1 }, 504, "timeout", false},
		{cmektest.RateLimited, func(c *cmektest.Chances) { c.RateLimited = 1 }, 429, "slow down", true},
		{cmektest.RateLimitedRetryAfter, func(c *cmektest.Chances) { c.RateLimitedRetryAfter = 1 }, 429, "rate limit exceeded", true},
		{cmektest.ProxyAuthentication, func(c *cmektest.Chances) { c.ProxyAuthentication = 1 }, 407, "<html>", true},
	} {
		for _, acted := range []float64{0, 1} {
			t.Run(fmt.Sprintf("%s, acted %v", tc.fault, acted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var p cmektest.Profile
					tc.set(&p.Writes)
					p.Writes.Acted = acted
					s := &server{}
					n := cmektest.NewNetwork(s, newRandom(1), p)
					resp, err := send(t, n, http.MethodPut, cmekURL)
					if err != nil {
						t.Fatal(err)
					}
					body, err := read(t, resp)
					if resp.StatusCode != tc.status && resp.StatusCode/100 != tc.status || !strings.Contains(body, tc.body) || err != nil {
						t.Errorf("got %d %q %v, want %d with %q", resp.StatusCode, body, err, tc.status, tc.body)
					}
					if tc.body == "" && body != "" {
						t.Errorf("the body is %q, want none", body)
					}
					if got := resp.Header.Get("Retry-After") != ""; got != (tc.fault == cmektest.RateLimitedRetryAfter) {
						t.Errorf("Retry-After present: %v", got)
					}
					want := 0
					if acted == 1 && !tc.refuses {
						want = 1
					}
					if s.got[http.MethodPut] != want || s.open != 0 {
						t.Errorf("the server got %d PUTs with %d open bodies, want %d and none", s.got[http.MethodPut], s.open, want)
					}
					log := n.Log()
					if len(log) != 1 || log[0].Fault != tc.fault || log[0].Acted != (want == 1) ||
						log[0].Method != http.MethodPut || log[0].Path != "/api/v1/clusters/c-1/cmek" || n.Counts()[tc.fault] != 1 {
						t.Errorf("the log is %v", log)
					}
					if resp, err := send(t, n, http.MethodGet, cmekURL); err != nil || resp.StatusCode != http.StatusOK || len(n.Log()) != 1 {
						t.Errorf("a read met a fault of writes: %v %v", resp, err)
					}
				})
			})
		}
	}
}

func TestNetwork_lossBeforeAndAfterTheServerActed(t *testing.T) {
	for _, tc := range []struct {
		chances cmektest.Chances
		cause   syscall.Errno
		acted   int
	}{
		{cmektest.Chances{RefuseConnection: 1}, syscall.ECONNREFUSED, 0},
		{cmektest.Chances{LoseRequest: 1}, syscall.ECONNRESET, 0},
		{cmektest.Chances{LoseAnswer: 1}, syscall.ECONNRESET, 1},
	} {
		s := &server{}
		n := cmektest.NewNetwork(s, newRandom(1), cmektest.Profile{Writes: tc.chances})
		resp, err := send(t, n, http.MethodPut, cmekURL)
		if resp != nil || !errors.Is(err, tc.cause) {
			t.Errorf("%+v: got %v %v, want %v", tc.chances, resp, err, tc.cause)
		}
		if _, ok := errors.AsType[*net.OpError](err); !ok {
			t.Errorf("%+v: the error %v is none of the network", tc.chances, err)
		}
		if s.got[http.MethodPut] != tc.acted || s.open != 0 || n.Log()[0].Acted != (tc.acted == 1) {
			t.Errorf("%+v: the server got %d PUTs with %d open bodies, log %v", tc.chances, s.got[http.MethodPut], s.open, n.Log())
		}
	}
}

func TestNetwork_cutBody_keepsContentLength(t *testing.T) {
	n := cmektest.NewNetwork(&server{}, newRandom(1), cmektest.Profile{Reads: cmektest.Chances{CutBody: 1}})
	resp, err := send(t, n, http.MethodGet, cmekURL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := read(t, resp)
	if !errors.Is(err, io.ErrUnexpectedEOF) || int64(len(body)) >= resp.ContentLength {
		t.Errorf("read %d of %d bytes, then %v; want io.ErrUnexpectedEOF before the end", len(body), resp.ContentLength, err)
	}
}

func TestNetwork_truncatedBody_looksWhole(t *testing.T) {
	n := cmektest.NewNetwork(&server{}, newRandom(1), cmektest.Profile{Reads: cmektest.Chances{TruncateBody: 1}})
	resp, err := send(t, n, http.MethodGet, cmekURL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := read(t, resp)
	if whole := len("946684800000000000"); err != nil || int64(len(body)) != resp.ContentLength || len(body) >= whole {
		t.Errorf("read %d of %d bytes, %v; want a body shorter than %d with its own length", len(body), resp.ContentLength, err, whole)
	}
}

func TestNetwork_delays(t *testing.T) {
	for name, chances := range map[string]cmektest.Chances{"request": {DelayRequest: 1}, "answer": {DelayAnswer: 1}} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{}
			n := cmektest.NewNetwork(s, newRandom(1), cmektest.Profile{Writes: chances, LeastDelay: 5 * time.Second, MostDelay: 30 * time.Second})
			began := time.Now()
			if _, err := send(t, n, http.MethodPut, cmekURL); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			if took < 5*time.Second || took > 30*time.Second || n.Log()[0].Delay != took {
				t.Errorf("%s: the call took %s, log %v", name, took, n.Log())
			}

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPut, cmekURL, strings.NewReader("{}"))
			began = time.Now()
			_, err := n.RoundTrip(req)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("%s: after the deadline the call took %s and returned %v", name, time.Since(began), err)
			}
			if want := map[string]int{"request": 1, "answer": 2}[name]; s.got[http.MethodPut] != want || s.open != 0 {
				t.Errorf("%s: the server got %d PUTs, want %d; %d bodies open", name, s.got[http.MethodPut], want, s.open)
			}
		})
	}
}

func TestNetwork_staleAnswer_isNeverOlderThanTheBound(t *testing.T) {
	for _, bound := range []time.Duration{0, 10 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			n := cmektest.NewNetwork(&server{}, newRandom(7), cmektest.Profile{
				Reads:      cmektest.Chances{ServeStale: 0.7, DelayAnswer: 0.2, DelayRequest: 0.2},
				LeastDelay: time.Second, MostDelay: 40 * time.Second, StaleFor: bound,
			})
			most, oldest := min(bound, cmektest.MostStale), time.Duration(0)
			if bound == 0 {
				most = cmektest.MostStale
			}
			random := newRandom(8)
			for i := range 3000 {
				stale := n.Counts()[cmektest.ServeStale]
				resp, err := send(t, n, http.MethodGet, []string{cmekURL, cmekURL + "?page=2"}[i%2])
				if err != nil {
					t.Fatal(err)
				}
				body, _ := read(t, resp)
				at, _ := strconv.ParseInt(body, 10, 64)
				age := time.Since(time.Unix(0, at))
				if n.Counts()[cmektest.ServeStale] > stale {
					oldest = max(oldest, age)
					if last := n.Log()[len(n.Log())-1]; last.Age != age {
						t.Fatalf("the answer is %s old, the log says %s", age, last.Age)
					}
				} else if age > 40*time.Second {
					t.Fatalf("an answer is %s old without the fault", age)
				}
				time.Sleep(time.Duration(random.Int64N(int64(3 * time.Second))))
			}
			if oldest > most || oldest < most*9/10 {
				t.Errorf("bound %s: the oldest stale answer was %s old, want close to %s and no more", bound, oldest, most)
			}
		})
	}
}

func TestNetwork_staleAnswer_isOfTheSameURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := cmektest.NewNetwork(&server{}, newRandom(1), cmektest.Profile{Reads: cmektest.Chances{ServeStale: 1}})
		_, _ = send(t, n, http.MethodGet, cmekURL)
		time.Sleep(time.Second)
		_, _ = send(t, n, http.MethodGet, cmekURL+"?page=2")
		if len(n.Log()) != 0 {
			t.Errorf("a stale answer of another URL was served: %v", n.Log())
		}
	})
}

// The default world of the simulator: org-admin may read what keyturn writes, and has a rate limit of its own.
const (
	adminKey   = "CCDB1_SAMPLEadminSAMPLEadmin_SAMPLEadminSAMPLEadminSAMPLEadminSAMPLEa"
	paymentsID = "7c1d9e20-3a4b-4c5d-8e6f-000000000001"
)

func TestNetwork_probe_servesTheStateBeforeAPUT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world, err := simulator.New(simulator.DefaultSeed(), simulator.WithRand(newRandom(1)))
		if err != nil {
			t.Fatal(err)
		}
		n := cmektest.NewNetwork(simulator.Transport(world.CloudAPI()), newRandom(1), cmektest.Profile{
			Reads: cmektest.Chances{ServeStale: 1}, Probe: adminKey,
		})
		ask := func(through http.RoundTripper, method, path, body string) string {
			client := http.Client{Transport: through}
			req, _ := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1"+path, strings.NewReader(body))
			req.Header.Set("Authorization", "Bearer "+simulator.SampleAPIKey)
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, err := read(t, resp)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, text, err)
			}
			return text
		}
		const path = "/api/v1/clusters/" + paymentsID + "/cmek"
		before := ask(simulator.Transport(world.CloudAPI()), "GET", path, "")
		ask(n, "PUT", path, `{"region_specs":[{"region":"us-east-1","key_spec":{"type":"AWS_KMS",`+
			`"uri":"arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001",`+
			`"auth_principal":"arn:aws:iam::111122223333:role/payments-cmek"}}]}`)
		sent, served := time.Now(), 0
		for range 60 {
			time.Sleep(time.Second)
			if ask(n, "GET", path, "") != before {
				continue
			}
			served++
			if since := time.Since(sent); since > cmektest.MostStale {
				t.Errorf("the state before the PUT was served %s after it", since)
			}
		}
		if served == 0 {
			t.Errorf("the state before the PUT was never served: %v", n.Log())
		}
		requests := map[string]int{}
		for _, r := range world.Requests() {
			requests[r.Caller]++
		}
		if requests["keyturn"] != 62 || requests["org-admin"] != 2 {
			t.Errorf("the requests by caller are %v, want 62 of keyturn and 2 probes of org-admin", requests)
		}
	})
}

func TestNetwork_outage(t *testing.T) {
	for name, tc := range map[string]struct {
		outage cmektest.Outage
		puts   func(n int) bool
	}{
		"the server acts":             {cmektest.Outage{Faults: []cmektest.NetworkFault{cmektest.PlainUnavailable}, Acts: 1}, func(n int) bool { return n == 60 }},
		"the server does not act":     {cmektest.Outage{Faults: []cmektest.NetworkFault{cmektest.PlainUnavailable}}, func(n int) bool { return n == 0 }},
		"mixed, the server acts":      {cmektest.Outage{Acts: 1}, func(n int) bool { return n > 20 && n < 60 }},
		"mixed, sometimes acts":       {cmektest.Outage{Acts: 0.5}, func(n int) bool { return n > 10 && n < 40 }},
		"a refusal, the server never": {cmektest.Outage{Faults: []cmektest.NetworkFault{cmektest.RateLimited}, Acts: 1}, func(n int) bool { return n == 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{}
				tc.outage.After, tc.outage.For = 10*time.Minute, time.Hour
				n := cmektest.NewNetwork(s, newRandom(3), cmektest.Profile{Outages: []cmektest.Outage{tc.outage}})
				began := time.Now()
				for range 90 {
					broken := time.Since(began) >= 10*time.Minute && time.Since(began) < 70*time.Minute
					faults := len(n.Log())
					if _, err := send(t, n, http.MethodPut, cmekURL); err != nil {
						t.Fatal(err)
					}
					if _, err := send(t, n, http.MethodGet, cmekURL); err != nil {
						t.Fatal(err)
					}
					if got := len(n.Log()) - faults; broken && got != 2 || !broken && got != 0 {
						t.Fatalf("%s after the start %d of 2 requests met a fault", time.Since(began), got)
					}
					time.Sleep(time.Minute)
				}
				if got := s.got[http.MethodPut] - 30; !tc.puts(got) {
					t.Errorf("the server got %d of 60 PUTs during the outage", got)
				}
				if s.got[http.MethodGet] != 30 || s.open != 0 {
					t.Errorf("the server got %d GETs, want the 30 outside the outage; %d bodies open", s.got[http.MethodGet], s.open)
				}
			})
		})
	}
}

func TestNetwork_break_andSetProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := cmektest.NewNetwork(&server{}, newRandom(3), cmektest.Profile{})
		fails := func() bool {
			resp, err := send(t, n, http.MethodGet, cmekURL)
			return err != nil || resp.StatusCode != http.StatusOK
		}
		n.Break(cmektest.Outage{For: time.Hour, Faults: []cmektest.NetworkFault{cmektest.BadGateway}})
		if !fails() {
			t.Error("no fault in an outage")
		}
		n.SetProfile(cmektest.Profile{})
		if fails() {
			t.Error("a fault after the profile was replaced")
		}
	})
}

func TestNetwork_sameSeed_sameLog(t *testing.T) {
	run := func(seed uint64) (log []cmektest.Applied) {
		synctest.Test(t, func(t *testing.T) {
			s := &server{}
			p := cmektest.RandomProfile(newRandom(seed))
			p.Outages = []cmektest.Outage{{After: time.Hour, For: time.Hour, Acts: 0.5}}
			n := cmektest.NewNetwork(s, newRandom(seed), p)
			for i := range 600 {
				if resp, err := send(t, n, []string{"GET", "GET", "PUT"}[i%3], cmekURL); err == nil {
					_, _ = read(t, resp)
				}
				time.Sleep(5 * time.Second)
			}
			if log = n.Log(); s.open != 0 {
				t.Errorf("%d bodies of the server are open", s.open)
			}
		})
		return log
	}
	first, again, other := run(1), run(1), run(2)
	if !reflect.DeepEqual(first, again) || len(first) < 100 {
		t.Errorf("one seed gave two logs, of %d and %d faults", len(first), len(again))
	}
	if reflect.DeepEqual(first, other) {
		t.Error("two seeds gave one log")
	}
}

func TestNetwork_everyFaultIsCounted(t *testing.T) {
	chances := cmektest.Chances{LoseRequest: 0.1, LoseAnswer: 0.1, CutBody: 0.1}.Replaced(0.5)
	n := cmektest.NewNetwork(&server{}, newRandom(1), cmektest.Profile{Writes: chances})
	const total = 5000
	for range total {
		_, _ = send(t, n, http.MethodPut, cmekURL)
	}
	counts := n.Counts()
	for _, fault := range cmektest.Replacements {
		if got, want := counts[fault], total/2/len(cmektest.Replacements); got < want*3/4 || got > want*5/4 {
			t.Errorf("%s happened %d times of %d, want about %d", fault, got, total, want)
		}
	}
	if got := len(n.Log()); got < total*75/100 || got > total*85/100 {
		t.Errorf("%d of %d requests met a fault, want 80 %%", got, total)
	}
}
