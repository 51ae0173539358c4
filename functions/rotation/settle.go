package rotation

import (
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// requested decides about work whose PUT was sent, or may have been: is it done, has it failed, did it ever arrive? The API
// has no operation to ask; all that can be read is the region's statuses, the key's updated_at, and the cluster's own
// operation status (CockroachDB Cloud API 2024-09-16, CMEKClusterInfo and Cluster).
func (d decision) requested(w ledger.Work) Verdict {
	r := w.Request
	v := Verdict{Spec: cmek.KeySpec{URI: w.Key}, Version: w.Version, RotatedAt: w.RotatedAt}
	if wait := r.Intent.Add(answerWithin); r.Answer == nil && d.now.Before(wait) {
		return v.because(Wait, "the request may be on its way").until(wait)
	}
	if !d.CMEKRead {
		return v.because(Wait, "the outcome was not read yet").until(d.now)
	}
	info, ok := d.CMEK.Region(w.Region)
	if !ok && d.now.Sub(r.Intent) < overdueAfter {
		return v.because(Wait, "the region is not shown").until(d.now.Add(backoffMax))
	}
	if !ok {
		return v.because(Drop, "the region is gone")
	}
	key := info.Newest(w.Key)
	current, distinct := info.Current()
	if key.Spec.URI == "" || distinct == 1 && !current.Spec.URI.SameKey(w.Key) {
		return v.because(Drop, "the region's key changed")
	}
	v.Spec = key.Spec
	v.Sighting = d.sight(r, info, key)
	return d.outcome(w, v, info, key)
}

// sight notes what this look shows.
func (d decision) sight(r *ledger.Request, info cmek.RegionInfo, key cmek.KeyInfo) *ledger.Sighting {
	s := &ledger.Sighting{At: d.now, Region: info.Status, Key: key.Status, UpdatedAt: key.UpdatedAt}
	if d.ClusterRead {
		switch {
		case d.Cluster.OperationStatus == cmek.CMEKOperationRunning:
			s.Operation = d.Cluster.OperationStatus
		case d.Cluster.OperationStatus == cmek.CMEKOperationFailed && !r.FailedBefore:
			s.Operation = d.Cluster.OperationStatus
		case d.Cluster.State == cmek.StateLocked && !strings.HasSuffix(d.Cluster.OperationStatus, "_RUNNING"):
			s.Operation = d.Cluster.State // locked, and by nothing else that has a name
		}
	}
	return s
}

// outcome weighs what was seen since the PUT.
func (d decision) outcome(w ledger.Work, v Verdict, info cmek.RegionInfo, key cmek.KeyInfo) Verdict {
	r := w.Request
	accepted := r.Answer != nil && r.Answer.Outcome == cmek.Accepted
	moved := moved(r, key)
	seen := trace(r.Timeline) || trace([]ledger.Sighting{*v.Sighting})
	grace := r.Intent.Add(d.settings.Grace)
	poll := d.now.Add(min(max(d.now.Sub(r.Intent), d.settings.Poll), backoffMax))

	failed := info.Status.Failed() || key.Status.Failed() || v.Sighting.Operation == cmek.CMEKOperationFailed
	// After a retry the region may go on showing the earlier failure until the new operation begins.
	retried := w.Failed > 0 || w.Released
	stale := retried && !moved && !seen && d.now.Before(grace)

	switch {
	case d.CMEK.Status.HandsOff() || info.Status.HandsOff():
		status := info.Status
		if d.CMEK.Status.HandsOff() {
			status = d.CMEK.Status
		}
		return v.because(Hold, "status %s since our request: hands off", status).until(d.now.Add(backoffMax))
	case failed && !stale && (accepted || moved || seen || !retried):
		return v.because(Fail, "%s%s", failure(info, key, v.Sighting), told(info, w.Key)).until(d.now)
	case failed || info.Status != cmek.Enabled || key.Status != cmek.Enabled || v.Sighting.Operation != "":
		if !accepted && !moved && !seen && !d.now.Before(grace) {
			return v.because(Resend, "the request left no trace within %s", d.settings.Grace).until(d.now)
		}
		return v.because(Wait, "status %s", info.Status).until(poll)
	case d.Cluster.OperationStatus == cmek.CMEKOperationFailed:
		v.wantCluster = !d.ClusterRead
		return v.because(Wait, "the cluster's operation status is %s", d.Cluster.OperationStatus).until(poll)
	case moved:
		return v.because(Settle, "updated_at moved")
	case seen:
		return v.because(Settle, "operation seen")
	case !d.ClusterRead:
		// Nothing at the keys tells; the cluster's operation status may.
		v.wantCluster = !accepted || !d.now.Before(grace)
		return v.because(Wait, "no trace of the request yet").until(earlier(poll, grace))
	case d.now.Before(grace):
		return v.because(Wait, "no trace of the request yet").until(earlier(poll, grace))
	case accepted:
		return v.because(Settle, "accepted, no trace within %s", d.settings.Grace)
	}
	return v.because(Resend, "the request left no trace within %s", d.settings.Grace).until(d.now)
}

// moved reports whether the key was updated since the request's intent.
func moved(r *ledger.Request, key cmek.KeyInfo) bool {
	return !key.UpdatedAt.Equal(r.Before) && key.UpdatedAt.After(r.Intent.Add(-clockSkew))
}

// trace reports whether an operation was seen at work on the region.
func trace(timeline []ledger.Sighting) bool {
	atWork := func(s cmek.Status) bool { return s.InProgress() || (s != "" && !s.Known()) }
	for _, s := range timeline {
		if atWork(s.Region) || atWork(s.Key) || s.Operation != "" {
			return true
		}
	}
	return false
}

func failure(info cmek.RegionInfo, key cmek.KeyInfo, s *ledger.Sighting) string {
	switch {
	case info.Status.Failed():
		return string(info.Status)
	case key.Status.Failed():
		return string(key.Status)
	}
	return s.Operation
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) || !b.After(time.Time{}) {
		return a
	}
	return b
}
