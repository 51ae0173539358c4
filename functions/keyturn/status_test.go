package main

import (
	"testing"
)

func TestStatusShowsTheLedgerOnly(t *testing.T) {
	b := newBench(t).swept(t)
	requests := len(b.Requests())
	out := b.succeed(t, "status", "-o", "json")
	b.golden(t, "status.json", out)
	s := decodeJSON[status](t, out)
	if len(s.Clusters) != 6 || s.NeedsPerson != nil || s.Pause != nil {
		t.Errorf("status has %d clusters, needs a person for %q, pause %v; want 6, nothing and none", len(s.Clusters), s.NeedsPerson, s.Pause)
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
