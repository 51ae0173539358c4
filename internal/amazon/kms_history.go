package amazon

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/cmek"
)

// mostRotationPages bounds the listing of one key's rotations, with 1,000 on a page: centuries, by the shortest period.
const mostRotationPages = 5

// rotationHistory is what ListKeyRotations tells about a key.
type rotationHistory struct {
	// known is false if KMS did not tell, which it does in the key's own account only.
	known bool
	// rotations are those that were completed, in no order; none means that the key has its first material.
	rotations []types.RotationsListEntry
}

// began returns when the version became current. If no rotation names its material, that is the newest rotation: to
// take a version for younger than it is costs at most one re-encryption too many.
func (h rotationHistory) began(version cmek.KeyVersion) time.Time {
	var newest time.Time
	for _, rotation := range h.rotations {
		at := *rotation.RotationDate
		if version == cmek.MaterialVersion(aws.ToString(rotation.KeyMaterialId)) && !version.IsZero() {
			return at
		}
		if at.After(newest) {
			newest = at
		}
	}
	return newest
}

// rotationHistory lists the key's rotations. Whether KMS lists a multi-Region key's rotations at its replicas is not
// documented, so of a replica without any the primary is asked: rotations happen there
// (docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html, Multi-Region keys).
func (r keyReader) rotationHistory(ctx context.Context, uri cmek.KeyURI, described types.KeyMetadata) (rotationHistory, error) {
	history, err := r.listRotations(ctx, uri)
	related := described.MultiRegionConfiguration
	if err != nil || !history.known || len(history.rotations) > 0 ||
		related == nil || related.MultiRegionKeyType != types.MultiRegionKeyTypeReplica {
		return history, err
	}
	if related.PrimaryKey == nil {
		return rotationHistory{}, nil
	}
	primary := cmek.KeyURI(aws.ToString(related.PrimaryKey.Arn))
	atPrimary := keyReader{r.client, func(o *kms.Options) { o.Region = primary.Location() }}
	return atPrimary.listRotations(ctx, primary)
}

func (r keyReader) listRotations(ctx context.Context, uri cmek.KeyURI) (rotationHistory, error) {
	pages := kms.NewListKeyRotationsPaginator(r.client, &kms.ListKeyRotationsInput{
		KeyId: aws.String(string(uri)),
		Limit: aws.Int32(1000),
	})
	history := rotationHistory{known: true}
	for page := 0; pages.HasMorePages(); page++ {
		if page == mostRotationPages {
			return rotationHistory{}, fmt.Errorf("list rotations of key %s: more than %d pages", uri, mostRotationPages)
		}
		out, err := pages.NextPage(ctx, r.region)
		if notTold(err) {
			return rotationHistory{}, nil
		}
		if err != nil {
			return rotationHistory{}, explain(err, fmt.Sprintf("list rotations of key %s", uri))
		}
		for _, rotation := range out.Rotations {
			// An imported material that waits for its rotation has no date yet.
			if rotation.RotationDate != nil {
				history.rotations = append(history.rotations, rotation)
			}
		}
	}
	return history, nil
}
