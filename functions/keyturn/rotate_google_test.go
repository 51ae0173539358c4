package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google/hub"
	"github.com/keyturn/keyturn/internal/google/hub/hubtest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	gcpID            = "7c1d9e20-3a4b-4c5d-8e6f-000000000002"
	googleRing       = "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/"
	googleSpareKey   = googleRing + "spare"
	googleStrangeKey = googleRing + "strange"
	googleFarKey     = "projects/acme/locations/us-west1/keyRings/crdb/cryptoKeys/far"
)

// googlePolicy lets a service account of the project acme use the key.
func googlePolicy(account string) string {
	return `{"bindings":[{"role":"roles/cloudkms.cryptoKeyEncrypterDecrypter","members":["serviceAccount:` + account + `@acme.iam.gserviceaccount.com"]}]}`
}

// movableOnGoogle is the mixed fleet with keys that its clusters may be moved to, or not.
func movableOnGoogle(t *testing.T) *bench {
	t.Helper()
	seed := mixedSeed(t)
	for i := range seed.Keys {
		seed.Keys[i].Rotations = nil // no rotation is to be followed before
	}
	for _, k := range []struct{ uri, policy string }{
		{googleSpareKey, googlePolicy("cmek")}, {googleStrangeKey, googlePolicy("other")}, {googleFarKey, googlePolicy("cmek")}, {spareKey, policyFor("p")},
	} {
		seed.Keys = append(seed.Keys, simulator.KeySeed{URI: cmek.KeyURI(k.uri), AgeDays: 100, Policy: k.policy})
	}
	b := newBenchOf(t, seed).withGoogle()
	t.Setenv("AWS_ENDPOINT_URL_IAM", b.url)
	b.environ = append(b.environ, "AWS_ENDPOINT_URL_IAM="+b.url)
	return b.swept(t)
}

// google calls Google Cloud as its owner does.
func (b *bench) google(t *testing.T, method, path, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	must(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s answered %s", method, path, response.Status)
	}
}

// deployedOnGoogle lets commands find a deployment on Google Cloud that publishes that, and keeps the bench's own ledger.
func (b *bench) deployedOnGoogle(t *testing.T, change func(*hub.Published)) {
	t.Helper()
	g := &hubtest.Google{Published: hubtest.Deployment("acme-keyturn")}
	g.Published.Server = b.url
	change(&g.Published)
	mux := http.NewServeMux()
	mux.Handle("/storage/", g)
	mux.Handle("/", b.Handler())
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	b.environ = append(b.environ, "KEYTURN_DEPLOYMENT=acme-keyturn/keyturn", "KEYTURN_GOOGLE_ENDPOINT="+server.URL, "KEYTURN_ALERTS_TOPIC=arn:aws:sns:us-east-1:111122223333:a", "KEYTURN_OPERATIONS_TOPIC=arn:aws:sns:us-east-1:111122223333:o",
		"KEYTURN_ARCHIVE=file:"+filepath.Join(b.folder, "archive"))
}

func TestRotate_onGoogle_asksTheDeploymentWhetherTheNewKeyIsWatched(t *testing.T) {
	for _, r := range []struct {
		name    string
		publish func(*hub.Published)
		unknown string // "" if the key is watched
	}{
		{"its project", func(p *hub.Published) { p.WatchedProjects = []string{"acme"} }, ""},
		{"of before", func(p *hub.Published) { p.WatchedFolders = nil }, "does not publish which folders and organization it watches"},
	} {
		b := movableOnGoogle(t)
		b.deployedOnGoogle(t, r.publish)
		o := b.keyturn(t, "rotate", "gcp1", "--to", googleSpareKey, "--no-terraform", "--dry-run")
		o.wantCode(t, exitFine, r.name)
		if !strings.Contains(o.err, r.unknown) || strings.Contains(o.err, "Not verified") != (r.unknown != "") {
			t.Errorf("%s: it says %q, want %q", r.name, o.err, r.unknown)
		}
	}
}

func TestRotate_onGoogle_movesTheClusterOnce(t *testing.T) {
	b := movableOnGoogle(t)
	args := []string{"rotate", "gcp1", "--to", googleSpareKey, "--no-terraform", "--by", "ana"}
	wantText(t, "the dry run", b.succeed(t, append(args, "--dry-run")...), "gcp1", "us-east1", "ready", "Nothing was written")
	wantText(t, "the end", b.succeed(t, args...), "1 of 1 order done.", "The old key "+mixedGoogleKey+" is still needed")
	if got := b.keyOf("gcp1", "us-east1"); got != googleSpareKey || len(b.PUTs()) != 1 {
		t.Errorf("gcp1 is on %s after %d PUTs, want one PUT to the new key", got, len(b.PUTs()))
	}
	if files, _ := filepath.Glob(filepath.Join(b.folder, "archive", "evidence", gcpID, "*.json")); len(files) != 1 {
		t.Errorf("evidence files are %q, want one", files)
	}
	wantText(t, "the command again", b.succeed(t, args...), "is on this key already")
	if len(b.PUTs()) != 1 {
		t.Errorf("the command again sent %d more PUTs", len(b.PUTs())-1)
	}
}

// Of a mixed fleet, --from moves the clusters that are on the key, and no other cloud's.
func TestRotate_fromMovesTheClustersOfItsCloudOnly(t *testing.T) {
	for _, r := range []struct{ from, to, moved string }{{mixedGoogleKey, googleSpareKey, "gcp1"}, {paymentsKey, spareKey, "aws1"}} {
		b := movableOnGoogle(t)
		wantText(t, "the end", b.succeed(t, "rotate", "--from", r.from, "--to", r.to, "--no-terraform"), "1 of 1 order done.")
		if puts := b.PUTs(); len(puts) != 1 || puts[0].Cluster != r.moved {
			t.Errorf("from %s: PUTs are %+v, want one to %s", r.from, puts, r.moved)
		}
	}
}

func TestRotate_onGoogle_refusesBeforeTheFirstRequest(t *testing.T) {
	to := func(key string, args ...string) []string {
		return append([]string{"rotate", "gcp1", "--to", key, "--no-terraform"}, args...)
	}
	disable := func(key string) func(*testing.T, *bench) {
		return func(t *testing.T, b *bench) {
			b.google(t, http.MethodPatch, "/v1/"+key+"/cryptoKeyVersions/1?updateMask=state", `{"state":"DISABLED"}`)
		}
	}
	refusedBeforeTheFirstRequest(t, "rotate-preflight-google.txt", movableOnGoogle, []refusedRotation{
		{"the cluster is busy", func(t *testing.T, b *bench) { must(t, b.Lock(gcpID, "CRDB_SCALE_RUNNING", time.Hour)) }, to(googleSpareKey)},
		{"the cluster has no such region", nil, to(googleSpareKey, "--region", "us-west1")},
		{"the region is on another key than the one named", nil, to(googleSpareKey, "--region", "us-east1", "--from", googleStrangeKey)},
		{"the new key is named by its version", nil, to(googleSpareKey + "/cryptoKeyVersions/1")},
		{"the new key is of another cloud", nil, to(spareKey)},
		{"of a fleet's keys one is of another cloud", nil, []string{"rotate", "--from", mixedGoogleKey, "--to", spareKey, "--no-terraform"}},
		{"the new key does not exist", nil, to(googleRing + "absent")},
		{"the new key is disabled", disable(googleSpareKey), to(googleSpareKey)},
		{"the new key does not admit the service account", nil, to(googleStrangeKey)},
		{"the new key is in another region", nil, to(googleFarKey)},
		{"keyturn may not read the new key", func(t *testing.T, b *bench) { must(t, b.DenyGoogle(googleSpareKey, true)) }, to(googleSpareKey)},
		{"keyturn may not read the new key's policy", func(t *testing.T, b *bench) {
			must(t, b.DenyGoogle(googleSpareKey, true, "cloudkms.cryptoKeys.getIamPolicy"))
		}, to(googleSpareKey)},
		{"the old key is disabled", func(t *testing.T, b *bench) {
			disable(mixedGoogleKey)(t, b)
		}, to(googleSpareKey)},
		{"the old key no longer admits the service account", func(t *testing.T, b *bench) {
			b.google(t, http.MethodPost, "/v1/"+mixedGoogleKey+":setIamPolicy", `{"policy":{"bindings":[]}}`)
		}, to(googleSpareKey)},
		{"an incident is open on the old key", func(t *testing.T, b *bench) {
			b.open(t, ledger.Incident{DedupKey: "key-policy/" + mixedGoogleKey, Opened: time.Now(), NextLook: time.Now().Add(time.Hour), Alert: alert.Alert{Key: mixedGoogleKey, Summary: "Access of cmek@acme lost"}})
		}, to(googleSpareKey)},
		{"the cluster is on hold", func(t *testing.T, b *bench) { b.succeed(t, "hold", "gcp1", "--reason", "CHG-7") }, to(googleSpareKey)},
		{"the new key's project is not watched", func(t *testing.T, b *bench) {
			b.deployedOnGoogle(t, func(p *hub.Published) { p.WatchedProjects, p.WatchedFolders = []string{"acme-keys"}, []string{} })
		}, to(googleSpareKey)},
		{"the new key's project is in no folder that is watched", func(t *testing.T, b *bench) {
			b.deployedOnGoogle(t, func(p *hub.Published) { p.WatchedProjects, p.WatchedFolders = nil, []string{"55"} })
		}, to(googleSpareKey)},
		{"Terraform was not answered", nil, []string{"rotate", "gcp1", "--to", googleSpareKey}},
	})
}

// An installation on one cloud moves no cluster of another.
func TestRotate_refusesAClusterOfAnotherInstallation(t *testing.T) {
	b := movableOnGoogle(t)
	b.environ = append(b.environ, "KEYTURN_GOOGLE_ENDPOINT=")
	o := b.keyturn(t, "rotate", "gcp1", "--to", googleSpareKey, "--no-terraform")
	o.wantCode(t, exitRefused, "rotate")
	wantText(t, "the refusal", o.out, fmt.Sprintf("of type %s, which this installation does not follow", cmek.GCPCloudKMS), "--deployment")
}
