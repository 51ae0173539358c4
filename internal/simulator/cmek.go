package simulator

import (
	"net/http"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// keyRefused is the reply when the cluster cannot use the key, as the Terraform provider knows it (v1.22.0, utils.go).
const keyRefused = "Insufficient permissions to access the KMS key"

// cmekCluster is the cluster of the path, if it can have a CMEK.
func (w *World) cmekCluster(call *cloudCall) (*cluster, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed == nil && c.plan != cmek.PlanAdvanced {
		return nil, refusal(w.switches[CMEKOnOtherPlans], "CMEK is not supported on the plan "+c.plan)
	}
	return c, failed
}

func (w *World) getCMEK(call *cloudCall) (any, *cloudError) {
	c, failed := w.cmekCluster(call)
	if failed != nil {
		return nil, failed
	}
	info, form := w.visibleInfo(c, call.now), c.sight.cmekForm
	switch {
	case form != "":
		info = cmek.ClusterInfo{Status: cmek.Disabled}
		for _, r := range c.regions {
			info.RegionInfos = append(info.RegionInfos, cmek.RegionInfo{Region: r.name, Status: cmek.Disabled})
		}
	case slices.ContainsFunc(info.RegionInfos, func(r cmek.RegionInfo) bool { return len(r.KeyInfos) > 0 }):
		return w.ordered(c.sight.shown(info)), nil
	default:
		form = w.switches[CMEKAbsent]
	}
	switch form {
	case "404":
		return nil, notFound("no CMEK spec found for cluster '%s'", c.id)
	case "empty":
		return struct {
			RegionInfos []cmek.RegionInfo `json:"region_infos"`
		}{[]cmek.RegionInfo{}}, nil
	}
	return info, nil
}

// ordered arranges key_infos as a switch has it; info must be the caller's own.
func (w *World) ordered(info cmek.ClusterInfo) cmek.ClusterInfo {
	info.RegionInfos = slices.Clone(info.RegionInfos)
	for i := range info.RegionInfos {
		keys := slices.Clone(info.RegionInfos[i].KeyInfos)
		switch w.switches[KeyInfoOrder] {
		case "newest-first":
			slices.Reverse(keys)
		case "random":
			w.rand.Shuffle(len(keys), func(a, b int) { keys[a], keys[b] = keys[b], keys[a] })
		}
		info.RegionInfos[i].KeyInfos = keys
	}
	return info
}

// postCMEK is EnableCMEKSpec: every region must be listed.
func (w *World) postCMEK(call *cloudCall) (any, *cloudError) {
	c, failed := w.cmekCluster(call)
	if failed != nil {
		return nil, failed
	}
	specs, failed := w.regionSpecs(call, c)
	switch setting := w.switches[POSTWhenEnabled]; {
	case failed != nil:
	case !c.enabled():
		_, _, failed = w.wrap(call, c, specs, true)
	case setting == "rotate":
		_, _, failed = w.rotate(call, c, specs)
	default:
		failed = refusal(setting, "CMEK is already enabled for the cluster")
	}
	w.auditCMEK(call, updateCMEK, c, specs, failed)
	return w.ordered(w.visibleInfo(c, call.now)), failed
}

// putCMEK is UpdateCMEKSpec, the rotation call: only the regions listed are touched.
func (w *World) putCMEK(call *cloudCall) (any, *cloudError) {
	c, failed := w.cmekCluster(call)
	if failed != nil {
		return nil, failed
	}
	put := PUT{
		Seq: w.puts.next(), Time: w.observed(call.now), ClusterID: c.id, Cluster: c.name, Caller: call.caller.name, Status: http.StatusOK,
	}
	specs, failed := w.regionSpecs(call, c)
	var materials []string
	if failed == nil {
		put.Outcome, materials, failed = w.rotate(call, c, specs)
	}
	for i, spec := range specs {
		put.Regions = append(put.Regions, PUTRegion{Region: spec.Region, URI: spec.KeySpec.URI})
		if materials != nil {
			put.Regions[i].Material = materials[i]
			c.region(spec.Region).acceptedPUTs[materials[i]]++
		}
	}
	if failed != nil {
		put.Status, put.Outcome = failed.status, failed.message
	}
	w.puts.add(put)
	w.auditCMEK(call, updateCMEK, c, specs, failed)
	return w.ordered(w.visibleInfo(c, call.now)), failed
}

// rotate decides about a PUT whose specs are valid, and starts the operation.
func (w *World) rotate(call *cloudCall, c *cluster, specs []cmek.RegionSpec) (outcome string, materials []string, failed *cloudError) {
	duplicates := w.switches[DuplicatePUT]
	repeats := c.operation != nil && len(c.operation.specs) > 0 && slices.Equal(specs, c.operation.specs)
	switch {
	case c.revoked && w.switches[PUTAfterRevoke] != "rotate":
		return "", nil, refusal(w.switches[PUTAfterRevoke], "the CMEK of the cluster was revoked; contact support to restore it")
	case !c.hasCMEK() && w.switches[PUTWithoutCMEK] != "enable":
		return "", nil, refusal(w.switches[PUTWithoutCMEK], "CMEK is not enabled for the cluster")
	case !c.hasCMEK():
		return w.wrap(call, c, specs, true)
	case repeats && duplicates == "no-op", c.operation == nil && duplicates == "no-op" && w.upToDate(c, specs, call.now):
		return "no-op", nil, nil
	case c.operation != nil && (!repeats || duplicates != "rotate"):
		return "", nil, w.busy(c)
	case w.is(PUTInBlackout, "refuse") && c.inBlackout(call.now):
		return "", nil, refusal("400", "the cluster is in a blackout window")
	}
	return w.wrap(call, c, specs, false)
}

// wrap asks the KMS for every region and, if it is willing, starts the operation that wraps the store keys. With all set,
// every region must be there.
func (w *World) wrap(call *cloudCall, c *cluster, specs []cmek.RegionSpec, all bool) (string, []string, *cloudError) {
	if all && len(specs) != len(c.regions) {
		return "", nil, badRequest("a CMEK spec is needed for each of the %d regions of the cluster; %d given", len(c.regions), len(specs))
	}
	if all && c.operation != nil {
		return "", nil, w.busy(c)
	}
	materials, failed := w.wrappingMaterials(c, specs, call.now)
	if failed == nil && all {
		failed = w.propagates(c, call.now)
	}
	if failed != nil {
		return "", nil, failed
	}
	op := w.cmekOperation(c, call.now)
	op.specs = specs
	w.addWraps(op, c, specs, materials, call.now)
	c.revoked = false
	w.begin(c, op, call.now)
	return "accepted", materials, nil
}

// wrappingMaterials is what the keys of the specs encrypt with, in their order; one unusable key refuses all.
func (w *World) wrappingMaterials(c *cluster, specs []cmek.RegionSpec, now time.Time) (materials []string, failed *cloudError) {
	for _, spec := range specs {
		material, usable := w.wrappingMaterial(c, spec.KeySpec, now)
		if spec.KeySpec.Type == cmek.GCPCloudKMS && !w.is(CMEKUse, "none") {
			w.logClusterUse(c, spec.KeySpec, "Encrypt", "", now)
		}
		if !usable {
			return nil, refusal("400", keyRefused+" in region "+spec.Region)
		}
		materials = append(materials, material)
	}
	return materials, nil
}

// propagates is the refusal of keys that are new to the cluster, as long as changes of policies spread; nil after that.
func (w *World) propagates(c *cluster, now time.Time) *cloudError {
	if c.askedFirst.IsZero() {
		c.askedFirst = now
	}
	if now.Before(c.askedFirst.Add(w.duration(IAMPropagation))) {
		return refusal("400", keyRefused)
	}
	return nil
}

// addWraps starts the work of each region and puts its end into the operation.
func (w *World) addWraps(op *operation, c *cluster, specs []cmek.RegionSpec, materials []string, now time.Time) {
	var names []string
	for _, spec := range specs {
		names = append(names, spec.Region)
	}
	for i, spec := range specs {
		r := c.region(spec.Region)
		op.finish = append(op.finish, w.startWrap(c, r, spec.KeySpec, materials[i], w.takeFailure(r, names), now))
	}
}

// upToDate reports whether the specs would change nothing about the store keys.
func (w *World) upToDate(c *cluster, specs []cmek.RegionSpec, now time.Time) bool {
	for _, spec := range specs {
		r := c.region(spec.Region)
		material, _ := w.wrappingMaterial(c, spec.KeySpec, now)
		if r.status != cmek.Enabled || r.storeKey.spec != spec.KeySpec || r.storeKey.material != material {
			return false
		}
	}
	return true
}

// busy is the reply to a write while an operation runs.
func (w *World) busy(c *cluster) *cloudError {
	status, message := w.switches[BusyReply], "cluster lock is held by another operation: "+c.operation.running
	if status == notReady {
		status, message = "503", "cluster is not ready: "+c.operation.running
	}
	return refusal(status, message)
}

// patchCMEK is UpdateCMEKStatus: REVOKE is the only action there is.
func (w *World) patchCMEK(call *cloudCall) (any, *cloudError) {
	c, failed := w.cmekCluster(call)
	if failed != nil {
		return nil, failed
	}
	failed = w.revoke(call, c)
	w.auditCMEK(call, revokeCMEK, c, nil, failed)
	return w.ordered(w.visibleInfo(c, call.now)), failed
}

func (w *World) revoke(call *cloudCall, c *cluster) *cloudError {
	var body struct {
		Action string `json:"action"`
	}
	if failed := call.decode(&body); failed != nil {
		return failed
	}
	switch {
	case body.Action != "REVOKE":
		return badRequest("invalid action %q: REVOKE is the only one", body.Action)
	case !c.enabled() || c.revoked:
		return refusal("400", "there is no CMEK in force to revoke")
	case c.operation != nil:
		return w.busy(c)
	}
	op := w.cmekOperation(c, call.now)
	for _, r := range c.regions {
		r.status = cmek.Revoking
		w.setStatus(&r.keys[r.current], cmek.Revoking, "", call.now)
		op.finish = append(op.finish, func(at time.Time) bool {
			r.status = cmek.Revoked
			w.setStatus(&r.keys[r.current], cmek.Revoked, "", at)
			return true
		})
	}
	c.revoked = true
	w.begin(c, op, call.now)
	return nil
}

// regionSpecs reads the body of POST and PUT. Specs are in the order of the body.
func (w *World) regionSpecs(call *cloudCall, c *cluster) ([]cmek.RegionSpec, *cloudError) {
	var body struct {
		RegionSpecs []cmek.RegionSpec `json:"region_specs"`
	}
	if failed := call.decode(&body); failed != nil {
		return nil, failed
	}
	if len(body.RegionSpecs) == 0 {
		return nil, badRequest("region_specs is required")
	}
	seen := map[string]bool{}
	for _, spec := range body.RegionSpecs {
		if seen[spec.Region] {
			return nil, badRequest("region %q is listed twice", spec.Region)
		}
		seen[spec.Region] = true
		if c.region(spec.Region) == nil {
			return nil, refusal(w.switches[InvalidKeySpec], "cluster has no region '"+spec.Region+"'")
		}
		if failed := w.checkKeySpec(c, spec); failed != nil {
			return nil, failed
		}
	}
	return body.RegionSpecs, nil
}

// checkKeySpec refuses a key of another cloud, an alias, a version of a CryptoKey, and a URI that names no key.
func (w *World) checkKeySpec(c *cluster, spec cmek.RegionSpec) *cloudError {
	uri, err := cmek.ParseKeyURI(string(spec.KeySpec.URI))
	switch {
	case err != nil, uri != spec.KeySpec.URI, uri.IsAlias(), uri.Type() == cmek.GCPCloudKMS && uri.Canonical() != string(uri):
		return refusal(w.switches[InvalidKeySpec], "invalid key URI for region "+spec.Region)
	case spec.KeySpec.Type != keyTypes[c.provider], uri.Type() != spec.KeySpec.Type:
		return refusal(w.switches[InvalidKeySpec], "invalid key type for region "+spec.Region)
	case spec.KeySpec.AuthPrincipal == "":
		return badRequest("auth_principal is required for region %s", spec.Region)
	}
	return nil
}
