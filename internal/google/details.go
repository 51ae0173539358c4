package google

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/kms/apiv1/kmspb"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Details reads all that Cloud KMS shows of a key, with the calls of [KMS.Key]: GetCryptoKey, and ListCryptoKeyVersions once for every
// 1,000 versions. A part that Cloud KMS refuses is an error, a [*cmek.PermissionError] if a permission is missing. A key that does not
// exist is described as cmek.KeyNotFound.
func (k *KMS) Details(ctx context.Context, uri cmek.KeyURI) (d cmek.KeyDetails) {
	read, err := k.read(ctx, uri)
	switch {
	case err != nil:
		err = missing(err, "cloudkms.cryptoKeys.get", uri)
		return cmek.KeyDetails{DescriptionErr: err, RotationErr: err}
	case read == nil:
		return cmek.KeyDetails{Description: cmek.KeyDescription{Key: keyOf(uri, nil)}, RotationErr: errors.New("the key does not exist")}
	}
	d.Description = description(uri, read)
	d.Rotation, d.RotationErr = rotation(read)
	whole, err := k.withVersions(ctx, d.Description.Key, read)
	if err != nil {
		d.DescriptionErr = missing(err, "cloudkms.cryptoKeyVersions.list", uri)
		return d
	}
	d.Description.Key = whole
	return d
}

// description is what GetCryptoKey shows, but for the versions.
func description(uri cmek.KeyURI, read *kmspb.CryptoKey) cmek.KeyDescription {
	d := cmek.KeyDescription{
		Key: keyOf(uri, read), CreatedAt: read.CreateTime.AsTime(), Purpose: read.Purpose.String(),
		Backend: read.CryptoKeyBackend, ImportOnly: read.ImportOnly, Labels: read.Labels,
	}
	if t := read.VersionTemplate; t != nil {
		d.Spec, d.Protection = t.Algorithm.String(), t.ProtectionLevel.String()
	}
	if wait := read.DestroyScheduledDuration; wait.IsValid() && wait.AsDuration() > 0 {
		d.DeletionWindow = wait.AsDuration()
	}
	return d
}

// rotation is the key's schedule. One without a period is for a single rotation, not an automatic one.
//
// Cloud KMS rotates by itself only symmetric keys whose material it makes (CryptoKey in its API reference, rotation_period and import_only;
// cloud.google.com/kms/docs/ekm).
func rotation(read *kmspb.CryptoKey) (cmek.KeyRotation, error) {
	var r cmek.KeyRotation
	if next := read.NextRotationTime; next != nil {
		if !next.IsValid() {
			return r, fmt.Errorf("%w: the next rotation is no time", cmek.ErrIncomplete)
		}
		r.Next = next.AsTime()
	}
	if period := read.GetRotationPeriod(); period != nil {
		if !period.IsValid() || period.AsDuration() <= 0 {
			return r, fmt.Errorf("%w: the rotation period is no duration", cmek.ErrIncomplete)
		}
		r.Enabled, r.Period = true, period.AsDuration()
		return r, nil
	}
	protection := read.GetVersionTemplate().GetProtectionLevel()
	r.Unsupported = read.Purpose != kmspb.CryptoKey_ENCRYPT_DECRYPT || read.ImportOnly ||
		protection == kmspb.ProtectionLevel_EXTERNAL || protection == kmspb.ProtectionLevel_EXTERNAL_VPC
	return r, nil
}

// missing names the permission on the key that a refusal is for want of.
func missing(err error, permission string, uri cmek.KeyURI) error {
	if !errors.Is(err, cmek.ErrDenied) || errors.Is(err, cmek.ErrNoCredentials) {
		return err
	}
	return &cmek.PermissionError{Permission: permission + " on " + string(uri), Err: err}
}
