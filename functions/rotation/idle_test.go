package rotation_test

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// kmsCalls counts the requests to the KMS from the nth request on, by operation.
func kmsCalls(world *simulator.World, from int) map[string]int {
	calls := map[string]int{}
	for _, r := range world.Requests()[from:] {
		switch {
		case r.API == "kms":
			calls[r.Path]++
		case r.API == "google" && strings.HasSuffix(r.Path, "/cryptoKeyVersions"):
			calls["ListCryptoKeyVersions"]++
		case r.API == "google" && strings.Contains(r.Path, "/cryptoKeys/"):
			calls["GetCryptoKey"]++
		}
	}
	return calls
}

func TestASweepAsksForTheRotationsOfAKeyOnlyIfItsVersionIsNotDone(t *testing.T) {
	onEachCloud(t, testASweepAsksForTheRotationsOfAKeyOnlyIfItsVersionIsNotDone)
}

func testASweepAsksForTheRotationsOfAKeyOnlyIfItsVersionIsNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := sharedKey(3)
		uri := seed.Clusters[0].Regions[0].Key
		world, err := simulator.New(seed)
		if err != nil {
			t.Fatal(err)
		}
		f := follower(t, world, cmektest.NewStore(), 0)
		sweep := func(what string, want map[string]int) {
			t.Helper()
			time.Sleep(time.Hour)
			from := len(world.Requests())
			tick(t, f)
			if got := kmsCalls(world, from); !maps.Equal(got, want) {
				t.Errorf("%s, a sweep calls the KMS for %v, want %v", what, got, want)
			}
		}
		full, idle, behind := map[string]int{"DescribeKey": 1, "ListKeyRotations": 1, "GetKeyRotationStatus": 1}, map[string]int{"DescribeKey": 1},
			map[string]int{"DescribeKey": 3, "ListKeyRotations": 1, "GetKeyRotationStatus": 1}
		older := cmek.MaterialVersion("older")
		if onGoogleCloud {
			full, idle, behind = map[string]int{"GetCryptoKey": 1, "ListCryptoKeyVersions": 1}, map[string]int{"GetCryptoKey": 1},
				map[string]int{"GetCryptoKey": 3, "ListCryptoKeyVersions": 1}
			older = cmek.KeyVersion{Scheme: cmek.Primary, ID: "1"}
		}
		sweep("on first discovery", full)
		sweep("with nothing to do", idle)

		// One cluster has not seen the last rotation: it needs all, the two others share one read.
		_, err = f.Ledger.UpdateCluster(t.Context(), seed.Clusters[1].ID, func(c *ledger.Cluster) error {
			c.Done[0].Version = older
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		sweep("with one cluster behind", behind)
		for range 30 + int(settling()/time.Minute) {
			tick(t, f)
		}
		sweep("with the cluster up again", idle)

		// No event tells of a rotation: the sweep finds it, and waits until it has settled.
		if err := world.Rotate(string(uri)); err != nil {
			t.Fatal(err)
		}
		for range 60 + int(settling()/time.Minute) {
			tick(t, f)
		}
		for _, key := range world.StoreKeys() {
			if key.Behind {
				t.Errorf("the store key of %s is behind after a rotation that only a sweep could find", key.Cluster)
			}
		}
		sweep("after a rotation was followed", idle)
	})
}
