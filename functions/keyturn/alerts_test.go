package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/live"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
	"github.com/keyturn/keyturn/internal/version"
)

// open writes incidents to the bench's ledger.
func (b *bench) open(t *testing.T, incidents ...ledger.Incident) {
	t.Helper()
	p := &installation.Program{Terminal: terminal.Terminal{Environ: b.environ}}
	err := p.WithLedger(t.Context(), func(ctx context.Context, l *ledger.Ledger) error {
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
	if none := decodeJSON[[]live.OpenIncident](t, b.succeed(t, "alerts", "-o", "json")); none == nil || len(none) != 0 {
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
	all := decodeJSON[[]live.OpenIncident](t, o.out)
	if len(all) != 2 || all[0].Incident != critical.DedupKey || !all[0].Recovering || all[0].Alert.RecoverySteps == nil || all[1].Recovering {
		t.Errorf("incidents are %+v, want the critical one first, with its recovery steps", all)
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
		s := decodeJSON[live.Status](t, b.keyturn(t, "status", cluster, "-o", "json").out)
		if len(s.Incidents) != want || len(s.NeedsPerson) != want {
			t.Errorf("%s has %d open incidents and needs a person for %q; want %d", cluster, len(s.Incidents), s.NeedsPerson, want)
		}
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
		wantText(t, "the alert", o.out, critical.Alert.Text(), "  1. aws kms enable-key", "Runbook: "+version.URL("functions/alerting/RUNBOOK.md#key-disabled"),
			"Incident "+critical.ID()+" is recovering, since 2h ago.")
	}
	wantText(t, "a low alert", b.succeed(t, "alerts", low.ID()), "[LOW] A role was changed")
	o := b.keyturn(t, "alerts", critical.ID(), "-o", "json")
	o.wantCode(t, exitNeedsPerson, "alerts", critical.ID(), "-o", "json")
	if all := decodeJSON[[]live.OpenIncident](t, o.out); len(all) != 1 || all[0].ID != critical.ID() {
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
	wantText(t, "closing again", b.succeed(t, "alerts", "close", critical.DedupKey, "--reason", "again"), "closed already, ", " by "+installation.Operator()+": new key [2J, INC-7")
	if all := decodeJSON[[]live.OpenIncident](t, b.succeed(t, "alerts", "-o", "json")); len(all) != 2 || all[0].ID != id || !all[0].Closing.Asked() || all[1].Closing.Asked() {
		t.Errorf("incidents are %+v, want one that is closing", all)
	}
	wantText(t, "the list", b.succeed(t, "alerts"), "closing")
	wantText(t, "closing for somebody", b.succeed(t, "alerts", "close", low.DedupKey[:8], "--reason", "meant", "--by", "ana"), "Closed: A role was changed")
	if all := decodeJSON[[]live.OpenIncident](t, b.succeed(t, "alerts", "-o", "json")); all[1].Closing.By != "ana" || all[1].Closing.Reason != "meant" {
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
		{"the empty name is nobody's", []string{"", "--reason", "x"}, exitUsage, "an argument is empty"},
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
