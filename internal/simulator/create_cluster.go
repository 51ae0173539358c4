package simulator

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// States of a cluster on its way to CREATED.
const (
	clusterCreating       = "CREATING"
	clusterCreationFailed = "CREATION_FAILED"
)

// newClusterBody is the schema CreateClusterRequest, as far as the simulator performs it.
type newClusterBody struct {
	Name     string `json:"name"`
	Provider string `json:"provider"`
	Spec     *struct {
		Plan             string `json:"plan"`
		ParentID         string `json:"parent_id"`
		DeleteProtection string `json:"delete_protection"`
		Dedicated        *struct {
			RegionNodes      map[string]int `json:"region_nodes"`
			CockroachVersion string         `json:"cockroach_version"`
			Hardware         *struct {
				StorageGiB  int `json:"storage_gib"`
				MachineSpec struct {
					MachineType    string `json:"machine_type"`
					NumVirtualCPUs int    `json:"num_virtual_cpus"`
				} `json:"machine_spec"`
			} `json:"hardware"`
		} `json:"dedicated"`
		Serverless *struct {
			Regions       []string `json:"regions"`
			PrimaryRegion string   `json:"primary_region"`
		} `json:"serverless"`
	} `json:"spec"`
}

func (w *World) createCluster(call *cloudCall) (any, *cloudError) {
	var body newClusterBody
	if failed := call.decode(&body); failed != nil {
		return nil, failed
	}
	seed, failed := body.seed()
	if failed != nil {
		return nil, failed
	}
	for _, r := range seed.Regions {
		if w.is(UnknownRegion, "400") && !knownRegion(seed.CloudProvider, r.Name) {
			return nil, badRequest("region '%s' is not available on %s", r.Name, seed.CloudProvider)
		}
	}
	if d := body.Spec.Dedicated; d != nil {
		if failed := w.checkMachineType(seed.CloudProvider, d.Hardware.MachineSpec.MachineType); failed != nil {
			return nil, failed
		}
	}
	seed.ID, seed.AccountID = w.uuid(), "9"+w.digits(11)
	if seed.CloudProvider == "GCP" {
		seed.AccountID = "crl-sample-" + w.digits(6) // a project
	}
	c := w.newCluster(seed, call.now)
	if !call.caller.hasAnyOn(c, call.roles) {
		return nil, refusal("403", "permission denied: clusters of that folder need any of "+strings.Join(call.roles, ", "))
	}
	if other := w.clusters.named[c.name]; other != nil && !other.deleted() {
		return nil, refusal("409", "cluster name '"+c.name+"' is already in use")
	}
	if body.Spec.Dedicated != nil && body.Spec.Dedicated.Hardware != nil {
		hw := body.Spec.Dedicated.Hardware
		c.storageGiB, c.machineType, c.vCPUs = hw.StorageGiB, cmp.Or(hw.MachineSpec.MachineType, c.machineType), cmp.Or(hw.MachineSpec.NumVirtualCPUs, c.vCPUs)
	}
	c.creatorID = call.caller.id
	w.clusters.add(c)
	c.state = clusterCreating
	w.begin(c, &operation{running: "cluster creation", duration: w.duration(RotationDuration), finish: []func(time.Time) bool{func(time.Time) bool {
		c.state = w.switches[ClusterCreation]
		return true
	}}}, call.now)
	w.auditCluster(call, "AUDIT_LOG_ACTION_CREATE_CLUSTER", c)
	return c.view(call.now), nil
}

// seed is the new cluster as a seed has it, or what is wrong with the body.
func (b newClusterBody) seed() (ClusterSeed, *cloudError) {
	seed := ClusterSeed{Name: b.Name, CloudProvider: b.Provider}
	_, known := keyTypes[b.Provider]
	switch {
	case b.Name == "":
		return seed, badRequest("name is required")
	case !known:
		return seed, badRequest("invalid provider %q: want AWS, GCP or AZURE", b.Provider)
	case b.Spec == nil:
		return seed, badRequest("spec is required")
	case (b.Spec.Dedicated == nil) == (b.Spec.Serverless == nil):
		return seed, badRequest("spec must have either dedicated or serverless")
	case !slices.Contains([]string{"", "ENABLED", "DISABLED"}, b.Spec.DeleteProtection):
		return seed, badRequest("invalid delete_protection %q", b.Spec.DeleteProtection)
	}
	plans := []string{cmek.PlanAdvanced}
	if b.Spec.Serverless != nil {
		plans = []string{"BASIC", "STANDARD"}
	}
	seed.Plan = b.Spec.Plan
	setDefault(&seed.Plan, plans[0])
	if !slices.Contains(plans, seed.Plan) {
		return seed, badRequest("invalid plan %q for this kind of spec", b.Spec.Plan)
	}
	seed.ParentID, seed.DeleteProtection = b.Spec.ParentID, b.Spec.DeleteProtection == "ENABLED"
	if d := b.Spec.Dedicated; d != nil {
		if d.Hardware == nil || d.Hardware.StorageGiB < 1 {
			return seed, badRequest("hardware is required, with storage_gib")
		}
		seed.Version = d.CockroachVersion
		for _, name := range slices.Sorted(maps.Keys(d.RegionNodes)) {
			if d.RegionNodes[name] < 1 || name == "" {
				return seed, badRequest("region_nodes of %s must be positive", name)
			}
			seed.Regions = append(seed.Regions, RegionSeed{Name: name, Nodes: d.RegionNodes[name]})
		}
	} else {
		for _, name := range slices.Sorted(slices.Values(b.Spec.Serverless.Regions)) {
			seed.Regions = append(seed.Regions, RegionSeed{Name: name, Nodes: 1})
		}
	}
	if len(seed.Regions) == 0 {
		return seed, badRequest("the spec has no regions")
	}
	return seed, nil
}

// digits draws n digits.
func (w *World) digits(n int) string {
	drawn := make([]byte, n)
	for i := range drawn {
		drawn[i] = '0' + byte(w.rand.IntN(10))
	}
	return string(drawn)
}
