package google_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// What decides is named as far as it is known, each once: what is above a project shows more levels, and a policy shows roles.
func TestDeciding(t *testing.T) {
	state := target + "#state"
	begin := []string{state, project + "#parents", key, ring, project, project + "#denies", project + "#boundaries", target}
	binding := func(role, who string) string {
		return `{"bindings":[{"role":"` + role + `","members":["` + who + `"]}]}`
	}
	for _, row := range []struct {
		name  string
		known map[string]string
		more  []string
	}{
		{"nothing is known", nil, nil},
		{"no organization", map[string]string{project + "#parents": `[]`}, nil},
		{"a folder and an organization", map[string]string{project + "#parents": `["` + folder + `","` + organization + `"]`}, []string{folder, folder + "#denies", folder + "#boundaries", organization, organization + "#denies", organization + "#boundaries"}},
		{"garbled parents", map[string]string{project + "#parents": `{`}, nil},
		{"parents of another project", map[string]string{"projects/other#parents": `["` + organization + `"]`}, nil},
		{"a custom role for the account", map[string]string{key: binding("projects/keys-prod/roles/wrap", serviceAccount)}, []string{"projects/keys-prod/roles/wrap"}},
		{"a custom role for Cockroach Labs' account", map[string]string{target: binding("organizations/9/roles/mint", "serviceAccount:"+crl)}, []string{"organizations/9/roles/mint"}},
		{"a custom role for a group", map[string]string{ring: binding("projects/keys-prod/roles/wrap", "group:a@example.com")}, []string{"projects/keys-prod/roles/wrap"}},
		{"a custom role for another account", map[string]string{ring: binding("projects/keys-prod/roles/wrap", "serviceAccount:x@keys-prod.iam.gserviceaccount.com")}, nil},
		{"a documented role", map[string]string{ring: binding(use, serviceAccount)}, nil},
		{"a role marked as conditional", map[string]string{ring: binding("projects/keys-prod/roles/wrap_withcond_123", serviceAccount)}, []string{"projects/keys-prod/roles/wrap"}},
		{"a policy of another key", map[string]string{key + "2": binding("projects/keys-prod/roles/wrap", serviceAccount)}, nil},
	} {
		got := google.Deciding(key, account, row.known, google.ServiceAccount{Email: crl})
		want := slices.Concat(begin, row.more)
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: named are %q, want %q", row.name, got, want)
		}
	}
	if got := google.Deciding("arn:aws:kms:us-east-1:111122223333:key/x", "123-compute@developer.gserviceaccount.com", nil); !slices.Equal(got, []string{"projects/-/serviceAccounts/123-compute@developer.gserviceaccount.com#state"}) {
		t.Errorf("of what is no key, and an account of no project that is known, named are %q", got)
	}
}

func TestCockroachAccount(t *testing.T) {
	for _, row := range []struct{ cluster, project, want string }{
		{"7c1d9e20-3a4b-4c5d-8e6f-1A2b3c4d5e6f", "crl-prod-abc", crl},
		{"7c1d9e20-3a4b-4c5d-8e6f-1a2b3c4d5e6f", "example.com:p", "crl-kms-user-1a2b3c4d5e6f@p.example.com.iam.gserviceaccount.com"},
		{"7c1d9e20-3a4b-4c5d-8e6f-1a2b3c4d5e6f", "", ""}, {"7c1d9e20-3a4b-4c5d-8e6f-1a2b3c4d5e6f", "p;x", ""}, {"c-1", "crl-prod-abc", ""},
		{"1a2b3c4d5e6f", "crl-prod-abc", crl}, {"a2b3c4d5e6f", "crl-prod-abc", ""},
	} {
		if got, ok := google.CockroachAccount(row.cluster, row.project); got.Email != row.want || ok != (row.want != "") {
			t.Errorf("of cluster %q in %q the account is %q, %t; want %q", row.cluster, row.project, got.Email, ok, row.want)
		}
	}
}

// A text that cannot be understood is as one that was not read, and what it is about is known by its name.
func TestReadAll(t *testing.T) {
	good := map[string]string{
		key: `{"etag":"ACAB"}`, project + "#denies": `[]`, project + "#parents": `[]`, target + "#state": `{"email":"` + account + `","uniqueId":"1"}`,
		"projects/keys-prod/roles/wrap": `{"name":"projects/123/roles/wrap","includedPermissions":[]}`,
	}
	docs, problems := google.ReadAll(good)
	if _, named := docs.Roles["projects/keys-prod/roles/wrap"]; len(problems) > 0 || !named || len(docs.Policies) != 1 || len(docs.Denies) != 1 || len(docs.Parents) != 1 {
		t.Errorf("read are %+v, problems %v", docs, problems)
	}
	for name := range good {
		for _, text := range []string{"", "{", "null", "<html>", `"x"`, "7"} {
			if docs, problems := google.ReadAll(map[string]string{name: text}); !strings.HasSuffix(name, "#state") && (problems[name] == nil || len(docs.Policies)+len(docs.Denies)+len(docs.Parents)+len(docs.Roles) > 0) {
				t.Errorf("%s of %q is read as %+v", name, text, docs)
			}
			if _, err := google.ParseServiceAccount(text); err == nil {
				t.Errorf("an account of %q is read", text)
			}
		}
	}
}

// One deny policy that cannot be understood leaves the answer without its rules: the list is as one that was not read.
func TestParseDenyPolicies(t *testing.T) {
	const one = `{"name":"policies/x/denypolicies/guard","rules":[]}`
	for text, want := range map[string]int{`[]`: 0, `[` + one + `]`: 1, `[` + one + `,` + one + `]`: 2, `[` + one + `,{"name":"x"}]`: -1, `[7]`: -1, one: -1} {
		got, err := google.ParseDenyPolicies(text)
		if want < 0 && (err == nil || got != nil) || want >= 0 && (err != nil || len(got) != want) {
			t.Errorf("%s is read as %v, error %v; want %d policies", text, got, err, want)
		}
	}
}

func TestParseServiceAccount(t *testing.T) {
	for text, want := range map[string]google.ServiceAccount{
		`{"email":"Cmek@keys-prod.iam.gserviceaccount.com","uniqueId":"111"}`: {Email: account, UniqueID: "111"},
		`{"email":"` + account + `","uniqueId":"111","disabled":true}`:        {Email: account, UniqueID: "111", Disabled: true},
		`{"email":"` + account + `"}`:                                         {}, `{"uniqueId":"111"}`: {}, `{"email":"` + account + `","uniqueId":"x1"}`: {},
		`{"email":"` + account + `","uniqueId":111}`: {}, `{"error":{"code":403}}`: {}, `[]`: {},
	} {
		got, err := google.ParseServiceAccount(text)
		if got != want || (err == nil) != (want != google.ServiceAccount{}) {
			t.Errorf("%s is read as %+v, error %v; want %+v", text, got, err, want)
		}
	}
}

// A document that may not be known to matter does.
func TestReaches(t *testing.T) {
	all := everything().With(key, allow(t, bind("projects/keys-prod/roles/wrap", serviceAccount)))
	for _, row := range []struct {
		name string
		docs google.Documents
		want bool
	}{
		{key, all, true}, {ring, all, true}, {project, all, true}, {folder, all, true}, {organization, all, true}, {target, all, true},
		{organization + "#denies", all, true}, {"folders/78", all, false}, {"organizations/8#denies", all, false}, {"projects/other", all, false},
		{"folders/78", without(all, "parents"), true}, {"projects/other", without(all, "parents"), false},
		{"projects/keys-prod/roles/wrap", all, true}, {"projects/keys-prod/roles/other", all, false},
		{"projects/keys-prod/roles/other", without(all, ring), true}, {"projects/keys-prod/roles/other", without(all, "parents"), true},
	} {
		if got := google.Reaches(row.docs, row.name, cmek.KeyURI(key), account); got != row.want {
			t.Errorf("%s reaches: %t, want %t", row.name, got, row.want)
		}
	}
}
