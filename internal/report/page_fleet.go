package report

import (
	"cmp"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
)

// state is how something stands, the worst first. The page shows each with a word, a color and a shape of its own.
type state uint8

const (
	none state = iota // nothing is said
	failed
	unanswered
	excepted
	unrecorded
	passed
	notApplicable
)

var states = [...]struct{ class, word string }{
	none: {"", ""}, failed: {"f", "FAIL"}, unanswered: {"e", "ERROR"}, excepted: {"a", "ACCEPTED"}, unrecorded: {"u", "NOT RECORDED"}, passed: {"p", "PASS"},
	notApplicable: {"n", "N/A"},
}

// Class is the state's name in the style sheet, Word its name for people.
func (s state) Class() string { return states[s].class }
func (s state) Word() string  { return states[s].word }

func (s state) attention() bool { return s != none && s < passed }

// worse is the worse of two states.
func worse(a, b state) state {
	if a == none || b != none && b < a {
		return b
	}
	return a
}

// standing is how so many results stand together: as the worst of them.
func (c Count) standing() state {
	switch {
	case c.Fail > 0:
		return failed
	case c.Error > 0:
		return unanswered
	case c.Accepted > 0:
		return excepted
	case c.Pass > 0:
		return passed
	}
	return notApplicable
}

func stateOf(f checks.Finding) state {
	switch {
	case f.Result == checks.Pass:
		return passed
	case f.Result == checks.NotApplicable:
		return notApplicable
	case f.Result == checks.Error:
		return unanswered
	case f.Exception != nil:
		return excepted
	}
	return failed
}

// numbers is the place of each check in the catalog.
var numbers = func() map[string]int {
	all := map[string]int{}
	for i, c := range checks.Catalog() {
		all[c.ID] = i
	}
	return all
}()

// mark is the worst of several findings, and which checks say so: a bit for the place of each in the catalog.
type mark struct {
	state  state
	checks uint64
}

func markOf(f checks.Finding) mark {
	m := mark{state: stateOf(f)}
	if number, known := numbers[f.Check]; known && m.state.attention() {
		m.checks = 1 << number
	}
	return m
}

// State is how it stands.
func (m mark) State() state { return m.state }

func (m mark) and(other mark) mark {
	switch {
	case m.state == other.state:
		m.checks |= other.checks
	case worse(m.state, other.state) == other.state:
		return other
	}
	return m
}

// Checks names the first checks that say so.
func (m mark) Checks() string {
	const most = 3
	var ids []string
	for i, c := range checks.Catalog() {
		if m.checks&(1<<i) != 0 && len(ids) < most {
			ids = append(ids, strings.TrimPrefix(c.ID, "CMEK-"))
		}
	}
	text := strings.Join(ids, ", ")
	if more := bits.OnesCount64(m.checks) - len(ids); more > 0 {
		text += fmt.Sprintf(" +%d", more)
	}
	return text
}

// First is the first check that says so, "" if none does.
func (m mark) First() string {
	if m.checks == 0 {
		return ""
	}
	return checks.Catalog()[bits.TrailingZeros64(m.checks)].ID
}

// fleet is the matrix of clusters and regions. A region stands as the worst of what is found about the region itself, about its keys, and
// about the principals that use them.
type fleet struct {
	clusters   map[string]*fleetCluster
	keys       map[cmek.KeyURI]mark
	principals map[cmek.Principal]mark
	users      map[cmek.KeyURI]map[cmek.Principal]bool
	places     map[cmek.KeyURI][]place // where a key is used
}

type place struct{ cluster, region string }

type fleetCluster struct {
	id, name, cloud string
	whole           mark
	regions         map[string]mark
	keyed           map[string]bool // regions whose key is known
}

func newFleet() fleet {
	return fleet{
		map[string]*fleetCluster{}, map[cmek.KeyURI]mark{}, map[cmek.Principal]mark{}, map[cmek.KeyURI]map[cmek.Principal]bool{}, map[cmek.KeyURI][]place{},
	}
}

func (f *fleet) cluster(id string) *fleetCluster {
	c := f.clusters[id]
	if c == nil {
		c = &fleetCluster{id: id, regions: map[string]mark{}, keyed: map[string]bool{}}
		f.clusters[id] = c
	}
	return c
}

func (f *fleet) add(one checks.Finding) {
	s, m := one.Subject, markOf(one)
	switch s.Kind {
	case checks.ClusterSubject, checks.RegionSubject:
		c := f.cluster(s.ClusterID)
		c.name, c.cloud = cmp.Or(c.name, s.ClusterName), cmp.Or(c.cloud, string(s.Cloud))
		if s.Kind == checks.ClusterSubject {
			c.whole = c.whole.and(m)
		} else {
			c.regions[s.Region] = c.regions[s.Region].and(m)
		}
	case checks.KeySubject:
		f.keys[s.Key] = f.keys[s.Key].and(m)
	case checks.AccessSubject:
		f.keys[s.Key] = f.keys[s.Key].and(m)
		if f.users[s.Key] == nil {
			f.users[s.Key] = map[cmek.Principal]bool{}
		}
		f.users[s.Key][s.Principal] = true
	case checks.PrincipalSubject:
		f.principals[s.Principal] = f.principals[s.Principal].and(m)
	case checks.AccountSubject, checks.CredentialSubject: // of no cluster
	}
}

// uses notes where a key is used.
func (f *fleet) uses(t Timeline) {
	for _, r := range t.Regions {
		f.places[t.Key] = append(f.places[t.Key], place{r.Cluster, r.Region})
	}
}

// usersOf names the first clusters that use a key.
func (f *fleet) usersOf(key cmek.KeyURI) string {
	const most = 3
	var names []string
	places := f.places[key]
	for _, p := range places[:min(len(places), most)] {
		name := p.cluster
		if c := f.clusters[p.cluster]; c != nil && c.name != "" {
			name = c.name
		}
		names = append(names, name)
	}
	if len(places) > most {
		names = append(names, fmt.Sprintf("and %d more", len(places)-most))
	}
	return shown(strings.Join(names, ", "))
}

// settle gives each region the marks of its keys and their users. A region without a known key has not passed.
func (f *fleet) settle() {
	for key, places := range f.places {
		m := f.keys[key]
		for user := range f.users[key] {
			m = m.and(f.principals[user])
		}
		for _, p := range places {
			if c := f.clusters[p.cluster]; c != nil {
				c.regions[p.region], c.keyed[p.region] = c.regions[p.region].and(m), true
			}
		}
	}
	for _, c := range f.clusters {
		for region, m := range c.regions {
			if m.state == passed && !c.keyed[region] || m.state == none {
				c.regions[region] = mark{state: unrecorded}
			}
		}
	}
}

func (c *fleetCluster) worst() mark {
	m := c.whole
	for _, region := range c.regions {
		m = m.and(region)
	}
	return m
}

// mostOpenRows is how many rows of a cloud that need attention are not folded. The others are folded in fleets of more than smallFleet.
const (
	mostOpenRows = 100
	smallFleet   = 20
)

// matrix is the part of the fleet on one cloud.
type matrix struct {
	Cloud   string
	Regions []string
	// Shown are not folded, More need attention, too, and Fine do not.
	Shown, More, Fine []fleetRow
	Clusters, Open    int
}

type fleetRow struct {
	Name, ID string
	Cells    []mark // the cluster, then the regions of the matrix
	// Links reports whether cells link to their findings.
	Links bool
}

// matrices are those of all clouds. A cluster that was not read stands in them, too.
func (f *fleet) matrices(unread []Cluster) []matrix {
	for _, u := range unread {
		c := f.cluster(u.ID)
		c.name, c.whole = cmp.Or(c.name, u.Name), c.whole.and(mark{state: unanswered})
	}
	f.settle()
	clouds := map[string][]*fleetCluster{}
	for _, c := range f.clusters {
		clouds[c.cloud] = append(clouds[c.cloud], c)
	}
	var all []matrix
	for _, cloud := range slices.Sorted(maps.Keys(clouds)) {
		all = append(all, matrixOf(cloud, clouds[cloud]))
	}
	return all
}

func matrixOf(cloud string, clusters []*fleetCluster) matrix {
	m := matrix{Cloud: cmp.Or(shown(cloud), "Cloud not known"), Clusters: len(clusters)}
	regions := map[string]bool{}
	rank := make(map[*fleetCluster]state, len(clusters))
	for _, c := range clusters {
		for region := range c.regions {
			regions[region] = true
		}
		if worst := c.worst().state; worst.attention() {
			rank[c] = worst
			m.Open++
		} else {
			rank[c] = passed
		}
	}
	m.Regions = slices.Sorted(maps.Keys(regions))
	slices.SortFunc(clusters, func(a, b *fleetCluster) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id))
	})
	for i, c := range clusters {
		row := c.row(m.Regions)
		switch {
		case i < mostOpenRows && (rank[c] != passed || len(clusters) <= smallFleet):
			row.Links = true
			m.Shown = append(m.Shown, row)
		case rank[c] != passed:
			m.More = append(m.More, row)
		default:
			m.Fine = append(m.Fine, row)
		}
	}
	for i, region := range m.Regions {
		m.Regions[i] = short(region)
	}
	return m
}

func (c *fleetCluster) row(regions []string) fleetRow {
	r := fleetRow{Name: short(cmp.Or(c.name, c.id)), ID: short(c.id), Cells: make([]mark, 0, 1+len(regions))}
	whole := c.whole
	if whole.state == none {
		whole.state = unrecorded
	}
	r.Cells = append(r.Cells, whole)
	for _, region := range regions {
		r.Cells = append(r.Cells, c.regions[region])
	}
	return r
}
