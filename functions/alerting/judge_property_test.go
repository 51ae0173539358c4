package alerting

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// The properties of the judge, on documents made at random from statements that matter to keys and roles.

type statement map[string]any

func keyStatement(r *rand.Rand) statement {
	principals := []string{role, "arn:aws:iam::111122223333:root", "arn:aws:iam::999900001111:root", "*", "arn:aws:iam::111122223333:role/security-admin"}
	actions := []any{"kms:*", "kms:Decrypt", "kms:GenerateDataKey*", []string{"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey", "kms:ReEncrypt*"}, "kms:PutKeyPolicy"}
	s := statement{"Effect": pick(r, "Allow", "Allow", "Allow", "Deny"), "Principal": map[string]any{"AWS": pick(r, principals...)}, "Action": pick(r, actions...), "Resource": "*"}
	if r.IntN(5) == 0 {
		s["Condition"] = map[string]any{"StringEquals": map[string]any{"kms:ViaService": "s3.us-east-1.amazonaws.com"}}
	}
	return s
}

func roleStatement(r *rand.Rand) statement {
	return statement{"Effect": pick(r, "Allow", "Allow", "Deny"), "Action": pick(r, "kms:*", "kms:Decrypt", "s3:*", "*"), "Resource": pick(r, "*", string(key), "arn:aws:kms:us-east-1:111122223333:key/other")}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func many(r *rand.Rand, one func(*rand.Rand) statement) (list []statement) {
	for range r.IntN(4) {
		list = append(list, one(r))
	}
	return list
}

func text(statements []statement) string {
	data, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": append([]statement{}, statements...)})
	if err != nil {
		panic(err)
	}
	return string(data)
}

func roleText(statements []statement) string {
	return `{"inline":{"a":` + text(statements) + `},"attached":{}}`
}

var anyUse = Use{ClusterID: "c-1", CloudAccount: crlAccount, Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: key, AuthPrincipal: role}}

// scene is an event with everything that can be read about it.
type scene struct {
	event cmek.Event
	docs  Documents
}

func newScene(r *rand.Rand) (scene, []statement) {
	policies := many(r, keyStatement)
	docs := Documents{
		OrganizationID: organization,
		Now: map[string]Document{
			string(key):               {Text: text(append(many(r, keyStatement), keyStatement(r))), Read: true},
			role:                      {Text: goodTrust, Read: true},
			ledger.RolePolicies(role): {Text: roleText(many(r, roleStatement)), Read: true},
		},
		Noted: map[string]Noted{string(key): {Text: text(many(r, keyStatement)), Since: time.Unix(0, 0)}},
	}
	e := cmek.Event{ID: "e", Source: "aws.kms/AWS API Call via CloudTrail/PutKeyPolicy", Change: cmek.ChangeKeyPolicy, Key: key, Account: account, Region: "us-east-1", Time: time.Unix(1_000_000, 0)}
	switch r.IntN(3) {
	case 0:
		e.Policy = text(policies)
	case 1:
		e.Source, e.Change, e.Key, e.Identity = "aws.iam/AWS API Call via CloudTrail/PutRolePolicy", cmek.ChangePrincipalPolicy, "", role
		policies = many(r, roleStatement)
		e.Policy = text(policies)
	default:
		e.Source, e.Change, e.Key, e.Identity = "aws.iam/AWS API Call via CloudTrail/PutRolePermissionsBoundary", cmek.ChangeBoundary, "", role
		policies = many(r, roleStatement)
		e.Policy = text(policies)
	}
	return scene{e, docs}, policies
}

// loss orders effects by what the clusters lose: nothing, perhaps something, access.
func loss(e Effect) int {
	switch {
	case e.CutsOff:
		return 2
	case len(e.Unclear) > 0:
		return 1
	}
	return 0
}

// worlds is how many scenes a property is tried on, fewer where a run must be short, as in mutation testing.
func worlds() uint64 {
	if testing.Short() {
		return 200
	}
	return 4_000
}

// TestJudge_unreadDocument: taking away what was read makes a loss unclear at most, and never turns one into an all-clear.
func TestJudge_unreadDocument(t *testing.T) {
	for seed := range worlds() {
		r := rand.New(rand.NewPCG(seed, 1))
		s, _ := newScene(r)
		with := Judge(s.event, s.docs, []Use{anyUse})
		for name, take := range map[string]func(map[string]Document){
			"the key policy":        func(d map[string]Document) { delete(d, string(key)) },
			"the role's policies":   func(d map[string]Document) { delete(d, ledger.RolePolicies(role)) },
			"both":                  func(d map[string]Document) { delete(d, string(key)); delete(d, ledger.RolePolicies(role)) },
			"a garbled role policy": func(d map[string]Document) { d[ledger.RolePolicies(role)] = Document{Text: "{", Read: true} },
			"a garbled key policy":  func(d map[string]Document) { d[string(key)] = Document{Text: "<html>", Read: true} },
		} {
			docs := s.docs
			docs.Now = maps.Clone(docs.Now)
			take(docs.Now)
			without := Judge(s.event, docs, []Use{anyUse})
			if loss(with) > 0 && loss(without) == 0 {
				t.Fatalf("seed %d: without %s a loss became an all-clear\n%s\nkey policy %s\nrole %s\nwith %+v\nwithout %+v", seed, name, s.event.Policy,
					s.docs.Now[string(key)].Text, s.docs.Now[ledger.RolePolicies(role)].Text, with, without)
			}
		}
	}
}

// TestJudge_removedAllow: without an Allow the clusters never have more access than with it.
func TestJudge_removedAllow(t *testing.T) {
	for seed := range worlds() {
		r := rand.New(rand.NewPCG(seed, 2))
		s, policies := newScene(r)
		if s.event.Change != cmek.ChangeKeyPolicy {
			continue
		}
		with := Judge(s.event, s.docs, []Use{anyUse})
		i := slices.IndexFunc(policies, func(s statement) bool { return s["Effect"] == "Allow" })
		if i < 0 {
			continue
		}
		s.event.Policy = text(slices.Delete(slices.Clone(policies), i, i+1))
		s.docs.Noted = nil // else it may be equal to the document before
		if without := Judge(s.event, s.docs, []Use{anyUse}); loss(without) < loss(with) {
			t.Fatalf("seed %d: without %v the loss is %+v, with it %+v\n%s", seed, policies[i], without, with, text(policies))
		}
	}
}

// TestJudge_sameDocument: a document proven equal to the one before changes nothing, however it is written.
func TestJudge_sameDocument(t *testing.T) {
	for seed := range worlds() / 10 {
		r := rand.New(rand.NewPCG(seed, 3))
		policies := many(r, keyStatement)
		shuffled := slices.Clone(policies)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		s, _ := newScene(r)
		s.event = cmek.Event{ID: "e", Change: cmek.ChangeKeyPolicy, Key: key, Account: account, Time: time.Unix(1_000_000, 0), Policy: text(policies)}
		s.docs.Noted = map[string]Noted{string(key): {Text: " " + text(shuffled) + "\n", Since: time.Unix(500_000, 0), At: time.Unix(999_000, 0), Earlier: text(many(r, keyStatement))}}
		if got := Judge(s.event, s.docs, []Use{anyUse}); !got.Same || got.CutsOff || got.Exposes || len(got.Words) > 0 {
			t.Fatalf("seed %d: the same policy again is judged as %+v\n%s", seed, got, text(policies))
		}
		// Noted after the event: a sweep may have seen the new document already, so it proves nothing.
		noted := s.docs.Noted[string(key)]
		noted.Since = time.Unix(1_000_000, 0).Add(time.Second)
		s.docs.Noted[string(key)] = noted
		before, _ := policy.Parse(noted.Earlier)
		if after, _ := policy.Parse(s.event.Policy); policy.Equal(before, after) {
			continue
		}
		if got := Judge(s.event, s.docs, []Use{anyUse}); got.Same {
			t.Fatalf("seed %d: a document noted after the event counts as the one before", seed)
		}
	}
}

// TestJudge_nobodyIsNeverFine: without a use to try there is no all-clear.
func TestJudge_nobodyIsNeverFine(t *testing.T) {
	for seed := range worlds() / 10 {
		r := rand.New(rand.NewPCG(seed, 4))
		s, _ := newScene(r)
		s.docs.Noted = nil
		if got := Judge(s.event, s.docs, nil); got.Keeps() {
			t.Fatalf("seed %d: with nobody to judge, %s is fine: %+v", seed, s.event.Policy, got)
		}
	}
}

func ExampleJudge() {
	e := cmek.Event{Change: cmek.ChangeKeyPolicy, Key: key, Account: account, Policy: denyKeyPolicy}
	effect := Judge(e, Documents{}, []Use{anyUse})
	fmt.Println(effect.CutsOff)
	// Output: true
}
