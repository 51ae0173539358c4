package policy_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

func TestCall_followsTheRulesOfKeyAccess(t *testing.T) {
	const (
		key      = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001")
		user     = "arn:aws:iam::111122223333:user/operator"
		role     = "arn:aws:iam::111122223333:role/cmek"
		stranger = "arn:aws:iam::444455556666:user/operator"
		root     = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`
		named    = `{"Effect":"Allow","Principal":{"AWS":"` + user + `"},"Action":"kms:PutKeyPolicy","Resource":"*"}`
		session  = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/operator/x"},"Action":"kms:PutKeyPolicy","Resource":"*"}`
		denied   = `{"Effect":"Deny","Principal":{"AWS":"` + user + `"},"Action":"kms:PutKeyPolicy","Resource":"*"}`
	)
	all := policy.Document{Statements: []policy.Statement{{Effect: policy.Allow, Actions: []string{"*"}, Resources: []string{"*"}}}}
	tests := []struct {
		name, statements, caller string
		identity                 []policy.Document
		want                     policy.Decision
	}{
		{"a user that the key policy names", named, user, nil, policy.Allowed},
		{"another user", named, "arn:aws:iam::111122223333:user/other", nil, policy.Denied},
		{"a role of the same name as the user", named, "arn:aws:iam::111122223333:role/operator", nil, policy.Denied},
		{"the account, and IAM allows it", root, user, []policy.Document{all}, policy.Allowed},
		{"the account, and IAM allows nothing", root, user, nil, policy.Denied},
		{"a denial of one of the account", root + "," + denied, user, []policy.Document{all}, policy.Denied},
		{"a denial of somebody else", root + "," + denied, role, []policy.Document{all}, policy.Allowed},
		{"another account", root, stranger, []policy.Document{all}, policy.Denied},
		{"a session of a role of the user's name", session, user, nil, policy.Denied},
		{"what only looks like a user", named, "urn" + user[len("arn"):], nil, policy.CannotTell},
		{"a user's ARN cut short", named, "arn:aws:iam", nil, policy.CannotTell},
		{"a user of no account", named, "arn:aws:iam::x:user/operator", nil, policy.CannotTell},
		{"no caller", root, "operator", []policy.Document{all}, policy.CannotTell},
		{"what only looks like a role", root, "urn" + role[len("arn"):], []policy.Document{all}, policy.CannotTell},
		{"a role of another service", root, "arn:aws:sts::111122223333:role/cmek", []policy.Document{all}, policy.CannotTell},
		{"a role of no account", root, "arn:aws:iam::x:role/cmek", []policy.Document{all}, policy.CannotTell},
		{"a group", root, "arn:aws:iam::111122223333:group/cmek", []policy.Document{all}, policy.CannotTell},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			document, err := policy.Parse(`{"Version":"2012-10-17","Statement":[` + tt.statements + `]}`)
			if err != nil {
				t.Fatal(err)
			}
			caller := policy.Role{ARN: tt.caller, Policies: tt.identity, AllRead: true}
			if got := policy.Call(document, key, caller, "kms:PutKeyPolicy"); got.Decision != tt.want {
				t.Errorf("got %s (%s), want %s", got.Decision, got.Why, tt.want)
			}
			for _, no := range []cmek.KeyURI{"0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001", "projects/p/locations/l/keyRings/r/cryptoKeys/k", ""} {
				if got := policy.Call(document, no, caller, "kms:PutKeyPolicy"); got.Decision != policy.CannotTell {
					t.Errorf("of the key %q: %s (%s)", no, got.Decision, got.Why)
				}
			}
			if tt.caller != role {
				return
			}
			access := policy.KeyAccess(document, key, caller)
			for _, action := range policy.KeyActions {
				if got := policy.Call(document, key, caller, action); got != access.Verdicts[action] {
					t.Errorf("%s: got %+v, KeyAccess has %+v", action, got, access.Verdicts[action])
				}
			}
		})
	}
}
