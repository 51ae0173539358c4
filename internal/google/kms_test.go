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
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
)

func primary(n int) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: fmt.Sprint(n)} }

// wantKey is the key with versions 1 to n in the states, of which the one is primary.
func wantKey(current int, states ...cmek.KeyState) cmek.Key {
	key := cmek.Key{URI: testKey, Version: primary(current), State: states[current-1], Settle: 30 * time.Minute}
	for i, state := range states {
		v := cmek.KeyVersionInfo{Version: primary(i + 1), State: state, CreatedAt: createdAt(i + 1)}
		if state == cmek.KeyDeletionScheduled {
			v.DeletionDate = destroyedAt
		}
		key.Versions = append(key.Versions, v)
	}
	key.DeletionDate = key.Versions[current-1].DeletionDate
	if len(states) == 1 {
		key.NeverRotated, key.RotatedAt, key.Versions[0].BecameCurrent = true, made, made
	}
	return key
}

func TestKMSConforms(t *testing.T) {
	const on, off, destroyed, scheduled = cmek.KeyEnabled, cmek.KeyDisabled, cmek.KeyDestroyed, cmek.KeyDeletionScheduled
	for _, names := range []bool{false, true} {
		t.Run(map[bool]string{false: "enums by number", true: "enums by name"}[names], func(t *testing.T) {
			cmektest.KMSConforms(t, func(t *testing.T, condition cmektest.KeyCondition) cmektest.Arranged {
				var fake *fakeKMS
				var want cmek.Key
				switch condition {
				case cmektest.NeverRotated:
					fake, want = newFakeKMS(1, "ENABLED"), wantKey(1, on)
				case cmektest.Rotated:
					fake, want = newFakeKMS(3, "ENABLED", "ENABLED", "ENABLED").scheduled(createdAt(3)), wantKey(3, on, on, on)
					want.RotatedAt, want.Versions[2].BecameCurrent = createdAt(3), createdAt(3)
				case cmektest.IsDisabled:
					fake, want = newFakeKMS(1, "DISABLED"), wantKey(1, off)
				case cmektest.DeletionScheduled:
					fake, want = newFakeKMS(1, "DESTROY_SCHEDULED"), wantKey(1, scheduled)
				case cmektest.PendingImport:
					fake, want = newFakeKMS(0, "PENDING_IMPORT"), wantKey(1, cmek.KeyPendingImport)
					want.Version, want.NeverRotated, want.RotatedAt, want.Versions[0].BecameCurrent = cmek.KeyVersion{}, false, time.Time{}, time.Time{}
				case cmektest.Missing:
					fake, want = newFakeKMS(1, "ENABLED"), cmek.Key{URI: testKey + "-absent", State: cmek.KeyNotFound}
				case cmektest.Denied:
					fake, want = newFakeKMS(1, "ENABLED"), cmek.Key{URI: testKey}
					fake.answers = map[string]string{"k": `{"error":{"code":403,"message":"Permission 'cloudkms.cryptoKeys.get' denied","status":"PERMISSION_DENIED"}}`}
					fake.status = map[string]int{"k": 403}
				case cmektest.OldVersionDisabled:
					fake, want = newFakeKMS(2, "DISABLED", "ENABLED"), wantKey(2, off, on)
				case cmektest.OldVersionDestroyed:
					fake, want = newFakeKMS(2, "DESTROYED", "ENABLED"), wantKey(2, destroyed, on)
				case cmektest.CurrentVersionDisabled:
					fake, want = newFakeKMS(2, "ENABLED", "DISABLED"), wantKey(2, on, off)
				case cmektest.CurrentVersionToDestroy:
					fake, want = newFakeKMS(2, "ENABLED", "DESTROY_SCHEDULED"), wantKey(2, on, scheduled)
				case cmektest.CurrentVersionDestroyed:
					fake, want = newFakeKMS(2, "ENABLED", "DESTROYED"), wantKey(2, on, destroyed)
				case cmektest.SetBack:
					fake, want = newFakeKMS(2, "ENABLED", "ENABLED", "ENABLED").scheduled(createdAt(3)), wantKey(2, on, on, on)
				case cmektest.SeveralVersionsFirstInUse:
					fake, want = newFakeKMS(1, "ENABLED", "ENABLED").scheduled(made), wantKey(1, on, on)
				case cmektest.RotationRunning:
					return cmektest.Arranged{Unknown: "a rotation of Cloud KMS is not seen running: the settle time covers it"}
				case cmektest.HistoryDenied:
					return cmektest.Arranged{Unknown: "a key whose versions may not be read is denied: their states decide"}
				case cmektest.Replica:
					return cmektest.Arranged{Unknown: "keys of Cloud KMS have no replicas"}
				default:
					t.Fatalf("condition %q is new", condition)
				}
				fake.names = names
				return cmektest.Arranged{KMS: fake.serve(t), Want: want}
			})
		})
	}
}

func TestKey_statesOfVersions(t *testing.T) {
	for state, want := range map[string]cmek.KeyState{
		"ENABLED": cmek.KeyEnabled, "DISABLED": cmek.KeyDisabled, "DESTROY_SCHEDULED": cmek.KeyDeletionScheduled, "DESTROYED": cmek.KeyDestroyed,
		"PENDING_GENERATION": cmek.KeyTransient, "PENDING_IMPORT": cmek.KeyPendingImport, "IMPORT_FAILED": cmek.KeyUnavailable,
		"GENERATION_FAILED": cmek.KeyUnavailable, "PENDING_EXTERNAL_DESTRUCTION": cmek.KeyDestroyed,
		"EXTERNAL_DESTRUCTION_FAILED": cmek.KeyDestroyed, "STATE_OF_NEXT_YEAR": cmek.KeyUnknown, "": cmek.KeyUnknown,
	} {
		for _, names := range []bool{false, true} {
			fake := newFakeKMS(2, state, state)
			fake.names = names
			got, err := fake.serve(t).Key(t.Context(), testKey)
			if err != nil || got.State != want || len(got.Versions) != 2 || got.Versions[0].State != want {
				t.Errorf("%q: key is %+v, error %v; want %s", state, got, err, want)
			}
		}
	}
}

// A Key Access Justifications policy without reasons lets nobody use the key. Whether one that has some lets a cluster use it is not known.
func TestKey_whoseUseNoReasonJustifies(t *testing.T) {
	for policy, want := range map[string]map[string]cmek.KeyState{
		`{}`:                          {"ENABLED": cmek.KeyUnavailable, "DISABLED": cmek.KeyDisabled, "DESTROYED": cmek.KeyDestroyed},
		`{"allowedAccessReasons":[]}`: {"ENABLED": cmek.KeyUnavailable},
		`{"allowedAccessReasons":["GOOGLE_INITIATED_SERVICE"]}`: {"ENABLED": cmek.KeyEnabled, "DISABLED": cmek.KeyDisabled},
		`{"allowedAccessReasons":[5]}`:                          {"ENABLED": cmek.KeyEnabled},
		`null`:                                                  {"ENABLED": cmek.KeyEnabled},
	} {
		for state, want := range want {
			fake := newFakeKMS(2, "ENABLED", state)
			fake.key["keyAccessJustificationsPolicy"] = json.RawMessage(policy)
			for name, read := range map[string]func(context.Context, cmek.KeyURI) (cmek.Key, error){"Key": fake.serve(t).Key, "Describe": fake.serve(t).Describe} {
				got, err := read(t.Context(), testKey)
				if err != nil || got.State != want || got.Version.ID != "2" || len(got.Versions) > 1 && got.Versions[0].State != cmek.KeyEnabled {
					t.Errorf("%s with the policy %s and a version that is %s: %+v, %v; want %s", name, policy, state, got, err, want)
				}
			}
		}
	}
}

func TestKey_withoutAPrimary(t *testing.T) {
	for _, row := range []struct {
		states []string
		want   cmek.KeyState
	}{
		{nil, cmek.KeyUnknown},
		{[]string{"PENDING_GENERATION"}, cmek.KeyTransient},
		{[]string{"DESTROYED", "PENDING_IMPORT"}, cmek.KeyPendingImport},
		{[]string{"IMPORT_FAILED"}, cmek.KeyUnavailable},
		{[]string{"ENABLED", "ENABLED"}, cmek.KeyUnavailable},
		{[]string{"DISABLED", "ENABLED"}, cmek.KeyUnavailable},
		{[]string{"ENABLED", "DISABLED"}, cmek.KeyDisabled},
	} {
		kms := newFakeKMS(0, row.states...).serve(t)
		key, err := kms.Key(t.Context(), testKey)
		described, describeErr := kms.Describe(t.Context(), testKey)
		if err != nil || describeErr != nil || key.State != row.want || described.State != row.want || !key.Version.IsZero() || key.NeverRotated || !key.RotatedAt.IsZero() {
			t.Errorf("%q: key is %+v, described as %+v, errors %v and %v; want %s", row.states, key, described, err, describeErr, row.want)
		}
		if len(key.Versions) != len(row.states) {
			t.Errorf("%q: %d versions are shown", row.states, len(key.Versions))
		}
	}
}

func TestKey_forAnythingButEncryptionIsUnknown(t *testing.T) {
	fake := newFakeKMS(0, "ENABLED")
	fake.key["purpose"] = "ASYMMETRIC_SIGN"
	kms := fake.serve(t)
	key, err := kms.Key(t.Context(), testKey)
	described, describeErr := kms.Describe(t.Context(), testKey)
	if err != nil || describeErr != nil || key.State != cmek.KeyUnknown || described.State != cmek.KeyUnknown || !key.Version.IsZero() {
		t.Errorf("key is %+v, described as %+v, errors %v and %v; want the unknown state", key, described, err, describeErr)
	}
}

// A version's creation does not prove when it became primary: only a schedule whose last turn fits it does.
func TestRotatedAt_isZeroUnlessProven(t *testing.T) {
	third := createdAt(3)
	for _, row := range []struct {
		name    string
		arrange func(*fakeKMS)
		proven  bool
	}{
		{"the schedule's last turn made the version", func(f *fakeKMS) { f.scheduled(third) }, true},
		{"a few minutes late", func(f *fakeKMS) { f.scheduled(third.Add(-10 * time.Minute)) }, true},
		{"the version is older than the turn", func(f *fakeKMS) { f.scheduled(third.Add(time.Second)) }, false},
		{"the version is much younger than the turn", func(f *fakeKMS) { f.scheduled(third.Add(-time.Hour)) }, false},
		{"there is no schedule", func(*fakeKMS) {}, false},
		{"a period without a next rotation", func(f *fakeKMS) { f.scheduled(third); delete(f.key, "nextRotationTime") }, false},
		{"a next rotation without a period", func(f *fakeKMS) { f.scheduled(third); delete(f.key, "rotationPeriod") }, false},
		{"a period of nothing", func(f *fakeKMS) { f.scheduled(third); f.key["rotationPeriod"] = "0s" }, false},
		{"another version was made at that turn", func(f *fakeKMS) {
			f.scheduled(third)
			f.versions[1]["createTime"] = third.Format(time.RFC3339)
		}, false},
		{"the primary is not the newest", func(f *fakeKMS) {
			f.scheduled(createdAt(2))
			f.key["primary"] = f.versions[1]
		}, false},
	} {
		fake := newFakeKMS(3, "ENABLED", "ENABLED", "ENABLED")
		row.arrange(fake)
		key, err := fake.serve(t).Key(t.Context(), testKey)
		if err != nil {
			t.Fatal(err)
		}
		current, _ := key.VersionInfo(key.Version)
		if key.RotatedAt.IsZero() == row.proven || !current.BecameCurrent.Equal(key.RotatedAt) || row.proven && !key.RotatedAt.Equal(third) || key.NeverRotated {
			t.Errorf("%s: rotated at %s, became current at %s, never rotated %t; want proven %t", row.name, key.RotatedAt, current.BecameCurrent, key.NeverRotated, row.proven)
		}
	}
}

func TestNeverRotated_needsTheFirstVersionAlone(t *testing.T) {
	second := newFakeKMS(2, "ENABLED", "ENABLED")
	second.versions = second.versions[1:] // the first was destroyed and deleted
	key, err := second.serve(t).Key(t.Context(), testKey)
	if err != nil || key.NeverRotated || !key.RotatedAt.IsZero() {
		t.Errorf("a key that shows its second version alone is %+v, error %v; want it not to be never rotated", key, err)
	}
}

func TestKeyIsAskedForAndAnsweredByProjectIDOrNumber(t *testing.T) {
	byNumber := cmek.KeyURI(strings.Replace(string(testKey), "projects/p/", "projects/123456789012/", 1))
	fake := newFakeKMS(1, "ENABLED")
	server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = strings.Replace(r.URL.Path, "projects/123456789012/", "projects/p/", 1)
		fake.ServeHTTP(w, r)
	})
	kms := kmsOf(t, server)
	key, err := kms.Key(t.Context(), byNumber)
	if err != nil || key.URI != byNumber || key.State != cmek.KeyEnabled || len(key.Versions) != 1 {
		t.Errorf("asked by number the key is %+v, error %v", key, err)
	}
	other := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = strings.Replace(r.URL.Path, "projects/q/", "projects/p/", 1)
		fake.ServeHTTP(w, r)
	})
	if key, err := kmsOf(t, other).Key(t.Context(), cmek.KeyURI(strings.Replace(string(testKey), "projects/p/", "projects/q/", 1))); err == nil {
		t.Errorf("another project's key was taken for ours: %+v", key)
	}
}

// inProcess carries requests to a handler without a connection.
type inProcess struct{ http.Handler }

func (h inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	reader, writer := io.Pipe()
	answer := &response{header: http.Header{}, body: writer, ready: make(chan int, 1)}
	go func() {
		h.ServeHTTP(answer, r)
		answer.WriteHeader(http.StatusOK)
		_ = writer.Close()
	}()
	return &http.Response{StatusCode: <-answer.ready, Header: answer.header, Body: reader, Request: r}, nil
}

type response struct {
	header  http.Header
	body    io.Writer
	ready   chan int
	written bool
}

func (r *response) Header() http.Header { return r.header }
func (r *response) WriteHeader(code int) {
	if !r.written {
		r.written = true
		r.ready <- code
	}
}

func (r *response) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// kmsOf reads keys from the handler, in this process.
func kmsOf(t *testing.T, handler http.Handler) *google.KMS {
	t.Helper()
	kms, err := google.NewKMS(google.Config{HTTP: &http.Client{Timeout: 10 * time.Second, Transport: inProcess{handler}}, Endpoint: "http://kms.test"})
	if err != nil {
		t.Fatal(err)
	}
	return kms
}

func TestKeyRead_answersThatProveNothing(t *testing.T) {
	version := func(n int, more string) string {
		return fmt.Sprintf(`{"name":"%s/cryptoKeyVersions/%d","state":1,"createTime":"2026-01-01T00:00:00Z"%s}`, testKey, n, more)
	}
	key := func(more string) string {
		return fmt.Sprintf(`{"name":"%s","purpose":1,"createTime":"2026-01-01T00:00:00Z","primary":%s%s}`, testKey, version(1, ""), more)
	}
	const denied = `{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}`
	const gone = `{"error":{"code":404,"message":"no","status":"NOT_FOUND"}}`
	for name, row := range map[string]struct {
		key, versions             string
		keyStatus, versionsStatus int
		is                        error // nil: any but those of a clear answer
	}{
		"an empty answer":                      {key: ``},
		"an answer of nothing":                 {key: `{}`},
		"a list instead of a key":              {key: `{"cryptoKeys":[` + key("") + `]}`},
		"a cut answer":                         {key: key("")[:60]},
		"a proxy's page":                       {key: `<html>hello</html>`},
		"a proxy's not found":                  {key: `<html>no such page</html>`, keyStatus: 404},
		"a proxy's refusal":                    {key: `<html>who are you</html>`, keyStatus: 403},
		"a gateway's not found":                {key: `{"message":"no route"}`, keyStatus: 404},
		"a gateway's error":                    {key: `{"error":{"code":7,"message":"no route"}}`, keyStatus: 404},
		"a gateway's error without a code":     {key: `{"error":{"message":"no route"}}`, keyStatus: 404},
		"a not found without a reason":         {key: `{"error":{"code":404}}`, keyStatus: 404},
		"a gateway's refusal":                  {key: `{"error":"forbidden"}`, keyStatus: 403},
		"an error in disguise":                 {key: denied},
		"a refusal":                            {key: denied, keyStatus: 403, is: cmek.ErrDenied},
		"an old token":                         {key: `{"error":{"code":401,"message":"no","status":"UNAUTHENTICATED"}}`, keyStatus: 401, is: cmek.ErrDenied},
		"another key":                          {key: strings.ReplaceAll(key(""), "cryptoKeys/k", "cryptoKeys/other")},
		"another key's version as primary":     {key: strings.Replace(key(""), "cryptoKeys/k/cryptoKeyVersions", "cryptoKeys/other/cryptoKeyVersions", 1)},
		"a key as primary":                     {key: strings.Replace(key(""), "/cryptoKeyVersions/1", "", 1)},
		"no purpose":                           {key: strings.Replace(key(""), `"purpose":1,`, "", 1), is: cmek.ErrIncomplete},
		"no time of creation":                  {key: fmt.Sprintf(`{"name":"%s","purpose":1}`, testKey), is: cmek.ErrIncomplete},
		"no versions":                          {versions: `{}`, is: cmek.ErrIncomplete},
		"an empty list":                        {versions: `{"cryptoKeyVersions":[]}`, is: cmek.ErrIncomplete},
		"a list without the primary":           {versions: `{"cryptoKeyVersions":[` + version(2, "") + `]}`, is: cmek.ErrIncomplete},
		"fewer versions than there are":        {versions: `{"cryptoKeyVersions":[` + version(1, "") + `],"totalSize":2}`, is: cmek.ErrIncomplete},
		"more versions than there are":         {versions: `{"cryptoKeyVersions":[` + version(1, "") + `,` + version(2, "") + `],"totalSize":1}`, is: cmek.ErrIncomplete},
		"a version twice":                      {versions: `{"cryptoKeyVersions":[` + version(1, "") + `,` + version(1, "") + `]}`},
		"a version without a time":             {versions: strings.ReplaceAll(`{"cryptoKeyVersions":[`+version(1, "")+`]}`, `"createTime":"2026-01-01T00:00:00Z"`, `"state":1`)},
		"a version of another key":             {versions: strings.ReplaceAll(`{"cryptoKeyVersions":[`+version(1, "")+`]}`, "cryptoKeys/k", "cryptoKeys/other")},
		"versions that we may not list":        {versions: denied, versionsStatus: 403, is: cmek.ErrDenied},
		"versions of a key that has just gone": {versions: gone, versionsStatus: 404, is: cmek.ErrNotFound},
		"a cut list":                           {versions: `{"cryptoKeyVersions":[` + version(1, "")},
		"a proxy's page for versions":          {versions: `<html>hello</html>`},
	} {
		fake := &fakeKMS{
			answers: map[string]string{"k": row.key, "cryptoKeyVersions": row.versions},
			status:  map[string]int{"k": row.keyStatus, "cryptoKeyVersions": row.versionsStatus},
		}
		if row.versions != "" {
			fake.answers["k"] = key("")
		}
		got, err := kmsOf(t, fake).Key(t.Context(), testKey)
		switch {
		case err == nil:
			t.Errorf("%s: the key was read as %+v", name, got)
			continue
		case row.is != nil && !errors.Is(err, row.is):
			t.Errorf("%s: error is %v, want one that wraps %v", name, err, row.is)
		case row.is == nil && (errors.Is(err, cmek.ErrDenied) || errors.Is(err, cmek.ErrNotFound)):
			t.Errorf("%s: error is %v, want none that the KMS clearly gave", name, err)
		case got.State != "" || !strings.Contains(err.Error(), string(testKey)) || len(err.Error()) > 700:
			t.Errorf("%s: key %+v beside error %q", name, got, err)
		}
	}
}

func TestKeyOfEveryPageIsRead(t *testing.T) {
	states := slices.Repeat([]string{"ENABLED"}, 13)
	fake := newFakeKMS(13, states...)
	key, err := fake.serve(t).Key(t.Context(), testKey)
	if err != nil || len(key.Versions) != 13 || key.Position(primary(2)) != 1 || key.Position(primary(10)) != 9 {
		t.Errorf("key is %+v, error %v; want 13 versions in the order of their numbers", key, err)
	}
}

func TestDescribeIsOneCall(t *testing.T) {
	fake := newFakeKMS(2, "ENABLED", "DISABLED")
	got, err := fake.serve(t).Describe(t.Context(), testKey)
	if err != nil || got.State != cmek.KeyDisabled || got.Version != primary(2) || len(fake.calls) != 1 {
		t.Errorf("described as %+v by the calls %q, error %v", got, fake.calls, err)
	}
}

func TestKMSRefusesWhatIsNotItsKeyWithoutACall(t *testing.T) {
	fake := newFakeKMS(1, "ENABLED")
	kms := fake.serve(t)
	for _, uri := range []cmek.KeyURI{
		"", "k", "arn:aws:kms:us-east-1:111122223333:key/1234", "projects/p;x/locations/l/keyRings/r/cryptoKeys/k",
		"projects/p/locations/l/keyRings/r/cryptoKeys/$(rm)", "projects/p/locations/l/keyRings/r/cryptoKeys/..", "projects/p/locations/l/keyRings/r",
	} {
		if got, err := kms.Key(t.Context(), uri); err == nil || len(fake.calls) > 0 {
			t.Errorf("%q was read as %+v by the calls %q", uri, got, fake.calls)
		}
	}
}

func TestKMSReadsAgainWhileItIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeKMS(1, "ENABLED")
		busy := 3
		kms := kmsOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if busy--; busy >= 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, `{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}`)
				return
			}
			fake.ServeHTTP(w, r)
		}))
		if key, err := kms.Key(t.Context(), testKey); err != nil || key.State != cmek.KeyEnabled {
			t.Errorf("key is %+v, error %v", key, err)
		}
		busy = 1 << 30
		begin := time.Now()
		if key, err := kms.Key(t.Context(), testKey); err == nil || time.Since(begin) > 11*time.Second {
			t.Errorf("an unavailable KMS was read as %+v, or given up after %s", key, time.Since(begin))
		}
	})
}

// tokenSource is a fake of our credentials.
type tokenSource struct{ err error }

func (s tokenSource) Token() (*oauth2.Token, error) {
	return &oauth2.Token{AccessToken: "token-of-ours"}, s.err
}

func TestTokensAreSent_andAreInNoError(t *testing.T) {
	var sent string
	fake := newFakeKMS(1, "ENABLED")
	handler := inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = r.Header.Get("Authorization")
		fake.ServeHTTP(w, r)
	})}
	read := func(source tokenSource) error {
		kms, err := google.NewKMS(google.Config{HTTP: &http.Client{Transport: handler}, Tokens: source, Endpoint: "https://kms.test"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = kms.Key(t.Context(), testKey)
		return err
	}
	if err := read(tokenSource{}); err != nil || sent != "Bearer token-of-ours" {
		t.Errorf("the request had %q, error %v", sent, err)
	}
	err := read(tokenSource{errors.New("metadata server: no such account")})
	if !errors.Is(err, cmek.ErrDenied) || !strings.Contains(err.Error(), "no such account") {
		t.Errorf("without a token the error is %v, want one that wraps ErrDenied and says why", err)
	}
	fake.answers = map[string]string{"k": `{}`}
	if err := read(tokenSource{}); err == nil || strings.Contains(fmt.Sprintf("%v %#v", err, err), "token-of-ours") {
		t.Errorf("the error is %v", err)
	}
}

func TestAnswersThatNoKMSSends(t *testing.T) {
	fake := newFakeKMS(1, "ENABLED")
	endless := kmsOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fake.ServeHTTP(w, r) // white space after it belongs to JSON
		blanks := []byte(strings.Repeat(" ", 1<<20))
		for range 40 {
			if _, err := w.Write(blanks); err != nil {
				return
			}
		}
	}))
	if key, err := endless.Key(t.Context(), testKey); err == nil {
		t.Errorf("a key with 40 MB of blanks was read as %+v", key)
	}
	redirecting := kmsOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "kms.test" {
			w.Header().Set("Location", "http://elsewhere.test"+r.URL.Path)
			w.WriteHeader(http.StatusFound)
			return
		}
		fake.ServeHTTP(w, r)
	}))
	if key, err := redirecting.Key(t.Context(), testKey); err == nil {
		t.Errorf("a redirect was followed to %+v", key)
	}
}
