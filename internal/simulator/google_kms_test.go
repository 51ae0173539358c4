package simulator_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/iam/apiv1/iampb"
	kms "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	exprpb "google.golang.org/genproto/googleapis/type/expr"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

func version(n string) string { return acmeKey + "/cryptoKeyVersions/" + n }

// wantStatus wants the error of that google.rpc.Code, "" for none. The client's own code is that of the HTTP status alone: it takes
// FAILED_PRECONDITION for InvalidArgument.
func wantStatus(t *testing.T, attempt, name string, err error) {
	t.Helper()
	failed, ok := errors.AsType[*googleapi.Error](err)
	if name == "" && err != nil || name != "" && (!ok || !strings.Contains(failed.Body, `"status":"`+name+`"`)) {
		t.Errorf("%s: got %v, want %q", attempt, err, name)
	}
}

// noError fails the test with what was attempted.
func noError[T any](t *testing.T, attempt string) func(T, error) T {
	t.Helper()
	return func(result T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", attempt, err)
		}
		return result
	}
}

func versionsOf(t *testing.T, client *kms.KeyManagementClient, filter string, pageSize int32) (states []string) {
	t.Helper()
	it := client.ListCryptoKeyVersions(t.Context(), &kmspb.ListCryptoKeyVersionsRequest{Parent: acmeKey, Filter: filter, PageSize: pageSize})
	for {
		v, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return states
		}
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, strings.TrimPrefix(v.GetName(), acmeKey+"/cryptoKeyVersions/")+" "+v.GetState().String())
	}
}

func TestGooglesClientReadsAKey(t *testing.T) {
	world := googleWorld(t, simulator.GooglePageLimit, "2")
	server := httptest.NewServer(world.Handler())
	defer server.Close()
	listening := noError[*kms.KeyManagementClient](t, "client")(kms.NewKeyManagementRESTClient(t.Context(), option.WithEndpoint(server.URL), option.WithoutAuthentication()))
	for name, client := range map[string]*kms.KeyManagementClient{"in process": googleSDK(t, world), "over a listener": listening} {
		t.Run(name, func(t *testing.T) {
			k := noError[*kmspb.CryptoKey](t, "get")(client.GetCryptoKey(t.Context(), &kmspb.GetCryptoKeyRequest{Name: acmeKey}))
			due := k.GetNextRotationTime().AsTime()
			if k.GetName() != acmeKey || k.GetPrimary().GetName() != version("2") || k.GetPrimary().GetState() != kmspb.CryptoKeyVersion_ENABLED ||
				k.GetPurpose() != kmspb.CryptoKey_ENCRYPT_DECRYPT || k.GetLabels()["team"] != "pay" || k.GetRotationPeriod().AsDuration() != 90*24*time.Hour ||
				k.GetDestroyScheduledDuration().AsDuration() != 30*24*time.Hour {
				t.Errorf("the key is %v", k)
			}
			// The schedule matches the last rotation, by which the time of an automatic one can be proven.
			if last := due.Add(-90 * 24 * time.Hour); last.Sub(k.GetPrimary().GetCreateTime().AsTime()).Abs() > time.Second || !due.After(time.Now()) {
				t.Errorf("the next rotation is at %s, the primary of %s", due, k.GetPrimary().GetCreateTime().AsTime())
			}
			rings, err := client.ListKeyRings(t.Context(), &kmspb.ListKeyRingsRequest{Parent: "projects/acme/locations/us-east1"}).Next()
			if err != nil || rings.GetName() != acmeRing {
				t.Errorf("key rings: %v, %v", rings, err)
			}
			keys, err := client.ListCryptoKeys(t.Context(), &kmspb.ListCryptoKeysRequest{Parent: acmeRing}).Next()
			if err != nil || keys.GetName() != acmeKey {
				t.Errorf("keys: %v, %v", keys, err)
			}
			// Names may have the project's number; answers have its id.
			byNumber := noError[*kmspb.CryptoKey](t, "get by number")(client.GetCryptoKey(t.Context(), &kmspb.GetCryptoKeyRequest{Name: strings.Replace(acmeKey, "acme", acmeNumber, 1)}))
			if byNumber.GetName() != acmeKey {
				t.Errorf("by the project's number: %v", byNumber)
			}
			for _, missing := range []string{acmeKey + "x", strings.Replace(acmeKey, "us-east1", "us-east4", 1)} {
				_, err := client.GetCryptoKey(t.Context(), &kmspb.GetCryptoKeyRequest{Name: missing})
				wantStatus(t, "get "+missing, "NOT_FOUND", err)
			}
			_, err = client.GetCryptoKey(t.Context(), &kmspb.GetCryptoKeyRequest{Name: strings.Replace(acmeKey, "acme", "other", 1)})
			wantStatus(t, "get in a project that is not there", "PERMISSION_DENIED", err)
			_, err = client.GetCryptoKeyVersion(t.Context(), &kmspb.GetCryptoKeyVersionRequest{Name: version("3")})
			wantStatus(t, "get a version that is not there", "NOT_FOUND", err)
		})
	}
	if all := emitted(t, world); len(all) != 0 {
		t.Errorf("reads are in the log: %+v", all)
	}
}

// A manual rotation takes two calls. Encryption uses the former primary for a while; everything else shows the new one at once.
func TestARotationByHandOnGoogle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := googleWorld(t)
		client := googleSDK(t, world)
		created := noError[*kmspb.CryptoKeyVersion](t, "create")(client.CreateCryptoKeyVersion(t.Context(), &kmspb.CreateCryptoKeyVersionRequest{Parent: acmeKey}))
		if created.GetName() != version("3") || created.GetState() != kmspb.CryptoKeyVersion_ENABLED {
			t.Errorf("created %v", created)
		}
		if e := wantEvent(t, world, "create", cmek.ChangeVersionCreated); e.Key != acmeKey || e.On.ID != "3" || e.Principal != "operator@example.com" {
			t.Errorf("the event is %+v", e)
		}
		k := noError[*kmspb.CryptoKey](t, "get")(client.GetCryptoKey(t.Context(), &kmspb.GetCryptoKeyRequest{Name: acmeKey}))
		due := k.GetNextRotationTime().AsTime()
		if k.GetPrimary().GetName() != version("2") {
			t.Errorf("a new version is primary at once: %v", k)
		}
		k = noError[*kmspb.CryptoKey](t, "update")(client.UpdateCryptoKeyPrimaryVersion(t.Context(), &kmspb.UpdateCryptoKeyPrimaryVersionRequest{Name: acmeKey, CryptoKeyVersionId: "3"}))
		if k.GetPrimary().GetName() != version("3") || !k.GetNextRotationTime().AsTime().Equal(due) {
			t.Errorf("the key is %v; want version 3 and the same schedule", k)
		}
		if e := wantEvent(t, world, "update primary", cmek.ChangeRotated); e.Key != acmeKey || e.Version.ID != "3" {
			t.Errorf("the event is %+v", e)
		}
		for _, wait := range []struct {
			before time.Duration
			want   string
		}{{0, "2"}, {59 * time.Second, "2"}, {time.Second, "3"}} {
			time.Sleep(wait.before)
			r := noError[*kmspb.EncryptResponse](t, "encrypt")(client.Encrypt(t.Context(), &kmspb.EncryptRequest{Name: acmeKey, Plaintext: []byte("x"), AdditionalAuthenticatedData: []byte("a")}))
			if r.GetName() != version(wait.want) {
				t.Errorf("%s later %s encrypts, want version %s", wait.before, r.GetName(), wait.want)
			}
			p := noError[*kmspb.DecryptResponse](t, "decrypt")(client.Decrypt(t.Context(), &kmspb.DecryptRequest{Name: acmeKey, Ciphertext: r.GetCiphertext(), AdditionalAuthenticatedData: []byte("a")}))
			if string(p.GetPlaintext()) != "x" || p.GetUsedPrimary() != (wait.want == "3") {
				t.Errorf("decrypted %v", p)
			}
			_, err := client.Decrypt(t.Context(), &kmspb.DecryptRequest{Name: acmeKey, Ciphertext: r.GetCiphertext(), AdditionalAuthenticatedData: []byte("b")})
			wantStatus(t, "decrypt with other data", "INVALID_ARGUMENT", err)
		}
		_, err := client.UpdateCryptoKeyPrimaryVersion(t.Context(), &kmspb.UpdateCryptoKeyPrimaryVersionRequest{Name: acmeKey, CryptoKeyVersionId: "4"})
		wantStatus(t, "set a primary that is not there", "NOT_FOUND", err)
		if e := wantEvent(t, world, "refused", cmek.ChangeRotationRequested); e.Succeeded() || e.Failure != cmek.FailureMissing {
			t.Errorf("the event is %+v", e)
		}
	})
}

func TestGoogleRotatesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := googleWorld(t)
		client := googleSDK(t, world)
		read := func() *kmspb.CryptoKey {
			t.Helper()
			return noError[*kmspb.CryptoKey](t, "get")(client.GetCryptoKey(t.Context(), &kmspb.GetCryptoKeyRequest{Name: acmeKey}))
		}
		due := read().GetNextRotationTime().AsTime()
		time.Sleep(time.Until(due) - time.Second)
		if k := read(); k.GetPrimary().GetName() != version("2") {
			t.Errorf("rotated too early: %v", k)
		}
		time.Sleep(time.Second)
		if k := read(); k.GetPrimary().GetName() != version("3") || !k.GetNextRotationTime().AsTime().Equal(due.Add(90*24*time.Hour)) ||
			!k.GetPrimary().GetCreateTime().AsTime().Equal(due) {
			t.Errorf("the key is %v; want version 3 since %s", k, due)
		}
		if e := wantEvent(t, world, "rotation", cmek.ChangeRotated); e.Key != acmeKey || !e.Version.IsZero() || e.Principal != "" {
			t.Errorf("the event is %+v; want neither a version nor a principal", e)
		}
		// Two periods at once, as nobody read for so long, the second with a failure.
		time.Sleep(89 * 24 * time.Hour)
		if err := world.FailNextKeyRotation(acmeKey, 8, "Quota exceeded."); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if k := read(); k.GetPrimary().GetName() != version("3") || len(versionsOf(t, client, "", 0)) != 3 {
			t.Errorf("the rotation did not fail: %v", k)
		}
		if e := wantEvent(t, world, "failed rotation", cmek.ChangeRotationFailed); e.Failure != cmek.FailurePassing || e.Error != "RESOURCE_EXHAUSTED" {
			t.Errorf("the event is %+v", e)
		}
		set(t, world, simulator.GoogleRotationEvent, "none")
		time.Sleep(180 * 24 * time.Hour)
		if k := read(); k.GetPrimary().GetName() != version("5") || !k.GetNextRotationTime().AsTime().After(time.Now()) {
			t.Errorf("two periods later the key is %v; want version 5", k)
		}
		if all := emitted(t, world); len(all) != 0 {
			t.Errorf("the log is off, but shows %+v", all)
		}
		for key, code := range map[string]int{acmeKey + "x": 8, acmeKey: 0} {
			if world.FailNextKeyRotation(key, code, "") == nil {
				t.Errorf("FailNextKeyRotation(%s, %d) is accepted", key, code)
			}
		}
	})
}

func TestVersionsOnGoogleHaveStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := googleWorld(t)
		client := googleSDK(t, world)
		patch := func(n string, state kmspb.CryptoKeyVersion_CryptoKeyVersionState) (*kmspb.CryptoKeyVersion, error) {
			return client.UpdateCryptoKeyVersion(t.Context(), &kmspb.UpdateCryptoKeyVersionRequest{
				CryptoKeyVersion: &kmspb.CryptoKeyVersion{Name: version(n), State: state}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"state"}}})
		}
		encrypt := func() error {
			_, err := client.Encrypt(t.Context(), &kmspb.EncryptRequest{Name: acmeKey, Plaintext: []byte("x")})
			return err
		}
		if v, err := patch("2", kmspb.CryptoKeyVersion_DISABLED); err != nil || v.GetState() != kmspb.CryptoKeyVersion_DISABLED {
			t.Errorf("disabled: %v, %v", v, err)
		}
		if e := wantEvent(t, world, "disable", cmek.ChangeVersionDisabled); e.On.ID != "2" || e.Key != acmeKey {
			t.Errorf("the event is %+v", e)
		}
		wantStatus(t, "encrypt while disabling spreads", "", encrypt())
		time.Sleep(time.Minute)
		wantStatus(t, "encrypt with a disabled version", "FAILED_PRECONDITION", encrypt())
		if err := encrypt(); !strings.Contains(err.Error(), "is not enabled, current state is: DISABLED.") {
			t.Errorf("the error is %v", err)
		}
		if _, err := patch("2", kmspb.CryptoKeyVersion_ENABLED); err != nil {
			t.Error(err)
		}
		wantEvent(t, world, "enable", cmek.ChangeVersionEnabled)
		wantStatus(t, "encrypt once enabled", "", encrypt())

		v := noError[*kmspb.CryptoKeyVersion](t, "destroy")(client.DestroyCryptoKeyVersion(t.Context(), &kmspb.DestroyCryptoKeyVersionRequest{Name: version("1")}))
		if v.GetState() != kmspb.CryptoKeyVersion_DESTROY_SCHEDULED || !v.GetDestroyTime().AsTime().Equal(time.Now().Add(30*24*time.Hour)) {
			t.Errorf("scheduled: %v", v)
		}
		wantEvent(t, world, "destroy", cmek.ChangeVersionScheduled)
		_, err := patch("1", kmspb.CryptoKeyVersion_ENABLED)
		wantStatus(t, "enable what is scheduled for destruction", "FAILED_PRECONDITION", err)
		if e := wantEvent(t, world, "refused", cmek.ChangeVersionEnabled); e.Succeeded() {
			t.Errorf("the event is %+v", e)
		}
		v = noError[*kmspb.CryptoKeyVersion](t, "restore")(client.RestoreCryptoKeyVersion(t.Context(), &kmspb.RestoreCryptoKeyVersionRequest{Name: version("1")}))
		if v.GetState() != kmspb.CryptoKeyVersion_DISABLED || v.GetDestroyTime() != nil {
			t.Errorf("restored: %v; want it DISABLED", v)
		}
		wantEvent(t, world, "restore", cmek.ChangeVersionRestored)
		_, err = client.RestoreCryptoKeyVersion(t.Context(), &kmspb.RestoreCryptoKeyVersionRequest{Name: version("1")})
		wantStatus(t, "restore what is not scheduled", "FAILED_PRECONDITION", err)
		emitted(t, world)

		// A destruction that was undone does not happen; the one after it does, on its own day.
		time.Sleep(24 * time.Hour)
		noError[*kmspb.CryptoKeyVersion](t, "destroy")(client.DestroyCryptoKeyVersion(t.Context(), &kmspb.DestroyCryptoKeyVersionRequest{Name: version("1")}))
		time.Sleep(29*24*time.Hour + time.Hour)
		if got := versionsOf(t, client, "", 1); !slices.Equal(got, []string{"1 DESTROY_SCHEDULED", "2 ENABLED"}) {
			t.Errorf("versions are %v", got)
		}
		emitted(t, world)
		time.Sleep(23 * time.Hour)
		if got := versionsOf(t, client, "state=DESTROYED", 0); !slices.Equal(got, []string{"1 DESTROYED"}) {
			t.Errorf("destroyed are %v", got)
		}
		if e := wantEvent(t, world, "destruction", cmek.ChangeVersionDestroyed); e.On.ID != "1" || e.Principal != "" {
			t.Errorf("the event is %+v", e)
		}
		_, err = client.RestoreCryptoKeyVersion(t.Context(), &kmspb.RestoreCryptoKeyVersionRequest{Name: version("1")})
		wantStatus(t, "restore what is destroyed", "FAILED_PRECONDITION", err)
	})
}

func TestAKeyOnGoogleIsMadeAndChanged(t *testing.T) {
	world := googleWorld(t)
	client := googleSDK(t, world)
	next := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	const name = acmeRing + "/cryptoKeys/new"
	request := &kmspb.CreateCryptoKeyRequest{Parent: acmeRing, CryptoKeyId: "new", CryptoKey: &kmspb.CryptoKey{
		Purpose: kmspb.CryptoKey_ENCRYPT_DECRYPT, NextRotationTime: timestamppb.New(next),
		RotationSchedule:         &kmspb.CryptoKey_RotationPeriod{RotationPeriod: durationpb.New(24 * time.Hour)},
		DestroyScheduledDuration: durationpb.New(24 * time.Hour)}}
	k := noError[*kmspb.CryptoKey](t, "create")(client.CreateCryptoKey(t.Context(), request))
	if k.GetName() != name || k.GetPrimary().GetName() != name+"/cryptoKeyVersions/1" || !k.GetNextRotationTime().AsTime().Equal(next) {
		t.Errorf("created %v", k)
	}
	if e := wantEvent(t, world, "create", cmek.ChangeKeyCreated); e.Key != name {
		t.Errorf("the event is %+v", e)
	}
	_, err := client.CreateCryptoKey(t.Context(), request)
	wantStatus(t, "create it again", "ALREADY_EXISTS", err)
	emitted(t, world)

	update := func(key *kmspb.CryptoKey, paths ...string) (*kmspb.CryptoKey, error) {
		key.Name = name
		return client.UpdateCryptoKey(t.Context(), &kmspb.UpdateCryptoKeyRequest{CryptoKey: key, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	}
	if k, err = update(&kmspb.CryptoKey{Labels: map[string]string{"team": "x"}}, "labels"); err != nil || k.GetLabels()["team"] != "x" || k.GetRotationPeriod() == nil {
		t.Errorf("labels: %v, %v", k, err)
	}
	wantEvent(t, world, "labels", cmek.ChangeKeyTags)
	allow := &kmspb.KeyAccessJustificationsPolicy{AllowedAccessReasons: []kmspb.AccessReason{kmspb.AccessReason_GOOGLE_INITIATED_REVIEW}}
	if k, err = update(&kmspb.CryptoKey{KeyAccessJustificationsPolicy: allow}, "key_access_justifications_policy"); err != nil ||
		!slices.Equal(k.GetKeyAccessJustificationsPolicy().GetAllowedAccessReasons(), allow.GetAllowedAccessReasons()) {
		t.Errorf("justifications: %v, %v", k, err)
	}
	wantEvent(t, world, "justifications", cmek.ChangeJustifications)
	_, err = client.Encrypt(t.Context(), &kmspb.EncryptRequest{Name: name, Plaintext: []byte("x")})
	wantStatus(t, "encrypt without a justification", "PERMISSION_DENIED", err)
	later := next.Add(time.Hour)
	if k, err = update(&kmspb.CryptoKey{NextRotationTime: timestamppb.New(later)}, "next_rotation_time"); err != nil || !k.GetNextRotationTime().AsTime().Equal(later) {
		t.Errorf("next rotation: %v, %v", k, err)
	}
	wantEvent(t, world, "schedule", cmek.ChangeRotationSchedule)
	for attempt, c := range map[string]struct {
		key   *kmspb.CryptoKey
		paths []string
	}{
		"a period below a day":        {&kmspb.CryptoKey{RotationSchedule: &kmspb.CryptoKey_RotationPeriod{RotationPeriod: durationpb.New(24*time.Hour - time.Second)}}, []string{"rotation_period"}},
		"a next rotation in the past": {&kmspb.CryptoKey{NextRotationTime: timestamppb.New(time.Now().Add(-time.Hour))}, []string{"next_rotation_time"}},
		"a period without a next":     {&kmspb.CryptoKey{}, []string{"next_rotation_time"}},
		"a field that is fixed":       {&kmspb.CryptoKey{}, []string{"purpose"}},
	} {
		_, err := update(c.key, c.paths...)
		wantStatus(t, attempt, "INVALID_ARGUMENT", err)
	}
	emitted(t, world)
	if k, err = update(&kmspb.CryptoKey{}, "rotation_period", "next_rotation_time"); err != nil || k.GetNextRotationTime() != nil || k.GetRotationPeriod() != nil {
		t.Errorf("without a schedule: %v, %v", k, err)
	}
	wantEvent(t, world, "schedule removed", cmek.ChangeRotationDisabled)
}

// What is to come keeps its distance when the clock is set; the times that answers show are by the world's clock.
func TestTheClockOfGoogle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := googleWorld(t)
		client := googleSDK(t, world)
		read := func() *kmspb.CryptoKey {
			t.Helper()
			return noError[*kmspb.CryptoKey](t, "get")(client.GetCryptoKey(t.Context(), &kmspb.GetCryptoKeyRequest{Name: acmeKey}))
		}
		due := read().GetNextRotationTime().AsTime()
		if err := world.SetClockOffset(10 * time.Minute); err != nil {
			t.Fatal(err)
		}
		if shown := read().GetNextRotationTime().AsTime(); !shown.Equal(due.Add(10 * time.Minute)) {
			t.Errorf("the next rotation is shown at %s, want ten minutes after %s", shown, due)
		}
		time.Sleep(time.Until(due) - time.Second)
		if k := read(); k.GetPrimary().GetName() != version("2") {
			t.Errorf("the clock rotated the key: %v", k)
		}
		time.Sleep(time.Second)
		if k := read(); k.GetPrimary().GetName() != version("3") || !k.GetPrimary().GetCreateTime().AsTime().Equal(due.Add(10*time.Minute)) {
			t.Errorf("the key is %v", k)
		}
	})
}

// A key without a version has no primary, and a schedule without a period rotates once.
func TestAKeyOnGoogleWithoutVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := googleWorld(t)
		client := googleSDK(t, world)
		const name = acmeRing + "/cryptoKeys/new"
		k := noError[*kmspb.CryptoKey](t, "create")(client.CreateCryptoKey(t.Context(), &kmspb.CreateCryptoKeyRequest{Parent: acmeRing, CryptoKeyId: "new",
			SkipInitialVersionCreation: true, CryptoKey: &kmspb.CryptoKey{Purpose: kmspb.CryptoKey_ENCRYPT_DECRYPT, NextRotationTime: timestamppb.New(time.Now().Add(time.Hour))}}))
		if k.GetPrimary() != nil {
			t.Errorf("the key is %v", k)
		}
		_, err := client.Encrypt(t.Context(), &kmspb.EncryptRequest{Name: name, Plaintext: []byte("x")})
		wantStatus(t, "encrypt", "FAILED_PRECONDITION", err)
		time.Sleep(time.Hour)
		k = noError[*kmspb.CryptoKey](t, "get")(client.GetCryptoKey(t.Context(), &kmspb.GetCryptoKeyRequest{Name: name}))
		if k.GetPrimary().GetName() != name+"/cryptoKeyVersions/1" || k.GetNextRotationTime() != nil {
			t.Errorf("the key is %v; want one rotation and no other", k)
		}
		_, err = client.Encrypt(t.Context(), &kmspb.EncryptRequest{Name: name, Plaintext: []byte("x")})
		wantStatus(t, "encrypt", "", err)
	})
}

func TestPoliciesOnGoogleHaveEtagsAndVersions(t *testing.T) {
	world := googleWorld(t)
	client := googleSDK(t, world)
	get := func(resource string, version int32) *iampb.Policy {
		t.Helper()
		return noError[*iampb.Policy](t, "get policy")(client.GetIamPolicy(t.Context(), &iampb.GetIamPolicyRequest{
			Resource: resource, Options: &iampb.GetPolicyOptions{RequestedPolicyVersion: version}}))
	}
	p := get(acmeKey, 3)
	if len(p.GetBindings()) != 1 || p.GetBindings()[0].GetRole() != useRole || !slices.Equal(p.GetBindings()[0].GetMembers(), []string{"serviceAccount:" + acmeAccount}) {
		t.Errorf("the seeded policy is %v", p)
	}
	if ring := get(acmeRing, 3); string(ring.GetEtag()) != "\x00\x20\x01" || len(ring.GetBindings()) != 0 {
		t.Errorf("a policy that was never set is %v; want the etag ACAB alone", ring)
	}
	old := p.GetEtag()
	p.Version = 3
	p.Bindings[0].Condition = expr("request.time < timestamp(\"2100-01-01T00:00:00Z\")")
	p = noError[*iampb.Policy](t, "set policy")(client.SetIamPolicy(t.Context(), &iampb.SetIamPolicyRequest{Resource: acmeKey, Policy: p}))
	if e := wantEvent(t, world, "set policy", cmek.ChangeKeyPolicy); e.Key != acmeKey || !strings.Contains(e.Policy, "2100-01-01") || e.Delta != "" {
		t.Errorf("the event is %+v; want the new policy, and no delta", e)
	}
	if shown := get(acmeKey, 0); shown.GetVersion() != 1 || shown.GetBindings()[0].GetCondition() != nil || !strings.HasPrefix(shown.GetBindings()[0].GetRole(), useRole+"_withcond_") {
		t.Errorf("without a version asked for the policy is %v", shown)
	}
	if shown := get(acmeKey, 3); shown.GetVersion() != 3 || shown.GetBindings()[0].GetCondition() == nil {
		t.Errorf("of version 3 the policy is %v", shown)
	}
	for attempt, c := range map[string]struct {
		policy *iampb.Policy
		code   string
	}{
		"an old etag":              {&iampb.Policy{Version: 3, Etag: old}, "ABORTED"},
		"conditions lost unawares": {&iampb.Policy{Version: 1, Etag: p.GetEtag()}, "INVALID_ARGUMENT"},
		"an account that is not there": {&iampb.Policy{Version: 3, Bindings: []*iampb.Binding{
			{Role: useRole, Members: []string{"serviceAccount:none@acme.iam.gserviceaccount.com"}}}}, "INVALID_ARGUMENT"},
		"a member of no kind": {&iampb.Policy{Version: 3, Bindings: []*iampb.Binding{{Role: useRole, Members: []string{acmeAccount}}}}, "INVALID_ARGUMENT"},
	} {
		_, err := client.SetIamPolicy(t.Context(), &iampb.SetIamPolicyRequest{Resource: acmeKey, Policy: c.policy})
		wantStatus(t, attempt, c.code, err)
		if e := wantEvent(t, world, attempt, cmek.ChangeKeyPolicy); e.Succeeded() {
			t.Errorf("%s: the event is %+v", attempt, e)
		}
	}
	if after := get(acmeKey, 3); string(after.GetEtag()) != string(p.GetEtag()) {
		t.Errorf("refused calls changed the policy: %v", after)
	}
	noError[*iampb.Policy](t, "set policy of the ring")(client.SetIamPolicy(t.Context(), &iampb.SetIamPolicyRequest{Resource: acmeRing, Policy: &iampb.Policy{}}))
	wantEvent(t, world, "set policy of the ring", cmek.ChangeInheritedPolicy)
}

func TestGoogleWritesEnumsAsAsked(t *testing.T) {
	for setting, want := range map[string][2]string{"as-asked": {`"state":"ENABLED"`, `"state":1`}, "names": {`"state":"ENABLED"`, `"state":"ENABLED"`}, "integers": {`"state":1`, `"state":1`}} {
		world := googleWorld(t, simulator.GoogleEnums, setting)
		ask(t, world, "GET", "v1/"+acmeKey, "", 200, want[0])
		ask(t, world, "GET", "v1/"+acmeKey+"?%24alt=json%3Benum-encoding%3Dint", "", 200, want[1])
	}
}

func TestGoogleRefusesAsStatus(t *testing.T) {
	world := googleWorld(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		name               string
	}{
		{"GET", "v1/" + acmeKey + "?alt=json", "", 200, ""},
		{"GET", "v1/" + acmeKey + "x", "", 404, "NOT_FOUND"},
		{"PATCH", "v1/" + acmeKey + "?updateMask=labels", "{", 400, "INVALID_ARGUMENT"},
		{"PATCH", "v1/" + acmeKey, "{}", 400, "INVALID_ARGUMENT"},
		{"PATCH", "v1/" + acmeKey + "?updateMask=keyAccessJustificationsPolicy", `{"keyAccessJustificationsPolicy":{"allowedAccessReasons":["ANY"]}}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeKey + ":rawEncrypt", "{}", 501, "UNIMPLEMENTED"},
		{"DELETE", "v1/" + acmeKey, "", 501, "UNIMPLEMENTED"},
		{"GET", "v1/" + acmeKey + "/cryptoKeyVersions?pageToken=x", "", 400, "INVALID_ARGUMENT"},
		{"GET", "v1/" + acmeKey + "/cryptoKeyVersions?filter=name%3Ax", "", 400, "INVALID_ARGUMENT"},
		{"GET", "v1/" + acmeKey + ":getIamPolicy?options.requestedPolicyVersion=2", "", 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeRing + "/cryptoKeys?cryptoKeyId=a%2Fb", `{"purpose":1}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeRing + "/cryptoKeys?cryptoKeyId=b", `{"purpose":"MAC"}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeKey + ":encrypt", `{"plaintext":"?"}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeKey + ":encrypt", `{"plaintext":1}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeKey + "x:encrypt", `{"plaintext":""}`, 404, "NOT_FOUND"},
		{"POST", "v1/" + acmeKey + ":decrypt", `{"ciphertext":"AAAA"}`, 400, "INVALID_ARGUMENT"},
		{"GET", "v1/" + acmeRing, "", 200, ""},
		{"GET", "v1/" + acmeRing + "x", "", 404, "NOT_FOUND"},
		{"GET", "v1/" + acmeRing + "x/cryptoKeys", "", 404, "NOT_FOUND"},
		{"GET", "v1/" + acmeRing + "/cryptoKeys?filter=x", "", 400, "INVALID_ARGUMENT"},
		{"GET", "v1/" + acmeRing + "/cryptoKeys?pageSize=-1", "", 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeRing + "x/cryptoKeys?cryptoKeyId=b", `{"purpose":1}`, 404, "NOT_FOUND"},
		{"POST", "v1/" + acmeRing + "/cryptoKeys?cryptoKeyId=b", `{"purpose":1,"versionTemplate":{"protectionLevel":"HSM","algorithm":1}}`, 200, ""},
		{"POST", "v1/" + acmeRing + "/cryptoKeys?cryptoKeyId=c", `{"purpose":1,"versionTemplate":{"protectionLevel":"EXTERNAL"}}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeRing + "/cryptoKeys?cryptoKeyId=c", `{"purpose":1,"versionTemplate":{"algorithm":"HMAC_SHA256"}}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeRing + "/cryptoKeys?cryptoKeyId=c", `{"purpose":1,"destroyScheduledDuration":"86399s"}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeRing + "/cryptoKeys?cryptoKeyId=c", `{"purpose":1,"destroyScheduledDuration":"10368001s"}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeRing + "/cryptoKeys?cryptoKeyId=c", `{"purpose":1,"rotationPeriod":"86400s"}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/projects/acme/locations/us-east1/keyRings?keyRingId=new", `{}`, 200, ""},
		{"POST", "v1/projects/acme/locations/us-east1/keyRings?keyRingId=new", `{}`, 409, "ALREADY_EXISTS"},
		{"POST", "v1/projects/acme/locations/us-east1/keyRings?keyRingId=a%20b", `{}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeKey + "x/cryptoKeyVersions", `{}`, 404, "NOT_FOUND"},
		{"GET", "v1/" + version("2"), "", 200, ""},
		{"GET", "v1/" + version("02"), "", 404, "NOT_FOUND"},
		{"PATCH", "v1/" + version("3") + "?updateMask=state", `{"state":2}`, 404, "NOT_FOUND"},
		{"PATCH", "v1/" + version("2") + "?updateMask=state", `{"state":"DESTROYED"}`, 400, "INVALID_ARGUMENT"},
		{"PATCH", "v1/" + version("2"), `{"state":"DISABLED"}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + version("3") + ":destroy", `{}`, 404, "NOT_FOUND"},
		{"POST", "v1/" + version("3") + ":restore", `{}`, 404, "NOT_FOUND"},
		{"PATCH", "v1/" + version("1") + "?updateMask=state", `{"state":2}`, 200, ""},
		{"POST", "v1/" + acmeKey + ":updatePrimaryVersion", `{"cryptoKeyVersionId":"1"}`, 400, "FAILED_PRECONDITION"},
		{"POST", "v1/" + acmeKey + "x:updatePrimaryVersion", `{"cryptoKeyVersionId":"1"}`, 404, "NOT_FOUND"},
		{"POST", "v1/" + acmeKey + "x:setIamPolicy", `{"policy":{}}`, 404, "NOT_FOUND"},
		{"GET", "v1/" + acmeKey + "x:getIamPolicy", "", 404, "NOT_FOUND"},
		{"POST", "v1/" + acmeKey + ":setIamPolicy", `{}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/" + acmeKey + ":setIamPolicy", `{"policy":{"bindings":[{"role":"owner","members":["allUsers"]}]}}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/projects/acme/serviceAccounts", `{"accountId":"short"}`, 400, "INVALID_ARGUMENT"},
		{"DELETE", "v1/projects/acme/serviceAccounts/none@acme.iam.gserviceaccount.com", "", 404, "NOT_FOUND"},
		{"POST", "v1/projects/acme/serviceAccounts/none@acme.iam.gserviceaccount.com:getIamPolicy", "{}", 404, "NOT_FOUND"},
		{"POST", "v1/projects/acme/roles", `{"roleId":"a b"}`, 400, "INVALID_ARGUMENT"},
		{"POST", "v1/projects/acme/roles", `{"roleId":"keyUser"}`, 409, "ALREADY_EXISTS"},
		{"PATCH", "v1/projects/acme/roles/none", `{}`, 404, "NOT_FOUND"},
		{"DELETE", "v1/projects/acme/roles/none", ``, 404, "NOT_FOUND"},
		{"PUT", "v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2Facme/denypolicies/none", `{}`, 404, "NOT_FOUND"},
		{"DELETE", "v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2Facme/denypolicies/none", ``, 404, "NOT_FOUND"},
		{"GET", "v1/projects/acme/billingInfo", "", 200, ""},
		{"POST", "v1/projects/other/services/cloudkms.googleapis.com:disable", "{}", 403, "PERMISSION_DENIED"},
		{"POST", "v3/projects/acme:undelete", "{}", 400, "FAILED_PRECONDITION"},
		{"DELETE", "v3/projects/acme", "", 200, ""},
		{"DELETE", "v3/projects/acme", "", 400, "FAILED_PRECONDITION"},
	} {
		fields := ask(t, world, c.method, c.path, c.body, c.status, "")
		failed, _ := fields["error"].(map[string]any)
		if c.name != "" && (failed["status"] != c.name || failed["code"] != float64(c.status) || failed["message"] == "") || c.name == "" && failed != nil {
			t.Errorf("%s %s: %v; want %s", c.method, c.path, fields, c.name)
		}
		// keyturn's decoder takes what a refusal leaves in the log, and takes no refusal for a success.
		for _, e := range emitted(t, world) {
			if e.Succeeded() != (c.status == 200) {
				t.Errorf("%s %s: the event is %+v; want status %d", c.method, c.path, e, c.status)
			}
		}
	}
}

// A primary can be set back to an older version. Whether a rotation by hand is in the platform log is open.
func TestAPrimaryIsSetBack(t *testing.T) {
	world := googleWorld(t, simulator.GoogleRotationEvent, "every", simulator.GooglePropagation, "0s")
	ask(t, world, "POST", "v1/"+acmeKey+":updatePrimaryVersion", `{"cryptoKeyVersionId":"1"}`, 200, `"primary":{"algorithm":"GOOGLE_SYMMETRIC_ENCRYPTION"`)
	all := emitted(t, world)
	if len(all) != 2 || all[0].Change != cmek.ChangeRotated || !all[0].Version.IsZero() || all[1].Change != cmek.ChangeRotated || all[1].Version.ID != "1" {
		t.Errorf("the events are %+v; want one of each log", all)
	}
	ask(t, world, "POST", "v1/"+acmeKey+":encrypt", `{"plaintext":"eA=="}`, 200, `"name":"`+version("1")+`"`)
	if keys := world.StoreKeys(); !keys[0].Behind {
		t.Errorf("the store key is %+v; want it behind", keys[0])
	}
}

// A refusal by a switch is that of the resource, or of one permission on it, and never of another one.
func TestGoogleDeniesByResourceAndPermission(t *testing.T) {
	world := googleWorld(t)
	deny := func(resource string, denied bool, permissions ...string) {
		t.Helper()
		if err := world.DenyGoogle(resource, denied, permissions...); err != nil {
			t.Fatal(err)
		}
	}
	deny(acmeKey, true, "cloudkms.cryptoKeys.getIamPolicy")
	ask(t, world, "GET", "v1/"+acmeKey+":getIamPolicy", "", 403, "PERMISSION_DENIED")
	ask(t, world, "GET", "v1/"+acmeKey, "", 200, "primary")
	ask(t, world, "GET", "v1/"+acmeRing+":getIamPolicy", "", 200, "ACAB")
	deny(acmeKey, true)
	ask(t, world, "GET", "v1/"+version("1"), "", 403, "IAM_PERMISSION_DENIED")
	ask(t, world, "POST", "v1/"+version("1")+":destroy", "{}", 403, "cloudkms.cryptoKeyVersions.destroy")
	if e := wantEvent(t, world, "denied", cmek.ChangeVersionScheduled); e.Failure != cmek.FailureDenied {
		t.Errorf("the event is %+v", e)
	}
	deny(acmeKey, false)
	ask(t, world, "GET", "v1/"+acmeKey, "", 200, "primary")
	ask(t, world, "GET", "v1/"+acmeKey+":getIamPolicy", "", 403, "cryptoKeys.getIamPolicy")
	for _, resource := range []string{"projects/acme", "folders/77", "projects/acme/serviceAccounts/" + acmeAccount, acmeRing} {
		deny(resource, true)
	}
	if world.DenyGoogle(acmeKey+"x", true) == nil {
		t.Error("a key that is not there is denied")
	}
}

// Data Access logs are off unless somebody enables them.
func TestTheUseOfKeysIsInTheDataAccessLog(t *testing.T) {
	world := googleWorld(t)
	body := `{"plaintext":"` + base64.StdEncoding.EncodeToString([]byte("x")) + `"}`
	encrypt := func(status int) {
		t.Helper()
		callGoogle(t, world, acmeAccount, "POST", "v1/"+acmeKey+":encrypt", body).want(t, status, "")
	}
	encrypt(200)
	if all := emitted(t, world); len(all) != 0 {
		t.Errorf("the log is off, but shows %+v", all)
	}
	set(t, world, simulator.GoogleDataAccess, "on")
	encrypt(200)
	if e := wantEvent(t, world, "encrypt", cmek.ChangeUse); e.Principal != acmeAccount || e.Key != acmeKey {
		t.Errorf("the event is %+v", e)
	}
	ask(t, world, "POST", "v1/"+acmeKey+":setIamPolicy", `{"policy":{}}`, 200, "")
	emitted(t, world)
	encrypt(403)
	if e := wantEvent(t, world, "encrypt", cmek.ChangeUseRefused); e.Failure != cmek.FailureDenied {
		t.Errorf("the event is %+v", e)
	}
}

// What a sink delivers is the body of a push, with the entry as REST writes it.
func TestEntriesComeAsPushes(t *testing.T) {
	world := googleWorld(t)
	ask(t, world, "POST", "v1/"+version("1")+":destroy", "{}", 200, "DESTROY_SCHEDULED")
	var push struct {
		Message struct {
			Data       []byte            `json:"data"`
			Attributes map[string]string `json:"attributes"`
			MessageID  string            `json:"messageId"`
		} `json:"message"`
		Subscription string `json:"subscription"`
	}
	if err := json.Unmarshal(world.Events()[0].Payload, &push); err != nil {
		t.Fatal(err)
	}
	var entry struct {
		LogName   string `json:"logName"`
		Timestamp string `json:"timestamp"`
		Severity  string `json:"severity"`
		Resource  struct {
			Type   string            `json:"type"`
			Labels map[string]string `json:"labels"`
		} `json:"resource"`
		Audit map[string]any `json:"protoPayload"`
	}
	if err := json.Unmarshal(push.Message.Data, &entry); err != nil {
		t.Fatal(err)
	}
	if push.Message.Attributes["logging.googleapis.com/timestamp"] != entry.Timestamp || push.Message.MessageID == "" || push.Subscription == "" ||
		!strings.HasSuffix(string(push.Message.Data), "\n") {
		t.Errorf("the push is %+v", push)
	}
	if entry.LogName != "projects/acme/logs/cloudaudit.googleapis.com%2Factivity" || entry.Severity != "NOTICE" ||
		entry.Resource.Type != "cloudkms_cryptokeyversion" || entry.Resource.Labels["crypto_key_version_id"] != "1" ||
		entry.Audit["methodName"] != "DestroyCryptoKeyVersion" || entry.Audit["resourceName"] != version("1") || entry.Audit["response"] != nil {
		t.Errorf("the entry is %+v", entry)
	}
}

func expr(text string) *exprpb.Expr { return &exprpb.Expr{Expression: text} }
