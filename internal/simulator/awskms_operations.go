package simulator

// kmsOperation is one operation of AWS KMS. Its facts are those of docs.aws.amazon.com/kms/latest/APIReference.
type kmsOperation struct {
	// input lists the parameters, the required ones first.
	input []kmsMember
	// key finds the key that the operation is on; nil if it is on none.
	key func(*World, *kmsCall) (*awsKey, *kmsError)
	run func(*World, *kmsCall, *awsKey) (any, *kmsError)
	trail
	// crossAccount: the key may be another account's.
	crossAccount bool
	// byIAM: the caller's own policies decide, whatever the key policy allows.
	byIAM bool
}

// trail is what CloudTrail makes of an operation.
type trail int

const (
	// reads leave no record here: only a rule in the state ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS would get one.
	reads trail = iota
	// writes leave a record, whether they succeed or not.
	writes
	// uses leave a record too, as a read-only management event.
	uses
)

// awsService is AWS KMS on the page.
func awsService() Service {
	return Service{
		Name: "AWS KMS", At: "POST / (JSON 1.1, as the AWS CLI and SDKs send it with --endpoint-url or AWS_ENDPOINT_URL_KMS)",
		Doc:        "Symmetric encryption keys in all Regions, with their policies, grants, rotations and imported material. The events that a call causes are under /_simulator/events.",
		Operations: sortedKeys(kmsOperations),
	}
}

// kmsOperations are all operations that are simulated.
var kmsOperations = map[string]kmsOperation{
	// Keys: awskms_keys.go.
	"CreateKey": {run: (*World).createKey, byIAM: true, trail: writes, input: newKeyInput},
	"DescribeKey": {run: (*World).describeKey, key: (*World).keyOrAlias, crossAccount: true, input: []kmsMember{
		need("KeyId", keyIDType), may("GrantTokens", grantTokenList)}},
	"ListKeys":            {run: (*World).listKeys, byIAM: true, input: []kmsMember{may("Limit", limitType), may("Marker", markerType)}},
	"EnableKey":           {run: (*World).enableKey, key: (*World).keyByID, trail: writes, input: []kmsMember{need("KeyId", keyIDType)}},
	"DisableKey":          {run: (*World).disableKey, key: (*World).keyByID, trail: writes, input: []kmsMember{need("KeyId", keyIDType)}},
	"CancelKeyDeletion":   {run: (*World).cancelKeyDeletion, key: (*World).keyByID, trail: writes, input: []kmsMember{need("KeyId", keyIDType)}},
	"ScheduleKeyDeletion": {run: (*World).scheduleKeyDeletion, key: (*World).keyByID, trail: writes, input: []kmsMember{need("KeyId", keyIDType), may("PendingWindowInDays", waitingDaysType)}},
	"ReplicateKey": {run: (*World).replicateKey, key: (*World).keyByID, trail: writes, input: []kmsMember{
		need("KeyId", keyIDType), need("ReplicaRegion", regionType), may("Policy", policyType),
		may("BypassPolicyLockoutSafetyCheck", anything), may("Description", descriptionType), may("Tags", tagList)}},

	// Rotation: awskms_rotation.go.
	"DisableKeyRotation":   {run: (*World).disableKeyRotation, key: (*World).keyByID, trail: writes, input: []kmsMember{need("KeyId", keyIDType)}},
	"EnableKeyRotation":    {run: (*World).enableKeyRotation, key: (*World).keyByID, trail: writes, input: []kmsMember{need("KeyId", keyIDType), may("RotationPeriodInDays", rotationDaysType)}},
	"GetKeyRotationStatus": {run: (*World).getKeyRotationStatus, key: (*World).keyByID, crossAccount: true, input: []kmsMember{need("KeyId", keyIDType)}},
	"ListKeyRotations": {run: (*World).listKeyRotations, key: (*World).keyByID, input: []kmsMember{
		need("KeyId", keyIDType), may("IncludeKeyMaterial", rotationKindType), may("Limit", limitType), may("Marker", markerType)}},
	"RotateKeyOnDemand": {run: (*World).rotateKeyOnDemand, key: (*World).keyByID, trail: writes, input: []kmsMember{need("KeyId", keyIDType)}},

	// Imported key material: awskms_import.go.
	"DeleteImportedKeyMaterial": {run: (*World).deleteImportedKeyMaterial, key: (*World).keyByID, trail: writes, input: []kmsMember{
		need("KeyId", keyIDType), may("KeyMaterialId", materialIDType)}},
	"GetParametersForImport": {run: (*World).getParametersForImport, key: (*World).keyByID, input: []kmsMember{
		need("KeyId", keyIDType), need("WrappingAlgorithm", wrappingType), need("WrappingKeySpec", wrappingSpecType)}},
	"ImportKeyMaterial": {run: (*World).importKeyMaterial, key: (*World).keyByID, trail: writes, input: []kmsMember{
		need("KeyId", keyIDType), need("ImportToken", ciphertextType), need("EncryptedKeyMaterial", ciphertextType),
		may("ValidTo", anything), may("ExpirationModel", expirationType), may("ImportType", importKindType),
		may("KeyMaterialDescription", materialDocType), may("KeyMaterialId", materialIDType)}},

	// Key policies: awskms_policy.go.
	"GetKeyPolicy": {run: (*World).getKeyPolicy, key: (*World).keyByID, input: []kmsMember{need("KeyId", keyIDType), may("PolicyName", policyNameType)}},
	"ListKeyPolicies": {run: (*World).listKeyPolicies, key: (*World).keyByID, input: []kmsMember{
		need("KeyId", keyIDType), may("Limit", limitType), may("Marker", markerType)}},
	"PutKeyPolicy": {run: (*World).putKeyPolicy, key: (*World).keyByID, trail: writes, input: []kmsMember{
		need("KeyId", keyIDType), need("Policy", policyType), may("PolicyName", policyNameType), may("BypassPolicyLockoutSafetyCheck", anything)}},

	// Grants: awskms_grants.go.
	"CreateGrant": {run: (*World).createGrant, key: (*World).keyByID, trail: writes, crossAccount: true, input: []kmsMember{
		need("KeyId", keyIDType), need("GranteePrincipal", principalIDType), need("Operations", grantOperationList),
		may("RetiringPrincipal", principalIDType), may("Constraints", anything), may("GrantTokens", grantTokenList),
		may("Name", grantNameType), may("DryRun", anything)}},
	"ListGrants": {run: (*World).listGrants, key: (*World).keyByID, crossAccount: true, input: []kmsMember{
		need("KeyId", keyIDType), may("GrantId", grantIDType), may("GranteePrincipal", principalIDType),
		may("Limit", limitType), may("Marker", markerType)}},
	"RevokeGrant": {run: (*World).revokeGrant, key: (*World).keyByID, trail: writes, crossAccount: true, input: []kmsMember{
		need("KeyId", keyIDType), need("GrantId", grantIDType), may("DryRun", anything)}},

	// Aliases: awskms_aliases.go.
	"CreateAlias": {run: (*World).createAlias, key: (*World).keyByTarget, trail: writes, input: []kmsMember{
		need("AliasName", aliasNameType), need("TargetKeyId", keyIDType)}},
	"DeleteAlias": {run: (*World).deleteAlias, key: (*World).keyOfAlias, trail: writes, input: []kmsMember{need("AliasName", aliasNameType)}},
	"ListAliases": {run: (*World).listAliases, byIAM: true, key: (*World).anyKeyByID, input: []kmsMember{
		may("KeyId", keyIDType), may("Limit", limitType), may("Marker", markerType)}},
	"UpdateAlias": {run: (*World).updateAlias, key: (*World).keyByTarget, trail: writes, input: []kmsMember{
		need("AliasName", aliasNameType), need("TargetKeyId", keyIDType)}},

	// Tags: awskms_tags.go.
	"ListResourceTags": {run: (*World).listResourceTags, key: (*World).keyByID, input: []kmsMember{
		need("KeyId", keyIDType), may("Limit", limitType), may("Marker", markerType)}},
	"TagResource":   {run: (*World).tagResource, key: (*World).keyByID, trail: writes, input: []kmsMember{need("KeyId", keyIDType), need("Tags", tagList)}},
	"UntagResource": {run: (*World).untagResource, key: (*World).keyByID, trail: writes, input: []kmsMember{need("KeyId", keyIDType), need("TagKeys", tagKeyList)}},

	// Use of keys: awskms_use.go.
	"Decrypt": {run: (*World).decrypt, key: (*World).keyOfCiphertext, trail: uses, crossAccount: true, input: []kmsMember{
		may("CiphertextBlob", ciphertextType), may("KeyId", keyIDType), may("EncryptionContext", anything), may("GrantTokens", grantTokenList),
		may("EncryptionAlgorithm", encryptionType), may("Recipient", anything), may("DryRun", anything), may("DryRunModifiers", dryRunList)}},
	"Encrypt": {run: (*World).encrypt, key: (*World).keyOrAlias, trail: uses, crossAccount: true, input: []kmsMember{
		need("KeyId", keyIDType), need("Plaintext", plaintextType), may("EncryptionContext", anything), may("GrantTokens", grantTokenList),
		may("EncryptionAlgorithm", encryptionType), may("DryRun", anything)}},
	"GenerateDataKey": {run: (*World).generateDataKey, key: (*World).keyOrAlias, trail: uses, crossAccount: true, input: []kmsMember{
		need("KeyId", keyIDType), may("EncryptionContext", anything), may("NumberOfBytes", dataKeyBytesType), may("KeySpec", dataKeySpecType),
		may("GrantTokens", grantTokenList), may("Recipient", anything), may("DryRun", anything)}},
	"GetKeyLastUsage": {run: (*World).getKeyLastUsage, key: (*World).keyByID, input: []kmsMember{need("KeyId", keyIDType)}},
}

// newKeyInput is the input of CreateKey.
var newKeyInput = []kmsMember{may("Policy", policyType), may("Description", descriptionType),
	may("KeyUsage", keyUsageType), may("CustomerMasterKeySpec", oldKeySpecType), may("KeySpec", keySpecType), may("Origin", originType),
	may("CustomKeyStoreId", keyStoreIDType), may("BypassPolicyLockoutSafetyCheck", anything), may("Tags", tagList),
	may("MultiRegion", anything), may("XksKeyId", xksKeyIDType)}
