package ledger_test

import (
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

func TestSent_isKeptForAsLongAsTheChecksLookBack(t *testing.T) {
	c := &ledger.Cluster{}
	for _, at := range []time.Time{noon, in(time.Hour), in(time.Hour), in(ledger.SentKept)} {
		c.NoteSent(at)
	}
	if want := []time.Time{noon, in(time.Hour), in(ledger.SentKept)}; !slices.EqualFunc(c.Requests(), want, time.Time.Equal) {
		t.Errorf("kept are %v, want %v", c.Requests(), want)
	}
	c.NoteSent(in(ledger.SentKept + time.Second))
	if got := c.Requests(); len(got) != 3 || !got[0].Equal(in(time.Hour)) {
		t.Errorf("kept are %v", got)
	}
	for i := range 300 {
		c.NoteSent(in(ledger.SentKept + time.Duration(i)*time.Minute))
	}
	if n := len(c.Requests()); n != 200 {
		t.Errorf("%d are kept", n)
	}
}

// Records of before there was a list have the last request of each region.
func TestSent_ofOpenAndDoneWorkAndOfCommands(t *testing.T) {
	c := &ledger.Cluster{
		Work:      []ledger.Work{{Request: &ledger.Request{Sent: in(2 * time.Hour)}}, {}, {Request: &ledger.Request{}}},
		Done:      []ledger.Done{{Sent: noon}, {}},
		Operation: &ledger.Operation{Since: in(time.Hour), Sent: in(2 * time.Hour)},
	}
	if want := []time.Time{noon, in(time.Hour), in(2 * time.Hour)}; !slices.EqualFunc(c.Requests(), want, time.Time.Equal) {
		t.Errorf("they are %v, want %v", c.Requests(), want)
	}
}
