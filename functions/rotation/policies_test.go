package rotation_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// policies answers with documents by name; a name without one may not be read.
type policies map[string]string

func (p policies) Deciding(use cmek.Use, known map[string]string) []string {
	names := []string{string(use.Spec.URI), string(use.Spec.AuthPrincipal), ledger.RolePolicies(use.Spec.AuthPrincipal)}
	if known[string(use.Spec.URI)] != "" { // as on a cloud where one document shows what else there is
		names = append(names, "above "+string(use.Spec.URI), string(use.Spec.URI))
	}
	return names
}

func (p policies) Document(_ context.Context, name string) (string, error) {
	if document, ok := p[name]; ok {
		return document, nil
	}
	return "", errors.Join(errors.New("read policy"), cmek.ErrDenied)
}

func TestASweepKeepsEachNewPolicyInTheArchiveAndTheLastInTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world, err := simulator.New(simulator.DefaultSeed())
		if err != nil {
			t.Fatal(err)
		}
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		archive := &cmektest.Archive{}
		const key = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
		const role = "arn:aws:iam::111122223333:role/payments-cmek"
		readable := policies{key: `{"Version":"1"}`, ledger.RolePolicies(role): `{"inline":{},"attached":{}}`, "above " + key: `["organizations/1"]`}
		f.Archive, f.Policies = archive, readable
		for _, document := range []string{`{"Version":"1"}`, `{"Version":"1"}`, `{"Version":"2"}`, `{"Version":"1"}`} {
			readable[key] = document
			for range 80 { // policies are read once an hour
				tick(t, f)
			}
			if last, err := f.Ledger.PolicyNoted(t.Context(), key); err != nil || last.Document != document {
				t.Errorf("the ledger's last policy is %q (%v), want %q", last.Document, err, document)
			}
		}
		want := []string{ledger.PolicyName("above "+key, `["organizations/1"]`), ledger.PolicyName(ledger.RolePolicies(role), `{"inline":{},"attached":{}}`), ledger.PolicyName(key, `{"Version":"1"}`), ledger.PolicyName(key, `{"Version":"2"}`)}
		slices.Sort(want)
		if got := archive.Names(); !slices.Equal(got, want) {
			t.Errorf("the archive holds %q, want %q", got, want)
		}
	})
}

// On Google Cloud the documents that decide are found one by the other: what is above the project shows whose policies count, and a
// policy which roles. Each is read once an hour, however many clusters need it.
func TestASweepKeepsAllDocumentsThatDecideOnGoogleCloud(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newSimulator(t, mixedFleet())
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		calls := map[string]int{}
		counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "cryptoKeys/pay") || strings.HasSuffix(r.URL.Path, ":getIamPolicy") {
				calls[r.URL.Path]++
			}
			world.Google().ServeHTTP(w, r)
		})
		config := google.Config{HTTP: &http.Client{Transport: simulator.Transport(counted)}, Endpoint: "http://google.test"}
		kms, err := google.NewKMS(config)
		if err != nil {
			t.Fatal(err)
		}
		archive := &cmektest.Archive{}
		f.KMS, f.Policies, f.Archive, f.KeyTypes = kms, google.NewPolicies(config), archive, []cmek.KeyType{cmek.GCPCloudKMS}
		minutes(f, 59)
		const project, account = "projects/acme", "projects/acme/serviceAccounts/cmek@acme.iam.gserviceaccount.com"
		for _, name := range []string{string(googleKey), "projects/acme/locations/us-east1/keyRings/crdb", project, project + "#denies", project + "#boundaries", project + "#parents", account, account + "#state"} {
			noted, err := f.Ledger.PolicyNoted(t.Context(), name)
			if err != nil || noted.Document == "" || !slices.Contains(archive.Names(), ledger.PolicyName(name, noted.Document)) {
				t.Errorf("%s is noted as %q, error %v; want it noted and archived", name, noted.Document, err)
			}
		}
		for path, n := range calls {
			if n > 1 {
				t.Errorf("%s was read %d times within the hour", path, n)
			}
		}
	})
}
