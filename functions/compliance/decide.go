package compliance

import (
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

// step is what a tick has to do.
type step int

const (
	rest    step = iota // the run of the day has ended, or its time has not come
	begin               // a run begins
	proceed             // the run under way goes on
	abandon             // the run under way did not end in its time, and the next one is due
)

// longestRun is how long a run may go on although the next one is due: one that began late is not given up for that.
const longestRun = 6 * time.Hour

// decide is what is to be done at now. A day is counted since 1970 and begins so long after midnight UTC as the schedule says.
func decide(r *ledger.Runs, now time.Time, offset time.Duration) (s step, day int) {
	day = dayOf(now, offset)
	switch {
	case r.Current == nil && (r.Number == 0 || day > r.Day || day < r.Day-1): // the last run's clock was ahead by more than a day
		return begin, day
	case r.Current == nil:
		return rest, day
	case day > r.Day && now.Sub(r.Current.Began) > longestRun:
		return abandon, day
	}
	return proceed, day
}

func dayOf(t time.Time, offset time.Duration) int {
	const day = 24 * time.Hour
	return int(t.Add(-offset).Unix() / int64(day/time.Second))
}

// missed counts the days between two runs.
func missed(r *ledger.Runs, day int) int {
	if r.Number == 0 {
		return 0
	}
	return max(0, day-r.Day-1)
}
