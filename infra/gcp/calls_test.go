package gcp_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/google/hub"
	"github.com/keyturn/keyturn/internal/ledger"
	policies "github.com/keyturn/keyturn/internal/policy/google"
)

// needs are the permissions that the APIs ask for, by call. Sources: the "IAM permissions" of each method in the API's reference; for
// Firestore, firebase.google.com/docs/firestore/security/iam; for custom roles, roles.get of the IAM API, which asks for nothing where the
// role is Google's.
var needs = []struct{ call, permissions string }{
	{`GET cloudkms\.googleapis\.com/v1/projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/:]+`, "cloudkms.cryptoKeys.get"},
	{`GET cloudkms\.googleapis\.com/v1/projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+/cryptoKeyVersions`, "cloudkms.cryptoKeyVersions.list"},
	{`GET cloudkms\.googleapis\.com/v1/projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+:getIamPolicy`, "cloudkms.cryptoKeys.getIamPolicy"},
	{`GET cloudkms\.googleapis\.com/v1/projects/[^/]+/locations/[^/]+/keyRings/[^/]+:getIamPolicy`, "cloudkms.keyRings.getIamPolicy"},
	{`GET iam\.googleapis\.com/v1/projects/[^/]+/serviceAccounts/[^/:]+`, "iam.serviceAccounts.get"},
	{`POST iam\.googleapis\.com/v1/projects/[^/]+/serviceAccounts/[^/]+:getIamPolicy`, "iam.serviceAccounts.getIamPolicy"},
	{`GET iam\.googleapis\.com/v1/(projects|organizations)/[^/]+/roles/[^/]+`, "iam.roles.get"},
	{`GET iam\.googleapis\.com/v1/roles/[^/]+`, ""},
	{`GET iam\.googleapis\.com/v2/policies/[^/]+/denypolicies`, "iam.denypolicies.list"},
	{`GET iam\.googleapis\.com/v2/policies/[^/]+/denypolicies/[^/]+`, "iam.denypolicies.get"},
	{`GET iam\.googleapis\.com/v3/projects/[^/]+/locations/global/policyBindings:searchTargetPolicyBindings`, "resourcemanager.projects.searchPolicyBindings"},
	{`GET iam\.googleapis\.com/v3/folders/[^/]+/locations/global/policyBindings:searchTargetPolicyBindings`, "resourcemanager.folders.searchPolicyBindings"},
	{`GET iam\.googleapis\.com/v3/organizations/[^/]+/locations/global/policyBindings:searchTargetPolicyBindings`, "resourcemanager.organizations.searchPolicyBindings"},
	{`GET iam\.googleapis\.com/v3/organizations/[^/]+/locations/global/principalAccessBoundaryPolicies/[^/]+`, "iam.principalaccessboundarypolicies.get"},
	{`POST cloudresourcemanager\.googleapis\.com/v3/projects/[^/]+:getIamPolicy`, "resourcemanager.projects.getIamPolicy"},
	{`POST cloudresourcemanager\.googleapis\.com/v3/folders/[^/]+:getIamPolicy`, "resourcemanager.folders.getIamPolicy"},
	{`POST cloudresourcemanager\.googleapis\.com/v3/organizations/[^/]+:getIamPolicy`, "resourcemanager.organizations.getIamPolicy"},
	{`POST cloudresourcemanager\.googleapis\.com/v1/projects/[^/]+:getAncestry`, "resourcemanager.projects.get"},
	{`GET cloudresourcemanager\.googleapis\.com/v3/projects/[^/:]+`, "resourcemanager.projects.get"},
	// Any of it, logging.logEntries.list and logging.views.access, of which it alone shows Data Access logs of a project.
	{`POST logging\.googleapis\.com/v2/entries:list`, google.UseLogPermission},
	{`POST cloudresourcemanager\.googleapis\.com/v3/projects/[^/]+:testIamPermissions`, ""},
	{`GET logging\.googleapis\.com/v2/projects/[^/]+/locations/global/buckets/[^/]+`, "logging.buckets.get"},
	{`GET secretmanager\.googleapis\.com/v1/projects/[^/]+/secrets/[^/]+/versions/[^/]+:access`, "secretmanager.versions.access"},
	{`POST pubsub\.googleapis\.com/v1/projects/[^/]+/topics/[^/]+:publish`, "pubsub.topics.publish"},
	{`POST storage\.googleapis\.com/upload/storage/v1/b/[^/]+/o`, "storage.objects.create"},
	{`GET storage\.googleapis\.com/storage/v1/b/[^/]+/o/[^/ ]+`, "storage.objects.get"},
	// Without the second the answer is 403, as if the first were missing (cloud.google.com/storage/docs/json_api/v1/status-codes).
	{`GET storage\.googleapis\.com/storage/v1/b/[^/]+/o/[^/ ]+ which is not there`, "storage.objects.get storage.objects.list"},
	{`GET storage\.googleapis\.com/storage/v1/b/[^/]+/o`, "storage.objects.list"},
	{`GET pubsub\.googleapis\.com/v1/projects/[^/]+/subscriptions/[^/]+`, "pubsub.subscriptions.get"},
	{`GET logging\.googleapis\.com/v2/(?:projects|folders|organizations)/[^/]+/sinks/[^/]+`, "logging.sinks.get"},
	{`GET secretmanager\.googleapis\.com/v1/projects/[^/]+/secrets/[^/]+/versions/latest`, "secretmanager.versions.get"},
	{`GET monitoring\.googleapis\.com/v3/projects/[^/]+/timeSeries`, "monitoring.timeSeries.list"},
	{`firestore BatchGetDocuments`, "datastore.entities.get"},
	{`firestore RunQuery`, "datastore.entities.get datastore.entities.list"},
	{`firestore Commit where it does not exist`, "datastore.entities.create"},
	{`firestore Commit where it exists`, "datastore.entities.update"},
}

// What the functions call through each adapter, as their ports have it.
var uses = map[string][]func(*testing.T, *recorder){
	"rotation":         {readsKeys, readsPolicies, usesLedger, readsSecret, publishes, archives},
	"alerting":         {readsKeys, readsPolicies, usesLedger, readsSecret, publishes},
	"notify":           {readsSecret},
	"notify-pagerduty": {readsSecret, writesPages},
	"viewer":           {readsKeys, readsLedger, asksHub},
	"operator":         {readsKeys, readsPolicies, usesLedger, asksHub, publishes, archives, readsRuns},
	"compliance":       {runsChecks, readsUseLog, readsUsesKept},
	"auditor":          {findsDeployment, readsRuns},
}

// byGoogle are permissions that Google's own services use for an account, so that no call of the code shows them.
var byGoogle = map[string]string{
	"push":         "run.routes.invoke", // Pub/Sub
	"tick":         "run.routes.invoke", // Cloud Scheduler
	"heartbeat":    "cloudkms.cryptoKeys.update",
	"build":        "artifactregistry.repositories.downloadArtifacts artifactregistry.repositories.uploadArtifacts logging.logEntries.create storage.objects.get storage.objects.list", // Cloud Build
	"agent:pubsub": "iam.serviceAccounts.getOpenIdToken pubsub.subscriptions.consume pubsub.topics.publish",
	"agent:assets": "pubsub.topics.publish",
	"sink":         "pubsub.topics.publish",
}

// What each account may do is what its calls need: nothing is missing, and nothing is unused.
func TestPermissions_areThoseOfTheCalls(t *testing.T) {
	granted := permitted(t, readModule(t, "."))
	accounts := map[string]bool{}
	for account := range granted {
		accounts[account] = true
	}
	for account := range uses {
		accounts[account] = true
	}
	for account := range accounts {
		needed := map[string]string{}
		for _, permission := range strings.Fields(byGoogle[account]) {
			needed[permission] = "a service of Google"
		}
		for _, use := range uses[account] {
			made := newRecorder()
			use(t, made)
			if len(made.calls) == 0 {
				t.Errorf("%s: a use made no call", account)
			}
			for _, call := range made.calls {
				for _, permission := range strings.Fields(permissionsFor(t, call)) {
					needed[permission] = call
				}
			}
		}
		for permission, call := range needed {
			if len(granted[account][permission]) == 0 {
				t.Errorf("%s may not %s, which takes %s", account, call, permission)
			}
		}
		for permission, where := range granted[account] {
			if needed[permission] == "" {
				t.Errorf("%s may %s by %v, and never does", account, permission, where)
			}
		}
		if len(needed) == 0 {
			t.Errorf("%s needs nothing", account)
		}
	}
}

// The roles for reading keys and policies hold all that compliance reads, so that whoever runs "keyturn check" needs no other.
func TestReaderRoles_holdWhatComplianceReads(t *testing.T) {
	m := readModule(t, ".")
	held := map[string]bool{}
	for _, b := range m.resources(bindings) {
		switch b.address() {
		case "google_project_iam_member.read", "google_organization_iam_member.read_above", "google_project_iam_member.read_denies":
			for _, permissions := range rolesOf(t, m, b) {
				for _, permission := range permissions {
					held[permission] = true
				}
			}
		}
	}
	made := newRecorder()
	readsDetails(t, made)
	readsPolicies(t, made)
	for _, call := range made.calls {
		for _, permission := range strings.Fields(permissionsFor(t, call)) {
			if !held[permission] {
				t.Errorf("no role for reading holds %s, which %s takes", permission, call)
			}
		}
	}
}

// permissionsFor are those of the one line of the table that is about the call.
func permissionsFor(t *testing.T, call string) string {
	t.Helper()
	var found []string
	for _, line := range needs {
		if regexp.MustCompile("^" + line.call + "$").MatchString(call) {
			found = append(found, line.permissions)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d lines of the table are about %q", len(found), call)
	}
	return found[0]
}

// Each line of the table is about a call that is made.
func TestNeeds_areOfCallsThatAreMade(t *testing.T) {
	made := newRecorder()
	for _, list := range uses {
		for _, use := range list {
			use(t, made)
		}
	}
	for _, line := range needs {
		if !slices.ContainsFunc(made.calls, regexp.MustCompile("^"+line.call+"$").MatchString) {
			t.Errorf("no call is like %s", line.call)
		}
	}
}

const (
	key     = "projects/acme-keys/locations/us-east1/keyRings/crdb/cryptoKeys/cmek"
	account = "crdb-payments@acme-keys.iam.gserviceaccount.com"
)

func readsKeys(t *testing.T, made *recorder) {
	kms, err := google.NewKMS(made.config())
	if err != nil {
		t.Fatal(err)
	}
	if read, err := kms.Key(t.Context(), key); err != nil || read.Version.ID != "1" {
		t.Fatalf("the key is %+v, error %v", read, err)
	}
	if _, err := kms.Describe(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

func readsDetails(t *testing.T, made *recorder) {
	kms, err := google.NewKMS(made.config())
	if err != nil {
		t.Fatal(err)
	}
	if d := kms.Details(t.Context(), key); d.DescriptionErr != nil || d.RotationErr != nil {
		t.Fatal(d.DescriptionErr, d.RotationErr)
	}
	if len(made.calls) != 2 {
		t.Errorf("a key takes %v", made.calls)
	}
}

func readsPolicies(t *testing.T, made *recorder) {
	reader := google.NewPolicies(made.config())
	ring, _, _ := strings.Cut(key, "/cryptoKeys/")
	for _, name := range []string{
		key, ring, policies.ResourceOf(account), "projects/acme-keys", "folders/55", "organizations/77",
		policies.Denies("projects/acme-keys"), policies.Boundaries("projects/acme-keys"), policies.Boundaries("folders/55"), policies.Boundaries("organizations/77"), "projects/acme-keys#parents", policies.State(account),
		"roles/viewer", "projects/acme-keys/roles/r", "organizations/77/roles/r",
	} {
		if _, err := reader.Document(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := reader.Project(t.Context(), "acme-keys"); err != nil {
		t.Fatal(err)
	}
}

// readsUseLog looks for uses of a key that there are none of.
func readsUseLog(t *testing.T, made *recorder) {
	uses, err := google.NewUseLog(made.config()).RecordedUses(t.Context(), key+"-unused", time.Now().Add(-time.Hour))
	if err != nil || len(uses.Uses) > 0 {
		t.Fatal(uses, err)
	}
}

func readsSecret(t *testing.T, made *recorder) {
	secret, err := google.NewSecret(made.config(), "projects/acme-keyturn/secrets/keyturn-api-key")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := secret.Value(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func publishes(t *testing.T, made *recorder) {
	t.Setenv("PUBSUB_EMULATOR_HOST", "")
	notifier, err := google.NewNotifier(made.config(), google.Topics{
		Owners: "projects/acme-keyturn/topics/keyturn-alerts", Operations: "projects/acme-keyturn/topics/keyturn-operations",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, audience := range []alert.Audience{alert.Owners, alert.Operations} {
		if err := notifier.Notify(t.Context(), alert.Alert{ID: "a", Summary: "a", Severity: alert.Critical, Audience: audience}); err != nil {
			t.Fatal(err)
		}
	}
}

func archives(t *testing.T, made *recorder) {
	archive, err := google.NewArchive(made.config(), "acme-keyturn-archive", "evidence/")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"new.json", "taken.json"} { // what is there is compared
		if err := archive.PutIfAbsent(t.Context(), name, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
}

func usesLedger(t *testing.T, made *recorder) {
	store := made.ledger(t)
	ctx := t.Context()
	if _, err := store.Get(ctx, "rotation", "cluster"); err != nil {
		t.Fatal(err)
	}
	for version := range int64(2) { // the first is made, the second replaces it
		if err := store.Put(ctx, ledger.Record{Kind: "rotation", ID: "cluster", Version: version, Data: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Due(ctx, "rotation", time.Now(), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ByKey(ctx, "rotation", key); err != nil {
		t.Fatal(err)
	}
}

func readsLedger(t *testing.T, made *recorder) {
	store := made.ledger(t)
	if _, err := store.Get(t.Context(), "rotation", "cluster"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Due(t.Context(), "rotation", time.Now(), 10); err != nil {
		t.Fatal(err)
	}
}

// asksHub finds the deployment and sees whether it is in order, as commands do.
func asksHub(t *testing.T, made *recorder) {
	published, err := hub.Read(t.Context(), made.config(), "acme-keyturn", "keyturn")
	if err != nil {
		t.Fatal(err)
	}
	h := hub.Hub{Config: made.config(), Published: published}
	if _, err := h.Problem(t.Context(), published.PushSubscriptions[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Undelivered(t.Context(), "keyturn-", time.Now()); err != nil {
		t.Fatal(err)
	}
}

// findsDeployment reads what the deployment publishes.
func findsDeployment(t *testing.T, made *recorder) {
	if _, err := hub.Read(t.Context(), made.config(), "acme-keyturn", "keyturn"); err != nil {
		t.Fatal(err)
	}
}

func writesPages(t *testing.T, made *recorder) {
	l := ledger.New(made.ledger(t), rand.New(rand.NewPCG(1, 1)))
	for range 2 {
		if err := l.UpdatePages(t.Context(), "secret", func(p *ledger.Pages) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// recorder stands for all of Google's APIs, and writes down what is called.
type recorder struct {
	mu    sync.Mutex
	calls []string

	objects *sync.Map // what was created: []byte by bucket/name
}

func newRecorder() *recorder { return &recorder{objects: new(sync.Map)} }

// sharing is a recorder of other calls on the same objects.
func (r *recorder) sharing() *recorder { return &recorder{objects: r.objects} }

func (r *recorder) add(call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
}

func (r *recorder) config() google.Config {
	return google.Config{HTTP: &http.Client{Transport: r, Timeout: 10 * time.Second}}
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	status, body := r.answer(req)
	call := req.Method + " " + req.URL.Host + req.URL.EscapedPath()
	if status == http.StatusNotFound && strings.HasPrefix(req.URL.Host, "storage.") {
		call += " which is not there"
	}
	r.add(call)
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}, nil
}

// answer is what the APIs' references say, no more than the adapters ask for.
func (r *recorder) answer(req *http.Request) (status int, body string) {
	path := req.URL.EscapedPath()
	last := path[strings.LastIndex(path, "/")+1:]
	const version = `{"name":"` + key + `/cryptoKeyVersions/1","state":"ENABLED","createTime":"2026-01-01T12:00:00Z"}`
	switch {
	case last == "cryptoKeyVersions":
		return 200, `{"cryptoKeyVersions":[` + version + `],"totalSize":1}`
	case last == "cmek":
		return 200, `{"name":"` + key + `","purpose":"ENCRYPT_DECRYPT","createTime":"2026-01-01T12:00:00Z","primary":` + version + `}`
	case strings.HasSuffix(last, ":getIamPolicy"):
		return 200, `{"version":3,"etag":"ACAB","bindings":[{"role":"projects/acme-keys/roles/r","members":["serviceAccount:` + account + `"]}]}`
	case strings.HasSuffix(last, ":getAncestry"):
		return 200, `{"ancestor":[{"resourceId":{"type":"project","id":"acme-keys"}},{"resourceId":{"type":"folder","id":"55"}},{"resourceId":{"type":"organization","id":"77"}}]}`
	case strings.HasSuffix(last, ":access"):
		sum := crc32.Checksum([]byte("CCDB1_abc"), crc32.MakeTable(crc32.Castagnoli))
		return 200, fmt.Sprintf(`{"payload":{"data":%q,"dataCrc32c":"%d"}}`, base64.StdEncoding.EncodeToString([]byte("CCDB1_abc")), sum)
	case last == "entries:list":
		query, _ := io.ReadAll(req.Body)
		if !strings.Contains(string(query), `crypto_key_id=\"cmek\"`) {
			return 200, `{}`
		}
		return 200, `{"entries":[{"insertId":"e1","logName":"projects/acme-keys/logs/cloudaudit.googleapis.com%2Fdata_access","timestamp":"` + time.Now().UTC().Format(time.RFC3339Nano) + `",` +
			`"protoPayload":{"serviceName":"cloudkms.googleapis.com","methodName":"Encrypt","resourceName":"` + key + `","status":{},"authenticationInfo":{"principalEmail":"` + account + `"},` +
			`"response":{"name":"` + key + `/cryptoKeyVersions/1"}}}]}`
	case strings.HasSuffix(last, ":testIamPermissions"):
		return 200, `{"permissions":["` + google.UseLogPermission + `"]}`
	case strings.HasSuffix(last, ":publish"):
		return 200, `{"messageIds":["1"]}`
	case strings.HasSuffix(last, ":searchTargetPolicyBindings"):
		return 200, `{"policyBindings":[{"policy":"organizations/77/locations/global/principalAccessBoundaryPolicies/own"}]}`
	case strings.Contains(path, "/principalAccessBoundaryPolicies/"):
		return 200, `{"name":"` + strings.TrimPrefix(path, "/v3/") + `","details":{"rules":[],"enforcementVersion":"4"}}`
	case last == "denypolicies":
		return 200, `{"policies":[{"name":"policies/p/denypolicies/d"}]}`
	case strings.Contains(path, "/denypolicies/"):
		return 200, `{"name":"policies/cloudresourcemanager.googleapis.com%2Fprojects%2Facme-keys/denypolicies/d","rules":[]}`
	case strings.Contains(path, "/roles/"):
		return 200, `{"name":"` + strings.TrimPrefix(path, "/v1/") + `","includedPermissions":["cloudkms.cryptoKeys.get"]}`
	case strings.Contains(path, "/serviceAccounts/"):
		return 200, `{"email":"` + account + `","uniqueId":"1"}`
	case path == "/v3/projects/acme-keys":
		return 200, `{"name":"projects/123456","projectId":"acme-keys"}`
	case strings.HasPrefix(path, "/upload/storage/"):
		return r.create(req)
	case last == "deployment.json":
		return 200, `{"format":1,"version":"v1","name":"keyturn","project":"acme-keyturn","region":"us-east1","mode":"observe","organization_id":"o","ledger":"firestore://acme-keyturn/keyturn",` +
			`"archive":"gs://acme-keyturn-keyturn-archive/evidence","alerts_topic":"t","operations_topic":"t","push_subscriptions":["projects/acme-keyturn/subscriptions/keyturn-rotation"],"dead_subscriptions":["s"]}`
	case strings.Contains(path, "/subscriptions/"):
		return 200, `{"topic":"projects/acme-keyturn/topics/keyturn-rotation-events"}`
	case strings.HasSuffix(path, "/sinks/_Default"):
		return 200, `{"destination":"logging.googleapis.com/projects/acme-keys/locations/global/buckets/_Default"}`
	case strings.Contains(path, "/buckets/"):
		return 200, `{"retentionDays":30,"lifecycleState":"ACTIVE"}`
	case strings.Contains(path, "/sinks/"):
		return 200, `{"destination":"pubsub.googleapis.com/projects/acme-keyturn/topics/keyturn-alerting-events"}`
	case strings.HasSuffix(path, "/versions/latest"):
		return 200, `{"name":"projects/1/secrets/s/versions/3","createTime":"2026-01-01T12:00:00Z","state":"ENABLED"}`
	case last == "timeSeries":
		return 200, `{}`
	case strings.HasSuffix(path, "/o") && strings.HasPrefix(path, "/storage/"):
		return 200, r.list(strings.Split(path, "/")[4], req.URL.Query().Get("prefix"))
	case strings.HasPrefix(path, "/storage/"):
		parts := strings.SplitN(req.URL.Path, "/", 7)
		if data, found := r.object(parts[4] + "/" + parts[6]); found {
			return 200, string(data)
		}
	}
	return 404, `{"error":{"code":404,"status":"NOT_FOUND"}}`
}

// create is an upload in two parts.
func (r *recorder) create(req *http.Request) (status int, body string) {
	_, parameters, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	parts := multipart.NewReader(req.Body, parameters["boundary"])
	var read [2][]byte
	for i := range read {
		part, err := parts.NextPart()
		if err == nil {
			read[i], err = io.ReadAll(part)
		}
		if err != nil {
			return 400, err.Error()
		}
	}
	var object struct{ Name string }
	if json.Unmarshal(read[0], &object) != nil {
		return 400, "no object"
	}
	name := strings.Split(req.URL.Path, "/")[5] + "/" + object.Name
	if _, taken := r.object(name); taken {
		return 412, `{"error":{"code":412}}`
	}
	if _, taken := r.objects.LoadOrStore(name, read[1]); taken {
		return 412, `{"error":{"code":412}}`
	}
	return 200, string(read[0])
}

// object is one that was created, or whose name says that it was.
func (r *recorder) object(name string) (data []byte, found bool) {
	if strings.Contains(name, "taken") {
		return []byte("{}"), true
	}
	if stored, in := r.objects.Load(name); in {
		return stored.([]byte), true
	}
	return nil, false
}

func (r *recorder) list(bucket, prefix string) string {
	var items []map[string]string
	for name := range r.objects.Range {
		if object, in := strings.CutPrefix(name.(string), bucket+"/"); in && strings.HasPrefix(object, prefix) {
			items = append(items, map[string]string{"name": object, "generation": "1", "size": "1", "timeCreated": "2026-01-01T12:00:00Z"})
		}
	}
	slices.SortFunc(items, func(a, b map[string]string) int { return strings.Compare(a["name"], b["name"]) })
	text, _ := json.Marshal(map[string]any{"kind": "storage#objects", "items": items})
	return string(text)
}

// ledger is the ledger in a database of Firestore that holds what was written.
func (r *recorder) ledger(t *testing.T) *google.Store {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	firestorepb.RegisterFirestoreServer(server, &firestore{recorder: r, documents: map[string]*firestorepb.Document{}})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	t.Setenv("FIRESTORE_EMULATOR_HOST", listener.Addr().String())
	store, err := google.NewStore(r.config(), "acme-keyturn", "keyturn")
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// firestore is a database that keeps what was written. A server of gRPC
// answers each call in a goroutine of its own.
type firestore struct {
	firestorepb.UnimplementedFirestoreServer
	recorder *recorder

	mu        sync.Mutex
	documents map[string]*firestorepb.Document
}

func (f *firestore) BatchGetDocuments(q *firestorepb.BatchGetDocumentsRequest, to firestorepb.Firestore_BatchGetDocumentsServer) error {
	f.recorder.add("firestore BatchGetDocuments")
	for _, name := range q.Documents {
		one := &firestorepb.BatchGetDocumentsResponse{ReadTime: timestamppb.Now(), Result: &firestorepb.BatchGetDocumentsResponse_Missing{Missing: name}}
		if document := f.document(name); document != nil {
			one.Result = &firestorepb.BatchGetDocumentsResponse_Found{Found: document}
		}
		if err := to.Send(one); err != nil {
			return err
		}
	}
	return nil
}

// document is what was written last; what is stored is never changed again.
func (f *firestore) document(name string) *firestorepb.Document {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.documents[name]
}

func (f *firestore) RunQuery(_ *firestorepb.RunQueryRequest, to firestorepb.Firestore_RunQueryServer) error {
	f.recorder.add("firestore RunQuery")
	return to.Send(&firestorepb.RunQueryResponse{ReadTime: timestamppb.Now()})
}

func (f *firestore) Commit(_ context.Context, q *firestorepb.CommitRequest) (*firestorepb.CommitResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := timestamppb.Now()
	result := &firestorepb.CommitResponse{CommitTime: now}
	for _, write := range q.Writes {
		document := write.GetUpdate()
		switch write.CurrentDocument.GetConditionType().(type) {
		case *firestorepb.Precondition_UpdateTime:
			f.recorder.add("firestore Commit where it exists")
		case *firestorepb.Precondition_Exists:
			if write.CurrentDocument.GetExists() {
				f.recorder.add("firestore Commit where it exists")
			} else {
				f.recorder.add("firestore Commit where it does not exist")
			}
		default:
			return nil, status.Error(codes.InvalidArgument, "a write that would replace anything")
		}
		document.CreateTime, document.UpdateTime = now, now
		f.documents[document.Name] = document
		result.WriteResults = append(result.WriteResults, &firestorepb.WriteResult{UpdateTime: now})
	}
	return result, nil
}

// readsUsesKept is what compliance reads beside a use log: of keys that are to go, which runsChecks has none of.
func readsUsesKept(t *testing.T, made *recorder) {
	if kept, err := google.NewSinks(made.config()).UsesKept(t.Context(), "projects/acme-keys"); err != nil || kept != 30*24*time.Hour {
		t.Fatal(kept, err)
	}
}
