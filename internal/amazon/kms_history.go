package amazon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/cmek"
)

// mostRotationPages bounds the listing of one key's rotations, with 1,000 on a page: centuries, by the shortest period.
const mostRotationPages = 5

// rotationHistory is what ListKeyRotations shows about a key.
type rotationHistory struct {
	// known is false if KMS did not show it, which it does in the key's own account only, or of a replica whose primary it does not show.
	known bool
	// rotations are those that were completed, the oldest first; the first material has none.
	rotations []types.RotationsListEntry
	// first is the first material; nil if it was not listed.
	first *types.RotationsListEntry
}

// addTo completes a key with what its history proves.
func (h rotationHistory) addTo(key *cmek.Key, described types.KeyMetadata) {
	if !h.known {
		return
	}
	if created := aws.ToTime(described.CreationDate); h.neverRotated(key.Version) {
		key.NeverRotated, key.RotatedAt = true, created
	} else {
		key.RotatedAt = h.began(key.Version)
	}
	ids := !key.Version.IsZero()
	if !ids {
		key.Version = cmek.RotatedOnVersion(key.RotatedAt)
	}
	key.Versions = h.versions(ids, described)
}

// neverRotated reports whether the version is proven to be the first. Among all key material KMS lists the first, too; if it
// does not show the current material there, the list proves nothing. A KMS without material ids may be older than that: there
// "an empty list means that the key was never rotated".
func (h rotationHistory) neverRotated(version cmek.KeyVersion) bool {
	switch {
	case len(h.rotations) > 0:
		return false
	case version.IsZero():
		return true
	}
	return h.first != nil && version == cmek.MaterialVersion(aws.ToString(h.first.KeyMaterialId))
}

// began returns when the version became current: the date of the rotation that names its material, zero if none does. Without
// material ids the newest rotation made the current version.
func (h rotationHistory) began(version cmek.KeyVersion) time.Time {
	if version.IsZero() && len(h.rotations) > 0 {
		return *h.rotations[len(h.rotations)-1].RotationDate
	}
	for _, rotation := range h.rotations {
		if !version.IsZero() && version == cmek.MaterialVersion(aws.ToString(rotation.KeyMaterialId)) {
			return *rotation.RotationDate
		}
	}
	return time.Time{}
}

// versions are all generations of the key, by their material ids or else by the dates of their rotations.
func (h rotationHistory) versions(ids bool, described types.KeyMetadata) (versions []cmek.KeyVersionInfo) {
	add := func(entry types.RotationsListEntry, began time.Time, id cmek.KeyVersion) {
		if ids {
			id = cmek.MaterialVersion(aws.ToString(entry.KeyMaterialId))
		}
		if !id.IsZero() {
			versions = append(versions, cmek.KeyVersionInfo{Version: id, State: materialState(entry), BecameCurrent: began})
		}
	}
	first := h.first
	if first == nil && !ids && len(h.rotations) == 0 {
		first = &types.RotationsListEntry{}
	}
	if first != nil {
		created := aws.ToTime(described.CreationDate)
		began := created
		if !ownMaterial(described) {
			began = time.Time{}
		}
		add(*first, began, cmek.RotatedOnVersion(created))
	}
	for _, rotation := range h.rotations {
		add(rotation, *rotation.RotationDate, cmek.RotatedOnVersion(*rotation.RotationDate))
	}
	return versions
}

// ownMaterial reports whether the key was created with its first material: neither waited for an import nor is a replica.
func ownMaterial(described types.KeyMetadata) bool {
	related := described.MultiRegionConfiguration
	return described.Origin == types.OriginTypeAwsKms && (related == nil || related.MultiRegionKeyType == types.MultiRegionKeyTypePrimary)
}

// materialState is the state of one key material. Only imported material can be absent by itself
// (docs.aws.amazon.com/kms/latest/APIReference/API_RotationsListEntry.html, ImportState).
func materialState(entry types.RotationsListEntry) cmek.KeyState {
	if entry.ImportState == types.ImportStatePendingImport {
		return cmek.KeyPendingImport
	}
	return cmek.KeyEnabled
}

// rotationHistory lists the key's rotations. Whether KMS lists a multi-Region key's rotations at its replicas is not
// documented, so of a replica without any the primary is asked: rotations happen there
// (docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html, Multi-Region keys).
func (r keyReader) rotationHistory(ctx context.Context, uri cmek.KeyURI, described types.KeyMetadata) (rotationHistory, error) {
	history, err := r.listRotations(ctx, uri)
	related := described.MultiRegionConfiguration
	if err != nil || len(history.rotations) > 0 ||
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
		KeyId:              aws.String(string(uri)),
		IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial, // the first material as well
		Limit:              aws.Int32(1000),
	})
	history := rotationHistory{known: true}
	for page := 0; pages.HasMorePages(); page++ {
		if page == mostRotationPages {
			return rotationHistory{}, fmt.Errorf("list rotations of key %s: more than %d pages", uri, mostRotationPages)
		}
		out, err := pages.NextPage(ctx, r.region)
		if err != nil {
			return rotationHistory{}, explain(err, fmt.Sprintf("list rotations of key %s", uri))
		}
		for _, entry := range out.Rotations {
			history.add(entry)
		}
	}
	slices.SortStableFunc(history.rotations, func(a, b types.RotationsListEntry) int { return a.RotationDate.Compare(*b.RotationDate) })
	return history, nil
}

// add notes an entry. The first material has no date; neither has an imported one that waits for its rotation, which does not
// belong to the key yet.
func (h *rotationHistory) add(entry types.RotationsListEntry) {
	switch {
	case entry.RotationDate != nil:
		h.rotations = append(h.rotations, entry)
	case entry.KeyMaterialState == types.KeyMaterialStateCurrent, entry.KeyMaterialState == types.KeyMaterialStateNonCurrent:
		h.first = &entry
	}
}
