package ledger_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// openIn are the incidents that the pager's storms stand for.
func openIn(t *testing.T, l *ledger.Ledger, pager string) (names []string) {
	t.Helper()
	if err := l.UpdatePages(t.Context(), pager, func(p *ledger.Pages) error {
		for _, s := range p.Storms {
			names = slices.AppendSeq(names, maps.Keys(s.Open))
		}
		return ledger.ErrUnchanged
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestPagesOfEachPagerAreKeptApartAndConflictsAreTriedAgain(t *testing.T) {
	store := &countingStore{Store: cmektest.NewStore()}
	l, other := newLedger(store, 1), newLedger(store.Store, 2)
	add := func(l *ledger.Ledger, pager, name string) error {
		return l.UpdatePages(t.Context(), pager, func(p *ledger.Pages) error {
			if len(p.Storms) == 0 {
				p.Storms = []ledger.Storm{{Key: "k", Since: noon, Open: map[string]bool{}}}
			}
			p.Storms[0].Open[name] = true
			return nil
		})
	}
	store.before = func() {
		store.before = nil
		if err := add(other, "one", "b"); err != nil {
			t.Error(err)
		}
	}
	for _, err := range []error{add(l, "one", "a"), add(l, "two", "c")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if one, two := openIn(t, l, "one"), openIn(t, l, "two"); !slices.Equal(one, []string{"a", "b"}) || !slices.Equal(two, []string{"c"}) {
		t.Errorf("the pagers have %q and %q, want a and b, and c", one, two)
	}
	puts := store.puts
	broken := errors.New("broken")
	if err := l.UpdatePages(t.Context(), "one", func(*ledger.Pages) error { return broken }); !errors.Is(err, broken) || store.puts != puts {
		t.Errorf("a change that failed: error %v, %d writes; want its error and none", err, store.puts-puts)
	}
}

func TestPagesOfTheLargestStormsFit(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	if err := l.UpdatePages(t.Context(), "p", func(p *ledger.Pages) error {
		for n := range 3 {
			s := ledger.Storm{Key: fmt.Sprint(n), Since: noon, Open: map[string]bool{}}
			for i := range 5000 {
				s.Open[fmt.Sprintf("%02d%010d", n, i*7919)] = true
			}
			p.Storms = append(p.Storms, s)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if got := len(openIn(t, l, "p")); got != 15_000 {
		t.Errorf("%d names are kept, want 15,000", got)
	}
}
