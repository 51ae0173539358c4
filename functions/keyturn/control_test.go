package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/live"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/ledger"
)

// change changes a cluster's item in the ledger.
func (b *bench) change(t *testing.T, id string, change func(*ledger.Cluster)) {
	t.Helper()
	p := &installation.Program{Terminal: terminal.Terminal{Environ: b.environ}}
	err := p.WithLedger(t.Context(), func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.UpdateCluster(ctx, id, func(c *ledger.Cluster) error {
			change(c)
			return nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRetryWithNothingToDoSaysSo(t *testing.T) {
	b := newBench(t).swept(t)
	wantText(t, "retry", b.succeed(t, "retry", "payments"), "Nothing of payments is blocked or failed.", "keyturn retry payments --done")
	wantText(t, "retry --skip", b.succeed(t, "retry", "payments", "--skip"), "Nothing of payments failed")
	o := b.keyturn(t, "retry", "payments", "--done", "--skip")
	o.wantCode(t, exitUsage, "retry", "--done", "--skip")
	o = b.keyturn(t, "retry", "nobody")
	o.wantCode(t, exitFailed, "retry", "nobody")
	wantText(t, "the error", o.err, `knows no cluster "nobody"`)
	if puts := b.PUTs(); len(puts) != 0 {
		t.Errorf("%d PUTs were sent, want none", len(puts))
	}
}

func TestRetryReopensBlockedWork(t *testing.T) {
	b := newBench(t).swept(t)
	b.keyturnWith(t.Context(), b.rotate(t, ordersKey)[0], "replay", "-").wantCode(t, exitFine)
	b.change(t, ordersID, func(c *ledger.Cluster) {
		c.Work[0].State, c.Work[0].Lost, c.Work[0].Reason = ledger.Blocked, 2, "two requests left no trace"
	})
	wantText(t, "retry", b.succeed(t, "retry", "orders"), "The next tick tries orders again in us-east-1.", "read again")
	s := decodeJSON[live.Status](t, b.succeed(t, "status", "orders", "-o", "json"))
	for _, r := range s.Clusters[0].Regions {
		if r.Region == "us-east-1" && (r.Work == nil || r.Work.State != ledger.Due || r.Work.Lost != 0) {
			t.Errorf("the work is %+v, want it due with nothing lost", r.Work)
		}
	}
	b.succeed(t, "follow", "--mode", "follow")
	if puts := b.PUTs(); len(puts) != 1 || puts[0].Cluster != "orders" {
		t.Errorf("PUTs are %+v, want one for orders", puts)
	}
}

func TestRetryOfAFailureSendsThePUTAgain(t *testing.T) {
	b := newBench(t).swept(t)
	b.keyturnWith(t.Context(), b.rotate(t, ordersKey)[0], "replay", "-").wantCode(t, exitFine)
	b.change(t, ordersID, func(c *ledger.Cluster) { // the PUT and its one retry failed
		c.Work[0].State, c.Work[0].Failed, c.Work[0].Reason = ledger.Blocked, 2, "the re-encryption failed twice"
	})
	b.keyturn(t, "follow", "--mode", "follow").wantCode(t, exitNeedsPerson, "follow")
	if n := len(b.PUTs()); n != 0 {
		t.Fatalf("%d PUTs were sent before the retry, want none", n)
	}
	wantText(t, "retry", b.succeed(t, "retry", "orders"), "The next tick tries orders again in us-east-1.")
	b.succeed(t, "follow", "--mode", "follow")
	if n := len(b.PUTs()); n != 1 {
		t.Errorf("%d PUTs were sent after the retry, want one", n)
	}
	for _, key := range b.StoreKeys() {
		if key.Behind {
			t.Errorf("the store key of %s in %s is still behind", key.Cluster, key.Region)
		}
	}
}

func TestRetryDoneSendsOneMorePUT(t *testing.T) {
	b := newBench(t).swept(t)
	wantText(t, "retry --done", b.succeed(t, "retry", "payments", "--done"),
		"Reopened payments in us-east-1: one more PUT", "although the ledger holds that it is done")
	again := b.succeed(t, "retry", "payments", "--done")
	wantText(t, "the second retry --done", again, "payments in us-east-1 is open already: due, reopened by an operator")
	if strings.Contains(again, "Nothing") {
		t.Errorf("the second retry --done prints %q although work is open", again)
	}
	b.succeed(t, "follow", "--mode", "follow")
	if puts := b.PUTs(); len(puts) != 1 || puts[0].Cluster != "payments" {
		t.Errorf("PUTs are %+v, want one for payments", puts)
	}
	b.succeed(t, "follow", "--mode", "follow")
	if puts := b.PUTs(); len(puts) != 1 {
		t.Errorf("%d PUTs were sent in the end, want no second one", len(puts))
	}
}

func TestForget_help_namesRequestsInFlight(t *testing.T) {
	help := newBench(t).succeed(t, "forget", "--help")
	wantText(t, "forget --help", strings.Join(strings.Fields(help), " "), "A request to the cluster may be in flight. The ledger remembers it",
		"other clusters of its keys, which waited for it, go on")
}

func TestRetrySkipLetsTheOtherClustersOfTheKeyGoOn(t *testing.T) {
	b := newBench(t, "failed-key-status=ENABLED").swept(t)
	if err := b.FailNextRotation("checkout", "us-east-1", "access denied by the key policy"); err != nil {
		t.Fatal(err)
	}
	b.put(t, "checkout", "arn:aws:iam::111122223333:role/payments-cmek")
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(b.succeed(t, "cmek", "checkout"), "access denied by the key policy"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the rotation of checkout does not fail")
		}
	}
	b.rotate(t, paymentsKey)
	o := b.keyturn(t, "follow", "--mode", "follow")
	o.wantCode(t, exitNeedsPerson, "follow")
	wantText(t, "the end", o.out, "stopped: the re-encryption of cluster checkout failed in us-east-1", "keyturn retry --skip")
	if n := len(b.PUTs()); n != 1 {
		t.Fatalf("%d PUTs were sent, want the other one's alone", n)
	}
	wantText(t, "retry --skip", b.succeed(t, "retry", "checkout", "--skip"), "The failure of checkout in us-east-1 no longer stops the other clusters of its keys.")
	b.keyturn(t, "follow", "--mode", "follow").wantCode(t, exitNeedsPerson, "follow")
	if puts := b.PUTs(); len(puts) != 2 || puts[1].Cluster != "payments" {
		t.Errorf("PUTs are %+v, want one for payments after the skip", puts)
	}
}
