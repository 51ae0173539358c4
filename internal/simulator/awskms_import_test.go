package simulator_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"hash"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/simulator"
)

// importer brings its own key material, as a customer does.
type importer struct {
	t      *testing.T
	client *kms.Client
	key    *string
}

func newImporter(t *testing.T, world *simulator.World, region string, multiRegion bool) importer {
	t.Helper()
	client := inProcess(world, region)
	made, err := client.CreateKey(context.Background(), &kms.CreateKeyInput{Origin: types.OriginTypeExternal, MultiRegion: &multiRegion})
	if err != nil {
		t.Fatal(err)
	}
	return importer{t, client, made.KeyMetadata.Arn}
}

// wrap encrypts the material for the key and returns the import that is to be sent.
func (i importer) wrap(material []byte) *kms.ImportKeyMaterialInput {
	i.t.Helper()
	return i.wrapWith(types.AlgorithmSpecRsaesOaepSha256, types.WrappingKeySpecRsa2048, material)
}

func (i importer) wrapWith(algorithm types.AlgorithmSpec, spec types.WrappingKeySpec, material []byte) *kms.ImportKeyMaterialInput {
	i.t.Helper()
	p, err := i.client.GetParametersForImport(context.Background(), &kms.GetParametersForImportInput{KeyId: i.key, WrappingAlgorithm: algorithm, WrappingKeySpec: spec})
	if err != nil {
		i.t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(p.PublicKey)
	if err != nil {
		i.t.Fatal(err)
	}
	newHash := map[types.AlgorithmSpec]func() hash.Hash{types.AlgorithmSpecRsaesOaepSha1: sha1.New, types.AlgorithmSpecRsaesOaepSha256: sha256.New}[algorithm]
	wrapped, err := rsa.EncryptOAEP(newHash(), rand.Reader, public.(*rsa.PublicKey), material, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	return &kms.ImportKeyMaterialInput{KeyId: i.key, ImportToken: p.ImportToken, EncryptedKeyMaterial: wrapped, ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire}
}

func (i importer) send(input *kms.ImportKeyMaterialInput) (material string, err error) {
	output, err := i.client.ImportKeyMaterial(context.Background(), input)
	if err != nil {
		return "", err
	}
	return *output.KeyMaterialId, nil
}

func (i importer) mustSend(input *kms.ImportKeyMaterialInput) string {
	i.t.Helper()
	material, err := i.send(input)
	if err != nil {
		i.t.Fatal(err)
	}
	return material
}

func (i importer) metadata() *types.KeyMetadata {
	i.t.Helper()
	key, err := i.client.DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: i.key})
	if err != nil {
		i.t.Fatal(err)
	}
	return key.KeyMetadata
}

func (i importer) wantState(state types.KeyState) {
	i.t.Helper()
	if got := i.metadata().KeyState; got != state {
		i.t.Errorf("the key is %s, want %s", got, state)
	}
}

func material(of byte) []byte { return bytes.Repeat([]byte{of}, 32) }

func TestAKeyWithImportedMaterialLivesAndRotates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world, ctx := newWorld(t), context.Background()
		i := newImporter(t, world, "us-east-1", false)
		i.wantState(types.KeyStatePendingImport)
		if m := i.metadata(); m.CurrentKeyMaterialId != nil || m.ExpirationModel != "" {
			t.Errorf("without material the key is %+v", m)
		}
		_, err := i.client.Encrypt(ctx, &kms.EncryptInput{KeyId: i.key, Plaintext: []byte("x")})
		wantCode(t, "use without material", "KMSInvalidStateException", err)

		first := i.mustSend(i.wrap(material(1)))
		i.wantState(types.KeyStateEnabled)
		encrypted, err := i.client.Encrypt(ctx, &kms.EncryptInput{KeyId: i.key, Plaintext: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = i.client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: i.key})
		wantCode(t, "a rotation to nothing", "KMSInvalidStateException", err)

		next := i.wrap(material(2))
		next.ImportType, next.KeyMaterialDescription = types.ImportTypeNewKeyMaterial, aws.String("second")
		second := i.mustSend(next)
		if m := i.metadata(); *m.CurrentKeyMaterialId != first {
			t.Errorf("before the rotation the current material is %s, want the first", *m.CurrentKeyMaterialId)
		}
		states := func() (list []string) {
			r, err := i.client.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: i.key, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range r.Rotations {
				list = append(list, string(e.KeyMaterialState)+" "+string(e.ImportState)+" "+aws.ToString(e.KeyMaterialDescription))
			}
			return list
		}
		if got := states(); !slices.Equal(got, []string{"CURRENT IMPORTED ", "PENDING_ROTATION IMPORTED second"}) {
			t.Errorf("before the rotation the materials are %q", got)
		}
		if _, err := i.client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: i.key}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if m := i.metadata(); *m.CurrentKeyMaterialId != second || second == first {
			t.Errorf("after the rotation the current material is %s, want the second", *m.CurrentKeyMaterialId)
		}
		if got := states(); !slices.Equal(got, []string{"NON_CURRENT IMPORTED ", "CURRENT IMPORTED second"}) {
			t.Errorf("after the rotation the materials are %q", got)
		}

		// One material that is missing makes the whole key unusable, even one that is not current.
		deleted, err := i.client.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: i.key, KeyMaterialId: &first})
		if err != nil || *deleted.KeyMaterialId != first {
			t.Errorf("deleted %+v, %v", deleted, err)
		}
		i.wantState(types.KeyStatePendingImport)
		_, err = i.send(i.wrap(material(3)))
		wantCode(t, "another material in its place", "IncorrectKeyMaterialException", err)
		again := i.wrap(material(1))
		again.KeyMaterialId = &first
		if got := i.mustSend(again); got != first {
			t.Errorf("the same material has the id %s, then %s", first, got)
		}
		i.wantState(types.KeyStateEnabled)
		if decrypted, err := i.client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: encrypted.CiphertextBlob}); err != nil || string(decrypted.Plaintext) != "x" {
			t.Errorf("decrypted %+v, %v", decrypted, err)
		}
		want := []string{"CreateKey", "Encrypt", "ImportKeyMaterial", "Encrypt", "RotateKeyOnDemand", "ImportKeyMaterial", "RotateKeyOnDemand", "KMS CMK Rotation",
			"RotateKey", "DeleteImportedKeyMaterial", "ImportKeyMaterial", "ImportKeyMaterial", "Decrypt"}
		if got := eventNames(t, world.Events()); !slices.Equal(got, want) {
			t.Errorf("emitted %v\nwant %v", got, want)
		}
	})
}

func TestImportedMaterialExpires(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		i := newImporter(t, world, "us-east-1", false)
		input := i.wrap(material(1))
		validTo := time.Now().Add(48 * time.Hour).UTC()
		input.ExpirationModel, input.ValidTo = types.ExpirationModelTypeKeyMaterialExpires, &validTo
		id := i.mustSend(input)
		if m := i.metadata(); m.ExpirationModel != types.ExpirationModelTypeKeyMaterialExpires || !m.ValidTo.Equal(validTo) {
			t.Errorf("the key expires %s at %v, want %v", m.ExpirationModel, m.ValidTo, validTo)
		}
		time.Sleep(47 * time.Hour)
		i.wantState(types.KeyStateEnabled)
		world.Events()
		time.Sleep(2 * time.Hour)
		i.wantState(types.KeyStatePendingImport)
		events := world.Events()
		if got := eventNames(t, events); !slices.Equal(got, []string{"KMS Imported Key Material Expiration", "DeleteExpiredKeyMaterial"}) || !strings.Contains(string(events[0].Payload), id) {
			t.Errorf("emitted %v", got)
		}
		// Imported again without an expiry, it stays.
		i.mustSend(i.wrap(material(1)))
		time.Sleep(400 * 24 * time.Hour)
		i.wantState(types.KeyStateEnabled)
	})
}

func TestAnImportIsRefusedAsDocumented(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world, ctx := newWorld(t), context.Background()
		i := newImporter(t, world, "us-east-1", false)
		other := newImporter(t, world, "us-east-1", false)
		past, far := time.Now().Add(-time.Hour), time.Now().Add(366*24*time.Hour)
		tests := []struct {
			name, code string
			change     func(*kms.ImportKeyMaterialInput)
		}{
			{"a token of another key", "InvalidImportTokenException", func(in *kms.ImportKeyMaterialInput) { in.ImportToken = other.wrap(material(1)).ImportToken }},
			{"a token of nothing", "InvalidImportTokenException", func(in *kms.ImportKeyMaterialInput) { in.ImportToken = []byte("token") }},
			{"material that is not encrypted", "InvalidCiphertextException", func(in *kms.ImportKeyMaterialInput) { in.EncryptedKeyMaterial = material(1) }},
			{"material of 31 bytes", "IncorrectKeyMaterialException", func(in *kms.ImportKeyMaterialInput) { *in = *i.wrap(material(1)[1:]) }},
			{"no date of expiry", "ValidationException", func(in *kms.ImportKeyMaterialInput) { in.ExpirationModel = "" }},
			{"a date that is no expiry", "ValidationException", func(in *kms.ImportKeyMaterialInput) { in.ValidTo = &far }},
			{"a past date", "ValidationException", func(in *kms.ImportKeyMaterialInput) {
				in.ValidTo, in.ExpirationModel = &past, types.ExpirationModelTypeKeyMaterialExpires
			}},
			{"a date a year ahead", "ValidationException", func(in *kms.ImportKeyMaterialInput) {
				in.ValidTo, in.ExpirationModel = &far, types.ExpirationModelTypeKeyMaterialExpires
			}},
			{"old material that was never there", "IncorrectKeyMaterialException", func(in *kms.ImportKeyMaterialInput) { in.ImportType = types.ImportTypeExistingKeyMaterial }},
			{"new material with an id", "ValidationException", func(in *kms.ImportKeyMaterialInput) { in.KeyMaterialId = aws.String(strings.Repeat("a", 64)) }},
			{"a late import", "ExpiredImportTokenException", func(*kms.ImportKeyMaterialInput) { time.Sleep(24*time.Hour + time.Second) }},
		}
		for _, tt := range tests {
			input := i.wrap(material(1))
			tt.change(input)
			_, err := i.send(input)
			wantCode(t, tt.name, tt.code, err)
		}
		i.wantState(types.KeyStatePendingImport)
		for _, spec := range []types.WrappingKeySpec{types.WrappingKeySpecRsa2048, types.WrappingKeySpecRsa3072} {
			i.mustSend(i.wrapWith(types.AlgorithmSpecRsaesOaepSha1, spec, material(1)))
		}
		_, err := i.client.GetParametersForImport(ctx, &kms.GetParametersForImportInput{KeyId: i.key, WrappingAlgorithm: types.AlgorithmSpecRsaAesKeyWrapSha256, WrappingKeySpec: types.WrappingKeySpecRsa2048})
		wantCode(t, "an algorithm that is not simulated", "UnsupportedOperationException", err)
		_, err = i.client.GetParametersForImport(ctx, &kms.GetParametersForImportInput{KeyId: aws.String(paymentsKey), WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: types.WrappingKeySpecRsa2048})
		wantCode(t, "a key of KMS's own material", "UnsupportedOperationException", err)
		_, err = i.client.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: aws.String(paymentsKey)})
		wantCode(t, "a deletion of KMS's own material", "UnsupportedOperationException", err)
	})
}

func TestEveryRegionOfAKeyNeedsItsImport(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world, ctx := newWorld(t), context.Background()
		primary := newImporter(t, world, "us-east-1", true)
		primary.mustSend(primary.wrap(material(1)))
		if _, err := primary.client.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: primary.key, ReplicaRegion: aws.String("eu-west-1")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		replica := importer{t, inProcess(world, "eu-west-1"), aws.String(strings.Replace(*primary.key, "us-east-1", "eu-west-1", 1))}
		replica.wantState(types.KeyStatePendingImport)
		replica.mustSend(replica.wrap(material(1)))
		replica.wantState(types.KeyStateEnabled)

		newInReplica := replica.wrap(material(2))
		newInReplica.ImportType = types.ImportTypeNewKeyMaterial
		_, err := replica.send(newInReplica)
		wantCode(t, "new material into a replica", "UnsupportedOperationException", err)
		next := primary.wrap(material(2))
		next.ImportType = types.ImportTypeNewKeyMaterial
		second := primary.mustSend(next)
		_, err = primary.client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: primary.key})
		wantCode(t, "a rotation before the replica has the material", "KMSInvalidStateException", err)
		replica.mustSend(replica.wrap(material(2)))
		if _, err = primary.client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: primary.key}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := *replica.metadata().CurrentKeyMaterialId; got != second {
			t.Errorf("the replica has the material %s, want %s", got, second)
		}
		if _, err := replica.client.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: replica.key}); err != nil {
			t.Fatal(err)
		}
		replica.wantState(types.KeyStatePendingImport)
		primary.wantState(types.KeyStateEnabled)
	})
}

func TestTheSameWorldWrapsWithTheSameKey(t *testing.T) {
	var seen []string
	for range 2 {
		i := newImporter(t, newWorld(t), "us-east-1", false)
		p, err := i.client.GetParametersForImport(context.Background(), &kms.GetParametersForImportInput{KeyId: i.key,
			WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: types.WrappingKeySpecRsa2048})
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, string(p.PublicKey)+string(p.ImportToken))
	}
	if seen[0] != seen[1] {
		t.Error("two worlds of one seed gave different keys")
	}
}

func TestAnImportInPlaceOfAnotherReplacesItsExpiry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newImporter(t, newWorld(t), "us-east-1", false)
		for _, hours := range []time.Duration{2, 48} {
			input := i.wrap(material(1))
			validTo := time.Now().Add(hours * time.Hour)
			input.ExpirationModel, input.ValidTo = types.ExpirationModelTypeKeyMaterialExpires, &validTo
			i.mustSend(input)
		}
		time.Sleep(3 * time.Hour)
		i.wantState(types.KeyStateEnabled)
		time.Sleep(48 * time.Hour)
		i.wantState(types.KeyStatePendingImport)
	})
}

func TestNewMaterialIsNewAndOneAtATime(t *testing.T) {
	ctx := context.Background()
	i := newImporter(t, newWorld(t), "us-east-1", false)
	first := i.mustSend(i.wrap(material(1)))
	send := func(of byte) (string, error) {
		input := i.wrap(material(of))
		input.ImportType = types.ImportTypeNewKeyMaterial
		return i.send(input)
	}
	_, err := send(1)
	wantCode(t, "new material that is the old", "IncorrectKeyMaterialException", err)
	second, err := send(2)
	if err != nil {
		t.Fatal(err)
	}
	_, err = send(3)
	wantCode(t, "new material while other awaits its rotation", "KMSInvalidStateException", err)
	if _, err := i.client.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: i.key, KeyMaterialId: &second}); err != nil {
		t.Fatal(err)
	}
	i.wantState(types.KeyStateEnabled)
	if got := *i.metadata().CurrentKeyMaterialId; got != first {
		t.Errorf("the current material is %s, want the first", got)
	}
	if _, err = send(3); err != nil {
		t.Errorf("new material after the other was deleted: %v", err)
	}
}

func TestACanceledDeletionLeavesAKeyWithoutMaterialPendingImport(t *testing.T) {
	world := newWorld(t)
	i := newImporter(t, world, "us-east-1", false)
	for _, operation := range []string{"ScheduleKeyDeletion", "CancelKeyDeletion"} {
		callKMS(t, world, "us-east-1", operation, `{"KeyId":"`+*i.key+`"}`).want(t, 200, "")
	}
	i.wantState(types.KeyStatePendingImport)
}

func TestAnImportTokenLivesADayWhateverTheClockDoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		i := newImporter(t, world, "us-east-1", false)
		input := i.wrap(material(1))
		if err := world.SetClockOffset(10 * time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24*time.Hour - time.Minute)
		i.mustSend(input)
	})
}
