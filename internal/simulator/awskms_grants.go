package simulator

import (
	"maps"
	"regexp"
	"slices"
	"time"
)

// grant lets its grantee use a key: docs.aws.amazon.com/kms/latest/developerguide/grants.html.
type grant struct {
	id, name          string
	created           time.Time
	grantee, retiring string
	issuer            string
	operations        []string
	constraints       grantConstraints
}

type grantConstraints struct {
	EncryptionContextSubset map[string]string `json:",omitempty"`
	EncryptionContextEquals map[string]string `json:",omitempty"`
}

func (g *grant) token() string { return "simulated-grant-token-" + g.id }

// covers reports whether the grant lets the caller perform the operation. Constraints are about operations that take an
// encryption context.
func (g *grant) covers(who kmsCaller, operation string, context map[string]string) bool {
	if g.grantee != who.arn && g.grantee != who.principal() || !slices.Contains(g.operations, operation) {
		return false
	}
	if operation == "DescribeKey" || operation == "CreateGrant" {
		return true
	}
	if equals := g.constraints.EncryptionContextEquals; len(equals) > 0 && !maps.Equal(equals, context) {
		return false
	}
	for name, value := range g.constraints.EncryptionContextSubset {
		if given, ok := context[name]; !ok || given != value {
			return false
		}
	}
	return true
}

// checkGrantTokens refuses tokens of no grant on the key. Those of one change nothing: a grant here is effective at once.
func (c *kmsCall) checkGrantTokens(k *awsKey) *kmsError {
	for _, token := range c.input.GrantTokens {
		if !slices.ContainsFunc(k.grants, func(g *grant) bool { return g.token() == token }) {
			return refused("InvalidGrantTokenException", "The grant token is invalid.")
		}
	}
	return nil
}

// dryRun is the error for a call that would have succeeded.
func (c *kmsCall) dryRun() *kmsError {
	if c.input.DryRun {
		return refused("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
	}
	return nil
}

// grantees are the principals that a grant may be for: docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html.
var grantees = regexp.MustCompile(`^arn:aws[a-z-]*:(iam::\d{12}:(root|(user|role)/[\w+=,.@/-]+)|sts::\d{12}:(assumed-role|federated-user)/[\w+=,.@/-]+)$`)

// symmetricOperations are those that a grant on a symmetric encryption key may allow.
var symmetricOperations = []string{"Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair",
	"GenerateDataKeyPairWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "CreateGrant", "RetireGrant", "DescribeKey"}

type grantOutput struct {
	GrantID    string `json:"GrantId"`
	GrantToken string
}

// createGrant returns the grant that there is already if it has the same name and content.
func (w *World) createGrant(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := k.mustBeEnabled(); failed != nil {
		return nil, failed
	}
	for _, principal := range []string{c.input.GranteePrincipal, c.input.RetiringPrincipal} {
		if principal != "" && !grantees.MatchString(principal) {
			return nil, refused("InvalidArnException", "%s is not the ARN of a principal.", principal)
		}
	}
	if len(c.input.Operations) == 0 {
		return nil, invalid("operations must hold at least one operation")
	}
	for _, operation := range c.input.Operations {
		if !slices.Contains(symmetricOperations, operation) {
			return nil, invalid("Operation %s is not valid for a grant on a symmetric encryption key.", operation)
		}
	}
	if failed := c.checkGrantTokens(k); failed != nil {
		return nil, failed
	}
	if failed := c.dryRun(); failed != nil {
		return nil, failed
	}
	g := &grant{
		id: w.hexID(), name: c.input.Name, created: c.now, grantee: c.input.GranteePrincipal, retiring: c.input.RetiringPrincipal,
		issuer: "arn:" + k.partition() + ":iam::" + c.account + ":root", operations: c.input.Operations, constraints: c.input.Constraints,
	}
	for _, other := range k.grants {
		if g.name != "" && other.same(g) {
			return grantOutput{other.id, other.token()}, nil
		}
	}
	k.grants = append(k.grants, g)
	return grantOutput{g.id, g.token()}, nil
}

func (g *grant) same(other *grant) bool {
	return g.name == other.name && g.grantee == other.grantee && g.retiring == other.retiring && slices.Equal(g.operations, other.operations) &&
		maps.Equal(g.constraints.EncryptionContextEquals, other.constraints.EncryptionContextEquals) &&
		maps.Equal(g.constraints.EncryptionContextSubset, other.constraints.EncryptionContextSubset)
}

type grantsOutput struct {
	Grants     []grantEntry
	Truncated  bool
	NextMarker string `json:",omitempty"`
}

type grantEntry struct {
	KeyID             string `json:"KeyId"`
	GrantID           string `json:"GrantId"`
	Name              string `json:",omitempty"`
	CreationDate      epoch
	GranteePrincipal  string
	RetiringPrincipal string `json:",omitempty"`
	IssuingAccount    string
	Operations        []string
	Constraints       *grantConstraints `json:",omitempty"`
}

func (w *World) listGrants(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := c.checkGrantID(); failed != nil {
		return nil, failed
	}
	entries := []grantEntry{}
	for _, g := range k.grants {
		if c.input.GrantID != "" && g.id != c.input.GrantID || c.input.GranteePrincipal != "" && g.grantee != c.input.GranteePrincipal {
			continue
		}
		entry := grantEntry{
			KeyID: k.arn, GrantID: g.id, Name: g.name, CreationDate: epoch{g.created}, GranteePrincipal: g.grantee,
			RetiringPrincipal: g.retiring, IssuingAccount: g.issuer, Operations: g.operations,
		}
		if g.constraints.EncryptionContextEquals != nil || g.constraints.EncryptionContextSubset != nil {
			entry.Constraints = &g.constraints
		}
		entries = append(entries, entry)
	}
	page, next, failed := kmsPage(c, entries, 50, 100)
	return grantsOutput{page, next != "", next}, failed
}

// checkGrantID refuses what cannot be the id of a grant.
func (c *kmsCall) checkGrantID() *kmsError {
	if c.input.GrantID != "" && !materialPattern.MatchString(c.input.GrantID) {
		return refused("InvalidGrantIdException", "Invalid grant ID: %s", c.input.GrantID)
	}
	return nil
}

func (w *World) revokeGrant(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := c.checkGrantID(); failed != nil {
		return nil, failed
	}
	i := slices.IndexFunc(k.grants, func(g *grant) bool { return g.id == c.input.GrantID })
	if i < 0 {
		return nil, refused("NotFoundException", "Grant ID %s not found", c.input.GrantID)
	}
	if failed := c.dryRun(); failed != nil {
		return nil, failed
	}
	k.grants = slices.Delete(k.grants, i, i+1)
	return nil, nil
}
