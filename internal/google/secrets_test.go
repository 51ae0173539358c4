package google_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
)

// secretAnswering is a secret whose service answers with the status and body, and the path that was asked for.
func secretAnswering(t *testing.T, status int, body string) (secret *google.Secret, asked *string) {
	t.Helper()
	asked = new(string)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = r.Method + " " + r.URL.Path
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
	secret, err := google.NewSecret(google.Config{HTTP: &http.Client{Transport: inProcess{handler}}, Endpoint: "http://secrets.test"}, "projects/p/secrets/api-key")
	if err != nil {
		t.Fatal(err)
	}
	return secret, asked
}

func secretOf(content string) string {
	sum := crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli))
	return fmt.Sprintf(`{"name":"projects/1/secrets/api-key/versions/3","payload":{"data":%q,"dataCrc32c":"%d"}}`, base64.StdEncoding.EncodeToString([]byte(content)), sum)
}

func TestSecretIsTheKeyItselfOrJSONWithTheKey(t *testing.T) {
	for name, content := range map[string]string{"plain": "CCDB1_abc", "with white space": " CCDB1_abc\r\n", "JSON": `{"api_key":"CCDB1_abc","note":1}`} {
		secret, asked := secretAnswering(t, 200, secretOf(content))
		if got, err := secret.Value(t.Context()); err != nil || got != "CCDB1_abc" || *asked != "GET /v1/projects/p/secrets/api-key/versions/latest:access" {
			t.Errorf("%s: value is %q, error %v, asked by %s; want CCDB1_abc", name, got, err, *asked)
		}
	}
}

func TestSecretThatIsMalformedIsInNoError(t *testing.T) {
	bodies := []string{``, `{}`, `topsecret`, `{"payload":{}}`, `{"payload":{"data":"dG9wc2VjcmV0","dataCrc32c":"1"}}`, `{"payload":{"data":"topsecret!"}}`,
		secretOf("x")[:40] + "topsecret"}
	for _, content := range []string{"", "{topsecret", `{"key":"topsecret"}`, `{"api_key":["topsecret"]}`, `{"api_key":""}`} {
		bodies = append(bodies, secretOf(content))
	}
	for _, body := range bodies {
		secret, _ := secretAnswering(t, 200, body)
		got, err := secret.Value(t.Context())
		if err == nil || got != "" {
			t.Errorf("answer %q gave the key %q", body, got)
			continue
		}
		for _, form := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
			if strings.Contains(form, "topsecret") || strings.Contains(form, "dG9wc2VjcmV0") {
				t.Errorf("the error shows the secret: %s", form)
			}
		}
		if !strings.Contains(err.Error(), "projects/p/secrets/api-key") {
			t.Errorf("error %q does not name the secret", err)
		}
	}
}

func TestSecretThatCannotBeRead(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		is     error
	}{
		"we may not":        {403, denied, cmek.ErrDenied},
		"there is none":     {404, notFound, cmek.ErrNotFound},
		"disabled":          {400, `{"error":{"code":400,"message":"it is in DISABLED state","status":"FAILED_PRECONDITION"}}`, nil},
		"a proxy's refusal": {403, `<html/>`, nil},
	} {
		secret, _ := secretAnswering(t, row.status, row.body)
		_, err := secret.Value(t.Context())
		if err == nil || row.is != nil && !errors.Is(err, row.is) || row.is == nil && errors.Is(err, cmek.ErrDenied) {
			t.Errorf("%s: error is %v, want one that wraps %v", name, err, row.is)
		}
	}
}

func TestNewSecret_names(t *testing.T) {
	for name, ok := range map[string]bool{
		"projects/p/secrets/s": true, "projects/example.com:p/secrets/s_1-A": true, "projects/1/secrets/s/versions/7": true, "projects/p/secrets/s/versions/latest": true,
		"": false, "s": false, "projects/p/secrets/": false, "projects/p;x/secrets/s": false, "projects/p/secrets/a/b": false, "projects/p/secrets/s/versions/": false,
		"projects/p/secrets/s/versions/../x": false, "projects/p/secrets/s?x=y": false, "projects/p/secrets/s\n": false, "projects/p/locations/l/secrets/s": false,
	} {
		if _, err := google.NewSecret(plainConfig(), name); (err == nil) != ok {
			t.Errorf("%q: error %v, want a secret %t", name, err, ok)
		}
	}
}

// The age is that of the version in use. One that is disabled, or that says nothing, has none; what is refused names the permission.
func TestSecret_wasCreatedWhenItsVersionInUseWas(t *testing.T) {
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name, body string
		status     int
		want       time.Time
		grants     bool
	}{
		{"enabled", `{"name":"x/versions/3","createTime":"2026-01-02T03:04:05Z","state":"ENABLED"}`, 200, made, false},
		{"disabled", `{"createTime":"2026-01-02T03:04:05Z","state":"DISABLED"}`, 200, time.Time{}, false},
		{"destroyed", `{"createTime":"2026-01-02T03:04:05Z","state":"DESTROYED"}`, 200, time.Time{}, false},
		{"without a state", `{"createTime":"2026-01-02T03:04:05Z"}`, 200, time.Time{}, false},
		{"without a time", `{"state":"ENABLED"}`, 200, time.Time{}, false},
		{"no answer of the API", `<html>`, 200, time.Time{}, false},
		{"not there", `{"error":{"code":404,"status":"NOT_FOUND","message":"no"}}`, 404, time.Time{}, false},
		{"refused", `{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no"}}`, 403, time.Time{}, true},
	} {
		secret, asked := secretAnswering(t, tt.status, tt.body)
		got, err := secret.Created(t.Context())
		var missing *cmek.PermissionError
		errors.As(err, &missing)
		if !got.Equal(tt.want) || (err == nil) == tt.want.IsZero() || (missing != nil) != tt.grants || *asked != "GET /v1/projects/p/secrets/api-key/versions/latest" {
			t.Errorf("%s: %s, %v, asked %s", tt.name, got, err, *asked)
		}
		if missing != nil && missing.Permission != "secretmanager.versions.get on projects/p/secrets/api-key" {
			t.Errorf("the permission is %q", missing.Permission)
		}
	}
}
