package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const recordedPrefix = "recorded#"

// recordedGap is how long after one run saw that uses of keys are recorded the next one must see it, for them to count as recorded between.
const recordedGap = 50 * time.Hour

// Recorded is since when a project of Google Cloud records uses of its keys, as far as runs of the checks saw it; zero if the last one saw
// that it does not, or none saw it.
type Recorded struct {
	Since time.Time `json:"since,omitzero"`
	// Last is when a run saw it last.
	Last time.Time `json:"last,omitzero"`
}

// From is since when uses have been recorded until now; zero if no run has seen it lately.
func (r Recorded) From(now time.Time) time.Time {
	if gap := now.Sub(r.Last); gap > recordedGap {
		return time.Time{}
	}
	return r.Since
}

// Recorded reads since when a project records uses.
func (l *Ledger) Recorded(ctx context.Context, project string) (r Recorded, err error) {
	record, err := l.store.Get(ctx, kindCompliance, recordedPrefix+project)
	if err != nil {
		return r, fmt.Errorf("read since when project %s records uses: %w", project, err)
	}
	return r, decode(record, &r)
}

// NoteRecorded notes whether a run sees that the project records uses.
func (l *Ledger) NoteRecorded(ctx context.Context, project string, on bool, now time.Time) error {
	for range attempts {
		record, err := l.store.Get(ctx, kindCompliance, recordedPrefix+project)
		if err != nil {
			return fmt.Errorf("read since when project %s records uses: %w", project, err)
		}
		var r Recorded
		if err := decode(record, &r); err != nil {
			return err
		}
		switch gap := now.Sub(r.Last); {
		case !on:
			r = Recorded{}
		case r.Last.IsZero(), gap > recordedGap, gap < 0:
			r = Recorded{Since: now, Last: now}
		default:
			r.Last = now
		}
		record.Kind, record.ID = kindCompliance, recordedPrefix+project
		if err := fit(&record, r, nil, func() []part { return []part{partOf("its content", r)} }); err != nil {
			return err
		}
		if _, err = l.put(ctx, record); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("note that project %s records uses: %w", project, ErrConflict)
}
