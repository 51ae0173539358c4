package cmek

import (
	"fmt"
	"slices"
	"strconv"
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

// Before reports whether the version is for certain an older one than the other. Cloud KMS numbers the versions of a key in the order of
// their creation (cloud.google.com/kms/docs/resource-hierarchy); versions of other schemes have no order of their own.
func (v KeyVersion) Before(other KeyVersion) bool {
	if v.Scheme != Primary || other.Scheme != Primary {
		return false
	}
	a, errA := strconv.ParseUint(v.ID, 10, 64)
	b, errB := strconv.ParseUint(other.ID, 10, 64)
	return errA == nil && errB == nil && a < b
}

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

// Key states. AWS KMS' Creating and Updating are KeyTransient, as Cloud KMS' PENDING_GENERATION is; PendingReplicaDeletion
// and DESTROY_SCHEDULED are KeyDeletionScheduled. KeyDestroyed is a version of Cloud KMS whose material is gone for good
// while its key remains. An unknown vendor word is KeyUnknown.
const (
	KeyEnabled           KeyState = "enabled"
	KeyDisabled          KeyState = "disabled"
	KeyDeletionScheduled KeyState = "deletion scheduled"
	KeyPendingImport     KeyState = "pending import"
	KeyUnavailable       KeyState = "unavailable"
	KeyDestroyed         KeyState = "destroyed"
	KeyNotFound          KeyState = "not found"
	KeyTransient         KeyState = "transient"
	KeyUnknown           KeyState = "unknown"
)

// Usable reports whether a cluster can encrypt and decrypt with the key now.
func (s KeyState) Usable() bool { return s == KeyEnabled }

// Unusable reports whether the KMS says clearly that the key cannot be used. Transient and unknown states are neither
// usable nor unusable: they call for another read, not for an alert.
func (s KeyState) Unusable() bool {
	switch s {
	case KeyDisabled, KeyDeletionScheduled, KeyPendingImport, KeyUnavailable, KeyDestroyed, KeyNotFound:
		return true
	}
	return false
}

// Key is the truth about one key, read from its KMS at the URI given.
type Key struct {
	URI KeyURI `json:"uri"`
	// State is what can be done with the key. On Cloud KMS, where a key has no state, it is the current version's.
	State KeyState `json:"state"`
	// Version is the current generation; zero if the KMS does not tell (a key that is not symmetric, for instance).
	Version KeyVersion `json:"version,omitzero"`
	// RotatedAt is when Version became current, or the key's creation if it was never rotated; zero unless the KMS proves
	// it. AWS lists rotations in the key's own account only; Cloud KMS shows when a version was created, not since when it is
	// the primary.
	RotatedAt time.Time `json:"rotated_at,omitzero"`
	// NeverRotated is true only when the KMS proves it: Version is the first generation, and there never was another.
	NeverRotated bool `json:"never_rotated,omitempty"`
	// RotationRunning is true while AWS KMS works on an on-demand rotation: encryption may still use the old material.
	RotationRunning bool `json:"rotation_running,omitempty"`
	// Versions are the generations that the KMS shows, the oldest first; empty if they could not be read. A generation that
	// waits for its first rotation is not among them.
	Versions []KeyVersionInfo `json:"versions,omitempty"`
	// Settle is the KMS's own minimum of the settle time: so long after a rotation encryption may still use the version
	// before. 0: the KMS asks for none.
	Settle time.Duration `json:"settle,omitempty"`
	// Unfit says why no store key can be encrypted with the key: it is for signing, for instance. "" for a symmetric key for encryption, and
	// for one that does not exist.
	Unfit string `json:"unfit,omitempty"`
	// DeletionDate is when a scheduled deletion of the key, or on Cloud KMS of its current version, becomes final; zero if
	// none is scheduled or the date is not yet fixed.
	DeletionDate time.Time `json:"deletion_date,omitzero"`
}

// KeyVersionInfo is one generation of a key, current or past.
type KeyVersionInfo struct {
	Version KeyVersion `json:"version"`
	// State is the generation's own. An enabled generation of a disabled key cannot be used.
	State KeyState `json:"state"`
	// CreatedAt is when the generation was made, BecameCurrent when encryption began to use it; zero unless the KMS proves it.
	CreatedAt     time.Time `json:"created_at,omitzero"`
	BecameCurrent time.Time `json:"became_current,omitzero"`
	// DeletionDate is when a scheduled deletion of this generation alone becomes final.
	DeletionDate time.Time `json:"deletion_date,omitzero"`
}

// Position is the version's place in [Key.Versions], from the oldest, which has 0; -1 if it is not shown. Positions of one
// reading of one key can be compared: the lower one is the older version.
func (k Key) Position(v KeyVersion) int {
	if v.IsZero() {
		return -1
	}
	return slices.IndexFunc(k.Versions, func(i KeyVersionInfo) bool { return i.Version == v })
}

// SetBackAfter is a time after which the current version became current again: a version that is newer was made then. Zero if there is
// none. Only Cloud KMS makes a version current that was so before, and does not show when.
func (k Key) SetBackAfter() time.Time {
	if at, last := k.Position(k.Version), len(k.Versions)-1; at >= 0 && at < last && k.Version.Before(k.Versions[last].Version) {
		return k.Versions[last].CreatedAt
	}
	return time.Time{}
}

// Has reports whether the version is the key's current one or in its history. False may also mean that the KMS does not show
// the version: not yet, no longer, or not to us.
func (k Key) Has(v KeyVersion) bool { return !v.IsZero() && (v == k.Version || k.Position(v) >= 0) }

// VersionInfo returns what the KMS shows of the version, and whether it shows it.
func (k Key) VersionInfo(v KeyVersion) (KeyVersionInfo, bool) {
	if i := k.Position(v); i >= 0 {
		return k.Versions[i], true
	}
	return KeyVersionInfo{}, false
}
