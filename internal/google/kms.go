package google

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	kms "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/api/iterator"

	"github.com/keyturn/keyturn/internal/cmek"
)

// settle is how long after a change of primary a cluster is left alone. Encrypt "may continue to use the previous primary version
// typically for 1 minute, in exceptional cases for several hours", and nothing shows which version it uses
// (cloud.google.com/kms/docs/consistency): a PUT at once could wrap the store key under the old version again. Half an hour is
// thirty times the typical case.
const settle = 30 * time.Minute

// KMS reads keys of Cloud KMS in every location and project that lets us: it takes cloudkms.cryptoKeys.get and
// cloudkms.cryptoKeyVersions.list, which roles/cloudkms.viewer on the key has. It is safe for concurrent use.
type KMS struct {
	config Config
	client *kms.KeyManagementClient
}

// NewKMS returns a reader of keys.
func NewKMS(config Config) (*KMS, error) {
	client, err := kms.NewKeyManagementRESTClient(context.Background(), config.options()...)
	if err != nil {
		return nil, explain(err, "make a client of Cloud KMS")
	}
	return &KMS{config, client}, nil
}

// Key reads the key and all its versions. A key that does not exist has the state cmek.KeyNotFound. An error means that the truth
// could not be read, and wraps cmek.ErrDenied if we may not.
//
// On Cloud KMS versions have states and the key has none: its state is that of its primary version, and unavailable while the key's Key
// Access Justifications policy lets nobody use that. A key for encryption whose
// versions cannot be primary yet has the newest version's state, and no version. A key for anything else is cmek.KeyUnknown.
func (k *KMS) Key(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	read, err := k.read(ctx, uri)
	switch {
	case err != nil:
		return cmek.Key{}, err
	case read == nil:
		return keyOf(uri, read), nil
	}
	return k.withVersions(ctx, keyOf(uri, read), read)
}

// Describe reads the key with one call, if it has a primary version: without the other versions, and without what follows from
// them.
func (k *KMS) Describe(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	read, err := k.read(ctx, uri)
	switch {
	case err != nil:
		return cmek.Key{}, err
	case read == nil || read.Primary != nil || read.Purpose != kmspb.CryptoKey_ENCRYPT_DECRYPT:
		return keyOf(uri, read), nil
	}
	return k.withVersions(ctx, keyOf(uri, read), read)
}

// read returns the CryptoKey as its KMS shows it; nil if it does not exist.
func (k *KMS) read(ctx context.Context, uri cmek.KeyURI) (*kmspb.CryptoKey, error) {
	doing := fmt.Sprintf("read key %s", clip(string(uri)))
	name, err := keyName(uri)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	ctx, cancel := k.config.within(ctx)
	defer cancel()
	key, err := k.client.GetCryptoKey(ctx, &kmspb.GetCryptoKeyRequest{Name: name})
	if err != nil {
		if err = explain(err, doing); errors.Is(err, cmek.ErrNotFound) {
			return nil, nil
		}
		return nil, err
	}
	if err := complete(key, name); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return key, nil
}

// keyName is the resource name of a key of Cloud KMS.
func keyName(uri cmek.KeyURI) (string, error) {
	if _, err := cmek.ParseKeyURI(string(uri)); err != nil {
		return "", err
	}
	if uri.Type() != cmek.GCPCloudKMS {
		return "", errors.New("not a key of Cloud KMS")
	}
	return uri.Canonical(), nil
}

// complete reports what the answer lacks to be about the key.
func complete(key *kmspb.CryptoKey, name string) error {
	shown, version, err := cmek.ParseCryptoKeyName(key.GetName())
	switch {
	case err != nil || !version.IsZero() || !sameResource(string(shown), name):
		return fmt.Errorf("the answer is about %q", clip(key.GetName()))
	case key.Purpose == kmspb.CryptoKey_CRYPTO_KEY_PURPOSE_UNSPECIFIED, !key.CreateTime.IsValid():
		return fmt.Errorf("%w: no purpose, or no time of creation", cmek.ErrIncomplete)
	case key.Primary == nil:
		return nil
	}
	if _, err := versionOf(key.Primary, name); err != nil {
		return fmt.Errorf("its primary: %w", err)
	}
	return nil
}

// sameResource reports whether two names of keys mean the same one. An answer may name the project by its id where we asked by its
// number, or the other way round.
func sameResource(a, b string) bool {
	projectA, restA, _ := strings.Cut(strings.TrimPrefix(a, "projects/"), "/")
	projectB, restB, _ := strings.Cut(strings.TrimPrefix(b, "projects/"), "/")
	return restA == restB && (projectA == projectB || isNumber(projectA) != isNumber(projectB))
}

func isNumber(project string) bool { return strings.Trim(project, "0123456789") == "" }

// versionOf is the version that the answer is about, which must be one of the key.
func versionOf(v *kmspb.CryptoKeyVersion, name string) (cmek.KeyVersion, error) {
	key, version, err := cmek.ParseCryptoKeyName(v.GetName())
	if err != nil || version.IsZero() || !sameResource(string(key), name) {
		return cmek.KeyVersion{}, fmt.Errorf("the answer is about %q", clip(v.GetName()))
	}
	return version, nil
}

// keyOf is the key as far as GetCryptoKey shows it; nil is a key that does not exist.
func keyOf(uri cmek.KeyURI, read *kmspb.CryptoKey) cmek.Key {
	if read == nil {
		return cmek.Key{URI: uri, State: cmek.KeyNotFound}
	}
	key := cmek.Key{URI: uri, State: cmek.KeyUnknown, Settle: settle}
	if read.Purpose == kmspb.CryptoKey_ENCRYPT_DECRYPT && read.Primary != nil {
		key.Version, _ = versionOf(read.Primary, uri.Canonical()) // complete checked it
		key.State, key.DeletionDate = allowed(read, versionState(read.Primary.State)), destruction(read.Primary)
	}
	return key
}

// allowed is the state of a key whose primary version has the one given: a Key Access Justifications policy that lists no reason denies every
// use of the key, whatever its versions' states (google/cloud/kms/v1/resources.proto, KeyAccessJustificationsPolicy).
func allowed(read *kmspb.CryptoKey, primary cmek.KeyState) cmek.KeyState {
	if policy := read.KeyAccessJustificationsPolicy; policy != nil && len(policy.AllowedAccessReasons) == 0 && primary.Usable() {
		return cmek.KeyUnavailable
	}
	return primary
}

// versionState is the state in our words (cloud.google.com/kms/docs/key-states). One that this client does not know is unknown. A
// version whose material an external key manager has yet to destroy "may not be used or enabled again".
func versionState(s kmspb.CryptoKeyVersion_CryptoKeyVersionState) cmek.KeyState {
	switch s {
	case kmspb.CryptoKeyVersion_ENABLED:
		return cmek.KeyEnabled
	case kmspb.CryptoKeyVersion_DISABLED:
		return cmek.KeyDisabled
	case kmspb.CryptoKeyVersion_DESTROY_SCHEDULED:
		return cmek.KeyDeletionScheduled
	case kmspb.CryptoKeyVersion_DESTROYED, kmspb.CryptoKeyVersion_PENDING_EXTERNAL_DESTRUCTION, kmspb.CryptoKeyVersion_EXTERNAL_DESTRUCTION_FAILED:
		return cmek.KeyDestroyed
	case kmspb.CryptoKeyVersion_PENDING_GENERATION:
		return cmek.KeyTransient
	case kmspb.CryptoKeyVersion_PENDING_IMPORT:
		return cmek.KeyPendingImport
	case kmspb.CryptoKeyVersion_IMPORT_FAILED, kmspb.CryptoKeyVersion_GENERATION_FAILED:
		return cmek.KeyUnavailable
	}
	return cmek.KeyUnknown
}

// destruction is when the scheduled destruction of a version becomes final; zero if none is.
func destruction(v *kmspb.CryptoKeyVersion) time.Time {
	if v.State != kmspb.CryptoKeyVersion_DESTROY_SCHEDULED || !v.DestroyTime.IsValid() {
		return time.Time{}
	}
	return v.DestroyTime.AsTime()
}

// withVersions adds what the list of versions shows.
func (k *KMS) withVersions(ctx context.Context, key cmek.Key, read *kmspb.CryptoKey) (cmek.Key, error) {
	versions, err := k.versions(ctx, key.URI)
	if err != nil {
		return cmek.Key{}, err
	}
	key.Versions = versions
	if read.Purpose != kmspb.CryptoKey_ENCRYPT_DECRYPT {
		key.Versions = nil // they are of no use to a cluster
		return key, nil
	}
	if key.Version.IsZero() {
		key.State = withoutPrimary(versions)
		return key, nil
	}
	at := key.Position(key.Version)
	if at < 0 {
		return cmek.Key{}, fmt.Errorf("read versions of key %s: %w: the primary %s is not among the %d shown", clip(string(key.URI)), cmek.ErrIncomplete, key.Version, len(versions))
	}
	// The list was read after the key.
	key.State, key.DeletionDate = allowed(read, versions[at].State), versions[at].DeletionDate
	// Numbers are not used again, and a version can be deleted only after it was destroyed: whoever re-encrypted under a version that
	// is no longer shown has lost that key.
	key.NeverRotated = len(versions) == 1 && key.Version.ID == "1"
	key.RotatedAt = rotatedAt(key, read)
	versions[at].BecameCurrent = key.RotatedAt
	return key, nil
}

// withoutPrimary is the state of a key that encrypts with none of its versions: the newest one's, unless that one could be used.
func withoutPrimary(versions []cmek.KeyVersionInfo) cmek.KeyState {
	if len(versions) == 0 {
		return cmek.KeyUnknown
	}
	if newest := versions[len(versions)-1].State; !newest.Usable() {
		return newest
	}
	return cmek.KeyUnavailable
}

// automatic is how long after its scheduled time an automatic rotation may have made its version. How late Cloud KMS may be is not
// documented; longer makes a coincidence with a manual version likelier, shorter costs one redundant re-encryption.
const automatic = time.Hour

// rotatedAt is when the primary became primary, if that is proven. Cloud KMS shows when a version was made and not since when it is
// the primary, which for a manual rotation may be much later.
//
// An automatic rotation makes a version, makes it primary at once, and moves nextRotationTime on by rotationPeriod, which manual
// rotations do not (CryptoKey in Cloud KMS' API reference): a version made when the schedule had its last turn, the only one made
// then and the newest, became primary then. A key that never had another version counts from its creation.
func rotatedAt(key cmek.Key, read *kmspb.CryptoKey) time.Time {
	if key.NeverRotated {
		return read.CreateTime.AsTime()
	}
	period := read.GetRotationPeriod()
	if !period.IsValid() || period.AsDuration() <= 0 || !read.NextRotationTime.IsValid() {
		return time.Time{}
	}
	last := read.NextRotationTime.AsTime().Add(-period.AsDuration())
	var made []cmek.KeyVersionInfo
	for _, v := range key.Versions {
		if !v.CreatedAt.Before(last) && v.CreatedAt.Before(last.Add(automatic)) {
			made = append(made, v)
		}
	}
	if len(made) != 1 || made[0].Version != key.Version || key.Position(key.Version) != len(key.Versions)-1 {
		return time.Time{}
	}
	return made[0].CreatedAt
}

const (
	// versionPage is how many versions a page holds, mostVersions how many a key may have: those of half a century of daily
	// rotations.
	versionPage, mostVersions = 1000, 20_000
)

// versions lists all versions of the key, the oldest first.
func (k *KMS) versions(ctx context.Context, uri cmek.KeyURI) ([]cmek.KeyVersionInfo, error) {
	doing := fmt.Sprintf("read versions of key %s", clip(string(uri)))
	name := uri.Canonical()
	ctx, cancel := k.config.within(ctx)
	defer cancel()
	pages := k.client.ListCryptoKeyVersions(ctx, &kmspb.ListCryptoKeyVersionsRequest{Parent: name, PageSize: versionPage})
	var versions []cmek.KeyVersionInfo
	for {
		v, err := pages.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			return nil, explain(err, doing)
		}
		version, err := versionOf(v, name)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", doing, err)
		case !v.CreateTime.IsValid():
			return nil, fmt.Errorf("%s: %w: version %s has no time of creation", doing, cmek.ErrIncomplete, version.ID)
		case len(versions) == mostVersions:
			return nil, fmt.Errorf("%s: more than %d", doing, mostVersions)
		}
		versions = append(versions, cmek.KeyVersionInfo{
			Version: version, State: versionState(v.State), CreatedAt: v.CreateTime.AsTime(), DeletionDate: destruction(v),
		})
	}
	if last, ok := pages.Response.(*kmspb.ListCryptoKeyVersionsResponse); ok && last.TotalSize != 0 && int(last.TotalSize) != len(versions) {
		return nil, fmt.Errorf("%s: %w: %d of %d are shown", doing, cmek.ErrIncomplete, len(versions), last.TotalSize)
	}
	slices.SortFunc(versions, func(a, b cmek.KeyVersionInfo) int {
		switch {
		case a.Version.Before(b.Version):
			return -1
		case b.Version.Before(a.Version):
			return 1
		}
		return 0
	})
	for i := range max(0, len(versions)-1) {
		if !versions[i].Version.Before(versions[i+1].Version) {
			return nil, fmt.Errorf("%s: version %s is shown twice", doing, versions[i].Version.ID)
		}
	}
	return versions, nil
}
