package alerting

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// principalDeleted: whatever the documents say, nobody can assume a principal that does not exist.
func (j *judgement) principalDeleted(uses []Use) {
	j.CutsOff = true
	for _, use := range j.about(uses) {
		j.Role = use.Spec.AuthPrincipal
		j.Previous, j.Permissions = j.docs.Noted[string(j.Role)].Text, j.docs.Noted[ledger.RolePolicies(j.Role)].Text
		if j.Previous != "" {
			return
		}
	}
}

// permissions judges a policy or a boundary that was put on a principal or taken from it: an explicit Deny, or a boundary that does
// not allow the key's actions, cuts the clusters off.
func (j *judgement) permissions(kind risk.Kind, uses []Use) {
	if j.Dormant = risk.Dormant(j.event); j.Dormant {
		return
	}
	added, carried, known := j.carried()
	if !known {
		return
	}
	mine := uses
	if kind != risk.Managed {
		mine = j.about(uses)
	}
	// The event's own document counts beside what is read: IAM may not show it yet. Reading may only make it worse.
	j.Stale = true
	if len(mine) == 0 {
		j.anyKey(kind, added, carried)
		return
	}
	var principals []cmek.Principal
	for _, use := range mine {
		principals = append(principals, use.Spec.AuthPrincipal)
	}
	judged, arn := map[cmek.Principal]readRole{}, j.event.Parameters["policy_arn"]
	for _, p := range most(j, unique(principals), mostDocuments, "principals") {
		var role readRole
		role.Role, role.unread = j.docs.role(p)
		if kind == risk.Managed && arn != "" && role.unread == "" && !slices.Contains(role.Attached, arn) && role.BoundaryARN != arn {
			continue
		}
		role.before = j.roleBefore(p)
		if carried {
			role.Role = adding(role.Role, kind, arn, added)
		}
		judged[p] = role
	}
	j.Unattached = len(judged) == 0 && len(unique(principals)) <= mostDocuments
	var specs []cmek.KeySpec
	for _, use := range mine {
		if _, ok := judged[use.Spec.AuthPrincipal]; ok {
			specs = append(specs, use.Spec)
		}
	}
	for _, spec := range most(j, unique(specs), mostPairs, "keys of principals") {
		role, keyUnread := judged[spec.AuthPrincipal], ""
		keyPolicy, ok := j.docs.keyPolicy(spec.URI).parse()
		if !ok {
			keyPolicy, keyUnread = allowing(spec.AuthPrincipal), fmt.Sprintf("the policy of key %s could not be read", spec.URI)
		}
		access := policy.KeyAccess(keyPolicy, spec.URI, role.Role)
		j.decide(access, role.unread, keyUnread)
		if role.before == nil {
			j.Words = append(append(j.Words, access.Sentences()...), "the previous policies of the role are not known")
		} else {
			j.Words = append(j.Words, policy.DiffAccess(policy.KeyAccess(keyPolicy, spec.URI, *role.before), access)...)
		}
	}
}

// readRole is a principal with its policies as they are now and, if they were noted, as they were. unread is what was not read.
type readRole struct {
	policy.Role
	unread string
	before *policy.Role
}

// carried is the document that the event itself carries, or names if AWS defines it; ok is false if it carries one that
// cannot be understood.
func (j *judgement) carried() (d policy.Document, carried, ok bool) {
	if j.event.Policy == "" {
		d, carried = policy.Managed(j.event.Parameters["policy_arn"])
		return d, carried && risk.Adds(j.event), true
	}
	d, err := policy.Parse(j.event.Policy)
	if err != nil {
		j.unclear("the new document cannot be understood: %v", err)
		return d, false, false
	}
	return d, true, true
}

// adding is the role with a further document where it counts: among its policies, as its boundary, or, if it is a managed policy that is
// both, as both.
func adding(role policy.Role, kind risk.Kind, arn string, added policy.Document) policy.Role {
	isBoundary := kind == risk.Boundary || kind == risk.Managed && arn != "" && arn == role.BoundaryARN
	if isBoundary {
		role.Boundary = &added
	}
	if !isBoundary || slices.Contains(role.Attached, arn) && kind == risk.Managed {
		role.Policies = append(slices.Clone(role.Policies), added)
	}
	return role
}

// allowing stands for a key policy that was not read: it allows whatever no other document denies.
func allowing(principal cmek.Principal) policy.Document {
	return policy.Document{Statements: []policy.Statement{{
		Effect: policy.Allow, Actions: []string{"kms:*"}, Resources: []string{"*"},
		Principals: []policy.Principal{{Kind: policy.Identity, ID: string(principal)}, {Kind: policy.Everybody}},
	}}}
}

// anyKey judges a principal's document where no cluster is known to act as the principal: an explicit Deny on every key of its
// account is certain. What the document allows says nothing, because the key policy may allow it, too.
func (j *judgement) anyKey(kind risk.Kind, added policy.Document, carried bool) {
	key, err := cmek.AWSKeyARN("", "us-east-1", j.event.Account, "00000000-0000-0000-0000-000000000000")
	if !carried || err != nil {
		j.unclear("no cluster is known to act as the principal, and its policies are not known")
		return
	}
	arn := j.event.Identity
	if !arn.IsRole() {
		arn = cmek.Principal("arn:aws:iam::" + j.event.Account + ":role/" + cmp.Or(arn.Name(), "unknown"))
	}
	access := policy.KeyAccess(allowing(arn), key, adding(policy.Role{ARN: string(arn)}, kind, "", added))
	if access.Decision() == policy.Denied {
		if j.event.Identity == "" {
			access.Role = "whoever has the policy"
		}
		j.CutsOff = true
		j.Words = append(j.Words, access.Sentences()...)
		return
	}
	j.unclear("no cluster is known to act as the principal, and its other policies are not known")
}

// roleBefore is the principal with the policies that the sweep noted before the event; nil if it noted none.
func (j *judgement) roleBefore(p cmek.Principal) *policy.Role {
	noted := j.docs.Noted[ledger.RolePolicies(p)]
	text := noted.Text
	if text == j.docs.permissions(p).Text && noted.Since.After(j.event.Time) {
		text = noted.Earlier // a sweep has noted the change already
	}
	before, err := policy.ParseRole(string(p), text)
	if err != nil {
		return nil
	}
	j.Previous = text
	return &before
}
