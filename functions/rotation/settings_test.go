package rotation

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestSettings_check_namesTheVariable(t *testing.T) {
	if problems := DefaultSettings().Check(); len(problems) > 0 || DefaultSettings().Mode != Observe {
		t.Errorf("the default settings are in mode %s with the problems %v, want observe and none", DefaultSettings().Mode, problems)
	}
	for variable, change := range map[string]func(*Settings){
		"KEYTURN_MODE":        func(s *Settings) { s.Mode = "act" },
		"KEYTURN_SETTLE":      func(s *Settings) { s.Settle = 25 * time.Hour },
		"KEYTURN_CONFIRM":     func(s *Settings) { s.Confirm = 11 * time.Minute },
		"KEYTURN_IN_FLIGHT":   func(s *Settings) { s.InFlight = 0 },
		"KEYTURN_SWEEP_EVERY": func(s *Settings) { s.SweepEvery = 2 * time.Hour },
		"KEYTURN_CONCURRENCY": func(s *Settings) { s.Concurrency = 65 },
		"KEYTURN_POLL":        func(s *Settings) { s.Poll = 0 },
		"KEYTURN_GRACE":       func(s *Settings) { s.Grace = 0 },
	} {
		s := DefaultSettings()
		change(&s)
		if problems := s.Check(); len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), variable+" is ") {
			t.Errorf("a bad %s is reported as %v", variable, problems)
		}
	}
}

func TestSettings_shortestSafeTimes(t *testing.T) {
	short := Settings{Settle: time.Second, Confirm: time.Second}
	if settle, confirm := short.settle(cmek.Key{}), short.confirm(); settle != 5*time.Minute || confirm != 50*time.Second {
		t.Errorf("a settle time of 1 s counts as %s, a confirm time of 1 s as %s, want 5m and 50s", settle, confirm)
	}
	if settle := short.settle(cmek.Key{Settle: 3 * time.Hour}); settle != 3*time.Hour {
		t.Errorf("a KMS that asks for 3 h gets %s", settle)
	}
	short.Loopback = true
	if settle, confirm := short.settle(cmek.Key{Settle: time.Hour}), short.confirm(); settle != time.Second || confirm != time.Second {
		t.Errorf("against loopback they count as %s and %s, want 1s", settle, confirm)
	}
}

func TestSettings_graceFor_doublesUpToAnHour(t *testing.T) {
	s := DefaultSettings()
	for lost, want := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour, time.Hour} {
		if got := s.graceFor(ledger.Work{Lost: lost}, true); got != want {
			t.Errorf("after %d lost requests the grace time is %s, want %s", lost, got, want)
		}
		if got := s.graceFor(ledger.Work{Lost: lost}, false); got != 10*time.Minute {
			t.Errorf("where updated_at may not move the grace time is %s, want %s", got, s.Grace)
		}
	}
	if got := s.graceFor(ledger.Work{Lost: 1000}, true); got != time.Hour {
		t.Errorf("after 1000 lost requests the grace time is %s", got)
	}
	s.Grace = 2 * time.Hour
	if got := s.graceFor(ledger.Work{}, true); got != 2*time.Hour {
		t.Errorf("KEYTURN_GRACE of 2 h is cut to %s", got)
	}
}

func TestBackoff_doublesUpToTenMinutes(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 15 * time.Second, 1: 15 * time.Second, 2: 30 * time.Second, 6: 8 * time.Minute, 7: 10 * time.Minute, 1 << 30: 10 * time.Minute} {
		if got := backoff(n); got != want {
			t.Errorf("the backoff after %d failures is %s, want %s", n, got, want)
		}
	}
}
