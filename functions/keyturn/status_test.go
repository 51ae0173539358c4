package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/live"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
	"github.com/keyturn/keyturn/internal/version"
)

func TestStatusShowsTheLedgerOnly(t *testing.T) {
	b := newBench(t).swept(t)
	requests := len(b.Requests())
	out := b.succeed(t, "status", "-o", "json")
	b.golden(t, "status.json", out)
	s := decodeJSON[live.Status](t, out)
	if len(s.Clusters) != 5 || s.NeedsPerson != nil || s.Pause != nil {
		t.Errorf("status has %d clusters, needs attention for %q, pause %v; want 5, nothing and none", len(s.Clusters), s.NeedsPerson, s.Pause)
	}
	wantText(t, "the table", b.succeed(t, "status"), "Ledger", "6 clusters, complete", "CLUSTER", "payments", "up to date", "REVOKED")
	wantText(t, "the details", b.succeed(t, "status", "payments"), "payments", paymentsKey, "adopted")
	if after := len(b.Requests()); after != requests {
		t.Errorf("status sent %d requests, want none", after-requests)
	}
}

func TestStatusShowsOpenWorkPausesAndWhatTheyWaitFor(t *testing.T) {
	b := newBench(t).swept(t)
	b.keyturnWith(t.Context(), b.rotate(t, ordersKey)[0], "replay", "-").wantCode(t, exitFine)
	b.succeed(t, "pause", "--reason", "change freeze")
	wantText(t, "the table", b.succeed(t, "status"), "Paused", "change freeze", "keyturn resume", "due", "the new version settles")
	wantText(t, "the details", b.succeed(t, "status", "orders"), "open", "by event", "due")
	s := decodeJSON[live.Status](t, b.succeed(t, "status", "orders", "-o", "json"))
	if len(s.Clusters) != 1 || s.Pause == nil || s.Pause.Reason != "change freeze" {
		t.Errorf("status of orders is %+v, want one cluster and the pause", s)
	}
}

func TestStatusOfAnUnknownClusterOrLedgerSaysWhatToDo(t *testing.T) {
	b := newBench(t)
	o := b.keyturn(t, "status")
	o.wantCode(t, exitUsage, "status")
	wantText(t, "the error", o.err, "there is no ledger at", "--ledger")
	b.swept(t)
	o = b.keyturn(t, "status", "nobody")
	o.wantCode(t, exitFailed, "status", "nobody")
	wantText(t, "the error", o.err, `knows no cluster "nobody"`)
}

// ring reports a condition of rotation about the cluster.
func (b *bench) ring(t *testing.T, clusterID string, a alert.Alert) {
	t.Helper()
	b.change(t, clusterID, func(c *ledger.Cluster) {
		c.Alarms = append(c.Alarms, ledger.Alarm{Key: a.DedupKey, Since: time.Now().Add(-3 * time.Hour), Alert: a})
	})
}

// What rotation and what alerting reported is one list, with one id for each incident.
func TestIncidents_ofRotationAndAlerting_areOneList(t *testing.T) {
	b := newBench(t).swept(t)
	const payments = "7c1d9e20-3a4b-4c5d-8e6f-000000000001"
	ofRotation := alert.Alert{
		DedupKey: "rotate-failed/payments", Severity: alert.Critical, Summary: "The rotation of payments failed",
		RecoverySteps: []string{"keyturn retry"}, Runbook: "functions/rotation/README.md#rotation-failed",
		Clusters: []alert.AffectedCluster{{ID: payments, Name: "payments", Regions: []string{"us-east-1"}}},
	}
	b.ring(t, payments, ofRotation)
	id := ledger.IncidentID(ofRotation.DedupKey)
	o := b.keyturn(t, "alerts")
	o.wantCode(t, exitNeedsPerson, "alerts")
	wantText(t, "the list", o.out, id+"   critical", "The rotation of payments failed")
	o = b.keyturn(t, "alerts", id[:6])
	o.wantCode(t, exitNeedsPerson, "alerts", id)
	wantText(t, "the alert", o.out, ofRotation.Text(), "Incident "+id+" is open, since 3h ago")
	o = b.keyturn(t, "alerts", "close", id, "--reason", "r")
	o.wantCode(t, exitFailed, "alerts", "close", id)
	wantText(t, "the error", o.err, "rotation ends incident "+id+" by itself")

	_, critical := sampleIncidents()
	critical.Alert.Runbook = "functions/alerting/RUNBOOK.md#key-disabled"
	b.open(t, critical)
	both := ofRotation // the sweep found what the event had reported
	both.DedupKey, both.Summary = critical.DedupKey, "found by the sweep"
	b.ring(t, payments, both)
	if all := decodeJSON[[]live.OpenIncident](t, b.keyturn(t, "alerts", "-o", "json").out); len(all) != 2 {
		t.Errorf("the incidents are %+v, want two", all)
	}

	o = b.keyturn(t, "status")
	o.wantCode(t, exitNeedsPerson, "status")
	wantText(t, "the table", o.out, "2 open incidents", "at risk", "CRITICAL The rotation of payments failed (keyturn alerts "+id+")",
		"  "+ofRotation.Headline(), "Runbook: "+version.URL(ofRotation.Runbook)+"\n", "Runbook: "+version.URL(critical.Alert.Runbook)+"\n")
	o = b.keyturn(t, "status", "payments")
	o.wantCode(t, exitNeedsPerson, "status", "payments")
	wantText(t, "the details", o.out, "Incident "+id+", open since 3h ago", terminal.Indent(ofRotation.Text()), "Incident "+critical.ID()+", recovering since 2h ago", terminal.Indent(critical.Alert.Text()))
	if out := b.succeed(t, "status", "orders"); strings.Contains(out, "Incident") || strings.Contains(out, "at risk") {
		t.Errorf("the details of a cluster show what is another one's:\n%s", out)
	}
}

// A region is not up to date as long as its key is in danger, and an incident is shown although no cluster is known.
func TestStatus_showsTheWorst(t *testing.T) {
	b := newBench(t).swept(t)
	_, critical := sampleIncidents()
	critical.Recovered = time.Time{}
	b.open(t, critical)
	o := b.keyturn(t, "status")
	o.wantCode(t, exitNeedsPerson, "status")
	for line := range strings.Lines(o.out) {
		if strings.Contains(line, "0a5d1c2e…f001") && !strings.Contains(line, "at risk") {
			t.Errorf("a region of a disabled key reads %q, want it at risk", line)
		}
		if strings.Contains(line, "0a5d1c2e…f002") && strings.Contains(line, "at risk") {
			t.Errorf("a region of another key reads %q", line)
		}
	}
	wantText(t, "the sweep", o.out, "complete; next one in 1")

}

// What has not been read for long is not called complete.
func TestStatus_sweepIsOld_needsAttention(t *testing.T) {
	b := newBench(t).swept(t)
	for age, code := range map[time.Duration]int{44 * time.Minute: exitFine, 46 * time.Minute: exitNeedsPerson} {
		p := &installation.Program{Terminal: terminal.Terminal{Environ: b.environ}}
		err := p.WithLedger(t.Context(), func(ctx context.Context, l *ledger.Ledger) error {
			w, err := l.Worker(ctx)
			if err != nil {
				return err
			}
			at := time.Now().Add(-age)
			w.Sweep.Began, w.Sweep.Ended, w.Sweep.Complete = at, at, at
			return l.SaveWorker(ctx, w, at)
		})
		if err != nil {
			t.Fatal(err)
		}
		o := b.keyturn(t, "status")
		o.wantCode(t, code, "status")
		if code != exitFine {
			wantText(t, "the status", o.out, "No sweep has ended for 46m", "next one due")
		}
	}
}

func TestStatus_noClusterKnown_showsIncidents(t *testing.T) {
	b := newBench(t)
	b.environ = append(b.environ, "KEYTURN_LEDGER=file:"+filepath.Join(t.TempDir(), "ledger.db"))
	store, err := local.OpenStore(t.Context(), strings.TrimPrefix(b.environ[len(b.environ)-1], "KEYTURN_LEDGER=file:"))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	_, critical := sampleIncidents()
	b.open(t, critical)
	o := b.keyturn(t, "status")
	o.wantCode(t, exitNeedsPerson, "status")
	wantText(t, "the status", o.out, "1 open incident", "knows no cluster yet", critical.Alert.Key.ID()[:4], "Needs attention:")
}

// Work for an order has no key version until the key was read for it.
func TestStatus_namesTheKeyOfAnOrderWithoutVersion(t *testing.T) {
	b := newBench(t).swept(t)
	const checkout, region = "7c1d9e20-3a4b-4c5d-8e6f-000000000002", "us-east-1"
	version := cmek.MaterialVersion(strings.Repeat("a", 64))
	now := time.Now()
	for name, tt := range map[string]struct {
		order   string
		version cmek.KeyVersion
		says    string
	}{
		"an order whose key was not read": {"order-1", cmek.KeyVersion{}, "move to key 0a5d1c2e…f00a"},
		"an order whose key was read":     {"order-1", version, version.Short()},
		"a rotation":                      {"", version, version.Short()},
		"a version that nobody knows":     {"", cmek.KeyVersion{}, "key 0a5d1c2e…f00a"},
	} {
		b.change(t, checkout, func(c *ledger.Cluster) {
			c.Dropped = []ledger.Dropped{{Region: region, Key: spareKey, Version: tt.version, Order: tt.order, Reason: "canceled", At: now.Add(-time.Hour)}}
			c.Work = []ledger.Work{{Region: region, Key: spareKey, Version: tt.version, Order: tt.order, State: ledger.Due, Reason: "paused", Since: now.Add(-time.Minute), Trigger: ledger.Trigger{Kind: "order"}}}
			c.Done = []ledger.Done{{Region: region, Key: spareKey, Version: tt.version, Order: tt.order, Followed: true, At: now.Add(-time.Minute), Evidence: "seen"}}
		})
		out := b.keyturn(t, "status", "checkout").out
		wantText(t, name+": the status", out, "us-east-1   "+tt.says+": canceled\n", "open     "+tt.says+", since ", "done     "+tt.says+", re-encrypted ")
	}
}
