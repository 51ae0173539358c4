package compliance_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/ledger"
)

// audited gives the world an audit credential: the API key of that number in the seed.
func (w *world) audited(key int) {
	w.t.Helper()
	auditor, err := cockroachcloud.NewAuditor(cockroachcloud.Options{
		Server: "http://localhost", APIKey: cockroachcloud.StaticAPIKey(w.seed.APIKeys[key].Secret), HTTPClient: &http.Client{Transport: w}, Rate: 8, MaxReadAttempts: 1,
		Rand: rand.New(rand.NewPCG(5, 6)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Audit, w.Declared.AuditCredential = auditor, true
}

const (
	operatorKey = 0
	adminKey    = 1
)

// put sends a PUT as keyturn's service account does, which keyturn noted or somebody else sent.
func (w *world) put(cluster string, noted bool) {
	w.t.Helper()
	if noted {
		w.note(cluster, 0)
		if _, err := w.Ledger.UpdateCluster(w.t.Context(), cluster, func(c *ledger.Cluster) error { c.NoteSent(time.Now()); c.NextLook = time.Now(); return nil }); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.simulator.PUTCMEK("keyturn", cluster); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(time.Hour)
}

// Every change in the audit log is one that keyturn noted before it sent it, or a finding.
func TestAuditLog_is_compared_with_what_keyturn_sent(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*world)
		want checks.Result
		why  string
	}{
		{"nothing happened", func(*world) {}, checks.Pass, "all 0 entries"},
		{"keyturn's own", func(w *world) { w.put(payments, true) }, checks.Pass, "all 1 entries"},
		{"several of keyturn's own in a row", func(w *world) { w.put(payments, true); w.put(payments, true); w.put(payments, true) }, checks.Pass, "all 3 entries"},
		{"somebody else's", func(w *world) { w.put(payments, false) }, checks.Fail, "keyturn sent nothing then"},
		{"somebody else's between keyturn's own", func(w *world) { w.put(payments, true); w.put(payments, false); w.put(payments, true) }, checks.Fail, "keyturn sent nothing then"},
		{"somebody else's of another cluster", func(w *world) { w.put(orders, false) }, checks.Pass, "all 0 entries"},
		{"somebody else's six days ago", func(w *world) { w.put(payments, false); time.Sleep(6 * 24 * time.Hour) }, checks.Fail, "keyturn sent nothing then"},
		{"somebody else's eight days ago", func(w *world) { w.put(payments, false); time.Sleep(8 * 24 * time.Hour) }, checks.Pass, "all 0 entries"},
		{"a revocation", revoked(payments), checks.Fail, "revoked"},
		{"no credential is declared", func(w *world) { w.Declared.AuditCredential = false }, checks.NotApplicable, "no audit credential"},
		{"the credential is not there", func(w *world) { w.Audit = nil }, checks.Error, "this run has no audit credential"},
		{"the credential may not read it", func(w *world) { w.audited(operatorKey) }, checks.Error, "denied"},
		{"the log is no answer of the API", func(w *world) { w.broken["GET /api/v1/auditlogevents"] = true }, checks.Error, "audit log of the organization"},
		{"no ledger", func(w *world) { w.Ledger = nil }, checks.Error, "no ledger"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			within(t, func(t *testing.T, w *world) {
				w.audited(adminKey)
				tt.do(w)
				f := results(w.check())["CMEK-29 "+payments]
				if f.Result != tt.want || !strings.Contains(f.Why, tt.why) {
					t.Errorf("%s: %s", f.Result, f.Why)
				}
				if grants := strings.Contains(tt.why, "denied"); grants != slices.ContainsFunc(f.Grants, func(g string) bool { return strings.Contains(g, "Org Admin") }) {
					t.Errorf("grants %q", f.Grants)
				}
				if n := w.requests["GET /api/v1/auditlogevents"]; n > 3 {
					t.Errorf("the log was read %d times for %d clusters", n, len(w.seed.Clusters))
				}
			})
		})
	}
}

// mine is a secret that holds an API key of the seed.
type mine struct {
	kept
	value string
}

func (m mine) Value(context.Context) (string, error) { return m.value, nil }

// The roles are those of the service account that the API key in compliance's own secret belongs to.
func TestRoles_of_the_credential_are_read_with_another_one(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*world)
		want checks.Result
		why  string
	}{
		{"an operator", func(*world) {}, checks.Pass, "CLUSTER_OPERATOR_WRITER"},
		{"an Org Admin", func(w *world) { w.AWS.Secrets[0] = mine{kept{"the secret", 0}, w.seed.APIKeys[adminKey].Secret} }, checks.Fail, "role ORG_ADMIN"},
		{"no API key", func(w *world) { w.AWS.Secrets[0] = mine{kept{"the secret", 0}, "topsecret"} }, checks.Error, "tells no id"},
		{"an unknown API key", func(w *world) {
			w.AWS.Secrets[0] = mine{kept{"the secret", 0}, "CCDB1_0000000000000000000000_" + strings.Repeat("0", 40)}
		}, checks.Error, "roles of the credential could not be read"},
		{"the credential may not read it", func(w *world) { w.audited(operatorKey) }, checks.Error, "roles of the credential could not be read"},
		{"no audit credential", func(w *world) { w.Audit, w.Declared.AuditCredential = nil, false }, checks.Pass, "roles are not read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			within(t, func(t *testing.T, w *world) {
				w.audited(adminKey)
				w.AWS.Secrets = []compliance.Secret{mine{kept{"the secret", 0}, w.seed.APIKeys[operatorKey].Secret}, kept{"another", 0}}
				tt.do(w)
				got := results(w.check())
				if f := got["CMEK-30 the secret"]; f.Result != tt.want || !strings.Contains(f.Why, tt.why) || strings.Contains(f.Why, "topsecret") {
					t.Errorf("%s: %s", f.Result, f.Why)
				}
				// What compliance does not read, nobody can tell the roles of.
				if f := got["CMEK-30 another"]; w.Declared.AuditCredential && (f.Result != checks.Error || !strings.Contains(f.Why, "does not read this API key")) {
					t.Errorf("%s: %s", f.Result, f.Why)
				}
			})
		})
	}
}

func TestAPIKeyID_is_all_but_the_secret_part(t *testing.T) {
	for key, want := range map[string]string{"CCDB1_abc_topsecret": "CCDB1_abc", "CCDB1_topsecret": "", "topsecret": "", "": "", "a_b_c_topsecret": ""} {
		if got := cmek.APIKeyID(key); got != want {
			t.Errorf("%q: %q", key, got)
		}
	}
}
