package rotation

import (
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Kinds of evidence. The Cloud API has no operation to ask and shows no key version (CockroachDB Cloud API 2024-09-16,
// CMEKClusterInfo): all that can be read is the statuses of a region and its key, and the key's updated_at. Only what differs
// from the request's baseline counts; the cluster's own operation status may be somebody else's.
const (
	evidenceMoved = "updated_at moved"
	evidenceSeen  = "operation seen"
	// evidenceInForce: the key that the region was to be moved to is in force, and was not before.
	evidenceInForce = "new key in force"
)

// watching reports whether the verdict about the work is what became of its last request: one that is open, or one that was
// refused or given up and has left a trace after all.
func (d decision) watching(w ledger.Work) bool {
	r := w.Request
	if r == nil || r.Ended {
		return false
	}
	if w.State == ledger.Requested || !r.Evidence.IsZero() {
		return true
	}
	if w.State == ledger.Blocked && !r.GivenUp && !refused(r) {
		return true // blocked since the request left, by a revocation for instance
	}
	info, _ := d.CMEK.Region(w.Region) // one that is gone shows no trace
	return d.fresh(r, w.Region) && trace(*r, w, info, info.Newest(w.Key)) != ""
}

// fresh reports whether the region's CMEK was read after the request left.
func (d decision) fresh(r *ledger.Request, region string) bool {
	return d.CMEKRead && !d.unshown(region) && !d.ReadAt.Before(r.LeftAt())
}

// outcome decides about work whose PUT was sent, or may have been: is it done, has it failed, did it ever arrive?
func (d decision) outcome(w ledger.Work) Verdict {
	r := *w.Request
	r.Timeline = slices.Clone(r.Timeline)
	v := Verdict{Spec: cmek.KeySpec{URI: w.Key}, Version: w.Version, RotatedAt: w.RotatedAt, watched: &r}
	poll := d.now.Add(min(max(d.settings.Poll, d.now.Sub(r.LeftAt())/4), pollMax))
	info, ok := d.CMEK.Region(w.Region)
	switch answerDue := r.LeftAt().Add(answerWithin); {
	case r.Answer == nil && d.now.Before(answerDue):
		if ok && !d.Older && d.fresh(&r, w.Region) { // its worker may be gone, and the operation have ended by the next read
			d.sight(&r, w, info, info.Newest(w.Key))
		}
		return v.because(Wait, "the request may be on its way").until(answerDue)
	case !ok:
		return v.because(Drop, "the region is gone")
	case d.Older:
		return v.because(Wait, whyOlder).until(poll)
	case d.unshown(w.Region):
		return v.because(Wait, "the Cloud API does not show the region").until(earlier(poll, d.now.Add(busyWait)))
	case !d.CMEKRead:
		return v.because(Wait, "the outcome was not read yet").until(d.now)
	case !d.fresh(&r, w.Region):
		return v.because(Wait, "the outcome was not read yet").until(poll)
	}
	key := info.Newest(w.Key)
	if changedAway(w, info, key) {
		v.reached = passed(r, w, key)
		return v.because(Drop, "the region's key changed")
	}
	if key.Spec.URI != "" {
		v.Spec = key.Spec
	}
	d.note(&r, w, info, key)
	return d.weigh(w, v, info, poll)
}

// sight adds what this read shows to the request's timeline and evidence.
func (d decision) sight(r *ledger.Request, w ledger.Work, info cmek.RegionInfo, key cmek.KeyInfo) {
	s := ledger.Sighting{At: d.ReadAt, Region: info.Status, Key: key.Status, UpdatedAt: key.UpdatedAt}
	if d.ClusterRead {
		s.Operation = cmekOperation(d.Cluster)
	}
	r.Timeline = sighted(r.Timeline, s)
	if kind := trace(*r, w, info, key); r.Evidence.IsZero() && kind != "" {
		r.Evidence = ledger.Evidence{Kind: kind, At: d.ReadAt}
	}
}

// note adds what this read shows to the request: what [decision.sight] does, and its state of rest.
func (d decision) note(r *ledger.Request, w ledger.Work, info cmek.RegionInfo, key cmek.KeyInfo) {
	d.sight(r, w, info, key)
	switch rest := d.rest(r, w, info, key); rest {
	case r.Final.Status:
	case "":
		r.Final = ledger.Final{}
	default:
		r.Final = ledger.Final{Status: rest, Since: d.ReadAt}
	}
	if d.now.Sub(r.LeftAt()) >= stuckAfter && r.StuckSince.IsZero() {
		r.StuckSince = d.now
	}
}

// weigh decides by all that was read since the PUT.
func (d decision) weigh(w ledger.Work, v Verdict, info cmek.RegionInfo, poll time.Time) Verdict {
	r := v.watched
	accepted := r.Answer != nil && r.Answer.Outcome == cmek.Accepted
	expected := r.LeftAt().Add(d.settings.graceFor(w, d.UpdatedAtMoves))
	overdue := !d.now.Before(expected)
	confirmed := r.Final.Since.Add(d.settings.confirm())
	ours := !r.Evidence.IsZero() || accepted && overdue

	if s := d.handsOff(info); s != "" {
		return v.because(Block, "%s since keyturn's request: hands off", s).until(d.now.Add(backoffMax))
	}
	switch {
	case !ours && !accepted && overdue && !d.ClusterRead:
		return v.because(Wait, "the cluster was not read yet").until(d.now)
	case !ours && !accepted && overdue && cmekOperation(d.Cluster) != cmek.CMEKOperationRunning:
		v.last = w.Lost > 0 && !d.UpdatedAtMoves
		return v.because(Resend, "the request left no trace within %s", d.settings.graceFor(w, d.UpdatedAtMoves)).until(d.now)
	case r.Final.IsZero():
		return v.because(Wait, "status %s", info.Status).until(poll)
	case !ours:
		return v.because(Wait, "no trace of the request yet").until(earlier(poll, latest(expected, d.now.Add(time.Second))))
	case d.now.Before(confirmed) || d.ReadAt.Before(confirmed):
		return v.because(Wait, "status %s, read once", r.Final.Status).until(earlier(poll, latest(confirmed, d.now.Add(time.Second))))
	case (r.Final.Status == unmoved || r.Final.Status == putBack) && !d.ClusterRead:
		return v.because(Wait, "the cluster was not read yet").until(d.now)
	case r.Final.Status == putBack:
		v.reached = true
		return v.because(Drop, "the region came to the key, and is on the one before again")
	case r.Final.Status == unmoved && accepted && cmekOperation(d.Cluster) == "" && d.now.Sub(r.LeftAt()) >= stuckAfter:
		return v.because(Drop, "the request was accepted, and the region is on the key before: it was not carried out, or was undone")
	case r.Final.Status == unmoved && (accepted || !overdue || cmekOperation(d.Cluster) != ""):
		return v.because(Wait, "status %s", r.Final.Status).until(poll)
	case r.Final.Status == unmoved: // the operation that was seen was somebody else's
		r.Ended = true
		v.last = w.Lost > 0 && !d.UpdatedAtMoves
		return v.because(Resend, "the region came to rest on the key before").until(d.now)
	case r.Final.Status != cmek.Enabled:
		return v.because(Fail, "%s%s", r.Final.Status, quoted(info, w.Key)).until(d.now)
	case !d.ClusterRead:
		return v.because(Wait, "the cluster was not read yet").until(d.now)
	case d.Cluster.OperationStatus == cmek.CMEKOperationFailed && d.now.Sub(r.LeftAt()) >= stuckAfter:
		if key := d.Keys[v.Spec.URI]; key.Err == nil && key.Key.State.Usable() && key.Key.Version != w.Version && key.Key.Version.Scheme == w.Version.Scheme {
			v.watched, v.Version, v.RotatedAt = nil, key.Key.Version, key.Key.RotatedAt
			return v.because(Supersede, "the key's version is now %s", key.Key.Version.Short()).until(d.now)
		}
		return v.because(Block, "the cluster's operation status stays %s, so the end of the request is not known", d.Cluster.OperationStatus).until(d.now.Add(backoffMax))
	case d.Cluster.OperationStatus == cmek.CMEKOperationFailed:
		return v.because(Wait, "the cluster's operation status is %s", d.Cluster.OperationStatus).until(poll)
	case r.Evidence.IsZero():
		return v.because(Complete, "accepted, no trace within %s", d.settings.Grace)
	}
	return v.because(Complete, "%s", r.Evidence.Kind)
}

// The rest of a region that an order was to move, and that is ENABLED on the key before: unmoved if nothing shows that the order's key was
// ever in force, putBack if it was since the request. Then somebody chose the key before once more.
const (
	unmoved cmek.Status = "ENABLED on the key before"
	putBack cmek.Status = "ENABLED on the key before again"
)

// passed reports whether the key of the work's order was in force since the request's baseline, and is a past key now. A move that failed
// leaves a failure.
func passed(r ledger.Request, w ledger.Work, key cmek.KeyInfo) bool {
	b := r.Baseline
	return w.Order != "" && b != nil && key.Status == cmek.Disabled &&
		(b.Key != cmek.Disabled || !b.UpdatedAt.IsZero() && key.UpdatedAt.After(b.UpdatedAt))
}

// rest is the state in which no operation runs, "" if one may: ENABLED at region and key, a failure, or [unmoved].
func (d decision) rest(r *ledger.Request, w ledger.Work, info cmek.RegionInfo, key cmek.KeyInfo) cmek.Status {
	if d.ClusterRead {
		before := r.Baseline == nil || r.Baseline.Operation == cmek.CMEKOperationFailed // without a baseline, nobody can tell
		accepted := r.Answer != nil && r.Answer.Outcome == cmek.Accepted
		switch op := cmekOperation(d.Cluster); {
		case op == cmek.CMEKOperationFailed && !before && (accepted || !r.Evidence.IsZero()):
			return cmek.Status(op)
		case op != "" && op != cmek.CMEKOperationFailed:
			return ""
		}
	}
	switch {
	case info.Status.Failed():
		return info.Status
	case key.Status.Failed():
		return key.Status
	case info.Status == cmek.Enabled && key.Status == cmek.Enabled:
		return cmek.Enabled
	case info.Status == cmek.Enabled && w.Order != "" && (key.Spec.URI == "" || key.Status == cmek.Disabled):
		current, distinct := info.Current()
		switch {
		case distinct != 1 || current.Spec.URI != w.From.URI:
		case passed(*r, w, key):
			return putBack
		default:
			return unmoved
		}
	}
	return ""
}

// cmekOperation is the cluster's state or operation status, if it shows that a CMEK operation runs, may run, or failed.
func cmekOperation(c cmek.Cluster) string {
	switch {
	case c.OperationStatus == cmek.CMEKOperationRunning, c.OperationStatus == cmek.CMEKOperationFailed:
		return c.OperationStatus
	case c.State == cmek.StateLocked && !strings.HasSuffix(c.OperationStatus, "_RUNNING"):
		return c.State // locked, and by nothing else that has a name
	}
	return ""
}

// trace returns the kind of evidence that a read shows of an operation that began after the request's baseline; "" for none.
func trace(r ledger.Request, w ledger.Work, info cmek.RegionInfo, key cmek.KeyInfo) string {
	if key.Spec.URI == "" && w.Order == "" { // an order's key is shown once its operation has begun
		return ""
	}
	before := r.Baseline
	if before == nil {
		before = &ledger.Baseline{UpdatedAt: r.Before} // of an earlier release
	}
	began := func(now, then cmek.Status) bool { return (now.InProgress() || now.Failed()) && now != then }
	switch {
	case !before.UpdatedAt.IsZero() && key.UpdatedAt.After(before.UpdatedAt):
		return evidenceMoved
	case began(info.Status, before.Region), began(key.Status, before.Key):
		return evidenceSeen
	case w.Order != "" && key.Status == cmek.Enabled && before.Key != cmek.Enabled, passed(r, w, key):
		return evidenceInForce
	}
	return ""
}

// changedAway reports whether the region shows that it has come to another key than that of the work's request. An order's request
// begins while the key before is in force, and its own is not shown yet.
func changedAway(w ledger.Work, info cmek.RegionInfo, key cmek.KeyInfo) bool {
	current, distinct := info.Current()
	if w.Order != "" {
		return distinct == 1 && current.Spec.URI != w.Key && current.Spec.URI != w.From.URI
	}
	return key.Spec.URI == "" || distinct == 1 && !current.Spec.URI.SameKey(w.Key)
}

// refused reports whether the request was answered with a refusal.
func refused(r *ledger.Request) bool { return r.Answer != nil && r.Answer.Outcome == cmek.Refused }

// needsCluster reports whether a poll of the item's open requests may come to an end, for which the cluster must be read, too.
func needsCluster(item *ledger.Cluster, moves bool, now time.Time, s Settings) bool {
	return slices.ContainsFunc(item.Work, func(w ledger.Work) bool {
		r := w.Request
		if r == nil || r.Ended || w.State == ledger.Due {
			return false
		}
		if r.Evidence.IsZero() {
			return !now.Before(r.LeftAt().Add(s.graceFor(w, moves)))
		}
		rested := !r.Final.IsZero() && !now.Before(r.Final.Since.Add(s.confirm()))
		return rested || !now.Before(r.LeftAt().Add(stuckAfter)) // what is stuck may have failed at the cluster alone
	})
}

// sighted adds a sighting to a timeline, unless it is what was seen last.
func sighted(timeline []ledger.Sighting, s ledger.Sighting) []ledger.Sighting {
	const kept = 24
	if n := len(timeline); n > 0 {
		last := timeline[n-1]
		if last.Region == s.Region && last.Key == s.Key && last.Operation == s.Operation && last.UpdatedAt.Equal(s.UpdatedAt) {
			return timeline
		}
	}
	timeline = append(timeline, s)
	if len(timeline) > kept { // keep the first ones: they hold the evidence that an operation began
		timeline = slices.Delete(timeline, kept/2, kept/2+1)
	}
	return timeline
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
