package cmek

import "time"

// Change is what happened to a key or to the access to it, as a past participle.
type Change string

// Changes that functions subscribe to. The values are the words that people read.
const (
	// Rotated: the key has new material, and encryption uses it now or within minutes. RotationRequested is only the call
	// that asks for it.
	Rotated           Change = "rotated"
	RotationRequested Change = "rotation requested"
	RotationDisabled  Change = "automatic rotation disabled"
	RotationChanged   Change = "automatic rotation enabled or changed"

	// What makes a key unusable, and what brings it back. A canceled deletion leaves the key disabled.
	KeyWasDisabled       Change = "key disabled"
	KeyWasEnabled        Change = "key enabled"
	DeletionWasScheduled Change = "deletion scheduled"
	DeletionWasCanceled  Change = "deletion canceled"
	KeyWasDeleted        Change = "key deleted"
	MaterialDeleted      Change = "key material deleted"
	MaterialExpired      Change = "key material expired"
	MaterialImported     Change = "key material imported"
	KeyStoreDisconnected Change = "custom key store disconnected"
	KeyStoreConnected    Change = "custom key store connected"
	KeyStoreChanged      Change = "custom key store changed or deleted"

	// Who may use the key.
	KeyPolicyReplaced  Change = "key policy replaced"
	GrantCreated       Change = "grant created"
	GrantRemoved       Change = "grant revoked or retired"
	AliasChanged       Change = "alias created, moved or deleted"
	KeyTagged          Change = "key tags changed"
	RoleTrustChanged   Change = "role trust policy changed"
	RoleDeleted        Change = "role deleted"
	RolePolicyChanged  Change = "role permissions changed"
	BoundaryChanged    Change = "permissions boundary changed"
	PolicyChanged      Change = "managed policy changed"
	RoleChanged        Change = "role settings or tags changed"
	GuardRailsChanged  Change = "organization guard rails changed"
	RegionDisabled     Change = "region disabled"
	AccountDetached    Change = "account left its organization or was closed"
	KeyReplicated      Change = "replica created"
	KeySynchronized    Change = "replicas synchronized"
	PrimaryMoved       Change = "primary region moved"
	KeyWasCreated      Change = "key created"
	DescriptionChanged Change = "key description changed"

	// Use of the key, and the eyes on it.
	UseRefused    Change = "use refused"
	UseUnexpected Change = "used by another principal"
	RoleAssumed   Change = "role assumed"
	TrailChanged  Change = "trail stopped or changed"
	RuleChanged   Change = "event rule changed"
)

// Event is one happening, decoded from a cloud provider's payload. It is a hint: it opens work or an alert, and what is done
// about it follows from reading the KMS and the Cloud API.
type Event struct {
	// ID is the provider's id of this notice. Two notices of one happening have different ids; a repeat has the same.
	ID string `json:"id"`
	// Source tells which notice it was, as "source/detail-type/name", for logs and evidence.
	Source string `json:"source"`
	Change Change `json:"change"`
	// Key is the key concerned, at the Region of the notice; an alias ARN if the notice names only that; "" if it names no
	// key (a role was changed, for instance).
	Key KeyURI `json:"key,omitempty"`
	// Version is the new key version of a rotation; zero if the notice does not carry it.
	Version KeyVersion `json:"version,omitzero"`
	// Previous is the version before it; zero if the notice does not carry it.
	Previous KeyVersion `json:"previous,omitzero"`
	// Time is when it happened, by the provider's clock; zero if the notice does not say.
	Time    time.Time `json:"time,omitzero"`
	Account string    `json:"account,omitempty"`
	Region  string    `json:"region,omitempty"`
	// Principal is who did it, as an ARN where there is one, or "" when the provider itself did. For an assumed role Issuer
	// is the role's own ARN.
	Principal string `json:"principal,omitempty"`
	Issuer    string `json:"issuer,omitempty"`
	// Error is the error code of a call that failed and changed nothing; "" if it succeeded.
	Error string `json:"error,omitempty"`
	// Role is the name or ARN of the IAM role that was changed or assumed.
	Role string `json:"role,omitempty"`
	// Policy is the policy document that the call set, as JSON text.
	Policy string `json:"policy,omitempty"`
	// Parameters are further facts of the call that a decision or a person needs, such as "pending_window_days",
	// "rotation_period_days", "bypass_policy_lockout_safety_check", "alias", "policy_arn", "policy_name", "grantee",
	// "operations", "custom_key_store_id", "target", "trail", "rule", "event_bus".
	Parameters map[string]string `json:"parameters,omitempty"`
	// Amends is the ID of the notice that this one is an addendum to.
	Amends string `json:"amends,omitempty"`
}

// Succeeded reports whether the change took effect.
func (e Event) Succeeded() bool { return e.Error == "" }
