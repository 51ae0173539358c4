package google_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/simulator"
	"github.com/keyturn/keyturn/internal/simulator/language"
)

// dataAccess answers entries.list with the entries that the filter selects, the newest first, and testIamPermissions with what is held.
type dataAccess struct {
	t       *testing.T
	entries []string
	// answers go before: a body by the number of the page, the first is 0.
	answers map[int]string
	// takes is how long an answer takes.
	takes time.Duration
	// held are the permissions; nil: the one that it takes.
	held *string

	mu     sync.Mutex
	asked  []time.Time
	bodies []map[string]any
	// selected are those of the query that is under way.
	selected []string
	checks   int
}

func (d *dataAccess) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(d.takes):
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	text, _ := io.ReadAll(r.Body)
	var body map[string]any
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, err
	}
	answer := notFound
	switch r.Method + " " + r.URL.Host + r.URL.Path {
	case "POST logging.googleapis.com/v2/entries:list":
		answer = d.page(body)
	case "POST cloudresourcemanager.googleapis.com/v3/projects/p:testIamPermissions":
		d.checks++
		answer = `{"permissions":["` + google.UseLogPermission + `"]}`
		if d.held != nil {
			answer = *d.held
		}
	}
	status := http.StatusOK
	var refusal struct{ Error struct{ Code int } }
	if json.Unmarshal([]byte(answer), &refusal) == nil && refusal.Error.Code != 0 {
		status = refusal.Error.Code
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

// page has as many entries as were asked for.
func (d *dataAccess) page(body map[string]any) string {
	n := 0
	if token, ok := body["pageToken"].(string); ok {
		_, _ = fmt.Sscanf(token, "page-%d", &n)
	}
	d.asked, d.bodies = append(d.asked, time.Now()), append(d.bodies, body)
	if answer, ok := d.answers[n]; ok {
		return answer
	}
	if n == 0 {
		d.selected = slices.DeleteFunc(slices.Clone(d.entries), func(text string) bool { return !d.selects(body["filter"].(string), text) })
	} else if fmt.Sprint(body["filter"], body["orderBy"], body["resourceNames"]) != fmt.Sprint(d.bodies[0]["filter"], d.bodies[0]["orderBy"], d.bodies[0]["resourceNames"]) {
		return invalid // a page belongs to one query
	}
	size := int(body["pageSize"].(float64))
	first := min(n*size, len(d.selected))
	last := min(first+size, len(d.selected))
	next := ""
	if last < len(d.selected) {
		next = fmt.Sprintf(`,"nextPageToken":"page-%d"`, n+1)
	}
	return `{"entries":[` + strings.Join(d.selected[first:last], ",") + `]` + next + `}`
}

// selects is the language of filters.
func (d *dataAccess) selects(filter, text string) bool {
	var entry map[string]any
	err := json.Unmarshal([]byte(text), &entry)
	if err != nil {
		d.t.Error(err)
	}
	selected, err := language.Selects(filter, entry, language.Documented)
	if err != nil {
		d.t.Error(err)
	}
	return selected
}

var usedAt = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// read reads the uses since an hour before the entries.
func (d *dataAccess) read(t *testing.T) (uses cmek.RecordedUses, err error) {
	t.Helper()
	d.t = t
	synctest.Test(t, func(t *testing.T) {
		uses, err = google.NewUseLog(google.Config{HTTP: &http.Client{Transport: d, Timeout: 10 * time.Second}}).RecordedUses(t.Context(), testKey, usedAt.Add(-time.Hour))
	})
	return uses, err
}

// useEntry is an entry as the public samples have it; changes replace parts of it.
func useEntry(method string, changes ...string) string {
	entry := `{"insertId":"e-1","logName":"projects/p/logs/cloudaudit.googleapis.com%2Fdata_access","timestamp":"2026-03-01T12:00:00.123456789Z",` +
		`"resource":{"type":"cloudkms_cryptokeyversion","labels":{"project_id":"p","location":"us-east1","key_ring_id":"r","crypto_key_id":"k","crypto_key_version_id":"7"}},` +
		`"severity":"INFO","protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","serviceName":"cloudkms.googleapis.com","methodName":"` + method + `",` +
		`"resourceName":"` + string(testKey) + `","status":{},"request":{"name":"` + string(testKey) + `"},` +
		`"authenticationInfo":{"principalEmail":"` + testAccount + `","principalSubject":"serviceAccount:` + testAccount + `"}}}`
	return strings.NewReplacer(changes...).Replace(entry)
}

const (
	withLabel = `,"crypto_key_version_id":"7"`
	version   = string(testKey) + "/cryptoKeyVersions/"
	named     = `"request":{"name":"` + string(testKey) + `"}`
	inPayload = `"resourceName":"` + string(testKey) + `"`
)

// The shapes are those of cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry and of public samples. Where an entry names the version
// is not documented: it is taken from wherever it stands, if nothing contradicts it.
func TestUseLog_reads_who_used_which_version(t *testing.T) {
	for _, tt := range []struct {
		name, entry          string
		by                   cmek.Principal
		encrypted, decrypted string
		none, cut            bool
		// raw: the filter would not select it.
		raw bool
	}{
		{name: "Encrypt", entry: useEntry("Encrypt"), encrypted: "7"},
		{name: "Decrypt", entry: useEntry("Decrypt"), decrypted: "7"},
		{name: "the method's long name", entry: useEntry("google.cloud.kms.v1.KeyManagementService.Encrypt"), encrypted: "7"},
		{name: "the version in resourceName", entry: useEntry("Encrypt", withLabel, "", inPayload, `"resourceName":"`+version+`8"`), encrypted: "8"},
		{name: "the version in the answer", entry: useEntry("Encrypt", withLabel, "", named, named+`,"response":{"@type":"x","name":"`+version+`9"}`), encrypted: "9"},
		{name: "the version in the request", entry: useEntry("Encrypt", withLabel, "", named, `"request":{"name":"`+version+`3"}`), encrypted: "3"},
		{name: "the project by its number", entry: useEntry("Decrypt", inPayload, `"resourceName":"projects/123456789012/locations/us-east1/keyRings/r/cryptoKeys/k"`), decrypted: "7"},
		{name: "no version anywhere", entry: useEntry("Encrypt", withLabel, "", "cloudkms_cryptokeyversion", "cloudkms_cryptokey")},
		{name: "two versions", entry: useEntry("Encrypt", inPayload, `"resourceName":"`+version+`8"`)},
		{name: "a version that is no number", entry: useEntry("Encrypt", `_version_id":"7"`, `_version_id":"latest"`)},
		{name: "a version of another key in the answer", entry: useEntry("Encrypt", named, named+`,"response":{"name":"projects/p/locations/us-east1/keyRings/r/cryptoKeys/k2/cryptoKeyVersions/7"}`)},
		{name: "the label of another project", entry: useEntry("Encrypt", `"project_id":"p"`, `"project_id":"q"`)},
		{name: "somebody by subject only", entry: useEntry("Encrypt", `"principalEmail":"`+testAccount+`",`, ""), encrypted: "7"},
		{name: "a person", entry: useEntry("Encrypt", testAccount, "jo@example.com"), by: "jo@example.com", encrypted: "7"},
		{name: "nobody", entry: useEntry("Encrypt", `"principalEmail":"`+testAccount+`","principalSubject":"serviceAccount:`+testAccount+`"`, ""), by: "-", encrypted: "7"},

		{name: "refused", entry: useEntry("Decrypt", `"status":{}`, `"status":{"code":7,"message":"Permission denied"}`), none: true},
		{name: "refused for the version's state", entry: useEntry("Decrypt", `"status":{}`, `"status":{"code":9,"message":"not enabled"}`), none: true},
		{name: "a read", entry: useEntry("GetCryptoKey"), none: true},
		{name: "another operation that ends like it", entry: useEntry("AsymmetricDecrypt"), none: true},
		{name: "another service", entry: useEntry("Encrypt", "cloudkms.googleapis.com", "kmsinventory.googleapis.com"), none: true},
		{name: "another log", entry: useEntry("Encrypt", "data_access", "activity"), none: true},
		{name: "another key", entry: useEntry("Encrypt", "cryptoKeys/k", "cryptoKeys/k2", `_key_id":"k"`, `_key_id":"k2"`), none: true},
		{name: "a key whose name differs by case", entry: useEntry("Encrypt", "cryptoKeys/k", "cryptoKeys/K", `_key_id":"k"`, `_key_id":"K"`), none: true},
		{name: "the same key in another location", entry: useEntry("Encrypt", "us-east1", "us-west1"), none: true},
		{name: "before the time", entry: useEntry("Encrypt", "2026-03-01T12:00:00", "2026-03-01T10:59:59"), none: true},

		{name: "without payload", entry: useEntry("Encrypt")[:strings.Index(useEntry("Encrypt"), `,"severity"`)] + "}", raw: true, none: true, cut: true},
		{name: "no object", entry: `"x"`, raw: true, none: true, cut: true},
		{name: "a payload of another shape", entry: useEntry("Encrypt", named, `"request":{"name":7}`), none: true, cut: true},
		{name: "without id", entry: useEntry("Encrypt", `"insertId":"e-1",`, ""), none: true, cut: true},
		{name: "a part of an entry", entry: useEntry("Encrypt", `"severity"`, `"split":{"uid":"e-1","index":1,"totalSplits":2},"severity"`), none: true, cut: true},
		{name: "resourceName of something else", entry: useEntry("Encrypt", inPayload, `"resourceName":"projects/p"`), none: true, cut: true},
		{name: "a status that is none", entry: useEntry("Encrypt", `"status":{}`, `"status":{"code":"OK"}`), none: true, cut: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := &dataAccess{entries: []string{tt.entry}}
			if tt.raw {
				log.answers = map[int]string{0: `{"entries":[` + tt.entry + `]}`}
			}
			got, err := log.read(t)
			if err != nil {
				t.Fatal(err)
			}
			var want []cmek.RecordedUse
			if !tt.none {
				use := cmek.RecordedUse{Event: "e-1", At: usedAt, Operation: "Encrypt", By: testAccount, Encrypted: numbered(tt.encrypted), Decrypted: numbered(tt.decrypted)}
				if strings.Contains(tt.entry, "Decrypt") {
					use.Operation = "Decrypt"
				}
				switch tt.by {
				case "":
				case "-":
					use.By = ""
				default:
					use.By = tt.by
				}
				want = append(want, use)
			}
			if !slices.Equal(got.Uses, want) || got.Cut != tt.cut {
				t.Errorf("%+v, cut %v; want %+v, cut %v", got.Uses, got.Cut, want, tt.cut)
			}
			if got := log.bodies[0]; fmt.Sprint(got["resourceNames"]) != "[projects/p]" || got["orderBy"] != "timestamp desc" {
				t.Errorf("it asked for %v", got)
			}
		})
	}
}

func numbered(id string) cmek.KeyVersion {
	if id == "" {
		return cmek.KeyVersion{}
	}
	return cmek.KeyVersion{Scheme: cmek.Primary, ID: id}
}

// What the filter lets through by mistake is not taken for a use of the key.
func TestUseLog_does_not_rely_on_the_filter(t *testing.T) {
	for name, entry := range map[string]string{
		"another key": useEntry("Encrypt", "cryptoKeys/k", "cryptoKeys/k2"), "another log": useEntry("Encrypt", "data_access", "activity"),
		"another service": useEntry("Encrypt", "cloudkms.googleapis.com", "secretmanager.googleapis.com"), "another method": useEntry("RawEncrypt"),
	} {
		log := &dataAccess{answers: map[int]string{0: `{"entries":[` + entry + `]}`}}
		if got, err := log.read(t); err != nil || len(got.Uses) > 0 || got.Cut {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestUseLog_keeps_the_pace_and_ends(t *testing.T) {
	for _, tt := range []struct {
		entries, pages int
		cut            bool
	}{{0, 1, false}, {500, 1, false}, {501, 2, false}, {5000, 10, false}, {5001, 10, true}} {
		log := &dataAccess{entries: slices.Repeat([]string{useEntry("Encrypt")}, tt.entries)}
		got, err := log.read(t)
		if err != nil || len(got.Uses) != min(tt.entries, 5000) || got.Cut != tt.cut || len(log.asked) != tt.pages {
			t.Errorf("%d entries: %d uses, cut %v, %d pages, %v", tt.entries, len(got.Uses), got.Cut, len(log.asked), err)
		}
		for i, at := range log.asked {
			if i > 0 && at.Sub(log.asked[i-1]) < time.Second {
				t.Errorf("%d entries: page %d after %s; 60 a minute are granted", tt.entries, i, at.Sub(log.asked[i-1]))
			}
		}
	}
}

// A search that had no time is continued, and one that never ends is cut.
func TestUseLog_goes_on_behind_an_empty_page(t *testing.T) {
	log := &dataAccess{answers: map[int]string{0: `{"nextPageToken":"page-1"}`, 1: `{"entries":[` + useEntry("Encrypt") + `]}`}}
	if got, err := log.read(t); err != nil || len(got.Uses) != 1 || got.Cut {
		t.Errorf("%+v, %v", got, err)
	}
	log = &dataAccess{answers: map[int]string{0: `{"nextPageToken":"page-0"}`}}
	if got, err := log.read(t); err != nil || len(got.Uses) > 0 || !got.Cut || len(log.asked) != 10 || log.checks != 1 {
		t.Errorf("%+v after %d pages, %v", got, len(log.asked), err)
	}
}

const invalid = `{"error":{"code":400,"message":"page_token does not match the query","status":"INVALID_ARGUMENT"}}`

const tooMany = `{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED"}}`

// Nothing that fails is an empty log.
func TestUseLog_that_fails_is_no_answer(t *testing.T) {
	page := `{"entries":[` + useEntry("Encrypt") + `],"nextPageToken":"page-1"}`
	held := func(text string) *string { return &text }
	for _, tt := range []struct {
		name  string
		log   *dataAccess
		grant bool
	}{
		{"refused", &dataAccess{answers: map[int]string{0: denied}}, true},
		{"refused on page 2", &dataAccess{answers: map[int]string{0: page, 1: denied}}, true},
		{"too many requests", &dataAccess{answers: map[int]string{0: tooMany}}, false},
		{"too many requests on page 2", &dataAccess{answers: map[int]string{0: page, 1: tooMany}}, false},
		{"an answer that is cut off", &dataAccess{answers: map[int]string{0: page[:len(page)-5]}}, false},
		{"something else answers", &dataAccess{answers: map[int]string{0: `<html>`}}, false},
		{"something else answers in JSON", &dataAccess{answers: map[int]string{0: `{"status":"ok"}`}}, false},
		{"the answer is null", &dataAccess{answers: map[int]string{0: `null`}}, false},
		{"entries are left out", &dataAccess{held: held(`{}`)}, true},
		{"another permission is held", &dataAccess{held: held(`{"permissions":["logging.logEntries.list"]}`)}, true},
		{"nobody says whether entries are left out", &dataAccess{held: held(tooMany)}, false},
		{"what says it is something else", &dataAccess{held: held(`{"allowed":true}`)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.log.read(t)
			var missing *cmek.PermissionError
			if err == nil || errors.As(err, &missing) != tt.grant || tt.grant && missing.Permission != google.UseLogPermission+" on project p" {
				t.Errorf("%v, %+v", err, missing)
			}
		})
	}
}

// A search takes longer than other calls, and not forever.
func TestUseLog_takes_its_time(t *testing.T) {
	for takes, fails := range map[time.Duration]bool{25 * time.Second: false, 31 * time.Second: true} {
		got, err := (&dataAccess{entries: []string{useEntry("Encrypt")}, takes: takes}).read(t)
		if (err != nil) != fails || fails == (len(got.Uses) > 0) || fails && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an answer after %s: %+v, %v", takes, got, err)
		}
	}
}

// Whether entries are left out is asked only where there are none.
func TestUseLog_asks_for_its_permission_once(t *testing.T) {
	for entries, want := range map[int]int{0: 1, 1: 0} {
		log := &dataAccess{entries: slices.Repeat([]string{useEntry("Encrypt")}, entries)}
		if _, err := log.read(t); err != nil || log.checks != want {
			t.Errorf("%d entries: asked %d times, %v", entries, log.checks, err)
		}
	}
}

func TestUseLog_takes_keys_of_Cloud_KMS_only(t *testing.T) {
	log := &dataAccess{}
	_, err := google.NewUseLog(google.Config{HTTP: &http.Client{Transport: log}}).RecordedUses(t.Context(), "arn:aws:kms:us-east-1:111122223333:key/k", usedAt)
	if err == nil || len(log.asked) > 0 {
		t.Errorf("%v, %d requests", err, len(log.asked))
	}
}

func TestUseLog_over_the_simulator(t *testing.T) {
	seed := simulator.DefaultSeed()
	seed.Google.Projects = []simulator.GoogleProjectSeed{{ID: "p", Number: "123456789012"}}
	other := testKey + "2"
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: testKey, AgeDays: 10, Rotations: []simulator.RotationSeed{{AgeDays: 1}}}, simulator.KeySeed{URI: other, AgeDays: 10})
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	for name, setting := range map[string]string{simulator.GoogleDataAccess: "on", simulator.GoogleLogging: "0s", simulator.GooglePageLimit: "2"} {
		if err := world.Set(name, setting); err != nil {
			t.Fatal(err)
		}
	}
	config := google.Config{HTTP: &http.Client{Transport: simulator.Transport(world.Handler())}, Endpoint: "http://google.test"}
	var answer struct{ Name string }
	for range 3 {
		if err := config.Call(t.Context(), "encrypt", http.MethodPost, "cloudkms.googleapis.com", "/v1/"+string(testKey)+":encrypt", nil, map[string]string{"plaintext": "eA=="}, &answer); err != nil {
			t.Fatal(err)
		}
	}
	log := google.NewUseLog(config)
	uses, err := log.RecordedUses(t.Context(), testKey, time.Now().Add(-time.Minute))
	if err != nil || len(uses.Uses) != 3 || uses.Cut || !strings.HasSuffix(answer.Name, "/"+uses.Uses[0].Encrypted.ID) || uses.Uses[0].Event == uses.Uses[2].Event || uses.Uses[0].At.Before(uses.Uses[2].At) {
		t.Errorf("%+v, %v; the version is %s", uses, err, answer.Name)
	}
	byNumber := cmek.KeyURI(strings.Replace(string(testKey), "/p/", "/123456789012/", 1))
	if uses, err = log.RecordedUses(t.Context(), byNumber, time.Now().Add(-time.Minute)); err != nil || len(uses.Uses) != 3 {
		t.Errorf("by the project's number: %+v, %v", uses, err)
	}
	if uses, err = log.RecordedUses(t.Context(), other, time.Now().Add(-time.Minute)); err != nil || len(uses.Uses) > 0 {
		t.Errorf("another key: %+v, %v", uses, err)
	}
	if err := world.DenyGoogle("projects/p", true, google.UseLogPermission); err != nil {
		t.Fatal(err)
	}
	var missing *cmek.PermissionError
	if _, err = log.RecordedUses(t.Context(), testKey, time.Now().Add(-time.Minute)); !errors.As(err, &missing) {
		t.Errorf("without the permission: %v", err)
	}
}
