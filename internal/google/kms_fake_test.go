package google_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
)

const testKey = cmek.KeyURI("projects/p/locations/us-east1/keyRings/r/cryptoKeys/k")

var made = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// fakeKMS serves one key of Cloud KMS as the reference of its API describes it. Versions are shown in no order, a page each of two.
type fakeKMS struct {
	key      map[string]any
	versions []map[string]any
	// answers go before: a body by the last part of the path.
	answers map[string]string
	status  map[string]int
	names   bool // enums by name whatever is asked for, as some servers do

	mu    sync.Mutex // each request is served in a goroutine of its own
	calls []string
}

// newFakeKMS has a key of versions 1 to n in the states given, of which the one is primary.
func newFakeKMS(primary int, states ...string) *fakeKMS {
	f := &fakeKMS{key: map[string]any{
		"name": string(testKey), "purpose": "ENCRYPT_DECRYPT", "createTime": made.Format(time.RFC3339Nano), "labels": map[string]any{"a": "b"},
		"versionTemplate":  map[string]any{"protectionLevel": "SOFTWARE", "algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION"},
		"aFieldOfNextYear": map[string]any{"x": 1},
	}}
	for i, state := range states {
		v := map[string]any{
			"name": fmt.Sprintf("%s/cryptoKeyVersions/%d", testKey, i+1), "state": state, "protectionLevel": "SOFTWARE",
			"createTime": createdAt(i + 1).Format(time.RFC3339Nano),
		}
		if state == "DESTROY_SCHEDULED" {
			v["destroyTime"] = destroyedAt.Format(time.RFC3339Nano)
		}
		f.versions = append(f.versions, v)
		if i+1 == primary {
			f.key["primary"] = v
		}
	}
	return f
}

var destroyedAt = made.Add(400 * 24 * time.Hour)

func createdAt(version int) time.Time {
	return made.Add(time.Duration(version-1) * 90 * 24 * time.Hour)
}

// scheduled gives the key a rotation every 90 days, of which the last was due at the time.
func (f *fakeKMS) scheduled(last time.Time) *fakeKMS {
	f.key["rotationPeriod"] = "7776000s"
	f.key["nextRotationTime"] = last.Add(90 * 24 * time.Hour).Format(time.RFC3339Nano)
	return f
}

// enums are the numbers that a client may ask for instead of names (cloud.google.com/go/kms/apiv1/kmspb).
var enums = map[string]int{
	"ENCRYPT_DECRYPT": 1, "ASYMMETRIC_SIGN": 5, "SOFTWARE": 1, "GOOGLE_SYMMETRIC_ENCRYPTION": 1,
	"PENDING_GENERATION": 5, "ENABLED": 1, "DISABLED": 2, "DESTROYED": 3, "DESTROY_SCHEDULED": 4, "PENDING_IMPORT": 6, "IMPORT_FAILED": 7,
	"GENERATION_FAILED": 8, "PENDING_EXTERNAL_DESTRUCTION": 9, "EXTERNAL_DESTRUCTION_FAILED": 10, "STATE_OF_NEXT_YEAR": 99,
}

func (f *fakeKMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	last := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	f.mu.Lock()
	f.calls = append(f.calls, r.Method+" "+last)
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if status := f.status[last]; status != 0 {
		w.WriteHeader(status)
	}
	if answer, ok := f.answers[last]; ok {
		fmt.Fprint(w, answer)
		return
	}
	var answer any
	switch r.URL.Path {
	case "/v1/" + string(testKey):
		answer = f.key
	case "/v1/" + string(testKey) + "/cryptoKeyVersions":
		const size = 2
		from, _ := strconv.Atoi(r.URL.Query().Get("pageToken"))
		var page []map[string]any
		for i := from; i < min(from+size, len(f.versions)); i++ {
			page = append(page, f.versions[(i+1)%len(f.versions)])
		}
		list := map[string]any{"cryptoKeyVersions": page, "totalSize": len(f.versions)}
		if from+size < len(f.versions) {
			list["nextPageToken"] = strconv.Itoa(from + size)
		}
		answer = list
	default:
		w.WriteHeader(http.StatusNotFound)
		answer = refusal(404, "NOT_FOUND", "CryptoKey not found.")
	}
	body, _ := json.Marshal(answer)
	if strings.HasSuffix(r.URL.Query().Get("$alt"), "enum-encoding=int") && !f.names {
		for name, number := range enums {
			body = []byte(strings.ReplaceAll(string(body), `"`+name+`"`, strconv.Itoa(number)))
		}
	}
	_, _ = w.Write(body)
}

func refusal(code int, status, message string) map[string]any {
	return map[string]any{"error": map[string]any{"code": code, "status": status, "message": message}}
}

// serve returns a reader of the key.
func (f *fakeKMS) serve(t *testing.T) *google.KMS {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	config := plainConfig()
	config.Endpoint = server.URL + "/"
	kms, err := google.NewKMS(config)
	if err != nil {
		t.Fatal(err)
	}
	return kms
}
