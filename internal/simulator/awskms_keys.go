package simulator

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// epoch is a timestamp in JSON 1.1: seconds since 1970 with fractions.
type epoch struct{ time.Time }

func (e epoch) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(e.UnixMilli())/1000, 'f', 3, 64), nil
}

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
	ValidTo                     epoch  `json:",omitzero"`
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

func (w *World) metadata(k *awsKey) keyMetadata {
	m := keyMetadata{
		AWSAccountID: k.account, KeyID: k.id, Arn: k.arn, CreationDate: epoch{k.created}, Description: k.description,
		Enabled: k.state == stateEnabled, KeyState: k.state, DeletionDate: epoch{k.deletionDate},
		KeyUsage: usageEncrypt, KeyManager: "CUSTOMER", Origin: k.lineage.origin,
		KeySpec: specSymmetric, CustomerMasterKeySpec: specSymmetric,
		EncryptionAlgorithms: []string{specSymmetric}, MultiRegion: k.lineage.multiRegion,
		CurrentKeyMaterialID: w.shownMaterial(k.lineage.current().id),
	}
	m.ExpirationModel, m.ValidTo.Time = k.expiration()
	if k.state == statePendingReplicaDeletion {
		m.PendingDeletionWindowInDays = k.deletionWindow
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

type keyOutput struct{ KeyMetadata keyMetadata }

func (w *World) describeKey(_ *kmsCall, k *awsKey) (any, *kmsError) {
	return keyOutput{w.metadata(k)}, nil
}

type keysOutput struct {
	Keys       []keyEntry
	Truncated  bool
	NextMarker string `json:",omitempty"`
}

type keyEntry struct {
	KeyID  string `json:"KeyId"`
	KeyArn string
}

func (w *World) listKeys(c *kmsCall, _ *awsKey) (any, *kmsError) {
	entries := []keyEntry{}
	for _, arn := range sortedKeys(w.aws.byARN) {
		if k := w.aws.byARN[arn]; k.region == c.region && k.account == c.account {
			entries = append(entries, keyEntry{k.id, k.arn})
		}
	}
	page, next, failed := kmsPage(c, entries, 100, 1000)
	return keysOutput{page, next != "", next}, failed
}

// createKey makes symmetric encryption keys only. One of origin EXTERNAL awaits its material.
func (w *World) createKey(c *kmsCall, _ *awsKey) (any, *kmsError) {
	in := c.input
	if failed := in.checkKind(); failed != nil {
		return nil, failed
	}
	id := w.uuid()
	if in.MultiRegion {
		id = "mrk-" + hex.EncodeToString(w.bytes(16))
	}
	k := &awsKey{
		arn: "arn:" + partitionOf(c.region) + ":kms:" + c.region + ":" + c.account + ":key/" + id, id: id, region: c.region, account: c.account,
		lineage: &lineage{multiRegion: in.MultiRegion, origin: cmp.Or(in.Origin, originAWS)},
		created: c.now, description: in.Description, state: stateEnabled,
	}
	if failed := c.checkNewKey(k); failed != nil {
		return nil, failed
	}
	k.lineage.primary = k
	if k.lineage.origin == originExternal {
		k.state = statePendingImport
	} else {
		k.lineage.generations = []generation{{id: k.lineage.derivedMaterial(0)}}
	}
	w.addAWSKey(k)
	c.key = k
	return keyOutput{w.metadata(k)}, nil
}

// checkKind refuses keys that are none, and those that are not simulated.
func (in kmsInput) checkKind() *kmsError {
	spec := cmp.Or(in.KeySpec, in.CustomerMasterKeySpec, specSymmetric)
	switch {
	case in.KeySpec != "" && in.CustomerMasterKeySpec != "":
		return invalid("You cannot specify KeySpec and CustomerMasterKeySpec in the same request.")
	case in.CustomKeyStoreID != "":
		return refused("CustomKeyStoreNotFoundException", "There is no custom key store %s.", in.CustomKeyStoreID)
	case in.XksKeyID != "":
		return invalid("XksKeyId is valid only for keys of an external key store.")
	case spec != specSymmetric:
		return refused("UnsupportedOperationException", "Keys of the spec %s are not simulated.", spec)
	case in.KeyUsage != "" && in.KeyUsage != usageEncrypt:
		return invalid("KeyUsage %s is not compatible with KeySpec %s.", in.KeyUsage, specSymmetric)
	case in.Origin != "" && in.Origin != originAWS && in.Origin != originExternal:
		return refused("UnsupportedOperationException", "Keys of the origin %s are not simulated.", in.Origin)
	}
	return nil
}

// checkNewKey gives a new key the policy and the tags of the input, if they are valid. Without a policy it gets the one that
// leaves all to IAM: docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html.
func (c *kmsCall) checkNewKey(k *awsKey) *kmsError {
	k.policy, k.tags = cmp.Or(c.input.Policy, cockroachPolicy(k.account, nil)), tagged(c.input.Tags)
	if failed := checkTags(c.input.Tags); failed != nil {
		return failed
	}
	if c.input.Policy == "" {
		return nil
	}
	return c.checkNewPolicy(k.policy, k.arn)
}

// creationTime is how long a new replica stays in the state Creating: "a few seconds" by the documentation.
const creationTime = 3 * time.Second

// mustBeEnabled is the error for an operation that only an Enabled key admits.
func (k *awsKey) mustBeEnabled() *kmsError {
	if k.state == stateDisabled {
		return refused("DisabledException", "%s is disabled.", k.arn)
	}
	if k.state != stateEnabled {
		return k.invalidState()
	}
	return nil
}

func (k *awsKey) pendingDeletion() bool {
	return k.state == statePendingDeletion || k.state == statePendingReplicaDeletion
}

func (k *awsKey) invalidState() *kmsError {
	state := map[string]string{
		statePendingDeletion: "pending deletion", statePendingReplicaDeletion: "pending replica deletion", stateCreating: "creating",
		statePendingImport: "pending import",
	}[k.state]
	if state == "" {
		state = "in a state that does not admit the operation: " + k.state
	}
	return refused("KMSInvalidStateException", "%s is %s.", k.arn, state)
}

// enableKey also rotates a key whose automatic rotation could not happen when it was due.
func (w *World) enableKey(c *kmsCall, k *awsKey) (any, *kmsError) {
	if k.state != stateDisabled && k.state != stateEnabled {
		return nil, k.invalidState()
	}
	k.state = stateEnabled
	if k == k.lineage.primary && k.lineage.overdue(c.now) {
		w.rotateAutomatically(k.lineage, c.now)
	}
	return nil, nil
}

func (w *World) disableKey(_ *kmsCall, k *awsKey) (any, *kmsError) {
	if k.state != stateDisabled && k.state != stateEnabled {
		return nil, k.invalidState()
	}
	k.state = stateDisabled
	return nil, nil
}

type scheduleDeletionOutput struct {
	KeyID               string `json:"KeyId"`
	KeyState            string
	DeletionDate        epoch `json:",omitzero"`
	PendingWindowInDays int
}

func (w *World) scheduleKeyDeletion(c *kmsCall, k *awsKey) (any, *kmsError) {
	window := 30
	if c.input.PendingWindowInDays != nil {
		window = *c.input.PendingWindowInDays
	}
	switch {
	case window < 7 || window > 30:
		return nil, outOfRange("pendingWindowInDays", window, 7, 30)
	case k.pendingDeletion():
		return nil, k.invalidState()
	}
	w.scheduleDeletion(k, window, c.now)
	return &scheduleDeletionOutput{k.arn, k.state, epoch{k.deletionDate}, window}, nil
}

func (w *World) cancelKeyDeletion(_ *kmsCall, k *awsKey) (any, *kmsError) {
	if !k.pendingDeletion() {
		return nil, refused("KMSInvalidStateException", "%s is not pending deletion.", k.arn)
	}
	k.cancelDeletion()
	return map[string]string{"KeyId": k.arn}, nil
}

// scheduleDeletion starts the waiting period. A primary with replicas waits for the last of them to be deleted first.
func (w *World) scheduleDeletion(k *awsKey, days int, now time.Time) {
	k.deletionWindow = days
	if k.lineage.primary == k && len(k.lineage.replicas) > 0 {
		k.state = statePendingReplicaDeletion
		return
	}
	k.state, k.deletionDate = statePendingDeletion, now.Add(time.Duration(days)*24*time.Hour)
	date := k.deletionDate
	w.agenda.at(date, func(due time.Time) {
		if k.state == statePendingDeletion && k.deletionDate.Equal(date) {
			w.deleteKey(k, due)
		}
	})
}

// cancelDeletion leaves the key Disabled: docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html.
func (k *awsKey) cancelDeletion() {
	k.state, k.deletionDate, k.deletionWindow = stateDisabled, time.Time{}, 0
	if k.lacksMaterial() {
		k.state = statePendingImport
	}
}

// deleteKey removes the key for good, with its aliases.
func (w *World) deleteKey(k *awsKey, at time.Time) {
	delete(w.aws.byARN, k.arn)
	delete(w.aws.byRegionAndID, k.region+"/"+k.id)
	w.aws.aliases = slices.DeleteFunc(w.aws.aliases, func(a *awsAlias) bool { return a.key == k })
	w.emitDeletion(k, at)
	l := k.lineage
	if k == l.primary {
		l.rotationOn = false
		return
	}
	l.replicas = slices.DeleteFunc(l.replicas, func(r *awsKey) bool { return r == k })
	if len(l.replicas) == 0 && l.primary.state == statePendingReplicaDeletion {
		w.scheduleDeletion(l.primary, l.primary.deletionWindow, at)
	}
}

type replicateKeyOutput struct {
	ReplicaKeyMetadata keyMetadata
	ReplicaPolicy      string
	ReplicaTags        []keyTag
}

// replicateKey makes a replica that is Creating for a moment. Tags are not shared with the primary
// (docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html). CloudTrail shows ReplicateKey in the primary's Region
// and CreateKey in the replica's.
func (w *World) replicateKey(c *kmsCall, k *awsKey) (any, *kmsError) {
	if !k.lineage.multiRegion || k != k.lineage.primary {
		return nil, refused("UnsupportedOperationException", "%s is not a multi-Region primary key.", k.arn)
	}
	if failed := k.mustBeEnabled(); failed != nil {
		return nil, failed
	}
	arn := string(inRegion(cmek.KeyURI(k.arn), c.input.ReplicaRegion))
	switch {
	case partitionOf(c.input.ReplicaRegion) != k.partition():
		return nil, invalid("ReplicaRegion %s is no Region of the partition %s.", c.input.ReplicaRegion, k.partition())
	case w.aws.byARN[arn] != nil:
		return nil, refused("AlreadyExistsException", "%s already exists.", arn)
	}
	replica := &awsKey{
		arn: arn, id: k.id, region: c.input.ReplicaRegion, account: k.account, lineage: k.lineage, created: c.now,
		description: c.input.Description, state: stateCreating,
	}
	if failed := c.checkNewKey(replica); failed != nil {
		return nil, failed
	}
	k.lineage.replicas = append(k.lineage.replicas, replica)
	w.addAWSKey(replica)
	w.agenda.at(c.now.Add(creationTime), func(time.Time) {
		if replica.state == stateCreating {
			replica.state = stateEnabled
			if replica.lacksMaterial() {
				replica.state = statePendingImport
			}
		}
	})
	created := *c
	created.operation, created.row.input, created.region, created.key = "CreateKey", newKeyInput, replica.region, replica
	created.parameters = map[string]any{"MultiRegion": true, "Description": replica.description}
	w.emitCall(&created, keyOutput{w.metadata(replica)}, nil)
	return &replicateKeyOutput{w.metadata(replica), replica.policy, orEmpty(c.input.Tags)}, nil
}
