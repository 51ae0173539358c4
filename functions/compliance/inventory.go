package compliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
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

// gatherer reads each thing once, however many checks need it. What it keeps of all clusters is small, so that a run can go through a
// large fleet part by part.
type gatherer struct {
	*Function
	// inventoryAge is how old the ledger's inventory may be for what follows from the keys of all clusters.
	inventoryAge time.Duration
	facts        checks.Facts

	// listed are all clusters of the organization that can have a CMEK, by id. answers are the CMEKs that the API was asked for.
	listed  map[string]checks.Fact[cmek.Cluster]
	answers map[string]checks.Fact[cmek.ClusterInfo]
	// deleted are those that the Cloud API says are deleted.
	deleted map[string]cmek.Cluster
	// all are all clusters that are listed or in the ledger, unread those whose keys are not known.
	all    []member
	unread []string
	// uses are those of each key, and assumers the clusters of each principal, by canonical names. oldest is the reading of the oldest
	// inventory among them. owners are the clusters that are the first to name something.
	uses     map[string][]checks.Use
	assumers map[string][]checks.Assumer
	oldest   time.Time
	owners   owners

	// detected is what the deployment's detection consists of, hub what it is in the hub, and watches what it is in each place, as they were read.
	detected *checks.Fact[Detection]
	hub      *checks.Watch
	watches  map[place]checks.Fact[checks.Watch]

	// retiring: the keys that are read are to go.
	retiring bool
	// notes: the run notes which projects record uses of keys. recorded are those that it has noted.
	notes    bool
	recorded map[string]bool
	// audited are the changes of CMEKs in the audit log by cluster, nil before they are read.
	audited *checks.Fact[map[string][]cmek.AuditEntry]

	// known are the clusters of the ledger by the keys that they have or had; nil until somebody asks.
	known map[string][]string

	// timedOut is true if a read ended for want of time: its own, or the caller's.
	timedOut atomic.Bool

	// What was read for a part of the fleet.
	items    map[string]*ledger.Cluster
	backups  map[string]checks.Fact[cmek.Backups]
	policies map[cmek.KeyURI]checks.Fact[string]
	google   map[string]checks.Fact[checks.Document] // by name
	logged   map[cmek.KeyURI]logged
	// failedLogs are the logs that were not read, by place if it was refused there, else by type of key.
	failedLogs map[string]checks.Fact[cmek.RecordedUses]
}

func newGatherer(f *Function, inventoryAge time.Duration) *gatherer {
	g := &gatherer{Function: f, inventoryAge: inventoryAge, listed: map[string]checks.Fact[cmek.Cluster]{}, answers: map[string]checks.Fact[cmek.ClusterInfo]{},
		deleted: map[string]cmek.Cluster{}, uses: map[string][]checks.Use{}, assumers: map[string][]checks.Assumer{}, owners: owners{}, recorded: map[string]bool{}, watches: map[place]checks.Fact[checks.Watch]{}, backups: map[string]checks.Fact[cmek.Backups]{}}
	g.nextPart()
	return g
}

// nextPart forgets what was read for the part before.
func (g *gatherer) nextPart() {
	g.timedOut.Store(false)
	g.items, g.policies, g.google = map[string]*ledger.Cluster{}, map[cmek.KeyURI]checks.Fact[string]{}, map[string]checks.Fact[checks.Document]{}
	g.logged, g.failedLogs = map[cmek.KeyURI]logged{}, map[string]checks.Fact[cmek.RecordedUses]{}
	g.facts.Clusters, g.facts.Keys, g.facts.Principals, g.facts.Accounts, g.facts.Credentials = nil, nil, nil, nil, nil
}

// read is the fact of what was just read. grant is what is missing if the read was denied and does not say itself.
func read[T any](g *gatherer, value T, err error, source, grant string) checks.Fact[T] {
	if err == nil {
		return checks.Known(value, time.Now(), source)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		g.timedOut.Store(true)
	}
	var missing *cmek.PermissionError
	switch {
	case errors.As(err, &missing):
		grant = missing.Permission
	case !errors.Is(err, cmek.ErrDenied), errors.Is(err, cmek.ErrNoCredentials):
		grant = ""
	}
	return checks.Unread[T](source, err.Error(), grant)
}

// notRead is a fact that the run has no way to read.
func notRead[T any](source, why string) checks.Fact[T] { return checks.Unread[T](source, why, "") }

// organization reads the organization.
func (g *gatherer) organization(ctx context.Context) {
	id, err := g.Cloud.OrganizationID(ctx)
	g.facts.Organization = read(g, id, err, fromOrg, operatorRole)
}

// part reads the facts about clusters, the keys and principals that they name, and the places of the keys.
func (g *gatherer) part(ctx context.Context, ids []string) error {
	uris := map[cmek.KeyURI]bool{}
	for _, id := range ids {
		c := g.cluster(ctx, id)
		g.facts.Clusters = append(g.facts.Clusters, c)
		for _, region := range c.CMEK.Value.RegionInfos {
			for _, info := range region.KeyInfos {
				uris[info.Spec.URI] = true
			}
		}
	}
	// The Cloud API's rate bounds the one, the time of answers of the KMS the other.
	var group sync.WaitGroup
	group.Go(func() {
		for i := range g.facts.Clusters {
			g.facts.Clusters[i].Backups = g.backupsOf(ctx, ids[i])
		}
	})
	err := g.keys(ctx, uris)
	group.Wait()
	if err != nil {
		return err
	}
	g.retentions(ctx)
	g.principals(ctx)
	return ctx.Err()
}

// rest reads the facts about what no cluster needs to name: the keys that are declared, and keyturn's own credentials.
func (g *gatherer) rest(ctx context.Context) error {
	g.facts.Credentials = g.credentials(ctx)
	uris := map[cmek.KeyURI]bool{}
	for _, k := range g.Declared.Keys { // one that is to go may be named by no cluster
		if g.owners.of(ofKey(k.Key)) == "" && !g.elsewhere(k.Key.Type()) {
			uris[k.Key] = true
		}
	}
	err := g.keys(ctx, uris)
	g.retentions(ctx)
	return err
}

// keys reads keys and the places that they are in.
func (g *gatherer) keys(ctx context.Context, uris map[cmek.KeyURI]bool) error {
	places := map[place]bool{}
	for _, uri := range slices.Sorted(maps.Keys(uris)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		g.facts.Keys = append(g.facts.Keys, g.key(ctx, uri))
		if at, ok := placeOf(uri); ok {
			places[at] = true
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(places), func(a, b place) int { return cmp.Compare(a.String(), b.String()) }) {
		g.facts.Accounts = append(g.facts.Accounts, g.at(ctx, at))
	}
	return nil
}

// inventory lists all clusters, with the keys of each that can have some: the ledger's if it is fresh, else the API's. Without the list
// there is no run: nobody would know which clusters it leaves out.
func (g *gatherer) inventory(ctx context.Context) error {
	known := map[string]*ledger.Cluster{}
	if g.Ledger != nil {
		items, err := g.Ledger.Clusters(ctx)
		if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
			items = nil
		}
		for _, item := range items {
			known[item.ID] = item
		}
	}
	if err := g.list(ctx); err != nil {
		return err
	}
	listed := g.all
	for id, item := range known {
		if _, ok := slices.BinarySearchFunc(listed, id, member.compare); !ok {
			g.take(item.Cluster, checks.Fact[cmek.Cluster]{Value: item.Cluster, Reading: checks.Reading{Source: fromList, Unread: notListed}})
		}
	}
	slices.SortFunc(g.all, func(a, b member) int { return a.compare(b.ID) })
	g.oldest = time.Now()
	for i := range g.all {
		m := &g.all[i]
		if info, ok := g.listed[m.ID]; ok && !m.foreign {
			keys := g.cmek(ctx, m.ID, known[m.ID], g.inventoryAge)
			if keys.Unread == "" {
				m.leaveTo(g.foreignTo(info.Value, keys.Value))
			}
			if !m.foreign {
				g.index(*m, known[m.ID], keys)
			}
		}
		if c, ok := g.deleted[m.ID]; ok {
			g.indexDeleted(ctx, c)
		}
		delete(known, m.ID)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

const notListed = "the ledger knows the cluster, and the Cloud API does not list it"

// list lists all clusters, in the order of their ids.
func (g *gatherer) list(ctx context.Context) error {
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
			g.add(c)
		}
		if page = next; page == "" {
			break
		}
	}
	slices.SortStableFunc(g.all, func(a, b member) int { return a.compare(b.ID) })
	g.all = slices.CompactFunc(g.all, func(a, b member) bool { return a.ID == b.ID })
	return nil
}

// add takes a listed cluster in, or says why it is not checked.
func (g *gatherer) add(c cmek.Cluster) {
	why := ""
	switch {
	case c.State == cmek.StateDeleted:
		why = "deleted"
		g.deleted[c.ID] = c
	case cmek.PlanWithoutCMEK(c.Plan):
		why = fmt.Sprintf("only %s clusters can have a CMEK, this one is %s", cmek.PlanAdvanced, c.Plan)
	}
	if why != "" {
		g.all = append(g.all, member{Cluster: report.Cluster{ID: c.ID, Name: c.Name, Why: why}, outOfScope: true})
		return
	}
	g.take(c, checks.Known(c, time.Now(), fromList))
}

// take takes in a cluster that may have keys. One that is declared out of scope is not checked, but its keys are in use all the same.
func (g *gatherer) take(c cmek.Cluster, info checks.Fact[cmek.Cluster]) {
	g.listed[c.ID] = info
	m := member{Cluster: report.Cluster{ID: c.ID, Name: c.Name}}
	m.leaveTo(g.foreignTo(c, cmek.ClusterInfo{}))
	for _, x := range g.Declared.OutOfScope {
		if x.Cluster == c.ID {
			m.outOfScope, m.Why = true, "declared: "+x.Reason
		}
	}
	g.all = append(g.all, m)
}

// item is the ledger's item of a cluster, nil if there is none. It is read once for each part.
func (g *gatherer) item(ctx context.Context, id string) (*ledger.Cluster, error) {
	if item, ok := g.items[id]; ok || g.Ledger == nil {
		return item, nil
	}
	item, err := g.Ledger.Cluster(ctx, id)
	if err != nil {
		return nil, err
	}
	if item.SeenAt.IsZero() && len(item.Done) == 0 {
		item = nil
	}
	g.items[id] = item
	return item, nil
}

// cluster reads what the checks need of a cluster, but for its backups.
func (g *gatherer) cluster(ctx context.Context, id string) checks.Cluster {
	info, ok := g.listed[id]
	if !ok {
		info = notRead[cmek.Cluster](fromList, "the Cloud API listed the cluster when the run began, and does not any more")
	}
	// Before the ledger: keyturn notes a request before it leaves, and none that the log has may be missing there.
	audit := g.audit(ctx, id)
	item, err := g.item(ctx, id)
	c := checks.Cluster{ID: id, Info: info, CMEK: g.cmek(ctx, id, item, fresh)}
	c.Done, c.Moves = g.done(item, err), g.moves(item, err)
	c.Requests, c.Audit = g.requests(item, err), audit
	c.Pins = g.pins(ctx, item)
	return c
}

// pins reads what the aliases name that the cluster's regions are pinned to, as rotation knows them.
func (g *gatherer) pins(ctx context.Context, item *ledger.Cluster) checks.Fact[[]checks.Pin] {
	var pins []checks.Pin
	if item == nil || len(item.Pins) == 0 {
		return checks.Known(pins, time.Now(), fromLedger)
	}
	const source = "AWS KMS DescribeKey of the alias"
	if g.AWS.Aliases == nil {
		return notRead[[]checks.Pin](source, "aliases are not read here")
	}
	for _, p := range item.Pins {
		target, err := g.AWS.Aliases.AliasTarget(ctx, p.Alias)
		if err != nil && !errors.Is(err, cmek.ErrNotFound) {
			return read(g, pins, err, source, "kms:DescribeKey")
		}
		pins = append(pins, checks.Pin{Region: p.Region, Alias: string(p.Alias), Target: target})
	}
	return checks.Known(pins, time.Now(), source)
}

// cmek is the CMEK of a cluster: the ledger's if it is not older than the age, else the API's.
func (g *gatherer) cmek(ctx context.Context, id string, item *ledger.Cluster, age time.Duration) checks.Fact[cmek.ClusterInfo] {
	if info := g.listed[id]; info.Unread != "" {
		fact := checks.Fact[cmek.ClusterInfo]{Reading: info.Reading}
		if item != nil {
			fact.Value = item.CMEK
		}
		return fact
	}
	if answer, ok := g.answers[id]; ok && (answer.Unread != "" || time.Since(answer.ReadAt) < age) {
		return answer
	}
	if item != nil && item.Unread.IsZero() && item.Older.IsZero() && time.Since(item.SeenAt) < age {
		return checks.Known(item.CMEK, item.SeenAt, fromLedger)
	}
	g.answers[id] = g.ask(ctx, id, item)
	return g.answers[id]
}

// ask asks the API for the CMEK of a cluster.
func (g *gatherer) ask(ctx context.Context, id string, item *ledger.Cluster) checks.Fact[cmek.ClusterInfo] {
	info, err := g.Cloud.CMEK(ctx, id)
	if errors.Is(err, cmek.ErrNotFound) {
		info, err = cmek.ClusterInfo{}, nil // one of the ways in which the API may show a cluster without CMEK
	}
	fact := read(g, info, err, fromCMEK, operatorRole)
	if err == nil && item != nil && item.CMEK.HasKeys() && !info.HasKeys() {
		fact = notRead[cmek.ClusterInfo](fromCMEK, "the answer shows no keys, the cluster had some, and a CMEK cannot be switched off")
	}
	if fact.Unread != "" && item != nil {
		fact.Value = item.CMEK // what it had proves no more that it has it, but the keys are named
	}
	return fact
}

// member is a cluster of the organization.
type member struct {
	report.Cluster
	outOfScope bool
	// foreign: its keys are another installation's.
	foreign bool
}

// leaveTo takes the cluster out of scope for a reason; "" for none.
func (m *member) leaveTo(why string) {
	if why != "" {
		m.outOfScope, m.foreign, m.Why = true, true, why
	}
}

func (m member) compare(id string) int { return cmp.Compare(m.ID, id) }

// choose counts the clusters that the run is about, and returns the ids of those that the checks are about.
func (g *gatherer) choose(names []string) (ids []string, population report.Population, err error) {
	found := map[string]bool{}
	for _, m := range g.all {
		if len(names) > 0 && !slices.Contains(names, m.ID) && !slices.Contains(names, m.Name) {
			continue
		}
		found[m.ID], found[m.Name] = true, true
		population.Listed++
		if m.outOfScope {
			population.OutOfScope = append(population.OutOfScope, m.Cluster)
			continue
		}
		ids = append(ids, m.ID)
	}
	for _, name := range names {
		if !found[name] {
			return nil, population, fmt.Errorf("cluster %q: %w", name, cmek.ErrNotFound)
		}
	}
	if out := population.OutOfScope; len(names) > 0 && len(ids) == 0 { // a run that checked nothing of what was asked for would look good
		return nil, population, fmt.Errorf("cluster %q: %w: %s", cmp.Or(out[0].Name, out[0].ID), ErrOutOfScope, out[0].Why)
	}
	slices.Sort(ids)
	return ids, population, nil
}

// count adds the clusters of the part to the population.
func (g *gatherer) count(p *report.Population) {
	for _, c := range g.facts.Clusters {
		if c.CMEK.Unread == "" {
			p.Checked++
			continue
		}
		p.Unread = append(p.Unread, report.Cluster{ID: c.ID, Name: c.Info.Value.Name, Why: c.CMEK.Unread})
	}
}
