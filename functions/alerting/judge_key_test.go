package alerting

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/ledger"
)

func TestJudge_keyPolicy(t *testing.T) {
	const (
		roleUnread  = "unclear: the policies of " + role + " could not be read"
		otherRole   = "arn:aws:iam::777788889999:role/crdb-cmek"
		noDecrypt   = `{"Version":"2012-10-17","Statement":[` + rootStatement + `,{"Sid":"Stop","Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*"}]}`
		clusterOnly = `{"Version":"2012-10-17","Statement":[{"Sid":"CMEK","Effect":"Allow","Principal":{"AWS":"` + role + `"},"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"],"Resource":"*"}]}`
	)
	withStatement := func(principal, condition string) string {
		return strings.TrimSuffix(goodKeyPolicy, "]}") + `,{"Effect":"Allow","Principal":{"AWS":` + principal + `},"Action":"kms:Decrypt","Resource":"*","Condition":{` + condition + `}}]}`
	}
	bothRoles := strings.ReplaceAll(goodKeyPolicy, `"AWS":"`+role+`"`, `"AWS":["`+role+`","`+otherRole+`"]`)
	replica := strings.Replace(goodKeyPolicy, "Root", "Root2", 1)
	other := useBy(otherRole, key, crlAccount)
	otherRead := func(text string) func(*Documents) {
		return func(d *Documents) { d.Now[ledger.RolePolicies(otherRole)] = stands(text) }
	}
	before := func(text string) func(*Documents) {
		return func(d *Documents) { d.Noted = map[string]Noted{string(key): notedBefore(text)} }
	}
	for _, tc := range []struct {
		name   string
		policy string
		docs   Documents
		uses   []Use
		want   string
		texts  []string
	}{
		{"it names the role", goodKeyPolicy, allRead(), []Use{anyUse}, "keeps", []string{"The previous policy is not known."}},
		{"it names the role, whose policies are not read", goodKeyPolicy, allRead(roleReads(Document{})), []Use{anyUse}, roleUnread, nil},
		{"it names the role, whose policies are not what was read", goodKeyPolicy, allRead(roleReads(Document{Text: noPolicies})), []Use{anyUse}, roleUnread, nil},
		{"it names the role, whose policies deny", goodKeyPolicy, allRead(roleReads(stands(inline(denyKMS)))), []Use{anyUse}, "cuts off", nil},
		{"it names the role, whose policies are garbled", goodKeyPolicy, allRead(roleReads(stands("{"))), []Use{anyUse}, "unclear: read policies of role " + role, nil},
		{"it leaves the role to IAM, which does not allow", rootOnly, allRead(), []Use{anyUse}, "cuts off", []string{"may not call kms:Encrypt"}},
		{"it leaves the role to IAM, which allows", rootOnly, allRead(roleReads(stands(inline(allowKMS)))), []Use{anyUse}, "keeps", nil},
		{"it leaves the role to IAM, which is not read", rootOnly, allRead(roleReads(Document{})), []Use{anyUse}, roleUnread, nil},
		{"it does not name the role, which is not read", adminOnly, allRead(roleReads(Document{})), []Use{anyUse}, "cuts off", nil},
		{"it denies the role", denyKeyPolicy, allRead(), []Use{anyUse}, "cuts off", nil},
		{"it denies the role, which is not read", denyKeyPolicy, allRead(roleReads(Document{})), []Use{anyUse}, "cuts off", nil},
		{"it depends on a condition", strings.Replace(goodKeyPolicy, `"Resource":"*"}]}`, `"Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}}]}`, 1), allRead(), []Use{anyUse}, "unclear: ", []string{"unclear whether"}},
		{"everybody may who is a role of the own account", withStatement(`"*"`, `"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/admin-*"}`), allRead(), []Use{anyUse}, "keeps", nil},
		{"everybody may who is a role of any account", withStatement(`"*"`, `"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/admin-*"}`), allRead(), []Use{anyUse}, "exposes", nil},
		{"it names the role, whose boundary does not allow KMS", goodKeyPolicy, allRead(roleReads(stands(bounded(allowS3)))), []Use{anyUse}, "cuts off", nil},
		{"it names a session of the role, whose boundary does not allow KMS", strings.Replace(goodKeyPolicy, role, "arn:aws:sts::111122223333:assumed-role/crdb-cmek/s", 1), allRead(roleReads(stands(bounded(allowS3)))), []Use{anyUse}, "unclear: ", nil},
		{"one of two principals is cut off", goodKeyPolicy, allRead(otherRead(inline(allowKMS))), []Use{anyUse, other}, "cuts off", nil},
		{"two principals keep it", bothRoles, allRead(otherRead(inline(allowKMS))), []Use{anyUse, other}, "keeps", nil},
		{"a principal that nobody knows is a stranger", bothRoles, allRead(), []Use{anyUse}, "exposes", []string{otherRole + " may"}},
		{"the other principal is of another key", goodKeyPolicy, allRead(), []Use{anyUse, useBy(otherRole, unused, crlAccount)}, "keeps", nil},
		{"the only principal is of another key", goodKeyPolicy, allRead(), []Use{useBy(role, unused, crlAccount)}, "unclear: no principal of a cluster is known", nil},
		{"nobody is known, and it allows all", replica, allRead(), nil, "unclear: no principal of a cluster is known", nil},
		{"nobody is known, and it allows nobody all", noDecrypt, allRead(), nil, "cuts off", []string{"Nobody may call kms:Decrypt."}},
		{"nobody is known, and it allows nothing", `{"Version":"2012-10-17","Statement":[]}`, allRead(), nil, "cuts off; locks out", []string{"Nobody may call kms:Encrypt, kms:Decrypt"}},
		{"the last administrator is gone", clusterOnly, allRead(), []Use{anyUse}, "locks out", []string{"Nobody can manage the key any more."}},
		{"the last administrator is gone who was known", clusterOnly, allRead(before(goodKeyPolicy)), []Use{anyUse}, "locks out", []string{`Statement "Root" removed: nobody can manage the key any more.`, "no Nobody can manage"}},
		{"the last administrator was gone before", strings.Replace(clusterOnly, "kms:DescribeKey", "kms:DescribeKey\",\"kms:Sign", 1), allRead(before(clusterOnly)), []Use{anyUse}, "locks out", []string{"Nobody can manage the key any more."}},
		{"a stranger may, and what was before is not known", openKeyPolicy, allRead(), []Use{anyUse}, "exposes", []string{"The previous policy is not known.", "Account 999900001111 may"}},
		{"a stranger may now", openKeyPolicy, allRead(before(goodKeyPolicy)), []Use{anyUse}, "exposes", []string{"Account 999900001111 may now", "no previous policy is not known", "no account 999900001111 may kms", "no account 999900001111 may call"}},
		{"a stranger may as before, in other words", strings.Replace(openKeyPolicy, "Root", "Account", 1) + " ", allRead(before(openKeyPolicy)), []Use{anyUse}, "same", nil},
		{"a stranger may as before, and something else changed", strings.Replace(openKeyPolicy, "Statement\":[", "Statement\":["+admin+",", 1), allRead(before(openKeyPolicy)), []Use{anyUse}, "keeps", []string{"security-admin may now"}},
		{"the clusters lose what they had", rootOnly, allRead(before(goodKeyPolicy)), []Use{anyUse}, "cuts off", []string{"lost kms:Encrypt", "no may not call"}},
		{"it cannot be understood", `{"Statement":7}`, allRead(), []Use{anyUse}, "unclear: the new key policy cannot be understood", nil},
		{"the event has none, and it was read", "", allRead(keyPolicyReads(stands(rootOnly))), []Use{anyUse}, "cuts off", nil},
		{"the event has none, and it was not read", "", allRead(keyPolicyReads(Document{Text: goodKeyPolicy})), []Use{anyUse}, "unclear: the new key policy could not be read", nil},
		{"the event's own counts, not what is read", rootOnly, allRead(), []Use{anyUse}, "cuts off", nil},
	} {
		got := Judge(keyPolicySet(tc.policy), tc.docs, tc.uses)
		wantEffect(t, tc.name, got, tc.want, tc.texts...)
		// Without the noted document only what the event does not carry rests on a read that may be too old.
		if stale := tc.policy == "" || len(tc.docs.Noted) > 0; got.Stale != stale {
			t.Errorf("%s: that it rests on a read of what was changed is %t", tc.name, got.Stale)
		}
	}
}
