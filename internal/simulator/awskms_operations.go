package simulator

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kmsOperation is one operation of the KMS. Its facts are those of docs.aws.amazon.com/kms/latest/APIReference.
type kmsOperation struct {
	run func(*World, *kmsCall, *awsKey) (any, *kmsError)
	// onKey: the operation needs a key; ListAliases does not.
	onKey bool
	// writes: the operation changes something, so that CloudTrail hands it to EventBridge by default.
	writes bool
	// crossAccount: it may name a key of another account.
	crossAccount bool
}

var kmsOperations = map[string]kmsOperation{
	"DescribeKey":          {run: (*World).describeKey, onKey: true, crossAccount: true},
	"GetKeyRotationStatus": {run: (*World).getKeyRotationStatus, onKey: true, crossAccount: true},
	"ListKeyRotations":     {run: (*World).listKeyRotations, onKey: true},
	"GetKeyPolicy":         {run: (*World).getKeyPolicy, onKey: true},
	"ListResourceTags":     {run: (*World).listResourceTags, onKey: true},
	"ListAliases":          {run: (*World).listAliases},

	"RotateKeyOnDemand":   {run: (*World).rotateKeyOnDemand, onKey: true, writes: true},
	"EnableKeyRotation":   {run: (*World).enableKeyRotation, onKey: true, writes: true},
	"DisableKeyRotation":  {run: (*World).disableKeyRotation, onKey: true, writes: true},
	"PutKeyPolicy":        {run: (*World).putKeyPolicy, onKey: true, writes: true},
	"EnableKey":           {run: (*World).enableKey, onKey: true, writes: true},
	"DisableKey":          {run: (*World).disableKey, onKey: true, writes: true},
	"ScheduleKeyDeletion": {run: (*World).scheduleKeyDeletion, onKey: true, writes: true},
	"CancelKeyDeletion":   {run: (*World).cancelKeyDeletion, onKey: true, writes: true},
	"ReplicateKey":        {run: (*World).replicateKey, onKey: true, writes: true},
}

// epoch is a timestamp in JSON 1.1: seconds since 1970 with fractions.
type epoch struct{ time.Time }

func (e epoch) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(e.UnixMilli())/1000, 'f', 3, 64), nil
}

type describeKeyOutput struct{ KeyMetadata keyMetadata }

type keyMetadata struct {
	AWSAccountID                string `json:"AWSAccountId"`
	KeyID                       string `json:"KeyId"`
	Arn                         string
	CreationDate                epoch
	Enabled                     bool
	Description                 string
	KeyUsage                    string
	KeyState                    string
	DeletionDate                epoch `json:",omitzero"`
	Origin                      string
	ExpirationModel             string `json:",omitempty"`
	KeyManager                  string
	CustomerMasterKeySpec       string
	KeySpec                     string
	EncryptionAlgorithms        []string
	MultiRegion                 bool
	MultiRegionConfiguration    *multiRegionConfiguration `json:",omitempty"`
	PendingDeletionWindowInDays int                       `json:",omitempty"`
	CurrentKeyMaterialID        string                    `json:"CurrentKeyMaterialId,omitempty"`
}

type multiRegionConfiguration struct {
	MultiRegionKeyType string
	PrimaryKey         multiRegionKey
	ReplicaKeys        []multiRegionKey
}

type multiRegionKey struct{ Arn, Region string }

func (w *World) describeKey(_ *kmsCall, k *awsKey) (any, *kmsError) {
	return describeKeyOutput{w.metadata(k)}, nil
}

func (w *World) metadata(k *awsKey) keyMetadata {
	m := keyMetadata{
		AWSAccountID: k.account, KeyID: k.id, Arn: k.arn, CreationDate: epoch{k.created}, Description: k.description,
		Enabled: k.state == stateEnabled, KeyState: k.state, DeletionDate: epoch{k.deletionDate},
		KeyUsage: "ENCRYPT_DECRYPT", KeyManager: "CUSTOMER", Origin: k.lineage.origin,
		KeySpec: "SYMMETRIC_DEFAULT", CustomerMasterKeySpec: "SYMMETRIC_DEFAULT",
		EncryptionAlgorithms: []string{"SYMMETRIC_DEFAULT"}, MultiRegion: k.lineage.multiRegion,
	}
	if k.lineage.origin == originExternal {
		m.ExpirationModel = "KEY_MATERIAL_DOES_NOT_EXPIRE"
	}
	if k.state == statePendingReplicaDeletion {
		m.PendingDeletionWindowInDays = k.deletionWindow
	}
	if w.is(KMSMaterialID, "present") {
		m.CurrentKeyMaterialID = k.lineage.current().id
	}
	if k.lineage.multiRegion {
		m.MultiRegionConfiguration = k.lineage.configuration(k)
	}
	return m
}

func (l *lineage) configuration(of *awsKey) *multiRegionConfiguration {
	c := &multiRegionConfiguration{
		MultiRegionKeyType: "PRIMARY",
		PrimaryKey:         multiRegionKey{l.primary.arn, l.primary.region},
		ReplicaKeys:        []multiRegionKey{},
	}
	if of != l.primary {
		c.MultiRegionKeyType = "REPLICA"
	}
	for _, r := range l.replicas {
		c.ReplicaKeys = append(c.ReplicaKeys, multiRegionKey{r.arn, r.region})
	}
	return c
}

type rotationStatusOutput struct {
	KeyID                     string `json:"KeyId"`
	KeyRotationEnabled        bool
	RotationPeriodInDays      int   `json:",omitempty"`
	NextRotationDate          epoch `json:",omitzero"`
	OnDemandRotationStartDate epoch `json:",omitzero"`
}

// getKeyRotationStatus reports a key that is pending deletion as not rotating; the setting returns on cancel.
func (w *World) getKeyRotationStatus(_ *kmsCall, k *awsKey) (any, *kmsError) {
	l := k.lineage
	status := rotationStatusOutput{KeyID: k.arn, OnDemandRotationStartDate: epoch{l.onDemandSince}}
	if l.rotationOn && !k.pendingDeletion() {
		status.KeyRotationEnabled, status.RotationPeriodInDays, status.NextRotationDate = true, l.periodDays, epoch{l.nextRotation}
	}
	return status, nil
}

type rotationsOutput struct {
	Rotations  []rotationEntry
	Truncated  bool
	NextMarker string `json:",omitempty"`
}

type rotationEntry struct {
	KeyID            string `json:"KeyId"`
	KeyMaterialID    string `json:"KeyMaterialId,omitempty"`
	KeyMaterialState string
	ImportState      string `json:",omitempty"`
	RotationDate     epoch  `json:",omitzero"`
	RotationType     string `json:",omitempty"`
}

func (w *World) listKeyRotations(c *kmsCall, k *awsKey) (any, *kmsError) {
	entries := []rotationEntry{}
	hidden := k != k.lineage.primary && w.is(KMSReplicaHistory, "empty")
	for i, g := range k.lineage.generations {
		if hidden || i == 0 && c.input.IncludeKeyMaterial != "ALL_KEY_MATERIAL" {
			continue
		}
		entry := rotationEntry{KeyID: k.arn, KeyMaterialState: "NON_CURRENT", RotationDate: epoch{g.rotatedAt}, RotationType: g.kind}
		if i == len(k.lineage.generations)-1 {
			entry.KeyMaterialState = "CURRENT"
		}
		if k.lineage.origin == originExternal {
			entry.ImportState = "IMPORTED"
		}
		if w.is(KMSMaterialID, "present") {
			entry.KeyMaterialID = g.id
		}
		entries = append(entries, entry)
	}
	if w.is(KMSRotationsOrder, "newest-first") {
		slices.Reverse(entries)
	}
	page, next, failed := kmsPage(c, entries, 100, 1000)
	return rotationsOutput{page, next != "", next}, failed
}

type aliasesOutput struct {
	Aliases    []aliasEntry
	Truncated  bool
	NextMarker string `json:",omitempty"`
}

type aliasEntry struct {
	AliasName       string
	AliasArn        string
	TargetKeyID     string `json:"TargetKeyId"`
	CreationDate    epoch
	LastUpdatedDate epoch
}

func (w *World) listAliases(c *kmsCall, k *awsKey) (any, *kmsError) {
	entries := []aliasEntry{}
	for _, a := range w.aws.aliases {
		if a.key.region != c.region || a.key.account != c.account || (k != nil && a.key != k) {
			continue
		}
		arn := fmt.Sprintf("arn:aws:kms:%s:%s:%s", c.region, c.account, a.name)
		entries = append(entries, aliasEntry{a.name, arn, a.key.id, epoch{a.created}, epoch{a.created}})
	}
	slices.SortFunc(entries, func(a, b aliasEntry) int { return strings.Compare(a.AliasName, b.AliasName) })
	page, next, failed := kmsPage(c, entries, 50, 100)
	return aliasesOutput{page, next != "", next}, failed
}

// kmsPage cuts out what Limit and Marker ask for.
func kmsPage[T any](c *kmsCall, all []T, usual, most int) (page []T, next string, failed *kmsError) {
	limit := usual
	if c.input.Limit != nil {
		limit = *c.input.Limit
	}
	if limit < 1 || limit > most {
		return nil, "", outOfRange("limit", limit, 1, most)
	}
	from := 0
	if c.input.Marker != "" {
		decoded, err := base64.RawURLEncoding.DecodeString(c.input.Marker)
		if from, err = atoi(string(decoded), err); err != nil || from < 0 || from > len(all) {
			return nil, "", &kmsError{"InvalidMarkerException", "The marker is invalid."}
		}
	}
	to := min(from+limit, len(all))
	if to < len(all) {
		next = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(to)))
	}
	return all[from:to], next, nil
}

// atoi is strconv.Atoi after a step that may have failed.
func atoi(s string, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(s)
}

func (w *World) getKeyPolicy(c *kmsCall, k *awsKey) (any, *kmsError) {
	if c.input.PolicyName != "" && c.input.PolicyName != "default" {
		return nil, &kmsError{"NotFoundException", "No such policy exists"}
	}
	return map[string]string{"Policy": k.policy, "PolicyName": "default"}, nil
}

type tagsOutput struct {
	Tags      []keyTag
	Truncated bool
}

type keyTag struct{ TagKey, TagValue string }

func (w *World) listResourceTags(_ *kmsCall, k *awsKey) (any, *kmsError) {
	output := tagsOutput{Tags: []keyTag{}}
	for _, name := range sortedKeys(k.tags) {
		output.Tags = append(output.Tags, keyTag{name, k.tags[name]})
	}
	return output, nil
}
