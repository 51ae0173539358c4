package risk

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// awsCall chooses what happened by the name of the call: pairs of a name and its words.
func awsCall(otherwise string, pairs ...string) func(Case) string {
	return func(c Case) string {
		name := call(c.Event)
		for pair := range slices.Chunk(pairs, 2) {
			if pair[0] == name {
				return pair[1]
			}
		}
		return otherwise
	}
}

var awsRule = awsCall("was changed, disabled or deleted", "DeleteRule", "was deleted", "DisableRule", "was disabled", "PutRule", "was changed",
	"PutTargets", "had its targets changed", "RemoveTargets", "lost targets")

func awsKey(c Case) string { return the("Key", c.Event.Key.ID()) }

func awsKeyStore(c Case) string {
	return the("Custom key store", c.Event.Parameters["custom_key_store_id"])
}

func awsRole(c Case) string { return the("Role", awsRoleName(c)) }

// awsRoleName is the name that IAM's commands want, which is not the ARN.
// awsRolePath is the path of a deleted role as the clusters name it, with its slashes; "" for none.
func awsRolePath(c Case) string {
	if c.Effect == nil {
		return ""
	}
	_, path, _ := strings.Cut(string(c.Effect.Role), ":role/")
	if path = strings.TrimSuffix(path, lastSegment(path)); path == "" {
		return ""
	}
	return "/" + path
}

// awsRestorePermissions gives a role that was created again the policies and the boundary that were noted of it.
func awsRestorePermissions(c Case, p *plan) {
	var role struct {
		Inline   map[string]json.RawMessage `json:"inline"`
		Attached map[string]json.RawMessage `json:"attached"`
		Boundary map[string]json.RawMessage `json:"boundary"`
	}
	if c.Effect == nil || json.Unmarshal([]byte(c.Effect.Permissions), &role) != nil {
		p.say("Give the role the policies and the permissions boundary that it had; keyturn has not read them.")
		return
	}
	name := awsRoleName(c)
	for _, policy := range slices.Sorted(maps.Keys(role.Inline)) {
		p.steps = append(p.steps, `printf '%s\n' `+quoted(compact(string(role.Inline[policy])))+" > "+rolePolicyFile)
		p.run("aws iam put-role-policy", "role-name", name, "policy-name", policy, "policy-document", "file://"+rolePolicyFile)
	}
	for _, arn := range slices.Sorted(maps.Keys(role.Attached)) {
		p.run("aws iam attach-role-policy", "role-name", name, "policy-arn", arn)
	}
	for _, arn := range slices.Sorted(maps.Keys(role.Boundary)) {
		p.run("aws iam put-role-permissions-boundary", "role-name", name, "permissions-boundary", arn)
	}
}

func awsRoleName(c Case) string { return lastSegment(string(c.Event.Identity)) }

// kms adds a command of KMS about the event's key. KMS takes the name of an alias for a key in few calls only.
func (p *plan) kms(c Case, operation string, flags ...string) {
	key, region := string(c.Event.Key), cmp.Or(c.Event.Key.Location(), c.Event.Region)
	if c.Event.Key.IsAlias() && operation != "describe-key" {
		if len(p.steps) == 0 || !strings.Contains(strings.Join(p.steps, "\n"), "describe-key") {
			p.say("The event names the key by an alias. The ARN of the key that the alias names now:")
			p.run("aws kms describe-key", "region", region, "key-id", key, "query", "KeyMetadata.Arn", "output", "text")
		}
		key = ""
	}
	p.run("aws kms "+operation, append([]string{"region", region, "key-id", key}, flags...)...)
}

func (p *plan) keyStore(c Case, operation string) {
	p.run("aws kms "+operation, "region", c.Event.Region, "custom-key-store-id", c.Event.Parameters["custom_key_store_id"])
}

// awsImport imports the same material again, without an expiry date.
func awsImport(c Case, p *plan) {
	material := "the same bytes as before"
	if id := c.Event.Parameters["key_material_id"]; id != "" {
		material = "the bytes of material " + clip(id)
	}
	p.say("Import the key material again: " + material + ", which KMS does not keep. Get the wrapping key and the import token:")
	p.kms(c, "get-parameters-for-import", "wrapping-algorithm", "RSAES_OAEP_SHA_256", "wrapping-key-spec", "RSA_4096")
	p.say("Wrap the material with that public key, save it as material.bin and the token as token.bin, both decoded from base64, and import:")
	p.kms(c, "import-key-material", "import-token", "fileb://token.bin", "encrypted-key-material", "fileb://material.bin",
		"expiration-model", "KEY_MATERIAL_DOES_NOT_EXPIRE")
	p.check()
}

// awsOwnRole restores a role of keyturn itself.
func awsOwnRole(c Case, p *plan) {
	role := awsRoleName(c)
	p.say(redeploy)
	p.say("Check that nobody else can assume the role, and that it has the policies of the deployment and no others:")
	p.run("aws iam get-role", "role-name", role)
	p.run("aws iam list-attached-role-policies", "role-name", role)
	p.run("aws iam list-role-policies", "role-name", role)
}

// awsPermissions says which policy of a role was changed.
func awsPermissions(c Case) string {
	policy := func(kind, name string) string {
		if name == "" {
			return "a policy"
		}
		return kind + " policy " + inQuotes(name)
	}
	attached, inline := lastSegment(c.Event.Parameters["policy_arn"]), c.Event.Parameters["policy_name"]
	switch call(c.Event) {
	case "AttachRolePolicy":
		return "had " + policy("managed", attached) + " attached"
	case "DetachRolePolicy":
		return "had " + policy("managed", attached) + " detached"
	case "PutRolePolicy":
		return "had " + policy("inline", inline) + " set"
	case "DeleteRolePolicy":
		return "had " + policy("inline", inline) + " deleted"
	}
	return "had its permissions changed"
}

func awsBoundary(c Case) string {
	switch boundary := lastSegment(c.Event.Parameters["policy_arn"]); {
	case call(c.Event) == "DeleteRolePermissionsBoundary":
		return "had its permissions boundary deleted"
	case boundary != "":
		return "had its permissions boundary set to " + inQuotes(boundary)
	}
	return "had its permissions boundary changed"
}

func awsUndoPermissions(c Case, p *plan) {
	role, attached, inline := awsRoleName(c), c.Event.Parameters["policy_arn"], c.Event.Parameters["policy_name"]
	if c.Effect != nil && c.Effect.Previous != "" {
		p.save(c, "policies", previousRole)
		p.say("The file " + previousRole + " has the role's policies as keyturn read them last.")
	}
	putBack := func(when string) {
		p.say(when + " the policy's previous document as " + previousPolicy + ", and put it back:")
		p.run("aws iam put-role-policy", "role-name", role, "policy-name", inline, "policy-document", "file://"+previousPolicy)
	}
	switch call(c.Event) {
	case "AttachRolePolicy":
		p.run("aws iam detach-role-policy", "role-name", role, "policy-arn", attached)
	case "DetachRolePolicy":
		p.run("aws iam attach-role-policy", "role-name", role, "policy-arn", attached)
	case "PutRolePolicy":
		p.say("If the policy is new, delete it:")
		p.run("aws iam delete-role-policy", "role-name", role, "policy-name", inline)
		putBack("If it is not new, save")
	case "DeleteRolePolicy":
		putBack("Save")
	default:
		p.say("Undo the change in the role's policies; an explicit Deny in any of them wins:")
		p.run("aws iam list-attached-role-policies", "role-name", role)
		p.run("aws iam list-role-policies", "role-name", role)
	}
	p.check()
}

func awsUndoManagedPolicy(c Case, p *plan) {
	arn, version := c.Event.Parameters["policy_arn"], c.Event.Parameters["version_id"]
	if call(c.Event) == "DeletePolicy" {
		p.say("If the clusters' role relied on the policy, create it again from your own infrastructure code, and attach it.")
		p.check()
		return
	}
	p.say("Check whether the policy is attached to the clusters' role:")
	p.run("aws iam list-entities-for-policy", "policy-arn", arn)
	p.say("If it is, make an earlier version the default again; an explicit Deny in any policy wins:")
	p.run("aws iam list-policy-versions", "policy-arn", arn)
	if version != "" && call(c.Event) == "SetDefaultPolicyVersion" {
		p.say("Version " + clip(version) + " is the default now; set the one before.")
	}
	p.run("aws iam set-default-policy-version", "policy-arn", arn, "version-id", "")
	p.check()
}

func awsAlias(c Case) string {
	key := ""
	if c.Event.Key != "" && !c.Event.Key.IsAlias() {
		key = " key " + c.Event.Key.ID()
	}
	switch call(c.Event) {
	case "CreateAlias":
		return "was created" + prefixed(" for", key)
	case "UpdateAlias":
		return "was moved" + prefixed(" to", key)
	case "DeleteAlias":
		return "was deleted" + prefixed(" (it named", key) + closing(key)
	}
	return "was created, moved or deleted"
}

func awsAliasImpact(c Case) string {
	switch {
	case !c.Pinned:
		return "Clusters use keys by ARN, so they are not affected. Procedures that use the alias are."
	case call(c.Event) == "DeleteAlias":
		return "Clusters are pinned to the alias. They go on with the keys that they use by ARN, and keyturn follows nothing there until the alias exists again."
	}
	return "Clusters are pinned to the alias, and use their keys by ARN. Once the alias has settled and every check passes, keyturn moves those to its key that follow it; the others it reports."
}

// closing is the bracket behind a text; "" if there is no text.
func closing(text string) string {
	if text == "" {
		return ""
	}
	return ")"
}

// prefixed is a text behind a prefix; "" if there is no text.
func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func awsUndoAlias(c Case, p *plan) {
	e := c.Event
	name, region := e.Parameters["alias"], cmp.Or(e.Key.Location(), e.Region)
	key := string(e.Key)
	if e.Key.IsAlias() {
		key, name = "", cmp.Or(name, e.Key.ID())
	}
	if c.Pinned {
		p.say("See which clusters are pinned to the alias, and how they stand:")
		p.run("keyturn pin")
	}
	switch call(e) {
	case "CreateAlias":
		p.say("If the alias is not expected, delete it:")
		p.run("aws kms delete-alias", "region", region, "alias-name", name)
	case "DeleteAlias":
		p.say("If the alias is needed, create it again:")
		p.run("aws kms create-alias", "region", region, "alias-name", name, "target-key-id", key)
	default:
		p.say("If the alias must name the key from before, move it back:")
		p.run("aws kms update-alias", "region", region, "alias-name", name, "target-key-id", "")
	}
}

// awsReplica is the ARN of a multi-Region key's replica in a Region; "" if either is not known.
func awsReplica(key cmek.KeyURI, region string) string {
	parts := strings.Split(string(key), ":")
	if len(parts) != 6 || region == "" {
		return ""
	}
	parts[3] = region
	return strings.Join(parts, ":")
}

// awsRefusal says what a refused call of a cluster means.
func awsRefusal(c Case) string {
	switch c.Event.Failure {
	case cmek.FailurePassing:
		return "AWS reports a transient error. Clusters are affected only if it persists."
	case cmek.FailureWrongKey:
		return "The data was encrypted under another key. What the cluster wanted to decrypt stays unreadable with this key."
	case cmek.FailureRequest:
		return "The request itself was wrong. The key and the access to it are not the cause."
	case cmek.FailureUnfit:
		return "The key's state does not allow its use. Clusters may already be affected. " + unusable
	case cmek.FailureMissing:
		return "AWS does not find what the cluster asked for. Clusters may already be affected. " + unusable
	}
	return "Clusters may already be affected. " + unusable
}

func awsUndoRefusal(c Case, p *plan) {
	if c.Event.Key == "" {
		role := lastSegment(cmp.Or(string(c.Event.Identity), string(c.Event.Issuer)))
		p.say("Check that the role exists, and that it trusts the cluster's account with the external id:")
		p.run("aws iam get-role", "role-name", role)
		p.check()
		return
	}
	switch c.Event.Failure {
	case cmek.FailurePassing, cmek.FailureRequest:
		p.say("If it happens again, read the error code in CloudTrail and ask Cockroach Labs support.")
		return
	case cmek.FailureWrongKey:
		p.say("Find out which key the data was encrypted under, and keep that key usable. The current and past keys of each cluster:")
		p.run("keyturn status")
		return
	case cmek.FailureUnfit:
		p.say("Check the key's state, and enable the key if it is disabled:")
		p.kms(c, "describe-key")
		p.kms(c, "enable-key")
		p.check()
		return
	}
	if c.Event.Failure == cmek.FailureMissing {
		p.say("Check that the key exists under this ARN, and that the cluster is configured with it:")
		p.kms(c, "describe-key")
		p.check()
		return
	}
	p.say("Check that the key is enabled:")
	p.kms(c, "describe-key")
	p.say("Check that the key policy allows the cluster's principal:")
	p.kms(c, "get-key-policy", "policy-name", "default")
	if c.Event.Issuer != "" {
		p.say("Check the role's own policies and its permissions boundary:")
		p.run("aws iam get-role", "role-name", lastSegment(string(c.Event.Issuer)))
		p.run("aws iam list-attached-role-policies", "role-name", lastSegment(string(c.Event.Issuer)))
		p.run("aws iam list-role-policies", "role-name", lastSegment(string(c.Event.Issuer)))
	}
	p.check()
}

func awsUndoGuardRails(c Case, p *plan) {
	e := c.Event
	id, target := e.Parameters["policy_id"], e.Parameters["target"]
	p.say("If the change keeps the clusters' role from KMS or STS, undo it in the organization's management account:")
	switch call(e) {
	case "AttachPolicy":
		p.run("aws organizations detach-policy", "policy-id", id, "target-id", target)
	case "DetachPolicy":
		p.run("aws organizations attach-policy", "policy-id", id, "target-id", target)
	case "DisablePolicyType":
		p.run("aws organizations enable-policy-type", "root-id", target, "policy-type", e.Parameters["policy_type"])
	case "MoveAccount":
		p.run("aws organizations move-account", "account-id", target, "source-parent-id", e.Parameters["destination_parent"],
			"destination-parent-id", e.Parameters["source_parent"])
	default:
		p.run("aws organizations describe-policy", "policy-id", id)
	}
	p.check()
}

// awsTopic is the ARN of the topic, which a subscription's ARN contains.
func awsTopic(c Case) string {
	if topic := c.Event.Parameters["topic"]; topic != "" {
		return topic
	}
	subscription := c.Event.Parameters["subscription"]
	if parts := strings.Split(subscription, ":"); len(parts) == 7 {
		return strings.Join(parts[:6], ":")
	}
	return ""
}

func topicName(arn string) string { return arn[strings.LastIndex(arn, ":")+1:] }

// functionName is the name in a function's ARN, or the name itself.
func functionName(function string) string {
	if _, name, ok := strings.Cut(function, ":function:"); ok {
		name, _, _ = strings.Cut(name, ":")
		return name
	}
	return function
}

// secretName is the name in a secret's ARN, or the name itself.
func secretName(secret string) string {
	if _, name, ok := strings.Cut(secret, ":secret:"); ok {
		return name
	}
	return secret
}

// queueName is the name at the end of a queue's URL or ARN.
func queueName(queue string) string { return queue[strings.LastIndexAny(queue, ":/")+1:] }

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + clip(text) + ")"
}
