package simulator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// clusterView is the schema Cluster.
type clusterView struct {
	ID                     string            `json:"id"`
	Name                   string            `json:"name"`
	CockroachVersion       string            `json:"cockroach_version"`
	UpgradeStatus          string            `json:"upgrade_status"`
	Plan                   string            `json:"plan"`
	CloudProvider          string            `json:"cloud_provider"`
	AccountID              string            `json:"account_id,omitempty"`
	State                  string            `json:"state"`
	CreatorID              string            `json:"creator_id"`
	OperationStatus        string            `json:"operation_status"`
	Config                 clusterConfig     `json:"config"`
	Regions                []regionView      `json:"regions"`
	CreatedAt              time.Time         `json:"created_at"`
	UpdatedAt              time.Time         `json:"updated_at"`
	DeletedAt              time.Time         `json:"deleted_at,omitzero"`
	SQLDNS                 string            `json:"sql_dns"`
	NetworkVisibility      string            `json:"network_visibility"`
	EgressTrafficPolicy    string            `json:"egress_traffic_policy"`
	CIDRRange              string            `json:"cidr_range"`
	ParentID               string            `json:"parent_id"`
	DeleteProtection       string            `json:"delete_protection"`
	Labels                 map[string]string `json:"labels"`
	AzureIdentityClientID  string            `json:"azure_cluster_identity_client_id,omitempty"`
	IsCustomerCloudAccount bool              `json:"is_customer_cloud_account"`
}

type clusterConfig struct {
	Dedicated *hardware `json:"dedicated,omitempty"`
	// Serverless stays empty: the limits of BASIC and STANDARD clusters concern nobody here.
	Serverless *struct{} `json:"serverless,omitempty"`
}

// hardware is DedicatedHardwareConfig.
type hardware struct {
	MachineType    string  `json:"machine_type"`
	NumVirtualCPUs int     `json:"num_virtual_cpus"`
	StorageGiB     int     `json:"storage_gib"`
	MemoryGiB      float64 `json:"memory_gib"`
	DiskIOPS       int     `json:"disk_iops"`
}

type regionView struct {
	Name               string `json:"name"`
	SQLDNS             string `json:"sql_dns"`
	UIDNS              string `json:"ui_dns"`
	InternalDNS        string `json:"internal_dns"`
	PrivateEndpointDNS string `json:"private_endpoint_dns"`
	NodeCount          int    `json:"node_count"`
	Primary            bool   `json:"primary"`
}

func (c *cluster) view(now time.Time) clusterView {
	v := clusterView{
		ID: c.id, Name: c.name, CockroachVersion: c.version, UpgradeStatus: "FINALIZED", Plan: c.plan,
		CloudProvider: c.provider, AccountID: c.accountID, State: c.state, CreatorID: c.creatorID,
		OperationStatus: "UNSPECIFIED", Regions: []regionView{}, CreatedAt: c.created, UpdatedAt: c.updated,
		DeletedAt: c.deletedAt, SQLDNS: c.name + ".simulated.cockroachlabs.cloud", NetworkVisibility: "PRIVATE",
		EgressTrafficPolicy: "ALLOW_ALL", ParentID: c.parentID, DeleteProtection: "DISABLED", Labels: c.labels,
	}
	if c.labels == nil {
		v.Labels = map[string]string{}
	}
	if c.deleteProtection {
		v.DeleteProtection = "ENABLED"
	}
	if c.provider == "AZURE" {
		v.AzureIdentityClientID = derivedUUID("azure identity", c.id)
	}
	if c.plan == cmek.PlanAdvanced {
		v.Config.Dedicated = &hardware{c.machineType, c.vCPUs, c.storageGiB, 4 * float64(c.vCPUs), 2250}
	} else {
		v.Config.Serverless = &struct{}{}
	}
	switch op := c.visibleOperation(now); {
	case c.deleted():
		v.State = cmek.StateDeleted
	case c.state != cmek.StateCreated:
	case op != nil:
		v.State, v.OperationStatus = cmek.StateLocked, op.running
	case c.operation == nil && c.lastFailed != "":
		v.OperationStatus = c.lastFailed
	}
	for _, r := range c.regions {
		if c.sight.hides(ClusterView, r.name) {
			continue
		}
		v.Regions = append(v.Regions, regionView{
			Name: r.name, NodeCount: r.nodes, SQLDNS: r.name + "." + v.SQLDNS, UIDNS: "admin-" + r.name + "." + v.SQLDNS,
			InternalDNS: "internal-" + r.name + "." + v.SQLDNS,
		})
	}
	return v
}

// pathCluster is the cluster that the path names. A deleted one is gone for every call but the list, one that the caller
// does not see for all.
func (w *World) pathCluster(call *cloudCall) (*cluster, *cloudError) {
	id := call.PathValue("cluster_id")
	c := w.clusters.byID[id]
	switch {
	case c == nil || c.deleted() || !call.caller.sees(c):
		return nil, notFound("internal call failed: cluster '%s' not found", id)
	case !call.caller.hasAnyOn(c, call.roles):
		return nil, refusal("403", "permission denied: the call needs any of "+strings.Join(call.roles, ", ")+" on the cluster")
	case c.state == clusterCreating && strings.Count(call.Pattern, "/") > strings.Count("GET /api/v1/clusters/{cluster_id}", "/"):
		if w.is(WhileCreating, "404") {
			return nil, notFound("internal call failed: cluster '%s' not found", id)
		}
		return nil, refusal("503", "cluster is not ready: "+c.state)
	}
	return c, nil
}

// freeCluster is the cluster that the path names, if nothing runs on it.
func (w *World) freeCluster(call *cloudCall) (*cluster, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed == nil && c.operation != nil {
		failed = w.busy(c)
	}
	return c, failed
}

func (w *World) listClusters(call *cloudCall) (any, *cloudError) {
	query := call.URL.Query()
	sortBy, index := query.Get("pagination.sort_by"), w.clusters.byName
	switch sortBy {
	case "", "NAME":
	case "CREATED_AT":
		index = w.clusters.byCreated
	case "DELETED_AT":
		index = slices.Clone(index)
		slices.SortStableFunc(index, func(a, b *cluster) int { return a.deletedAt.Compare(b.deletedAt) })
	default:
		return nil, badRequest("invalid pagination.sort_by %q", sortBy)
	}
	page, failed := w.pageRequest(call, "clusters"+sortBy)
	if failed != nil {
		return nil, failed
	}
	all := query.Get("show_inactive") == "true"
	result := struct {
		Clusters   []clusterView `json:"clusters"`
		Pagination *pagination   `json:"pagination"`
	}{Clusters: []clusterView{}}
	result.Pagination = w.cut(page, len(index), func(i int) bool {
		if index[i].deleted() && !all || !call.caller.sees(index[i]) {
			return false
		}
		result.Clusters = append(result.Clusters, index[i].view(call.now))
		return true
	})
	return result, nil
}

func (w *World) getCluster(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	return c.view(call.now), nil
}

func (w *World) deleteCluster(call *cloudCall) (any, *cloudError) {
	c, failed := w.freeCluster(call)
	if failed != nil {
		return nil, failed
	}
	if c.deleteProtection {
		return nil, refusal("400", "delete protection is enabled")
	}
	c.deletedAt, c.updated = call.now, call.now
	w.auditCluster(call, "AUDIT_LOG_ACTION_DELETE_CLUSTER", c)
	return c.view(call.now), nil
}

// clusterUpdate is the part of UpdateClusterSpecification that the simulator performs; the rest is left alone.
type clusterUpdate struct {
	Labels           *map[string]string `json:"labels"`
	ParentID         *string            `json:"parent_id"`
	DeleteProtection *string            `json:"delete_protection"`
	Dedicated        *struct {
		RegionNodes map[string]int `json:"region_nodes"`
		// RegionSpecs must hold newly added regions only.
		RegionSpecs []cmek.RegionSpec `json:"cmek_region_specs"`
		Hardware    struct {
			StorageGiB  int `json:"storage_gib"`
			MachineSpec struct {
				MachineType string `json:"machine_type"`
			} `json:"machine_spec"`
		} `json:"hardware"`
	} `json:"dedicated"`
}

func (w *World) updateCluster(call *cloudCall) (any, *cloudError) {
	c, failed := w.freeCluster(call)
	if failed != nil {
		return nil, failed
	}
	var update clusterUpdate
	if failed := call.decode(&update); failed != nil {
		return nil, failed
	}
	if p := update.DeleteProtection; p != nil && *p != "ENABLED" && *p != "DISABLED" {
		return nil, badRequest("invalid delete_protection %q", *p)
	}
	if update.Dedicated != nil {
		if failed := w.resize(call, c, update); failed != nil {
			return nil, failed
		}
	}
	if update.Labels != nil {
		c.labels = *update.Labels
	}
	if update.ParentID != nil {
		c.parentID = *update.ParentID
		setDefault(&c.parentID, "root")
	}
	if update.DeleteProtection != nil {
		c.deleteProtection = *update.DeleteProtection == "ENABLED"
	}
	c.updated = call.now
	w.auditCluster(call, "AUDIT_LOG_ACTION_UPDATE_CLUSTER", c)
	return c.view(call.now), nil
}

// resize adds and removes regions and changes hardware. region_nodes is the full map of what shall be: a region left out
// is removed. On a cluster with CMEK every new region needs its key.
func (w *World) resize(call *cloudCall, c *cluster, update clusterUpdate) *cloudError {
	target, specs := update.Dedicated.RegionNodes, update.Dedicated.RegionSpecs
	materials, failed := w.checkNewRegions(call, c, target, specs)
	if failed == nil {
		failed = w.checkMachineType(c.provider, update.Dedicated.Hardware.MachineSpec.MachineType)
	}
	if failed != nil {
		return failed
	}
	op := w.cmekOperation(c, call.now)
	op.running, op.failed = "CRDB_EDIT_CLUSTER_RUNNING", "CRDB_EDIT_CLUSTER_FAILED"
	if target != nil {
		if w.is(OmittedRegion, "remove") {
			c.regions = slices.DeleteFunc(c.regions, func(r *region) bool { return target[r.name] == 0 })
		}
		for _, name := range slices.Sorted(maps.Keys(target)) {
			if r := c.region(name); r != nil {
				r.nodes = target[name]
			} else {
				c.regions = append(c.regions, newRegion(name, target[name]))
			}
		}
		c.sortRegions()
	}
	w.addWraps(op, c, specs, materials, call.now)
	if hw := update.Dedicated.Hardware; hw.StorageGiB > 0 {
		c.storageGiB = hw.StorageGiB
	}
	if machine := update.Dedicated.Hardware.MachineSpec.MachineType; machine != "" {
		c.machineType = machine
	}
	w.begin(c, op, call.now)
	return nil
}

// checkNewRegions returns what the keys of the new regions encrypt with.
func (w *World) checkNewRegions(call *cloudCall, c *cluster, target map[string]int, specs []cmek.RegionSpec) ([]string, *cloudError) {
	for name, nodes := range target {
		if nodes < 1 {
			return nil, badRequest("region_nodes of %s must be positive", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(target)) {
		if c.region(name) == nil && w.is(UnknownRegion, "400") && !knownRegion(c.provider, name) {
			return nil, badRequest("region '%s' is not available on %s", name, c.provider)
		}
	}
	for _, r := range c.regions {
		if target != nil && target[r.name] == 0 && w.is(OmittedRegion, "400") {
			return nil, badRequest("region_nodes lacks the region %s of the cluster", r.name)
		}
	}
	if len(specs) > 0 && !c.hasCMEK() {
		return nil, badRequest("cmek_region_specs: CMEK is not enabled for the cluster")
	}
	given := map[string]bool{}
	for _, spec := range specs {
		if c.region(spec.Region) != nil {
			return nil, badRequest("cmek_region_specs must hold newly added regions only; %s exists", spec.Region)
		}
		if target[spec.Region] == 0 || given[spec.Region] {
			return nil, badRequest("cmek_region_specs names %s, which region_nodes does not add, or twice", spec.Region)
		}
		given[spec.Region] = true
		if failed := w.checkKeySpec(c, spec); failed != nil {
			return nil, failed
		}
	}
	for _, name := range slices.Sorted(maps.Keys(target)) {
		if c.region(name) == nil && c.hasCMEK() && !given[name] {
			return nil, badRequest("cmek_region_specs lacks the new region %s", name)
		}
	}
	materials, failed := w.wrappingMaterials(c, specs, call.now)
	if failed == nil && len(specs) > 0 {
		failed = w.propagates(c, call.now)
	}
	return materials, failed
}

// nodeView is the schema Node.
type nodeView struct {
	Name       string `json:"name"`
	RegionName string `json:"region_name"`
	Status     string `json:"status"`
}

func (w *World) listNodes(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	only := call.URL.Query().Get("region_name")
	op := c.visibleOperation(call.now)
	restarting := op != nil && op.running == cmek.CMEKOperationRunning && w.is(NodesInRotation, "restart")
	var nodes []nodeView
	for _, r := range c.regions {
		for n := range r.nodes {
			if only != "" && only != r.name {
				continue
			}
			node := nodeView{fmt.Sprintf("cockroachdb-%d", n), r.name, "LIVE"}
			if restarting && n == 0 || r.status == cmek.Revoked && w.is(NodesAfterRevoke, "not-ready") {
				node.Status = "NOT_READY"
			}
			nodes = append(nodes, node)
		}
	}
	page, failed := w.pageRequest(call, "nodes"+only)
	if failed != nil {
		return nil, failed
	}
	result := struct {
		Nodes      []nodeView  `json:"nodes"`
		Pagination *pagination `json:"pagination"`
	}{Nodes: []nodeView{}}
	result.Pagination = w.cut(page, len(nodes), func(i int) bool {
		result.Nodes = append(result.Nodes, nodes[i])
		return true
	})
	return result, nil
}
