package simulator

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// cluster is a cluster at CockroachDB Cloud.
type cluster struct {
	id, name, parentID, plan, provider, accountID, version string

	// state is CREATING, CREATED or CREATION_FAILED; what the API shows may be LOCKED or DELETED instead.
	state, creatorID string
	labels           map[string]string
	deleteProtection bool
	created          time.Time
	updated          time.Time
	deletedAt        time.Time
	// regions are sorted by name.
	regions []*region
	revoked bool
	// askedFirst is when it was first asked to use a key that was new to it.
	askedFirst time.Time

	// operation is what runs now, nil if nothing does; lastFailed is the operation_status that a failed one left behind.
	operation  *operation
	lastFailed string

	storageGiB  int
	machineType string
	vCPUs       int

	sight sight

	backups     BackupSeed
	maintenance *maintenanceWindow
	blackouts   []blackoutWindow
}

// region is a region of a cluster with its CMEK.
type region struct {
	name   string
	nodes  int
	status cmek.Status
	// keys are all keys there ever were, oldest first. current and next index the one in force and the one being enabled;
	// -1 is none. They are equal while a key is enabled again in place.
	keys          []cmek.KeyInfo
	current, next int

	storeKey     storeKey
	acceptedPUTs map[string]int
	// failNext is the user_message of the failure that awaits the next operation, nil if none does.
	failNext *string
}

// storeKey tells what the region's store key is wrapped under.
type storeKey struct {
	spec      cmek.KeySpec
	material  string
	wrappedAt time.Time // by the observer's clock
}

func newRegion(name string, nodes int) *region {
	return &region{name: name, nodes: nodes, status: cmek.Disabled, current: -1, next: -1, acceptedPUTs: map[string]int{}}
}

// hasCMEK reports whether CMEK was ever asked for, enabled whether every region has a key in force.
func (c *cluster) hasCMEK() bool {
	return slices.ContainsFunc(c.regions, func(r *region) bool { return len(r.keys) > 0 })
}

func (c *cluster) enabled() bool {
	return !slices.ContainsFunc(c.regions, func(r *region) bool { return r.current < 0 })
}

func (c *cluster) deleted() bool { return !c.deletedAt.IsZero() }

func (c *cluster) region(name string) *region {
	for _, r := range c.regions {
		if r.name == name {
			return r
		}
	}
	return nil
}

func (c *cluster) sortRegions() {
	slices.SortFunc(c.regions, func(a, b *region) int { return strings.Compare(a.name, b.name) })
}

// info is the CMEK as the API shows it: region_infos by region name, keys oldest first.
func (c *cluster) info() cmek.ClusterInfo {
	info := cmek.ClusterInfo{Status: cmek.Disabled}
	var statuses []cmek.Status
	for _, r := range c.regions {
		info.RegionInfos = append(info.RegionInfos, cmek.RegionInfo{Region: r.name, Status: r.status, KeyInfos: slices.Clone(r.keys)})
		statuses = append(statuses, r.status)
	}
	// How the regions' statuses make one is not documented: here what runs comes first, then what failed.
	for _, first := range []func(cmek.Status) bool{cmek.Status.InProgress, cmek.Status.Failed, cmek.Status.Known} {
		if i := slices.IndexFunc(statuses, first); i >= 0 {
			info.Status = statuses[i]
			break
		}
	}
	return info
}

// clusterIndex finds clusters without looking at all of them.
type clusterIndex struct {
	byID      map[string]*cluster
	named     map[string]*cluster
	byName    []*cluster
	byCreated []*cluster
}

// find looks a cluster up by id or name.
func (i *clusterIndex) find(idOrName string) (*cluster, error) {
	if c := i.byID[idOrName]; c != nil {
		return c, nil
	}
	if c := i.named[idOrName]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no cluster with id or name %q", idOrName)
}

func (w *World) seedClusters(seeds []ClusterSeed, now time.Time) {
	w.clusters = clusterIndex{byID: map[string]*cluster{}, named: map[string]*cluster{}}
	for _, seed := range seeds {
		w.clusters.add(w.newCluster(seed, now))
	}
}

// add puts the cluster where it belongs in each order; of those of one name it is the newest.
func (i *clusterIndex) add(c *cluster) {
	i.byID[c.id], i.named[c.name] = c, c
	at := sort.Search(len(i.byName), func(n int) bool { return i.byName[n].name > c.name })
	i.byName = slices.Insert(i.byName, at, c)
	at = sort.Search(len(i.byCreated), func(n int) bool {
		return cmp.Or(i.byCreated[n].created.Compare(c.created), strings.Compare(i.byCreated[n].name, c.name)) > 0
	})
	i.byCreated = slices.Insert(i.byCreated, at, c)
}

func (w *World) newCluster(seed ClusterSeed, now time.Time) *cluster {
	c := &cluster{
		id: seed.ID, name: seed.Name, parentID: seed.ParentID, plan: seed.Plan, provider: seed.provider(),
		accountID: seed.AccountID, version: seed.Version, labels: seed.Labels, deleteProtection: seed.DeleteProtection,
		created: ago(now, seed.AgeDays), updated: ago(now, seed.AgeDays), revoked: seed.Revoked,
		state: cmek.StateCreated, creatorID: derivedUUID("creator"), storageGiB: 150, machineType: "m6i.xlarge", vCPUs: 4, backups: seed.Backups,
	}
	setDefault(&c.parentID, "root")
	setDefault(&c.plan, cmek.PlanAdvanced)
	setDefault(&c.version, "v25.4.3")
	setDefault(&c.backups.RetentionDays, 30)
	setDefault(&c.backups.FrequencyMinutes, 24*60)
	for _, rs := range seed.Regions {
		setDefault(&rs.Nodes, 3)
		r := newRegion(rs.Name, rs.Nodes)
		c.regions = append(c.regions, r)
		if rs.Key != "" {
			w.seedKeyInfo(c, r, rs, now)
		}
	}
	c.sortRegions()
	for _, failure := range seed.FailNextRotation {
		c.region(failure.Region).failNext = &failure.Message
	}
	return c
}

// followedAfter is how long after a rotation somebody re-encrypted the store key by hand: long enough to be told from an
// operation that began before the rotation.
const followedAfter = 4 * time.Hour

// seedKeyInfo gives the region its key, in force since the cluster was made or since the rotation last followed.
func (w *World) seedKeyInfo(c *cluster, r *region, seed RegionSeed, now time.Time) {
	spec := cmek.KeySpec{Type: seed.Key.Type(), URI: seed.Key, AuthPrincipal: seed.AuthPrincipal}
	var material string
	wrappedAt := c.created
	if k := w.aws.byARN[string(seed.Key)]; k != nil {
		g := k.lineage.generations[len(k.lineage.generations)-1-seed.Behind]
		material = g.id
		if followed := g.rotatedAt.Add(followedAfter); followed.After(wrappedAt) && !followed.After(now) {
			wrappedAt = followed
		}
	} else if k := w.google.key(string(seed.Key)); k != nil {
		v := k.versions[len(k.versions)-1-seed.Behind]
		material = v.id()
		if followed := v.created.Add(followedAfter); followed.After(wrappedAt) && !followed.After(now) {
			wrappedAt = followed
		}
	} else {
		material, _ = w.wrappingMaterial(c, spec, now)
	}
	r.storeKey = storeKey{spec, material, w.observed(wrappedAt)}
	info := cmek.KeyInfo{Spec: spec, Status: cmek.Enabled, CreatedAt: c.created, UpdatedAt: wrappedAt}
	if c.revoked {
		info.Status, info.UpdatedAt = cmek.Revoked, ago(now, 1)
	}
	r.status, r.keys, r.current = info.Status, []cmek.KeyInfo{info}, 0
}

// setDefault fills in what a seed left out.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
