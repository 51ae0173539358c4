package compliance

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/version"
)

// end archives the run's manifest, notifies people, and records the run as ended. A run that is incomplete, for the reason given, leaves
// the last complete one in its place.
func (r *run) end(ctx context.Context, incomplete string) error {
	name := report.ManifestName(r.state.Start, r.number)
	if incomplete == "" {
		if err := r.reportGone(ctx); err != nil {
			return err
		}
	}
	data, err := r.once(ctx, name, func() ([]byte, error) {
		m, err := r.manifest(ctx, incomplete)
		if err != nil {
			return nil, err
		}
		if m.Complete && r.Page != nil {
			if err := r.page(ctx, &m); err != nil {
				return nil, err
			}
		}
		return m.Encode()
	})
	if err != nil {
		return err
	}
	m, err := report.ParseManifest(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := r.Notifier.Notify(ctx, digestOf(m, digest(data))); err != nil {
		return err
	}
	if m.Complete {
		if err := r.endGone(ctx, m.Period.Ended); err != nil {
			return err
		}
		r.state.Last = ledger.LastRun{Number: r.number, Day: r.state.Day, Ended: m.Period.Ended}
	}
	r.state.Current, r.state.Manifest = nil, digest(data)
	if err := r.Ledger.SaveRuns(ctx, r.state); err != nil {
		return err
	}
	if m.Complete {
		r.Log.Info(LogRunEnded, "run", r.number, "clusters", m.Population.Listed, "manifest", r.state.Manifest)
	}
	return nil
}

// page archives the run's page and adds it to the manifest. Evidence does not wait for what shows it: a run whose page is too large for
// the function, or cannot be made, ends without one, and its manifest says why.
func (r *run) page(ctx context.Context, m *report.Manifest) error {
	const tries = 2 // the first may have begun when its time was nearly up
	size := 0
	for _, f := range m.Files {
		if report.IsPart(f.Name) {
			size += f.Bytes
		}
	}
	name := report.PageName(r.state.Start, r.number)
	var failed error
	data, err := r.once(ctx, name, func() ([]byte, error) {
		if most := r.Settings.PageBytes; size > most {
			failed = fmt.Errorf("the parts of the run have %.1f MB, and the function makes a page of %.1f MB at most", float64(size)/1e6, float64(most)/1e6)
			return nil, failed
		}
		if r.state.Current.PageTries >= tries {
			failed = fmt.Errorf("the function was ended %d times while it made the page", tries)
			return nil, failed
		}
		// Noted before, because a function that runs out of memory notes nothing after.
		r.state.Current.PageTries++
		if err := r.Ledger.SaveRuns(ctx, r.state); err != nil {
			return nil, err
		}
		var page bytes.Buffer
		err := r.Page(ctx, &page, report.Draft(*m, r.Archive))
		if err != nil && ctx.Err() == nil {
			failed = err
		}
		return page.Bytes(), err
	})
	switch {
	case failed != nil:
		r.Log.Error("compliance run has no page", "run", r.number, "error", failed)
		m.NoPage = brief(failed.Error())
		return nil //nolint:nilerr // a run without a page is complete; the manifest says why it has none
	case err != nil:
		return err
	}
	m.Files = append(m.Files, report.File{Name: name, SHA256: digest(data), Bytes: len(data)})
	return nil
}

// manifest is the run's manifest.
func (r *run) manifest(ctx context.Context, incomplete string) (m report.Manifest, err error) {
	by, current := version.Read(), r.state.Current
	m = report.Manifest{
		Schema: report.ManifestSchema, Run: r.number, ChainStart: r.state.Start, PreviousSHA256: r.state.Manifest,
		Complete: incomplete == "", Incomplete: incomplete, MissedRuns: current.Missed,
		Period:       report.Period{From: r.state.Last.Ended, Began: current.Began, Ended: current.Walked},
		Organization: r.tally.Organization, Accounts: r.tally.Accounts, Caller: r.caller(ctx), Version: by.Version, Commit: by.Commit,
		Catalog: digest([]byte(checks.Table())), Configuration: r.configuration, Population: r.tally.Population, Counts: r.tally.Counts, Denied: r.tally.Denied, Changes: r.tally.Changes,
		Files: r.tally.Files, HubRefused: r.tally.HubRefused, HubRefusals: r.tally.HubRefusals, Unreported: r.tally.Unreported,
	}
	if p := &m.Population; !m.Complete {
		m.Period.Ended = time.Now().UTC()
		p.Unreached = p.Listed - p.Checked - len(p.OutOfScope) - p.Missing()
	}
	for _, x := range r.Declared.Exceptions {
		m.Exceptions = append(m.Exceptions, report.Excepted{Exception: x, Accepts: r.tally.Accepts[x.Check+" "+x.Subject]})
	}
	m.Chains, err = r.heads(ctx)
	return m, err
}

// heads are the ends of the chains of evidence.
func (r *run) heads(ctx context.Context) (heads []report.Head, err error) {
	items, err := r.Ledger.Clusters(ctx)
	if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
		return nil, err
	}
	for _, item := range items {
		if c := item.Chain; c.Count > 0 {
			heads = append(heads, report.Head{Cluster: item.ID, Start: c.Start, Count: c.Count, SHA256: c.Last})
		}
	}
	var mu sync.Mutex
	err = each(r.Settings.Parallel, items, func(item *ledger.Cluster) error {
		if !slices.ContainsFunc(item.Done, provable) {
			return nil
		}
		proofs, err := r.Ledger.Proofs(ctx, item.ID)
		if err == nil {
			err = r.deliverProofs(ctx, proofs)
		}
		if c := proofs.Chain; err == nil && c.Count > 0 {
			mu.Lock()
			defer mu.Unlock()
			heads = append(heads, report.Head{Cluster: item.ID, Of: report.OfProofs, Start: c.Start, Count: c.Count, SHA256: c.Last})
		}
		return err
	})
	slices.SortFunc(heads, func(a, b report.Head) int { return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Of, b.Of)) })
	return heads, err
}

// caller is whom the cloud takes the function for, or why that is not known.
func (r *run) caller(ctx context.Context) string {
	if r.Caller == nil {
		return "not known: this function does not ask"
	}
	name, err := r.Caller(ctx)
	if err != nil {
		return "not known: " + err.Error()
	}
	return name
}

// mostAlone is how many failures may have an alert of their own at a time. More are in the digest, which has then their severity: a storm
// of alerts would say no more.
const mostAlone = 50

// alone alerts people to a failure that alerts by itself, and to the end of one that did, and reports whether the failure is one of
// these. What is published and not recorded is published again in the same words.
func (r *run) alone(ctx context.Context, f checks.Finding, change report.ChangeKind) (bool, error) {
	key := "check/" + f.Key()
	i := slices.IndexFunc(r.state.Alarms, func(a ledger.Alarm) bool { return a.Key == key })
	switch {
	case i < 0 && change == report.Failed && pages(f) && len(r.state.Alarms) < mostAlone:
		a := failureAlert(f, key, r.number)
		if err := r.Notifier.Notify(ctx, a); err != nil {
			return false, err
		}
		r.state.Alarms = append(r.state.Alarms, ledger.Alarm{Key: key, Since: f.Since, Alert: a})
	case i < 0:
		return false, nil
	case f.Result != checks.Error && (f.Result != checks.Fail || f.Exception != nil):
		why := "it is " + string(f.Result)
		if f.Exception != nil {
			why = "an exception of " + f.Exception.Owner + " accepts it"
		}
		return true, r.resolve(ctx, i, why, f.Since)
	}
	r.tally.Seen = append(r.tally.Seen, key)
	return true, nil
}

// resolve notifies people of the end of an alarm.
func (r *run) resolve(ctx context.Context, i int, why string, at time.Time) error {
	end := r.state.Alarms[i].Alert
	end.ID, end.Resolved, end.Severity, end.Time = end.ID+"/resolved", true, alert.Info, at
	end.Summary += ": resolved, " + why
	end.Impact, end.RecoverySteps = "", nil
	if err := r.Notifier.Notify(ctx, end); err != nil {
		return err
	}
	r.state.Alarms = slices.Delete(r.state.Alarms, i, i+1)
	return nil
}

// endGone resolves the alarms about subjects that a complete run was not about any more.
func (r *run) endGone(ctx context.Context, at time.Time) error {
	for i := len(r.state.Alarms) - 1; i >= 0; i-- {
		if slices.Contains(r.tally.Seen, r.state.Alarms[i].Key) {
			continue
		}
		if err := r.resolve(ctx, i, "the checks are not about it any more", at); err != nil {
			return err
		}
	}
	return nil
}
