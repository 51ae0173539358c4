package ledger_test

import (
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

func beat(at time.Time) ledger.Heartbeat {
	return ledger.Heartbeat{At: at, Arrived: at.Add(time.Minute)}
}

func TestHeartbeat_isTheLatestOfItsOwnPlace(t *testing.T) {
	for _, tt := range []struct {
		name  string
		noted []ledger.Heartbeat
		want  time.Time
	}{
		{"none", nil, time.Time{}},
		{"one", []ledger.Heartbeat{beat(noon)}, noon},
		{"a later one", []ledger.Heartbeat{beat(noon), beat(in(time.Hour))}, in(time.Hour)},
		{"an earlier one that came after it", []ledger.Heartbeat{beat(in(time.Hour)), {At: noon, Arrived: in(2 * time.Hour)}}, in(time.Hour)},
		{"after one of the future", []ledger.Heartbeat{beat(in(24 * 365 * time.Hour)), beat(noon)}, noon},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(cmektest.NewStore(), 1)
			for _, h := range tt.noted {
				if err := l.NoteHeartbeat(t.Context(), "111122223333", "us-east-1", h); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := l.Heartbeat(t.Context(), "111122223333", "us-east-1"); err != nil || !got.At.Equal(tt.want) {
				t.Errorf("it is of %s, want %s (error %v)", got.At, tt.want, err)
			}
			for _, other := range [][2]string{{"111122223333", "us-east-2"}, {"444455556666", "us-east-1"}, {"111122223333", ""}} {
				if got, err := l.Heartbeat(t.Context(), other[0], other[1]); err != nil || !got.At.IsZero() {
					t.Errorf("%v has one of %s (error %v)", other, got.At, err)
				}
			}
			if due, err := l.OpenIncidents(t.Context()); err != nil || len(due) > 0 {
				t.Errorf("it is among the incidents: %v, %v", due, err)
			}
		})
	}
}

func TestHeartbeat_notedByManyAtOnce(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	var group sync.WaitGroup
	for i := range 5 {
		group.Go(func() {
			if err := l.NoteHeartbeat(t.Context(), "acme-keys", "", ledger.Heartbeat{At: in(time.Duration(i) * time.Hour), Arrived: in(5 * time.Hour)}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got, err := l.Heartbeat(t.Context(), "acme-keys", ""); err != nil || !got.At.Equal(in(4*time.Hour)) {
		t.Errorf("it is of %s (error %v)", got.At, err)
	}
}
