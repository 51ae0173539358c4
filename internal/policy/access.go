package policy

import (
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/internal/cmek"
)

// KeyActions are the calls to AWS KMS that a cluster's role must be able to make: kms:Encrypt, kms:Decrypt,
// kms:GenerateDataKey*, kms:DescribeKey and kms:ReEncrypt*, the wildcards written out for a symmetric key (CockroachDB
// docs, "Manage customer-managed encryption keys": the key policy). Which of them a rotation makes is not documented.
var KeyActions = []string{"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext",
	"kms:DescribeKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"}

// Role is a cluster's IAM role with what is known of the policies attached to it. With the ARN alone, a key policy that
// names the role still decides: no Deny is suspected in policies that were not read. One that leaves the decision to IAM
// does not.
type Role struct {
	// ARN is the role's own (arn:aws:iam::…:role/…), not that of a session.
	ARN string
	// Policies are the role's identity policies that were read, inline and attached. AllRead: there are no others;
	// only then is the lack of an Allow an answer.
	Policies []Document
	AllRead  bool
	// Attached are the ARNs of the managed policies among them.
	Attached []string
	// Boundary is the role's permissions boundary, nil if it has none or nothing is known of one.
	Boundary *Document
	// BoundaryARN is the ARN of the managed policy that is the boundary.
	BoundaryARN string
	// BoundaryUnread: the role has a boundary that could not be read; nothing is sure to be allowed then.
	BoundaryUnread bool
}

// Access is what a role may do with a key.
type Access struct {
	// Role is the role's ARN.
	Role string
	// Verdicts has one verdict for each of [KeyActions].
	Verdicts map[string]Verdict
	// Deleted lists the deleted principals in the key policy; see [Document.Deleted].
	Deleted []string
}

// Decision is Allowed if every action is, Denied if any action is, else CannotTell. The zero Access is CannotTell.
func (a Access) Decision() Decision {
	switch {
	case len(a.With(Denied)) > 0:
		return Denied
	case len(a.With(Allowed)) == len(KeyActions):
		return Allowed
	}
	return CannotTell
}

// With lists the actions so decided, in the order of [KeyActions].
func (a Access) With(d Decision) (actions []string) {
	for _, action := range KeyActions {
		if v, ok := a.Verdicts[action]; ok && v.Decision == d {
			actions = append(actions, action)
		}
	}
	return actions
}

// Sentences list, for each kind of answer other than "allowed", the actions and the reason.
func (a Access) Sentences() []string {
	sentences := a.describe("%s may not call %s: %s", a.With(Denied))
	return append(sentences, a.describe("it is unclear whether %s may call %s: %s", a.With(CannotTell))...)
}

// KeyAccess decides which of [KeyActions] the role may call on the key, given by its ARN in the Region of the key policy.
//
// An explicit Deny in any document wins. A key policy statement that names the role allows by itself if key and role are in
// one account; one that names the account, or a key in another account, needs an identity policy that allows as well. A
// permissions boundary limits all of these, but for a session that the key policy names. (IAM User Guide, "Policy evaluation logic"; AWS KMS Developer Guide, "Key
// policies".) Conditions are evaluated on aws:PrincipalArn, aws:PrincipalAccount, kms:CallerAccount and
// aws:SecureTransport; any other makes its statement uncertain. Without a readable role ARN and key ARN every verdict is
// CannotTell.
func KeyAccess(keyPolicy Document, key cmek.KeyURI, role Role) Access {
	access := Access{Role: role.ARN, Verdicts: make(map[string]Verdict, len(KeyActions)), Deleted: keyPolicy.Deleted()}
	parsed, err := parseRoleARN(role.ARN)
	if key.Type() != cmek.AWSKMS || key.Account() == "" {
		err = fmt.Errorf("%q is not an AWS KMS key ARN", clip(string(key)))
	}
	keyPolicy, role = keyPolicy.at(target{key}), role.at(target{key})
	for _, action := range KeyActions {
		if err != nil {
			access.Verdicts[action] = Verdict{CannotTell, err.Error()}
			continue
		}
		use := keyUse{Role: role, role: parsed, keyPolicy: keyPolicy, on: target{key}, action: action,
			known: factsAbout(Principal{Identity, role.ARN}), deleted: access.Deleted}
		access.Verdicts[action] = use.decide().verdict()
	}
	return access
}

// at is the role with its policies as they are about the target.
func (r Role) at(on target) Role {
	r.Policies = slices.Clone(r.Policies)
	for i, d := range r.Policies {
		r.Policies[i] = d.at(on)
	}
	if r.Boundary != nil {
		boundary := r.Boundary.at(on)
		r.Boundary = &boundary
	}
	return r
}

// keyUse is one call of a role on a key.
type keyUse struct {
	Role
	role      roleARN
	keyPolicy Document
	on        target
	action    string
	known     facts
	deleted   []string
}

func (u keyUse) decide() answer {
	denied, granted := u.denied(), u.granted()
	if denied.is == no {
		return granted
	}
	return both(denied.not(), granted)
}

// denied finds an explicit Deny, wherever it is.
func (u keyUse) denied() answer {
	result := answer{no, ""}
	for _, s := range u.keyPolicy.Statements {
		if s.Effect == Deny {
			result = either(result, both(u.applies(s, "the key policy", "denies"), u.deniesRole(s)))
		}
	}
	for _, d := range u.Policies {
		result = either(result, u.finds(d, Deny, "an identity policy"))
	}
	if u.Boundary != nil {
		result = either(result, u.finds(*u.Boundary, Deny, "the permissions boundary"))
	}
	return result
}

// deniesRole decides whether the statement, a Deny of the key policy, is for the role. A NotPrincipal that spares the role
// has to name its account and its session as well, and the session's name is not known.
func (u keyUse) deniesRole(s Statement) answer {
	if len(s.NotPrincipals) == 0 {
		is := anyOf(s.Principals, u.role.within)
		if is == maybe {
			return answer{maybe, s.label() + " of the key policy denies it to a session or a pattern, which may or may not be the role's"}
		}
		return answer{is, s.label() + " of the key policy denies it"}
	}
	switch {
	case slices.Contains(s.NotPrincipals, Principal{Kind: Everybody}):
		return answer{no, ""}
	case anyOf(s.NotPrincipals, u.role.within) != no:
		return answer{maybe, s.label() + " of the key policy denies it to all but its NotPrincipal, which may or may not spare sessions of the role"}
	}
	return answer{yes, s.label() + " of the key policy denies it to all but its NotPrincipal"}
}

// granted finds an Allow in the key policy, together with whatever that one needs beside it.
func (u keyUse) granted() answer {
	result := answer{no, u.nothingAllows()}
	boundary := u.boundary()
	// A boundary surely limits a grant to the role's ARN; whether it limits one to everybody is not documented.
	loose := answer{max(boundary.is, maybe), boundary.why}
	identity := u.identity()
	direct := identity
	if u.role.account == u.on.key.Account() {
		direct = answer{yes, ""}
	}
	needs := [...][]answer{byName: {direct, boundary}, bySession: {direct}, byAccount: {identity, boundary}, toAll: {direct, loose}}
	for _, s := range u.keyPolicy.Statements {
		if s.Effect != Allow {
			continue
		}
		statement := u.applies(s, "the key policy", "allows")
		for _, who := range s.routes(u.role) {
			one := both(both(statement, who.answer), needs[who.route]...)
			nearMiss := one.is == no && result.is == no && who.is == yes && s.covers(u.action, u.on) != no
			if result = either(result, one); nearMiss {
				result.why = one.why
			}
		}
	}
	return result
}

// route is the way in which an Allow of a key policy reaches a role. What else is needed depends on it.
type route int

const (
	byName route = iota
	// bySession: a session that the key policy names is not limited by the boundary of its role (IAM User Guide, "Permissions
	// boundaries for IAM entities").
	bySession
	byAccount
	toAll
)

type routed struct {
	route
	answer
}

// routes are the ways in which the statement's principals may reach the role.
func (s Statement) routes(role roleARN) []routed {
	if len(s.NotPrincipals) > 0 {
		return []routed{{toAll, answer{maybe, s.label() + " of the key policy is an Allow with NotPrincipal, which AWS does not define"}}}
	}
	var routes []routed
	for _, p := range s.Principals {
		switch {
		case p.Kind == Everybody:
			routes = append(routes, routed{toAll, answer{yes, ""}})
		case p == Principal{Account, role.account}:
			routes = append(routes, routed{byAccount, answer{yes, ""}})
		default:
			way, why := byName, s.label()+" of the key policy names a session or a pattern, which may or may not be the role's"
			if role.hasSession(p) {
				way = bySession
			}
			routes = append(routes, routed{way, answer{role.is(p), why}})
		}
	}
	return routes
}

// nothingAllows is the reason when no statement comes near. A deleted principal is the likeliest cause.
func (u keyUse) nothingAllows() string {
	if ids := u.deleted; len(ids) > 0 {
		return fmt.Sprintf("no statement of the key policy allows it; the policy names the deleted principal %s, which a new role of the same name does not match", clip(ids[0]))
	}
	return "no statement of the key policy allows it"
}

// applies decides whether the statement is about this call, principals aside.
func (u keyUse) applies(s Statement, where, verb string) answer {
	covers := answer{s.covers(u.action, u.on), s.label() + " of " + where + " " + verb + " it"}
	if covers.is == maybe {
		covers.why = s.label() + " of " + where + " has a resource or action that depends on the call"
	}
	return both(covers, s.meets(u.known))
}

// finds decides whether a statement with the effect, in a document that has no principals, is about the call.
func (u keyUse) finds(d Document, effect Effect, where string) answer {
	result := answer{no, where + " does not name it"}
	for _, s := range d.Statements {
		// Reasons are written for what decides only: a role's policies may have thousands of statements.
		if s.Effect == effect && min(s.covers(u.action, u.on), s.holds(u.known)) > result.is {
			result = u.applies(s, where, verbs[effect])
		}
	}
	return result
}

// identity decides whether the role's own policies allow the call.
func (u keyUse) identity() answer {
	result := answer{no, "the key policy leaves it to IAM, and no identity policy of the role allows it"}
	if !u.AllRead {
		result = answer{maybe, "the key policy leaves it to IAM, and the identity policies of the role were not all read"}
	}
	for _, d := range u.Policies {
		result = either(result, u.finds(d, Allow, "an identity policy"))
	}
	return result
}

// boundary decides whether the permissions boundary leaves room for the call.
func (u keyUse) boundary() answer {
	switch {
	case u.Boundary != nil:
		return either(answer{no, "the permissions boundary of the role does not allow it"}, u.finds(*u.Boundary, Allow, "the permissions boundary"))
	case u.BoundaryUnread:
		return answer{maybe, "the permissions boundary of the role was not read"}
	}
	return answer{yes, ""}
}
