package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

func TestParseRoleReadsEveryPolicyOfARole(t *testing.T) {
	const (
		arn   = "arn:aws:iam::111122223333:role/cmek"
		key   = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
		allow = `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/cmek"},"Action":"kms:*","Resource":"*"}]}`
		deny  = `{"Statement":[{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"}]}`
		other = `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	)
	keyPolicy, err := policy.Parse(allow)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]policy.Decision{
		`{"inline":{},"attached":{}}`:                                policy.Allowed,
		`{"inline":{"cut":` + deny + `},"attached":{}}`:              policy.Denied,
		`{"inline":{},"attached":{"arn:p":` + deny + `}}`:            policy.Denied,
		`{"inline":{},"attached":{},"boundary":{"b":` + other + `}}`: policy.Denied,
		`{"inline":{"s3":` + other + `},"attached":{}}`:              policy.Allowed,
	} {
		role, err := policy.ParseRole(arn, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := policy.KeyAccess(keyPolicy, key, role).Decision(); got != want {
			t.Errorf("%s: the role is %s, want %s", text, got, want)
		}
	}
	role, err := policy.ParseRole(arn, `{"inline":{"cut":`+deny+`},"attached":{"arn:b":`+other+`,"arn:a":`+other+`},"boundary":{"arn:c":`+other+`}}`)
	if want := []string{"arn:a", "arn:b"}; err != nil || !slices.Equal(role.Attached, want) || role.BoundaryARN != "arn:c" {
		t.Errorf("the attached policies are %v, the boundary %s (%v), want %v and arn:c", role.Attached, role.BoundaryARN, err, want)
	}
	if _, err := policy.ParseRole(arn, `{"inline":{"bad":{"Statement":7}}}`); err == nil || !strings.Contains(err.Error(), "bad") {
		t.Errorf("a policy that cannot be read gave %v, want an error that names it", err)
	}
}
