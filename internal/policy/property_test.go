package policy_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

// seeds is how many random documents a property is tried on: a twentieth of n where a run must be short, as in mutation testing.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return n / 20
	}
	return n
}

// generator makes random statements out of the parts that matter to a decision.
type generator struct{ *rand.Rand }

func (g generator) pick(from ...string) string { return from[g.IntN(len(from))] }

func (g generator) statement(effect string) string {
	principal := g.pick(`"Principal":`, `"Principal":`, `"Principal":`, `"NotPrincipal":`) +
		g.pick(`"*"`, aws(role), aws(root), aws(admin), aws(stranger), aws(cluster), aws("AROAEXAMPLEEXAMPLE123"), aws(role, root),
			aws("arn:aws:sts::111122223333:assumed-role/payments-cmek/s"), aws("arn:aws:iam::"+cluster+":role/x"), `{"Service":"s3.amazonaws.com"}`)
	action := g.pick(`"Action":`, `"Action":`, `"NotAction":`) +
		g.pick(`"*"`, `"kms:*"`, `"kms:Decrypt"`, published, `"s3:*"`, `"sts:AssumeRole"`, `["kms:ReEncrypt*","sts:*"]`)
	resource := g.pick(`"Resource":`, `"Resource":`, `"NotResource":`) + g.pick(`"*"`, `"*"`, `"`+key+`"`, `"arn:aws:kms:*:*:key/${x}"`, `"x"`)
	condition := g.pick(`"Condition":{}`, `"Condition":{}`, when("StringEquals", "sts:ExternalId", org), when("StringNotEquals", "sts:ExternalId", "x"),
		when("StringEquals", "kms:CallerAccount", account), when("StringNotEquals", "aws:PrincipalAccount", account),
		when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/*"), when("Bool", "aws:SecureTransport", "false"), when("StringEquals", "aws:SourceVpc", "vpc-1"),
		when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/*"), when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::"+cluster+":role/*"),
		when("StringEquals", "aws:PrincipalOrgID", "o-1"), when("StringEquals", "aws:SourceAccount", account))
	return `{"Effect":"` + effect + `",` + principal + `,` + action + `,` + resource + `,` + condition + `}`
}

func (g generator) statements() []string {
	var all []string
	for range g.IntN(5) {
		all = append(all, g.statement(g.pick("Allow", "Allow", "Deny")))
	}
	return all
}

// situation is all that bears on the decisions, each policy as a list of statements.
type situation struct{ keyPolicy, identity, boundary, trust []string }

// decisions lists every decision about the situation in a fixed order.
func (s situation) decisions(t *testing.T, who policy.Role) []policy.Decision {
	who.Policies = []policy.Document{doc(t, s.identity...)}
	if s.boundary != nil {
		boundary := doc(t, s.boundary...)
		who.Boundary = &boundary
	}
	access := policy.KeyAccess(doc(t, s.keyPolicy...), key, who)
	all := []policy.Decision{policy.RoleTrust(doc(t, s.trust...), cluster, org).Assume.Decision}
	for _, action := range policy.KeyActions {
		all = append(all, access.Verdicts[action].Decision)
	}
	return all
}

// worth orders decisions by how much access they are.
func worth(d policy.Decision) int {
	return slices.Index([]policy.Decision{policy.Denied, policy.CannotTell, policy.Allowed}, d)
}

func TestDenyNeverGivesAccessAndAllowNeverTakesIt(t *testing.T) {
	for seed := range seeds(4000) {
		g := generator{rand.New(rand.NewPCG(seed, 0))}
		before := situation{keyPolicy: g.statements(), identity: g.statements(), trust: g.statements()}
		if g.IntN(3) == 0 {
			before.boundary = append(g.statements(), g.statement("Allow"))
		}
		who := policy.Role{ARN: role, AllRead: g.IntN(2) == 0, BoundaryUnread: g.IntN(4) == 0}
		effect := g.pick("Allow", "Deny")
		after := before
		extra := g.statement(effect)
		for _, list := range []*[]string{&after.keyPolicy, &after.identity, &after.trust} {
			*list = slices.Insert(slices.Clone(*list), g.IntN(len(*list)+1), extra)
		}
		if after.boundary != nil {
			after.boundary = append(slices.Clone(after.boundary), extra)
		}
		was, is := before.decisions(t, who), after.decisions(t, who)
		for i := range was {
			if effect == "Deny" && worth(is[i]) > worth(was[i]) || effect == "Allow" && worth(is[i]) < worth(was[i]) {
				t.Fatalf("seed %d: one more %s turned decision %d from %s to %s\nbefore %v\nadded %s", seed, effect, i, was[i], is[i], before, extra)
			}
		}
	}
}

// A grant to the role is what its access by name comes from, and no grant means no access.
func TestGrantsAndAccessAgree(t *testing.T) {
	for seed := range seeds(4000) {
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		d := doc(t, g.statements()...)
		access := policy.KeyAccess(d, key, policy.Role{ARN: role, AllRead: true})
		grants := policy.KeyGrants(d, key)
		for _, action := range access.With(policy.Allowed) {
			reaches := slices.ContainsFunc(grants, func(grant policy.Grant) bool {
				p := grant.Principal
				return (p.ID == role || p.Kind == policy.Everybody || p.Account() == account) && slices.Contains(grant.Actions, action)
			})
			if !reaches {
				t.Fatalf("seed %d: the role may %s, but no grant says so: %v\n%+v", seed, action, grants, d)
			}
		}
	}
}

// A statement about another service changes a document and nobody's access.
func TestDiffOfWhatChangesNothingIsEmpty(t *testing.T) {
	for seed := range seeds(1000) {
		g := generator{rand.New(rand.NewPCG(seed, 2))}
		statements := g.statements()
		before, after := doc(t, statements...), doc(t, append(statements, allow("", aws(stranger), `"s3:*"`))...)
		expectSentences(t, policy.DiffKeyPolicy(before, after, key, policy.Role{ARN: role}))
		expectSentences(t, policy.DiffTrust(before, after, cluster, org))
	}
}

func FuzzParse(f *testing.F) {
	for seed := range uint64(50) {
		g := generator{rand.New(rand.NewPCG(seed, 3))}
		f.Add(text(g.statements()...))
	}
	for _, hostile := range []string{``, `{}`, `null`, `{"Statement":`, `{"Statement":[[]]}`, `{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":["arn:::::","*?*",":"]},"NotAction":"","Resource":""}}`,
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":"AROA"},"Action":"**?","Resource":"${","Condition":{"Null":{"sts:externalid":[]},"ArnNotLikeIfExists":{"aws:principalarn":[1,true,"a:b"]}}}}`} {
		f.Add(hostile)
	}
	before, err := policy.Parse(text(allow("cmek", aws(role), published), allow("admin", aws(root), `"kms:*"`)))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := policy.Parse(text)
		if err != nil {
			if len(d.Statements) > 0 || len(err.Error()) > 2000 {
				t.Errorf("the error %.200q comes with %d statements", err, len(d.Statements))
			}
			return
		}
		who := policy.Role{ARN: role, Policies: []policy.Document{d}, AllRead: true, Boundary: &d}
		for _, uri := range []cmek.KeyURI{key, "", "arn:"} {
			policy.KeyAccess(d, uri, who).Sentences()
			policy.Outsiders(policy.KeyGrants(d, uri), account)
			policy.DiffKeyPolicy(d, before, uri, who)
			policy.DiffKeyPolicy(before, d, uri, who)
		}
		policy.RoleTrust(d, cluster, org).Sentences()
		policy.RoleTrust(d, "", "").Sentences()
		policy.ForeignTrust(d, account, org)
		if !policy.Equal(d, d) {
			t.Error("a document is not equal to itself")
		}
		policy.DiffTrust(before, d, cluster, org)
		policy.DiffTrust(d, before, cluster, org)
	})
}
