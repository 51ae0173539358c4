// Package checks is the catalog of compliance checks: one row for each check holds everything that is specific to it, for both
// clouds. It is pure: [Run] takes facts that somebody read, what the owner declared, and a time, and returns findings. The same facts
// give the same findings, byte for byte.
//
// A check reads no fact but its needs. A need that was not read, or too long ago, makes the result ERROR with the missing permission,
// before the check itself is asked: nothing that was not read is ever a PASS, nor a FAIL.
//
// The rows are in one file for each theme (coverage.go, health.go, …), the commands of the clouds in steps_aws.go and steps_gcp.go.
package checks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
)

// Result is what a check says about its subject.
type Result string

// The four results. There is no warning: a check holds, or it does not, or it has no meaning here, or nobody knows.
const (
	Pass          Result = "PASS"
	Fail          Result = "FAIL"
	NotApplicable Result = "NOT_APPLICABLE"
	Error         Result = "ERROR"
)

// Cloud is a provider, in the words of the Cloud API.
type Cloud string

// The clouds that checks know.
const (
	AWS Cloud = "AWS"
	GCP Cloud = "GCP"
)

// Check is a row of the catalog.
type Check struct {
	// ID is the entry of the catalog, as "CMEK-01". Clause is what must hold, in one sentence.
	ID, Title, Clause string
	// Severities are those that a failure can have, the worst first. An ERROR has the worst.
	Severities []alert.Severity
	Subject    SubjectKind
	// Needs are the facts that the check rests on, on any cloud.
	Needs []Need
	AWS   Rule
	GCP   Rule
	// Citations are the clauses of frameworks that somebody maps the check to; empty if no such mapping is known.
	Citations []Citation
	// Mirrors are the codes of incidents that already report the failure while they are open; empty if there are none.
	Mirrors []string
	// OptIn is why the check is NOT_APPLICABLE as long as no audit credential is declared; "" for checks that need none.
	OptIn string
}

// Severity is the worst that a failure can have.
func (c Check) Severity() alert.Severity { return c.Severities[0] }

// Rule is a check on one cloud: either judge and fix, or a reason why the check has no meaning there.
type Rule struct {
	// Needs are facts that the check rests on beside Check.Needs.
	Needs []Need
	// NotApplicable says why the check has no meaning on the cloud; "" if it has one.
	NotApplicable string
	// GoesWith are the checks that may fail together with this one, for the same cause.
	GoesWith []string

	// judge decides, with all needs read. fix adds what to do about a failure.
	judge func(*scope) verdict
	fix   func(*scope, *plan)
}

// On is the check's rule on a cloud; ok is false for clouds that it does not know.
func (c Check) On(cloud Cloud) (rule Rule, ok bool) {
	switch cloud {
	case AWS:
		return c.AWS, true
	case GCP:
		return c.GCP, true
	}
	return Rule{}, false
}

// NeedsOn are all facts that the check rests on at a cloud, in the order in which they are looked at.
func (c Check) NeedsOn(cloud Cloud) []Need {
	rule, _ := c.On(cloud)
	return append(slices.Clone(c.Needs), rule.Needs...)
}

// Citation is a clause of a framework, in one version of it: numbers move between versions.
type Citation struct {
	Framework string `json:"framework"`
	Version   string `json:"version"`
	Clause    string `json:"clause"`
	// By is who publishes the mapping.
	By string `json:"by"`
}

// String is the citation in one line.
func (c Citation) String() string { return c.Framework + " " + c.Version + " " + c.Clause }

// Catalog lists all checks, by id.
func Catalog() []Check { return slices.Clone(catalog) }

var catalog = slices.Concat(coverage, health, rotation, access, placement, detection, use)

// Of is the check with the id.
func Of(id string) (Check, bool) {
	i := slices.IndexFunc(catalog, func(c Check) bool { return c.ID == id })
	if i < 0 {
		return Check{}, false
	}
	return catalog[i], true
}

// Finding is what one check says about one subject.
type Finding struct {
	Check   string  `json:"check"`
	Title   string  `json:"title"`
	Subject Subject `json:"subject"`
	Result  Result  `json:"result"`
	// Severity is that of the failure, or the worst that the check knows if nobody can tell; "none" for PASS and NOT_APPLICABLE.
	Severity alert.Severity `json:"severity"`
	// Why says what was found, or why there is no answer. It is never empty.
	Why string `json:"why"`
	// Grants are the permissions that an ERROR is for want of, sorted; none if it has another cause.
	Grants []string `json:"grants,omitempty"`
	// Since is when the result began, and Was the result of the run before if it was another one; New: that run was not about the subject.
	// The caller fills them, from the results before; Incident as well, which names the open incident that reports the failure already.
	Since    time.Time `json:"since,omitzero"`
	Was      Result    `json:"was,omitempty"`
	New      bool      `json:"new,omitempty"`
	Incident string    `json:"incident,omitempty"`
	// Fix says what to do about a FAIL or a missing permission, one step a line, with the real ids and quoted for a shell.
	Fix []string `json:"fix,omitempty"`
	// Evidence are the readings that the result rests on.
	Evidence []Evidence `json:"evidence,omitempty"`
	// Exception is the declared one that accepts a FAIL; nil if there is none in force. Notice is set in the last days of an exception, and
	// when one has just ended.
	Exception *Exception `json:"exception,omitempty"`
	Notice    string     `json:"notice,omitempty"`
}

// Open reports whether the finding needs attention: a failure that no exception accepts, or no answer.
func (f Finding) Open() bool { return f.Result == Error || f.Result == Fail && f.Exception == nil }

// Key names the check and the subject: findings of two runs with one key are about the same.
func (f Finding) Key() string { return f.Check + " " + f.Subject.ID }

// Evidence is a reading that a result rests on.
type Evidence struct {
	Need string `json:"need"`
	// Of names what was read where the subject has several such facts.
	Of string `json:"of,omitempty"`
	Reading
}

// Run asks each check about each of its subjects in the snapshot. Findings come in the order of checks, then of subjects.
// Declarations must be valid.
func Run(facts Facts, declared Declarations, now time.Time) []Finding {
	declared.Thresholds = declared.Thresholds.WithDefaults()
	w := newWorld(facts, declared, now)
	subjects := map[SubjectKind][]*scope{}
	var findings []Finding
	for _, check := range catalog {
		if subjects[check.Subject] == nil {
			subjects[check.Subject] = w.subjects(check.Subject)
		}
		for _, s := range subjects[check.Subject] {
			findings = append(findings, check.ask(s))
		}
	}
	return findings
}

// ask is the wrapper around every rule. Nothing reaches a rule that was not read.
func (c Check) ask(s *scope) Finding {
	f := Finding{Check: c.ID, Title: c.Title, Subject: s.subject, Severity: alert.None}
	v := c.verdict(s, &f)
	f.Result, f.Why, f.Grants = v.result, v.why, slices.Compact(slices.Sorted(slices.Values(v.grants)))
	var p plan
	switch v.result {
	case Fail:
		f.Severity = cmp.Or(v.severity, c.Severity())
		rule, _ := c.On(s.cloud)
		rule.fix(s, &p)
		s.except(c, &f)
	case Error:
		f.Severity = c.Severity()
		for _, grant := range f.Grants {
			p.say("Grant keyturn's compliance function " + grant + ".")
		}
	case Pass, NotApplicable:
	}
	f.Fix = p.steps
	return f
}

func (c Check) verdict(s *scope, f *Finding) verdict {
	if reason := s.excluded(); reason != "" {
		return notApplicable("%s", reason)
	}
	rule, ok := c.On(s.cloud)
	switch {
	case s.cloud == "" && s.whyNoCloud != "":
		return unknown("%s", s.whyNoCloud).wanting(s.grants...)
	case s.cloud == azure:
		return notApplicable("keyturn has no checks for %s", azure)
	case !ok:
		return unknown("it is not known which cloud it is on: %q", clip(string(cmp.Or(s.cloud, Cloud(s.subject.Key), Cloud(s.subject.Principal)))))
	case rule.NotApplicable != "":
		return notApplicable("%s", rule.NotApplicable)
	case c.OptIn != "" && !s.declared.AuditCredential:
		return notApplicable("%s", c.OptIn)
	}
	var unread verdict
	for _, need := range c.NeedsOn(s.cloud) {
		if need.OptIn && !s.declared.AuditCredential {
			continue
		}
		for _, r := range need.of(s) {
			f.Evidence = append(f.Evidence, Evidence{Need: need.Name, Of: r.of, Reading: *r.Reading})
			why := need.unread(*r.Reading, s.now)
			if why == "" && need.lacks != nil {
				why = need.lacks(s)
			}
			if why != "" {
				unread = unread.and(need.Name, r.of, why, r.Grant)
			}
		}
	}
	if unread.result == Error {
		return unread
	}
	return rule.judge(s)
}

// verdict is what a rule says. The zero verdict is none.
type verdict struct {
	result   Result
	severity alert.Severity // "" is the check's own
	why      string
	grants   []string
}

func pass(format string, args ...any) verdict {
	return verdict{result: Pass, why: fmt.Sprintf(format, args...)}
}

func fail(format string, args ...any) verdict {
	return verdict{result: Fail, why: fmt.Sprintf(format, args...)}
}

func notApplicable(format string, args ...any) verdict {
	return verdict{result: NotApplicable, why: fmt.Sprintf(format, args...)}
}

// unknown is an ERROR for a reason that is in the facts themselves.
func unknown(format string, args ...any) verdict {
	return verdict{result: Error, why: fmt.Sprintf(format, args...)}
}

func (v verdict) as(s alert.Severity) verdict { v.severity = s; return v }

func (v verdict) wanting(grants ...string) verdict {
	v.grants = append(v.grants, slices.DeleteFunc(slices.Clone(grants), func(g string) bool { return g == "" })...)
	return v
}

// and adds a need that was not read.
func (v verdict) and(need, of, why, grant string) verdict {
	what := need
	if of != "" {
		what += " of " + of
	}
	line := what + " " + why
	if v.result == Error {
		line = v.why + "; " + line
	}
	return verdict{result: Error, why: line, grants: v.grants}.wanting(grant)
}

// problems are what a rule found wrong, with the worst severity of all.
type problems struct {
	lines    []string
	severity alert.Severity
	unclear  []string
	grants   []string
}

func (p *problems) add(s alert.Severity, format string, args ...any) {
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
	p.severity = alert.Worse(p.severity, s)
}

func (p *problems) cannotTell(format string, args ...any) {
	p.unclear = append(p.unclear, fmt.Sprintf(format, args...))
}

// verdict is a failure if anything is certainly wrong, no answer if something cannot be told, else a pass.
func (p *problems) verdict(good string, args ...any) verdict {
	switch {
	case len(p.lines) > 0:
		return fail("%s", sentences(p.lines)).as(p.severity)
	case len(p.unclear) > 0:
		return unknown("%s", sentences(p.unclear)).wanting(p.grants...)
	}
	return pass(good, args...)
}

// mostLines bounds what a finding enumerates.
const mostLines = 10

// sentences are the lines once each, sorted, and counted beyond what somebody would read.
func sentences(lines []string) string {
	all := slices.Compact(slices.Sorted(slices.Values(lines)))
	if more := len(all) - mostLines; more > 0 {
		all = append(all[:mostLines:mostLines], fmt.Sprintf("%d more", more))
	}
	return strings.Join(all, "; ")
}

// except applies a declared exception to a failure.
func (s *scope) except(c Check, f *Finding) {
	x, ok := s.declared.exception(c.ID, f.Subject.ID)
	switch {
	case !ok:
	case !x.Expires.After(s.now):
		f.Notice = fmt.Sprintf("the exception of %s expired on %s", clip(x.Owner), day(x.Expires))
	default:
		f.Exception = &x
		if x.Expires.Before(s.now.Add(exceptionNotice)) {
			f.Notice = fmt.Sprintf("the exception of %s expires on %s, and this counts as a failure from then on", clip(x.Owner), day(x.Expires))
		}
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func at(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// span is a duration as people say it.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	}
	return fmt.Sprintf("%d minutes", int(d/time.Minute))
}

// clip keeps a text from outside to what can be read in a sentence, on one line.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if invisible(r) {
			return '?'
		}
		return r
	}, s)
}
