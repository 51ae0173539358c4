package simulator_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/internal/simulator"
)

func TestWhatAKeyEncryptsItDecrypts(t *testing.T) {
	world, ctx := newWorld(t), context.Background()
	client, id := inProcess(world, "us-east-1"), aws.String(paymentsKey)
	about := map[string]string{"cluster": "payments"}
	encrypted, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String("alias/payments-cmek"), Plaintext: []byte("store key"), EncryptionContext: about})
	if err != nil || *encrypted.KeyId != paymentsKey || strings.Contains(string(encrypted.CiphertextBlob), "store key") {
		t.Fatalf("encrypted %+v, %v", encrypted, err)
	}
	blob := encrypted.CiphertextBlob
	for name, given := range map[string]*string{"without a key": nil, "with its key": id, "with its alias": aws.String("alias/payments-cmek")} {
		decrypted, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, KeyId: given, EncryptionContext: about})
		if err != nil || string(decrypted.Plaintext) != "store key" || *decrypted.KeyId != paymentsKey {
			t.Errorf("%s: decrypted %+v, %v", name, decrypted, err)
		}
	}
	decrypt := func(client *kms.Client, blob []byte, key *string, about map[string]string) error {
		_, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, KeyId: key, EncryptionContext: about})
		return err
	}
	changed := append([]byte{}, blob...)
	changed[len(changed)-1] ^= 1
	wantCode(t, "another encryption context", "InvalidCiphertextException", decrypt(client, blob, nil, map[string]string{"cluster": "orders"}))
	wantCode(t, "no encryption context", "InvalidCiphertextException", decrypt(client, blob, nil, nil))
	wantCode(t, "a changed byte", "InvalidCiphertextException", decrypt(client, changed, nil, about))
	wantCode(t, "a short blob", "InvalidCiphertextException", decrypt(client, blob[:20], nil, about))
	wantCode(t, "another key", "IncorrectKeyException", decrypt(client, blob, aws.String("alias/orders-cmek"), about))
	wantCode(t, "another Region", "AccessDeniedException", decrypt(inProcess(world, "eu-west-1"), blob, nil, about))
}

func TestDecryptingSurvivesRotationAndRegionsOfOneKey(t *testing.T) {
	world, ctx := newWorld(t, simulator.KMSPropagation, "0s"), context.Background()
	client := inProcess(world, "eu-central-1")
	before, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: aws.String(ledgerKey), NumberOfBytes: aws.Int32(100)})
	if err != nil || len(before.Plaintext) != 100 {
		t.Fatalf("data key is %+v, %v", before, err)
	}
	if err := world.Rotate(ledgerKey); err != nil {
		t.Fatal(err)
	}
	after, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: aws.String(ledgerKey), KeySpec: "AES_128"})
	if err != nil || len(after.Plaintext) != 16 || *after.KeyMaterialId == *before.KeyMaterialId {
		t.Fatalf("after the rotation the data key is %+v, %v", after, err)
	}
	decrypted, err := inProcess(world, "eu-west-1").Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: before.CiphertextBlob})
	if err != nil || string(decrypted.Plaintext) != string(before.Plaintext) || *decrypted.KeyId != ledgerReplica || *decrypted.KeyMaterialId != *before.KeyMaterialId {
		t.Errorf("the replica decrypted %+v, %v", decrypted, err)
	}
}

func TestUseOfAKeyIsRefusedAsDocumented(t *testing.T) {
	world := newWorld(t)
	encrypt := `{"KeyId":"` + paymentsKey + `","Plaintext":"c3RvcmUga2V5"`
	tests := []struct{ name, operation, input, code string }{
		{"no plaintext", "Encrypt", `{"KeyId":"` + paymentsKey + `","Plaintext":""}`, "ValidationException"},
		{"a plaintext of 4097 bytes", "Encrypt", `{"KeyId":"` + paymentsKey + `","Plaintext":"` + base64.StdEncoding.EncodeToString(make([]byte, 4097)) + `"}`, "ValidationException"},
		{"an asymmetric algorithm", "Encrypt", encrypt + `,"EncryptionAlgorithm":"RSAES_OAEP_SHA_1"}`, "InvalidKeyUsageException"},
		{"a dry run", "Encrypt", encrypt + `,"DryRun":true}`, "DryRunOperationException"},
		{"a grant token of nothing", "Encrypt", encrypt + `,"GrantTokens":["x"]}`, "InvalidGrantTokenException"},
		{"an ARN of nothing", "Encrypt", `{"KeyId":"arn:aws:s3:::bucket","Plaintext":"eA=="}`, "NotFoundException"},
		{"plaintext that is not base64", "Encrypt", `{"KeyId":"` + paymentsKey + `","Plaintext":"!"}`, "SerializationException"},
		{"two sizes of a data key", "GenerateDataKey", `{"KeyId":"` + paymentsKey + `","KeySpec":"AES_256","NumberOfBytes":8}`, "ValidationException"},
		{"no size of a data key", "GenerateDataKey", `{"KeyId":"` + paymentsKey + `"}`, "ValidationException"},
		{"no ciphertext", "Decrypt", `{"KeyId":"` + paymentsKey + `"}`, "ValidationException"},
		{"an enclave", "GenerateDataKey", `{"KeyId":"` + paymentsKey + `","KeySpec":"AES_256","Recipient":{}}`, "ValidationException"},
		{"a dry run without ciphertext", "Decrypt", `{"KeyId":"` + paymentsKey + `","DryRun":true,"DryRunModifiers":["IGNORE_CIPHERTEXT"]}`, "DryRunOperationException"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			callKMS(t, world, "us-east-1", tt.operation, tt.input).want(t, 400, tt.code)
		})
	}
	callKMS(t, world, "us-east-1", "DisableKey", `{"KeyId":"`+paymentsKey+`"}`).want(t, 200, "")
	callKMS(t, world, "us-east-1", "Encrypt", encrypt+`}`).want(t, 400, "DisabledException")
	callKMS(t, world, "us-east-1", "ScheduleKeyDeletion", `{"KeyId":"`+paymentsKey+`"}`).want(t, 200, "")
	callKMS(t, world, "us-east-1", "Encrypt", encrypt+`}`).want(t, 400, "KMSInvalidStateException")
}

type lastUsage struct {
	KeyLastUsage struct {
		Operation, CloudTrailEventID string
		Timestamp                    float64
	}
	TrackingStartDate, KeyCreationDate float64
}

func TestTheLastUsageOfAKeyIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		last := func() lastUsage {
			return decode[lastUsage](t, callKMS(t, world, "us-east-1", "GetKeyLastUsage", `{"KeyId":"`+paymentsKey+`"}`).want(t, 200, "").body)
		}
		if got := last(); got.KeyLastUsage.Operation != "" || got.TrackingStartDate <= got.KeyCreationDate {
			t.Errorf("before any use the usage is %+v", got)
		}
		callKMS(t, world, "us-east-1", "Encrypt", `{"KeyId":"`+paymentsKey+`","Plaintext":"eA==","DryRun":true}`).want(t, 400, "DryRun")
		if got := last(); got.KeyLastUsage.Operation != "" {
			t.Errorf("a dry run counts as use: %+v", got)
		}
		callKMS(t, world, "us-east-1", "GenerateDataKey", `{"KeyId":"`+paymentsKey+`","KeySpec":"AES_256"}`).want(t, 200, "")
		if got := last().KeyLastUsage; got.Operation != "GenerateDataKey" || got.Timestamp != float64(time.Now().Unix()) || got.CloudTrailEventID == "" {
			t.Errorf("after the use the usage is %+v", got)
		}
		time.Sleep(time.Minute)
		if world.StoreKeys(); last().KeyLastUsage.Operation != "GenerateDataKey" {
			t.Error("reading the store keys counts as use")
		}
		put(t, world, payments, paymentsSpec).want(t, 200, "")
		if got := last().KeyLastUsage; got.Timestamp != float64(time.Now().Unix()) {
			t.Errorf("after a cluster's PUT the usage is %+v", got)
		}
		callKMS(t, world, "us-east-1", "GetKeyLastUsage", `{"KeyId":"alias/payments-cmek"}`).want(t, 400, "NotFoundException")
	})
}
