package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	kindNotify  = "notify"
	pagesPrefix = "pages#"
)

// Pages is what a pager was sent of late, so that a storm of alerts opens a few incidents there and not a thousand, and so that those
// few are resolved when the last of what they stand for is. Dedup keys are in it as hashes.
type Pages struct {
	// Own is when each incident was opened by itself.
	Own map[string]time.Time `json:"own,omitempty"`
	// Storms are the incidents that stand for several others.
	Storms []Storm `json:"storms,omitempty"`
}

// Storm is an incident at a pager that stands for others.
type Storm struct {
	// Key is its own dedup key.
	Key   string    `json:"key"`
	Since time.Time `json:"since"`
	// Open are the incidents that it stands for. Once it stands for none, it is to be resolved.
	Open map[string]bool `json:"open"`
}

// UpdatePages reads what the pager of that name was sent, lets change alter it, and swaps it in; see [Ledger.UpdateCluster].
func (l *Ledger) UpdatePages(ctx context.Context, pager string, change func(*Pages) error) error {
	for range attempts {
		r, err := l.store.Get(ctx, kindNotify, pagesPrefix+pager)
		if err != nil {
			return fmt.Errorf("read pages of %s: %w", pager, err)
		}
		var p Pages
		if err := decode(r, &p); err != nil {
			return err
		}
		switch err := change(&p); {
		case errors.Is(err, ErrUnchanged):
			return nil
		case err != nil:
			return err
		}
		r.Kind, r.ID = kindNotify, pagesPrefix+pager
		none := func() []part { return nil }
		if err := fit(&r, p, nil, none); err != nil {
			return err
		}
		if _, err = l.put(ctx, r); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("write pages of %s: %w, %d times in a row", pager, ErrConflict, attempts)
}
