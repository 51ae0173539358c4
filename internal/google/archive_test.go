package google_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
)

// fakeStorage is the part of Cloud Storage's JSON API that keeps objects of one bucket.
type fakeStorage struct {
	t       *testing.T
	taken   int // the status for a name that is taken
	mu      sync.Mutex
	objects map[string][]byte
}

func crc(data []byte) string {
	sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

func storageError(w http.ResponseWriter, status int) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"code":%d,"message":"refused","errors":[{"domain":"global","reason":"conditionNotMet"}]}}`, status)
}

func (s *fakeStorage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name, ok := strings.CutPrefix(r.URL.Path, "/storage/v1/b/evidence/o/"); ok && r.Method == http.MethodGet && r.URL.RawQuery == "alt=media" {
		if strings.Contains(strings.TrimPrefix(r.URL.EscapedPath(), "/storage/v1/b/evidence/o/"), "/") {
			s.t.Errorf("the name in %s is not escaped", r.URL.EscapedPath())
		}
		data, exists := s.objects[name]
		if !exists {
			storageError(w, http.StatusNotFound)
			return
		}
		_, _ = w.Write(data)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/upload/storage/v1/b/evidence/o" || r.URL.RawQuery != "ifGenerationMatch=0&uploadType=multipart" {
		s.t.Errorf("request is %s %s", r.Method, r.URL)
	}
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/related" {
		s.t.Errorf("content type is %q", r.Header.Get("Content-Type"))
	}
	parts := multipart.NewReader(r.Body, parameters["boundary"])
	var about struct{ Name, ContentType, CRC32C string }
	first, err := parts.NextPart()
	if err == nil {
		err = json.NewDecoder(first).Decode(&about)
	}
	var data []byte
	second, secondErr := parts.NextPart()
	if secondErr == nil {
		data, secondErr = io.ReadAll(second)
	}
	if err != nil || secondErr != nil || about.ContentType != "application/json" || about.CRC32C != crc(data) {
		s.t.Errorf("object is described as %+v with %d bytes of sum %s, errors %v and %v", about, len(data), crc(data), err, secondErr)
	}
	if _, exists := s.objects[about.Name]; exists {
		storageError(w, s.taken)
		return
	}
	s.objects[about.Name] = data
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "storage#object", "name": about.Name, "size": fmt.Sprint(len(data)), "crc32c": crc(data), "generation": "1"})
}

// archiveOver is an archive behind the transport, in a bucket of its own.
func archiveOver(t *testing.T, handler http.Handler, wrap func(http.RoundTripper) http.RoundTripper) *google.Archive {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	transport := http.DefaultTransport
	if wrap != nil {
		transport = wrap(transport)
	}
	archive, err := google.NewArchive(google.Config{HTTP: &http.Client{Timeout: 10 * time.Second, Transport: transport}, Endpoint: server.URL}, "evidence", "keyturn/")
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func TestArchiveConforms(t *testing.T) {
	for _, taken := range []int{http.StatusPreconditionFailed, http.StatusForbidden} {
		t.Run(fmt.Sprint("a name that is taken is ", taken), func(t *testing.T) {
			cmektest.ArchiveConforms(t, func(t *testing.T) (cmek.Archive, func(string) ([]byte, error)) {
				storage := &fakeStorage{t: t, taken: taken, objects: map[string][]byte{}}
				return archiveOver(t, storage, nil), func(name string) ([]byte, error) {
					storage.mu.Lock()
					defer storage.mu.Unlock()
					data, exists := storage.objects["keyturn/"+name]
					if !exists {
						return nil, errors.New("there is none")
					}
					return data, nil
				}
			})
		})
	}
}

func TestArchiveTakesItsOwnWriteWithALostAnswerForDone(t *testing.T) {
	var faults cmektest.Faults
	storage := &fakeStorage{t: t, taken: http.StatusPreconditionFailed, objects: map[string][]byte{}}
	archive := archiveOver(t, storage, faults.Transport)
	faults.Next(cmektest.AnswerLost)
	if err := archive.PutIfAbsent(t.Context(), "a.json", []byte("{}")); err != nil || len(storage.objects) != 1 {
		t.Errorf("the repeat of a write that had been done returned %v, %d objects", err, len(storage.objects))
	}
	faults.Every(cmektest.RequestLost)
	if err := archive.PutIfAbsent(t.Context(), "b.json", []byte("{}")); err == nil {
		t.Error("a write that never arrived was reported as done")
	}
}

func TestArchiveDoesNotBelieveAnAnswerThatIsNone(t *testing.T) {
	stored := `{"name":"keyturn/a.json","crc32c":"` + crc([]byte("{}")) + `"}`
	const refused = `{"error":{"code":403,"message":"no"}}`
	for name, row := range map[string]struct {
		writeStatus int
		write       string
		readStatus  int
		read        string
		is          error
		fails       bool
	}{
		"stored":                             {200, stored, 404, "", nil, false},
		"an empty answer":                    {200, ``, 404, "", cmek.ErrIncomplete, true},
		"an answer of nothing":               {200, `{}`, 404, "", cmek.ErrIncomplete, true},
		"a proxy's page":                     {200, `<html/>`, 404, "", cmek.ErrIncomplete, true},
		"another object":                     {200, strings.Replace(stored, "a.json", "b.json", 1), 404, "", cmek.ErrIncomplete, true},
		"another content":                    {200, strings.Replace(stored, crc([]byte("{}")), crc(nil), 1), 404, "", cmek.ErrIncomplete, true},
		"refused, and nothing is there":      {403, refused, 404, `{"error":{"code":404,"message":"no"}}`, cmek.ErrDenied, true},
		"refused, and we may not read":       {403, refused, 403, refused, cmek.ErrDenied, true},
		"refused, and it is there":           {403, refused, 200, "{}", nil, false},
		"refused, and other content":         {403, refused, 200, "[]", nil, true},
		"a proxy's refusal":                  {403, `<html/>`, 403, `<html/>`, nil, true},
		"taken, and we may not read":         {412, `{"error":{"code":412,"message":"no"}}`, 403, refused, cmek.ErrDenied, true},
		"taken, and gone":                    {412, `{"error":{"code":412,"message":"no"}}`, 404, `{"error":{"code":404,"message":"no"}}`, cmek.ErrNotFound, true},
		"taken by nothing":                   {412, `{"error":{"code":412,"message":"no"}}`, 200, "", nil, true},
		"no such bucket":                     {404, `{"error":{"code":404,"message":"no"}}`, 404, "", cmek.ErrNotFound, true},
		"a checksum that the service denies": {400, `{"error":{"code":400,"message":"crc32c"}}`, 404, "", nil, true},
	} {
		archive := archiveOver(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			status, body := row.writeStatus, row.write
			if r.Method == http.MethodGet {
				status, body = row.readStatus, row.read
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}), nil)
		err := archive.PutIfAbsent(t.Context(), "a.json", []byte("{}"))
		if (err != nil) != row.fails || row.is != nil && !errors.Is(err, row.is) || row.is == nil && errors.Is(err, cmek.ErrDenied) {
			t.Errorf("%s: error is %v, want one %t that wraps %v", name, err, row.fails, row.is)
		}
	}
}

func TestNewArchiveRefusesWhatIsNoBucket(t *testing.T) {
	for _, name := range []string{"", "a/b", "UPPER", "b?x=y", "../b", "bucket/"} {
		if _, err := google.NewArchive(plainConfig(), name, ""); err == nil {
			t.Errorf("%q was taken for a bucket", name)
		}
	}
}
