package cmektest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// projectNames: a cluster on Google Cloud is found by both names of its projects, once they are known, and by no other project's.
func projectNames(t *testing.T, store ledger.Store) {
	const (
		byID    = cmek.KeyURI("projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay")
		own     = "700000000001"
		before  = "700000000009" // of a project that had the id, and is no more
		account = "cmek@users.iam.gserviceaccount.com"
	)
	l := ledger.New(store, rand.New(rand.NewPCG(1, 2)))
	update := func(id string, key cmek.KeyURI, read map[string]cmek.Project) {
		t.Helper()
		if _, err := l.UpdateCluster(t.Context(), id, func(c *ledger.Cluster) error {
			c.CMEK.RegionInfos = []cmek.RegionInfo{{Region: "us-east1", KeyInfos: []cmek.KeyInfo{{
				Spec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: key, AuthPrincipal: account}, Status: cmek.Enabled,
			}}}}
			c.LearnProjects(read)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, key cmek.KeyURI, ids ...string) {
		t.Helper()
		byKey, err := l.ByKey(t.Context(), key)
		byProject, also := l.ByAccount(t.Context(), key.Account())
		if err != nil || also != nil {
			t.Fatalf("%s: %v, %v", when, err, also)
		}
		for what, list := range map[string][]*ledger.Cluster{"key": byKey, "project": byProject} {
			var got []string
			for _, c := range list {
				got = append(got, c.ID)
			}
			if !slices.Equal(got, ids) {
				t.Errorf("%s: by the %s of %s there are %v, want %v", when, what, key, got, ids)
			}
		}
	}
	update("a", byID, nil)
	want("not resolved", byID, "a")
	want("not resolved", byID.In(own))
	update("a", byID, map[string]cmek.Project{"acme": {ID: "acme", Number: before}, "other": {ID: "other", Number: own}})
	want("resolved", byID.In(before), "a")
	want("another project's", byID.In(own))
	update("a", byID, nil)
	want("refused since", byID.In(before), "a")
	update("a", byID, map[string]cmek.Project{"acme": {ID: "acme", Number: own}, "users": {ID: "users", Number: "700000000002"}})
	want("made anew", byID, "a")
	want("made anew", byID.In(own), "a")
	want("made anew", byID.In(before))
	update("b", byID.In(own), map[string]cmek.Project{own: {ID: "acme", Number: own}})
	want("named by its number", byID, "a", "b")
	want("named by its number", byID.In(own), "a", "b")
	if found, err := l.ByAccount(t.Context(), "700000000002"); err != nil || len(found) != 1 {
		t.Errorf("by the number of the principal's project there are %d clusters, error %v; want one", len(found), err)
	}
	update("a", "projects/moved/locations/us-east1/keyRings/crdb/cryptoKeys/pay", nil)
	want("moved to another project", byID.In(own), "b")
}
