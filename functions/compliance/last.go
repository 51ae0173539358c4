package compliance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/ledger"
)

// lastResults are the ledger's results about the subjects of a part, by group.
type lastResults struct {
	groups    map[string]*ledger.Results
	completed int
}

// groupOf names the item of the ledger that keeps the results about a subject: one for a cluster with its regions, one for a key with its
// users, and one for each other subject.
func groupOf(s checks.Subject) string {
	switch s.Kind {
	case checks.ClusterSubject, checks.RegionSubject:
		return "cluster/" + s.ClusterID
	case checks.KeySubject, checks.AccessSubject:
		return "key/" + string(s.Key)
	case checks.PrincipalSubject, checks.AccountSubject, checks.CredentialSubject:
	}
	return string(s.Kind) + "/" + s.ID
}

// before reads the last results about the subjects of the findings.
func (r *run) before(ctx context.Context, findings []checks.Finding) (lastResults, error) {
	return readLast(ctx, r.Ledger, r.Settings.Parallel, r.state.Last.Number, findings)
}

func readLast(ctx context.Context, l *ledger.Ledger, parallel, completed int, findings []checks.Finding) (lastResults, error) {
	last := lastResults{map[string]*ledger.Results{}, completed}
	for _, f := range findings {
		last.groups[groupOf(f.Subject)] = nil
	}
	var mu sync.Mutex
	err := each(parallel, slices.Sorted(maps.Keys(last.groups)), func(group string) error {
		results, err := l.Results(ctx, group)
		mu.Lock()
		defer mu.Unlock()
		last.groups[group] = results
		return err
	})
	return last, err
}

// since fills in since when the findings of a run on demand stand, by the last scheduled run that was completed. The findings do not rest on
// it: where it is not known, unread says why.
func (f *Function) since(ctx context.Context, findings []checks.Finding, now time.Time) (unread string) {
	if f.Ledger == nil {
		return noLedger
	}
	runs, err := f.Ledger.Runs(ctx)
	switch {
	case err != nil:
		return brief(err.Error())
	case runs.Last.Number == 0:
		return "the ledger knows no scheduled run that was completed"
	}
	last, err := readLast(ctx, f.Ledger, max(f.Settings.Parallel, DefaultSettings().Parallel), runs.Last.Number, findings)
	if err != nil {
		return fmt.Sprintf("the results of run %d could not be read: %s", runs.Last.Number, brief(err.Error()))
	}
	for i, one := range findings {
		is, _ := follow(last.last(one), &one, now)
		findings[i].Since = is.Since
	}
	return ""
}

// last is the result about the same in the last run that was completed; nil if that run was not about it.
func (l lastResults) last(f checks.Finding) *ledger.Result {
	all := l.groups[groupOf(f.Subject)].In(l.completed)
	i := slices.IndexFunc(all, func(r ledger.Result) bool { return r.Check == f.Check && r.Subject == f.Subject.ID })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// save notes the results of the run.
func (l lastResults) save(ctx context.Context, r *run, now map[string][]ledger.Result) error {
	return each(r.Settings.Parallel, slices.Sorted(maps.Keys(now)), func(group string) error {
		return r.Ledger.SaveResults(ctx, l.groups[group], ledger.Generation{Run: r.number, Results: now[group]}, l.completed)
	})
}

// each does something for all, at most so many at a time, and joins the errors. After an error nothing more is begun.
func each[T any](parallel int, all []T, do func(T) error) error {
	places := make(chan struct{}, max(1, parallel))
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		errs  []error
	)
	failed := func() bool { mu.Lock(); defer mu.Unlock(); return len(errs) > 0 }
	for _, one := range all {
		places <- struct{}{}
		if failed() {
			break
		}
		group.Go(func() {
			defer func() { <-places }()
			if err := do(one); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
