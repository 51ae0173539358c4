package cmektest

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// A KMS with versions that have states, of which one is chosen to be current, can conform; each way to misread it is noticed.
func TestTheSuiteKnowsAKeyOfVersionsFromAMisreadOne(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	id := func(n string) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: n} }
	version := func(n string, state cmek.KeyState) cmek.KeyVersionInfo {
		return cmek.KeyVersionInfo{Version: id(n), State: state, CreatedAt: noon}
	}
	key := func(current string, state cmek.KeyState, versions ...cmek.KeyVersionInfo) cmek.Key {
		return cmek.Key{URI: "k", State: state, Version: id(current), Settle: 30 * time.Minute, Versions: versions}
	}
	with := func(k cmek.Key, change func(*cmek.Key)) cmek.Key { change(&k); return k }
	enabled, disabled, destroyed := version("1", cmek.KeyEnabled), version("1", cmek.KeyDisabled), version("1", cmek.KeyDestroyed)
	second := version("2", cmek.KeyEnabled)
	scheduled := cmek.KeyVersionInfo{Version: id("2"), State: cmek.KeyDeletionScheduled, DeletionDate: noon}
	toDestroy := with(key("2", cmek.KeyDeletionScheduled, enabled, scheduled), func(k *cmek.Key) { k.DeletionDate = noon })

	for _, r := range []struct {
		condition KeyCondition
		key       cmek.Key
		want      string // part of a problem; "" for no problem
	}{
		{NeverRotated, with(key("1", cmek.KeyEnabled, enabled), func(k *cmek.Key) { k.NeverRotated, k.RotatedAt = true, noon }), ""},
		{NeverRotated, key("1", cmek.KeyEnabled, enabled), "should be read as never rotated"},
		{NeverRotated, with(key("1", cmek.KeyEnabled), func(k *cmek.Key) { k.NeverRotated, k.RotatedAt = true, noon }), "one version should be shown"},
		{Rotated, key("2", cmek.KeyEnabled, enabled, second), ""},
		{Rotated, key("2", cmek.KeyEnabled, second), "after all others"},
		{OldVersionDisabled, key("2", cmek.KeyEnabled, disabled, second), ""},
		{OldVersionDisabled, key("2", cmek.KeyDisabled, disabled, second), "its state should be enabled"},
		{OldVersionDisabled, key("2", cmek.KeyEnabled, enabled, second), "should be disabled"},
		{OldVersionDestroyed, key("2", cmek.KeyEnabled, destroyed, second), ""},
		{OldVersionDestroyed, key("2", cmek.KeyEnabled, second), "should be destroyed"},
		{CurrentVersionDisabled, key("1", cmek.KeyDisabled, disabled, second), ""},
		{CurrentVersionDisabled, key("1", cmek.KeyEnabled, disabled, second), "its state should be disabled"},
		{CurrentVersionDisabled, key("1", cmek.KeyDisabled, enabled, second), "that of its current version"},
		{CurrentVersionDestroyed, key("1", cmek.KeyDestroyed, destroyed), ""},
		{CurrentVersionDestroyed, key("1", cmek.KeyNotFound, destroyed), "its state should be destroyed"},
		{CurrentVersionToDestroy, toDestroy, ""},
		{CurrentVersionToDestroy, with(toDestroy, func(k *cmek.Key) { k.DeletionDate = time.Time{} }), "date of the destruction"},
		{SetBack, key("1", cmek.KeyEnabled, enabled, second), ""},
		{SetBack, with(key("1", cmek.KeyEnabled, enabled, second), func(k *cmek.Key) { k.RotatedAt = noon.Add(time.Hour) }), ""},
		{SetBack, with(key("1", cmek.KeyEnabled, enabled, second), func(k *cmek.Key) { k.RotatedAt = noon }), "creation does not prove"},
		{SetBack, key("1", cmek.KeyEnabled, enabled), "newer version should come after"},
		{SeveralVersionsFirstInUse, key("1", cmek.KeyEnabled, enabled, second), ""},
		{SeveralVersionsFirstInUse, key("2", cmek.KeyEnabled, enabled, second), "newer version should come after"},
		{SeveralVersionsFirstInUse, with(key("1", cmek.KeyEnabled, enabled, second), func(k *cmek.Key) { k.NeverRotated = true }), "always the current one"},
		{Missing, cmek.Key{URI: "k", State: cmek.KeyNotFound}, ""},
		{Missing, cmek.Key{URI: "k", State: cmek.KeyNotFound, Settle: time.Minute}, "nothing else is known"},
		{Rotated, key("2", cmek.KeyEnabled, enabled, enabled, second), "shown twice"},
		{Rotated, key("2", cmek.KeyEnabled, version("1", ""), second), "has a state"},
		{Rotated, with(key("2", cmek.KeyEnabled, enabled, second), func(k *cmek.Key) { k.Settle = -1 }), "negative"},
		{Rotated, key("2", cmek.KeyEnabled, cmek.KeyVersionInfo{Version: cmek.MaterialVersion("1"), State: cmek.KeyEnabled}, second), "by the scheme"},
	} {
		got := disagreements(r.condition, r.key)
		if r.want == "" && len(got) > 0 || !strings.Contains(strings.Join(got, "; "), r.want) {
			t.Errorf("%s: %+v has the problems %q, want %q", r.condition, r.key, got, r.want)
		}
	}

	later := with(toDestroy, func(k *cmek.Key) { k.State = cmek.KeyEnabled })
	if got := contradictions(toDestroy, later); len(got) != 1 {
		t.Errorf("Describe that shows another state has the problems %q, want one", got)
	}
	if got := contradictions(toDestroy, cmek.Key{URI: "k", State: toDestroy.State, DeletionDate: noon}); len(got) > 0 {
		t.Errorf("Describe that leaves out the versions has the problems %q, want none", got)
	}
}
