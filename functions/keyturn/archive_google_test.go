package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/google/hub/hubtest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// An auditor has no more than the name of the deployment, and a place among the module's auditors: what is published says where the runs
// are. Neither an API key nor the ledger is needed.
func TestReport_findsTheRunsOfADeploymentOnGoogle(t *testing.T) {
	world, err := simulator.New(simulator.DefaultSeed())
	if err != nil {
		t.Fatal(err)
	}
	simulated := httptest.NewServer(world.Handler())
	t.Cleanup(simulated.Close)
	// What is published is read from one server, and what is archived from the other.
	published := &hubtest.Google{Published: hubtest.Deployment("acme-keyturn")}
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "-archive/") {
			world.Handler().ServeHTTP(w, r)
			return
		}
		published.ServeHTTP(w, r)
	}))
	t.Cleanup(cloud.Close)
	archive, err := google.NewArchive(google.Config{HTTP: &http.Client{Timeout: 10 * time.Second}, Endpoint: simulated.URL}, "acme-keyturn-keyturn-archive", "evidence/")
	if err != nil {
		t.Fatal(err)
	}
	manifest := archivedRun(t, archive)

	b := newBench(t)
	b.environ = []string{"KEYTURN_GOOGLE_ENDPOINT=" + cloud.URL}
	wantText(t, "the report", b.keyturn(t, "report", "--deployment", "acme-keyturn/keyturn").out, "Run 1, manifest SHA-256 "+manifest, "rotation is off")
	// Named by its location alone, it takes no deployment, and no ledger.
	b.environ = append(b.environ, "KEYTURN_ARCHIVE=gs://acme-keyturn-keyturn-archive/evidence")
	wantText(t, "the report", b.succeed(t, "report"), manifest)
	good := b.keyturn(t, "evidence", "verify", "--manifest", manifest)
	good.wantCode(t, exitFine, "evidence", "verify")
	wantText(t, "the verification", good.out, "1 compliance run with 1 file", "no ledger is named")
	b.keyturn(t, "evidence", "verify", "--manifest", strings.Repeat("0", 64)).wantCode(t, exitNeedsPerson, "evidence", "verify")
	b.environ = []string{"KEYTURN_GOOGLE_ENDPOINT=" + cloud.URL, "KEYTURN_ARCHIVE=gs://_"}
	b.keyturn(t, "report").wantCode(t, exitUsage, "report")
}
