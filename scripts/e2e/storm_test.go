package e2e

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// What a storm may cost, as the README of notify says.
const (
	stormWithin  = 3 * time.Minute
	mostOnSlack  = 15
	stormKeys    = 1000
	hideInStorms = "120" // seconds; the deployed queues hide messages for longer
)

func TestAStormReachesEveryChannelAndARedriveIsClean(t *testing.T) {
	w := newWatch(t, simulator.DefaultSeed()).inGroups()
	for _, kind := range channels {
		w.account.hide(w.notify[kind].queue, hideInStorms)
	}
	alerts := stormOf("a", stormKeys)
	w.storm(append(alerts, clusterAlert(500)))
	if n := len(w.receiver.got(notify.Slack)); n == 0 || n > mostOnSlack {
		t.Errorf("Slack has %d messages, want 1 to %d", n, mostOnSlack)
	}
	w.checkStorm(stormKeys+1, notify.MostPages+1)

	// A receiver that is out of order for as long as the queue tries, and then a redrive.
	pager := w.notify[notify.PagerDuty].queue
	w.account.hurry(pager)
	w.receiver.refuse(notify.PagerDuty, slices.Repeat([]refusal{serverError}, 1000)...)
	w.publish(stormOf("b", 25)...)
	dead := w.account.queueNamed("notify-pagerduty-dead")
	for deadline := time.Now().Add(stormWithin); w.account.waiting(dead) < 25; time.Sleep(pace) {
		_, _, err := w.notify[notify.PagerDuty].poll()
		w.note(err)
		if time.Now().After(deadline) {
			t.Fatalf("of 25 alerts that PagerDuty refused, %d are in the dead-letter queue", w.account.waiting(dead))
		}
	}
	w.receiver.accept(notify.PagerDuty)
	for _, body := range w.account.drain(dead) {
		w.account.send(pager, body)
	}
	w.storm(nil)
	w.checkStorm(stormKeys+1+25, notify.MostPages+1)

	// The end of it all, put into PagerDuty's queue as it is: moto_server takes minutes to publish so much.
	w.account.hide(pager, hideInStorms)
	var ends []string
	for _, a := range slices.Concat(alerts, stormOf("b", 25), []alert.Alert{clusterAlert(500)}) {
		a.ID, a.Resolved, a.Severity, a.Time = a.ID+"/resolved", true, alert.Info, a.Time.Add(time.Hour)
		data, err := a.JSON()
		must(t, err, "write alert")
		ends = append(ends, string(data))
	}
	w.account.sendAll(pager, ends)
	w.storm(nil)
	if open := w.openPages(); len(open) > 0 {
		t.Errorf("all is resolved, and PagerDuty has open: %v", open)
	}
	if len(w.troubles) > 0 {
		t.Errorf("invocations failed: %v", w.troubles)
	}
}

// stormOf are alerts about as many keys, which one principal disabled.
func stormOf(name string, keys int) (alerts []alert.Alert) {
	for i := range keys {
		key := cmek.KeyURI(fmt.Sprintf("arn:aws:kms:us-east-1:%s:key/0a5d1c2e-7f43-4b1a-9c68-%s%011d", accountID, name, i))
		incident := alert.IncidentKey(alert.KeyUnusable, string(key))
		alerts = append(alerts, alert.Alert{
			ID: incident + "@e", DedupKey: incident, Audience: alert.Owners, Severity: alert.Critical, Change: cmek.ChangeKeyDisabled, Key: key,
			Summary: "Key " + key.ID() + " was disabled", Principal: operator, Time: time.Date(2026, 3, 1, 11, 0, i%60, 0, time.UTC),
			RecoverySteps: []string{"aws kms enable-key --region us-east-1 --key-id " + string(key)},
		})
	}
	return alerts
}

// clusterAlert is about one key that so many clusters need.
func clusterAlert(clusters int) alert.Alert {
	a := stormOf("c", 1)[0]
	for i := range clusters {
		a.Clusters = append(a.Clusters, alert.AffectedCluster{ID: fmt.Sprintf("id-%d", i), Name: fmt.Sprintf("cluster-%d", i), Regions: []string{"us-east-1"}})
	}
	return a
}

// publish sends the alerts to the topic as the functions do, several at a time.
func (w *watch) publish(alerts ...alert.Alert) {
	w.t.Helper()
	topic := "arn:aws:sns:" + region + ":" + accountID + ":" + w.account.name
	notifier, err := amazon.NewNotifier(w.account.config, amazon.Topics{Owners: topic + "-alerts", Operations: topic + "-operations"})
	must(w.t, err, "make notifier")
	next := make(chan alert.Alert)
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			for a := range next {
				if err := notifier.Notify(context.WithoutCancel(w.t.Context()), a); err != nil {
					w.t.Error(err)
				}
			}
		})
	}
	for _, a := range alerts {
		next <- a
	}
	close(next)
	g.Wait()
}

// storm publishes the alerts while the channels' queues invoke their functions, all at the same time, until the queues are empty: soon
// after the first alert. From the changes on, a storm is timed on the model of the deployed queues in infra/aws/stack.
func (w *watch) storm(alerts []alert.Alert) {
	w.t.Helper()
	var g sync.WaitGroup
	begun, published := time.Now(), make(chan struct{})
	after := func() time.Duration { return time.Since(begun).Round(time.Second) }
	g.Go(func() {
		defer close(published)
		w.publish(alerts...)
		w.t.Logf("%d alerts are published after %s", len(alerts), after())
	})
	for _, kind := range channels {
		g.Go(func() {
			m := w.notify[kind]
			for {
				all := false
				select {
				case <-published:
					all = true
				default:
				}
				batch, _, err := m.poll()
				switch {
				case err != nil:
					w.t.Errorf("%s: %v", kind, err)
					return
				case len(batch) > 0:
				case all && w.account.waiting(m.queue) == 0:
					w.t.Logf("%s has all after %s", kind, after())
					return
				default:
					time.Sleep(pace)
				}
				if time.Since(begun) > stormWithin {
					w.t.Errorf("the queue of %s is not empty %s after the first alert", kind, stormWithin)
					return
				}
			}
		})
	}
	g.Wait()
}

var countOfAlerts = regexp.MustCompile(`\[CRITICAL\] (\d+) alerts \(`)

// checkStorm checks that each channel has all, and PagerDuty no more incidents than that.
func (w *watch) checkStorm(alerts, pages int) {
	w.t.Helper()
	counted := 0
	for _, d := range w.receiver.got(notify.Slack) {
		n := 1
		if m := countOfAlerts.FindStringSubmatch(d.text); m != nil {
			n, _ = strconv.Atoi(m[1])
			if !strings.Contains(d.text, operator) || !strings.Contains(d.text, "`keyturn alerts`") {
				w.t.Errorf("Slack's message lacks who it was, or how to list all:\n%s", d.text)
			}
		}
		counted += n
	}
	if counted != alerts {
		w.t.Errorf("Slack's messages count %d alerts, want %d", counted, alerts)
	}
	ids := map[string]bool{}
	for _, d := range w.receiver.got(notify.Webhook) {
		if ids[d.id] {
			w.t.Errorf("the webhook got %s twice", d.id)
		}
		ids[d.id] = true
	}
	if len(ids) != alerts {
		w.t.Errorf("the webhook got %d alerts, want %d", len(ids), alerts)
	}
	if open := w.openPages(); len(open) != pages {
		w.t.Errorf("PagerDuty has %d incidents, want %d: %v", len(open), pages, open)
	}
	for _, kind := range channels {
		if n := w.account.waiting(w.account.queueNamed("notify-" + string(kind) + "-dead")); n > 0 {
			w.t.Errorf("%d messages for %s are dead letters", n, kind)
		}
	}
}

// openPages are the dedup keys of PagerDuty's open incidents.
func (w *watch) openPages() (open []string) {
	is := map[string]bool{}
	for _, d := range w.receiver.got(notify.PagerDuty) {
		is[d.dedupKey] = !d.resolved
	}
	for key, yes := range is {
		if yes {
			open = append(open, key)
		}
	}
	return open
}
