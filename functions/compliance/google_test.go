package compliance_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// A cluster on Google Cloud beside those of the small company: its key is in a project within a folder and an organization, and a policy
// of the key binds a role of the project's own.
const (
	onGoogle      = "7c1d9e20-3a4b-4c5d-8e6f-0000000000a1"
	googleRing    = "projects/acme/locations/us-east1/keyRings/crdb"
	googleKey     = googleRing + "/cryptoKeys/pay"
	googleAccount = "cmek-pay@acme.iam.gserviceaccount.com"
	accountName   = "projects/acme/serviceAccounts/" + googleAccount
	keyRole       = "projects/acme/roles/keyUser"
)

func mixedFleet() simulator.Seed {
	seed := simulator.DefaultSeed()
	seed.Google = simulator.GoogleSeed{
		Projects: []simulator.GoogleProjectSeed{{ID: "acme", Number: "123456789012", Ancestors: []string{"folders/77", "organizations/9"}}},
		Roles: []simulator.GoogleRoleSeed{{Name: keyRole, Permissions: []string{
			"cloudkms.cryptoKeyVersions.useToEncrypt", "cloudkms.cryptoKeyVersions.useToDecrypt",
		}}},
	}
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: googleKey, AgeDays: 300, RotationPeriodDays: 90, Rotations: []simulator.RotationSeed{{AgeDays: 30}},
		Policy: `{"bindings":[{"role":"` + keyRole + `","members":["serviceAccount:` + googleAccount + `"]}]}`})
	seed.Clusters = append(seed.Clusters, simulator.ClusterSeed{ID: onGoogle, Name: "on-google", CloudProvider: "GCP", AccountID: "crl-prod-abc", AgeDays: 300,
		Regions: []simulator.RegionSeed{{Name: "us-east1", Key: googleKey, AuthPrincipal: googleAccount}}})
	return seed
}

const access = googleKey + " " + googleAccount

func TestGoogle_is_read_as_AWS_is(t *testing.T) {
	withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
		got := results(w.check())
		for key, want := range map[string]checks.Result{
			"CMEK-01 " + onGoogle: checks.Pass, "CMEK-05 " + googleKey: checks.Pass, "CMEK-06 " + googleKey: checks.Pass, "CMEK-08 " + googleKey: checks.Pass,
			"CMEK-12 " + access: checks.Pass, "CMEK-13 " + googleKey: checks.Pass, "CMEK-14 " + googleKey: checks.Pass,
			"CMEK-17 " + googleAccount: checks.Pass, "CMEK-26 GCP/acme": checks.Fail, "CMEK-24 " + googleKey: checks.Pass,
			"CMEK-16 " + googleAccount: checks.NotApplicable, "CMEK-20 " + googleKey: checks.NotApplicable, "CMEK-25 GCP/acme": checks.Error,
		} {
			if f := got[key]; f.Result != want || f.Why == "" {
				t.Errorf("%s: %s, %s", key, f.Result, f.Why)
			}
		}
		for key, f := range got { // all else was read
			if needs := f.Check == "CMEK-25" || f.Check == "CMEK-26" || f.Check == "CMEK-30"; f.Result == checks.Error && !needs {
				t.Errorf("%s: %s", key, f.Why)
			}
		}
	})
}

// One report has each check of the catalog for both clouds: with what was found, or with why it has no meaning there.
func TestCatalog_is_whole_for_both_clouds(t *testing.T) {
	withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
		w.Declared.Keys = []checks.KeyDeclaration{{Key: googleKey, Retired: true}, {Key: paymentsKey, Retired: true}}
		found := map[string]checks.Finding{}
		for _, f := range w.check().Findings {
			found[string(f.Subject.Cloud)+" "+f.Check] = f
		}
		all := checks.Catalog()
		if len(all) < 28 {
			t.Fatalf("the catalog has %d checks", len(all))
		}
		for _, c := range all {
			for cloud, why := range map[checks.Cloud]string{checks.AWS: c.AWS.NotApplicable, checks.GCP: c.GCP.NotApplicable} {
				f, ok := found[string(cloud)+" "+c.ID]
				switch {
				case !ok && c.Subject != checks.CredentialSubject: // the API key in use is one for both
					t.Errorf("%s on %s is not in the report", c.ID, cloud)
				case ok && why != "" && (f.Result != checks.NotApplicable || !strings.Contains(f.Why, why)):
					t.Errorf("%s on %s: %s, %q, want %q", c.ID, cloud, f.Result, f.Why, why)
				}
			}
		}
	})
}

// What is refused is an ERROR that names the permission, and what does not need it is not affected.
func TestGoogle_refusals_name_the_permission(t *testing.T) {
	const policy = ":getIamPolicy"
	for _, tt := range []struct{ request, check, subject, grant, other string }{
		{"GET /v1/" + googleKey, "CMEK-05", googleKey, "cloudkms.cryptoKeys.get on " + googleKey, "CMEK-13 " + googleKey},
		{"GET /v1/" + googleKey, "CMEK-08", googleKey, "cloudkms.cryptoKeys.get on " + googleKey, ""},
		{"GET /v1/" + googleKey + "/cryptoKeyVersions", "CMEK-05", googleKey, "cloudkms.cryptoKeyVersions.list on " + googleKey, "CMEK-08 " + googleKey},
		{"GET /v1/" + googleKey + policy, "CMEK-13", googleKey, "the policy of key pay (cloudkms.cryptoKeys.getIamPolicy)", "CMEK-17 " + googleAccount},
		{"GET /v1/" + googleRing + policy, "CMEK-14", googleKey, "the policy of key ring crdb (cloudkms.keyRings.getIamPolicy)", "CMEK-17 " + googleAccount},
		{"POST /v3/projects/acme" + policy, "CMEK-13", googleKey, "the policy of project acme (resourcemanager.projects.getIamPolicy)", "CMEK-05 " + googleKey},
		{"POST /v3/projects/acme" + policy, "CMEK-26", "GCP/acme", "the policy of project acme (resourcemanager.projects.getIamPolicy)", ""},
		{"POST /v3/folders/77" + policy, "CMEK-13", googleKey, "(resourcemanager.folders.getIamPolicy)", ""},
		{"POST /v3/folders/77" + policy, "CMEK-26", "GCP/acme", "(resourcemanager.folders.getIamPolicy)", ""},
		{"POST /v3/organizations/9" + policy, "CMEK-18", googleKey, "(resourcemanager.organizations.getIamPolicy)", ""},
		{"POST /v1/projects/acme:getAncestry", "CMEK-15", googleKey, "(resourcemanager.projects.get)", "CMEK-08 " + googleKey},
		{"POST /v1/projects/acme:getAncestry", "CMEK-26", "GCP/acme", "(resourcemanager.projects.get)", ""},
		{"GET /v2/policies/cloudresourcemanager.googleapis.com/projects/acme/denypolicies", "CMEK-12", access, "iam.denypolicies.list", "CMEK-14 " + googleKey},
		{"GET /v1/" + keyRole, "CMEK-12", access, "(iam.roles.get)", "CMEK-17 " + googleAccount},
		{"GET /v1/" + accountName, "CMEK-17", googleAccount, "(iam.serviceAccounts.get)", "CMEK-14 " + googleKey},
		{"POST /v1/" + accountName + policy, "CMEK-17", googleAccount, "(iam.serviceAccounts.getIamPolicy)", "CMEK-12 " + access},
	} {
		t.Run(tt.check+" without "+tt.request, func(t *testing.T) {
			withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
				w.refused[tt.request] = true
				got := results(w.check(onGoogle))
				f := got[tt.check+" "+tt.subject]
				if f.Result != checks.Error || !slices.ContainsFunc(f.Grants, func(g string) bool { return strings.Contains(g, tt.grant) }) {
					t.Errorf("%s, %s, grants %q", f.Result, f.Why, f.Grants)
				}
				if w.requests[tt.request] == 0 {
					t.Error("it was not asked for")
				}
				if tt.other != "" && got[tt.other].Result != checks.Pass {
					t.Errorf("%s: %s, %s", tt.other, got[tt.other].Result, got[tt.other].Why)
				}
			})
		})
	}
}

// Whatever read of Google Cloud fails, nothing that rests on it is anything but an ERROR: with the permission if it was refused.
func TestGoogle_read_that_fails_is_never_an_answer(t *testing.T) {
	var requests []string
	var whole map[string]checks.Finding
	withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
		whole = results(w.check(onGoogle))
		for name := range w.requests {
			if strings.Contains(name, " /v1/projects/") || strings.Contains(name, " /v2/") || strings.Contains(name, " /v3/") {
				requests = append(requests, name)
			}
		}
	})
	if len(requests) < 14 {
		t.Fatalf("only %q are made", requests)
	}
	for _, request := range requests {
		for _, refused := range []bool{true, false} {
			withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
				w.refused[request], w.broken[request] = refused, !refused
				errors := 0
				for key, f := range results(w.check(onGoogle)) {
					if f.Result == whole[key].Result {
						continue
					}
					errors++
					if f.Result != checks.Error || len(f.Grants) > 0 != refused {
						t.Errorf("%s, refused %t: %s is %s, %s, grants %q", request, refused, key, f.Result, f.Why, f.Grants)
					}
				}
				if errors == 0 {
					t.Errorf("%s, refused %t, changes nothing", request, refused)
				}
			})
		}
	}
}

// Without credentials no permission is missing.
func TestGoogle_without_credentials(t *testing.T) {
	withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
		config := google.Config{HTTP: &http.Client{Transport: w}, Endpoint: "http://google.test", Tokens: noToken{}}
		keys, err := google.NewKMS(config)
		if err != nil {
			t.Fatal(err)
		}
		w.Google = compliance.Google{Keys: keys, Policies: google.NewPolicies(config)}
		got := results(w.check(onGoogle))
		for _, key := range []string{"CMEK-05 " + googleKey, "CMEK-08 " + googleKey, "CMEK-13 " + googleKey, "CMEK-17 " + googleAccount, "CMEK-26 GCP/acme"} {
			if f := got[key]; f.Result != checks.Error || len(f.Grants) > 0 || !strings.Contains(f.Why, "no credentials") {
				t.Errorf("%s: %s, %s, grants %q", key, f.Result, f.Why, f.Grants)
			}
		}
	})
}

type noToken struct{}

func (noToken) Token() (*oauth2.Token, error) { return nil, errors.New("nobody is logged in") }

// A key takes 3 calls of its own and a service account 2. The rest is read once for all keys of a project.
func TestGoogle_calls_are_bounded(t *testing.T) {
	const keys = 5
	seed := mixedFleet()
	for i := 1; i < keys; i++ {
		key := seed.Keys[len(seed.Keys)-1]
		cluster := seed.Clusters[len(seed.Clusters)-1]
		cluster.ID, cluster.Name = fmt.Sprintf("7c1d9e20-3a4b-4c5d-8e6f-0000000001a%d", i), fmt.Sprintf("on-google-%d", i)
		cluster.Regions = slices.Clone(cluster.Regions)
		key.URI = cmek.KeyURI(fmt.Sprintf("%s-%d", googleKey, i))
		cluster.Regions[0].Key = key.URI
		seed.Keys, seed.Clusters = append(seed.Keys, key), append(seed.Clusters, cluster)
	}
	withinSeed(t, seed, func(t *testing.T, w *world) {
		w.check()
		n := 0
		for name, count := range w.requests {
			if strings.Contains(name, " /v1/projects/") || strings.Contains(name, " /v2/") || strings.Contains(name, " /v3/") {
				n += count
			}
		}
		// The ring; what is above the project; the role; of the project, the folder and the organization the policy, the list of deny policies
		// and what bounds their principals.
		const shared = 1 + 1 + 1 + 3*3
		if want := 3*keys + 2 + shared; n != want {
			t.Errorf("%d calls, want %d: %v", n, want, w.requests)
		}
	})
}

// What the sweep noted is not read again while it is fresh.
func TestGoogle_noted_documents_count_while_they_are_fresh(t *testing.T) {
	for _, tt := range []struct {
		age   time.Duration
		reads int
	}{{80 * time.Minute, 0}, {91 * time.Minute, 1}} {
		withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
			for _, name := range []string{googleKey, accountName, accountName + "#state"} {
				text, err := w.Google.Policies.Document(t.Context(), name)
				if err == nil {
					err = w.Ledger.NotePolicy(t.Context(), name, text, ledger.NotedPolicy{})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(tt.age)
			clear(w.requests)
			got := results(w.check(onGoogle))
			for _, request := range []string{"GET /v1/" + googleKey + ":getIamPolicy", "POST /v1/" + accountName + ":getIamPolicy", "GET /v1/" + accountName} {
				if n := w.requests[request]; n != tt.reads {
					t.Errorf("after %s %s: %d, want %d", tt.age, request, n, tt.reads)
				}
			}
			if f := got["CMEK-12 "+access]; f.Result != checks.Pass {
				t.Errorf("%s, %s", f.Result, f.Why)
			}
		})
	}
}

// change sends a request to the simulated Google Cloud, which must take it.
func (w *world) change(request, body string) {
	w.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://google.test/"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer sample")
	answer, err := simulator.Transport(w.simulator.Handler()).RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %s", request, text)
	}
}

// A change of the simulated cloud is found, and by these checks.
func TestGoogle_findings(t *testing.T) {
	for _, tt := range []struct {
		name, path, body string
		want             map[string]checks.Result
	}{
		{"version disabled", "PATCH v1/" + googleKey + "/cryptoKeyVersions/2?updateMask=state", `{"state":"DISABLED"}`, map[string]checks.Result{"CMEK-05 " + googleKey: checks.Fail}},
		{"old version to be destroyed, and nobody knows who needs it", "POST v1/" + googleKey + "/cryptoKeyVersions/1:destroy", `{}`, map[string]checks.Result{"CMEK-06 " + googleKey: checks.Error, "CMEK-05 " + googleKey: checks.Pass}},
		{"account disabled", "POST v1/" + accountName + ":disable", `{}`, map[string]checks.Result{"CMEK-17 " + googleAccount: checks.Fail, "CMEK-12 " + access: checks.Fail}},
		{"account deleted", "DELETE v1/" + accountName, ``, map[string]checks.Result{"CMEK-17 " + googleAccount: checks.Fail, "CMEK-12 " + access: checks.Fail, "CMEK-15 " + googleKey: checks.Fail}},
		{"no rotation", "PATCH v1/" + googleKey + "?updateMask=rotationPeriod,nextRotationTime", `{}`, map[string]checks.Result{"CMEK-08 " + googleKey: checks.Fail}},
		{"everybody on the folder", "POST v3/folders/77:setIamPolicy", `{"policy":{"bindings":[{"role":"roles/cloudkms.cryptoKeyDecrypter","members":["allUsers"]}]}}`,
			map[string]checks.Result{"CMEK-13 " + googleKey: checks.Fail, "CMEK-14 " + googleKey: checks.Fail}},
		{"nobody on the key", "POST v1/" + googleKey + ":setIamPolicy", `{"policy":{"bindings":[]}}`, map[string]checks.Result{"CMEK-12 " + access: checks.Fail}},
		{"role without permissions", "DELETE v1/" + keyRole, ``, map[string]checks.Result{"CMEK-12 " + access: checks.Fail}},
		{"Data Access logs on", "POST v1/projects/acme:setIamPolicy", `{"policy":{"auditConfigs":[{"service":"cloudkms.googleapis.com","auditLogConfigs":[{"logType":"DATA_READ"}]}]},"updateMask":"auditConfigs"}`,
			map[string]checks.Result{"CMEK-26 GCP/acme": checks.Pass}},
		{"logs that the organization exempts somebody from", "POST v3/organizations/9:setIamPolicy",
			`{"policy":{"auditConfigs":[{"service":"allServices","auditLogConfigs":[{"logType":"DATA_READ","exemptedMembers":["user:a@example.com"]}]}]},"updateMask":"auditConfigs"}`,
			map[string]checks.Result{"CMEK-26 GCP/acme": checks.Fail}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
				w.change(tt.path, tt.body)
				got := results(w.check(onGoogle))
				for key, want := range tt.want {
					if f := got[key]; f.Result != want {
						t.Errorf("%s: %s, %s", key, f.Result, f.Why)
					}
				}
			})
		})
	}
}
