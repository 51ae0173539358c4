package alerting

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestJudge_trust(t *testing.T) {
	const (
		cloud2   = "555566667777"
		external = `,"Condition":{"StringEquals":{"sts:ExternalId":"` + organization + `"}}`
	)
	two := strings.Replace(goodTrust, `"arn:aws:iam::444455556666:root"`, `["444455556666","`+cloud2+`"]`, 1)
	uses := []Use{anyUse, useBy(role, unused, cloud2)}
	before := func(text string) func(*Documents) {
		return func(d *Documents) { d.Noted = map[string]Noted{role: notedBefore(text)} }
	}
	unconfigured := func(d *Documents) { d.OrganizationID = "" }
	for _, tc := range []struct {
		name  string
		trust string
		docs  Documents
		uses  []Use
		want  string
		texts []string
	}{
		{"it lets the cluster's account assume the role", goodTrust, allRead(), []Use{anyUse}, "keeps", []string{"The previous trust policy is not known."}},
		{"it asks for another external id", brokenTrust, allRead(), []Use{anyUse}, "cuts off; exposes", nil},
		{"it names one of two accounts", goodTrust, allRead(), uses, "cuts off", nil},
		{"it names both accounts", two, allRead(), uses, "keeps", nil},
		{"the other cluster acts as another role", goodTrust, allRead(), []Use{anyUse, useBy(roleOf(1), key, cloud2)}, "keeps", nil},
		{"it names a stranger's account, too", two, allRead(), []Use{anyUse}, "exposes", []string{"555566667777"}},
		{"it names a stranger's account as before", two, allRead(before(two)), []Use{anyUse}, "same", nil},
		{"it names a stranger's account as before, and more", strings.Replace(two, "[{", `[{"Effect":"Deny","Principal":{"AWS":"999900001111"},"Action":"sts:AssumeRole"},{`, 1), allRead(before(two)), []Use{anyUse}, "exposes", []string{"555566667777", "no previous trust policy is not known"}},
		{"it needs no external id", strings.Replace(goodTrust, external, "", 1), allRead(), []Use{anyUse}, "exposes", []string{"without an external id"}},
		{"it is for everybody with the external id", strings.Replace(goodTrust, `{"AWS":"arn:aws:iam::444455556666:root"}`, `"*"`, 1), allRead(), []Use{anyUse}, "exposes", []string{"Everybody may assume the role with the external id"}},
		{"it depends on a condition", strings.Replace(goodTrust, `{"StringEquals":{`, `{"StringEquals":{"aws:SourceVpc":"vpc-1",`, 1), allRead(), []Use{anyUse}, "unclear: ", nil},
		{"the external id is not known", goodTrust, allRead(unconfigured), []Use{anyUse}, "unclear: the organization's id", nil},
		{"the external id is not known, and the account is not named", strings.Replace(goodTrust, crlAccount, account, 1), allRead(unconfigured), []Use{anyUse}, "cuts off; exposes", nil},
		{"what was lost is said", brokenTrust, allRead(before(goodTrust)), []Use{anyUse}, "cuts off; exposes", []string{"can no longer assume the role", "no previous trust policy is not known"}},
		{"it cannot be understood", "{", allRead(), []Use{anyUse}, "unclear: the new trust policy of " + role + " cannot be understood", nil},
		{"the event has none, and it was read", "", allRead(trustReads(stands(brokenTrust))), []Use{anyUse}, "cuts off; exposes", nil},
		{"the event has none, and it was not read", "", allRead(trustReads(Document{Text: goodTrust})), []Use{anyUse}, "unclear: the new trust policy of " + role + " could not be read", nil},
		{"the event has none, and the role does not exist", "", allRead(trustReads(Document{Missing: true})), []Use{anyUse}, "cuts off", []string{role + " does not exist."}},
		{"the role does not exist any more, and the event's own counts", goodTrust, allRead(trustReads(Document{Missing: true})), []Use{anyUse}, "keeps", []string{"no does not exist"}},

		{"no cluster is known, and it names another account", goodTrust, allRead(), nil, "unclear: the account that the clusters run in is not known", nil},
		{"no cluster is known, and it names another account without an external id", strings.Replace(goodTrust, external, "", 1), allRead(), nil, "exposes; unclear: the account", []string{"Account 444455556666 may assume the role, without an external id."}},
		{"no cluster is known, and it names the own account", strings.Replace(strings.Replace(goodTrust, external, "", 1), crlAccount, account, 1), allRead(), nil, "cuts off", []string{"No other account may assume the role any more"}},
		{"no cluster is known, and it names a service", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`, allRead(), nil, "cuts off", nil},
		{"no cluster is known, and it names an account for SAML only", strings.Replace(goodTrust, "sts:AssumeRole", "sts:AssumeRoleWithSAML", 1), allRead(), nil, "cuts off", nil},
		{"no cluster is known, and it is for everybody", strings.Replace(strings.Replace(goodTrust, external, "", 1), `{"AWS":"arn:aws:iam::444455556666:root"}`, `"*"`, 1), allRead(), nil, "exposes; unclear: the account", []string{"Everybody may assume the role."}},
		{"no cluster is known, and it is for everybody with the external id", strings.Replace(goodTrust, `{"AWS":"arn:aws:iam::444455556666:root"}`, `"*"`, 1), allRead(), nil, "exposes; unclear: the account", []string{"Everybody may assume the role if sts:ExternalId"}},
		{"no cluster is known, and it is for everybody with the external id, and for an account by it", strings.Replace(goodTrust, `{"AWS":"arn:aws:iam::444455556666:root"}`, `{"AWS":["*","444455556666"]}`, 1), allRead(), nil, "exposes; unclear: the account", []string{"no account 444455556666 may assume the role, with the external id", "no Account 444455556666 may assume the role if"}},
		{"no cluster is known, and it cannot be understood", "{", allRead(), nil, "unclear: the new trust policy cannot be understood", nil},
		{"no cluster is known, and the event has none", "", allRead(), nil, "unclear: the new trust policy could not be read", nil},
	} {
		wantEffect(t, tc.name, Judge(trustSet(tc.trust), tc.docs, tc.uses), tc.want, tc.texts...)
	}
}

// A trust policy is the same for all that assume roles by it, or it is not the same.
func TestJudge_trustOfSeveralRoles(t *testing.T) {
	omitted := calls("iam", "UpdateAssumeRolePolicy", cmek.ChangePrincipalTrust)
	uses := []Use{anyUse, useBy(roleOf(1), key, crlAccount)}
	docs := func(first, second Document, noted map[string]Noted) Documents {
		return Documents{OrganizationID: organization, Now: map[string]Document{role: first, roleOf(1): second}, Noted: noted}
	}
	both := map[string]Noted{role: notedBefore(goodTrust), roleOf(1): notedBefore(goodTrust)}
	for name, tc := range map[string]struct {
		docs Documents
		want string
	}{
		"both are as before":              {docs(stands(goodTrust), stands(goodTrust), both), "same"},
		"one changed":                     {docs(stands(brokenTrust), stands(goodTrust), both), "cuts off; exposes"},
		"the other changed":               {docs(stands(goodTrust), stands(brokenTrust), both), "cuts off; exposes"},
		"one does not exist":              {docs(Document{Missing: true}, stands(goodTrust), both), "cuts off"},
		"one is not read":                 {docs(Document{}, stands(goodTrust), both), "unclear: the new trust policy of " + role + " could not be read"},
		"of one it is not known":          {docs(stands(goodTrust), stands(goodTrust), map[string]Noted{role: both[role]}), "keeps"},
		"the last does not exist":         {docs(stands(goodTrust), Document{Missing: true}, both), "cuts off"},
		"the last is not read":            {docs(stands(goodTrust), Document{}, both), "unclear: the new trust policy of " + roleOf(1) + " could not be read"},
		"the last is good, and one is so": {docs(stands(brokenTrust), stands(goodTrust), nil), "cuts off; exposes"},
	} {
		wantEffect(t, name, Judge(omitted, tc.docs, uses), tc.want)
	}
}
