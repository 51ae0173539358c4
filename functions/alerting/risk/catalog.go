package risk

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// catalog rates each change as the catalog of risky changes does, for a key in use.
var catalog = []Row{
	{Change: cmek.ChangeDeletionScheduled, Entry: "RK-01", Severity: alert.Critical, Kind: Scheduled, Scope: ScopeKey, Incident: alert.KeyUnusable},
	{Change: cmek.ChangeKeyDisabled, Entry: "RK-02", Severity: alert.Critical, Kind: State, Scope: ScopeKey, Incident: alert.KeyUnusable},
	{Change: cmek.ChangeKeyDeleted, Entry: "RK-03", Severity: alert.Critical, Kind: State, Scope: ScopeKey, Incident: alert.KeyUnusable},
	{Change: cmek.ChangeMaterialDeleted, Entry: "RK-04", Severity: alert.Critical, Kind: State, Scope: ScopeKey, Incident: alert.KeyUnusable},
	{Change: cmek.ChangeMaterialExpired, Entry: "RK-04", Severity: alert.Critical, Kind: State, Scope: ScopeKey, Incident: alert.KeyUnusable},
	{Change: cmek.ChangeKeyStoreDisconnected, Entry: "RK-02", Severity: alert.Critical, Kind: State, Scope: ScopeAccount, Incident: alert.KeyUnusable},
	{Change: cmek.ChangeKeyStore, Entry: "RK-02", Severity: alert.High, Kind: Other, Scope: ScopeAccount},
	{Change: cmek.ChangeKeyStoreConnected, Entry: "RK-15", Severity: alert.Info, Kind: Restored, Scope: ScopeAccount, Incident: alert.KeyUnusable, Recovery: true},
	{Change: cmek.ChangeMaterialImported, Entry: "RK-05", Severity: alert.Medium, Kind: Restored, Scope: ScopeKey, Incident: alert.KeyUnusable, Recovery: true, rate: rateImport},

	// Where versions have states of their own.
	{Change: cmek.ChangeVersionScheduled, Entry: "RK-01", Severity: alert.Critical, Kind: Scheduled, Scope: ScopeVersion, Incident: alert.KeyUnusable, rate: rateVersion},
	{Change: cmek.ChangeVersionDisabled, Entry: "RK-02", Severity: alert.Critical, Kind: State, Scope: ScopeVersion, Incident: alert.KeyUnusable, rate: rateVersion},
	{Change: cmek.ChangeVersionDestroyed, Entry: "RK-03", Severity: alert.Critical, Kind: State, Scope: ScopeVersion, Incident: alert.KeyUnusable, rate: rateVersion},
	{Change: cmek.ChangeVersionRestored, Entry: "RK-15", Severity: alert.High, Kind: Canceled, Scope: ScopeVersion, Incident: alert.KeyUnusable, rate: rateCanceled},
	{Change: cmek.ChangeVersionEnabled, Entry: "RK-15", Severity: alert.Info, Kind: Restored, Scope: ScopeVersion, Incident: alert.KeyUnusable, Recovery: true},
	{Change: cmek.ChangeVersionCreated, Entry: "RK-12", Severity: alert.Info, Kind: Other, Scope: ScopeVersion},
	{Change: cmek.ChangePrimarySetBack, Entry: "RK-14", Severity: alert.High, Kind: Other, Scope: ScopeVersion},
	{Change: cmek.ChangeRotationFailed, Entry: "RK-11", Severity: alert.Medium, Kind: Failed, Scope: ScopeKey, rate: rateRotationFailed},
	{Change: cmek.ChangeKeyRingDeleted, Entry: "RK-03", Severity: alert.Critical, Kind: State, Scope: ScopeAccount, Incident: alert.KeyUnusable, InUseOnly: true},
	{Change: cmek.ChangeExternalKeys, Entry: "RK-02", Severity: alert.High, Kind: Other, Scope: ScopeAccount, InUseOnly: true},

	{Change: cmek.ChangeKeyPolicy, Entry: "RK-06", Severity: alert.Medium, Kind: KeyPolicy, Scope: ScopeKey, Incident: alert.AccessLost, Recovery: true, rate: rateLockout},
	{Change: cmek.ChangeGrantCreated, Entry: "RK-08", Severity: alert.Medium, Kind: Other, Scope: ScopeKey},
	{Change: cmek.ChangeGrantRemoved, Entry: "RK-08", Severity: alert.Medium, Kind: Other, Scope: ScopeKey},

	{Change: cmek.ChangeInheritedPolicy, Entry: "RK-07", Severity: alert.Medium, Kind: Inherited, Scope: ScopeAccount, Incident: alert.AccessLost, Recovery: true},
	{Change: cmek.ChangeDenyPolicy, Entry: "RK-07", Severity: alert.Medium, Kind: Inherited, Scope: ScopeAccount, Incident: alert.AccessLost, Recovery: true},
	{Change: cmek.ChangeAccessBoundary, Entry: "RK-07", Severity: alert.Medium, Kind: Inherited, Scope: ScopeAccount, Incident: alert.AccessLost, Recovery: true},
	// The key reads unavailable while the policy lets nobody use it, so that ends the incident.
	{Change: cmek.ChangeJustifications, Entry: "RK-07", Severity: alert.Medium, Kind: Inherited, Scope: ScopeKey, Incident: alert.KeyUnusable, Recovery: true},

	{Change: cmek.ChangePrincipalTrust, Entry: "RK-09", Severity: alert.High, Kind: Trust, Scope: ScopePrincipal, Incident: alert.AccessLost, Recovery: true, Proven: alert.Info},
	{Change: cmek.ChangePrincipalDeleted, Entry: "RK-09", Severity: alert.Critical, Kind: PrincipalDeleted, Scope: ScopePrincipal, Incident: alert.AccessLost},
	{Change: cmek.ChangePrincipalPolicy, Entry: "RK-09", Severity: alert.High, Kind: Permissions, Scope: ScopePrincipal, Incident: alert.AccessLost, Recovery: true},
	{Change: cmek.ChangeBoundary, Entry: "RK-09", Severity: alert.High, Kind: Boundary, Scope: ScopePrincipal, Incident: alert.AccessLost, Recovery: true},
	{Change: cmek.ChangeManagedPolicy, Entry: "RK-09", Severity: alert.High, Kind: Managed, Scope: ScopeAccount, Incident: alert.AccessLost, Recovery: true},
	{Change: cmek.ChangePrincipalSettings, Entry: "RK-09", Severity: alert.Low, Kind: Other, Scope: ScopePrincipal},

	{Change: cmek.ChangePrincipalDisabled, Entry: "RK-10", Severity: alert.Critical, Kind: PrincipalDeleted, Scope: ScopePrincipal, Incident: alert.AccessLost},
	{Change: cmek.ChangePrincipalEnabled, Entry: "RK-10", Severity: alert.Info, Kind: Restored, Scope: ScopePrincipal, Incident: alert.AccessLost, Recovery: true},
	{Change: cmek.ChangePrincipalUndeleted, Entry: "RK-10", Severity: alert.Info, Kind: Restored, Scope: ScopePrincipal, Incident: alert.AccessLost, Recovery: true},
	{Change: cmek.ChangePrincipalCreated, Entry: "RK-10", Severity: alert.High, Kind: Recreated, Scope: ScopePrincipal, Incident: alert.AccessLost, InUseOnly: true},

	{Change: cmek.ChangeRotationDisabled, Entry: "RK-11", Severity: alert.Medium, Kind: Other, Scope: ScopeKey},
	{Change: cmek.ChangeRotationSchedule, Entry: "RK-11", Severity: alert.Info, Kind: Other, Scope: ScopeKey, rate: ratePeriod},
	{Change: cmek.ChangeRotated, Entry: "RK-12", Severity: alert.Info, Kind: Other, Scope: ScopeKey},
	{Change: cmek.ChangeRotationRequested, Entry: "RK-12", Severity: alert.Medium, Kind: Other, Scope: ScopeKey},
	{Change: cmek.ChangeAlias, Entry: "RK-13", Severity: alert.Low, Kind: Other, Scope: ScopeKey, rate: rateAlias},
	{Change: cmek.ChangeKeyTags, Entry: "RK-13", Severity: alert.Low, Kind: Tags, Scope: ScopeKey},
	{Change: cmek.ChangeDeletionCanceled, Entry: "RK-15", Severity: alert.High, Kind: Canceled, Scope: ScopeKey, Incident: alert.KeyUnusable, rate: rateCanceled},
	{Change: cmek.ChangeKeyEnabled, Entry: "RK-15", Severity: alert.Info, Kind: Restored, Scope: ScopeKey, Incident: alert.KeyUnusable, Recovery: true},
	{Change: cmek.ChangePrimaryMoved, Entry: "RK-16", Severity: alert.Medium, Kind: Other, Scope: ScopeKey},
	{Change: cmek.ChangeReplicaCreated, Entry: "RK-16", Severity: alert.Medium, Kind: Other, Scope: ScopeKey},

	// Each way to make keyturn blind or mute.
	{Change: cmek.ChangeLogSink, Entry: "RK-17", Severity: alert.High, Kind: Watch, Scope: ScopeAll, rate: rateSink},
	{Change: cmek.ChangeAuditLogs, Entry: "RK-17", Severity: alert.High, Kind: Other, Scope: ScopeAll},
	{Change: cmek.ChangeEventRule, Entry: "RK-17", Severity: alert.High, Kind: Watch, Scope: ScopeAll, rate: rateRule},
	{Change: cmek.ChangeEventBus, Entry: "RK-17", Severity: alert.Critical, Kind: Watch, Scope: ScopeAll, OwnOnly: true},
	{Change: cmek.ChangeAlarm, Entry: "RK-17", Severity: alert.High, Kind: Watch, Scope: ScopeAll, OwnOnly: true},
	{Change: cmek.ChangeAlertTopic, Entry: "RK-17", Severity: alert.Critical, Kind: Watch, Scope: ScopeAll, OwnOnly: true, rate: rateBinding},
	{Change: cmek.ChangeSchedule, Entry: "RK-17", Severity: alert.High, Kind: Watch, Scope: ScopeAll, OwnOnly: true},
	{Change: cmek.ChangeFunction, Entry: "RK-17", Severity: alert.Critical, Kind: Watch, Scope: ScopeAll, OwnOnly: true, rate: rateBinding},
	{Change: cmek.ChangeSecret, Entry: "RK-17", Severity: alert.High, Kind: Watch, Scope: ScopeAll, OwnOnly: true, rate: rateSecret},
	{Change: cmek.ChangeQueue, Entry: "RK-17", Severity: alert.Critical, Kind: Watch, Scope: ScopeAll, OwnOnly: true, rate: rateQueue},
	{Change: cmek.ChangeTable, Entry: "RK-17", Severity: alert.Critical, Kind: Watch, Scope: ScopeAll, OwnOnly: true},

	{Change: cmek.ChangeUse, Entry: "RK-18", Severity: alert.High, Kind: Use, Scope: ScopeKey},
	{Change: cmek.ChangePrincipalAssumed, Entry: "RK-18", Severity: alert.High, Kind: Assumed, Scope: ScopePrincipal},
	{Change: cmek.ChangeUseRefused, Entry: "RK-19", Severity: alert.Critical, Kind: Refused, Scope: ScopeKey, Incident: alert.AccessLost, rate: rateRefusal},

	{Change: cmek.ChangeGuardRails, Entry: "RK-20", Severity: alert.Medium, Kind: Other, Scope: ScopeAll, rate: rateMove},
	{Change: cmek.ChangeAccountDetached, Entry: "RK-20", Severity: alert.High, Kind: Other, Scope: ScopeAccount},
	{Change: cmek.ChangeRegionDisabled, Entry: "RK-20", Severity: alert.High, Kind: Other, Scope: ScopeAccount},
	{Change: cmek.ChangeAPIDisabled, Entry: "RK-20", Severity: alert.Critical, Kind: State, Scope: ScopeAccount, Part: "api", Incident: alert.KeyUnusable},
	{Change: cmek.ChangeAPIEnabled, Entry: "RK-20", Severity: alert.Info, Kind: Restored, Scope: ScopeAccount, Part: "api", Incident: alert.KeyUnusable, Recovery: true},
	{Change: cmek.ChangeBillingDisabled, Entry: "RK-20", Severity: alert.Critical, Kind: State, Scope: ScopeAccount, Part: "billing", Incident: alert.KeyUnusable},
	{Change: cmek.ChangeBillingAssigned, Entry: "RK-20", Severity: alert.Low, Kind: Restored, Scope: ScopeAccount, Part: "billing", Incident: alert.KeyUnusable, Recovery: true},
	{Change: cmek.ChangeProjectShutDown, Entry: "RK-20", Severity: alert.Critical, Kind: State, Scope: ScopeAccount, Part: "project", Incident: alert.KeyUnusable},
	{Change: cmek.ChangeProjectRestored, Entry: "RK-20", Severity: alert.Info, Kind: Restored, Scope: ScopeAccount, Part: "project", Incident: alert.KeyUnusable, Recovery: true},
}

// rateMove: one call both moves a project and edits its labels, so it is a move only if the project was below something else before.
func rateMove(c Case, s alert.Severity) alert.Severity {
	switch {
	case !UpdatesProject(c.Event) || c.moved():
		return s
	case c.perhapsMoved():
		return alert.Low
	}
	return alert.None
}

// rateRefusal rates a cluster's refused call by its class. A decoder that gave none leaves the severity of the row.
func rateRefusal(c Case, s alert.Severity) alert.Severity {
	switch c.Event.Failure {
	case cmek.FailurePassing:
		return alert.Low
	case cmek.FailureRequest:
		return alert.Medium
	case cmek.FailureWrongKey, cmek.FailureUnknown:
		return alert.High
	}
	return s // denied, unfit, missing
}

// rateAlias: an alias that regions follow chooses their key.
func rateAlias(c Case, s alert.Severity) alert.Severity {
	if c.Pinned {
		return alert.High
	}
	return s
}

// rateImport: material that expires makes the whole key unusable on that day.
func rateImport(c Case, s alert.Severity) alert.Severity {
	if strings.Contains(c.Event.Parameters["expiration_model"], "KEY_MATERIAL_EXPIRES") {
		return alert.High
	}
	return s
}

// usualRotationDays is the period that AWS KMS takes unless another is given
// (docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html).
const usualRotationDays = 365

// ratePeriod: a period that is longer than the usual one is a finding.
func ratePeriod(c Case, s alert.Severity) alert.Severity {
	if days, err := strconv.Atoi(c.Event.Parameters["rotation_period_days"]); err == nil && days > usualRotationDays {
		return alert.Medium
	}
	return s
}

// rateLockout: whoever sets a policy past the safety check may lock everybody out of the key, its administrators included.
func rateLockout(c Case, s alert.Severity) alert.Severity {
	if bypassed(c.Event) {
		return alert.Worse(s, alert.High)
	}
	return s
}

func bypassed(e cmek.Event) bool { return e.Parameters["bypass_policy_lockout_safety_check"] == "true" }

// rateCanceled: canceling leaves the key disabled; any other unusable state is worse.
func rateCanceled(c Case, s alert.Severity) alert.Severity {
	if c.broken() && c.state() != cmek.KeyDisabled {
		return rateVersion(c, alert.Critical)
	}
	return s
}

// rateVersion: a version that may encrypt, or wrap a store key, is as critical as the key. An older one is needed for backups.
func rateVersion(c Case, s alert.Severity) alert.Severity {
	if c.need() == neededForOldData {
		return alert.High
	}
	return s
}

// rateRotationFailed: an automatic rotation that failed leaves the version before in use, unless that cannot be used.
func rateRotationFailed(c Case, s alert.Severity) alert.Severity {
	if c.broken() {
		return alert.High
	}
	return s
}

// rateSink: a change of keyturn's own sink or feed blinds it.
func rateSink(c Case, s alert.Severity) alert.Severity {
	if c.Own && cmp.Or(c.Event.Parameters["sink"], c.Event.Parameters["feed"]) != "" {
		return alert.Critical
	}
	return s
}

// rateRule: a change of keyturn's own rule blinds it. rateOwn rates a deployment's.
func rateRule(c Case, s alert.Severity) alert.Severity {
	if c.Own {
		return alert.Critical
	}
	return s
}

// rateSecret: owners put a new value when they replace a credential. A wrong one shows by itself: what needs it fails with an alarm.
func rateSecret(c Case, s alert.Severity) alert.Severity {
	switch call(c.Event) {
	case "PutSecretValue", "AddSecretVersion":
		return alert.Medium
	}
	return s
}

// rateBinding: a binding that was added takes nothing away. One of keyturn's own deployments adds some with each channel and operator.
func rateBinding(c Case, s alert.Severity) alert.Severity {
	if call(c.Event) == "SetIamPolicy" && onlyAdds(c.Event.Delta) {
		return alert.High
	}
	return s
}

// rateQueue: what was in a purged queue is lost, and what comes next is delivered again. Operators purge dead letters.
func rateQueue(c Case, s alert.Severity) alert.Severity {
	if call(c.Event) == "PurgeQueue" {
		return alert.High
	}
	return s
}
