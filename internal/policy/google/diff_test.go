package google_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/policy/google"
)

const nothingGives = "no binding of key store, key ring cmek, project keys-prod, folder 77, organization 9 gives it"

func TestDiffKey_account(t *testing.T) {
	granted := everything().With(key, allow(t, bind(use, serviceAccount)))
	everybody := "principalSet://goog/public:all"
	guard := rule(everybody, "", "cloudkms.googleapis.com/cryptoKeyVersions.useToDecrypt", "")
	for _, r := range []struct {
		name          string
		before, after google.Documents
		want          []string
	}{
		{name: "nothing changed", before: granted, after: granted},
		{name: "the binding is gone", before: granted, after: everything(),
			want: []string{account + " lost the right to encrypt and decrypt with key store: " + nothingGives}},
		{name: "the binding is back", before: everything(), after: granted,
			want: []string{account + " gained the right to encrypt and decrypt with key store: binding 1 of key store gives it " + use}},
		{name: "a lesser role", before: granted, after: everything().With(key, allow(t, bind("roles/cloudkms.cryptoKeyEncrypter", serviceAccount))),
			want: []string{account + " lost the right to decrypt with key store: " + nothingGives}},
		{name: "the binding is gone, and the project gives it as well", before: granted.With(project, allow(t, bind("roles/owner", serviceAccount))), after: everything().With(project, allow(t, bind("roles/owner", serviceAccount)))},
		{name: "the binding moved to the ring", before: granted, after: everything().With(ring, allow(t, bind(use, serviceAccount)))},
		{name: "the binding is gone, and the project was not read", before: without(granted, project), after: without(everything(), project),
			want: []string{account + " may have lost the right to encrypt and decrypt with key store: the policy of project keys-prod was not read; missing: the policy of project keys-prod (resourcemanager.projects.getIamPolicy)"}},
		{name: "the binding is back, and deny policies were not read", before: without(everything(), project, "denies of "+project), after: without(granted, project, "denies of "+project),
			want: []string{account + " may have gained the right to encrypt and decrypt with key store: the deny policies of project keys-prod were not read; missing: the deny policies of project keys-prod (iam.denypolicies.list and iam.denypolicies.get)"}},
		{name: "the binding is gone, and deny policies were not read", before: without(granted, "denies of "+project), after: without(everything(), "denies of "+project),
			want: []string{account + " lost the right to encrypt and decrypt with key store: " + nothingGives}},
		{name: "the binding is gone, and nothing else was read", before: google.Documents{}.With(key, allow(t, bind(use, serviceAccount))), after: google.Documents{}.With(key, google.Policy{}),
			want: []string{account + " may have lost the right to encrypt and decrypt with key store: the policy of key ring cmek was not read; missing: the policy of key ring cmek (cloudkms.keyRings.getIamPolicy), " +
				"the policy of project keys-prod (resourcemanager.projects.getIamPolicy), the folders and the organization of project keys-prod (resourcemanager.projects.get), with their policies, " +
				"the deny policies of project keys-prod (iam.denypolicies.list and iam.denypolicies.get), " +
				"the principal access boundaries of project keys-prod (resourcemanager.projects.searchPolicyBindings and iam.principalaccessboundarypolicies.get)"}},
		{name: "another role that was not read", before: granted, after: everything().With(key, allow(t, bind(other, serviceAccount))),
			want: []string{account + " may have lost the right to encrypt and decrypt with key store: binding 1 of key store gives it " + other + ", but the permissions of role " + other +
				" are not known; missing: the permissions of role " + other + " (iam.roles.get)"}},
		{name: "the role that was not read is gone", before: everything().With(key, allow(t, bind(other, serviceAccount))), after: everything(),
			want: []string{account + " certainly may not encrypt and decrypt with key store: " + nothingGives}},
		{name: "the role was read", before: everything().With(key, allow(t, bind(other, serviceAccount))),
			after: everything().With(key, allow(t, bind(other, serviceAccount))).WithRole(google.Role{Name: other, Permissions: google.KeyPermissions}),
			want:  []string{account + " certainly may encrypt and decrypt with key store: binding 1 of key store gives it " + other}},
		{name: "a document was read, and nothing is new", before: without(granted, "denies of "+folder), after: granted,
			want: []string{account + " certainly may encrypt and decrypt with key store: binding 1 of key store gives it " + use}},
		{name: "a document was no longer read", before: granted, after: without(granted, "denies of "+folder),
			want: []string{account + " may have lost the right to encrypt and decrypt with key store: the deny policies of folder 77 were not read; missing: the deny policies of folder 77 (iam.denypolicies.list and iam.denypolicies.get)"}},
		{name: "a custom role lost a permission", before: everything().With(key, allow(t, bind(own, serviceAccount))),
			after: everything().With(key, allow(t, bind(own, serviceAccount))).WithRole(google.Role{Name: own, Permissions: []google.Permission{google.Encrypt}}),
			want:  []string{account + " lost the right to decrypt with key store: " + nothingGives}},
		{name: "a deny rule", before: granted, after: granted.WithDenies(project, deny(t, guard)),
			want: []string{account + ` lost the right to decrypt with key store: rule 1 of deny policy "guard" of project keys-prod denies it`}},
		{name: "a deny rule is gone", before: granted.WithDenies(folder, deny(t, guard)), after: granted,
			want: []string{account + " gained the right to decrypt with key store: binding 1 of key store gives it " + use}},
		{name: "a condition that ended", before: granted, after: everything().With(key, allow(t, bind(use, serviceAccount, `request.time < timestamp("2026-01-01T00:00:00Z")`))),
			want: []string{account + " lost the right to encrypt and decrypt with key store: " + nothingGives + `; binding 1 of key store: its condition is not met: request.time < timestamp("2026-01-01T00:00:00Z")`}},
		{name: "the account was deleted", before: granted, after: everything().With(key, allow(t, bind(use, "deleted:"+serviceAccount+"?uid=110"))),
			want: []string{account + " lost the right to encrypt and decrypt with key store: " + nothingGives + "; binding 1 of key store: what stands there is for the deleted account with the unique id 110, which no other account of the same e-mail matches",
				"the policies name deleted:" + serviceAccount + "?uid=110: it matches nobody, not even a new one of the same e-mail"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			expectSentences(t, google.DiffKey(r.before, r.after, key, at, user), r.want...)
		})
	}
}

func TestDiffKey_others(t *testing.T) {
	const ops = "user:ops@example.com"
	const tag = `resource.matchTag("9/env", "prod")`
	for _, r := range []struct {
		name          string
		before, after []string
		want          []string
	}{
		{"somebody gained it", nil, []string{bind(use, ops+" allUsers")}, []string{ops + " may now encrypt and decrypt with key store", "allUsers may now encrypt and decrypt with key store"}},
		{"somebody lost it", []string{bind(use, ops)}, nil, []string{ops + " may no longer encrypt and decrypt with key store"}},
		{"somebody lost half of it", []string{bind(use, ops)}, []string{bind("roles/cloudkms.cryptoKeyEncrypter", ops)}, []string{ops + " may no longer decrypt with key store"}},
		{"a role of no use", nil, []string{bind("roles/viewer", ops)}, nil},
		{"two roles for one", []string{bind(use, ops)}, []string{bind("roles/cloudkms.cryptoKeyEncrypter", ops), bind("roles/cloudkms.cryptoKeyDecrypter", "user:OPS@example.com")}, nil},
		{"a condition was added", []string{bind(use, ops)}, []string{bind(use, ops, tag)}, []string{ops + " may encrypt and decrypt with key store if " + tag + ", no longer at all times"}},
		{"a condition went away", []string{bind(use, ops, tag)}, []string{bind(use, ops)}, []string{ops + " may now encrypt and decrypt with key store"}},
		{"another condition", []string{bind(use, ops, tag)}, []string{bind(use, ops, "x")}, []string{ops + " may now encrypt and decrypt with key store if x"}},
		{"a conditional grant is gone", []string{bind(use, ops, tag)}, nil, []string{ops + " may no longer encrypt and decrypt with key store"}},
		{"half of it with a condition", []string{bind(use, ops)}, []string{bind("roles/cloudkms.cryptoKeyEncrypter", ops, tag)},
			[]string{ops + " may no longer decrypt with key store", ops + " may encrypt with key store if " + tag + ", no longer at all times"}},
		{"a role that was not read", nil, []string{bind(other, ops)}, []string{ops + " may now encrypt and decrypt with key store if role " + other + " includes it"}},
		{"a member was deleted", []string{bind("roles/viewer", ops)}, []string{bind("roles/viewer", "deleted:"+ops+"?uid=1")}, []string{"the policies name deleted:" + ops + "?uid=1: it matches nobody, not even a new one of the same e-mail"}},
		{"a deleted member went away", []string{bind("roles/viewer", "deleted:"+ops+"?uid=1")}, nil, nil},
	} {
		t.Run(r.name, func(t *testing.T) {
			expectSentences(t, google.DiffKey(everything().With(key, allow(t, r.before...)), everything().With(key, allow(t, r.after...)), key, at), r.want...)
			expectSentences(t, google.DiffActAs(everything().With(key, allow(t, r.before...)), everything().With(key, allow(t, r.after...)), user, at))
		})
	}
}

func TestDiffActAs(t *testing.T) {
	d := everything()
	granted := d.With(target, allow(t, bind(mint, "serviceAccount:"+crl)))
	const nobody = "no binding of service account " + account + ", project keys-prod, folder 77, organization 9 gives it"
	expectSentences(t, google.DiffActAs(granted, d, user, at, vendor), crl+" lost the right to act as service account "+account+": "+nobody)
	expectSentences(t, google.DiffActAs(d, granted, user, at, vendor), crl+" gained the right to act as service account "+account+": binding 1 of service account "+account+" gives it "+mint)
	expectSentences(t, google.DiffActAs(d, granted, user, at), "serviceAccount:"+crl+" may now act as service account "+account)
	expectSentences(t, google.DiffActAs(granted, d.With(target, allow(t, bind("roles/iam.serviceAccountUser", "serviceAccount:"+crl))), user, at, vendor),
		crl+" lost the right to act as service account "+account+": "+nobody)
	expectSentences(t, google.DiffActAs(granted, d.With(project, allow(t, bind(mint, "serviceAccount:"+crl))), user, at, vendor))
	// One project cannot tell: what the account may do with keys is another question.
	expectSentences(t, google.DiffKey(granted, d, key, at, user, vendor))
}

func TestDocumentsWithAreCopies(t *testing.T) {
	d := everything().With(key, allow(t, bind(use, serviceAccount)))
	d.With(key, google.Policy{})
	d.WithDenies(project, deny(t, rule("principalSet://goog/public:all", "", "cloudkms.googleapis.com/*.*", "")))
	d.WithRole(google.Role{Name: use})
	expect(t, decrypt(d), allowed)
	if replaced := d.With(ring, google.Policy{}).WithDenies(folder).WithRole(google.Role{Name: own}); decrypt(replaced).Decision != allowed || len(replaced.Policies) != len(d.Policies) || len(replaced.Denies) != len(d.Denies) {
		t.Error("other documents stay as they are")
	}
}
