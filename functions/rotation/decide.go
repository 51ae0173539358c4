package rotation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Facts are all that a decision about one cluster rests on. absorb makes them of what was read and what the ledger holds.
type Facts struct {
	// Cluster and CMEK are as read, if ClusterRead and CMEKRead say so, otherwise the ledger's inventory. ReadAt is when the
	// reading began.
	Cluster               cmek.Cluster
	CMEK                  cmek.ClusterInfo
	ClusterRead, CMEKRead bool
	ReadAt                time.Time
	// Listed: the cluster is as a list shows it, which says nothing about whether it may be read by itself.
	Listed bool
	// Older: the CMEK was read, but is older than what was read before, so it decides nothing.
	Older bool
	// Gone: the Cloud API says that the cluster is deleted.
	Gone bool
	// Unread says why the cluster's CMEK is not shown although it had one; "" if it is shown.
	Unread string
	// Undated are the regions and keys of which this read shows no updated_at, by undatedName; the inventory keeps the one before.
	Undated map[string]bool
	// Unshown are the regions that the inventory has and this read of the CMEK does not show.
	Unshown []string
	// Keys holds the keys that were read, by the URI of the region's key spec.
	Keys map[cmek.KeyURI]KeyFact
	// Paused is the operator's order to send nothing.
	Paused ledger.Pause
	// Holds are the operator's orders to leave keys or clusters alone.
	Holds cmek.Holds
	// Orders are the orders about the cluster, be it an operator's or one that follows from a pin; those that ended are among them. Moves
	// holds, by an order's ID, what was read about its keys; it is needed for orders that a request may be sent for.
	Orders []ledger.Order
	Moves  map[string]Move
	// Pins are the cluster's pins, with what their aliases name.
	Pins []PinFact
	// Fleet holds, by a key's canonical URI, the ledger items of all clusters that name the key, this one included. It is needed
	// for the keys of work that may be sent.
	Fleet Fleet
	// UpdatedAtMoves: an accepted PUT of this ledger moved updated_at before.
	UpdatedAtMoves bool
	// Claimed is the intent of our own claim while it is checked once more; zero otherwise.
	Claimed time.Time
}

// KeyFact is a key, or why it could not be read.
type KeyFact struct {
	Key cmek.Key
	Err error
}

// Plan is what should happen to one cluster now.
type Plan struct {
	// Verdicts has one entry for each piece of open work, in the ledger's order, then one for each region without open work.
	Verdicts []Verdict
	// Put holds the regions that one PUT should carry.
	Put []cmek.RegionSpec
	// Next is when to poll again; zero if nothing is open.
	Next time.Time
}

// Verdict is the decision about one piece of work, or about one region without any.
type Verdict struct {
	Region  string
	Spec    cmek.KeySpec
	Version cmek.KeyVersion
	Act     Act
	// Why is for people.
	Why string
	// Until is when to poll again; zero for never.
	Until time.Time
	// RotatedAt is when the version became current, if proven.
	RotatedAt time.Time

	// work is the index of the piece of work, or -1.
	work int
	// watched is the request with what this read added, if the verdict is about what became of it.
	watched *ledger.Request
	// detained: the work waits for something of its own, not for its place in the order.
	detained bool
	// unread: it waits because something could not be read, which says nothing about the work: its state stays.
	unread bool
	// last: no further request follows the one that is given up.
	last bool
	// order is the order that the verdict is about, if it is about one; reached: the region is on its key.
	order   ledger.Order
	reached bool
}

// whyKeyIs begins the reason of work that is blocked by its key's state.
const whyKeyIs = "the key is "

// OnHold begins the reason of work that an operator's hold keeps waiting.
const OnHold = "on hold"

const whyLost = "two requests left no trace"

// Act is what a verdict calls for.
type Act string

// Acts. UpToDate, Wait, Adopt and Open concern regions without open work, too.
const (
	UpToDate  Act = "up to date"     // nothing to do
	Wait      Act = "wait"           // poll again at Until
	Adopt     Act = "adopt"          // up to date on first discovery: note it as done
	Open      Act = "open"           // a rotation that no event announced: open work
	Drop      Act = "drop"           // the work is void
	Block     Act = "blocked"        // needs attention, or a recovery
	Announce  Act = "would send"     // observe mode: say what would be done
	Send      Act = "send"           // a PUT is due
	Complete  Act = "done"           // the PUT did it
	Fail      Act = "failed"         // the PUT ended in *_FAILED
	Supersede Act = "superseded"     // the work goes on with the key's newer version
	Resend    Act = "send once more" // no trace of the PUT in time
)

// Decide says what should happen to the cluster. It is pure: the same facts, item and time give the same plan.
func Decide(f Facts, item *ledger.Cluster, now time.Time, s Settings) Plan {
	d := decision{f, item, now, s}
	var p Plan
	judged := map[string]bool{} // regions with work that stays open or was done just now
	unsent := map[string]bool{} // regions with work that a PUT is still to be sent for, by the order that it is for
	// unresolved are the versions whose PUT was sent and whose end only a person can tell.
	unresolved := map[string]cmek.KeyVersion{}
	for i, w := range item.Work {
		v := d.work(w)
		if v.watched != nil && v.Act == Block {
			unresolved[w.Region] = w.Version
		}
		again := v.watched == nil && !v.Version.IsZero() && v.Version == unresolved[w.Region]
		if v.watched == nil && !v.unread && unsent[w.Region+w.Order] || again {
			v = Verdict{Act: Drop, Why: "the same work is open already"}
		}
		v.Region, v.work = w.Region, i
		// An order that waits keeps nobody from following rotations of the key that it is to replace.
		judged[w.Region] = judged[w.Region] || v.Act != Drop && (w.Order == "" || v.watched != nil)
		open := v.watched == nil && v.Act != Drop && v.Act != Adopt
		unsent[w.Region+w.Order] = unsent[w.Region+w.Order] || open || v.Act == Resend || v.Act == Fail
		p.add(v)
	}
	unopened := d.unopened(p)
	d.ordersFirst(&p, unopened)
	p.separate(item)
	for _, info := range f.CMEK.RegionInfos {
		if !judged[info.Region] && !f.Gone {
			v := d.region(info)
			v.Region, v.work = info.Region, -1
			p.add(v)
		}
	}
	for _, o := range unopened {
		v := Verdict{Region: o.Region, Spec: o.To, order: o, work: -1}
		p.add(v.because(Open, "%s", orderedBy(o)).until(now))
	}
	return p
}

// separate lets regions go one by one once a PUT with one of them was refused twice: a single region may be what the API refuses,
// and must not keep the others. The one that was tried least goes first.
func (p *Plan) separate(item *ledger.Cluster) {
	if len(p.Put) < 2 {
		return
	}
	tries := func(spec cmek.RegionSpec) (n int) {
		for _, w := range item.Work {
			if w.Region == spec.Region {
				n = max(n, w.Attempts)
			}
		}
		return n
	}
	if !slices.ContainsFunc(p.Put, func(s cmek.RegionSpec) bool { return tries(s) >= refusalsToReport }) {
		return
	}
	p.Put = []cmek.RegionSpec{slices.MinFunc(p.Put, func(a, b cmek.RegionSpec) int { return tries(a) - tries(b) })}
}

func (p *Plan) add(v Verdict) {
	p.Verdicts = append(p.Verdicts, v)
	if v.Act == Send {
		p.Put = append(p.Put, cmek.RegionSpec{Region: v.Region, KeySpec: v.Spec})
	}
	if !v.Until.IsZero() && (p.Next.IsZero() || v.Until.Before(p.Next)) {
		p.Next = v.Until
	}
}

// provesUpdatedAt reports whether work is done whose accepted PUT moved updated_at.
func (p Plan) provesUpdatedAt() bool {
	return slices.ContainsFunc(p.Verdicts, func(v Verdict) bool {
		return v.Act == Complete && v.watched.Evidence.Kind == evidenceMoved && v.watched.Answer != nil && v.watched.Answer.Outcome == cmek.Accepted
	})
}

type decision struct {
	Facts
	item     *ledger.Cluster
	now      time.Time
	settings Settings
}

const (
	whyOlder    = "the last read is older than one before it"
	whyInFlight = "an earlier request is in progress"
)

// work decides about one piece of open work.
func (d decision) work(w ledger.Work) Verdict {
	switch {
	case d.Gone:
		return Verdict{Act: Drop, Why: "the cluster is deleted"}
	case d.Unread != "":
		return unreadable("%s", d.Unread).until(d.now.Add(backoffMax))
	case d.watching(w):
		return d.outcome(w)
	case w.Order != "":
		return d.move(w)
	case d.optedOut():
		return Verdict{Act: Drop, Why: "the cluster has the label keyturn=off"}
	case d.Older:
		return unreadable("%s", whyOlder).until(d.now.Add(busyWait))
	}
	info, ok := d.CMEK.Region(w.Region)
	if !ok {
		return Verdict{Act: Drop, Why: "the region is gone"}
	}
	_, partial := d.item.Partial[w.Region]
	if d.unshown(w.Region) || partial {
		return unreadable("the Cloud API does not show the region in both the cluster and its CMEK").until(d.now.Add(busyWait))
	}
	v, key := d.key(info, &w)
	if v.Act != "" {
		return v
	}
	if !v.Spec.URI.SameKey(w.Key) {
		return v.because(Drop, "the region's key changed to %s", v.Spec.URI)
	}
	return d.due(w, info, v, key)
}

// region decides about a region without open work.
func (d decision) region(info cmek.RegionInfo) Verdict {
	if d.optedOut() {
		return Verdict{Act: UpToDate, Why: "left alone: the cluster has the label keyturn=off"}
	}
	if d.Unread != "" || d.unshown(info.Region) {
		return Verdict{Act: Wait, Why: "the Cloud API does not show the region's CMEK"}
	}
	if d.Older {
		return Verdict{Act: Wait, Why: whyOlder}
	}
	v, key := d.key(info, nil)
	if v.Act != "" {
		// Without work there is nothing to block; the reason is still worth saying.
		v.Act, v.Until = Wait, time.Time{}
		return v
	}
	done, known := d.done(info.Region, v.Spec.URI)
	switch {
	case known && done.Version == key.Version && !overtaken(info, v.Spec.URI, key, done):
		return v.because(UpToDate, "done %s", done.At.UTC().Format(time.RFC3339))
	case d.adoptable(info, v.Spec.URI, key, done, known):
		return v.because(Adopt, "encrypted after the key's last rotation")
	}
	return v.because(Open, "no event announced this version").until(d.now)
}

// key finds the region's one current key and reads its truth. A verdict with an Act is final.
func (d decision) key(info cmek.RegionInfo, w *ledger.Work) (Verdict, cmek.Key) {
	var v Verdict
	soon, later := d.now.Add(busyWait), d.now.Add(backoffMax)
	if s := d.handsOff(info); s != "" {
		return v.because(Block, "%s: hands off", s).until(later), cmek.Key{}
	}
	current, distinct := info.Current()
	switch {
	case distinct > 1:
		return v.because(Block, "%d different key specs are ENABLED", distinct).until(later), cmek.Key{}
	case distinct == 1:
		v.Spec = current.Spec
	case info.Status.InProgress() || !info.Status.Known():
		v.detained = true
		return v.because(Wait, "status %s", info.Status).until(soon), cmek.Key{}
	case info.Status.Failed() && failedSpec(d.item, info).URI != "":
		v.Spec = failedSpec(d.item, info) // after a failed rotation no key may read ENABLED
	default:
		return v.because(Block, "no key spec is ENABLED (region status %s)", info.Status).until(later), cmek.Key{}
	}
	if v.Spec.Type != cmek.AWSKMS && v.Spec.Type != cmek.GCPCloudKMS {
		return v.because(Drop, "a new version of a %s key is a new URI; there is nothing to follow", v.Spec.Type), cmek.Key{}
	}
	fact, read := d.Keys[v.Spec.URI]
	wait := func(until time.Time, format string, args ...any) (Verdict, cmek.Key) {
		v.detained, v.unread = true, true
		return v.because(Wait, format, args...).until(until), fact.Key
	}
	switch key := fact.Key; {
	case !read:
		return wait(d.now, "the key was not read yet")
	case errors.Is(fact.Err, cmek.ErrDenied):
		return wait(later, "keyturn may not read the key")
	case fact.Err != nil:
		return wait(soon, "the key could not be read: %v", fact.Err)
	case key.State.Unusable():
		return v.because(Block, whyKeyIs+"%s", key.State).until(soon), key
	case !key.State.Usable():
		return wait(soon, "the key is in a %s state", key.State)
	case d.lostMaterial(info.Region, w, v.Spec.URI, key):
		return wait(soon, "the KMS left out the key material id, so the version is not known")
	case key.Version.IsZero():
		return v.because(Block, "the KMS shows no version of the key").until(later), key
	default:
		v.Version, v.RotatedAt = key.Version, key.RotatedAt
		return v, key
	}
}

// failedSpec is the key spec of a region whose rotation failed, so that none reads ENABLED: after ROTATE_FAILED the only one that is
// not DISABLED, whoever moved the region to it; of several, that of its open work, or of what was last done. A DISABLED one is a past
// key's. It is zero if none can be told.
func failedSpec(item *ledger.Cluster, info cmek.RegionInfo) cmek.KeySpec {
	if only, is := lastLeft(info); is && info.Status == cmek.RotateFailed {
		return only
	}
	for _, w := range item.Work {
		if k := info.Newest(w.Key); w.Region == info.Region && k.Spec.URI != "" && k.Status != cmek.Disabled {
			return k.Spec
		}
	}
	done, _ := item.DoneIn(info.Region)
	if k := info.Newest(done.Key); k.Status != cmek.Disabled {
		return k.Spec
	}
	return cmek.KeySpec{}
}

// lastLeft is the region's only key spec that is not DISABLED, if there is just one and its operation failed.
func lastLeft(info cmek.RegionInfo) (only cmek.KeySpec, is bool) {
	for _, k := range info.KeyInfos {
		switch {
		case k.Status == cmek.Disabled || is && k.Spec == only:
		case is || !k.Status.Failed() || k.Status.HandsOff():
			return cmek.KeySpec{}, false
		default:
			only, is = k.Spec, true
		}
	}
	return only, is
}

// lostMaterial reports whether a key whose versions were known by their material is now shown without one. Then its version
// was not read: dates and ids are never compared.
func (d decision) lostMaterial(region string, w *ledger.Work, uri cmek.KeyURI, key cmek.Key) bool {
	if key.Version.Scheme != cmek.RotatedOn && !key.Version.IsZero() {
		return false
	}
	done, ok := d.done(region, uri)
	// What an event said of the version was not read from the KMS.
	read := w != nil && w.Trigger.Kind == "sweep" && w.Version.Scheme == cmek.Material
	return ok && done.Version.Scheme == cmek.Material || read
}

// handsOff returns a status that says that automation must leave the region alone; "" for none.
func (d decision) handsOff(info cmek.RegionInfo) string {
	for _, other := range d.CMEK.RegionInfos {
		if s := other.Status; s == cmek.Revoked || s == cmek.Revoking || s == cmek.RevokeFailed {
			return fmt.Sprintf("region %s is %s", other.Region, s)
		}
	}
	for _, s := range []cmek.Status{d.CMEK.Status, info.Status} {
		if s.HandsOff() {
			return "status " + string(s)
		}
	}
	return ""
}

// due decides about work for which no request is open.
func (d decision) due(w ledger.Work, info cmek.RegionInfo, v Verdict, key cmek.Key) Verdict {
	if w.Version != key.Version && !w.Version.IsZero() && w.Version.Scheme == key.Version.Scheme {
		if d.lagging(w, key) {
			v.Version, v.detained = w.Version, true
			return v.because(Wait, "the KMS does not show this version yet").until(earlier(d.now.Add(busyWait), w.Since.Add(lagLimit)))
		}
		if done, ok := d.done(w.Region, v.Spec.URI); !ok || done.Version != key.Version {
			return v.because(Supersede, "the key's version is now %s", key.Version.Short()).until(d.now)
		}
	}
	done, known := d.done(w.Region, v.Spec.URI)
	own := func(until time.Time, format string, args ...any) Verdict {
		v.detained = true
		return v.because(Wait, format, args...).until(until)
	}
	// A version that was just read for the first time has been known from now on.
	seen := w.SeenVersion()
	if w.Version.IsZero() || w.Version != key.Version {
		seen = d.now
	}
	if after := key.SetBackAfter(); !after.IsZero() && after.Add(clockOffset).After(seen) {
		seen = earlier(after.Add(clockOffset), d.now) // that time is by the KMS's clock
	}
	settled := seen.Add(d.settings.settle(key))
	later := d.now.Add(backoffMax)
	switch again := w.Since.Add(d.settings.confirm()); {
	case known && done.Version == key.Version && w.Version.IsZero() && w.Trigger.Kind == "event" && d.now.Before(again):
		v.Version = cmek.KeyVersion{} // the work's is not known yet
		return own(again, "the KMS does not show a newer version yet")
	case known && done.Version == key.Version && !key.RotationRunning && !overtaken(info, v.Spec.URI, key, done):
		return v.because(Drop, "already done %s", done.At.UTC().Format(time.RFC3339))
	case w.Request == nil && !w.Retried && d.adoptable(info, v.Spec.URI, key, done, known):
		return v.because(Adopt, "encrypted after the key's last rotation")
	case w.Failed > 1:
		return v.because(Block, "the re-encryption failed twice").until(later)
	case w.Lost > 0 && w.Request != nil && w.Request.Baseline == nil:
		return v.because(Block, "a request of an earlier release of keyturn left no trace").until(later)
	case w.Lost > 1 && !d.UpdatedAtMoves:
		return v.because(Block, whyLost).until(later)
	case info.Status.Failed() && w.Failed == 0 && !w.Retried:
		return v.because(Block, "status %s, and not by keyturn's request%s", info.Status, quoted(info, v.Spec.URI)).until(later)
	}
	if waits := d.gate(w, v, key, settled); waits.Act != "" {
		return waits
	}
	switch {
	case d.settings.Mode != Follow && w.Announced:
		return v.because(Wait, "observe mode: a PUT would be sent").until(d.now.Add(overdueAfter))
	case d.settings.Mode != Follow:
		return v.because(Announce, "observe mode: a PUT would be sent").until(d.now.Add(overdueAfter))
	}
	return d.send(w, v, key, "the store key is encrypted under an older version")
}

// gate says what keeps a PUT for the work from leaving now, whatever it is for; a verdict without an Act for nothing.
func (d decision) gate(w ledger.Work, v Verdict, key cmek.Key, settled time.Time) Verdict {
	own := func(until time.Time, format string, args ...any) Verdict {
		v.detained = true
		return v.because(Wait, format, args...).until(until)
	}
	soon := d.now.Add(busyWait)
	hold, held := d.Holds.Find(d.item.ID, v.Spec.URI, d.now)
	if !held && w.Order != "" {
		hold, held = d.Holds.Find(d.item.ID, w.From.URI, d.now)
	}
	switch {
	case d.inFlight():
		return own(soon, whyInFlight)
	case d.item.Operation.Excludes(d.now):
		op := d.item.Operation
		return own(soon, "an operation is running: %s, by %s since %s", op.Kind, op.By, op.Since.UTC().Format(time.RFC3339))
	case held:
		return own(earlier(soon, hold.Until), OnHold+" until %s: %s", hold.Until.UTC().Format(time.RFC3339), hold.Reason)
	case key.RotationRunning:
		return own(soon, "the KMS is still rotating the key")
	case d.now.Before(settled):
		return v.because(Wait, "the new version settles").until(earlier(settled, d.now.Add(settlePoll)))
	case d.ClusterRead && d.Cluster.Busy() != "":
		return own(soon, "%s", d.Cluster.Busy())
	case !d.Claimed.IsZero() && !d.CMEKRead:
		return own(soon, "the CMEK was not read again") // nothing leaves without a baseline
	case d.unfinished() != "":
		return own(soon, "status %s", d.unfinished())
	case d.now.Before(w.NotBefore):
		return v.because(Wait, "%s", w.Reason).until(w.NotBefore)
	}
	return Verdict{}
}

// send sends the PUT for the work, unless following is paused or other clusters of the key go first.
func (d decision) send(w ledger.Work, v Verdict, key cmek.Key, why string) Verdict {
	if d.Paused.Active() {
		return v.because(Wait, "paused since %s", d.Paused.Since.UTC().Format(time.RFC3339)).until(d.now.Add(busyWait))
	}
	if why, until := d.order(w, key); why != "" {
		return v.because(Wait, "%s", why).until(until)
	}
	return v.because(Send, "%s", why).until(d.now)
}

// lagging reports whether the KMS may still come to show the version that an event announced. A version that the KMS knows to
// be an older one, or whose event is older than the current version, is not early but superseded.
func (d decision) lagging(w ledger.Work, key cmek.Key) bool {
	superseded := key.Has(w.Version) ||
		!key.RotatedAt.IsZero() && !w.Trigger.Time.IsZero() && w.Trigger.Time.Before(key.RotatedAt)
	return !superseded && d.now.Sub(w.SeenVersion()) < lagLimit
}

// done is the last version done in the region under the key.
func (d decision) done(region string, uri cmek.KeyURI) (ledger.Done, bool) {
	done, ok := d.item.DoneIn(region)
	if !ok || !done.Key.SameKey(uri) {
		return ledger.Done{}, false
	}
	return done, true
}

// adoptable reports whether the region's store key is already encrypted under the key's version, although this version was
// not followed: on first discovery of the key, or when its versions are known by another scheme than before.
func (d decision) adoptable(info cmek.RegionInfo, uri cmek.KeyURI, key cmek.Key, done ledger.Done, known bool) bool {
	if info.Status != cmek.Enabled || d.inFlight() || known && done.Version.Scheme == key.Version.Scheme {
		return false
	}
	if key.NeverRotated {
		return true
	}
	if key.RotatedAt.IsZero() {
		return false
	}
	// Both times are by the vendors' clocks. updated_at may be the end of an operation that began before the rotation.
	if info.Newest(uri).UpdatedAt.After(key.RotatedAt.Add(d.settings.settle(key) + longestOperation)) {
		return true
	}
	// The PUT's time is by ours.
	return known && done.Followed && done.Sent.After(key.RotatedAt.Add(d.settings.settle(key)+clockOffset))
}

// overtaken reports whether somebody else may have re-encrypted the region's store key since it was done, under a version of the key that
// was made since and is no longer the primary.
func overtaken(info cmek.RegionInfo, uri cmek.KeyURI, key cmek.Key, done ledger.Done) bool {
	at := key.SetBackAfter()
	return !at.IsZero() && at.After(done.At.Add(-clockOffset)) && touched(info, uri, done) && info.Newest(uri).UpdatedAt.After(at.Add(-clockOffset))
}

// touched reports whether the region's key shows an operation that ended after the one that is done.
func touched(info cmek.RegionInfo, uri cmek.KeyURI, done ledger.Done) bool {
	return info.Newest(uri).UpdatedAt.After(done.At.Add(clockOffset))
}

func (d decision) optedOut() bool { return off(d.Cluster) }

func (d decision) unshown(region string) bool { return slices.Contains(d.Unshown, region) }

// inFlight reports whether a request to the cluster is open or about to leave, for whatever region: an operation may be
// running, and its traces could not be told from those of a second one.
func (d decision) inFlight() bool {
	return slices.ContainsFunc(d.item.Work, func(w ledger.Work) bool {
		return w.State == ledger.Requested || w.Claimed(d.now) && !w.Claim.Intent.Equal(d.Claimed)
	})
}

// unfinished returns a status, at any level, that shows an operation in progress or that we do not know; "" if there is
// none. Then nothing should be sent to the cluster.
func (d decision) unfinished() cmek.Status {
	busy := func(s cmek.Status) bool { return s.InProgress() || (s != "" && !s.Known()) }
	if busy(d.CMEK.Status) {
		return d.CMEK.Status
	}
	for _, info := range d.CMEK.RegionInfos {
		if busy(info.Status) {
			return info.Status
		}
		for _, k := range info.KeyInfos {
			if busy(k.Status) {
				return k.Status
			}
		}
	}
	return ""
}

// quoted is Cockroach Labs' message about the key, if there is one.
func quoted(info cmek.RegionInfo, uri cmek.KeyURI) string {
	if m := info.Newest(uri).UserMessage; m != "" {
		return fmt.Sprintf(": %q", m)
	}
	return ""
}

// unreadable makes the work wait because what decides about it could not be read.
func unreadable(format string, args ...any) Verdict {
	return Verdict{detained: true, unread: true}.because(Wait, format, args...)
}

func (v Verdict) because(act Act, format string, args ...any) Verdict {
	v.Act, v.Why = act, fmt.Sprintf(format, args...)
	return v
}

func (v Verdict) until(t time.Time) Verdict {
	v.Until = t
	return v
}

// earlier is the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
