package rotation

import (
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// A person moved the region to another key, which the ledger never saw in force, and then an operation failed: the past key reads
// DISABLED, no key reads ENABLED.
func TestDecide_afterSomebodysFailedMove(t *testing.T) {
	onBothClouds(t, testDecide_afterSomebodysFailedMove)
}

func testDecide_afterSomebodysFailedMove(t *testing.T) {
	failing := func(infos ...cmek.KeyInfo) given {
		return func(w *world) {
			usingKey(newKey)(w)
			w.facts.Keys[eastKey] = KeyFact{Key: healthyKey(eastKey)}
			w.facts.CMEK.RegionInfos[0] = cmek.RegionInfo{Region: east, Status: cmek.RotateFailed, KeyInfos: infos}
		}
	}
	past := keyInfo(eastKey, cmek.Disabled, ago(2*time.Hour))
	left := keyInfo(newKey, cmek.EnableFailed, after)
	moved := failing(past, left)
	retried := work(func(w *ledger.Work) { w.Retried = true })
	onNew := work(func(w *ledger.Work) { w.Key = newKey })
	decides(t, []row{
		{sentence: "the only spec that is not DISABLED is the region's: work is opened, so that it can be retried", given: []given{moved}, want: Open},
		{sentence: "also on first discovery", given: []given{moved, neverDone}, want: Open},
		{sentence: "also if a same-key rotation appended an info", want: Open,
			given: []given{failing(past, keyInfo(newKey, cmek.Disabled, ago(time.Hour)), left)}},
		{sentence: "it is blocked, since it is not ours", given: []given{due, onNew, moved}, want: Block, because: "not by keyturn's request"},
		{sentence: "it is sent after a retry", given: []given{due, onNew, moved, retried}, want: Send},
		{sentence: "work for the past key is dropped, retried or not", given: []given{due, moved, retried}, want: Drop, because: "key changed"},
		{sentence: "work for the past key is dropped after our own failure", given: []given{due, moved, failed(1)}, want: Drop, because: "key changed"},

		{sentence: "of several specs left none is known", want: Wait, because: "no key spec is ENABLED",
			given: []given{neverDone, failing(keyInfo(eastKey, cmek.DisableFailed, after), left)}},
		{sentence: "a past key alone is none to go on with", want: Block, because: "no key spec is ENABLED", given: []given{due, failing(past), retried}},
		{sentence: "a key that could not be disabled is none to go on with", want: Wait, because: "no key spec is ENABLED",
			given: []given{neverDone, failing(keyInfo(newKey, cmek.DisableFailed, after))}},
		{sentence: "a CMEK that was never in force opens nothing", want: Wait, because: "no key spec is ENABLED",
			given: []given{failing(left), neverDone, regionStatus(cmek.EnableFailed)}},
	})
}

// What is sent for such a region is its own spec, and a sweep reads the key of it.
func TestKeysNeeded_ofAFailedMove(t *testing.T) { onBothClouds(t, testKeysNeeded_ofAFailedMove) }

func testKeysNeeded_ofAFailedMove(t *testing.T) {
	w := newWorld()
	w.item.CMEK.RegionInfos[0] = cmek.RegionInfo{Region: east, Status: cmek.RotateFailed, KeyInfos: []cmek.KeyInfo{
		keyInfo(eastKey, cmek.Disabled, longAgo), keyInfo(newKey, cmek.EnableFailed, after)}}
	got := keysNeeded(w.item, nil, nil, func(cmek.KeyType) bool { return true })
	if len(got) != 1 || got[0] != (regionKey{east, newKey}) {
		t.Errorf("a failed move needs keys %v, want %s only", got, newKey)
	}
}

// Which spec is a failed region's own, if several are left.
func TestFailedSpec(t *testing.T) { onBothClouds(t, testFailedSpec) }

func testFailedSpec(t *testing.T) {
	infos := []cmek.KeyInfo{keyInfo(eastKey, cmek.EnableFailed, after), keyInfo(newKey, cmek.EnableFailed, after)}
	region := cmek.RegionInfo{Region: east, Status: cmek.RotateFailed, KeyInfos: infos}
	of := func(region string, key cmek.KeyURI) ledger.Work { return ledger.Work{Region: region, Key: key} }
	for _, r := range []struct {
		sentence string
		work     []ledger.Work
		done     cmek.KeyURI
		status   cmek.Status
		want     cmek.KeyURI
	}{
		{"that of its work", []ledger.Work{of(east, newKey)}, eastKey, "", newKey},
		{"not that of another region's work", []ledger.Work{of(west, newKey)}, eastKey, "", eastKey},
		{"not that of work whose key is not shown", []ledger.Work{of(east, westKey)}, eastKey, "", eastKey},
		{"not that of another region's work, though its own comes later", []ledger.Work{of(west, eastKey), of(east, newKey)}, "", "", newKey},
		{"not that of a past key", []ledger.Work{of(east, newKey)}, eastKey, cmek.Disabled, eastKey},
		{"none, if nothing tells", nil, "", "", ""},
	} {
		info := region
		info.KeyInfos = slices.Clone(infos)
		if r.status != "" {
			info.KeyInfos[1].Status = r.status
		}
		item := &ledger.Cluster{ID: "c", Work: r.work}
		if r.done != "" {
			item.SetDone(ledger.Done{Region: east, Key: r.done, Version: v1})
		}
		info.Status = cmek.EnableFailed
		if got := failedSpec(item, info); got.URI != r.want {
			t.Errorf("%s: the spec is %q, want %q", r.sentence, got.URI, r.want)
		}
	}
	only := cmek.RegionInfo{Region: east, Status: cmek.RotateFailed, KeyInfos: []cmek.KeyInfo{keyInfo(eastKey, cmek.Disabled, longAgo), keyInfo(newKey, cmek.EnableFailed, after)}}
	for status, want := range map[cmek.Status]cmek.KeyURI{cmek.RotateFailed: newKey, cmek.EnableFailed: ""} {
		only.Status = status
		if got := failedSpec(&ledger.Cluster{ID: "c"}, only); got.URI != want {
			t.Errorf("with %s the only spec left is %q, want %q", status, got.URI, want)
		}
	}
	only.KeyInfos[0].Status = cmek.EnableFailed
	if got := failedSpec(&ledger.Cluster{ID: "c"}, cmek.RegionInfo{Region: east, Status: cmek.RotateFailed, KeyInfos: only.KeyInfos}); got.URI != "" {
		t.Errorf("of two that are left the spec is %q, want none", got.URI)
	}
}
