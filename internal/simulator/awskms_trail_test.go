package simulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// use is the part of a call's record that the tests check.
type use struct {
	Account string
	Detail  struct {
		EventName, EventType, ErrorCode, SharedEventID, EventID string
		ReadOnly                                                bool
		UserIdentity                                            struct {
			Type, ARN, AccountID string
			SessionContext       struct {
				SessionIssuer struct{ ARN, UserName string }
			}
		}
		RequestParameters   map[string]any
		ResponseElements    map[string]any
		Resources           []struct{ ARN string }
		AdditionalEventData map[string]string
	}
}

func lastRecord(t *testing.T, world *simulator.World) use {
	t.Helper()
	all := world.EventsAfter(0)
	if len(all) == 0 {
		t.Fatal("there are no events")
	}
	return decode[use](t, string(all[len(all)-1].Payload))
}

func TestUseOfAKeyIsRecordedWithoutItsSecrets(t *testing.T) {
	world := worldOfCallers(t)
	encrypted := callAs(t, world, cmekAccess, "Encrypt", `{"KeyId":"`+paymentsKey+`","Plaintext":"c2VjcmV0","EncryptionContext":{"Team":"a"}}`).want(t, 200, "").body
	r := lastRecord(t, world).Detail
	if r.EventName != "Encrypt" || !r.ReadOnly || r.ResponseElements != nil || len(r.AdditionalEventData["keyMaterialId"]) != 64 || r.Resources[0].ARN != paymentsKey {
		t.Errorf("the record is %+v", r)
	}
	if r.RequestParameters["encryptionAlgorithm"] != "SYMMETRIC_DEFAULT" || r.RequestParameters["encryptionContext"].(map[string]any)["Team"] != "a" {
		t.Errorf("the parameters are %v", r.RequestParameters)
	}
	if who := r.UserIdentity; who.Type != "AssumedRole" || who.SessionContext.SessionIssuer.ARN != paymentsRole || !strings.HasPrefix(who.ARN, "arn:aws:sts::111122223333:assumed-role/payments-cmek/") {
		t.Errorf("the caller is %+v, want a session of the role", who)
	}
	blob := decode[struct{ CiphertextBlob string }](t, encrypted).CiphertextBlob
	callAs(t, world, cmekAccess, "Decrypt", `{"CiphertextBlob":"`+blob+`","EncryptionContext":{"Team":"a"}}`).want(t, 200, "c2VjcmV0")
	if r := lastRecord(t, world).Detail; r.EventName != "Decrypt" || r.RequestParameters["keyId"] != nil || r.Resources[0].ARN != paymentsKey {
		t.Errorf("the record is %+v; want the key among the resources only", r)
	}
	callAs(t, world, clerkAccess, "Decrypt", `{"CiphertextBlob":"`+blob+`","EncryptionContext":{"Team":"a"}}`).want(t, 400, "")
	if r := lastRecord(t, world).Detail; r.ErrorCode != "AccessDenied" || r.RequestParameters != nil || r.Resources != nil || r.UserIdentity.ARN != clerk {
		t.Errorf("the record of the denial is %+v", r)
	}
	callAs(t, world, "AKIAUNKNOWN", "DisableKey", `{"KeyId":"`+paymentsKey+`"}`).want(t, 200, "")
	callAs(t, world, cmekAccess, "GenerateDataKey", `{"KeyId":"`+paymentsKey+`","KeySpec":"AES_256"}`).want(t, 400, "")
	if r := lastRecord(t, world).Detail; r.ErrorCode != "DisabledException" || !r.ReadOnly || r.RequestParameters["keySpec"] != "AES_256" {
		t.Errorf("the record of the failure is %+v", r)
	}
	for _, e := range world.EventsAfter(0) {
		if strings.Contains(string(e.Payload), "c2VjcmV0") || strings.Contains(string(e.Payload), blob) {
			t.Errorf("an event holds the plaintext or the ciphertext: %s", e.Payload)
		}
	}
}

func TestASuccessfulCallAcrossAccountsIsRecordedInBoth(t *testing.T) {
	world := worldOfCallers(t)
	encrypt := `{"KeyId":"` + paymentsKey + `","Plaintext":"eA=="}`
	callAs(t, world, remoteAccess, "Encrypt", encrypt).want(t, 400, "AccessDenied")
	emitted := world.Events()
	if len(emitted) != 1 || decode[use](t, string(emitted[0].Payload)).Account != "444455556666" {
		t.Fatalf("the denial left %d events; want one in the caller's account", len(emitted))
	}
	putPolicy(t, world, "AKIAUNKNOWN", rootOfKeys+`,{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"kms:Encrypt","Resource":"*"}`, false).want(t, 200, "")
	world.Events()
	callAs(t, world, remoteAccess, "Encrypt", encrypt).want(t, 200, "")
	emitted = world.Events()
	if len(emitted) != 2 {
		t.Fatalf("the success left %d events, want two", len(emitted))
	}
	owner, caller := decode[use](t, string(emitted[0].Payload)), decode[use](t, string(emitted[1].Payload))
	if owner.Account != "111122223333" || caller.Account != "444455556666" || owner.Detail.SharedEventID == "" ||
		owner.Detail.SharedEventID != caller.Detail.SharedEventID || owner.Detail.EventID == caller.Detail.EventID || owner.Detail.UserIdentity.AccountID != "444455556666" {
		t.Errorf("the records are %+v and %+v", owner, caller)
	}
}

func TestWritesAreRecordedInTheSpellingOfCloudTrail(t *testing.T) {
	world := newWorld(t)
	tests := []struct {
		operation, input string
		parameters       []string // in the record, as JSON
		elements         []string
		resources        int
	}{
		{"CreateKey", `{"Description":"spare"}`, []string{`"description":"spare"`, `"origin":"AWS_KMS"`, `"keySpec":"SYMMETRIC_DEFAULT"`}, []string{`"keyMetadata":{`, `"keyState":"Enabled"`, `"arn":"arn:aws:kms:us-east-1:`}, 1},
		{"CreateAlias", `{"AliasName":"alias/new","TargetKeyId":"` + paymentsKey + `"}`, []string{`"aliasName":"alias/new"`, `"targetKeyId"`}, nil, 2},
		{"UpdateAlias", `{"AliasName":"alias/orders-cmek","TargetKeyId":"` + paymentsKey + `"}`, []string{`"aliasName"`}, nil, 2},
		{"DeleteAlias", `{"AliasName":"alias/new"}`, []string{`"aliasName":"alias/new"`}, nil, 2},
		{"TagResource", `{"KeyId":"` + paymentsKey + `","Tags":[{"TagKey":"Team","TagValue":"A"}]}`, []string{`"tags":[{"tagKey":"Team","tagValue":"A"}]`}, nil, 1},
		{"UntagResource", `{"KeyId":"` + paymentsKey + `","TagKeys":["Team"]}`, []string{`"tagKeys":["Team"]`}, nil, 1},
		{"CreateGrant", `{"KeyId":"` + paymentsKey + `","GranteePrincipal":"` + ordersRole + `","Operations":["Decrypt"],"Constraints":{"EncryptionContextEquals":{"Team":"A"}}}`,
			[]string{`"constraints":{"encryptionContextEquals":{"Team":"A"}}`, `"operations":["Decrypt"]`}, []string{`"grantId":"`, `"keyId":"` + paymentsKey}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.operation, func(t *testing.T) {
			callKMS(t, world, "us-east-1", tt.operation, tt.input).want(t, 200, "")
			emitted := world.Events()
			payload := string(emitted[len(emitted)-1].Payload)
			r := decode[use](t, payload).Detail
			if r.EventName != tt.operation || r.ReadOnly || len(r.Resources) != tt.resources || (r.ResponseElements == nil) != (tt.elements == nil) {
				t.Errorf("the record is %s", payload)
			}
			for _, want := range append(tt.parameters, tt.elements...) {
				if !strings.Contains(payload, want) {
					t.Errorf("the record lacks %s:\n%s", want, payload)
				}
			}
		})
	}
}

// TestKeyturnUnderstandsEveryRecord has keyturn's own decoder read what each operation leaves behind.
func TestKeyturnUnderstandsEveryRecord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		i := newImporter(t, world, "us-east-1", false)
		external := cmek.KeyURI(*i.key)
		input := i.wrap(material(1))
		validTo := time.Now().Add(time.Hour)
		input.ExpirationModel, input.ValidTo = types.ExpirationModelTypeKeyMaterialExpires, &validTo
		i.mustSend(input)
		time.Sleep(2 * time.Hour)
		i.mustSend(i.wrap(material(1)))
		callKMS(t, world, "us-east-1", "DeleteImportedKeyMaterial", `{"KeyId":"`+*i.key+`"}`).want(t, 200, "")
		key := `{"KeyId":"` + paymentsKey + `"`
		grant := decode[struct{ GrantID string }](t, callKMS(t, world, "us-east-1", "CreateGrant", key+`,"GranteePrincipal":"`+ordersRole+`","Operations":["Decrypt"]}`).want(t, 200, "").body).GrantID
		for _, call := range [][2]string{
			{"RevokeGrant", key + `,"GrantId":"` + grant + `"}`}, {"TagResource", key + `,"Tags":[{"TagKey":"a","TagValue":"b"}]}`}, {"UntagResource", key + `,"TagKeys":["a"]}`},
			{"CreateAlias", `{"AliasName":"alias/new","TargetKeyId":"` + paymentsKey + `"}`}, {"UpdateAlias", `{"AliasName":"alias/new","TargetKeyId":"` + paymentsKey + `"}`},
			{"DeleteAlias", `{"AliasName":"alias/new"}`}, {"DisableKey", key + "}"},
		} {
			callKMS(t, world, "us-east-1", call[0], call[1]).want(t, 200, "")
		}
		callKMS(t, world, "us-east-1", "Encrypt", key+`,"Plaintext":"eA=="}`).want(t, 400, "DisabledException")

		want := []struct {
			change cmek.Change
			key    cmek.KeyURI
		}{
			{cmek.ChangeKeyCreated, external}, {cmek.ChangeMaterialImported, external}, {cmek.ChangeMaterialExpired, external}, {cmek.ChangeMaterialExpired, external},
			{cmek.ChangeMaterialImported, external}, {cmek.ChangeMaterialDeleted, external}, {cmek.ChangeGrantCreated, paymentsKey}, {cmek.ChangeGrantRemoved, paymentsKey},
			{cmek.ChangeKeyTags, paymentsKey}, {cmek.ChangeKeyTags, paymentsKey}, {cmek.ChangeAlias, paymentsKey}, {cmek.ChangeAlias, paymentsKey}, {cmek.ChangeAlias, paymentsKey},
			{cmek.ChangeKeyDisabled, paymentsKey}, {cmek.ChangeUseRefused, paymentsKey},
		}
		all := world.Events()
		if len(all) != len(want) {
			t.Fatalf("%d events: %v; want %d", len(all), eventNames(t, all), len(want))
		}
		for n, e := range all {
			decoded, err := events.Decode(e.Payload)
			if err != nil || len(decoded) != 1 || decoded[0].Change != want[n].change || decoded[0].Key != want[n].key {
				t.Errorf("%s\nis understood as %+v, %v; want %s of %s", e.Payload, decoded, err, want[n].change, want[n].key)
			}
			if strings.Contains(string(e.Payload), "importToken") || strings.Contains(string(e.Payload), "encryptedKeyMaterial") {
				t.Errorf("the record holds the import: %s", e.Payload)
			}
		}
	})
}
