package simulator

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// statusLag is how long reads stay behind a write when the switch StatusFlip says "after".
const statusLag = 3 * time.Second

// operation is what makes a cluster LOCKED: one runs at a time.
type operation struct {
	// running and failed are the operation_status while it runs and after it failed.
	running, failed string
	duration        time.Duration
	// specs are those of a PUT, to recognize its repetition.
	specs []cmek.RegionSpec
	// before is the CMEK as reads show it until visibleAt; the zero time hides nothing.
	before    cmek.ClusterInfo
	visibleAt time.Time
	// finish ends the work of one region each and reports whether it went well.
	finish []func(at time.Time) bool
}

// cmekOperation is an operation that wraps, enables or revokes. It must be made before the cluster changes, since it keeps
// how the cluster looked.
func (w *World) cmekOperation(c *cluster, now time.Time) *operation {
	op := &operation{
		running: cmek.CMEKOperationRunning, failed: cmek.CMEKOperationFailed, duration: w.duration(RotationDuration),
		before: w.visibleInfo(c, now),
	}
	if w.is(StatusFlip, "after") {
		op.visibleAt = now.Add(min(statusLag, op.duration))
	}
	return op
}

// begin starts the operation, in place of one that runs. One without duration is over at once.
func (w *World) begin(c *cluster, op *operation, now time.Time) {
	c.operation, c.updated = op, now
	w.agenda.at(now.Add(op.duration), func(due time.Time) {
		if c.operation == op {
			c.end(due)
		}
	})
	w.agenda.run(now)
}

func (c *cluster) end(at time.Time) {
	op := c.operation
	c.operation, c.lastFailed, c.updated = nil, "", at
	for _, finish := range op.finish {
		if !finish(at) {
			c.lastFailed = op.failed
		}
	}
}

// visibleOperation is the operation that reads show, nil for none.
func (c *cluster) visibleOperation(now time.Time) *operation {
	if c.operation == nil || now.Before(c.operation.visibleAt) {
		return nil
	}
	return c.operation
}

// visibleInfo is the CMEK that reads show.
func (w *World) visibleInfo(c *cluster, now time.Time) cmek.ClusterInfo {
	if c.operation != nil && now.Before(c.operation.visibleAt) {
		return c.operation.before
	}
	return c.info()
}

// startWrap begins to wrap the region's store key under the spec's key, which encrypts with the material. The store key
// changes when the returned function is called at the end, unless a failure with the message awaits it.
func (w *World) startWrap(c *cluster, r *region, spec cmek.KeySpec, material string, failure *string, now time.Time) func(time.Time) bool {
	if r.status = cmek.Rotating; r.current < 0 {
		r.status = cmek.Enabling
	}
	switch {
	case r.next >= 0 && r.keys[r.next].Spec == spec:
		// A repeated PUT starts the same key once more.
	case r.current >= 0 && r.keys[r.current].Spec == spec && w.is(SameURIKeyInfo, "update"):
		r.next = r.current
	case r.formerKey(spec) >= 0 && w.is(FormerKeyInfo, "re-enable"):
		r.next = r.formerKey(spec)
		if r.current >= 0 {
			w.setStatus(&r.keys[r.current], cmek.Disabling, "", now)
		}
	default:
		r.keys = append(r.keys, cmek.KeyInfo{Spec: spec, CreatedAt: now, UpdatedAt: now})
		r.next = len(r.keys) - 1
		if r.current >= 0 {
			w.setStatus(&r.keys[r.current], cmek.Disabling, "", now)
		}
	}
	w.setStatus(&r.keys[r.next], cmek.Enabling, "", now)
	if k := w.aws.byARN[string(spec.URI)]; k != nil {
		if operation := w.switches[CMEKUse]; operation != "none" {
			w.useAWSKey(k, spec.AuthPrincipal, operation, material, r.storeKey.material, now)
		}
	}
	wrappedAt := w.observed(now)
	if failure != nil {
		return func(at time.Time) bool { w.failWrap(r, *failure, at); return false }
	}
	return func(at time.Time) bool {
		if r.current >= 0 && r.keys[r.current].Spec.URI != spec.URI && w.is(OldKeyDisabled, "fail") {
			if _, usable := w.wrappingMaterial(c, r.keys[r.current].Spec, at); !usable {
				w.failWrap(r, keyRefused+": the former key is needed until the rotation ends", at)
				return false
			}
		}
		if r.current >= 0 && r.current != r.next {
			w.setStatus(&r.keys[r.current], cmek.Disabled, "", at)
		}
		w.setStatus(&r.keys[r.next], cmek.Enabled, "", at)
		r.status, r.current, r.next = cmek.Enabled, r.next, -1
		r.storeKey = storeKey{spec, material, wrappedAt}
		return true
	}
}

// formerKey is the index of the newest key_info with the spec that was in force before another one, -1 if there is none.
func (r *region) formerKey(spec cmek.KeySpec) int {
	if r.current >= 0 && r.keys[r.current].Spec == spec {
		return -1
	}
	for i := len(r.keys) - 1; i >= 0; i-- {
		if r.keys[i].Spec == spec && r.keys[i].Status == cmek.Disabled {
			return i
		}
	}
	return -1
}

// failWrap leaves the store key as it was; the key before stays in force.
func (w *World) failWrap(r *region, message string, at time.Time) {
	status := cmek.EnableFailed
	if r.next == r.current {
		status = cmek.Status(w.switches[FailedKeyStatus])
	} else if r.current >= 0 {
		w.setStatus(&r.keys[r.current], cmek.Enabled, "", at)
	}
	w.setStatus(&r.keys[r.next], status, message, at)
	if r.status = cmek.RotateFailed; r.current < 0 {
		r.status = cmek.EnableFailed
	}
	r.next = -1
}

// setStatus changes a key_info. Whether that moves updated_at is a switch.
func (w *World) setStatus(k *cmek.KeyInfo, status cmek.Status, message string, at time.Time) {
	k.Status, k.UserMessage = status, message
	if w.is(UpdatedAt, "moves") {
		k.UpdatedAt = at
	}
}

// takeFailure returns the message of the failure that awaits the region in an operation on the regions named, or nil.
func (w *World) takeFailure(r *region, names []string) *string {
	if message := r.failNext; message != nil {
		r.failNext = nil
		return message
	}
	if w.is(PUTRegions, "last-fails") && len(names) > 1 && r.name == slices.Max(names) {
		message := "the key could not be used in this region"
		return &message
	}
	return nil
}
