package compliance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

const noLedger = "no ledger is named"

// done are the versions that the ledger knows the regions' store keys to be encrypted under. They are as the ledger says now, whenever
// the cluster was last read.
func (g *gatherer) done(item *ledger.Cluster, err error) checks.Fact[[]checks.Done] {
	switch {
	case g.Ledger == nil:
		return notRead[[]checks.Done](fromLedger, noLedger)
	case err != nil:
		return notRead[[]checks.Done](fromLedger, err.Error())
	}
	var done []checks.Done
	if item != nil {
		for _, d := range item.Done {
			done = append(done, checks.Done{Region: d.Region, URI: d.Key, Version: d.Version, At: d.At})
		}
	}
	return checks.Known(done, time.Now(), fromLedger)
}

// moves are the last orders that moved the regions.
func (g *gatherer) moves(item *ledger.Cluster, err error) checks.Fact[[]checks.Move] {
	switch {
	case g.Ledger == nil:
		return notRead[[]checks.Move](fromLedger, noLedger)
	case err != nil:
		return notRead[[]checks.Move](fromLedger, err.Error())
	}
	var moves []checks.Move
	if item != nil {
		for _, region := range item.CMEK.RegionInfos {
			if last, moved := item.LastMove(region.Region); moved {
				moves = append(moves, checks.Move{Region: last.Region, To: last.To, At: last.At, AcceptedBy: last.By, Reason: last.Reason, Reported: last.UndoneAlert(item.ID)})
			}
		}
	}
	return checks.Known(moves, time.Now(), fromLedger)
}

func (g *gatherer) backupsOf(ctx context.Context, id string) checks.Fact[cmek.Backups] {
	if b, ok := g.backups[id]; ok {
		return b
	}
	b, err := g.Cloud.Backups(ctx, id, g.Declared.Thresholds.WithDefaults().BackupFactor)
	g.backups[id] = read(g, b, err, fromBackups, operatorRole)
	return g.backups[id]
}

// incomplete is why nobody can say which clusters use a key; "" if that is known.
func (g *gatherer) incomplete() string {
	switch n := len(g.unread); n {
	case 0:
		return ""
	case 1:
		return "the keys of cluster " + g.unread[0] + " are not known"
	default:
		return fmt.Sprintf("the keys of %d clusters are not known, among them %s", n, g.unread[0])
	}
}

// inventoried is a fact that follows from the keys of all clusters. It is as old as the oldest of them.
func inventoried[T any](g *gatherer, value T) checks.Fact[T] {
	const source = "inventory of all clusters"
	if why := g.incomplete(); why != "" {
		fact := notRead[T](source, why)
		fact.Value = value // what is known proves that a key is in use
		return fact
	}
	return checks.Known(value, g.oldest, source)
}

// index takes in the uses of the keys that a cluster names, related ones included, and the principals that it acts as. Clusters come in
// the order of their ids.
func (g *gatherer) index(m member, item *ledger.Cluster, info checks.Fact[cmek.ClusterInfo]) {
	if info.Unread != "" {
		g.unread = append(g.unread, m.ID)
	}
	if info.ReadAt.Before(g.oldest) {
		g.oldest = info.ReadAt
	}
	cluster := g.listed[m.ID].Value
	for _, region := range info.Value.RegionInfos {
		seen := map[cmek.KeyURI]bool{}
		for _, k := range region.KeyInfos {
			if uri := k.Spec.URI; !seen[uri] {
				seen[uri] = true
				g.uses[uri.Canonical()] = append(g.uses[uri.Canonical()], use(cluster, item, region, region.Newest(uri)))
			}
		}
	}
	if !m.outOfScope {
		g.owners.note(m.ID, info.Value)
	}
	for _, p := range acting(info.Value) {
		assumer := checks.Assumer{ClusterID: m.ID, AccountID: cluster.AccountID}
		if all := g.assumers[p.Canonical()]; !slices.Contains(all, assumer) {
			g.assumers[p.Canonical()] = append(all, assumer)
		}
	}
}

// indexDeleted takes in the keys that a deleted cluster had, as the ledger remembers them: its backups may need them still.
func (g *gatherer) indexDeleted(ctx context.Context, c cmek.Cluster) {
	if g.Ledger == nil || !c.DeletedAt.IsZero() && time.Since(c.DeletedAt) > checks.LongestRetention {
		return
	}
	item, err := g.Ledger.Cluster(ctx, c.ID)
	if err != nil {
		g.unread = append(g.unread, c.ID)
		return
	}
	for _, region := range item.CMEK.RegionInfos {
		seen := map[cmek.KeyURI]bool{}
		for _, k := range region.KeyInfos {
			uri := k.Spec.URI
			if seen[uri] {
				continue
			}
			seen[uri] = true
			u := use(c, item, region, k)
			u.Status, u.Until, u.Deleted = cmek.Disabled, c.DeletedAt, c.DeletedAt
			g.uses[uri.Canonical()] = append(g.uses[uri.Canonical()], u)
		}
	}
}

func use(cluster cmek.Cluster, item *ledger.Cluster, region cmek.RegionInfo, info cmek.KeyInfo) checks.Use {
	u := checks.Use{ClusterID: cluster.ID, ClusterName: cluster.Name, Labels: cluster.Labels, Region: region.Region, Spec: info.Spec, Status: info.Status}
	if !checks.InForce(info.Status) {
		u.Until = info.UpdatedAt
	}
	if item != nil {
		if done, ok := item.DoneIn(region.Region); ok && done.Key == info.Spec.URI {
			u.Done, u.DoneAt = done.Version, done.At
			if !done.Followed {
				u.Adopted = done.Evidence
			}
		}
	}
	return u
}

// retentions reads how long the clusters of the keys keep their backups.
func (g *gatherer) retentions(ctx context.Context) {
	for i := range g.facts.Keys {
		k := &g.facts.Keys[i]
		k.Retention = g.retention(ctx, k.Uses.Value)
	}
}

// retention is the longest backup retention of the clusters.
func (g *gatherer) retention(ctx context.Context, uses []checks.Use) checks.Fact[time.Duration] {
	longest := checks.Known(time.Duration(0), time.Now(), fromBackups)
	for _, u := range uses {
		if _, deleted := g.deleted[u.ClusterID]; deleted {
			continue // its configuration is gone, too
		}
		b := g.backupsOf(ctx, u.ClusterID)
		if b.Unread != "" {
			return checks.Fact[time.Duration]{Reading: b.Reading}
		}
		longest.Value, longest.ReadAt = max(longest.Value, b.Value.Retention), b.ReadAt
	}
	return longest
}

// firstSeen is when keyturn saw the key's current version become so; zero if it has been since keyturn knows the key. Work that is open
// for the version says it, and done work an upper bound.
func (g *gatherer) firstSeen(ctx context.Context, uri cmek.KeyURI, uses []checks.Use, current cmek.KeyVersion) checks.Fact[time.Time] {
	if uri.Type() == cmek.AWSKMS {
		return checks.Known(time.Time{}, time.Now(), "not needed: AWS KMS tells when a key was rotated")
	}
	if g.Ledger == nil {
		return notRead[time.Time](fromLedger, noLedger)
	}
	var first time.Time
	note := func(at time.Time) {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	for _, u := range uses {
		item, err := g.item(ctx, u.ClusterID)
		switch {
		case err != nil:
			return notRead[time.Time](fromLedger, err.Error())
		case item == nil:
			continue
		}
		for _, w := range item.Work {
			if w.Key.SameKey(uri) && w.Version == current {
				note(w.SeenVersion())
			}
		}
		for _, d := range item.Done {
			if d.Key.SameKey(uri) && d.Version == current && d.Followed {
				note(d.At)
			}
		}
	}
	return checks.Known(first, time.Now(), fromLedger)
}

// key reads a key.
func (g *gatherer) key(ctx context.Context, uri cmek.KeyURI) checks.Key {
	uses := g.uses[uri.Canonical()]
	k := checks.Key{URI: uri, Uses: inventoried(g, uses)}
	switch uri.Type() {
	case cmek.AWSKMS:
		g.keyOfAWS(ctx, &k)
	case cmek.GCPCloudKMS:
		g.keyOfGoogle(ctx, &k)
	}
	k.FirstSeen = g.firstSeen(ctx, uri, uses, k.Description.Value.Version)
	return k
}

func (g *gatherer) keyOfAWS(ctx context.Context, k *checks.Key) {
	g.details(ctx, k, g.AWS.Keys, "AWS KMS DescribeKey and ListKeyRotations", "AWS KMS GetKeyRotationStatus")
	k.Policy = g.policy(ctx, k.URI)
	k.Replicas = g.replicas(ctx, k.Description)
	if g.AWS.Use == nil {
		k.Grants = notRead[[]cmek.KeyGrant]("AWS KMS ListGrants", notHere)
		k.LastUse = notRead[cmek.KeyUsage]("AWS KMS GetKeyLastUsage", notHere)
		return
	}
	grants, err := g.AWS.Use.Grants(ctx, k.URI)
	k.Grants = read(g, grants, err, "AWS KMS ListGrants", "")
	last, err := g.AWS.Use.LastUse(ctx, k.URI)
	k.LastUse = read(g, last, err, "AWS KMS GetKeyLastUsage", "")
}

const notHere = "this run does not read it"

func (g *gatherer) keyOfGoogle(ctx context.Context, k *checks.Key) {
	g.details(ctx, k, g.Google.Keys, "Cloud KMS GetCryptoKey and ListCryptoKeyVersions", "Cloud KMS GetCryptoKey")
	ring, _, _ := strings.Cut(k.URI.Canonical(), "/cryptoKeys/")
	k.IAM = g.hierarchy(ctx, false, "projects/"+k.URI.Account(), k.URI.Canonical(), ring)
	k.LastUse = g.usedOnGoogle(ctx, k)
}

func (g *gatherer) details(ctx context.Context, k *checks.Key, keys Keys, describing, rotating string) {
	if keys == nil {
		k.Description, k.Rotation = notRead[cmek.KeyDescription](describing, notHere), notRead[cmek.KeyRotation](rotating, notHere)
		return
	}
	d := keys.Details(ctx, k.URI)
	k.Description, k.Rotation = read(g, d.Description, d.DescriptionErr, describing, ""), read(g, d.Rotation, d.RotationErr, rotating, "")
}

// policy is a key policy: the one that the sweep noted if it is fresh, else KMS's own.
func (g *gatherer) policy(ctx context.Context, uri cmek.KeyURI) checks.Fact[string] {
	if p, ok := g.policies[uri]; ok {
		return p
	}
	p := g.document(ctx, string(uri), "AWS KMS GetKeyPolicy", "kms:GetKeyPolicy in the key policy of "+string(uri), g.AWS.Policies != nil,
		func() (string, error) { return g.AWS.Policies.KeyPolicy(ctx, uri) })
	fact := checks.Fact[string]{Value: p.Value.Text, Reading: p.Reading}
	if p.Value.Missing {
		fact = notRead[string](p.Source, "the key does not exist")
	}
	g.policies[uri] = fact
	return fact
}

// document is a policy by the name under which the sweep notes it: as noted if that is fresh, else as read now.
func (g *gatherer) document(ctx context.Context, name, source, grant string, can bool, call func() (string, error)) checks.Fact[checks.Document] {
	if g.Ledger != nil {
		noted, err := g.Ledger.PolicyNoted(ctx, name)
		if err == nil && noted.Document != "" && time.Since(noted.At) < freshPolicies {
			return checks.Known(checks.Document{Text: noted.Document}, noted.At, fromLedger+" (noted policies)")
		}
	}
	if !can {
		return notRead[checks.Document](source, notHere)
	}
	text, err := call()
	if errors.Is(err, cmek.ErrNotFound) {
		return checks.Known(checks.Document{Missing: true}, time.Now(), source)
	}
	return read(g, checks.Document{Text: text}, err, source, grant)
}

// replicas are the policies of all keys of a multi-Region key.
func (g *gatherer) replicas(ctx context.Context, described checks.Fact[cmek.KeyDescription]) checks.Fact[map[cmek.KeyURI]string] {
	if described.Unread != "" {
		return checks.Fact[map[cmek.KeyURI]string]{Reading: described.Reading}
	}
	all := checks.Known(map[cmek.KeyURI]string{}, described.ReadAt, "AWS KMS GetKeyPolicy of each related key")
	related := described.Value.Replicas
	if primary := described.Value.Primary; primary != "" {
		related = append([]cmek.KeyURI{primary}, related...)
	}
	for _, uri := range related {
		p := g.policy(ctx, uri)
		if p.Unread != "" {
			return checks.Unread[map[cmek.KeyURI]string](p.Source, string(uri)+": "+p.Unread, p.Grant)
		}
		all.Value[uri] = p.Value
		if p.ReadAt.Before(all.ReadAt) {
			all.ReadAt = p.ReadAt
		}
	}
	return all
}

// principals reads whom the clusters of the part act as.
func (g *gatherer) principals(ctx context.Context) {
	found := map[string]cmek.Principal{}
	for _, c := range g.facts.Clusters {
		for _, p := range acting(c.CMEK.Value) {
			found[p.Canonical()] = p
		}
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		p := checks.Principal{ID: found[key], Clusters: inventoried(g, g.assumers[key])}
		if p.ID.IsRole() {
			g.role(ctx, &p)
		} else {
			g.serviceAccount(ctx, &p)
		}
		g.facts.Principals = append(g.facts.Principals, p)
	}
}

// acting are the principals that a cluster acts as.
func acting(info cmek.ClusterInfo) (principals []cmek.Principal) {
	for _, region := range info.RegionInfos {
		for _, k := range region.KeyInfos {
			if checks.InForce(k.Status) {
				principals = append(principals, k.Spec.AuthPrincipal)
			}
		}
	}
	return principals
}

func (g *gatherer) role(ctx context.Context, p *checks.Principal) {
	id, can := p.ID, g.AWS.Roles != nil
	p.Trust = g.document(ctx, string(id), "AWS IAM GetRole", "iam:GetRole on "+string(id), can,
		func() (string, error) { return g.AWS.Roles.RoleTrust(ctx, id) })
	p.Policies = g.document(ctx, ledger.RolePolicies(id), "AWS IAM ListRolePolicies, ListAttachedRolePolicies and the policies",
		"iam:GetRole, iam:ListRolePolicies, iam:GetRolePolicy and iam:ListAttachedRolePolicies on "+string(id)+", iam:GetPolicy and iam:GetPolicyVersion on its policies", can,
		func() (string, error) { return g.AWS.Roles.RolePolicies(ctx, id) })
}

// auditPeriod is how far back the audit log is read: less than the ledger remembers requests for.
const auditPeriod = 7 * 24 * time.Hour

const fromAudit = "Cloud API GET /auditlogevents"

// audit are the changes of a cluster's CMEK in the organization's audit log, which is read once for all of them.
func (g *gatherer) audit(ctx context.Context, id string) checks.Fact[[]checks.AuditEntry] {
	if g.Audit == nil {
		return notRead[[]checks.AuditEntry](fromAudit, "this run has no audit credential")
	}
	if g.audited == nil {
		entries, err := g.Audit.CMEKChanges(ctx, time.Now().Add(-auditPeriod))
		byCluster := map[string][]cmek.AuditEntry{}
		for _, e := range entries {
			byCluster[e.ClusterID] = append(byCluster[e.ClusterID], e)
		}
		fact := read(g, byCluster, err, fromAudit, "")
		g.audited = &fact
	}
	return checks.Fact[[]checks.AuditEntry]{Value: g.audited.Value[id], Reading: g.audited.Reading}
}

// requests are keyturn's own requests about the cluster.
func (g *gatherer) requests(item *ledger.Cluster, err error) checks.Fact[[]checks.Request] {
	switch {
	case g.Ledger == nil:
		return notRead[[]checks.Request](fromLedger, noLedger)
	case err != nil:
		return notRead[[]checks.Request](fromLedger, err.Error())
	}
	var all []checks.Request
	if item != nil {
		for _, at := range item.Requests() {
			all = append(all, checks.Request{At: at})
		}
	}
	return checks.Known(all, time.Now(), fromLedger)
}

// rolesOf reads the roles of the credential in a secret that compliance can read, which is its own.
func (g *gatherer) rolesOf(ctx context.Context, secret Secret, n int) checks.Fact[[]string] {
	const source = "Cloud API GET /api-keys/{id} and /service-accounts/{id}"
	if g.Audit == nil {
		return notRead[[]string](source, "this run has no audit credential")
	}
	own, ok := secret.(OwnSecret)
	if !ok || n > 0 {
		return notRead[[]string](source, "compliance does not read this API key, and so it cannot tell whose it is")
	}
	key, err := own.Value(ctx)
	if err != nil {
		return read(g, []string(nil), err, source, "")
	}
	id := cmek.APIKeyID(key)
	if id == "" {
		return notRead[[]string](source, "the API key has a form that tells no id")
	}
	roles, err := g.Audit.Roles(ctx, id)
	return read(g, roles, err, source, "")
}

// credentials reads how old the credentials of keyturn are.
func (g *gatherer) credentials(ctx context.Context) (all []checks.Credential) {
	for _, kept := range []struct {
		cloud   checks.Cloud
		source  string
		secrets []Secret
	}{
		{checks.AWS, "AWS Secrets Manager ListSecretVersionIds", g.AWS.Secrets}, {checks.GCP, "Secret Manager GetSecretVersion", g.Google.Secrets},
	} {
		for i, secret := range kept.secrets {
			created, err := secret.Created(ctx)
			all = append(all, checks.Credential{Cloud: kept.cloud, Name: secret.Name(), Created: read(g, created, err, kept.source, ""), Roles: g.rolesOf(ctx, secret, i)})
		}
	}
	if len(all) > 0 {
		return all
	}
	cloud := checks.AWS
	if g.elsewhere(cmek.AWSKMS) {
		cloud = checks.GCP
	}
	// Unread, it is an ERROR; left out, nobody would miss it.
	return []checks.Credential{{Cloud: cloud, Name: "the API key in use", Roles: notRead[[]string]("Cloud API GET /service-accounts/{id}", "the API key is in no secret that this run knows"),
		Created: notRead[time.Time]("the store of the secret", "the API key is in no secret that this run knows")}}
}

// place is where keys are: an AWS account in a Region, or a Google project.
type place struct {
	cloud             checks.Cloud
	account, location string
}

// String is the place as findings name it.
func (p place) String() string {
	return strings.TrimSuffix(string(p.cloud)+"/"+p.account+"/"+p.location, "/")
}

func placeOf(uri cmek.KeyURI) (at place, ok bool) {
	switch uri.Type() {
	case cmek.AWSKMS:
		return place{checks.AWS, uri.Account(), uri.Location()}, true
	case cmek.GCPCloudKMS:
		return place{checks.GCP, uri.Account(), ""}, true
	}
	return place{}, false
}

// at reads the detection and the logs of a place.
func (g *gatherer) at(ctx context.Context, at place) checks.Account {
	a := checks.Account{Cloud: at.cloud, ID: at.account, Location: at.location}
	a.Watch, a.Heartbeat = g.watch(ctx, at), g.heartbeat(ctx, at)
	a.Trails = notRead[[]checks.Trail]("AWS CloudTrail", notHere)
	a.AuditConfigs = notRead[[]checks.AuditConfig](fromIAM, notHere)
	if at.cloud == checks.GCP {
		a.AuditConfigs = g.auditConfigs(ctx, "projects/"+at.account)
		g.noteRecorded(ctx, at.account, a.AuditConfigs)
	}
	if at.cloud == checks.AWS && g.AWS.Trails != nil {
		trails, err := g.AWS.Trails.Trails(ctx, at.account, at.location)
		a.Trails = read(g, trails, err, "AWS CloudTrail DescribeTrails, GetTrailStatus and GetEventSelectors",
			"cloudtrail:DescribeTrails, cloudtrail:GetTrailStatus and cloudtrail:GetEventSelectors in account "+at.account)
	}
	return a
}
