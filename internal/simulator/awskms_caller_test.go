package simulator_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/simulator"
)

// Access keys of the world of callers.
const (
	cmekAccess   = "ASIASAMPLECMEK"   // the role payments-cmek, which IAM allows nothing
	clerkAccess  = "AKIASAMPLECLERK"  // a user whom IAM allows nothing
	remoteAccess = "AKIASAMPLEREMOTE" // an administrator of another account
	clerk        = "arn:aws:iam::111122223333:user/staff/clerk"
	remote       = "arn:aws:iam::444455556666:user/remote"
	rootOfKeys   = `{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}`
)

func worldOfCallers(t *testing.T) *simulator.World {
	t.Helper()
	seed := simulator.DefaultSeed()
	seed.AWSCallers = []simulator.AWSCallerSeed{
		{AccessKeyID: cmekAccess, Principal: paymentsRole},
		{AccessKeyID: clerkAccess, Principal: clerk},
		{AccessKeyID: remoteAccess, Principal: remote, Administrator: true},
	}
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	return world
}

// callAs is callKMS in us-east-1 with an access key.
func callAs(t *testing.T, world *simulator.World, access, operation, input string) reply {
	t.Helper()
	return callKMSWith(t, world, access, "us-east-1", operation, input)
}

func putPolicy(t *testing.T, world *simulator.World, access, statements string, bypass bool) reply {
	t.Helper()
	input, err := json.Marshal(map[string]any{"KeyId": paymentsKey, "Policy": `{"Version":"2012-10-17","Statement":[` + statements + `]}`,
		"BypassPolicyLockoutSafetyCheck": bypass})
	if err != nil {
		t.Fatal(err)
	}
	return callAs(t, world, access, "PutKeyPolicy", string(input))
}

func TestTheKeyPolicyGovernsCallers(t *testing.T) {
	describe, encrypt := `{"KeyId":"`+paymentsKey+`"}`, `{"KeyId":"`+paymentsKey+`","Plaintext":"eA=="}`
	statement := func(effect, principal, action, more string) string {
		return `{"Effect":"` + effect + `","Principal":{"AWS":"` + principal + `"},"Action":"` + action + `","Resource":"*"` + more + `}`
	}
	tests := []struct {
		name, statements, access, operation, input string
		allowed                                    bool
	}{
		{"a role that is named", "", cmekAccess, "Encrypt", encrypt, true},
		{"a role that is named for other actions", "", cmekAccess, "DisableKey", describe, false},
		{"a user whom only the account names and IAM allows nothing", "", clerkAccess, "DescribeKey", describe, false},
		{"an administrator of the account", "", "AKIAUNKNOWN", "Encrypt", encrypt, true},
		{"another account", "", remoteAccess, "DescribeKey", describe, false},
		{"another account that is named", statement("Allow", "444455556666", "kms:DescribeKey", ""), remoteAccess, "DescribeKey", describe, true},
		{"another account where the operation stays inside", statement("Allow", "444455556666", "kms:*", ""), remoteAccess, "GetKeyPolicy", describe, false},
		{"a user who is named", statement("Allow", clerk, "kms:Describe*", ""), clerkAccess, "DescribeKey", describe, true},
		{"a user under another action", statement("Allow", clerk, "kms:Describe*", ""), clerkAccess, "Encrypt", encrypt, false},
		{"everybody", `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}`, clerkAccess, "Encrypt", encrypt, true},
		{"a denial beside it", statement("Allow", clerk, "kms:*", "") + "," + statement("Deny", clerk, "kms:Encrypt", ""), clerkAccess, "Encrypt", encrypt, false},
		{"a condition that holds", statement("Allow", clerk, "kms:*", `,"Condition":{"StringEquals":{"kms:CallerAccount":"111122223333"}}`), clerkAccess, "Encrypt", encrypt, true},
		{"a condition that does not", statement("Allow", clerk, "kms:*", `,"Condition":{"StringEquals":{"kms:CallerAccount":"444455556666"}}`), clerkAccess, "Encrypt", encrypt, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			world := worldOfCallers(t)
			if tt.statements != "" {
				putPolicy(t, world, "AKIAUNKNOWN", rootOfKeys+","+tt.statements, false).want(t, 200, "")
			}
			got := callAs(t, world, tt.access, tt.operation, tt.input)
			if denied := got.status == 400 && strings.Contains(got.body, "AccessDeniedException"); denied == tt.allowed || !denied && got.status != 200 {
				t.Errorf("answered %d %s; want allowed %t", got.status, got.body, tt.allowed)
			}
		})
	}
}

func TestWhatIsOnNoKeyIsDecidedByIAM(t *testing.T) {
	world := worldOfCallers(t)
	putPolicy(t, world, "AKIAUNKNOWN", `{"Effect":"Allow","Principal":{"AWS":["`+clerk+`","arn:aws:iam::111122223333:user/operator"]},"Action":["kms:PutKeyPolicy","kms:ListKeys"],"Resource":"*"}`, false).want(t, 200, "")
	for operation, input := range map[string]string{"ListKeys": `{}`, "CreateKey": `{}`, "ListAliases": `{"KeyId":"` + paymentsKey + `"}`} {
		callAs(t, world, clerkAccess, operation, input).want(t, 400, "no identity-based policy allows the kms:"+operation)
		callAs(t, world, "AKIAUNKNOWN", operation, input).want(t, 200, "")
	}
}

func TestAPolicyIsRefusedThatKMSWouldRefuse(t *testing.T) {
	world := worldOfCallers(t)
	named := func(principal string) string {
		return rootOfKeys + `,{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"kms:*","Resource":"*"}`
	}
	tests := []struct {
		name, statements string
		bypass           bool
		inBody           string // "" is accepted
	}{
		{"one that admits the account", rootOfKeys, false, ""},
		{"one that admits the caller by name", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/operator"},"Action":"kms:PutKeyPolicy","Resource":"*"}`, false, ""},
		{"one that locks the caller out", `{"Effect":"Allow","Principal":{"AWS":"` + paymentsRole + `"},"Action":"kms:*","Resource":"*"}`, false, "will not allow you to update"},
		{"one that leaves the caller all but PutKeyPolicy", strings.Replace(rootOfKeys, "kms:*", "kms:Get*", 1), false, "will not allow you to update"},
		{"one that denies the caller", rootOfKeys + `,{"Effect":"Deny","Principal":"*","Action":"kms:Put*","Resource":"*"}`, false, "will not allow you to update"},
		{"a role by name", named(paymentsRole), false, ""},
		{"a session", named("arn:aws:sts::111122223333:assumed-role/payments-cmek/s"), false, ""},
		{"a group", named("arn:aws:iam::111122223333:group/admins"), false, "invalid principals"},
		{"a wildcard in an ARN", named("arn:aws:iam::111122223333:role/*"), false, "invalid principals"},
		{"an account of eleven digits", named("11112222333"), false, "invalid principals"},
		{"a deleted role", named("AROAEXAMPLEEXAMPLEEXA"), false, "invalid principals"},
		{"a name", named("payments"), false, "invalid principals"},
		{"an effect that is none", `{"Effect":"allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}`, false, "Syntax errors"},
		{"no principal", `{"Effect":"Allow","Action":"kms:*","Resource":"*"}`, false, "MalformedPolicyDocumentException"},
		{"no statement", "", false, "Syntax errors"},
		{"one larger than 32 KB", strings.Replace(rootOfKeys, `"Resource"`, `"Sid":"`+strings.Repeat("a", 33<<10)+`","Resource"`, 1), false, "LimitExceededException"},
		{"a lock-out on purpose", `{"Effect":"Allow","Principal":{"AWS":"` + paymentsRole + `"},"Action":"kms:*","Resource":"*"}`, true, ""},
	}
	for _, tt := range tests { // the last one locks the key
		t.Run(tt.name, func(t *testing.T) {
			status := 400
			if tt.inBody == "" {
				status = 200
			}
			putPolicy(t, world, "AKIAUNKNOWN", tt.statements, tt.bypass).want(t, status, tt.inBody)
		})
	}
	putPolicy(t, world, "AKIAUNKNOWN", rootOfKeys, true).want(t, 400, "AccessDeniedException")
	callAs(t, world, cmekAccess, "ListKeyPolicies", `{"KeyId":"`+paymentsKey+`"}`).want(t, 200, `"PolicyNames":["default"]`)
}

func TestAGrantLetsItsGranteeUseTheKey(t *testing.T) {
	world := worldOfCallers(t)
	const admin = "AKIAUNKNOWN"
	encrypt := `{"KeyId":"` + paymentsKey + `","Plaintext":"eA==","EncryptionContext":{"team":"a"}}`
	create := `{"KeyId":"` + paymentsKey + `","GranteePrincipal":"` + clerk + `","Operations":["Encrypt"],"Name":"clerk",` +
		`"Constraints":{"EncryptionContextSubset":{"team":"a"}}`
	callAs(t, world, clerkAccess, "Encrypt", encrypt).want(t, 400, "AccessDeniedException")
	callAs(t, world, admin, "CreateGrant", create+`,"DryRun":true}`).want(t, 400, "DryRunOperationException")
	callAs(t, world, clerkAccess, "CreateGrant", create+`}`).want(t, 400, "AccessDeniedException")
	made := callAs(t, world, admin, "CreateGrant", create+`}`).want(t, 200, "GrantToken").body
	callAs(t, world, admin, "CreateGrant", create+`}`).want(t, 200, made)
	g := decode[struct{ GrantID, GrantToken string }](t, made)

	callAs(t, world, clerkAccess, "Encrypt", encrypt).want(t, 200, "CiphertextBlob")
	callAs(t, world, clerkAccess, "Encrypt", strings.Replace(encrypt, `}}`, `},"GrantTokens":["`+g.GrantToken+`"]}`, 1)).want(t, 200, "CiphertextBlob")
	callAs(t, world, clerkAccess, "Encrypt", strings.Replace(encrypt, `"a"`, `"b"`, 1)).want(t, 400, "AccessDeniedException")
	callAs(t, world, clerkAccess, "DescribeKey", `{"KeyId":"`+paymentsKey+`"}`).want(t, 400, "AccessDeniedException")
	callAs(t, world, admin, "ListGrants", `{"KeyId":"`+paymentsKey+`"}`).want(t, 200, `"GrantId":"`+g.GrantID+`","Name":"clerk"`).
		want(t, 200, `"Constraints":{"EncryptionContextSubset":{"team":"a"}}`)
	callAs(t, world, admin, "ListGrants", `{"KeyId":"`+paymentsKey+`","GranteePrincipal":"`+remote+`"}`).want(t, 200, `"Grants":[]`)
	putPolicy(t, world, admin, rootOfKeys+`,{"Effect":"Deny","Principal":{"AWS":"`+clerk+`"},"Action":"kms:Encrypt","Resource":"*"}`, false).want(t, 200, "")
	callAs(t, world, clerkAccess, "Encrypt", encrypt).want(t, 400, "AccessDeniedException")
	putPolicy(t, world, admin, rootOfKeys, false).want(t, 200, "")

	revoke := `{"KeyId":"` + paymentsKey + `","GrantId":"` + g.GrantID + `"`
	callAs(t, world, admin, "RevokeGrant", revoke+`,"DryRun":true}`).want(t, 400, "DryRunOperationException")
	callAs(t, world, admin, "RevokeGrant", revoke+`}`).want(t, 200, "")
	callAs(t, world, admin, "RevokeGrant", revoke+`}`).want(t, 400, "NotFoundException")
	callAs(t, world, clerkAccess, "Encrypt", encrypt).want(t, 400, "AccessDeniedException")
	for code, change := range map[string][2]string{
		"InvalidArnException": {clerk, "clerk"}, "ValidationException": {`["Encrypt"]`, `["Sign"]`}, "at 'operations.1.member'": {`["Encrypt"]`, `["Eat"]`},
		"operations must hold": {`["Encrypt"]`, `[]`},
	} {
		callAs(t, world, admin, "CreateGrant", strings.Replace(create, change[0], change[1], 1)+`}`).want(t, 400, code)
	}
	callAs(t, world, admin, "ListGrants", `{"KeyId":"`+paymentsKey+`","GrantId":"short"}`).want(t, 400, "InvalidGrantIdException")
}

func TestAClusterUsesItsKeyByAGrantAsWell(t *testing.T) {
	world := worldOfCallers(t)
	putPolicy(t, world, "AKIAUNKNOWN", rootOfKeys, false).want(t, 200, "")
	put(t, world, payments, paymentsSpec).want(t, 400, "Insufficient permissions")
	callAs(t, world, "AKIAUNKNOWN", "CreateGrant", `{"KeyId":"`+paymentsKey+`","GranteePrincipal":"`+paymentsRole+`","Operations":["Encrypt","Decrypt"]}`).want(t, 200, "")
	put(t, world, payments, paymentsSpec).want(t, 200, "")
}

func TestAWSCallersOfASeedAreChecked(t *testing.T) {
	seed := simulator.DefaultSeed()
	seed.AWSCallers = []simulator.AWSCallerSeed{{AccessKeyID: "a/b", Principal: "arn:aws:sts::111122223333:assumed-role/R/S"}}
	err := seed.Validate()
	if err == nil || !strings.Contains(err.Error(), "aws_callers[0].access_key_id") || !strings.Contains(err.Error(), "aws_callers[0].principal") {
		t.Errorf("the error is %v", err)
	}
}
