package amazon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// A key of the simulator's default world.
const (
	paymentsKey = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001")
	missingKey  = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/ffffffff-7f43-4b1a-9c68-2d9e41b7f001")
)

// simulatedPolicies is a configuration for the simulator's KMS, with the calls that were made.
func simulatedPolicies(t *testing.T) (*simulator.World, amazon.Config, *[]string) {
	t.Helper()
	world, err := simulator.New(simulator.DefaultSeed())
	if err != nil {
		t.Fatal(err)
	}
	calls := new([]string)
	recorded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*calls = append(*calls, strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService."))
		world.AWSKMS().ServeHTTP(w, r)
	})
	return world, configAt(t, "http://kms.test", simulator.Transport(recorded)), calls
}

func TestPoliciesConform(t *testing.T) {
	world, err := simulator.New(simulator.DefaultSeed())
	if err != nil {
		t.Fatal(err)
	}
	cmektest.PoliciesConform(t, func(t *testing.T, condition cmektest.PolicyCondition) cmektest.ArrangedPolicies {
		use := cmek.Use{ClusterID: "c-1", CloudAccount: "444455556666", Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: paymentsKey, AuthPrincipal: "arn:aws:iam::111122223333:role/cmek"}}
		if err := world.DenyKMS(string(paymentsKey), condition == cmektest.KeyPolicyDenied); err != nil {
			t.Fatal(err)
		}
		switch condition {
		case cmektest.PrincipalMissing:
			use.Spec.AuthPrincipal = "arn:aws:iam::111122223333:role/gone"
		case cmektest.PoliciesOfAnother:
			use.Spec = cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: "projects/p/locations/us-east1/keyRings/r/cryptoKeys/k", AuthPrincipal: "cmek@p.iam.gserviceaccount.com"}
		}
		iamEndpoint, _ := fakeIAM(t, "")
		iamURL, _ := url.Parse(iamEndpoint)
		iamProxy := httputil.NewSingleHostReverseProxy(iamURL)
		both := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case condition == cmektest.PoliciesGarbled:
				fmt.Fprint(w, "<html>hello</html>")
			case r.Header.Get("X-Amz-Target") != "":
				world.AWSKMS().ServeHTTP(w, r)
			default:
				iamProxy.ServeHTTP(w, r)
			}
		})
		policies := amazon.NewPolicies(configAt(t, "http://aws.test", simulator.Transport(both)), nil)
		return cmektest.ArrangedPolicies{Policies: policies, Use: use, KeyPolicy: string(paymentsKey), Principal: string(use.Spec.AuthPrincipal)}
	})
}

func TestAKeyPolicyIsReadAsItIs(t *testing.T) {
	_, config, _ := simulatedPolicies(t)
	policy, err := amazon.NewPolicies(config, nil).KeyPolicy(t.Context(), paymentsKey)
	if err != nil || !strings.Contains(policy, `"kms:ReEncrypt*"`) || !strings.HasPrefix(policy, "{") {
		t.Errorf("the key policy reads %q, %v; want JSON that names the actions of a CMEK", policy, err)
	}
}

func TestAKeyPolicyThatCannotBeReadSaysWhy(t *testing.T) {
	world, config, calls := simulatedPolicies(t)
	policies := amazon.NewPolicies(config, nil)
	if _, err := policies.KeyPolicy(t.Context(), missingKey); !errors.Is(err, cmek.ErrNotFound) {
		t.Errorf("the policy of a key that does not exist: %v, want ErrNotFound", err)
	}
	if err := world.DenyKMS(string(paymentsKey), true); err != nil {
		t.Fatal(err)
	}
	if _, err := policies.KeyPolicy(t.Context(), paymentsKey); !errors.Is(err, cmek.ErrDenied) {
		t.Errorf("the policy of a key that we may not read: %v, want ErrDenied", err)
	}
	made := len(*calls)
	for _, uri := range []cmek.KeyURI{"", "arn:aws:kms:us-east-1:111122223333:alias/payments-cmek",
		"projects/p/locations/l/keyRings/r/cryptoKeys/k", "arn:aws:kms::111122223333:key/mrk-1"} {
		if _, err := policies.KeyPolicy(t.Context(), uri); err == nil {
			t.Errorf("the policy of %q was read", uri)
		}
	}
	if len(*calls) != made {
		t.Errorf("for what is not the ARN of a key the KMS was called for %v", (*calls)[made:])
	}
}

func TestARepairLeavesAnEnabledKey(t *testing.T) {
	_, config, calls := simulatedPolicies(t)
	schedule := &kms.ScheduleKeyDeletionInput{KeyId: aws.String(string(paymentsKey))}
	if _, err := kms.NewFromConfig(config).ScheduleKeyDeletion(t.Context(), schedule); err != nil {
		t.Fatal(err)
	}
	repairer, keys := amazon.NewRepairer(config, ""), amazon.NewKMS(config, nil)
	state := func(when string, want cmek.KeyState) {
		t.Helper()
		if key, err := keys.Key(t.Context(), paymentsKey); err != nil || key.State != want {
			t.Errorf("%s the key is %s (error %v), want %s", when, key.State, err, want)
		}
	}
	state("before the repair", cmek.KeyDeletionScheduled)
	if err := repairer.CancelDeletion(t.Context(), paymentsKey); err != nil {
		t.Fatalf("cancel deletion: %v", err)
	}
	state("after the cancellation", cmek.KeyDisabled)
	if err := repairer.Enable(t.Context(), paymentsKey); err != nil {
		t.Fatalf("enable: %v", err)
	}
	state("after the repair", cmek.KeyEnabled)
	if writes := slices.DeleteFunc(slices.Clone(*calls), func(c string) bool {
		return !strings.HasPrefix(c, "Cancel") && !strings.HasPrefix(c, "Enable")
	}); !slices.Equal(writes, []string{"CancelKeyDeletion", "EnableKey"}) {
		t.Errorf("the repairer called %v, want each of its two calls once", writes)
	}
}

func TestARepairThatTheKMSRefusesSaysSo(t *testing.T) {
	world, config, _ := simulatedPolicies(t)
	repairer := amazon.NewRepairer(config, "")
	if err := repairer.CancelDeletion(t.Context(), paymentsKey); err == nil || !strings.Contains(err.Error(), "cancel deletion of key "+string(paymentsKey)) {
		t.Errorf("canceling a deletion that is not scheduled: %v", err)
	}
	if err := world.DenyKMS(string(paymentsKey), true); err != nil {
		t.Fatal(err)
	}
	if err := repairer.Enable(t.Context(), paymentsKey); !errors.Is(err, cmek.ErrDenied) {
		t.Errorf("enabling a key that we may not touch: %v, want ErrDenied", err)
	}
}

func TestTheRepairerActsAsTheRoleInTheKeysAccount(t *testing.T) {
	fake := newFakeKMS(t, map[cmek.KeyURI]fakeKey{single: {}})
	repairer := amazon.NewRepairer(configAt(t, fake.endpoint, nil), "arn:aws:iam::{account}:role/keyturn-repair")
	if err := repairer.Enable(t.Context(), single); err != nil {
		t.Fatalf("enable: %v", err)
	}
	want := []string{"arn:aws:iam::111122223333:role/keyturn-repair  keyturn"}
	if !slices.Equal(fake.assumed, want) || !slices.Equal(fake.calls, []string{"EnableKey"}) {
		t.Errorf("roles assumed are %q and the calls %v, want %q and EnableKey", fake.assumed, fake.calls, want)
	}
}

const trustPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"a+b c%20d"}}}]}`

// fakeIAM answers GetRole and the lists of a role's policies, which are empty, for the role cmek only, and AssumeRole of STS.
func fakeIAM(t *testing.T, code string) (endpoint string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		action, role := r.FormValue("Action"), r.FormValue("RoleName")
		*asked = append(*asked, action+" "+role+r.FormValue("RoleArn"))
		switch {
		case action == "AssumeRole":
			(&fakeKMS{}).assumeRole(w, r)
		case code != "" || role != "cmek":
			w.WriteHeader(map[bool]int{true: http.StatusForbidden, false: http.StatusNotFound}[code == "AccessDenied"])
			fmt.Fprintf(w, `<ErrorResponse><Error><Code>%s</Code><Message>no</Message></Error></ErrorResponse>`, map[bool]string{true: code, false: "NoSuchEntity"}[code != ""])
		case action == "ListRolePolicies" || action == "ListAttachedRolePolicies":
			fmt.Fprintf(w, `<%[1]sResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><%[1]sResult><IsTruncated>false</IsTruncated></%[1]sResult></%[1]sResponse>`, action)
		default:
			fmt.Fprintf(w, `<GetRoleResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetRoleResult><Role><Path>/</Path>
				<RoleName>cmek</RoleName><RoleId>AROA</RoleId><Arn>arn:aws:iam::111122223333:role/cmek</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>
				<AssumeRolePolicyDocument>%s</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>`, url.PathEscape(trustPolicy))
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func TestATrustPolicyIsReadDecoded(t *testing.T) {
	endpoint, asked := fakeIAM(t, "")
	policies := amazon.NewPolicies(configAt(t, endpoint, nil), nil)
	for _, arn := range []cmek.Principal{"arn:aws:iam::111122223333:role/cmek", "arn:aws:iam::111122223333:role/a/path/cmek"} {
		if got, err := policies.RoleTrust(t.Context(), arn); err != nil || got != trustPolicy {
			t.Errorf("the trust policy of %s reads\n%s, %v; want\n%s", arn, got, err, trustPolicy)
		}
	}
	if want := []string{"GetRole cmek", "GetRole cmek"}; !slices.Equal(*asked, want) {
		t.Errorf("IAM was asked %q, want %q", *asked, want)
	}
}

func TestATrustPolicyThatCannotBeReadSaysWhy(t *testing.T) {
	for code, want := range map[string]error{"": cmek.ErrNotFound, "AccessDenied": cmek.ErrDenied} {
		endpoint, _ := fakeIAM(t, code)
		if _, err := amazon.NewPolicies(configAt(t, endpoint, nil), nil).RoleTrust(t.Context(), "arn:aws:iam::111122223333:role/other"); !errors.Is(err, want) {
			t.Errorf("answered %q the error is %v, want %v", code, err, want)
		}
	}
	endpoint, asked := fakeIAM(t, "")
	for _, arn := range []cmek.Principal{"", "cmek", "arn:aws:iam::111122223333:user/ana", "arn:aws:sts::111122223333:assumed-role/cmek/x", "sa@p.iam.gserviceaccount.com"} {
		if _, err := amazon.NewPolicies(configAt(t, endpoint, nil), nil).RoleTrust(t.Context(), arn); err == nil {
			t.Errorf("the trust policy of %q was read", arn)
		}
	}
	if len(*asked) != 0 {
		t.Errorf("for what is no role IAM was asked %q", *asked)
	}
}

func TestARoleOfAnotherAccountIsReadWithTheReaderRoleThere(t *testing.T) {
	endpoint, asked := fakeIAM(t, "")
	roles := amazon.ReaderRoles{"*": {ARN: "arn:aws:iam::{account}:role/keyturn-reader"}}
	if _, err := amazon.NewPolicies(configAt(t, endpoint, nil), roles).RoleTrust(t.Context(), "arn:aws:iam::999900001111:role/cmek"); err != nil {
		t.Fatalf("read trust policy: %v", err)
	}
	if want := []string{"AssumeRole arn:aws:iam::999900001111:role/keyturn-reader", "GetRole cmek"}; !slices.Equal(*asked, want) {
		t.Errorf("AWS was asked %q, want %q", *asked, want)
	}
}

func TestMotosIAMTellsATrustPolicyToo(t *testing.T) {
	config := motoConfig(t, nil)
	client := iam.NewFromConfig(config)
	if _, err := client.CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: aws.String("cmek-of-moto"), Path: aws.String("/a/path/"), AssumeRolePolicyDocument: aws.String(trustPolicy),
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.DeleteRole(context.Background(), &iam.DeleteRoleInput{RoleName: aws.String("cmek-of-moto")})
	})
	policies := amazon.NewPolicies(config, nil)
	if got, err := policies.RoleTrust(t.Context(), "arn:aws:iam::123456789012:role/a/path/cmek-of-moto"); err != nil || got != trustPolicy {
		t.Errorf("the trust policy reads\n%s, %v; want\n%s", got, err, trustPolicy)
	}
	if _, err := policies.RoleTrust(t.Context(), "arn:aws:iam::123456789012:role/none"); !errors.Is(err, cmek.ErrNotFound) {
		t.Errorf("a role that does not exist: %v, want ErrNotFound", err)
	}
}

func TestEveryPolicyOfARoleIsRead(t *testing.T) {
	config := motoConfig(t, nil)
	client := iam.NewFromConfig(config)
	const document = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"}]}`
	role := "keyturn-every-policy"
	created, err := client.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &role, AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
	if err != nil {
		t.Fatal(err)
	}
	policies := amazon.NewPolicies(config, nil)
	arn := cmek.Principal(aws.ToString(created.Role.Arn))
	if text, err := policies.RolePolicies(t.Context(), arn); err != nil || text != `{"inline":{},"attached":{}}` {
		t.Errorf("a role without policies reads %q, %v", text, err)
	}
	managed, err := client.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("cut-off"), PolicyDocument: aws.String(document)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: managed.Policy.Arn}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &role, PolicyName: aws.String("inline"), PolicyDocument: aws.String(document)}); err != nil {
		t.Fatal(err)
	}
	text, err := policies.RolePolicies(t.Context(), arn)
	want := `{"inline":{"inline":` + document + `},"attached":{"` + aws.ToString(managed.Policy.Arn) + `":` + document + `}}`
	if err != nil || text != want {
		t.Errorf("the role's policies read\n%s (%v), want\n%s", text, err, want)
	}
	if _, err := policies.RolePolicies(t.Context(), "arn:aws:iam::123456789012:role/nobody"); !errors.Is(err, cmek.ErrNotFound) {
		t.Errorf("a role that does not exist gave %v, want ErrNotFound", err)
	}
}
