package simulator

import (
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/policy"
)

// kmsCaller is who calls the KMS.
type kmsCaller struct {
	account string
	// arn is the user's or the role's own, not that of a session.
	arn string
	// administrator: the caller's own IAM policies allow everything; else they allow nothing.
	administrator bool
}

// caller is who an access key belongs to. One that no seed knows is an administrator's: of the account, if it is an account id.
func (a *awsKMS) caller(accessKey string) kmsCaller {
	if known, ok := a.callers[accessKey]; ok {
		return known
	}
	account := a.account
	if accountPattern.MatchString(accessKey) {
		account = accessKey
	}
	return kmsCaller{account: account, arn: "arn:aws:iam::" + account + ":user/operator", administrator: true}
}

func (c kmsCaller) isRole() bool { return strings.Contains(c.arn, ":role/") }

// name is the user's or role's name, without its path.
func (c kmsCaller) name() string { return c.arn[strings.LastIndex(c.arn, "/")+1:] }

// principal is how AWS names the caller in messages and records.
func (c kmsCaller) principal() string {
	if c.isRole() {
		return "arn:aws:sts::" + c.account + ":assumed-role/" + c.name() + "/simulated"
	}
	return c.arn
}

// authorize asks the key policy and the grants, or IAM alone.
func (c *kmsCall) authorize() *kmsError {
	k := c.key
	switch {
	case k != nil && (k.denied || c.account != k.account && !c.row.crossAccount):
		return c.denied(k)
	case c.row.byIAM && !c.administrator:
		return refused("AccessDeniedException", "User: %s is not authorized to perform: kms:%s because no identity-based policy allows the kms:%s action",
			c.principal(), c.operation, c.operation)
	case !c.row.byIAM && !k.permits(c.kmsCaller, c.operation, c.input.EncryptionContext):
		return c.denied(k)
	}
	return nil
}

func (c *kmsCall) denied(k *awsKey) *kmsError {
	return refused("AccessDeniedException", "User: %s is not authorized to perform: kms:%s on resource: %s because no resource-based policy allows the kms:%s action",
		c.principal(), c.operation, k.arn, c.operation)
}

// permits decides by the key policy and the grants whether the caller may perform the operation on the key. It keeps its answers,
// since every read of the store keys asks again.
func (k *awsKey) permits(who kmsCaller, operation string, context map[string]string) bool {
	byGrant := slices.ContainsFunc(k.grants, func(g *grant) bool { return g.covers(who, operation, context) })
	if k.judged != k.policy {
		k.judged, k.decisions = k.policy, map[permission]bool{}
	}
	asked := permission{who, operation, byGrant}
	permitted, known := k.decisions[asked]
	if !known {
		permitted = keyPolicyPermits(k.policy, k.arn, asked)
		k.decisions[asked] = permitted
	}
	return permitted
}

// permission is one question to a key policy.
type permission struct {
	kmsCaller
	operation string
	// granted: a grant permits it, unless the policy denies it explicitly.
	granted bool
}

// admits reports whether a cluster that acts as the principal can use the key. The account root statement does not count: the
// role of a CMEK has no permissions of its own, unless its account is another one, where it needs them.
func (k *awsKey) admits(principal string) bool {
	parts := strings.SplitN(principal, ":", 6)
	if len(parts) != 6 {
		return false
	}
	cluster := kmsCaller{account: parts[4], arn: principal, administrator: parts[4] != k.account}
	return k.permits(cluster, "Encrypt", nil) && k.permits(cluster, "Decrypt", nil)
}

// everything is what an administrator's identity policy allows.
var everything = policy.Document{Statements: []policy.Statement{{Effect: policy.Allow, Actions: []string{"*"}, Resources: []string{"*"}}}}
