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
	previous := l.current().id
	l.generations = append(l.generations, generation{
		id: l.derivedMaterial(len(l.generations)), rotatedAt: at, kind: kind, encryptsFrom: at.Add(w.duration(KMSPropagation)),
	})
	emitters := []*awsKey{l.primary}
	if w.is(KMSReplicaEvents, "every-region") {
		emitters = l.keys()
	}
	for _, k := range emitters {
		w.emitRotation(k, kind, previous, at)
	}
}

// scheduleDeletion starts the waiting period. A primary with replicas waits for the last of them to be deleted first.
func (w *World) scheduleDeletion(k *awsKey, days int, now time.Time) {
	k.deletionWindow = days
	if k.lineage.primary == k && len(k.lineage.replicas) > 0 {
		k.state = statePendingReplicaDeletion
		return
	}
	k.state, k.deletionDate = statePendingDeletion, now.Add(time.Duration(days)*24*time.Hour)
	date := k.deletionDate
	w.agenda.at(date, func(due time.Time) {
		if k.state == statePendingDeletion && k.deletionDate.Equal(date) {
			w.deleteKey(k, due)
		}
	})
}

// cancelDeletion leaves the key Disabled: docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html.
func (k *awsKey) cancelDeletion() {
	k.state, k.deletionDate, k.deletionWindow = stateDisabled, time.Time{}, 0
}

// deleteKey removes the key for good, with its aliases.
func (w *World) deleteKey(k *awsKey, at time.Time) {
	delete(w.aws.byARN, k.arn)
	delete(w.aws.byRegionAndID, k.region+"/"+k.id)
	w.aws.aliases = slices.DeleteFunc(w.aws.aliases, func(a awsAlias) bool { return a.key == k })
	w.emitDeletion(k, at)
	l := k.lineage
	if k == l.primary {
		l.rotationOn = false
		return
	}
	l.replicas = slices.DeleteFunc(l.replicas, func(r *awsKey) bool { return r == k })
	if len(l.replicas) == 0 && l.primary.state == statePendingReplicaDeletion {
		w.scheduleDeletion(l.primary, l.primary.deletionWindow, at)
	}
}
