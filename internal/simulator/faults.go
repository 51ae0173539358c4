package simulator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// Fault is one way in which a request goes wrong.
type Fault string

// Faults. In the first group the server never sees the request; in the second it has done what was asked.
const (
	ConnectionRefused Fault = "connection refused"
	Busy              Fault = "503 busy"
	RateLimited       Fault = "429 rate limited"
	ServerError       Fault = "500 with an HTML body"
	BadGateway        Fault = "502 with an HTML body"

	// LostAnswer is a connection that breaks before the answer arrives.
	LostAnswer Fault = "lost answer"
	// GatewayTimeout is a proxy that gave up waiting.
	GatewayTimeout Fault = "504 with an HTML body"
	// Hang is an answer that never comes: the request ends with its context, after an hour at the latest.
	Hang Fault = "hang"
)

// AllFaults lists the faults in the order in which chance tries them.
var AllFaults = []Fault{ConnectionRefused, Busy, RateLimited, ServerError, BadGateway, LostAnswer, GatewayTimeout, Hang}

// Faults is an http.RoundTripper that lets requests go wrong on their way to the next transport, by chance or by script.
// It is safe for concurrent use; with one caller, one random source gives one course of events. Set the fields before use.
type Faults struct {
	// Next carries the requests that get through. Required.
	Next http.RoundTripper
	// Rand decides. Required if Rates or MostLatency are set.
	Rand *rand.Rand
	// Rates are probabilities from 0 to 1; their sum must not exceed 1.
	Rates map[Fault]float64
	// Each request waits a random time between LeastLatency and MostLatency before anything happens.
	LeastLatency, MostLatency time.Duration

	mu     sync.Mutex
	script []scripted
	seen   map[string]int
}

type scripted struct {
	method string
	nth    int
	fault  Fault
}

// Fail has the nth request of the method from now on, counting from 1, go wrong. Method "" counts all requests. A scripted
// fault has precedence over chance.
func (f *Faults) Fail(method string, nth int, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = append(f.script, scripted{method, f.seen[method] + nth, fault})
}

// RoundTrip implements [http.RoundTripper].
func (f *Faults) RoundTrip(request *http.Request) (*http.Response, error) {
	fault, latency := f.draw(request.Method)
	if err := wait(request.Context(), latency); err != nil {
		closeBody(request)
		return nil, err
	}
	switch fault {
	case "":
		return f.Next.RoundTrip(request)
	case LostAnswer, GatewayTimeout, Hang:
		response, err := f.Next.RoundTrip(request)
		if err != nil {
			return nil, err
		}
		if err := response.Body.Close(); err != nil {
			return nil, fmt.Errorf("drop answer: %w", err)
		}
		return lostAnswer(request, fault)
	}
	closeBody(request)
	return instead(request, fault)
}

// draw decides about one request. Chance is asked the same questions whatever the script says, so that a script does not
// change the course of the rest.
func (f *Faults) draw(method string) (fault Fault, latency time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	latency = f.LeastLatency
	if f.MostLatency > f.LeastLatency {
		latency += time.Duration(f.Rand.Int64N(int64(f.MostLatency - f.LeastLatency)))
	}
	if len(f.Rates) > 0 {
		chance := f.Rand.Float64()
		for _, candidate := range AllFaults {
			if chance -= f.Rates[candidate]; chance < 0 {
				fault = candidate
				break
			}
		}
	}
	if f.seen == nil {
		f.seen = map[string]int{}
	}
	f.seen[""]++
	f.seen[method]++
	for _, s := range f.script {
		if (s.method == "" || s.method == method) && f.seen[s.method] == s.nth {
			fault = s.fault
		}
	}
	return fault, latency
}

// lostAnswer is what the caller sees although the server has done its work.
func lostAnswer(request *http.Request, fault Fault) (*http.Response, error) {
	switch fault {
	case LostAnswer:
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	case Hang:
		if err := wait(request.Context(), time.Hour); err != nil {
			return nil, err
		}
		return nil, os.ErrDeadlineExceeded
	}
	return htmlResponse(request, http.StatusGatewayTimeout), nil
}

// instead is the answer to a request that never reached the server.
func instead(request *http.Request, fault Fault) (*http.Response, error) {
	switch fault {
	case Busy:
		return statusResponse(request, http.StatusServiceUnavailable, codeUnavailable, "cluster lock is held by another operation"), nil
	case RateLimited:
		response := statusResponse(request, http.StatusTooManyRequests, codeResourceExhausted, "rate limit exceeded")
		response.Header.Set("Retry-After", "1")
		return response, nil
	case ServerError:
		return htmlResponse(request, http.StatusInternalServerError), nil
	case BadGateway:
		return htmlResponse(request, http.StatusBadGateway), nil
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func statusResponse(request *http.Request, status, code int, message string) *http.Response {
	body := toJSON(map[string]any{"code": code, "message": message, "details": []any{}})
	return newResponse(request, status, http.Header{"Content-Type": {"application/json"}}, body)
}

func htmlResponse(request *http.Request, status int) *http.Response {
	text := fmt.Sprintf("<html><body><h1>%d %s</h1></body></html>\n", status, http.StatusText(status))
	return newResponse(request, status, http.Header{"Content-Type": {"text/html"}}, []byte(text))
}

// wait sleeps unless the context ends first.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closeBody keeps the contract of http.RoundTripper, which closes the body of every request.
func closeBody(request *http.Request) {
	if request.Body != nil {
		_ = request.Body.Close()
	}
}
