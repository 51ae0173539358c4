package compliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Where facts come from.
const (
	fromLedger   = "ledger"
	fromList     = "Cloud API GET /clusters"
	fromCMEK     = "Cloud API GET /clusters/{id}/cmek"
	fromOrg      = "Cloud API GET /organization"
	fromBackups  = "Cloud API GET /clusters/{id}/backups-config and /backups"
	operatorRole = "the role Cluster Operator at CockroachDB Cloud to keyturn's service account"
)

// fresh is how old what the ledger keeps may be, so that it is still young enough for the checks when the run ends.
const (
	fresh         = 15 * time.Minute
	freshPolicies = 90 * time.Minute
)

// gatherer reads each thing once, however many checks need it.
type gatherer struct {
	*Function
	facts      checks.Facts
	population Population

	// clusters are all clusters of the organization that can have a CMEK, by id, and items the ledger's of all.
	clusters  map[string]*checks.Cluster
	items     map[string]*ledger.Cluster
	ledgerErr error
	// all are all clusters that are listed or in the ledger, unread those whose keys are not known.
	all    []member
	unread []string
	// uses are those of each key, and assumers the clusters of each principal, by canonical names. oldest is the reading of the oldest
	// inventory among them.
	uses     map[string][]checks.Use
	assumers map[string][]checks.Assumer
	oldest   time.Time

	backups  map[string]checks.Fact[cmek.Backups]
	policies map[cmek.KeyURI]checks.Fact[string]
}

func newGatherer(f *Function) *gatherer {
	return &gatherer{Function: f, clusters: map[string]*checks.Cluster{}, items: map[string]*ledger.Cluster{}, uses: map[string][]checks.Use{}, assumers: map[string][]checks.Assumer{},
		backups: map[string]checks.Fact[cmek.Backups]{}, policies: map[cmek.KeyURI]checks.Fact[string]{}}
}

// read is the fact of what was just read. grant is what is missing if the read was denied and does not say itself.
func read[T any](value T, err error, source, grant string) checks.Fact[T] {
	if err == nil {
		return checks.Known(value, time.Now(), source)
	}
	var missing *cmek.PermissionError
	switch {
	case errors.As(err, &missing):
		grant = missing.Permission
	case !errors.Is(err, cmek.ErrDenied):
		grant = ""
	}
	return checks.Unread[T](source, err.Error(), grant)
}

// notRead is a fact that the run has no way to read.
func notRead[T any](source, why string) checks.Fact[T] { return checks.Unread[T](source, why, "") }

func (f *Function) gather(ctx context.Context, names []string) (*gatherer, error) {
	g := newGatherer(f)
	if err := g.inventory(ctx); err != nil {
		return nil, err
	}
	chosen, err := g.choose(names)
	if err != nil {
		return nil, err
	}
	id, err := f.Cloud.OrganizationID(ctx)
	g.facts.Organization = read(id, err, fromOrg, operatorRole)
	g.facts.Credentials = []checks.Credential{{ // unread, it is an ERROR; left out, nobody would miss it
		Cloud: checks.AWS, Name: "the API key in use",
		Created: notRead[time.Time]("AWS Secrets Manager", "keyturn does not read yet how old the secret is"),
		Roles:   notRead[[]string]("Cloud API GET /service-accounts/{id}", "keyturn does not read yet which roles its service account has"),
	}}
	uris := map[cmek.KeyURI]bool{}
	for _, id := range chosen {
		c := g.clusters[id]
		g.complete(ctx, c)
		g.facts.Clusters = append(g.facts.Clusters, *c)
		for _, region := range c.CMEK.Value.RegionInfos {
			for _, info := range region.KeyInfos {
				uris[info.Spec.URI] = true
			}
		}
	}
	if len(names) == 0 {
		for _, k := range f.Declared.Keys { // one that is to go may be named by no cluster
			uris[k.Key] = true
		}
	}
	places := map[place]bool{}
	for _, uri := range slices.Sorted(maps.Keys(uris)) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g.facts.Keys = append(g.facts.Keys, g.key(ctx, uri))
		if at, ok := placeOf(uri); ok {
			places[at] = true
		}
	}
	g.principals(ctx, chosen)
	for _, at := range slices.SortedFunc(maps.Keys(places), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.cloud, b.cloud), cmp.Compare(a.account, b.account), cmp.Compare(a.location, b.location))
	}) {
		g.facts.Accounts = append(g.facts.Accounts, g.at(ctx, at))
	}
	return g, nil
}

// inventory lists all clusters, with the CMEK of each that can have one: the ledger's if it is fresh, else the API's. Without the list
// there is no run: nobody would know which clusters it leaves out.
func (g *gatherer) inventory(ctx context.Context) error {
	if g.Ledger != nil {
		items, err := g.Ledger.Clusters(ctx)
		if g.ledgerErr = err; err != nil && !errors.Is(err, ledger.ErrUndecodable) {
			items = nil
		}
		for _, item := range items {
			g.items[item.ID] = item
		}
	}
	listed := map[string]bool{}
	const mostPages = 1000
	for page, n := "", 0; ; n++ {
		clusters, next, err := g.Cloud.ClusterPage(ctx, page)
		switch {
		case err != nil:
			return fmt.Errorf("list clusters: %w", err)
		case n == mostPages:
			return fmt.Errorf("list clusters: no end after %d pages", mostPages)
		}
		for _, c := range clusters {
			if !listed[c.ID] {
				listed[c.ID] = true
				g.add(ctx, c)
			}
		}
		if page = next; page == "" {
			break
		}
	}
	for _, id := range slices.Sorted(maps.Keys(g.items)) {
		if item := g.items[id]; !listed[id] {
			unlisted := checks.Reading{Source: fromList, Unread: "the ledger knows the cluster, and the Cloud API does not list it"}
			g.take(item.Cluster, checks.Fact[cmek.Cluster]{Value: item.Cluster, Reading: unlisted}, checks.Fact[cmek.ClusterInfo]{Value: item.CMEK, Reading: unlisted})
		}
	}
	g.index()
	return ctx.Err()
}

// add takes a listed cluster in, or says why it is not checked.
func (g *gatherer) add(ctx context.Context, c cmek.Cluster) {
	why := ""
	switch {
	case c.State == cmek.StateDeleted:
		why = "deleted"
	case c.Plan != "" && c.Plan != cmek.PlanAdvanced:
		why = fmt.Sprintf("only %s clusters can have a CMEK, this one is %s", cmek.PlanAdvanced, c.Plan)
	}
	if why != "" {
		g.all = append(g.all, member{Cluster{c.ID, c.Name, why}, outOfScope})
		return
	}
	g.take(c, checks.Known(c, time.Now(), fromList), g.cmek(ctx, c.ID))
}

// take takes in a cluster that may have keys. One that is declared out of scope is not checked, but its keys are in use all the same.
func (g *gatherer) take(c cmek.Cluster, info checks.Fact[cmek.Cluster], keys checks.Fact[cmek.ClusterInfo]) {
	g.clusters[c.ID] = &checks.Cluster{ID: c.ID, Info: info, CMEK: keys}
	m := member{Cluster{ID: c.ID, Name: c.Name}, checked}
	if keys.Unread != "" {
		g.unread = append(g.unread, c.ID)
		m.fate, m.Why = unread, keys.Unread
	}
	for _, x := range g.Declared.OutOfScope {
		if x.Cluster == c.ID {
			m.fate, m.Why = outOfScope, "declared: "+x.Reason
		}
	}
	g.all = append(g.all, m)
}

// cmek is the CMEK of a cluster: the ledger's if it is fresh, else the API's.
func (g *gatherer) cmek(ctx context.Context, id string) checks.Fact[cmek.ClusterInfo] {
	item := g.items[id]
	if item != nil && item.Unread.IsZero() && item.Older.IsZero() && time.Since(item.SeenAt) < fresh {
		return checks.Known(item.CMEK, item.SeenAt, fromLedger)
	}
	info, err := g.Cloud.CMEK(ctx, id)
	if errors.Is(err, cmek.ErrNotFound) {
		info, err = cmek.ClusterInfo{}, nil // one of the ways in which the API may show a cluster without CMEK
	}
	if err == nil && item != nil && item.CMEK.HasKeys() && !info.HasKeys() {
		return notRead[cmek.ClusterInfo](fromCMEK, "the answer shows no keys, the cluster had some, and a CMEK cannot be switched off")
	}
	fact := read(info, err, fromCMEK, operatorRole)
	if err != nil && item != nil {
		fact.Value = item.CMEK // what it had proves no more that it has it, but the keys are named
	}
	return fact
}

// fate is what becomes of a cluster in a run.
type fate int

const (
	checked fate = iota
	outOfScope
	unread
)

type member struct {
	Cluster
	fate fate
}

// choose counts the clusters that the run is about, and returns the ids of those that the checks are about.
func (g *gatherer) choose(names []string) (ids []string, err error) {
	found := map[string]bool{}
	for _, m := range g.all {
		if len(names) > 0 && !slices.Contains(names, m.ID) && !slices.Contains(names, m.Name) {
			continue
		}
		found[m.ID], found[m.Name] = true, true
		g.population.Listed++
		switch m.fate {
		case checked:
			g.population.Checked++
		case outOfScope:
			g.population.OutOfScope = append(g.population.OutOfScope, m.Cluster)
			continue
		case unread:
			g.population.Unread = append(g.population.Unread, m.Cluster)
		}
		ids = append(ids, m.ID)
	}
	for _, name := range names {
		if !found[name] {
			return nil, fmt.Errorf("cluster %q: %w", name, cmek.ErrNotFound)
		}
	}
	slices.Sort(ids)
	return ids, nil
}
