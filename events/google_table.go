package events

import (
	"github.com/keyturn/keyturn/internal/cmek"
)

// Logs of Google Cloud that entries come from, by the last part of their ids, and the feed of Cloud Asset Inventory. Data Access logs
// are off unless somebody enables them (cloud.google.com/logging/docs/audit); the two logs of key events are platform logs of Cloud KMS
// (cloud.google.com/logging/docs/api/platform-logs).
const (
	activity         = "activity"
	dataAccess       = "data_access"
	keyEvents        = "cryptokey_events"
	keyVersionEvents = "cryptokeyversion_events"
	assetFeed        = "feed"
)

// The services of Google Cloud whose notices are understood.
const (
	googleKMS         = "cloudkms.googleapis.com"
	googleIAM         = "iam.googleapis.com"
	googleCredentials = "iamcredentials.googleapis.com"
	googleResources   = "cloudresourcemanager.googleapis.com"
	googleBilling     = "cloudbilling.googleapis.com"
	googleUsage       = "serviceusage.googleapis.com"
	googleOrgPolicy   = "orgpolicy.googleapis.com"
	googleLogging     = "logging.googleapis.com"
	googlePubSub      = "pubsub.googleapis.com"
	googleAssets      = "cloudasset.googleapis.com"
	googleFunctions   = "cloudfunctions.googleapis.com"
	googleRun         = "run.googleapis.com"
	googleScheduler   = "cloudscheduler.googleapis.com"
	googleSecrets     = "secretmanager.googleapis.com"
	googleFirestore   = "firestore.googleapis.com"
	googleMonitoring  = "monitoring.googleapis.com"
	googlePerimeters  = "accesscontextmanager.googleapis.com"
)

// googleEntry is a kind of notice, with the changes that it can mean and the reader that finds out which.
type googleEntry struct {
	selector
	meanings []meaning
	read     googleReader
}

// meaning is a change, and what it is if the call failed.
type meaning struct{ change, failed cmek.Change }

// googleReader reads what a notice means: no event if that is nothing to us, several if one call changed several things. Each event is
// the given one with a change, and with what the change is about.
type googleReader func(*googleNotice, cmek.Event) ([]cmek.Event, error)

// understoodGoogle are the notices of Google Cloud. Names are the last segment of the methods' names: services write some in full,
// others not, and the version of an API is a part of the full ones.
//
// Those of Cloud KMS are from cloud.google.com/kms/docs/audit-logging, those of IAM from cloud.google.com/iam/docs/audit-logging, the
// others from the services' pages of that name. The payloads of the platform logs are google/cloud/kms/logging/v1/logs.proto.
var understoodGoogle = []googleEntry{
	// Cloud KMS: calls.
	googleCall(googleKMS, "CreateCryptoKey", cryptoKey, cmek.ChangeKeyCreated),
	googleCall(googleKMS, "CreateCryptoKeyVersion", cryptoKeyVersion, cmek.ChangeVersionCreated),
	googleCall(googleKMS, "ImportCryptoKeyVersion", cryptoKeyVersion, cmek.ChangeMaterialImported),
	googleCall(googleKMS, "UpdateCryptoKeyVersion", versionUpdate, cmek.ChangeVersionDisabled, cmek.ChangeVersionEnabled, cmek.ChangeExternalKeys),
	googleCall(googleKMS, "DestroyCryptoKeyVersion", cryptoKeyVersion, cmek.ChangeVersionScheduled),
	googleCall(googleKMS, "RestoreCryptoKeyVersion", cryptoKeyVersion, cmek.ChangeVersionRestored),
	googleCall(googleKMS, "DeleteCryptoKeyVersion", cryptoKeyVersion, cmek.ChangeVersionDestroyed),
	googleCall(googleKMS, "DeleteCryptoKey", cryptoKey, cmek.ChangeKeyDeleted),
	googleCall(googleKMS, "DeleteKeyRing", keyRing, cmek.ChangeKeyRingDeleted),
	// A primary that was not set is no rotation: it was only asked for.
	{selector{googleKMS, activity, "UpdateCryptoKeyPrimaryVersion"}, []meaning{{cmek.ChangeRotated, cmek.ChangeRotationRequested}}, primaryVersion},
	googleCall(googleKMS, "UpdateCryptoKey", keyUpdate, cmek.ChangeRotationSchedule, cmek.ChangeRotationDisabled, cmek.ChangeKeyTags, cmek.ChangeJustifications, cmek.ChangeKeyDescription),
	googleCall(googleKMS, "SetIamPolicy", kmsPolicy, cmek.ChangeKeyPolicy, cmek.ChangeInheritedPolicy),
	googleCall(googleKMS, "UpdateEkmConnection", externalKeys, cmek.ChangeExternalKeys),
	googleCall(googleKMS, "UpdateEkmConfig", externalKeys, cmek.ChangeExternalKeys),
	googleCall(googleKMS, "ExecuteSingleTenantHsmInstanceProposal", externalKeys, cmek.ChangeExternalKeys),

	// Cloud KMS: what it does by itself. Nobody calls it, so there is no audit log entry.
	{selector{googleKMS, keyEvents, "rotationEvent"}, []meaning{{cmek.ChangeRotated, cmek.ChangeRotationFailed}}, cryptoKey},
	platform("scheduledDestructionEvent", cmek.ChangeVersionDestroyed),
	platform("keyGenerationEvent", cmek.ChangeVersionCreated),
	platform("importEvent", cmek.ChangeMaterialImported),
	assets("CryptoKey", assetOfKey, cmek.ChangeRotated, cmek.ChangeKeyDeleted),
	assets("CryptoKeyVersion", assetOfVersion, cmek.ChangeVersionCreated, cmek.ChangeVersionEnabled, cmek.ChangeVersionDisabled, cmek.ChangeVersionScheduled, cmek.ChangeVersionDestroyed),

	// Use of the key, and of the account that the cluster acts as.
	googleUse("Encrypt"),
	googleUse("Decrypt"),
	googleUse("RawEncrypt"),
	googleUse("RawDecrypt"),
	{selector{googleCredentials, dataAccess, "GenerateAccessToken"}, []meaning{{cmek.ChangePrincipalAssumed, cmek.ChangeUseRefused}}, serviceAccount},

	// The account that the cluster acts as, and the policies above the key.
	iamCall("SetIAMPolicy", cmek.ChangePrincipalTrust),
	iamCall("SetIamPolicy", cmek.ChangePrincipalTrust), // so the API of all policies writes it, google.iam.v1.IAMPolicy
	iamCall("DisableServiceAccount", cmek.ChangePrincipalDisabled),
	iamCall("EnableServiceAccount", cmek.ChangePrincipalEnabled),
	iamCall("DeleteServiceAccount", cmek.ChangePrincipalDeleted),
	iamCall("UndeleteServiceAccount", cmek.ChangePrincipalUndeleted),
	iamCall("CreateServiceAccount", cmek.ChangePrincipalCreated),
	googleCall(googleIAM, "UpdateRole", customRole, cmek.ChangeManagedPolicy),
	googleCall(googleIAM, "DeleteRole", customRole, cmek.ChangeManagedPolicy),
	googleCall(googleIAM, "UndeleteRole", customRole, cmek.ChangeManagedPolicy),
	googleCall(googleIAM, "CreatePolicy", denyPolicy, cmek.ChangeDenyPolicy),
	googleCall(googleIAM, "UpdatePolicy", denyPolicy, cmek.ChangeDenyPolicy),
	googleCall(googleIAM, "DeletePolicy", denyPolicy, cmek.ChangeDenyPolicy),
	googleCall(googleIAM, "CreatePrincipalAccessBoundaryPolicy", accessBoundary, cmek.ChangeAccessBoundary),
	googleCall(googleIAM, "UpdatePrincipalAccessBoundaryPolicy", accessBoundary, cmek.ChangeAccessBoundary),
	googleCall(googleIAM, "DeletePrincipalAccessBoundaryPolicy", accessBoundary, cmek.ChangeAccessBoundary),
	googleCall(googleIAM, "CreatePolicyBinding", policyBinding, cmek.ChangeAccessBoundary),
	googleCall(googleIAM, "UpdatePolicyBinding", policyBinding, cmek.ChangeAccessBoundary),
	googleCall(googleIAM, "DeletePolicyBinding", policyBinding, cmek.ChangeAccessBoundary),
	googleCall(googleResources, "SetIamPolicy", nodePolicy, cmek.ChangeInheritedPolicy, cmek.ChangeAuditLogs),
	googleCall(googleResources, "DeleteProject", node, cmek.ChangeProjectShutDown),
	googleCall(googleResources, "UndeleteProject", node, cmek.ChangeProjectRestored),
	googleCall(googleResources, "MoveProject", node, cmek.ChangeGuardRails),
	googleCall(googleResources, "UpdateProject", projectUpdate, cmek.ChangeGuardRails),
	googleCall(googleResources, "MoveFolder", node, cmek.ChangeGuardRails),
	googleCall(googleResources, "SetOrgPolicy", orgPolicy, cmek.ChangeGuardRails),
	googleCall(googleResources, "ClearOrgPolicy", orgPolicy, cmek.ChangeGuardRails),
	googleCall(googleOrgPolicy, "CreatePolicy", orgPolicy, cmek.ChangeGuardRails),
	googleCall(googleOrgPolicy, "UpdatePolicy", orgPolicy, cmek.ChangeGuardRails),
	googleCall(googleOrgPolicy, "DeletePolicy", orgPolicy, cmek.ChangeGuardRails),
	// Service perimeters are logged at the organization.
	googleCall(googlePerimeters, "CreateServicePerimeter", perimeter, cmek.ChangeGuardRails),
	googleCall(googlePerimeters, "UpdateServicePerimeter", perimeter, cmek.ChangeGuardRails),
	googleCall(googlePerimeters, "DeleteServicePerimeter", perimeter, cmek.ChangeGuardRails),
	googleCall(googlePerimeters, "ReplaceServicePerimeters", perimeter, cmek.ChangeGuardRails),
	googleCall(googlePerimeters, "CommitServicePerimeters", perimeter, cmek.ChangeGuardRails),
	googleCall(googlePerimeters, "UpdateAccessLevel", perimeter, cmek.ChangeGuardRails),
	googleCall(googlePerimeters, "DeleteAccessLevel", perimeter, cmek.ChangeGuardRails),
	googleCall(googlePerimeters, "ReplaceAccessLevels", perimeter, cmek.ChangeGuardRails),
	googleCall(googleBilling, "DisableResourceBilling", billing, cmek.ChangeBillingDisabled),
	googleCall(googleBilling, "CloseBillingAccount", billing, cmek.ChangeBillingDisabled),
	googleCall(googleBilling, "AssignResourceToBillingAccount", billing, cmek.ChangeBillingAssigned),
	googleCall(googleUsage, "DisableService", api, cmek.ChangeAPIDisabled),
	googleCall(googleUsage, "EnableService", api, cmek.ChangeAPIEnabled),
	googleCall(googleUsage, "UpdateConsumerPolicyLRO", consumerPolicy, cmek.ChangeAPIDisabled),

	// What keyturn and the organization see all this by, and what they report it by.
	googleCall(googleLogging, "UpdateSink", watcher("sinks", "sink"), cmek.ChangeLogSink),
	googleCall(googleLogging, "DeleteSink", watcher("sinks", "sink"), cmek.ChangeLogSink),
	googleCall(googleLogging, "CreateExclusion", watcher("exclusions", "exclusion"), cmek.ChangeLogSink),
	googleCall(googleLogging, "UpdateExclusion", watcher("exclusions", "exclusion"), cmek.ChangeLogSink),
	googleCall(googleLogging, "UpdateLogMetric", watcher("metrics", "alarm"), cmek.ChangeAlarm),
	googleCall(googleLogging, "DeleteLogMetric", watcher("metrics", "alarm"), cmek.ChangeAlarm),
	googleCall(googleAssets, "UpdateFeed", watcher("feeds", "feed"), cmek.ChangeLogSink),
	googleCall(googleAssets, "DeleteFeed", watcher("feeds", "feed"), cmek.ChangeLogSink),
	googleCall(googlePubSub, "UpdateTopic", watcher("topics", "topic"), cmek.ChangeAlertTopic),
	googleCall(googlePubSub, "DeleteTopic", watcher("topics", "topic"), cmek.ChangeAlertTopic),
	googleCall(googlePubSub, "UpdateSubscription", watcher("subscriptions", "subscription"), cmek.ChangeAlertTopic),
	googleCall(googlePubSub, "DeleteSubscription", watcher("subscriptions", "subscription"), cmek.ChangeAlertTopic),
	googleCall(googlePubSub, "DetachSubscription", watcher("subscriptions", "subscription"), cmek.ChangeAlertTopic),
	googleCall(googlePubSub, "ModifyPushConfig", watcher("subscriptions", "subscription"), cmek.ChangeAlertTopic),
	googleCall(googlePubSub, "SetIamPolicy", messagePolicy, cmek.ChangeAlertTopic),
	googleCall(googleFunctions, "UpdateFunction", watcher("functions", "function"), cmek.ChangeFunction),
	googleCall(googleFunctions, "DeleteFunction", watcher("functions", "function"), cmek.ChangeFunction),
	googleCall(googleFunctions, "SetIamPolicy", ownPolicy("functions", "function"), cmek.ChangeFunction),
	googleCall(googleRun, "ReplaceService", watcher("services", "function"), cmek.ChangeFunction),
	googleCall(googleRun, "UpdateService", watcher("services", "function"), cmek.ChangeFunction),
	googleCall(googleRun, "DeleteService", watcher("services", "function"), cmek.ChangeFunction),
	googleCall(googleRun, "SetIamPolicy", ownPolicy("services", "function"), cmek.ChangeFunction),
	googleCall(googleScheduler, "UpdateJob", watcher("jobs", "schedule"), cmek.ChangeSchedule),
	googleCall(googleScheduler, "PauseJob", watcher("jobs", "schedule"), cmek.ChangeSchedule),
	googleCall(googleScheduler, "DeleteJob", watcher("jobs", "schedule"), cmek.ChangeSchedule),
	googleCall(googleSecrets, "AddSecretVersion", secretVersion, cmek.ChangeSecret),
	googleCall(googleSecrets, "DisableSecretVersion", secretVersion, cmek.ChangeSecret),
	googleCall(googleSecrets, "DestroySecretVersion", secretVersion, cmek.ChangeSecret),
	googleCall(googleSecrets, "DeleteSecret", watcher("secrets", "secret"), cmek.ChangeSecret),
	googleCall(googleSecrets, "UpdateSecret", watcher("secrets", "secret"), cmek.ChangeSecret), // it can be made to expire
	googleCall(googleSecrets, "SetIamPolicy", ownPolicy("secrets", "secret"), cmek.ChangeSecret),
	googleCall(googleFirestore, "UpdateDatabase", watcher("databases", "table"), cmek.ChangeTable),
	googleCall(googleFirestore, "DeleteDatabase", watcher("databases", "table"), cmek.ChangeTable),
	googleCall(googleFirestore, "BulkDeleteDocuments", watcher("databases", "table"), cmek.ChangeTable),
	googleCall(googleFirestore, "ImportDocuments", watcher("databases", "table"), cmek.ChangeTable),
	googleCall(googleMonitoring, "UpdateAlertPolicy", watcher("alertPolicies", "alarm"), cmek.ChangeAlarm),
	googleCall(googleMonitoring, "DeleteAlertPolicy", watcher("alertPolicies", "alarm"), cmek.ChangeAlarm),
	googleCall(googleMonitoring, "CreateSnooze", snooze, cmek.ChangeAlarm),
	googleCall(googleMonitoring, "UpdateSnooze", snooze, cmek.ChangeAlarm),
	googleCall(googleMonitoring, "UpdateNotificationChannel", watcher("notificationChannels", "alarm"), cmek.ChangeAlarm),
	googleCall(googleMonitoring, "DeleteNotificationChannel", watcher("notificationChannels", "alarm"), cmek.ChangeAlarm),
}

func googleCall(service, name string, read googleReader, changes ...cmek.Change) googleEntry {
	return googleEntry{selector{service, activity, name}, same(changes), read}
}

func iamCall(name string, change cmek.Change) googleEntry {
	return googleCall(googleIAM, name, serviceAccount, change)
}

func googleUse(name string) googleEntry {
	return googleEntry{selector{googleKMS, dataAccess, name}, []meaning{{cmek.ChangeUse, cmek.ChangeUseRefused}}, cryptoKeyUse}
}

// platform is an event of a key version that Cloud KMS reports by itself.
func platform(name string, change cmek.Change) googleEntry {
	return googleEntry{selector{googleKMS, keyVersionEvents, name}, same([]cmek.Change{change}), cryptoKeyVersion}
}

func assets(name string, read googleReader, changes ...cmek.Change) googleEntry {
	return googleEntry{selector{googleAssets, assetFeed, name}, same(changes), read}
}

// same are changes that somebody tried if the call failed.
func same(changes []cmek.Change) (list []meaning) {
	for _, change := range changes {
		list = append(list, meaning{change, change})
	}
	return list
}

// lookupGoogle finds the entry of a selector.
var lookupGoogle = func() map[selector]googleEntry {
	m := make(map[selector]googleEntry, len(understoodGoogle))
	for _, u := range understoodGoogle {
		m[u.selector] = u
	}
	return m
}()
