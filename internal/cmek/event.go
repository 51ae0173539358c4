package cmek

import (
	"strings"
	"time"
)

// Change is what happened to a key or to the access to it, as a past participle.
type Change string

// Changes that functions subscribe to. The values are the words that people read.
const (
	// ChangeRotated: the key has new material, and encryption uses it now or within minutes. ChangeRotationRequested is only the call
	// that asks for it.
	ChangeRotated           Change = "rotated"
	ChangeRotationRequested Change = "rotation requested"
	ChangeRotationDisabled  Change = "automatic rotation disabled"
	ChangeRotationSchedule  Change = "automatic rotation enabled or changed"

	// What makes a key unusable, and what brings it back. A canceled deletion leaves the key disabled.
	ChangeKeyDisabled          Change = "key disabled"
	ChangeKeyEnabled           Change = "key enabled"
	ChangeDeletionScheduled    Change = "deletion scheduled"
	ChangeDeletionCanceled     Change = "deletion canceled"
	ChangeKeyDeleted           Change = "key deleted"
	ChangeMaterialDeleted      Change = "key material deleted"
	ChangeMaterialExpired      Change = "key material expired"
	ChangeMaterialImported     Change = "key material imported"
	ChangeKeyStoreDisconnected Change = "custom key store disconnected"
	ChangeKeyStoreConnected    Change = "custom key store connected"
	ChangeKeyStore             Change = "custom key store changed or deleted"

	// Who may use the key.
	ChangeKeyPolicy            Change = "key policy replaced"
	ChangeGrantCreated         Change = "grant created"
	ChangeGrantRemoved         Change = "grant revoked or retired"
	ChangeAlias                Change = "alias created, moved or deleted"
	ChangeKeyTags              Change = "key tags changed"
	ChangePrincipalTrust       Change = "trust policy changed"
	ChangePrincipalDeleted     Change = "principal deleted"
	ChangePrincipalPolicy      Change = "principal permissions changed"
	ChangeBoundary             Change = "permissions boundary changed"
	ChangeManagedPolicy        Change = "managed policy changed"
	ChangePrincipalSettings    Change = "principal settings or tags changed"
	ChangeGuardRails           Change = "guard rails changed"
	ChangeRegionDisabled       Change = "region disabled"
	ChangeAccountDetached      Change = "account left its organization or was closed"
	ChangeReplicaCreated       Change = "replica created"
	ChangeReplicasSynchronized Change = "replicas synchronized"
	ChangePrimaryMoved         Change = "primary region moved"
	ChangeKeyCreated           Change = "key created"
	ChangeKeyDescription       Change = "key description changed"

	// Clouds on which versions have states of their own, and the key has none. [Event.On] is the version. A restored version is
	// disabled. That a primary was set back is never in an event: a rotation turns out to be one by what is known of its versions.
	ChangeVersionCreated   Change = "key version created"
	ChangeVersionEnabled   Change = "key version enabled"
	ChangeVersionDisabled  Change = "key version disabled"
	ChangeVersionScheduled Change = "key version destruction scheduled"
	ChangeVersionDestroyed Change = "key version destroyed"
	ChangeVersionRestored  Change = "key version restored"
	ChangePrimarySetBack   Change = "primary version set back"
	ChangeRotationFailed   Change = "automatic rotation failed"
	ChangeKeyRingDeleted   Change = "key ring deleted"

	// Who may use the key, by what is not the key's own.
	ChangeInheritedPolicy    Change = "inherited policy changed"
	ChangeDenyPolicy         Change = "deny policy changed"
	ChangeAccessBoundary     Change = "principal access boundary changed"
	ChangeJustifications     Change = "key access justifications policy changed"
	ChangeExternalKeys       Change = "external key manager or HSM instance changed"
	ChangePrincipalDisabled  Change = "principal disabled"
	ChangePrincipalEnabled   Change = "principal enabled"
	ChangePrincipalUndeleted Change = "principal undeleted"
	ChangePrincipalCreated   Change = "principal created"
	ChangeAPIDisabled        Change = "API disabled"
	ChangeAPIEnabled         Change = "API enabled"
	ChangeBillingDisabled    Change = "billing disabled"
	ChangeBillingAssigned    Change = "billing account assigned"
	ChangeProjectShutDown    Change = "project shut down"
	ChangeProjectRestored    Change = "project restored"

	// Use of the key, and what watches over all this.
	ChangeUseRefused       Change = "use refused"
	ChangeUse              Change = "used by another principal"
	ChangePrincipalAssumed Change = "principal assumed"
	ChangeLogSink          Change = "log sink stopped or changed"
	ChangeAuditLogs        Change = "audit logs reduced"
	ChangeEventRule        Change = "event rule changed"
	ChangeEventBus         Change = "event bus changed or deleted"
	ChangeAlarm            Change = "alarm changed, deleted or silenced"
	ChangeAlertTopic       Change = "alert topic or subscription changed or removed"
	ChangeSchedule         Change = "schedule changed or deleted"
	ChangeFunction         Change = "function changed or deleted"
	ChangeSecret           Change = "secret changed or deleted"
	ChangeQueue            Change = "queue changed, purged or deleted"
	ChangeTable            Change = "table deleted"
)

// formerly are the names that changes had in ledgers before they fitted every cloud.
var formerly = map[string]Change{
	"role trust policy changed": ChangePrincipalTrust, "role deleted": ChangePrincipalDeleted,
	"role permissions changed": ChangePrincipalPolicy, "role settings or tags changed": ChangePrincipalSettings,
	"role assumed": ChangePrincipalAssumed, "organization guard rails changed": ChangeGuardRails,
	"trail stopped or changed": ChangeLogSink,
}

// UnmarshalText reads a change, also by the name that it had in earlier releases.
func (c *Change) UnmarshalText(text []byte) error {
	*c = Change(text)
	if now, ok := formerly[string(text)]; ok {
		*c = now
	}
	return nil
}

// Event is one happening, decoded from a cloud provider's payload. It is a hint: it opens work or an alert, and what is done
// about it follows from reading the KMS and the Cloud API.
type Event struct {
	// ID is the provider's id of this notice. Two notices of one happening have different ids; a repeat has the same.
	ID string `json:"id"`
	// Source is the kind of notice, as "source/detail-type/name", for logs and evidence.
	Source string `json:"source"`
	Change Change `json:"change"`
	// Key is the key concerned, at the Region of the notice; an alias ARN if the notice names only that, or if the key is one that
	// the provider manages itself; "" if it names no key (a role was changed, for instance).
	Key KeyURI `json:"key,omitempty"`
	// Version is the new key version of a rotation; zero if the notice does not carry it.
	Version KeyVersion `json:"version,omitzero"`
	// Previous is the version before it; zero if the notice does not carry it.
	Previous KeyVersion `json:"previous,omitzero"`
	// Time is when it happened, by the provider's clock; zero if the notice does not carry it.
	Time time.Time `json:"time,omitzero"`
	// Account is where the thing is that the event is about, which may be another account than the one that recorded it.
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	// Principal is who did it, as an ARN where there is one, or "" when the provider itself did. For an assumed role Issuer
	// is the role's own ARN. The provider vouches for them, but the caller chose a part of both (the name of a session, of a
	// user): compare them whole or by their parsed account, never by a substring.
	Principal string    `json:"principal,omitempty"`
	Issuer    Principal `json:"issuer,omitempty"`
	// Caller is the account or project that the caller belongs to; "" if the notice does not carry it, or if the provider itself did it.
	Caller string `json:"caller,omitempty"`
	// Error is the error code of a call that failed and changed nothing; "" if it succeeded. Failure is its class.
	Error   string  `json:"error,omitempty"`
	Failure Failure `json:"failure,omitempty"`
	// Identity is the role or service account that was changed or assumed. A role has its full ARN, without its path if the
	// notice leaves that out; a bare name, in Account, if the notice does not hold enough for an ARN.
	Identity Principal `json:"identity,omitempty"`
	// On is the key version that was acted on, where versions have states of their own; zero for the key as a whole.
	On KeyVersion `json:"on,omitzero"`
	// Policy is the policy document that the call set, as JSON text. Delta is what the provider says that the call changed in it, as
	// JSON text (on Google Cloud the policyDelta of an audit log entry).
	Policy string `json:"policy,omitempty"`
	Delta  string `json:"delta,omitempty"`
	// Parameters are further facts of the call that a decision or a person needs, as text: how bad it is
	// ("pending_window_days", "key_state", "rotation_period_days", "expiration_model", "bypass_policy_lockout_safety_check",
	// "policy_arn", "set_as_default", "state", "tags"), what it is about ("custom_key_store_id", "alias", "policy_name", "target", "trail",
	// "rule", "event_bus", "alarm", "topic", "subscription", "schedule", "schedule_group", "function", "secret", "queue", "table",
	// "resource" (the project, folder or organization that a policy stands at), "key_ring", "role", "api", "sink", "binding" and others),
	// and which service of the provider made the call for somebody ("via"). "omitted" is "true" if the provider left the
	// parameters of the call out because they are too large: the name of the role and the document are missing then.
	Parameters map[string]string `json:"parameters,omitempty"`
	// Amends is the ID of the notice that this one is an addendum to.
	Amends string `json:"amends,omitempty"`
	// Operation names the long-running operation that the notice is about, the same in the notices of its beginning and its end; "" if it
	// is about none. Begun is true of its beginning: how it ends is not known yet, and whatever else is here is what was asked for.
	Operation string `json:"operation,omitempty"`
	Begun     bool   `json:"begun,omitempty"`
}

// Failure classes why a call failed.
type Failure string

// The classes of failures. The decoder of each cloud fills them in; a code that it does not know is FailureUnknown.
const (
	// FailureDenied: the caller may not do it, by whatever policy. FailureUnfit: the state of the key (or of its key store)
	// does not allow it. FailureMissing: the key or the principal does not exist.
	FailureDenied  Failure = "denied"
	FailureUnfit   Failure = "unfit"
	FailureMissing Failure = "missing"
	// FailureWrongKey: the key can be used, but what was to be decrypted was encrypted under another key.
	FailureWrongKey Failure = "wrong key"
	// FailurePassing: the provider asks to try again. FailureRequest: the request itself is wrong. FailureDryRun: nothing was
	// asked for but whether it would succeed, and it would.
	FailurePassing Failure = "passing"
	FailureRequest Failure = "request"
	FailureDryRun  Failure = "dry run"
	FailureUnknown Failure = "unknown"
)

// Succeeded reports whether the change took effect.
func (e Event) Succeeded() bool { return e.Error == "" }

// Shortened ends a fact of an event that was cut because it was too long to be carried.
const Shortened = "…"

// Alias is the ARN of the alias that the event is about, in the account and Region of the key that it names; "" if the event is about none.
func (e Event) Alias() KeyURI {
	if e.Change != ChangeAlias {
		return ""
	}
	if e.Key.IsAlias() {
		return e.Key
	}
	key, err := parseARN(string(e.Key))
	name := e.Parameters["alias"]
	if err != nil || !strings.HasPrefix(name, "alias/") {
		return ""
	}
	alias, err := AWSKeyARN(key.partition, key.region, key.account, name)
	if err != nil {
		return ""
	}
	return alias
}
