package amazon_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// Keys of the simulated KMS.
const (
	ownKey     = cmek.KeyURI("arn:aws:kms:eu-west-1:111122223333:key/1b2f7c44-90d1-4c0e-8a36-000000000001")
	foreignKey = cmek.KeyURI("arn:aws:kms:eu-west-1:444455556666:key/1b2f7c44-90d1-4c0e-8a36-000000000002")
	relatedKey = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef")
	replicaKey = cmek.KeyURI("arn:aws:kms:us-west-2:111122223333:key/mrk-0123456789abcdef0123456789abcdef")
	absentKey  = cmek.KeyURI("arn:aws:kms:eu-west-1:111122223333:key/1b2f7c44-90d1-4c0e-8a36-000000000003")
)

func TestKMSConformsOverTheSimulator(t *testing.T) {
	for _, replicaHistory := range []string{"listed", "empty"} {
		t.Run("rotations at a replica "+replicaHistory, func(t *testing.T) {
			cmektest.KMSConforms(t, func(t *testing.T, condition cmektest.KeyCondition) cmektest.Arranged {
				s := newSimulatedKMS(t)
				s.set(simulator.KMSReplicaHistory, replicaHistory)
				want, unknown := s.arrange(condition)
				return cmektest.Arranged{KMS: amazon.NewKMS(s.config, nil), Want: want, Unknown: unknown}
			})
		})
	}
}

// simulatedKMS is a world in which one key is brought into a condition.
type simulatedKMS struct {
	t      *testing.T
	world  *simulator.World
	config amazon.Config
}

func newSimulatedKMS(t *testing.T) simulatedKMS {
	t.Helper()
	world, err := simulator.New(simulator.Seed{
		Organization: simulator.DefaultSeed().Organization,
		AWSAccount:   ownKey.Account(),
		Keys: []simulator.KeySeed{
			{URI: ownKey, AgeDays: 500, Material: first},
			{URI: foreignKey, AgeDays: 500, Material: first,
				Policy: `{"Statement":{"Effect":"Allow","Principal":{"AWS":["444455556666","111122223333"]},"Action":"kms:*","Resource":"*"}}`},
			{URI: relatedKey, AgeDays: 500, Material: first, Replicas: []string{replicaKey.Location()}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return simulatedKMS{t, world, configAt(t, "http://kms.test", simulator.Transport(world.AWSKMS()))}
}

// arrange returns the key as it should be read, or why the simulator knows no such condition.
func (s simulatedKMS) arrange(condition cmektest.KeyCondition) (want cmek.Key, unknown string) {
	want = cmek.Key{
		URI: ownKey, State: cmek.KeyEnabled, Version: cmek.MaterialVersion(first), RotatedAt: s.created(), NeverRotated: true,
		Versions: []cmek.KeyVersionInfo{material(first, s.created())},
	}
	id, ctx, client := aws.String(string(ownKey)), s.t.Context(), s.client()
	switch condition {
	case cmektest.NeverRotated:
	case cmektest.Rotated:
		earlier := s.rotate(ownKey)
		last := s.rotate(ownKey)
		last.Versions = append(append(want.Versions, earlier.Versions...), last.Versions...)
		want = last
	case cmektest.RotationRunning:
		s.set(simulator.KMSRotationTime, "1m")
		_, err := client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: id})
		s.must(err)
		want.RotationRunning = true
	case cmektest.HistoryDenied:
		want = cmek.Key{URI: foreignKey, State: cmek.KeyEnabled, Version: want.Version}
	case cmektest.Replica:
		want = s.rotate(relatedKey)
		want.URI, want.Versions = replicaKey, append([]cmek.KeyVersionInfo{material(first, time.Time{})}, want.Versions...)
	case cmektest.IsDisabled:
		_, err := client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: id})
		s.must(err)
		want.State = cmek.KeyDisabled
	case cmektest.DeletionScheduled:
		out, err := client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(7)})
		s.must(err)
		want.State, want.DeletionDate = cmek.KeyDeletionScheduled, *out.DeletionDate
	case cmektest.Missing:
		want = cmek.Key{URI: absentKey, State: cmek.KeyNotFound}
	case cmektest.Denied:
		s.must(s.world.DenyKMS(string(ownKey), true))
	case cmektest.PendingImport:
		return cmek.Key{}, "the simulator imports no material"
	default:
		return cmek.Key{}, unknownToAWS(condition)
	}
	return want, ""
}

// rotate returns the key as the rotation's event tells it, with the new version alone, which the KMS must confirm to the
// millisecond.
func (s simulatedKMS) rotate(uri cmek.KeyURI) cmek.Key {
	s.t.Helper()
	s.must(s.world.Rotate(string(uri)))
	event := s.world.Events()[0]
	var payload struct {
		Detail struct {
			Material string `json:"current-key-material-id"`
		}
	}
	s.must(json.Unmarshal(event.Payload, &payload))
	at := event.Time.Truncate(time.Millisecond)
	return cmek.Key{
		URI: uri, State: cmek.KeyEnabled, Version: cmek.MaterialVersion(payload.Detail.Material), RotatedAt: at,
		Versions: []cmek.KeyVersionInfo{material(payload.Detail.Material, at)},
	}
}

// created is when the keys were created: the seed knows their age only.
func (s simulatedKMS) created() time.Time {
	s.t.Helper()
	out, err := s.client().DescribeKey(s.t.Context(), &kms.DescribeKeyInput{KeyId: aws.String(string(ownKey))})
	s.must(err)
	return *out.KeyMetadata.CreationDate
}

func (s simulatedKMS) client() *kms.Client {
	return kms.NewFromConfig(s.config, func(o *kms.Options) { o.Region = ownKey.Location() })
}

func (s simulatedKMS) set(name, value string) {
	s.t.Helper()
	s.must(s.world.Set(name, value))
}

func (s simulatedKMS) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestAliasTarget_isTheKeyBehindTheAlias(t *testing.T) {
	s := newSimulatedKMS(t)
	config := s.config.Copy()
	config.Region = ownKey.Location()
	const alias = "arn:aws:kms:eu-west-1:111122223333:alias/hashicorp/orders-1764000000"
	if _, err := kms.NewFromConfig(config).CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/hashicorp/orders-1764000000"), TargetKeyId: aws.String(string(ownKey))}); err != nil {
		t.Fatal(err)
	}
	reader := amazon.NewKMS(s.config, nil)
	if target, err := reader.AliasTarget(t.Context(), alias); err != nil || target != ownKey {
		t.Errorf("the alias points to %q (%v), want %q", target, err, ownKey)
	}
	if target, err := reader.AliasTarget(t.Context(), alias+"1"); !errors.Is(err, cmek.ErrNotFound) || target != "" {
		t.Errorf("an alias that is not there points to %q (%v)", target, err)
	}
	for _, other := range []cmek.KeyURI{ownKey, "", "alias/x", "projects/p/locations/l/keyRings/r/cryptoKeys/k"} {
		if target, err := reader.AliasTarget(t.Context(), other); err == nil || errors.Is(err, cmek.ErrNotFound) {
			t.Errorf("%q, which is no alias, points to %q (%v)", other, target, err)
		}
	}
}
