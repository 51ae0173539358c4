package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// scene is one installation of keyturn with a world of its own around it.
type scene struct {
	t       *testing.T
	world   *simulator.World
	account *account
	wire    *wire
	ledger  *ledger.Ledger
	// events feeds rotation, clock makes it look for what is due.
	events *mapping
	clock  *clock
	// troubles are the invocations that failed.
	troubles []error
}

// settings make rotation as quick as it can be. The sweep is left at an hour: after the first one, what is followed is
// followed because of an event.
var settings = []string{
	"KEYTURN_MODE=follow", "KEYTURN_SETTLE=1s", "KEYTURN_POLL=500ms", "KEYTURN_CONFIRM=1s", "KEYTURN_GRACE=3s",
	"KEYTURN_SWEEP_EVERY=1h", "KEYTURN_LOG_LEVEL=DEBUG",
}

// quick are the switches of a world whose operations take no longer than a test likes to wait.
var quick = map[string]string{
	simulator.RotationDuration: "1s", simulator.KMSPropagation: "500ms", simulator.KMSRotationTime: "500ms",
}

// endToEnd lets a test run together with all others, or skips it.
func endToEnd(t *testing.T) {
	t.Helper()
	if !enabled() {
		t.Skip("end-to-end tests run with KEYTURN_E2E=1: make e2e")
	}
	t.Parallel()
}

// must ends the test if err is not nil.
func must(t *testing.T, err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// newScene sets up a world and an installation in it, with settings for rotation besides those above, and lets it
// see every cluster once.
func newScene(t *testing.T, seed simulator.Seed, more ...string) *scene {
	t.Helper()
	return newSceneOf(t, plain, seed, more...)
}

// newSceneOf is newScene with another variant of the deployment.
func newSceneOf(t *testing.T, v variant, seed simulator.Seed, more ...string) *scene {
	t.Helper()
	endToEnd(t)
	seed.Switches = quick
	world, err := simulator.New(seed)
	must(t, err, "make the world")
	a := newAccount(t, v)
	s := &scene{t: t, world: world, account: a, wire: &wire{t: t, account: a}}
	s.events = a.feed(a.function("rotation-event", world, s.wire, slices.Concat(settings, more)...))
	s.clock = a.clock(a.function("rotation-tick", world, s.wire, slices.Concat(settings, more)...))
	s.ledger = ledger.New(amazon.NewStore(a.config, a.table), rand.New(rand.NewPCG(1, 2)))

	s.until("the first sweep has seen every cluster", time.Minute, func() string {
		worker, err := s.ledger.Worker(t.Context())
		if err != nil || worker.Sweep.Complete.IsZero() {
			return fmt.Sprintf("the sweep is not complete (%v)", err)
		}
		return ""
	})
	if puts := world.PUTs(); len(puts) > 0 {
		t.Fatalf("the first sweep sent %d PUTs, although no key has rotated since the store keys were wrapped: %+v", len(puts), puts)
	}
	return s
}

// wait measures the time that a test gives something: what it returns says whether that time is over. Of the time between two
// questions no more than a second counts, since a call to moto_server was seen to hang for half a minute.
func wait(within time.Duration) (over func() bool) {
	last := time.Now()
	return func() bool {
		within -= min(time.Since(last), time.Second)
		last = time.Now()
		return within <= 0
	}
}

// until lets time pass: queue and clock invoke rotation in turn, until missing returns "". It fails the test after the
// given time with what was missing last.
func (s *scene) until(what string, within time.Duration, missing func() string) {
	s.t.Helper()
	const pause = 500 * time.Millisecond
	for over := wait(within); ; time.Sleep(pause) {
		_, polled := s.events.rush()
		if err := errors.Join(polled, s.clock.tick()); err != nil {
			s.troubles = append(s.troubles, err)
		}
		lack := missing()
		if lack == "" {
			return
		}
		if over() {
			s.t.Fatalf("waited %s until %s; missing: %s\nfailed invocations: %v\nend of the log of ticks:\n%s",
				within, what, lack, s.troubles, s.clock.lambda.log.tail())
		}
	}
}

// deliver puts everything that AWS emitted since the last call on the bus, each event as often as said, and returns it.
func (s *scene) deliver(times int) []simulator.Event {
	s.t.Helper()
	emitted := s.world.Events()
	var payloads [][]byte
	for _, e := range emitted {
		payloads = append(payloads, slices.Repeat([][]byte{e.Payload}, times)...)
	}
	s.account.emit(payloads...)
	return emitted
}
