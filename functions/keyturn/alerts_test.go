package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

// open writes incidents to the bench's ledger.
func (b *bench) open(t *testing.T, incidents ...ledger.Incident) {
	t.Helper()
	p := &program{environ: b.environ}
	err := p.withLedger(t.Context(), func(ctx context.Context, l *ledger.Ledger) error {
		for _, i := range incidents {
			_, err := l.UpdateIncident(ctx, i.DedupKey, func(stored *ledger.Incident) error {
				stored.Alert, stored.Kind, stored.Opened, stored.NextLook, stored.Recovered = i.Alert, i.Kind, i.Opened, i.NextLook, i.Recovered
				stored.Closed = i.Closed
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sampleIncidents() (low, critical ledger.Incident) {
	began := time.Now().Add(-3 * time.Hour)
	low = ledger.Incident{
		DedupKey: "access-lost/role", Kind: "access-lost", Opened: began, NextLook: time.Now().Add(time.Minute),
		Alert: alert.Alert{Severity: alert.Low, Summary: "A role was changed"},
	}
	critical = ledger.Incident{
		DedupKey: "key-unusable/" + paymentsKey, Kind: "key-unusable", Opened: began.Add(time.Hour), NextLook: time.Now().Add(time.Minute),
		Recovered: time.Now(), Alert: alert.Alert{
			Severity: alert.Critical, Summary: "Key 0a5d was disabled\x1b[2J", Key: paymentsKey, RecoverySteps: []string{"aws kms enable-key"},
			Clusters: []alert.AffectedCluster{{ID: "7c1d9e20-3a4b-4c5d-8e6f-000000000001", Name: "payments"}, {ID: "2"}, {ID: "3"}, {ID: "4"}},
		},
	}
	return low, critical
}

func TestAlertsListsOpenIncidentsAndExitsWith3IfOneIsUrgent(t *testing.T) {
	b := newBench(t).swept(t)
	wantText(t, "the list", b.succeed(t, "alerts"), "No incident is open.")
	if none := decodeJSON[[]openIncident](t, b.succeed(t, "alerts", "-o", "json")); none == nil || len(none) != 0 {
		t.Errorf("incidents are %v, want an empty list", none)
	}

	low, critical := sampleIncidents()
	b.open(t, low)
	wantText(t, "the list", b.succeed(t, "alerts"), "SEVERITY", "low", "A role was changed")
	b.open(t, critical)
	o := b.keyturn(t, "alerts")
	o.wantCode(t, exitNeedsPerson, "alerts")
	wantText(t, "the list", o.out, "critical   2h ago   0a5d1c2e…f001   payments, 2, 3, …   recovering   Key 0a5d was disabled [2J\n")

	o = b.keyturn(t, "alerts", "-o", "json")
	o.wantCode(t, exitNeedsPerson, "alerts", "-o", "json")
	all := decodeJSON[[]openIncident](t, o.out)
	if len(all) != 2 || all[0].Incident != critical.DedupKey || !all[0].Recovering || all[0].Alert.RecoverySteps == nil || all[1].Recovering {
		t.Errorf("incidents are %+v, want the critical one first, with its way back", all)
	}
}

func TestStatusCountsOpenIncidentsAndNamesTheUrgentOnes(t *testing.T) {
	b := newBench(t).swept(t)
	low, critical := sampleIncidents()
	b.open(t, low, critical)
	o := b.keyturn(t, "status")
	o.wantCode(t, exitNeedsPerson, "status")
	wantText(t, "the table", o.out, `2 open incidents ("keyturn alerts")`, "Needs attention:", "[CRITICAL] Key 0a5d was disabled")
	for cluster, want := range map[string]int{"payments": 1, "orders": 0} {
		s := decodeJSON[status](t, b.keyturn(t, "status", cluster, "-o", "json").out)
		if s.OpenIncidents != want || len(s.NeedsPerson) != want {
			t.Errorf("%s has %d open incidents and needs a person for %q; want %d", cluster, s.OpenIncidents, s.NeedsPerson, want)
		}
	}
}

func TestAnIncidentIsDeclaredOnAKeyAndEnded(t *testing.T) {
	b := newBench(t).swept(t)
	const id = "0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
	wantText(t, "closing nothing", b.succeed(t, "incident", "close", id), "No incident is declared on "+paymentsKey)
	wantText(t, "opening", b.succeed(t, "incident", "open", id, "--reason", "key compromised"), "Declared", paymentsKey, "Alerts still come")
	wantText(t, "opening again", b.succeed(t, "incident", "open", paymentsKey), "already", "key compromised")
	wantText(t, "closing", b.succeed(t, "incident", "close", paymentsKey, "--by", "ana"), "Closed by ana.", "key compromised", operator())
	wantText(t, "closing again", b.succeed(t, "incident", "close", id), "No incident is declared")

	const foreign = "arn:aws:kms:us-east-1:999999999999:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
	wantText(t, "a key that no cluster uses", b.succeed(t, "incident", "open", foreign), "knows no cluster")
	wantText(t, "what completes the key", b.succeed(t, "__complete", "incident", "open", "0a5d"), id+"\t"+paymentsKey)
}

func TestADeclaredIncidentIsShownAndTakesAnotherReason(t *testing.T) {
	b := newBench(t).swept(t)
	const short = "0a5d1c2e…f001"
	wantText(t, "opening by the short id", b.succeed(t, "incident", "open", short, "--reason", "key compromised", "--by", "ana\x1b[2J"), "Declared", paymentsKey)
	wantText(t, "opening with another reason", b.succeed(t, "incident", "open", short, "--reason", "CHG-7", "--by", "bo"), "another reason now", " by ana [2J: key compromised")
	for _, args := range [][]string{{"alerts"}, {"status"}, {"status", "payments"}} {
		wantText(t, "keyturn "+strings.Join(args, " "), b.succeed(t, args...), "Declared ", " by bo: CHG-7 on "+paymentsKey)
	}
	if s := decodeJSON[status](t, b.succeed(t, "status", "-o", "json")); len(s.Declared) != 1 || s.Declared[0].Key != paymentsKey || s.Declared[0].Reason != "CHG-7" {
		t.Errorf("status shows the declarations %+v, want the one of payments' key", s.Declared)
	}
	if out := b.succeed(t, "status", "orders"); strings.Contains(out, "CHG-7") {
		t.Errorf("the status of a cluster shows a declaration about another one's key:\n%s", out)
	}
	b.succeed(t, "incident", "close", short)
	if out := b.succeed(t, "status") + b.succeed(t, "alerts"); strings.Contains(out, "CHG-7") {
		t.Errorf("a declaration is shown after its end:\n%s", out)
	}
	for _, args := range [][]string{
		{"open", short, "--by", " "}, {"close", short, "--by", ""}, {"open", short, "--reason", strings.Repeat("x", 2000)},
	} {
		o := b.keyturn(t, append([]string{"incident"}, args...)...)
		o.wantCode(t, exitUsage, args...)
		wantText(t, "the error", o.err, "at most 1000 bytes")
	}
}

func TestAnAlertIsShownInFullByItsID(t *testing.T) {
	b := newBench(t).swept(t)
	low, critical := sampleIncidents()
	critical.Alert.Runbook = "functions/alerting/RUNBOOK.md#key-disabled"
	b.open(t, low, critical)
	for _, id := range []string{critical.ID(), critical.ID()[:5], critical.DedupKey} {
		o := b.keyturn(t, "alerts", id)
		o.wantCode(t, exitNeedsPerson, "alerts", id)
		wantText(t, "the alert", o.out, critical.Alert.Text(), "  1. aws kms enable-key", "Runbook: functions/alerting/RUNBOOK.md#key-disabled",
			"Incident "+critical.ID()+" is recovering, since 2h ago.")
	}
	wantText(t, "a low alert", b.succeed(t, "alerts", low.ID()), "[LOW] A role was changed")
	o := b.keyturn(t, "alerts", critical.ID(), "-o", "json")
	o.wantCode(t, exitNeedsPerson, "alerts", critical.ID(), "-o", "json")
	if all := decodeJSON[[]openIncident](t, o.out); len(all) != 1 || all[0].ID != critical.ID() {
		t.Errorf("incidents are %+v, want the one that was named", all)
	}
	wantText(t, "what completes the id", b.succeed(t, "__complete", "alerts", low.ID()[:4]), low.ID()+"\tA role was changed")
	o = b.keyturn(t, "alerts", "nobody")
	o.wantCode(t, exitFailed, "alerts", "nobody")
	wantText(t, "the error", o.err, `no open incident is called "nobody"`)

	low.Closed, low.NextLook = low.Opened, time.Time{}
	b.open(t, low)
	wantText(t, "an alert that ended", b.succeed(t, "alerts", low.DedupKey), "A role was changed", "It ended 3h ago.")
}

func TestAnIncidentNeedsAKeyThatIsOne(t *testing.T) {
	b := newBench(t).swept(t)
	for key, want := range map[string]string{
		"nobody":         `knows no key "nobody"`,
		"arn:aws:s3:::b": "not of kms",
		"alias/cmek":     "knows no key",
		"arn:aws:kms:us-east-1:111122223333:alias/cmek": "an alias names no key for good",
	} {
		o := b.keyturn(t, "incident", "open", key)
		o.wantCode(t, exitFailed, "incident", "open", key)
		wantText(t, "the error", o.err, want)
	}
	o := b.keyturn(t, "incident", "open")
	o.wantCode(t, exitUsage, "incident", "open")
}

func TestAnIncidentIsClosedByHand(t *testing.T) {
	b := newBench(t).swept(t)
	low, critical := sampleIncidents()
	critical.Recovered = time.Time{}
	b.open(t, low, critical)
	id, lowID := critical.ID(), low.ID()
	o := b.keyturn(t, "alerts")
	o.wantCode(t, exitNeedsPerson, "alerts")
	wantText(t, "the list", o.out, id+"   critical", lowID+"   low")
	wantText(t, "what completes the id", b.succeed(t, "__complete", "alerts", "close", id[:3]), id+"\tKey 0a5d was disabled [2J\n")
	wantText(t, "what completes the dedup key", b.succeed(t, "__complete", "alerts", "close", "key-un"), critical.DedupKey+"\tKey 0a5d")

	wantText(t, "closing", b.succeed(t, "alerts", "close", id[:5], "--reason", "new key\x1b[2J, INC-7"), "Closed: Key 0a5d was disabled [2J", "next tick")
	wantText(t, "closing again", b.succeed(t, "alerts", "close", critical.DedupKey, "--reason", "again"), "closed already, ", " by "+operator()+": new key [2J, INC-7")
	if all := decodeJSON[[]openIncident](t, b.succeed(t, "alerts", "-o", "json")); len(all) != 2 || all[0].ID != id || !all[0].Closing.Asked() || all[1].Closing.Asked() {
		t.Errorf("incidents are %+v, want one that is closing", all)
	}
	wantText(t, "the list", b.succeed(t, "alerts"), "closing")
	wantText(t, "closing for somebody", b.succeed(t, "alerts", "close", low.DedupKey[:8], "--reason", "meant", "--by", "ana"), "Closed: A role was changed")
	if all := decodeJSON[[]openIncident](t, b.succeed(t, "alerts", "-o", "json")); all[1].Closing.By != "ana" || all[1].Closing.Reason != "meant" {
		t.Errorf("it was closed by %+v, want ana", all[1].Closing)
	}
}

func TestClosingAnIncidentNeedsOneThatIsOpenAndAReason(t *testing.T) {
	b := newBench(t).swept(t)
	low, critical := sampleIncidents()
	ended, other := low, low
	ended.DedupKey, ended.Closed, ended.NextLook = "access-lost/ended", time.Now(), time.Time{}
	other.DedupKey = "access-lost/role-2"
	b.open(t, low, other, critical, ended)
	for _, row := range []struct {
		sentence string
		args     []string
		code     int
		says     string
	}{
		{"nothing has that name", []string{"nobody", "--reason", "x"}, exitFailed, `no open incident is called "nobody"; "keyturn alerts" lists them`},
		{"the empty name is nobody's", []string{"", "--reason", "x"}, exitFailed, "no open incident is called"},
		{"a beginning may fit several", []string{"access-lost/", "--reason", "x"}, exitFailed, `2 open incidents begin with "access-lost/": ` + low.ID()},
		{"a whole name wins over a beginning", []string{"access-lost/role", "--reason", "x"}, exitFine, "Closed: A role was changed"},
		{"one that ended has ended", []string{"access-lost/ended", "--reason", "x"}, exitFine, "It ended already, "},
		{"a reason is needed", []string{critical.ID()}, exitUsage, "say why with --reason"},
		{"a reason says something", []string{critical.ID(), "--reason", " \n"}, exitUsage, "say why with --reason"},
		{"a reason is no novel", []string{critical.ID(), "--reason", strings.Repeat("x", 2000)}, exitUsage, "at most 1000 bytes"},
		{"an id is needed", []string{"--reason", "x"}, exitUsage, "accepts 1 arg"},
	} {
		o := b.keyturn(t, append([]string{"alerts", "close"}, row.args...)...)
		o.wantCode(t, row.code, row.sentence)
		wantText(t, row.sentence, o.out+o.err, row.says)
	}
}

func TestAlertsListsTheOthersBesideAnIncidentThatCannotBeDecoded(t *testing.T) {
	b := newBench(t).swept(t)
	low, critical := sampleIncidents()
	b.open(t, low, critical)
	store, err := local.OpenStore(t.Context(), filepath.Join(b.folder, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.Get(t.Context(), "alerting", "incident#"+critical.DedupKey)
	if err == nil {
		r.Data = []byte("{")
		err = errors.Join(store.Put(t.Context(), r), store.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	o := b.keyturn(t, "alerts")
	o.wantCode(t, exitFailed, "alerts")
	wantText(t, "the list", o.out, "A role was changed")
	wantText(t, "the error", o.err, "incident#"+critical.DedupKey)
	wantText(t, "closing another", b.succeed(t, "alerts", "close", low.ID(), "--reason", "meant"), "Closed")
}
