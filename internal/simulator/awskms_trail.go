package simulator

import (
	"slices"
	"strings"
	"time"
)

// unrecorded are the parameters that CloudTrail keeps out of records.
var unrecorded = []string{"Plaintext", "CiphertextBlob", "EncryptedKeyMaterial", "ImportToken", "GrantTokens", "Recipient", "DryRunModifiers"}

// emitCall leaves the CloudTrail record of a call. One that was denied names neither parameters nor resources. A successful call
// on a key of another account is recorded in both accounts, a denied one in the caller's only:
// docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html.
func (w *World) emitCall(c *kmsCall, output any, failed *kmsError) {
	k := c.key
	record := w.trailRecord(c.account, c.region, c.operation, c.now)
	record.EventType, record.ReadOnly = "AwsApiCall", c.row.trail == uses
	record.UserIdentity = c.identity()
	record.SourceIPAddress, record.UserAgent, record.RequestID = "192.0.2.10", c.userAgent, c.requestID
	record.RequestParameters = c.trailParameters()
	record.Resources = c.trailResources()
	switch {
	case failed == nil:
		record.ResponseElements = c.trailResponse(output)
	case failed.code == "AccessDeniedException":
		// CloudTrail spells codes without "Exception" here.
		record.ErrorCode, record.ErrorMessage = "AccessDenied", failed.message
		record.RequestParameters, record.Resources = nil, nil
	default:
		record.ErrorCode, record.ErrorMessage = failed.code, failed.message
	}
	if c.material != "" {
		record.AdditionalData = map[string]string{"keyMaterialId": c.material}
	}
	if failed == nil && c.row.trail == uses {
		k.lastUse = &keyUse{c.operation, epoch{c.now}, record.EventID, c.requestID}
	}
	if failed == nil && k != nil && k.account != c.account {
		record.SharedEventID = w.uuid()
		owner := record
		owner.EventID, owner.RecipientAccountID = w.uuid(), k.account
		w.emitRecord(apiCall, owner, c.now)
	}
	w.emitRecord(apiCall, record, c.now)
}

// identity is the userIdentity of records:
// docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html.
func (c kmsCaller) identity() trailIdentity {
	if !c.isRole() {
		return trailIdentity{Type: "IAMUser", PrincipalID: "AIDASAMPLESAMPLESAMPL", ARN: c.arn, AccountID: c.account, UserName: c.name()}
	}
	return trailIdentity{
		Type: "AssumedRole", PrincipalID: "AROASAMPLESAMPLESAMPL:simulated", ARN: c.principal(), AccountID: c.account,
		SessionContext: &trailSession{trailIssuer{"Role", "AROASAMPLESAMPLESAMPL", c.arn, c.account, c.name()}},
	}
}

// trailParameters are the parameters as CloudTrail shows them: in its spelling, without secrets, dates as people read them, and
// with the defaults that KMS fills in.
func (c *kmsCall) trailParameters() any {
	if c.parameters == nil {
		return nil
	}
	shown := map[string]any{}
	for _, m := range c.row.input {
		if value, given := c.parameters[m.name]; given && !slices.Contains(unrecorded, m.name) {
			shown[decapitalize(m.name)] = lowerNames(m.name, value)
		}
	}
	if seconds, ok := shown["validTo"].(float64); ok {
		shown["validTo"] = trailDate(time.Unix(int64(seconds), 0))
	}
	if c.row.trail == uses && c.operation != "GenerateDataKey" {
		shown["encryptionAlgorithm"] = specSymmetric
	}
	if c.operation == "CreateKey" {
		for name, value := range map[string]any{"bypassPolicyLockoutSafetyCheck": false, "description": "", "customerMasterKeySpec": specSymmetric,
			"keySpec": specSymmetric, "keyUsage": usageEncrypt, "origin": originAWS, "multiRegion": false} {
			if _, given := shown[name]; !given {
				shown[name] = value
			}
		}
	}
	return shown
}

// lowerNames spells the names of a value's fields as CloudTrail does. The names in an encryption context are the caller's own.
func lowerNames(of string, value any) any {
	switch value := value.(type) {
	case []any:
		lowered := make([]any, len(value))
		for i, element := range value {
			lowered[i] = lowerNames(of, element)
		}
		return lowered
	case map[string]any:
		if strings.HasPrefix(of, "EncryptionContext") {
			return value
		}
		lowered := make(map[string]any, len(value))
		for name, field := range value {
			lowered[decapitalize(name)] = lowerNames(name, field)
		}
		return lowered
	}
	return value
}

// trailDate is a time in the KMS's part of a record.
func trailDate(at time.Time) string { return at.UTC().Format("Jan 2, 2006, 3:04:05 PM") }

func (c *kmsCall) trailResources() []trailResource {
	k := c.key
	if k == nil {
		return nil
	}
	resources := k.trailResources()
	if c.alias != "" {
		resources = append(resources, trailResource{k.account, "AWS::KMS::Key", c.alias})
	}
	return resources
}

// unanswered are the writes whose record has no responseElements.
var unanswered = map[string]bool{"EnableKeyRotation": true, "DisableKeyRotation": true, "CreateAlias": true, "UpdateAlias": true,
	"DeleteAlias": true, "TagResource": true, "UntagResource": true}

// trailResponse is what CloudTrail shows of an answer:
// docs.aws.amazon.com/kms/latest/developerguide/understanding-kms-entries.html.
func (c *kmsCall) trailResponse(output any) any {
	k := c.key
	switch output := output.(type) {
	case *scheduleDeletionOutput:
		elements := map[string]any{"keyId": k.arn, "keyState": output.KeyState, "pendingWindowInDays": output.PendingWindowInDays}
		if !output.DeletionDate.IsZero() {
			elements["deletionDate"] = trailDate(output.DeletionDate.Time)
		}
		return elements
	case keyOutput:
		return map[string]any{"keyMetadata": output.KeyMetadata.recorded()}
	case *replicateKeyOutput:
		return map[string]any{"replicaKeyMetadata": output.ReplicaKeyMetadata.recorded()}
	case grantOutput:
		return map[string]string{"grantId": output.GrantID, "keyId": k.arn}
	case materialOutput:
		return map[string]string{"keyId": k.arn, "keyMaterialId": output.KeyMaterialID}
	}
	if c.row.trail == uses || unanswered[c.operation] {
		return nil
	}
	return map[string]string{"keyId": k.arn}
}

// recorded is the metadata in a record.
func (m keyMetadata) recorded() any {
	return map[string]any{
		"AWSAccountId": m.AWSAccountID, "keyId": m.KeyID, "arn": m.Arn, "creationDate": trailDate(m.CreationDate.Time), "enabled": m.Enabled,
		"description": m.Description, "keyUsage": m.KeyUsage, "keyState": m.KeyState, "origin": m.Origin, "keyManager": m.KeyManager,
		"keySpec": m.KeySpec, "customerMasterKeySpec": m.CustomerMasterKeySpec, "encryptionAlgorithms": m.EncryptionAlgorithms,
		"multiRegion": m.MultiRegion,
	}
}
