package amazon

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Policies reads the policies that decide about access to keys. Key policies are read as [KMS] reads keys; roles are read
// in our own account, or with the reader role of theirs.
type Policies struct{ keys *KMS }

// NewPolicies returns a reader of policies; roles may be nil.
func NewPolicies(config Config, roles ReaderRoles) *Policies { return &Policies{NewKMS(config, roles)} }

// KeyPolicy reads the key's policy as JSON text. GetKeyPolicy works in the key's own account only
// (docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html).
func (p *Policies) KeyPolicy(ctx context.Context, uri cmek.KeyURI) (string, error) {
	doing := fmt.Sprintf("read policy of key %s", uri)
	if uri.Type() != cmek.AWSKMS || uri.IsAlias() || uri.Location() == "" {
		return "", fmt.Errorf("%s: not the ARN of a key", doing)
	}
	reader := p.keys.reader(uri)
	out, err := reader.client.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{
		KeyId: aws.String(string(uri)), PolicyName: aws.String("default"),
	}, reader.region)
	var notFound *kmstypes.NotFoundException
	switch {
	case errors.As(err, &notFound):
		return "", fmt.Errorf("%s: %w", doing, cmek.ErrNotFound)
	case err != nil:
		return "", explain(err, doing)
	}
	return aws.ToString(out.Policy), nil
}

// RoleTrust reads the trust policy of a role, named by its ARN, as JSON text. A role that does not exist is
// cmek.ErrNotFound.
func (p *Policies) RoleTrust(ctx context.Context, role string) (string, error) {
	doing := "read trust policy of " + role
	parts := strings.SplitN(role, ":", 6)
	if len(parts) != 6 || parts[2] != "iam" || !strings.HasPrefix(parts[5], "role/") {
		return "", fmt.Errorf("%s: not the ARN of a role", doing)
	}
	name := parts[5][strings.LastIndex(parts[5], "/")+1:]
	client := iam.NewFromConfig(p.keys.config, func(o *iam.Options) {
		if credentials := p.keys.credentials(parts[4]); credentials != nil {
			o.Credentials = credentials
		}
	})
	out, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	var notFound *iamtypes.NoSuchEntityException
	switch {
	case errors.As(err, &notFound):
		return "", fmt.Errorf("%s: %w", doing, cmek.ErrNotFound)
	case err != nil:
		return "", explain(err, doing)
	case out.Role == nil:
		return "", fmt.Errorf("%s: the answer holds no role", doing)
	}
	// The document is URL-encoded (RFC 3986), docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html.
	document, err := url.PathUnescape(aws.ToString(out.Role.AssumeRolePolicyDocument))
	if err != nil {
		return "", fmt.Errorf("%s: the document is not URL-encoded: %w", doing, err)
	}
	return document, nil
}

// Repairer undoes scheduled deletions. Its role needs kms:CancelKeyDeletion and kms:EnableKey, and nothing else.
type Repairer struct{ keys *KMS }

// NewRepairer returns a repairer that acts as the role, in which {account} stands for the key's account.
func NewRepairer(config Config, role string) *Repairer {
	return &Repairer{NewKMS(config, ReaderRoles{anyAccount: {ARN: role}})}
}

// CancelDeletion cancels the key's scheduled deletion, which leaves it disabled.
func (r *Repairer) CancelDeletion(ctx context.Context, uri cmek.KeyURI) error {
	reader := r.keys.reader(uri)
	_, err := reader.client.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: aws.String(string(uri))}, reader.region)
	if err != nil {
		return explain(err, fmt.Sprintf("cancel deletion of key %s", uri))
	}
	return nil
}

// Enable enables the key.
func (r *Repairer) Enable(ctx context.Context, uri cmek.KeyURI) error {
	reader := r.keys.reader(uri)
	if _, err := reader.client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: aws.String(string(uri))}, reader.region); err != nil {
		return explain(err, fmt.Sprintf("enable key %s", uri))
	}
	return nil
}
