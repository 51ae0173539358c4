package ledger_test

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmektest"
)

func TestRecorded_countsFromTheFirstRunThatSawItWithoutAGap(t *testing.T) {
	day := func(n int) time.Time { return in(time.Duration(n) * 24 * time.Hour) }
	l := newLedger(cmektest.NewStore(), 1)
	for _, step := range []struct {
		name string
		at   time.Time
		on   bool
		want time.Time
	}{
		{"off", day(0), false, time.Time{}},
		{"on", day(1), true, day(1)},
		{"on the next day", day(2), true, day(1)},
		{"with a run missed", day(4), true, day(1)},
		{"with two runs missed", day(7), true, day(7)},
		{"off again", day(8), false, time.Time{}},
		{"on again", day(9), true, day(9)},
		{"by a clock that was set back", day(3), true, day(3)},
	} {
		if err := l.NoteRecorded(t.Context(), "acme", step.on, step.at); err != nil {
			t.Fatal(err)
		}
		got, err := l.Recorded(t.Context(), "acme")
		if err != nil || !got.Since.Equal(step.want) {
			t.Errorf("%s: since %s, want %s (error %v)", step.name, got.Since, step.want, err)
		}
		if late := got.From(step.at.Add(51 * time.Hour)); !got.From(step.at.Add(50*time.Hour)).Equal(step.want) || !late.IsZero() {
			t.Errorf("%s: two days later it is since %s, and an hour after that since %s", step.name, got.From(step.at.Add(50*time.Hour)), late)
		}
		if other, err := l.Recorded(t.Context(), "acme-x"); err != nil || !other.Since.IsZero() {
			t.Errorf("%s: another project records since %s", step.name, other.Since)
		}
	}
}
