package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// deliver archives and tells what is in the cluster's outbox, then takes it out. Whatever fails stays in and is tried again.
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
	var problems []error
	for _, m := range messages {
		var err error
		switch {
		case m.Alert != nil && w.toldByAlerting(ctx, *m.Alert):
			w.Log.Info("told by alerting", "alert", m.ID)
		case m.Alert != nil:
			err = w.Notifier.Notify(ctx, *m.Alert)
		case m.Evidence != nil:
			err = w.Archive.PutIfAbsent(ctx, m.ID, m.Evidence)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("deliver %s: %w: %w", m.ID, errUndelivered, err))
			continue
		}
		delivered[m.ID] = true
	}
	return delivered, errors.Join(problems...)
}

// toldByAlerting reports whether alerting, which heard of it from an event, has an incident for the key that a sweep found
// unusable: nobody is woken twice for one key. Its end is alerting's to tell, too. If that cannot be known, telling twice is
// better than never.
func (w *worker) toldByAlerting(ctx context.Context, alert cmek.Alert) bool {
	if alert.Change != changeKeyUnusable {
		return false
	}
	incident, err := w.Ledger.Incident(ctx, keyUnusable+"/"+string(alert.Key))
	if err != nil || incident.Opened.IsZero() {
		return false
	}
	return incident.Open() || alert.Resolved && time.Since(incident.Closed) < overdueAfter
}

// errUndelivered marks what could not be told or archived; it says nothing about the cluster.
var errUndelivered = errors.New("not delivered")

// unreadable tells that a cluster could not be read several times in a row. The next look that succeeds ends it.
func unreadable(item *ledger.Cluster, cause error, now time.Time) {
	alert := cmek.Alert{
		DedupKey: "cluster-unreadable/" + item.ID, Audience: cmek.Operations, Severity: cmek.High, Change: changeClusterUnreadable,
		Summary:     fmt.Sprintf("keyturn cannot read cluster %s: %v", item.Cluster.Name, cause),
		Consequence: "Its rotations are not followed as long as this lasts. This says nothing about the cluster itself.",
		WayBack:     []string{"If access was denied: give keyturn's service account Cluster Operator on the cluster.", "Otherwise wait; keyturn tries again at growing intervals."},
		Clusters:    []cmek.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name}},
	}
	item.Alarms = transitions(item.Alarms, []cmek.Alert{alert}, func(string) bool { return true }, now, &item.Outbox)
}

// sweepIncomplete is the alert for a walk that could not read every cluster.
func sweepIncomplete(s ledger.Sweep, cause error) cmek.Alert {
	alert := cmek.Alert{
		DedupKey: "sweep-incomplete", Audience: cmek.Operations, Severity: cmek.High, Change: changeSweepIncomplete,
		Summary:     fmt.Sprintf("keyturn could not read %d of %d clusters or their keys", s.Failed, s.Clusters),
		Consequence: "Rotations that no event told of are not found for these, and keyturn cannot say of any key that nobody needs it.",
		WayBack:     []string{"Look at the function's log for the clusters and reasons; most often a role or a permission is missing."},
	}
	if cause != nil {
		alert.Summary = fmt.Sprintf("keyturn could not list the clusters: %v", cause)
	}
	return alert
}

// apiKeyRefused is the alert for a Cloud API key that no longer lists clusters.
func apiKeyRefused(cause error) cmek.Alert {
	return cmek.Alert{
		DedupKey: "api-key-refused", Audience: cmek.Operations, Severity: cmek.Critical, Change: changeAPIKeyRefused,
		Summary:     fmt.Sprintf("The Cloud API refuses keyturn's API key: %v", cause),
		Consequence: "No rotation is followed and no cluster is read until this is mended. Nothing is lost meanwhile.",
		WayBack:     []string{"Check that the API key exists and that its service account has Cluster Operator; store a new key in the secret. keyturn reads it again by itself."},
	}
}
