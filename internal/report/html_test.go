package report_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/version"
)

// page is a page that was written.
type page struct {
	t    *testing.T
	text string
	root *html.Node
}

func parsed(t *testing.T, text string, err error) page {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return page{t, text, root}
}

func onDemand(t *testing.T, run report.Run) page {
	t.Helper()
	var b bytes.Buffer
	err := report.New(run, version.Version{Version: "v1.2.3"}).HTML(&b)
	return parsed(t, b.String(), err)
}

func scheduledPage(t *testing.T, m report.Manifest, lines iter.Seq2[report.Line, error]) page {
	t.Helper()
	var b bytes.Buffer
	err := report.WritePage(&b, m, lines)
	return parsed(t, b.String(), err)
}

// linesOf are lines with the findings and timelines.
func linesOf(findings []checks.Finding, timelines ...report.Timeline) iter.Seq2[report.Line, error] {
	return func(yield func(report.Line, error) bool) {
		for i := range findings {
			if !yield(report.Line{Finding: &findings[i]}, nil) {
				return
			}
		}
		for i := range timelines {
			if !yield(report.Line{Timeline: &timelines[i]}, nil) {
				return
			}
		}
	}
}

func (p page) all(tag atom.Atom) (nodes []*html.Node) { return within(p.root, tag) }

func within(root *html.Node, tag atom.Atom) (nodes []*html.Node) {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.DataAtom == tag {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// words are the texts of a node, in order.
func words(n *html.Node) string {
	var parts []string
	for c := range n.Descendants() {
		if c.Type == html.TextNode && strings.TrimSpace(c.Data) != "" {
			parts = append(parts, strings.TrimSpace(c.Data))
		}
	}
	return strings.Join(parts, " ")
}

func (p page) section(id string) *html.Node {
	p.t.Helper()
	for _, n := range p.all(atom.Section) {
		if attribute(n, "id") == id {
			return n
		}
	}
	p.t.Fatalf("the page has no section %s", id)
	return nil
}

// says reports what is missing from a section.
func (p page) says(section string, parts ...string) {
	p.t.Helper()
	text := words(p.section(section))
	for _, part := range parts {
		if !strings.Contains(text, part) {
			p.t.Errorf("section %s does not say %q: %s", section, part, text[:min(len(text), 1500)])
		}
	}
}

// row is the row of a section's tables whose header begins with the name, cell by cell.
func (p page) row(section, name string) []string {
	p.t.Helper()
	for _, tr := range within(p.section(section), atom.Tr) {
		var cells []string
		for cell := range tr.ChildNodes() {
			cells = append(cells, words(cell))
		}
		if len(cells) > 0 && strings.HasPrefix(cells[0], name) {
			return cells
		}
	}
	p.t.Errorf("section %s has no row %s", section, name)
	return make([]string, 8)
}

// verdict is the state of the whole run.
func (p page) verdict() string {
	title := words(p.all(atom.Title)[0])
	for _, n := range within(p.section("summary"), atom.P) {
		if strings.HasPrefix(attribute(n, "class"), "verdict") && !strings.HasPrefix(words(n), "INCOMPLETE") {
			state, says, _ := strings.Cut(words(n), " ")
			if state == "NOT" {
				state, says = "NOT RECORDED", strings.TrimPrefix(says, "RECORDED ")
			}
			if !strings.Contains(title, says) {
				p.t.Errorf("the title %q does not say %q", title, says)
			}
			return state
		}
	}
	return ""
}

// pages are one of each kind.
func pages(t *testing.T) map[string]page {
	fleet := largeFleet{clusters: 45}
	first := fleet.manifest()
	first.Period.From, first.Exceptions, first.Denied, first.Chains, first.Files, first.PreviousSHA256 = time.Time{}, nil, nil, nil, nil, ""
	first.Complete, first.Incomplete = false, "it was given up"
	return map[string]page{
		"scheduled": scheduledPage(t, fleet.manifest(), fleet.lines()), "incomplete": scheduledPage(t, first, fleet.lines()),
		"on demand": onDemand(t, sample()), "empty": onDemand(t, report.Run{}), "nothing": scheduledPage(t, report.Manifest{}, linesOf(nil)),
	}
}

var outside = regexp.MustCompile(`(?i)<script|<iframe|<object|<embed|<img|<link|\son[a-z]+=|\sstyle=|\ssrc=|url\(|@import|https?:|//[a-z]`)

// local are links to a part of the page, to a file beside it in the archive, and to a record in the archive.
var local = regexp.MustCompile(`^(#[A-Za-z0-9-]+|\./[a-z0-9.-]+|\.\./\.\./(evidence|proofs)/[A-Za-z0-9-]+/[A-Za-z0-9-]+\.json)$`)

func TestPage_needs_nothing_but_itself(t *testing.T) {
	for name, p := range pages(t) {
		if found := outside.FindString(p.text); found != "" {
			t.Errorf("%s: the page has %q", name, found)
		}
		style, policy := p.all(atom.Style)[0].FirstChild.Data, ""
		for _, meta := range p.all(atom.Meta) {
			if attribute(meta, "http-equiv") == "Content-Security-Policy" {
				policy = attribute(meta, "content")
			}
		}
		sum := sha256.Sum256([]byte(style))
		want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		if !strings.HasPrefix(policy, want+";") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy is %q, want %q", name, policy, want)
		}
		for _, a := range p.all(atom.A) {
			if href := attribute(a, "href"); !local.MatchString(href) {
				t.Errorf("%s: a link to %q", name, href)
			}
		}
	}
}

// What a screen reader goes by: one title, headings without gaps, names for tables, cells, regions and pictures, and links that lead somewhere.
func TestPage_has_a_structure(t *testing.T) {
	headings := []atom.Atom{atom.H1, atom.H2, atom.H3, atom.H4, atom.H5}
	for name, p := range pages(t) {
		level, ids := 0, map[string]bool{}
		for n := range p.root.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			if i := slices.Index(headings, n.DataAtom); i >= 0 {
				if i > level || words(n) == "" {
					t.Errorf("%s: %s %q follows a heading of level %d", name, n.Data, words(n), level)
				}
				level = i + 1
			}
			if id := attribute(n, "id"); id != "" {
				if ids[id] {
					t.Errorf("%s: two elements are %s", name, id)
				}
				ids[id] = true
			}
			switch n.DataAtom {
			case atom.Table:
				if captions := within(n, atom.Caption); len(captions) != 1 || words(captions[0]) == "" {
					t.Errorf("%s: a table has no caption: %.80s", name, words(n))
				}
			case atom.Th:
				if scope := attribute(n, "scope"); scope != "row" && scope != "col" || words(n) == "" {
					t.Errorf("%s: header %q has the scope %q", name, words(n), scope)
				}
			case atom.Details:
				if summaries := within(n, atom.Summary); len(summaries) == 0 || words(summaries[0]) == "" {
					t.Errorf("%s: a fold has no summary", name)
				}
			case atom.Svg:
				if attribute(n, "aria-hidden") == "true" {
					break
				}
				if attribute(n, "role") != "img" || n.FirstChild == nil || n.FirstChild.Data != "title" || words(n.FirstChild) == "" {
					t.Errorf("%s: a picture has no title", name)
				}
			}
		}
		for n := range p.root.Descendants() {
			for _, key := range []string{"aria-labelledby", "href"} {
				if to, inside := strings.CutPrefix(attribute(n, key), "#"); (inside || key != "href") && to != "" && !ids[to] {
					t.Errorf("%s: %s leads to %s, which is nowhere", name, key, to)
				}
			}
		}
		for _, landmark := range []atom.Atom{atom.H1, atom.Header, atom.Nav, atom.Main, atom.Footer, atom.Title} {
			if len(p.all(landmark)) != 1 && landmark != atom.Title {
				t.Errorf("%s: %d elements %s", name, len(p.all(landmark)), landmark)
			}
		}
		if lang := attribute(p.all(atom.Html)[0], "lang"); lang != "en" {
			t.Errorf("%s: the language is %q", name, lang)
		}
		if first := p.all(atom.A)[0]; attribute(first, "class") != "skip" {
			t.Errorf("%s: the first link is %q", name, words(first))
		}
	}
}

func TestPage_of_the_same_run_is_the_same(t *testing.T) {
	fleet := largeFleet{clusters: 120}
	m := fleet.manifest()
	once := scheduledPage(t, m, fleet.lines()).text
	var lines []report.Line
	for l := range fleet.lines() {
		lines = append(lines, l)
	}
	for range 3 {
		rand.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		again := scheduledPage(t, m, func(yield func(report.Line, error) bool) {
			for _, l := range lines {
				if !yield(l, nil) {
					return
				}
			}
		}).text
		if again != once {
			t.Fatal("the same lines in another order give another page")
		}
	}
	m.Files = append(m.Files, report.File{Name: report.Folder(m.ChainStart, m.Run) + "report.html", SHA256: hex64(9)})
	if scheduledPage(t, m, fleet.lines()).text != once {
		t.Error("the page is another one once the manifest names it")
	}
	if a, b := onDemand(t, sample()).text, onDemand(t, sample()).text; a != b {
		t.Error("the same report gives another page")
	}
}

func TestPage_shows_names_from_outside_as_text(t *testing.T) {
	p := onDemand(t, sample())
	if len(p.all(atom.B)) == 0 || strings.Contains(p.text, "<b>&") || strings.ContainsAny(p.text, "\x1b\x07\u202e") {
		t.Error("a name is not text")
	}
	if !strings.Contains(words(p.section("fleet")), "=HYPERLINK") {
		t.Error("the name is not shown")
	}
}

func TestPage_ends_with_the_error_of_its_lines(t *testing.T) {
	broken := errors.New("part is another one")
	var b bytes.Buffer
	err := report.WritePage(&b, largeFleet{}.manifest(), func(yield func(report.Line, error) bool) { yield(report.Line{}, broken) })
	if !errors.Is(err, broken) || b.Len() > 0 {
		t.Errorf("%v after %d bytes", err, b.Len())
	}
	full := errors.New("disk is full")
	if err := sampleReport().HTML(failing{full}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A run is good only if everything was read and passed.
func TestPage_verdict(t *testing.T) {
	ok := finding("CMEK-01", checks.Pass, alert.None, cluster("a"), "fine")
	bad := finding("CMEK-01", checks.Fail, alert.High, cluster("a"), "bad")
	accepted := bad
	accepted.Exception = &exception
	unread := finding("CMEK-01", checks.Error, alert.High, cluster("a"), "denied")
	senseless := finding("CMEK-17", checks.NotApplicable, alert.None, cluster("a"), "no")
	missing := report.Population{Listed: 2, Checked: 1, Unread: []report.Cluster{{ID: "2", Why: "denied"}}}
	for _, c := range []struct {
		name       string
		findings   []checks.Finding
		population report.Population
		incomplete bool
		want       string
	}{
		{"all passed", []checks.Finding{ok, senseless}, report.Population{}, false, "PASS"},
		{"a failure", []checks.Finding{ok, bad, unread}, missing, true, "FAIL"},
		{"an error", []checks.Finding{ok, unread, accepted}, report.Population{}, false, "ERROR"},
		{"a cluster not read", []checks.Finding{ok}, missing, false, "ERROR"},
		{"a cluster not read and not named", []checks.Finding{ok}, report.Population{UnreadMore: 1}, false, "ERROR"},
		{"not complete", []checks.Finding{ok}, report.Population{}, true, "ERROR"},
		{"an accepted failure", []checks.Finding{ok, accepted}, report.Population{}, false, "ACCEPTED"},
		{"nothing applies", []checks.Finding{senseless}, report.Population{}, false, "NOT RECORDED"},
		{"nothing", nil, report.Population{}, false, "NOT RECORDED"},
	} {
		m := report.Manifest{Complete: !c.incomplete, Population: c.population}
		p := scheduledPage(t, m, linesOf(c.findings))
		if got := p.verdict(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if got := strings.Contains(words(p.section("summary")), "INCOMPLETE"); got != c.incomplete {
			t.Errorf("%s: says that it is incomplete: %t", c.name, got)
		}
		if !c.incomplete {
			if got := onDemand(t, report.Run{Findings: c.findings, Population: c.population}).verdict(); got != c.want {
				t.Errorf("%s, on demand: %s, want %s", c.name, got, c.want)
			}
		}
	}
}

func TestPage_calls_absent_facts_not_recorded(t *testing.T) {
	p := onDemand(t, report.Run{})
	for _, section := range []string{"fleet", "rotations", "changes", "evidence"} {
		p.says(section, "Not recorded")
	}
	p.says("summary", "No check has a result.", "Without a result in this run: CMEK-01")
	p = onDemand(t, sample())
	p.says("findings", "CMEK-05", "not recorded") // since when
	p.says("exceptions", "only the exceptions that accept a failure")
	p = scheduledPage(t, report.Manifest{Complete: true, Population: report.Population{Listed: 3, Checked: 1}}, linesOf(nil))
	p.says("population", "do not add up")
	p.says("changes", "first complete run of its chain")
	p.says("evidence", "Caller not recorded", "Not recorded: the ledger has no chain of evidence")
	incomplete := report.Manifest{Period: report.Period{From: noon}}
	scheduledPage(t, incomplete, linesOf(nil)).says("changes", "not complete")
}

const (
	theKey  = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
	theUser = cmek.Principal("arn:aws:iam::111122223333:role/crl")
)

// A region stands as the worst of itself, its key and the key's users, and never passes without a known key.
func TestPage_matrix(t *testing.T) {
	region := cluster("orders")
	region.Kind, region.ID, region.Region = checks.RegionSubject, region.ID+"/us-east-1", "us-east-1"
	key := checks.Subject{Kind: checks.KeySubject, ID: string(theKey), Key: theKey, Cloud: checks.AWS}
	access, user, account := key, checks.Subject{Kind: checks.PrincipalSubject, ID: string(theUser), Principal: theUser}, checks.Subject{Kind: checks.AccountSubject, ID: "1"}
	access.Kind, access.Principal = checks.AccessSubject, theUser
	passes := []checks.Finding{
		finding("CMEK-01", checks.Pass, alert.None, cluster("orders"), "y"), finding("CMEK-02", checks.Pass, alert.None, region, "y"),
		finding("CMEK-05", checks.Pass, alert.None, key, "y"), finding("CMEK-12", checks.Pass, alert.None, access, "y"),
	}
	uses := report.Timeline{Key: theKey, Regions: []report.TimelineRegion{{Cluster: "id-of-orders", Region: "us-east-1"}}}
	elsewhere := report.Timeline{Key: theKey + "f", Regions: uses.Regions[:0]}
	for _, c := range []struct {
		name     string
		finding  checks.Finding
		timeline report.Timeline
		whole    string
		region   string
	}{
		{"all pass", passes[0], uses, "PASS", "PASS"},
		{"the key is not known", passes[0], elsewhere, "PASS", "NOT RECORDED"},
		{"the cluster fails", finding("CMEK-01", checks.Fail, alert.High, cluster("orders"), "n"), uses, "FAIL 01", "PASS"},
		{"the region fails", finding("CMEK-04", checks.Fail, alert.High, region, "n"), uses, "PASS", "FAIL 04"},
		{"the key fails", finding("CMEK-06", checks.Fail, alert.High, key, "n"), uses, "PASS", "FAIL 06"},
		{"another key fails", finding("CMEK-06", checks.Fail, alert.High, checks.Subject{Kind: checks.KeySubject, ID: "x", Key: theKey + "f"}, "n"), uses, "PASS", "PASS"},
		{"an access is not read", finding("CMEK-12", checks.Error, alert.High, access, "n"), uses, "PASS", "ERROR 12"},
		{"the user fails", finding("CMEK-16", checks.Fail, alert.High, user, "n"), uses, "PASS", "FAIL 16"},
		{"the account fails", finding("CMEK-26", checks.Fail, alert.High, account, "n"), uses, "PASS", "PASS"},
	} {
		p := scheduledPage(t, report.Manifest{Complete: true}, linesOf(append(slices.Clone(passes), c.finding), c.timeline))
		if row := p.row("fleet", "orders"); row[1] != c.whole || row[2] != c.region {
			t.Errorf("%s: %q, want %q and %q", c.name, row, c.whole, c.region)
		}
	}
	unread := report.Population{Listed: 2, Unread: []report.Cluster{{ID: "id-of-orders", Name: "orders"}, {ID: "2", Name: "lost"}}}
	p := scheduledPage(t, report.Manifest{Population: unread}, linesOf(passes, uses))
	for _, name := range []string{"orders", "lost"} {
		if row := p.row("fleet", name); row[1] != "ERROR" {
			t.Errorf("a cluster that was not read: %q", row)
		}
	}
}

func TestPage_cell_names_few_checks(t *testing.T) {
	var findings []checks.Finding
	for _, check := range []string{"CMEK-02", "CMEK-01", "CMEK-03", "CMEK-05", "CMEK-06"} {
		findings = append(findings, finding(check, checks.Fail, alert.High, cluster("orders"), "n"))
	}
	findings = append(findings, finding("CMEK-07", checks.Error, alert.High, cluster("orders"), "n"))
	p := onDemand(t, report.Run{Findings: findings})
	if row := p.row("fleet", "orders"); row[1] != "FAIL 01, 02, 03 +2" {
		t.Errorf("%q", row)
	}
}

func TestPage_lag_and_age(t *testing.T) {
	v := func(n int) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: fmt.Sprint(n)} }
	began := noon.Add(-100 * 24 * time.Hour)
	in := func(version cmek.KeyVersion, at time.Time) report.TimelineRegion {
		return report.TimelineRegion{Cluster: "c", Name: "orders", Region: "us-east-1", Version: version, At: at}
	}
	adopted := func(r report.TimelineRegion) report.TimelineRegion {
		r.Adopted = "updated after the rotation"
		return r
	}
	current := report.TimelineVersion{Version: v(2), Since: began}
	for _, c := range []struct {
		name     string
		timeline report.Timeline
		says     string
		age      string
	}{
		{"followed", report.Timeline{CryptoperiodDays: 365, Current: current, Regions: []report.TimelineRegion{in(v(2), began.Add(90*time.Minute)), in(v(2), began.Add(time.Minute))}}, "FOLLOWED 2 regions, lag 1 h 30 min", "100 of 365 days"},
		{"at the same moment", report.Timeline{CryptoperiodDays: 100, Current: current, Regions: []report.TimelineRegion{in(v(2), began)}}, "FOLLOWED 1 region, lag 0 s", "100 of 100 days"},
		{"a day over", report.Timeline{CryptoperiodDays: 99, Current: current, Regions: []report.TimelineRegion{in(v(2), began)}}, "FOLLOWED 1 region, lag 0 s", "OVER 100 of 99 days"},
		{"one waits", report.Timeline{Current: current, Regions: []report.TimelineRegion{in(v(2), began), in(v(1), began)}}, "WAITING 1 of 2 regions, lag more than 100 days", "100 days period not declared"},
		{"one waits, and nobody knows since when", report.Timeline{Current: report.TimelineVersion{Version: v(2)}, Regions: []report.TimelineRegion{in(v(1), began)}}, "WAITING 1 of 1 region, lag not recorded", "not recorded period not declared"},
		{"one is not recorded", report.Timeline{Current: current, Regions: []report.TimelineRegion{in(v(2), began), in(cmek.KeyVersion{}, time.Time{})}}, "NOT RECORDED 1 of 2 regions", "100 days"},
		{"the version is not known", report.Timeline{Current: report.TimelineVersion{Since: began}, Regions: []report.TimelineRegion{in(v(2), began)}}, "NOT RECORDED 1 of 1 region", "100 days"},
		{"one time is not known", report.Timeline{Current: current, Regions: []report.TimelineRegion{in(v(2), began), in(v(2), time.Time{})}}, "FOLLOWED 2 regions, lag not recorded", "100 days"},
		{"one was found up to date", report.Timeline{Current: current, Regions: []report.TimelineRegion{in(v(2), began.Add(time.Hour)), adopted(in(v(2), began.Add(90*24*time.Hour)))}}, "FOLLOWED 2 regions, lag not recorded", "100 days"},
		{"before the rotation", report.Timeline{Current: current, Regions: []report.TimelineRegion{in(v(2), began.Add(-time.Second))}}, "FOLLOWED 1 region, lag not recorded", "100 days"},
		{"in the future", report.Timeline{CryptoperiodDays: 9, Current: report.TimelineVersion{Version: v(2), Since: noon.Add(time.Hour)}, Regions: []report.TimelineRegion{in(v(2), noon.Add(2*time.Hour))}}, "FOLLOWED 1 region, lag 1 h", "not recorded of 9 days"},
		{"not read", report.Timeline{CryptoperiodDays: 9, Unread: "access denied", Current: current, Regions: []report.TimelineRegion{in(v(2), began)}}, "NOT READ access denied Rotated not recorded", "not recorded of 9 days"},
		{"not in use", report.Timeline{Current: current}, "NOT IN USE no region uses it", "100 days"},
	} {
		c.timeline.Key = theKey
		p := onDemand(t, report.Run{Ended: noon, Timelines: []report.Timeline{c.timeline}})
		row := p.row("rotations", theKey.ID())
		if !strings.HasPrefix(row[1], c.says) || !strings.HasPrefix(row[3], c.age) {
			t.Errorf("%s: %q and %q, want %q and %q", c.name, row[1], row[3], c.says, c.age)
		}
	}
}

// Everything that the picture shows is in the table beside it.
func TestPage_timeline_has_a_table(t *testing.T) {
	fleet := largeFleet{clusters: 8}
	p := scheduledPage(t, fleet.manifest(), fleet.lines())
	marks, rows := 0, 0
	for _, svg := range within(p.section("rotations"), atom.Svg) {
		for n := range svg.Descendants() {
			if class := attribute(n, "class"); n.Data == "circle" || n.Data == "path" && (class == "rot" || class == "old") {
				marks++
			}
		}
	}
	for _, tr := range within(p.section("rotations"), atom.Tr) {
		if text := words(tr); strings.HasPrefix(text, "Rotation key") || strings.HasPrefix(text, "Re-encryption key") || strings.HasPrefix(text, "Found up to date key") || strings.HasPrefix(text, "Use of an old version key") {
			rows++
		}
	}
	if marks == 0 || rows != marks {
		t.Errorf("%d marks and %d rows", marks, rows)
	}
}

func TestPage_changes(t *testing.T) {
	was := func(f checks.Finding, was checks.Result) checks.Finding {
		f.Was, f.Since = was, noon
		return f
	}
	fresh := finding("CMEK-08", checks.Fail, alert.Medium, key("a"), "off")
	fresh.New = true
	newPass := finding("CMEK-10", checks.Pass, alert.None, key("b"), "young")
	newPass.New = true
	findings := []checks.Finding{
		was(finding("CMEK-01", checks.Fail, alert.High, cluster("worse"), "n"), checks.Pass), was(finding("CMEK-01", checks.Pass, alert.None, cluster("better"), "y"), checks.Fail),
		was(finding("CMEK-01", checks.Error, alert.High, cluster("unclear"), "?"), checks.Pass), finding("CMEK-01", checks.Fail, alert.High, cluster("same"), "n"), fresh, newPass,
	}
	m := report.Manifest{Complete: true, Period: report.Period{From: noon.Add(-24 * time.Hour), Ended: noon}}
	p := scheduledPage(t, m, linesOf(findings))
	p.says("changes", "4 changes", "1 PASS → FAIL", "1 FAIL → PASS", "1 PASS → ERROR", "1 not checked → FAIL")
	for name, want := range map[string][]string{"worse": {"PASS", "FAIL"}, "better": {"FAIL", "PASS"}, "unclear": {"PASS", "ERROR"}, "arn": {"not checked", "FAIL"}} {
		if row := p.row("changes", name); row[2] != want[0] || row[3] != want[1] {
			t.Errorf("%s: %q", name, row)
		}
	}
	if strings.Contains(words(p.section("changes")), "same") {
		t.Error("what is the same is a change")
	}
	if row := p.row("findings", "same"); row[2] != "FAIL" {
		t.Errorf("what is the same was %q", row[2])
	}
	if row := onDemand(t, report.Run{Findings: findings[3:4]}).row("findings", "same"); row[2] != "not recorded" {
		t.Errorf("on demand it was %q", row[2])
	}
}

// The most urgent findings are shown, whenever they come, and the rest is counted.
func TestPage_shows_the_most_urgent_findings(t *testing.T) {
	var findings []checks.Finding
	for i := range 5200 {
		f := finding("CMEK-08", checks.Fail, alert.Medium, key(fmt.Sprintf("%04d", i)), "off")
		if i%700 == 699 {
			f = finding("CMEK-05", checks.Fail, alert.Critical, key(fmt.Sprintf("%04d", i)), "disabled")
		}
		findings = append(findings, f)
	}
	p := onDemand(t, report.Run{Findings: findings})
	p.says("findings", "2,000 most urgent of 5,200", "3,200 more findings of CMEK-08")
	count := map[string]int{}
	for _, article := range p.all(atom.Article) {
		count[attribute(article, "id")] = len(within(article, atom.Tr)) - len(within(article, atom.Table))
	}
	if count["CMEK-05"] != 7 || count["CMEK-08"] != 1993 {
		t.Errorf("%v", count)
	}
	p = onDemand(t, report.Run{Findings: findings[:1999]})
	p.says("findings", "All 1,999")
}

func TestPage_links_to_the_files_of_the_run(t *testing.T) {
	m := largeFleet{clusters: 3}.manifest()
	m.Files = append(m.Files, report.File{Name: "elsewhere/part-0001.jsonl", SHA256: hex64(5)})
	p := scheduledPage(t, m, linesOf(nil))
	links := map[string]bool{}
	for _, a := range within(p.section("evidence"), atom.A) {
		links[attribute(a, "href")] = true
	}
	for _, want := range []string{"./manifest.json", "./part-0001.jsonl", "./part-0003.csv"} {
		if !links[want] {
			t.Errorf("no link to %s: %v", want, links)
		}
	}
	if len(links) != 7 {
		t.Errorf("%v", links)
	}
	p.says("evidence", report.Folder(m.ChainStart, m.Run), hex64(7), hex64(1), "elsewhere/part-0001.jsonl", "assumed-role/keyturn-compliance/run", clusterID(2), "kms:ListGrants in the key policy")
	p.says("exceptions", "the replica moves in January", "EXPIRED")
}

// A page stays small whatever the fleet looks like: 4 MB, of which memory holds a few hundred bytes a cluster and key.
func TestPage_of_a_large_fleet_is_small(t *testing.T) {
	for name, fleet := range map[string]largeFleet{"usual": {clusters: 10_000}, "all fail": {clusters: 10_000, allFail: true}} {
		out := &measured{}
		runtime.GC()
		out.sample()
		before := out.heap
		if err := report.WritePage(out, fleet.manifest(), out.watching(fleet.lines())); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d KiB, %d writes, heap grows by %d KiB", name, out.bytes>>10, out.writes, (out.heap-before)>>10)
		if out.bytes > 4<<20 || out.bytes < 1<<20 {
			t.Errorf("%s: the page has %d bytes", name, out.bytes)
		}
		if out.writes < 10 {
			t.Errorf("%s: the page is written in %d pieces", name, out.writes)
		}
		if grown := int64(out.heap) - int64(before); grown > 80<<20 {
			t.Errorf("%s: it takes %d bytes of memory", name, grown)
		}
	}
}

// measured counts what is written, and keeps the largest heap.
type measured struct {
	bytes, writes, lines int
	heap                 uint64
}

func (m *measured) Write(data []byte) (int, error) {
	m.bytes, m.writes = m.bytes+len(data), m.writes+1
	return len(data), nil
}

func (m *measured) sample() {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.heap = max(m.heap, s.HeapAlloc)
}

// watching measures what is alive after some thousand lines each.
func (m *measured) watching(lines iter.Seq2[report.Line, error]) iter.Seq2[report.Line, error] {
	return func(yield func(report.Line, error) bool) {
		for l, err := range lines {
			if m.lines++; m.lines%50_000 == 0 {
				runtime.GC()
				m.sample()
			}
			if !yield(l, err) {
				return
			}
		}
		runtime.GC()
		m.sample()
	}
}

// Texts of any length fit.
func TestPage_with_long_texts_is_small(t *testing.T) {
	long := strings.Repeat("<&\"'日", 400)
	fleet := largeFleet{clusters: 1500, allFail: true}
	p := scheduledPage(t, fleet.manifest(), func(yield func(report.Line, error) bool) {
		for l := range fleet.lines() {
			if f := l.Finding; f != nil {
				f.Why, f.Fix, f.Subject.ClusterName = f.Subject.ID+long, slices.Repeat([]string{long}, 20), long
			}
			if !yield(l, nil) {
				return
			}
		}
	})
	if len(p.text) > 4<<20 {
		t.Errorf("the page has %d bytes", len(p.text))
	}
}

func TestArchived_page(t *testing.T) {
	archive, m := &cmektest.Archive{}, largeFleet{clusters: 2}.manifest()
	var lines bytes.Buffer
	for l := range (largeFleet{clusters: 2}).lines() {
		fmt.Fprintf(&lines, "%s\n", encoded(t, l))
	}
	m.Files = m.Files[:1]
	m.Files[0].SHA256, m.Files[0].Bytes = fmt.Sprintf("%x", sha256.Sum256(lines.Bytes())), lines.Len()
	data, err := m.Encode()
	if err == nil {
		err = errors.Join(archive.PutIfAbsent(t.Context(), m.Files[0].Name, lines.Bytes()), archive.PutIfAbsent(t.Context(), report.ManifestName(m.ChainStart, m.Run), data))
	}
	if err != nil {
		t.Fatal(err)
	}
	run, err := report.Load(t.Context(), archive, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := run.HTML(context.Background(), &b); err != nil || b.String() != scheduledPage(t, m, largeFleet{clusters: 2}.lines()).text {
		t.Errorf("the page of the archive is another one (%v)", err)
	}
	run.Manifest.Files[0].SHA256 = hex64(1)
	if err := run.HTML(t.Context(), &b); err == nil || !strings.Contains(err.Error(), m.Files[0].Name) {
		t.Errorf("a part that was altered: %v", err)
	}
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
