package amazon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
)

func TestSecretIsReadFromSecretsManagerEachTime(t *testing.T) {
	config := motoConfig(t, nil)
	manager := secretsmanager.NewFromConfig(config)
	created, err := manager.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: aws.String("keyturn/api-key"), SecretString: aws.String(`{"api_key": "first"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	secret := amazon.NewSecret(config, *created.ARN)
	wantValue := func(want string) {
		t.Helper()
		if got, err := secret.Value(t.Context()); err != nil || got != want {
			t.Errorf("value is %q, error %v; want %q", got, err, want)
		}
	}
	wantValue("first")
	_, err = manager.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: created.ARN, SecretString: aws.String("second\n")})
	if err != nil {
		t.Fatal(err)
	}
	wantValue("second")
	if at, err := secret.Created(t.Context()); err != nil || time.Since(at).Abs() > time.Minute || secret.Name() != *created.ARN {
		t.Errorf("%s, created at %s, %v", secret.Name(), at, err)
	}
}

func TestSecretTellsWhenItsCurrentValueWasStored(t *testing.T) {
	version := func(at float64, stages ...string) map[string]any {
		return map[string]any{"CreatedDate": at, "VersionStages": stages}
	}
	for _, tt := range []struct {
		name   string
		status int
		fields map[string]any
		want   int64
		denied bool
	}{
		{"the current among others", 200, map[string]any{"Versions": []any{version(100, "AWSPREVIOUS"), version(200, "AWSCURRENT"), version(300, "AWSPENDING")}}, 200, false},
		{"none is current", 200, map[string]any{"Versions": []any{version(100, "AWSPREVIOUS")}}, 0, false},
		{"without a date", 200, map[string]any{"Versions": []any{map[string]any{"VersionStages": []string{"AWSCURRENT"}}}}, 0, false},
		{"empty", 200, map[string]any{}, 0, false},
		{"refused", 400, map[string]any{"__type": "AccessDeniedException", "message": "no"}, 0, true},
	} {
		at, err := secretHolding(t, tt.status, tt.fields).Created(t.Context())
		var missing *cmek.PermissionError
		if tt.want > 0 && (err != nil || at.Unix() != tt.want) || tt.want == 0 && err == nil || errors.As(err, &missing) != tt.denied {
			t.Errorf("%s: %s, %v", tt.name, at, err)
		}
		if tt.denied && missing.Permission != "secretsmanager:ListSecretVersionIds on keyturn/api-key" {
			t.Error(missing.Permission)
		}
	}
}

// secretHolding is a secret whose service answers with the fields.
func secretHolding(t *testing.T, status int, fields map[string]any) *amazon.Secret {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(fields)
	}))
	t.Cleanup(server.Close)
	return amazon.NewSecret(configAt(t, server.URL, nil), "keyturn/api-key")
}

func TestSecretIsTheKeyItselfOrJSONWithTheKey(t *testing.T) {
	for name, fields := range map[string]map[string]any{
		"plain": {"SecretString": "CCDB1_abc"}, "with white space": {"SecretString": " CCDB1_abc\r\n"},
		"JSON": {"SecretString": `{"api_key":"CCDB1_abc","note":1}`}, "binary": {"SecretBinary": []byte("CCDB1_abc")},
	} {
		secret := secretHolding(t, http.StatusOK, fields)
		if got, err := secret.Value(t.Context()); err != nil || got != "CCDB1_abc" {
			t.Errorf("%s: value is %q, error %v; want CCDB1_abc", name, got, err)
		}
	}
}

func TestSecretThatIsMalformedIsInNoError(t *testing.T) {
	for _, content := range []string{"", "{topsecret", `{"key":"topsecret"}`, `{"api_key":["topsecret"]}`, `{"api_key":""}`} {
		secret := secretHolding(t, http.StatusOK, map[string]any{"SecretString": content})
		got, err := secret.Value(t.Context())
		if err == nil {
			t.Errorf("content %q gave the key %q", content, got)
			continue
		}
		for _, form := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
			if strings.Contains(form, "topsecret") {
				t.Errorf("the error shows the secret: %s", form)
			}
		}
		if !strings.Contains(err.Error(), "keyturn/api-key") || !strings.Contains(err.Error(), "api_key") {
			t.Errorf("error %q names neither the secret nor what it should hold", err)
		}
	}
}

func TestSecretThatWeMayNotReadIsDenied(t *testing.T) {
	secret := secretHolding(t, http.StatusBadRequest, map[string]any{"__type": "AccessDeniedException", "message": "no"})
	if _, err := secret.Value(t.Context()); !errors.Is(err, cmek.ErrDenied) {
		t.Errorf("error is %v, want one that wraps ErrDenied", err)
	}
}
