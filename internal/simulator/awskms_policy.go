package simulator

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
)

// cockroachPolicy is the key policy of cockroachlabs.com/docs/cockroachcloud/managing-cmek, next to the statement that
// every key made in the console has.
func cockroachPolicy(account string, principals []string) string {
	statements := []any{map[string]any{
		"Sid": "Enable IAM User Permissions", "Effect": "Allow", "Action": "kms:*", "Resource": "*",
		"Principal": map[string]any{"AWS": "arn:aws:iam::" + account + ":root"},
	}}
	slices.Sort(principals)
	if principals = slices.Compact(principals); len(principals) > 0 {
		statements = append(statements, map[string]any{
			"Sid": "Allow use of the key for CMEK", "Effect": "Allow", "Resource": "*",
			"Principal": map[string]any{"AWS": principals},
			"Action":    []string{"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey", "kms:ReEncrypt*"},
		})
	}
	document, _ := json.Marshal(map[string]any{"Version": "2012-10-17", "Id": "crdb-cmek-kms", "Statement": statements})
	return string(document)
}

// policyStatement is the part of a statement that decides here. Conditions are not looked at: a statement with any is taken
// to apply.
type policyStatement struct {
	Effect    string
	Principal policyPrincipals
	Action    oneOrMany
}

// admits reports whether the key's policy admits the principal. It keeps the answers: each look at the store keys asks again.
func (k *awsKey) admits(principal string) bool {
	if k.judged != k.policy {
		k.judged, k.admitted = k.policy, map[string]bool{}
	}
	admitted, known := k.admitted[principal]
	if !known {
		admitted = policyAdmits(k.policy, principal)
		k.admitted[principal] = admitted
	}
	return admitted
}

// policyAdmits reports whether the policy itself lets the principal encrypt and decrypt. The account root statement does
// not count: the role of a CMEK has no permissions of its own.
func policyAdmits(policy, principal string) bool {
	statements, ok := parsePolicy(policy)
	if !ok {
		return false
	}
	for _, action := range []string{"kms:Encrypt", "kms:Decrypt"} {
		allowed := false
		for _, s := range statements {
			if !s.Principal.names(principal) || !s.Action.matches(action) {
				continue
			}
			if s.Effect == "Deny" {
				return false
			}
			allowed = true
		}
		if !allowed {
			return false
		}
	}
	return true
}

func validPolicy(policy string) bool {
	statements, ok := parsePolicy(policy)
	return ok && len(statements) > 0
}

func parsePolicy(policy string) ([]policyStatement, bool) {
	var many struct{ Statement []policyStatement }
	if json.Unmarshal([]byte(policy), &many) == nil {
		return many.Statement, true
	}
	var one struct{ Statement policyStatement }
	if json.Unmarshal([]byte(policy), &one) == nil {
		return []policyStatement{one.Statement}, true
	}
	return nil, false
}

// oneOrMany is a string or a list of strings, as policies write both.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(o))
}

// matches reports whether any element is the action or a pattern for it; action names ignore case.
func (o oneOrMany) matches(action string) bool {
	for _, pattern := range o {
		if ok, _ := path.Match(strings.ToLower(pattern), strings.ToLower(action)); ok {
			return true
		}
	}
	return false
}

// policyPrincipals are the AWS principals of a statement; "*" stands for everybody.
type policyPrincipals struct{ AWS oneOrMany }

func (p *policyPrincipals) UnmarshalJSON(data []byte) error {
	if string(data) == `"*"` {
		p.AWS = oneOrMany{"*"}
		return nil
	}
	type plain policyPrincipals
	return json.Unmarshal(data, (*plain)(p))
}

func (p policyPrincipals) names(principal string) bool {
	return slices.Contains(p.AWS, principal) || slices.Contains(p.AWS, "*")
}
