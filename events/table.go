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

// reader fills in what notices of a kind tell beyond what all do: first of all, what the change is about. The event has its
// place and outcome already.
type reader func(*notice, *cmek.Event) error

// understood is the table: what is not in it is not for us.
var understood = []entry{
	// Events that AWS KMS sends by itself (docs.aws.amazon.com/kms/latest/developerguide/kms-events.html), and what
	// CloudTrail records of the same happenings and of others without a caller.
	kmsNotice("KMS CMK Rotation", cmek.Rotated, rotated(keyOfNotice)),
	kmsNotice("KMS CMK Deletion", cmek.KeyWasDeleted, keyOfNotice),
	kmsNotice("KMS Imported Key Material Expiration", cmek.MaterialExpired, keyOfNotice),
	// A rotation that failed is no rotation: it was only asked for.
	{Row{"aws.kms", serviceEvent, "RotateKey", cmek.Rotated, cmek.RotationRequested, false}, rotated(keyOfRecord)},
	kmsRecord("DeleteKey", cmek.KeyWasDeleted),
	kmsRecord("DeleteExpiredKeyMaterial", cmek.MaterialExpired),
	// Documented by an example of the other detail type, though nobody calls it.
	kmsRecord("SynchronizeMultiRegionKey", cmek.KeySynchronized),
	call("aws.kms", "SynchronizeMultiRegionKey", cmek.KeySynchronized),

	// State and material. The completion of RotateKeyOnDemand is told by the rotations above
	// (docs.aws.amazon.com/kms/latest/developerguide/ct-rotatekeyondemand.html).
	call("aws.kms", "DisableKey", cmek.KeyWasDisabled),
	call("aws.kms", "EnableKey", cmek.KeyWasEnabled),
	call("aws.kms", "ScheduleKeyDeletion", cmek.DeletionWasScheduled),
	call("aws.kms", "CancelKeyDeletion", cmek.DeletionWasCanceled),
	call("aws.kms", "CreateKey", cmek.KeyWasCreated),
	call("aws.kms", "RotateKeyOnDemand", cmek.RotationRequested),
	call("aws.kms", "DisableKeyRotation", cmek.RotationDisabled),
	call("aws.kms", "EnableKeyRotation", cmek.RotationChanged),
	call("aws.kms", "ImportKeyMaterial", cmek.MaterialImported),
	call("aws.kms", "DeleteImportedKeyMaterial", cmek.MaterialDeleted),
	call("aws.kms", "DisconnectCustomKeyStore", cmek.KeyStoreDisconnected),
	call("aws.kms", "ConnectCustomKeyStore", cmek.KeyStoreConnected),
	call("aws.kms", "DeleteCustomKeyStore", cmek.KeyStoreChanged),
	call("aws.kms", "UpdateCustomKeyStore", cmek.KeyStoreChanged),

	// Who may use the key, by which name, and where.
	call("aws.kms", "PutKeyPolicy", cmek.KeyPolicyReplaced),
	call("aws.kms", "CreateGrant", cmek.GrantCreated),
	call("aws.kms", "RevokeGrant", cmek.GrantRemoved),
	call("aws.kms", "RetireGrant", cmek.GrantRemoved),
	call("aws.kms", "CreateAlias", cmek.AliasChanged),
	call("aws.kms", "UpdateAlias", cmek.AliasChanged),
	call("aws.kms", "DeleteAlias", cmek.AliasChanged),
	call("aws.kms", "TagResource", cmek.KeyTagged),
	call("aws.kms", "UntagResource", cmek.KeyTagged),
	call("aws.kms", "ReplicateKey", cmek.KeyReplicated),
	call("aws.kms", "UpdatePrimaryRegion", cmek.PrimaryMoved),
	call("aws.kms", "UpdateKeyDescription", cmek.DescriptionChanged),

	// Use of the key. Only who knows the cluster's own principal can tell whether a use was unexpected.
	use("Decrypt"),
	use("Encrypt"),
	use("GenerateDataKey"),
	use("GenerateDataKeyPair"),
	use("GenerateDataKeyPairWithoutPlaintext"),
	use("GenerateDataKeyWithoutPlaintext"),
	use("ReEncrypt"),
	use("DescribeKey"),
	{Row{"aws.sts", apiCall, "AssumeRole", cmek.RoleAssumed, cmek.UseRefused, true}, roleOfRecord},

	// The role that the cluster acts as, and what stands above it.
	call("aws.iam", "UpdateAssumeRolePolicy", cmek.RoleTrustChanged),
	call("aws.iam", "DeleteRole", cmek.RoleDeleted),
	call("aws.iam", "AttachRolePolicy", cmek.RolePolicyChanged),
	call("aws.iam", "DetachRolePolicy", cmek.RolePolicyChanged),
	call("aws.iam", "PutRolePolicy", cmek.RolePolicyChanged),
	call("aws.iam", "DeleteRolePolicy", cmek.RolePolicyChanged),
	call("aws.iam", "PutRolePermissionsBoundary", cmek.BoundaryChanged),
	call("aws.iam", "DeleteRolePermissionsBoundary", cmek.BoundaryChanged),
	call("aws.iam", "CreatePolicyVersion", cmek.PolicyChanged),
	call("aws.iam", "SetDefaultPolicyVersion", cmek.PolicyChanged),
	call("aws.iam", "DeletePolicyVersion", cmek.PolicyChanged),
	call("aws.iam", "DeletePolicy", cmek.PolicyChanged),
	call("aws.iam", "UpdateRole", cmek.RoleChanged),
	call("aws.iam", "TagRole", cmek.RoleChanged),
	call("aws.iam", "UntagRole", cmek.RoleChanged),
	call("aws.organizations", "AttachPolicy", cmek.GuardRailsChanged),
	call("aws.organizations", "DetachPolicy", cmek.GuardRailsChanged),
	call("aws.organizations", "UpdatePolicy", cmek.GuardRailsChanged),
	call("aws.organizations", "DisablePolicyType", cmek.GuardRailsChanged),
	call("aws.organizations", "MoveAccount", cmek.GuardRailsChanged),
	call("aws.organizations", "LeaveOrganization", cmek.AccountDetached),
	call("aws.organizations", "CloseAccount", cmek.AccountDetached),
	call("aws.account", "DisableRegion", cmek.RegionDisabled),

	// The eyes on all this.
	call("aws.cloudtrail", "StopLogging", cmek.TrailChanged),
	call("aws.cloudtrail", "DeleteTrail", cmek.TrailChanged),
	call("aws.cloudtrail", "UpdateTrail", cmek.TrailChanged),
	call("aws.cloudtrail", "PutEventSelectors", cmek.TrailChanged),
	call("aws.events", "PutRule", cmek.RuleChanged),
	call("aws.events", "DisableRule", cmek.RuleChanged),
	call("aws.events", "DeleteRule", cmek.RuleChanged),
	call("aws.events", "RemoveTargets", cmek.RuleChanged),
	// The same target id with another ARN diverts every event of the rule
	// (docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutTargets.html).
	call("aws.events", "PutTargets", cmek.RuleChanged),
}

func kmsNotice(detailType string, change cmek.Change, read reader) entry {
	return entry{Row{"aws.kms", detailType, "", change, change, false}, read}
}

// kmsRecord is CloudTrail's record of what KMS does by itself.
func kmsRecord(name string, change cmek.Change) entry {
	return entry{Row{"aws.kms", serviceEvent, name, change, change, false}, keyOfRecord}
}

func call(source, name string, change cmek.Change) entry {
	read := nothingMore
	switch source {
	case "aws.kms":
		read = keyOfRecord
	case "aws.iam":
		read = roleOfRecord
	case "aws.events":
		read = serviceOfRecord
	}
	return entry{Row{source, apiCall, name, change, change, false}, read}
}

// use is a call that KMS records as read-only
// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-management-event-list.html).
func use(name string) entry {
	return entry{Row{"aws.kms", apiCall, name, cmek.UseUnexpected, cmek.UseRefused, true}, keyOfRecord}
}

// understandsType reports whether any row has the source and the detail type.
func understandsType(source, detailType string) bool {
	return slices.ContainsFunc(understood, func(e entry) bool { return e.Source == source && e.DetailType == detailType })
}

// part is a piece of a CloudTrail record whose fields depend on the call.
type part int

const (
	request    part = iota // requestParameters
	response               // responseElements
	service                // serviceEventDetails
	additional             // additionalEventData
)

// facts says which fields of a source's records become which of the event's Parameters. Where two fields become the same
// one, the first that is there wins.
var facts = map[string][]struct {
	part  part
	field string
	word  string
}{
	"aws.kms": {
		{request, "pendingWindowInDays", "pending_window_days"},
		{response, "pendingWindowInDays", "pending_window_days"},
		{response, "deletionDate", "deletion_date"},
		{response, "keyState", "key_state"},
		{request, "rotationPeriodInDays", "rotation_period_days"},
		{service, "rotationType", "rotation_type"},
		{request, "keyMaterialId", "key_material_id"},
		{response, "keyMaterialId", "key_material_id"},
		{service, "keyMaterialId", "key_material_id"},
		{additional, "keyMaterialId", "key_material_id"},
		{request, "expirationModel", "expiration_model"},
		{request, "validTo", "valid_to"},
		{request, "importType", "import_type"},
		{request, "policyName", "policy_name"},
		{request, "bypassPolicyLockoutSafetyCheck", "bypass_policy_lockout_safety_check"},
		{request, "aliasName", "alias"},
		{request, "destinationKeyId", "destination_key"},
		{request, "tags", "tags"},
		{request, "tagKeys", "tag_keys"},
		{request, "granteePrincipal", "grantee"},
		{request, "operations", "operations"},
		{request, "grantId", "grant_id"},
		{response, "grantId", "grant_id"},
		{additional, "grantId", "grant_id"},
		{request, "replicaRegion", "replica_region"},
		{request, "primaryRegion", "primary_region"},
		{request, "customKeyStoreId", "custom_key_store_id"},
		{additional, "customKeyStoreId", "custom_key_store_id"},
	},
	"aws.sts": {
		{request, "roleSessionName", "session_name"},
	},
	"aws.iam": {
		{request, "policyArn", "policy_arn"},
		{request, "policyName", "policy_name"},
		{request, "permissionsBoundary", "permissions_boundary"},
		{request, "versionId", "version_id"},
		{request, "setAsDefault", "set_as_default"},
		{request, "maxSessionDuration", "max_session_duration"},
		{request, "tags", "tags"},
		{request, "tagKeys", "tag_keys"},
	},
	"aws.organizations": {
		{request, "policyId", "policy_id"},
		{request, "policyType", "policy_type"},
		{request, "targetId", "target"},
		{request, "accountId", "target"},
		{request, "rootId", "target"},
		{request, "sourceParentId", "source_parent"},
		{request, "destinationParentId", "destination_parent"},
	},
	"aws.account": {
		{request, "accountId", "target"},
		{request, "regionName", "region_name"},
	},
	"aws.cloudtrail": {
		{request, "name", "trail"},
		{request, "trailName", "trail"},
		{request, "eventSelectors", "event_selectors"},
		{request, "advancedEventSelectors", "event_selectors"},
	},
	"aws.events": {
		{request, "name", "rule"},
		{request, "rule", "rule"},
		{request, "eventBusName", "event_bus"},
		{request, "state", "state"},
		{request, "eventPattern", "event_pattern"},
		{request, "ids", "targets"},
		{request, "targets", "targets"},
	},
}
