package rotation

import (
	"flag"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

var deeper = flag.Int("deeper", 0, "levels, deviations and earlier views to explore beyond what TestExplore does by default")

// A model check: it goes through every order in which events, two workers, the server's answers, stale reads and time can follow
// one another, up to the depth of each variant, and checks every state that it comes to. A state is explored once, whatever led
// to it. Variants with deviations go on until all is done, and depart from the usual course so many times. From each state at
// the greatest depth, one worker without further faults must come to an end within a day.
//
// The workers run decidePoll, decideSend, answer, stay and open as worker.go does; reads, swaps, the request and its answer are
// steps of their own, and a worker may die between any two. The lease is left out: the swap alone must keep workers apart.
// Deeper: go test ./functions/rotation -run TestExplore -v -timeout 2h -deeper 2
func TestExplore_everyInterleavingKeepsThePromises(t *testing.T) {
	onBothClouds(t, testExplore_everyInterleavingKeepsThePromises)
}

func testExplore_everyInterleavingKeepsThePromises(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // much garbage, little to keep
	states, blind := 0, 0
	for _, v := range variants {
		if v.soak && *deeper == 0 {
			continue // minutes
		}
		t.Run(v.name, func(t *testing.T) {
			if v.deviations != 0 {
				v.deviations = max(v.deviations, 0) + *deeper
				v.usually = true
			} else {
				v.depth += *deeper
			}
			e := explore(t, v, v.depth)
			states, blind = states+len(e.states), blind+e.blind
			t.Log(e.String())
		})
	}
	violations := "0 violations"
	if t.Failed() {
		violations = "with violations"
	}
	t.Logf("%d states in %d variants, %s; second PUTs in the one undecidable case: %d", states, len(variants), violations, blind)

}

// What happened before an exploration begins.
var (
	afterSettling = []string{"event 2 to c-1", settled}
	afterSending  = slices.Concat(afterSettling, []string{"worker 0 reads c-1", "worker 0 swaps", "worker 0 reads again", "worker 0 swaps"})
	afterUnknown  = slices.Concat(afterSending, []string{"PUT accepted, answer unknown", "worker 0 records"})
	afterLoss     = slices.Concat(afterSending, []string{"PUT lost", "worker 0 records"})
)

// orderSending: the order's PUT is under way.
var orderSending = []string{"worker 0 reads c-1", "worker 0 swaps", "worker 0 reads c-1", "worker 0 swaps", "worker 0 reads again", "worker 0 swaps"}

// settled stands for as many steps of time as the version settles.
const settled = "+settle"

// none allows no deviations: only the usual course, with somebody else's PUTs.
const none = -1

// unbounded is the depth of a variant that is bounded by its deviations.
const unbounded = 90

var variants = []variant{
	{name: "from the rotation on", keys: true, weather: true, depth: 6},
	{name: "event without version", unversioned: true, depth: 7},
	{name: "settled", after: afterSettling, weather: true, depth: 7},
	{name: "two clusters", twoClusters: true, after: []string{"event 2 to c-1", "event 2 to c-2", settled}, depth: 6},
	{name: "sent", after: afterSending, keys: true, depth: 5},
	{name: "sent, updated_at stays", after: afterSending, stays: true, depth: 6},
	{name: "sent, updated_at stays, a sweep is due", after: afterSending, stays: true, sweepDue: true, depth: 6},
	{name: "sent, second PUT rotates", after: afterSending, rotates: true, depth: 5},
	{name: "sent, a proxy lies", after: afterSending, lies: true, depth: 5},
	{name: "unknown", after: afterUnknown, depth: 5},
	{name: "unknown, updated_at stays", after: afterUnknown, stays: true, depth: 5},
	{name: "unknown, second PUT rotates", after: afterUnknown, rotates: true, endOnly: true, depth: 5},
	{name: "lost", after: afterLoss, moves: true, depth: 7},

	{name: "an order", ordered: true, depth: 6},
	{name: "an order, settled", ordered: true, after: []string{"event 2 to c-1", "+10m0s"}, keys: true, depth: 5},
	{name: "an order, deviations", ordered: true, weather: true, lies: true, deviations: 1, depth: unbounded},
	{name: "an order, updated_at stays, deviations", ordered: true, stays: true, keys: true, deviations: 1, depth: unbounded},
	{name: "an order, somebody else", ordered: true, others: 2, deviations: none, depth: unbounded},
	{name: "an order, somebody else, updated_at stays", ordered: true, others: 2, stays: true, deviations: none, depth: unbounded},
	{name: "an order, unknown, somebody else", ordered: true, after: append(slices.Clip(orderSending), "PUT accepted, answer unknown"), others: 1, deviations: none, depth: unbounded},
	{name: "an order, lost, somebody else", ordered: true, after: append(slices.Clip(orderSending), "PUT lost"), others: 1, deviations: none, depth: unbounded},
	{name: "an order, killed, somebody else", ordered: true, after: append(slices.Clip(orderSending), "worker 0 is killed"), others: 2, deviations: none, depth: unbounded},
	{name: "an order, somebody else fails", ordered: true, others: 1, othersFail: true, deviations: none, depth: unbounded},
	{name: "an order, somebody else, deviations", ordered: true, others: 1, lies: true, deviations: 1, depth: unbounded, soak: true},
	{name: "somebody else", after: afterSettling, others: 2, deviations: none, depth: unbounded},
	{name: "somebody else, updated_at stays", after: afterSettling, others: 2, stays: true, deviations: none, depth: unbounded},
	{name: "unknown, somebody else", after: afterUnknown, others: 1, deviations: none, depth: unbounded},
	{name: "somebody else, deviations", after: afterSettling, others: 1, deviations: 1, depth: unbounded, soak: true},
	{name: "deviations", after: afterSettling, keys: true, weather: true, lies: true, deviations: 1, depth: unbounded},
	{name: "deviations, updated_at stays", after: afterSettling, stays: true, weather: true, deviations: 2, depth: unbounded},
	{name: "deviations, second PUT rotates", after: afterSettling, rotates: true, endOnly: true, offset: -clockOffset, deviations: 1, depth: unbounded},
	{name: "deviations, two clusters", twoClusters: true, after: []string{"event 2 to c-1", "event 2 to c-2", settled}, moves: true, lies: true,
		offset: clockOffset, deviations: 1, depth: unbounded},
}

// exploration is the search, breadth first: the first violation found is one with the fewest steps.
type exploration struct {
	t       *testing.T
	variant variant
	depth   int
	// states are those found; ends those from which everything comes to its end.
	states         map[modelPrint]int8 // with the fewest deviations on the way
	ends           map[modelPrint]bool
	steps, leaves  int
	blind, reached int
}

// node is a state and how it was reached.
type node struct {
	*model
	path       *path
	deviations int
}

type path struct {
	before *path
	step   string
}

func (p *path) String() string {
	var steps []string
	for ; p != nil; p = p.before {
		steps = append(steps, p.step)
	}
	slices.Reverse(steps)
	return strings.Join(steps, "\n    ")
}

func explore(t *testing.T, v variant, depth int) *exploration {
	e := &exploration{t: t, variant: v, depth: depth, states: map[modelPrint]int8{}, ends: map[modelPrint]bool{}}
	start := node{model: newModel(v)}
	var after []string
	for _, want := range v.after {
		if want != settled {
			after = append(after, want)
			continue
		}
		after = append(after, slices.Repeat([]string{"+10m0s"}, max(1, int(modelSettle()/(10*time.Minute))))...)
	}
	for _, want := range after {
		n, ok := e.follow(start, want)
		if !ok {
			t.Fatalf("no step %q after\n    %s", want, start.path)
		}
		start = n
	}
	e.states[start.print(v)] = 0
	level := []node{start}
	for ; e.reached < depth && len(level) > 0 && !t.Failed(); e.reached++ {
		var next []node
		for _, n := range level {
			next = append(next, e.expand(n)...)
		}
		level = next
	}
	e.leaves = len(level)
	for _, n := range level {
		if t.Failed() {
			break
		}
		e.checkEnds(n)
	}
	return e
}

func (e *exploration) String() string {
	bound := "all interleavings"
	if e.variant.usually {
		bound = fmt.Sprintf("all with up to %d deviations from the usual course", e.variant.deviations)
	}
	return fmt.Sprintf("%d states, %d steps, depth %d after %d, %s; second PUTs in the undecidable case %d; followed to their end %d",
		len(e.states), e.steps, e.reached, len(e.variant.after), bound, e.blind, e.leaves)
}

// follow takes the step of the name given.
func (e *exploration) follow(n node, want string) (next node, found bool) {
	n.each(e.variant, func(name string, apply func(*model)) {
		if name == want && !found {
			m := n.clone()
			apply(m)
			next, found = node{m, &path{n.path, name}, 0}, true
		}
	})
	return next, found
}

// expand takes every step that the state allows, and returns the states that are new.
func (e *exploration) expand(n node) (next []node) {
	usual, complete := "", false
	if e.variant.usually {
		if complete = n.complete(); complete && n.others >= e.variant.others {
			return nil
		}
		usual = n.usual(e.variant)
	}
	n.each(e.variant, func(name string, apply func(*model)) {
		if e.t.Failed() {
			return
		}
		if complete && !strings.HasPrefix(name, somebody) {
			return
		}
		deviations := n.deviations
		if usual != "" && name != usual && !strings.HasPrefix(name, somebody) {
			if deviations++; deviations > e.variant.deviations {
				return
			}
		}
		m := n.clone()
		apply(m)
		m.check()
		e.steps++
		if m.problem != "" {
			e.t.Errorf("%s, after\n    %s", m.problem, &path{n.path, name})
			return
		}
		id := m.print(e.variant)
		if fewest, known := e.states[id]; known && int(fewest) <= deviations {
			return
		}
		e.states[id] = int8(deviations)
		if m.blind > n.blind {
			e.blind++
		}
		next = append(next, node{m, &path{n.path, name}, deviations})
	})
	return next
}

// The budgets of what happens to a key and to operations.
const (
	mostRotations = 1
	mostFailures  = 2
)

// each calls do with every step that the state allows.
func (m *model) each(v variant, do func(name string, apply func(*model))) {
	for i := range m.events {
		for cluster, item := range m.items {
			do("event "+strconv.Itoa(i+2)+" to "+item.ID, func(m *model) { m.deliverEvent(i, cluster) })
		}
	}
	others := false // of two idle workers one is as good as the other
	for n := range m.workers {
		if m.workers[n].phase == isIdle {
			if !others {
				m.eachPoll(v, n, do)
			}
			others = true
			continue
		}
		m.eachOf(v, n, do)
		do(fmt.Sprintf("worker %d is killed", n), func(m *model) { m.die(n) })
	}
	for i, p := range m.orphans {
		if _, refused := m.refuses(v, p); !refused {
			do("PUT accepted, its worker is gone", func(m *model) { m.arrive(i); m.accept(v, p) })
		}
		do("PUT lost, its worker is gone", func(m *model) { m.arrive(i) })
	}
	m.eachOutside(v, do)
	m.eachOther(v, do)
	for _, d := range []time.Duration{10 * time.Second, 50 * time.Second, 10 * time.Minute} {
		if m.mayPass(d) {
			do("+"+d.String(), func(m *model) { m.now = m.now.Add(d) })
		}
	}
}

// usual is the step that comes next if nothing goes wrong: one worker polls what is due, the server accepts, operations end well.
func (m *model) usual(v variant) string {
	for n, w := range m.workers {
		switch w.phase {
		case hasPolled, hasVisited, hasReread:
			return fmt.Sprintf("worker %d swaps", n)
		case hasClaimed:
			return fmt.Sprintf("worker %d reads again", n)
		case isAnswered:
			return fmt.Sprintf("worker %d records", n)
		case takesBack:
			return fmt.Sprintf("worker %d takes its claim back", n)
		case isSending:
			if _, refused := m.refuses(v, w.request); refused {
				return "PUT refused by the server"
			}
			return "PUT accepted"
		}
	}
	if len(m.orphans) > 0 {
		if _, refused := m.refuses(v, m.orphans[0]); refused {
			return "PUT lost, its worker is gone"
		}
		return "PUT accepted, its worker is gone"
	}
	if m.key.disabled {
		return "key enabled"
	}
	next := m.now.Add(10 * time.Minute)
	for i, item := range m.items {
		if !item.NextLook.After(m.now) {
			return "worker 0 reads " + item.ID
		}
		next = earlier(next, item.NextLook)
		for _, r := range m.clouds[i].regions {
			if r.running > 0 && m.now.Sub(m.audit(i, r.name, r.sentFor).at) >= 2*time.Minute {
				return "operation ends: " + item.ID + "/" + r.name
			}
		}
	}
	if m.others > 0 && m.now.Sub(m.swept) >= modelSettings.SweepEvery {
		for i, item := range m.items {
			if !m.noticed(i) {
				return "worker 0 visits " + item.ID
			}
		}
	}
	for _, d := range []time.Duration{10 * time.Minute, 50 * time.Second} {
		if next.Sub(m.now) >= d {
			return "+" + d.String()
		}
	}
	return "+10s"
}

// mayPass reports whether so much time may pass: no request is under way longer than sendWithin, no worker lives longer than its
// tick.
func (m *model) mayPass(d time.Duration) bool {
	for _, p := range m.underWay() {
		if m.now.Add(d).After(p.intent.Add(sendWithin)) {
			return false
		}
	}
	for _, w := range m.workers {
		if w.phase != isIdle && m.now.Add(d).After(w.began.Add(tickLength)) {
			return false
		}
	}
	return true
}

// die ends a worker. What it has sent may arrive all the same.
func (m *model) die(n int) {
	if w := &m.workers[n]; w.phase == isSending {
		m.orphans = append(slices.Clip(m.orphans), w.request)
	}
	m.workers[n] = modelWorker{}
}

func (m *model) arrive(orphan int) {
	m.orphans = slices.Delete(slices.Clone(m.orphans), orphan, orphan+1)
}

// eachOutside are the steps of operations and keys.
func (m *model) eachOutside(v variant, do func(string, func(*model))) {
	for i := range m.clouds {
		for j, r := range m.clouds[i].regions {
			if r.running == 0 {
				continue
			}
			name := m.items[i].ID + "/" + r.name
			do("operation ends: "+name, func(m *model) { m.end(v, i, j, true) })
			if m.failures < mostFailures {
				whose := ""
				if r.sentFor == somebodys && v.othersFail {
					whose = somebody + "'s "
				}
				do(whose+"operation fails: "+name, func(m *model) { m.failures++; m.end(v, i, j, false) })
			}
		}
	}
	if !v.keys {
		return
	}
	turn := func(change func(*model)) func(*model) {
		return func(m *model) { m.keyOld, m.keyTurn = m.key, m.now; change(m) }
	}
	switch {
	case !m.key.disabled && m.disables == 0:
		do("key disabled", turn(func(m *model) { m.key.disabled, m.disables = true, 1 }))
	case m.key.disabled:
		do("key enabled", turn(func(m *model) { m.key.disabled = false }))
	}
	if m.rotations < mostRotations && !m.key.disabled {
		do("key rotates", func(m *model) { m.rotate(v) })
	}
}

// somebody begins the names of steps that somebody else takes.
const somebody = "somebody"

// eachOther are the PUTs that somebody else may send to a cluster: of the key that a region is on, of the order's, and of a third one.
func (m *model) eachOther(v variant, do func(string, func(*model))) {
	if m.others >= v.others {
		return
	}
	for i := range m.clouds {
		for _, r := range m.clouds[i].regions {
			first := r.uri
			for _, past := range r.past {
				if keyNumber(past.uri) == 0 {
					first = past.uri
				}
			}
			for n, uri := range []cmek.KeyURI{first, newKey, thirdKey()} {
				p := modelPUT{cluster: i, specs: []cmek.RegionSpec{{Region: r.name, KeySpec: spec(uri)}}, sentFor: []int{somebodys}}
				if _, refused := m.refuses(v, p); refused || n == 1 && !v.ordered {
					continue
				}
				do(fmt.Sprintf("%s PUTs %s: %s/%s", somebody, [...]string{"the first key", "the order's key", "a third key"}[n], m.items[i].ID, r.name), func(m *model) {
					m.others++
					m.clouds[i].others++
					m.accept(v, p)
				})
			}
		}
	}
}

// eachPoll are the reads that an idle worker may begin with.
func (m *model) eachPoll(v variant, n int, do func(string, func(*model))) {
	for cluster, item := range m.items {
		start := func(to phase, info, state modelView, key modelKey) func(*model) {
			return func(m *model) {
				works := item.Work
				if to == hasVisited {
					works, m.swept = nil, m.now
				}
				m.workers[n] = modelWorker{phase: to, cluster: cluster, began: m.now, held: item, heldAt: m.version[cluster],
					reads: m.read(cluster, works, info, state, key, to == hasVisited)}
			}
		}
		views := m.views(cluster)
		due := !item.NextLook.IsZero() && !item.NextLook.After(m.now)
		if woken := v.twoClusters && waiter.waitsInOrder(item, m.now); due || woken {
			needCluster, needCMEK := needed(item, m.moves, m.now, modelSettings)
			for i, info := range views {
				for j, state := range views {
					if i > 0 && !needCMEK || j > 0 && !needCluster {
						continue
					}
					do(fmt.Sprintf("worker %d reads %s%s%s", n, item.ID, stale(", CMEK", i), stale(", cluster", j)), start(hasPolled, info, state, m.key))
				}
			}
			if m.keyOld.version > 0 && m.now.Sub(m.keyTurn) < tickLength {
				do(fmt.Sprintf("worker %d reads %s, key as before", n, item.ID), start(hasPolled, views[0], views[0], m.keyOld))
			}
		}
		if m.now.Sub(m.swept) >= modelSettings.SweepEvery {
			for i, info := range views {
				do(fmt.Sprintf("worker %d visits %s%s", n, item.ID, stale(", CMEK", i)), start(hasVisited, info, views[0], m.key))
			}
		}
	}
}

func stale(what string, n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s as %d changes before", what, n)
}

// waiter answers waitsInOrder.
var waiter = &worker{Function: &Function{Settings: modelSettings}}

// eachOf are the next steps of a worker that is not idle.
func (m *model) eachOf(v variant, n int, do func(string, func(*model))) {
	w := &m.workers[n]
	switch w.phase {
	case hasPolled:
		do(fmt.Sprintf("worker %d swaps", n), func(m *model) { m.swapPoll(n) })
	case hasVisited:
		do(fmt.Sprintf("worker %d swaps", n), func(m *model) { m.swapVisit(n) })
	case hasClaimed:
		views := m.views(w.cluster)
		for j, state := range views {
			for i, info := range views {
				if i > 0 && !(Reads{Cluster: &state.cluster}).free() {
					continue // then the CMEK is not read
				}
				do(fmt.Sprintf("worker %d reads again%s%s", n, stale(", CMEK", i), stale(", cluster", j)), func(m *model) {
					w := &m.workers[n]
					w.reads, w.others = m.reread(w, info, state), info.others
					w.phase, w.held, w.heldAt = hasReread, m.items[w.cluster], m.version[w.cluster]
				})
			}
		}
		if v.weather {
			do(fmt.Sprintf("worker %d cannot read again", n), func(m *model) { m.workers[n].phase, m.workers[n].unread = takesBack, true })
		}
	case hasReread:
		do(fmt.Sprintf("worker %d swaps", n), func(m *model) { m.swapSend(n, true, true) })
		if v.weather {
			do(fmt.Sprintf("worker %d swaps, is told that it failed", n), func(m *model) { m.swapSend(n, true, false) })
			do(fmt.Sprintf("worker %d does not swap", n), func(m *model) { m.swapSend(n, false, false) })
		}
	case isSending:
		m.eachAnswer(v, n, do)
	case isAnswered:
		do(fmt.Sprintf("worker %d records", n), func(m *model) { m.swapAnswer(n) })
	case takesBack:
		do(fmt.Sprintf("worker %d takes its claim back", n), func(m *model) { m.swapBack(n) })
	}
}

// eachAnswer are the fates of a PUT. What is unknown about its outcome is all that counts of an unknown outcome: a timeout, a
// plain 503 and a 2xx that is not the API's are one step.
func (m *model) eachAnswer(v variant, n int, do func(string, func(*model))) {
	p := m.workers[n].request
	answered := func(name string, accepted bool, a cmek.Answer) {
		do(name, func(m *model) {
			if accepted {
				m.accept(v, p)
			}
			w := &m.workers[n]
			if a.Outcome == cmek.Accepted {
				a.Info = m.clouds[p.cluster].shown.info
			}
			w.phase, w.answer = isAnswered, a
		})
	}
	if refusal, refused := m.refuses(v, p); refused {
		answered("PUT refused by the server", false, refusal)
	} else {
		answered("PUT accepted", true, cmek.Answer{Outcome: cmek.Accepted, HTTPStatus: 200})
		answered("PUT accepted, answer unknown", true, cmek.Answer{Outcome: cmek.Unknown, HTTPStatus: 503})
		answered("PUT refused for no reason", false, cmek.Answer{Outcome: cmek.Refused, HTTPStatus: 429, Busy: true})
		if v.lies {
			answered("PUT accepted, answered 429", true, cmek.Answer{Outcome: cmek.Refused, HTTPStatus: 429, Busy: true})
		}
	}
	answered("PUT lost", false, cmek.Answer{Outcome: cmek.Unknown})
	answered("PUT does not leave", false, cmek.Answer{Outcome: cmek.Refused, Unsent: true})
}

// checkEnds lets one worker go on without faults for a day, and checks that everything is re-encrypted then, or blocked for a
// reason that the design allows.
func (e *exploration) checkEnds(n node) {
	m := n.clone()
	for i := range m.workers {
		m.die(i)
	}
	for _, p := range m.orphans {
		if _, refused := m.refuses(e.variant, p); !refused {
			m.accept(e.variant, p)
		}
	}
	m.orphans, m.events, m.key.disabled = nil, nil, false
	// From here on these make no difference.
	m.keyOld, m.keyTurn, m.swept, m.memory = modelKey{}, time.Time{}, m.now, 0
	m.rotations, m.disables, m.failures = 0, 0, 0 // others decides about what is checked
	for i := range m.clouds {
		m.clouds[i].past = nil
	}
	var passed []modelPrint
	ended := map[string]time.Time{}
	for end := m.now.Add(24 * time.Hour); ; {
		id := m.print(e.variant)
		if m.complete() || e.ends[id] {
			break
		}
		passed = append(passed, id)
		m.tick(e.variant, ended)
		m.check()
		if m.problem != "" {
			e.t.Errorf("%s, in a day without faults after\n    %s", m.problem, n.path)
			return
		}
		if m.now.After(end) {
			if why := m.unended(); why != "" {
				e.t.Errorf("%s, a day without faults after\n    %s", why, n.path)
				return
			}
			break
		}
		m.pass(ended)
	}
	for _, id := range passed {
		e.ends[id] = true
	}
}

// operationTakes is how long an operation takes in a day without faults.
const operationTakes = 5 * time.Minute

// tick does everything that is due now.
func (m *model) tick(v variant, ended map[string]time.Time) {
	for i := range m.clouds {
		for j, r := range m.clouds[i].regions {
			id := fmt.Sprint(i, r.name)
			switch at := ended[id]; {
			case r.running == 0:
				delete(ended, id)
			case at.IsZero():
				ended[id] = m.now.Add(operationTakes)
			case !m.now.Before(at):
				delete(ended, id)
				m.end(v, i, j, true)
			}
		}
	}
	sweep := m.now.Sub(m.swept) >= modelSettings.SweepEvery
	for polls := 0; polls < 2*pollsPerTick; polls++ {
		cluster := slices.IndexFunc(m.items, func(c *ledger.Cluster) bool { return !c.NextLook.IsZero() && !c.NextLook.After(m.now) })
		if cluster < 0 {
			break
		}
		m.poll(v, cluster)
	}
	if !sweep {
		return
	}
	m.swept = m.now
	for cluster, item := range m.items {
		now := m.views(cluster)[0]
		m.workers[0] = modelWorker{phase: hasVisited, cluster: cluster, began: m.now, held: item, heldAt: m.version[cluster],
			reads: m.read(cluster, nil, now, now, m.key, true)}
		m.swapVisit(0)
	}
}

// poll is one poll without faults.
func (m *model) poll(v variant, cluster int) {
	now := m.views(cluster)[0]
	w := &m.workers[0]
	*w = modelWorker{phase: hasPolled, cluster: cluster, began: m.now, held: m.items[cluster], heldAt: m.version[cluster],
		reads: m.read(cluster, m.items[cluster].Work, now, now, m.key, false)}
	m.swapPoll(0)
	if w.phase != hasClaimed {
		return
	}
	w.reads = m.reread(w, now, now)
	w.phase, w.held, w.heldAt = hasReread, m.items[cluster], m.version[cluster]
	m.swapSend(0, true, true)
	if w.phase != isSending {
		return
	}
	w.phase = isAnswered
	refusal, refused := m.refuses(v, w.request)
	if w.answer = refusal; !refused {
		m.accept(v, w.request)
		w.answer = cmek.Answer{Outcome: cmek.Accepted, HTTPStatus: 200, Info: m.clouds[cluster].shown.info}
	}
	m.swapAnswer(0)
}

// pass lets time pass until something is due, on a 10-second grid.
func (m *model) pass(ended map[string]time.Time) {
	next := m.swept.Add(modelSettings.SweepEvery)
	for _, item := range m.items {
		if !item.NextLook.IsZero() {
			next = earlier(next, item.NextLook)
		}
	}
	for _, at := range ended {
		next = earlier(next, at)
	}
	m.now = m.now.Add(max(next.Sub(m.now).Truncate(10*time.Second)+10*time.Second, 10*time.Second))
}

// complete reports whether nothing is left to do.
func (m *model) complete() bool {
	for i, item := range m.items {
		if len(item.Work) > 0 {
			return false
		}
		for _, o := range m.orders {
			if _, ended := item.OrderEnded(o.ID); !ended {
				return false
			}
		}
		for _, r := range m.clouds[i].regions {
			if r.running > 0 || m.behind(r) {
				return false
			}
		}
		if m.others > 0 && !m.noticed(i) {
			return false
		}
	}
	return true
}

// behind reports whether the region's store key is encrypted under an older version. The other keys have one version.
func (m *model) behind(r modelRegion) bool { return keyNumber(r.uri) == 0 && r.wrapped < m.key.version }

// mayEnd are the reasons for which work may need a person (design, Follow-through).
var mayEnd = []string{"failed twice", "two requests left no trace", "not by keyturn's request", "stopped:",
	"operation status stays " + cmek.CMEKOperationFailed}

// unended says what has not come to an end although it should have.
func (m *model) unended() string {
	for i, item := range m.items {
		for _, r := range m.clouds[i].regions {
			w := slices.IndexFunc(item.Work, func(w ledger.Work) bool { return w.Region == r.name })
			switch {
			case w < 0 && m.behind(r):
				return fmt.Sprintf("%s/%s is behind without open work", item.ID, r.name)
			case w >= 0 && !slices.ContainsFunc(mayEnd, func(reason string) bool { return strings.Contains(item.Work[w].Reason, reason) }):
				return fmt.Sprintf("work of %s/%s has not ended: %s %s", item.ID, r.name, item.Work[w].State, item.Work[w].Reason)
			}
		}
	}
	return ""
}
