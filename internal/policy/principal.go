package policy

import (
	"fmt"
	"strings"
)

// PrincipalKind is what a Principal element names.
type PrincipalKind string

// The kinds of principals.
const (
	// Everybody is "*": every caller in every AWS account.
	Everybody PrincipalKind = "everybody"
	// Organization is every caller in the accounts of an organization of AWS Organizations.
	Organization PrincipalKind = "organization"
	// Account is a whole AWS account. An Allow hands the decision to that account's own IAM policies; a Deny is for all
	// its principals.
	Account PrincipalKind = "account"
	// Identity is one role, user or session.
	Identity PrincipalKind = "identity"
	// DeletedPrincipal is the unique id of a role or user that no longer exists. It matches nobody.
	DeletedPrincipal PrincipalKind = "deleted principal"
	// Service, Federated and CanonicalUser are never a cluster's role.
	Service       PrincipalKind = "service"
	Federated     PrincipalKind = "federated provider"
	CanonicalUser PrincipalKind = "canonical user"
)

// Principal is who a statement is for. Different spellings of one principal are equal: an account's id and its root ARN,
// "*" and {"AWS": "*"}.
type Principal struct {
	Kind PrincipalKind
	// ID is the id (o-…) of an Organization, the 12-digit account id of an Account, the ARN of an Identity, the unique id of a DeletedPrincipal, the text as
	// written of the others, and "" for Everybody.
	ID string
}

// String names the principal in a sentence.
func (p Principal) String() string {
	switch p.Kind {
	case Everybody:
		return "everybody"
	case Identity:
		return clip(p.ID)
	}
	return string(p.Kind) + " " + clip(p.ID)
}

// Account is the AWS account that the principal belongs to; "" if it belongs to none, or to none that is known.
func (p Principal) Account() string {
	switch p.Kind {
	case Account:
		return p.ID
	case Identity:
		if parts := strings.SplitN(p.ID, ":", 6); len(parts) == 6 && isAccountID(parts[4]) {
			return parts[4]
		}
	}
	return ""
}

// parsePrincipal reads one value of a Principal element (IAM User Guide, "AWS JSON policy elements: Principal").
func parsePrincipal(kind, id string) (Principal, error) {
	switch kind {
	case "AWS":
		return parseAWSPrincipal(id), nil
	case "Service":
		return Principal{Service, id}, nil
	case "Federated":
		return Principal{Federated, id}, nil
	case "CanonicalUser":
		return Principal{CanonicalUser, id}, nil
	}
	return Principal{}, fmt.Errorf("unknown principal type %q", clip(kind))
}

func parseAWSPrincipal(id string) Principal {
	switch parts := strings.SplitN(id, ":", 6); {
	case id == "*":
		return Principal{Kind: Everybody}
	case isAccountID(id):
		return Principal{Account, id}
	case len(parts) == 6 && parts[2] == "iam" && parts[5] == "root" && isAccountID(parts[4]):
		return Principal{Account, parts[4]}
	case isUniqueID(id):
		return Principal{DeletedPrincipal, id}
	}
	return Principal{Identity, id}
}

func isAccountID(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

// isUniqueID knows an IAM unique id by its prefix: AROA is a role's, AIDA a user's (IAM User Guide, "IAM identifiers").
func isUniqueID(s string) bool {
	return (strings.HasPrefix(s, "AROA") || strings.HasPrefix(s, "AIDA")) && !strings.Contains(s, ":")
}

// roleARN is an IAM role's ARN taken apart. The name is without the path.
type roleARN struct{ text, account, name string }

func parseRoleARN(s string) (roleARN, error) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "iam" || !isAccountID(parts[4]) || !strings.HasPrefix(parts[5], "role/") {
		return roleARN{}, fmt.Errorf("%q is not a role ARN (arn:aws:iam::ACCOUNT:role/NAME)", clip(s))
	}
	return roleARN{s, parts[4], s[strings.LastIndex(s, "/")+1:]}, nil
}

// is decides whether p names the very role. A session of the role is only perhaps the cluster's: its session name is chosen
// by CockroachDB Cloud and not documented. AWS refuses wildcards inside a principal's ARN, so what such a text means is not
// known either.
func (r roleARN) is(p Principal) truth {
	switch {
	case p.Kind != Identity:
		return no
	case p.ID == r.text:
		return yes
	case strings.ContainsAny(p.ID, "*?$"):
		return maybe
	case r.hasSession(p):
		return maybe
	}
	return no
}

// hasSession reports whether p is a session of the role.
func (r roleARN) hasSession(p Principal) bool {
	parts := strings.SplitN(p.ID, ":", 6)
	return p.Kind == Identity && len(parts) == 6 && parts[2] == "sts" && parts[4] == r.account && strings.HasPrefix(parts[5], "assumed-role/"+r.name+"/")
}

// within decides whether p is the role or contains it.
func (r roleARN) within(p Principal) truth {
	return max(r.is(p), truthOf(p.Kind == Everybody), truthOf(p.Kind == Account && p.ID == r.account))
}
