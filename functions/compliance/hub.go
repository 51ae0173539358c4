package compliance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// mostReported is how many failures are reported to the hub at a time: the ledger has to remember them for their ends. Further ones are
// counted in the message about the run.
const mostReported = 5000

// report reports the failures among the findings to the hub, and the ends of those that were reported. What the hub does not take is named,
// and reported again by the next run. A finding without an answer is neither: what was reported of it stays as it is.
func (r *run) report(ctx context.Context, findings []checks.Finding) error {
	if r.Hub == nil {
		return nil
	}
	now := time.Now().UTC()
	var out []cmek.SecurityFinding
	at := map[string]int{}
	for i, known := range r.state.Reported {
		at[known.Key] = i
	}
	for _, f := range findings {
		i, known := at[f.Key()]
		if !known {
			i = -1
		} else {
			r.state.Reported[i].Run = r.number
		}
		failed := f.Result == checks.Fail && f.Exception == nil
		switch {
		case f.Result == checks.Error, !failed && i < 0:
			continue
		case i < 0 && len(r.state.Reported) == mostReported:
			r.tally.Unreported++
			continue
		case i < 0:
			r.state.Reported = append(r.state.Reported, ledger.Reported{Key: f.Key(), Since: f.Since, Severity: string(f.Severity), Run: r.number})
			i = len(r.state.Reported) - 1
		}
		r.state.Reported[i].Updated = later(now, r.state.Reported[i].Updated)
		s := securityFinding(r.state.Reported[i])
		s.Failed, s.Description = failed, f.Why
		if failed {
			s.Severity, s.Recommendation = string(f.Severity), strings.Join(f.Fix, "\n")
		} else if f.Exception != nil {
			s.Description += ". An exception of " + f.Exception.Owner + " accepts it: " + f.Exception.Reason
		}
		out = append(out, s)
	}
	return r.send(ctx, out)
}

// reportGone reports that the subjects of the failures that the run was not about are gone.
func (r *run) reportGone(ctx context.Context) error {
	if r.Hub == nil {
		return nil
	}
	var out []cmek.SecurityFinding
	for i := range r.state.Reported {
		if known := &r.state.Reported[i]; known.Run != r.number {
			known.Updated = later(time.Now().UTC(), known.Updated)
			s := securityFinding(*known)
			s.Gone, s.Description = true, "The checks are not about it any more."
			out = append(out, s)
		}
	}
	return r.send(ctx, out)
}

// send reports to the hub, notes what it did not take, and forgets what has ended. That the hub cannot be reached ends no run.
func (r *run) send(ctx context.Context, out []cmek.SecurityFinding) error {
	if len(out) == 0 {
		return nil
	}
	// The times are noted before: what is reported again is later, whatever became of it.
	if err := r.Ledger.SaveRuns(ctx, r.state); err != nil {
		return err
	}
	rejected, err := r.Hub.Import(ctx, out)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		r.refusedByHub(fmt.Sprintf("%d findings: %s", len(out), err))
		return nil
	}
	for _, x := range rejected {
		r.refusedByHub(x.ID + ": " + x.Code + ": " + x.Why)
	}
	ended := map[string]bool{}
	for _, s := range out {
		ended[s.Check+" "+s.Resource] = !s.Failed && !slices.ContainsFunc(rejected, func(x cmek.RejectedFinding) bool { return x.ID == s.ID })
	}
	r.state.Reported = slices.DeleteFunc(r.state.Reported, func(k ledger.Reported) bool { return ended[k.Key] })
	return nil
}

// mostRefusals is how many refusals of the hub are named.
const mostRefusals = 10

func (r *run) refusedByHub(what string) {
	r.Log.Error("the hub did not take a finding; the next run reports it again", "run", r.number, "error", what)
	if r.tally.HubRefusals++; len(r.tally.HubRefused) < mostRefusals {
		r.tally.HubRefused = append(r.tally.HubRefused, brief(what))
	}
}

// later is now, or just after before: a report that is not later than the one before is not taken.
func later(now, before time.Time) time.Time {
	if now = now.Truncate(time.Millisecond); now.After(before) {
		return now
	}
	return before.Add(time.Millisecond)
}

// securityFinding is what is the same in all reports of a failure.
func securityFinding(k ledger.Reported) cmek.SecurityFinding {
	id, subject, _ := strings.Cut(k.Key, " ")
	check, _ := checks.Of(id)
	s := cmek.SecurityFinding{ID: "keyturn/" + id + "/" + subject, Check: id, Title: id + ": " + check.Title, Severity: k.Severity, Since: k.Since, Updated: k.Updated, Resource: subject}
	for _, c := range check.Citations {
		s.Requirements = append(s.Requirements, c.Framework+" "+c.Version+"/"+c.Clause)
	}
	return s
}
