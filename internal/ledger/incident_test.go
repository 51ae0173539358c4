package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// openIncident opens an incident that is due at next.
func openIncident(t *testing.T, l *ledger.Ledger, name string, next time.Time) {
	t.Helper()
	_, err := l.UpdateIncident(t.Context(), name, func(i *ledger.Incident) error {
		i.Opened, i.NextLook, i.Kind = noon, next, "key-unusable"
		i.Alert = alert.Alert{DedupKey: name, Key: key}
		return nil
	})
	if err != nil {
		t.Fatalf("open incident %s: %v", name, err)
	}
}

func TestAnIncidentThatIsNotInTheLedgerHasOnlyItsKey(t *testing.T) {
	i, err := newLedger(cmektest.NewStore(), 1).Incident(t.Context(), "key-unusable/1")
	if err != nil || i.DedupKey != "key-unusable/1" || i.Open() || i.Notified("e-1") {
		t.Errorf("an incident that is not in the ledger reads %+v, %v; want only its key", i, err)
	}
}

func TestAnIncidentIsOpenFromItsAlertToItsEnd(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	openIncident(t, l, "key-unusable/1", noon)
	i, err := l.Incident(t.Context(), "key-unusable/1")
	if err != nil || !i.Open() || i.Kind != "key-unusable" || i.Alert.Key != key {
		t.Errorf("the incident reads %+v, %v; want it open", i, err)
	}
	_, err = l.UpdateIncident(t.Context(), "key-unusable/1", func(i *ledger.Incident) error {
		i.Closed, i.NextLook = in(time.Hour), time.Time{}
		return nil
	})
	if err != nil {
		t.Fatalf("close the incident: %v", err)
	}
	if i, err = l.Incident(t.Context(), "key-unusable/1"); err != nil || i.Open() {
		t.Errorf("the incident reads %+v, %v; want it closed", i, err)
	}
	if open, err := l.OpenIncidents(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("open incidents are %v, %v; want none", open, err)
	}
}

func TestAnIncidentRemembersTheNewestEvents(t *testing.T) {
	var i ledger.Incident
	for n := range 100 {
		i.Add(fmt.Sprint("e-", n))
	}
	if !i.Notified("e-99") || !i.Notified("e-70") || i.Notified("e-69") || i.Notified("") {
		t.Errorf("of 100 events it remembers %v, want the newest 30", i.Events)
	}
}

func TestIncidentsAreDueOldestFirstAndWithinTheLimit(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	openIncident(t, l, "b", in(2*time.Minute))
	openIncident(t, l, "a", in(time.Minute))
	openIncident(t, l, "c", in(time.Hour))
	if _, err := l.UpdateCluster(t.Context(), "c-1", func(c *ledger.Cluster) error { c.NextLook = noon; return nil }); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int]string{1: "[a]", 10: "[a b]"} {
		var names []string
		due, err := l.DueIncidents(t.Context(), in(5*time.Minute), limit)
		for _, i := range due {
			names = append(names, i.DedupKey)
		}
		if got := fmt.Sprint(names); err != nil || got != want {
			t.Errorf("of at most %d incidents %s are due (error %v), want %s", limit, got, err, want)
		}
	}
	if open, err := l.OpenIncidents(t.Context()); err != nil || len(open) != 3 {
		t.Errorf("%d incidents are open, %v; want 3", len(open), err)
	}
}

func TestUpdateIncidentStartsAgainAfterSomebodyElsesWrite(t *testing.T) {
	shared := cmektest.NewStore()
	store := &countingStore{Store: shared}
	l, other := newLedger(store, 1), newLedger(shared, 2)
	store.before = func() {
		store.before = nil
		_, _ = other.UpdateIncident(context.Background(), "x", func(i *ledger.Incident) error { i.Add("theirs"); return nil })
	}
	i, err := l.UpdateIncident(t.Context(), "x", func(i *ledger.Incident) error { i.Add("ours"); return nil })
	if err != nil || !i.Notified("ours") || !i.Notified("theirs") {
		t.Errorf("after two writers the incident has %v, %v; want both events", i.Events, err)
	}
}

func TestUpdateIncidentGivesUpWhenItLosesEveryTime(t *testing.T) {
	shared := cmektest.NewStore()
	store := &countingStore{Store: shared}
	l, other := newLedger(store, 1), newLedger(shared, 2)
	n := 0
	store.before = func() {
		n++
		_, _ = other.UpdateIncident(context.Background(), "x", func(i *ledger.Incident) error { i.Add(fmt.Sprint(n)); return nil })
	}
	_, err := l.UpdateIncident(t.Context(), "x", func(i *ledger.Incident) error { i.Add("ours"); return nil })
	if !errors.Is(err, ledger.ErrConflict) || store.puts > 20 {
		t.Errorf("after %d writes the error is %v, want a conflict after a bounded number", store.puts, err)
	}
}

func TestUpdateIncidentWritesNothingWithoutAChange(t *testing.T) {
	store := &countingStore{Store: cmektest.NewStore()}
	l := newLedger(store, 1)
	if _, err := l.UpdateIncident(t.Context(), "x", func(*ledger.Incident) error { return ledger.ErrUnchanged }); err != nil || store.puts != 0 {
		t.Errorf("an update without a change made %d writes, error %v; want none", store.puts, err)
	}
	broken := errors.New("broken")
	if _, err := l.UpdateIncident(t.Context(), "x", func(*ledger.Incident) error { return broken }); !errors.Is(err, broken) || store.puts != 0 {
		t.Errorf("an update that fails made %d writes, error %v; want its own error", store.puts, err)
	}
}

func TestUpdateIncidentKnowsItsOwnWriteWhenTheAnswerIsLost(t *testing.T) {
	var faults cmektest.Faults
	l := newLedger(faults.Store(cmektest.NewStore()), 1)
	faults.Next(cmektest.AnswerLost)
	if _, err := l.UpdateIncident(t.Context(), "x", func(i *ledger.Incident) error { i.Add("e-1"); return nil }); err != nil {
		t.Errorf("a write whose answer was lost: %v", err)
	}
	faults.Next(cmektest.RequestLost)
	if _, err := l.UpdateIncident(t.Context(), "x", func(i *ledger.Incident) error { i.Add("e-2"); return nil }); !errors.Is(err, cmektest.ErrLost) {
		t.Errorf("a write that was lost reports %v", err)
	}
	if i, err := l.Incident(t.Context(), "x"); err != nil || !i.Notified("e-1") || i.Notified("e-2") {
		t.Errorf("the incident has the events %v, %v; want e-1 only", i.Events, err)
	}
}

func TestClustersAreFoundByRoleAndAccount(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	update(t, l, "c-1", func(c *ledger.Cluster) {
		c.CMEK.RegionInfos = []cmek.RegionInfo{{KeyInfos: []cmek.KeyInfo{
			{Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: key, AuthPrincipal: "arn:aws:iam::111122223333:role/path/cmek"}},
		}}}
	})
	const cryptoKey = cmek.KeyURI("projects/acme/locations/eu/keyRings/r/cryptoKeys/k")
	update(t, l, "c-2", func(c *ledger.Cluster) {
		c.CMEK.RegionInfos = []cmek.RegionInfo{{KeyInfos: []cmek.KeyInfo{
			{Spec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: cryptoKey, AuthPrincipal: "cmek@acme.iam.gserviceaccount.com"}},
			{Spec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: cryptoKey, AuthPrincipal: "arn:aws:sts::444455556666:assumed-role/cmek/session"}},
		}}}
	})
	for _, row := range []struct {
		account, role string
		want          int
	}{
		{"111122223333", "cmek", 1},
		{"", "arn:aws:iam::111122223333:role/path/cmek", 1},
		{"", "arn:aws:iam::111122223333:role/cmek", 1},
		{"", "CMEK@acme.iam.gserviceaccount.com", 1},
		{"", "cmek@acme2.iam.gserviceaccount.com", 0},
		{"444455556666", "cmek", 0},
		{"111122223333", "path", 0},
		{"111122223333", "", 0},
	} {
		if got, err := l.ByRole(t.Context(), row.account, row.role); err != nil || len(got) != row.want {
			t.Errorf("role %q of account %q finds %d clusters (error %v), want %d", row.role, row.account, len(got), err, row.want)
		}
	}
	for account, want := range map[string]int{"111122223333": 1, "444455556666": 0, "": 0} {
		if got, err := l.ByAccount(t.Context(), account); err != nil || len(got) != want {
			t.Errorf("account %q finds %d clusters (error %v), want %d", account, len(got), err, want)
		}
	}
}

func TestAnOpenIncidentIsClosedByHandOnce(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	openIncident(t, l, "key-unusable/1", in(time.Hour))
	word := ledger.Closing{At: in(time.Minute), By: "ana", Reason: "new key"}
	i, closed, err := l.CloseIncident(t.Context(), "key-unusable/1", word)
	if err != nil || !closed || !i.Open() || !i.Closing.Asked() {
		t.Errorf("closing an open incident: closed %t, %+v, error %v; want it noted, and alerting to end it", closed, i, err)
	}
	if due, err := l.DueIncidents(t.Context(), in(time.Minute), 10); err != nil || len(due) != 1 || due[0].Closing != word {
		t.Errorf("a minute later %v are due (error %v), want the incident with who closed it and why", due, err)
	}
	if _, closed, err := l.CloseIncident(t.Context(), "key-unusable/1", ledger.Closing{At: in(time.Hour), By: "ben"}); err != nil || closed {
		t.Errorf("closing it again: closed %t, error %v; want nothing written", closed, err)
	}
	if i, _, err := l.CloseIncident(t.Context(), "nothing", word); err != nil || i.Closing.Asked() || i.Open() {
		t.Errorf("closing what does not exist gives %+v, error %v; want nothing", i, err)
	}
}
