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
var history = []map[string]any{
	rotated(365, "other"), rotated(730, second), undated(first, "NON_CURRENT"), rotated(500, "third"), undated("waiting", "PENDING_ROTATION"),
}

// generations are that past as it is reported; the first of a replica's began at a time that is not known.
func generations(firstBegan time.Time) []cmek.KeyVersionInfo {
	return []cmek.KeyVersionInfo{
		material(first, firstBegan), material("other", rotatedAfter(365)), material("third", rotatedAfter(500)), material(second, rotatedAfter(730)),
	}
}

var replicaOfPrimary = metadata{
	"CurrentKeyMaterialId": second, "MultiRegion": true,
	"MultiRegionConfiguration": metadata{"MultiRegionKeyType": "REPLICA", "PrimaryKey": metadata{"Arn": primary, "Region": "us-east-1"}},
}

func TestKMSConforms(t *testing.T) {
	deletion := rotatedAfter(900)
	current := cmek.Key{
		URI: single, State: cmek.KeyEnabled, Version: cmek.MaterialVersion(second), RotatedAt: rotatedAfter(730), Versions: generations(created),
	}
	conditions := map[cmektest.KeyCondition]struct {
		key    fakeKey
		change func(*cmek.Key)
	}{
		cmektest.NeverRotated: {
			fakeKey{metadata: metadata{"CurrentKeyMaterialId": first}, rotations: []map[string]any{undated(first, "CURRENT")}},
			func(k *cmek.Key) {
				k.Version, k.RotatedAt, k.NeverRotated = cmek.MaterialVersion(first), created, true
				k.Versions = []cmek.KeyVersionInfo{material(first, created)}
			},
		},
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
			func(k *cmek.Key) { k.RotatedAt, k.Versions = time.Time{}, nil },
		},
		cmektest.Replica: {fakeKey{metadata: replicaOfPrimary}, func(k *cmek.Key) { k.URI, k.Versions = replica, generations(time.Time{}) }},
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
				k.State, k.DeletionDate, k.RotatedAt, k.Versions = cmek.KeyDeletionScheduled, deletion, time.Time{}, nil
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
				k.State, k.Version, k.RotatedAt, k.Versions = cmek.KeyPendingImport, cmek.KeyVersion{}, time.Time{}, nil
			},
		},
		cmektest.Missing: {fakeKey{fails: map[string]string{"DescribeKey": "NotFoundException"}}, func(k *cmek.Key) {
			*k = cmek.Key{URI: k.URI, State: cmek.KeyNotFound}
		}},
		cmektest.Denied: {fakeKey{fails: map[string]string{"DescribeKey": "AccessDeniedException"}}, func(*cmek.Key) {}},
	}
	cmektest.KMSConforms(t, func(t *testing.T, condition cmektest.KeyCondition) cmektest.Arranged {
		arranged, ok := conditions[condition]
		if !ok {
			return cmektest.Arranged{Unknown: unknownToAWS(condition)}
		}
		want := current
		arranged.change(&want)
		fake := newFakeKMS(t, map[cmek.KeyURI]fakeKey{want.URI: arranged.key, primary: {rotations: history}})
		return cmektest.Arranged{KMS: amazon.NewKMS(configAt(t, fake.endpoint, nil), nil), Want: want}
	})
}

// unknownToAWS says why no key of AWS KMS is in the condition; "" if one could be.
func unknownToAWS(condition cmektest.KeyCondition) string {
	switch condition {
	case cmektest.OldVersionDisabled, cmektest.OldVersionDestroyed, cmektest.CurrentVersionDisabled, cmektest.CurrentVersionToDestroy,
		cmektest.CurrentVersionDestroyed:
		return "an AWS key is disabled, and its deletion scheduled, as a whole; a material by itself can only be missing"
	case cmektest.SetBack, cmektest.SeveralVersionsFirstInUse:
		return "the newest material of an AWS key is the current one, and no call sets it back"
	}
	return ""
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
			t.Errorf("KeyState %s is reported as %q (error %v), want %q", word, got.State, err, want)
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
		"nothing of the first material, which rotations came after":      {first, time.Time{}},
		"nothing of a material that the list does not hold":              {"unlisted", time.Time{}},
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
		if err != nil || !cmektest.SameKey(got, want) {
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
		test.want.URI = single
		if err != nil || !cmektest.SameKey(got, test.want) {
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
		"listed at the replica": {history, fakeKey{}, 5, cmek.Key{RotatedAt: rotatedAfter(730)}},
		"listed at the primary": {nil, fakeKey{rotations: history}, 6, cmek.Key{RotatedAt: rotatedAfter(730)}},
		"only the first material listed at the replica": {
			[]map[string]any{undated(first, "NON_CURRENT")}, fakeKey{rotations: history}, 6, cmek.Key{RotatedAt: rotatedAfter(730)},
		},
		"never rotated":        {nil, fakeKey{rotations: []map[string]any{undated(second, "CURRENT")}}, 4, cmek.Key{RotatedAt: created, NeverRotated: true}},
		"listed at neither":    {nil, fakeKey{}, 4, cmek.Key{}},
		"primary not readable": {nil, fakeKey{fails: map[string]string{"ListKeyRotations": "AccessDeniedException"}}, 4, cmek.Key{}},
	} {
		fake := newFakeKMS(t, map[cmek.KeyURI]fakeKey{replica: {metadata: replicaOfPrimary, rotations: test.atReplica}, primary: test.atPrimary})
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

func TestKMSProvesThatAKeyWasNeverRotated(t *testing.T) {
	withID := metadata{"CurrentKeyMaterialId": first}
	for name, test := range map[string]struct {
		key  fakeKey
		want bool
	}{
		"the list holds the current material and nothing else": {fakeKey{metadata: withID, rotations: []map[string]any{undated(first, "CURRENT")}}, true},
		"another material waits for its rotation": {
			fakeKey{metadata: withID, rotations: []map[string]any{undated("waiting", "PENDING_ROTATION"), undated(first, "CURRENT")}}, true,
		},
		"the list holds another material":                     {fakeKey{metadata: withID, rotations: []map[string]any{undated(second, "CURRENT")}}, false},
		"the list holds only what waits":                      {fakeKey{metadata: withID, rotations: []map[string]any{undated(first, "PENDING_ROTATION")}}, false},
		"the list is empty":                                   {fakeKey{metadata: withID}, false},
		"the list is empty, of a KMS without material ids":    {fakeKey{}, true},
		"the first material is current again after rotations": {fakeKey{metadata: withID, rotations: history}, false},
	} {
		got, err := readKey(t, single, test.key)
		if err != nil || got.NeverRotated != test.want || test.want != !got.RotatedAt.IsZero() {
			t.Errorf("%s: never rotated %t, RotatedAt %s (error %v); want %t, and the creation only then", name, got.NeverRotated, got.RotatedAt, err, test.want)
		}
	}
}

func TestKMSTellsTheStateOfEachMaterial(t *testing.T) {
	lost := rotated(365, "lost")
	lost["ImportState"] = "PENDING_IMPORT"
	kept := undated(first, "NON_CURRENT")
	kept["ImportState"] = "IMPORTED"
	got, err := readKey(t, single, fakeKey{
		metadata:  metadata{"CurrentKeyMaterialId": second, "Origin": "EXTERNAL", "KeyState": "PendingImport"},
		rotations: []map[string]any{lost, rotated(730, second), kept},
	})
	absent := material("lost", rotatedAfter(365))
	absent.State = cmek.KeyPendingImport
	want := cmek.Key{
		URI: single, State: cmek.KeyPendingImport, Version: cmek.MaterialVersion(second), RotatedAt: rotatedAfter(730),
		Versions: []cmek.KeyVersionInfo{material(first, time.Time{}), absent, material(second, rotatedAfter(730))},
	}
	if err != nil || !cmektest.SameKey(got, want) {
		t.Errorf("key is\n%+v, error %v; want\n%+v", got, err, want)
	}
}

func TestKMSWithoutMaterialIDsTellsVersionsByTheirDates(t *testing.T) {
	dated := func(at time.Time, began time.Time) cmek.KeyVersionInfo {
		return cmek.KeyVersionInfo{Version: cmek.RotatedOnVersion(at), State: cmek.KeyEnabled, BecameCurrent: began}
	}
	for name, test := range map[string]struct {
		rotations []map[string]any
		want      []cmek.KeyVersionInfo
	}{
		"never rotated, listed":     {[]map[string]any{undated("", "CURRENT")}, []cmek.KeyVersionInfo{dated(created, created)}},
		"never rotated, not listed": {nil, []cmek.KeyVersionInfo{dated(created, created)}},
		"rotated": {
			[]map[string]any{rotated(365, ""), undated("", "NON_CURRENT")},
			[]cmek.KeyVersionInfo{dated(created, created), dated(rotatedAfter(365), rotatedAfter(365))},
		},
		"rotated, the first not listed": {[]map[string]any{rotated(365, "")}, []cmek.KeyVersionInfo{dated(rotatedAfter(365), rotatedAfter(365))}},
	} {
		got, err := readKey(t, single, fakeKey{rotations: test.rotations})
		if want := (cmek.Key{Versions: test.want}); err != nil || !cmektest.SameKey(cmek.Key{Versions: got.Versions}, want) {
			t.Errorf("%s: versions are %+v, error %v; want %+v", name, got.Versions, err, test.want)
		}
		if last := test.want[len(test.want)-1].Version; got.Version != last {
			t.Errorf("%s: the version is %s, want the last of the history, %s", name, got.Version, last)
		}
	}
}
