package google

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keyturn/keyturn/internal/ledger"
)

// Store is a [ledger.Store] in a database of Firestore (Native mode). Each kind is a collection, so every query needs the
// index of one field only, which Firestore keeps by itself: [NextLookField], and [KeysField] for array-contains.
//
// A document holds at most 1 MiB; the ledger keeps its items under 300 KB. Queries of Firestore are strongly consistent
// (firebase.google.com/docs/firestore, "Understand reads and writes at scale"): what they return is current.
type Store struct {
	config   Config
	client   *firestore.Client
	versions updateTimes
}

// NewStore returns the ledger in the project's database; "" is the one named "(default)".
func NewStore(config Config, project, database string) (*Store, error) {
	if os.Getenv("FIRESTORE_EMULATOR_HOST") != "" {
		config.Tokens = nil
	}
	options := append(config.overGRPC(), option.WithTelemetryDisabled())
	client, err := firestore.NewClientWithDatabase(context.Background(), project, cmp.Or(database, firestore.DefaultDatabaseID), options...)
	if err != nil {
		return nil, explain(err, "open the ledger of project "+clip(project))
	}
	return &Store{config: config, client: client}, nil
}

// Get returns the record, read consistently.
func (s *Store) Get(ctx context.Context, kind, id string) (ledger.Record, error) {
	doing := fmt.Sprintf("get %s %q", kind, id)
	stored, err := s.read(ctx, kind, id)
	if err != nil {
		return ledger.Record{}, explain(err, doing)
	}
	if !stored.exists() || stored.record.Expired(time.Now()) {
		return ledger.Record{Kind: kind, ID: id}, nil // Firestore removes what has expired within a day
	}
	return stored.record, nil
}

// stored is what a document held at an instant; without one there is no document.
type stored struct {
	record ledger.Record
	at     time.Time
}

func (s stored) exists() bool { return !s.at.IsZero() }

// version is what a writer must know to take the document's place.
func (s stored) version(now time.Time) int64 {
	if !s.exists() || s.record.Expired(now) {
		return 0
	}
	return s.record.Version
}

// read returns what the document holds, expired or not.
func (s *Store) read(ctx context.Context, kind, id string) (stored, error) {
	document, err := s.document(kind, id)
	if err != nil {
		return stored{}, err
	}
	ctx, cancel := s.config.within(ctx)
	defer cancel()
	// Not DocumentRef.Get: its error for a document that is missing is that for a database that is missing.
	snapshots, err := s.client.GetAll(ctx, []*firestore.DocumentRef{document})
	switch {
	case err != nil:
		return stored{}, err
	case len(snapshots) != 1 || snapshots[0] == nil:
		return stored{}, errors.New("the answer holds no document")
	case !snapshots[0].Exists():
		return stored{}, nil
	}
	return s.decode(kind, snapshots[0])
}

// decode reads a document, and remembers when it was written.
func (s *Store) decode(kind string, snapshot *firestore.DocumentSnapshot) (stored, error) {
	r, err := decodeRecord(kind, snapshot.Ref.ID, snapshot.Data())
	if err != nil {
		return stored{}, err
	}
	found := stored{r, snapshot.UpdateTime}
	s.versions.add(found)
	return found, nil
}

func (s *Store) document(kind, id string) (*firestore.DocumentRef, error) {
	if err := checkName(kind, id); err != nil {
		return nil, err
	}
	return s.client.Collection(kind).Doc(documentID(id)), nil
}

// Put writes the record if its version is the stored one.
//
// Firestore swaps on the time of a document's last write, which is known for a record that was read before; a record that was
// not is read first. The client repeats a write whose answer was lost; if the first attempt did write, the repeat meets its own
// record and Put returns ErrConflict, with the writer's own token stored.
func (s *Store) Put(ctx context.Context, r ledger.Record) error {
	doing := fmt.Sprintf("put %s %q", r.Kind, r.ID)
	conflict := fmt.Errorf("%s: version is not %d: %w", doing, r.Version, ledger.ErrConflict)
	known, ok := s.versions.of(r)
	if !ok && r.Version > 0 {
		var err error
		if known, err = s.read(ctx, r.Kind, r.ID); err != nil {
			return explain(err, doing)
		}
	}
	for again := false; ; again = true {
		if known.version(time.Now()) != r.Version {
			return conflict
		}
		err := s.write(ctx, r, known.at)
		switch {
		case err == nil:
			return nil
		case !contested(err):
			return explain(err, doing)
		case again:
			return conflict
		}
		before := known.at
		var readErr error
		if known, readErr = s.read(ctx, r.Kind, r.ID); readErr != nil {
			return explain(readErr, doing)
		}
		if known.at.Equal(before) {
			return explain(err, doing)
		}
		// Somebody wrote. If that record has expired, this one may still take its place.
	}
}

// contested reports an error that another write may have caused. So may a database that is missing, or in another mode: only
// reading tells which.
func contested(err error) bool {
	switch status.Code(err) {
	case codes.AlreadyExists, codes.FailedPrecondition, codes.NotFound, codes.Aborted:
		return true
	}
	return false
}

// write writes the record over the document that was last written at the time given; zero: where there is none.
func (s *Store) write(ctx context.Context, r ledger.Record, over time.Time) error {
	document, err := s.document(r.Kind, r.ID)
	if err != nil {
		return err
	}
	fields := encodeRecord(r)
	ctx, cancel := s.config.within(ctx)
	defer cancel()
	var result *firestore.WriteResult
	if over.IsZero() {
		result, err = document.Create(ctx, fields)
	} else {
		var updates []firestore.Update
		for _, name := range allFields {
			value, ok := fields[name]
			if !ok {
				value = firestore.Delete
			}
			updates = append(updates, firestore.Update{Path: name, Value: value})
		}
		result, err = document.Update(ctx, updates, firestore.LastUpdateTime(over))
	}
	if err != nil {
		return err
	}
	if result == nil || result.UpdateTime.IsZero() {
		return errors.New("the answer does not say when the document was written")
	}
	r.Version++
	s.versions.add(stored{r, result.UpdateTime})
	return nil
}

// pageSize is how many documents a query asks for at once, and mostPages bounds one query: far beyond any fleet.
const (
	pageSize  = 100
	mostPages = 1000
)

// Due returns the records due, oldest first, then by ID.
func (s *Store) Due(ctx context.Context, kind string, before time.Time, limit int) ([]ledger.Record, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	due, err := s.query(ctx, kind, "read due records of "+kind, limit, func(c *firestore.CollectionRef) firestore.Query {
		return c.Where(NextLookField, "<=", before.UnixMilli()).OrderBy(NextLookField, firestore.Asc)
	}, func(r ledger.Record) bool {
		return !r.NextLook.IsZero() && r.NextLook.UnixMilli() <= before.UnixMilli()
	})
	slices.SortFunc(due, func(a, b ledger.Record) int {
		return cmp.Or(a.NextLook.Compare(b.NextLook), cmp.Compare(a.ID, b.ID))
	})
	return due, err
}

// ByKey returns the records that name the key, ordered by ID.
func (s *Store) ByKey(ctx context.Context, kind, key string) ([]ledger.Record, error) {
	found, err := s.query(ctx, kind, "read records of "+kind+" by key", mostPages*pageSize, func(c *firestore.CollectionRef) firestore.Query {
		return c.Where(KeysField, "array-contains", keyMark(key)).OrderBy(firestore.DocumentID, firestore.Asc)
	}, func(r ledger.Record) bool { return slices.Contains(r.Keys, key) })
	slices.SortFunc(found, func(a, b ledger.Record) int { return cmp.Compare(a.ID, b.ID) })
	return found, err
}

// query returns the first matching records, in the order of the query. Beside an error that wraps ledger.ErrUndecodable are all
// the others.
func (s *Store) query(
	ctx context.Context, kind, doing string, limit int, of func(*firestore.CollectionRef) firestore.Query, match func(ledger.Record) bool,
) ([]ledger.Record, error) {
	if err := checkName(kind, "any"); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	var found []ledger.Record
	var broken []error
	query := of(s.client.Collection(kind)).Limit(min(limit, pageSize))
	for range mostPages {
		page, err := s.page(ctx, query)
		if err != nil {
			return nil, explain(err, doing)
		}
		for _, snapshot := range page {
			one, err := s.decode(kind, snapshot)
			switch {
			case err != nil:
				broken = append(broken, err)
			case !one.record.Expired(time.Now()) && match(one.record):
				found = append(found, one.record)
			}
		}
		if len(page) < min(limit, pageSize) || len(found) >= limit {
			err := errors.Join(broken...)
			if err != nil {
				err = fmt.Errorf("%s: %w", doing, err)
			}
			return found[:min(len(found), limit)], err
		}
		query = of(s.client.Collection(kind)).Limit(min(limit, pageSize)).StartAfter(page[len(page)-1])
	}
	return nil, fmt.Errorf("%s: more than %d pages", doing, mostPages)
}

func (s *Store) page(ctx context.Context, query firestore.Query) (page []*firestore.DocumentSnapshot, err error) {
	ctx, cancel := s.config.within(ctx)
	defer cancel()
	documents := query.Documents(ctx)
	defer documents.Stop()
	for {
		switch snapshot, err := documents.Next(); {
		case errors.Is(err, iterator.Done):
			return page, nil
		case err != nil:
			return nil, err
		default:
			page = append(page, snapshot)
		}
	}
}

// updateTimes remember when the versions of records were written that were read or written last, so that a record that is
// written every minute costs one call. A time that is no longer true is a conflict, as it must be.
type updateTimes struct {
	mu   sync.Mutex
	seen map[recordName]stored
}

type recordName struct{ kind, id string }

// mostRemembered bounds the memory; beyond it all is forgotten, which costs a read each.
const mostRemembered = 10_000

func (u *updateTimes) add(s stored) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen == nil || len(u.seen) >= mostRemembered {
		u.seen = map[recordName]stored{}
	}
	u.seen[recordName{s.record.Kind, s.record.ID}] = stored{ledger.Record{Version: s.record.Version, Expires: s.record.Expires}, s.at}
}

// of returns what is remembered of the version on which the record is built.
func (u *updateTimes) of(r ledger.Record) (stored, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known, ok := u.seen[recordName{r.Kind, r.ID}]
	if !ok || known.record.Version != r.Version {
		return stored{}, false
	}
	return known, true
}
