// Package report writes a run of the compliance checks: as a table for people, and as JSON, CSV, JUnit and OCSF for programs. The same
// run gives the same bytes.
package report

import (
	"cmp"
	_ "embed"
	"slices"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/version"
)

// Format is the version of [Report]'s JSON. It changes when a reader of the one before would misread it.
const Format = 1

// Schema is the JSON Schema of [Report].
//
//go:embed report.schema.json
var Schema []byte

// Report is a run with its summary. Its JSON is described by [Schema].
type Report struct {
	Format int `json:"format"`
	// Version and Commit are what the program was built from.
	Version    string     `json:"version"`
	Commit     string     `json:"commit,omitempty"`
	Began      time.Time  `json:"began"`
	Ended      time.Time  `json:"ended"`
	Population Population `json:"population"`
	Summary    Summary    `json:"summary"`
	// Checks are those that have findings.
	Checks   []Check          `json:"checks"`
	Findings []checks.Finding `json:"findings"`
	// SinceUnread is why it is not known since when the findings stand; "" if it is.
	SinceUnread string `json:"since_unread,omitempty"`
	// Timelines are of the keys that the run was about; absent if it records none.
	Timelines []Timeline `json:"timelines,omitempty"`
	// Proofs are of the last re-encryptions that keyturn requested; absent if there are none.
	Proofs []Proof `json:"proofs,omitempty"`
}

// Check is what a check demands, and who asks for it.
type Check struct {
	ID        string            `json:"id"`
	Title     string            `json:"title"`
	Clause    string            `json:"clause"`
	Citations []checks.Citation `json:"citations"`
}

// Summary counts findings. A failure that an exception accepts counts as Accepted and not as Fail.
type Summary struct {
	Pass          int `json:"pass"`
	Fail          int `json:"fail"`
	Accepted      int `json:"accepted"`
	Error         int `json:"error"`
	NotApplicable int `json:"not_applicable"`
	// Severities counts the failures that are not accepted.
	Severities map[alert.Severity]int `json:"severities"`
}

// New is the report of a run.
func New(run Run, by version.Version) Report {
	r := Report{
		Format: Format, Version: by.Version, Commit: by.Commit, Began: run.Began.UTC(), Ended: run.Ended.UTC(),
		Population: run.Population, Findings: run.Findings, SinceUnread: run.SinceUnread, Timelines: run.Timelines, Proofs: run.Proofs, Summary: Summary{Severities: map[alert.Severity]int{}},
	}
	r.Checks = []Check{}
	if r.Findings == nil {
		r.Findings = []checks.Finding{}
	}
	for _, f := range r.Findings {
		r.Summary.add(f)
	}
	for _, c := range checks.Catalog() {
		if slices.ContainsFunc(r.Findings, func(f checks.Finding) bool { return f.Check == c.ID }) {
			r.Checks = append(r.Checks, Check{c.ID, c.Title, c.Clause, append([]checks.Citation{}, c.Citations...)})
		}
	}
	return r
}

func (s *Summary) add(f checks.Finding) {
	switch {
	case f.Result == checks.Pass:
		s.Pass++
	case f.Result == checks.NotApplicable:
		s.NotApplicable++
	case f.Result == checks.Error:
		s.Error++
	case f.Exception != nil:
		s.Accepted++
	default:
		s.Fail++
		s.Severities[f.Severity]++
	}
}

// Reaches reports whether a failure that is not accepted has the severity or a worse one.
func (r Report) Reaches(least alert.Severity) bool {
	return slices.ContainsFunc(r.Findings, func(f checks.Finding) bool {
		return f.Result == checks.Fail && f.Exception == nil && f.Severity.AtLeast(least)
	})
}

// Unread reports whether something could not be read: a cluster, or what a check needs.
func (r Report) Unread() bool { return r.Summary.Error > 0 || r.Population.Missing() > 0 }

// group are findings of one check that say the same.
type group struct {
	first    checks.Finding
	subjects []checks.Subject
}

// groups puts the open and accepted findings together that have check, result, reason and severity in common, the most urgent first.
func (r Report) groups() (groups []group) {
	type id struct {
		check, why, notice string
		result             checks.Result
		severity           alert.Severity
		accepted           bool
	}
	at := map[id]int{}
	for _, f := range r.Findings {
		if f.Result != checks.Fail && f.Result != checks.Error {
			continue
		}
		key := id{f.Check, f.Why, f.Notice, f.Result, f.Severity, f.Exception != nil}
		i, known := at[key]
		if !known {
			i = len(groups)
			at[key] = i
			groups = append(groups, group{first: f})
		}
		groups[i].subjects = append(groups[i].subjects, f.Subject)
	}
	slices.SortStableFunc(groups, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.order(), b.order()), severityOrder(a.first.Severity, b.first.Severity))
	})
	return groups
}

// order is failures, then what nobody knows, then what is accepted.
func (g group) order() int {
	switch {
	case g.first.Exception != nil:
		return 2
	case g.first.Result == checks.Error:
		return 1
	}
	return 0
}

func severityOrder(a, b alert.Severity) int {
	switch {
	case a.Above(b):
		return -1
	case b.Above(a):
		return 1
	}
	return 0
}
