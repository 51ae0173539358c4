package simulator

import (
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// creationTime is how long a new replica stays in the state Creating: "a few seconds" by the documentation.
const creationTime = 3 * time.Second

// mustBeEnabled is the error for an operation that only an Enabled key admits.
func (k *awsKey) mustBeEnabled() *kmsError {
	if k.state == stateDisabled {
		return &kmsError{"DisabledException", k.arn + " is disabled."}
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
	}[k.state]
	if state == "" {
		state = "in a state that does not admit the operation: " + k.state
	}
	return &kmsError{"KMSInvalidStateException", k.arn + " is " + state + "."}
}

// mustRotate is the error for a key whose rotation is not its own to decide.
func (k *awsKey) mustRotate(c *kmsCall) *kmsError {
	if k != k.lineage.primary {
		return &kmsError{"UnsupportedOperationException",
			fmt.Sprintf("%s is a replica key; call %s on its primary key %s.", k.arn, c.operation, k.lineage.primary.arn)}
	}
	return nil
}

func (w *World) rotateKeyOnDemand(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := k.mustRotate(c); failed != nil {
		return nil, failed
	}
	if failed := k.mustBeEnabled(); failed != nil {
		return nil, failed
	}
	l := k.lineage
	switch {
	case l.origin == originExternal:
		return nil, &kmsError{"KMSInvalidStateException", k.arn + " has no key material that is pending rotation."}
	case !l.onDemandSince.IsZero():
		return nil, &kmsError{"ConflictException", "An on-demand rotation of " + k.arn + " is already in progress."}
	case l.rotationOn && l.nextRotation.Sub(c.now) < 20*time.Minute:
		return nil, &kmsError{"ConflictException", "An automatic rotation of " + k.arn + " is scheduled within the next 20 minutes."}
	case l.onDemandUsed >= mostOnDemand:
		return nil, &kmsError{"LimitExceededException", fmt.Sprintf("%s has used all of its %d on-demand rotations.", k.arn, mostOnDemand)}
	}
	w.startOnDemandRotation(l, c.now)
	return map[string]string{"KeyId": k.arn}, nil
}

func (w *World) enableKeyRotation(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := k.mustRotate(c); failed != nil {
		return nil, failed
	}
	if failed := k.mustBeEnabled(); failed != nil {
		return nil, failed
	}
	if k.lineage.origin == originExternal {
		return nil, &kmsError{"UnsupportedOperationException", k.arn + " has imported key material."}
	}
	period := 365
	if c.input.RotationPeriodInDays != nil {
		period = *c.input.RotationPeriodInDays
	}
	if !validRotationPeriod(period) {
		return nil, outOfRange("rotationPeriodInDays", period, 90, 2560)
	}
	k.lineage.rotationOn, k.lineage.periodDays = true, period
	w.scheduleRotation(k.lineage, c.now.Add(k.lineage.period()))
	return nil, nil
}

func (w *World) disableKeyRotation(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := k.mustRotate(c); failed != nil {
		return nil, failed
	}
	if failed := k.mustBeEnabled(); failed != nil {
		return nil, failed
	}
	k.lineage.rotationOn = false
	return nil, nil
}

func (w *World) putKeyPolicy(c *kmsCall, k *awsKey) (any, *kmsError) {
	switch {
	case c.input.PolicyName != "" && c.input.PolicyName != "default":
		return nil, &kmsError{"NotFoundException", "No such policy exists"}
	case !validPolicy(c.input.Policy):
		return nil, &kmsError{"MalformedPolicyDocumentException", "The new key policy is not a valid policy document."}
	}
	k.policy = c.input.Policy
	return nil, nil
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
		return nil, &kmsError{"KMSInvalidStateException", k.arn + " is not pending deletion."}
	}
	k.cancelDeletion()
	return map[string]string{"KeyId": k.arn}, nil
}

type replicateKeyOutput struct {
	ReplicaKeyMetadata keyMetadata
	ReplicaPolicy      string
	ReplicaTags        []keyTag
}

// replicateKey makes a replica that is Creating for a moment. It has no tags: those are not shared with the primary
// (docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html). CloudTrail shows ReplicateKey in the primary's Region
// and CreateKey in the replica's.
func (w *World) replicateKey(c *kmsCall, k *awsKey) (any, *kmsError) {
	if !k.lineage.multiRegion || k != k.lineage.primary {
		return nil, &kmsError{"UnsupportedOperationException", k.arn + " is not a multi-Region primary key."}
	}
	if failed := k.mustBeEnabled(); failed != nil {
		return nil, failed
	}
	arn := string(inRegion(cmek.KeyURI(k.arn), c.input.ReplicaRegion))
	switch {
	case c.input.ReplicaRegion == "":
		return nil, missing("replicaRegion")
	case w.aws.byARN[arn] != nil:
		return nil, &kmsError{"AlreadyExistsException", arn + " already exists."}
	case c.input.Policy != "" && !validPolicy(c.input.Policy):
		return nil, &kmsError{"MalformedPolicyDocumentException", "The replica's key policy is not a valid policy document."}
	}
	replica := &awsKey{
		arn: arn, id: k.id, region: c.input.ReplicaRegion, account: k.account, lineage: k.lineage, created: c.now,
		description: c.input.Description, policy: c.input.Policy, state: stateCreating,
	}
	if replica.policy == "" {
		replica.policy = cockroachPolicy(k.account, nil)
	}
	k.lineage.replicas = append(k.lineage.replicas, replica)
	w.addAWSKey(replica)
	w.agenda.at(c.now.Add(creationTime), func(time.Time) {
		if replica.state == stateCreating {
			replica.state = stateEnabled
		}
	})
	created := *c
	created.operation, created.region = "CreateKey", replica.region
	created.parameters = map[string]any{"multiRegion": true, "description": replica.description}
	w.emitCall(&created, replica, w.metadata(replica), nil)
	return &replicateKeyOutput{w.metadata(replica), replica.policy, []keyTag{}}, nil
}
