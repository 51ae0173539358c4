package simulator_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/simulator"
)

func TestAKeyIsMadeListedTaggedAndNamed(t *testing.T) {
	world, ctx := newWorld(t), context.Background()
	client := inProcess(world, "eu-north-1")
	made, err := client.CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String("spare"), Tags: []types.Tag{{TagKey: aws.String("team"), TagValue: aws.String("a")}}})
	if err != nil {
		t.Fatal(err)
	}
	m := made.KeyMetadata
	if m.KeyState != types.KeyStateEnabled || *m.Description != "spare" || len(*m.CurrentKeyMaterialId) != 64 ||
		!strings.HasPrefix(*m.Arn, "arn:aws:kms:eu-north-1:111122223333:key/") || *m.MultiRegion {
		t.Errorf("made %+v", m)
	}
	keys, err := client.ListKeys(ctx, &kms.ListKeysInput{})
	if err != nil || len(keys.Keys) != 1 || *keys.Keys[0].KeyArn != *m.Arn || *keys.Keys[0].KeyId != *m.KeyId {
		t.Errorf("keys are %+v, %v", keys, err)
	}
	multi, err := client.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	if err != nil || !strings.HasPrefix(*multi.KeyMetadata.KeyId, "mrk-") || multi.KeyMetadata.MultiRegionConfiguration.MultiRegionKeyType != types.MultiRegionKeyTypePrimary {
		t.Fatalf("a multi-Region key is %+v, %v", multi, err)
	}
	replica, err := client.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: multi.KeyMetadata.KeyId, ReplicaRegion: aws.String("eu-west-1"),
		Tags: []types.Tag{{TagKey: aws.String("team"), TagValue: aws.String("b")}}})
	if err != nil || len(replica.ReplicaTags) != 1 {
		t.Errorf("the replica is %+v, %v", replica, err)
	}

	if _, err := client.TagResource(ctx, &kms.TagResourceInput{KeyId: m.KeyId, Tags: []types.Tag{{TagKey: aws.String("env"), TagValue: aws.String("")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UntagResource(ctx, &kms.UntagResourceInput{KeyId: m.KeyId, TagKeys: []string{"team", "other"}}); err != nil {
		t.Fatal(err)
	}
	tags, err := client.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: m.KeyId})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].TagKey != "env" {
		t.Errorf("tags are %+v, %v", tags, err)
	}

	alias := aws.String("alias/spare")
	if _, err := client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: alias, TargetKeyId: m.KeyId}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: alias, TargetKeyId: multi.KeyMetadata.Arn}); err != nil {
		t.Fatal(err)
	}
	if key, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: alias}); err != nil || *key.KeyMetadata.Arn != *multi.KeyMetadata.Arn {
		t.Errorf("the alias is for %+v, %v", key, err)
	}
	if _, err := client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: alias}); err != nil {
		t.Fatal(err)
	}
	_, err = client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: alias})
	wantCode(t, "a deleted alias", "NotFoundException", err)
	want := []string{"CreateKey", "CreateKey", "CreateKey", "ReplicateKey", "TagResource", "UntagResource", "CreateAlias", "UpdateAlias", "DeleteAlias"}
	if got := eventNames(t, world.Events()); !slices.Equal(got, want) {
		t.Errorf("emitted %v, want %v", got, want)
	}
}

func TestKeysAndTheirNamesAreRefusedAsTheModelSays(t *testing.T) {
	onKey := func(more string) string { return `{"KeyId":"` + paymentsKey + `"` + more + `}` }
	alias := func(name, target string) string {
		return `{"AliasName":"` + name + `","TargetKeyId":"` + target + `"}`
	}
	tags := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"TagKey":"k%d","TagValue":""}`, i))
		}
		return `,"Tags":[` + strings.Join(list, ",") + `]`
	}
	tests := []struct{ name, operation, input, code string }{
		{"an RSA key", "CreateKey", `{"KeySpec":"RSA_2048","KeyUsage":"SIGN_VERIFY"}`, "UnsupportedOperationException"},
		{"a symmetric key that signs", "CreateKey", `{"KeyUsage":"SIGN_VERIFY"}`, "ValidationException"},
		{"a spec that is none", "CreateKey", `{"KeySpec":"AES"}`, "enum value set"},
		{"a spec given twice", "CreateKey", `{"KeySpec":"SYMMETRIC_DEFAULT","CustomerMasterKeySpec":"SYMMETRIC_DEFAULT"}`, "ValidationException"},
		{"a custom key store", "CreateKey", `{"CustomKeyStoreId":"cks-1"}`, "CustomKeyStoreNotFoundException"},
		{"an external key store", "CreateKey", `{"Origin":"EXTERNAL_KEY_STORE"}`, "UnsupportedOperationException"},
		{"a policy that locks its maker out", "CreateKey", `{"Policy":"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"444455556666\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}}"}`, "MalformedPolicyDocumentException"},
		{"51 tags", "CreateKey", `{` + tags(51)[1:] + `}`, "LimitExceededException"},
		{"51 tags of a key", "TagResource", onKey(tags(51)), "LimitExceededException"},
		{"a tag twice", "TagResource", onKey(`,"Tags":[{"TagKey":"a","TagValue":""},{"TagKey":"a","TagValue":"b"}]`), "TagException"},
		{"a tag of AWS's own", "TagResource", onKey(`,"Tags":[{"TagKey":"AWS:x","TagValue":""}]`), "TagException"},
		{"a tag of other signs", "TagResource", onKey(`,"Tags":[{"TagKey":"a!","TagValue":""}]`), "TagException"},
		{"a tag without a value", "TagResource", onKey(`,"Tags":[{"TagKey":"a"}]`), "'tags.1.member.tagValue'"},
		{"a tag key of 129 characters", "UntagResource", onKey(`,"TagKeys":["` + strings.Repeat("a", 129) + `"]`), "'tagKeys.1.member'"},
		{"an alias without its prefix", "CreateAlias", alias("spare", paymentsKey), "InvalidAliasNameException"},
		{"an alias of the prefix only", "CreateAlias", alias("alias/", paymentsKey), "InvalidAliasNameException"},
		{"an alias of AWS's own", "CreateAlias", alias("alias/aws/ebs", paymentsKey), "InvalidAliasNameException"},
		{"an alias with a colon", "CreateAlias", alias("alias/a:b", paymentsKey), "InvalidAliasNameException"},
		{"an alias with a sign", "CreateAlias", alias("alias/a!", paymentsKey), "ValidationException"},
		{"an alias that exists", "CreateAlias", alias("alias/orders-cmek", paymentsKey), "AlreadyExistsException"},
		{"an alias for an alias", "CreateAlias", alias("alias/new", "alias/orders-cmek"), "NotFoundException"},
		{"an alias for no ARN", "CreateAlias", alias("alias/new", "arn:aws:kms"), "NotFoundException"},
		{"a move of no alias", "UpdateAlias", alias("alias/none", paymentsKey), "NotFoundException"},
		{"a deletion of no alias", "DeleteAlias", `{"AliasName":"alias/none"}`, "NotFoundException"},
		{"a deletion of no alias name", "DeleteAlias", `{"AliasName":"none"}`, "ValidationException"},
		{"an ARN of another service", "DescribeKey", `{"KeyId":"arn:aws:iam::111122223333:role/r"}`, "InvalidArnException"},
		{"an ARN of a short account", "DescribeKey", `{"KeyId":"arn:aws:kms:us-east-1:1111:key/x"}`, "InvalidArnException"},
		{"half an ARN", "EnableKey", `{"KeyId":"arn:aws:kms:us-east-1"}`, "InvalidArnException"},
		{"a key id of 2049 characters", "DescribeKey", `{"KeyId":"` + strings.Repeat("a", 2049) + `"}`, "less than or equal to 2048"},
		{"an empty key id", "DescribeKey", `{"KeyId":""}`, "ValidationException"},
		{"a key id that is a number", "DescribeKey", `{"KeyId":7}`, "SerializationException"},
		{"a limit of none", "ListKeys", `{"Limit":0}`, "ValidationException"},
		{"a limit of 1001", "ListKeys", `{"Limit":1001}`, "ValidationException"},
		{"a marker of nothing", "ListKeys", `{"Marker":"x"}`, "InvalidMarkerException"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			callKMS(t, newWorld(t), "us-east-1", tt.operation, tt.input).want(t, 400, tt.code)
		})
	}
	world := newWorld(t)
	callKMS(t, world, "us-east-1", "TagResource", onKey(tags(50))).want(t, 200, "")
	callKMS(t, world, "us-east-1", "TagResource", onKey(`,"Tags":[{"TagKey":"one more","TagValue":""}]`)).want(t, 400, "LimitExceededException")
	callKMS(t, world, "us-east-1", "TagResource", onKey(`,"Tags":[{"TagKey":"k1","TagValue":"again"}]`)).want(t, 200, "")
}

func TestRegionsThatDoNotExistAreRefused(t *testing.T) {
	world := newWorld(t)
	callKMS(t, world, "us-esat-1", "ListKeys", `{}`).want(t, 400, "InvalidSignatureException")
	for region, code := range map[string]string{"us-esat-1": "ValidationException", "cn-north-1": "ValidationException", "EU": "regular expression",
		"eu-west-1": "AlreadyExistsException", "eu-central-1": "AlreadyExistsException", "": "ValidationException"} {
		callKMS(t, world, "eu-central-1", "ReplicateKey", `{"KeyId":"`+ledgerKey+`","ReplicaRegion":"`+region+`"}`).want(t, 400, code)
	}
}

func TestAnAliasNeedsPermissionOnBothKeys(t *testing.T) {
	world := newWorld(t)
	if err := world.DenyKMS(paymentsKey, true); err != nil {
		t.Fatal(err)
	}
	const ordersKey = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002"
	callKMS(t, world, "us-east-1", "UpdateAlias", `{"AliasName":"alias/payments-cmek","TargetKeyId":"`+ordersKey+`"}`).want(t, 400, "AccessDeniedException")
	callKMS(t, world, "us-east-1", "UpdateAlias", `{"AliasName":"alias/orders-cmek","TargetKeyId":"`+paymentsKey+`"}`).want(t, 400, "AccessDeniedException")
	callKMS(t, world, "us-east-1", "UpdateAlias", `{"AliasName":"alias/orders-cmek","TargetKeyId":"`+ordersKey+`"}`).want(t, 200, "")
}

func TestListsOfKeysArePaged(t *testing.T) {
	seed := simulator.FleetSeed(100, 1)
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	client := kms.NewListKeysPaginator(awsSDKAs("444455556666", "us-east-1", world), &kms.ListKeysInput{Limit: aws.Int32(3)})
	seen := map[string]bool{}
	for client.HasMorePages() {
		page, err := client.NextPage(context.Background())
		if err != nil || len(page.Keys) > 3 {
			t.Fatalf("page of %d keys, %v", len(page.Keys), err)
		}
		for _, k := range page.Keys {
			seen[*k.KeyArn] = true
		}
	}
	if len(seen) != len(seed.Keys) {
		t.Errorf("listed %d keys of %d", len(seen), len(seed.Keys))
	}
}

func TestAKeyOnItsWayOutTakesNeitherTagsNorNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		callKMS(t, world, "us-east-1", "ScheduleKeyDeletion", `{"KeyId":"`+paymentsKey+`","PendingWindowInDays":7}`).want(t, 200, "")
		for operation, more := range map[string]string{"TagResource": `,"Tags":[]`, "UntagResource": `,"TagKeys":[]`, "CreateGrant": `,"Operations":["Encrypt"],"GranteePrincipal":"` + paymentsRole + `"`} {
			callKMS(t, world, "us-east-1", operation, `{"KeyId":"`+paymentsKey+`"`+more+`}`).want(t, 400, "KMSInvalidStateException")
		}
		callKMS(t, world, "us-east-1", "CreateAlias", `{"AliasName":"alias/late","TargetKeyId":"`+paymentsKey+`"}`).want(t, 400, "KMSInvalidStateException")
		callKMS(t, world, "us-east-1", "DeleteAlias", `{"AliasName":"alias/payments-cmek"}`).want(t, 200, "")
		time.Sleep(8 * 24 * time.Hour)
		callKMS(t, world, "us-east-1", "ListKeys", `{}`).want(t, 200, "f002")
		if got := callKMS(t, world, "us-east-1", "ListKeys", `{}`).body; strings.Contains(got, paymentsKey) {
			t.Errorf("the deleted key is listed: %s", got)
		}
	})
}

func TestAnAliasShowsWhenItWasMoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world, ctx := newWorld(t), context.Background()
		client := inProcess(world, "us-east-1")
		callKMS(t, world, "us-east-1", "CreateAlias", `{"AliasName":"alias/new","TargetKeyId":"`+paymentsKey+`"}`).want(t, 200, "")
		made := time.Now()
		time.Sleep(time.Hour)
		callKMS(t, world, "us-east-1", "UpdateAlias", `{"AliasName":"alias/new","TargetKeyId":"`+ledgerKeyIn("us-east-1")+`"}`).want(t, 200, "")
		list, err := client.ListAliases(ctx, &kms.ListAliasesInput{KeyId: aws.String(ledgerKeyIn("us-east-1"))})
		if err != nil || len(list.Aliases) != 2 {
			t.Fatalf("aliases are %+v, %v", list, err)
		}
		if a := list.Aliases[1]; *a.AliasName != "alias/new" || !a.CreationDate.Equal(made) || !a.LastUpdatedDate.Equal(made.Add(time.Hour)) {
			t.Errorf("the alias was made %v and moved %v", a.CreationDate, a.LastUpdatedDate)
		}
	})
}

func ledgerKeyIn(region string) string { return strings.Replace(ledgerKey, "eu-central-1", region, 1) }

func TestTagsOfOneReplicaAreItsOwn(t *testing.T) {
	seed := simulator.DefaultSeed()
	for i := range seed.Keys {
		seed.Keys[i].Tags = map[string]string{"team": "ledger"}
	}
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	callKMS(t, world, "us-east-1", "UntagResource", `{"KeyId":"`+ledgerKeyIn("us-east-1")+`","TagKeys":["team"]}`).want(t, 200, "")
	callKMS(t, world, "us-east-1", "ListResourceTags", `{"KeyId":"`+ledgerKeyIn("us-east-1")+`"}`).want(t, 200, `"Tags":[]`)
	callKMS(t, world, "eu-central-1", "ListResourceTags", `{"KeyId":"`+ledgerKey+`"}`).want(t, 200, `"TagValue":"ledger"`)
}
