package rotation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// deliver archives and sends what is in the cluster's outbox, then takes it out. Whatever fails stays in and is tried again.
func (w *worker) deliver(ctx context.Context, c *ledger.Cluster) error {
	if c == nil || len(c.Messages) == 0 {
		return nil
	}
	delivered, problems := w.deliverAll(ctx, c.Messages)
	_, err := w.update(ctx, c.ID, func(item *ledger.Cluster) error {
		item.Clear(delivered)
		if problems != nil {
			item.Retry(time.Now(), time.Now().Add(busyWait))
		}
		return nil
	})
	return errors.Join(problems, err)
}

// reportKeys compares what was read of keys with the open incidents about keys. One cause is one alert, naming all clusters: a
// key that cannot be used, or an account whose keys cannot be read.
func (w *worker) reportKeys(ctx context.Context) error {
	now := time.Now()
	read := w.keys.take()
	if w.lease == nil || len(read) == 0 {
		return nil
	}
	before := maps.Clone(w.lease.KeyTroubles)
	byKey := func(uri cmek.KeyURI) ([]*ledger.Cluster, error) { return w.Ledger.ByKey(ctx, uri) }
	all, unknown := forgetUnused(troubles(w.lease.KeyTroubles, read, now), now, byKey)
	w.lease.KeyTroubles = all
	open := slices.ContainsFunc(w.lease.Alarms, func(a ledger.Alarm) bool { return aboutKeys(a.Key) })
	if len(w.lease.KeyTroubles) == 0 && !open || sameTroubles(before, w.lease.KeyTroubles) {
		return unknown
	}
	conditions, err := keyConditions(w.lease.KeyTroubles, byKey)
	w.lease.Alarms = transitions(w.lease.Alarms, conditions, func(key string) bool { return !aboutKeys(key) }, now, &w.lease.Outbox)
	return errors.Join(unknown, err, w.saveAndDeliver(ctx))
}

// noteDenied notes whether our API key may send PUTs to the cluster; what changed is reported by reportDenied.
func (w *worker) noteDenied(c *ledger.Cluster, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lease == nil {
		return
	}
	if _, was := w.lease.Denied[c.ID]; was == is {
		return
	}
	all := maps.Clone(w.lease.Denied)
	if all == nil {
		all = map[string]string{}
	}
	delete(all, c.ID)
	if is {
		all[c.ID] = c.Cluster.Name
	}
	w.lease.Denied, w.deniedChanged = all, true
}

// stillDenied forgets a denial that no work of the cluster stands for any more.
func (w *worker) stillDenied(c *ledger.Cluster) {
	if !slices.ContainsFunc(c.Work, func(work ledger.Work) bool { return work.Attempts > 0 }) {
		w.noteDenied(c, false)
	}
}

// reportDenied reports that our API key is denied PUTs: once, with all clusters.
func (w *worker) reportDenied(ctx context.Context) error {
	if w.lease == nil || !w.deniedChanged {
		return nil
	}
	w.deniedChanged = false
	var conditions []alert.Alert
	if len(w.lease.Denied) > 0 {
		conditions = append(conditions, putDenied(w.lease.Denied))
	}
	w.lease.Alarms = transitions(w.lease.Alarms, conditions, func(key string) bool { return key != "put-denied" }, time.Now(), &w.lease.Outbox)
	return w.saveAndDeliver(ctx)
}

// reportHolds reports to operations which holds began, end soon or have ended since the last time.
func (w *worker) reportHolds(ctx context.Context) error {
	holds, err := w.Ledger.Holds(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	conditions := holdConditions(holds, now)
	before := len(w.lease.Messages)
	for i := range w.lease.Alarms {
		a := &w.lease.Alarms[i]
		if stands := slices.ContainsFunc(conditions, func(c alert.Alert) bool { return c.DedupKey == a.Key }); aboutHold(a.Key) && !stands {
			a.Alert.Summary = holdEnded(a.Alert, holds)
		}
	}
	w.lease.Alarms = transitions(w.lease.Alarms, conditions, func(key string) bool { return !aboutHold(key) }, now, &w.lease.Outbox)
	if len(w.lease.Messages) == before {
		return nil
	}
	return w.saveAndDeliver(ctx)
}

// saveAndDeliver saves the worker's record, then sends its messages. What is not on record is not sent: it would be reported
// again as something new.
func (w *worker) saveAndDeliver(ctx context.Context) error {
	if err := w.saveLease(ctx); err != nil {
		return err
	}
	return w.deliverOwn(ctx)
}

// deliverOwn does the same for the worker's own messages.
func (w *worker) deliverOwn(ctx context.Context) error {
	if w.lease == nil || len(w.lease.Messages) == 0 {
		return nil
	}
	delivered, problems := w.deliverAll(ctx, w.lease.Messages)
	w.lease.Clear(delivered)
	if problems != nil {
		w.lease.Retry(time.Now(), time.Now().Add(busyWait))
	}
	return errors.Join(problems, w.saveLease(ctx))
}

func (w *worker) deliverAll(ctx context.Context, messages []ledger.Message) (delivered map[string]bool, err error) {
	delivered = map[string]bool{}
	waiting := map[string]bool{} // incidents whose earlier message could not be sent: an end must not come before its beginning
	var problems []error
	for _, m := range messages {
		var err error
		switch {
		case m.Alert != nil && waiting[m.Alert.DedupKey]:
			continue
		case m.Alert != nil && w.reportedByAlerting(ctx, *m.Alert):
			w.Log.Info("reported by alerting", "alert", m.ID)
		case m.Alert != nil:
			err = w.Notifier.Notify(ctx, *m.Alert)
		case m.Evidence != nil:
			err = w.Archive.PutIfAbsent(ctx, m.ID, m.Evidence)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("deliver %s: %w: %w", m.ID, errUndelivered, err))
			if m.Alert != nil {
				waiting[m.Alert.DedupKey] = true
			}
			continue
		}
		delivered[m.ID] = true
	}
	return delivered, errors.Join(problems...)
}

// reportedByAlerting reports whether alerting, which learned of it from an event, has an incident for the key that a sweep found
// unusable: nobody is paged twice for one key. Its end is alerting's to report, too. If that cannot be known, a repeated alert is
// better than none.
func (w *worker) reportedByAlerting(ctx context.Context, a alert.Alert) bool {
	if a.Change != changeKeyUnusable {
		return false
	}
	incident, err := w.Ledger.Incident(ctx, a.DedupKey)
	if err != nil || incident.Opened.IsZero() {
		return false
	}
	return incident.Open() || a.Resolved && time.Since(incident.Closed) < overdueAfter
}

// errUndelivered marks what could not be sent or archived; it says nothing about the cluster.
var errUndelivered = errors.New("not delivered")

// reportUnreadable reports that a cluster could not be read several times in a row. The next poll that succeeds ends it.
func reportUnreadable(item *ledger.Cluster, cause error, now time.Time) {
	a := alert.Alert{
		DedupKey: "cluster-unreadable/" + item.ID, Audience: alert.Operations, Severity: alert.High, Change: changeClusterUnreadable,
		Summary:       fmt.Sprintf("keyturn cannot read cluster %s: %v", item.Cluster.Name, cause),
		Impact:        "Its rotations are not followed as long as this lasts. This says nothing about the cluster itself.",
		RecoverySteps: []string{"If access was denied: give keyturn's service account Cluster Operator on the cluster.", "Otherwise wait; keyturn tries again at growing intervals."},
		Clusters:      []alert.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name}},
	}
	item.Alarms = transitions(item.Alarms, []alert.Alert{a}, func(string) bool { return true }, now, &item.Outbox)
}

// sweepIncomplete is the alert for a walk that could not read every cluster.
func sweepIncomplete(s ledger.Sweep, cause error) alert.Alert {
	a := alert.Alert{
		DedupKey: "sweep-incomplete", Audience: alert.Operations, Severity: alert.High, Change: changeSweepIncomplete,
		Summary:       fmt.Sprintf("keyturn could not read %d of %d clusters or their keys", s.Failed-s.Unread, s.Clusters),
		Impact:        "Rotations that no event announced are not found for these, and keyturn cannot say of any key that nobody needs it.",
		RecoverySteps: []string{"Read the function's log for the clusters and reasons; most often a role or a permission is missing."},
	}
	if cause != nil {
		a.Summary = fmt.Sprintf("keyturn could not list the clusters: %v", cause)
	}
	return a
}

// apiKeyRefused is the alert for a Cloud API key that no longer lists clusters.
func apiKeyRefused(cause error) alert.Alert {
	return alert.Alert{
		DedupKey: "api-key-refused", Audience: alert.Operations, Severity: alert.Critical, Change: changeAPIKeyRefused,
		Summary:       fmt.Sprintf("The Cloud API refuses keyturn's API key: %v", cause),
		Impact:        "No rotation is followed and no cluster is read until this is fixed. Nothing is lost meanwhile.",
		RecoverySteps: []string{"Check that the API key exists and that its service account has Cluster Operator; store a new key in the secret. keyturn reads it again by itself."},
	}
}
