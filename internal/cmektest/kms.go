package cmektest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

// KeyCondition is a situation in which the suite wants to read a key.
type KeyCondition string

// The conditions.
const (
	NeverRotated      KeyCondition = "enabled and never rotated"
	Rotated           KeyCondition = "rotated more than once"
	RotationRunning   KeyCondition = "an on-demand rotation is running"
	HistoryDenied     KeyCondition = "its rotations may not be listed"
	Replica           KeyCondition = "a replica of a rotated multi-Region key"
	IsDisabled        KeyCondition = "disabled"
	DeletionScheduled KeyCondition = "its deletion is scheduled"
	PendingImport     KeyCondition = "waiting for imported material"
	Missing           KeyCondition = "it does not exist"
	Denied            KeyCondition = "we may not read it"

	// Conditions of a KMS whose versions have states of their own and whose current version is chosen.
	OldVersionDisabled        KeyCondition = "an old version is disabled"
	OldVersionDestroyed       KeyCondition = "an old version is destroyed"
	CurrentVersionDisabled    KeyCondition = "the current version is disabled"
	CurrentVersionToDestroy   KeyCondition = "the destruction of the current version is scheduled"
	CurrentVersionDestroyed   KeyCondition = "the current version is destroyed"
	SetBack                   KeyCondition = "set back to an older version"
	SeveralVersionsFirstInUse KeyCondition = "several versions, of which the first is current"
)

// KeyConditions lists all conditions.
var KeyConditions = []KeyCondition{NeverRotated, Rotated, RotationRunning, HistoryDenied, Replica, IsDisabled,
	DeletionScheduled, PendingImport, Missing, Denied, OldVersionDisabled, OldVersionDestroyed, CurrentVersionDisabled,
	CurrentVersionToDestroy, CurrentVersionDestroyed, SetBack, SeveralVersionsFirstInUse}

// Arranged is a key in the condition asked for.
type Arranged struct {
	// KMS reads the key.
	KMS cmek.KMS
	// Want is the key as Key must return it. Only its URI counts if it may not be read.
	Want cmek.Key
	// Unknown says why no key of this KMS can be in the condition; "" if the key is in it.
	Unknown string
}

// KMSConforms checks that a key is read as it is. arrange brings a key into the condition. It must know the conditions
// NeverRotated, Rotated, Missing and Denied.
func KMSConforms(t *testing.T, arrange func(t *testing.T, condition KeyCondition) Arranged) {
	for _, condition := range KeyConditions {
		t.Run(string(condition), func(t *testing.T) {
			arranged := arrange(t, condition)
			if arranged.Unknown != "" {
				if slices.Contains([]KeyCondition{NeverRotated, Rotated, Missing, Denied}, condition) {
					t.Fatalf("every KMS knows this condition, and this one says: %s", arranged.Unknown)
				}
				t.Skip(arranged.Unknown)
			}
			got, err := arranged.KMS.Key(t.Context(), arranged.Want.URI)
			described, describeErr := arranged.KMS.Describe(t.Context(), arranged.Want.URI)
			if condition == Denied {
				if !errors.Is(err, cmek.ErrDenied) || !errors.Is(describeErr, cmek.ErrDenied) {
					t.Errorf("errors are %v and, of Describe, %v; want errors that wrap ErrDenied", err, describeErr)
				}
				return
			}
			if err != nil || describeErr != nil {
				t.Fatalf("read key: %v; describe key: %v", err, describeErr)
			}
			wantKey(t, got, arranged.Want)
			for _, problem := range disagreements(condition, got) {
				t.Errorf("key is %+v: %s", got, problem)
			}
			for _, problem := range contradictions(got, described) {
				t.Errorf("key is %+v, described as %+v: %s", got, described, problem)
			}
		})
	}
	t.Run("a canceled context says nothing about the key", func(t *testing.T) {
		arranged := arrange(t, NeverRotated)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got, err := arranged.KMS.Key(ctx, arranged.Want.URI); err == nil {
			t.Errorf("read with a canceled context returned %+v", got)
		}
		if got, err := arranged.KMS.Describe(ctx, arranged.Want.URI); err == nil {
			t.Errorf("described with a canceled context as %+v", got)
		}
	})
}

func wantKey(t *testing.T, got, want cmek.Key) {
	t.Helper()
	if !SameKey(got, want) {
		t.Errorf("key is\n%+v\nwant\n%+v", got, want)
	}
}

// SameKey reports whether two readings of a key are the same. A time zone is no difference.
func SameKey(a, b cmek.Key) bool { return reflect.DeepEqual(inUTC(a), inUTC(b)) }

func inUTC(key cmek.Key) cmek.Key {
	key.RotatedAt, key.DeletionDate = key.RotatedAt.UTC(), key.DeletionDate.UTC()
	var versions []cmek.KeyVersionInfo
	for _, v := range key.Versions {
		v.CreatedAt, v.BecameCurrent, v.DeletionDate = v.CreatedAt.UTC(), v.BecameCurrent.UTC(), v.DeletionDate.UTC()
		versions = append(versions, v)
	}
	key.Versions = versions
	return key
}

// problems collects what is wrong.
type problems []string

func (p *problems) must(ok bool, problem string) {
	if !ok {
		*p = append(*p, problem)
	}
}

// stateIn is the state of a key in each condition; enabled in all others.
var stateIn = map[KeyCondition]cmek.KeyState{
	IsDisabled: cmek.KeyDisabled, DeletionScheduled: cmek.KeyDeletionScheduled, PendingImport: cmek.KeyPendingImport,
	Missing: cmek.KeyNotFound, CurrentVersionDisabled: cmek.KeyDisabled, CurrentVersionToDestroy: cmek.KeyDeletionScheduled,
	CurrentVersionDestroyed: cmek.KeyDestroyed,
}

// disagreements are the ways in which the key contradicts itself or its condition, whatever arrange thought it should be.
func disagreements(condition KeyCondition, key cmek.Key) []string {
	var p problems
	state, named := stateIn[condition]
	if !named {
		state = cmek.KeyEnabled
		p.must(!key.Version.IsZero(), "a usable key has a version")
	}
	p.must(key.State == state, "its state should be "+string(state))
	p.must(!key.NeverRotated || !key.RotatedAt.IsZero(), "a key that was never rotated counts from its creation")
	p.must(!key.NeverRotated || len(key.Versions) <= 1, "a key of several versions is not proven to be never rotated")
	mayEnd := condition == DeletionScheduled || condition == CurrentVersionToDestroy
	p.must(key.DeletionDate.IsZero() || mayEnd, "it has a deletion date")
	p.must(key.RotationRunning == (condition == RotationRunning), "whether a rotation is running is read wrongly")
	p.must(key.Settle >= 0, "no time to settle is negative")
	p = append(p, historyProblems(key)...)

	current, shown := key.VersionInfo(key.Version)
	old := key.Versions[:max(0, key.Position(key.Version))]
	oldIs := func(state cmek.KeyState) bool {
		return slices.ContainsFunc(old, func(v cmek.KeyVersionInfo) bool { return v.State == state })
	}
	switch condition {
	case NeverRotated:
		p.must(key.NeverRotated, "it should be read as never rotated")
		p.must(shown, "its one version should be shown")
	case Rotated, Replica:
		p.must(!key.NeverRotated, "it was rotated")
		p.must(len(old) > 0 && len(old) == len(key.Versions)-1, "its current version should come after all others")
	case HistoryDenied:
		p.must(!key.NeverRotated && key.RotatedAt.IsZero(), "who may not list rotations knows neither that there was none, nor when")
	case Missing:
		p.must(reflect.DeepEqual(key, cmek.Key{URI: key.URI, State: cmek.KeyNotFound}), "of a key that does not exist nothing else is known")
	case OldVersionDisabled:
		p.must(oldIs(cmek.KeyDisabled), "an old version should be disabled")
	case OldVersionDestroyed:
		p.must(oldIs(cmek.KeyDestroyed), "an old version should be destroyed")
	case CurrentVersionDisabled, CurrentVersionDestroyed:
		p.must(current.State == key.State, "the key's state is that of its current version")
	case CurrentVersionToDestroy:
		p.must(current.State == key.State, "the key's state is that of its current version")
		p.must(!key.DeletionDate.IsZero() && key.DeletionDate.Equal(current.DeletionDate), "the date of the destruction should be read, for key and version")
	case SetBack, SeveralVersionsFirstInUse:
		p.must(shown && len(old) < len(key.Versions)-1, "a newer version should come after the current one")
		p.must(!key.NeverRotated, "nothing proves that the first version was always the current one")
		p.must(key.RotatedAt.IsZero() || !key.RotatedAt.Equal(current.CreatedAt), "a version's creation does not prove when it became current")
	}
	return p
}

// historyProblems are the ways in which a key's versions contradict each other or the key.
func historyProblems(key cmek.Key) []string {
	var p problems
	for i, v := range key.Versions {
		p.must(!v.Version.IsZero(), "every version shown is known")
		p.must(key.Version.IsZero() || v.Version.Scheme == key.Version.Scheme, "every version shown is known by the scheme of the current one")
		p.must(key.Position(v.Version) == i, "no version is shown twice")
		p.must(v.State != "" && v.State != cmek.KeyNotFound, "every version shown has a state")
		p.must(v.DeletionDate.IsZero() || v.State == cmek.KeyDeletionScheduled, "only a scheduled deletion has a date")
		if i > 0 && !v.CreatedAt.IsZero() {
			p.must(!v.CreatedAt.Before(key.Versions[i-1].CreatedAt), "the older version comes first")
		}
	}
	if current, ok := key.VersionInfo(key.Version); ok && !current.BecameCurrent.IsZero() {
		p.must(current.BecameCurrent.Equal(key.RotatedAt), "the current version became current when the key was rotated")
	}
	return p
}

// contradictions are the ways in which Describe says something else than Key. It may leave out what concerns rotations.
func contradictions(key, described cmek.Key) []string {
	var p problems
	p.must(described.URI == key.URI && described.State == key.State, "the state is another")
	p.must(described.DeletionDate.Equal(key.DeletionDate), "the deletion date is another")
	p.must(described.Version.IsZero() || described.Version == key.Version, "the version is another")
	p.must(described.RotatedAt.IsZero() || described.RotatedAt.Equal(key.RotatedAt), "the rotation is another")
	p.must(!described.NeverRotated || key.NeverRotated, "it claims that the key was never rotated")
	p.must(described.Settle == 0 || described.Settle == key.Settle, "the time to settle is another")
	p.must(len(described.Versions) == 0 || reflect.DeepEqual(inUTC(described).Versions, inUTC(key).Versions), "the versions are others")
	return p
}
