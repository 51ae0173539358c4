package google_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/simulator"
)

// simulated is a configuration for a simulated Google Cloud that has one secret.
func simulated(t *testing.T) (c google.Config, address string) {
	t.Helper()
	seed := simulator.DefaultSeed()
	seed.Google.Secrets = map[string]string{"projects/acme/secrets/api-key": `{"api_key":"CCDB1_sample_sample"}`}
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(world.Handler())
	t.Cleanup(server.Close)
	return google.Config{HTTP: &http.Client{Timeout: 10 * time.Second}, Endpoint: server.URL}, server.URL
}

func TestArchiveConforms_overTheSimulator(t *testing.T) {
	cmektest.ArchiveConforms(t, func(t *testing.T) (cmek.Archive, func(string) ([]byte, error)) {
		c, address := simulated(t)
		archive, err := google.NewArchive(c, "evidence", "keyturn/")
		if err != nil {
			t.Fatal(err)
		}
		return archive, func(name string) ([]byte, error) {
			resp, err := http.Get(address + "/storage/v1/b/evidence/o/" + url.PathEscape("keyturn/"+name) + "?alt=media")
			if err != nil {
				return nil, err
			}
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != http.StatusOK {
				return nil, cmek.ErrNotFound
			}
			return io.ReadAll(resp.Body)
		}
	})
}

func TestSecret_overTheSimulator(t *testing.T) {
	c, _ := simulated(t)
	for name, want := range map[string]string{
		"projects/acme/secrets/api-key": "CCDB1_sample_sample", "projects/acme/secrets/api-key/versions/1": "CCDB1_sample_sample",
		"projects/acme/secrets/api-key/versions/2": "", "projects/acme/secrets/other": "", "projects/other/secrets/api-key": "",
	} {
		secret, err := google.NewSecret(c, name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := secret.Value(t.Context()); got != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q (%v), want %q", name, got, err, want)
		}
	}
}
