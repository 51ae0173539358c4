package simulation_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/keyturn/keyturn/internal/alert"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// crash is what ends a process.
type crash struct{}

// fate decides, from a seed, what goes wrong for one process.
type fate struct {
	mu   sync.Mutex
	rand *rand.Rand
	*trouble
}

// trouble is what the processes of a schedule have in common. It ends when calm is called.
type trouble struct {
	common sync.Mutex
	calmed bool
	// crashes, losses are chances for each step; lost counts the PUTs to a cluster whose outcome may not be on record.
	crashes, losses float64
	lost            map[string]int
}

func (t *trouble) calm() {
	t.common.Lock()
	defer t.common.Unlock()
	t.calmed = true
}

func (t *trouble) isCalm() bool {
	t.common.Lock()
	defer t.common.Unlock()
	return t.calmed
}

func (t *trouble) lossesOf(clusterID string) int {
	t.common.Lock()
	defer t.common.Unlock()
	return t.lost[clusterID]
}

func (t *trouble) lose(clusterID string) {
	t.common.Lock()
	defer t.common.Unlock()
	t.lost[clusterID]++
}

func (f *fate) chance(p float64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rand.Float64() < p && !f.isCalm()
}

func (f *fate) within(most time.Duration) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Duration(f.rand.Int64N(int64(most))) + time.Microsecond
}

// step is a place where the process may die.
func (f *fate) step() {
	if f.chance(f.crashes) {
		panic(crash{})
	}
}

// losePUT notes that the sender of a PUT may never learn its outcome, or never get to write it down.
func (f *fate) losePUT(req *http.Request) {
	if req.Method == http.MethodPut {
		f.lose(strings.Split(req.URL.Path, "/")[4])
	}
}

// adminAPIKey is the simulator's key that may do everything.
const adminAPIKey = "CCDB1_SAMPLEadminSAMPLEadmin_SAMPLEadminSAMPLEadminSAMPLEadminSAMPLEa"

// cloudTransport is the way to the Cloud API: slow and full of lies, and the process may die around each call.
type cloudTransport struct {
	*fate
	network *cmektest.Network
}

func (c cloudTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	c.step()
	if !c.isCalm() {
		time.Sleep(c.within(500 * time.Millisecond))
	}
	faults := len(c.network.Log())
	resp, err := c.network.RoundTrip(req)
	if len(c.network.Log()) > faults {
		c.losePUT(req)
	}
	if c.chance(c.crashes) {
		c.losePUT(req)
		panic(crash{})
	}
	return resp, err
}

// kmsTransport is the way to the KMS.
type kmsTransport struct {
	*fate
	next http.RoundTripper
}

func (k kmsTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(k.within(50 * time.Millisecond))
	k.step()
	if k.chance(k.losses / 4) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return k.next.RoundTrip(req)
}

// pausing is the SDK's retryer with pauses from a seed: its own are random, and a failing seed would not replay.
type pausing struct {
	aws.RetryerV2
	rand *rand.Rand
}

// RetryDelay is up to 1 s before the second attempt, up to twice that before the next one, and so on.
func (p pausing) RetryDelay(attempt int, _ error) (time.Duration, error) {
	return time.Duration(p.rand.Int64N(int64(time.Second << min(attempt-1, 2)))), nil
}

var errLost = errors.New("the answer was lost")

// store is killed before and after writes, and loses answers.
type store struct {
	*fate
	ledger.Store
}

func (s store) Put(ctx context.Context, r ledger.Record) error {
	time.Sleep(s.within(20 * time.Millisecond))
	cluster := strings.TrimPrefix(r.ID, "cluster#")
	if s.chance(s.crashes) {
		s.lose(cluster)
		panic(crash{})
	}
	if s.chance(s.losses / 4) {
		return errLost // it was the request
	}
	err := s.Store.Put(ctx, r)
	if r.ID != "worker" && s.chance(s.crashes) {
		// The intent may be on record without a PUT: its author died in between.
		panic(crash{})
	}
	if s.chance(s.losses / 4) {
		return errLost
	}
	return err
}

// archive and notifier die and fail around each delivery.
type archive struct {
	*fate
	cmek.Archive
}

func (a archive) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	a.step()
	if a.chance(a.losses) {
		return errLost
	}
	err := a.Archive.PutIfAbsent(ctx, name, data)
	a.step()
	return err
}

type notifier struct {
	*fate
	alert.Notifier
}

func (n notifier) Notify(ctx context.Context, a alert.Alert) error {
	n.step()
	if n.chance(n.losses) {
		return errLost
	}
	err := n.Notifier.Notify(ctx, a)
	n.step()
	return err
}
