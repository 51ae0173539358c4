package cmektest

import (
	"context"
	"errors"
	"reflect"
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
)

// KeyConditions lists all conditions.
var KeyConditions = []KeyCondition{NeverRotated, Rotated, RotationRunning, HistoryDenied, Replica, IsDisabled,
	DeletionScheduled, PendingImport, Missing, Denied}

// KMSConforms checks that a key is told as it is. arrange brings a key into the condition and returns what reads it, and
// the key as it should be told (only URI counts if reading must fail); ok is false if the KMS knows no such condition.
func KMSConforms(t *testing.T, arrange func(t *testing.T, condition KeyCondition) (kms cmek.KMS, want cmek.Key, ok bool)) {
	for _, condition := range KeyConditions {
		t.Run(string(condition), func(t *testing.T) {
			kms, want, ok := arrange(t, condition)
			if !ok {
				t.Skipf("this KMS knows no key of which one can say: %s", condition)
			}
			got, err := kms.Key(t.Context(), want.URI)
			if condition == Denied {
				if !errors.Is(err, cmek.ErrDenied) {
					t.Errorf("error is %v, want one that wraps ErrDenied", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("read key: %v", err)
			}
			wantKey(t, got, want)
			for _, problem := range disagreements(condition, got) {
				t.Errorf("key is %+v: %s", got, problem)
			}
		})
	}
	t.Run("a canceled context says nothing about the key", func(t *testing.T) {
		kms, want, _ := arrange(t, NeverRotated)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got, err := kms.Key(ctx, want.URI); err == nil {
			t.Errorf("read with a canceled context returned %+v", got)
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

// disagreements are the ways in which the key contradicts its condition, whatever arrange thought it should be.
func disagreements(condition KeyCondition, key cmek.Key) []string {
	var problems []string
	must := func(ok bool, problem string) {
		if !ok {
			problems = append(problems, problem)
		}
	}
	states := map[KeyCondition]cmek.KeyState{
		IsDisabled: cmek.KeyDisabled, DeletionScheduled: cmek.KeyDeletionScheduled, PendingImport: cmek.KeyPendingImport,
		Missing: cmek.KeyNotFound,
	}
	state, named := states[condition]
	if !named {
		state = cmek.KeyEnabled
		must(!key.Version.IsZero(), "a usable key has a version")
	}
	must(key.State == state, "its state should be "+string(state))
	must(!key.NeverRotated || !key.RotatedAt.IsZero(), "a key that was never rotated counts from its creation")
	must(key.DeletionDate.IsZero() || condition == DeletionScheduled, "it has a deletion date")
	must(key.RotationRunning == (condition == RotationRunning), "whether a rotation is running is told wrongly")
	switch condition {
	case NeverRotated:
		must(key.NeverRotated, "it should be told as never rotated")
	case Rotated, Replica:
		must(!key.NeverRotated && !key.RotatedAt.IsZero(), "it should tell when it was rotated")
	case HistoryDenied:
		must(!key.NeverRotated, "who may not list rotations cannot know that there was none")
	}
	return problems
}
