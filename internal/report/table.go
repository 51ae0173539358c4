package report

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
)

// Paint colors a text: a word of a result for one. The zero Paint leaves it alone.
type Paint func(result checks.Result, text string) string

// mostSubjects is how many subjects of one group, and mostSteps how many steps of its fix, are shown.
const (
	mostSubjects = 5
	mostSteps    = 8
)

// Table writes the report for people: what is wrong with its fix, what could not be read, and what was checked.
func (r Report) Table(out io.Writer, paint Paint) error {
	t := table{paint: paint}
	t.summary(r)
	for _, g := range r.groups() {
		t.group(g)
	}
	t.passed(r)
	t.proofs(r)
	if r.SinceUnread != "" {
		t.line("")
		t.line("Since when the findings stand is not known: %s", clean(r.SinceUnread))
	}
	_, err := io.WriteString(out, t.text.String())
	if err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

type table struct {
	text  strings.Builder
	paint Paint
}

func (t *table) line(format string, args ...any) {
	t.text.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

// clean takes out what controls or reorders a terminal, or breaks a line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

func (t *table) result(result checks.Result, text string) string {
	if t.paint == nil {
		return text
	}
	return t.paint(result, text)
}

func (t *table) summary(r Report) {
	p := r.Population
	t.line("%s, %s", r.Ended.Format(time.DateTime+" UTC"), clusters(p))
	s := r.Summary
	t.line("%s%s, %s, %d passed, %d accepted, %d not applicable", t.result(checks.Fail, plural(s.Fail, "failure")), severities(s),
		t.result(checks.Error, plural(s.Error, "check")+" without an answer"), s.Pass, s.Accepted, s.NotApplicable)
	for _, c := range p.Unread {
		t.line("")
		t.line("%s  cluster %s was not read", t.result(checks.Error, "ERROR"), clean(named(c)))
		t.line("       %s", clean(c.Why))
	}
	for _, c := range p.OutOfScope {
		t.line("Out of scope: cluster %s: %s", clean(named(c)), clean(c.Why))
	}
}

func clusters(p Population) string {
	return fmt.Sprintf("%s listed = %d checked + %d out of scope + %d not read", plural(p.Listed, "cluster"), p.Checked, len(p.OutOfScope), p.Missing())
}

func named(c Cluster) string {
	if c.Name == "" {
		return c.ID
	}
	return c.Name + " (" + c.ID + ")"
}

func severities(s Summary) string {
	var parts []string
	for _, one := range []alert.Severity{alert.Critical, alert.High, alert.Medium, alert.Low} {
		if n := s.Severities[one]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, one))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func (t *table) group(g group) {
	f := g.first
	word := string(f.Result)
	if f.Exception != nil {
		word = "ACCEPTED"
	}
	t.line("")
	t.line("%s  %s  %s  %s", t.result(f.Result, word), f.Check, f.Severity, f.Title)
	for i, s := range g.subjects {
		if i == mostSubjects {
			t.line("  and %d more", len(g.subjects)-i)
			break
		}
		t.line("  %s", clean(Name(s)))
	}
	t.line("  %s", clean(f.Why))
	if x := f.Exception; x != nil {
		t.line("  accepted by %s until %s: %s", clean(x.Approver), x.Expires.UTC().Format(time.DateOnly), clean(x.Reason))
	}
	if f.Notice != "" {
		t.line("  %s", clean(f.Notice))
	}
	if f.Exception != nil {
		return
	}
	if len(g.subjects) > 1 && len(f.Fix) > 0 {
		t.line("  For the first of them:")
	}
	for i, step := range f.Fix {
		if i == mostSteps {
			t.line("    … %d more steps (see the JSON)", len(f.Fix)-i)
			break
		}
		t.line("    %s", clean(step))
	}
}

// Name is a subject for people: a cluster by its name, a region with its cluster.
func Name(s checks.Subject) string {
	switch {
	case s.ClusterName != "" && s.Region != "":
		return s.ClusterName + ", " + s.Region
	case s.ClusterName != "":
		return s.ClusterName
	}
	return s.ID
}

// passed names the checks that have nothing to say, in one line.
func (t *table) passed(r Report) {
	open, passed := map[string]bool{}, map[string]bool{}
	for _, f := range r.Findings {
		open[f.Check] = open[f.Check] || f.Open()
		passed[f.Check] = passed[f.Check] || f.Result == checks.Pass
	}
	var ids []string
	for _, c := range checks.Catalog() {
		if passed[c.ID] && !open[c.ID] {
			ids = append(ids, strings.TrimPrefix(c.ID, "CMEK-"))
		}
	}
	if len(ids) > 0 {
		t.line("")
		t.line("%s  CMEK-%s", t.result(checks.Pass, "PASS"), strings.Join(ids, ", "))
	}
}
