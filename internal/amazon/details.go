package amazon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Details reads all that KMS shows of a key, with the calls of [KMS.Key]. A part that KMS refuses is an error, a
// [*cmek.PermissionError] if an action is missing. A key that does not exist is described as cmek.KeyNotFound.
func (k *KMS) Details(ctx context.Context, uri cmek.KeyURI) (d cmek.KeyDetails) {
	described, err := k.describe(ctx, uri)
	if err != nil {
		err = missing(err, "kms:DescribeKey", uri)
		return cmek.KeyDetails{DescriptionErr: err, RotationErr: err}
	}
	d.Description = description(uri, described)
	switch {
	case described == nil:
		d.RotationErr = errors.New("the key does not exist")
		return d
	case described.KeySpec != types.KeySpecSymmetricDefault:
		d.Rotation.Unsupported = true // only symmetric encryption keys have rotations
		return d
	}
	reader := k.reader(uri)
	history, err := reader.rotationHistory(ctx, uri, *described)
	switch {
	case errorCode(err) == "UnsupportedOperationException": // a custom or external key store
	case err != nil:
		d.DescriptionErr = missing(err, "kms:ListKeyRotations", uri)
	case !history.known:
		d.DescriptionErr = fmt.Errorf("list rotations of key %s: KMS does not name the primary key", uri)
	default:
		history.addTo(&d.Description.Key, *described)
	}
	status, err := reader.rotationStatus(ctx, uri)
	d.Description.RotationRunning = status.OnDemandRotationStartDate != nil
	d.Rotation = cmek.KeyRotation{
		Enabled: status.KeyRotationEnabled, Next: aws.ToTime(status.NextRotationDate),
		Period:      time.Duration(aws.ToInt32(status.RotationPeriodInDays)) * 24 * time.Hour,
		Unsupported: described.Origin != types.OriginTypeAwsKms,
	}
	if err != nil && errorCode(err) != "UnsupportedOperationException" {
		d.RotationErr = missing(err, "kms:GetKeyRotationStatus", uri)
	}
	return d
}

// description is what DescribeKey shows; nil is a key that does not exist.
func description(uri cmek.KeyURI, described *types.KeyMetadata) cmek.KeyDescription {
	d := cmek.KeyDescription{Key: keyOf(uri, described)}
	if described == nil {
		return d
	}
	d.CreatedAt, d.Purpose, d.Spec = aws.ToTime(described.CreationDate), string(described.KeyUsage), string(described.KeySpec)
	d.Manager, d.Origin = string(described.KeyManager), string(described.Origin)
	d.ExpirationModel, d.ValidTo = string(described.ExpirationModel), aws.ToTime(described.ValidTo)
	if related := described.MultiRegionConfiguration; related != nil {
		if related.PrimaryKey != nil {
			d.Primary = cmek.KeyURI(aws.ToString(related.PrimaryKey.Arn))
		}
		for _, key := range related.ReplicaKeys {
			d.Replicas = append(d.Replicas, cmek.KeyURI(aws.ToString(key.Arn)))
		}
		slices.Sort(d.Replicas)
	}
	return d
}

// refusal is an error of KMS in few words, without the SDK's account of the call, which differs from one to the next.
type refusal struct {
	error
	text string
}

func (r refusal) Error() string { return r.text }
func (r refusal) Unwrap() error { return r.error }

// missing names the action on the key that an error of denial is for want of.
func missing(err error, action string, uri cmek.KeyURI) error {
	if errorCode(err) != "" {
		err = refusal{err, action + ": " + reason(err)}
	}
	return permissionError(err, action+" in the key policy of "+string(uri))
}

// permissionError is the error with the permission that it is for want of, if it is.
func permissionError(err error, permission string) error {
	if !errors.Is(err, cmek.ErrDenied) {
		return err
	}
	return &cmek.PermissionError{Permission: permission, Err: err}
}

// Refusal is how the error of an AWS call is wrapped that takes a permission: as [Explain] does, and as a [*cmek.PermissionError] if the
// call was refused for want of it.
func Refusal(err error, doing, permission string) error {
	return permissionError(explain(err, doing), permission)
}

// mostGrantPages bounds the listing of a key's grants, with 100 on a page
// (docs.aws.amazon.com/kms/latest/APIReference/API_ListGrants.html); KMS allows 50,000 of them.
const mostGrantPages = 10

// Grants reads the key's grants. More than a thousand are an error, which says so.
func (k *KMS) Grants(ctx context.Context, uri cmek.KeyURI) ([]cmek.KeyGrant, error) {
	reader := k.reader(uri)
	doing := fmt.Sprintf("list grants of key %s", uri)
	pages := kms.NewListGrantsPaginator(reader.client, &kms.ListGrantsInput{KeyId: aws.String(string(uri)), Limit: aws.Int32(100)})
	var grants []cmek.KeyGrant
	for page := 0; pages.HasMorePages(); page++ {
		if page == mostGrantPages {
			return nil, fmt.Errorf("%s: more than %d", doing, len(grants))
		}
		out, err := pages.NextPage(ctx, reader.region)
		if err != nil {
			return nil, missing(explain(err, doing), "kms:ListGrants", uri)
		}
		for _, g := range out.Grants {
			grant := cmek.KeyGrant{ID: aws.ToString(g.GrantId), Grantee: aws.ToString(g.GranteePrincipal), CreatedAt: aws.ToTime(g.CreationDate)}
			for _, operation := range g.Operations {
				grant.Operations = append(grant.Operations, string(operation))
			}
			grants = append(grants, grant)
		}
	}
	return grants, nil
}

// LastUse reads the last successful cryptographic operation with the key. KMS keeps it apart for each replica of a multi-Region key
// (docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyLastUsage.html).
func (k *KMS) LastUse(ctx context.Context, uri cmek.KeyURI) (cmek.KeyUsage, error) {
	reader := k.reader(uri)
	doing := fmt.Sprintf("read last use of key %s", uri)
	out, err := reader.client.GetKeyLastUsage(ctx, &kms.GetKeyLastUsageInput{KeyId: aws.String(string(uri))}, reader.region)
	switch {
	case err != nil:
		return cmek.KeyUsage{}, missing(explain(err, doing), "kms:GetKeyLastUsage", uri)
	case aws.ToTime(out.TrackingStartDate).IsZero():
		return cmek.KeyUsage{}, fmt.Errorf("%s: %w: no TrackingStartDate", doing, cmek.ErrIncomplete)
	}
	usage := cmek.KeyUsage{Tracked: *out.TrackingStartDate}
	if last := out.KeyLastUsage; last != nil {
		usage.At, usage.Operation, usage.Event = aws.ToTime(last.Timestamp), string(last.Operation), aws.ToString(last.CloudTrailEventId)
	}
	return usage, nil
}
