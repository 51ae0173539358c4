package alerting

import (
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// What an event carries counts as it is there, and what does not decide about it is not read.
func TestReads_ofEvents(t *testing.T) {
	const keyPolicy, trust = string(key), role
	permissions := ledger.RolePolicies(role)
	for _, row := range []struct {
		change cmek.Change
		policy string
		want   map[string]bool
	}{
		{cmek.ChangeKeyPolicy, goodKeyPolicy, map[string]bool{keyPolicy: false, permissions: true, trust: false}},
		{cmek.ChangeKeyPolicy, "", map[string]bool{keyPolicy: true, permissions: true, trust: false}},
		{cmek.ChangePrincipalTrust, goodTrust, map[string]bool{keyPolicy: false, permissions: false, trust: false}},
		{cmek.ChangePrincipalTrust, "", map[string]bool{keyPolicy: false, permissions: false, trust: true}},
		{cmek.ChangePrincipalDeleted, "", map[string]bool{keyPolicy: false, permissions: false, trust: false}},
		{cmek.ChangePrincipalPolicy, denyKMS, map[string]bool{keyPolicy: true, permissions: true, trust: false}},
		{cmek.ChangePrincipalPolicy, "", map[string]bool{keyPolicy: true, permissions: true, trust: false}},
		{cmek.ChangeBoundary, denyKMS, map[string]bool{keyPolicy: true, permissions: true, trust: false}},
	} {
		e := cmek.Event{Source: "aws.test/AWS API Call via CloudTrail/Test", Change: row.change, Key: key, Account: account, Policy: row.policy}
		for name, want := range row.want {
			if got := evaluatorOf(e).reads(e, name); got != want {
				t.Errorf("to judge %s, of which the event carries %q, %s is read: %t, want %t", row.change, row.policy, name, got, want)
			}
		}
	}
}

// What cannot be understood equals nothing, not even a policy without statements.
func TestEqualDocuments(t *testing.T) {
	const empty, other = `{"Version":"2012-10-17","Statement":[]}`, `{"Statement":[],"Version":"2012-10-17"}`
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{empty, other, true}, {goodKeyPolicy, " " + goodKeyPolicy, true}, {goodKeyPolicy, denyKeyPolicy, false},
		{empty, "", false}, {"", empty, false}, {"<html>", empty, false}, {empty, "<html>", false}, {"", "", false},
	} {
		if got := awsDocument.equal(row.a, row.b); got != row.want {
			t.Errorf("%s and %s are equal: %t, want %t", row.a, row.b, got, row.want)
		}
	}
}
