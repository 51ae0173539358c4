package alerting

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// An AWS account in which a cluster uses the key by a role, as Cockroach Labs' documentation asks for it, and policies that break that.
const (
	key          = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
	unused       = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/ffffffff-12ab-34cd-56ef-1234567890ab")
	account      = "111122223333"
	role         = "arn:aws:iam::111122223333:role/crdb-cmek"
	crlAccount   = "444455556666"
	organization = "3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613"

	goodKeyPolicy = `{"Version":"2012-10-17","Statement":[` + rootStatement + `,{"Sid":"CMEK","Effect":"Allow","Principal":{"AWS":"` + role + `"},"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"],"Resource":"*"}]}`
	rootStatement = `{"Sid":"Root","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`
	denyKeyPolicy = `{"Version":"2012-10-17","Statement":[` + rootStatement + `,{"Sid":"Stop","Effect":"Deny","Principal":{"AWS":"` + role + `"},"Action":"kms:Decrypt","Resource":"*"}]}`
	openKeyPolicy = `{"Version":"2012-10-17","Statement":[` + rootStatement + `,{"Sid":"CMEK","Effect":"Allow","Principal":{"AWS":["` + role + `","arn:aws:iam::999900001111:root"]},"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"],"Resource":"*"}]}`
	goodTrust     = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"` + organization + `"}}}]}`
	brokenTrust   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"something else"}}}]}`
	admin         = `{"Sid":"Admin","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/security-admin"},"Action":"kms:*","Resource":"*"}`
	adminOnly     = `{"Version":"2012-10-17","Statement":[` + admin + `]}`
	rootOnly      = `{"Version":"2012-10-17","Statement":[` + rootStatement + `]}`
	denyKMS       = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}`
	allowS3       = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	noPolicies    = `{"inline":{},"attached":{}}`
)

// outcome is what a judgement comes to, in one line.
func outcome(e Effect) string {
	var parts []string
	for part, is := range map[string]bool{"cuts off": e.CutsOff, "exposes": e.Exposes, "locks out": e.LocksOut, "same": e.Same, "unattached": e.Unattached, "dormant": e.Dormant} {
		if is {
			parts = append(parts, part)
		}
	}
	slices.Sort(parts)
	for _, why := range e.Unclear {
		parts = append(parts, "unclear: "+why)
	}
	if len(parts) == 0 {
		return "keeps"
	}
	return strings.Join(parts, "; ")
}

// wantEffect compares a judgement with what it is to come to, of which each word in want must be there, and nothing else in front of
// the first "unclear". A text that begins with "words: " is to be in the words for people, one with "no words: " not.
func wantEffect(t *testing.T, name string, got Effect, want string, texts ...string) {
	t.Helper()
	said := outcome(got)
	ok := said == want
	if before, why, found := strings.Cut(want, "unclear: "); found {
		gotBefore, gotWhy, gotFound := strings.Cut(said, "unclear: ")
		ok = gotFound && gotBefore == before && strings.Contains(gotWhy, why)
	}
	if !ok {
		t.Errorf("%s: %s; want %s\nwords %q", name, said, want, got.Words)
	}
	for _, text := range texts {
		text, without := strings.CutPrefix(text, "no ")
		if has := strings.Contains(strings.Join(got.Words, " "), text); has == without {
			t.Errorf("%s: that the words have %q is %t\n%q", name, text, has, got.Words)
		}
	}
}

var eventTime = time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC)

func calls(service, name string, change cmek.Change, edits ...func(*cmek.Event)) cmek.Event {
	e := cmek.Event{ID: "e", Source: "aws." + service + "/AWS API Call via CloudTrail/" + name, Change: change, Account: account, Region: "us-east-1", Time: eventTime}
	for _, edit := range edits {
		edit(&e)
	}
	return e
}

func keyPolicySet(text string) cmek.Event {
	return calls("kms", "PutKeyPolicy", cmek.ChangeKeyPolicy, func(e *cmek.Event) { e.Key, e.Policy = key, text })
}

func trustSet(text string) cmek.Event {
	return calls("iam", "UpdateAssumeRolePolicy", cmek.ChangePrincipalTrust, func(e *cmek.Event) { e.Identity, e.Policy = role, text })
}

func onRole(name string, change cmek.Change, text string) cmek.Event {
	return calls("iam", name, change, func(e *cmek.Event) { e.Identity, e.Policy = role, text })
}

func useBy(principal string, uri cmek.KeyURI, cloudAccount string) Use {
	return Use{ClusterID: "c-1", CloudAccount: cloudAccount, Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: uri, AuthPrincipal: cmek.Principal(principal)}}
}

// keyOf and roleOf number keys and roles of the account.
func keyOf(i int) cmek.KeyURI {
	return cmek.KeyURI(fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/%08d-12ab-34cd-56ef-1234567890ab", i))
}
func roleOf(i int) string { return fmt.Sprintf("%s-%d", role, i) }

// allRead are good documents of the key, the role and its trust, all read.
func allRead(edits ...func(*Documents)) Documents {
	d := Documents{
		OrganizationID: organization,
		Now:            map[string]Document{string(key): stands(goodKeyPolicy), role: stands(goodTrust), ledger.RolePolicies(role): stands(noPolicies)},
	}
	for _, edit := range edits {
		edit(&d)
	}
	return d
}

func stands(text string) Document { return Document{Text: text, Read: true} }

func keyPolicyReads(d Document) func(*Documents) {
	return func(all *Documents) { all.Now[string(key)] = d }
}
func roleReads(d Document) func(*Documents) {
	return func(all *Documents) { all.Now[ledger.RolePolicies(role)] = d }
}
func trustReads(d Document) func(*Documents) { return func(all *Documents) { all.Now[role] = d } }

func inline(text string) string { return `{"inline":{"x":` + text + `},"attached":{}}` }
func attached(text string) string {
	return `{"inline":{},"attached":{"` + kmsPolicy + `":` + text + `}}`
}
func bounded(text string) string {
	return `{"inline":{},"attached":{},"boundary":{"` + kmsPolicy + `":` + text + `}}`
}

const (
	kmsPolicy = "arn:aws:iam::111122223333:policy/kms"
	allowKMS  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`
)

// notedBefore is what a sweep saw a day before the event and half an hour before it.
func notedBefore(text string) Noted {
	return Noted{Text: text, Since: eventTime.Add(-24 * time.Hour), At: eventTime.Add(-30 * time.Minute)}
}

// Neither the size of the fleet nor who writes a policy decides how long a judgement takes: what is beyond a bound is unclear.
func TestJudge_bounds(t *testing.T) {
	keyPolicyOf := func(n int) Effect {
		var uses []Use
		docs := Documents{Now: map[string]Document{}}
		for i := range n {
			uses = append(uses, useBy(roleOf(i), key, crlAccount), useBy(roleOf(i), key, crlAccount))
			docs.Now[ledger.RolePolicies(cmek.Principal(roleOf(i)))] = stands(inline(allowKMS))
		}
		return Judge(keyPolicySet(rootOnly), docs, uses)
	}
	wantEffect(t, "a key of 20 principals", keyPolicyOf(20), "keeps")
	wantEffect(t, "a key of 21 principals", keyPolicyOf(21), "unclear: 1 more principals were not judged")

	trustOf := func(n int, noted string) Effect {
		var uses []Use
		var accounts []string
		for i := range n {
			accounts = append(accounts, fmt.Sprintf("%012d", i))
			uses = append(uses, useBy(role, key, accounts[i]), useBy(role, unused, accounts[i]))
		}
		trust := strings.Replace(goodTrust, `"`+"arn:aws:iam::444455556666:root"+`"`, `["`+strings.Join(accounts, `","`)+`"]`, 1)
		docs := Documents{OrganizationID: organization, Noted: map[string]Noted{role: notedBefore(strings.Replace(trust, "Statement", noted, 1))}}
		return Judge(trustSet(trust), docs, uses)
	}
	wantEffect(t, "a role of 40 accounts", trustOf(40, "x"), "keeps")
	wantEffect(t, "a role of 41 accounts", trustOf(41, "x"), "unclear: 1 more clusters' accounts were not judged")
	wantEffect(t, "the same trust policy of 40 accounts", trustOf(40, "Statement"), "same")
	wantEffect(t, "the same trust policy of 41 accounts", trustOf(41, "Statement"), "unclear: 1 more clusters' accounts were not judged")

	keysOf := func(n int) Effect {
		docs, uses := allRead(), []Use(nil)
		for i := range n {
			uses = append(uses, useBy(role, keyOf(i), crlAccount), useBy(role, keyOf(i), crlAccount))
			docs.Now[string(keyOf(i))] = stands(goodKeyPolicy)
		}
		return Judge(onRole("PutRolePolicy", cmek.ChangePrincipalPolicy, allowS3), docs, uses)
	}
	wantEffect(t, "a role of 40 keys", keysOf(40), "keeps")
	wantEffect(t, "a role of 41 keys", keysOf(41), "unclear: 1 more keys of principals were not judged")

	rolesOf := func(n int) Effect {
		docs, uses := allRead(), []Use(nil)
		for i := range n {
			uses = append(uses, useBy(roleOf(i), key, crlAccount), useBy(roleOf(i), unused, crlAccount))
			docs.Now[ledger.RolePolicies(cmek.Principal(roleOf(i)))] = stands(noPolicies)
		}
		return Judge(versionSet(denyKMS, kmsPolicy), docs, uses)
	}
	wantEffect(t, "a policy of none of 20 roles", rolesOf(20), "unattached")
	wantEffect(t, "a policy of none of the first 20 of 21 roles", rolesOf(21), "unclear: 1 more principals were not judged")
}

func versionSet(text, arn string) cmek.Event {
	return calls("iam", "CreatePolicyVersion", cmek.ChangeManagedPolicy, func(e *cmek.Event) {
		e.Policy, e.Parameters = text, map[string]string{"policy_arn": arn, "set_as_default": "true"}
	})
}

// Events that set no document have no effect by one, and a call that failed set none.
func TestEffects_ofDocuments(t *testing.T) {
	failed := keyPolicySet(adminOnly)
	failed.Error, failed.Failure = "AccessDenied", cmek.FailureDenied
	for name, e := range map[string]cmek.Event{
		"a key is disabled":     calls("kms", "DisableKey", cmek.ChangeKeyDisabled, func(e *cmek.Event) { e.Key, e.Policy = key, adminOnly }),
		"a call that failed":    failed,
		"an unknown change":     calls("kms", "Unknown", "something else", func(e *cmek.Event) { e.Key, e.Policy = key, adminOnly }),
		"a use that was denied": calls("kms", "Decrypt", cmek.ChangeUseRefused, func(e *cmek.Event) { e.Key, e.Policy = key, adminOnly }),
	} {
		if got := Effects(e, allRead(), []Use{anyUse}, Usage{}); got != nil {
			t.Errorf("%s: %s, want no effect", name, outcome(*got))
		}
		if got := Judge(e, allRead(), []Use{anyUse}); outcome(got) != "keeps" || len(got.Words) > 0 || got.Stale {
			t.Errorf("%s is judged as %+v", name, got)
		}
	}
}

// Where nobody needs what was changed, for certain, nobody loses access. Whoever gains it by a key policy can read what the key protects;
// a role that nobody uses can do nothing.
func TestEffects_ofWhatNobodyNeeds(t *testing.T) {
	somebody := Usage{Clusters: []alert.AffectedCluster{{ID: "c-1"}}, Complete: true}
	nothing := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"999900001111"},"Action":"kms:Decrypt","Resource":"*"}]}`
	for name, tc := range map[string]struct {
		event         cmek.Event
		known, unused string
	}{
		"a key policy for a stranger only": {keyPolicySet(nothing), "cuts off; exposes; locks out", "exposes"},
		"a key policy that is unclear":     {keyPolicySet("{"), "unclear: the new key policy cannot", "keeps"},
		"a trust policy for a stranger":    {trustSet(strings.Replace(goodTrust, crlAccount, "999900001111", 1)), "cuts off; exposes", "keeps"},
	} {
		for _, usage := range []Usage{somebody, {}} {
			wantEffect(t, name+", in use or not known", *Effects(tc.event, allRead(), []Use{anyUse}, usage), tc.known)
		}
		wantEffect(t, name+", not in use", *Effects(tc.event, allRead(), []Use{anyUse}, Usage{Complete: true}), tc.unused)
	}
}

func TestMayUse(t *testing.T) {
	conditional := strings.Replace(goodKeyPolicy, `"Resource":"*"}]}`, `"Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}}]}`, 1)
	noOrganization := func(d *Documents) { d.OrganizationID = "" }
	for _, tc := range []struct {
		name   string
		docs   Documents
		want   policy.Decision
		unread string
	}{
		{"all is good", allRead(), policy.Allowed, ""},
		{"the key policy denies", allRead(keyPolicyReads(stands(denyKeyPolicy))), policy.Denied, ""},
		{"the trust policy denies", allRead(trustReads(stands(brokenTrust))), policy.Denied, ""},
		{"the role does not exist", allRead(trustReads(Document{Missing: true})), policy.Denied, ""},
		{"the role's policies deny", allRead(roleReads(stands(inline(denyKMS)))), policy.Denied, ""},
		{"the key policy depends on a condition", allRead(keyPolicyReads(stands(conditional))), policy.CannotTell, ""},
		{"the external id is not known", allRead(noOrganization), policy.CannotTell, ""},
		{"the external id is not known, and the key policy denies", allRead(noOrganization, keyPolicyReads(stands(denyKeyPolicy))), policy.Denied, ""},
		{"the key policy is not read", allRead(keyPolicyReads(Document{Text: goodKeyPolicy})), policy.CannotTell, "the policy of key " + string(key)},
		{"the key policy is garbled", allRead(keyPolicyReads(stands("{"))), policy.CannotTell, "the policy of key " + string(key)},
		{"the trust policy is not read", allRead(trustReads(Document{Text: goodTrust})), policy.CannotTell, "the trust policy of " + role},
		{"the trust policy is garbled", allRead(trustReads(stands("{"))), policy.CannotTell, "the trust policy of " + role},
		{"the role's policies are not read", allRead(roleReads(Document{})), policy.Allowed, "the policies of " + role + " could not be read"},
		{"the role's policies are not read, and decide", allRead(roleReads(Document{}), keyPolicyReads(stands(rootOnly))), policy.CannotTell, "the policies of " + role + " could not be read"},
	} {
		if got := evaluatorFor(anyUse).mayUse(anyUse, tc.docs); got.Decision != tc.want || got.unread != tc.unread {
			t.Errorf("%s: %s, unread %q; want %s, %q", tc.name, got.Decision, got.unread, tc.want, tc.unread)
		}
	}
}

// Clauses become sentences: with a capital, but for names, and one full stop; each once.
func TestSentences(t *testing.T) {
	got := sentences([]string{"nobody may", "arn:aws:iam::1:role/x may", "élan may.", "nobody may"})
	if want := []string{"Nobody may.", "arn:aws:iam::1:role/x may.", "Élan may."}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Neither in use nor unused means unknown.
func TestUsage(t *testing.T) {
	one := []alert.AffectedCluster{{ID: "c-1"}}
	for _, tc := range []struct {
		usage         Usage
		inUse, unused bool
	}{{Usage{}, false, false}, {Usage{Complete: true}, false, true}, {Usage{Clusters: one}, true, false}, {Usage{Clusters: one, Complete: true}, true, false}} {
		if tc.usage.InUse() != tc.inUse || tc.usage.Unused() != tc.unused {
			t.Errorf("%+v: in use is %t, unused %t", tc.usage, tc.usage.InUse(), tc.usage.Unused())
		}
	}
}
