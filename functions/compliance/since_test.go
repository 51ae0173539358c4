package compliance_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// unreadStore is a store that does not answer reads of items whose names begin so.
type unreadStore struct {
	ledger.Store
	prefix string
}

func (s unreadStore) Get(ctx context.Context, kind, id string) (ledger.Record, error) {
	if strings.HasPrefix(id, s.prefix) {
		return ledger.Record{}, errors.New("no answer")
	}
	return s.Store.Get(ctx, kind, id)
}

func TestCheck_says_since_when_a_finding_stands(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		const standing, changing = "CMEK-01 " + noCMEK, "CMEK-16 " + paymentsRole
		wantUnread := func(when, why string) {
			t.Helper()
			run := s.check()
			if f := results(run)[standing]; !f.Since.IsZero() || !strings.Contains(run.SinceUnread, why) {
				t.Errorf("%s it is known since %s, and not because %q, want %q", when, f.Since, run.SinceUnread, why)
			}
		}
		store := cmektest.NewStore()
		s.Ledger = s.ledgerOver(store)
		wantUnread("before any run", "no scheduled run that was completed")
		s.tick()
		run := s.check()
		first := results(run)
		if run.SinceUnread != "" {
			t.Errorf("after the first run it is not known because %q", run.SinceUnread)
		}
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
		for item, why := range map[string]string{"runs": "no answer", "results#": "the results of run 2 could not be read"} {
			s.Ledger = s.ledgerOver(unreadStore{store, item})
			wantUnread("with the item "+item+" unread", why)
		}
		s.Ledger = s.ledgerOver(store)
		if again := s.check(); again.SinceUnread != "" {
			t.Errorf("it is not known because %q", again.SinceUnread)
		}
		s.Ledger = s.ledgerOver(cmektest.NewStore())
		wantUnread("in a ledger without runs", "no scheduled run that was completed")
		s.Ledger = nil
		wantUnread("without a ledger", "no ledger is named")
	})
}
