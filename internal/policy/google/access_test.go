package google_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

const serviceAccount = "serviceAccount:" + account

// The grant may stand on any level, and only on one above the key.
func TestKeyAccess_levels(t *testing.T) {
	for _, r := range []struct {
		on   string
		want policy.Decision
	}{
		{key, allowed}, {ring, allowed}, {project, allowed}, {folder, allowed}, {organization, allowed},
		{ring + "/cryptoKeys/other", denied}, {"projects/keys-prod/locations/us-east1/keyRings/other", denied},
		{"projects/other", denied}, {"folders/78", denied}, {target, denied},
	} {
		expect(t, decrypt(everything().With(r.on, allow(t, bind(use, serviceAccount)))), r.want)
	}
	expect(t, decrypt(everything()), denied, "no binding of key store, key ring cmek, project keys-prod, folder 77, organization 9 gives it")
	expect(t, decrypt(everything().With(ring, allow(t, bind(use, serviceAccount)))), allowed, "binding 1 of key ring cmek gives it "+use)
	spelled := google.KeyAccess(everything().With(key, allow(t, bind(use, serviceAccount))), "//cloudkms.googleapis.com/"+key+"/cryptoKeyVersions/3", user, at)
	if spelled.Decision() != allowed || spelled.On != key {
		t.Errorf("a key's URI in another spelling is %s on %s", spelled.Decision(), spelled.On)
	}
}

func TestActAs_levels(t *testing.T) {
	member := "serviceAccount:" + crl
	for _, r := range []struct {
		on, role string
		want     policy.Decision
	}{
		{target, mint, allowed}, {project, mint, allowed}, {organization, mint, allowed},
		{key, mint, denied}, {ring, mint, denied}, {project + "/serviceAccounts/other@keys-prod.iam.gserviceaccount.com", mint, denied},
		{target, "roles/iam.serviceAccountUser", denied}, {target, use, denied}, {target, "roles/iam.workloadIdentityUser", allowed},
		{target, "roles/iam.serviceAccountOpenIdTokenCreator", denied}, {project, "roles/owner", denied},
	} {
		expect(t, impersonate(everything().With(r.on, allow(t, bind(r.role, member)))), r.want)
	}
	expect(t, impersonate(everything().With(target, allow(t, bind(mint, serviceAccount)))), denied)
}

// A document that was not read may grant or deny, wherever it is.
func TestUnreadDocuments(t *testing.T) {
	granted := everything().With(key, allow(t, bind(use, serviceAccount)))
	for _, r := range []struct {
		name     string
		d        google.Documents
		want     policy.Decision
		byRead   policy.Decision
		mentions string
	}{
		{"nothing was read", google.Documents{}, cannotTell, denied, "the policy of key store (cloudkms.cryptoKeys.getIamPolicy)"},
		{"the key's policy", without(everything(), key), cannotTell, denied, "the policy of key store (cloudkms.cryptoKeys.getIamPolicy)"},
		{"the ring's policy", without(everything(), ring), cannotTell, denied, "the policy of key ring cmek (cloudkms.keyRings.getIamPolicy)"},
		{"the project's policy", without(everything(), project), cannotTell, denied, "the policy of project keys-prod (resourcemanager.projects.getIamPolicy)"},
		{"the folder's policy", without(everything(), folder), cannotTell, denied, "the policy of folder 77 (resourcemanager.folders.getIamPolicy)"},
		{"the organization's policy", without(everything(), organization), cannotTell, denied, "the policy of organization 9 (resourcemanager.organizations.getIamPolicy)"},
		{"what is above the project", without(everything(), "parents"), cannotTell, denied, "the folders and the organization of project keys-prod (resourcemanager.projects.get)"},
		{"its deny policies, with no grant", without(everything(), "denies of "+project), denied, denied, ""},
		{"the ring's policy, with a grant", without(granted, ring), allowed, allowed, ""},
		{"the project's deny policies", without(granted, "denies of "+project), cannotTell, allowed, "the deny policies of project keys-prod (iam.denypolicies.list and iam.denypolicies.get)"},
		{"the folder's deny policies", without(granted, "denies of "+folder), cannotTell, allowed, "the deny policies of folder 77"},
		{"what is above, with a grant", without(granted, "parents"), cannotTell, allowed, "what is above project keys-prod was not read"},
		{"another project's deny policies", without(granted, "denies of projects/other"), allowed, allowed, ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			v := decrypt(r.d)
			expect(t, v, r.want, r.mentions)
			if v.ByRead != r.byRead {
				t.Errorf("by what was read it is %s, want %s", v.ByRead, r.byRead)
			}
		})
	}
	v := impersonate(without(everything(), target))
	expect(t, v, cannotTell, "the policy of service account "+account+" (iam.serviceAccounts.getIamPolicy)")
	if len(v.Missing) != 1 {
		t.Errorf("only the account's policy is missing, not %v", v.Missing)
	}
	missing := google.KeyAccess(without(everything(), ring, folder), key, user, at).Missing()
	if want := []google.Missing{{Kind: google.MissingPolicy, Name: ring}, {Kind: google.MissingPolicy, Name: folder}}; !slices.Equal(missing, want) {
		t.Errorf("missing %v, want %v, each once", missing, want)
	}
}

func TestRoles(t *testing.T) {
	for _, r := range []struct {
		role             string
		encrypt, decrypt policy.Decision
	}{
		{use, allowed, allowed}, {"roles/cloudkms.cryptoOperator", allowed, allowed},
		{"roles/cloudkms.cryptoKeyEncrypter", allowed, denied}, {"roles/cloudkms.cryptoKeyDecrypter", denied, allowed},
		{"roles/cloudkms.admin", denied, denied}, {"roles/cloudkms.viewer", denied, denied},
		{"roles/cloudkms.cryptoKeyEncrypterDecrypterViaDelegation", denied, denied},
		{"roles/cloudkms.signerVerifier", denied, denied}, {mint, denied, denied},
		{"roles/owner", allowed, allowed}, {"roles/editor", denied, denied}, {"roles/viewer", denied, denied},
		{own, allowed, allowed}, {other, cannotTell, cannotTell}, {"organizations/9/roles/unread", cannotTell, cannotTell},
		{"roles/cloudkms.newerThanThis", cannotTell, cannotTell}, {"roles/iam.devOps", cannotTell, cannotTell}, {"roles/logging.viewer", denied, denied},
		{"roles/Owner", cannotTell, cannotTell},
	} {
		access := google.KeyAccess(everything().With(project, allow(t, bind(r.role, serviceAccount))), key, user, at)
		if access.Verdicts[google.Encrypt].Decision != r.encrypt || access.Verdicts[google.Decrypt].Decision != r.decrypt {
			t.Errorf("%s: encrypt %s, decrypt %s, want %s and %s", r.role, access.Verdicts[google.Encrypt].Decision, access.Verdicts[google.Decrypt].Decision, r.encrypt, r.decrypt)
		}
	}
	d := everything().With(key, allow(t, bind(other, serviceAccount)))
	expect(t, decrypt(d), cannotTell, "the permissions of role "+other+" are not known", "the permissions of role "+other+" (iam.roles.get)")
	if v := decrypt(d); v.ByRead != cannotTell {
		t.Errorf("by what was read a role that is not known is %s", v.ByRead)
	}
	// What was read of a predefined role goes before what is known of it.
	d = everything().With(key, allow(t, bind(use, serviceAccount)))
	expect(t, decrypt(d.WithRole(google.Role{Name: use, Permissions: []google.Permission{google.Encrypt}})), denied)
	expect(t, decrypt(d.WithRole(google.Role{Name: own})), allowed)
}

// identifiers are those of allow policies, and whether they include the account.
var identifiers = map[string]policy.Decision{
	serviceAccount: allowed, "serviceAccount:CMEK@keys-prod.iam.gserviceaccount.com": allowed,
	"allUsers": allowed, "allAuthenticatedUsers": allowed,
	"serviceAccount:cmek2@keys-prod.iam.gserviceaccount.com": denied, "serviceAccount:cmek@keys-test.iam.gserviceaccount.com": denied,
	"serviceAccount:keys-prod.svc.id.goog[cmek/cmek]": denied, "serviceAccount:111": cannotTell,
	"user:ops@example.com": denied, "user:" + account: cannotTell, "domain:example.com": denied, "domain:keys-prod.iam.gserviceaccount.com": denied,
	"group:ops@example.com": cannotTell, "projectOwner:keys-prod": cannotTell,
	"principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/subject/s": denied,
	"principalSet://iam.googleapis.com/locations/global/workforcePools/p/group/g":                  denied,
	"principalSet://cloudresourcemanager.googleapis.com/projects/123/type/ServiceAccount":          cannotTell,
	"principalSet://cloudresourcemanager.googleapis.com/organizations/9":                           cannotTell,
	"deleted:serviceAccount:" + account + "?uid=110":                                               denied,
	"deleted:serviceAccount:" + account + "?uid=111":                                               cannotTell,
	"deleted:serviceAccount:other@keys-prod.iam.gserviceaccount.com?uid=111":                       denied,
	"deleted:user:ops@example.com?uid=111":                                                         denied, "deleted:group:ops@example.com?uid=111": denied,
	"something:new": cannotTell, "something:new[1]": cannotTell, "group:ops[1]@example.com": cannotTell,
}

// denyIdentifiers are those of deny policies.
var denyIdentifiers = map[string]policy.Decision{
	"principalSet://goog/public:all": allowed, "principal://iam.googleapis.com/projects/-/serviceAccounts/" + account: allowed,
	"principal://iam.googleapis.com/projects/-/serviceAccounts/Cmek@keys-prod.iam.gserviceaccount.com": allowed,
	"principal://iam.googleapis.com/projects/-/serviceAccounts/cmek@keys-test.iam.gserviceaccount.com": denied,
	"principal://goog/subject/ops@example.com":                                                         denied,
	"principalSet://goog/group/ops@example.com":                                                        cannotTell,
	"principalSet://goog/cloudIdentityCustomerId/C01":                                                  cannotTell,
	"principalSet://cloudresourcemanager.googleapis.com/projects/123/type/ServiceAccount":              cannotTell,
	"principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*":          denied,
	"deleted:principal://iam.googleapis.com/projects/-/serviceAccounts/" + account + "?uid=110":        denied,
	"deleted:principal://goog/subject/ops@example.com?uid=1":                                           denied,
}

func TestMembers(t *testing.T) {
	for member, want := range identifiers {
		t.Run(member, func(t *testing.T) {
			expect(t, decrypt(everything().With(key, allow(t, bind(use, "user:x@example.com "+member)))), want)
		})
	}
	// The account that is there now is another one than the account that the policy means.
	recreated := everything().With(key, allow(t, bind(use, "deleted:serviceAccount:"+account+"?uid=110")))
	expect(t, decrypt(recreated), denied, "binding 1 of key store: what stands there is for the deleted account with the unique id 110, which no other account of the same e-mail matches")
	unknownID := google.KeyAccess(recreated, key, google.ServiceAccount{Email: account}, at)
	expect(t, unknownID.Verdicts[google.Decrypt], denied, "unique id 110")
	same := everything().With(key, allow(t, bind(use, "deleted:serviceAccount:"+account+"?uid=111")))
	expect(t, decrypt(same), cannotTell, "an account of the same unique id exists", "the current state of "+account+" (iam.serviceAccounts.get)")
	expect(t, decrypt(everything().With(key, allow(t, bind(use, "group:ops@example.com")))), cannotTell, "whether "+account+" belongs to group:ops@example.com is not known", "who belongs to group:ops@example.com")
}

func TestDenyRules(t *testing.T) {
	const useKey = "cloudkms.googleapis.com/cryptoKeyVersions.useToDecrypt"
	everybody := "principalSet://goog/public:all"
	for _, r := range []struct {
		name string
		rule string
		want policy.Decision
	}{
		{"everybody", rule(everybody, "", useKey, ""), denied},
		{"only encrypting", rule(everybody, "", "cloudkms.googleapis.com/cryptoKeyVersions.useToEncrypt", ""), allowed},
		{"all verbs", rule(everybody, "", "cloudkms.googleapis.com/cryptoKeyVersions.*", ""), denied},
		{"all of the service", rule(everybody, "", "cloudkms.googleapis.com/*.*", ""), denied},
		{"the verb of all resources", rule(everybody, "", "cloudkms.googleapis.com/*.useToDecrypt", ""), denied},
		{"other resources", rule(everybody, "", "cloudkms.googleapis.com/cryptoKeys.*", ""), allowed},
		{"another verb of all resources", rule(everybody, "", "cloudkms.googleapis.com/*.useToSign", ""), allowed},
		{"another service", rule(everybody, "", "storage.googleapis.com/*.*", ""), allowed},
		{"a form that is not documented", rule(everybody, "", "cloudkms.googleapis.com/*", ""), cannotTell},
		{"the form of roles", rule(everybody, "", "cloudkms.cryptoKeyVersions.useToDecrypt", ""), allowed},
		{"nothing", rule(everybody, "", "", ""), allowed},
		{"nobody", rule("", "", useKey, ""), allowed},
		{"the permission is excepted", rule(everybody, "", "cloudkms.googleapis.com/*.*", useKey), allowed},
		{"another permission is excepted", rule(everybody, "", "cloudkms.googleapis.com/*.*", "cloudkms.googleapis.com/cryptoKeyVersions.useToEncrypt"), denied},
		{"the account is excepted", rule(everybody, "principal://iam.googleapis.com/projects/-/serviceAccounts/"+account, useKey, ""), allowed},
		{"another account is excepted", rule(everybody, "principal://iam.googleapis.com/projects/-/serviceAccounts/x@keys-prod.iam.gserviceaccount.com", useKey, ""), denied},
		{"a group is excepted", rule(everybody, "principalSet://goog/group/ops@example.com", useKey, ""), cannotTell},
		{"a group is excepted, and the account", rule(everybody, "principalSet://goog/group/ops@example.com principal://iam.googleapis.com/projects/-/serviceAccounts/"+account, useKey, ""), allowed},
		{"another account", rule("principal://iam.googleapis.com/projects/-/serviceAccounts/x@keys-prod.iam.gserviceaccount.com", "", useKey, ""), allowed},
		{"a tag", rule(everybody, "", useKey, "", `resource.matchTag("9/env", "prod")`), cannotTell},
		{"not a tag", rule(everybody, "", useKey, "", `!resource.matchTag("9/env", "test")`), cannotTell},
	} {
		t.Run(r.name, func(t *testing.T) {
			granted := everything().With(key, allow(t, bind(use, serviceAccount)))
			for _, level := range []string{project, folder, organization} {
				expect(t, decrypt(granted.WithDenies(level, deny(t, rule(everybody, "", "storage.googleapis.com/*.*", ""), r.rule))), r.want)
			}
			expect(t, decrypt(granted.WithDenies("projects/other", deny(t, r.rule))), allowed)
			expect(t, decrypt(everything().WithDenies(project, deny(t, r.rule))), denied)
		})
	}
	for identifier, is := range denyIdentifiers {
		want := map[policy.Decision]policy.Decision{allowed: denied, denied: allowed, cannotTell: cannotTell}[is]
		granted := everything().With(key, allow(t, bind(use, serviceAccount)))
		if got := decrypt(granted.WithDenies(project, deny(t, rule(identifier, "", useKey, "")))); got.Decision != want {
			t.Errorf("denied to %s: %s, want %s", identifier, got.Decision, want)
		}
		if got := decrypt(granted.WithDenies(project, deny(t, rule(everybody, identifier, useKey, "")))); got.Decision != is {
			t.Errorf("denied to all but %s: %s, want %s", identifier, got.Decision, is)
		}
	}
	d := everything().With(target, allow(t, bind(mint, "serviceAccount:"+crl)))
	expect(t, impersonate(d.WithDenies(project, deny(t, rule(everybody, "", "iam.googleapis.com/serviceAccounts.getAccessToken", "")))), denied, `rule 1 of deny policy "guard" of project keys-prod denies it`)
	expect(t, impersonate(d.WithDenies(project, deny(t, rule(everybody, "", "iam.googleapis.com/serviceAccounts.actAs", "")))), allowed)
	expect(t, impersonate(d.WithDenies(project, deny(t, rule(everybody, "", "iamcredentials.googleapis.com/serviceAccounts.getAccessToken", "")))), cannotTell, "it is not certain that the rule is about")
	expect(t, decrypt(everything().With(key, allow(t, bind(use, serviceAccount))).WithDenies(project, deny(t, rule(everybody, "", "iamcredentials.googleapis.com/*.*", "")))), allowed)
}

func TestConditionsThatTheTextDoesNotShow(t *testing.T) {
	hidden := everything().With(key, allow(t, bind(use+"_withcond_2b17cc25d2cd9e2c54d8", serviceAccount)))
	expect(t, decrypt(hidden), cannotTell, "read with a version below 3", "requestedPolicyVersion 3")
	expect(t, decrypt(everything().With(key, allow(t, bind("roles/viewer_withcond_2b17cc25d2cd9e2c54d8", serviceAccount)))), denied)
	dropped := allow(t, bind(use, serviceAccount))
	dropped.ConditionsDropped = true
	expect(t, decrypt(everything().With(key, dropped)), allowed) // the text has version 3
	dropped.Version = 1
	expect(t, decrypt(everything().With(key, dropped)), cannotTell, "read with a version below 3")
	other := allow(t, bind(use, "user:x@example.com"))
	other.Version, other.ConditionsDropped = 1, true
	expect(t, decrypt(everything().With(key, other)), denied)
}

// Where several things of one binding are not known, the first is the reason, and what would settle each of them is missing.
func TestMissing_ofOneBinding(t *testing.T) {
	const group, tag = "group:ops@example.com", `resource.matchTag("9/env", "prod")`
	for _, r := range []struct {
		name    string
		binding string
		why     string
		missing []google.Missing
	}{
		{"the member, the role and the condition", bind(other, group, tag), "whether " + account + " belongs to " + group + " is not known",
			[]google.Missing{{Kind: google.MissingMembers, Name: group}, {Kind: google.MissingRole, Name: other}, {Kind: google.MissingCondition, Name: tag}}},
		{"the role and the condition", bind(other, serviceAccount, tag), "the permissions of role " + other + " are not known",
			[]google.Missing{{Kind: google.MissingRole, Name: other}, {Kind: google.MissingCondition, Name: tag}}},
		{"the condition", bind(use, serviceAccount, tag), "it depends on its condition: " + tag, []google.Missing{{Kind: google.MissingCondition, Name: tag}}},
		{"the member and the role, and the condition is not met", bind(other, group, "false"), "", nil},
	} {
		v := decrypt(everything().With(key, allow(t, r.binding)))
		want := cannotTell
		if r.missing == nil {
			want = denied
		}
		if expect(t, v, want, r.why); !slices.Equal(v.Missing, r.missing) {
			t.Errorf("%s: missing are %v, want %v", r.name, v.Missing, r.missing)
		}
	}
}

// What stands above every project is the folders' and the organization's: readers of one project seldom see it.
func TestMissing_aboveProjects(t *testing.T) {
	for missing, want := range map[google.Missing]bool{
		{Kind: google.MissingParents, Name: project}: true, {Kind: google.MissingPolicy, Name: folder}: true, {Kind: google.MissingDenies, Name: folder}: true,
		{Kind: google.MissingPolicy, Name: organization}: true, {Kind: google.MissingDenies, Name: organization}: true,
		{Kind: google.MissingPolicy, Name: project}: false, {Kind: google.MissingDenies, Name: project}: false, {Kind: google.MissingPolicy, Name: key}: false,
		{Kind: google.MissingRole, Name: organization + "/roles/wrap"}: false, {Kind: google.MissingRole, Name: other}: false, {Kind: google.MissingIdentity, Name: account}: false,
	} {
		if got := missing.AboveProjects(); got != want {
			t.Errorf("%s stands above every project: %t, want %t", missing, got, want)
		}
	}
}

// Deny policies of a project are read by who may read those of the organization, or by nobody: if any are read, one list that is not is waited for.
func TestDocuments_seldomRead(t *testing.T) {
	denies := func(levels ...string) google.Documents {
		d := google.Documents{Denies: map[string][]google.DenyPolicy{}}
		for _, level := range levels {
			d.Denies[level] = nil
		}
		return d
	}
	above, ofProject := google.Missing{Kind: google.MissingParents, Name: project}, google.Missing{Kind: google.MissingDenies, Name: project}
	for _, row := range []struct {
		name    string
		read    google.Documents
		missing []google.Missing
		want    bool
	}{
		{"nothing", denies(project), nil, true},
		{"what is above", denies(project), []google.Missing{above}, true},
		{"all deny policies", denies(), []google.Missing{above, ofProject, {Kind: google.MissingDenies, Name: folder}}, true},
		{"those of one project, where the folder's are read", denies(folder), []google.Missing{ofProject}, false},
		{"those of one project, where another's are read", denies("projects/other"), []google.Missing{above, ofProject}, false},
		{"the allow policy of the project", denies(), []google.Missing{ofProject, {Kind: google.MissingPolicy, Name: project}}, false},
		{"the boundaries of the project", denies(), []google.Missing{ofProject, {Kind: google.MissingBoundaries, Name: project}}, false},
		{"the account", denies(), []google.Missing{above, {Kind: google.MissingIdentity, Name: account}}, false},
	} {
		if got := row.read.SeldomRead(row.missing); got != row.want {
			t.Errorf("missing is %s: it is seldom read: %t, want %t", row.name, got, row.want)
		}
	}
}

func TestKnows(t *testing.T) {
	for role, want := range map[string]bool{
		own: true, other: false, use: true, "roles/viewer": true, "roles/cloudkms.newerThanThis": false, use + "_withcond_2b17cc25d2cd9e2c54d8": true,
	} {
		if got := everything().Knows(role); got != want {
			t.Errorf("what %s gives is known: %t, want %t", role, got, want)
		}
	}
}

func TestAccountsAndKeysThatCannotBeUsed(t *testing.T) {
	d := everything().With(key, allow(t, bind(use, "allUsers"))).With(target, allow(t, bind(mint, "allUsers")))
	disabled, missing := user, user
	disabled.Disabled, missing.Missing = true, true
	for _, r := range []struct {
		name     string
		access   google.Access
		want     policy.Decision
		mentions string
	}{
		{"enabled", google.KeyAccess(d, key, user, at), allowed, ""},
		{"disabled", google.KeyAccess(d, key, disabled, at), denied, "service account " + account + " is disabled"},
		{"missing", google.KeyAccess(d, key, missing, at), denied, "service account " + account + " does not exist"},
		{"acts as an enabled one", google.ActAs(d, user, vendor, at), allowed, ""},
		{"acts as a disabled one", google.ActAs(d, disabled, vendor, at), denied, "is disabled"},
		{"acts as a missing one", google.ActAs(d, missing, vendor, at), denied, "does not exist"},
		{"a disabled one acts", google.ActAs(d, user, disabled, at), denied, "is disabled"},
		{"a key of AWS", google.KeyAccess(d, "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", user, at), cannotTell, "is not a Cloud KMS key"},
		{"a key ring", google.KeyAccess(d, cmek.KeyURI(ring), user, at), cannotTell, "is not a Cloud KMS key"},
		{"no key", google.KeyAccess(d, "", user, at), cannotTell, `"" is not a Cloud KMS key`},
		{"no account", google.KeyAccess(d, key, google.ServiceAccount{}, at), cannotTell, `"" is not the e-mail of a service account`},
		{"a default account", google.ActAs(d, google.ServiceAccount{Email: "123-compute@developer.gserviceaccount.com"}, vendor, at), cannotTell, "does not say which project"},
		{"nobody acts", google.ActAs(d, user, google.ServiceAccount{}, at), cannotTell, "is not the e-mail"},
	} {
		if got := r.access.Decision(); got != r.want {
			t.Errorf("%s: %s, want %s", r.name, got, r.want)
		}
		if said := strings.Join(r.access.Sentences(), "\n"); !strings.Contains(said, r.mentions) || (said == "") != (r.want == allowed) {
			t.Errorf("%s: %q does not mention %q", r.name, said, r.mentions)
		}
		if r.want == denied && r.access.ByRead() != denied {
			t.Errorf("%s: by what was read %s", r.name, r.access.ByRead())
		}
	}
	if (google.Access{}).Decision() != cannotTell {
		t.Error("nothing asked is not an answer")
	}
}

// The project of an account is in its e-mail, in another spelling if it belongs to a domain.
func TestActAs_projectOfADomain(t *testing.T) {
	scoped := google.ServiceAccount{Email: "Cmek@keys.example.com.iam.gserviceaccount.com"}
	access := google.ActAs(google.Documents{}, scoped, vendor, at)
	want := []google.Missing{{Kind: google.MissingPolicy, Name: "projects/example.com:keys/serviceAccounts/cmek@keys.example.com.iam.gserviceaccount.com"},
		{Kind: google.MissingPolicy, Name: "projects/example.com:keys"}, {Kind: google.MissingParents, Name: "projects/example.com:keys"}, {Kind: google.MissingDenies, Name: "projects/example.com:keys"}}
	if !slices.Equal(access.Missing(), want) {
		t.Errorf("missing %v, want %v", access.Missing(), want)
	}
}

func TestAccess_needsBothPermissions(t *testing.T) {
	for _, r := range []struct {
		roles string
		want  policy.Decision
	}{
		{use, allowed}, {"roles/cloudkms.cryptoKeyEncrypter", denied}, {"roles/cloudkms.cryptoKeyDecrypter", denied},
		{"roles/cloudkms.cryptoKeyEncrypter roles/cloudkms.cryptoKeyDecrypter", allowed},
		{"roles/cloudkms.cryptoKeyEncrypter " + other, cannotTell}, {"roles/cloudkms.cryptoKeyDecrypter " + other, cannotTell}, {other, cannotTell},
	} {
		var bindings []string
		for _, role := range strings.Fields(r.roles) {
			bindings = append(bindings, bind(role, serviceAccount))
		}
		access := google.KeyAccess(everything().With(key, allow(t, bindings...)), key, user, at)
		if access.Decision() != r.want || access.ByRead() != r.want {
			t.Errorf("%s: %s, by what was read %s, want %s", r.roles, access.Decision(), access.ByRead(), r.want)
		}
	}
}

func TestSentences(t *testing.T) {
	expectSentences(t, google.KeyAccess(everything().With(key, allow(t, bind("roles/cloudkms.cryptoKeyEncrypter", serviceAccount))), key, user, at).Sentences(),
		account+" may not decrypt with key store: no binding of key store, key ring cmek, project keys-prod, folder 77, organization 9 gives it")
	expectSentences(t, google.KeyAccess(without(everything(), ring), key, user, at).Sentences(),
		"it is unclear whether "+account+" may encrypt and decrypt with key store: the policy of key ring cmek was not read; missing: the policy of key ring cmek (cloudkms.keyRings.getIamPolicy)")
	expectSentences(t, google.ActAs(everything(), user, vendor, at).Sentences(),
		crl+" may not act as service account "+account+": no binding of service account "+account+", project keys-prod, folder 77, organization 9 gives it")
	expectSentences(t, google.KeyAccess(everything().With(key, allow(t, bind(use, serviceAccount))), key, user, at).Sentences())
}

// The nearest miss is named: the first on the lowest level, and no binding that is about something or somebody else.
func TestNearMisses(t *testing.T) {
	const nobody = "no binding of key store, key ring cmek, project keys-prod, folder 77, organization 9 gives it"
	const deleted, gone = "deleted:" + serviceAccount + "?uid=110", "what stands there is for the deleted account with the unique id 110, which no other account of the same e-mail matches"
	for _, r := range []struct {
		name       string
		onKey      []string
		onRing     []string
		wantReason string
	}{
		{"none", []string{bind("roles/viewer", serviceAccount), bind(use, "user:a@example.com")}, []string{bind(use, "user:b@example.com")}, nobody},
		{"one on the ring", []string{bind(use, "user:a@example.com")}, []string{bind("roles/viewer", deleted), bind(use, "user:a@example.com "+deleted)}, nobody + "; binding 2 of key ring cmek: " + gone},
		{"one on each", []string{bind(use, serviceAccount, "false")}, []string{bind(use, deleted)}, nobody + "; binding 1 of key store: its condition is not met: false"},
		{"two members of one", []string{bind(use, deleted+" deleted:"+serviceAccount+"?uid=109 user:a@example.com")}, nil, nobody + "; binding 1 of key store: " + gone},
		{"the condition of somebody else", []string{bind(use, "user:a@example.com", "false")}, nil, nobody},
	} {
		v := decrypt(everything().With(key, allow(t, r.onKey...)).With(ring, allow(t, r.onRing...)))
		if v.Decision != denied || v.Why != r.wantReason {
			t.Errorf("%s: %s: %s\nwant %s", r.name, v.Decision, v.Why, r.wantReason)
		}
	}
	// A binding that gives it has the last word, whatever came near before.
	v := decrypt(everything().With(key, allow(t, bind(use, deleted+" "+serviceAccount))))
	if v.Decision != allowed || v.Why != "binding 1 of key store gives it "+use {
		t.Errorf("%s: %s", v.Decision, v.Why)
	}
}

func TestSentences_areBounded(t *testing.T) {
	for _, r := range []struct {
		groups   int
		mentions string
	}{{8, "who belongs to group:g8@example.com"}, {9, "who belongs to group:g8@example.com and 1 more"}} {
		var members []string
		for i := range r.groups {
			members = append(members, fmt.Sprintf("group:g%d@example.com", i+1))
		}
		said := google.KeyAccess(everything().With(key, allow(t, bind(use, strings.Join(members, " ")))), key, user, at).Sentences()
		if len(said) != 1 || !strings.HasSuffix(said[0], r.mentions) {
			t.Errorf("%d groups: %q does not end in %q", r.groups, said, r.mentions)
		}
	}
	for _, r := range []struct {
		length int
		want   string
	}{{200, strings.Repeat("x", 200)}, {201, strings.Repeat("x", 200) + "…"}} {
		long := google.Missing{Kind: google.MissingMembers, Name: strings.Repeat("x", r.length)}
		if got := long.String(); got != "who belongs to "+r.want {
			t.Errorf("a name of %d bytes is %q", r.length, got)
		}
	}
}

func TestTimeIsNotKnown(t *testing.T) {
	d := everything().With(key, allow(t, bind(use, serviceAccount, `request.time < timestamp("2030-01-01T00:00:00Z")`)))
	expect(t, decrypt(d), allowed, `as long as request.time < timestamp("2030-01-01T00:00:00Z")`)
	expect(t, google.KeyAccess(d, key, user, time.Time{}).Verdicts[google.Decrypt], cannotTell, "whether this holds: request.time")
	expect(t, google.KeyAccess(d, key, user, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)).Verdicts[google.Decrypt], denied, "binding 1 of key store: its condition is not met")
}
