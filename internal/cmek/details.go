package cmek

import (
	"slices"
	"strings"
	"time"
)

// KeyDescription is what a KMS says about a key beyond [Key]. The words are the KMS's own.
type KeyDescription struct {
	Key
	CreatedAt time.Time `json:"created_at"`
	// Purpose is AWS' KeyUsage or Google's purpose, ENCRYPT_DECRYPT for a CMEK of either. Spec is AWS' KeySpec, or the algorithm of Google's
	// version template.
	Purpose string `json:"purpose"`
	Spec    string `json:"spec"`
	// Manager (AWS or CUSTOMER), Origin (AWS_KMS, EXTERNAL, AWS_CLOUDHSM, EXTERNAL_KEY_STORE), ExpirationModel and ValidTo (the earliest
	// expiry of any imported material) are AWS'.
	Manager         string    `json:"manager,omitempty"`
	Origin          string    `json:"origin,omitempty"`
	ExpirationModel string    `json:"expiration_model,omitempty"`
	ValidTo         time.Time `json:"valid_to,omitzero"`
	// Protection (SOFTWARE, HSM, EXTERNAL, EXTERNAL_VPC), Backend (the EKM connection or HSM instance behind it, if one is named), ImportOnly
	// and Labels are Google's.
	Protection string            `json:"protection,omitempty"`
	Backend    string            `json:"backend,omitempty"`
	ImportOnly bool              `json:"import_only,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	// Primary and Replicas are the keys of AWS' MultiRegionConfiguration, and this one is among the two; "" and none for a single-Region key.
	Primary  KeyURI   `json:"primary,omitempty"`
	Replicas []KeyURI `json:"replicas,omitempty"`
	// DeletionWindow is how long a deletion waits: Google's destroyScheduledDuration; on AWS the waiting period of the deletion that is
	// scheduled (PendingWindowInDays of ScheduleKeyDeletion in CloudTrail). 0: not known.
	DeletionWindow time.Duration `json:"deletion_window,omitempty"`
}

// KeyRotation is a key's automatic rotation.
type KeyRotation struct {
	// Unsupported: the KMS says that it cannot rotate such a key by itself (imported material, a custom or external key store).
	Unsupported bool          `json:"unsupported,omitempty"`
	Enabled     bool          `json:"enabled,omitempty"`
	Period      time.Duration `json:"period,omitempty"`
	// Next is when the next rotation is due; zero if the KMS does not tell.
	Next time.Time `json:"next,omitzero"`
}

// KeyDetails is a key with all that its KMS shows of it. A part that could not be read has an error in place of its value; unlike
// [KMS.Key], no refusal passes for "there is none".
type KeyDetails struct {
	Description    KeyDescription
	DescriptionErr error
	Rotation       KeyRotation
	RotationErr    error
}

// KeyGrant is a grant of AWS KMS.
type KeyGrant struct {
	ID         string    `json:"id"`
	Grantee    string    `json:"grantee"`
	Operations []string  `json:"operations"`
	CreatedAt  time.Time `json:"created_at"`
}

// KeyUsage is the last successful operation with a key.
type KeyUsage struct {
	// At is when it was; zero if there was none since Tracked, which is when its KMS or its log began to record uses.
	At        time.Time `json:"at,omitzero"`
	Operation string    `json:"operation,omitempty"`
	Tracked   time.Time `json:"tracked"`
	// Event is the id of its record in the log, "" if the KMS does not name one.
	Event string `json:"event,omitempty"`
}

// RecordedUse is a successful cryptographic operation with a key, as the cloud's log has it.
type RecordedUse struct {
	// Event is the record's id in the log.
	Event string    `json:"event"`
	At    time.Time `json:"at"`
	// Operation is the cloud's word, as "Encrypt". By is the role (never a session of it) or the service account that called.
	Operation string    `json:"operation"`
	By        Principal `json:"by"`
	// Encrypted and Decrypted are the versions of the key that it encrypted and decrypted under; zero if it did not, or if the record
	// does not name the version.
	Encrypted KeyVersion `json:"encrypted,omitzero"`
	Decrypted KeyVersion `json:"decrypted,omitzero"`
}

// RecordedUses are what a log has of a key since a time, the newest first.
type RecordedUses struct {
	Uses []RecordedUse
	// Cut: there are more, older ones, that were not read.
	Cut bool
}

// Backups are a cluster's managed backups.
type Backups struct {
	// Newest is the as_of_time of the newest backup; zero if there is none in the time that was asked about.
	Newest time.Time `json:"newest,omitzero"`
	// Frequency is the configured one; 0 if backups are off. Retention is how long each is kept; 0 if that is not known.
	Frequency time.Duration `json:"frequency"`
	Retention time.Duration `json:"retention"`
}

// PermissionError is a read that was refused because a permission is missing. It wraps [ErrDenied].
type PermissionError struct {
	// Permission is the action in the cloud's own word, and where it is to be given: "kms:ListGrants in the key policy of arn:…".
	Permission string
	Err        error
}

func (e *PermissionError) Error() string { return e.Err.Error() }
func (e *PermissionError) Unwrap() error { return e.Err }

// SwitchedOffError is a call that failed because something that it needs is off in a project, whoever makes it: an API, or the billing.
// No permission is missing, so it does not wrap [ErrDenied].
type SwitchedOffError struct {
	// What is off, and where: "the API cloudkms.googleapis.com of project 123456789012 is off".
	What string
	// Help turns it on: sentences, and commands that can be pasted.
	Help []string
	Err  error
}

func (e *SwitchedOffError) Error() string {
	return e.What + "; " + strings.Join(append(slices.Clone(e.Help), e.Err.Error()), " ")
}
func (e *SwitchedOffError) Unwrap() error { return e.Err }
