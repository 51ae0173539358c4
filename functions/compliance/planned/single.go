package planned

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// ForKey is the plan to set one document as the policy of a key: a key policy of AWS KMS, or an allow policy of Cloud KMS. Findings name it
// by its file.
func ForKey(file string, key cmek.KeyURI, text string) (*Plan, error) {
	switch key.Type() {
	case cmek.AWSKMS:
		if _, err := policy.Parse(text); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return one(file, "aws_kms_key_policy", nil, map[string]any{"key_id": string(key), "policy": text}), nil
	case cmek.GCPCloudKMS:
		if _, err := google.ParsePolicy(text); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return one(file, "google_kms_crypto_key_iam_policy", nil, map[string]any{"crypto_key_id": key.Canonical(), "policy_data": text}), nil
	}
	return nil, errors.New("a policy is judged of keys of AWS KMS and Cloud KMS only")
}

// ForPrincipal is the plan to set one document of a role or a service account. Of a role it is the trust policy if its statements name
// principals, else a policy that is put on the role beside those that it has. Of a service account it is its allow policy.
func ForPrincipal(file string, principal cmek.Principal, text string) (*Plan, error) {
	if !principal.IsRole() {
		if principal.Account() == "" {
			return nil, fmt.Errorf("%q is neither the ARN of a role nor the e-mail of a service account that names its project", clip(string(principal)))
		}
		if _, err := google.ParsePolicy(text); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return one(file, "google_service_account_iam_policy", nil, map[string]any{"service_account_id": google.ResourceOf(principal), "policy_data": text}), nil
	}
	d, err := policy.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	named := func(s policy.Statement) bool { return len(s.Principals)+len(s.NotPrincipals) > 0 }
	role := map[string]any{"arn": string(principal), "name": principal.Name()}
	switch {
	case !slices.ContainsFunc(d.Statements, named):
		return one(file, "aws_iam_role_policy", nil, map[string]any{"role": string(principal), "name": "planned", "policy": text}), nil
	case slices.ContainsFunc(d.Statements, func(s policy.Statement) bool { return !named(s) }):
		return nil, fmt.Errorf("%s: some statements name principals, as in a trust policy, and others do not", file)
	}
	after := map[string]any{"assume_role_policy": text}
	for name, v := range role {
		after[name] = v
	}
	return one(file, "aws_iam_role", role, after), nil
}

// one is a plan of one change.
func one(file, typ string, before, after map[string]any) *Plan {
	c := change{Address: clip(file), Mode: "managed", Type: typ, Name: strings.ReplaceAll(file, ".", "_")}
	c.Change.Before, c.Change.After, c.Change.Actions = before, after, []string{"create"}
	if before != nil {
		c.Change.Actions = []string{"update"}
	}
	return &Plan{changes: []change{c}}
}
