package amazon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/keyturn/keyturn/internal/cmek"
)

// KMS reads keys in every Region, and in every account that lets it. It is safe for concurrent use.
type KMS struct {
	config Config
	roles  ReaderRoles

	mu        sync.Mutex
	byAccount map[string]*kms.Client
}

// KeyReads are the actions that keyturn reads a key with: GetKeyLastUsage and ListGrants for compliance, the others for all.
func KeyReads() []string {
	return []string{"kms:DescribeKey", "kms:GetKeyLastUsage", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants", "kms:ListKeyRotations"}
}

// ReaderStatement is the statement of a key's policy that lets a role of the key's account read the key. The role is named by a
// condition, because a policy may not name a principal that does not exist.
func ReaderStatement(account, roleARN string) map[string]any {
	return map[string]any{
		"Sid": "keyturn-reader", "Effect": "Allow", "Resource": "*", "Action": KeyReads(),
		"Principal": map[string]any{"AWS": "arn:aws:iam::" + account + ":root"},
		"Condition": map[string]any{"ArnEquals": map[string]any{"aws:PrincipalArn": roleARN}},
	}
}

// ReaderRole is a role that keyturn assumes to read the keys of an account. It needs [KeyReads] on them, and nothing else.
type ReaderRole struct {
	// ARN may hold "{account}" in place of the account's id. Empty means that no role is assumed.
	ARN string
	// ExternalID is sent if it is not empty.
	ExternalID string
}

// ReaderRoles names the role for each account id. The entry "*" stands for all accounts that have none of their own.
// Keys of an account without a role are read with our own credentials.
type ReaderRoles map[string]ReaderRole

// anyAccount is the entry of ReaderRoles for all other accounts.
const anyAccount = "*"

// NewKMS returns a reader of keys. roles may be nil.
func NewKMS(config Config, roles ReaderRoles) *KMS {
	return &KMS{config: config, roles: roles, byAccount: map[string]*kms.Client{}}
}

// Key reads the key at the Region and account of its ARN, never at an alias. A key that does not exist has the state
// cmek.KeyNotFound. An error means that the truth could not be read, and wraps cmek.ErrDenied if we may not.
//
// What KMS does not show about rotations (to another account, or for a key without rotation) stays zero: see cmek.Key.
func (k *KMS) Key(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	described, err := k.describe(ctx, uri)
	if err != nil {
		return cmek.Key{}, err
	}
	if described == nil || described.KeySpec != types.KeySpecSymmetricDefault {
		return keyOf(uri, described), nil // Only symmetric encryption keys have rotations.
	}
	return k.reader(uri).key(ctx, keyOf(uri, described), *described)
}

// Describe reads the key as Key does, with one call: it shows nothing about rotations, and no version if that is the date of
// one.
func (k *KMS) Describe(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	described, err := k.describe(ctx, uri)
	if err != nil {
		return cmek.Key{}, err
	}
	return keyOf(uri, described), nil
}

// AliasTarget reads which key the alias, given by its ARN, points to now. ErrNotFound: there is no such alias, or it points to nothing.
func (k *KMS) AliasTarget(ctx context.Context, alias cmek.KeyURI) (cmek.KeyURI, error) {
	parsed, err := cmek.ParseKeyURI(string(alias))
	if err != nil || parsed.Type() != cmek.AWSKMS || !parsed.IsAlias() || parsed.Location() == "" {
		return "", fmt.Errorf("%q is not the ARN of an alias of AWS KMS", alias)
	}
	reader := k.reader(parsed)
	out, err := reader.client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(string(parsed))}, reader.region)
	var notFound *types.NotFoundException
	if errors.As(err, &notFound) {
		return "", fmt.Errorf("describe alias %s: %w: %w", alias, cmek.ErrNotFound, err)
	}
	if err == nil && (out.KeyMetadata == nil || aws.ToString(out.KeyMetadata.Arn) == "") {
		err = errors.New("the answer holds no key")
	}
	if err != nil {
		return "", explain(err, fmt.Sprintf("describe alias %s", alias))
	}
	return cmek.KeyURI(aws.ToString(out.KeyMetadata.Arn)), nil
}

// describe returns what DescribeKey shows; nil if the key does not exist.
func (k *KMS) describe(ctx context.Context, uri cmek.KeyURI) (*types.KeyMetadata, error) {
	switch parsed, err := cmek.ParseKeyURI(string(uri)); {
	case err != nil:
		return nil, err
	case parsed.Type() != cmek.AWSKMS:
		return nil, fmt.Errorf("key URI %q names no AWS KMS key", uri)
	case parsed.IsAlias():
		return nil, fmt.Errorf("key URI %q is an alias, which may point to another key at any time", uri)
	case parsed.Location() == "":
		return nil, fmt.Errorf("key URI %q names no Region", uri)
	}
	reader := k.reader(uri)
	out, err := reader.client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(string(uri))}, reader.region)
	var notFound *types.NotFoundException
	if errors.As(err, &notFound) {
		return nil, nil
	}
	if err == nil && out.KeyMetadata == nil {
		err = errors.New("the answer holds no key")
	}
	if err != nil {
		return nil, explain(err, fmt.Sprintf("describe key %s", uri))
	}
	return out.KeyMetadata, nil
}

// keyOf is the key as far as DescribeKey shows it; nil is a key that does not exist.
func keyOf(uri cmek.KeyURI, described *types.KeyMetadata) cmek.Key {
	if described == nil {
		return cmek.Key{URI: uri, State: cmek.KeyNotFound}
	}
	var unfit string
	if described.KeySpec != types.KeySpecSymmetricDefault || described.KeyUsage != types.KeyUsageTypeEncryptDecrypt {
		unfit = fmt.Sprintf("its KeySpec is %s and its KeyUsage %s", described.KeySpec, described.KeyUsage)
	}
	return cmek.Key{
		Unfit:        unfit,
		URI:          uri,
		State:        keyState(described.KeyState),
		Version:      cmek.MaterialVersion(aws.ToString(described.CurrentKeyMaterialId)),
		DeletionDate: aws.ToTime(described.DeletionDate),
	}
}

// keyReader reads keys of one account in one Region.
type keyReader struct {
	client *kms.Client
	region func(*kms.Options)
}

func (k *KMS) reader(uri cmek.KeyURI) keyReader {
	k.mu.Lock()
	defer k.mu.Unlock()
	client, ok := k.byAccount[uri.Account()]
	if !ok {
		client = kms.NewFromConfig(k.config, k.assumeRole(uri.Account()))
		k.byAccount[uri.Account()] = client
	}
	return keyReader{client, func(o *kms.Options) { o.Region = uri.Location() }}
}

// assumeRole makes a client act as the account's reader role, if it has one.
func (k *KMS) assumeRole(account string) func(*kms.Options) {
	credentials := k.credentials(account)
	return func(o *kms.Options) {
		if credentials != nil {
			o.Credentials = credentials
		}
	}
}

// As is the configuration with the credentials of the account's reader role; with our own for account "", and where it has no such role.
func (k *KMS) As(account string) Config {
	config := k.config.Copy()
	if account == "" {
		return config
	}
	if reader := k.credentials(account); reader != nil {
		config.Credentials = reader
	}
	return config
}

// credentials are those of the account's reader role; nil if it has none.
func (k *KMS) credentials(account string) aws.CredentialsProvider {
	role, ok := k.roles[account]
	if !ok {
		role = k.roles[anyAccount]
	}
	if role.ARN == "" {
		return nil
	}
	arn := strings.ReplaceAll(role.ARN, "{account}", account)
	return aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(k.config), arn, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "keyturn"
		if role.ExternalID != "" {
			o.ExternalID = &role.ExternalID
		}
	}))
}

// key completes what DescribeKey showed with what the rotation calls show. What KMS does not tell is left out.
func (r keyReader) key(ctx context.Context, key cmek.Key, described types.KeyMetadata) (cmek.Key, error) {
	history, err := r.rotationHistory(ctx, key.URI, described)
	if err != nil && !notTold(err) {
		return cmek.Key{}, err
	}
	history.addTo(&key, described)
	status, err := r.rotationStatus(ctx, key.URI)
	if err != nil && !notTold(err) {
		return cmek.Key{}, err
	}
	key.RotationRunning = status.OnDemandRotationStartDate != nil
	return key, nil
}

// keyState translates KeyState (docs.aws.amazon.com/kms/latest/developerguide/key-state.html).
func keyState(state types.KeyState) cmek.KeyState {
	switch state {
	case types.KeyStateEnabled:
		return cmek.KeyEnabled
	case types.KeyStateDisabled:
		return cmek.KeyDisabled
	case types.KeyStatePendingDeletion, types.KeyStatePendingReplicaDeletion:
		return cmek.KeyDeletionScheduled
	case types.KeyStatePendingImport:
		return cmek.KeyPendingImport
	case types.KeyStateUnavailable:
		return cmek.KeyUnavailable
	case types.KeyStateCreating, types.KeyStateUpdating:
		return cmek.KeyTransient
	}
	return cmek.KeyUnknown
}

func (r keyReader) rotationStatus(ctx context.Context, uri cmek.KeyURI) (kms.GetKeyRotationStatusOutput, error) {
	out, err := r.client.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: aws.String(string(uri))}, r.region)
	if err != nil {
		return kms.GetKeyRotationStatusOutput{}, explain(err, fmt.Sprintf("read rotation status of key %s", uri))
	}
	return *out, nil
}

// notTold reports whether KMS refuses to say anything about the rotations of a key that it has just described. What it
// answers about another account's key is not documented, so every way of saying "not you" or "no such key" counts.
func notTold(err error) bool {
	return slices.Contains([]string{
		"AccessDeniedException", "NotFoundException", "InvalidArnException", // the key is another account's, or we lack the permission
		"UnsupportedOperationException",                 // imported material, custom key stores
		"KMSInvalidStateException", "DisabledException", // pending deletion, disabled
	}, errorCode(err))
}
