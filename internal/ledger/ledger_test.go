package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

const (
	key     = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-1111-2222-3333-444444444444")
	mrkEast = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef")
	mrkWest = cmek.KeyURI("arn:aws:kms:us-west-2:111122223333:key/mrk-0123456789abcdef0123456789abcdef")
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func in(d time.Duration) time.Time { return noon.Add(d) }

// newLedger returns a ledger with a source of tokens of its own.
func newLedger(store ledger.Store, seed uint64) *ledger.Ledger {
	return ledger.New(store, rand.New(rand.NewPCG(seed, 0)))
}

// countingStore counts the writes that reach the store, and lets somebody interfere before one.
type countingStore struct {
	ledger.Store
	puts   int
	before func() // called before each write, if set
}

func (s *countingStore) Put(ctx context.Context, r ledger.Record) error {
	s.puts++
	if s.before != nil {
		s.before()
	}
	return s.Store.Put(ctx, r)
}

func rename(name string) func(*ledger.Cluster) error {
	return func(c *ledger.Cluster) error { c.Cluster.Name = name; return nil }
}

// update changes a cluster's item and stops the test if that fails.
func update(t *testing.T, l *ledger.Ledger, id string, change func(*ledger.Cluster)) *ledger.Cluster {
	t.Helper()
	c, err := l.UpdateCluster(t.Context(), id, func(c *ledger.Cluster) error { change(c); return nil })
	if err != nil {
		t.Fatalf("update cluster %s: %v", id, err)
	}
	return c
}

func TestAClusterThatIsNotInTheLedgerHasOnlyItsID(t *testing.T) {
	got, err := newLedger(cmektest.NewStore(), 1).Cluster(t.Context(), "c-1")
	if err != nil || got.ID != "c-1" || !got.SeenAt.IsZero() || got.Work != nil {
		t.Errorf("a cluster that is not in the ledger reads %+v, %v; want only its ID", got, err)
	}
}

func TestUpdateClusterReturnsWhatIsInTheLedger(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	returned := update(t, l, "c-1", func(c *ledger.Cluster) {
		c.Cluster.Name, c.NextLook = "orders", noon
		c.Work = []ledger.Work{{Region: "us-east-1", Key: key, Version: cmek.MaterialVersion("ab"), State: ledger.Requested, Since: noon,
			Request: &ledger.Request{Intent: noon, Answer: &cmek.Answer{Outcome: cmek.Accepted, RetryAfter: time.Second}}}}
	})
	stored, err := l.Cluster(t.Context(), "c-1")
	if err != nil {
		t.Fatalf("read the item back: %v", err)
	}
	if !reflect.DeepEqual(stored.Work, returned.Work) || stored.Cluster.Name != "orders" || !stored.NextLook.Equal(noon) {
		t.Errorf("the ledger has %+v, but the update returned %+v", stored, returned)
	}
	update(t, l, "c-1", func(c *ledger.Cluster) { c.Work = nil })
	if stored, _ := l.Cluster(t.Context(), "c-1"); len(stored.Work) > 0 {
		t.Errorf("work that an update took out is still there: %+v", stored.Work)
	}
}

func TestUpdateClusterStartsAgainOnTheFreshItemAfterAConflict(t *testing.T) {
	store := &countingStore{Store: cmektest.NewStore()}
	ours, theirs := newLedger(store, 1), newLedger(store.Store, 2)
	store.before = func() {
		store.before = nil
		update(t, theirs, "c-1", func(c *ledger.Cluster) { c.Cluster.Plan = cmek.PlanAdvanced })
	}
	runs := 0
	got := update(t, ours, "c-1", func(c *ledger.Cluster) { runs++; c.Cluster.Name = "orders" })
	if runs != 2 {
		t.Errorf("the change ran %d times, want once more after the conflict", runs)
	}
	if got.Cluster.Name != "orders" || got.Cluster.Plan != cmek.PlanAdvanced {
		t.Errorf("after a conflict the item is %+v, want both writers' changes", got.Cluster)
	}
}

func TestUpdateClusterGivesUpWhenItsWritesAlwaysConflict(t *testing.T) {
	store := &countingStore{Store: cmektest.NewStore()}
	theirs, n := newLedger(store.Store, 2), 0
	store.before = func() {
		n++
		update(t, theirs, "c-1", func(c *ledger.Cluster) { c.Failures = n })
	}
	_, err := newLedger(store, 1).UpdateCluster(t.Context(), "c-1", rename("orders"))
	if !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("an update that always conflicts returned %v, want ErrConflict", err)
	}
	if n > 20 {
		t.Errorf("it tried %d times, want a bounded number", n)
	}
}

func TestUpdateClusterKnowsItsOwnWriteWhenTheAnswerWasLost(t *testing.T) {
	var faults cmektest.Faults
	l := newLedger(faults.Store(cmektest.NewStore()), 1)
	update(t, l, "c-1", func(c *ledger.Cluster) { c.Failures = 1 })

	faults.Next(cmektest.AnswerLost)
	runs := 0
	got := update(t, l, "c-1", func(c *ledger.Cluster) { runs++; c.Failures++ })
	if runs != 1 || got.Failures != 2 {
		t.Errorf("after a lost answer the change ran %d times and made %d of 1, want once and 2", runs, got.Failures)
	}
	if stored := update(t, l, "c-1", func(c *ledger.Cluster) { c.Failures++ }); stored.Failures != 3 {
		t.Errorf("the next update made it %d, want 3", stored.Failures)
	}
}

func TestUpdateClusterFailsWhenItsRequestWasLost(t *testing.T) {
	var faults cmektest.Faults
	l := newLedger(faults.Store(cmektest.NewStore()), 1)
	faults.Next(cmektest.RequestLost)
	if _, err := l.UpdateCluster(t.Context(), "c-1", rename("orders")); !errors.Is(err, cmektest.ErrLost) {
		t.Errorf("a write that never arrived returned %v, want the store's error", err)
	}
	if c, _ := l.Cluster(t.Context(), "c-1"); c.Cluster.Name != "" {
		t.Errorf("a write that never arrived is in the ledger: %+v", c)
	}
}

func TestUpdateClusterDoesNotTakeAnothersWriteForItsOwn(t *testing.T) {
	var faults cmektest.Faults
	shared := cmektest.NewStore()
	store := &countingStore{Store: faults.Store(shared)}
	theirs := newLedger(shared, 2)
	store.before = func() {
		store.before = nil
		update(t, theirs, "c-1", func(c *ledger.Cluster) { c.Cluster.Name = "theirs" })
		faults.Next(cmektest.AnswerLost) // of our conflict
	}
	_, err := newLedger(store, 1).UpdateCluster(t.Context(), "c-1", rename("ours"))
	if c, _ := theirs.Cluster(t.Context(), "c-1"); err == nil && c.Cluster.Name != "ours" {
		t.Errorf("the update reported success, but the ledger has %q", c.Cluster.Name)
	}
}

func TestUpdateClusterWritesNothingWithoutAChange(t *testing.T) {
	errRefused := errors.New("the change refuses")
	for sentence, r := range map[string]struct {
		change func(*ledger.Cluster) error
		want   error
	}{
		"an item left as it is":          {func(*ledger.Cluster) error { return nil }, nil},
		"an item set to what it was":     {rename("orders"), nil},
		"a change that wants no write":   {func(*ledger.Cluster) error { return ledger.ErrUnchanged }, nil},
		"a change that returns an error": {func(c *ledger.Cluster) error { c.Failures = 7; return errRefused }, errRefused},
	} {
		store := &countingStore{Store: cmektest.NewStore()}
		l := newLedger(store, 1)
		update(t, l, "c-1", func(c *ledger.Cluster) { c.Cluster.Name = "orders" })
		store.puts = 0
		if _, err := l.UpdateCluster(t.Context(), "c-1", r.change); !errors.Is(err, r.want) {
			t.Errorf("%s: returned %v, want %v", sentence, err, r.want)
		}
		if store.puts > 0 {
			t.Errorf("%s: written %d times, want none", sentence, store.puts)
		}
		if c, _ := l.Cluster(t.Context(), "c-1"); c.Failures != 0 {
			t.Errorf("%s: the ledger has %+v", sentence, c)
		}
	}
}

func TestAnItemThatCannotBeReadIsAnErrorAndIsNotOverwritten(t *testing.T) {
	store := &countingStore{Store: cmektest.NewStore()}
	l := newLedger(store, 1)
	update(t, l, "c-1", func(c *ledger.Cluster) { c.NextLook = noon })
	records, err := store.Due(t.Context(), "rotation", noon, 1)
	if err != nil || len(records) != 1 {
		t.Fatalf("the item is not in the store: %v %v", records, err)
	}
	broken := records[0]
	broken.Data = []byte(`{"work": 1}`)
	if err := store.Put(t.Context(), broken); err != nil {
		t.Fatalf("put broken item: %v", err)
	}
	store.puts = 0
	if _, err := l.UpdateCluster(t.Context(), "c-1", rename("orders")); err == nil || store.puts > 0 {
		t.Errorf("an update of an item that cannot be read returned %v after %d writes, want an error and none", err, store.puts)
	}
}

// dueIDs returns what is due, in order; "sweep" for the worker's sweep.
func dueIDs(t *testing.T, l *ledger.Ledger, now time.Time, limit int) []string {
	t.Helper()
	agenda, err := l.Due(t.Context(), now, limit)
	if err != nil {
		t.Fatalf("query what is due: %v", err)
	}
	var ids []string
	for _, c := range agenda.Clusters {
		ids = append(ids, c.ID)
	}
	if agenda.Sweep {
		ids = append(ids, "sweep")
	}
	if agenda.Empty() != (len(ids) == 0) {
		t.Errorf("an agenda of %q says that it is empty: %t", ids, agenda.Empty())
	}
	return ids
}

func TestDueListsTheOldestFirst(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	for id, look := range map[string]time.Time{"c-1": in(-time.Minute), "c-2": in(-time.Hour), "c-3": noon, "c-4": in(time.Second), "never": {}} {
		update(t, l, id, func(c *ledger.Cluster) { c.NextLook = look })
	}
	if got, want := fmt.Sprint(dueIDs(t, l, noon, 10)), "[c-2 c-1 c-3]"; got != want {
		t.Errorf("due are %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(dueIDs(t, l, noon, 2)), "[c-2 c-1]"; got != want {
		t.Errorf("due with a limit of 2 are %s, want %s", got, want)
	}
}

func TestMessagesMakeAClusterDue(t *testing.T) {
	const never = -1
	for _, r := range []struct {
		sentence    string
		look, retry time.Time
		message     bool
		want        int // hours from noon to when the cluster is due
	}{
		{"a cluster without messages is due at its next poll", in(time.Hour), time.Time{}, false, 1},
		{"a message makes it due at once", in(time.Hour), time.Time{}, true, 0},
		{"a message makes it due even if nobody must look", time.Time{}, time.Time{}, true, 0},
		{"a failed delivery waits for its retry", in(5 * time.Hour), in(2 * time.Hour), true, 2},
		{"a poll before the retry is not delayed", in(time.Hour), in(2 * time.Hour), true, 1},
		{"a retry without a message is nothing to wait for", time.Time{}, in(2 * time.Hour), false, never},
	} {
		l := newLedger(cmektest.NewStore(), 1)
		update(t, l, "c-1", func(c *ledger.Cluster) {
			c.NextLook, c.RetryAt = r.look, r.retry
			if r.message {
				c.Tell(alert.Alert{ID: "a-1"})
			}
		})
		got := never
		for hour := 9; hour >= 0; hour-- {
			if len(dueIDs(t, l, in(time.Duration(hour)*time.Hour), 10)) > 0 {
				got = hour
			}
		}
		if got != r.want {
			t.Errorf("%s: it is due after %d h, want %d h (%d is never)", r.sentence, got, r.want, never)
		}
	}
}

func TestByKeyFindsEveryClusterThatNamesTheKeyNowOrInThePast(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	with := func(infos ...cmek.KeyInfo) func(*ledger.Cluster) {
		return func(c *ledger.Cluster) {
			c.CMEK.RegionInfos = []cmek.RegionInfo{{Region: "us-east-1", KeyInfos: infos}}
		}
	}
	info := func(uri cmek.KeyURI, s cmek.Status) cmek.KeyInfo {
		return cmek.KeyInfo{Spec: cmek.KeySpec{Type: uri.Type(), URI: uri}, Status: s}
	}
	update(t, l, "c-2", with(info(key, cmek.Disabled), info(mrkEast, cmek.Enabled)))
	update(t, l, "c-1", with(info(key, cmek.Enabled), info(key, cmek.Disabled)))
	update(t, l, "c-3", with(info(mrkWest, cmek.Enabled)))
	update(t, l, "c-4", func(c *ledger.Cluster) { with(info(key, cmek.Enabled))(c); c.Gone = true })

	for uri, want := range map[cmek.KeyURI]string{key: "[c-1 c-2]", mrkEast: "[c-2 c-3]", mrkWest: "[c-2 c-3]", "arn:aws:kms:us-east-1:111122223333:key/other": "[]"} {
		clusters, err := l.ByKey(t.Context(), uri)
		if err != nil {
			t.Fatalf("query clusters of %s: %v", uri, err)
		}
		ids := []string{}
		for _, c := range clusters {
			ids = append(ids, c.ID)
		}
		if got := fmt.Sprint(ids); got != want {
			t.Errorf("clusters of %s are %s, want %s: past keys and replicas included, gone clusters not", uri, got, want)
		}
	}
}
