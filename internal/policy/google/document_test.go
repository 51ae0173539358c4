package google_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/policy/google"
)

func TestParsePolicy(t *testing.T) {
	for _, r := range []struct{ name, text, want string }{
		{"of getIamPolicy", `{"version":1,"etag":"BwWWja0YfJA=","bindings":[{"role":"roles/viewer","members":["user:a@example.com"]}],"auditConfigs":[{"service":"allServices"}]}`, ""},
		{"of an audit log entry", `{"bindings":[{"members":["user:a@example.com"],"role":"roles/viewer"}],"@type":"type.googleapis.com/google.iam.v1.Policy"}`, ""},
		{"never set", `{"etag":"ACAB"}`, ""},
		{"everything removed", `{"version":1,"etag":"BwX"}`, ""},
		{"no bindings", `{"bindings":[]}`, ""},
		{"a binding of nobody", `{"bindings":[{"role":"roles/viewer"}]}`, ""},
		{"an empty object", `{}`, "neither bindings nor an etag"},
		{"bindings that are null", `{"bindings":null}`, "neither bindings nor an etag"},
		{"an empty etag", `{"etag":""}`, "neither bindings nor an etag"},
		{"an error", `{"error":{"code":403,"message":"denied","status":"PERMISSION_DENIED"}}`, "neither bindings nor an etag"},
		{"no text", ``, "want an object, got"},
		{"null", `null`, "want an object, got null"},
		{"a list", `[]`, "want an object, got []"},
		{"cut", `{"bindings":[{"role":"roles/viewer"`, "EOF"},
		{"more after it", `{"etag":"x"}{}`, "after"},
		{"a member twice", `{"etag":"x","bindings":[],"bindings":[]}`, "duplicate"},
		{"a name in another case", `{"etag":"x","Bindings":[]}`, `"Bindings" must be spelled bindings`},
		{"a condition in another case", `{"bindings":[{"role":"r","members":["allUsers"],"Condition":{"expression":"false"}}]}`, `"Condition" must be spelled condition`},
		{"members that are one text", `{"bindings":[{"role":"r","members":"allUsers"}]}`, "members"},
		{"no role", `{"bindings":[{"role":"r"},{"members":["allUsers"]}]}`, "binding 2 has no role"},
		{"a version that does not exist", `{"version":2,"etag":"x"}`, "want 0, 1 or 3, got 2"},
		{"a version as text", `{"version":"1","etag":"x"}`, "version"},
		{"values that look like names", `{"bindings":[{"role":"Role","members":["Members","Condition"],"condition":{"expression":"Expression","title":"Etag"}}]}`, ""},
		{"as large as can be", `{"etag":"` + strings.Repeat("x", 1<<20-11) + `"}`, ""},
		{"too large", `{"etag":"` + strings.Repeat("x", 1<<20) + `"}`, "more than any policy may have"},
	} {
		p, err := google.ParsePolicy(r.text)
		checkError(t, r.name, err, r.want)
		if r.want != "" && len(p.Bindings) > 0 {
			t.Errorf("%s: an error comes with bindings", r.name)
		}
	}
	p, err := google.ParsePolicy(`{"version":3,"bindings":[{"role":"roles/a","members":["user:a","group:b"],"condition":{"title":"t","expression":"e"}},{"role":"roles/b","members":["user:c"]}]}`)
	if err != nil || p.Version != 3 || len(p.Bindings) != 2 || p.Bindings[0].Role != "roles/a" || len(p.Bindings[0].Members) != 2 ||
		p.Bindings[0].Condition.Expression != "e" || p.Bindings[1].Condition != nil {
		t.Errorf("read %+v, %v", p, err)
	}
}

func TestParseDenyPolicy(t *testing.T) {
	for _, r := range []struct{ name, text, want string }{
		{"a policy", `{"name":"policies/x/denypolicies/guard","rules":[` + rule("a", "", "b", "") + `]}`, ""},
		{"no rules", `{"rules":[]}`, ""},
		{"one of a list", `{"name":"policies/x/denypolicies/guard","kind":"DenyPolicy","etag":"x"}`, "it has no rules; a list of policies leaves them out"},
		{"another kind of rule", `{"rules":[` + rule("a", "", "b", "") + `,{"accessBoundaryRule":{}}]}`, "rule 2 is no denyRule"},
		{"a name in another case", `{"rules":[{"denyRule":{"DeniedPrincipals":["x"]}}]}`, `"DeniedPrincipals" must be spelled deniedPrincipals`},
		{"null", `null`, "want an object"},
		{"a text", `{"rules":[{"denyRule":{"deniedPrincipals":"x"}}]}`, "deniedPrincipals"},
	} {
		_, err := google.ParseDenyPolicy(r.text)
		checkError(t, r.name, err, r.want)
	}
	d, err := google.ParseDenyPolicy(`{"name":"policies/x/denypolicies/guard","rules":[` + rule("a", "b", "c", "d", "e") + `]}`)
	if err != nil || d.Name != "guard" || len(d.Rules) != 1 || d.Rules[0].DeniedPrincipals[0] != "a" || d.Rules[0].ExceptionPrincipals[0] != "b" ||
		d.Rules[0].DeniedPermissions[0] != "c" || d.Rules[0].ExceptionPermissions[0] != "d" || d.Rules[0].Condition.Expression != "e" {
		t.Errorf("read %+v, %v", d, err)
	}
}

func TestParseRole(t *testing.T) {
	for _, r := range []struct {
		name, text, want string
		gives            bool
	}{
		{"a custom role", `{"name":"` + own + `","title":"CMEK","stage":"GA","includedPermissions":["cloudkms.cryptoKeyVersions.useToDecrypt"]}`, "", true},
		{"of another stage", `{"name":"` + own + `","stage":"DEPRECATED","includedPermissions":["cloudkms.cryptoKeyVersions.useToDecrypt"]}`, "", true},
		{"disabled", `{"name":"` + own + `","stage":"DISABLED","includedPermissions":["cloudkms.cryptoKeyVersions.useToDecrypt"]}`, "", false},
		{"deleted", `{"name":"` + own + `","deleted":true,"includedPermissions":["cloudkms.cryptoKeyVersions.useToDecrypt"]}`, "", false},
		{"deleted, one of a list", `{"name":"` + own + `","deleted":true}`, "", false},
		{"of other permissions", `{"name":"` + own + `","includedPermissions":["cloudkms.cryptoKeyVersions.useToDecryptViaDelegation"]}`, "", false},
		{"of none", `{"name":"` + own + `","includedPermissions":[]}`, "", false},
		{"one of a list", `{"name":"` + own + `","title":"CMEK","stage":"GA"}`, own + " has no includedPermissions; a list of roles leaves them out", false},
		{"no name", `{"includedPermissions":[]}`, "it has no name", false},
		{"a name in another case", `{"name":"x","IncludedPermissions":[]}`, `"IncludedPermissions" must be spelled includedPermissions`, false},
		{"a text", `{"name":"x","includedPermissions":"y"}`, "includedPermissions", false},
	} {
		role, err := google.ParseRole(r.text)
		checkError(t, r.name, err, r.want)
		if err == nil {
			want := denied
			if r.gives {
				want = allowed
			}
			expect(t, decrypt(everything().WithRole(role).With(key, allow(t, bind(own, serviceAccount)))), want)
		}
	}
}

func checkError(t *testing.T, name string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: %v, want an error with %q", name, err, want)
	case err != nil && len(err.Error()) > 500:
		t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
	}
}

func TestEqual(t *testing.T) {
	a := []string{bind(use, serviceAccount+" group:ops@example.com"), bind("roles/viewer", "user:a@example.com", "x")}
	for _, r := range []struct {
		name string
		with []string
		want bool
	}{
		{"itself", a, true},
		{"another order", []string{a[1], a[0]}, true},
		{"members in another order, split, and in another case", []string{bind(use, "group:Ops@example.com"), a[1], bind(use, serviceAccount)}, true},
		{"twice", []string{a[0], a[1], a[0]}, true},
		{"and a binding of nobody", []string{a[0], a[1], bind("roles/owner", "")}, true},
		{"a condition with space around it", []string{a[0], bind("roles/viewer", "user:a@example.com", " x ")}, true},
		{"one member more", []string{a[0], a[1], bind("roles/viewer", "user:b@example.com")}, false},
		{"one less", []string{bind(use, serviceAccount), a[1]}, false},
		{"another condition", []string{a[0], bind("roles/viewer", "user:a@example.com", "y")}, false},
		{"no condition", []string{a[0], bind("roles/viewer", "user:a@example.com")}, false},
		{"another role", []string{bind("roles/cloudkms.cryptoKeyEncrypter", serviceAccount+" group:ops@example.com"), a[1]}, false},
		{"a deleted member", []string{bind(use, "deleted:"+serviceAccount+"?uid=1 group:ops@example.com"), a[1]}, false},
		{"members and conditions exchanged", []string{bind(use, serviceAccount+" group:ops@example.com", "x"), bind("roles/viewer", "user:a@example.com")}, false},
		{"nothing", nil, false},
	} {
		p, q := allow(t, a...), allow(t, r.with...)
		q.Version = 1
		if google.Equal(p, q) != r.want || google.Equal(q, p) != r.want || (google.Digest(p) == google.Digest(q)) != r.want {
			t.Errorf("%s: want %t", r.name, r.want)
		}
		if r.want {
			expectSentences(t, google.DiffKey(everything().With(key, p), everything().With(key, q), key, at, user))
		}
	}
	p := allow(t, a...)
	p.Version, p.ConditionsDropped = 1, true
	if google.Equal(p, p) || google.Equal(p, allow(t, a...)) || google.Equal(allow(t, a...), p) {
		t.Error("a policy whose conditions were dropped is not proven equal to any")
	}
	always, text := allow(t, bind("r", "user:a")), allow(t, bind("r", "user:a", "always"))
	if google.Equal(always, text) {
		t.Error("no condition is not the condition always")
	}
}

func TestEqual_denyPoliciesAndRoles(t *testing.T) {
	one := rule("principal://goog/subject/a@example.com b", "c d", "e f", "g h", "x")
	for _, r := range []struct {
		name  string
		rules []string
		want  bool
	}{
		{"another order", []string{rule("b principal://goog/subject/A@example.com b", "d c", "f e e", "h g", "x")}, true},
		{"twice", []string{one, one}, true},
		{"another principal", []string{rule("b", "c d", "e f", "g h", "x")}, false},
		{"another exception", []string{rule("principal://goog/subject/a@example.com b", "c", "e f", "g h", "x")}, false},
		{"another permission", []string{rule("principal://goog/subject/a@example.com b", "c d", "e", "g h", "x")}, false},
		{"another excepted permission", []string{rule("principal://goog/subject/a@example.com b", "c d", "e f", "g", "x")}, false},
		{"another condition", []string{rule("principal://goog/subject/a@example.com b", "c d", "e f", "g h")}, false},
		{"none", nil, false},
	} {
		if google.Equal(deny(t, one), deny(t, r.rules...)) != r.want {
			t.Errorf("%s: want %t", r.name, r.want)
		}
	}
	role := func(permissions ...google.Permission) google.Role {
		return google.Role{Name: own, Permissions: permissions}
	}
	if !google.Equal(role("a", "b"), role("b", "a", "a")) || google.Equal(role("a"), role("a", "b")) || google.Digest(role("a")) == google.Digest(role("b")) {
		t.Error("roles are equal by their permissions")
	}
}
