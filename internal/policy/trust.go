package policy

import (
	"fmt"
	"slices"
	"strings"
)

const assumeRole = "sts:AssumeRole"

// Trust is who may assume a cluster's role. As CockroachDB Cloud asks for it, that is the cluster's account with the
// organization's id as external id, and nobody else.
type Trust struct {
	// AccountID is the cluster's AWS account, ExternalID the CockroachDB Cloud organization's id.
	AccountID, ExternalID string
	// Assume is whether the account may assume the role with the external id. It stands on the role's own side; what the
	// account allows its callers is up to that account.
	Assume Verdict
	// Gaps list how else the role can be assumed. Through one, another customer's cluster could be made to use this role (IAM
	// User Guide, "The confused deputy problem"), or somebody else who knows the external id.
	Gaps []Gap
	// Others are grants to principals outside the account.
	Others []Grant
	// Deleted lists the deleted principals in the policy; see [Document.Deleted].
	Deleted []string
}

// Gap is a way to assume the role that the external id does not guard.
type Gap struct {
	// Everybody: it is open to every account, and not to the cluster's alone.
	Everybody bool
	// How is "without an external id", "with any external id", or `with the external id "x"`.
	How string
	// Decision is Allowed, or CannotTell if the gap is not certain.
	Decision Decision
}

// OK reports whether the account, guarded by its external id, and nobody else may assume the role.
func (t Trust) OK() bool {
	return t.Assume.Decision == Allowed && len(t.Gaps) == 0 && len(t.Others) == 0
}

// Sentences list all that is not as it should be.
func (t Trust) Sentences() []string {
	var sentences []string
	switch t.Assume.Decision {
	case Denied:
		with := "whatever the external id"
		if t.ExternalID != "" {
			with = fmt.Sprintf("with the external id %q", t.ExternalID)
		}
		sentences = append(sentences, fmt.Sprintf("account %s cannot assume the role %s: %s", t.AccountID, with, t.Assume.Why))
	case CannotTell:
		sentences = append(sentences, fmt.Sprintf("it is unclear whether account %s may assume the role with the external id %q: %s", t.AccountID, t.ExternalID, t.Assume.Why))
	}
	for _, gap := range t.Gaps {
		sentences = append(sentences, fmt.Sprintf("%s assume the role %s", t.subject(gap), gap.How))
	}
	for _, g := range t.Others {
		if !g.guarded() { // it is among the gaps
			sentences = append(sentences, g.String())
		}
	}
	return sentences
}

func (t Trust) subject(gap Gap) string {
	if gap.Everybody {
		return "everybody may"
	}
	if gap.Decision == Allowed {
		return fmt.Sprintf("account %s may", t.AccountID)
	}
	return fmt.Sprintf("it is unclear whether account %s may", t.AccountID)
}

// RoleTrust judges a role's trust policy for a cluster: account is the cluster's account_id, external the organization's
// id. Either may be "" if it is not known; what depends on it is CannotTell then, see [ForeignTrust]. Conditions are evaluated on
// sts:ExternalId, aws:PrincipalAccount and aws:SecureTransport; any other makes its statement uncertain.
func RoleTrust(trust Document, account, external string) Trust {
	result := Trust{AccountID: account, ExternalID: external, Deleted: trust.Deleted()}
	for _, g := range TrustGrants(trust) {
		if g.Principal.Kind == Everybody || account != "" && g.Principal.Account() != account {
			result.Others = append(result.Others, g)
		}
	}
	open := trust.openGaps(result.Others)
	if account == "" {
		result.Assume, result.Gaps = ForeignTrust(trust, "", external), open
		return result
	}
	cluster := Principal{Account, account}
	known := factsAbout(cluster)
	if external != "" {
		known.with(externalID, external)
	}
	result.Assume = trust.allows(cluster, known).verdict()
	result.Gaps = append(trust.gaps(cluster, external), open...)
	return result
}

// ForeignTrust decides whether the trust policy allows an account other than the role's own to assume the role with the external
// id, for whoever does not know which account is the clusters'. Only one that allows every account is Allowed, and one that allows
// none is Denied. Either text may be "" if it is not known.
func ForeignTrust(trust Document, own, external string) Verdict {
	known := func(f facts) facts {
		if external != "" {
			f.with(externalID, external)
		}
		return f
	}
	// An account that no statement names. Where a condition compares accounts with a pattern, nobody knows which it matches.
	unnamed := Principal{Account, "an account that is not named"}
	about := factsAbout(unnamed)
	if trust.hasAccountPattern() {
		delete(about, strings.ToLower(principalAccount))
		delete(about, strings.ToLower(callerAccount))
	}
	result := trust.allows(unnamed, known(about))
	if result.is != no {
		return result.verdict()
	}
	for _, account := range trust.accounts() {
		named := Principal{Account, account}
		if got := trust.allows(named, known(factsAbout(named))); account != own && got.is != no {
			return Verdict{CannotTell, "the cluster's account is not known; the trust policy names account " + account}
		}
	}
	return Verdict{Denied, "no statement of the trust policy allows another account to assume the role"}
}

// accounts are those that the policy's Allow statements name.
func (d Document) accounts() []string {
	var accounts []string
	for _, s := range d.Statements {
		for _, p := range slices.Concat(s.Principals, s.confined()) {
			if account := p.Account(); s.Effect == Allow && account != "" {
				accounts = append(accounts, account)
			}
		}
	}
	return sorted(accounts)
}

// hasAccountPattern reports whether a condition compares the caller's account with a pattern.
func (d Document) hasAccountPattern() bool {
	return slices.ContainsFunc(d.Statements, func(s Statement) bool {
		return slices.ContainsFunc(s.Conditions, func(c Condition) bool {
			return strings.EqualFold(c.Key, principalAccount) && strings.ContainsAny(strings.Join(c.Values, ""), "*?")
		})
	})
}

// openGaps are the external ids with which everybody may assume the role: each customer of CockroachDB Cloud knows some, and an
// id is no secret.
func (d Document) openGaps(others []Grant) (gaps []Gap) {
	for _, g := range others {
		if !g.guarded() {
			continue
		}
		for _, s := range d.Statements {
			for _, c := range s.Conditions {
				if c.String() != g.Conditions[0] {
					continue
				}
				for _, id := range c.Values {
					if gap := (Gap{true, withExternalID(id), Allowed}); !slices.Contains(gaps, gap) {
						gaps = append(gaps, gap)
					}
				}
			}
		}
	}
	return gaps
}

// guarded reports a grant to everybody that only an external id guards.
func (g Grant) guarded() bool {
	return g.Principal.Kind == Everybody && len(g.Conditions) == 1 && slices.Contains(g.Actions, assumeRole) &&
		strings.HasPrefix(strings.ToLower(g.Conditions[0]), strings.ToLower(externalID+" StringEquals "))
}

func withExternalID(id string) string { return fmt.Sprintf("with the external id %q", clip(id)) }

// gaps tries the call without an external id and with wrong ones: one that no policy names, and those that this one names
// where they have access with more certainty than all others.
func (d Document) gaps(cluster Principal, external string) (gaps []Gap) {
	try := func(how string, known facts) truth {
		got := d.allows(cluster, known)
		if got.is != no {
			gaps = append(gaps, Gap{false, how, got.verdict().Decision})
		}
		return got.is
	}
	try("without an external id", factsAbout(cluster).without(externalID))
	others := try("with any external id", factsAbout(cluster).with(externalID, "\x00"))
	for _, id := range d.externalIDs() {
		known := factsAbout(cluster).with(externalID, id)
		if external != "" && id != external && d.allows(cluster, known).is > others {
			try(withExternalID(id), known)
		}
	}
	return gaps
}

// allows decides whether some caller in the account may assume the role whose trust policy d is.
func (d Document) allows(account Principal, known facts) answer {
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

// names decides whether the statement's principals include a caller of the account. One caller of it may or may not be the
// one that CockroachDB Cloud uses, and a NotPrincipal may or may not mean it. Everybody is whom the conditions confine it to.
func (s Statement) names(account Principal) answer {
	names := func(p Principal) truth {
		if p.Account() == account.ID && p.Kind == Identity {
			return maybe
		}
		return truthOf(p == account || p.Kind == Everybody || p.Kind == Organization)
	}
	is := anyOf(s.Principals, func(p Principal) truth {
		if p.Kind == Everybody {
			return anyOf(s.confined(), names)
		}
		return names(p)
	})
	switch {
	case len(s.NotPrincipals) > 0:
		return answer{maybe, s.label() + " of the trust policy has a NotPrincipal"}
	case is == maybe:
		return answer{maybe, s.label() + " of the trust policy names single principals of the account, which may or may not be the cluster's"}
	}
	return answer{is, s.label() + " of the trust policy " + verbs[s.Effect] + " it"}
}

// externalIDs are the values that the policy's conditions compare external ids with.
func (d Document) externalIDs() []string {
	var ids []string
	for _, s := range d.Statements {
		for _, c := range s.Conditions {
			if strings.EqualFold(c.Key, externalID) {
				ids = append(ids, c.Values...)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
