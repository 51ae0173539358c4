package simulator_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/simulator"
)

// callKMS sends one request as the SDKs do, with the Region in the credential scope.
func callKMS(t *testing.T, world *simulator.World, region, operation, input string) reply {
	t.Helper()
	return callKMSWith(t, world, "SAMPLE", region, operation, input)
}

// callKMSWith is callKMS with an access key.
func callKMSWith(t *testing.T, world *simulator.World, access, region, operation, input string) reply {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://kms.test/", strings.NewReader(input))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", "TrentService."+operation)
	if region != "" {
		request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+access+"/20260101/"+region+"/kms/aws4_request, SignedHeaders=host, Signature=0")
	}
	response, err := simulator.Transport(world.AWSKMS()).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

// awsSDK is the real client of AWS KMS.
func awsSDK(region, endpoint string, transport http.RoundTripper) *kms.Client {
	return kms.New(kms.Options{
		Region: region, BaseEndpoint: &endpoint, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("SAMPLE", "sample", ""), Retryer: aws.NopRetryer{},
	})
}

func inProcess(world *simulator.World, region string) *kms.Client {
	return awsSDK(region, "http://kms.test", simulator.Transport(world.AWSKMS()))
}

// awsSDKAs is the real client with an access key of its own.
func awsSDKAs(access, region string, world *simulator.World) *kms.Client {
	return kms.New(kms.Options{
		Region: region, BaseEndpoint: aws.String("http://kms.test"), HTTPClient: &http.Client{Transport: simulator.Transport(world.AWSKMS())},
		Credentials: credentials.NewStaticCredentialsProvider(access, "sample", ""), Retryer: aws.NopRetryer{},
	})
}

func wantCode(t *testing.T, attempt, code string, err error) {
	t.Helper()
	apiError, ok := errors.AsType[smithy.APIError](err)
	if !ok || apiError.ErrorCode() != code {
		t.Errorf("%s: got %v, want %s", attempt, err, code)
	}
}

func TestTheAWSSDKReadsAKeyInProcessAndOverAListener(t *testing.T) {
	world := newWorld(t)
	server := httptest.NewServer(world.Handler())
	defer server.Close()
	clients := map[string]*kms.Client{
		"in process": inProcess(world, "us-east-1"), "over a listener": awsSDK("us-east-1", server.URL, http.DefaultTransport),
	}
	for name, client := range clients {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			for _, id := range []string{paymentsKey, paymentsKey[strings.LastIndex(paymentsKey, "/")+1:], "alias/payments-cmek"} {
				key, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
				if err != nil {
					t.Fatalf("describe %s: %v", id, err)
				}
				m := key.KeyMetadata
				if *m.Arn != paymentsKey || m.KeyState != types.KeyStateEnabled || len(*m.CurrentKeyMaterialId) != 64 || m.CreationDate.After(time.Now()) {
					t.Errorf("describe %s: %+v", id, m)
				}
			}
			status, err := client.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: aws.String(paymentsKey)})
			if err != nil || !status.KeyRotationEnabled || *status.RotationPeriodInDays != 365 || !status.NextRotationDate.After(time.Now()) {
				t.Errorf("rotation status is %+v, %v", status, err)
			}
			policy, err := client.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: aws.String(paymentsKey)})
			if err != nil || !strings.Contains(*policy.Policy, paymentsRole) || !strings.Contains(*policy.Policy, "crdb-cmek-kms") {
				t.Errorf("policy is %+v, %v", policy, err)
			}
			aliases, err := client.ListAliases(ctx, &kms.ListAliasesInput{KeyId: aws.String(paymentsKey)})
			if err != nil || len(aliases.Aliases) != 1 || *aliases.Aliases[0].AliasName != "alias/payments-cmek" {
				t.Errorf("aliases are %+v, %v", aliases, err)
			}
		})
	}
}

func TestKMSErrorsHaveTheSDKsNames(t *testing.T) {
	world := newWorld(t)
	if err := world.DenyKMS("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002", true); err != nil {
		t.Fatal(err)
	}
	describe := func(region, id string) error {
		_, err := inProcess(world, region).DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: &id})
		return err
	}
	wantCode(t, "a key of another Region", "NotFoundException", describe("us-west-2", paymentsKey))
	wantCode(t, "a bare id of another Region", "NotFoundException", describe("us-west-2", paymentsKey[strings.LastIndex(paymentsKey, "/")+1:]))
	wantCode(t, "an unknown alias", "NotFoundException", describe("us-east-1", "alias/none"))
	wantCode(t, "a key that denies us", "AccessDeniedException", describe("us-east-1", "0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002"))
	callKMS(t, world, "", "DescribeKey", "{}").want(t, 400, "MissingAuthenticationTokenException")
	callKMS(t, world, "us-east-1", "Sign", "{}").want(t, 400, "UnknownOperationException")
	callKMS(t, world, "us-east-1", "DescribeKey", "[").want(t, 400, "SerializationException")
	callKMS(t, world, "us-east-1", "DescribeKey", "{}").want(t, 400, "ValidationException")
}

func TestAnOnDemandRotationRunsThenCompletes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world, ctx := newWorld(t, simulator.KMSRotationTime, "1m"), context.Background()
		client, id := inProcess(world, "eu-central-1"), aws.String(ledgerKey)
		material := func(client *kms.Client, id string) string {
			key, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
			if err != nil {
				t.Fatal(err)
			}
			return *key.KeyMetadata.CurrentKeyMaterialId
		}
		before := material(client, *id)
		if _, err := client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: id}); err != nil {
			t.Fatal(err)
		}
		status, err := client.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: id})
		if err != nil || status.OnDemandRotationStartDate == nil || material(client, *id) != before {
			t.Errorf("while the rotation runs the status is %+v, %v", status, err)
		}
		_, err = client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: id})
		wantCode(t, "a second rotation at once", "ConflictException", err)
		_, err = inProcess(world, "eu-west-1").RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: aws.String(ledgerReplica)})
		wantCode(t, "rotation of a replica", "UnsupportedOperationException", err)

		time.Sleep(time.Minute)
		after := material(client, *id)
		if after == before || material(inProcess(world, "eu-west-1"), ledgerReplica) != after {
			t.Errorf("after the rotation the primary has %s and the replica %s", after, material(inProcess(world, "eu-west-1"), ledgerReplica))
		}
		if got := eventNames(t, world.Events()); !slices.Equal(got, []string{
			"RotateKeyOnDemand", "RotateKeyOnDemand", "RotateKeyOnDemand", "KMS CMK Rotation", "RotateKey",
		}) {
			t.Errorf("emitted %v; want the request, the two refused ones, and the completion twice", got)
		}
	})
}

func TestRotationsAreListedByPageWithMaterial(t *testing.T) {
	world, ctx := newWorld(t), context.Background()
	client := inProcess(world, "eu-central-1")
	input := &kms.ListKeyRotationsInput{KeyId: aws.String(ledgerKey), IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial, Limit: aws.Int32(2)}
	var all []types.RotationsListEntry
	pages := kms.NewListKeyRotationsPaginator(client, input)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Rotations...)
	}
	if len(all) != 3 || all[0].RotationDate != nil || all[2].KeyMaterialState != types.KeyMaterialStateCurrent || all[1].RotationType != types.RotationTypeAutomatic {
		t.Errorf("key materials are %+v; want the first without a date and the last current", all)
	}
	callKMS(t, world, "eu-central-1", "ListKeyRotations", `{"KeyId":"`+ledgerKey+`","Limit":1001}`).want(t, 400, "ValidationException")
	callKMS(t, world, "eu-central-1", "ListKeyRotations", `{"KeyId":"`+ledgerKey+`","Marker":"x"}`).want(t, 400, "InvalidMarkerException")
}

func TestAKeyRotatesAtMost25TimesOnDemand(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		input := `{"KeyId":"` + paymentsKey + `"}`
		for range 25 {
			callKMS(t, world, "us-east-1", "RotateKeyOnDemand", input).want(t, 200, "")
			time.Sleep(time.Minute)
		}
		callKMS(t, world, "us-east-1", "RotateKeyOnDemand", input).want(t, 400, "LimitExceededException")
	})
}

func TestAnAutomaticRotationIsCaughtUpWhenTheKeyIsEnabled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		input := `{"KeyId":"` + paymentsKey + `"}`
		callKMS(t, world, "us-east-1", "DisableKey", input).want(t, 200, "")
		time.Sleep(60 * 24 * time.Hour) // the rotation was due after 30 days
		world.Events()
		callKMS(t, world, "us-east-1", "EnableKey", input).want(t, 200, "")
		if got := eventNames(t, eventsOf(t, world.Events(), paymentsKey)); !slices.Equal(got, []string{"KMS CMK Rotation", "RotateKey", "EnableKey"}) {
			t.Errorf("enabling the key emitted %v", got)
		}
		time.Sleep(365 * 24 * time.Hour)
		if got := eventNames(t, eventsOf(t, world.Events(), paymentsKey)); !slices.Equal(got, []string{"KMS CMK Rotation", "RotateKey"}) {
			t.Errorf("a year later %v was emitted", got)
		}
	})
}

func TestAScheduledDeletionEndsInTheKeysEndUnlessCanceled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world, ctx := newWorld(t), context.Background()
		client, id := inProcess(world, "us-east-1"), aws.String(paymentsKey)
		schedule := &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(7)}
		if _, err := client.ScheduleKeyDeletion(ctx, schedule); err != nil {
			t.Fatal(err)
		}
		key, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: id})
		if err != nil || key.KeyMetadata.KeyState != types.KeyStatePendingDeletion || time.Until(*key.KeyMetadata.DeletionDate) != 7*24*time.Hour {
			t.Errorf("the key is %+v, %v", key, err)
		}
		if _, err := client.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: id}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * 24 * time.Hour)
		if key, err = client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: id}); err != nil || key.KeyMetadata.KeyState != types.KeyStateDisabled {
			t.Errorf("after the cancellation the key is %+v, %v; want Disabled", key, err)
		}
		if _, err := client.ScheduleKeyDeletion(ctx, schedule); err != nil {
			t.Fatal(err)
		}
		time.Sleep(7 * 24 * time.Hour)
		_, err = client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: id})
		wantCode(t, "describe a deleted key", "NotFoundException", err)
		want := []string{"ScheduleKeyDeletion", "CancelKeyDeletion", "ScheduleKeyDeletion", "KMS CMK Deletion", "DeleteKey"}
		if got := eventNames(t, eventsOf(t, world.Events(), paymentsKey)); !slices.Equal(got, want) {
			t.Errorf("emitted %v, want %v", got, want)
		}
	})
}

func TestAPrimaryWaitsForItsReplicasToBeDeleted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		schedule := func(region string) {
			arn := strings.Replace(ledgerKey, "eu-central-1", region, 1)
			callKMS(t, world, region, "ScheduleKeyDeletion", `{"KeyId":"`+arn+`","PendingWindowInDays":7}`).want(t, 200, "")
		}
		describe := func() reply {
			return callKMS(t, world, "eu-central-1", "DescribeKey", `{"KeyId":"`+ledgerKey+`"}`)
		}
		schedule("eu-central-1")
		describe().want(t, 200, `"KeyState":"PendingReplicaDeletion"`).want(t, 200, `"PendingDeletionWindowInDays":7`)
		time.Sleep(30 * 24 * time.Hour)
		describe().want(t, 200, "PendingReplicaDeletion")
		schedule("eu-west-1")
		schedule("us-east-1")
		time.Sleep(8 * 24 * time.Hour)
		describe().want(t, 200, `"KeyState":"PendingDeletion"`)
		time.Sleep(7 * 24 * time.Hour)
		describe().want(t, 400, "NotFoundException")
	})
}

func TestAReplicaIsCreatedThenUsable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		callKMS(t, world, "eu-central-1", "ReplicateKey", `{"KeyId":"`+ledgerKey+`","ReplicaRegion":"ap-south-1"}`).want(t, 200, "Creating")
		callKMS(t, world, "eu-central-1", "ReplicateKey", `{"KeyId":"`+ledgerKey+`","ReplicaRegion":"ap-south-1"}`).want(t, 400, "AlreadyExistsException")
		time.Sleep(time.Minute)
		arn := strings.Replace(ledgerKey, "eu-central-1", "ap-south-1", 1)
		callKMS(t, world, "ap-south-1", "DescribeKey", `{"KeyId":"`+arn+`"}`).want(t, 200, `"KeyState":"Enabled"`).want(t, 200, "REPLICA")
	})
}

func TestAReplicaHasNoneOfThePrimarysTags(t *testing.T) {
	seed := simulator.DefaultSeed()
	for i := range seed.Keys {
		seed.Keys[i].Tags = map[string]string{"team": "ledger"}
	}
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	arn := strings.Replace(ledgerKey, "eu-central-1", "ap-south-1", 1)
	callKMS(t, world, "eu-central-1", "ReplicateKey", `{"KeyId":"`+ledgerKey+`","ReplicaRegion":"ap-south-1"}`).want(t, 200, `"ReplicaTags":[]`)
	callKMS(t, world, "ap-south-1", "ListResourceTags", `{"KeyId":"`+arn+`"}`).want(t, 200, `"Tags":[]`)
}

func TestOnlyDescribeKeyTakesAnAlias(t *testing.T) {
	world := newWorld(t)
	for _, alias := range []string{"alias/payments-cmek", "arn:aws:kms:us-east-1:111122223333:alias/payments-cmek"} {
		input := `{"KeyId":"` + alias + `"}`
		callKMS(t, world, "us-east-1", "DescribeKey", input).want(t, 200, paymentsKey)
		callKMS(t, world, "us-east-1", "ListKeyRotations", input).want(t, 400, "Invalid keyId '"+alias+"'")
	}
	callKMS(t, world, "us-east-1", "DescribeKey", `{"KeyId":"alias/nothing"}`).want(t, 400, "alias/nothing is not found")
}

func TestRotationSettingsAndPoliciesAreChecked(t *testing.T) {
	const other = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002"
	tests := []struct {
		name, region, operation, input string
		status                         int
		inBody                         string
	}{
		{"a period out of range", "us-east-1", "EnableKeyRotation", `{"KeyId":"` + paymentsKey + `","RotationPeriodInDays":89}`, 400, "ValidationException"},
		{"rotation of a replica", "eu-west-1", "EnableKeyRotation", `{"KeyId":"` + ledgerReplica + `"}`, 400, "UnsupportedOperationException"},
		{"a deletion window out of range", "us-east-1", "ScheduleKeyDeletion", `{"KeyId":"` + paymentsKey + `","PendingWindowInDays":6}`, 400, "ValidationException"},
		{"a cancellation of nothing", "us-east-1", "CancelKeyDeletion", `{"KeyId":"` + paymentsKey + `"}`, 400, "KMSInvalidStateException"},
		{"a policy that is none", "us-east-1", "PutKeyPolicy", `{"KeyId":"` + paymentsKey + `","Policy":"{}"}`, 400, "MalformedPolicyDocumentException"},
		{"a policy of another name", "us-east-1", "GetKeyPolicy", `{"KeyId":"` + paymentsKey + `","PolicyName":"mine"}`, 400, "NotFoundException"},
		{"tags", "us-east-1", "ListResourceTags", `{"KeyId":"` + paymentsKey + `"}`, 200, `"Tags":[]`},
		{"a single-Region key as primary", "us-east-1", "ReplicateKey", `{"KeyId":"` + paymentsKey + `","ReplicaRegion":"eu-west-1"}`, 400, "UnsupportedOperationException"},
		{"a disabled key", "us-east-1", "RotateKeyOnDemand", `{"KeyId":"` + other + `"}`, 400, "DisabledException"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			world := newWorld(t)
			callKMS(t, world, "us-east-1", "DisableKey", `{"KeyId":"`+other+`"}`).want(t, 200, "")
			callKMS(t, world, tt.region, tt.operation, tt.input).want(t, tt.status, tt.inBody)
		})
	}
}

func TestRotationIsSwitchedOffAndOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world, input := newWorld(t), `{"KeyId":"`+paymentsKey+`"}`
		callKMS(t, world, "us-east-1", "DisableKeyRotation", input).want(t, 200, "")
		callKMS(t, world, "us-east-1", "GetKeyRotationStatus", input).want(t, 200, `"KeyRotationEnabled":false}`)
		time.Sleep(400 * 24 * time.Hour)
		world.Events()
		callKMS(t, world, "us-east-1", "EnableKeyRotation", `{"KeyId":"`+paymentsKey+`","RotationPeriodInDays":90}`).want(t, 200, "")
		time.Sleep(181 * 24 * time.Hour)
		want := []string{"EnableKeyRotation", "KMS CMK Rotation", "RotateKey", "KMS CMK Rotation", "RotateKey"}
		if got := eventNames(t, eventsOf(t, world.Events(), paymentsKey)); !slices.Equal(got, want) {
			t.Errorf("half a year with a period of 90 days emitted %v, want %v", got, want)
		}
	})
}

func TestImportedMaterialDoesNotRotateByItself(t *testing.T) {
	seed := simulator.DefaultSeed()
	seed.Keys[0].Origin, seed.Keys[0].RotationPeriodDays = "EXTERNAL", 0
	world, err := simulator.New(seed, simulator.WithRand(rand.New(rand.NewPCG(3, 4))))
	if err != nil {
		t.Fatal(err)
	}
	input := `{"KeyId":"` + paymentsKey + `"}`
	callKMS(t, world, "us-east-1", "DescribeKey", input).want(t, 200, `"Origin":"EXTERNAL"`)
	callKMS(t, world, "us-east-1", "EnableKeyRotation", input).want(t, 400, "UnsupportedOperationException")
	callKMS(t, world, "us-east-1", "RotateKeyOnDemand", input).want(t, 400, "KMSInvalidStateException")
}
