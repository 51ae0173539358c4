package rotation

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Settings are the knobs of follow-through. The zero value is not useful; begin with [DefaultSettings].
type Settings struct {
	// Mode is Observe until the owner switches following on.
	Mode Mode `env:"KEYTURN_MODE"`
	// Settle is how long a key version must have been known before a PUT: a KMS goes on encrypting under the old material
	// for seconds to minutes after a rotation, and a PUT in that time would encrypt the store key under the old one again. It
	// only lengthens the KMS's own settle time, except against Loopback.
	Settle time.Duration `env:"KEYTURN_SETTLE"`
	// Confirm is the time between the two reads that must show the end of an operation, because a read may be older than one
	// before it. It is at least 50 s, except against Loopback.
	Confirm time.Duration `env:"KEYTURN_CONFIRM"`
	// InFlight is the number of clusters of one key that may rotate at the same time once the canary is done.
	InFlight int `env:"KEYTURN_IN_FLIGHT"`
	// SweepEvery is the time from the start of one walk over all clusters to the start of the next.
	SweepEvery time.Duration `env:"KEYTURN_SWEEP_EVERY"`
	// Concurrency is the number of clusters that a sweep reads at a time.
	Concurrency int `env:"KEYTURN_CONCURRENCY"`
	// Poll is the time to the first poll of a cluster after a PUT; later ones come after a quarter of the time since, at most 2
	// minutes.
	Poll time.Duration `env:"KEYTURN_POLL"`
	// Grace is how long an accepted PUT that left no trace is watched before it counts as done without evidence, and how
	// long a PUT with an unknown outcome is watched before it is sent once more.
	Grace time.Duration `env:"KEYTURN_GRACE"`
	// AlertsSubscribers and OperationsSubscribers list the subscriptions that the topics for the two audiences must have, each as
	// PROTOCOL:ENDPOINT and separated by commas: those that are not confirmed or gone are reported. Empty: none is read.
	AlertsSubscribers     string `env:"KEYTURN_ALERTS_SUBSCRIBERS"`
	OperationsSubscribers string `env:"KEYTURN_OPERATIONS_SUBSCRIBERS"`
	// Loopback: the Cloud API is a simulator on this machine, so that the shortest safe times need not be kept.
	Loopback bool
}

// The shortest safe times: a KMS needs minutes until it encrypts under new material everywhere, and a read of the Cloud API may
// be 45 s old.
const (
	settleMin  = 5 * time.Minute
	confirmMin = 50 * time.Second
)

// settle is how long a version of the key must have been known before a PUT.
func (s Settings) settle(key cmek.Key) time.Duration {
	if s.Loopback {
		return s.Settle
	}
	return max(s.Settle, settleMin, key.Settle)
}

// ConfirmAfter is how far apart two reads must be that show the end of an operation.
func (s Settings) ConfirmAfter() time.Duration { return s.confirm() }

func (s Settings) confirm() time.Duration {
	if s.Loopback {
		return s.Confirm
	}
	return max(s.Confirm, confirmMin)
}

// graceFor is how long the work's request is given to leave a trace. Where a trace is known to appear if a PUT takes effect, the
// next request may follow, each after twice the time; otherwise there is one more at most.
func (s Settings) graceFor(w ledger.Work, updatedAtMoves bool) time.Duration {
	if !updatedAtMoves {
		return s.Grace
	}
	return min(s.Grace<<min(w.Lost, 10), max(s.Grace, graceMax))
}

// Mode says whether follow-through acts.
type Mode string

// The two modes.
const (
	// Observe decides, records and reports what it would do, and sends no PUT.
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

// DefaultSettings observe: nothing is sent.
func DefaultSettings() Settings {
	return Settings{
		Mode:        Observe,
		Settle:      settleMin,
		Confirm:     confirmMin,
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
	bad(s.Confirm >= 0 && s.Confirm <= 10*time.Minute, "KEYTURN_CONFIRM is %s; want a duration from 0s to 10m, such as 50s", s.Confirm)
	bad(s.InFlight >= 1, "KEYTURN_IN_FLIGHT is %d; want 1 or more clusters", s.InFlight)
	bad(s.SweepEvery > 0 && s.SweepEvery <= time.Hour, "KEYTURN_SWEEP_EVERY is %s; want a duration above 0s and at most 1h, such as 15m", s.SweepEvery)
	bad(s.Concurrency >= 1 && s.Concurrency <= 64, "KEYTURN_CONCURRENCY is %d; want 1 to 64 clusters at a time", s.Concurrency)
	bad(s.Poll > 0, "KEYTURN_POLL is %s; want a duration above 0s, such as 15s", s.Poll)
	for _, list := range []struct{ variable, value string }{{"KEYTURN_ALERTS_SUBSCRIBERS", s.AlertsSubscribers}, {"KEYTURN_OPERATIONS_SUBSCRIBERS", s.OperationsSubscribers}} {
		for entry := range strings.SplitSeq(list.value, ",") {
			protocol, endpoint, _ := strings.Cut(entry, ":")
			bad(list.value == "" || protocol != "" && endpoint != "", "%s has %q; want PROTOCOL:ENDPOINT, such as email:oncall@example.com", list.variable, entry)
		}
	}
	bad(s.Grace > 0, "KEYTURN_GRACE is %s; want a duration above 0s, such as 10m", s.Grace)
	return problems
}

// Times that are not settings: each is a promise that other parts rely on.
const (
	// sendWithin bounds the time from the intent to the end of the PUT. answerWithin is when its answer is on record, if it
	// ever will be: before that, a request without an answer may still be under way.
	sendWithin   = 30 * time.Second
	answerWithin = ledger.ClaimTime
	// clockOffset is the largest common offset of the vendors' clocks to ours that changes nothing; an updated_at that is
	// further ahead of us than aheadMax is not used.
	clockOffset = 10 * time.Minute
	aheadMax    = 15 * time.Minute
	// longestOperation is the longest operation that we allow for: the Terraform provider gives up after 2 h. stuckAfter is when
	// one is reported.
	longestOperation = ledger.LongestOperation
	stuckAfter       = longestOperation
	// pollMax is the longest time between two polls of a cluster with an open request.
	pollMax = 2 * time.Minute
	// graceMax bounds the growing time that requests of unknown outcome are given.
	graceMax = time.Hour
	// busyWait is the time to the next poll of a cluster that is busy with something else.
	busyWait = time.Minute
	// orderWait is the time to the next poll of a cluster that waits for others of the same key, if nothing wakes it before.
	orderWait = 3 * time.Minute
	// lagLimit bounds how long the KMS may show an older version than an event announced; then the KMS is believed.
	lagLimit = 10 * time.Minute
	// settlePoll is how long a version that settles is not read again, so that another one which is primary for a while is seen.
	settlePoll = 10 * time.Minute
	// olderLimit and olderReads are when consistent reads that are older than one before them become the truth.
	olderLimit = 10 * time.Minute
	olderReads = 3
	// overdueAfter is when open work is reported, whatever it waits for.
	overdueAfter = 24 * time.Hour
	// forgottenAfter bounds how long a cluster may go unseen. Sweeps note that they have seen it when half of that has passed;
	// unlistedAfter, soon after, it is read by itself, to learn whether it is deleted or hidden.
	forgottenAfter = 24 * time.Hour
	unlistedAfter  = forgottenAfter/2 + 2*time.Hour
	backoffMin     = 15 * time.Second
	backoffMax     = 10 * time.Minute
	// canaryPatience is how long a refused canary keeps the others waiting; probeEvery is the time between two PUTs for a key
	// that was refused for more than one canary.
	canaryPatience = 30 * time.Minute
	probeEvery     = time.Hour
	// refusalsToReport is the number of refusals in a row that are reported.
	// busyRefusalsToReport is that of refusals by a busy cluster or a spent rate limit.
	refusalsToReport     = 2
	busyRefusalsToReport = 10
	// keyFailuresToReport is the number of reads of a key in a row that fail before it is reported; undeliveredToReport is how
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
