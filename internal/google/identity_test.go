package google_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
)

const runsAs = "keyturn-compliance@acme-prod.iam.gserviceaccount.com"

// metadataServer stands for the one of a function's host, with its header in every answer.
func metadataServer(t *testing.T, status int, body string) (asked *[]string) {
	t.Helper()
	asked = &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Path+" "+r.Header.Get("Metadata-Flavor"))
		w.Header().Set("Metadata-Flavor", "Google")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	return asked
}

func TestCallerEmail_isWhatTheMetadataServerSays(t *testing.T) {
	signedIn := google.Config{HTTP: &http.Client{Timeout: time.Second}, Tokens: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "sample"})}
	asked := metadataServer(t, 200, runsAs)
	who, err := google.CallerEmail(signedIn)(t.Context())
	if err != nil || who != runsAs || len(*asked) != 1 || (*asked)[0] != "/computeMetadata/v1/instance/service-accounts/default/email Google" {
		t.Errorf("%q, error %v; asked for %q", who, err, *asked)
	}
	for status, body := range map[int]string{404: "", 200: "", 403: runsAs} {
		metadataServer(t, status, body)
		if who, err := google.CallerEmail(signedIn)(t.Context()); err == nil || who != "" {
			t.Errorf("HTTP %d %q: %q", status, body, who)
		}
	}
	metadataServer(t, 200, "<html>"+runsAs)
	if who, err := google.CallerEmail(signedIn)(t.Context()); err == nil {
		t.Errorf("a page that is not the metadata server's says %q", who)
	}
}

// Where nothing authenticates us there is nobody to name, and nobody is asked.
func TestCallerEmail_ofAnEndpointOnThisMachine(t *testing.T) {
	asked := metadataServer(t, 200, runsAs)
	who, err := google.CallerEmail(google.Config{HTTP: &http.Client{}, Endpoint: "http://127.0.0.1:1"})(t.Context())
	if !errors.Is(err, cmek.ErrNoCredentials) || who != "" || len(*asked) > 0 {
		t.Errorf("%q, error %v; asked for %q", who, err, *asked)
	}
}
