package events

import (
	"slices"

	"github.com/keyturn/keyturn/internal/cmek"
)

// CloudTrail's detail types: calls, and what a service records of its own doing
// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html).
const (
	apiCall      = "AWS API Call via CloudTrail"
	serviceEvent = "AWS Service Event via CloudTrail"
)

// entry is a row with the reader of its notices.
type entry struct {
	Row
	read reader
}

// reader fills in what notices of a kind hold beyond what all do: first of all, what the change is about. The event has its
// place and outcome already.
type reader func(*notice, *cmek.Event) error

// understood holds the rows of AWS: what is not in it is not for us.
var understood = []entry{
	// Events that AWS KMS sends by itself (docs.aws.amazon.com/kms/latest/developerguide/kms-events.html), and what
	// CloudTrail records of the same happenings and of others without a caller.
	kmsNotice("KMS CMK Rotation", cmek.ChangeRotated, rotated(keyOfNotice)),
	kmsNotice("KMS CMK Deletion", cmek.ChangeKeyDeleted, keyOfNotice),
	kmsNotice("KMS Imported Key Material Expiration", cmek.ChangeMaterialExpired, materialOfNotice),
	// A rotation that failed is no rotation: it was only asked for.
	{Row{"aws.kms", serviceEvent, "RotateKey", cmek.ChangeRotated, cmek.ChangeRotationRequested, false}, rotated(keyOfRecord)},
	kmsRecord("DeleteKey", cmek.ChangeKeyDeleted),
	kmsRecord("DeleteExpiredKeyMaterial", cmek.ChangeMaterialExpired),
	// Documented by an example of the other detail type, though nobody calls it.
	kmsRecord("SynchronizeMultiRegionKey", cmek.ChangeReplicasSynchronized),
	call("aws.kms", "SynchronizeMultiRegionKey", cmek.ChangeReplicasSynchronized),

	// State and material. The rotations above report the completion of RotateKeyOnDemand
	// (docs.aws.amazon.com/kms/latest/developerguide/ct-rotatekeyondemand.html).
	call("aws.kms", "DisableKey", cmek.ChangeKeyDisabled),
	call("aws.kms", "EnableKey", cmek.ChangeKeyEnabled),
	call("aws.kms", "ScheduleKeyDeletion", cmek.ChangeDeletionScheduled),
	call("aws.kms", "CancelKeyDeletion", cmek.ChangeDeletionCanceled),
	call("aws.kms", "CreateKey", cmek.ChangeKeyCreated),
	call("aws.kms", "RotateKeyOnDemand", cmek.ChangeRotationRequested),
	call("aws.kms", "DisableKeyRotation", cmek.ChangeRotationDisabled),
	call("aws.kms", "EnableKeyRotation", cmek.ChangeRotationSchedule),
	call("aws.kms", "ImportKeyMaterial", cmek.ChangeMaterialImported),
	call("aws.kms", "DeleteImportedKeyMaterial", cmek.ChangeMaterialDeleted),
	call("aws.kms", "DisconnectCustomKeyStore", cmek.ChangeKeyStoreDisconnected),
	call("aws.kms", "ConnectCustomKeyStore", cmek.ChangeKeyStoreConnected),
	call("aws.kms", "DeleteCustomKeyStore", cmek.ChangeKeyStore),
	call("aws.kms", "UpdateCustomKeyStore", cmek.ChangeKeyStore),

	// Who may use the key, by which name, and where.
	call("aws.kms", "PutKeyPolicy", cmek.ChangeKeyPolicy),
	call("aws.kms", "CreateGrant", cmek.ChangeGrantCreated),
	call("aws.kms", "RevokeGrant", cmek.ChangeGrantRemoved),
	call("aws.kms", "RetireGrant", cmek.ChangeGrantRemoved),
	call("aws.kms", "CreateAlias", cmek.ChangeAlias),
	call("aws.kms", "UpdateAlias", cmek.ChangeAlias),
	call("aws.kms", "DeleteAlias", cmek.ChangeAlias),
	call("aws.kms", "TagResource", cmek.ChangeKeyTags),
	call("aws.kms", "UntagResource", cmek.ChangeKeyTags),
	call("aws.kms", "ReplicateKey", cmek.ChangeReplicaCreated),
	call("aws.kms", "UpdatePrimaryRegion", cmek.ChangePrimaryMoved),
	call("aws.kms", "UpdateKeyDescription", cmek.ChangeKeyDescription),

	// Use of the key. Whether a use was unexpected is known only to who knows the cluster's own principal.
	use("Decrypt"),
	use("Encrypt"),
	use("GenerateDataKey"),
	use("GenerateDataKeyPair"),
	use("GenerateDataKeyPairWithoutPlaintext"),
	use("GenerateDataKeyWithoutPlaintext"),
	use("ReEncrypt"),
	use("DescribeKey"),
	{Row{"aws.sts", apiCall, "AssumeRole", cmek.ChangePrincipalAssumed, cmek.ChangeUseRefused, true}, roleOfRecord},

	// The role that the cluster acts as, and what stands above it.
	call("aws.iam", "UpdateAssumeRolePolicy", cmek.ChangePrincipalTrust),
	call("aws.iam", "DeleteRole", cmek.ChangePrincipalDeleted),
	call("aws.iam", "AttachRolePolicy", cmek.ChangePrincipalPolicy),
	call("aws.iam", "DetachRolePolicy", cmek.ChangePrincipalPolicy),
	call("aws.iam", "PutRolePolicy", cmek.ChangePrincipalPolicy),
	call("aws.iam", "DeleteRolePolicy", cmek.ChangePrincipalPolicy),
	call("aws.iam", "PutRolePermissionsBoundary", cmek.ChangeBoundary),
	call("aws.iam", "DeleteRolePermissionsBoundary", cmek.ChangeBoundary),
	call("aws.iam", "CreatePolicyVersion", cmek.ChangeManagedPolicy),
	call("aws.iam", "SetDefaultPolicyVersion", cmek.ChangeManagedPolicy),
	call("aws.iam", "DeletePolicyVersion", cmek.ChangeManagedPolicy),
	call("aws.iam", "DeletePolicy", cmek.ChangeManagedPolicy),
	call("aws.iam", "UpdateRole", cmek.ChangePrincipalSettings),
	call("aws.iam", "TagRole", cmek.ChangePrincipalSettings),
	call("aws.iam", "UntagRole", cmek.ChangePrincipalSettings),
	call("aws.organizations", "AttachPolicy", cmek.ChangeGuardRails),
	call("aws.organizations", "DetachPolicy", cmek.ChangeGuardRails),
	call("aws.organizations", "UpdatePolicy", cmek.ChangeGuardRails),
	call("aws.organizations", "DisablePolicyType", cmek.ChangeGuardRails),
	call("aws.organizations", "MoveAccount", cmek.ChangeGuardRails),
	call("aws.organizations", "LeaveOrganization", cmek.ChangeAccountDetached),
	call("aws.organizations", "CloseAccount", cmek.ChangeAccountDetached),
	call("aws.organizations", "RemoveAccountFromOrganization", cmek.ChangeAccountDetached),
	// What Organizations records in the management account, however an account left.
	{Row{"aws.organizations", serviceEvent, "AccountDepartedOrganization", cmek.ChangeAccountDetached, cmek.ChangeAccountDetached, false}, accountOfRecord},
	call("aws.account", "DisableRegion", cmek.ChangeRegionDisabled),

	// What keyturn and the account see all this by, and what they report it by.
	call("aws.cloudtrail", "StopLogging", cmek.ChangeLogSink),
	call("aws.cloudtrail", "DeleteTrail", cmek.ChangeLogSink),
	call("aws.cloudtrail", "UpdateTrail", cmek.ChangeLogSink),
	call("aws.cloudtrail", "PutEventSelectors", cmek.ChangeLogSink),
	call("aws.events", "PutRule", cmek.ChangeEventRule),
	call("aws.events", "DisableRule", cmek.ChangeEventRule),
	call("aws.events", "DeleteRule", cmek.ChangeEventRule),
	call("aws.events", "RemoveTargets", cmek.ChangeEventRule),
	// The same target id with another ARN diverts every event of the rule
	// (docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutTargets.html).
	call("aws.events", "PutTargets", cmek.ChangeEventRule),
	call("aws.events", "DeleteEventBus", cmek.ChangeEventBus),
	call("aws.events", "RemovePermission", cmek.ChangeEventBus),
	call("aws.events", "PutPermission", cmek.ChangeEventBus),
	call("aws.events", "UpdateEventBus", cmek.ChangeEventBus),
	call("aws.monitoring", "DeleteAlarms", cmek.ChangeAlarm),
	call("aws.monitoring", "DisableAlarmActions", cmek.ChangeAlarm),
	call("aws.monitoring", "PutMetricAlarm", cmek.ChangeAlarm),
	// A composite alarm takes a metric alarm's name, and can suppress others' actions
	// (docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html).
	call("aws.monitoring", "PutCompositeAlarm", cmek.ChangeAlarm),
	call("aws.sns", "DeleteTopic", cmek.ChangeAlertTopic),
	call("aws.sns", "Unsubscribe", cmek.ChangeAlertTopic),
	call("aws.sns", "SetTopicAttributes", cmek.ChangeAlertTopic),
	call("aws.sns", "SetSubscriptionAttributes", cmek.ChangeAlertTopic),
	call("aws.sns", "AddPermission", cmek.ChangeAlertTopic),
	call("aws.sns", "RemovePermission", cmek.ChangeAlertTopic),
	call("aws.scheduler", "DeleteSchedule", cmek.ChangeSchedule),
	call("aws.scheduler", "UpdateSchedule", cmek.ChangeSchedule),
	call("aws.scheduler", "DeleteScheduleGroup", cmek.ChangeSchedule),
	// Lambda records its calls under names with the version of its API.
	call("aws.lambda", "UpdateFunctionCode20150331v2", cmek.ChangeFunction),
	call("aws.lambda", "UpdateFunctionConfiguration20150331v2", cmek.ChangeFunction),
	call("aws.lambda", "DeleteFunction20150331", cmek.ChangeFunction),
	call("aws.lambda", "PutFunctionConcurrency20171031", cmek.ChangeFunction),
	call("aws.lambda", "DeleteEventSourceMapping20150331", cmek.ChangeFunction),
	call("aws.lambda", "UpdateEventSourceMapping20150331", cmek.ChangeFunction),
	call("aws.secretsmanager", "DeleteSecret", cmek.ChangeSecret),
	call("aws.secretsmanager", "PutSecretValue", cmek.ChangeSecret),
	// It can replace the value, and encrypt it with another key.
	call("aws.secretsmanager", "UpdateSecret", cmek.ChangeSecret),
	call("aws.sqs", "DeleteQueue", cmek.ChangeQueue),
	call("aws.sqs", "PurgeQueue", cmek.ChangeQueue),
	call("aws.sqs", "SetQueueAttributes", cmek.ChangeQueue),
	call("aws.sqs", "AddPermission", cmek.ChangeQueue),
	call("aws.sqs", "RemovePermission", cmek.ChangeQueue),
	call("aws.dynamodb", "DeleteTable", cmek.ChangeTable),
	// It ends the protection from deletion, deletes the index by which due work is found, or limits the table's throughput.
	call("aws.dynamodb", "UpdateTable", cmek.ChangeTable),
}

func kmsNotice(detailType string, change cmek.Change, read reader) entry {
	return entry{Row{"aws.kms", detailType, "", change, change, false}, read}
}

// kmsRecord is CloudTrail's record of what KMS does by itself.
func kmsRecord(name string, change cmek.Change) entry {
	return entry{Row{"aws.kms", serviceEvent, name, change, change, false}, keyOfRecord}
}

// call is CloudTrail's record of a call of somebody.
func call(source, name string, change cmek.Change) entry {
	read := serviceOfRecord
	switch source {
	case "aws.kms":
		read = keyOfRecord
	case "aws.iam":
		read = roleChange
	case "aws.organizations", "aws.account":
		read = accountOfRecord
	}
	return entry{Row{source, apiCall, name, change, change, false}, read}
}

// use is a call that KMS records as read-only
// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-management-event-list.html).
func use(name string) entry {
	return entry{Row{"aws.kms", apiCall, name, cmek.ChangeUse, cmek.ChangeUseRefused, true}, keyOfRecord}
}

// understandsType reports whether any row has the source and the detail type.
func understandsType(source, detailType string) bool {
	return slices.ContainsFunc(understood, func(e entry) bool { return e.Source == source && e.DetailType == detailType })
}

// part is a piece of a CloudTrail record whose fields depend on the call.
type part int

const (
	request  part = iota // requestParameters
	response             // responseElements
	service              // serviceEventDetails
)

// fact is a field of a record that becomes one of the event's Parameters.
type fact struct {
	part  part
	field string
	word  string
}

// facts are the Parameters of each change's events. Of two fields for one word the first that is there wins. A word that nobody
// reads is not among them.
var facts = map[cmek.Change][]fact{
	cmek.ChangeDeletionScheduled: {{request, "pendingWindowInDays", "pending_window_days"}, {response, "pendingWindowInDays", "pending_window_days"},
		{response, "keyState", "key_state"}},
	cmek.ChangeRotationSchedule:     {{request, "rotationPeriodInDays", "rotation_period_days"}},
	cmek.ChangeMaterialImported:     {{request, "expirationModel", "expiration_model"}, {request, "validTo", "valid_to"}},
	cmek.ChangeMaterialDeleted:      {{request, "keyMaterialId", "key_material_id"}, {response, "keyMaterialId", "key_material_id"}},
	cmek.ChangeMaterialExpired:      {{service, "keyMaterialId", "key_material_id"}},
	cmek.ChangeGrantCreated:         {{request, "granteePrincipal", "grantee"}, {request, "operations", "operations"}, {response, "grantId", "grant_id"}},
	cmek.ChangeAlias:                {{request, "aliasName", "alias"}},
	cmek.ChangeReplicaCreated:       {{request, "replicaRegion", "replica_region"}},
	cmek.ChangePrimaryMoved:         {{request, "primaryRegion", "primary_region"}},
	cmek.ChangeKeyPolicy:            {{request, "bypassPolicyLockoutSafetyCheck", "bypass_policy_lockout_safety_check"}},
	cmek.ChangeKeyTags:              {{request, "tags", "tags"}},
	cmek.ChangeKeyStoreDisconnected: {{request, "customKeyStoreId", "custom_key_store_id"}},
	cmek.ChangeKeyStoreConnected:    {{request, "customKeyStoreId", "custom_key_store_id"}},
	cmek.ChangeKeyStore:             {{request, "customKeyStoreId", "custom_key_store_id"}},
	cmek.ChangePrincipalPolicy:      {{request, "policyArn", "policy_arn"}, {request, "policyName", "policy_name"}},
	cmek.ChangeBoundary:             {{request, "permissionsBoundary", "policy_arn"}},
	cmek.ChangeManagedPolicy:        {{request, "policyArn", "policy_arn"}, {request, "versionId", "version_id"}, {request, "setAsDefault", "set_as_default"}},
	cmek.ChangeGuardRails: {{request, "policyId", "policy_id"},
		{request, "targetId", "target"}, {request, "accountId", "target"}, {request, "rootId", "target"},
		{request, "policyType", "policy_type"}, {request, "sourceParentId", "source_parent"}, {request, "destinationParentId", "destination_parent"}},
	cmek.ChangeAccountDetached: {{request, "accountId", "target"}, {service, "accountId", "target"}},
	cmek.ChangeRegionDisabled:  {{request, "accountId", "target"}, {request, "regionName", "region_name"}},
	cmek.ChangeLogSink:         {{request, "name", "trail"}, {request, "trailName", "trail"}},
	cmek.ChangeEventRule:       {{request, "name", "rule"}, {request, "rule", "rule"}, {request, "state", "state"}, {request, "eventBusName", "event_bus"}},
	cmek.ChangeEventBus:        {{request, "name", "event_bus"}, {request, "eventBusName", "event_bus"}},
	cmek.ChangeAlarm:           {{request, "alarmNames", "alarm"}, {request, "alarmName", "alarm"}},
	cmek.ChangeAlertTopic:      {{request, "topicArn", "topic"}, {request, "subscriptionArn", "subscription"}},
	cmek.ChangeSchedule:        {{request, "name", "schedule"}, {request, "groupName", "schedule_group"}, {request, "state", "state"}},
	// A call about an event source may name another function than the source had before; the answer names the source.
	cmek.ChangeFunction: {{request, "functionName", "function"}, {response, "functionArn", "function"}, {response, "eventSourceArn", "queue"}},
	cmek.ChangeQueue:    {{request, "queueUrl", "queue"}},
	cmek.ChangeTable:    {{request, "tableName", "table"}},
	cmek.ChangeSecret:   {{request, "secretId", "secret"}},
}
