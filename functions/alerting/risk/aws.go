package risk

import (
	"cmp"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

const (
	unusable = "Nodes that restart cannot rejoin their cluster, and managed backups fail silently. " +
		"Running nodes keep working with the keys they hold in memory until they restart."
	gone  = "The key cannot be restored. Data that is encrypted under it cannot be read once the nodes restart."
	blind = "Until this is fixed, changes that put keys at risk may go unnoticed."
	// canceling is only half of the recovery from a scheduled deletion.
	canceling = "Canceling the deletion leaves the key disabled: enable it, too."
	// following: by default keyturn only observes.
	following = "keyturn re-encrypts them if it follows (KEYTURN_MODE=follow)."
	redeploy  = "Deploy keyturn's infrastructure again."
)

// aws are the words of AWS, and the commands of its CLI.
var aws = map[cmek.Change]words{
	cmek.ChangeDeletionScheduled: {
		subject: awsKey, happened: always("was scheduled for deletion"), attempt: "schedule the deletion of %s",
		impact: func(c Case) string {
			if waitsForReplicas(c.Event) {
				return unusable + " The waiting period begins when the last replica is deleted. " + canceling
			}
			return unusable + " When the waiting period ends, the key is deleted and cannot be restored. " + canceling
		},
		steps: func(c Case, p *plan) {
			p.kms(c, "cancel-key-deletion")
			p.kms(c, "enable-key")
			p.check()
		},
	},
	cmek.ChangeKeyDisabled: {
		subject: awsKey, happened: always("was disabled"), attempt: "disable %s", impact: always(unusable),
		steps: func(c Case, p *plan) {
			p.kms(c, "enable-key")
			p.check()
		},
	},
	cmek.ChangeKeyDeleted: {
		subject: awsKey, happened: always("was deleted"), attempt: "delete %s", impact: always(gone),
		steps: func(_ Case, p *plan) {
			p.say("Open a support case with Cockroach Labs now.")
			p.say("Do not restart nodes: running nodes still hold their keys in memory.")
			p.say("Backups that are encrypted under another key can still be restored.")
		},
	},
	cmek.ChangeMaterialDeleted: {
		subject: awsKey, happened: always("had its imported key material deleted"), attempt: "delete imported key material of %s", impact: always(unusable),
		steps: awsImport,
	},
	cmek.ChangeMaterialExpired: {
		subject: awsKey, happened: always("lost its imported key material, which expired"), attempt: "delete expired key material of %s", impact: always(unusable),
		steps: awsImport,
	},
	cmek.ChangeKeyStoreDisconnected: {
		subject: awsKeyStore, happened: always("was disconnected"), attempt: "disconnect %s", impact: always("No key in the store can be used. " + unusable),
		steps: func(c Case, p *plan) {
			p.keyStore(c, "connect-custom-key-store")
			p.say("Connecting can take some minutes. Check the connection state:")
			p.keyStore(c, "describe-custom-key-stores")
			p.check()
		},
	},
	cmek.ChangeKeyStore: {
		subject:  awsKeyStore,
		happened: awsCall("was changed or deleted", "DeleteCustomKeyStore", "was deleted", "UpdateCustomKeyStore", "was changed"), attempt: "change or delete %s",
		impact: func(c Case) string {
			if call(c.Event) == "DeleteCustomKeyStore" {
				return "AWS deletes a key store only when it is empty: its keys were deleted before."
			}
			return "If the keys in the store can no longer be used: " + unusable
		},
		steps: func(c Case, p *plan) {
			if call(c.Event) == "DeleteCustomKeyStore" {
				p.say("Check that no cluster needs a key of that store. keyturn status shows the state of every key.")
				return
			}
			p.say("Check that the store is connected:")
			p.keyStore(c, "describe-custom-key-stores")
			p.check()
		},
	},
	cmek.ChangeKeyStoreConnected: {
		subject: awsKeyStore, happened: always("was connected"), attempt: "connect %s",
		impact: always("Nodes that restarted while the store was disconnected may not recover by themselves."),
		steps: func(c Case, p *plan) {
			p.keyStore(c, "describe-custom-key-stores")
			p.check()
		},
	},
	cmek.ChangeMaterialImported: {
		subject: awsKey, happened: always("had key material imported"), attempt: "import key material into %s",
		impact: func(c Case) string {
			if expires := c.Event.Parameters["valid_to"]; expires != "" {
				return "The whole key becomes unusable when the material expires: " + clip(expires) + "."
			}
			return "If the material has an expiry date, the whole key becomes unusable on that date."
		},
		steps: func(c Case, p *plan) {
			p.say("Check that the import was planned, and until when the material is valid (ValidTo):")
			p.kms(c, "describe-key")
		},
	},

	cmek.ChangeKeyPolicy: {
		subject: awsKey, happened: always("had its key policy replaced"), attempt: "replace the key policy of %s",
		impact: always("A key policy that does not allow the clusters' principal cuts them off."),
		steps: func(c Case, p *plan) {
			p.save(c, "key policy", previousPolicy)
			p.kms(c, "put-key-policy", "policy-name", "default", "policy", "file://"+previousPolicy)
			p.check()
		},
	},
	cmek.ChangeGrantCreated: {
		subject: awsKey, happened: always("had a grant created"), attempt: "create a grant on %s",
		impact: func(c Case) string {
			grantee := cmp.Or(clip(c.Event.Parameters["grantee"]), "Whoever holds the grant")
			return grantee + " can use the key" + inBrackets(c.Event.Parameters["operations"]) + ", whatever the key policy says."
		},
		steps: func(c Case, p *plan) {
			p.say("CockroachDB Cloud needs no grant. If the grant is not expected, revoke it:")
			p.kms(c, "revoke-grant", "grant-id", c.Event.Parameters["grant_id"])
			p.kms(c, "list-grants")
		},
	},
	cmek.ChangeGrantRemoved: {
		subject: awsKey, happened: awsCall("had a grant revoked or retired", "RevokeGrant", "had a grant revoked", "RetireGrant", "had a grant retired"),
		attempt: "revoke or retire a grant on %s",
		impact:  always("Clusters get their access from the key policy, not from grants. Access is lost only if yours is set up in another way."),
		steps: func(c Case, p *plan) {
			p.say("If a cluster relied on the grant, create it again. The event does not say whose grant it was; the grants that are left:")
			p.kms(c, "list-grants")
		},
	},

	cmek.ChangePrincipalTrust: {
		subject: awsRole, happened: always("had its trust policy replaced"), attempt: "change the trust policy of %s",
		impact: always("A trust policy without CockroachDB Cloud's account and external id cuts the clusters off."),
		steps: func(c Case, p *plan) {
			p.save(c, "trust policy", previousPolicy)
			p.run("aws iam update-assume-role-policy", "role-name", awsRoleName(c), "policy-document", "file://"+previousPolicy)
			p.check()
		},
	},
	cmek.ChangePrincipalDeleted: {
		subject: awsRole, happened: always("was deleted"), attempt: "delete %s",
		impact: always("The clusters can no longer use their keys. " + unusable + " A new role of the same name does not restore access by itself: the key policy must be saved again."),
		steps: func(c Case, p *plan) {
			p.save(c, "trust policy", previousPolicy)
			create := []string{"role-name", awsRoleName(c), "assume-role-policy-document", "file://" + previousPolicy}
			if path := awsRolePath(c); path != "" {
				create = append(create, "path", path) // else the new role has another ARN than the one that the clusters assume
			}
			p.run("aws iam create-role", create...)
			awsRestorePermissions(c, p)
			p.say("The policies of the clusters' keys name the deleted role's unique id (AROA…), which the new role does not have. For each key, read the policy, " +
				"replace that id by the role's ARN in " + keyPolicyFile + ", and put the policy back:")
			keys := c.Keys
			if len(keys) == 0 {
				keys = []cmek.KeyURI{""}
			}
			for _, key := range keys {
				at := []string{"region", key.Location(), "key-id", string(key), "policy-name", "default"}
				p.run("aws kms get-key-policy", append(at, "query", "Policy", "output", "text")...)
				p.steps[len(p.steps)-1] += " > " + keyPolicyFile
				p.run("aws kms put-key-policy", append(at, "policy", "file://"+keyPolicyFile)...)
			}
			p.check()
		},
	},
	cmek.ChangePrincipalPolicy: {
		subject: awsRole, happened: awsPermissions, attempt: "change the permissions of %s", impact: always("An explicit Deny in any policy cuts the clusters off."),
		steps: awsUndoPermissions,
	},
	cmek.ChangeBoundary: {
		subject: awsRole, happened: awsBoundary,
		attempt: "change the permissions boundary of %s", impact: always("A boundary that does not allow the key's actions cuts the clusters off."),
		steps: func(c Case, p *plan) {
			role := awsRoleName(c)
			if c.Effect != nil && c.Effect.Previous != "" {
				p.save(c, "policies", previousRole)
				p.say("The file " + previousRole + " has the role's policies as keyturn read them last.")
			}
			if call(c.Event) != "DeleteRolePermissionsBoundary" {
				p.say("If the role had no boundary before, delete the new one:")
				p.run("aws iam delete-role-permissions-boundary", "role-name", role)
			}
			p.say("If the role had a boundary before, put it back:")
			p.run("aws iam put-role-permissions-boundary", "role-name", role, "permissions-boundary", "")
			p.check()
		},
	},
	cmek.ChangeManagedPolicy: {
		subject: func(c Case) string { return the("Managed policy", lastSegment(c.Event.Parameters["policy_arn"])) },
		happened: awsCall("was changed", "CreatePolicyVersion", "got a new version", "SetDefaultPolicyVersion", "got another default version",
			"DeletePolicyVersion", "had a version deleted", "DeletePolicy", "was deleted"),
		attempt: "change %s",
		impact: func(c Case) string {
			if call(c.Event) == "DeletePolicy" {
				return "If the clusters' access to the key came from it, they are cut off."
			}
			return "If it is attached to the clusters' role, an explicit Deny in it cuts them off."
		},
		steps: awsUndoManagedPolicy,
	},
	cmek.ChangePrincipalSettings: {
		subject: awsRole, happened: awsCall("had its settings or tags changed", "UpdateRole", "had its settings changed", "TagRole", "was tagged", "UntagRole", "had tags removed"),
		attempt: "change settings or tags of %s", impact: always("Access is lost only if it depends on the role's tags."),
		steps: func(c Case, p *plan) {
			p.say("Check the role's settings and tags:")
			p.run("aws iam get-role", "role-name", awsRoleName(c))
		},
	},

	cmek.ChangeRotationDisabled: {
		subject: awsKey, happened: always("had its automatic rotation disabled"), attempt: "disable the automatic rotation of %s",
		impact: always("The key's material grows older than your policy may allow. Clusters are not affected."),
		steps: func(c Case, p *plan) {
			p.say("Unless the key is rotated by hand, enable rotation again. Its period restarts now:")
			p.kms(c, "enable-key-rotation")
		},
	},
	cmek.ChangeRotationSchedule: {
		subject: awsKey, attempt: "change the automatic rotation of %s",
		happened: func(c Case) string {
			if days := c.Event.Parameters["rotation_period_days"]; days != "" {
				return "was set to rotate every " + clip(days) + " days"
			}
			return "had its automatic rotation enabled or changed"
		},
		impact: always("Clusters are not affected. A long period may break your policy."),
		steps: func(c Case, p *plan) {
			p.say("Compare the rotation period with your policy:")
			p.kms(c, "get-key-rotation-status")
		},
	},
	cmek.ChangeRotated: {
		subject: awsKey, happened: always("was rotated"), attempt: "rotate %s", impact: always("The store keys are not re-encrypted yet; " + following),
		steps: func(_ Case, p *plan) { p.say("Check how far the re-encryption is:"); p.run("keyturn status") },
	},
	cmek.ChangeRotationRequested: {
		subject: awsKey, happened: always("is being rotated on demand"), attempt: "rotate %s on demand",
		impact: always("A key can be rotated on demand 25 times in its life. When the rotation is complete, the store keys must be re-encrypted; " + following),
		steps: func(c Case, p *plan) {
			p.say("Check that the rotation was planned, and whether it is still running:")
			p.kms(c, "get-key-rotation-status")
		},
	},
	cmek.ChangeAlias: {
		subject: func(c Case) string {
			name := c.Event.Parameters["alias"]
			if name == "" && c.Event.Key.IsAlias() {
				name = c.Event.Key.ID()
			}
			return the("Alias", inQuotes(name))
		},
		happened: awsAlias, attempt: "create, move or delete %s",
		impact: awsAliasImpact,
		steps:  awsUndoAlias,
	},
	cmek.ChangeKeyTags: {
		subject: awsKey, happened: awsCall("had its tags changed", "TagResource", "was tagged", "UntagResource", "had tags removed"), attempt: "change the tags of %s",
		impact: always("Access is lost only if it depends on the key's tags."),
		steps: func(c Case, p *plan) {
			p.say("Check the key's tags:")
			p.kms(c, "list-resource-tags")
		},
	},
	cmek.ChangeDeletionCanceled: {
		subject: awsKey, happened: always("is no longer scheduled for deletion, but is still disabled"), attempt: "cancel the deletion of %s",
		impact: always("Canceling a deletion does not enable the key. " + unusable),
		steps: func(c Case, p *plan) {
			p.kms(c, "enable-key")
			p.check()
		},
	},
	cmek.ChangeKeyEnabled: {
		subject: awsKey, happened: always("was enabled"), attempt: "enable %s",
		impact: func(c Case) string {
			if c.broken() {
				return "The key still cannot be used: its state is \"" + string(c.Key.State) + "\". " + unusable
			}
			return "Nodes that restarted while the key was disabled may not recover by themselves."
		},
		steps: func(c Case, p *plan) {
			if c.broken() {
				p.say("Read the key's state again after a minute, and enable the key if it is still disabled:")
				p.kms(c, "describe-key")
				p.kms(c, "enable-key")
			}
			p.check()
		},
	},
	cmek.ChangePrimaryMoved: {
		subject: awsKey, attempt: "move the primary Region of %s",
		happened: func(c Case) string {
			if region := c.Event.Parameters["primary_region"]; region != "" {
				return "had its primary Region moved to " + clip(region)
			}
			return "had its primary Region moved"
		},
		impact: always("Rotations of the key now begin in another Region. Without keyturn's event rules there, they are noticed late."),
		steps: func(c Case, p *plan) {
			p.say("Check that keyturn's event rules are in the new primary Region:")
			p.run("aws events list-rules", "region", c.Event.Parameters["primary_region"])
		},
	},
	cmek.ChangeReplicaCreated: {
		subject: awsKey, attempt: "replicate %s to another Region",
		happened: func(c Case) string {
			return "was replicated to " + cmp.Or(clip(c.Event.Parameters["replica_region"]), "another Region")
		},
		impact: always("The replica has a key policy of its own, and holds the key's material in another Region."),
		steps: func(c Case, p *plan) {
			region := c.Event.Parameters["replica_region"]
			p.say("Check that the replica was planned, and who may use it:")
			p.run("aws kms get-key-policy", "region", region, "key-id", awsReplica(c.Event.Key, region), "policy-name", "default")
		},
	},

	cmek.ChangeLogSink: {
		subject: func(c Case) string { return the("Trail", inQuotes(lastSegment(c.Event.Parameters["trail"]))) },
		happened: awsCall("was stopped, deleted or changed", "StopLogging", "was stopped", "DeleteTrail", "was deleted", "UpdateTrail", "was changed",
			"PutEventSelectors", "had its event selectors changed"),
		attempt: "stop, delete or change %s", impact: always(blind),
		steps: func(c Case, p *plan) {
			trail := c.Event.Parameters["trail"]
			if call(c.Event) == "DeleteTrail" {
				p.say("Create the trail again from your own infrastructure code, then start logging:")
			}
			p.run("aws cloudtrail start-logging", "region", c.Event.Region, "name", trail)
			p.say("Check that the event selectors do not exclude KMS:")
			p.run("aws cloudtrail get-event-selectors", "region", c.Event.Region, "trail-name", trail)
			p.say("Changes made meanwhile were not recorded. keyturn status shows the state of every key.")
		},
	},
	cmek.ChangeEventRule: {
		subject: func(c Case) string { return the("Event rule", inQuotes(c.Event.Parameters["rule"])) },
		happened: func(c Case) string {
			if call(c.Event) == "PutRule" && c.Event.Parameters["state"] == "DISABLED" {
				return "was disabled"
			}
			return awsRule(c)
		},
		attempt: "change %s", impact: always(blind),
		steps: func(c Case, p *plan) {
			if c.Own {
				p.say(redeploy)
			}
			at := []string{"region", c.Event.Region, "name", c.Event.Parameters["rule"]}
			on := []string{"region", c.Event.Region, "rule", c.Event.Parameters["rule"]}
			if bus := c.Event.Parameters["event_bus"]; bus != "" {
				at, on = append(at, "event-bus-name", bus), append(on, "event-bus-name", bus)
			}
			if call(c.Event) == "DeleteRule" {
				if !c.Own {
					p.say("If the rule is needed, create it again from your own infrastructure code.")
				}
				return
			}
			p.say("Check that the rule is enabled, and that its events go where they should:")
			p.run("aws events describe-rule", at...)
			p.run("aws events list-targets-by-rule", on...)
			p.say("If it is disabled, enable it:")
			p.run("aws events enable-rule", at...)
		},
	},
	cmek.ChangeEventBus: {
		subject: func(c Case) string { return the("Event bus", inQuotes(lastSegment(c.Event.Parameters["event_bus"]))) },
		happened: awsCall("was changed or deleted", "DeleteEventBus", "was deleted", "RemovePermission", "lost a permission", "PutPermission", "had its policy changed",
			"UpdateEventBus", "was changed"),
		attempt: "change or delete %s", impact: always("Events of key changes may no longer reach keyturn. " + blind),
		steps: func(c Case, p *plan) {
			p.say(redeploy)
			p.say("Check that the bus exists, and that its policy allows the accounts that forward events:")
			p.run("aws events describe-event-bus", "region", c.Event.Region, "name", c.Event.Parameters["event_bus"])
		},
	},
	cmek.ChangeAlarm: {
		subject: func(c Case) string { return the("Alarm", inQuotes(c.Event.Parameters["alarm"])) },
		happened: awsCall("was deleted or silenced", "DeleteAlarms", "was deleted", "DisableAlarmActions", "had its actions disabled", "PutMetricAlarm", "was changed",
			"PutCompositeAlarm", "was changed"),
		attempt: "delete or silence %s", impact: always("If keyturn itself fails, nobody is notified."),
		steps: func(c Case, p *plan) {
			p.say(redeploy)
			p.say("Check that the alarm exists, and enable its actions:")
			for name := range strings.SplitSeq(c.Event.Parameters["alarm"], ",") {
				p.run("aws cloudwatch describe-alarms", "region", c.Event.Region, "alarm-names", name)
				p.run("aws cloudwatch enable-alarm-actions", "region", c.Event.Region, "alarm-names", name)
			}
		},
	},
	cmek.ChangeAlertTopic: {
		subject: func(c Case) string { return the("Alert topic", inQuotes(topicName(awsTopic(c)))) },
		happened: awsCall("was deleted or lost a subscription", "DeleteTopic", "was deleted", "Unsubscribe", "lost a subscription",
			"SetTopicAttributes", "was changed", "SetSubscriptionAttributes", "had a subscription changed", "AddPermission", "had its policy changed", "RemovePermission", "lost a permission"),
		attempt: "delete %s or remove its subscriptions", impact: always("Alerts of keyturn may reach nobody."),
		steps: func(c Case, p *plan) {
			p.say(redeploy + " A deployment without changes does not restore a subscription.")
			if name := call(c.Event); name == "AddPermission" || name == "RemovePermission" {
				p.say("Check that the topic's policy is that of the deployment:")
				p.run("aws sns get-topic-attributes", "region", c.Event.Region, "topic-arn", awsTopic(c))
				return
			}
			p.say("Check that every subscription is there and confirmed, and subscribe again what is missing:")
			p.run("aws sns list-subscriptions-by-topic", "region", c.Event.Region, "topic-arn", awsTopic(c))
			p.run("aws sns subscribe", "region", c.Event.Region, "topic-arn", awsTopic(c), "protocol", "", "notification-endpoint", "")
		},
	},
	cmek.ChangeSchedule: {
		subject: func(c Case) string {
			thing := "Schedule"
			if call(c.Event) == "DeleteScheduleGroup" {
				thing = "Schedule group"
			}
			return the(thing, inQuotes(lastSegment(c.Event.Parameters["schedule"])))
		},
		happened: awsCall("was changed or deleted", "DeleteSchedule", "was deleted", "UpdateSchedule", "was changed", "DeleteScheduleGroup", "was deleted with its schedules"),
		attempt:  "change or delete %s", impact: always("keyturn may no longer do due work: rotations stay without follow-through, and open incidents are not checked."),
		steps: func(c Case, p *plan) {
			p.say(redeploy)
			if call(c.Event) == "DeleteScheduleGroup" {
				p.say("Check that keyturn's schedules exist and are enabled:")
				p.run("aws scheduler list-schedules", "region", c.Event.Region)
				return
			}
			p.say("Check that the schedule exists and is enabled:")
			at := []string{"region", c.Event.Region, "name", lastSegment(c.Event.Parameters["schedule"])}
			if group := c.Event.Parameters["schedule_group"]; group != "" {
				at = append(at, "group-name", group)
			}
			p.run("aws scheduler get-schedule", at...)
		},
	},
	cmek.ChangeFunction: {
		subject: func(c Case) string {
			if strings.Contains(call(c.Event), "EventSourceMapping") {
				return the("Event source", inQuotes(queueName(c.Event.Parameters["queue"])))
			}
			return the("Function", inQuotes(functionName(c.Event.Parameters["function"])))
		},
		happened: func(c Case) string {
			// Lambda's records carry the version of its API in the name, such as UpdateFunctionCode20150331v2.
			name := strings.TrimRight(call(c.Event), "0123456789v")
			for _, known := range [][2]string{
				{"DeleteFunction", "was deleted"}, {"UpdateFunctionCode", "had its code replaced"}, {"UpdateFunctionConfiguration", "had its configuration changed"},
				{"PutFunctionConcurrency", "had its concurrency limited"}, {"DeleteEventSourceMapping", "was disconnected from its function"}, {"UpdateEventSourceMapping", "had its function or settings changed"},
			} {
				if name == known[0] {
					return known[1]
				}
			}
			return "was changed or deleted"
		},
		attempt: "change or delete %s",
		impact: func(c Case) string {
			if name := call(c.Event); strings.HasPrefix(name, "PutFunctionConcurrency") || strings.Contains(name, "EventSourceMapping") {
				return "The function may no longer be invoked. " + blind
			}
			return "The function acts with keyturn's permissions; changed code can do whatever they allow. " + blind
		},
		steps: func(c Case, p *plan) {
			if strings.HasPrefix(call(c.Event), "PutFunctionConcurrency") {
				p.say("A deployment without changes does not remove the limit. If it was not planned, remove it:")
				p.run("aws lambda delete-function-concurrency", "region", c.Event.Region, "function-name", c.Event.Parameters["function"])
				return
			}
			p.say(redeploy)
			if strings.Contains(call(c.Event), "EventSourceMapping") {
				p.say("Check that the event source mapping of the queue names the function of the deployment, and is enabled:")
				p.run("aws lambda list-event-source-mappings", "region", c.Event.Region, "event-source-arn", c.Event.Parameters["queue"])
				return
			}
			p.say("Compare the code's hash (CodeSha256) and the environment with those of the deployment:")
			p.run("aws lambda get-function-configuration", "region", c.Event.Region, "function-name", c.Event.Parameters["function"])
		},
	},
	cmek.ChangeSecret: {
		subject:  func(c Case) string { return the("Secret", inQuotes(secretName(c.Event.Parameters["secret"]))) },
		happened: awsCall("was changed or deleted", "DeleteSecret", "was deleted", "PutSecretValue", "had its value replaced", "UpdateSecret", "was changed"), attempt: "change or delete %s",
		impact: func(c Case) string {
			if name := call(c.Event); name == "PutSecretValue" || name == "UpdateSecret" {
				return "If the new value is wrong, keyturn cannot follow rotations (the API key), or a channel sends alerts elsewhere or to nobody (its secret)."
			}
			return "keyturn can no longer read what the secret holds: without the API key it cannot follow rotations, without a channel's secret it cannot notify."
		},
		steps: func(c Case, p *plan) {
			at := []string{"region", c.Event.Region, "secret-id", c.Event.Parameters["secret"]}
			if call(c.Event) == "PutSecretValue" {
				p.say("If nobody replaced the credential on purpose, make the previous version of the secret current again, and replace the credential at its issuer:")
				p.run("aws secretsmanager list-secret-version-ids", at...)
				return
			}
			if call(c.Event) == "UpdateSecret" {
				p.say("Check the key that the secret is encrypted with, and whether its value was replaced. If nobody did that on purpose, undo it, and replace the credential at its issuer:")
				p.run("aws secretsmanager describe-secret", at...)
				p.run("aws secretsmanager list-secret-version-ids", at...)
				return
			}
			p.say("Restore the secret while its recovery window lasts:")
			p.run("aws secretsmanager restore-secret", at...)
		},
	},
	cmek.ChangeQueue: {
		subject: func(c Case) string { return the("Queue", inQuotes(queueName(c.Event.Parameters["queue"]))) },
		happened: awsCall("was changed, purged or deleted", "DeleteQueue", "was deleted", "PurgeQueue", "was purged", "SetQueueAttributes", "was changed",
			"AddPermission", "had its policy changed", "RemovePermission", "lost a permission"), attempt: "change, purge or delete %s",
		impact: func(c Case) string {
			if name := call(c.Event); name == "SetQueueAttributes" || name == "AddPermission" || name == "RemovePermission" {
				return "Events or alerts may no longer reach the function that the queue feeds. " + blind
			}
			return "Events or alerts that were in the queue are lost. " + blind
		},
		steps: func(c Case, p *plan) {
			p.say(redeploy)
			p.say("Check that the queue exists, and that its policy, its redrive policy and its visibility timeout are those of the deployment:")
			p.run("aws sqs get-queue-attributes", "region", c.Event.Region, "queue-url", c.Event.Parameters["queue"], "attribute-names", "All")
			p.say("Changes whose events were lost are not reported. keyturn status shows the state of every key.")
		},
	},
	cmek.ChangeTable: {
		subject:  func(c Case) string { return the("Table", inQuotes(c.Event.Parameters["table"])) },
		happened: awsCall("was changed or deleted", "DeleteTable", "was deleted", "UpdateTable", "was changed"), attempt: "change or delete %s",
		impact: func(c Case) string {
			if call(c.Event) == "UpdateTable" {
				return "If its index, its capacity or its deletion protection was changed, keyturn may no longer do what is due, or lose what it knows."
			}
			return "keyturn no longer knows which clusters use which keys, and what is open. It cannot follow rotations, and cannot tell which clusters a change concerns."
		},
		steps: func(c Case, p *plan) {
			if call(c.Event) == "UpdateTable" {
				p.say(redeploy)
				p.say("Check that the table has its index, deletion protection and on-demand capacity:")
				p.run("aws dynamodb describe-table", "region", c.Event.Region, "table-name", c.Event.Parameters["table"])
				return
			}
			p.say("AWS made a backup when the table was deleted:")
			p.run("aws dynamodb list-backups", "region", c.Event.Region, "table-name", c.Event.Parameters["table"], "backup-type", "SYSTEM")
			p.say("Restore it under the same name, with its index. Then enable point-in-time recovery, deletion protection and the time to live.")
		},
	},

	cmek.ChangeUse: {
		subject: awsKey, attempt: "use %s",
		happened: func(c Case) string {
			if c.NoInventory {
				return "was used by a principal that may not be a cluster's"
			}
			return "was used by a principal that is not a cluster's"
		},
		impact: func(c Case) string {
			if c.NoInventory {
				return "If the principal is not a cluster's, somebody other than CockroachDB Cloud encrypts or decrypts with the key."
			}
			return "Somebody other than CockroachDB Cloud encrypts or decrypts with the key."
		},
		steps: func(c Case, p *plan) {
			p.say("Find out who the principal is, and why it uses the key. If it is not expected, remove it from the key policy and the grants, and treat the key as exposed:")
			p.kms(c, "get-key-policy", "policy-name", "default")
			p.kms(c, "list-grants")
		},
	},
	cmek.ChangePrincipalAssumed: {
		subject: awsRole, attempt: "assume %s",
		happened: func(c Case) string {
			if c.NoInventory {
				return "was assumed by a principal that may not be a cluster's"
			}
			return "was assumed by a principal that is not a cluster's"
		},
		impact: func(c Case) string {
			if c.NoInventory {
				return "If the principal is not a cluster's, a third party has the clusters' access to the key."
			}
			return "A third party has the clusters' access to the key."
		},
		steps: func(c Case, p *plan) {
			p.say("Find out who the principal is, and why it assumed the role. If it is not expected, remove it from the trust policy; its session stays valid until it expires:")
			p.run("aws iam get-role", "role-name", awsRoleName(c))
		},
	},
	cmek.ChangeUseRefused: {
		attempt: "use %s",
		subject: func(c Case) string {
			if c.OfPrincipal() {
				return awsRole(c)
			}
			return awsKey(c)
		},
		happened: func(c Case) string {
			if c.OfPrincipal() {
				return "could not be assumed by a cluster"
			}
			return "refused a call of a cluster"
		},
		impact: awsRefusal, steps: awsUndoRefusal,
	},

	cmek.ChangeGuardRails: {
		subject: func(c Case) string {
			switch call(c.Event) {
			case "MoveAccount":
				return the("Account", Concerned(c.Event))
			case "DisablePolicyType":
				return the("Organization policy type", c.Event.Parameters["policy_type"])
			}
			return the("Organization policy", c.Event.Parameters["policy_id"])
		},
		happened: func(c Case) string {
			switch target := clip(c.Event.Parameters["target"]); call(c.Event) {
			case "AttachPolicy":
				return "was attached to " + cmp.Or(target, "an account or unit")
			case "DetachPolicy":
				return "was detached from " + cmp.Or(target, "an account or unit")
			case "DisablePolicyType":
				return "was disabled"
			case "MoveAccount":
				return "was moved to another organizational unit"
			}
			return "was changed"
		},
		attempt: "change %s", impact: always("A service or resource control policy can cut the clusters off, whatever the key policy says. keyturn does not evaluate these policies."),
		steps: awsUndoGuardRails,
	},
	cmek.ChangeAccountDetached: {
		subject:  func(c Case) string { return the("Account", Concerned(c.Event)) },
		happened: awsCall("left its organization", "CloseAccount", "was closed", "RemoveAccountFromOrganization", "was removed from its organization"), attempt: "close or detach %s",
		impact: func(c Case) string {
			if call(c.Event) == "CloseAccount" {
				return "The keys in a closed account cannot be used. " + unusable
			}
			return "The organization's policies and organization trails no longer cover the account. keyturn may no longer receive its events."
		},
		steps: func(c Case, p *plan) {
			if call(c.Event) == "CloseAccount" {
				p.say("Ask AWS Support to reopen account " + cmp.Or(clip(Concerned(c.Event)), "that the event is about") + ".")
				p.check()
				return
			}
			p.say("If this was not planned, invite the account again, in the organization's management account:")
			target := ""
			if account := Concerned(c.Event); account != "" {
				target = "Id=" + account + ",Type=ACCOUNT"
			}
			p.run("aws organizations invite-account-to-organization", "target", target)
			p.say("Check that a trail records KMS in the account, and that its events reach keyturn.")
		},
	},
	cmek.ChangeRegionDisabled: {
		subject:  func(c Case) string { return the("Region", cmp.Or(c.Event.Parameters["region_name"], c.Event.Region)) },
		happened: always("was disabled"), attempt: "disable %s", impact: always("The keys in the Region cannot be used. " + unusable),
		steps: func(c Case, p *plan) {
			p.run("aws account enable-region", "region-name", c.Event.Parameters["region_name"])
			p.check()
		},
	},
}
