package policy

import (
	"fmt"
	"slices"
	"strings"
)

const assumeRole = "sts:AssumeRole"

// Trust says who may assume a cluster's role. As CockroachDB Cloud asks for it, that is the cluster's account with the
// organization's id as external id, and nobody else.
type Trust struct {
	// AccountID is the cluster's AWS account, ExternalID the CockroachDB Cloud organization's id.
	AccountID, ExternalID string
	// Assume is whether the account may assume the role with the external id. It stands on the role's own side; what the
	// account lets its callers do is up to that account.
	Assume Verdict
	// Gaps list how else the account gets in. Through one, another customer's cluster could be made to use this role (IAM
	// User Guide, "The confused deputy problem").
	Gaps []Gap
	// Others are grants to principals outside the account.
	Others []Grant
	// Deleted lists the deleted principals in the policy; see [Document.Deleted].
	Deleted []string
}

// Gap is a way to assume the role that the external id does not guard.
type Gap struct {
	// How is "without an external id", "with any external id", or `with the external id "x"`.
	How string
	// Decision is Allowed, or CannotTell if the gap is not certain.
	Decision Decision
}

// OK reports whether the account, guarded by its external id, and nobody else may assume the role.
func (t Trust) OK() bool {
	return t.Assume.Decision == Allowed && len(t.Gaps) == 0 && len(t.Others) == 0
}

// Sentences say all that is not as it should be.
func (t Trust) Sentences() []string {
	var sentences []string
	switch t.Assume.Decision {
	case Denied:
		sentences = append(sentences, fmt.Sprintf("account %s cannot assume the role with the external id %q: %s", t.AccountID, t.ExternalID, t.Assume.Why))
	case CannotTell:
		sentences = append(sentences, fmt.Sprintf("cannot tell whether account %s may assume the role with the external id %q: %s", t.AccountID, t.ExternalID, t.Assume.Why))
	}
	for _, gap := range t.Gaps {
		sentences = append(sentences, fmt.Sprintf("%s assume the role %s", t.subject(gap), gap.How))
	}
	for _, g := range t.Others {
		sentences = append(sentences, g.String())
	}
	return sentences
}

func (t Trust) subject(gap Gap) string {
	if gap.Decision == Allowed {
		return fmt.Sprintf("account %s may", t.AccountID)
	}
	return fmt.Sprintf("cannot tell whether account %s may", t.AccountID)
}

// RoleTrust judges a role's trust policy for a cluster: account is the cluster's account_id, external the organization's
// id. Either may be "" if it is not known; what depends on it is CannotTell then. Conditions are evaluated on
// sts:ExternalId, aws:PrincipalAccount and aws:SecureTransport; any other makes its statement uncertain.
func RoleTrust(trust Document, account, external string) Trust {
	result := Trust{AccountID: account, ExternalID: external, Deleted: trust.Deleted()}
	for _, g := range TrustGrants(trust) {
		if g.Principal.Kind == Everybody || account != "" && g.Principal.Account() != account {
			result.Others = append(result.Others, g)
		}
	}
	if account == "" {
		result.Assume.Why = "the cluster's account is not known"
		return result
	}
	cluster := Principal{Account, account}
	known := factsAbout(cluster)
	if external != "" {
		known.with(externalID, external)
	}
	result.Assume = trust.lets(cluster, known).verdict()
	result.Gaps = trust.gaps(cluster, external)
	return result
}

// gaps tries the call without an external id and with wrong ones: one that no policy names, and those that this one names
// where they are let in with more certainty than all others.
func (d Document) gaps(cluster Principal, external string) (gaps []Gap) {
	try := func(how string, known facts) truth {
		got := d.lets(cluster, known)
		if got.is != no {
			gaps = append(gaps, Gap{how, got.verdict().Decision})
		}
		return got.is
	}
	try("without an external id", factsAbout(cluster).without(externalID))
	others := try("with any external id", factsAbout(cluster).with(externalID, "\x00"))
	for _, id := range d.externalIDs() {
		known := factsAbout(cluster).with(externalID, id)
		if external != "" && id != external && d.lets(cluster, known).is > others {
			try(fmt.Sprintf("with the external id %q", clip(id)), known)
		}
	}
	return gaps
}

// lets decides whether some caller in the account may assume the role whose trust policy d is.
func (d Document) lets(account Principal, known facts) answer {
	denied := answer{no, ""}
	granted := answer{no, "no statement of the trust policy names the account"}
	for _, s := range d.Statements {
		who := s.names(account)
		about := answer{s.covers(assumeRole, target{}), s.label() + " is not about " + assumeRole}
		one := both(who, about, s.meets(known))
		if s.Effect == Deny {
			denied = either(denied, one)
			continue
		}
		nearMiss := who.is != no && one.is == no && granted.is == no
		if granted = either(granted, one); nearMiss {
			granted.why = one.why
		}
	}
	if denied.is == no {
		return granted
	}
	return both(denied.not(), granted)
}

// names tells whether the statement's principals include a caller of the account. One caller of it may or may not be the
// one that CockroachDB Cloud uses, and a NotPrincipal may or may not mean it.
func (s Statement) names(account Principal) answer {
	is := anyOf(s.Principals, func(p Principal) truth {
		if p.Account() == account.ID && p.Kind == Identity {
			return maybe
		}
		return truthOf(p == account || p.Kind == Everybody)
	})
	switch {
	case len(s.NotPrincipals) > 0:
		return answer{maybe, s.label() + " of the trust policy has a NotPrincipal"}
	case is == maybe:
		return answer{maybe, s.label() + " of the trust policy names single principals of the account, which may or may not be the cluster's"}
	}
	verb := map[Effect]string{Allow: "allows", Deny: "denies"}[s.Effect]
	return answer{is, s.label() + " of the trust policy " + verb + " it"}
}

// externalIDs are the values that the policy's conditions compare external ids with.
func (d Document) externalIDs() []string {
	var ids []string
	for _, s := range d.Statements {
		for _, c := range s.Conditions {
			if strings.EqualFold(c.Key, externalID) && !strings.HasPrefix(c.Operator, "Null") {
				ids = append(ids, c.Values...)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
