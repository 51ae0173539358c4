package planned_test

import (
	"testing"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/compliance/planned"
)

const (
	keyARN  = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	roleARN = "arn:aws:iam::111122223333:role/cmek"
	root    = "arn:aws:iam::111122223333:root"
	cluster = "222233334444"
)

func statement(effect string, principal, action, resource any) object {
	s := object{"Effect": effect, "Action": action, "Resource": resource}
	if principal != nil {
		s["Principal"] = principal
	}
	return s
}

func document(statements ...any) string {
	return text(object{"Version": "2012-10-17", "Statement": statements})
}

var (
	needed  = []string{"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey", "kms:ReEncrypt*"}
	byRoot  = statement("Allow", object{"AWS": root}, "kms:*", "*")
	byRole  = statement("Allow", object{"AWS": roleARN}, needed, "*")
	forRole = document(byRoot, byRole)
	byIAM   = document(statement("Allow", nil, needed, keyARN))
)

func conditioned(vpc string) object {
	return with(byRole, object{"Condition": object{"StringEquals": object{"aws:SourceVpc": vpc}}})
}

func trusting(account, external string) string {
	s := object{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": object{"AWS": "arn:aws:iam::" + account + ":root"}}
	if external != "" {
		s["Condition"] = object{"StringEquals": object{"sts:ExternalId": external}}
	}
	return document(s)
}

var (
	key = object{"arn": keyARN, "key_id": "1234abcd-12ab-34cd-56ef-1234567890ab", "key_usage": "ENCRYPT_DECRYPT", "customer_master_key_spec": "SYMMETRIC_DEFAULT",
		"is_enabled": true, "enable_key_rotation": true, "rotation_period_in_days": 365, "deletion_window_in_days": 30, "policy": forRole, "tags": nil}
	role = object{"arn": roleARN, "name": "cmek", "assume_role_policy": trusting(cluster, "org-1"), "inline_policy": []any{}, "managed_policy_arns": []any{}, "permissions_boundary": nil}
)

func onKey(changed object) resource {
	return resource{address: "aws_kms_key.orders", before: key, after: with(key, changed)}
}

func onRole(changed object) resource {
	return resource{address: "aws_iam_role.cmek", before: role, after: with(role, changed)}
}

var external = with(key, object{"enabled": true, "valid_to": "", "enable_key_rotation": nil})

func unnamed(name, policy string) resource {
	return resource{address: "aws_iam_role_policy." + name, after: object{"role": "cmek", "policy": policy}, unknown: object{"name": true}}
}

// sameKey and sameRole are there and do not change.
var sameKey, sameRole = onKey(nil), onRole(nil)

// rootKey leaves the key to IAM policies.
var rootKey = with(key, object{"policy": document(byRoot)})

func inline(before, after any) resource {
	r := resource{address: "aws_iam_role_policy.kms"}
	if before != nil {
		r.before = object{"role": "cmek", "name": "kms", "policy": before}
	}
	if after != nil {
		r.after = object{"role": "cmek", "name": "kms", "policy": after}
	}
	return r
}

const policyARN = "arn:aws:iam::111122223333:policy/kms"

func attachment(arn string) object { return object{"role": "cmek", "policy_arn": arn} }

func TestAWS_whatAChangeDoes(t *testing.T) { tryRows(t, awsRows()) }

func awsRows() []row {
	complete := inventory(keyARN, roleARN, cluster)
	complete.OrganizationID = "org-1"
	both := inventory(keyARN, roleARN, cluster)
	both.Inventory.Uses = append(both.Inventory.Uses, inventory(keyARN, "arn:aws:iam::111122223333:role/never", cluster).Inventory.Uses...)
	both.Documents = map[string]string{"arn:aws:iam::111122223333:role/never#policies": `{}`}
	elsewhere := inventory("arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000009", "arn:aws:iam::111122223333:role/other", cluster)
	short := planned.Known{Declared: checks.Declarations{Thresholds: checks.Thresholds{DeletionWindowDays: 7}}}
	owned := planned.Known{Declared: checks.Declarations{Keys: []checks.KeyDeclaration{{Key: keyARN, OwnerRotated: true}}}}
	const cutByKey, cutByRole, cutByInline = "FAIL cuts off aws_kms_key.orders", "FAIL cuts off aws_iam_role.cmek", "FAIL cuts off aws_iam_role_policy.kms"
	const unread, unreadRole, unreadInline = "ERROR not judged aws_kms_key.orders", "ERROR not judged aws_iam_role.cmek", "ERROR not judged aws_iam_role_policy.kms"
	return []row{
		{"nothing", []resource{sameKey, sameRole}, planned.Known{}, nil},
		{"tags", []resource{onKey(object{"tags": object{"a": "b"}}), sameRole}, planned.Known{}, nil},
		{"another order of statements", []resource{onKey(object{"policy": document(byRole, byRoot)}), sameRole}, planned.Known{}, nil},

		{"the key policy loses the role", []resource{onKey(object{"policy": document(byRoot)}), sameRole}, planned.Known{}, []string{cutByKey}},
		{"the key policy loses the role of a cluster", []resource{onKey(object{"policy": document(byRoot)}), sameRole}, complete, []string{cutByKey}},
		{"the key policy loses a role of no cluster", []resource{onKey(object{"policy": document(byRoot)}), sameRole}, elsewhere, nil},
		{"the key policy loses the role, which the plan does not show", []resource{onKey(object{"policy": document(byRoot)})}, planned.Known{}, []string{cutByKey}},
		{"the key policy loses the role, and IAM grants it", []resource{onKey(object{"policy": document(byRoot)}), sameRole, inline(byIAM, byIAM)}, planned.Known{}, nil},
		{"the same, granted by this plan", []resource{onKey(object{"policy": document(byRoot)}), sameRole, inline(nil, byIAM)}, planned.Known{}, nil},
		{"the same, and both are taken", []resource{onKey(object{"policy": document(byRoot)}), sameRole, inline(byIAM, nil)}, planned.Known{}, []string{cutByInline, cutByKey}},
		{"the key policy denies", []resource{onKey(object{"policy": document(byRoot, byRole, statement("Deny", "*", "kms:Decrypt", "*"))}), sameRole}, planned.Known{}, []string{cutByKey}},
		{"the key policy denies what no cluster needs", []resource{onKey(object{"policy": document(byRoot, byRole, statement("Deny", "*", "kms:Sign", "*"))}), sameRole}, planned.Known{}, nil},
		{"the key policy is not known", []resource{{address: "aws_kms_key.orders", before: key, after: with(key, object{"policy": nil}), unknown: object{"policy": true}}, sameRole}, planned.Known{}, []string{unread}},
		{"the key policy for a key", []resource{sameKey, sameRole, {address: "aws_kms_key_policy.orders", before: object{"key_id": keyARN, "policy": forRole}, after: object{"key_id": keyARN, "policy": document(byRoot)}}},
			planned.Known{}, []string{"FAIL cuts off aws_kms_key_policy.orders"}},
		{"the key policy for a key, by its id", []resource{sameKey, sameRole, {address: "aws_kms_key_policy.orders", before: object{"key_id": key["key_id"], "policy": forRole}}},
			planned.Known{}, []string{"FAIL cuts off aws_kms_key_policy.orders"}},
		{"the key policy of a replica", []resource{sameRole, {address: "aws_kms_replica_key.orders", before: key, after: with(key, object{"policy": document(byRoot)})}}, planned.Known{}, []string{"FAIL cuts off aws_kms_replica_key.orders"}},

		{"everybody", []resource{onKey(object{"policy": document(byRoot, byRole, statement("Allow", "*", "kms:Decrypt", "*"))}), sameRole}, planned.Known{}, []string{"FAIL exposes aws_kms_key.orders"}},
		{"another account", []resource{onKey(object{"policy": document(byRoot, byRole, statement("Allow", object{"AWS": "arn:aws:iam::999999999999:role/x"}, "kms:Decrypt", "*"))}), sameRole}, planned.Known{}, []string{"FAIL exposes aws_kms_key.orders"}},
		{"a role of its own account", []resource{onKey(object{"policy": document(byRoot, byRole, statement("Allow", object{"AWS": "arn:aws:iam::111122223333:role/x"}, "kms:Decrypt", "*"))}), sameRole}, planned.Known{}, nil},
		{"a new key that everybody may use", []resource{{address: "aws_kms_key.new", after: object{"policy": document(byRoot, statement("Allow", "*", "kms:*", "*"))}, unknown: object{"arn": true, "key_id": true}}}, planned.Known{}, []string{"FAIL exposes aws_kms_key.new"}},
		{"a new key", []resource{{address: "aws_kms_key.new", after: object{"policy": document(byRoot, byRole)}, unknown: object{"arn": true, "key_id": true}}, sameRole}, planned.Known{}, nil},
		{"a new key of a policy that is not known", []resource{{address: "aws_kms_key.new", after: object{}, unknown: object{"arn": true, "policy": true}}}, planned.Known{}, []string{"ERROR not judged aws_kms_key.new"}},
		{"nobody manages it", []resource{onKey(object{"policy": document(byRole)}), sameRole}, planned.Known{}, []string{"FAIL locks out aws_kms_key.orders"}},

		{"deleted", []resource{{address: "aws_kms_key.orders", before: key}, sameRole}, planned.Known{}, []string{"FAIL destroys aws_kms_key.orders"}},
		{"deleted, of a cluster", []resource{{address: "aws_kms_key.orders", before: key}}, complete, []string{"FAIL destroys aws_kms_key.orders"}},
		{"deleted, of no cluster", []resource{{address: "aws_kms_key.orders", before: key}}, reading(elsewhere, unrelated), nil},
		{"deleted, of no cluster, and it was not read", []resource{{address: "aws_kms_key.orders", before: key}}, elsewhere, []string{"ERROR destroys aws_kms_key.orders"}},
		{"deleted, of no cluster, and the ledger knows it", []resource{{address: "aws_kms_key.orders", before: key}}, reading(elsewhere, tied), []string{"ERROR destroys aws_kms_key.orders"}},
		{"deleted, of no cluster of those that were read", []resource{{address: "aws_kms_key.orders", before: rootKey}}, reading(elsewhere, partly), []string{"ERROR destroys aws_kms_key.orders"}},
		{"deleted, of a cluster that uses a replica", []resource{{address: "aws_kms_key.orders", before: key}}, reading(elsewhere, primary), []string{"FAIL destroys aws_kms_key.orders"}},
		{"disabled, of no cluster", []resource{onKey(object{"is_enabled": false})}, reading(elsewhere, unrelated), nil},
		{"disabled, of no cluster, and the ledger knows it", []resource{onKey(object{"is_enabled": false})}, reading(elsewhere, tied), []string{"ERROR cuts off aws_kms_key.orders"}},
		{"deposed and deleted, of no cluster", []resource{{address: "aws_kms_key.orders", before: key, more: object{"deposed": "byebye07"}}}, reading(elsewhere, unrelated), nil},
		{"deleted, and nobody is admitted", []resource{{address: "aws_kms_key.orders", before: rootKey}}, planned.Known{}, []string{"ERROR destroys aws_kms_key.orders"}},
		{"deleted, deposed", []resource{sameKey, {address: "aws_kms_key.orders", before: key, more: object{"deposed": "byebye07"}}, sameRole}, planned.Known{}, []string{"FAIL destroys aws_kms_key.orders"}},
		{"replaced", []resource{{address: "aws_kms_key.orders", actions: []string{"create", "delete"}, before: key, after: key, unknown: object{"arn": true}}, sameRole}, planned.Known{}, []string{"FAIL destroys aws_kms_key.orders"}},
		{"forgotten", []resource{{address: "aws_kms_key.orders", actions: []string{"forget"}, before: key}, sameRole}, planned.Known{}, nil},
		{"one that signs, deleted", []resource{{address: "aws_kms_key.orders", before: with(key, object{"key_usage": "SIGN_VERIFY"})}}, planned.Known{}, nil},
		{"an RSA key, deleted", []resource{{address: "aws_kms_key.orders", before: with(key, object{"customer_master_key_spec": "RSA_4096"})}}, planned.Known{}, nil},

		{"disabled", []resource{onKey(object{"is_enabled": false}), sameRole}, planned.Known{}, []string{cutByKey}},
		{"enabled", []resource{{address: "aws_kms_key.orders", before: with(key, object{"is_enabled": false}), after: key}, sameRole}, planned.Known{}, nil},
		{"enabled or not", []resource{{address: "aws_kms_key.orders", before: key, after: with(key, object{"is_enabled": nil}), unknown: object{"is_enabled": true}}, sameRole}, planned.Known{}, []string{"ERROR cuts off aws_kms_key.orders"}},

		{"a shorter window", []resource{onKey(object{"deletion_window_in_days": 7}), sameRole}, planned.Known{}, []string{"FAIL deletion window aws_kms_key.orders"}},
		{"a shorter window, as declared", []resource{onKey(object{"deletion_window_in_days": 7}), sameRole}, short, nil},
		{"a shorter window of no cluster's key", []resource{onKey(object{"deletion_window_in_days": 7}), sameRole}, elsewhere, nil},
		{"a longer window", []resource{{address: "aws_kms_key.orders", before: with(key, object{"deletion_window_in_days": 7}), after: key}, sameRole}, planned.Known{}, nil},
		{"the window of AWS", []resource{onKey(object{"deletion_window_in_days": nil}), sameRole}, planned.Known{}, nil},
		{"an even shorter window", []resource{{address: "aws_kms_key.orders", before: with(key, object{"deletion_window_in_days": 14}), after: with(key, object{"deletion_window_in_days": 7})}, sameRole}, planned.Known{}, []string{"FAIL deletion window aws_kms_key.orders"}},
		{"a window that is not known", []resource{{address: "aws_kms_key.orders", before: key, after: with(key, object{"deletion_window_in_days": nil}), unknown: object{"deletion_window_in_days": true}}, sameRole}, planned.Known{}, []string{"ERROR deletion window aws_kms_key.orders"}},

		{"no rotation", []resource{onKey(object{"enable_key_rotation": false}), sameRole}, planned.Known{}, []string{"FAIL rotation aws_kms_key.orders"}},
		{"no rotation any more", []resource{onKey(object{"enable_key_rotation": nil}), sameRole}, planned.Known{}, []string{"FAIL rotation aws_kms_key.orders"}},
		{"no rotation by AWS, but by its owner", []resource{onKey(object{"enable_key_rotation": false}), sameRole}, owned, nil},
		{"no rotation, as before", []resource{{address: "aws_kms_key.orders", before: with(key, object{"enable_key_rotation": false}), after: with(key, object{"enable_key_rotation": false, "tags": object{"a": "b"}})}, sameRole}, planned.Known{}, nil},
		{"a longer period", []resource{onKey(object{"rotation_period_in_days": 2000}), sameRole}, planned.Known{}, []string{"FAIL rotation aws_kms_key.orders"}},
		{"a shorter period", []resource{onKey(object{"rotation_period_in_days": 90}), sameRole}, planned.Known{}, nil},
		{"a rotation that is not known", []resource{{address: "aws_kms_key.orders", before: key, after: with(key, object{"enable_key_rotation": nil}), unknown: object{"enable_key_rotation": true}}, sameRole}, planned.Known{}, []string{"ERROR rotation aws_kms_key.orders"}},

		{"trust without external id", []resource{sameKey, onRole(object{"assume_role_policy": trusting(cluster, "")})}, planned.Known{}, []string{"FAIL exposes aws_iam_role.cmek"}},
		{"trust in another account", []resource{sameKey, onRole(object{"assume_role_policy": trusting("999999999999", "org-1")})}, planned.Known{}, []string{cutByRole, "FAIL exposes aws_iam_role.cmek"}},
		{"trust with another external id", []resource{sameKey, onRole(object{"assume_role_policy": trusting(cluster, "org-2")})}, complete, []string{cutByRole, "FAIL exposes aws_iam_role.cmek"}},
		{"trust of a role of no cluster", []resource{sameKey, onRole(object{"assume_role_policy": trusting(cluster, "org-1")})}, elsewhere, nil},
		{"trust that is not known", []resource{sameKey, {address: "aws_iam_role.cmek", before: role, after: with(role, object{"assume_role_policy": nil}), unknown: object{"assume_role_policy": true}}}, planned.Known{}, []string{unreadRole}},

		{"a role that was open before, and is no more so", []resource{sameKey, {address: "aws_iam_role.cmek", before: with(role, object{"assume_role_policy": trusting(cluster, "")}), after: with(role, object{"assume_role_policy": trusting(cluster, ""), "tags": object{"a": "b"}})}}, planned.Known{}, nil},
		{"a new role that another account assumes, and that reaches no key", []resource{{address: "aws_iam_role.x", after: object{"name": "x", "assume_role_policy": trusting("999999999999", "")}, unknown: object{"arn": true}}}, planned.Known{}, nil},
		{"a deposed role is deleted", []resource{sameKey, sameRole, {address: "aws_iam_role.cmek", before: with(role, object{"arn": "arn:aws:iam::111122223333:role/former"}), more: object{"deposed": "byebye07"}}}, planned.Known{}, []string{unreadRole}},
		{"roles of one name in two accounts", []resource{sameKey, sameRole, {address: "aws_iam_role.other", before: with(role, object{"arn": "arn:aws:iam::999999999999:role/cmek"}), after: with(role, object{"arn": "arn:aws:iam::999999999999:role/cmek"})},
			inline(nil, document(statement("Deny", nil, "kms:*", "*")))}, planned.Known{}, []string{unreadInline}},
		{"two resources set one policy", []resource{onKey(object{"policy": document(byRoot)}), sameRole, {address: "aws_kms_key_policy.orders", before: object{"key_id": keyARN, "policy": forRole}, after: object{"key_id": keyARN, "policy": document(byRole, byRoot)}}},
			planned.Known{}, []string{"ERROR not judged aws_kms_key_policy.orders"}},
		{"one of two resources sets the policy", []resource{onKey(object{"policy": document(byRoot)}), sameRole, {address: "aws_kms_key_policy.orders", before: object{"key_id": keyARN, "policy": forRole}, after: object{"key_id": keyARN, "policy": forRole}}},
			planned.Known{}, []string{cutByKey}},
		{"a policy for a key that the plan does not show", []resource{{address: "aws_kms_key_policy.orders", after: object{"key_id": keyARN, "policy": document(byRoot)}}}, complete, []string{"FAIL cuts off aws_kms_key_policy.orders"}},
		{"the same, and nobody knows who uses it", []resource{{address: "aws_kms_key_policy.orders", after: object{"key_id": keyARN, "policy": document(byRoot)}}}, planned.Known{}, []string{"ERROR cuts off aws_kms_key_policy.orders"}},
		{"a key without a name", []resource{{address: "aws_kms_key.orders", before: object{"policy": forRole}, after: object{"policy": document(byRoot)}}}, planned.Known{}, []string{unread}},
		{"a condition that cannot be told changes", []resource{{address: "aws_kms_key.orders", before: with(key, object{"policy": document(byRoot, conditioned("vpc-1"))}), after: with(key, object{"policy": document(byRoot, conditioned("vpc-2"))})}, sameRole}, complete, []string{"ERROR cuts off aws_kms_key.orders"}},
		{"a condition that cannot be told stays", []resource{{address: "aws_kms_key.orders", before: with(key, object{"policy": document(byRoot, conditioned("vpc-1"))}), after: with(key, object{"policy": document(byRoot, conditioned("vpc-1"), statement("Allow", object{"AWS": root}, "kms:ListGrants", "*"))})}, sameRole}, complete, nil},
		{"a role with a path, which clusters leave out", []resource{sameKey, {address: "aws_iam_role.cmek", before: with(role, object{"arn": "arn:aws:iam::111122223333:role/team/cmek"}), after: with(role, object{"arn": "arn:aws:iam::111122223333:role/team/cmek"})},
			inline(nil, document(statement("Deny", nil, "kms:*", "*")))}, complete, []string{cutByInline}},
		{"a key vault", []resource{{address: "azurerm_key_vault_key.x", before: object{"id": "a"}}}, planned.Known{}, []string{"ERROR not judged azurerm_key_vault_key.x"}},
		{"a role loses it beside one that never had it", []resource{onKey(object{"policy": document(byRoot)}), sameRole}, both, []string{cutByKey}},
		{"a role denies", []resource{sameKey, sameRole, inline(nil, document(statement("Deny", nil, "kms:*", "*")))}, planned.Known{}, []string{cutByInline}},
		{"a role denies another key", []resource{sameKey, sameRole, inline(nil, document(statement("Deny", nil, "kms:*", "arn:aws:kms:us-east-1:111122223333:key/x")))}, planned.Known{}, nil},
		{"a role loses what IAM granted", []resource{{address: "aws_kms_key.orders", before: rootKey, after: rootKey}, sameRole, inline(byIAM, nil)}, planned.Known{}, []string{cutByInline}},
		{"a role loses it, and the key is not in the plan", []resource{sameRole, inline(byIAM, document(statement("Allow", nil, "s3:GetObject", "*")))}, planned.Known{}, []string{cutByInline}},
		{"a role whose trust is not in the plan loses it", []resource{inline(byIAM, nil)}, planned.Known{}, []string{cutByInline}},
		{"a role that no other account assumes loses it", []resource{{address: "aws_iam_role.cmek", before: with(role, object{"assume_role_policy": trusting("111122223333", "")}), after: with(role, object{"assume_role_policy": trusting("111122223333", "")})}, inline(byIAM, nil)}, planned.Known{}, nil},
		{"a policy that is not known", []resource{sameKey, sameRole, {address: "aws_iam_role_policy.kms", after: object{"role": "cmek", "name": "kms"}, unknown: object{"policy": true}}}, planned.Known{}, []string{unreadInline}},
		{"a policy of a role that is not known", []resource{sameKey, sameRole, {address: "aws_iam_role_policy.kms", after: object{"name": "kms", "policy": byIAM}, unknown: object{"role": true}}}, planned.Known{}, []string{unreadInline}},
		{"an inline policy of the role itself", []resource{sameKey, onRole(object{"inline_policy": []any{object{"name": "x", "policy": document(statement("Deny", nil, "*", "*"))}}})}, planned.Known{}, []string{cutByRole}},

		{"AWSDenyAll", []resource{sameKey, sameRole, {address: "aws_iam_role_policy_attachment.x", after: attachment("arn:aws:iam::aws:policy/AWSDenyAll")}}, planned.Known{}, []string{"FAIL cuts off aws_iam_role_policy_attachment.x"}},
		{"a policy that nobody read is attached", []resource{sameKey, sameRole, {address: "aws_iam_role_policy_attachment.x", after: attachment("arn:aws:iam::aws:policy/ReadOnlyAccess")}}, planned.Known{}, []string{"ERROR not judged aws_iam_role_policy_attachment.x"}},
		{"a policy that nobody read is detached", []resource{sameKey, sameRole, {address: "aws_iam_role_policy_attachment.x", before: attachment(policyARN)}}, planned.Known{}, []string{"ERROR not judged aws_iam_role_policy_attachment.x"}},
		{"the policy that grants it is detached", []resource{{address: "aws_kms_key.orders", before: rootKey, after: rootKey}, sameRole, {address: "aws_iam_policy.kms", before: object{"arn": policyARN, "policy": byIAM}, after: object{"arn": policyARN, "policy": byIAM}},
			{address: "aws_iam_role_policy_attachment.x", before: attachment(policyARN)}}, planned.Known{}, []string{"FAIL cuts off aws_iam_role_policy_attachment.x"}},
		{"the policy that grants it is emptied", []resource{{address: "aws_kms_key.orders", before: rootKey, after: rootKey}, sameRole, {address: "aws_iam_policy.kms", before: object{"arn": policyARN, "policy": byIAM}, after: object{"arn": policyARN, "policy": document(statement("Allow", nil, "s3:*", "*"))}},
			{address: "aws_iam_role_policy_attachment.x", before: attachment(policyARN), after: attachment(policyARN)}}, planned.Known{}, []string{"FAIL cuts off aws_iam_policy.kms"}},
		{"a policy of nobody is emptied", []resource{sameKey, sameRole, {address: "aws_iam_policy.kms", before: object{"arn": policyARN, "policy": document(statement("Allow", nil, "s3:GetObject", "*"))}, after: object{"arn": policyARN, "policy": document(statement("Allow", nil, "s3:*", "*"))}}}, planned.Known{}, nil},
		{"a policy of whoever has it denies", []resource{{address: "aws_iam_policy.kms", before: object{"arn": policyARN, "policy": byIAM}, after: object{"arn": policyARN, "policy": document(statement("Deny", nil, "kms:*", "*"))}}}, planned.Known{}, []string{"ERROR not judged aws_iam_policy.kms"}},

		{"a boundary that nobody read", []resource{sameKey, onRole(object{"permissions_boundary": policyARN})}, planned.Known{}, []string{unreadRole}},
		{"a boundary without the key", []resource{sameKey, onRole(object{"permissions_boundary": policyARN}), {address: "aws_iam_policy.b", before: object{"arn": policyARN, "policy": document(statement("Allow", nil, "s3:*", "*"))}, after: object{"arn": policyARN, "policy": document(statement("Allow", nil, "s3:*", "*"))}}}, planned.Known{}, []string{cutByRole}},
		{"a boundary with the key", []resource{sameKey, onRole(object{"permissions_boundary": policyARN}), {address: "aws_iam_policy.b", before: object{"arn": policyARN, "policy": byIAM}, after: object{"arn": policyARN, "policy": byIAM}}}, planned.Known{}, nil},

		{"the role is deleted", []resource{sameKey, {address: "aws_iam_role.cmek", before: role}}, planned.Known{}, []string{cutByRole}},
		{"the role is replaced", []resource{sameKey, {address: "aws_iam_role.cmek", actions: []string{"delete", "create"}, before: role, after: role}}, planned.Known{}, []string{cutByRole}},
		{"a role of no cluster is deleted", []resource{sameKey, {address: "aws_iam_role.cmek", before: role}}, elsewhere, nil},
		{"a role of an application is deleted", []resource{{address: "aws_iam_role.cmek", before: with(role, object{"assume_role_policy": document(object{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": object{"Service": "lambda.amazonaws.com"}})})}}, planned.Known{}, nil},

		{"a grant to a stranger", []resource{sameKey, sameRole, {address: "aws_kms_grant.x", after: object{"key_id": keyARN, "grantee_principal": "arn:aws:iam::999999999999:role/x", "operations": []string{"Decrypt"}}}}, planned.Known{}, []string{"FAIL exposes aws_kms_grant.x"}},
		{"a grant to the cluster's role", []resource{sameKey, sameRole, {address: "aws_kms_grant.x", after: object{"key_id": keyARN, "grantee_principal": roleARN, "operations": []string{"Decrypt"}}}}, planned.Known{}, nil},
		{"a grant to somebody", []resource{sameKey, sameRole, {address: "aws_kms_grant.x", after: object{"key_id": keyARN, "operations": []string{"Decrypt"}}, unknown: object{"grantee_principal": true}}}, planned.Known{}, []string{"ERROR not judged aws_kms_grant.x"}},
		{"the grant of the role is taken", []resource{sameKey, sameRole, {address: "aws_kms_grant.x", before: object{"key_id": keyARN, "grantee_principal": roleARN, "operations": []string{"Decrypt"}}}}, planned.Known{}, []string{"ERROR cuts off aws_kms_grant.x"}},

		{"an alias is moved", []resource{sameKey, sameRole, {address: "aws_kms_alias.x", before: object{"arn": "arn:aws:kms:us-east-1:111122223333:alias/x", "target_key_id": "a"}, after: object{"target_key_id": "b"}}}, planned.Known{}, nil},
		{"the alias that a cluster names is moved", []resource{{address: "aws_kms_alias.x", before: object{"arn": "arn:aws:kms:us-east-1:111122223333:alias/x", "target_key_id": "a"}, after: object{"target_key_id": "b"}}},
			inventory("arn:aws:kms:us-east-1:111122223333:alias/x", roleARN, cluster), []string{"FAIL cuts off aws_kms_alias.x"}},

		{"a key store", []resource{{address: "aws_kms_custom_key_store.x", before: object{"id": "a"}, after: object{"id": "b"}}}, planned.Known{}, []string{"ERROR not judged aws_kms_custom_key_store.x"}},
		{"an SCP", []resource{{address: "aws_organizations_policy.x", before: object{"id": "a"}, after: object{"id": "b"}}}, planned.Known{}, []string{"ERROR not judged aws_organizations_policy.x"}},
		{"an exclusive list of policies", []resource{{address: "aws_iam_role_policies_exclusive.x", after: object{"role_name": "cmek"}}}, planned.Known{}, []string{"ERROR not judged aws_iam_role_policies_exclusive.x"}},
		{"an account is closed", []resource{{address: "aws_organizations_account.x", before: object{"parent_id": "ou-1"}}}, planned.Known{}, []string{"ERROR not judged aws_organizations_account.x"}},
		{"an account moves", []resource{{address: "aws_organizations_account.x", before: object{"parent_id": "ou-1"}, after: object{"parent_id": "ou-2"}}}, planned.Known{}, []string{"ERROR not judged aws_organizations_account.x"}},
		{"an account gets a tag", []resource{{address: "aws_organizations_account.x", before: object{"parent_id": "ou-1"}, after: object{"parent_id": "ou-1", "tags": object{"a": "b"}}}}, planned.Known{}, nil},
		{"a Region is switched off", []resource{{address: "aws_account_region.x", before: object{"enabled": true}, after: object{"enabled": false}}}, planned.Known{}, []string{"ERROR not judged aws_account_region.x"}},
		{"a key is forgotten, and another made", []resource{{address: "aws_kms_key.orders", actions: []string{"create", "forget"}, before: key, after: key, unknown: object{"arn": true}}, sameRole}, planned.Known{}, []string{unread}},

		{"imported material that will expire", []resource{{address: "aws_kms_external_key.x", before: external, after: with(external, object{"valid_to": "2026-04-01T00:00:00Z"})}, sameRole}, planned.Known{}, []string{"FAIL cuts off aws_kms_external_key.x"}},
		{"the same, and the owner replaces it", []resource{{address: "aws_kms_external_key.x", before: external, after: with(external, object{"valid_to": "2026-12-01T00:00:00Z"})}, sameRole}, owned, nil},
		{"the same, too soon", []resource{{address: "aws_kms_external_key.x", before: external, after: with(external, object{"valid_to": "2026-03-20T00:00:00Z"})}, sameRole}, owned, []string{"FAIL cuts off aws_kms_external_key.x"}},
		{"imported material that will expire earlier", []resource{{address: "aws_kms_external_key.x", before: with(external, object{"valid_to": "2026-12-01T00:00:00Z"}), after: with(external, object{"valid_to": "2026-11-01T00:00:00Z"})}, sameRole}, planned.Known{}, []string{"FAIL cuts off aws_kms_external_key.x"}},
		{"imported material that will expire later", []resource{{address: "aws_kms_external_key.x", before: with(external, object{"valid_to": "2026-11-01T00:00:00Z"}), after: with(external, object{"valid_to": "2026-12-01T00:00:00Z"})}, sameRole}, planned.Known{}, nil},
		{"imported material, and nobody knows whether it will expire", []resource{{address: "aws_kms_external_key.x", before: external, after: external, unknown: object{"valid_to": true}}, sameRole}, planned.Known{}, []string{"ERROR cuts off aws_kms_external_key.x"}},

		{"two policies without names, of which one denies", []resource{sameKey, sameRole, unnamed("a", document(statement("Deny", nil, "kms:*", "*"))), unnamed("b", document(statement("Allow", nil, "s3:GetObject", "*")))},
			planned.Known{}, []string{"FAIL cuts off aws_iam_role_policy.a"}},
		{"two policies without names", []resource{sameKey, sameRole, unnamed("a", document(statement("Deny", nil, "s3:*", "*"))), unnamed("b", document(statement("Allow", nil, "s3:GetObject", "*")))}, planned.Known{}, nil},

		{"a cluster's keys are revoked", []resource{{address: "cockroach_cmek.x", before: object{"id": "c", "status": "ENABLED"}, after: object{"id": "c", "status": "REVOKED"}}}, planned.Known{}, []string{"FAIL cuts off cockroach_cmek.x"}},
		{"a cluster's keys are revoked or not", []resource{{address: "cockroach_cmek.x", before: object{"id": "c", "status": "ENABLED"}, after: object{"id": "c"}, unknown: object{"status": true}}}, planned.Known{}, []string{"ERROR cuts off cockroach_cmek.x"}},
		{"a cluster's keys stay revoked", []resource{{address: "cockroach_cmek.x", before: object{"id": "c", "status": "REVOKED"}, after: object{"id": "d", "status": "REVOKED"}}}, planned.Known{}, nil},
		{"a cluster's CMEK is no more managed", []resource{{address: "cockroach_cmek.x", before: object{"id": "c", "status": "ENABLED"}}}, planned.Known{}, nil},
		{"a cluster gets a CMEK", []resource{{address: "cockroach_cmek.x", after: object{"id": "c", "status": "ENABLED"}}}, planned.Known{}, nil},

		{"a bucket", []resource{{address: "aws_s3_bucket.x", after: object{"bucket": "b"}}}, planned.Known{}, nil},
		{"a user", []resource{{address: "aws_iam_user.x", after: object{"name": "b"}}}, planned.Known{}, nil},
	}
}
