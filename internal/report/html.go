package report

import (
	"bufio"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/version"
)

//go:embed page.html.tmpl
var pageTemplate string

//go:embed page.css
var pageStyle string

// layout is the page's template. Its style sheet is the only thing that the page's policy lets a browser use: no script, no request. It is
// read when a page is made: most starts of a function make none.
var layout = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{"num": number, "dict": dict}).Parse(unindented(pageTemplate)))
})

// dict is the argument of a part of the template: names and values in turn.
func dict(pairs ...any) map[string]any {
	all := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		all[pairs[i].(string)] = pairs[i+1]
	}
	return all
}

// unindented takes out line ends and indentation, which are a third of a large page.
func unindented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line))
	}
	return b.String()
}

// HTML writes the report as one page without scripts that needs nothing but itself. What only a scheduled run records, the page calls not
// recorded.
func (r Report) HTML(out io.Writer) error {
	p := newPage(r.Began, r.Ended, r.Population, version.Version{Version: r.Version, Commit: r.Commit}, nil)
	for _, f := range r.Findings {
		p.add(f)
	}
	for _, t := range r.Timelines {
		p.rotated(t)
	}
	for _, one := range r.Proofs {
		p.proved(one)
	}
	p.sinceUnread = r.SinceUnread
	return p.write(out)
}

// HTML writes the run in the archive as [WritePage] does.
func (a *Archived) HTML(ctx context.Context, out io.Writer) error {
	return WritePage(out, a.Manifest, a.Lines(ctx))
}

// ArchivedPage writes a run as [Archived.HTML] does, for compliance.Function.Page.
func ArchivedPage(ctx context.Context, out io.Writer, run *Archived) error { return run.HTML(ctx, out) }

// WritePage writes the page of a scheduled run from its manifest and the lines of its parts, which it reads once and does not keep: the
// memory it needs grows with the number of clusters and keys, by some hundred bytes for each. The same run gives the same bytes, whether
// or not the manifest names the page itself already. Nothing is written if the lines end with an error.
func WritePage(out io.Writer, m Manifest, lines iter.Seq2[Line, error]) error {
	p := newPage(m.Period.Began, m.Period.Ended, m.Population, versionOf(m), &m)
	for l, err := range lines {
		switch {
		case err != nil:
			return fmt.Errorf("write page: %w", err)
		case l.Finding != nil:
			p.add(*l.Finding)
		case l.Timeline != nil:
			p.rotated(*l.Timeline)
		case l.Proof != nil:
			p.proved(*l.Proof)
		}
	}
	return p.write(out)
}

// page gathers what the page shows.
type page struct {
	began, ended time.Time
	population   Population
	version      version.Version
	manifest     *Manifest // nil: the run was on demand

	summary  Summary
	counts   map[string]*Count
	accepted map[checks.Exception]int
	fleet    fleet
	details  details
	changes  changes
	keys     keyTimes
	proofs   pageProofs
	// sinceUnread is why it is not known since when the findings stand.
	sinceUnread string
}

func newPage(began, ended time.Time, population Population, by version.Version, m *Manifest) *page {
	return &page{
		began: began, ended: ended, population: population, version: by, manifest: m, summary: Summary{Severities: map[alert.Severity]int{}}, counts: map[string]*Count{},
		accepted: map[checks.Exception]int{}, fleet: newFleet(), changes: changes{counts: map[[2]string]int{}},
		keys:   keyTimes{at: ended, archived: m != nil, seen: map[cmek.KeyURI]bool{}, pending: map[cmek.KeyURI][]Proof{}},
		proofs: pageProofs{counts: proofCounts{}},
	}
}

func (p *page) add(f checks.Finding) {
	p.summary.add(f)
	count := p.counts[f.Check]
	if count == nil {
		count = &Count{Check: f.Check}
		p.counts[f.Check] = count
	}
	count.Add(f)
	if f.Exception != nil {
		p.accepted[*f.Exception]++
	}
	p.fleet.add(f)
	p.details.add(f)
	p.changes.add(f)
}

func (p *page) rotated(t Timeline) {
	p.fleet.uses(t)
	p.keys.add(t)
}

func (p *page) proved(one Proof) {
	p.proofs.add(one)
	p.keys.proved(one)
}

func (p *page) write(out io.Writer) error {
	b := bufio.NewWriterSize(out, 1<<16)
	err := layout().Execute(b, p.view())
	if err == nil {
		err = b.Flush()
	}
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// contentPolicy lets a browser use the style sheet with these bytes, and nothing else.
func contentPolicy(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}

// notRecorded stands where a fact is absent.
const notRecorded = "not recorded"

// stamp is a time for people.
func stamp(t time.Time) string {
	if t.IsZero() {
		return notRecorded
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

func dateOf(t time.Time) string {
	if t.IsZero() {
		return notRecorded
	}
	return t.UTC().Format(time.DateOnly)
}

// number groups the digits of a count.
func number(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// span is a duration in its two largest units.
func span(d time.Duration) string {
	days, hours, minutes := int(d/(24*time.Hour)), int(d/time.Hour)%24, int(d/time.Minute)%60
	switch {
	case days >= 10 || days > 0 && hours == 0:
		return plural(days, "day")
	case days > 0:
		return fmt.Sprintf("%s %d h", plural(days, "day"), hours)
	case hours > 0 && minutes == 0:
		return fmt.Sprintf("%d h", hours)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%d min", minutes)
	}
	return fmt.Sprintf("%d s", int(d/time.Second))
}

// shown is a text from outside: without what reorders it, and not too long.
func shown(s string) string { return cut(clean(s), 300) }

// short is a name of which the page has as many as there are clusters.
func short(s string) string { return cut(clean(s), 48) }

// cut leaves so many characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
