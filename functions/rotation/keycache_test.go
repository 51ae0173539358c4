package rotation

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestVersionDone_everywhereWithNothingOpen(t *testing.T) {
	onBothClouds(t, testVersionDone_everywhereWithNothingOpen)
}

func testVersionDone_everywhereWithNothingOpen(t *testing.T) {
	doneIn := func(region string, uri cmek.KeyURI, v cmek.KeyVersion) given {
		return func(w *world) { w.item.SetDone(ledger.Done{Region: region, Key: uri, Version: v}) }
	}
	for _, r := range []struct {
		sentence string
		given    []given
		want     cmek.KeyVersion
	}{
		{"the region's version is done", nil, v1},
		{"nothing is done yet", []given{neverDone}, cmek.KeyVersion{}},
		{"another key's version is done", []given{doneWith(newKey, v1)}, cmek.KeyVersion{}},
		{"work is open", []given{due}, cmek.KeyVersion{}},
		{"two regions with the key have the same version", []given{alsoWest(eastKey)}, v1},
		{"two regions with the key have different versions", []given{alsoWest(eastKey), doneIn(west, eastKey, v2)}, cmek.KeyVersion{}},
		{"a region with another key is at another version", []given{alsoWest(westKey), doneIn(west, westKey, v2)}, v1},
	} {
		w := newWorld(r.given...)
		if got := versionDone(w.item, east, eastKey); got != r.want {
			t.Errorf("%s: the version taken for done is %v, want %v", r.sentence, got, r.want)
		}
	}
}

// countingKMS counts reads of one key.
type countingKMS struct {
	cmek.KMS
	key             cmek.Key
	err             error
	keys, describes int
}

func (k *countingKMS) Key(context.Context, cmek.KeyURI) (cmek.Key, error) {
	k.keys++
	return k.key, k.err
}

func (k *countingKMS) Describe(context.Context, cmek.KeyURI) (cmek.Key, error) {
	k.describes++
	return cmek.Key{URI: k.key.URI, State: k.key.State, Version: k.key.Version}, k.err
}

func TestKeyCache_recheck_readsStateAndVersionAgain(t *testing.T) {
	onBothClouds(t, testKeyCache_recheck_readsStateAndVersionAgain)
}

func testKeyCache_recheck_readsStateAndVersionAgain(t *testing.T) {
	for _, r := range []struct {
		sentence string
		wait     time.Duration
		change   func(*countingKMS)
		check    func(KeyFact) bool
	}{
		{"within 2 s one read is shared", 2 * time.Second, func(k *countingKMS) { k.key.State = cmek.KeyDisabled }, func(f KeyFact) bool { return f.Key.State == cmek.KeyEnabled }},
		{"a key disabled meanwhile", 3 * time.Second, func(k *countingKMS) { k.key.State = cmek.KeyDisabled }, func(f KeyFact) bool { return f.Key.State == cmek.KeyDisabled }},
		{"a key rotated meanwhile", 3 * time.Second, func(k *countingKMS) { k.key.Version, k.key.RotatedAt = v3, noon }, func(f KeyFact) bool { return f.Key.Version == v3 && f.Key.RotatedAt.Equal(noon) }},
		{"a key not readable meanwhile", 3 * time.Second, func(k *countingKMS) { k.err = cmek.ErrDenied }, func(f KeyFact) bool { return errors.Is(f.Err, cmek.ErrDenied) }},
		{"an unchanged key keeps its history", 3 * time.Second, func(*countingKMS) {}, func(f KeyFact) bool {
			return f.Err == nil && f.Key.RotatedAt.Equal(ago(time.Hour)) && f.Key.Version == v2
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			kms := &countingKMS{key: healthyKey(eastKey)}
			cache := &keyCache{kms: kms, log: slog.New(slog.DiscardHandler)}
			cache.get(t.Context(), eastKey, cmek.KeyVersion{})
			time.Sleep(r.wait)
			r.change(kms)
			if fact := cache.recheck(t.Context(), eastKey); !r.check(fact) {
				t.Errorf("%s: read again as %+v (%d full reads, %d short ones)", r.sentence, fact, kms.keys, kms.describes)
			}
		})
	}
}
