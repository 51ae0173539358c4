package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Grant is what a policy lets one principal do, under one set of conditions.
type Grant struct {
	Principal Principal
	// Actions are sorted names, without wildcards as far as the actions are known to this package.
	Actions []string
	// Conditions are phrases that follow "if", for what cannot be evaluated; none means at all times.
	Conditions []string
}

// Public reports whether the grant lets everybody in, at all times.
func (g Grant) Public() bool { return g.Principal.Kind == Everybody && len(g.Conditions) == 0 }

// String is the grant as a sentence.
func (g Grant) String() string { return g.say("may") }

// keyCatalog lists the actions on a KMS key (Service Authorization Reference, "Actions, resources, and condition keys for
// AWS Key Management Service"). An action that is newer than this list is kept as the policy writes it.
var keyCatalog = []string{"kms:CancelKeyDeletion", "kms:CreateAlias", "kms:CreateGrant", "kms:Decrypt", "kms:DeleteAlias",
	"kms:DeleteImportedKeyMaterial", "kms:DeriveSharedSecret", "kms:DescribeKey", "kms:DisableKey", "kms:DisableKeyRotation",
	"kms:EnableKey", "kms:EnableKeyRotation", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyPair",
	"kms:GenerateDataKeyPairWithoutPlaintext", "kms:GenerateDataKeyWithoutPlaintext", "kms:GenerateMac",
	"kms:GetKeyLastUsage", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:GetParametersForImport", "kms:GetPublicKey",
	"kms:ImportKeyMaterial", "kms:ListGrants", "kms:ListKeyPolicies", "kms:ListKeyRotations", "kms:ListResourceTags",
	"kms:PutKeyPolicy", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:ReplicateKey", "kms:RetireGrant", "kms:RevokeGrant",
	"kms:RotateKeyOnDemand", "kms:ScheduleKeyDeletion", "kms:Sign", "kms:SynchronizeMultiRegionKey", "kms:TagResource",
	"kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription", "kms:UpdatePrimaryRegion", "kms:Verify",
	"kms:VerifyMac"}

var trustCatalog = []string{assumeRole, "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"}

// KeyGrants lists who may do what with the key by its policy, sorted by principal. A grant to an account is for whomever
// that account's own policies let in. Whatever is doubtful counts as granted, under the condition that makes it so;
// deleted principals are left out.
func KeyGrants(keyPolicy Document, key cmek.KeyURI) []Grant {
	return grantsOf(keyPolicy, target{key}, keyCatalog)
}

// TrustGrants lists who may assume the role by its trust policy, as [KeyGrants] does.
func TrustGrants(trust Document) []Grant {
	return grantsOf(trust, target{}, trustCatalog)
}

// Outsiders keeps the grants to principals that are not known: everybody, other accounts, services, other providers. Known
// are account ids, with everybody in them, and principals as written in the policy.
func Outsiders(grants []Grant, known ...string) []Grant {
	return slices.DeleteFunc(slices.Clone(grants), func(g Grant) bool {
		account := g.Principal.Account()
		return account != "" && slices.Contains(known, account) || g.Principal.ID != "" && slices.Contains(known, g.Principal.ID)
	})
}

// Gained lists what is granted after that was not before: new principals, new actions, and actions whose conditions went
// away or changed. A condition added to what was unconditional is no gain.
func Gained(before, after []Grant) []Grant {
	var gained []Grant
	for _, g := range after {
		more := g.only(func(action string) bool {
			return !slices.ContainsFunc(before, func(b Grant) bool { return g.isWithin(b, action) })
		})
		if len(more.Actions) > 0 {
			gained = append(gained, more)
		}
	}
	return gained
}

// only is the grant with the actions that are kept.
func (g Grant) only(keep func(action string) bool) Grant {
	g.Actions = slices.DeleteFunc(slices.Clone(g.Actions), func(action string) bool { return !keep(action) })
	return g
}

// isWithin reports whether another grant allows the action whenever g does. What everybody may do, each one may.
func (g Grant) isWithin(other Grant, action string) bool {
	return (other.Principal == g.Principal || other.Principal.Kind == Everybody) &&
		(len(other.Conditions) == 0 || slices.Equal(other.Conditions, g.Conditions)) &&
		slices.Contains(other.Actions, action)
}

// Managers lists who may replace the key policy and so repair it. KMS takes that call from the key's own account only. If
// nobody may, the key can be managed no more, except by AWS Support.
func Managers(keyPolicy Document, key cmek.KeyURI) []Principal {
	var managers []Principal
	for _, g := range KeyGrants(keyPolicy, key) {
		own := g.Principal.Account() == key.Account() || g.Principal.Kind == Everybody
		if own && slices.Contains(g.Actions, "kms:PutKeyPolicy") && !slices.Contains(managers, g.Principal) {
			managers = append(managers, g.Principal)
		}
	}
	return managers
}

// grantsOf decides for one action of each class of actions that the same statements are about.
func grantsOf(d Document, on target, catalog []string) []Grant {
	var grants []Grant
	for _, class := range classes(d, on, actionsIn(d, catalog)) {
		for _, s := range class.statements {
			if s.Effect != Allow {
				continue
			}
			for _, p := range s.grantees() {
				if conditions, ok := class.conditions(s, p, on); ok {
					grants = addGrant(grants, Grant{p, class.actions, conditions})
				}
			}
		}
	}
	return tidy(grants)
}

// class is a set of actions that no statement tells apart, with the statements about them.
type class struct {
	actions    []string
	statements []Statement
}

func classes(d Document, on target, actions []string) []*class {
	var all []*class
	bySignature := map[string]*class{}
	for _, action := range actions {
		signature := make([]byte, len(d.Statements))
		var about []Statement
		for i, s := range d.Statements {
			covers := s.covers(action, on)
			if signature[i] = byte(covers); covers != no {
				about = append(about, s)
			}
		}
		c := bySignature[string(signature)]
		if c == nil {
			c = &class{statements: about}
			bySignature[string(signature)] = c
			all = append(all, c)
		}
		c.actions = append(c.actions, action)
	}
	return all
}

// conditions are all that an Allow to p is subject to; ok is false if nothing is left of it.
func (c class) conditions(allow Statement, p Principal, on target) (conditions []string, ok bool) {
	known := factsAbout(p)
	if conditions, ok = allow.conditionsFor(known); !ok {
		return nil, false
	}
	if allow.covers(c.actions[0], on) == maybe {
		conditions = append(conditions, allow.label()+" covers the call")
	}
	for _, s := range c.statements {
		if s.Effect != Deny {
			continue
		}
		switch min(s.deniesTo(p), s.covers(c.actions[0], on), s.meets(known).is) {
		case yes:
			return nil, false
		case maybe:
			conditions = append(conditions, s.label()+" does not deny it")
		}
	}
	return conditions, true
}

// actionsIn is the catalog and, as they are written, those KMS actions of the document's Allow statements that it lacks.
func actionsIn(d Document, catalog []string) []string {
	actions := slices.Clone(catalog)
	for _, s := range d.Statements {
		for _, pattern := range s.Actions {
			lower := strings.ToLower(pattern)
			known := slices.ContainsFunc(actions, func(a string) bool { return glob(lower, strings.ToLower(a)) })
			if s.Effect == Allow && strings.HasPrefix(lower, "kms:") && !known {
				actions = append(actions, pattern)
			}
		}
	}
	return actions
}

// grantees are the principals that the statement lets in. One for everybody that is confined to accounts or principals by
// a condition is for these.
func (s Statement) grantees() []Principal {
	principals := s.Principals
	if len(s.NotPrincipals) > 0 {
		principals = []Principal{{Kind: Everybody}}
	}
	var grantees []Principal
	for _, p := range principals {
		if p.Kind == Everybody {
			grantees = append(grantees, s.confined()...)
		} else {
			grantees = append(grantees, p)
		}
	}
	return slices.DeleteFunc(grantees, func(p Principal) bool { return p.Kind == DeletedPrincipal })
}

// confined is everybody, unless a condition with plain values says who.
func (s Statement) confined() []Principal {
	for _, c := range s.Conditions {
		who := slices.ContainsFunc([]string{principalARN, principalAccount, callerAccount}, func(key string) bool {
			return strings.EqualFold(key, c.Key)
		})
		exact := c.Operator == "StringEquals" || c.Operator == "ArnEquals" || c.Operator == "StringLike" || c.Operator == "ArnLike"
		plain := !slices.ContainsFunc(c.Values, func(v string) bool { return strings.ContainsAny(v, "*?$") })
		if who && exact && plain {
			var principals []Principal
			for _, v := range c.Values {
				principals = append(principals, parseAWSPrincipal(v))
			}
			return principals
		}
	}
	return []Principal{{Kind: Everybody}}
}

// conditionsFor are the conditions that remain for a caller; ok is false if it can never meet them.
func (s Statement) conditionsFor(known facts) (conditions []string, ok bool) {
	for _, c := range s.Conditions {
		switch c.holds(known) {
		case no:
			return nil, false
		case maybe:
			conditions = append(conditions, c.String())
		}
	}
	if len(s.NotPrincipals) > 0 {
		conditions = append(conditions, "not named in the NotPrincipal of "+s.label())
	}
	return conditions, true
}

// deniesTo tells whether the principals of a Deny include p. That some of everybody, or of an account, are denied leaves
// the others in.
func (s Statement) deniesTo(p Principal) truth {
	contains := func(of Principal) truth {
		return truthOf(of == p || of.Kind == Everybody || of.Kind == Account && of.ID == p.Account())
	}
	if len(s.NotPrincipals) == 0 {
		return anyOf(s.Principals, contains)
	}
	if anyOf(s.NotPrincipals, contains) == yes {
		return no
	}
	return maybe
}

// addGrant joins what one principal is granted under the same conditions.
func addGrant(grants []Grant, more Grant) []Grant {
	for i, g := range grants {
		if g.Principal == more.Principal && slices.Equal(g.Conditions, more.Conditions) {
			grants[i].Actions = append(slices.Clip(g.Actions), more.Actions...)
			return grants
		}
	}
	return append(grants, more)
}

// tidy drops conditional grants of what is granted at all times, and sorts.
func tidy(grants []Grant) []Grant {
	for i, g := range grants {
		if len(g.Conditions) == 0 {
			continue
		}
		grants[i] = g.only(func(action string) bool {
			return !slices.ContainsFunc(grants, func(other Grant) bool {
				return other.Principal == g.Principal && len(other.Conditions) == 0 && slices.Contains(other.Actions, action)
			})
		})
	}
	grants = slices.DeleteFunc(grants, func(g Grant) bool { return len(g.Actions) == 0 })
	for i, g := range grants {
		grants[i].Actions = slices.Compact(slices.Sorted(slices.Values(g.Actions)))
	}
	slices.SortFunc(grants, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.Principal.ID, b.Principal.ID), slices.Compare(a.Conditions, b.Conditions))
	})
	return grants
}

// rank sorts the widest principals first.
func (g Grant) rank() int {
	return slices.Index([]PrincipalKind{Everybody, Account, Identity, Service, Federated, CanonicalUser}, g.Principal.Kind)
}
