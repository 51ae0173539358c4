package alerting

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// The simulated Google Cloud, read by the real adapter, with the log entries that it writes: a cluster's key in a project within a folder
// and an organization.
const (
	simulatedKey     = "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay"
	simulatedAccount = "cmek-pay@acme.iam.gserviceaccount.com"
	simulatedCluster = "7c1d9e20-3a4b-4c5d-8e6f-0000000000a1"
	simulatedSeed    = `
organization: {id: 3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613, label: l, name: n}
api_keys:
  - {secret: ` + simulator.SampleAPIKey + `, service_account: keyturn, roles: [CLUSTER_ADMIN]}
google:
  projects: [{id: acme, number: "123456789012", ancestors: [folders/77, organizations/9]}]
  roles: [{name: projects/acme/roles/keyUser, permissions: [cloudkms.cryptoKeyVersions.useToEncrypt, cloudkms.cryptoKeyVersions.useToDecrypt]}]
keys:
  - {uri: ` + simulatedKey + `, age_days: 300, rotation_period_days: 90, rotations: [{age_days: 30}]}
clusters:
  - id: ` + simulatedCluster + `
    name: pay
    cloud_provider: GCP
    account_id: crl-prod-abc
    age_days: 300
    regions: [{name: us-east1, key: ` + simulatedKey + `, auth_principal: ` + simulatedAccount + `}]
`
	simulatedRing = "projects/acme/locations/us-east1/keyRings/crdb"
	accountName   = "projects/acme/serviceAccounts/" + simulatedAccount
)

// simulated gives the world the simulated Google Cloud.
func simulated(t *testing.T, w *world) *simulator.World {
	t.Helper()
	seed, err := simulator.LoadSeed([]byte(simulatedSeed))
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	config := google.Config{HTTP: &http.Client{Transport: simulator.Transport(cloud.Handler())}, Endpoint: "http://google.test"}
	w.Policies = google.NewPolicies(config)
	if w.KMS, err = google.NewKMS(config); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Ledger.UpdateCluster(t.Context(), simulatedCluster, func(c *ledger.Cluster) error {
		c.Cluster = cmek.Cluster{ID: simulatedCluster, Name: "pay", AccountID: "crl-prod-abc", State: cmek.StateCreated}
		c.CMEK = cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{{Region: "us-east1", Status: cmek.Enabled, KeyInfos: []cmek.KeyInfo{{
			Spec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: simulatedKey, AuthPrincipal: simulatedAccount}, Status: cmek.Enabled,
		}}}}}
		c.NextLook = time.Now() // as that of every cluster of the inventory
		c.SetDone(ledger.Done{Region: "us-east1", Key: simulatedKey, Version: primary("2")})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return cloud
}

// asks makes a call as an operator does, and delivers the log entries that it writes.
func (w *world) asks(cloud *simulator.World, call string) {
	w.t.Helper()
	words := strings.SplitN(call+"  ", " ", 3)
	request, err := http.NewRequestWithContext(w.t.Context(), words[0], "http://google.test/"+words[1], strings.NewReader(strings.TrimSpace(words[2])))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer operator")
	response, err := simulator.Transport(cloud.Handler()).RoundTrip(request)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %d %s, error %v", call, response.StatusCode, text, err)
	}
	for _, one := range cloud.Events() {
		list, err := events.Decode(one.Payload)
		if err != nil {
			w.t.Fatalf("decode %s: %v", one.Payload, err)
		}
		w.receives(list)
	}
}

func setPolicy(resource, api, policy string) string {
	return "POST " + api + "/" + resource + ":setIamPolicy {\"policy\":" + policy + "}"
}

// From the call in the cloud to the alert, and back to its end.
func TestSimulatedGoogle_lossAndRecovery(t *testing.T) {
	grant := bindingsOf(useRole + " serviceAccount:" + simulatedAccount)
	mint := bindingsOf(mintRole + " serviceAccount:crl-kms-user-0000000000a1@crl-prod-abc.iam.gserviceaccount.com")
	none := `{"bindings":[]}`
	stripped := func(text string) string { return strings.Replace(text, `"etag":"BwX=",`, "", 1) }
	denyRule := `{"rules":[{"denyRule":{"deniedPrincipals":["principalSet://goog/public:all"],"deniedPermissions":["cloudkms.googleapis.com/cryptoKeyVersions.useToDecrypt"]}}]}`
	boundaries, bindings := "v3/organizations/9/locations/global/principalAccessBoundaryPolicies", "v3/folders/77/locations/global/policyBindings"
	elsewhere := `{"details":{"rules":[{"resources":["//cloudresourcemanager.googleapis.com/projects/elsewhere"],"effect":"ALLOW"}]}}`
	bind := `{"target":{"principalSet":"//cloudresourcemanager.googleapis.com/folders/77"},"policy":"organizations/9/locations/global/principalAccessBoundaryPolicies/own"}`
	denies := "v2/policies/cloudresourcemanager.googleapis.com%2Ffolders%2F77/denypolicies"
	for _, row := range []struct {
		name      string
		prepare   []string
		lose, fix string
		want      alert.Severity
	}{
		{"the key's binding", nil, setPolicy(simulatedKey, "v1", none), setPolicy(simulatedKey, "v1", stripped(grant)), alert.Critical},
		{"the key's binding, and the ring has one", []string{setPolicy(simulatedRing, "v1", stripped(grant))}, setPolicy(simulatedKey, "v1", none), "", alert.Medium},
		{"the ring's only binding", []string{setPolicy(simulatedRing, "v1", stripped(grant)), setPolicy(simulatedKey, "v1", none)}, setPolicy(simulatedRing, "v1", none), setPolicy(simulatedRing, "v1", stripped(grant)), alert.Critical},
		{"the project's only binding", []string{setPolicy("projects/acme", "v3", stripped(grant)), setPolicy(simulatedKey, "v1", none)}, setPolicy("projects/acme", "v3", none), setPolicy("projects/acme", "v3", stripped(grant)), alert.Critical},
		{"Token Creator", nil, setPolicy(accountName, "v1", none), setPolicy(accountName, "v1", stripped(mint)), alert.Critical},
		{"the account, disabled", nil, "POST v1/" + accountName + ":disable {}", "POST v1/" + accountName + ":enable {}", alert.Critical},
		{"a deny policy of the folder", nil, "POST " + denies + "?policyId=stop " + denyRule, "DELETE " + denies + "/stop", alert.Critical},
		{"a principal access boundary of the folder", []string{"POST " + boundaries + "?principalAccessBoundaryPolicyId=own " + elsewhere},
			"POST " + bindings + "?policyBindingId=bound " + bind, "DELETE " + bindings + "/bound", alert.Critical},
		{"an old version", nil, "PATCH v1/" + simulatedKey + "/cryptoKeyVersions/1?updateMask=state {\"state\":\"DISABLED\"}", "PATCH v1/" + simulatedKey + "/cryptoKeyVersions/1?updateMask=state {\"state\":\"ENABLED\"}", alert.High},
		{"the primary version", nil, "PATCH v1/" + simulatedKey + "/cryptoKeyVersions/2?updateMask=state {\"state\":\"DISABLED\"}", "PATCH v1/" + simulatedKey + "/cryptoKeyVersions/2?updateMask=state {\"state\":\"ENABLED\"}", alert.Critical},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				cloud := simulated(t, w)
				cloud.Events()
				for _, call := range row.prepare {
					w.asks(cloud, call)
					time.Sleep(time.Hour) // of which nothing stays open
				}
				w.ticks(30 * time.Minute)
				if open := w.open(); len(open) > 0 {
					t.Fatalf("before anything is lost, open are %v: %s", open, w.last().Text())
				}
				before := len(w.told.Alerts())
				w.asks(cloud, row.lose)
				alerts := w.told.Alerts()[before:]
				if len(alerts) != 1 || alerts[0].Severity != row.want {
					t.Fatalf("reported are %s; want one %s alert", headlines(alerts), row.want)
				}
				if row.fix == "" {
					if len(w.open()) > 0 {
						t.Errorf("open are %v", w.open())
					}
					return
				}
				w.ticks(2 * time.Hour)
				if len(w.open()) != 1 {
					t.Fatalf("two hours later open are %v, reported %s", w.open(), headlines(w.told.Alerts()))
				}
				w.asks(cloud, row.fix)
				w.ticks(2 * time.Hour)
				if a := w.last(); len(w.open()) != 0 || !a.Resolved {
					t.Errorf("two hours after the fix open are %v, reported %s", w.open(), headlines(w.told.Alerts()))
				}
			})
		})
	}
}

func headlines(alerts []alert.Alert) string {
	var list []string
	for _, a := range alerts {
		list = append(list, fmt.Sprintf("%s (%s)", a.Headline(), a.Impact))
	}
	return "\n  " + strings.Join(list, "\n  ") + "\n"
}
