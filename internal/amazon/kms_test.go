package amazon_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
)

const (
	single  = cmek.KeyURI("arn:aws:kms:eu-west-1:111122223333:key/1234")
	primary = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/mrk-1")
	replica = cmek.KeyURI("arn:aws:kms:us-west-2:111122223333:key/mrk-1")

	first  = "1111111111111111111111111111111111111111111111111111111111111111"
	second = "2222222222222222222222222222222222222222222222222222222222222222"
)

type metadata = map[string]any

// history is a key's past, neither in order nor on one page, with an imported material that waits.
var history = []map[string]any{rotated(365, "other"), rotated(730, second), rotated(500, "other"), {"KeyMaterialId": "waiting"}}

var replicaOfPrimary = metadata{
	"CurrentKeyMaterialId": second, "MultiRegion": true,
	"MultiRegionConfiguration": metadata{"MultiRegionKeyType": "REPLICA", "PrimaryKey": metadata{"Arn": primary, "Region": "us-east-1"}},
}

func TestKMSConforms(t *testing.T) {
	deletion := rotatedAfter(900)
	current := cmek.Key{URI: single, State: cmek.KeyEnabled, Version: cmek.MaterialVersion(second), RotatedAt: rotatedAfter(730)}
	conditions := map[cmektest.KeyCondition]struct {
		key    fakeKey
		change func(*cmek.Key)
	}{
		cmektest.NeverRotated: {fakeKey{metadata: metadata{"CurrentKeyMaterialId": first}}, func(k *cmek.Key) {
			k.Version, k.RotatedAt, k.NeverRotated = cmek.MaterialVersion(first), created, true
		}},
		cmektest.Rotated: {fakeKey{metadata: metadata{"CurrentKeyMaterialId": second}, rotations: history}, func(*cmek.Key) {}},
		cmektest.RotationRunning: {
			fakeKey{metadata: metadata{"CurrentKeyMaterialId": second}, rotations: history, onDemand: time.Now()},
			func(k *cmek.Key) { k.RotationRunning = true },
		},
		cmektest.HistoryDenied: {
			fakeKey{
				metadata: metadata{"CurrentKeyMaterialId": second},
				fails:    map[string]string{"ListKeyRotations": "AccessDeniedException", "GetKeyRotationStatus": "AccessDeniedException"},
			},
			func(k *cmek.Key) { k.RotatedAt = time.Time{} },
		},
		cmektest.Replica: {fakeKey{metadata: replicaOfPrimary}, func(k *cmek.Key) { k.URI = replica }},
		cmektest.IsDisabled: {
			fakeKey{
				metadata:  metadata{"CurrentKeyMaterialId": second, "KeyState": "Disabled"},
				rotations: history,
				fails:     map[string]string{"GetKeyRotationStatus": "DisabledException"},
			},
			func(k *cmek.Key) { k.State = cmek.KeyDisabled },
		},
		cmektest.DeletionScheduled: {
			fakeKey{
				metadata: metadata{"CurrentKeyMaterialId": second, "KeyState": "PendingDeletion", "DeletionDate": deletion.Unix()},
				fails:    map[string]string{"ListKeyRotations": "KMSInvalidStateException", "GetKeyRotationStatus": "KMSInvalidStateException"},
			},
			func(k *cmek.Key) {
				k.State, k.DeletionDate, k.RotatedAt = cmek.KeyDeletionScheduled, deletion, time.Time{}
			},
		},
		cmektest.PendingImport: {
			fakeKey{
				metadata: metadata{"KeyState": "PendingImport", "Origin": "EXTERNAL"},
				fails: map[string]string{
					"ListKeyRotations": "UnsupportedOperationException", "GetKeyRotationStatus": "UnsupportedOperationException",
				},
			},
			func(k *cmek.Key) {
				k.State, k.Version, k.RotatedAt = cmek.KeyPendingImport, cmek.KeyVersion{}, time.Time{}
			},
		},
		cmektest.Missing: {fakeKey{fails: map[string]string{"DescribeKey": "NotFoundException"}}, func(k *cmek.Key) {
			*k = cmek.Key{URI: k.URI, State: cmek.KeyNotFound}
		}},
		cmektest.Denied: {fakeKey{fails: map[string]string{"DescribeKey": "AccessDeniedException"}}, func(*cmek.Key) {}},
	}
	cmektest.KMSConforms(t, func(t *testing.T, condition cmektest.KeyCondition) (cmek.KMS, cmek.Key, bool) {
		arranged, ok := conditions[condition]
		want := current
		if ok {
			arranged.change(&want)
		}
		fake := newFakeKMS(t, map[cmek.KeyURI]fakeKey{want.URI: arranged.key, primary: {rotations: history}})
		return amazon.NewKMS(configAt(t, fake.endpoint, nil), nil), want, ok
	})
}

// readKey reads a key of which the fake KMS knows what is given.
func readKey(t *testing.T, uri cmek.KeyURI, key fakeKey) (cmek.Key, error) {
	t.Helper()
	fake := newFakeKMS(t, map[cmek.KeyURI]fakeKey{uri: key})
	return amazon.NewKMS(configAt(t, fake.endpoint, nil), nil).Key(t.Context(), uri)
}

func TestKMSTranslatesEveryKeyState(t *testing.T) {
	for word, want := range map[string]cmek.KeyState{
		"Enabled": cmek.KeyEnabled, "Disabled": cmek.KeyDisabled, "PendingDeletion": cmek.KeyDeletionScheduled,
		"PendingReplicaDeletion": cmek.KeyDeletionScheduled, "PendingImport": cmek.KeyPendingImport, "Unavailable": cmek.KeyUnavailable,
		"Creating": cmek.KeyTransient, "Updating": cmek.KeyTransient, "SomethingNew": cmek.KeyUnknown,
	} {
		got, err := readKey(t, single, fakeKey{metadata: metadata{"KeyState": word}})
		if err != nil || got.State != want {
			t.Errorf("KeyState %s is told as %q (error %v), want %q", word, got.State, err, want)
		}
	}
}

func TestKMSVersionOfAKeyWithoutMaterialIDIsItsNewestRotation(t *testing.T) {
	denied := map[string]string{"ListKeyRotations": "AccessDeniedException"}
	for name, test := range map[string]struct {
		key  fakeKey
		want cmek.KeyVersion
	}{
		"rotated":                {fakeKey{rotations: history}, cmek.RotatedOnVersion(rotatedAfter(730))},
		"never rotated":          {fakeKey{}, cmek.RotatedOnVersion(created)},
		"rotations not listed":   {fakeKey{fails: denied}, cmek.KeyVersion{}},
		"not a symmetric key":    {fakeKey{metadata: metadata{"KeySpec": "RSA_2048"}, rotations: history}, cmek.KeyVersion{}},
		"material id, not dates": {fakeKey{metadata: metadata{"CurrentKeyMaterialId": first}, fails: denied}, cmek.MaterialVersion(first)},
	} {
		if got, err := readKey(t, single, test.key); err != nil || got.Version != test.want {
			t.Errorf("%s: version is %q (error %v), want %q", name, got.Version, err, test.want)
		}
	}
}

func TestKMSTellsTheRotationOfTheCurrentMaterial(t *testing.T) {
	for name, test := range map[string]struct {
		material string
		want     time.Time
	}{
		"its own rotation, though a newer one was listed a moment later": {"other", rotatedAfter(365)},
		"the newest if no rotation names it, to be on the safe side":     {first, rotatedAfter(730)},
	} {
		key := fakeKey{metadata: metadata{"CurrentKeyMaterialId": test.material}, rotations: history}
		if got, err := readKey(t, single, key); err != nil || !got.RotatedAt.Equal(test.want) || got.NeverRotated {
			t.Errorf("%s: %+v, error %v; want RotatedAt %s", name, got, err, test.want)
		}
	}
}

func TestKMSToleratesThatRotationsAreNotTold(t *testing.T) {
	for _, code := range []string{
		"AccessDeniedException", "NotFoundException", "InvalidArnException", "UnsupportedOperationException",
		"KMSInvalidStateException", "DisabledException",
	} {
		got, err := readKey(t, single, fakeKey{
			metadata: metadata{"CurrentKeyMaterialId": second},
			fails:    map[string]string{"ListKeyRotations": code, "GetKeyRotationStatus": code},
		})
		want := cmek.Key{URI: single, State: cmek.KeyEnabled, Version: cmek.MaterialVersion(second)}
		if err != nil || got != want {
			t.Errorf("%s: key is %+v, error %v; want %+v", code, got, err, want)
		}
	}
}

func TestKMSTakesAFailureOfKMSForNoAnswer(t *testing.T) {
	for _, operation := range []string{"DescribeKey", "ListKeyRotations", "GetKeyRotationStatus"} {
		for _, code := range []string{"ThrottlingException", "KMSInternalException", "InvalidMarkerException"} {
			got, err := readKey(t, single, fakeKey{fails: map[string]string{operation: code}})
			if err == nil || errors.Is(err, cmek.ErrDenied) || !strings.Contains(err.Error(), string(single)) {
				t.Errorf("%s answers %s: key %+v, error %v; want an error that names the key", operation, code, got, err)
			}
		}
	}
}

func TestKMSDescribesAKeyWithOneCall(t *testing.T) {
	deletion := rotatedAfter(900)
	for name, test := range map[string]struct {
		keys map[cmek.KeyURI]fakeKey
		want cmek.Key
	}{
		"rotated": {
			map[cmek.KeyURI]fakeKey{single: {metadata: metadata{"CurrentKeyMaterialId": second}, rotations: history, onDemand: time.Now()}},
			cmek.Key{State: cmek.KeyEnabled, Version: cmek.MaterialVersion(second)},
		},
		"its deletion is scheduled": {
			map[cmek.KeyURI]fakeKey{single: {metadata: metadata{"KeyState": "PendingDeletion", "DeletionDate": deletion.Unix()}}},
			cmek.Key{State: cmek.KeyDeletionScheduled, DeletionDate: deletion},
		},
		"it does not exist": {nil, cmek.Key{State: cmek.KeyNotFound}},
	} {
		fake := newFakeKMS(t, test.keys)
		got, err := amazon.NewKMS(configAt(t, fake.endpoint, nil), nil).Describe(t.Context(), single)
		sameTime := got.DeletionDate.Equal(test.want.DeletionDate)
		test.want.URI, test.want.DeletionDate = single, got.DeletionDate
		if err != nil || got != test.want || !sameTime {
			t.Errorf("%s: key is %+v, error %v; want %+v", name, got, err, test.want)
		}
		if !slices.Equal(fake.calls, []string{"DescribeKey"}) {
			t.Errorf("%s: calls are %q, want DescribeKey alone", name, fake.calls)
		}
	}
	denied := newFakeKMS(t, map[cmek.KeyURI]fakeKey{single: {fails: map[string]string{"DescribeKey": "AccessDeniedException"}}})
	if got, err := amazon.NewKMS(configAt(t, denied.endpoint, nil), nil).Describe(t.Context(), single); !errors.Is(err, cmek.ErrDenied) {
		t.Errorf("a key that we may not read is %+v, error %v; want one that wraps ErrDenied", got, err)
	}
}

func TestKMSAsksThePrimaryOnlyIfAReplicaListsNoRotations(t *testing.T) {
	for name, test := range map[string]struct {
		atReplica []map[string]any
		atPrimary fakeKey
		calls     int
		want      cmek.Key
	}{
		"listed at the replica": {history, fakeKey{}, 3, cmek.Key{RotatedAt: rotatedAfter(730)}},
		"listed at the primary": {nil, fakeKey{rotations: history}, 5, cmek.Key{RotatedAt: rotatedAfter(730)}},
		"never rotated":         {nil, fakeKey{}, 4, cmek.Key{RotatedAt: created, NeverRotated: true}},
		"primary not readable":  {nil, fakeKey{fails: map[string]string{"ListKeyRotations": "AccessDeniedException"}}, 4, cmek.Key{}},
	} {
		fake := newFakeKMS(t, map[cmek.KeyURI]fakeKey{replica: {metadata: replicaOfPrimary, rotations: test.atReplica}, primary: test.atPrimary})
		if test.atReplica != nil {
			test.calls++ // The history takes two pages.
		}
		got, err := amazon.NewKMS(configAt(t, fake.endpoint, nil), nil).Key(t.Context(), replica)
		if err != nil || !got.RotatedAt.Equal(test.want.RotatedAt) || got.NeverRotated != test.want.NeverRotated {
			t.Errorf("%s: key is %+v, error %v; want RotatedAt %s, NeverRotated %t", name, got, err, test.want.RotatedAt, test.want.NeverRotated)
		}
		if len(fake.calls) != test.calls {
			t.Errorf("%s: calls are %q, want %d", name, fake.calls, test.calls)
		}
	}
}

func TestKMSGivesUpOnAListOfRotationsWithoutEnd(t *testing.T) {
	endless := slices.Repeat([]map[string]any{rotated(365, second)}, 11)
	if _, err := readKey(t, single, fakeKey{rotations: endless}); err == nil || !strings.Contains(err.Error(), "pages") {
		t.Errorf("error is %v, want one about too many pages", err)
	}
}

func TestKMSReadsNothingButKeysAtTheirARN(t *testing.T) {
	fake := newFakeKMS(t, nil)
	for _, uri := range []cmek.KeyURI{
		"", "1234", "arn:aws:kms:us-east-1:111122223333:alias/orders", "arn:aws:kms::111122223333:key/mrk-1",
		"projects/p/locations/l/keyRings/r/cryptoKeys/k", "arn:aws:s3:::bucket",
	} {
		if got, err := amazon.NewKMS(configAt(t, fake.endpoint, nil), nil).Key(t.Context(), uri); err == nil {
			t.Errorf("%q was read as %+v", uri, got)
		}
	}
	if len(fake.calls) > 0 {
		t.Errorf("KMS was called: %q", fake.calls)
	}
}

func TestKMSAssumesTheReaderRoleOfTheKeysAccountOnce(t *testing.T) {
	const other = cmek.KeyURI("arn:aws:kms:us-east-1:444455556666:key/1")
	const own = cmek.KeyURI("arn:aws:kms:us-east-1:777788889999:key/1")
	fake := newFakeKMS(t, map[cmek.KeyURI]fakeKey{single: {}, primary: {}, other: {}, own: {}})
	kms := amazon.NewKMS(configAt(t, fake.endpoint, nil), amazon.ReaderRoles{
		"111122223333": {ARN: "arn:aws:iam::111122223333:role/named", ExternalID: "org-1"},
		"777788889999": {},
		"*":            {ARN: "arn:aws:iam::{account}:role/any"},
	})
	for _, uri := range []cmek.KeyURI{single, primary, other, own, single} {
		if got, err := kms.Key(t.Context(), uri); err != nil || got.State != cmek.KeyEnabled {
			t.Errorf("read %s: %+v, error %v", uri, got, err)
		}
	}
	want := []string{"arn:aws:iam::111122223333:role/named org-1 keyturn", "arn:aws:iam::444455556666:role/any  keyturn"}
	if !slices.Equal(fake.assumed, want) {
		t.Errorf("assumed roles are %q, want %q", fake.assumed, want)
	}
}

func TestKMSWithARoleThatMayNotBeAssumedIsDenied(t *testing.T) {
	fake := newFakeKMS(t, map[cmek.KeyURI]fakeKey{single: {}})
	kms := amazon.NewKMS(configAt(t, fake.endpoint, nil), amazon.ReaderRoles{"*": {ARN: "arn:aws:iam::{account}:role/denied"}})
	if _, err := kms.Key(t.Context(), single); !errors.Is(err, cmek.ErrDenied) {
		t.Errorf("error is %v, want one that wraps ErrDenied", err)
	}
}
