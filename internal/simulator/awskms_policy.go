package simulator

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

// mostPolicy is the size of a key policy in bytes: docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html.
const mostPolicy = 32 << 10

// cockroachPolicy is the key policy of cockroachlabs.com/docs/cockroachcloud/managing-cmek, next to the statement of the default
// policy (docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html). Without principals it is the default policy.
func cockroachPolicy(account string, principals []string) string {
	statements := []any{map[string]any{
		"Sid": "Enable IAM User Permissions", "Effect": "Allow", "Action": "kms:*", "Resource": "*",
		"Principal": map[string]any{"AWS": "arn:aws:iam::" + account + ":root"},
	}}
	id := "key-default-1"
	slices.Sort(principals)
	if principals = slices.Compact(principals); len(principals) > 0 {
		id = "crdb-cmek-kms"
		statements = append(statements, map[string]any{
			"Sid": "Allow use of the key for CMEK", "Effect": "Allow", "Resource": "*",
			"Principal": map[string]any{"AWS": principals},
			"Action":    []string{"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey", "kms:ReEncrypt*"},
		})
	}
	document, _ := json.Marshal(map[string]any{"Version": "2012-10-17", "Id": id, "Statement": statements})
	return string(document)
}

// keyPolicyPermits asks the policy of the key. What the evaluator cannot decide is not permitted.
func keyPolicyPermits(text, arn string, asked permission) bool {
	document, err := policy.Parse(text)
	if err != nil {
		return false
	}
	document = withoutUnknownConditions(document)
	action := "kms:" + asked.operation
	if asked.granted {
		document.Statements = append(document.Statements, policy.Statement{
			Effect: policy.Allow, Principals: []policy.Principal{{Kind: policy.Identity, ID: asked.arn}},
			Actions: []string{action}, Resources: []string{"*"},
		})
	}
	who := policy.Role{ARN: asked.arn, AllRead: true}
	if asked.administrator {
		who.Policies = []policy.Document{everything}
	}
	return policy.Call(document, cmek.KeyURI(arn), who, action).Decision == policy.Allowed
}

// withoutUnknownConditions drops conditions about what a call here does not have, such as an organization or a network. They are
// assumed to hold, of an Allow and of a Deny.
func withoutUnknownConditions(document policy.Document) policy.Document {
	known := []string{"aws:principalarn", "aws:principalaccount", "kms:calleraccount", "aws:securetransport"}
	document.Statements = slices.Clone(document.Statements)
	for i := range document.Statements {
		s := &document.Statements[i]
		s.Conditions = slices.DeleteFunc(slices.Clone(s.Conditions), func(c policy.Condition) bool {
			return !slices.Contains(known, strings.ToLower(c.Key))
		})
	}
	return document
}

func validPolicy(text string) bool {
	document, err := policy.Parse(text)
	return err == nil && len(document.Statements) > 0
}

// principalForms are the ways to write an AWS principal. Whether it exists is not checked, since there is no IAM here.
var principalForms = regexp.MustCompile(`^(\*|\d{12}|arn:aws[a-z-]*:iam::\d{12}:(root|(user|role)/[\w+=,.@/-]+)|arn:aws[a-z-]*:sts::\d{12}:(assumed-role|federated-user)/[\w+=,.@/-]+)$`)

// checkNewPolicy is the error for a policy that KMS would not take:
// docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html.
func (c *kmsCall) checkNewPolicy(text, arn string) *kmsError {
	if len(policy.Compact(text)) > mostPolicy {
		return refused("LimitExceededException", "The key policy is larger than %d bytes.", mostPolicy)
	}
	document, err := policy.Parse(text)
	if err != nil || len(document.Statements) == 0 {
		return refused("MalformedPolicyDocumentException", "Syntax errors in policy.")
	}
	for _, s := range document.Statements {
		principals := slices.Concat(s.Principals, s.NotPrincipals)
		if len(principals) == 0 {
			return refused("MalformedPolicyDocumentException", "Policy document must contain principals.")
		}
		for _, p := range principals {
			if p.Kind == policy.DeletedPrincipal || p.Kind == policy.Identity && !principalForms.MatchString(p.ID) {
				return refused("MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals.")
			}
		}
	}
	again := permission{kmsCaller: c.kmsCaller, operation: "PutKeyPolicy"}
	if !c.input.BypassPolicyLockoutSafetyCheck && !keyPolicyPermits(text, arn, again) {
		return refused("MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}

func (w *World) getKeyPolicy(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := c.checkPolicyName(); failed != nil {
		return nil, failed
	}
	return map[string]string{"Policy": k.policy, "PolicyName": "default"}, nil
}

// checkPolicyName refuses names other than that of the one policy that a key has.
func (c *kmsCall) checkPolicyName() *kmsError {
	if c.input.PolicyName != "" && c.input.PolicyName != "default" {
		return refused("NotFoundException", "No such policy exists")
	}
	return nil
}

// listKeyPolicies never has a second page, and the API model knows no error for a marker.
func (w *World) listKeyPolicies(*kmsCall, *awsKey) (any, *kmsError) {
	return struct {
		PolicyNames []string
		Truncated   bool
	}{PolicyNames: []string{"default"}}, nil
}

func (w *World) putKeyPolicy(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := c.checkPolicyName(); failed != nil {
		return nil, failed
	}
	if failed := c.checkNewPolicy(c.input.Policy, k.arn); failed != nil {
		return nil, failed
	}
	k.policy = c.input.Policy
	return nil, nil
}
