package google_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

const (
	ring         = "projects/keys-prod/locations/us-east1/keyRings/cmek"
	key          = ring + "/cryptoKeys/store"
	project      = "projects/keys-prod"
	folder       = "folders/77"
	organization = "organizations/9"
	account      = "cmek@keys-prod.iam.gserviceaccount.com"
	target       = project + "/serviceAccounts/" + account
	crl          = "crl-kms-user-1a2b3c4d5e6f@crl-prod-abc.iam.gserviceaccount.com"

	use   = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
	mint  = "roles/iam.serviceAccountTokenCreator"
	own   = "projects/keys-prod/roles/cmekUser"
	other = "projects/keys-prod/roles/unread"
)

var (
	at     = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	user   = google.ServiceAccount{Email: account, UniqueID: "111"}
	vendor = google.ServiceAccount{Email: crl}
)

// Building blocks of documents, as JSON.
func bind(role, members string, condition ...string) string {
	list := strings.ReplaceAll(fmt.Sprintf("%q", strings.Fields(members)), `" "`, `","`)
	if len(condition) > 0 {
		return fmt.Sprintf(`{"role":%q,"members":%s,"condition":{"title":"t","expression":%q}}`, role, list, condition[0])
	}
	return fmt.Sprintf(`{"role":%q,"members":%s}`, role, list)
}

func allow(t testing.TB, bindings ...string) google.Policy {
	t.Helper()
	p, err := google.ParsePolicy(`{"version":3,"etag":"BwX","bindings":[` + strings.Join(bindings, ",") + `]}`)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rule is a deny rule: who, except whom, what, except what, each separated by spaces, and a condition.
func rule(denied, except, permissions, exceptPermissions string, condition ...string) string {
	list := func(s string) string { return strings.ReplaceAll(fmt.Sprintf("%q", strings.Fields(s)), `" "`, `","`) }
	text := fmt.Sprintf(`"deniedPrincipals":%s,"exceptionPrincipals":%s,"deniedPermissions":%s,"exceptionPermissions":%s`,
		list(denied), list(except), list(permissions), list(exceptPermissions))
	if len(condition) > 0 {
		text += fmt.Sprintf(`,"denialCondition":{"expression":%q}`, condition[0])
	}
	return `{"description":"d","denyRule":{` + text + `}}`
}

func deny(t testing.TB, rules ...string) google.DenyPolicy {
	t.Helper()
	d, err := google.ParseDenyPolicy(`{"name":"policies/cloudresourcemanager.googleapis.com%2Fprojects%2F123/denypolicies/guard","kind":"DenyPolicy","etag":"x","rules":[` + strings.Join(rules, ",") + `]}`)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// everything is a hierarchy in which all is read and nothing grants or denies anything.
func everything() google.Documents {
	d := google.Documents{Policies: map[string]google.Policy{}, Denies: map[string][]google.DenyPolicy{}, Boundaries: map[string][]google.Boundary{},
		Parents: map[string][]string{project: {folder, organization}},
		Roles: map[string]google.Role{own: {Name: own, Permissions: []google.Permission{google.Encrypt, google.Decrypt}},
			"roles/logging.viewer": {Name: "roles/logging.viewer"}}}
	for _, level := range []string{key, ring, target, project, folder, organization} {
		d.Policies[level] = google.Policy{}
	}
	for _, level := range []string{project, folder, organization} {
		d.Denies[level], d.Boundaries[level] = nil, nil
	}
	return d
}

// without leaves documents out: those named, "denies of X", "boundaries of X", "parents" and the names of roles.
func without(d google.Documents, names ...string) google.Documents {
	d.Policies, d.Denies, d.Parents, d.Roles = maps.Clone(d.Policies), maps.Clone(d.Denies), maps.Clone(d.Parents), maps.Clone(d.Roles)
	d.Boundaries = maps.Clone(d.Boundaries)
	for _, name := range names {
		delete(d.Policies, name)
		delete(d.Roles, name)
		if attached, ok := strings.CutPrefix(name, "denies of "); ok {
			delete(d.Denies, attached)
		}
		if attached, ok := strings.CutPrefix(name, "boundaries of "); ok {
			delete(d.Boundaries, attached)
		}
		if name == "parents" {
			clear(d.Parents)
		}
	}
	return d
}

const (
	allowed    = policy.Allowed
	denied     = policy.Denied
	cannotTell = policy.CannotTell
)

// expect checks the decision, and that its reason mentions each of the texts.
func expect(t *testing.T, v google.Verdict, want policy.Decision, mentions ...string) {
	t.Helper()
	if v.Decision != want {
		t.Errorf("%s, want %s: %s %v", v.Decision, want, v.Why, v.Missing)
	}
	if (v.Decision == cannotTell) == (len(v.Missing) == 0) {
		t.Errorf("%s, with %d things missing: %s", v.Decision, len(v.Missing), v.Why)
	}
	text := v.Why
	for _, m := range v.Missing {
		text += "; " + m.String()
	}
	for _, mention := range mentions {
		if !strings.Contains(text, mention) {
			t.Errorf("the reason does not mention %q: %s", mention, text)
		}
	}
}

func expectSentences(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func decrypt(d google.Documents) google.Verdict {
	return google.KeyAccess(d, key, user, at).Verdicts[google.Decrypt]
}

func impersonate(d google.Documents) google.Verdict {
	return google.ActAs(d, user, vendor, at).Verdicts[google.Impersonate]
}
