package alerting

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// A project in a folder of an organization, in which a cluster uses a key by a service account, as Cockroach Labs' documentation asks
// for it.
const (
	googleCluster = "0a5d1c2e-7f43-4b1a-9c68-a90d4e613b1f"
	crlProject    = "crl-prod-xyz"
	crlMember     = "serviceAccount:crl-kms-user-a90d4e613b1f@crl-prod-xyz.iam.gserviceaccount.com"
	member        = "serviceAccount:" + clusterAccount
	outsider      = "serviceAccount:other@elsewhere.iam.gserviceaccount.com"

	onKeyRing  = "projects/acme-keys/locations/us-east1/keyRings/crdb"
	onProject  = "projects/acme-keys"
	onFolder   = "folders/77"
	onOrg      = "organizations/42"
	onAccount  = "projects/acme-keys/serviceAccounts/" + clusterAccount
	itsState   = onAccount + "#state"
	itsParents = onProject + "#parents"

	useRole   = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
	mintRole  = "roles/iam.serviceAccountTokenCreator"
	ownRole   = "projects/acme-keys/roles/kmsUser"
	roleOfUse = `{"name":"` + ownRole + `","includedPermissions":["cloudkms.cryptoKeyVersions.useToEncrypt","cloudkms.cryptoKeyVersions.useToDecrypt"],"stage":"GA"}`
	enabled   = `{"email":"` + clusterAccount + `","uniqueId":"1001"}`
	disabled  = `{"email":"` + clusterAccount + `","uniqueId":"1001","disabled":true}`
	noGrant   = `{"version":1,"etag":"ACAB"}`
)

// bindingsOf is an allow policy: a role and its members after each other, separated by blanks, one binding an argument.
func bindingsOf(list ...string) string {
	bindings := []any{}
	for _, one := range list {
		words := strings.Fields(one)
		bindings = append(bindings, map[string]any{"role": words[0], "members": words[1:]})
	}
	text, _ := json.Marshal(map[string]any{"version": 1, "etag": "BwX=", "bindings": bindings})
	return string(text)
}

func denying(name, permission string, principals ...string) string {
	text, _ := json.Marshal(map[string]any{"name": "policies/x/denypolicies/" + name, "rules": []any{map[string]any{"denyRule": map[string]any{
		"deniedPrincipals": principals, "deniedPermissions": []string{permission},
	}}}})
	return string(text)
}

const (
	everyone      = "principalSet://goog/public:all"
	denyDecrypt   = "cloudkms.googleapis.com/cryptoKeyVersions.useToDecrypt"
	denyMinting   = "iam.googleapis.com/serviceAccounts.getAccessToken"
	denyElsewhere = "compute.googleapis.com/instances.delete"
)

// googleTexts are good documents of all levels.
func googleTexts(edits ...string) map[string]string {
	texts := map[string]string{
		string(cryptoKey): bindingsOf(useRole + " " + member), onKeyRing: noGrant, onProject: noGrant, onFolder: noGrant, onOrg: noGrant,
		onAccount: bindingsOf(mintRole + " " + crlMember), itsState: enabled, itsParents: `["` + onFolder + `","` + onOrg + `"]`,
		onProject + "#denies": "[]", onFolder + "#denies": "[]", onOrg + "#denies": "[]",
		onProject + "#boundaries": "[]", onFolder + "#boundaries": "[]", onOrg + "#boundaries": "[]",
	}
	for i := 0; i < len(edits); i += 2 {
		if texts[edits[i]] = edits[i+1]; edits[i+1] == "" {
			delete(texts, edits[i])
		}
	}
	return texts
}

// onGoogleRead are documents that were read. A name with an empty text was not.
func onGoogleRead(edits ...string) Documents {
	docs := Documents{Now: map[string]Document{}, Noted: map[string]Noted{}, At: eventTime}
	for name, text := range googleTexts(edits...) {
		docs.Now[name] = stands(text)
	}
	return docs
}

func (d Documents) notedBefore(name, text string) Documents {
	d.Noted = maps.Clone(d.Noted)
	d.Noted[name] = notedBefore(text)
	return d
}

// unread: there is a text of the document, which is not what stands there now.
func (d Documents) unread(name string) Documents {
	d.Now[name] = Document{Text: d.Now[name].Text}
	return d
}

// notedAfter: the sweep noted it for the first time after the event.
func (d Documents) notedAfter(name, text string) Documents {
	noted := notedBefore(text)
	noted.Since, noted.At = eventTime.Add(time.Second), eventTime.Add(time.Second)
	d.Noted = map[string]Noted{name: noted}
	return d
}

func (d Documents) missing(name string) Documents {
	d.Now[name] = Document{Missing: true}
	return d
}

var googleUse = Use{ClusterID: googleCluster, CloudAccount: crlProject, Spec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: cryptoKey, AuthPrincipal: clusterAccount}}

func gcloud(service, name string, change cmek.Change, edits ...func(*cmek.Event)) cmek.Event {
	e := cmek.Event{ID: "e", Source: service + ".googleapis.com/activity/" + name, Change: change, Account: "acme-keys", Time: eventTime, Principal: "ana@acme.example"}
	for _, edit := range edits {
		edit(&e)
	}
	return e
}

func edited(e cmek.Event, edit func(*cmek.Event)) cmek.Event {
	edit(&e)
	return e
}

func onCryptoKey(text string) cmek.Event {
	return gcloud("cloudkms", "SetIamPolicy", cmek.ChangeKeyPolicy, of(cryptoKey), document(text))
}

func onNode(node, text string) cmek.Event {
	return gcloud("cloudresourcemanager", "SetIamPolicy", cmek.ChangeInheritedPolicy, document(text), with("resource", node))
}

func onServiceAccount(text string) cmek.Event {
	return gcloud("iam", "SetIAMPolicy", cmek.ChangePrincipalTrust, document(text), func(e *cmek.Event) { e.Identity = clusterAccount })
}

func onDenyPolicy(call, node, name, text string) cmek.Event {
	return gcloud("iam", call, cmek.ChangeDenyPolicy, document(text), func(e *cmek.Event) {
		e.Parameters = map[string]string{"resource": node, "policy_name": name}
	})
}

// onBoundary is a call about a principal access boundary, which says nothing that can be judged.
func onBoundary(call, node string) cmek.Event {
	return gcloud("iam", call, cmek.ChangeAccessBoundary, func(e *cmek.Event) {
		e.Parameters = map[string]string{"resource": node, "binding": "bound"}
		if node != onProject {
			e.Account = ""
		}
	})
}

// bounding are the boundaries of a node: one policy, which lists the resource.
func bounding(resource string) string {
	return `[{"binding":{"policy":"organizations/42/locations/global/principalAccessBoundaryPolicies/own"},"policy":{"name":"organizations/42/locations/global/principalAccessBoundaryPolicies/own",` +
		`"details":{"rules":[{"resources":["//cloudresourcemanager.googleapis.com/` + resource + `"],"effect":"ALLOW"}],"enforcementVersion":"4"}}}]`
}

func onOwnRole(call, text string) cmek.Event {
	return gcloud("iam", call, cmek.ChangeManagedPolicy, document(text), with("role", ownRole))
}

func withDelta(e cmek.Event, action, role, who string) cmek.Event {
	e.Delta = `{"bindingDeltas":[{"action":"` + action + `","role":"` + role + `","member":"` + who + `"}]}`
	return e
}

// What changes of Google Cloud do to the use of a key, with everything read, and with parts that were not.
func TestJudge_google(t *testing.T) {
	const unclear = "unclear: "
	byRole := []string{string(cryptoKey), bindingsOf(ownRole + " " + member), ownRole, roleOfUse}
	same := bindingsOf(useRole+" "+member, "roles/viewer user:ana@acme.example")
	for _, tc := range []struct {
		name  string
		event cmek.Event
		docs  Documents
		want  string
		texts []string
	}{
		// The key's own policy.
		{"the key's policy loses the binding", onCryptoKey(noGrant), onGoogleRead(), "cuts off", []string{"may not encrypt and decrypt with key payments", "previous document is not known"}},
		{"the key's policy keeps the binding", onCryptoKey(bindingsOf(useRole + " " + member)), onGoogleRead(), "keeps", nil},
		{"the key's policy has the encrypter only", onCryptoKey(bindingsOf("roles/cloudkms.cryptoKeyEncrypter " + member)), onGoogleRead(), "cuts off", []string{"may not decrypt"}},
		{"the key's policy names another account", onCryptoKey(bindingsOf(useRole + " serviceAccount:another@acme-keys.iam.gserviceaccount.com")), onGoogleRead(), "cuts off", nil},
		{"the key's policy names the deleted account of the e-mail", onCryptoKey(bindingsOf(useRole + " deleted:" + member + "?uid=999")), onGoogleRead(), "cuts off", []string{"unique id 999"}},
		{"the key's policy loses it, and the ring grants it", onCryptoKey(noGrant), onGoogleRead(onKeyRing, bindingsOf(useRole+" "+member)), "keeps", nil},
		{"the key's policy loses it, and the folder grants it", onCryptoKey(noGrant), onGoogleRead(onFolder, bindingsOf(useRole+" "+member)), "keeps", nil},
		{"the key's policy loses it, and the organization is not read", onCryptoKey(noGrant), onGoogleRead(onOrg, ""), unclear + "not read: ", nil},
		{"the key's policy loses it, and what is above is not read", onCryptoKey(noGrant), onGoogleRead(itsParents, ""), unclear + "not read: ", nil},
		{"the key's policy keeps it, and deny policies are not read", onCryptoKey(bindingsOf(useRole + " " + member)), onGoogleRead(onOrg+"#denies", ""), unclear + "not read: ", nil},
		{"the key's policy keeps it, and the account's state is not read", onCryptoKey(bindingsOf(useRole + " " + member)), onGoogleRead(itsState, ""), unclear + "not read: the current state of", nil},
		{"the key's policy keeps it, and the account is disabled", onCryptoKey(bindingsOf(useRole + " " + member)), onGoogleRead(itsState, disabled), "cuts off", nil},
		{"the key's policy keeps it, and the account is gone", onCryptoKey(bindingsOf(useRole + " " + member)), onGoogleRead().missing(itsState), "cuts off", nil},
		{"the key's policy keeps it under a condition", onCryptoKey(strings.Replace(bindingsOf(useRole+" "+member), `"role"`, `"condition":{"expression":"resource.matchTag('1/env','x')"},"role"`, 1)), onGoogleRead(), unclear + "it is not known whether this holds", nil},
		{"the key's policy keeps it until yesterday", onCryptoKey(strings.Replace(bindingsOf(useRole+" "+member), `"role"`, `"condition":{"expression":"request.time < timestamp(\"1999-12-31T00:00:00Z\")"},"role"`, 1)), onGoogleRead(), "cuts off", nil},
		{"the event counts, not what is read", onCryptoKey(noGrant), onGoogleRead(), "cuts off", nil},
		{"the event has none, and the loss was read", onCryptoKey(""), onGoogleRead(string(cryptoKey), noGrant), "cuts off", nil},
		{"the event has none, and nothing was read", onCryptoKey(""), onGoogleRead(string(cryptoKey), ""), unclear + "the new policy could not be read", nil},
		{"the event's cannot be understood", onCryptoKey("{"), onGoogleRead(), unclear + "the new policy cannot be understood", nil},
		{"what was lost is said", onCryptoKey(noGrant), onGoogleRead().notedBefore(string(cryptoKey), bindingsOf(useRole+" "+member)), "cuts off", []string{"lost the right to encrypt and decrypt with key payments", "no previous document is not known"}},
		{"the same policy in another order", onCryptoKey(same), onGoogleRead().notedBefore(string(cryptoKey), bindingsOf("roles/viewer user:ana@acme.example", useRole+" "+member)), "same", nil},
		{"an outsider gains it", onCryptoKey(bindingsOf(useRole + " " + member + " " + outsider)), onGoogleRead().notedBefore(string(cryptoKey), bindingsOf(useRole+" "+member)), "exposes", []string{"serviceAccount:other@elsewhere.iam.gserviceaccount.com may encrypt and decrypt"}},
		{"an outsider may, and what was before is not known", onCryptoKey(bindingsOf(useRole + " " + member + " " + outsider)), onGoogleRead(), "exposes", nil},
		{"an outsider has it as before", onCryptoKey(bindingsOf(useRole+" "+member+" "+outsider, "roles/viewer user:b@acme.example")), onGoogleRead().notedBefore(string(cryptoKey), bindingsOf(useRole+" "+member+" "+outsider)), "keeps", nil},
		{"everybody gains it", onCryptoKey(bindingsOf(useRole + " " + member + " allUsers")), onGoogleRead(), "exposes", []string{"allUsers may"}},
		{"another account of the project gains it", onCryptoKey(bindingsOf(useRole + " " + member + " serviceAccount:x@acme-keys.iam.gserviceaccount.com")), onGoogleRead(), "keeps", nil},

		// What is above the key.
		{"the ring loses the only grant", onNode(onKeyRing, noGrant), onGoogleRead(string(cryptoKey), noGrant), "cuts off", nil},
		{"the project loses the only grant", onNode(onProject, noGrant), onGoogleRead(string(cryptoKey), noGrant), "cuts off", nil},
		{"the organization loses the only grant", onNode(onOrg, noGrant), onGoogleRead(string(cryptoKey), noGrant), "cuts off", nil},
		{"the organization loses a grant, and the key has one", onNode(onOrg, noGrant), onGoogleRead(), "keeps", nil},
		{"a folder that the project is not in", onNode("folders/78", noGrant), onGoogleRead(), "unattached", []string{"no previous document is not known"}},
		{"a folder, and what is above the project is not read", onNode("folders/78", noGrant), onGoogleRead(itsParents, ""), unclear + "not read: ", nil},
		{"another project", onNode("projects/other", noGrant), onGoogleRead(), "unattached", nil},
		{"a project by its number", onNode("projects/123456789012", noGrant), onGoogleRead(), unclear + "the event names the project by its number", nil},
		{"the project takes Token Creator away", withDelta(onNode(onProject, noGrant), "REMOVE", mintRole, crlMember), onGoogleRead(onAccount, noGrant), "cuts off", []string{"lost the right to act as service account"}},
		{"the project gives somebody Token Creator", withDelta(onNode(onProject, bindingsOf(mintRole+" user:eve@acme.example")), "ADD", mintRole, "user:eve@acme.example"), onGoogleRead(), "exposes", []string{"user:eve@acme.example may act as"}},
		{"the project gives somebody a role of no use", withDelta(onNode(onProject, bindingsOf("roles/viewer user:eve@acme.example")), "ADD", "roles/viewer", "user:eve@acme.example"), onGoogleRead(), "keeps", []string{"no previous document is not known"}},
		{"the entry says what was removed, and has no policy", withDelta(onNode(onProject, ""), "REMOVE", useRole, member), onGoogleRead(string(cryptoKey), noGrant, onProject, bindingsOf(useRole+" "+member)), "cuts off", []string{"lost the right"}},

		// Principal access boundaries: what is bound now is read.
		{"a boundary that does not list the key", onBoundary("CreatePolicyBinding", onProject), onGoogleRead(onProject+"#boundaries", bounding("projects/elsewhere")), "cuts off", []string{"principal access boundary policy \"own\", which binds the principals of project acme-keys"}},
		{"a boundary that lists the organization", onBoundary("CreatePolicyBinding", onOrg), onGoogleRead(onOrg+"#boundaries", bounding(onOrg)), "keeps", nil},
		{"a boundary that is gone", onBoundary("DeletePolicyBinding", onFolder), onGoogleRead(), "keeps", nil},
		{"a policy that may be bound to anybody", onBoundary("UpdatePrincipalAccessBoundaryPolicy", onOrg), onGoogleRead(onOrg+"#boundaries", bounding("projects/elsewhere")), "cuts off", nil},
		{"a boundary, and nobody may read what is bound", onBoundary("CreatePolicyBinding", onProject), onGoogleRead(onProject+"#boundaries", ""), unclear + "not read: the principal access boundaries of project acme-keys", nil},
		{"a boundary that cannot be understood", onBoundary("CreatePolicyBinding", onProject), onGoogleRead(onProject+"#boundaries", "<html>"), unclear + "not read: the principal access boundaries of project acme-keys", nil},
		{"a boundary, and nothing was read", onBoundary("CreatePolicyBinding", onOrg), Documents{}, unclear + "not read: ", nil},

		// Deny policies.
		{"a deny policy of the project", onDenyPolicy("CreatePolicy", onProject, "stop", denying("stop", denyDecrypt, everyone)), onGoogleRead(), "cuts off", nil},
		{"a deny policy of the organization about tokens", onDenyPolicy("UpdatePolicy", onOrg, "stop", denying("stop", denyMinting, everyone)), onGoogleRead(), "cuts off", nil},
		{"a deny policy about something else", onDenyPolicy("CreatePolicy", onProject, "stop", denying("stop", denyElsewhere, everyone)), onGoogleRead(), "keeps", nil},
		{"a deny policy that denies, and the others are not read", onDenyPolicy("CreatePolicy", onProject, "stop", denying("stop", denyDecrypt, everyone)), onGoogleRead(onProject+"#denies", ""), "cuts off; " + unclear + "not read: ", nil},
		{"a deny policy about something else, and the others are not read", onDenyPolicy("CreatePolicy", onProject, "stop", denying("stop", denyElsewhere, everyone)), onGoogleRead(onProject+"#denies", ""), unclear + "not read: ", nil},
		{"a deny policy that denies no more", onDenyPolicy("UpdatePolicy", onProject, "stop", denying("stop", denyElsewhere, everyone)), onGoogleRead(onProject+"#denies", "["+denying("stop", denyDecrypt, everyone)+"]"), "keeps", nil},
		{"a deny policy that is deleted, and another denies", onDenyPolicy("DeletePolicy", onProject, "stop", ""), onGoogleRead(onProject+"#denies", "["+denying("stop", denyElsewhere, everyone)+","+denying("two", denyDecrypt, everyone)+"]"), "cuts off", nil},
		{"a deny policy that is deleted", onDenyPolicy("DeletePolicy", onProject, "stop", ""), onGoogleRead(onProject+"#denies", "["+denying("stop", denyDecrypt, everyone)+"]"), "keeps", nil},
		{"a deny policy of a folder elsewhere", onDenyPolicy("CreatePolicy", "folders/78", "stop", denying("stop", denyDecrypt, everyone)), onGoogleRead(), "unattached", nil},
		{"a deny policy that cannot be understood", onDenyPolicy("CreatePolicy", onProject, "stop", "{"), onGoogleRead(), unclear + "the new deny policy", nil},
		{"a deny policy that denies what it did before", onDenyPolicy("UpdatePolicy", onProject, "stop", denying("stop", denyDecrypt, everyone)), onGoogleRead().notedBefore(onProject+"#denies", "["+denying("old", denyDecrypt, everyone)+"]"), "cuts off", []string{"no lost the right", "no previous document is not known"}},
		{"a deny policy where there was none", onDenyPolicy("CreatePolicy", onProject, "stop", denying("stop", denyDecrypt, everyone)), onGoogleRead().notedBefore(onProject+"#denies", "[]"), "cuts off", []string{"lost the right to decrypt", "no previous document is not known"}},
		{"a deny policy where those before are garbled", onDenyPolicy("UpdatePolicy", onProject, "stop", denying("stop", denyDecrypt, everyone)), onGoogleRead().notedBefore(onProject+"#denies", "{"), "cuts off", []string{"no lost the right", "previous deny policy is not known"}},
		{"a deny policy where those before were noted after it", onDenyPolicy("UpdatePolicy", onProject, "stop", denying("stop", denyDecrypt, everyone)), onGoogleRead().notedAfter(onProject+"#denies", "[]"), "cuts off", []string{"no lost the right", "previous deny policy is not known"}},

		// Custom roles.
		{"the role loses decrypting", onOwnRole("UpdateRole", strings.Replace(roleOfUse, `,"cloudkms.cryptoKeyVersions.useToDecrypt"`, "", 1)), onGoogleRead(byRole...), "cuts off", []string{"may not decrypt"}},
		{"the role keeps both", onOwnRole("UpdateRole", roleOfUse), onGoogleRead(byRole...), "keeps", nil},
		{"the role is disabled", onOwnRole("UpdateRole", `{"stage":"DISABLED"}`), onGoogleRead(byRole...), "cuts off", nil},
		{"the role is deleted", onOwnRole("DeleteRole", ""), onGoogleRead(byRole...), "cuts off", nil},
		{"the role's title changes", onOwnRole("UpdateRole", `{"title":"KMS user"}`), onGoogleRead(byRole...), "keeps", nil},
		{"the role's title changes, and it was not read", onOwnRole("UpdateRole", `{"title":"KMS user"}`), onGoogleRead(byRole[0], byRole[1]), unclear + "the permissions of the role could not be read", nil},
		{"the role's request is empty", onOwnRole("UpdateRole", "null"), onGoogleRead(byRole...), "keeps", nil},
		{"the role is as it was", onOwnRole("UpdateRole", roleOfUse), onGoogleRead(byRole...).notedBefore(ownRole, strings.Replace(roleOfUse, `"GA"`, `"BETA"`, 1)), "same", nil},
		{"the role loses decrypting, and what it had is known", onOwnRole("UpdateRole", strings.Replace(roleOfUse, `,"cloudkms.cryptoKeyVersions.useToDecrypt"`, "", 1)), onGoogleRead(byRole...).notedBefore(ownRole, roleOfUse), "cuts off", []string{"lost the right to decrypt", "no previous document is not known"}},
		{"the role is disabled, and what it had is read", onOwnRole("UpdateRole", `{"stage":"DISABLED"}`), onGoogleRead(byRole...), "cuts off", nil},
		{"a role of no binding is deleted", onOwnRole("DeleteRole", ""), onGoogleRead(), "unattached", nil},
		{"a role is deleted, and the project's policy was not read", onOwnRole("DeleteRole", ""), onGoogleRead(onProject, ""), "keeps", nil},

		// The service account.
		{"the account loses Token Creator", onServiceAccount(noGrant), onGoogleRead(), "cuts off", []string{"may not act as service account"}},
		{"the account loses it, by the entry", withDelta(onServiceAccount(noGrant), "REMOVE", mintRole, crlMember), onGoogleRead(), "cuts off", []string{"lost the right to act as", "no previous document is not known"}},
		{"the account keeps it", onServiceAccount(bindingsOf(mintRole + " " + crlMember)), onGoogleRead(), "keeps", nil},
		{"the account gives it to another cluster's", onServiceAccount(bindingsOf(mintRole + " serviceAccount:crl-kms-user-000000000000@crl-prod-xyz.iam.gserviceaccount.com")), onGoogleRead(), "cuts off; exposes", nil},
		{"the account loses it, and the project gives it", onServiceAccount(noGrant), onGoogleRead(onProject, bindingsOf(mintRole+" "+crlMember)), "keeps", nil},
		{"the account loses it, and the project was not read", onServiceAccount(noGrant), onGoogleRead(onProject, ""), unclear + "not read: ", nil},
		{"somebody gains it", onServiceAccount(bindingsOf(mintRole + " " + crlMember + " user:eve@acme.example")), onGoogleRead(), "exposes", nil},
		{"the account is disabled", gcloud("iam", "DisableServiceAccount", cmek.ChangePrincipalDisabled, func(e *cmek.Event) { e.Identity = clusterAccount }), Documents{}, "cuts off", nil},
		{"the account is deleted", gcloud("iam", "DeleteServiceAccount", cmek.ChangePrincipalDeleted, func(e *cmek.Event) { e.Identity = clusterAccount }), onGoogleRead(), "cuts off", nil},
		{"an account of the same e-mail is created", created("2002"), onGoogleRead(string(cryptoKey), bindingsOf(useRole+" deleted:"+member+"?uid=1001")).missing(itsState), "cuts off", nil},
		{"an account of the same e-mail is created and has all it needs", created("2002"), onGoogleRead(), "keeps", nil},
		{"an account of the same e-mail is created, and was read before that", created("2002"), onGoogleRead().missing(itsState), "keeps", nil},
		{"an account that does not exist gets a policy", edited(onServiceAccount(bindingsOf(mintRole+" "+crlMember)), with("unique_id", "2002")), onGoogleRead().missing(itsState), "cuts off", nil},
		{"an account of the same e-mail is created, and nothing is read", created("2002"), Documents{}, unclear + "not read: ", nil},

		{"no reason is allowed", gcloud("cloudkms", "UpdateCryptoKey", cmek.ChangeJustifications, of(cryptoKey), with("justifications", "none")), onGoogleRead(), "cuts off", nil},
		{"no reason is allowed, in an entry that is not whole", gcloud("cloudkms", "UpdateCryptoKey", cmek.ChangeJustifications, of(cryptoKey), with("justifications", "none"), with("omitted", "true")), onGoogleRead(), unclear + "the event does not show", nil},
		{"the entry shows no reasons at all", gcloud("cloudkms", "UpdateCryptoKey", cmek.ChangeJustifications, of(cryptoKey), with("justifications", "absent")), onGoogleRead(), unclear + "the event shows no policy", nil},
		{"reasons for the use of the key", gcloud("cloudkms", "UpdateCryptoKey", cmek.ChangeJustifications, of(cryptoKey), with("reasons", "CUSTOMER_INITIATED_SUPPORT")), onGoogleRead(), unclear + "whether Cloud KMS is given a reason", nil},
	} {
		wantEffect(t, tc.name, Judge(tc.event, tc.docs, []Use{googleUse, anyUse}), tc.want, tc.texts...)
	}
}

func created(uniqueID string) cmek.Event {
	return gcloud("iam", "CreateServiceAccount", cmek.ChangePrincipalCreated, with("unique_id", uniqueID), func(e *cmek.Event) { e.Identity = clusterAccount })
}

// A service account that was brought back is rated by what it can do then.
func TestJudge_returnedAccount(t *testing.T) {
	for name, tc := range map[string]struct {
		docs Documents
		lost bool
	}{
		"it can do all": {onGoogleRead(), false}, "it is still disabled": {onGoogleRead(itsState, disabled), true}, "it is still gone": {onGoogleRead().missing(itsState), true},
		"its roles are gone": {onGoogleRead(string(cryptoKey), noGrant), true}, "nothing is read": {Documents{}, false},
	} {
		e := gcloud("iam", "EnableServiceAccount", cmek.ChangePrincipalEnabled, func(e *cmek.Event) { e.Identity = clusterAccount })
		got := Judge(e, tc.docs, []Use{googleUse})
		if got.StillLost != tc.lost || got.CutsOff || len(got.Unclear) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
		want := alert.Info
		if tc.lost {
			want = alert.High
		}
		if a := Assess(e, Facts{Effect: &got, Usage: Usage{Clusters: []alert.AffectedCluster{{ID: googleCluster}}}}); a.Severity != want {
			t.Errorf("%s: %s, want %s", name, a.Severity, want)
		}
	}
}

// Without a known cluster nothing is fine, and what the policy lets strangers do is certain.
func TestJudge_googleNobodyIsKnown(t *testing.T) {
	for _, tc := range []struct {
		name  string
		event cmek.Event
		want  string
		texts []string
	}{
		{"the key's policy is empty", onCryptoKey(noGrant), "unclear: no cluster is known", nil},
		{"the key's policy has an account of the project", onCryptoKey(bindingsOf(useRole + " " + member)), "unclear: no cluster is known", []string{"crdb-cmek"}},
		{"the key's policy has everybody", onCryptoKey(bindingsOf(useRole + " allUsers")), "exposes; unclear: no cluster is known", []string{"allUsers may"}},
		{"Token Creator was removed", withDelta(onServiceAccount(noGrant), "REMOVE", mintRole, crlMember), "unclear: no cluster is known", []string{"may no longer act as"}},
		{"Token Creator for somebody", onServiceAccount(bindingsOf(mintRole + " user:eve@acme.example " + crlMember)), "exposes; unclear: no cluster is known", nil},
		{"a policy of the project", onNode(onProject, noGrant), "unclear: no cluster is known", nil},
		{"a deny policy", onDenyPolicy("CreatePolicy", onProject, "stop", denying("stop", denyDecrypt, everyone)), "unclear: no cluster is known", nil},
		{"a role", onOwnRole("DeleteRole", ""), "unclear: no cluster is known", nil},
	} {
		wantEffect(t, tc.name, Judge(tc.event, Documents{}, nil), tc.want, tc.texts...)
	}
}

// What was noted long ago, or of which nobody knows whether it stood until the event, proves no equality.
func TestJudge_googleOldNote(t *testing.T) {
	same := bindingsOf(useRole+" "+member, useRole+" "+outsider)
	for _, tc := range []struct {
		name string
		edit func(*Noted)
		same bool
	}{
		{"half an hour ago", func(*Noted) {}, true},
		{"six hours ago", func(n *Noted) { n.At = eventTime.Add(-longestNoted) }, true},
		{"more than six hours ago", func(n *Noted) { n.At = eventTime.Add(-longestNoted - time.Second) }, false},
		{"after the event", func(n *Noted) { n.Since, n.At = eventTime.Add(time.Second), eventTime.Add(time.Second) }, false},
		{"and another was set since", func(n *Noted) { n.Changes = []Change{{"d", eventTime.Add(-time.Minute), "another"}} }, false},
		{"and what was set since is not known", func(n *Noted) { n.Unread = true }, false},
	} {
		noted := notedBefore(same)
		tc.edit(&noted)
		docs := onGoogleRead()
		docs.Noted[string(cryptoKey)] = noted
		if got := Judge(onCryptoKey(same), docs, []Use{googleUse}); got.Same != tc.same || got.Exposes == tc.same || tc.same && !got.Stale {
			t.Errorf("noted %s: %s, stale %t", tc.name, outcome(got), got.Stale)
		}
	}
}

func TestJudge_googleBounds(t *testing.T) {
	of := func(n int) Effect {
		docs, uses := onGoogleRead(), []Use(nil)
		for i := range n {
			use := googleUse
			use.Spec.URI = cmek.KeyURI(fmt.Sprintf("%s/cryptoKeys/k%d", onKeyRing, i))
			uses = append(uses, use, use)
			docs.Now[string(use.Spec.URI)] = stands(bindingsOf(useRole + " " + member))
		}
		return Judge(onNode(onProject, noGrant), docs, uses)
	}
	wantEffect(t, "40 keys", of(40), "keeps")
	wantEffect(t, "41 keys", of(41), "unclear: 1 more keys of principals were not judged")
	elsewhere := func(n int) Effect {
		var uses []Use
		for i := range n {
			use := googleUse
			use.Spec.URI = cmek.KeyURI(fmt.Sprintf("%s/cryptoKeys/k%d", onKeyRing, i))
			uses = append(uses, use, use)
		}
		return Judge(onNode("folders/78", noGrant), onGoogleRead(), uses)
	}
	wantEffect(t, "40 keys, and a folder that none is in", elsewhere(40), "unattached")
	wantEffect(t, "41 keys, and a folder that none is in", elsewhere(41), "unclear: 1 more keys of principals were not judged")
}

// What is not known is said, the documents that were not read all in one, and of many five.
func TestJudge_googleSaysWhatIsNotKnown(t *testing.T) {
	unknown := googleUse
	unknown.CloudAccount = ""
	const keyPolicy = "the policy of key payments (cloudkms.cryptoKeys.getIamPolicy)"
	five := []string{onOrg, "", onFolder, "", onProject, "", onKeyRing, "", itsState, ""}
	for _, tc := range []struct {
		name  string
		event cmek.Event
		docs  Documents
		use   Use
		want  []string
	}{
		{"the project of the cluster", onServiceAccount(bindingsOf(mintRole + " " + crlMember)), onGoogleRead(), unknown,
			[]string{`"the service account of Cockroach Labs for cluster ` + googleCluster + `" is not the e-mail of a service account`}},
		{"a policy that is garbled, whatever it was before", onCryptoKey("["), onGoogleRead(string(cryptoKey), noGrant), googleUse,
			[]string{"the new policy cannot be understood: parse policy: want an object, got [", "not read: " + keyPolicy}},
		{"a policy that is garbled, and the ring grants it", onCryptoKey("["), onGoogleRead(onKeyRing, bindingsOf(useRole+" "+member)), googleUse,
			[]string{"the new policy cannot be understood: parse policy: want an object, got ["}},
		{"five documents", onCryptoKey(noGrant), onGoogleRead(five...), googleUse, []string{"not read: " + strings.Join([]string{
			"the current state of " + clusterAccount + " (iam.serviceAccounts.get)", "the policy of key ring crdb (cloudkms.keyRings.getIamPolicy)",
			"the policy of project acme-keys (resourcemanager.projects.getIamPolicy)", "the policy of folder 77 (resourcemanager.folders.getIamPolicy)",
			"the policy of organization 42 (resourcemanager.organizations.getIamPolicy)"}, ", ")}},
		{"six documents", onCryptoKey(noGrant), onGoogleRead(append(five, onProject+"#denies", "")...), googleUse, []string{"not read: " + strings.Join([]string{
			"the current state of " + clusterAccount + " (iam.serviceAccounts.get)", "the policy of key ring crdb (cloudkms.keyRings.getIamPolicy)",
			"the policy of project acme-keys (resourcemanager.projects.getIamPolicy)", "the policy of folder 77 (resourcemanager.folders.getIamPolicy)",
			"the policy of organization 42 (resourcemanager.organizations.getIamPolicy)", "1 more"}, ", ")}},
	} {
		if got := Judge(tc.event, tc.docs, []Use{tc.use}); !slices.Equal(got.Unclear, tc.want) || got.CutsOff {
			t.Errorf("%s: %s, want unclear %q", tc.name, outcome(got), tc.want)
		}
	}
}

// What an entry says of bindings counts if it is in the form that is documented.
func TestDelta_form(t *testing.T) {
	for text, want := range map[string]int{
		`{"bindingDeltas":[{"action":"ADD","role":"r","member":"m"},{"action":"REMOVE","role":"r","member":"m"}]}`: 2,
		`{"bindingDeltas":[{"action":"CHANGE","role":"r","member":"m"}]}`:                                          0, `{"bindingDeltas":[{"role":"r","member":"m"}]}`: 0,
		`{"bindingDeltas":[{"action":"ADD","role":"","member":"m"}]}`: 0, `{"bindingDeltas":[{"action":"REMOVE","role":"r","member":""}]}`: 0,
		`{"bindingDeltas":[{"action":"ADD","role":"r","member":"m"},{"action":"ADD","role":"r"}]}`: 0, `{"bindingDeltas":[]}`: 0, `{"bindingDeltas":{}}`: 0, `{`: 0, ``: 0,
	} {
		if got := deltaOf(text); len(got) != want {
			t.Errorf("%s is read as %v", text, got)
		}
	}
}

// A binding is one of a role and a condition: a change of it leaves the others of the member, and the other members of it.
func TestDelta_edits(t *testing.T) {
	const r, q, m, n = useRole, mintRole, "user:m@acme.example", "user:n@acme.example"
	business := &google.Condition{Expression: "request.time.getHours() > 8"}
	bound := func(c *google.Condition, role string, members ...string) google.Binding {
		return google.Binding{Role: role, Members: members, Condition: c}
	}
	one := func(action, role, member, condition string) string {
		if condition != "" {
			condition = `,"condition":{"expression":"` + condition + `"}`
		}
		return `{"action":"` + action + `","role":"` + role + `","member":"` + member + `"` + condition + `}`
	}
	all := google.Policy{Version: 3, Bindings: []google.Binding{bound(nil, r, m, n), bound(nil, q, m), bound(business, r, m)}}
	for _, tc := range []struct {
		name            string
		delta           []string
		applied, undone []google.Binding
	}{
		{"a member is removed", []string{one("REMOVE", r, m, "")}, []google.Binding{bound(nil, r, n), bound(nil, q, m), bound(business, r, m)}, append(slices.Clone(all.Bindings), bound(nil, r, m))},
		{"a member is added", []string{one("ADD", r, m, "")}, append(slices.Clone(all.Bindings), bound(nil, r, m)), []google.Binding{bound(nil, r, n), bound(nil, q, m), bound(business, r, m)}},
		{"a member is removed under a condition", []string{one("REMOVE", r, m, business.Expression)}, []google.Binding{bound(nil, r, m, n), bound(nil, q, m)}, append(slices.Clone(all.Bindings), bound(business, r, m))},
		{"one is added, another removed", []string{one("ADD", q, n, ""), one("REMOVE", r, n, "")}, []google.Binding{bound(nil, r, m), bound(nil, q, m), bound(business, r, m), bound(nil, q, n)},
			append(slices.Clone(all.Bindings), bound(nil, r, n))},
		{"nobody who is there", []string{one("REMOVE", q, n, "")}, all.Bindings, append(slices.Clone(all.Bindings), bound(nil, q, n))},
	} {
		d := deltaOf(`{"bindingDeltas":[` + strings.Join(tc.delta, ",") + `]}`)
		for what, pair := range map[string][2]google.Policy{"applied": {d.applied(all), {Version: 3, Bindings: tc.applied}}, "undone": {d.undone(all), {Version: 3, Bindings: tc.undone}}} {
			if !google.Equal(pair[0], pair[1]) {
				t.Errorf("%s, %s: %+v, want %+v", tc.name, what, pair[0], pair[1])
			}
		}
	}
}

// What an event set is known by its name, of a service account that it names by its unique id by the accounts of the uses.
func TestSets_google(t *testing.T) {
	another := googleUse
	another.Spec.AuthPrincipal = "two@acme-keys.iam.gserviceaccount.com"
	unnamed := edited(onServiceAccount(noGrant), func(e *cmek.Event) { e.Identity = "" })
	for _, tc := range []struct {
		event cmek.Event
		uses  []Use
		want  []string
	}{
		{onCryptoKey(noGrant), nil, []string{string(cryptoKey)}}, {onNode(onFolder, noGrant), []Use{googleUse}, []string{onFolder}},
		{onNode("", noGrant), []Use{googleUse}, nil}, {onDenyPolicy("CreatePolicy", onFolder, "stop", "{}"), nil, []string{onFolder + "#denies"}},
		{onDenyPolicy("CreatePolicy", "", "stop", "{}"), nil, nil}, {onOwnRole("DeleteRole", ""), nil, []string{ownRole}},
		{onServiceAccount(noGrant), nil, []string{onAccount}}, {onServiceAccount(noGrant), []Use{googleUse, googleUse}, []string{onAccount}},
		{unnamed, nil, nil}, {unnamed, []Use{googleUse, googleUse, another}, []string{onAccount, "projects/acme-keys/serviceAccounts/two@acme-keys.iam.gserviceaccount.com"}},
		{created("2002"), []Use{googleUse}, nil},
	} {
		if got := (onGoogleCloud{}).sets(tc.event, tc.uses); !slices.Equal(got, tc.want) {
			t.Errorf("%s of %v with %d uses sets %q, want %q", tc.event.Source, tc.event.Parameters, len(tc.uses), got, tc.want)
		}
	}
}

// The digest of an event is that of the document it sets, however either is written; there is none of what cannot be understood, and
// of a deny policy, of which a document may have more.
func TestDigest_google(t *testing.T) {
	lesser := strings.Replace(roleOfUse, `,"cloudkms.cryptoKeyVersions.useToDecrypt"`, "", 1)
	for _, tc := range []struct {
		event cmek.Event
		text  string
		want  bool
	}{
		{onCryptoKey(bindingsOf(useRole + " " + member)), " " + strings.Replace(bindingsOf(useRole+" "+member), "BwX=", "BwY=", 1), true},
		{onCryptoKey(bindingsOf(useRole + " " + member)), noGrant, false}, {onNode(onFolder, noGrant), noGrant, true},
		{onOwnRole("UpdateRole", strings.Replace(roleOfUse, ownRole, "", 1)), roleOfUse, true}, {onOwnRole("UpdateRole", roleOfUse), lesser, false},
		{onCryptoKey("{"), "{", false}, {onCryptoKey(""), "", false}, {onOwnRole("UpdateRole", "{"), "{", false}, {onOwnRole("UpdateRole", "null"), "null", false},
		{onDenyPolicy("CreatePolicy", onFolder, "stop", `{"etag":"x","rules":[]}`), `{"etag":"x","rules":[]}`, false},
	} {
		in := googleDocument(setBy(tc.event))
		got := (onGoogleCloud{}).digest(tc.event)
		if (got != "" && got == in.digest(tc.text)) != tc.want || in.equal(tc.event.Policy, tc.text) != tc.want || in.equal(tc.text, tc.event.Policy) != tc.want {
			t.Errorf("%s %s has the digest %q, and %s has %q: the same %t, want %t", tc.event.Source, tc.event.Policy, got, tc.text, in.digest(tc.text), !tc.want, tc.want)
		}
	}
}

func TestMayUse_google(t *testing.T) {
	for _, tc := range []struct {
		name   string
		docs   Documents
		want   policy.Decision
		unread string
		above  bool
	}{
		{"all is good", onGoogleRead(), policy.Allowed, "", false},
		{"no grant", onGoogleRead(string(cryptoKey), noGrant), policy.Denied, "", false},
		{"no Token Creator", onGoogleRead(onAccount, noGrant), policy.Denied, "", false},
		{"disabled", onGoogleRead(itsState, disabled), policy.Denied, "", false},
		{"gone", onGoogleRead().missing(itsState), policy.Denied, "", false},
		{"the account was not read", onGoogleRead(itsState, ""), policy.CannotTell, "the current state of " + clusterAccount, false},
		{"the organization's deny policies were not read", onGoogleRead(onOrg+"#denies", ""), policy.CannotTell, "the deny policies of organization 42", true},
		{"the organization's boundaries were not read", onGoogleRead(onOrg+"#boundaries", ""), policy.CannotTell, "the principal access boundaries of organization 42", true},
		{"the project's boundaries were not read", onGoogleRead(onProject+"#boundaries", ""), policy.CannotTell, "the principal access boundaries of project acme-keys", false},
		{"a boundary does not list the key", onGoogleRead(onFolder+"#boundaries", bounding("projects/elsewhere")), policy.Denied, "", false},
		{"what is above was not read", onGoogleRead(itsParents, ""), policy.CannotTell, "the folders and the organization of project acme-keys", true},
		{"the project's deny policies were not read", onGoogleRead(onProject+"#denies", ""), policy.CannotTell, "the deny policies of project acme-keys", false},
		{"the key's policy was not read", onGoogleRead(string(cryptoKey), ""), policy.CannotTell, "the policy of key payments", false},
		{"the key's policy is garbled", onGoogleRead(string(cryptoKey), "<html>"), policy.CannotTell, "the policy of key payments", false},
		{"the account is garbled", onGoogleRead(itsState, "<html>"), policy.CannotTell, "the current state of " + clusterAccount, false},
		{"the account may be an older one", onGoogleRead().unread(itsState), policy.CannotTell, "the current state of " + clusterAccount, false},
		{"the organization's policy was not read, which may be what grants the key", onGoogleRead(string(cryptoKey), noGrant, onOrg, ""), policy.CannotTell, "the policy of organization 42", false},
		{"the organization's policy was not read, which may be what grants Token Creator", onGoogleRead(onAccount, noGrant, onOrg, ""), policy.CannotTell, "the policy of organization 42", false},
		{"nothing was read", Documents{}, policy.CannotTell, "the current state of", false},
	} {
		got := onGoogleCloud{}.mayUse(googleUse, tc.docs)
		if got.Decision != tc.want || !strings.HasPrefix(got.unread, tc.unread) || tc.unread == "" && got.unread != "" || got.onlyAbove != tc.above {
			t.Errorf("%s: %+v, want %s, unread %q, only above %t", tc.name, got, tc.want, tc.unread, tc.above)
		}
	}
	unknown := googleUse
	unknown.CloudAccount = ""
	if got := evaluatorFor(unknown).mayUse(unknown, onGoogleRead()).Decision; got != policy.CannotTell {
		t.Errorf("of a cluster whose project is not known: %s", got)
	}
}

// Random documents of Google Cloud, made from parts that matter.

func googlePolicy(r *rand.Rand) string {
	var list []string
	for range r.IntN(4) {
		list = append(list, pick(r, useRole, mintRole, "roles/viewer", "roles/cloudkms.cryptoKeyDecrypter", ownRole, "roles/owner")+" "+
			pick(r, member, crlMember, outsider, "group:g@acme.example", "allUsers", "deleted:"+member+"?uid=1001"))
	}
	return bindingsOf(list...)
}

func googleScene(r *rand.Rand) scene {
	texts := googleTexts()
	for _, name := range []string{string(cryptoKey), onKeyRing, onProject, onFolder, onOrg, onAccount} {
		if r.IntN(2) == 0 {
			texts[name] = googlePolicy(r)
		}
	}
	texts[ownRole] = pick(r, roleOfUse, `{"name":"`+ownRole+`","includedPermissions":[]}`)
	for _, node := range []string{onProject, onFolder, onOrg} {
		if r.IntN(4) == 0 {
			texts[node+"#denies"] = "[" + denying("d", pick(r, denyDecrypt, denyMinting, denyElsewhere), pick(r, everyone, "principal://iam.googleapis.com/projects/-/serviceAccounts/"+clusterAccount)) + "]"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if r.IntN(12) == 0 {
			delete(texts, name)
		}
	}
	docs := Documents{Now: map[string]Document{}, Noted: map[string]Noted{}, At: eventTime}
	for name, text := range texts {
		docs.Now[name] = stands(text)
	}
	return scene{pick(r, onCryptoKey(googlePolicy(r)), onNode(onProject, googlePolicy(r)), onNode(onOrg, googlePolicy(r)), onServiceAccount(googlePolicy(r)),
		onDenyPolicy("CreatePolicy", onFolder, "n", denying("n", pick(r, denyDecrypt, denyElsewhere), everyone)), onOwnRole("UpdateRole", pick(r, roleOfUse, `{"includedPermissions":[]}`))), docs}
}

// Taking away what was read, or garbling it, makes a loss unclear at most, and never turns one into an all-clear.
func TestJudge_googleUnreadDocument(t *testing.T) {
	for seed := range worlds() / 10 {
		r := rand.New(rand.NewPCG(seed, 11))
		s := googleScene(r)
		with := Judge(s.event, s.docs, []Use{googleUse})
		for _, name := range slices.Sorted(maps.Keys(s.docs.Now)) {
			for _, instead := range []Document{{}, stands("{"), stands("<html>"), {Text: s.docs.Now[name].Text}} {
				docs := s.docs
				docs.Now = maps.Clone(docs.Now)
				docs.Now[name] = instead
				if without := Judge(s.event, docs, []Use{googleUse}); loss(with) > 0 && loss(without) == 0 || with.Unattached != without.Unattached && without.Unattached {
					t.Fatalf("seed %d: without %s a loss became an all-clear\n%s %s\nwith %s\nwithout %s", seed, name, s.event.Source, s.event.Policy, outcome(with), outcome(without))
				}
			}
		}
	}
}

// Without a binding the clusters never have more access than with it, wherever it stands.
func TestJudge_googleRemovedBinding(t *testing.T) {
	remove := func(text string, r *rand.Rand) (string, bool) {
		var p struct {
			Version  int    `json:"version"`
			Etag     string `json:"etag"`
			Bindings []any  `json:"bindings"`
		}
		if json.Unmarshal([]byte(text), &p) != nil || len(p.Bindings) == 0 {
			return text, false
		}
		i := r.IntN(len(p.Bindings))
		p.Bindings = slices.Delete(p.Bindings, i, i+1)
		less, _ := json.Marshal(p)
		return string(less), true
	}
	for seed := range worlds() / 4 {
		r := rand.New(rand.NewPCG(seed, 12))
		s := googleScene(r)
		with := Judge(s.event, s.docs, []Use{googleUse})
		if with.Unattached {
			continue // without its binding a role may stop to matter, and the other way round never
		}
		e := s.event
		if text, ok := remove(e.Policy, r); ok {
			e.Policy = text
			if without := Judge(e, s.docs, []Use{googleUse}); loss(without) < loss(with) {
				t.Fatalf("seed %d: with less in the event's policy the loss is %s, before %s\n%s", seed, outcome(without), outcome(with), s.event.Policy)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(s.docs.Now)) {
			text, ok := remove(s.docs.Now[name].Text, r)
			if !ok {
				continue
			}
			docs := s.docs
			docs.Now = maps.Clone(docs.Now)
			docs.Now[name] = stands(text)
			if without := Judge(s.event, docs, []Use{googleUse}); loss(without) < loss(with) && !without.Unattached {
				t.Fatalf("seed %d: with less in %s the loss is %s, before %s\n%s", seed, name, outcome(without), outcome(with), text)
			}
		}
	}
}

// A document proven equal to the one before changes nothing, however it is written.
func TestJudge_googleSameDocument(t *testing.T) {
	for seed := range worlds() / 10 {
		r := rand.New(rand.NewPCG(seed, 13))
		s := googleScene(r)
		name := setBy(s.event)
		if google.MissingIn(name).Kind != google.MissingPolicy {
			continue
		}
		noted := notedBefore(" " + strings.Replace(s.event.Policy, "BwX=", "BwY=", 1) + "\n")
		s.docs.Noted[name] = noted
		if got := Judge(s.event, s.docs, []Use{googleUse}); !got.Same || got.CutsOff || got.Exposes || len(got.Words)+len(got.Unclear) > 0 {
			t.Fatalf("seed %d: the same policy again is judged as %s\n%s", seed, outcome(got), s.event.Policy)
		}
		noted.Since = eventTime.Add(time.Second) // a sweep may have seen the new one already
		s.docs.Noted[name] = noted
		if got := Judge(s.event, s.docs, []Use{googleUse}); got.Same {
			t.Fatalf("seed %d: a document noted after the event counts as the one before", seed)
		}
	}
}

// The alert on a deny policy says what is newly denied to whom, and what no longer; where the policy before is not known, it says that.
func TestJudge_denyPolicyDiff(t *testing.T) {
	const (
		nowDenied = everyone + " is newly denied decrypting with the keys of project acme-keys."
		noLonger  = everyone + " is no longer denied decrypting with the keys of project acme-keys."
		unknown   = "The previous deny policy is not known."
		unchanged = "Of the use of keys and service accounts the deny policy denies the same as before."
	)
	stop, other := denying("stop", denyDecrypt, everyone), denying("other", denyMinting, outsider)
	elsewhere := denying("stop", denyElsewhere, everyone)
	denies := onProject + "#denies"
	docs := func(noted string) Documents { return onGoogleRead().notedBefore(denies, noted) }
	for _, row := range []struct {
		name  string
		event cmek.Event
		docs  Documents
		want  []string
		not   []string
	}{
		{"created", onDenyPolicy("CreatePolicy", onProject, "stop", stop), onGoogleRead(), []string{nowDenied}, []string{unknown}},
		{"created, about something else", onDenyPolicy("CreatePolicy", onProject, "stop", elsewhere), onGoogleRead(), []string{unchanged}, []string{unknown, nowDenied}},
		{"changed, noted before", onDenyPolicy("UpdatePolicy", onProject, "stop", stop), docs("[" + elsewhere + "," + other + "]"), []string{nowDenied}, []string{unknown, "serviceAccounts"}},
		{"changed, to the same", onDenyPolicy("UpdatePolicy", onProject, "stop", stop), docs("[" + stop + "]"), []string{unchanged}, []string{unknown, nowDenied}},
		{"changed, to less", onDenyPolicy("UpdatePolicy", onProject, "stop", elsewhere), docs("[" + stop + "]"), []string{noLonger}, []string{unknown}},
		{"changed, not noted", onDenyPolicy("UpdatePolicy", onProject, "stop", stop), onGoogleRead(), []string{unknown, everyone + " is denied decrypting with the keys of project acme-keys."}, []string{nowDenied}},
		{"changed, only others noted", onDenyPolicy("UpdatePolicy", onProject, "stop", stop), docs("[" + other + "]"), []string{unknown}, []string{nowDenied}},
		{"deleted, noted before", onDenyPolicy("DeletePolicy", onProject, "stop", ""), docs("[" + other + "," + stop + "]"), []string{noLonger}, []string{unknown, "acting"}},
		{"deleted, not noted", onDenyPolicy("DeletePolicy", onProject, "stop", ""), onGoogleRead(), []string{unknown}, []string{noLonger}},
		{"changed, and another event said so in between", onDenyPolicy("UpdatePolicy", onProject, "stop", stop), func() Documents {
			d := docs("[" + elsewhere + "]")
			n := d.Noted[denies]
			n.Changes = []Change{{Event: "another", At: eventTime.Add(-time.Minute)}}
			d.Noted[denies] = n
			return d
		}(), []string{unknown}, []string{nowDenied}},
		{"changed, and a sweep noted the new one already", onDenyPolicy("UpdatePolicy", onProject, "stop", stop), func() Documents {
			d := docs("")
			d.Noted[denies] = Noted{Text: "[" + stop + "]", Earlier: "[" + elsewhere + "]", At: eventTime.Add(time.Minute), Since: eventTime.Add(time.Minute), EarlierAt: eventTime.Add(-time.Hour)}
			return d
		}(), []string{nowDenied}, []string{unknown}},
		{"changed, of a project that is named by its number", onDenyPolicy("UpdatePolicy", "projects/123456789012", "stop", stop), onGoogleRead(),
			[]string{unknown, everyone + " is denied decrypting with the keys of project 123456789012."}, []string{nowDenied}},
	} {
		got := strings.Join(Judge(row.event, row.docs, []Use{googleUse}).Words, "\n")
		for _, want := range row.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: the words are\n%s\nwant %q", row.name, got, want)
			}
		}
		for _, not := range row.not {
			if strings.Contains(got, not) {
				t.Errorf("%s: the words are\n%s\nand must not have %q", row.name, got, not)
			}
		}
	}
}

// The largest deny policies that Google takes leave time to publish the alert.
func TestJudge_laboriousDenyPolicy(t *testing.T) {
	policy := func(more ...string) string {
		var rules []any
		for r := range 50 {
			var members, excepted []string
			for m := range 50 {
				members = append(members, fmt.Sprintf("principal://goog/subject/u%d-%d@example.com", r%2, m))
				excepted = append(excepted, fmt.Sprintf("principal://goog/subject/x%d-%d@example.com", r, m))
			}
			rules = append(rules, map[string]any{"denyRule": map[string]any{"deniedPrincipals": members, "exceptionPrincipals": append(excepted, more...),
				"deniedPermissions": []string{"cloudkms.googleapis.com/*.*", "iam.googleapis.com/*.*"}}})
		}
		text, _ := json.Marshal(map[string]any{"name": "policies/x/denypolicies/stop", "rules": rules})
		return string(text)
	}
	docs := onGoogleRead().notedBefore(onProject+"#denies", "["+policy()+"]")
	began := processorTime(t)
	got := Judge(onDenyPolicy("UpdatePolicy", onProject, "stop", policy("principal://goog/subject/one@example.com")), docs, []Use{googleUse})
	if took := processorTime(t) - began; took > time.Second {
		t.Errorf("the change of a deny policy with 50 rules of 50 principals takes %s to judge", took)
	}
	if words := strings.Join(got.Words, " "); !strings.Contains(words, "more changes of what is denied") || len(got.Words) > 2*mostDenials {
		t.Errorf("%d sentences say what changed:\n%s", len(got.Words), words)
	}
}
