package rotation

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// The model that explore_test.go explores: the Cloud API and the KMS as small values, the ledger as items with a version
// counter, and workers that run the functions of worker.go in its order, one step at a time. A model is a value: a step copies it
// and changes the copy; what several models share (items, views) is never changed.

// variant is one setting of the model's world.
type variant struct {
	name string
	// twoClusters of one region each, of one key; else one cluster of two regions, of two replicas of a multi-Region key.
	twoClusters bool
	// ordered: one cluster of one region, whose key has just rotated, and an order to move the region to another key.
	ordered bool
	// stays: updated_at does not move. endOnly: it moves at the end of an operation only.
	stays, endOnly bool
	// rotates: the server takes a second PUT while an operation runs for another rotation; else it answers that it is busy.
	rotates bool
	// lies: a proxy may answer 429 to a PUT that the server has accepted.
	lies bool
	// unversioned: the event does not say which version is new.
	unversioned bool
	// moves: the ledger knows from before that an accepted PUT moves updated_at.
	moves bool
	// sweepDue: a sweep may visit the clusters at once; else 15 minutes after the rotation.
	sweepDue bool
	// offset of the vendors' clock to ours.
	offset time.Duration
	// keys: the key may be disabled, enabled, and rotated once more. weather: reads and swaps may fail.
	keys, weather bool
	// others is how many PUTs somebody else may send: of the region's key once more, of the order's key, of a third one.
	others int
	// othersFail: their operations may fail, which is no deviation.
	othersFail bool
	// after are the steps that are gone before the exploration begins.
	after []string
	depth int
	// deviations bounds the steps that depart from the usual course, somebody else's PUTs not counted; 0: all interleavings are explored.
	deviations int
	usually    bool // not all interleavings
	soak       bool // explored with -deeper only, one level deeper
}

// model is one state.
type model struct {
	now     time.Time
	clouds  []modelCloud
	key     modelKey
	keyOld  modelKey // as it was before its last change, at keyTurn
	keyTurn time.Time
	items   []*ledger.Cluster
	version []int // of each item
	moves   bool
	workers [2]modelWorker
	orphans []modelPUT   // under way, their worker is gone
	events  []cmek.Event // each is delivered as often as may be
	swept   time.Time
	memory  int // how many earlier views a read may show

	rotations, disables, failures, others int

	records []string // hash of the last evidence record of each cluster
	filed   []int
	audits  []audit
	orders  []ledger.Order // to move us-east-1 of c-1
	// blind counts second PUTs in the one undecidable case.
	blind   int
	problem string
}

// modelKey is the key in the KMS: its current version's number. Only the key of us-east-1 is ever disabled.
type modelKey struct {
	version  int
	rotated  time.Time
	disabled bool
}

// modelCloud is one cluster as the Cloud API has it.
type modelCloud struct {
	regions []modelRegion
	failed  bool // its last operation failed
	others  int  // PUTs of somebody else
	shown   *modelView
	past    []modelView // what reads may still show, the newest last
}

// modelRegion is one region: the number of the version that its store key is encrypted under, and of those that the running
// operation encrypts it under and was sent for; 0 if none runs.
type modelRegion struct {
	name              string
	uri               cmek.KeyURI
	status, keyStatus cmek.Status
	updated           time.Time
	wrapped           int
	running, sentFor  int
	// to is the key that the region is being moved to, or was not moved to because the operation failed.
	to cmek.KeyURI
	// past are the keys of before, shown as DISABLED; a value in it is never changed.
	past []modelPast
	// moved: it has been on the order's key. spoiled: its last operation was somebody else's, and failed.
	moved, spoiled bool
}

type modelPast struct {
	uri     cmek.KeyURI
	updated time.Time
}

// modelView is what reads show of a cluster, up to the time until.
type modelView struct {
	cluster cmek.Cluster
	info    cmek.ClusterInfo
	until   time.Time
	others  int // PUTs of somebody else that it shows
}

type phase int

const (
	isIdle     phase = iota
	hasPolled        // has read
	hasVisited       // has read, for the sweep
	hasClaimed       // has claimed a PUT
	hasReread        // has read again
	isSending        // the PUT is under way
	isAnswered       // has its answer
	takesBack        // has to take the claim back
)

// modelWorker is the memory of one worker.
type modelWorker struct {
	phase   phase
	cluster int
	began   time.Time // of the poll
	held    *ledger.Cluster
	heldAt  int
	reads   Reads
	others  int // what the last read before the PUT shows of somebody else's PUTs
	fleet   Fleet
	put     []cmek.RegionSpec
	intent  time.Time
	before  []ledger.Work
	unread  bool // the claim is taken back because a read failed
	request modelPUT
	answer  cmek.Answer
}

// modelPUT is one request under way.
type modelPUT struct {
	cluster int
	specs   []cmek.RegionSpec
	sentFor []int
	intent  time.Time
	others  int // as in modelWorker
}

// audit counts our accepted PUTs for one version of one region.
type audit struct {
	cluster         int
	region          string
	version         int
	accepted, ended int       // ended: in a failure
	at              time.Time // of the last one
	// known: the last one's acceptance is in the ledger. seen: its operation was read by a poll.
	known, seen bool
}

const (
	staleFor   = 45 * time.Second // how old a read may be
	tickLength = time.Minute      // a worker's deadline
)

var modelSettings = func() Settings {
	s := DefaultSettings()
	s.Mode = Follow
	return s
}()

// modelVersion is the key's nth version.
func modelVersion(n int) cmek.KeyVersion { return [...]cmek.KeyVersion{{}, v1, v2, v3}[n] }

// orderVersion stands for the key of the order among the versions that PUTs are counted for, somebodys for a PUT that is not ours.
const orderVersion, somebodys = 9, 8

// thirdKey is a key that neither the cluster nor the order names. It was never rotated, like the order's.
func thirdKey() cmek.KeyURI {
	if eastKey.Type() == cmek.GCPCloudKMS {
		return "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/third"
	}
	return otherKey
}

// keyNumber tells the key of before, the order's and the third one apart.
func keyNumber(uri cmek.KeyURI) int { return slices.Index([]cmek.KeyURI{newKey, thirdKey()}, uri) + 1 }

func versionNumber(v cmek.KeyVersion) int { return slices.Index([]cmek.KeyVersion{{}, v1, v2, v3}, v) }

// modelSettle is how long the KMS may still encrypt under the version before.
func modelSettle() time.Duration {
	if eastKey.Type() == cmek.GCPCloudKMS {
		return 30 * time.Minute
	}
	return settleMin
}

// disables reports whether the key of the URI is the one that may be disabled. On Google Cloud both regions are on one key.
func disables(uri cmek.KeyURI) bool { return uri.Location() == east || uri == eastKey }

// newModel is a fleet whose key has just rotated from v1 to v2.
func newModel(v variant) *model {
	m := &model{now: noon, swept: noon, moves: v.moves, memory: 1 + min(*deeper, 3), key: modelKey{1, longAgo, false}}
	names := []string{"c-1"}
	regions := []modelRegion{{name: east, uri: mrkEast}, {name: west, uri: mrkWest}}
	if eastKey.Type() == cmek.GCPCloudKMS {
		regions[0].uri, regions[1].uri = eastKey, eastKey
	}
	if v.twoClusters {
		names, regions = []string{"c-1", "c-2"}, []modelRegion{{name: east, uri: eastKey}}
	}
	if v.ordered {
		regions = []modelRegion{{name: east, uri: eastKey}}
		m.orders = []ledger.Order{anOrder()}
		m.orders[0].At = noon
	}
	for _, name := range names {
		c := modelCloud{regions: slices.Clone(regions)}
		item := &ledger.Cluster{ID: name, SeenAt: noon}
		for j := range c.regions {
			r := &c.regions[j]
			r.status, r.keyStatus, r.updated, r.wrapped = cmek.Enabled, cmek.Enabled, longAgo, 1
			item.SetDone(ledger.Done{Region: r.name, Key: r.uri, Version: v1, At: longAgo, Followed: true, Sent: longAgo})
		}
		c.shown = c.look(name)
		item.Cluster, item.CMEK = c.shown.cluster, c.shown.info
		item.NextLook = noon.Add(forgottenAfter)
		if v.ordered {
			item.NextLook = noon
		}
		m.clouds = append(m.clouds, c)
		m.items = append(m.items, item)
		m.version = append(m.version, 1)
		m.records = append(m.records, "")
		m.filed = append(m.filed, 0)
	}
	m.rotate(v)
	m.rotations = 0
	if v.sweepDue {
		m.swept = noon.Add(-modelSettings.SweepEvery)
	}
	return m
}

func (m *model) clone() *model {
	c := *m
	c.clouds = slices.Clone(m.clouds)
	for i := range c.clouds {
		c.clouds[i].regions = slices.Clone(c.clouds[i].regions)
	}
	c.items, c.version = slices.Clone(m.items), slices.Clone(m.version)
	c.orphans, c.audits = slices.Clone(m.orphans), slices.Clone(m.audits)
	c.records, c.filed = slices.Clone(m.records), slices.Clone(m.filed)
	return &c
}

func (m *model) violated(format string, args ...any) {
	if m.problem == "" {
		m.problem = fmt.Sprintf(format, args...)
	}
}

// The Cloud API and the KMS.

func (m *model) rotate(v variant) {
	m.keyOld, m.keyTurn = m.key, m.now
	m.key.version++
	m.key.rotated = m.now
	m.rotations++
	e := cmek.Event{ID: fmt.Sprintf("e-%d", m.key.version), Change: cmek.ChangeRotated, Key: m.clouds[0].regions[0].uri, Time: m.now}
	if !v.unversioned {
		e.Version = modelVersion(m.key.version)
	}
	m.events = append(slices.Clip(m.events), e)
}

// fact is the key as a read shows it at the region's URI.
func (k modelKey) fact(uri cmek.KeyURI) KeyFact {
	if keyNumber(uri) > 0 {
		return KeyFact{Key: cmek.Key{URI: uri, State: cmek.KeyEnabled, Version: v1, NeverRotated: true}}
	}
	key := cmek.Key{URI: uri, State: cmek.KeyEnabled, Version: modelVersion(k.version), RotatedAt: k.rotated, Settle: modelSettle()}
	if uri.Type() == cmek.GCPCloudKMS {
		key.RotatedAt = time.Time{} // which Cloud KMS does not say
	}
	if k.disabled && disables(uri) {
		key.State = cmek.KeyDisabled
	}
	for n := 1; n <= k.version; n++ {
		key.Versions = append(key.Versions, cmek.KeyVersionInfo{Version: modelVersion(n), State: cmek.KeyEnabled})
	}
	return KeyFact{Key: key}
}

func (c *modelCloud) running() bool {
	return slices.ContainsFunc(c.regions, func(r modelRegion) bool { return r.running > 0 })
}

func (c *modelCloud) look(id string) *modelView {
	v := &modelView{cluster: cmek.Cluster{ID: id, Name: id, Plan: cmek.PlanAdvanced, State: cmek.StateCreated},
		info: cmek.ClusterInfo{Status: cmek.Enabled}, others: c.others}
	switch {
	case c.running():
		v.cluster.State, v.cluster.OperationStatus = cmek.StateLocked, cmek.CMEKOperationRunning
	case c.failed:
		v.cluster.OperationStatus = cmek.CMEKOperationFailed
	}
	for _, r := range c.regions {
		v.cluster.Regions = append(v.cluster.Regions, cmek.Region{Name: r.name})
		info := keyInfo(r.uri, r.keyStatus, r.updated)
		info.CreatedAt = longAgo
		infos := []cmek.KeyInfo{info}
		switch {
		case r.to != "" && r.running > 0:
			infos = []cmek.KeyInfo{keyInfo(r.uri, cmek.Disabling, r.updated), keyInfo(r.to, cmek.Enabling, r.updated)}
		case r.to != "": // the operation failed
			infos = []cmek.KeyInfo{keyInfo(r.uri, cmek.Enabled, r.updated), keyInfo(r.to, cmek.EnableFailed, r.updated)}
		}
		for _, past := range r.past {
			if past.uri != r.uri && past.uri != r.to {
				infos = append(infos, keyInfo(past.uri, cmek.Disabled, past.updated))
			}
		}
		v.info.RegionInfos = append(v.info.RegionInfos, cmek.RegionInfo{Region: r.name, Status: r.status, KeyInfos: infos})
		if r.status != cmek.Enabled {
			v.info.Status = r.status
		}
	}
	return v
}

// changed notes that the cluster looks different from now on.
func (m *model) changed(cluster int) {
	c := &m.clouds[cluster]
	was := *c.shown
	was.until = m.now
	c.past = append(c.fresh(m.now), was)
	c.past = c.past[max(0, len(c.past)-m.memory):]
	c.shown = c.look(m.items[cluster].ID)
}

// fresh are the past views that a read may still show.
func (c *modelCloud) fresh(now time.Time) (views []modelView) {
	for _, v := range c.past {
		if now.Sub(v.until) <= staleFor {
			views = append(views, v)
		}
	}
	return views
}

// views are what a read may show: the present first.
func (m *model) views(cluster int) []modelView {
	c := &m.clouds[cluster]
	views := c.fresh(m.now)
	slices.Reverse(views)
	return append([]modelView{*c.shown}, views...)
}

// touch changes a region's status, and its updated_at as the variant says.
func (m *model) touch(v variant, r *modelRegion, region, key cmek.Status) {
	r.status, r.keyStatus = region, key
	if !v.stays && (!v.endOnly || !region.InProgress()) {
		r.updated = m.now.Add(v.offset)
	}
}

// accept starts the operation of a PUT. Shortly after a rotation the KMS still encrypts under the version before.
func (m *model) accept(v variant, p modelPUT) {
	wraps := m.key.version
	if m.now.Sub(m.key.rotated) < modelSettle() && wraps > 1 {
		wraps--
	}
	c := &m.clouds[p.cluster]
	for i, spec := range p.specs {
		for j := range c.regions {
			if r := &c.regions[j]; r.name == spec.Region {
				if p.sentFor[i] == somebodys {
					m.audit(p.cluster, r.name, somebodys).at = m.now
				} else {
					m.auditPUT(v, p.cluster, *r, p.sentFor[i])
					m.checkChoice(p, spec, *r)
				}
				r.running, r.sentFor, r.to, r.spoiled = wraps, p.sentFor[i], "", false
				if keyNumber(spec.KeySpec.URI) > 0 {
					r.running = 1
				}
				if spec.KeySpec.URI != r.uri {
					r.to = spec.KeySpec.URI
				}
				if r.to != "" && p.sentFor[i] == somebodys {
					m.void(p.cluster, r.name)
				}
				m.touch(v, r, cmek.Rotating, cmek.Enabling)
			}
		}
	}
	c.failed = false
	m.changed(p.cluster)
}

// void notes that somebody has moved the region: what PUTs for versions of the key before did is of no more use. An order's is.
func (m *model) void(cluster int, region string) {
	for i := range m.audits {
		if a := &m.audits[i]; a.cluster == cluster && a.region == region && a.version != orderVersion {
			a.ended = a.accepted
		}
	}
}

// checkChoice checks that our PUT does not go over a choice of somebody else that the last read before it showed.
func (m *model) checkChoice(p modelPUT, spec cmek.RegionSpec, r modelRegion) {
	name, from := m.items[p.cluster].ID+"/"+r.name, spec.KeySpec.URI
	if spec.KeySpec.URI == newKey && len(m.orders) > 0 {
		from = m.orders[0].From.URI
	}
	switch {
	case r.uri == newKey && spec.KeySpec.URI != newKey:
		m.violated("a PUT puts %s back to the key before its order", name)
	case p.others < m.clouds[p.cluster].others: // it could not be known
	case r.uri != from:
		m.violated("a PUT moves %s to %s, although it is on %s by somebody else's choice", name, spec.KeySpec.URI, r.uri)
	case r.running > 0 && r.sentFor == somebodys:
		m.violated("a PUT to %s goes into somebody else's operation", name)
	}
}

func (m *model) audit(cluster int, region string, version int) *audit {
	i := slices.IndexFunc(m.audits, func(a audit) bool { return a.cluster == cluster && a.region == region && a.version == version })
	if i < 0 {
		i = len(m.audits)
		m.audits = append(m.audits, audit{cluster: cluster, region: region, version: version})
	}
	return &m.audits[i]
}

func (m *model) auditPUT(v variant, cluster int, r modelRegion, version int) {
	a := m.audit(cluster, r.name, version)
	if a.accepted > a.ended {
		undecidable := v.stays && !a.known && !a.seen && r.running == 0
		if !undecidable {
			m.violated("a second PUT for %s/%s and v%d was accepted (operation running: %v, acceptance on record: %v, operation read: %v)",
				m.items[cluster].ID, r.name, version, r.running > 0, a.known, a.seen)
		}
		m.blind++
	}
	a.accepted++
	a.at, a.known, a.seen = m.now, false, false
}

// end ends the operation of a region.
func (m *model) end(v variant, cluster, region int, well bool) {
	c := &m.clouds[cluster]
	r := &c.regions[region]
	if well {
		r.wrapped = r.running
		if r.to != "" {
			before := r.uri
			r.uri, r.to = r.to, ""
			r.moved = r.moved || r.uri == newKey
			m.touch(v, r, cmek.Enabled, cmek.Enabled)
			r.past = append(slices.DeleteFunc(slices.Clone(r.past), func(p modelPast) bool { return p.uri == before || p.uri == r.uri }), modelPast{before, r.updated})
		}
		m.touch(v, r, cmek.Enabled, cmek.Enabled)
	} else {
		c.failed = true
		// The cluster's operation has failed, so no region of the request is done (design, Evidence), whatever its own status.
		at := m.audit(cluster, r.name, r.sentFor).at
		for i := range m.audits {
			// Somebody else's failure cannot be told from that of a PUT of ours whose end was not read before.
			if a := &m.audits[i]; a.cluster == cluster && (a.at.Equal(at) || r.sentFor == somebodys) {
				a.ended = a.accepted
			}
		}
		r.spoiled = r.sentFor == somebodys
		m.touch(v, r, cmek.RotateFailed, cmek.EnableFailed)
	}
	r.running, r.sentFor = 0, 0
	m.changed(cluster)
}

// refuses reports whether the server must refuse the PUT now, and how.
func (m *model) refuses(v variant, p modelPUT) (cmek.Answer, bool) {
	for _, spec := range p.specs {
		if disables(spec.KeySpec.URI) && m.key.disabled {
			return cmek.Answer{Outcome: cmek.Refused, HTTPStatus: 400, Message: "key refused"}, true
		}
	}
	if m.clouds[p.cluster].running() && !v.rotates {
		return cmek.Answer{Outcome: cmek.Refused, HTTPStatus: 503, Busy: true, Message: "cluster is locked"}, true
	}
	return cmek.Answer{}, false
}

// The ledger.

func cloneItem(c *ledger.Cluster) *ledger.Cluster {
	n := *c
	n.Work, n.Done, n.Dropped = slices.Clone(c.Work), slices.Clone(c.Done), slices.Clone(c.Dropped)
	n.Alarms, n.Messages, n.Skipped = slices.Clone(c.Alarms), slices.Clone(c.Messages), slices.Clone(c.Skipped)
	n.Absent, n.Partial = maps.Clone(c.Absent), maps.Clone(c.Partial)
	return &n
}

// swap is Ledger.UpdateCluster: change runs on the item that the worker holds; if somebody else has written since, that swap
// fails and change runs again on the fresh item. Messages are delivered at once.
func (m *model) swap(cluster int, held *ledger.Cluster, heldAt int, change func(*ledger.Cluster) error) {
	if held != nil && heldAt != m.version[cluster] {
		_ = change(cloneItem(held))
	}
	item := cloneItem(m.items[cluster])
	if err := change(item); err != nil {
		if !errors.Is(err, ledger.ErrUnchanged) {
			m.violated("swap: %v", err)
		}
		return
	}
	m.deliver(cluster, item)
	m.items[cluster] = item
	m.version[cluster]++
	m.checkItem(cluster)
}

// deliver takes the messages out and checks the chain of evidence.
func (m *model) deliver(cluster int, item *ledger.Cluster) {
	for _, message := range item.Messages {
		if message.Evidence == nil {
			continue
		}
		m.filed[cluster]++
		if !bytes.Contains(message.Evidence, fmt.Appendf(nil, `"number": %d,`, m.filed[cluster])) ||
			!bytes.Contains(message.Evidence, fmt.Appendf(nil, `"previous_sha256": %q,`, m.records[cluster])) {
			m.violated("evidence %s is not number %d, linked to the one before", message.ID, m.filed[cluster])
		}
		sum := sha256.Sum256(message.Evidence)
		m.records[cluster] = hex.EncodeToString(sum[:])
	}
	if item.Chain.Count != m.filed[cluster] || item.Chain.Last != m.records[cluster] {
		m.violated("the chain of %s has %d records, %d were filed", item.ID, item.Chain.Count, m.filed[cluster])
	}
	item.Outbox = ledger.Outbox{}
}

// checkItem checks what must hold of an item after each swap.
func (m *model) checkItem(cluster int) {
	item := m.items[cluster]
	alarm := func(code string, more ...string) bool {
		key := strings.Join(append([]string{code, item.ID}, more...), "/")
		return slices.ContainsFunc(item.Alarms, func(a ledger.Alarm) bool { return a.Key == key })
	}
	for _, w := range item.Work {
		if w.State == ledger.Blocked && !alarm("held") && !alarm("rotate-failed") && !alarm("order-blocked", w.Region) && !strings.HasPrefix(w.Reason, "the key is ") {
			m.violated("work of %s/%s is blocked (%s) without an alert", item.ID, w.Region, w.Reason)
		}
		if w.State == ledger.Requested && (w.Request == nil || w.Request.Baseline == nil) {
			m.violated("work of %s/%s is requested without a baseline", item.ID, w.Region)
		}
	}
}

// check checks what must hold in every state.
func (m *model) check() {
	for i, item := range m.items {
		for _, r := range m.clouds[i].regions {
			d, ok := item.DoneIn(r.name)
			if ok && d.Followed && d.Key == newKey && !r.moved {
				m.violated("%s/%s is done for the key of its order (%s), and its store key is encrypted under the one before", item.ID, r.name, d.Evidence)
			}
			if ok && d.Followed && d.Key == r.uri && versionNumber(d.Version) > r.wrapped {
				m.violated("%s/%s is done for v%d (%s), and its store key is encrypted under v%d", item.ID, r.name, versionNumber(d.Version), d.Evidence, r.wrapped)
			}
		}
		for _, o := range m.orders {
			r := m.clouds[i].regions[0]
			end, ended := item.OrderEnded(o.ID)
			if ended && end.Done && !r.moved {
				m.violated("the order of %s is done, and the region is on %s", item.ID, r.uri)
			}
			if ended && end.Done && m.noticed(i) && (r.uri != o.To.URI) != !end.Undone.IsZero() {
				m.violated("the order of %s is done, the region is on %s, and it is on record as undone at %v", item.ID, r.uri, end.Undone)
			}
			if ended && !end.Done && m.others < 2 && r.status == cmek.Enabled && r.moved {
				m.violated("the order of %s has ended without being done (%s), and the region came to its key", item.ID, end.Why)
			}
		}
		under := 0
		for _, p := range m.underWay() {
			if p.cluster == i {
				under++
			}
		}
		if under > 1 {
			m.violated("%d PUTs to %s are under way at once", under, item.ID)
		}
	}
}

// noticed reports whether the ledger's inventory shows the keys that the cluster's regions are on.
func (m *model) noticed(cluster int) bool {
	return !slices.ContainsFunc(m.clouds[cluster].regions, func(r modelRegion) bool {
		info, _ := m.items[cluster].CMEK.Region(r.name)
		current, distinct := info.Current()
		return distinct != 1 || current.Spec.URI != r.uri
	})
}

func (m *model) underWay() []modelPUT {
	all := slices.Clone(m.orphans)
	for _, w := range m.workers {
		if w.phase == isSending {
			all = append(all, w.request)
		}
	}
	return all
}

// The workers.

// read is worker.read and worker.visit's read: what it shows of cluster and CMEK is given.
func (m *model) read(cluster int, works []ledger.Work, info, state modelView, key modelKey, sweep bool) Reads {
	item := m.items[cluster]
	r := Reads{At: m.now, UpdatedAtMoves: m.moves, Keys: map[cmek.KeyURI]KeyFact{}, Fleet: m.fleet(item)}
	m.readOrders(item, &r, key)
	needCluster, needCMEK := needed(item, m.moves, m.now, modelSettings)
	if needCMEK || sweep {
		r.CMEK = &info.info
	}
	if needCluster || sweep {
		r.Cluster = &state.cluster
	}
	for _, k := range keysNeeded(item, works, r.CMEK, func(cmek.KeyType) bool { return true }) {
		r.Keys[k.uri] = key.fact(k.uri)
	}
	return r
}

// readOrders is worker.readMoves.
func (m *model) readOrders(item *ledger.Cluster, r *Reads, key modelKey) {
	r.Orders, r.Moves = m.orders, map[string]Move{}
	for _, o := range m.orders {
		if _, ended := item.OrderEnded(o.ID); ended || !unsentOrder(item, o) {
			continue
		}
		from, to := admitted(o.From.URI), admitted(o.To.URI)
		from.Key, to.Key = key.fact(o.From.URI), key.fact(o.To.URI)
		r.Moves[o.ID] = Move{From: from, To: to}
	}
}

// reread is worker.readAgain.
func (m *model) reread(w *modelWorker, info, state modelView) Reads {
	r := Reads{At: m.now, UpdatedAtMoves: m.moves, Cluster: &state.cluster, Keys: map[cmek.KeyURI]KeyFact{}}
	if r.free() {
		r.CMEK = &info.info
	}
	m.readOrders(m.items[w.cluster], &r, m.key)
	works := m.items[w.cluster].Work
	for _, spec := range w.put {
		if !slices.ContainsFunc(works, func(w ledger.Work) bool { return w.Order != "" && carries(spec, works, w) }) {
			r.Keys[spec.KeySpec.URI] = m.key.fact(spec.KeySpec.URI)
		}
	}
	// The fleet is as read in the tick before, with our own swaps.
	r.Fleet = Fleet{}
	for key, all := range w.fleet {
		own := slices.Clone(all)
		for i := range own {
			if own[i].ID == m.items[w.cluster].ID {
				own[i] = m.items[w.cluster]
			}
		}
		r.Fleet[key] = own
	}
	return r
}

func (m *model) fleet(item *ledger.Cluster) Fleet {
	fleet := Fleet{}
	for _, w := range item.Work {
		if w.State != ledger.Requested {
			fleet[w.Key.Canonical()] = slices.Clone(m.items)
		}
	}
	return fleet
}

func (m *model) learn(p Plan) { m.moves = m.moves || p.provesUpdatedAt() }

// noteSeen notes the operations that a poll has read.
func (m *model) noteSeen(cluster int, r Reads) {
	if r.CMEK == nil {
		return
	}
	for i := range m.audits {
		if a := &m.audits[i]; a.cluster == cluster {
			info, _ := r.CMEK.Region(a.region)
			a.seen = a.seen || info.Status.InProgress() && !r.At.Before(a.at)
		}
	}
}

// swapPoll is the swap of worker.poll.
func (m *model) swapPoll(n int) {
	w := &m.workers[n]
	var put []cmek.RegionSpec
	m.noteSeen(w.cluster, w.reads)
	m.swap(w.cluster, w.held, w.heldAt, func(item *ledger.Cluster) error {
		plan := decidePoll(item, w.reads, m.now, modelSettings)
		m.learn(plan)
		put = plan.Put
		return nil
	})
	if len(put) == 0 {
		*w = modelWorker{}
		return
	}
	*w = modelWorker{phase: hasClaimed, cluster: w.cluster, began: w.began, put: put, intent: m.now, fleet: w.reads.Fleet}
}

// swapVisit is the swap of worker.visit.
func (m *model) swapVisit(n int) {
	w := &m.workers[n]
	m.noteSeen(w.cluster, w.reads)
	m.swap(w.cluster, w.held, w.heldAt, func(item *ledger.Cluster) error {
		_, plan := decide(item, w.reads, time.Time{}, m.now, modelSettings)
		m.learn(plan)
		return nil
	})
	*w = modelWorker{}
}

// swapSend is the swap of worker.send. The ledger may say that it failed, whether it has written or not.
func (m *model) swapSend(n int, written, reported bool) {
	w := &m.workers[n]
	leaves := false
	change := func(item *ledger.Cluster) error {
		w.before = slices.Clone(item.Work)
		var plan Plan
		plan, leaves = decideSend(item, w.reads, w.put, w.intent, m.now, modelSettings)
		m.learn(plan)
		return nil
	}
	m.noteSeen(w.cluster, w.reads)
	if written {
		m.swap(w.cluster, w.held, w.heldAt, change)
	} else {
		_ = change(cloneItem(m.items[w.cluster]))
	}
	switch {
	case !reported:
		*w = modelWorker{phase: takesBack, cluster: w.cluster, began: w.began, before: w.before, intent: w.intent}
	case !leaves:
		*w = modelWorker{}
	default:
		m.leave(n)
	}
}

// leave sends the PUT on its way.
func (m *model) leave(n int) {
	w := &m.workers[n]
	p := modelPUT{cluster: w.cluster, specs: w.put, intent: w.intent}
	item := m.items[w.cluster]
	for _, spec := range w.put {
		i := slices.IndexFunc(item.Work, func(work ledger.Work) bool {
			return work.Region == spec.Region && work.State == ledger.Requested && work.Request.Intent.Equal(w.intent) && work.Request.Baseline != nil
		})
		if i < 0 {
			m.violated("a PUT to %s/%s leaves without its intent and baseline in the ledger", item.ID, spec.Region)
			continue
		}
		number := versionNumber(item.Work[i].Version)
		if spec.KeySpec.URI == newKey && item.Work[i].Order != "" {
			number = orderVersion
		}
		p.sentFor = append(p.sentFor, number)
		read := w.reads.Keys[spec.KeySpec.URI]
		if number == orderVersion {
			read = w.reads.Moves[item.Work[i].Order].From.Key // the old one is needed, too, and the new one is never disabled here
		}
		if read.Key.State != cmek.KeyEnabled {
			m.violated("a PUT to %s/%s leaves although its key was read as disabled", item.ID, spec.Region)
		}
	}
	p.others = w.others
	for _, r := range m.clouds[w.cluster].regions {
		i := slices.IndexFunc(item.Work, func(work ledger.Work) bool { return work.Region == r.name && work.State == ledger.Requested })
		info, _ := w.reads.CMEK.Region(r.name)
		if i >= 0 && r.spoiled && info.Status.Failed() && item.Work[i].Failed == 0 {
			m.violated("a PUT to %s/%s leaves although somebody else's operation was read as failed", item.ID, r.name)
		}
	}
	*w = modelWorker{phase: isSending, cluster: w.cluster, began: w.began, intent: w.intent, request: p}
}

// swapAnswer is the swap of worker.record after a PUT.
func (m *model) swapAnswer(n int) {
	w := &m.workers[n]
	m.swap(w.cluster, nil, 0, func(item *ledger.Cluster) error {
		answer(item, w.intent, w.answer, m.now, modelSettings)
		return nil
	})
	if w.answer.Outcome == cmek.Accepted {
		for i, spec := range w.request.specs {
			m.audit(w.cluster, spec.Region, w.request.sentFor[i]).known = true
		}
	}
	*w = modelWorker{}
}

// swapBack is what worker.send does when it cannot send.
func (m *model) swapBack(n int) {
	w := &m.workers[n]
	if w.unread {
		m.swap(w.cluster, nil, 0, func(item *ledger.Cluster) error { notRead(item, errOutage, m.now); return nil })
	}
	m.swap(w.cluster, nil, 0, func(item *ledger.Cluster) error { stay(item, w.before, w.intent, m.now); return nil })
	*w = modelWorker{}
}

// deliverEvent is Function.Event for one cluster.
func (m *model) deliverEvent(n, cluster int) {
	m.swap(cluster, nil, 0, func(item *ledger.Cluster) error {
		if _, changed := open(item, m.events[n], m.now, modelSettings.settle(cmek.Key{})); !changed {
			return ledger.ErrUnchanged
		}
		return nil
	})
}
