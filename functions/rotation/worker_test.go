package rotation

import (
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestRetry_failedWithoutAnEnabledKey_isSent(t *testing.T) {
	onBothClouds(t, testRetry_failedWithoutAnEnabledKey_isSent)
}

func testRetry_failedWithoutAnEnabledKey_isSent(t *testing.T) {
	w := newWorld(due, statusEverywhere(cmek.RotateFailed), failed(2), blocked)
	w.item.CMEK = w.facts.CMEK
	retry(w.item, false, noon)
	wk := worker{Function: &Function{KeyTypes: []cmek.KeyType{eastKey.Type()}}, keys: &keyCache{}}
	read := make(chan struct{})
	close(read)
	wk.keys.entries = map[keyAsked]*keyEntry{{uri: eastKey}: {ready: read, fact: KeyFact{Key: healthyKey(eastKey)}}}
	var r Reads
	if err := wk.readKeys(t.Context(), w.item, w.item.Work, &r); err != nil {
		t.Fatal(err)
	}
	w.facts.Keys = r.Keys
	if v := w.verdict(t, east); v.Act != Send {
		t.Errorf("retried work with no ENABLED key: %s (%s)", v.Act, v.Why)
	}
}
