package rotation

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// A cluster was hidden and forgotten while a request for v1 was under way, came back and was done at v2. Then the event about v1
// arrives late: the request for it must not count v2's traces as its own, nor v1 become what was last done.
func TestRevived_requestFromBeforeTheLastDone_isNotTakenUp(t *testing.T) {
	onBothClouds(t, testRevived_requestFromBeforeTheLastDone_isNotTakenUp)
}

func testRevived_requestFromBeforeTheLastDone_isNotTakenUp(t *testing.T) {
	for name, tt := range map[string]struct {
		done ledger.Done
		want bool
	}{
		"done since by a PUT":       {ledger.Done{Region: east, Key: eastKey, Version: v2, At: ago(time.Minute), Sent: ago(3 * time.Minute), Followed: true}, false},
		"adopted since":             {ledger.Done{Region: east, Key: eastKey, Version: v2, At: ago(time.Minute)}, false},
		"done before":               {ledger.Done{Region: east, Key: eastKey, Version: v2, At: ago(3 * time.Hour), Followed: true}, true},
		"another key's done since":  {ledger.Done{Region: east, Key: newKey, Version: v2, At: ago(time.Minute), Followed: true}, true},
		"another region done since": {ledger.Done{Region: west, Key: eastKey, Version: v2, At: ago(time.Minute), Followed: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.item.Done = []ledger.Done{tt.done}
			w.item.Dropped = []ledger.Dropped{{Region: east, Key: eastKey, Version: v1, Reason: "forgotten", At: ago(time.Hour),
				Request: &ledger.Request{Intent: ago(2 * time.Hour), Sent: ago(2 * time.Hour), Answer: &cmek.Answer{Outcome: cmek.Accepted}}}}
			event := cmek.Event{ID: "e-late", Key: eastKey, Version: v1, Time: ago(3 * time.Hour)}
			if opened, _ := open(w.item, event, noon, time.Minute); len(opened) != 1 {
				t.Fatalf("the late event opened work in %v, want %s", opened, east)
			}
			if got := w.item.Work[0]; (got.Request != nil) != tt.want || (got.State == ledger.Requested) != tt.want {
				t.Errorf("the work opened is %s with request %+v, want the one before: %t", got.State, got.Request, tt.want)
			}
		})
	}
}
