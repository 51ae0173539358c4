package simulator

import (
	"slices"
	"time"
)

// mostOnDemand is how many on-demand rotations a key has in its lifetime:
// docs.aws.amazon.com/kms/latest/APIReference/API_RotateKeyOnDemand.html.
const mostOnDemand = 25

// validRotationPeriod is the range of RotationPeriodInDays.
func validRotationPeriod(days int) bool { return days >= 90 && days <= 2560 }

// scheduleRotation puts the next automatic rotation on the agenda, in place of any before.
func (w *World) scheduleRotation(l *lineage, next time.Time) {
	l.schedule++
	l.nextRotation = next
	schedule := l.schedule
	w.agenda.at(next, func(due time.Time) {
		if l.schedule == schedule && l.rotationOn {
			w.rotateAutomatically(l, due)
		}
	})
}

// rotateAutomatically rotates unless the key is disabled or pending deletion; then the date stays in the past, and EnableKey
// catches up.
func (w *World) rotateAutomatically(l *lineage, at time.Time) {
	if l.primary.state != stateEnabled {
		return
	}
	w.completeRotation(l, automatic, at)
	w.scheduleRotation(l, at.Add(l.period()))
}

func (l *lineage) period() time.Duration { return time.Duration(l.periodDays) * 24 * time.Hour }

// overdue reports whether an automatic rotation could not happen when it was due.
func (l *lineage) overdue(now time.Time) bool { return l.rotationOn && !l.nextRotation.After(now) }

// startOnDemandRotation begins what completes after the time that a switch sets.
func (w *World) startOnDemandRotation(l *lineage, now time.Time) {
	l.onDemandSince = now
	l.onDemandUsed++
	w.agenda.at(now.Add(w.duration(KMSRotationTime)), func(due time.Time) {
		l.onDemandSince = time.Time{}
		w.completeRotation(l, onDemand, due)
	})
}

// completeRotation makes new material current in the primary and all replicas, and says so as AWS does.
func (w *World) completeRotation(l *lineage, kind string, at time.Time) {
	previous, next := l.current().id, l.pending
	if next == "" {
		next = l.derivedMaterial(len(l.generations))
		l.importEverywhere(next)
	}
	l.pending = ""
	l.generations = append(l.generations, generation{
		id: next, rotatedAt: at, kind: kind, encryptsFrom: at.Add(w.duration(KMSPropagation)),
	})
	emitters := []*awsKey{l.primary}
	if w.is(KMSReplicaEvents, "every-region") {
		emitters = l.keys()
	}
	for _, k := range emitters {
		w.emitRotation(k, kind, previous, at)
	}
}

// mustRotate is the error for a key whose rotation is not its own to decide.
func (k *awsKey) mustRotate(c *kmsCall) *kmsError {
	if k != k.lineage.primary {
		return refused("UnsupportedOperationException", "%s is a replica key; call %s on its primary key %s.", k.arn, c.operation, k.lineage.primary.arn)
	}
	return nil
}

func (w *World) rotateKeyOnDemand(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := k.mustRotate(c); failed != nil {
		return nil, failed
	}
	if failed := k.mustBeEnabled(); failed != nil {
		return nil, failed
	}
	l := k.lineage
	switch {
	case l.origin == originExternal && l.pendingState() != materialPending:
		return nil, refused("KMSInvalidStateException", "%s has no key material that is pending rotation in every Region.", k.arn)
	case !l.onDemandSince.IsZero():
		return nil, refused("ConflictException", "An on-demand rotation of %s is already in progress.", k.arn)
	case l.rotationOn && l.nextRotation.Sub(c.now) < 20*time.Minute:
		return nil, refused("ConflictException", "An automatic rotation of %s is scheduled within the next 20 minutes.", k.arn)
	case l.onDemandUsed >= mostOnDemand:
		return nil, refused("LimitExceededException", "%s has used all of its %d on-demand rotations.", k.arn, mostOnDemand)
	}
	w.startOnDemandRotation(l, c.now)
	return map[string]string{"KeyId": k.arn}, nil
}

func (w *World) enableKeyRotation(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := k.mustRotate(c); failed != nil {
		return nil, failed
	}
	if failed := k.mustBeEnabled(); failed != nil {
		return nil, failed
	}
	if k.lineage.origin == originExternal {
		return nil, refused("UnsupportedOperationException", "%s has imported key material.", k.arn)
	}
	period := 365
	if c.input.RotationPeriodInDays != nil {
		period = *c.input.RotationPeriodInDays
	}
	if !validRotationPeriod(period) {
		return nil, outOfRange("rotationPeriodInDays", period, 90, 2560)
	}
	k.lineage.rotationOn, k.lineage.periodDays = true, period
	w.scheduleRotation(k.lineage, c.now.Add(k.lineage.period()))
	return nil, nil
}

func (w *World) disableKeyRotation(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := k.mustRotate(c); failed != nil {
		return nil, failed
	}
	if failed := k.mustBeEnabled(); failed != nil {
		return nil, failed
	}
	k.lineage.rotationOn = false
	return nil, nil
}

type rotationStatusOutput struct {
	KeyID                     string `json:"KeyId"`
	KeyRotationEnabled        bool
	RotationPeriodInDays      int   `json:",omitempty"`
	NextRotationDate          epoch `json:",omitzero"`
	OnDemandRotationStartDate epoch `json:",omitzero"`
}

// getKeyRotationStatus reports a key that is pending deletion as not rotating; the setting returns on cancel.
func (w *World) getKeyRotationStatus(_ *kmsCall, k *awsKey) (any, *kmsError) {
	l := k.lineage
	status := rotationStatusOutput{KeyID: k.arn, OnDemandRotationStartDate: epoch{l.onDemandSince}}
	if l.rotationOn && !k.pendingDeletion() {
		status.KeyRotationEnabled, status.RotationPeriodInDays, status.NextRotationDate = true, l.periodDays, epoch{l.nextRotation}
	}
	return status, nil
}

type rotationsOutput struct {
	Rotations  []rotationEntry
	Truncated  bool
	NextMarker string `json:",omitempty"`
}

type rotationEntry struct {
	KeyID            string `json:"KeyId"`
	KeyMaterialID    string `json:"KeyMaterialId,omitempty"`
	KeyMaterialState string
	RotationDate     epoch  `json:",omitzero"`
	RotationType     string `json:",omitempty"`
	ImportState      string `json:",omitempty"`
	Description      string `json:"KeyMaterialDescription,omitempty"`
	ExpirationModel  string `json:",omitempty"`
	ValidTo          epoch  `json:",omitzero"`
}

// listKeyRotations lists the materials that rotations made, and on request the first one and the one that awaits a rotation.
func (w *World) listKeyRotations(c *kmsCall, k *awsKey) (any, *kmsError) {
	l, entries := k.lineage, []rotationEntry{}
	all := c.input.IncludeKeyMaterial == "ALL_KEY_MATERIAL"
	hidden := k != l.primary && w.is(KMSReplicaHistory, "empty")
	for i, g := range l.generations {
		if hidden || i == 0 && !all {
			continue
		}
		state := "NON_CURRENT"
		if i == len(l.generations)-1 {
			state = "CURRENT"
		}
		entries = append(entries, w.rotationEntry(k, g, state))
	}
	if all && l.pending != "" && !hidden {
		entries = append(entries, w.rotationEntry(k, generation{id: l.pending}, l.pendingState()))
	}
	if w.is(KMSRotationsOrder, "newest-first") {
		slices.Reverse(entries)
	}
	page, next, failed := kmsPage(c, entries, 100, 1000)
	return rotationsOutput{page, next != "", next}, failed
}

func (w *World) rotationEntry(k *awsKey, g generation, state string) rotationEntry {
	entry := rotationEntry{
		KeyID: k.arn, KeyMaterialID: w.shownMaterial(g.id), KeyMaterialState: state, RotationDate: epoch{g.rotatedAt}, RotationType: g.kind,
	}
	if k.lineage.origin == originExternal {
		entry.ImportState, entry.Description = "PENDING_IMPORT", k.lineage.descriptions[g.id]
		if m := k.imported[g.id]; m != nil {
			entry.ImportState, entry.ExpirationModel, entry.ValidTo = "IMPORTED", m.model(), epoch{m.validTo}
		}
	}
	return entry
}
