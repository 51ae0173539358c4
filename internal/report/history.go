package report

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// History is how the checks stood over some days, from the archived runs.
type History struct {
	// From and To are days in UTC, both included.
	From string `json:"from"`
	To   string `json:"to"`
	// Runs are the complete runs of that time; WithoutRun counts the days without one.
	Runs       []HistoryRun `json:"runs"`
	WithoutRun int          `json:"days_without_run"`
	Controls   []Control    `json:"controls"`
}

// HistoryRun is a run that a history rests on.
type HistoryRun struct {
	Run    int       `json:"run"`
	Ended  time.Time `json:"ended"`
	SHA256 string    `json:"manifest_sha256"`
}

// Control is how one check stood. Each day counts once: as Fail if any subject failed that nobody accepted, else as Unknown if any had no
// answer or there was no complete run, else as Accepted if an exception accepted a failure, else as Pass, or as NotApplicable if the check
// had a meaning for no subject. Of several runs on a day, the worst counts.
type Control struct {
	Check         string    `json:"check"`
	Title         string    `json:"title"`
	Pass          int       `json:"days_pass"`
	Fail          int       `json:"days_fail"`
	Accepted      int       `json:"days_accepted"`
	Unknown       int       `json:"days_unknown"`
	NotApplicable int       `json:"days_not_applicable"`
	Failures      []Failure `json:"failures"`
}

// Failure is a failure of a check about one subject. From may be before the history; To is zero as long as it lasts.
type Failure struct {
	Subject  string         `json:"subject"`
	Severity alert.Severity `json:"severity"`
	From     time.Time      `json:"from"`
	To       time.Time      `json:"to,omitzero"`
	// Accepted is until when an exception accepted it, if one did at last; Unanswered counts the runs in between that had no answer.
	Accepted   time.Time `json:"accepted_until,omitzero"`
	Unanswered int       `json:"unanswered,omitempty"`
	Why        string    `json:"why"`
}

// historian makes a history of runs that come in their order.
type historian struct {
	history  History
	days     map[string]map[string]state // by day and check
	open     map[string]*Failure         // by check and subject
	failures map[string][]*Failure       // by check
}

// Between reads the history of the days from the archive, of all chains.
func Between(ctx context.Context, archive cmek.ArchiveReader, from, to time.Time) (History, error) {
	all, err := Runs(ctx, archive)
	if err != nil {
		return History{}, err
	}
	h := historian{History{From: day(from), To: day(to), Runs: []HistoryRun{}}, map[string]map[string]state{}, map[string]*Failure{}, map[string][]*Failure{}}
	for _, n := range all {
		a, err := n.Load(ctx, archive)
		if err != nil {
			return History{}, err
		}
		if ended := day(a.Manifest.Period.Ended); !a.Manifest.Complete || ended < h.history.From || ended > h.history.To {
			continue
		}
		if err := h.add(ctx, a); err != nil {
			return History{}, err
		}
	}
	return h.done(from, to), nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func (h *historian) add(ctx context.Context, a *Archived) error {
	m := a.Manifest
	h.history.Runs = append(h.history.Runs, HistoryRun{m.Run, m.Period.Ended, a.SHA256})
	today := day(m.Period.Ended)
	if h.days[today] == nil {
		h.days[today] = map[string]state{}
	}
	for _, c := range m.Counts {
		h.days[today][c.Check] = worse(h.days[today][c.Check], c.standing())
	}
	seen := map[string]bool{}
	for l, err := range a.Lines(ctx) {
		if err != nil {
			return err
		}
		if f := l.Finding; f != nil {
			seen[f.Key()] = true
			h.follow(*f)
		}
	}
	for key, f := range h.open {
		if !seen[key] { // the run was not about it any more
			f.To = m.Period.Ended
			delete(h.open, key)
		}
	}
	return nil
}

// follow begins, continues or ends a failure.
func (h *historian) follow(f checks.Finding) {
	open := h.open[f.Key()]
	switch {
	case f.Result == checks.Fail:
		if open == nil {
			open = &Failure{Subject: f.Subject.ID, From: f.Since}
			h.open[f.Key()] = open
			h.failures[f.Check] = append(h.failures[f.Check], open)
		}
		open.Severity, open.Why, open.Accepted = f.Severity, f.Why, time.Time{}
		if f.Exception != nil {
			open.Accepted = f.Exception.Expires
		}
	case open == nil:
	case f.Result == checks.Error:
		open.Unanswered++
	default:
		open.To = f.Since
		delete(h.open, f.Key())
	}
}

func (h *historian) done(from, to time.Time) History {
	for _, check := range checks.Catalog() {
		c := Control{Check: check.ID, Title: check.Title, Failures: []Failure{}}
		for d := from; day(d) <= day(to); d = d.AddDate(0, 0, 1) {
			switch h.days[day(d)][check.ID] {
			case failed:
				c.Fail++
			case excepted:
				c.Accepted++
			case passed:
				c.Pass++
			case notApplicable:
				c.NotApplicable++
			default: // no run, a run without the check, or no answer
				c.Unknown++
			}
		}
		for _, f := range h.failures[check.ID] {
			c.Failures = append(c.Failures, *f)
		}
		slices.SortStableFunc(c.Failures, func(a, b Failure) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Subject, b.Subject)) })
		h.history.Controls = append(h.history.Controls, c)
	}
	for d := from; day(d) <= day(to); d = d.AddDate(0, 0, 1) {
		if h.days[day(d)] == nil {
			h.history.WithoutRun++
		}
	}
	return h.history
}

// Table writes the history for people.
func (h History) Table(out io.Writer) error {
	var t table
	t.line("%s to %s: %s, %s without a complete run", h.From, h.To, plural(len(h.Runs), "complete run"), plural(h.WithoutRun, "day"))
	t.line("")
	t.line("%-8s %5s %5s %9s %8s %5s  %s", "", "pass", "fail", "accepted", "unknown", "n/a", "")
	for _, c := range h.Controls {
		t.line("%-8s %5d %5d %9d %8d %5d  %s", c.Check, c.Pass, c.Fail, c.Accepted, c.Unknown, c.NotApplicable, c.Title)
	}
	for _, c := range h.Controls {
		for _, f := range c.Failures {
			until := "now"
			if !f.To.IsZero() {
				until = f.To.UTC().Format(time.DateTime)
			}
			t.line("")
			t.line("FAIL  %s  %s  %s to %s", c.Check, f.Severity, f.From.UTC().Format(time.DateTime), until)
			t.line("  %s", clean(f.Subject))
			t.line("  %s", clean(f.Why))
		}
	}
	if _, err := io.WriteString(out, t.text.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// CSV writes a line for each control and one for each failure, after a line of names.
func (h History) CSV(out io.Writer) error {
	rows := [][]string{{"check", "title", "subject", "severity", "from", "to", "days_pass", "days_fail", "days_accepted", "days_unknown", "days_not_applicable", "why"}}
	moment := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	for _, c := range h.Controls {
		rows = append(rows, []string{c.Check, c.Title, "", "", h.From, h.To, strconv.Itoa(c.Pass), strconv.Itoa(c.Fail), strconv.Itoa(c.Accepted), strconv.Itoa(c.Unknown), strconv.Itoa(c.NotApplicable), ""})
		for _, f := range c.Failures {
			rows = append(rows, []string{c.Check, c.Title, f.Subject, string(f.Severity), moment(f.From), moment(f.To), "", "", "", "", "", f.Why})
		}
	}
	for _, row := range rows {
		for i := range row {
			row[i] = defused(row[i])
		}
	}
	if err := csv.NewWriter(out).WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}
