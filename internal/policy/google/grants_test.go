package google_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/policy/google"
)

func sentences(grants []google.Grant) (list []string) {
	for _, g := range grants {
		list = append(list, g.String())
	}
	return list
}

func TestKeyGrants(t *testing.T) {
	const ops, dev = "user:ops@example.com", "group:dev@example.com"
	d := everything().
		With(organization, allow(t, bind("roles/owner", ops), bind("roles/viewer", "user:nobody@example.com"))).
		With(project, allow(t, bind("roles/cloudkms.cryptoKeyDecrypter", ops+" "+dev), bind(other, "domain:example.com"))).
		With(ring, allow(t, bind("roles/cloudkms.cryptoKeyEncrypter", dev, `resource.matchTag("9/env", "prod")`), bind("roles/cloudkms.cryptoKeyEncrypter", "user:late@example.com", `request.time < timestamp("2020-01-01T00:00:00Z")`))).
		With(key, allow(t, bind("roles/cloudkms.cryptoKeyDecrypter", dev, `resource.matchTag("9/env", "prod")`), bind(use, "deleted:user:gone@example.com?uid=1 allUsers"), bind(use+"_withcond_2b17", "user:OPS2@example.com")))
	expectSentences(t, sentences(google.KeyGrants(d, key, at)),
		"domain:example.com may encrypt and decrypt with key store if role "+other+" includes it",
		"user:OPS2@example.com may encrypt and decrypt with key store if the condition of "+use+"_withcond_2b17, which a read with requestedPolicyVersion 3 shows, is met",
		"user:ops@example.com may encrypt and decrypt with key store",
		"group:dev@example.com may decrypt with key store",
		`group:dev@example.com may encrypt with key store if resource.matchTag("9/env", "prod")`,
		"allUsers may encrypt and decrypt with key store")
	if grants := google.KeyGrants(without(d, key, project), key, at); len(grants) != 2 {
		t.Errorf("policies that were not read grant nothing, not %v", grants)
	}
	expectSentences(t, sentences(google.ActAsGrants(everything().With(target, allow(t, bind(mint, "serviceAccount:"+crl), bind("roles/iam.serviceAccountUser", ops))), user, at)),
		"serviceAccount:"+crl+" may act as service account "+account)
	if grants := google.KeyGrants(d, "arn:aws:kms:x", at); grants != nil {
		t.Errorf("what is no key is granted to nobody, not %v", grants)
	}
}

// A deny rule takes a grant away if it is for the whole principal, and makes it conditional if it may be for some of it.
func TestKeyGrants_denied(t *testing.T) {
	const ops, group = "principal://goog/subject/ops@example.com", "principalSet://goog/group/dev@example.com"
	everybody, useKey := "principalSet://goog/public:all", "cloudkms.googleapis.com/cryptoKeyVersions.*"
	unless := ` if rule 1 of deny policy "guard" of project keys-prod does not deny it`
	for _, r := range []struct {
		member, denied, except, condition string
		want                              string
	}{
		{"user:ops@example.com", ops, "", "", "-"},
		{"user:ops@example.com", everybody, "", "", "-"},
		{"user:ops@example.com", everybody, "", "true", "-"},
		{"user:ops@example.com", everybody, "", "false", ""},
		{"user:ops@example.com", everybody, "", "x", unless},
		{"user:ops@example.com", everybody, ops, "", ""},
		{"user:ops@example.com", everybody, everybody, "", ""},
		{"user:ops@example.com", everybody, "principal://goog/subject/x@example.com", "", "-"},
		{"user:ops@example.com", everybody, group, "", unless},
		{"user:ops@example.com", group, "", "", unless},
		{"user:ops@example.com", "principal://goog/subject/x@example.com", "", "", ""},
		{"group:dev@example.com", group, "", "", "-"},
		{"group:dev@example.com", everybody, "", "", "-"},
		{"group:dev@example.com", ops, "", "", ""},
		{"group:dev@example.com", everybody, ops, "", unless},
		{"group:dev@example.com", "principalSet://goog/group/x@example.com", "", "", unless},
		{"allUsers", everybody, "", "", "-"},
		{"allUsers", group, "", "", ""},
		{"allUsers", everybody, group, "", unless},
		{"allAuthenticatedUsers", everybody, "", "", "-"},
		{"allAuthenticatedUsers", group, "", "", ""},
	} {
		text := rule(r.denied, r.except, useKey, "")
		if r.condition != "" {
			text = rule(r.denied, r.except, useKey, "", r.condition)
		}
		d := everything().With(key, allow(t, bind("roles/cloudkms.cryptoKeyDecrypter", r.member))).WithDenies(project, deny(t, text))
		want := r.member + " may decrypt with key store" + r.want
		if r.want == "-" {
			want = ""
		}
		if got := strings.Join(sentences(google.KeyGrants(d, key, at)), "\n"); got != want {
			t.Errorf("%s, denied to %q but %q, if %q: %q, want %q", r.member, r.denied, r.except, r.condition, got, want)
		}
	}
}

func TestGrant_Public(t *testing.T) {
	for _, r := range []struct {
		binding string
		want    bool
	}{
		{bind(use, "allUsers"), true}, {bind(use, "allAuthenticatedUsers"), true}, {bind(use, "allUsers", "x"), false}, {bind(use, "domain:example.com"), false},
		{bind(use, "group:all@example.com"), false},
	} {
		if grants := google.KeyGrants(everything().With(key, allow(t, r.binding)), key, at); len(grants) != 1 || grants[0].Public() != r.want {
			t.Errorf("%s: %v, want public %t", r.binding, grants, r.want)
		}
	}
}

func TestOutsiders(t *testing.T) {
	members := "allUsers user:a@example.com user:b@example.com.evil.test domain:example.com domain:evil.test group:g@example.com serviceAccount:s@keys-prod.iam.gserviceaccount.com serviceAccount:" + crl + " principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*"
	grants := google.KeyGrants(everything().With(key, allow(t, bind(use, members))), key, at)
	var outside []string
	for _, g := range google.Outsiders(grants, "Example.com", "keys-prod.iam.gserviceaccount.com", "serviceAccount:"+strings.ToUpper(crl), "") {
		outside = append(outside, g.Member)
	}
	expectSentences(t, outside, "domain:evil.test", "user:b@example.com.evil.test", "allUsers", "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*")
	if all := google.Outsiders(grants); len(all) != len(grants) {
		t.Errorf("nobody is known, and %d of %d are outsiders", len(all), len(grants))
	}
}

// The judgement of one change is bounded, whoever wrote the policies.
func TestGrants_manyMembers(t *testing.T) {
	var members []string
	for i := range 15000 {
		members = append(members, fmt.Sprintf("group:g%d@example.com", i))
	}
	d := everything().With(project, allow(t, bind(use, strings.Join(members, " ")), bind(other, strings.Join(members, " "))))
	after := d.With(key, allow(t, bind(use, "user:new@example.com")))
	expectSentences(t, google.DiffKey(d, after, key, at, user), "user:new@example.com may now encrypt and decrypt with key store")
}
