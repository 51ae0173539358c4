package ledger_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestSetDoneKeepsTheLastVersionOfEachRegionInOrder(t *testing.T) {
	var c ledger.Cluster
	for _, d := range []ledger.Done{{Region: "us-west-2", Evidence: "1"}, {Region: "eu-west-1", Evidence: "2"}, {Region: "us-west-2", Evidence: "3"}} {
		c.SetDone(d)
	}
	want := []ledger.Done{{Region: "eu-west-1", Evidence: "2"}, {Region: "us-west-2", Evidence: "3"}}
	if !reflect.DeepEqual(c.Done, want) {
		t.Errorf("done are %+v, want %+v", c.Done, want)
	}
	if _, ok := c.DoneIn("us-east-1"); ok {
		t.Error("a region that was never done is reported as done")
	}
}

func TestWaitUntilBringsTheNextLookForwardOnly(t *testing.T) {
	var c ledger.Cluster
	for _, r := range []struct{ at, want time.Time }{
		{in(time.Hour), in(time.Hour)}, {in(2 * time.Hour), in(time.Hour)}, {noon, noon},
	} {
		c.WaitUntil(r.at)
		if !c.NextLook.Equal(r.want) {
			t.Errorf("after WaitUntil(%s) the next poll is at %s, want %s", r.at, c.NextLook, r.want)
		}
	}
}

func TestClearTakesOutWhatWasDeliveredAndTheWaitForIt(t *testing.T) {
	var o ledger.Outbox
	o.Tell(alert.Alert{ID: "a-1", Summary: "one"})
	o.File("evidence/1.json", []byte("{}"))
	o.Tell(alert.Alert{ID: "a-2", Summary: "two"})
	o.Retry(noon, in(time.Minute))
	o.Retry(in(time.Minute), in(3*time.Minute))
	if !o.RetryAt.Equal(in(3*time.Minute)) || !o.FailingSince.Equal(noon) {
		t.Errorf("after two failed deliveries the outbox waits until %s and has failed since %s", o.RetryAt, o.FailingSince)
	}
	o.Clear(map[string]bool{"a-1": true, "evidence/1.json": true})
	if len(o.Messages) != 1 || o.Messages[0].Alert == nil || o.Messages[0].Alert.Summary != "two" {
		t.Errorf("the outbox has %+v, want the message that was not delivered", o.Messages)
	}
	if !o.RetryAt.IsZero() {
		t.Errorf("the outbox still waits until %s", o.RetryAt)
	}
	if !o.FailingSince.Equal(noon) {
		t.Errorf("while a message is left the outbox has failed since %s, want since the first failure", o.FailingSince)
	}
	if o.Clear(map[string]bool{"a-2": true}); len(o.Messages) > 0 || !o.FailingSince.IsZero() {
		t.Errorf("with everything delivered the outbox is %+v", o)
	}
}

func TestTellCopiesTheAlert(t *testing.T) {
	var o ledger.Outbox
	a := alert.Alert{ID: "a-1", Summary: "as it was"}
	o.Tell(a)
	a.Summary = "changed"
	if got := o.Messages[0].Alert.Summary; got != "as it was" {
		t.Errorf("the message in the outbox changed to %q", got)
	}
}
