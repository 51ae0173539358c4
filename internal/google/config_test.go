package google_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/keyturn/keyturn/internal/google"
)

func TestConfigFromEnv_sendsTokensOnlyWhereTheyBelong(t *testing.T) {
	for endpoint, row := range map[string]struct{ problem, tokens bool }{
		"":                                {tokens: true},
		"https://private.example.com":     {tokens: true},
		"http://127.0.0.1:8080":           {},
		"http://[::1]:8080/base":          {},
		"http://localhost:8080":           {},
		"https://127.0.0.1":               {},
		"http://private.example.com":      {problem: true},
		"http://127.0.0.1.example.com":    {problem: true},
		"127.0.0.1:8080":                  {problem: true},
		"ftp://127.0.0.1":                 {problem: true},
		"https://":                        {problem: true},
		"https://a:secret@example.com":    {problem: true},
		"https://example.com?key=secret":  {problem: true},
		"https://secret example.com/%zz/": {problem: true},
	} {
		config, err := google.ConfigFromEnv(func(name string) string {
			return map[string]string{google.EndpointVariable: endpoint}[name]
		}, &http.Client{})
		if (err != nil) != row.problem || (config.Tokens != nil) != row.tokens {
			t.Errorf("endpoint %q: error %v, tokens sent %t; want an error %t, tokens %t", endpoint, err, config.Tokens != nil, row.problem, row.tokens)
		}
		if err != nil && (!strings.Contains(err.Error(), google.EndpointVariable) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("endpoint %q: error %q does not name the variable, or shows its value", endpoint, err)
		}
	}
}

// A person's credentials name the project that calls count against, and each call says it: without, Google refuses them.
func TestConfigFromEnv_countsCallsAgainstAProject(t *testing.T) {
	for name, row := range map[string]struct{ file, variable, want string }{
		"of the credentials": {file: "acme-people", want: "acme-people"},
		"of the variable":    {file: "acme-people", variable: "acme-mine", want: "acme-mine"},
		"the variable alone": {variable: "acme-mine", want: "acme-mine"},
		"none":               {},
	} {
		var mu sync.Mutex
		var counted []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Path == "/token" {
				_, _ = io.WriteString(w, `{"access_token":"t","token_type":"Bearer","expires_in":3600}`)
				return
			}
			mu.Lock()
			counted = append(counted, r.Header.Get("X-Goog-User-Project"))
			mu.Unlock()
			_, _ = io.WriteString(w, `{"payload":{"data":"`+base64.StdEncoding.EncodeToString([]byte("CCDB1_abc"))+`"}}`)
		}))
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", credentials(t, server.URL+"/token", row.file))
		config, err := google.ConfigFromEnv(func(name string) string { return map[string]string{"GOOGLE_CLOUD_QUOTA_PROJECT": row.variable}[name] }, server.Client())
		if err != nil {
			t.Fatal(err)
		}
		config.Endpoint = server.URL
		secret, err := google.NewSecret(config, "projects/acme/secrets/key")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := secret.Value(t.Context()); err != nil || !slices.Equal(counted, []string{row.want}) {
			t.Errorf("%s: calls are counted against %q (%v), want %q", name, counted, err, row.want)
		}
		outgoing, _ := metadata.FromOutgoingContext(config.Counting(t.Context()))
		if got := strings.Join(outgoing.Get("x-goog-user-project"), ","); got != row.want {
			t.Errorf("%s: calls over gRPC are counted against %q, want %q", name, got, row.want)
		}
		server.Close()
	}
}

// credentials writes credentials whose tokens come from the address.
func credentials(t *testing.T, tokens, quota string) (file string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "a@acme.iam.gserviceaccount.com", "private_key_id": "1", "token_uri": tokens, "quota_project_id": quota,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})),
	})
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
