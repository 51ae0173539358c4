package policy

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Grant is what a policy allows one principal, under one set of conditions.
type Grant struct {
	Principal Principal
	// Actions are sorted names, without wildcards as far as the actions are known to this package.
	Actions []string
	// Conditions are phrases that follow "if", for what cannot be evaluated; none means at all times.
	Conditions []string
}

// Public reports whether the grant is to everybody, at all times.
func (g Grant) Public() bool { return g.Principal.Kind == Everybody && len(g.Conditions) == 0 }

// String is the grant as a sentence.
func (g Grant) String() string { return g.with("may") }

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
// that account's own policies grant access as well. Whatever is doubtful counts as granted, under the condition that makes it so;
// deleted principals are left out.
func KeyGrants(keyPolicy Document, key cmek.KeyURI) []Grant {
	return grantsOf(keyPolicy, target{key}, catalog{keyCatalog, true})
}

// TrustGrants lists who may assume the role by its trust policy, as [KeyGrants] does.
func TrustGrants(trust Document) []Grant {
	return grantsOf(trust, target{}, catalog{trustCatalog, true})
}

// Outsiders keeps the grants to principals that are not known: everybody, other accounts and organizations, services, other
// providers. Known are account ids, with everybody in them, ids of organizations, and principals as written in the policy.
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
	had := indexed(before)
	for _, g := range after {
		more := g.only(func(action string) bool {
			return !had.some(g.Principal, func(b Grant) bool { return g.isWithin(b, action) })
		})
		if len(more.Actions) > 0 {
			gained = append(gained, more)
		}
	}
	return gained
}

// index has grants by principal. A policy may have thousands of both.
type index map[Principal][]Grant

func indexed(grants []Grant) index {
	x := index{}
	for _, g := range grants {
		x[g.Principal] = append(x[g.Principal], g)
	}
	return x
}

// some reports whether one of the grants to the principal or to everybody is so.
func (x index) some(p Principal, is func(Grant) bool) bool {
	return slices.ContainsFunc(x[p], is) || slices.ContainsFunc(x[Principal{Kind: Everybody}], is)
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
	for _, g := range grantsOf(keyPolicy, target{key}, catalog{actions: []string{"kms:PutKeyPolicy"}}) {
		own := g.Principal.Account() == key.Account() || g.Principal.Kind == Everybody
		if own && !slices.Contains(managers, g.Principal) {
			managers = append(managers, g.Principal)
		}
	}
	return managers
}

// catalog lists the actions that grants are about. open: those that a document names beside them, too.
type catalog struct {
	actions []string
	open    bool
}

// A document may name thousands of actions that no catalog knows, each of which would be decided for each principal. Those beyond
// mostUnknown, and names longer than any of AWS, are decided as one.
const (
	mostUnknown   = 100
	longestAction = 64
)

// grantsOf decides for one action of each class of actions that the same statements are about. Whoever writes the policy decides how
// much work this is: what depends on a statement, a principal or a class alone is computed once for each.
func grantsOf(d Document, on target, of catalog) []Grant {
	d = d.at(on)
	all := collection{grants: map[Principal]map[string]*Grant{}}
	classes := classes(d, on, of)
	denial := make([]string, len(d.Statements))
	for i, s := range d.Statements {
		denial[i] = s.label() + " does not deny it"
	}
	for i, s := range d.Statements {
		if s.Effect != Allow {
			continue
		}
		covered := s.label() + " covers the call"
		for _, p := range s.grantees() {
			known := factsAbout(p)
			conditions, ok := s.conditionsFor(known)
			if !ok {
				continue
			}
			denied := d.denials(p, known)
			for _, class := range classes {
				if class.covers[i] == no {
					continue
				}
				all.start(conditions)
				if class.covers[i] == maybe {
					all.condition(covered)
				}
				if !class.denied(denied, func(i int) { all.condition(denial[i]) }) {
					all.add(p, class.actions)
				}
			}
		}
	}
	return tidy(all.list)
}

// denials are, for each statement, whether it is a Deny that meets the principal, actions aside.
func (d Document) denials(p Principal, known facts) []truth {
	denied := make([]truth, len(d.Statements))
	for i, s := range d.Statements {
		if s.Effect == Deny {
			if denied[i] = s.deniesTo(p); denied[i] != no {
				denied[i] = min(denied[i], s.holds(known))
			}
		}
	}
	return denied
}

// collection joins what one principal is granted under the same conditions.
type collection struct {
	grants map[Principal]map[string]*Grant
	list   []*Grant
	// pending are the conditions of the next grant, key their numbers.
	pending []string
	key     []byte
	numbers map[string]uint32
}

func (c *collection) start(conditions []string) {
	c.pending, c.key = c.pending[:0], c.key[:0]
	for _, text := range conditions {
		c.condition(text)
	}
}

func (c *collection) condition(text string) {
	if c.numbers == nil {
		c.numbers = map[string]uint32{}
	}
	number, ok := c.numbers[text]
	if !ok {
		number = uint32(len(c.numbers))
		c.numbers[text] = number
	}
	c.pending, c.key = append(c.pending, text), binary.BigEndian.AppendUint32(c.key, number)
}

func (c *collection) add(p Principal, actions []string) {
	if c.grants[p] == nil {
		c.grants[p] = map[string]*Grant{}
	}
	g := c.grants[p][string(c.key)]
	if g == nil {
		g = &Grant{Principal: p, Conditions: slices.Clone(c.pending)}
		c.grants[p][string(c.key)] = g
		c.list = append(c.list, g)
	}
	g.Actions = append(g.Actions, actions...)
}

// class is a set of actions that the same statements are about, with whether each statement is.
type class struct {
	actions []string
	covers  []truth
}

// denied reports whether one of the denials is about the class. Those that may be are passed to doubt.
func (c *class) denied(denials []truth, doubt func(statement int)) bool {
	for i, denied := range denials {
		switch min(denied, c.covers[i]) {
		case yes:
			return true
		case maybe:
			doubt(i)
		}
	}
	return false
}

func classes(d Document, on target, of catalog) []*class {
	var all []*class
	bySignature := map[string]*class{}
	add := func(action string, covers func(i int, s Statement) truth) {
		signature, truths := make([]byte, len(d.Statements)), make([]truth, len(d.Statements))
		for i, s := range d.Statements {
			truths[i] = min(covers(i, s), s.coversTarget(on))
			signature[i] = byte(truths[i])
		}
		c := bySignature[string(signature)]
		if c == nil {
			c = &class{covers: truths}
			bySignature[string(signature)] = c
			all = append(all, c)
		}
		c.actions = append(c.actions, action)
	}
	actions, others := of.actions, others{}
	if of.open {
		actions, others = actionsIn(d, of.actions)
	}
	for _, action := range actions {
		add(action, func(_ int, s Statement) truth { return s.coversAction(action) })
	}
	if len(others.names) > 0 {
		add(others.String(), others.covers)
	}
	return all
}

// others are actions that are too many to be decided one by one.
type others struct {
	names []string
	// statements are those that name them.
	statements map[int]bool
}

// String is different for other names, so that a change of them is not overlooked.
func (o others) String() string {
	sum := fnv.New32a()
	names := sorted(o.names)
	for _, name := range names {
		_, _ = io.WriteString(sum, name+"\n") // a hash takes everything
	}
	return fmt.Sprintf("kms:(%d other actions, %08x)", len(names), sum.Sum32())
}

// covers decides whether a statement is about the others: a Deny only if it is about all actions, so that none is overlooked.
func (o others) covers(i int, s Statement) truth {
	isAll := func(pattern string) bool { return pattern == "*" || strings.EqualFold(pattern, "kms:*") }
	switch {
	case len(s.NotActions) > 0:
		return truthOf(s.Effect == Allow && !slices.ContainsFunc(s.NotActions, isAll))
	case o.statements[i]: // an Allow that names some of them
		return yes
	}
	return truthOf(slices.ContainsFunc(s.Actions, isAll))
}

// actionsIn is the catalog and, as they are written, those KMS actions of the document's Allow statements that it lacks.
func actionsIn(d Document, catalog []string) (actions []string, rest others) {
	actions, rest.statements = slices.Clone(catalog), map[int]bool{}
	lower := make([]string, 0, len(catalog))
	for _, action := range catalog {
		lower = append(lower, strings.ToLower(action))
	}
	for i, s := range d.Statements {
		if s.Effect != Allow {
			continue
		}
		for _, pattern := range s.Actions {
			name := strings.ToLower(pattern)
			if !strings.HasPrefix(name, "kms:") || slices.ContainsFunc(lower, func(a string) bool { return glob(name, a) }) {
				continue
			}
			if len(actions) == len(catalog)+mostUnknown || len(name) > longestAction {
				rest.names, rest.statements[i] = append(rest.names, name), true
				continue
			}
			actions, lower = append(actions, pattern), append(lower, name)
		}
	}
	return actions, rest
}

// grantees are the principals that the statement is for. One for everybody that a condition confines to accounts or principals is
// for these.
func (s Statement) grantees() []Principal {
	principals := s.Principals
	if len(s.NotPrincipals) > 0 {
		principals = []Principal{{Kind: Everybody}}
	}
	var grantees []Principal
	seen := map[Principal]bool{}
	add := func(p Principal) {
		if !seen[p] && p.Kind != DeletedPrincipal {
			grantees = append(grantees, p)
		}
		seen[p] = true
	}
	for _, p := range principals {
		switch {
		case p.Kind != Everybody:
			add(p)
		case !seen[p]:
			seen[p] = true
			for _, confined := range s.confined() {
				if confined.Kind == Everybody {
					grantees = append(grantees, confined)
				} else {
					add(confined)
				}
			}
		}
	}
	return grantees
}

// confined is everybody, unless one of the conditions names others.
func (s Statement) confined() []Principal {
	for _, c := range s.Conditions {
		if principals := c.confines(); len(principals) > 0 {
			return principals
		}
	}
	return []Principal{{Kind: Everybody}}
}

// confines lists the principals outside of which nobody meets the condition; none if it may be met by anybody. Where the ARN of a
// principal is compared with a pattern whose account is literal, that is the account: the condition itself remains.
func (c Condition) confines() (principals []Principal) {
	for _, value := range c.Values {
		var p Principal
		switch key := strings.ToLower(c.Key); key {
		case strings.ToLower(principalARN):
			p = c.confinesARN(value)
		case strings.ToLower(principalAccount), strings.ToLower(callerAccount), strings.ToLower(sourceAccount):
			if isAccountID(value) {
				p = Principal{Account, value}
			}
		case strings.ToLower(principalOrgID):
			if strings.HasPrefix(value, "o-") && !strings.ContainsAny(value, "*?$") {
				p = Principal{Organization, value}
			}
		}
		if p == (Principal{}) || !slices.Contains(positive, c.Operator) {
			return nil
		}
		principals = append(principals, p)
	}
	return principals
}

// positive are the operators that a call without the condition key never meets, and that compare for equality.
var positive = []string{"StringEquals", "StringLike", "ArnEquals", "ArnLike"}

// confinesARN is the principal, or the account, of the ARNs that a pattern matches; zero if there may be several. Under StringLike
// a wildcard reaches across colons, so that one before the account could hide another account.
func (c Condition) confinesARN(pattern string) Principal {
	parts := strings.SplitN(pattern, ":", 6)
	switch {
	case !strings.ContainsAny(pattern, "*?$"):
		return parseAWSPrincipal(pattern)
	case len(parts) != 6 || !isAccountID(parts[4]):
		return Principal{}
	}
	if before := strings.Join(parts[:4], ":"); strings.Contains(before, "$") || c.Operator == "StringLike" && strings.ContainsAny(before, "*?") {
		return Principal{}
	}
	return Principal{Account, parts[4]}
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

// deniesTo decides whether the principals of a Deny include p. That some of everybody, or of an account, are denied leaves
// access to the others.
func (s Statement) deniesTo(p Principal) truth {
	account := p.Account()
	contains := func(of Principal) truth {
		return truthOf(of == p || of.Kind == Everybody || of.Kind == Account && of.ID == account)
	}
	if len(s.NotPrincipals) == 0 {
		return anyOf(s.Principals, contains)
	}
	if anyOf(s.NotPrincipals, contains) == yes {
		return no
	}
	return maybe
}

// tidy drops conditional grants of what is granted at all times, and sorts.
func tidy(list []*Grant) (grants []Grant) {
	always := map[Principal]map[string]bool{}
	for _, g := range list {
		g.Actions = sorted(g.Actions)
		if len(g.Conditions) == 0 {
			always[g.Principal] = map[string]bool{}
			for _, action := range g.Actions {
				always[g.Principal][action] = true
			}
		}
	}
	for _, g := range list {
		if len(g.Conditions) > 0 {
			*g = g.only(func(action string) bool { return !always[g.Principal][action] })
		}
		if len(g.Actions) > 0 {
			grants = append(grants, *g)
		}
	}
	slices.SortFunc(grants, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.Principal.ID, b.Principal.ID), slices.Compare(a.Conditions, b.Conditions))
	})
	return grants
}

// rank sorts the widest principals first.
func (g Grant) rank() int {
	return slices.Index([]PrincipalKind{Everybody, Organization, Account, Identity, Service, Federated, CanonicalUser}, g.Principal.Kind)
}
