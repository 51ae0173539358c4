package google_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

const cloudResources = "//cloudresourcemanager.googleapis.com/"

// boundary is a policy of that enforcement version which lists the resources.
func boundary(version string, resources ...string) google.Boundary {
	b := google.Boundary{Name: "own", Version: version}
	for _, r := range resources {
		b.Resources = append(b.Resources, cloudResources+r)
	}
	return b
}

// only is the boundary of whom the condition is true.
func only(b google.Boundary, condition string) google.Boundary {
	b.Condition = &google.Condition{Expression: condition}
	return b
}

// Principal access boundaries of the account's project and of what is above it, with a binding that gives the role. Each row stands in the
// IAM documentation, "Principal access boundary policies".
func TestBoundaries_decide(t *testing.T) {
	granted := everything().With(key, allow(t, bind(use, serviceAccount)))
	isAccount, isOther := "principal.type == 'iam.googleapis.com/ServiceAccount' && principal.subject == '"+account+"'", "principal.subject != '"+account+"'"
	for _, row := range []struct {
		name string
		docs google.Documents
		want policy.Decision
	}{
		{"nothing is bound", granted, allowed},
		{"the key's project is listed", granted.WithBoundaries(project, boundary("4", "projects/keys-prod")), allowed},
		{"its folder is", granted.WithBoundaries(project, boundary("4", "projects/web", folder)), allowed},
		{"its organization is, at the organization", granted.WithBoundaries(organization, boundary("latest", organization)), allowed},
		{"another project", granted.WithBoundaries(project, boundary("4", "projects/web")), denied},
		{"a project whose name begins so", granted.WithBoundaries(project, boundary("4", "projects/keys-prod-2", "projects/keys")), denied},
		{"another project, bound by the folder", granted.WithBoundaries(folder, boundary("4", "projects/web")), denied},
		{"another organization, bound by the organization", granted.WithBoundaries(organization, boundary("latest", "organizations/8")), denied},
		{"nothing at all is listed", granted.WithBoundaries(project, boundary("4")), denied},
		{"one of two lists it", granted.WithBoundaries(project, boundary("4", "projects/web"), boundary("4", project)), allowed},
		{"one of two levels lists it", granted.WithBoundaries(project, boundary("4", "projects/web")).WithBoundaries(organization, boundary("1", organization)), allowed},
		{"an enforcement version that does not block Cloud KMS", granted.WithBoundaries(project, boundary("3", "projects/web")), allowed},
		{"beside one that does", granted.WithBoundaries(project, boundary("3", "projects/web"), boundary("5", "projects/web")), denied},
		{"a version that is not known", granted.WithBoundaries(project, boundary("", "projects/web")), cannotTell},
		{"a project by its number", granted.WithBoundaries(project, boundary("4", "projects/123")), cannotTell},
		{"the binding is about the account", granted.WithBoundaries(project, only(boundary("4", "projects/web"), isAccount)), denied},
		{"the binding exempts the account", granted.WithBoundaries(project, only(boundary("4", "projects/web"), isOther)), allowed},
		{"the binding is about people", granted.WithBoundaries(organization, only(boundary("4"), "principal.type == 'iam.googleapis.com/WorkspaceIdentity'")), allowed},
		{"the binding exempts the account from what lists the key", granted.WithBoundaries(organization, only(boundary("4", organization), isOther)).
			WithBoundaries(project, boundary("4", "projects/web")), denied},
		{"a condition that cannot be decided", granted.WithBoundaries(project, only(boundary("4", "projects/web"), "principal.subject in ['a']")), cannotTell},
		{"the project's were not read", without(granted, "boundaries of "+project), cannotTell},
		{"the organization's were not read", without(granted, "boundaries of "+organization), cannotTell},
		{"the organization's were not read, and the project's cut off", without(granted, "boundaries of "+organization).WithBoundaries(project, boundary("4", "projects/web")), cannotTell},
		{"the organization's were not read, and the project's list the key", without(granted, "boundaries of "+organization).WithBoundaries(project, boundary("4", project)), allowed},
		{"nothing is granted, and they were not read", without(everything(), "boundaries of "+project), denied},
		{"a deny policy, and the boundary lists the key", granted.WithBoundaries(project, boundary("4", project)).
			WithDenies(project, deny(t, rule("principalSet://goog/public:all", "", "cloudkms.googleapis.com/cryptoKeyVersions.*", ""))), denied},
	} {
		got := google.KeyAccess(row.docs, key, user, at)
		if got.Decision() != row.want {
			t.Errorf("%s: %s (%q), want %s", row.name, got.Decision(), got.Sentences(), row.want)
		}
		for _, v := range got.Verdicts {
			if row.want == cannotTell && (v.Why == "" || len(v.Missing) == 0) {
				t.Errorf("%s: nothing says what is missing: %+v", row.name, v)
			}
		}
	}
}

// What was read decides, where what was not is left out: that is how access is told from what stands above and nobody may read.
func TestBoundaries_byWhatWasRead(t *testing.T) {
	granted := everything().With(key, allow(t, bind(use, serviceAccount)))
	above := without(granted, "boundaries of "+folder, "boundaries of "+organization)
	got := google.KeyAccess(above, key, user, at)
	if got.Decision() != cannotTell || got.ByRead() != allowed {
		t.Errorf("with the boundaries above the project unread: %s, by what was read %s", got.Decision(), got.ByRead())
	}
	for _, m := range got.Missing() {
		if !m.AboveProjects() || m.Kind != google.MissingBoundaries {
			t.Errorf("missing is %v, which does not stand above the projects", m)
		}
	}
	if got := google.KeyAccess(above.WithBoundaries(project, boundary("4", "projects/web")), key, user, at); got.ByRead() != denied {
		t.Errorf("by what was read a boundary that does not list the key is %s", got.ByRead())
	}
	want := "the principal access boundaries of folder 77 (resourcemanager.folders.searchPolicyBindings and iam.principalaccessboundarypolicies.get)"
	if got := got.Missing()[0].String(); got != want {
		t.Errorf("missing is %q, want %q", got, want)
	}
}

// The key may be in another project than the account: the boundaries are the account's, and what they list is above the key.
func TestBoundaries_ofAnAccountOfAnotherProject(t *testing.T) {
	other := google.ServiceAccount{Email: "cmek@apps.iam.gserviceaccount.com"}
	granted := everything().With(key, allow(t, bind(use, "serviceAccount:"+other.Email))).WithBoundaries(project, boundary("4"))
	if got := google.KeyAccess(granted, key, other, at).Decision(); got != cannotTell {
		t.Errorf("without the boundaries of the account's own project it is %s", got)
	}
	theirs := google.Documents{}.WithParents("projects/apps", organization).WithBoundaries("projects/apps").WithBoundaries(organization)
	if got := google.KeyAccess(granted.WithPrincipals(theirs), key, other, at).Decision(); got != allowed {
		t.Errorf("with them, and none, it is %s", got)
	}
	if got := google.KeyAccess(granted.WithPrincipals(theirs.WithBoundaries("projects/apps", boundary("4", "projects/apps"))), key, other, at).Decision(); got != denied {
		t.Errorf("bound to its own project it is %s", got)
	}
	nameless := google.ServiceAccount{Email: "123-compute@developer.gserviceaccount.com"}
	if got := google.KeyAccess(everything().With(key, allow(t, bind(use, "serviceAccount:"+nameless.Email))), key, nameless, at).Decision(); got != cannotTell {
		t.Errorf("of an account whose project is not known it is %s", got)
	}
}

// Cockroach Labs' accounts are bound by another organization, whose boundaries nobody here can read: they are not asked for.
func TestBoundaries_ofCockroachLabsAreNotAskedFor(t *testing.T) {
	docs := everything().With(target, allow(t, bind(mint, "serviceAccount:"+crl)))
	docs.Boundaries = nil
	if got := google.ActAs(docs, user, vendor, at).Decision(); got != allowed {
		t.Errorf("whether Cockroach Labs' account may act as the other one is %s", got)
	}
}

func TestParseBoundaries(t *testing.T) {
	policyOf := func(details string) string {
		return `[{"binding":{"name":"projects/p/locations/global/policyBindings/b","policy":"organizations/9/locations/global/principalAccessBoundaryPolicies/own","condition":{"expression":"x"}},` +
			`"policy":{"name":"organizations/9/locations/global/principalAccessBoundaryPolicies/own","details":` + details + `}}]`
	}
	got, err := google.ParseBoundaries(policyOf(`{"rules":[{"resources":["//cloudresourcemanager.googleapis.com/projects/p"],"effect":"ALLOW"}],"enforcementVersion":"4"}`))
	if err != nil || len(got) != 1 || got[0].Name != "own" || got[0].Version != "4" || got[0].Condition.Expression != "x" || len(got[0].Resources) != 1 {
		t.Errorf("a boundary is parsed as %+v, %v", got, err)
	}
	if got, err := google.ParseBoundaries(`[]`); err != nil || got == nil || len(got) != 0 {
		t.Errorf("none is parsed as %v, %v", got, err)
	}
	for name, text := range map[string]string{
		"null": `null`, "an object": `{}`, "no details": policyOf(`null`), "no rules": policyOf(`{"enforcementVersion":"4"}`), "another effect": policyOf(`{"rules":[{"effect":"DENY"}]}`),
		"a text": `"x"`, "a binding alone": `[{"binding":{"policy":"x"}}]`, "rules of another type": policyOf(`{"rules":{}}`), "too much": `["` + strings.Repeat("x", 1<<20) + `"]`,
	} {
		if got, err := google.ParseBoundaries(text); err == nil || got != nil {
			t.Errorf("%s is parsed as %v, want an error", name, got)
		}
	}
}
