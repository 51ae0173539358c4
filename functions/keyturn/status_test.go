package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestStatusShowsTheLedgerOnly(t *testing.T) {
	b := newBench(t).swept(t)
	requests := len(b.Requests())
	out := b.succeed(t, "status", "-o", "json")
	b.golden(t, "status.json", out)
	s := decodeJSON[status](t, out)
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
	s := decodeJSON[status](t, b.succeed(t, "status", "orders", "-o", "json"))
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

// ring opens an alarm of rotation about the cluster.
func (b *bench) ring(t *testing.T, clusterID string, a alert.Alert) {
	t.Helper()
	p := &program{environ: b.environ}
	err := p.withLedger(t.Context(), func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.UpdateCluster(ctx, clusterID, func(c *ledger.Cluster) error {
			c.Alarms = append(c.Alarms, ledger.Alarm{Key: a.DedupKey, Since: time.Now().Add(-3 * time.Hour), Alert: a})
			return nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnAlarmOfRotationIsShownWithItsWayBackAndItsOwnRunbook(t *testing.T) {
	b := newBench(t).swept(t)
	alarm := alert.Alert{
		DedupKey: "key-unusable/payments", Severity: alert.Critical, Summary: "The key of payments cannot be used", Key: paymentsKey,
		RecoverySteps: []string{"aws kms enable-key"}, Runbook: "functions/rotation/README.md#key-unusable",
	}
	b.ring(t, "7c1d9e20-3a4b-4c5d-8e6f-000000000001", alarm)
	wantText(t, "the list of incidents", b.succeed(t, "alerts"), "No incident of alerting is open; rotation has 1 alarm: \"keyturn status\".")

	_, critical := sampleIncidents()
	critical.Alert.Runbook = "functions/alerting/RUNBOOK.md#key-disabled"
	b.open(t, critical)
	o := b.keyturn(t, "alerts")
	o.wantCode(t, exitNeedsPerson, "alerts")
	wantText(t, "the list of incidents", o.out, critical.ID(), "Beside these, rotation has 1 alarm")

	o = b.keyturn(t, "status")
	o.wantCode(t, exitNeedsPerson, "status")
	wantText(t, "the table", o.out, "  "+alarm.Headline(), "Runbook: "+alarm.Runbook+"\n", "Runbook: "+critical.Alert.Runbook+"\n")
	o = b.keyturn(t, "status", "payments")
	o.wantCode(t, exitNeedsPerson, "status", "payments")
	wantText(t, "the details", o.out, "Alarm since 3h ago", indent(alarm.Text()), "Incident "+critical.ID()+", recovering since 2h ago", indent(critical.Alert.Text()))
	if out := b.succeed(t, "status", "orders"); strings.Contains(out, "Alarm") || strings.Contains(out, "Incident") {
		t.Errorf("the details of a cluster show what is another one's:\n%s", out)
	}
}
