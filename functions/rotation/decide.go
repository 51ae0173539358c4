package rotation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Facts are what was read about one cluster. What was not read now is the ledger's inventory.
type Facts struct {
	Cluster cmek.Cluster
	CMEK    cmek.ClusterInfo
	// ClusterRead and CMEKRead tell that the value is fresh.
	ClusterRead, CMEKRead bool
	// Gone: the Cloud API does not know the cluster.
	Gone bool
	// Keys holds the keys that were read, by the URI of the region's key spec.
	Keys map[cmek.KeyURI]KeyFact
	// Paused is the operator's order to send nothing.
	Paused ledger.Pause
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
	// Put holds the regions that one PUT should carry, as far as this cluster alone can tell; the fleet's order may still
	// hold them back.
	Put []cmek.RegionSpec
	// Next is when to look again; zero if nothing is open.
	Next time.Time
	// WantCluster: the verdict would be firmer with a fresh read of the cluster.
	WantCluster bool
}

// Verdict is the decision about one piece of work, or about one region without any.
type Verdict struct {
	Region  string
	Spec    cmek.KeySpec
	Version cmek.KeyVersion
	Act     Act
	// Why is for a person.
	Why string
	// Until is when to look again; zero for never.
	Until time.Time
	// Sighting is what was read about a request.
	Sighting *ledger.Sighting
	// RotatedAt is when the version became current, if known.
	RotatedAt time.Time

	// work is the index of the piece of work, or -1.
	work        int
	wantCluster bool
}

// Act is what a verdict calls for.
type Act string

// Acts. The first four concern regions without open work, too.
const (
	UpToDate Act = "up to date"     // nothing to do
	Wait     Act = "wait"           // look again at Until
	Adopt    Act = "adopt"          // up to date at first sight: note it as done
	Open     Act = "open"           // a rotation that no event told of: open work
	Drop     Act = "drop"           // the work is void
	Hold     Act = "hold"           // a person or a recovery is needed
	Announce Act = "would send"     // observe mode: say what would be done
	Send     Act = "send"           // a PUT is due
	Settle   Act = "done"           // the PUT did it
	Fail     Act = "failed"         // the accepted PUT ended in *_FAILED
	Renew    Act = "start anew"     // failed work goes on with the key's next version
	Resend   Act = "send once more" // no trace of the PUT within the grace time; held after the second
)

// Decide says what should happen to the cluster. It is pure: the same facts, item and time give the same plan.
func Decide(f Facts, item *ledger.Cluster, now time.Time, s Settings) Plan {
	d := decision{f, item, now, s}
	var p Plan
	judged := map[string]bool{}  // regions with work that stays open or was done just now
	waiting := map[string]bool{} // regions with work that was not sent yet
	for i, w := range item.Work {
		v := d.work(w)
		if w.State != ledger.Requested && waiting[w.Region] {
			v = Verdict{Act: Drop, Why: "the same work is open already"}
		}
		v.Region, v.work = w.Region, i
		judged[w.Region] = judged[w.Region] || v.Act != Drop
		unsent := w.State != ledger.Requested || v.Act == Resend || v.Act == Fail
		waiting[w.Region] = waiting[w.Region] || unsent && v.Act != Drop && v.Act != Adopt && v.Act != Settle
		p.add(v)
	}
	for _, info := range f.CMEK.RegionInfos {
		if !judged[info.Region] && !f.Gone {
			v := d.region(info)
			v.Region, v.work = info.Region, -1
			p.add(v)
		}
	}
	return p
}

func (p *Plan) add(v Verdict) {
	p.Verdicts = append(p.Verdicts, v)
	p.WantCluster = p.WantCluster || v.wantCluster
	if v.Act == Send {
		p.Put = append(p.Put, cmek.RegionSpec{Region: v.Region, KeySpec: v.Spec})
	}
	if !v.Until.IsZero() && (p.Next.IsZero() || v.Until.Before(p.Next)) {
		p.Next = v.Until
	}
}

type decision struct {
	Facts
	item     *ledger.Cluster
	now      time.Time
	settings Settings
}

func (d decision) work(w ledger.Work) Verdict {
	switch {
	case d.Gone && pending(w) && d.now.Sub(w.Request.Intent) < overdueAfter:
		return Verdict{Act: Wait, Why: "the Cloud API does not show the cluster, and a PUT may be under way", Until: d.now.Add(backoffMax)}
	case d.Gone:
		return Verdict{Act: Drop, Why: "the cluster is gone"}
	case pending(w):
		return d.requested(w)
	case d.optedOut():
		return Verdict{Act: Drop, Why: "the cluster has the label keyturn=off"}
	}
	info, ok := d.CMEK.Region(w.Region)
	if !ok {
		return Verdict{Act: Drop, Why: "the region is gone"}
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
	v, key := d.key(info, nil)
	if v.Act != "" {
		// Without work there is nothing to hold; the reason is still worth telling.
		v.Act, v.Until = Wait, time.Time{}
		return v
	}
	done, ok := d.item.DoneIn(info.Region)
	ok = ok && done.Key.SameKey(v.Spec.URI)
	switch {
	case ok && done.Version == key.Version:
		return v.because(UpToDate, "done %s", done.At.UTC().Format(time.RFC3339))
	case ok && done.Version.Scheme != key.Version.Scheme:
		return v.because(Adopt, "the KMS now names versions by %s", key.Version.Scheme)
	case !ok && d.adoptable(info, v.Spec.URI, key):
		return v.because(Adopt, "wrapped after the key's last rotation")
	}
	return v.because(Open, "no event told of this version").until(d.now)
}

// key finds the region's one current key and reads its truth. A verdict with an Act is final.
func (d decision) key(info cmek.RegionInfo, w *ledger.Work) (Verdict, cmek.Key) {
	var v Verdict
	soon := d.now.Add(busyWait)
	for _, other := range d.CMEK.RegionInfos {
		if s := other.Status; s == cmek.Revoked || s == cmek.RevokeFailed {
			return v.because(Hold, "region %s is %s: hands off", other.Region, s).until(d.now.Add(backoffMax)), cmek.Key{}
		}
	}
	for _, s := range []cmek.Status{d.CMEK.Status, info.Status} {
		if s.HandsOff() {
			return v.because(Hold, "status %s: hands off", s).until(d.now.Add(backoffMax)), cmek.Key{}
		}
	}
	current, distinct := info.Current()
	switch {
	case distinct > 1:
		return v.because(Hold, "%d different key specs are ENABLED", distinct).until(d.now.Add(backoffMax)), cmek.Key{}
	case distinct == 1:
		v.Spec = current.Spec
	case info.Status.InProgress() || !info.Status.Known():
		return v.because(Wait, "status %s", info.Status).until(soon), cmek.Key{}
	case w != nil && (w.Failed > 0 || w.Released) && info.Newest(w.Key).Spec.URI != "":
		v.Spec = info.Newest(w.Key).Spec // after our own failed rotation no key may read ENABLED
	default:
		return v.because(Hold, "no key spec is ENABLED (region status %s)", info.Status).until(d.now.Add(backoffMax)), cmek.Key{}
	}
	if v.Spec.Type != cmek.AWSKMS && v.Spec.Type != cmek.GCPCloudKMS {
		return v.because(Drop, "a new version of a %s key is a new URI; there is nothing to follow", v.Spec.Type), cmek.Key{}
	}
	fact, read := d.Keys[v.Spec.URI]
	switch key := fact.Key; {
	case !read:
		return v.because(Wait, "the key was not read yet").until(d.now), key
	case errors.Is(fact.Err, cmek.ErrDenied):
		return v.because(Wait, "we may not read the key").until(d.now.Add(backoffMax)), key
	case fact.Err != nil:
		return v.because(Wait, "the key could not be read: %v", fact.Err).until(soon), key
	case key.State.Unusable():
		return v.because(Hold, "the key is %s", key.State).until(soon), key
	case !key.State.Usable():
		return v.because(Wait, "the key is in a %s state", key.State).until(soon), key
	case key.Version.IsZero():
		return v.because(Hold, "the KMS tells no version of the key").until(d.now.Add(backoffMax)), key
	default:
		v.Version, v.RotatedAt = key.Version, key.RotatedAt
		return v, key
	}
}

// due decides about work for which no request is open.
func (d decision) due(w ledger.Work, info cmek.RegionInfo, v Verdict, key cmek.Key) Verdict {
	if w.Version != key.Version && w.Version.Scheme == key.Version.Scheme {
		if until, lagging := d.lagging(w, key); lagging {
			v.Version = w.Version
			return v.because(Wait, "the KMS does not show this version yet").until(until)
		}
		if w.Failed > 0 || w.Released {
			// No key may read ENABLED after a failure, so nothing else would open work for the next version.
			return v.because(Renew, "the key has the next version %s", key.Version.Short()).until(d.now)
		}
		return v.because(Drop, "the key's version is %s", key.Version.Short())
	}
	done, ok := d.item.DoneIn(w.Region)
	ok = ok && done.Key.SameKey(v.Spec.URI)
	settled := latest(w.Since, key.RotatedAt).Add(d.settings.Settle)
	switch {
	case ok && done.Version == key.Version:
		return v.because(Drop, "already done %s", done.At.UTC().Format(time.RFC3339))
	case !ok && w.Request == nil && d.adoptable(info, v.Spec.URI, key):
		return v.because(Adopt, "wrapped after the key's last rotation")
	case w.Lost > 0 && w.Request != nil && info.Status == cmek.Enabled && moved(w.Request, info.Newest(w.Key)):
		return v.because(Settle, "updated_at moved, late")
	case w.Failed > 1:
		return v.because(Hold, "the rotation failed twice").until(d.now.Add(backoffMax))
	case w.Lost > 1:
		return v.because(Hold, "two requests left no trace").until(d.now.Add(backoffMax))
	case info.Status.Failed() && w.Failed == 0 && !w.Released:
		return v.because(Hold, "status %s, and not by our request%s", info.Status, told(info, v.Spec.URI)).until(d.now.Add(backoffMax))
	case d.inFlight():
		return v.because(Wait, "an earlier request is under way").until(d.now.Add(busyWait))
	case key.RotationRunning:
		return v.because(Wait, "the KMS still works on the rotation").until(d.now.Add(busyWait))
	case d.now.Before(settled):
		return v.because(Wait, "the new version settles").until(settled)
	case d.ClusterRead && d.Cluster.Busy() != "":
		return v.because(Wait, "%s", d.Cluster.Busy()).until(d.now.Add(busyWait))
	case d.unfinished() != "":
		return v.because(Wait, "status %s", d.unfinished()).until(d.now.Add(busyWait))
	case d.now.Before(w.NotBefore):
		return v.because(Wait, "%s", w.Reason).until(w.NotBefore)
	case d.settings.Mode != Follow && w.Announced:
		return v.because(Wait, "observe mode: a PUT would be sent").until(d.now.Add(overdueAfter))
	case d.settings.Mode != Follow:
		return v.because(Announce, "observe mode: a PUT would be sent").until(d.now.Add(overdueAfter))
	case d.Paused.Active():
		return v.because(Wait, "paused since %s", d.Paused.Since.UTC().Format(time.RFC3339)).until(d.now.Add(busyWait))
	}
	return v.because(Send, "the store key is wrapped under an older version").until(d.now)
}

// lagging reports whether the KMS may still come to show the version that an event announced, and when to look again. An
// event older than the KMS' current version is not early but late.
func (d decision) lagging(w ledger.Work, key cmek.Key) (time.Time, bool) {
	late := !key.RotatedAt.IsZero() && !w.Trigger.Time.IsZero() && w.Trigger.Time.Before(key.RotatedAt.Add(-clockSkew))
	if late || d.now.Sub(w.Since) >= lagLimit {
		return time.Time{}, false
	}
	return d.now.Add(busyWait), true
}

// adoptable reports whether a region seen for the first time is already wrapped under the key's version.
func (d decision) adoptable(info cmek.RegionInfo, uri cmek.KeyURI, key cmek.Key) bool {
	if info.Status != cmek.Enabled || d.inFlight() {
		return false
	}
	if key.NeverRotated {
		return true
	}
	return !key.RotatedAt.IsZero() && info.Newest(uri).UpdatedAt.After(key.RotatedAt.Add(d.settings.Settle))
}

// pending reports whether the outcome of the work's PUT is still to be read; a hold in between does not settle it.
func pending(w ledger.Work) bool {
	return w.State == ledger.Requested || w.State == ledger.Held && w.Request != nil && w.Failed+w.Lost == 0 &&
		(w.Request.Answer == nil || w.Request.Answer.Outcome != cmek.Refused)
}

func (d decision) optedOut() bool { return d.Cluster.Labels["keyturn"] == "off" }

// inFlight reports whether a request to the cluster is open, for whatever region: an operation may be running, and its
// traces could not be told from those of a second one.
func (d decision) inFlight() bool {
	return slices.ContainsFunc(d.item.Work, func(w ledger.Work) bool { return w.State == ledger.Requested })
}

// unfinished returns a status, at any level, that tells of an operation under way or that we do not know; "" if there is
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

// told quotes Cockroach Labs' message about the key, if there is one.
func told(info cmek.RegionInfo, uri cmek.KeyURI) string {
	if m := info.Newest(uri).UserMessage; m != "" {
		return fmt.Sprintf(": %q", m)
	}
	return ""
}

func (v Verdict) because(act Act, format string, args ...any) Verdict {
	v.Act, v.Why = act, fmt.Sprintf(format, args...)
	return v
}

func (v Verdict) until(t time.Time) Verdict {
	v.Until = t
	return v
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
