package planned_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/compliance/planned"
)

const (
	ring    = "projects/customer-keys/locations/us-east1/keyRings/cmek"
	keyName = ring + "/cryptoKeys/orders"
	email   = "cluster-cmek@customer-keys.iam.gserviceaccount.com"
	account = "projects/customer-keys/serviceAccounts/" + email
	crl     = "serviceAccount:crl-kms-user-000000000003@crl-prod-abc.iam.gserviceaccount.com"
	user    = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
	minter  = "roles/iam.serviceAccountTokenCreator"
)

// TestGoogle_plansOfTerraform has plans that Terraform made; testdata/README.md says how.
func TestGoogle_plansOfTerraform(t *testing.T) {
	for name, want := range map[string][]string{
		"google-new":   nil,
		"google-quiet": nil,
		"google-losses": {
			"FAIL rotation google_kms_crypto_key.orders",
			"FAIL deletion window google_kms_crypto_key.payments", "FAIL destroys google_kms_crypto_key.payments",
			`FAIL cuts off google_kms_crypto_key_iam_member.cluster["orders"]`,
			"FAIL cuts off google_service_account_iam_member.cockroach", "FAIL exposes google_service_account_iam_member.cockroach",
		},
		"google-exposed": {
			"FAIL exposes google_kms_crypto_key_iam_member.everybody", "ERROR not judged google_kms_ekm_connection.ekm", "FAIL exposes google_service_account_iam_member.somebody",
		},
		"google-denied": {"FAIL cuts off google_iam_deny_policy.deny"},
	} {
		r := judge(t, fixture(t, name), planned.Known{})
		if got := said(r); !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

var (
	gKey    = object{"id": keyName, "key_ring": ring, "name": "orders", "purpose": "ENCRYPT_DECRYPT", "rotation_period": "7776000s", "destroy_scheduled_duration": "2592000s", "deletion_policy": "DELETE", "labels": nil}
	gMember = object{"crypto_key_id": keyName, "role": user, "member": "serviceAccount:" + email, "condition": []any{}}
	gSA     = object{"email": email, "name": account, "account_id": "cluster-cmek", "project": "customer-keys", "disabled": false, "deletion_policy": "DELETE"}
	gMint   = object{"service_account_id": account, "role": minter, "member": crl, "condition": []any{}}
)

var gProject = object{"project_id": "customer-keys", "name": "keys", "folder_id": "1", "org_id": nil, "billing_account": "A"}

// numbered is a name with the project's number in place of its id.
func numbered(name string) string { return strings.Replace(name, "customer-keys", "123456789012", 1) }

// ending is the condition that a binding holds until the time.
func ending(at string) object {
	return object{"condition": []any{object{"title": "until", "expression": `request.time < timestamp("` + at + `")`}}}
}

func unchanged(address string, attributes object) resource {
	return resource{address: address, before: attributes, after: attributes}
}

func gone(address string, attributes object) resource {
	return resource{address: address, before: attributes}
}

func made(address string, attributes object) resource {
	return resource{address: address, after: attributes}
}

func changed(address string, attributes, other object) resource {
	return resource{address: address, before: attributes, after: with(attributes, other)}
}

func TestGoogle_whatAChangeDoes(t *testing.T) { tryRows(t, googleRows()) }

func googleRows() []row {
	k, m, sa, mint := unchanged("google_kms_crypto_key.orders", gKey), unchanged("google_kms_crypto_key_iam_member.cluster", gMember), unchanged("google_service_account.cmek", gSA), unchanged("google_service_account_iam_member.cockroach", gMint)
	const cutByMember = "FAIL cuts off google_kms_crypto_key_iam_member.cluster"
	complete := inventory(keyName, email, "crl-prod-abc")
	elsewhere := inventory("projects/other/locations/us-east1/keyRings/r/cryptoKeys/k", "x@other.iam.gserviceaccount.com", "crl-prod-abc")
	binding := object{"crypto_key_id": keyName, "role": user, "members": []any{"serviceAccount:" + email}, "condition": []any{}}
	allow := func(members ...string) object {
		return object{"crypto_key_id": keyName, "policy_data": text(object{"bindings": []any{object{"role": user, "members": members}}})}
	}
	onRing := object{"key_ring_id": ring, "role": user, "member": "serviceAccount:" + email, "condition": []any{}}
	onProject := object{"project": "customer-keys", "role": user, "member": "serviceAccount:" + email, "condition": []any{}}
	onFolder := object{"folder": "folders/1", "role": user, "member": "serviceAccount:" + email, "condition": []any{}}
	custom := object{"id": "projects/customer-keys/roles/cmek", "role_id": "cmek", "project": "customer-keys", "stage": "GA", "permissions": []any{"cloudkms.cryptoKeyVersions.useToEncrypt", "cloudkms.cryptoKeyVersions.useToDecrypt"}}
	byCustom := with(gMember, object{"role": "projects/customer-keys/roles/cmek"})
	deny := func(permission string, exceptions ...any) object {
		return object{"parent": "cloudresourcemanager.googleapis.com%2Fprojects%2Fcustomer-keys", "name": "d", "rules": []any{object{"deny_rule": []any{object{
			"denied_principals": []any{"principalSet://goog/public:all"}, "denied_permissions": []any{permission}, "exception_principals": exceptions, "denial_condition": []any{}}}}}}
	}
	const decrypt = "cloudkms.googleapis.com/cryptoKeyVersions.useToDecrypt"
	version := object{"id": keyName + "/cryptoKeyVersions/1", "name": keyName + "/cryptoKeyVersions/1", "state": "ENABLED", "deletion_policy": "DELETE"}
	night := []any{object{"title": "t", "expression": `resource.name.startsWith("projects/x")`}}
	return []row{
		{"nothing", []resource{k, m, sa, mint}, planned.Known{}, nil},
		{"labels", []resource{changed("google_kms_crypto_key.orders", gKey, object{"labels": object{"a": "b"}}), m}, planned.Known{}, nil},

		{"the member goes", []resource{k, gone("google_kms_crypto_key_iam_member.cluster", gMember)}, planned.Known{}, []string{cutByMember}},
		{"the member of a cluster goes", []resource{k, gone("google_kms_crypto_key_iam_member.cluster", gMember)}, complete, []string{cutByMember}},
		{"a member of no cluster goes", []resource{k, gone("google_kms_crypto_key_iam_member.cluster", gMember)}, elsewhere, nil},
		{"the member goes, and the key is not in the plan", []resource{gone("google_kms_crypto_key_iam_member.cluster", gMember)}, planned.Known{}, []string{cutByMember}},
		{"the member goes, and the ring admits it", []resource{k, gone("google_kms_crypto_key_iam_member.cluster", gMember), unchanged("google_kms_key_ring_iam_member.r", onRing)}, planned.Known{}, nil},
		{"the member goes, and the project will admit it", []resource{k, gone("google_kms_crypto_key_iam_member.cluster", gMember), made("google_project_iam_member.p", onProject)}, planned.Known{}, nil},
		{"the member goes, and a folder admits it, which may be another's", []resource{k, gone("google_kms_crypto_key_iam_member.cluster", gMember), unchanged("google_folder_iam_member.f", onFolder)}, planned.Known{}, []string{cutByMember}},
		{"the member goes, and the folder admits it", []resource{k, gone("google_kms_crypto_key_iam_member.cluster", gMember), unchanged("google_folder_iam_member.f", onFolder)},
			planned.Known{Documents: map[string]string{"projects/customer-keys#parents": `["folders/1"]`}}, nil},
		{"the condition changes", []resource{k, {address: "google_kms_crypto_key_iam_member.cluster", actions: []string{"delete", "create"}, before: with(gMember, object{"condition": night}), after: with(gMember, object{"condition": []any{object{"expression": `destination.ip == "10.0.0.1"`}}})}}, complete, []string{"ERROR cuts off google_kms_crypto_key_iam_member.cluster"}},
		{"a condition that cannot be told changes", []resource{k, {address: "google_kms_crypto_key_iam_member.cluster", actions: []string{"delete", "create"}, before: with(gMember, object{"condition": []any{object{"expression": `destination.ip == "10.0.0.2"`}}}), after: with(gMember, object{"condition": []any{object{"expression": `destination.ip == "10.0.0.1"`}}})}}, complete, []string{"ERROR cuts off google_kms_crypto_key_iam_member.cluster"}},
		{"the member moves to another key", []resource{k, {address: "google_kms_crypto_key_iam_member.cluster", actions: []string{"delete", "create"}, before: gMember, after: with(gMember, object{"crypto_key_id": ring + "/cryptoKeys/other"})}}, planned.Known{}, []string{cutByMember}},
		{"the member gets another role", []resource{k, {address: "google_kms_crypto_key_iam_member.cluster", actions: []string{"delete", "create"}, before: gMember, after: with(gMember, object{"role": "roles/cloudkms.viewer"})}}, planned.Known{}, []string{cutByMember}},
		{"the member gets a condition", []resource{k, {address: "google_kms_crypto_key_iam_member.cluster", actions: []string{"delete", "create"}, before: gMember, after: with(gMember, object{"condition": night})}}, planned.Known{}, []string{cutByMember}},
		{"the member of a key with a short name goes", []resource{gone("google_kms_crypto_key_iam_member.cluster", with(gMember, object{"crypto_key_id": "customer-keys/us-east1/cmek/orders"}))}, complete, []string{cutByMember}},
		{"who is the member is not known", []resource{k, {address: "google_kms_crypto_key_iam_member.cluster", actions: []string{"delete", "create"}, before: gMember, after: with(gMember, object{"member": nil}), unknown: object{"member": true}}}, planned.Known{},
			[]string{cutByMember, "ERROR not judged google_kms_crypto_key_iam_member.cluster"}},

		{"the binding loses the member", []resource{k, changed("google_kms_crypto_key_iam_binding.b", binding, object{"members": []any{"user:a@example.com"}})}, planned.Known{}, []string{"FAIL cuts off google_kms_crypto_key_iam_binding.b", "FAIL exposes google_kms_crypto_key_iam_binding.b"}},
		{"the binding gets a member of the project", []resource{k, changed("google_kms_crypto_key_iam_binding.b", binding, object{"members": []any{"serviceAccount:" + email, "serviceAccount:other@customer-keys.iam.gserviceaccount.com"}})}, planned.Known{}, nil},
		{"a binding replaces others", []resource{k, made("google_kms_crypto_key_iam_binding.b", binding)}, planned.Known{}, []string{"ERROR not judged google_kms_crypto_key_iam_binding.b"}},
		{"a binding replaces others, which are known", []resource{k, made("google_kms_crypto_key_iam_binding.b", binding)}, planned.Known{Documents: map[string]string{keyName: text(object{"version": 1, "etag": "a", "bindings": []any{}})}}, nil},
		{"a binding replaces the cluster's, which is known", []resource{k, made("google_kms_crypto_key_iam_binding.b", with(binding, object{"members": []any{"serviceAccount:other@customer-keys.iam.gserviceaccount.com"}}))},
			planned.Known{Documents: map[string]string{keyName: text(object{"version": 1, "etag": "a", "bindings": []any{object{"role": user, "members": []string{"serviceAccount:" + email}}}})}}, []string{"FAIL cuts off google_kms_crypto_key_iam_binding.b"}},
		{"the policy loses the member", []resource{k, changed("google_kms_crypto_key_iam_policy.p", allow("serviceAccount:"+email), allow())}, planned.Known{}, []string{"FAIL cuts off google_kms_crypto_key_iam_policy.p"}},
		{"the policy keeps the member", []resource{k, changed("google_kms_crypto_key_iam_policy.p", allow("serviceAccount:"+email, "user:a@example.com"), allow("serviceAccount:"+email))}, planned.Known{}, nil},
		{"the policy is not known", []resource{k, {address: "google_kms_crypto_key_iam_policy.p", before: allow("serviceAccount:" + email), after: object{"crypto_key_id": keyName}, unknown: object{"policy_data": true}}}, planned.Known{}, []string{"FAIL cuts off google_kms_crypto_key_iam_policy.p", "ERROR not judged google_kms_crypto_key_iam_policy.p"}},

		{"the ring loses the member", []resource{gone("google_kms_key_ring_iam_member.r", onRing)}, planned.Known{}, []string{"FAIL cuts off google_kms_key_ring_iam_member.r"}},
		{"the project loses the member", []resource{gone("google_project_iam_member.p", onProject)}, planned.Known{}, []string{"FAIL cuts off google_project_iam_member.p"}},
		{"the project loses somebody else", []resource{m, gone("google_project_iam_member.p", with(onProject, object{"role": "roles/viewer"}))}, planned.Known{}, nil},
		{"the project by its number", []resource{m, gone("google_project_iam_member.p", with(onProject, object{"project": "123456789012"}))}, complete, []string{"ERROR not judged google_project_iam_member.p"}},
		{"the folder loses the member", []resource{k, gone("google_folder_iam_member.f", onFolder)}, complete, []string{"FAIL cuts off google_folder_iam_member.f"}},

		{"everybody", []resource{k, m, made("google_kms_crypto_key_iam_member.e", with(gMember, object{"member": "allUsers"}))}, planned.Known{}, []string{"FAIL exposes google_kms_crypto_key_iam_member.e"}},
		{"everybody may see it", []resource{k, m, made("google_kms_crypto_key_iam_member.e", with(gMember, object{"member": "allUsers", "role": "roles/cloudkms.viewer"}))}, planned.Known{}, nil},
		{"somebody at the project", []resource{k, m, made("google_project_iam_member.e", with(onProject, object{"member": "user:a@example.com"}))}, planned.Known{}, []string{"FAIL exposes google_project_iam_member.e"}},

		{"somebody at the project, and no key is in the plan", []resource{made("google_project_iam_member.e", with(onProject, object{"member": "user:a@example.com"}))}, planned.Known{}, []string{"FAIL exposes google_project_iam_member.e"}},
		{"somebody at a ring, and no key is in the plan", []resource{made("google_kms_key_ring_iam_member.e", with(onRing, object{"member": "user:a@example.com"}))}, planned.Known{}, []string{"FAIL exposes google_kms_key_ring_iam_member.e"}},
		{"somebody at a new ring", []resource{made("google_kms_key_ring.r", object{"name": "cmek", "location": "us-east1", "project": "customer-keys"}), made("google_kms_key_ring_iam_member.e", with(onRing, object{"member": "user:a@example.com"}))}, complete, []string{"FAIL exposes google_kms_key_ring_iam_member.e"}},
		{"somebody at the folder", []resource{made("google_folder_iam_member.e", with(onFolder, object{"member": "user:a@example.com"}))}, planned.Known{}, []string{"FAIL exposes google_folder_iam_member.e"}},
		{"somebody reads at the project", []resource{made("google_project_iam_member.e", with(onProject, object{"member": "user:a@example.com", "role": "roles/viewer"}))}, planned.Known{}, nil},
		{"somebody at a project of no cluster", []resource{made("google_project_iam_member.e", with(onProject, object{"member": "user:a@example.com"}))}, elsewhere, nil},
		{"denied, and no key is in the plan", []resource{made("google_iam_deny_policy.d", deny(decrypt))}, planned.Known{}, []string{"FAIL cuts off google_iam_deny_policy.d"}},
		{"something else is denied, and no key is in the plan", []resource{made("google_iam_deny_policy.d", deny("compute.googleapis.com/instances.delete"))}, planned.Known{}, nil},
		{"the custom role loses a permission", []resource{k, unchanged("google_kms_crypto_key_iam_member.cluster", byCustom), changed("google_project_iam_custom_role.r", custom, object{"permissions": []any{"cloudkms.cryptoKeyVersions.useToEncrypt"}})}, complete, []string{"FAIL cuts off google_project_iam_custom_role.r"}},
		{"the custom role gets a permission", []resource{k, unchanged("google_kms_crypto_key_iam_member.cluster", byCustom), changed("google_project_iam_custom_role.r", custom, object{"permissions": []any{"cloudkms.cryptoKeys.get", "cloudkms.cryptoKeyVersions.useToEncrypt", "cloudkms.cryptoKeyVersions.useToDecrypt"}})}, complete, nil},
		{"the custom role is deleted", []resource{k, unchanged("google_kms_crypto_key_iam_member.cluster", byCustom), gone("google_project_iam_custom_role.r", custom)}, planned.Known{}, []string{"FAIL cuts off google_project_iam_custom_role.r"}},

		{"denied", []resource{k, m, made("google_iam_deny_policy.d", deny(decrypt))}, planned.Known{}, []string{"FAIL cuts off google_iam_deny_policy.d"}},
		{"denied, and the plan does not show who grants it", []resource{made("google_iam_deny_policy.d", deny(decrypt))}, complete, []string{"FAIL cuts off google_iam_deny_policy.d"}},
		{"denied to others", []resource{k, m, made("google_iam_deny_policy.d", deny(decrypt, "principal://iam.googleapis.com/projects/-/serviceAccounts/"+email))}, complete, nil},
		{"something else is denied", []resource{k, m, made("google_iam_deny_policy.d", deny("cloudkms.googleapis.com/cryptoKeys.update"))}, planned.Known{}, nil},
		{"denied no more", []resource{k, m, gone("google_iam_deny_policy.d", deny(decrypt))}, planned.Known{}, nil},
		{"who is denied is not known", []resource{k, m, {address: "google_iam_deny_policy.d", after: object{"parent": deny("")["parent"], "name": "d"}, unknown: object{"rules": true}}}, planned.Known{}, []string{"ERROR not judged google_iam_deny_policy.d"}},

		{"the account loses Cockroach Labs", []resource{sa, gone("google_service_account_iam_member.cockroach", gMint)}, planned.Known{}, []string{"FAIL cuts off google_service_account_iam_member.cockroach"}},
		{"the account gets another actor", []resource{sa, mint, made("google_service_account_iam_member.x", with(gMint, object{"member": "user:a@example.com"}))}, planned.Known{}, []string{"FAIL exposes google_service_account_iam_member.x"}},
		{"the account gets a viewer", []resource{sa, mint, made("google_service_account_iam_member.x", with(gMint, object{"member": "user:a@example.com", "role": "roles/viewer"}))}, planned.Known{}, nil},
		{"the account is disabled", []resource{k, m, changed("google_service_account.cmek", gSA, object{"disabled": true})}, planned.Known{}, []string{"FAIL cuts off google_service_account.cmek"}},
		{"the account is disabled or not", []resource{k, m, {address: "google_service_account.cmek", before: gSA, after: with(gSA, object{"disabled": nil}), unknown: object{"disabled": true}}}, planned.Known{}, []string{"ERROR not judged google_service_account.cmek"}},
		{"the account is deleted", []resource{k, m, gone("google_service_account.cmek", gSA)}, planned.Known{}, []string{"FAIL cuts off google_service_account.cmek"}},
		{"the account is abandoned", []resource{k, m, gone("google_service_account.cmek", with(gSA, object{"deletion_policy": "ABANDON"}))}, planned.Known{}, nil},
		{"an account of no cluster is deleted", []resource{gone("google_service_account.cmek", gSA)}, elsewhere, nil},
		{"an account of somebody is deleted", []resource{gone("google_service_account.cmek", gSA)}, planned.Known{}, []string{"ERROR cuts off google_service_account.cmek"}},

		{"the key is destroyed", []resource{gone("google_kms_crypto_key.orders", gKey), m}, planned.Known{}, []string{"FAIL destroys google_kms_crypto_key.orders"}},
		{"the key is abandoned", []resource{gone("google_kms_crypto_key.orders", with(gKey, object{"deletion_policy": "ABANDON"})), m}, planned.Known{}, nil},
		{"a key that signs is destroyed", []resource{gone("google_kms_crypto_key.orders", with(gKey, object{"purpose": "ASYMMETRIC_SIGN"}))}, planned.Known{}, nil},
		{"a key of no cluster is destroyed", []resource{gone("google_kms_crypto_key.orders", gKey)}, reading(elsewhere, ofGoogle(unrelated)), nil},
		{"a key of no cluster is destroyed, and the ledger knows it", []resource{gone("google_kms_crypto_key.orders", gKey)}, reading(elsewhere, ofGoogle(tied)), []string{"ERROR destroys google_kms_crypto_key.orders"}},
		{"a key of no cluster is destroyed, and it was not read", []resource{gone("google_kms_crypto_key.orders", gKey)}, elsewhere, []string{"ERROR destroys google_kms_crypto_key.orders"}},
		{"a version of a key of no cluster is destroyed", []resource{m, gone("google_kms_crypto_key_version.v", version)}, reading(elsewhere, ofGoogle(unrelated)), nil},
		{"a version of a key of no cluster is destroyed, and the ledger knows it", []resource{m, gone("google_kms_crypto_key_version.v", version)}, reading(elsewhere, ofGoogle(tied)), []string{"ERROR destroys google_kms_crypto_key_version.v"}},
		{"the ring is taken from the state", []resource{gone("google_kms_key_ring.r", object{"id": ring, "name": "cmek", "location": "us-east1", "project": "customer-keys"})}, planned.Known{}, nil},
		{"no rotation", []resource{changed("google_kms_crypto_key.orders", gKey, object{"rotation_period": nil}), m}, planned.Known{}, []string{"FAIL rotation google_kms_crypto_key.orders"}},
		{"a rotation every two years", []resource{changed("google_kms_crypto_key.orders", gKey, object{"rotation_period": "63072000s"}), m}, planned.Known{}, []string{"FAIL rotation google_kms_crypto_key.orders"}},
		{"a rotation every month", []resource{changed("google_kms_crypto_key.orders", gKey, object{"rotation_period": "2592000s"}), m}, planned.Known{}, nil},
		{"other versions", []resource{{address: "google_kms_crypto_key.orders", before: with(gKey, object{"version_template": []any{object{"protection_level": "HSM"}}}), after: with(gKey, object{"version_template": []any{object{"protection_level": "SOFTWARE"}}})}, m}, planned.Known{}, []string{"ERROR not judged google_kms_crypto_key.orders"}},

		{"a version is destroyed", []resource{m, gone("google_kms_crypto_key_version.v", version)}, planned.Known{}, []string{"ERROR destroys google_kms_crypto_key_version.v"}},
		{"a version is disabled", []resource{m, changed("google_kms_crypto_key_version.v", version, object{"state": "DISABLED"})}, planned.Known{}, []string{"ERROR cuts off google_kms_crypto_key_version.v"}},
		{"a version is enabled", []resource{m, changed("google_kms_crypto_key_version.v", with(version, object{"state": "DISABLED"}), object{"state": "ENABLED"})}, planned.Known{}, nil},

		{"an EKM connection", []resource{changed("google_kms_ekm_connection.e", object{"id": "a"}, object{"id": "b"})}, planned.Known{}, []string{"ERROR not judged google_kms_ekm_connection.e"}},
		{"a bucket's policy", []resource{made("google_storage_bucket_iam_member.b", object{"bucket": "b", "role": "roles/storage.admin", "member": "allUsers"})}, planned.Known{}, nil},
		{"a key of the account", []resource{made("google_service_account_key.k", object{"service_account_id": account})}, planned.Known{}, []string{"ERROR not judged google_service_account_key.k"}},
		{"an account that reaches no key gets an actor", []resource{made("google_service_account_iam_member.x", object{"service_account_id": "projects/p/serviceAccounts/web@p.iam.gserviceaccount.com", "role": minter, "member": "user:a@example.com"})}, planned.Known{}, nil},
		{"an account that will reach a key gets an actor", []resource{made("google_service_account_iam_member.x", object{"service_account_id": account, "role": minter, "member": "user:a@example.com"}), made("google_kms_crypto_key_iam_member.cluster", gMember)}, planned.Known{}, []string{"FAIL exposes google_service_account_iam_member.x"}},
		{"a service is switched off", []resource{gone("google_project_service.s", object{"service": "cloudkms.googleapis.com"})}, planned.Known{}, []string{"ERROR not judged google_project_service.s"}},
		{"a service is no more managed, and stays on", []resource{gone("google_project_service.s", object{"service": "cloudkms.googleapis.com", "disable_on_destroy": false})}, planned.Known{}, nil},
		{"a service that keys do not need is switched off", []resource{gone("google_project_service.s", object{"service": "bigquery.googleapis.com", "disable_on_destroy": true})}, planned.Known{}, nil},
		{"the same, with all that need it", []resource{gone("google_project_service.s", object{"service": "bigquery.googleapis.com", "disable_dependent_services": true})}, planned.Known{}, []string{"ERROR not judged google_project_service.s"}},
		{"a service is replaced by another", []resource{{address: "google_project_service.s", actions: []string{"delete", "create"}, before: object{"service": "cloudkms.googleapis.com"}, after: object{"service": "pubsub.googleapis.com"}}}, planned.Known{}, []string{"ERROR not judged google_project_service.s"}},
		{"a service is switched on", []resource{made("google_project_service.s", object{"service": "cloudkms.googleapis.com"})}, planned.Known{}, nil},

		{"a member of a key whose project is a number", []resource{gone("google_kms_crypto_key_iam_member.m", with(gMember, object{"crypto_key_id": numbered(keyName)}))}, complete, []string{"ERROR not judged google_kms_crypto_key_iam_member.m"}},
		{"a member of a ring whose project is a number", []resource{gone("google_kms_key_ring_iam_member.m", object{"key_ring_id": numbered(ring), "role": user, "member": "serviceAccount:" + email})}, complete, []string{"ERROR not judged google_kms_key_ring_iam_member.m"}},
		{"a key whose project is a number is destroyed", []resource{gone("google_kms_crypto_key.k", with(gKey, object{"id": numbered(keyName)}))}, complete, []string{"ERROR destroys google_kms_crypto_key.k", "ERROR not judged google_kms_crypto_key.k"}},
		{"a version of a key whose project is a number is destroyed", []resource{gone("google_kms_crypto_key_version.v", object{"name": numbered(keyName) + "/cryptoKeyVersions/1", "state": "ENABLED"})}, complete, []string{"ERROR destroys google_kms_crypto_key_version.v", "ERROR not judged google_kms_crypto_key_version.v"}},
		{"a deny policy of a project by its number", []resource{made("google_iam_deny_policy.d", object{"parent": "cloudresourcemanager.googleapis.com%2Fprojects%2F123456789012", "name": "d", "rules": []any{}})}, complete, []string{"ERROR not judged google_iam_deny_policy.d"}},
		{"a key of a cluster that names it so, too", []resource{gone("google_kms_crypto_key.k", with(gKey, object{"id": numbered(keyName)}))}, inventory(numbered(keyName), email, "crl-prod-abc"), []string{"FAIL destroys google_kms_crypto_key.k"}},
		{"a new key in a project by its number", []resource{made("google_kms_crypto_key.k", object{"key_ring": numbered(ring), "name": "new", "purpose": "ENCRYPT_DECRYPT"})}, complete, nil},
		{"an organization, which has no name but its number", []resource{gone("google_organization_iam_member.m", object{"org_id": "123456789012", "role": "roles/viewer", "member": "user:a@example.com"})}, complete, nil},
		{"a folder, which has none either", []resource{gone("google_folder_iam_member.m", object{"folder": "123456789012", "role": "roles/viewer", "member": "user:a@example.com"})}, complete, nil},
		{"an account by its unique id loses its actor", []resource{gone("google_service_account_iam_member.m", with(gMint, object{"service_account_id": "projects/customer-keys/serviceAccounts/110123456789"}))}, complete, []string{"ERROR not judged google_service_account_iam_member.m"}},

		{"a project gets a name", []resource{changed("google_project.p", gProject, object{"name": "Keys"})}, planned.Known{}, nil},
		{"a project moves to another folder", []resource{changed("google_project.p", gProject, object{"folder_id": "2"})}, planned.Known{}, []string{"ERROR not judged google_project.p"}},
		{"a project moves to a folder that is not known", []resource{{address: "google_project.p", before: gProject, after: with(gProject, object{"folder_id": nil}), unknown: object{"folder_id": true}}}, planned.Known{}, []string{"ERROR not judged google_project.p"}},
		{"a project loses its billing account", []resource{changed("google_project.p", gProject, object{"billing_account": nil})}, planned.Known{}, []string{"ERROR not judged google_project.p"}},
		{"a project is deleted", []resource{gone("google_project.p", gProject)}, planned.Known{}, []string{"ERROR not judged google_project.p"}},
		{"a new project", []resource{made("google_project.p", gProject)}, planned.Known{}, nil},
		{"a folder moves", []resource{changed("google_folder.f", object{"parent": "folders/1"}, object{"parent": "folders/2"})}, planned.Known{}, []string{"ERROR not judged google_folder.f"}},
		{"a folder gets a name", []resource{changed("google_folder.f", object{"parent": "folders/1", "display_name": "a"}, object{"display_name": "b"})}, planned.Known{}, nil},
		{"a service perimeter", []resource{made("google_access_context_manager_service_perimeter.p", object{"name": "x"})}, planned.Known{}, []string{"ERROR not judged google_access_context_manager_service_perimeter.p"}},

		{"access that ends tomorrow", []resource{m, changed("google_kms_crypto_key_iam_member.m", gMember, ending("2026-03-02T00:00:00Z"))}, planned.Known{}, []string{"FAIL cuts off google_kms_crypto_key_iam_member.m"}},
		{"access that ended yesterday", []resource{m, changed("google_kms_crypto_key_iam_member.m", gMember, ending("2026-02-28T00:00:00Z"))}, planned.Known{}, []string{"FAIL cuts off google_kms_crypto_key_iam_member.m"}},
		{"access that ends later than before", []resource{m, {address: "google_kms_crypto_key_iam_member.m", before: with(gMember, ending("2026-03-02T00:00:00Z")), after: with(gMember, ending("2026-04-02T00:00:00Z"))}}, planned.Known{}, nil},
		{"access that ends no more", []resource{m, {address: "google_kms_crypto_key_iam_member.m", before: with(gMember, ending("2026-03-02T00:00:00Z")), after: gMember}}, planned.Known{}, nil},
	}
}
