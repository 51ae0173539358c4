package report

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
)

// mostDetails is how many findings are shown in detail, the most urgent first, in mostDetailBytes at most, of which fixes and evidence
// leave half to what comes after them.
const (
	mostDetails     = 2000
	mostDetailBytes = 1_800_000
	mostReadings    = 8
	mostChanges     = 200
)

// budget is how many bytes are left for findings.
type budget int

// spend takes what texts and the markup around them need.
func (b *budget) spend(markup int, texts ...string) {
	for _, s := range texts {
		markup += len(template.HTMLEscapeString(s))
	}
	*b -= budget(markup)
}

func (b budget) scarce() bool { return b < mostDetailBytes/2 }

// details keeps the most urgent findings that have something to say, and counts all.
type details struct {
	kept       []checks.Finding
	all, shown int
}

func (d *details) add(f checks.Finding) {
	if f.Result == checks.Pass || f.Result == checks.NotApplicable {
		return
	}
	d.all++
	d.kept = append(d.kept, f)
	if len(d.kept) >= 2*mostDetails {
		d.shorten()
	}
}

func (d *details) shorten() {
	slices.SortStableFunc(d.kept, func(a, b checks.Finding) int {
		return cmp.Or(cmp.Compare(stateOf(a), stateOf(b)), severityOrder(a.Severity, b.Severity), cmp.Compare(a.Check, b.Check), cmp.Compare(a.Subject.ID, b.Subject.ID))
	})
	if len(d.kept) > mostDetails {
		clear(d.kept[mostDetails:])
		d.kept = d.kept[:mostDetails]
	}
}

// checkView is a check with its findings in detail.
type checkView struct {
	Check
	Count
	Worst    state
	Severity alert.Severity
	Groups   []*groupView
	// Missing counts the findings that are not shown.
	Missing int
}

// groupView are findings of a check that say the same.
type groupView struct {
	State       state
	Severity    alert.Severity
	Why, Notice string
	Exception   string
	Grants      []string
	MoreGrants  int
	Fix         []stepView
	// MoreSteps counts the steps that are not shown. First names the subject that Fix is about, where there are more than one.
	MoreSteps int
	First     string
	Readings  []readingView
	MoreReads int
	Subjects  []subjectView
}

// subjectView has in ID what names the subject more exactly, or the clusters that use a key. Long: the name is a URI.
type subjectView struct {
	Name, ID, Since, Before, Read, Incident string
	Long                                    bool
}

// stepView is a step of a fix: a command, or prose.
type stepView struct {
	Text  string
	Prose bool
}

type readingView struct{ Need, Source, Read string }

// findings groups the findings by check, the most urgent first.
func (p *page) findings() (views []*checkView) {
	p.details.shorten()
	type id struct {
		check, why, notice, exception string
		state                         state
		severity                      alert.Severity
	}
	checkViews, groups := map[string]*checkView{}, map[id]*groupView{}
	left := budget(mostDetailBytes)
	for _, f := range p.details.kept {
		if left < 0 {
			break
		}
		p.details.shown++
		view := checkViews[f.Check]
		if view == nil {
			view = viewOf(f, p.counts[f.Check])
			checkViews[f.Check] = view
			views = append(views, view)
		}
		view.Missing--
		key := id{f.Check, f.Why, f.Notice, exceptionText(f.Exception), stateOf(f), f.Severity}
		g := groups[key]
		if g == nil {
			g = groupOf(f, &left)
			groups[key] = g
			view.Groups = append(view.Groups, g)
		} else if g.First == "" {
			g.First = g.Subjects[0].Name
		}
		subject := p.subject(f)
		left.spend(150, subject.Name, subject.ID, subject.Incident)
		g.Subjects = append(g.Subjects, subject)
	}
	return views
}

func viewOf(f checks.Finding, count *Count) *checkView {
	c, _ := checks.Of(f.Check)
	return &checkView{
		Check: Check{f.Check, shown(f.Title), c.Clause, c.Citations}, Count: *count, Worst: stateOf(f), Severity: f.Severity,
		Missing: count.Fail + count.Accepted + count.Error,
	}
}

func groupOf(f checks.Finding, left *budget) *groupView {
	g := &groupView{State: stateOf(f), Severity: f.Severity, Why: shown(f.Why), Notice: shown(f.Notice), Exception: exceptionText(f.Exception)}
	left.spend(700, g.Why, g.Notice, g.Exception)
	for i, step := range f.Fix {
		if left.scarce() || i == mostSteps {
			g.MoreSteps = len(f.Fix) - i
			break
		}
		step = shown(step)
		left.spend(30, step)
		g.Fix = append(g.Fix, stepView{step, strings.HasSuffix(step, ":") || strings.HasSuffix(step, ".")})
	}
	for i, grant := range f.Grants {
		if left.scarce() || i == mostSteps {
			g.MoreGrants = len(f.Grants) - i
			break
		}
		grant = shown(grant)
		left.spend(20, grant)
		g.Grants = append(g.Grants, grant)
	}
	for i, e := range f.Evidence {
		if left.scarce() || i == mostReadings {
			g.MoreReads = len(f.Evidence) - i
			break
		}
		r := readingOf(e)
		left.spend(20, r.Need, r.Source, r.Read)
		g.Readings = append(g.Readings, r)
	}
	return g
}

func exceptionText(x *checks.Exception) string {
	if x == nil {
		return ""
	}
	return shown(fmt.Sprintf("Accepted by %s for %s until %s: %s", x.Approver, x.Owner, dateOf(x.Expires), x.Reason))
}

func readingOf(e checks.Evidence) readingView {
	r := readingView{Need: shown(e.Need), Source: cmp.Or(shown(e.Source), notRecorded), Read: stamp(e.ReadAt)}
	if e.Of != "" {
		r.Need += " of " + shown(e.Of)
	}
	if e.Unread != "" {
		r.Read = "not read: " + shown(e.Unread)
	}
	return r
}

// subject is that of a finding. Where runs are compared, a finding that does not say what it was before was the same.
func (p *page) subject(f checks.Finding) subjectView {
	s := subjectView{
		Name: shown(Name(f.Subject)), Since: stamp(f.Since), Before: notRecorded, Read: stamp(oldest(f.Evidence)), Incident: shown(f.Incident),
		Long: f.Subject.ClusterName == "",
	}
	if id := shown(f.Subject.ID); id != s.Name {
		s.ID = id
	}
	if users := p.fleet.usersOf(f.Subject.Key); users != "" {
		s.ID = "used by " + users
	}
	switch {
	case f.New:
		s.Before = notChecked
	case f.Was != "":
		s.Before = string(f.Was)
	case p.uncompared() == "":
		s.Before = string(f.Result)
	}
	return s
}

// notChecked stands for the result of a check that the run before did not make.
const notChecked = "not checked"

// oldest is the time of the oldest reading; zero if one was not read.
func oldest(evidence []checks.Evidence) (at time.Time) {
	for i, e := range evidence {
		if e.ReadAt.IsZero() {
			return time.Time{}
		}
		if i == 0 || e.ReadAt.Before(at) {
			at = e.ReadAt
		}
	}
	return at
}

// changes keeps the first of the findings whose result is another one than in the run before.
type changes struct {
	kept   []changeView
	counts map[[2]string]int
	all    int
}

type changeView struct {
	Check, Subject, Before string
	Now                    state
	Since                  string
	id                     string
}

func (c *changes) add(f checks.Finding) {
	is := stateOf(f)
	if f.Was == "" && (!f.New || !is.attention()) {
		return
	}
	view := changeView{f.Check, shown(Name(f.Subject)), string(f.Was), is, stamp(f.Since), f.Subject.ID}
	if f.New {
		view.Before = notChecked
	}
	c.all++
	c.counts[[2]string{view.Before, is.Word()}]++
	c.kept = append(c.kept, view)
	if len(c.kept) >= 2*mostChanges {
		c.shorten()
	}
}

func (c *changes) shorten() {
	slices.SortStableFunc(c.kept, func(a, b changeView) int {
		return cmp.Or(cmp.Compare(a.Now, b.Now), cmp.Compare(a.Check, b.Check), cmp.Compare(a.id, b.id))
	})
	c.kept = c.kept[:min(len(c.kept), mostChanges)]
}
