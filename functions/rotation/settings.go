package rotation

import (
	"fmt"
	"time"
)

// Settings are the knobs of follow-through. The zero value is not useful; begin with [DefaultSettings].
type Settings struct {
	// Mode is Observe until the owner switches following on.
	Mode Mode `env:"KEYTURN_MODE"`
	// Settle is how long a key version must have been known before a PUT: a KMS goes on encrypting under the old material
	// for seconds to minutes after a rotation, and a PUT in that time would wrap the store key under the old one again.
	Settle time.Duration `env:"KEYTURN_SETTLE"`
	// InFlight is the number of clusters of one key that may rotate at the same time once the canary is done.
	InFlight int `env:"KEYTURN_IN_FLIGHT"`
	// SweepEvery is the time from the start of one walk over all clusters to the start of the next.
	SweepEvery time.Duration `env:"KEYTURN_SWEEP_EVERY"`
	// Concurrency is the number of clusters that a sweep reads at a time.
	Concurrency int `env:"KEYTURN_CONCURRENCY"`
	// Poll is the time to the first look at a cluster after a PUT; later looks back off to 10 minutes.
	Poll time.Duration `env:"KEYTURN_POLL"`
	// Grace is how long an accepted PUT that left no trace is watched before it counts as done without evidence, and how
	// long a PUT with an unknown outcome is watched before it is sent once more.
	Grace time.Duration `env:"KEYTURN_GRACE"`
}

// Mode says whether follow-through acts.
type Mode string

// The two modes.
const (
	// Observe decides, records and tells what it would do, and sends no PUT.
	Observe Mode = "observe"
	// Follow sends the PUTs.
	Follow Mode = "follow"
)

// UnmarshalText accepts the two modes.
func (m *Mode) UnmarshalText(text []byte) error {
	switch v := Mode(text); v {
	case Observe, Follow:
		*m = v
		return nil
	}
	return fmt.Errorf("%q is neither %s nor %s", text, Observe, Follow)
}

// DefaultSettings observe and do no harm.
func DefaultSettings() Settings {
	return Settings{
		Mode:        Observe,
		Settle:      5 * time.Minute,
		InFlight:    3,
		SweepEvery:  15 * time.Minute,
		Concurrency: 16,
		Poll:        15 * time.Second,
		Grace:       10 * time.Minute,
	}
}

// Check returns every setting that makes no sense, each naming its variable and what it should be.
func (s Settings) Check() []error {
	var problems []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	bad(s.Mode == Observe || s.Mode == Follow, "KEYTURN_MODE is %q; want observe or follow", s.Mode)
	bad(s.Settle >= 0 && s.Settle <= 24*time.Hour, "KEYTURN_SETTLE is %s; want a duration from 0s to 24h, such as 5m", s.Settle)
	bad(s.InFlight >= 1, "KEYTURN_IN_FLIGHT is %d; want 1 or more clusters", s.InFlight)
	bad(s.SweepEvery > 0 && s.SweepEvery <= time.Hour, "KEYTURN_SWEEP_EVERY is %s; want a duration above 0s and at most 1h, such as 15m", s.SweepEvery)
	bad(s.Concurrency >= 1 && s.Concurrency <= 64, "KEYTURN_CONCURRENCY is %d; want 1 to 64 clusters at a time", s.Concurrency)
	bad(s.Poll > 0, "KEYTURN_POLL is %s; want a duration above 0s, such as 15s", s.Poll)
	bad(s.Grace > 0, "KEYTURN_GRACE is %s; want a duration above 0s, such as 10m", s.Grace)
	return problems
}

// Times that are not settings: each is a promise that other parts rely on.
const (
	// sendWithin bounds the time from the intent to the end of the PUT. answerWithin is when its answer is on record, if it
	// ever will be: before that, a request without an answer may still be under way.
	sendWithin   = 30 * time.Second
	answerWithin = 40 * time.Second
	// clockSkew is how far the Cloud API's clock may be behind ours when updated_at is compared with an intent.
	clockSkew = time.Minute
	// busyWait is the time to the next look at a cluster that is busy with something else.
	busyWait = time.Minute
	// turnWait is the time to the next look at a cluster that waits for others of the same key.
	turnWait = time.Minute
	// lagLimit bounds how long the KMS may show an older version than an event announced; then the KMS is believed.
	lagLimit = time.Hour
	// stuckAfter is the only bound known for an operation: the Terraform provider gives up after 2 h.
	stuckAfter = 2 * time.Hour
	// overdueAfter is when open work is reported, whatever it waits for.
	overdueAfter = 24 * time.Hour
	// forgottenAfter is when a cluster that no sweep has seen is looked at by itself, to learn that it is gone.
	forgottenAfter = 24 * time.Hour
	backoffMin     = 15 * time.Second
	backoffMax     = 10 * time.Minute
	// refusalsToReport is the number of refusals in a row that a person should hear of.
	refusalsToReport = 5
	// keyFailuresToReport is the number of looks in a row at a key that fail before it is reported; undeliveredToReport is how
	// long messages may wait before that is.
	keyFailuresToReport = 3
	undeliveredToReport = time.Hour
)

// backoff is the wait after the nth failure in a row: 15 s, doubled each time, at most 10 min.
func backoff(n int) time.Duration {
	d := backoffMin
	for ; n > 1 && d < backoffMax; n-- {
		d *= 2
	}
	return min(d, backoffMax)
}
