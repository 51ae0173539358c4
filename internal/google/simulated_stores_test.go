package google_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
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

func TestArchiveReaderConforms_overTheSimulator(t *testing.T) {
	cmektest.ArchiveReaderConforms(t, func(t *testing.T) (cmektest.ReadableArchive, cmektest.Intruder) {
		c, address := simulated(t)
		archive, err := google.NewArchive(c, "evidence", "keyturn/")
		if err != nil {
			t.Fatal(err)
		}
		send := func(t *testing.T, method, path, contentType string, body io.Reader) {
			r, err := http.NewRequestWithContext(t.Context(), method, address+path, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", contentType)
			resp, err := http.DefaultClient.Do(r)
			if err != nil || resp.StatusCode >= 300 {
				t.Fatal(resp, err)
			}
			_ = resp.Body.Close()
		}
		return archive, cmektest.Intruder{
			Overwrite: func(t *testing.T, name string, data []byte) {
				body := fmt.Sprintf("--b\r\nContent-Type: application/json\r\n\r\n{\"name\":%q}\r\n--b\r\nContent-Type: text/plain\r\n\r\n%s\r\n--b--\r\n", "keyturn/"+name, data)
				send(t, http.MethodPost, "/upload/storage/v1/b/evidence/o?uploadType=multipart", "multipart/related; boundary=b", strings.NewReader(body))
			},
			Delete: func(t *testing.T, name string) {
				send(t, http.MethodDelete, "/storage/v1/b/evidence/o/"+url.PathEscape("keyturn/"+name), "", nil)
			},
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
