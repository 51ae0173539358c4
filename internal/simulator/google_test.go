package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	kms "cloud.google.com/go/kms/apiv1"
	"google.golang.org/api/option"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	acmeRing    = "projects/acme/locations/us-east1/keyRings/crdb"
	acmeKey     = acmeRing + "/cryptoKeys/pay"
	acmeAccount = "cmek-pay@acme.iam.gserviceaccount.com"
	acmeCluster = "7c1d9e20-3a4b-4c5d-8e6f-0000000000a1"
	acmeNumber  = "123456789012"
	crlMember   = "serviceAccount:crl-kms-user-0000000000a1@crl-prod-abc.iam.gserviceaccount.com"
	useRole     = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
	tokenRole   = "roles/iam.serviceAccountTokenCreator"
)

// googleSeed is a cluster on Google Cloud: its key has two versions and rotates every 90 days.
const googleSeed = `
organization: {id: 3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613, label: l, name: n}
api_keys:
  - {secret: ` + simulator.SampleAPIKey + `, service_account: keyturn, roles: [CLUSTER_ADMIN]}
google:
  projects: [{id: acme, number: "` + acmeNumber + `", ancestors: [folders/77, organizations/9]}]
  roles: [{name: projects/acme/roles/keyUser, permissions: [cloudkms.cryptoKeyVersions.useToEncrypt, cloudkms.cryptoKeyVersions.useToDecrypt]}]
keys:
  - uri: ` + acmeKey + `
    age_days: 300
    rotation_period_days: 90
    rotations: [{age_days: 30}]
    tags: {team: pay}
clusters:
  - id: ` + acmeCluster + `
    name: pay
    cloud_provider: GCP
    account_id: crl-prod-abc
    age_days: 300
    regions: [{name: us-east1, key: ` + acmeKey + `, auth_principal: ` + acmeAccount + `}]
`

func googleWorld(t *testing.T, switches ...string) *simulator.World {
	t.Helper()
	seed, err := simulator.LoadSeed([]byte(googleSeed))
	if err != nil {
		t.Fatal(err)
	}
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	set(t, world, switches...)
	return world
}

// googleSDK is Google's own client of Cloud KMS, calling the world in this process.
func googleSDK(t *testing.T, world *simulator.World) *kms.KeyManagementClient {
	t.Helper()
	client, err := kms.NewKeyManagementRESTClient(t.Context(), option.WithEndpoint("http://kms.test"),
		option.WithHTTPClient(&http.Client{Transport: simulator.Transport(world.Handler())}))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// callGoogle sends one request with a bearer token.
func callGoogle(t *testing.T, world *simulator.World, token, method, path, body string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://google.test/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := simulator.Transport(world.Handler()).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(text)}
}

// ask sends a request as an operator, and wants the status and a text in the answer.
func ask(t *testing.T, world *simulator.World, method, path, body string, status int, text string) map[string]any {
	t.Helper()
	r := callGoogle(t, world, "sample", method, path, body).want(t, status, text)
	var fields map[string]any
	if err := json.Unmarshal([]byte(r.body), &fields); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, r.body)
	}
	return fields
}

// emitted are the events that keyturn reads in what the clouds sent since the last call. None is lost: an unknown one fails the test.
func emitted(t *testing.T, world *simulator.World) (all []cmek.Event) {
	t.Helper()
	for _, e := range world.Events() {
		list, err := events.Decode(e.Payload)
		if err != nil {
			t.Fatalf("decode %s: %v", e.Payload, err)
		}
		all = append(all, list...)
	}
	return all
}

// wantEvent wants exactly one event since the last call.
func wantEvent(t *testing.T, world *simulator.World, attempt string, change cmek.Change) cmek.Event {
	t.Helper()
	// The first entry of an operation only says that it began.
	all := slices.DeleteFunc(emitted(t, world), func(e cmek.Event) bool { return e.Begun })
	if len(all) != 1 || all[0].Change != change {
		t.Fatalf("%s: keyturn reads %+v; want one event, %s", attempt, all, change)
	}
	if age := time.Since(all[0].Time).Abs(); age > time.Minute {
		t.Errorf("%s: the event is of %s", attempt, all[0].Time)
	}
	return all[0]
}
