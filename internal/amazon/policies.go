package amazon

import (
	"context"
	"encoding/json"
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
	"github.com/keyturn/keyturn/internal/ledger"
)

// Policies reads the policies that decide about access to keys. Key policies are read as [KMS] reads keys; roles are read
// in our own account, or with the reader role of theirs.
type Policies struct{ keys *KMS }

// NewPolicies returns a reader of policies; roles may be nil.
func NewPolicies(config Config, roles ReaderRoles) *Policies { return &Policies{NewKMS(config, roles)} }

// Deciding names the key's policy by the key's ARN, the trust policy of the role by the role's, and beside it all other policies of
// the role.
func (p *Policies) Deciding(use cmek.Use, _ map[string]string) []string {
	if use.Spec.Type != cmek.AWSKMS {
		return nil
	}
	role := use.Spec.AuthPrincipal
	return []string{string(use.Spec.URI), string(role), ledger.RolePolicies(role)}
}

// Document reads a document that Deciding names.
func (p *Policies) Document(ctx context.Context, name string) (string, error) {
	if role, all := strings.CutSuffix(name, ledger.RolePolicies("")); all {
		return p.RolePolicies(ctx, cmek.Principal(role))
	}
	if role := cmek.Principal(name); role.IsRole() {
		return p.RoleTrust(ctx, role)
	}
	return p.KeyPolicy(ctx, cmek.KeyURI(name))
}

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
func (p *Policies) RoleTrust(ctx context.Context, role cmek.Principal) (string, error) {
	doing := "read trust policy of " + string(role)
	client, name, err := p.iam(role)
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	out, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	switch {
	case err != nil:
		return "", explainRole(err, doing)
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

// iam returns a client for the account of the role, and the role's name.
func (p *Policies) iam(role cmek.Principal) (client *iam.Client, name string, err error) {
	if !role.IsRole() {
		return nil, "", errors.New("not the ARN of a role")
	}
	client = iam.NewFromConfig(p.keys.config, func(o *iam.Options) {
		if credentials := p.keys.credentials(role.Account()); credentials != nil {
			o.Credentials = credentials
		}
	})
	return client, role.Name(), nil
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

// rolePolicies is how the policies of a role are written down, in an order that does not change by itself.
type rolePolicies struct {
	Inline   map[string]json.RawMessage `json:"inline"`
	Attached map[string]json.RawMessage `json:"attached"`
	// Boundary holds the permissions boundary, if there is one.
	Boundary map[string]json.RawMessage `json:"boundary,omitempty"`
}

// mostPolicies bounds the pages of a role's policies; IAM allows far fewer.
const mostPolicies = 10

// RolePolicies reads a role's inline and attached policies and its permissions boundary, as one JSON object of documents by
// name and ARN. A role that does not exist is cmek.ErrNotFound.
func (p *Policies) RolePolicies(ctx context.Context, role cmek.Principal) (string, error) {
	doing := "read policies of " + string(role)
	client, name, err := p.iam(role)
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	found := rolePolicies{Inline: map[string]json.RawMessage{}, Attached: map[string]json.RawMessage{}}
	got, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return "", explainRole(err, doing)
	}
	if got.Role != nil && got.Role.PermissionsBoundary != nil {
		arn := aws.ToString(got.Role.PermissionsBoundary.PermissionsBoundaryArn)
		found.Boundary = map[string]json.RawMessage{}
		if found.Boundary[arn], err = managedPolicy(ctx, client, arn); err != nil {
			return "", explainRole(err, doing)
		}
	}
	inline := iam.NewListRolePoliciesPaginator(client, &iam.ListRolePoliciesInput{RoleName: &name})
	for n := 0; inline.HasMorePages() && n < mostPolicies; n++ {
		page, err := inline.NextPage(ctx)
		if err != nil {
			return "", explainRole(err, doing)
		}
		for _, policy := range page.PolicyNames {
			out, err := client.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &policy})
			if err != nil {
				return "", explainRole(err, doing)
			}
			if found.Inline[policy], err = decoded(out.PolicyDocument); err != nil {
				return "", fmt.Errorf("%s: %w", doing, err)
			}
		}
	}
	attached := iam.NewListAttachedRolePoliciesPaginator(client, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	for n := 0; attached.HasMorePages() && n < mostPolicies; n++ {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return "", explainRole(err, doing)
		}
		for _, policy := range page.AttachedPolicies {
			arn := aws.ToString(policy.PolicyArn)
			if found.Attached[arn], err = managedPolicy(ctx, client, arn); err != nil {
				return "", explainRole(err, doing)
			}
		}
	}
	text, err := json.Marshal(found)
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	return string(text), nil
}

// managedPolicy reads the default version of a managed policy.
func managedPolicy(ctx context.Context, client *iam.Client, arn string) (json.RawMessage, error) {
	policy, err := client.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn})
	if err != nil {
		return nil, err
	}
	if policy.Policy == nil {
		return nil, fmt.Errorf("policy %s: the answer holds none", arn)
	}
	version, err := client.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: policy.Policy.DefaultVersionId})
	if err != nil {
		return nil, err
	}
	if version.PolicyVersion == nil {
		return nil, fmt.Errorf("policy %s: the answer holds no version", arn)
	}
	return decoded(version.PolicyVersion.Document)
}

// decoded is a document as IAM gives it: URL-encoded (RFC 3986).
func decoded(document *string) (json.RawMessage, error) {
	text, err := url.PathUnescape(aws.ToString(document))
	if err != nil || !json.Valid([]byte(text)) {
		return nil, errors.New("a document is not URL-encoded JSON")
	}
	return json.RawMessage(text), nil
}

func explainRole(err error, doing string) error {
	var notFound *iamtypes.NoSuchEntityException
	if errors.As(err, &notFound) {
		return fmt.Errorf("%s: %w", doing, cmek.ErrNotFound)
	}
	return explain(err, doing)
}
