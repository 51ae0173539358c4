package rotation_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// On Google Cloud an order goes through the same code: the pre-flight by allow and deny policies, then one PUT with the order's spec.
func TestOrders_moveAClusterOnGoogleCloud(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const newKey = cmek.KeyURI("projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/next")
		const strangers = newKey + "-of-strangers"
		seed := mixedFleet()
		seed.Keys = append(seed.Keys,
			simulator.KeySeed{URI: newKey, AgeDays: 90, Policy: `{"bindings":[{"role":"roles/cloudkms.cryptoKeyEncrypterDecrypter","members":["serviceAccount:cmek@acme.iam.gserviceaccount.com"]}]}`},
			simulator.KeySeed{URI: strangers, AgeDays: 90, Policy: `{"bindings":[{"role":"roles/cloudkms.cryptoKeyEncrypterDecrypter","members":["serviceAccount:other@acme.iam.gserviceaccount.com"]}]}`})
		world := newSimulator(t, seed)
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		config := google.Config{HTTP: &http.Client{Transport: simulator.Transport(world.Google())}, Endpoint: "http://google.test"}
		kms, err := google.NewKMS(config)
		if err != nil {
			t.Fatal(err)
		}
		f.KMS, f.Policies, f.KeyTypes = kms, google.NewPolicies(config), []cmek.KeyType{cmek.GCPCloudKMS}
		f.Settings.Mode = rotation.Observe
		minutes(f, 2)
		check := func(to cmek.KeyURI) rotation.CheckedOrder {
			c, err := f.CheckOrders(t.Context(), googleCluster, []rotation.Wanted{{To: cmek.KeySpec{URI: to}}}, rotation.Asking{By: "ana", Terraform: "none"})
			if err != nil || len(c.Orders) != 1 {
				t.Fatalf("checked %+v, error %v", c, err)
			}
			return c.Orders[0]
		}
		for uri, says := range map[cmek.KeyURI]string{
			newKey + "/cryptoKeyVersions/1": "names a version", strangers: "does not admit the cluster's principal",
			"arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001": "no key of the cluster's cloud",
		} {
			if problems := check(uri).Problems; len(problems) == 0 || !strings.Contains(problems[0].Message, says) {
				t.Errorf("an order to %s: %+v, want %q", uri, problems, says)
			}
		}
		order := check(newKey)
		if len(order.Problems) > 0 {
			t.Fatalf("problems: %+v", order.Problems)
		}
		if _, err := f.Ledger.PlaceOrders(t.Context(), googleCluster, []ledger.Order{order.Order}, time.Now()); err != nil {
			t.Fatal(err)
		}
		minutes(f, 60)
		puts := 0
		for _, put := range world.PUTs() {
			if put.Outcome == "accepted" && put.Regions[0].URI == newKey {
				puts++
			}
		}
		if c := item(t, f, googleCluster); puts != 1 || len(c.Work) > 0 || len(c.Orders) != 1 || !c.Orders[0].Done {
			t.Errorf("%d PUTs, work %+v, orders %+v; want the cluster moved with one", puts, c.Work, c.Orders)
		}
		if !check(newKey).Reached {
			t.Error("the region is not known to be on its key")
		}
	})
}
