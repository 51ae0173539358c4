package cmek

import (
	"fmt"
	"strings"
	"time"
)

// KeyVersion is one generation of a key's material. Scheme says how the generation is known; versions of different
// schemes are never equal and never ordered: a change of scheme says nothing about a rotation.
//
// The zero value means "not known".
type KeyVersion struct {
	Scheme VersionScheme
	ID     string
}

// VersionScheme is how a KMS tells generations of a key apart.
type VersionScheme string

// The three schemes.
const (
	// Material is AWS KMS' CurrentKeyMaterialId (64 hex digits), read at the region's own key ARN.
	Material VersionScheme = "material"
	// RotatedOn is the newest RotationDate of AWS KMS, RFC 3339 in UTC, for keys that report no material id.
	RotatedOn VersionScheme = "rotated"
	// Primary is the primary CryptoKeyVersion of Cloud KMS: its number.
	Primary VersionScheme = "primary"
)

// MaterialVersion is the version that AWS KMS names by a key material id; "" gives the unknown version.
func MaterialVersion(id string) KeyVersion {
	if id == "" {
		return KeyVersion{}
	}
	return KeyVersion{Material, id}
}

// RotatedOnVersion is the version that began at the given rotation date.
func RotatedOnVersion(at time.Time) KeyVersion {
	if at.IsZero() {
		return KeyVersion{}
	}
	return KeyVersion{RotatedOn, at.UTC().Format(time.RFC3339Nano)}
}

// IsZero reports whether the version is not known.
func (v KeyVersion) IsZero() bool { return v == KeyVersion{} }

// String is "scheme:id", or "" for the unknown version; [ParseKeyVersion] reads it back.
func (v KeyVersion) String() string {
	if v.IsZero() {
		return ""
	}
	return string(v.Scheme) + ":" + v.ID
}

// Short is String with the id cut to what a person compares at a glance.
func (v KeyVersion) Short() string {
	if v.Scheme == Material && len(v.ID) > 12 {
		return string(v.Scheme) + ":" + v.ID[:12] + "…"
	}
	return v.String()
}

// ParseKeyVersion reads what [KeyVersion.String] wrote.
func ParseKeyVersion(s string) (KeyVersion, error) {
	if s == "" {
		return KeyVersion{}, nil
	}
	scheme, id, _ := strings.Cut(s, ":")
	switch v := (KeyVersion{VersionScheme(scheme), id}); {
	case id == "":
		return KeyVersion{}, fmt.Errorf("key version %q: want scheme:id", clip(s))
	case v.Scheme != Material && v.Scheme != RotatedOn && v.Scheme != Primary:
		return KeyVersion{}, fmt.Errorf("key version %q: scheme is none of material, rotated, primary", clip(s))
	default:
		return v, nil
	}
}

// MarshalText writes [KeyVersion.String].
func (v KeyVersion) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads [KeyVersion.String].
func (v *KeyVersion) UnmarshalText(text []byte) (err error) {
	*v, err = ParseKeyVersion(string(text))
	return err
}

// KeyState is what can be done with a key right now, in one vocabulary for every KMS.
type KeyState string

// Key states. AWS KMS' Creating and Updating are KeyTransient; PendingReplicaDeletion is KeyDeletionScheduled; an unknown
// vendor word is KeyUnknown.
const (
	KeyEnabled           KeyState = "enabled"
	KeyDisabled          KeyState = "disabled"
	KeyDeletionScheduled KeyState = "deletion scheduled"
	KeyPendingImport     KeyState = "pending import"
	KeyUnavailable       KeyState = "unavailable"
	KeyNotFound          KeyState = "not found"
	KeyTransient         KeyState = "transient"
	KeyUnknown           KeyState = "unknown"
)

// Usable reports whether a cluster can encrypt and decrypt with the key now.
func (s KeyState) Usable() bool { return s == KeyEnabled }

// Unusable reports whether the KMS says clearly that the key cannot be used. Transient and unknown states are neither
// usable nor unusable: they call for another look, not for an alarm.
func (s KeyState) Unusable() bool {
	switch s {
	case KeyDisabled, KeyDeletionScheduled, KeyPendingImport, KeyUnavailable, KeyNotFound:
		return true
	}
	return false
}

// Key is the truth about one key, read from its KMS at the URI given.
type Key struct {
	URI   KeyURI   `json:"uri"`
	State KeyState `json:"state"`
	// Version is the current generation; zero if the KMS does not tell (a key that is not symmetric, for instance).
	Version KeyVersion `json:"version,omitzero"`
	// RotatedAt is when Version became current, or the key's creation if it was never rotated; zero if that cannot be
	// read (AWS: ListKeyRotations works in the key's own account only).
	RotatedAt time.Time `json:"rotated_at,omitzero"`
	// NeverRotated is true only when the KMS says so: Version is the first generation there ever was.
	NeverRotated bool `json:"never_rotated,omitempty"`
	// RotationRunning is true while AWS KMS works on an on-demand rotation: encryption may still use the old material.
	RotationRunning bool `json:"rotation_running,omitempty"`
	// DeletionDate is when a scheduled deletion becomes final; zero if none is scheduled or the date is not yet fixed.
	DeletionDate time.Time `json:"deletion_date,omitzero"`
}
