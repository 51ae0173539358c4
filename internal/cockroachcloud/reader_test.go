package cockroachcloud_test

import (
	"net/http"
	"reflect"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/simulator"
)

// The methods are pinned: a new one needs a read at what it sends.
func TestReader_has_no_method_that_writes(t *testing.T) {
	reader := reflect.TypeFor[cockroachcloud.Reader]()
	var methods []string
	for i := range reader.NumMethod() {
		methods = append(methods, reader.Method(i).Name)
	}
	if want := []string{"Backups", "CMEK", "Cluster", "ClusterPage", "OrganizationID"}; !slices.Equal(methods, want) || reflect.PointerTo(reader).NumMethod() != len(want) {
		t.Errorf("methods %v, want %v", methods, want)
	}
	for i := range reader.NumField() {
		if reader.Field(i).IsExported() {
			t.Errorf("field %s leads to a client that can write", reader.Field(i).Name)
		}
	}
}

// methods notes what is sent.
type methods struct {
	next http.RoundTripper
	sent []string
}

func (m *methods) RoundTrip(r *http.Request) (*http.Response, error) {
	m.sent = append(m.sent, r.Method)
	return m.next.RoundTrip(r)
}

func TestReader_sends_GETs_only(t *testing.T) {
	seed := simulator.DefaultSeed()
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	m := &methods{next: simulator.Transport(world.Handler())}
	r, err := cockroachcloud.NewReader(cockroachcloud.Options{
		Server: "http://localhost", APIKey: cockroachcloud.StaticAPIKey(seed.APIKeys[0].Secret), Rate: 1000, HTTPClient: &http.Client{Transport: m},
	})
	if err != nil {
		t.Fatal(err)
	}
	clusters, _, err := r.ClusterPage(t.Context(), "")
	if err != nil || len(clusters) == 0 {
		t.Fatal(clusters, err)
	}
	id := clusters[0].ID
	if _, err := r.Cluster(t.Context(), id); err != nil {
		t.Error(err)
	}
	if _, err := r.CMEK(t.Context(), id); err != nil {
		t.Error(err)
	}
	if got, err := r.OrganizationID(t.Context()); err != nil || got != seed.Organization.ID {
		t.Error(got, err)
	}
	if b, err := r.Backups(t.Context(), id, 3); err != nil || b.Frequency <= 0 || b.Retention <= 0 || b.Newest.IsZero() {
		t.Error(b, err)
	}
	if len(m.sent) != 6 || slices.ContainsFunc(m.sent, func(s string) bool { return s != http.MethodGet }) {
		t.Errorf("sent %v, want six GETs", m.sent)
	}
}
