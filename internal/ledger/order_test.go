package ledger_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

var (
	orderedAt = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	oldSpec   = cmek.KeySpec{Type: cmek.AWSKMS, URI: "arn:aws:kms:us-east-1:111122223333:key/old", AuthPrincipal: "arn:aws:iam::111122223333:role/cmek"}
	newSpec   = cmek.KeySpec{Type: cmek.AWSKMS, URI: "arn:aws:kms:us-east-1:111122223333:key/new", AuthPrincipal: "arn:aws:iam::111122223333:role/cmek"}
)

// end notes that the order was carried out.
func end(t *testing.T, l *ledger.Ledger, id string) {
	t.Helper()
	if _, err := l.UpdateCluster(t.Context(), "c-1", func(c *ledger.Cluster) error { c.EndOrder(ledger.OrderEnd{ID: id, Done: true}); return nil }); err != nil {
		t.Fatal(err)
	}
}

func orderFor(region string, to cmek.KeySpec) ledger.Order {
	return ledger.Order{Region: region, From: oldSpec, To: to, By: "ana", Reason: "CHG-1"}
}

func TestPlaceOrders_isIdempotentWhileAnOrderIsOpen(t *testing.T) {
	other := newSpec
	other.URI += "er"
	for _, row := range []struct {
		sentence string
		later    time.Duration
		ended    bool
		cancel   bool
		again    ledger.Order
		same     bool
		err      error
	}{
		{sentence: "the same order is the one that is open", again: orderFor("us-east-1", newSpec), same: true},
		{sentence: "it is until the last moment", later: ledger.OrderExpires - 1, again: orderFor("us-east-1", newSpec), same: true},
		{sentence: "another key is refused", again: orderFor("us-east-1", other), err: ledger.ErrOrdered},
		{sentence: "another region is another order", again: orderFor("us-west-2", other)},
		{sentence: "an expired order makes way", later: ledger.OrderExpires, again: orderFor("us-east-1", other)},
		{sentence: "one that has ended makes way", ended: true, again: orderFor("us-east-1", other)},
		{sentence: "the same order after its end is a new one", later: time.Second, ended: true, again: orderFor("us-east-1", newSpec)},
		{sentence: "one that was canceled makes way", cancel: true, later: time.Second, again: orderFor("us-east-1", other)},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			l := newLedger(cmektest.NewStore(), 1)
			first, err := l.PlaceOrders(t.Context(), "c-1", []ledger.Order{orderFor("us-east-1", newSpec)}, orderedAt)
			if err != nil || len(first) != 1 || first[0].ID == "" || !first[0].At.Equal(orderedAt) {
				t.Fatalf("placed %+v, error %v", first, err)
			}
			if row.cancel {
				canceled, sent, err := l.CancelOrders(t.Context(), "c-1", []string{"us-east-1"}, orderedAt, "bob")
				if err != nil || len(canceled) != 1 || len(sent) != 0 || canceled[0].CanceledBy != "bob" {
					t.Fatalf("canceled %+v, error %v", canceled, err)
				}
			}
			if row.ended {
				end(t, l, first[0].ID)
			}
			again, err := l.PlaceOrders(t.Context(), "c-1", []ledger.Order{row.again}, orderedAt.Add(row.later))
			if !errors.Is(err, row.err) {
				t.Fatalf("the second order: error %v, want %v", err, row.err)
			}
			if row.err == nil && (again[0].ID == first[0].ID) != row.same {
				t.Errorf("the second order has the ID %s, the first %s; want the same: %t", again[0].ID, first[0].ID, row.same)
			}
			stands, err := l.Orders(t.Context(), "c-1")
			want := 2
			if row.same || row.err != nil {
				want = 1
			}
			if err != nil || len(stands) != want || stands[0].ID != first[0].ID {
				t.Errorf("the ledger holds %+v, error %v; want %d", stands, err, want)
			}
		})
	}
}

func TestPlaceOrders_allOrNone(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	if _, err := l.PlaceOrders(t.Context(), "c-1", []ledger.Order{orderFor("us-west-2", newSpec)}, orderedAt); err != nil {
		t.Fatal(err)
	}
	_, err := l.PlaceOrders(t.Context(), "c-1", []ledger.Order{orderFor("us-east-1", newSpec), orderFor("us-west-2", oldSpec)}, orderedAt)
	stands, readErr := l.Orders(t.Context(), "c-1")
	if !errors.Is(err, ledger.ErrOrdered) || readErr != nil || len(stands) != 1 {
		t.Errorf("error %v; the ledger holds %+v, want the first order alone", err, stands)
	}
	if others, err := l.Orders(t.Context(), "c-2"); err != nil || len(others) != 0 {
		t.Errorf("another cluster has orders: %+v, %v", others, err)
	}
}

func TestOrders_areForgottenAfterAMonthAndBounded(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	place := func(at time.Time) error {
		placed, err := l.PlaceOrders(t.Context(), "c-1", []ledger.Order{orderFor("us-east-1", newSpec)}, at)
		for _, o := range placed {
			end(t, l, o.ID)
		}
		return err
	}
	for n := range 200 {
		if err := place(orderedAt.Add(time.Duration(n) * time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if err := place(orderedAt.Add(time.Hour * 24)); err == nil {
		t.Error("an order beyond the most was taken")
	}
	if err := place(orderedAt.Add(31 * 24 * time.Hour)); err != nil {
		t.Error(err)
	}
	if all, _ := l.Orders(t.Context(), "c-1"); len(all) != 1 {
		t.Errorf("%d orders are kept, want the newest alone", len(all))
	}
}

func TestPins_areFoundByTheirAlias(t *testing.T) {
	const alias, other = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:alias/cmek"), cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:alias/other")
	l := newLedger(cmektest.NewStore(), 1)
	found := func(alias cmek.KeyURI, want ...string) {
		t.Helper()
		if got, err := l.PinnedTo(t.Context(), alias); err != nil || !slices.Equal(got, want) {
			t.Errorf("pinned to %s: %q, error %v; want %q", alias, got, err, want)
		}
	}
	set := func(cluster string, p ledger.Pin) {
		t.Helper()
		if err := l.SetPin(t.Context(), cluster, p); err != nil {
			t.Fatal(err)
		}
	}
	found(alias)
	set("c-1", ledger.Pin{Region: "us-east-1", Alias: alias, Since: orderedAt})
	set("c-2", ledger.Pin{Region: "us-east-1", Alias: alias, Since: orderedAt})
	found(alias, "c-1", "c-2")
	set("c-1", ledger.Pin{Region: "us-east-1", Alias: alias, Since: orderedAt.Add(time.Hour)})
	if p, _ := l.Pins(t.Context(), "c-1"); len(p) != 1 || !p[0].Since.Equal(orderedAt) {
		t.Errorf("the same pin again made %+v, want it as it was", p)
	}
	set("c-1", ledger.Pin{Region: "us-east-1", Alias: other, Since: orderedAt})
	found(alias, "c-2")
	found(other, "c-1")
	for _, want := range []bool{true, false} {
		if was, err := l.Unpin(t.Context(), "c-2", "us-east-1", orderedAt); err != nil || was != want {
			t.Errorf("unpinned: %t, error %v; want %t", was, err, want)
		}
	}
	found(alias)
}

// The clusters that are to be moved to a key are found by it before any of them names it: they go in order.
func TestAClusterIsFoundByTheKeyOfItsOrder(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	open := func(work ...ledger.Work) {
		t.Helper()
		if _, err := l.UpdateCluster(t.Context(), "c-1", func(c *ledger.Cluster) error { c.Work = work; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		work ledger.Work
		want int
	}{{ledger.Work{Region: "us-east-1", Key: newSpec.URI, Order: "o-1"}, 1}, {ledger.Work{Region: "us-east-1", Key: newSpec.URI}, 0}} {
		open(row.work)
		if got, err := l.ByKey(t.Context(), newSpec.URI); err != nil || len(got) != row.want {
			t.Errorf("%d clusters are found by the key of work %+v (error %v), want %d", len(got), row.work, err, row.want)
		}
	}
}

func TestEndOrder_isNotedOnceAndBounded(t *testing.T) {
	var c ledger.Cluster
	for n := range 300 {
		c.EndOrder(ledger.OrderEnd{ID: string(rune('a' + n)), At: orderedAt})
	}
	c.EndOrder(ledger.OrderEnd{ID: string(rune('a' + 299)), Why: "again", At: orderedAt})
	last, ok := c.OrderEnded(string(rune('a' + 299)))
	if len(c.Orders) != 200 || !ok || last.Why != "" {
		t.Errorf("%d ends are kept, the last %+v; want 200, each as first noted", len(c.Orders), last)
	}
	c.EndOrder(ledger.OrderEnd{ID: "later", At: orderedAt.Add(31 * 24 * time.Hour)})
	if len(c.Orders) != 1 {
		t.Errorf("%d ends are kept after a month, want 1", len(c.Orders))
	}
}

// Of the orders' ends the last that moved a region is kept however old it is: it says which key the region was moved to.
func TestEndOrder_keepsTheLastMoveOfEachRegion(t *testing.T) {
	at := func(days int) time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).AddDate(0, 0, days) }
	var c ledger.Cluster
	for i, e := range []ledger.OrderEnd{
		{Region: "east", Done: true}, {Region: "west", Done: true}, {Region: "east", Done: true}, {Region: "east"},
	} {
		e.ID, e.To, e.At = fmt.Sprint(i), cmek.KeyURI(fmt.Sprint("key-", i)), at(i)
		c.EndOrder(e)
	}
	c.EndOrder(ledger.OrderEnd{ID: "4", Region: "north", Done: true, At: at(200)})
	var kept []string
	for _, e := range c.Orders {
		kept = append(kept, e.ID)
	}
	if got := strings.Join(kept, " "); got != "1 2 4" {
		t.Errorf("kept are the orders %s, want 1 2 4", got)
	}
	for region, want := range map[string]string{"east": "2", "west": "1", "north": "4", "south": ""} {
		if last, moved := c.LastMove(region); last.ID != want || moved != (want != "") {
			t.Errorf("%s was last moved by %q (%t), want %q", region, last.ID, moved, want)
		}
	}
}

// What an alias names settles once more from the time of the change, never from before, and only for its own pins.
func TestAliasChanged_makesThePinnedClustersDue(t *testing.T) {
	const alias = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:alias/orders")
	seen := orderedAt
	for _, r := range []struct {
		sentence string
		known    ledger.Pinned
		at, want time.Time
	}{
		{"a later change", ledger.Pinned{Alias: alias, Seen: seen}, seen.Add(time.Minute), seen.Add(time.Minute)},
		{"an earlier one, whose event is late", ledger.Pinned{Alias: alias, Seen: seen}, seen.Add(-time.Minute), seen},
		{"one of the future", ledger.Pinned{Alias: alias, Seen: seen}, seen.Add(time.Hour), seen.Add(10 * time.Minute)},
		{"an alias that was never read", ledger.Pinned{Alias: alias}, seen, time.Time{}},
		{"another alias", ledger.Pinned{Alias: alias + "2", Seen: seen}, seen.Add(time.Minute), seen},
	} {
		l := newLedger(cmektest.NewStore(), 1)
		_, err := l.UpdateCluster(t.Context(), "c-1", func(c *ledger.Cluster) error {
			c.SeenAt, c.NextLook, c.Pins = seen, seen.Add(time.Hour), []ledger.Pinned{r.known}
			return nil
		})
		if err == nil {
			err = l.SetPin(t.Context(), "c-1", ledger.Pin{Region: "us-east-1", Alias: alias, Since: seen.Add(time.Hour)})
		}
		if err != nil {
			t.Fatal(err)
		}
		now := seen.Add(10 * time.Minute)
		ids, err := l.AliasChanged(t.Context(), alias, r.at, now)
		if err != nil || !slices.Equal(ids, []string{"c-1"}) {
			t.Fatalf("%s: the clusters are %q (%v)", r.sentence, ids, err)
		}
		c, err := l.Cluster(t.Context(), "c-1")
		if err != nil || !c.NextLook.Equal(now) || !c.Pins[0].Seen.Equal(r.want) {
			t.Errorf("%s: due at %s, seen since %s (%v); want %s and %s", r.sentence, c.NextLook, c.Pins[0].Seen, err, now, r.want)
		}
		if ids, _ := l.AliasChanged(t.Context(), alias+"3", r.at, now); len(ids) > 0 {
			t.Errorf("an alias that nobody is pinned to concerns %q", ids)
		}
	}
}
