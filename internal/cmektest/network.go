package cmektest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// MostStale is the greatest age of a stale answer. Two reads that are further apart than this cannot both show a state from
// before the first of them was sent.
const MostStale = 45 * time.Second

// Network is an http.RoundTripper between a client and the Cloud API that loses, delays, cuts or replaces answers and serves
// stale ones, as networks, proxies and caches do. A request meets at most one fault besides delays.
//
// It has no goroutines, and no timers but those of the delays of running requests, so it works under testing/synctest. Every
// request draws the same number of random values whatever happens to it: one seed and one sequence of requests give one log.
// It is safe for concurrent use.
type Network struct {
	next http.RoundTripper

	mu      sync.Mutex
	random  *rand.Rand
	profile Profile
	outages []period
	log     []Applied
	history history
}

// period is an outage with its times.
type period struct {
	from, until time.Time
	Outage
}

// NewNetwork puts a network with the profile in front of the next transport. It is the only user of the random source.
func NewNetwork(next http.RoundTripper, random *rand.Rand, profile Profile) *Network {
	n := &Network{next: next, random: random}
	n.SetProfile(profile)
	return n
}

// SetProfile replaces the profile and all outages from now on; outages of the new profile count from now. The zero Profile
// lets everything through.
func (n *Network) SetProfile(profile Profile) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.profile, n.outages = profile, nil
	for _, o := range profile.Outages {
		n.outages = append(n.outages, newPeriod(o))
	}
}

// Break begins another outage; its times count from now.
func (n *Network) Break(o Outage) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.outages = append(n.outages, newPeriod(o))
}

func newPeriod(o Outage) period {
	from := time.Now().Add(o.After)
	return period{from, from.Add(o.For), o}
}

// Applied is the record of one fault.
type Applied struct {
	// Time is when the request arrived at the network.
	Time   time.Time
	Method string
	// Path is the URL's path.
	Path  string
	Fault NetworkFault
	// Acted reports whether the request reached the server.
	Acted bool
	// Delay is the time that a delay takes, Age how old the stale answer was when it was delivered.
	Delay, Age time.Duration
}

func (a Applied) String() string {
	text := fmt.Sprintf("%s %s %s: %s", a.Time.UTC().Format("2006-01-02 15:04:05.000"), a.Method, a.Path, a.Fault)
	if a.Delay > 0 {
		text += fmt.Sprintf(" by %s", a.Delay)
	}
	if a.Age > 0 {
		text += fmt.Sprintf(", %s old", a.Age)
	}
	if !a.Acted {
		text += ", server not reached"
	}
	return text
}

// Log returns the faults applied, in the order in which they took effect.
func (n *Network) Log() []Applied {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.log)
}

// Counts returns how often each fault was applied.
func (n *Network) Counts() map[NetworkFault]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	counts := map[NetworkFault]int{}
	for _, a := range n.log {
		counts[a.Fault]++
	}
	return counts
}

// RoundTrip implements [http.RoundTripper].
func (n *Network) RoundTrip(req *http.Request) (*http.Response, error) {
	c := n.draw(req)
	if err := c.sleep(DelayRequest, c.requestDelay, c.reaches); err != nil {
		closeBody(req)
		return nil, err
	}
	if !c.reaches {
		closeBody(req)
		if err := c.sleep(DelayAnswer, c.answerDelay, false); err != nil {
			return nil, err
		}
		c.note(Applied{Fault: c.fault})
		return c.withoutServer()
	}
	n.probe(req)
	asked := time.Now()
	resp, body, err := exchange(n.next, req)
	if err != nil {
		return nil, err
	}
	n.remember(req, resp, body, asked)
	if err := c.sleep(DelayAnswer, c.answerDelay, true); err != nil {
		return nil, err
	}
	return c.answer(resp, body, asked)
}

// exchange returns the answer with its whole body, which is in memory and need not be closed.
func exchange(next http.RoundTripper, req *http.Request) (resp *http.Response, body []byte, err error) {
	if resp, err = next.RoundTrip(req); err != nil {
		return nil, nil, err
	}
	body, err = io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, body, nil
}

// call is one request and what was drawn for it.
type call struct {
	network *Network
	req     *http.Request
	began   time.Time

	requestDelay, answerDelay time.Duration
	fault                     NetworkFault
	// reaches: the request is forwarded to the server.
	reaches bool
	// detail, from 0 to 1, says where a body is cut, how old a stale answer may be, and which variant of an answer is given.
	detail float64
}

// draw decides about a request. Faults that prove a refusal to the client never let the server act.
func (n *Network) draw(req *http.Request) call {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := call{network: n, req: req, began: time.Now()}
	isRead := req.Method == http.MethodGet || req.Method == http.MethodHead
	chances := n.profile.Writes
	if isRead {
		chances = n.profile.Reads
	}
	delayRequest, delayAnswer := n.random.Float64() < chances.DelayRequest, n.random.Float64() < chances.DelayAnswer
	requestDelay, answerDelay := n.profile.delay(n.random.Float64()), n.profile.delay(n.random.Float64())
	if delayRequest {
		c.requestDelay = requestDelay
	}
	if delayAnswer {
		c.answerDelay = answerDelay
	}
	luck, mix, acts := n.random.Float64(), n.random.Float64(), n.random.Float64()
	c.detail = n.random.Float64()

	c.fault = chances.pick(luck)
	acted := acts < chances.Acted
	for _, o := range n.outages {
		if !c.began.Before(o.from) && c.began.Before(o.until) {
			c.fault = o.pick(mix)
			acted = !isRead && acts < o.Acts
		}
	}
	if c.fault == ServeStale && req.Method != http.MethodGet {
		c.fault = ""
	}
	c.reaches = c.fault == "" || c.fault.needsServer() || acted && !c.fault.refuses()
	return c
}

func (c call) note(a Applied) {
	a.Time, a.Method, a.Path = c.began, c.req.Method, c.req.URL.Path
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	c.network.log = append(c.network.log, a)
}

// sleep delays the request or its answer, until the request's context ends at the latest. A request whose context ends does
// not reach the server any more.
func (c call) sleep(fault NetworkFault, d time.Duration, acted bool) error {
	ctx := c.req.Context()
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	err := ctx.Err()
	c.note(Applied{Fault: fault, Acted: acted && (fault == DelayAnswer || err == nil), Delay: d})
	return err
}

// withoutServer is what the client gets for a request that was not forwarded.
func (c call) withoutServer() (*http.Response, error) {
	switch c.fault {
	case RefuseConnection:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case LoseRequest:
		return nil, lost()
	}
	return c.replacement(), nil
}

// answer is what the client gets of the answer for which the server was asked at that time.
func (c call) answer(resp *http.Response, body []byte, asked time.Time) (*http.Response, error) {
	applied := Applied{Fault: c.fault, Acted: true}
	cut := min(int(c.detail*float64(len(body))), len(body))
	switch c.fault {
	case "":
		return resp, nil
	case ServeStale:
		old, ok := c.network.recall(c.req, asked, c.detail)
		if !ok {
			return resp, nil
		}
		applied.Age = time.Since(old.taken)
		resp = old.response(c.req)
	case LoseAnswer:
		c.note(applied)
		return nil, lost()
	case CutBody:
		setLength(resp, len(body))
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:cut]), broken{}))
	case TruncateBody:
		setLength(resp, cut)
		resp.Body = io.NopCloser(bytes.NewReader(body[:cut]))
	default:
		resp = c.replacement()
	}
	c.note(applied)
	return resp, nil
}

func lost() error {
	return fmt.Errorf("%w: %w", ErrLost, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)})
}

func setLength(resp *http.Response, n int) {
	resp.ContentLength = int64(n)
	resp.Header.Set("Content-Length", strconv.Itoa(n))
	resp.TransferEncoding = nil
}

// broken is the end of a body whose connection broke.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// closeBody keeps the contract of http.RoundTripper, which closes the body of every request.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
