package compliance

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

func TestDecide(t *testing.T) {
	const offset = 5 * time.Hour
	today := time.Date(2026, 3, 1, 5, 0, 0, 0, time.UTC) // when the day begins
	n := dayOf(today, offset)
	under := func(began time.Time) *ledger.CurrentRun { return &ledger.CurrentRun{Began: began} }
	for _, tt := range []struct {
		name string
		runs ledger.Runs
		now  time.Time
		want step
	}{
		{"the first run", ledger.Runs{}, today, begin},
		{"the run of the day has ended", ledger.Runs{Number: 1, Day: n}, today.Add(23*time.Hour + 59*time.Minute), rest},
		{"the next day", ledger.Runs{Number: 1, Day: n}, today.Add(24 * time.Hour), begin},
		{"before the day begins", ledger.Runs{Number: 1, Day: n - 1}, today.Add(-time.Second), rest},
		{"when it begins", ledger.Runs{Number: 1, Day: n - 1}, today, begin},
		{"a clock that is a little behind that of the last run", ledger.Runs{Number: 1, Day: n + 1}, today.Add(23 * time.Hour), rest},
		{"the last run's clock was years ahead", ledger.Runs{Number: 1, Day: n + 1500}, today, begin},
		{"a run is under way", ledger.Runs{Number: 1, Day: n, Current: under(today)}, today.Add(time.Hour), proceed},
		{"one that began late goes on", ledger.Runs{Number: 1, Day: n - 1, Current: under(today.Add(-5 * time.Hour))}, today, proceed},
		{"one of the day before is given up", ledger.Runs{Number: 1, Day: n - 1, Current: under(today.Add(-7 * time.Hour))}, today, abandon},
	} {
		if got, _ := decide(&tt.runs, tt.now, offset); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
