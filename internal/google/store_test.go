package google_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
)

var projects atomic.Int32

// newProject is a project that no other test uses.
func newProject() string { return fmt.Sprintf("keyturn-%d", projects.Add(1)) }

// plainConfig sends no credentials.
func plainConfig() google.Config {
	return google.Config{HTTP: &http.Client{Timeout: 10 * time.Second}}
}

func TestStoreConforms(t *testing.T) {
	cmektest.StoreConforms(t, func(t *testing.T) ledger.Store {
		t.Setenv("FIRESTORE_EMULATOR_HOST", cmektest.Firestore.At(t))
		store, err := google.NewStore(plainConfig(), newProject(), "")
		if err != nil {
			t.Fatal(err)
		}
		return store
	})
}

func TestEmulatorsGetNoCredentials(t *testing.T) {
	t.Setenv("FIRESTORE_EMULATOR_HOST", cmektest.Firestore.At(t))
	config := plainConfig()
	config.Tokens = tokenSource{errors.New("nobody may ask")}
	store, err := google.NewStore(config, newProject(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "c-1"}); err != nil {
		t.Error(err)
	}
	var asked []string
	emulator := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+r.Header.Get("Authorization"))
		_, _ = w.Write([]byte(`{"messageIds":["1"]}`))
	}))
	defer emulator.Close()
	t.Setenv("PUBSUB_EMULATOR_HOST", emulator.Listener.Addr().String())
	notifier, err := google.NewNotifier(config, testTopics)
	if err != nil {
		t.Fatal(err)
	}
	if err := notifier.Notify(t.Context(), alert.Alert{ID: "01J"}); err != nil || !slices.Equal(asked, []string{"/v1/projects/p/topics/operations:publish"}) {
		t.Errorf("the emulator was asked for %q, error %v", asked, err)
	}
}

func TestStoresOfOneProjectAreSeparateDatabases(t *testing.T) {
	t.Setenv("FIRESTORE_EMULATOR_HOST", cmektest.Firestore.At(t))
	project := newProject()
	for _, database := range []string{"", "keyturn"} {
		store, err := google.NewStore(plainConfig(), project, database)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "c-1"}); err != nil {
			t.Errorf("database %q holds the record of another one: %v", database, err)
		}
	}
}

// interceptedStore is a store of an own project whose calls pass through the interceptors.
func interceptedStore(t *testing.T, host, project string, unary grpc.UnaryClientInterceptor, stream grpc.StreamClientInterceptor) (*google.Store, *firestore.Client) {
	t.Helper()
	conn, err := grpc.NewClient(host, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(unary), grpc.WithStreamInterceptor(stream))
	if err != nil {
		t.Fatal(err)
	}
	client, err := firestore.NewClient(t.Context(), project, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return google.NewStoreOn(plainConfig(), client), client
}

// lossy loses calls as the faults of the store demand it; a lost call is what gRPC makes of a connection that broke.
func lossy(faults *cmektest.Faults) (grpc.UnaryClientInterceptor, grpc.StreamClientInterceptor) {
	lost := func(call func() error) error {
		carrier := faults.Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
			if err := call(); err != nil {
				return nil, err
			}
			return &http.Response{Body: http.NoBody, Request: r}, nil
		}))
		_, err := carrier.RoundTrip(&http.Request{})
		if errors.Is(err, cmektest.ErrLost) {
			return status.Error(codes.Unavailable, err.Error())
		}
		return err
	}
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return lost(func() error { return invoke(ctx, method, req, reply, conn, opts...) })
		}, func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (stream grpc.ClientStream, err error) {
			err = lost(func() (err error) { stream, err = streamer(ctx, desc, conn, method, opts...); return err })
			return stream, err
		}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestStoreSurvivesLostCalls(t *testing.T) {
	cmektest.StoreSurvivesLostCalls(t, func(t *testing.T, faults *cmektest.Faults) ledger.Store {
		unary, stream := lossy(faults)
		store, _ := interceptedStore(t, cmektest.Firestore.At(t), newProject(), unary, stream)
		return impatient{store}
	})
}

// impatient gives up on a write after a while, which the client repeats as long as it may.
type impatient struct{ ledger.Store }

func (s impatient) Put(ctx context.Context, r ledger.Record) error {
	ctx, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
	defer cancel()
	return s.Store.Put(ctx, r)
}

// recorder notes the methods that are called, and answers as it is set to.
type recorder struct {
	mu      sync.Mutex
	methods []string
	answer  func(method string) error
}

func (r *recorder) call(method string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := method[strings.LastIndex(method, "/")+1:]
	r.methods = append(r.methods, name)
	if r.answer == nil {
		return nil
	}
	return r.answer(name)
}

func (r *recorder) unary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if err := r.call(method); err != nil {
		return err
	}
	return invoke(ctx, method, req, reply, conn, opts...)
}

func (r *recorder) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := r.call(method); err != nil {
		return nil, err
	}
	return streamer(ctx, desc, conn, method, opts...)
}

func TestStoreCostsNoMoreCallsThanItMust(t *testing.T) {
	var calls recorder
	host, project := cmektest.Firestore.At(t), newProject()
	store, _ := interceptedStore(t, host, project, calls.unary, calls.stream)
	record := ledger.Record{Kind: "rotation", ID: "c-1", NextLook: time.UnixMilli(1000), Keys: []string{"k-1", "k-2"}}
	for _, step := range []struct {
		name string
		run  func() error
		want []string
	}{
		{"an idle poll is one query", func() error {
			_, err := store.Due(t.Context(), "rotation", time.UnixMilli(1000), 25)
			return err
		}, []string{"RunQuery"}},
		{"a new record is one write", func() error { return store.Put(t.Context(), record) }, []string{"Commit"}},
		{"a record that was written is one write", func() error {
			record.Version = 1
			return store.Put(t.Context(), record)
		}, []string{"Commit"}},
		{"a record that was read is one write", func() error {
			other, _ := interceptedStore(t, host, project, calls.unary, calls.stream)
			due, err := other.Due(t.Context(), "rotation", time.UnixMilli(1000), 25)
			if err != nil || len(due) != 1 {
				return fmt.Errorf("%d records are due: %w", len(due), err)
			}
			return other.Put(t.Context(), due[0])
		}, []string{"RunQuery", "Commit"}},
		{"a record that was not is read first", func() error {
			other, _ := interceptedStore(t, host, project, calls.unary, calls.stream)
			record.Version = 3
			return other.Put(t.Context(), record)
		}, []string{"BatchGetDocuments", "Commit"}},
	} {
		calls.methods = nil
		if err := step.run(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if !slices.Equal(calls.methods, step.want) {
			t.Errorf("%s: calls are %q, want %q", step.name, calls.methods, step.want)
		}
	}
}

func TestStoreThatCannotBeRead_hasNoRecordsAndNoConflicts(t *testing.T) {
	for name, row := range map[string]struct {
		code codes.Code
		is   error
	}{
		"we may not":              {codes.PermissionDenied, cmek.ErrDenied},
		"our token is old":        {codes.Unauthenticated, cmek.ErrDenied},
		"there is no database":    {codes.NotFound, cmek.ErrNotFound},
		"it is in Datastore mode": {codes.FailedPrecondition, nil},
		"it is busy":              {codes.Aborted, nil},
		"it is full":              {codes.ResourceExhausted, nil},
	} {
		t.Run(name, func(t *testing.T) {
			calls := recorder{answer: func(string) error { return status.Error(row.code, "no\nway") }}
			store, _ := interceptedStore(t, "127.0.0.1:1", "p", calls.unary, calls.stream)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, getErr := store.Get(ctx, "rotation", "c-1")
			_, dueErr := store.Due(ctx, "rotation", time.Now(), 1)
			_, byKeyErr := store.ByKey(ctx, "rotation", "k")
			for call, err := range map[string]error{
				"Get": getErr, "Due": dueErr, "ByKey": byKeyErr,
				"Put of a new record":   store.Put(ctx, ledger.Record{Kind: "rotation", ID: "c-1"}),
				"Put of a known record": store.Put(ctx, ledger.Record{Kind: "rotation", ID: "c-1", Version: 1}),
			} {
				switch {
				case err == nil, errors.Is(err, ledger.ErrConflict), strings.Contains(err.Error(), "\n"):
					t.Errorf("%s returned %q, want a one-line error that is no conflict", call, err)
				case row.is != nil && !errors.Is(err, row.is):
					t.Errorf("%s returned %v, want an error that wraps %v", call, err, row.is)
				}
			}
		})
	}
}

func TestPutRefusedForAnotherReason_isNoConflict(t *testing.T) {
	calls := recorder{answer: func(method string) error {
		if method == "Commit" {
			return status.Error(codes.FailedPrecondition, "the project is being moved")
		}
		return nil
	}}
	store, client := interceptedStore(t, cmektest.Firestore.At(t), newProject(), calls.unary, calls.stream)
	if err := store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "c-1"}); err == nil || errors.Is(err, ledger.ErrConflict) || !strings.Contains(err.Error(), "being moved") {
		t.Errorf("Put of a record that is not there returned %v, want the reason", err)
	}
	calls.answer = nil
	if err := store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "c-1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Collection("rotation").Doc("=c-1").Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "c-1", Version: 1}); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("Put over a record that was removed returned %v, want ErrConflict", err)
	}
}

func TestPutAbortedByAnotherWrite_isAConflict(t *testing.T) {
	host, project := cmektest.Firestore.At(t), newProject()
	var others recorder
	other, _ := interceptedStore(t, host, project, others.unary, others.stream)
	aborted := false
	calls := recorder{answer: func(method string) error {
		if method != "Commit" || aborted {
			return nil
		}
		aborted = true
		if err := other.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "c-1", Token: "theirs"}); err != nil {
			t.Error(err)
		}
		return status.Error(codes.Aborted, "too much contention")
	}}
	store, _ := interceptedStore(t, host, project, calls.unary, calls.stream)
	if err := store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "c-1", Token: "ours"}); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("Put returned %v, want ErrConflict", err)
	}
	if got, err := store.Get(t.Context(), "rotation", "c-1"); err != nil || got.Token != "theirs" {
		t.Errorf("the record is %+v, error %v; want theirs", got, err)
	}
}

func TestADocumentThatIsNoRecord_hidesNoneOfTheOthers(t *testing.T) {
	for name, change := range map[string]firestore.Update{
		"a version that is no number":  {Path: "version", Value: "1"},
		"a version of nothing":         {Path: "version", Value: 0},
		"no version":                   {Path: "version", Value: firestore.Delete},
		"the ID of another record":     {Path: "id", Value: "c"},
		"no ID":                        {Path: "id", Value: firestore.Delete},
		"data that are text":           {Path: google.DataField, Value: "data"},
		"a token that is no text":      {Path: "token", Value: 1},
		"an expiry that is no time":    {Path: google.ExpiresField, Value: "tomorrow"},
		"a key that is no text":        {Path: google.PlainKeysField, Value: []any{"k", 1}},
		"keys that cannot be unpacked": {Path: google.PackedKeysField, Value: []byte("keys")},
	} {
		t.Run(name, func(t *testing.T) {
			var calls recorder
			store, client := interceptedStore(t, cmektest.Firestore.At(t), newProject(), calls.unary, calls.stream)
			for _, id := range []string{"c", "b", "a"} {
				r := ledger.Record{Kind: "rotation", ID: id, Token: "t", NextLook: time.UnixMilli(5), Keys: []string{"k"}, Data: []byte("d")}
				if err := store.Put(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := client.Collection("rotation").Doc("=b").Update(t.Context(), []firestore.Update{change}); err != nil {
				t.Fatal(err)
			}
			for call, read := range map[string]func() ([]ledger.Record, error){
				"Due":   func() ([]ledger.Record, error) { return store.Due(t.Context(), "rotation", time.UnixMilli(5), 2) },
				"ByKey": func() ([]ledger.Record, error) { return store.ByKey(t.Context(), "rotation", "k") },
			} {
				found, err := read()
				if len(found) != 2 || found[0].ID != "a" || found[1].ID != "c" {
					t.Errorf("%s returns %+v, want the two records", call, found)
				}
				if !errors.Is(err, ledger.ErrUndecodable) || !strings.Contains(err.Error(), "rotation/=b") {
					t.Errorf("%s: error %v, want one that names the document", call, err)
				}
			}
			if _, err := store.Get(t.Context(), "rotation", "b"); !errors.Is(err, ledger.ErrUndecodable) {
				t.Errorf("Get: error %v, want ErrUndecodable", err)
			}
		})
	}
}

func TestStoreSkipsAnyNumberOfExpiredRecords(t *testing.T) {
	var calls recorder
	store, _ := interceptedStore(t, cmektest.Firestore.At(t), newProject(), calls.unary, calls.stream)
	for i := range 5 {
		r := ledger.Record{Kind: "alerting", ID: fmt.Sprint("gone-", i), NextLook: time.UnixMilli(1), Expires: time.Now().Add(-time.Hour)}
		if err := store.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		if err := store.Put(t.Context(), ledger.Record{Kind: "alerting", ID: fmt.Sprint("stays-", i), NextLook: time.UnixMilli(2)}); err != nil {
			t.Fatal(err)
		}
	}
	due, err := store.Due(t.Context(), "alerting", time.UnixMilli(2), 2)
	if err != nil || len(due) != 2 || due[0].ID != "stays-0" || due[1].ID != "stays-1" {
		t.Errorf("Due = %+v, error %v; want the two that stay", due, err)
	}
}

func TestStoreRefusesNamesThatFirestoreCannotHold(t *testing.T) {
	var calls recorder
	store, _ := interceptedStore(t, "127.0.0.1:1", "p", calls.unary, calls.stream)
	for _, r := range []ledger.Record{
		{Kind: "", ID: "c-1"}, {Kind: "a/b", ID: "c-1"}, {Kind: "__a__", ID: "c-1"}, {Kind: "..", ID: "c-1"}, {Kind: "rotation", ID: ""},
		{Kind: "rotation", ID: strings.Repeat("i", 1500)}, {Kind: "rotation", ID: strings.Repeat("/", 500)},
	} {
		_, getErr := store.Get(t.Context(), r.Kind, r.ID)
		for call, err := range map[string]error{"Get": getErr, "Put": store.Put(t.Context(), r)} {
			if err == nil || len(calls.methods) > 0 {
				t.Errorf("%s of kind %q with an ID of %d bytes returned %v after calls %q, want an error without any", call, r.Kind, len(r.ID), err, calls.methods)
			}
		}
	}
	if _, err := store.Due(t.Context(), "a/b", time.Now(), 1); err == nil || len(calls.methods) > 0 {
		t.Errorf("Due of kind a/b returned %v after calls %q", err, calls.methods)
	}
}

func TestStoreTakesTheLargestItems(t *testing.T) {
	var calls recorder
	store, _ := interceptedStore(t, cmektest.Firestore.At(t), newProject(), calls.unary, calls.stream)
	var keys []string
	for i := range 1250 {
		keys = append(keys, fmt.Sprintf("projects/p/locations/l/keyRings/r/cryptoKeys/%04d%s", i, strings.Repeat("k", 2000)))
	}
	r := ledger.Record{Kind: "rotation", ID: "c-1", Data: make([]byte, 300_000), Keys: keys}
	if err := store.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	found, err := store.ByKey(t.Context(), "rotation", keys[1249])
	if err != nil || len(found) != 1 || !slices.Equal(found[0].Keys, keys) || len(found[0].Data) != len(r.Data) {
		t.Errorf("ByKey = %d records, error %v; want the one that was put", len(found), err)
	}
	r.ID, r.Data = "c-2", make([]byte, 1<<20)
	if err := store.Put(t.Context(), r); err == nil || errors.Is(err, ledger.ErrConflict) || len(err.Error()) > 600 {
		t.Errorf("Put of more than Firestore takes returned %v, want a short error", err)
	}
}
