package report

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
)

// mostListed bounds lists that are as long as the fleet.
const mostListed = 200

// pageView is what the template shows.
type pageView struct {
	Policy string
	Style  template.CSS
	Title  string

	Verdict    state
	Says       string
	Incomplete string
	Facts      []fact

	Results  int
	Tiles    []tile
	Segments []segment
	Counts   string
	Checks   []checkRow
	Total    Count
	// Silent are the checks of the catalog without a result.
	Silent []string

	Population populationView
	Matrices   []matrix
	// Absent counts the clusters of the population that the matrices do not show.
	Absent int
	Keys   keysView
	Proofs proofsView
	// SinceUnread is why it is not known since when the findings stand.
	SinceUnread string

	Findings       []*checkView
	Shown, Details int

	// Compared says why the run is compared with nothing; "" if it is.
	Compared    string
	Previous    string
	Changes     []changeView
	ChangeSums  []changeSum
	AllChanges  int
	MoreChanges string

	Exceptions    []exceptionView
	ExceptionNote string

	Scheduled bool
	Files     []fileView
	MoreFiles int
	Heads     []Head
	AllHeads  int
	Denied    []Denied
	Identity  []fact
	// FileName is that of the manifest, Folder where it is in the archive.
	FileName, Folder string
	Program          string
	Legend           []state
}

type fact struct{ Name, Value string }

type tile struct {
	State state
	Label string
	Count int
	Note  string
}

type segment struct {
	Class    string
	X, Width int
}

type checkRow struct {
	Check
	Count
	State state
	// Open reports whether findings of the check are shown below.
	Open bool
}

type populationView struct {
	Population
	Missing                      int
	Adds                         bool
	OutOfScope, Unread           []Cluster
	MoreOut, MoreUnread, OutOfIt int
}

type changeSum struct {
	Before, Now string
	Count       int
}

type exceptionView struct {
	checks.Exception
	Until   string
	Accepts int
	Past    bool
}

type fileView struct {
	File
	Link string
}

func (p *page) view() *pageView {
	v := &pageView{
		Policy: contentPolicy(pageStyle), Style: template.CSS(pageStyle), Title: "CMEK compliance", //nolint:gosec // embedded, nothing from outside
		Matrices: p.fleet.matrices(p.population.Unread), Keys: p.keys.view(), Proofs: p.proofs.view(), SinceUnread: shown(p.sinceUnread), Scheduled: p.manifest != nil, Program: p.program(),
		Legend: []state{failed, unanswered, excepted, unrecorded, passed, notApplicable},
	}
	p.viewResults(v)
	p.viewPopulation(v)
	p.viewFacts(v)
	p.viewChanges(v)
	p.viewExceptions(v)
	p.viewEvidence(v)
	v.Findings, v.Details = p.findings(), p.details.all
	v.Shown = p.details.shown
	v.Verdict, v.Says = p.verdict()
	return v
}

// verdict is the run in one sentence. It is good only if everything was read.
func (p *page) verdict() (state, string) {
	s, missing := p.summary, p.population.Missing()
	var unread []string
	if s.Error > 0 {
		unread = append(unread, plural(s.Error, "check")+" without an answer")
	}
	if missing > 0 {
		unread = append(unread, plural(missing, "cluster")+" not read")
	}
	switch {
	case s.Fail > 0:
		return failed, strings.Join(append([]string{plural(s.Fail, "open failure") + severities(s)}, unread...), ", ")
	case len(unread) > 0:
		return unanswered, "No failure was found, but not everything could be read: " + strings.Join(unread, ", ")
	case p.manifest != nil && !p.manifest.Complete:
		return unanswered, "No failure was found in the part of the fleet that was checked"
	case s.Pass == 0 && s.Accepted == 0:
		return unrecorded, "Nothing was checked that could pass or fail"
	case s.Accepted > 0:
		return excepted, plural(s.Accepted, "failure") + " accepted by exceptions; every other check that applies passed"
	}
	return passed, "Every check that applies passed"
}

func (p *page) viewFacts(v *pageView) {
	m, checked := p.manifest, stamp(p.began)+" to "+stamp(p.ended)
	if m == nil {
		v.Facts = []fact{{"Run", "on demand"}, {"Checked", checked}, {"Program", p.program()}}
		return
	}
	if !m.Complete {
		v.Incomplete = cmp.Or(shown(m.Incomplete), "it does not say why")
	}
	v.Facts = []fact{
		{"Organization", cmp.Or(shown(m.Organization), notRecorded)}, {"Run", number(m.Run)}, {"Checked", checked},
		{"Period", cmp.Or(since(m.Period.From), "first run of its chain")}, {"Missed runs", number(m.MissedRuns)},
	}
	v.Identity = []fact{
		{"Caller", cmp.Or(shown(m.Caller), notRecorded)}, {"Accounts", cmp.Or(shown(strings.Join(m.Accounts, ", ")), notRecorded)}, {"Program", p.program()},
		{"Chain begun", stamp(m.ChainStart)}, {"Catalog SHA-256", cmp.Or(m.Catalog, notRecorded)}, {"Configuration SHA-256", cmp.Or(m.Configuration, notRecorded)},
		{"Previous manifest SHA-256", cmp.Or(m.PreviousSHA256, "none: first run of its chain")},
	}
}

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return "since " + stamp(t)
}

func (p *page) program() string {
	return strings.TrimSpace("keyturn " + cmp.Or(shown(p.version.Version), notRecorded) + " " + shown(p.version.Commit))
}

// segmentsWidth is the width of the bar of results, in units of the drawing.
const segmentsWidth = 1000

func (p *page) viewResults(v *pageView) {
	s := p.summary
	v.Results = s.Fail + s.Error + s.Accepted + s.Pass + s.NotApplicable
	v.Tiles = []tile{
		{failed, "Open failures", s.Fail, strings.Trim(severities(s), " ()")}, {unanswered, "Without an answer", s.Error, ""},
		{excepted, "Accepted", s.Accepted, ""}, {passed, "Passed", s.Pass, ""}, {notApplicable, "Not applicable", s.NotApplicable, ""},
	}
	x := 0
	var parts []string
	for _, t := range v.Tiles {
		if t.Count == 0 {
			continue
		}
		// What is rare stays visible.
		width := max(4, segmentsWidth*t.Count/v.Results)
		v.Segments = append(v.Segments, segment{t.State.Class(), x, width})
		x += width
		parts = append(parts, number(t.Count)+" "+strings.ToLower(t.Label))
	}
	if len(v.Segments) > 0 {
		last := &v.Segments[len(v.Segments)-1]
		last.Width = max(segmentsWidth-last.X, 1)
	}
	v.Counts = number(v.Results) + " results: " + strings.Join(parts, ", ")
	for _, c := range checks.Catalog() {
		if p.counts[c.ID] == nil {
			v.Silent = append(v.Silent, c.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.counts)) {
		count := p.counts[id]
		c, known := checks.Of(id)
		if !known {
			c.Clause = "The catalog of this program does not have the check."
		}
		row := checkRow{Check: Check{id, c.Title, c.Clause, c.Citations}, Count: *count, State: count.standing()}
		row.Open = row.State.attention()
		v.Checks = append(v.Checks, row)
	}
	v.Total = Count{Pass: s.Pass, Fail: s.Fail, Accepted: s.Accepted, NotApplicable: s.NotApplicable, Error: s.Error}
}

func (p *page) viewPopulation(v *pageView) {
	all := p.population
	v.Population = populationView{
		Population: all, Missing: all.Missing(), OutOfIt: len(all.OutOfScope),
		Adds: all.Listed == all.Checked+len(all.OutOfScope)+all.Missing(),
	}
	v.Population.OutOfScope, v.Population.MoreOut = listed(all.OutOfScope)
	v.Population.Unread, v.Population.MoreUnread = listed(all.Unread)
	v.Population.MoreUnread += all.UnreadMore
	inMatrix := 0
	for _, m := range v.Matrices {
		inMatrix += m.Clusters
	}
	v.Absent = max(0, all.Listed-len(all.OutOfScope)-inMatrix)
}

// listed are the first clusters of a list, and how many are left.
func listed(all []Cluster) (first []Cluster, more int) {
	for _, c := range all[:min(len(all), mostListed)] {
		first = append(first, Cluster{shown(c.ID), shown(c.Name), shown(c.Why)})
	}
	return first, len(all) - len(first)
}

// uncompared says why the run is compared with nothing, "" if it is compared with the one before.
func (p *page) uncompared() string {
	m := p.manifest
	switch {
	case m == nil:
		return "Not recorded: a run on demand is compared with nothing."
	case !m.Complete:
		return "Not recorded: a run that is not complete is compared with nothing."
	case m.Period.From.IsZero():
		return "This is the first complete run of its chain: there is nothing to compare it with."
	}
	return ""
}

func (p *page) viewChanges(v *pageView) {
	if v.Compared = p.uncompared(); v.Compared != "" {
		return
	}
	m := p.manifest
	p.changes.shorten()
	v.Changes, v.AllChanges, v.Previous = p.changes.kept, p.changes.all, stamp(m.Period.From)
	for _, key := range slices.SortedFunc(maps.Keys(p.changes.counts), func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }) {
		v.ChangeSums = append(v.ChangeSums, changeSum{key[0], key[1], p.changes.counts[key]})
	}
	var more []string
	for _, one := range []struct {
		count int
		what  string
	}{{m.Changes.Accepted, "newly accepted by an exception"}, {m.Changes.Unanswered, "without an answer twice in a row"}, {m.Changes.Mirrored, "reported by an open incident"}} {
		if one.count > 0 {
			more = append(more, number(one.count)+" "+one.what)
		}
	}
	v.MoreChanges = strings.Join(more, ", ")
}

func (p *page) viewExceptions(v *pageView) {
	add := func(x checks.Exception, accepts int) {
		past := !x.Expires.After(p.ended)
		x.Subject, x.Owner, x.Approver, x.Reason = shown(x.Subject), shown(x.Owner), shown(x.Approver), shown(x.Reason)
		v.Exceptions = append(v.Exceptions, exceptionView{x, dateOf(x.Expires), accepts, past})
	}
	if m := p.manifest; m != nil {
		for _, x := range m.Exceptions {
			add(x.Exception, x.Accepts)
		}
		return
	}
	v.ExceptionNote = "A run on demand records only the exceptions that accept a failure."
	for x, accepts := range p.accepted {
		add(x, accepts)
	}
	slices.SortFunc(v.Exceptions, func(a, b exceptionView) int {
		return cmp.Or(cmp.Compare(a.Check, b.Check), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Approver, b.Approver),
			a.Expires.Compare(b.Expires), cmp.Compare(a.Reason, b.Reason))
	})
}

func (p *page) viewEvidence(v *pageView) {
	m := p.manifest
	if m == nil {
		return
	}
	v.FileName = path.Base(ManifestName(m.ChainStart, m.Run))
	folder := Folder(m.ChainStart, m.Run)
	v.Folder = folder
	for _, f := range m.Files {
		// The page cannot name its own hash.
		if strings.HasSuffix(f.Name, ".html") {
			continue
		}
		if len(v.Files) == mostListed {
			v.MoreFiles++
			continue
		}
		view := fileView{File: File{shown(f.Name), f.SHA256, f.Bytes}}
		// The page is in the run's folder, and so is what it links to.
		if base, ok := strings.CutPrefix(f.Name, folder); ok && base == path.Base(f.Name) {
			view.Name, view.Link = shown(base), "./"+base
		}
		v.Files = append(v.Files, view)
	}
	v.AllHeads = len(m.Chains)
	v.Heads = m.Chains[:min(len(m.Chains), mostListed)]
	v.Denied = m.Denied
}

// Size is for people.
func (f File) Size() string {
	const kib = 1 << 10
	switch {
	case f.Bytes < kib:
		return fmt.Sprintf("%d B", f.Bytes)
	case f.Bytes < kib*kib:
		return fmt.Sprintf("%d KiB", f.Bytes/kib)
	}
	return fmt.Sprintf("%.1f MiB", float64(f.Bytes)/kib/kib)
}
