package compliance_test

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmektest"
)

func TestCheck_says_since_when_a_finding_stands(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		const standing, changing = "CMEK-01 " + noCMEK, "CMEK-16 " + paymentsRole
		if f := results(s.check())[standing]; !f.Since.IsZero() {
			t.Errorf("before any run it is known since %s", f.Since)
		}
		s.tick()
		first := results(s.check())
		if f := first[standing]; f.Since.IsZero() || f.Since.After(time.Now()) || f.New || f.Was != "" {
			t.Errorf("after the first run: %+v", f)
		}
		s.nextDay()
		time.Sleep(time.Hour)
		s.roles.trust = "denied" // it had failed, and nobody can tell now
		again := results(s.check())
		if f := again[standing]; !f.Since.Equal(first[standing].Since) {
			t.Errorf("it stands since %s, not %s", f.Since, first[standing].Since)
		}
		if f := again[changing]; !f.Since.After(first[changing].Since) || time.Since(f.Since) > time.Hour {
			t.Errorf("%s since %s", f.Result, f.Since)
		}
		s.Ledger = s.ledgerOver(cmektest.NewStore())
		if f := results(s.check())[standing]; !f.Since.IsZero() {
			t.Errorf("in a ledger without runs it is known since %s", f.Since)
		}
		s.Ledger = nil
		if f := results(s.check())[standing]; !f.Since.IsZero() {
			t.Errorf("without a ledger it is known since %s", f.Since)
		}
	})
}
