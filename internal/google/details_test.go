package google_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestDetails_has_all_that_Cloud_KMS_shows(t *testing.T) {
	fake := newFakeKMS(2, "DESTROY_SCHEDULED", "ENABLED").scheduled(createdAt(2))
	fake.key["destroyScheduledDuration"] = "2592000s"
	fake.key["cryptoKeyBackend"] = "projects/p/locations/us-east1/ekmConnections/c"
	d := fake.serve(t).Details(t.Context(), testKey)
	if d.DescriptionErr != nil || d.RotationErr != nil {
		t.Fatal(d.DescriptionErr, d.RotationErr)
	}
	want := cmek.KeyDescription{
		Key: wantKey(2, cmek.KeyDeletionScheduled, cmek.KeyEnabled), CreatedAt: made, Purpose: "ENCRYPT_DECRYPT",
		Spec: "GOOGLE_SYMMETRIC_ENCRYPTION", Protection: "SOFTWARE", Backend: "projects/p/locations/us-east1/ekmConnections/c",
		Labels: map[string]string{"a": "b"}, DeletionWindow: 30 * 24 * time.Hour,
	}
	want.RotatedAt, want.Versions[1].BecameCurrent = createdAt(2), createdAt(2)
	if !reflect.DeepEqual(d.Description, want) {
		t.Errorf("got  %+v\nwant %+v", d.Description, want)
	}
	if r := (cmek.KeyRotation{Enabled: true, Period: 90 * 24 * time.Hour, Next: createdAt(2).Add(90 * 24 * time.Hour)}); d.Rotation != r {
		t.Errorf("got %+v, want %+v", d.Rotation, r)
	}
	if want := []string{"GET k", "GET cryptoKeyVersions"}; !slices.Equal(fake.calls, want) {
		t.Errorf("calls %v, want %v", fake.calls, want)
	}
}

func TestDetails_rotation(t *testing.T) {
	next := made.Add(time.Hour).Format(time.RFC3339)
	for _, tt := range []struct {
		name   string
		fields map[string]any
		want   cmek.KeyRotation
		bad    bool
	}{
		{"none", nil, cmek.KeyRotation{}, false},
		{"a period", map[string]any{"rotationPeriod": "86400s", "nextRotationTime": next}, cmek.KeyRotation{Enabled: true, Period: 24 * time.Hour, Next: made.Add(time.Hour)}, false},
		{"a single one", map[string]any{"nextRotationTime": next}, cmek.KeyRotation{Next: made.Add(time.Hour)}, false},
		{"a period of nothing", map[string]any{"rotationPeriod": "0s"}, cmek.KeyRotation{}, true},
		{"a period that runs backwards", map[string]any{"rotationPeriod": "-5s"}, cmek.KeyRotation{}, true},
		{"imported material", map[string]any{"importOnly": true}, cmek.KeyRotation{Unsupported: true}, false},
		{"external", map[string]any{"versionTemplate": map[string]any{"protectionLevel": "EXTERNAL"}}, cmek.KeyRotation{Unsupported: true}, false},
		{"HSM", map[string]any{"versionTemplate": map[string]any{"protectionLevel": "HSM"}}, cmek.KeyRotation{}, false},
		{"for signing", map[string]any{"purpose": "ASYMMETRIC_SIGN"}, cmek.KeyRotation{Unsupported: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFakeKMS(1, "ENABLED")
			fake.names = true
			for name, value := range tt.fields {
				fake.key[name] = value
			}
			d := fake.serve(t).Details(t.Context(), testKey)
			if (d.RotationErr != nil) != tt.bad || !tt.bad && d.Rotation != tt.want {
				t.Errorf("got %+v, %v", d.Rotation, d.RotationErr)
			}
		})
	}
}

// What is refused names its permission, and leaves what was read.
func TestDetails_that_are_refused(t *testing.T) {
	for _, tt := range []struct {
		last, permission string
		status           int
		rotation         bool // is read all the same
	}{
		{"k", "cloudkms.cryptoKeys.get on " + string(testKey), 403, false},
		{"cryptoKeyVersions", "cloudkms.cryptoKeyVersions.list on " + string(testKey), 403, true},
		{"k", "", 400, false},
		{"cryptoKeyVersions", "", 400, true},
	} {
		fake := newFakeKMS(1, "ENABLED").scheduled(made)
		fake.status = map[string]int{tt.last: tt.status}
		status := map[int]string{403: "PERMISSION_DENIED", 400: "INVALID_ARGUMENT"}[tt.status]
		fake.answers = map[string]string{tt.last: jsonOf(t, refusal(tt.status, status, "no"))}
		d := fake.serve(t).Details(t.Context(), testKey)
		var missing *cmek.PermissionError
		if errors.As(d.DescriptionErr, &missing) != (tt.permission != "") || missing != nil && missing.Permission != tt.permission || d.DescriptionErr == nil {
			t.Errorf("%s %d: %v", tt.last, tt.status, d.DescriptionErr)
		}
		if (d.RotationErr == nil) != tt.rotation || tt.rotation && !d.Rotation.Enabled {
			t.Errorf("%s %d: %+v, %v", tt.last, tt.status, d.Rotation, d.RotationErr)
		}
	}
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDetails_of_a_key_that_does_not_exist(t *testing.T) {
	fake := newFakeKMS(1, "ENABLED")
	fake.status = map[string]int{"k": http.StatusNotFound}
	fake.answers = map[string]string{"k": jsonOf(t, refusal(404, "NOT_FOUND", "no"))}
	d := fake.serve(t).Details(t.Context(), testKey)
	if d.DescriptionErr != nil || d.Description.State != cmek.KeyNotFound || d.RotationErr == nil {
		t.Errorf("%+v, %v", d, d.RotationErr)
	}
}
