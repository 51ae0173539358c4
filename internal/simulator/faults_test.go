package simulator_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/simulator"
)

func requestFor(t testing.TB, cluster string) *http.Request {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://cloud.test/api/v1/clusters/"+cluster+"/cmek", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+simulator.SampleAPIKey)
	return request
}

// putThrough sends the PUT of payments through the faults.
func putThrough(t *testing.T, ctx context.Context, faults *simulator.Faults) (*http.Response, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://cloud.test/api/v1/clusters/"+payments+"/cmek", strings.NewReader(specBody(paymentsSpec)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+simulator.SampleAPIKey)
	return faults.RoundTrip(request)
}

func TestScriptedFaults(t *testing.T) {
	tests := []struct {
		fault     simulator.Fault
		status    int
		err       error
		inBody    string
		processed bool
	}{
		{simulator.ConnectionRefused, 0, syscall.ECONNREFUSED, "", false},
		{simulator.Busy, 503, nil, `"code":14`, false},
		{simulator.RateLimited, 429, nil, "rate limit exceeded", false},
		{simulator.ServerError, 500, nil, "<html>", false},
		{simulator.BadGateway, 502, nil, "<html>", false},
		{simulator.LostAnswer, 0, syscall.ECONNRESET, "", true},
		{simulator.GatewayTimeout, 504, nil, "<html>", true},
		{simulator.Hang, 0, context.DeadlineExceeded, "", true},
	}
	if len(tests) != len(simulator.AllFaults) {
		t.Errorf("%d faults tested of %d", len(tests), len(simulator.AllFaults))
	}
	for _, tt := range tests {
		t.Run(string(tt.fault), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				world := newWorld(t)
				faults := &simulator.Faults{Next: simulator.Transport(world.CloudAPI())}
				faults.Fail(http.MethodPut, 1, tt.fault)
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				response, err := putThrough(t, ctx, faults)
				if !errors.Is(err, tt.err) {
					t.Fatalf("error is %v, want %v", err, tt.err)
				}
				if _, isNetwork := errors.AsType[*net.OpError](err); err != nil && tt.fault != simulator.Hang && !isNetwork {
					t.Errorf("error %v is no *net.OpError, as a real connection's would be", err)
				}
				if err == nil {
					body, _ := io.ReadAll(response.Body)
					reply{response.StatusCode, response.Header, string(body)}.want(t, tt.status, tt.inBody)
				}
				if processed := len(world.PUTs()) == 1; processed != tt.processed {
					t.Errorf("the server saw the PUT: %v, want %v", processed, tt.processed)
				}
				time.Sleep(time.Minute)
				if response, err := putThrough(t, context.Background(), faults); err != nil || response.StatusCode != http.StatusOK {
					t.Errorf("the next PUT: %v, %v; want it to get through", response, err)
				}
			})
		})
	}
}

func TestFaultsByChanceReplay(t *testing.T) {
	course := func() string {
		var told strings.Builder
		bubble(t, func(t *testing.T) {
			faults := &simulator.Faults{
				Next: simulator.Transport(newWorld(t).CloudAPI()), Rand: rand.New(rand.NewPCG(7, 7)),
				Rates:       map[simulator.Fault]float64{simulator.LostAnswer: 0.2, simulator.Busy: 0.2, simulator.BadGateway: 0.2},
				MostLatency: time.Second,
			}
			start := time.Now()
			for range 50 {
				response, err := faults.RoundTrip(requestFor(t, payments))
				if err != nil {
					told.WriteString(err.Error() + "\n")
				} else {
					told.WriteString(response.Status + "\n")
				}
				time.Sleep(time.Second)
			}
			told.WriteString(time.Since(start).String())
		})
		return told.String()
	}
	first := course()
	if first != course() {
		t.Error("one random source gave two courses of events")
	}
	for _, want := range []string{"OK", "Bad Gateway", "Service Unavailable", "connection reset"} {
		if !strings.Contains(first, want) {
			t.Errorf("fifty requests never met %q", want)
		}
	}
}

func TestTheTransportHonorsContextAndRequest(t *testing.T) {
	world := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := simulator.Transport(world.CloudAPI()).RoundTrip(requestFor(t, payments).WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled request got %v", err)
	}
	if len(world.Requests()) != 0 {
		t.Error("a canceled request reached the server")
	}
}
