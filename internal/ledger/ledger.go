package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Kinds of records. Follow-through's clusters and its worker are of one kind, so that one query finds all that is due.
const (
	kindRotation = "rotation"
	kindControl  = "control"

	clusterPrefix = "cluster#"
	workerID      = "worker"
	pauseID       = "pause"
)

// Ledger is typed access to a Store. It is safe for concurrent use.
type Ledger struct {
	store Store

	mu   sync.Mutex
	rand *rand.Rand
}

// New returns a ledger over the store. The source of randomness makes write tokens; it must differ between processes.
func New(store Store, random *rand.Rand) *Ledger { return &Ledger{store: store, rand: random} }

// attempts bounds how often a swap is tried again after somebody else's write.
const attempts = 8

// ErrUnchanged is returned by an update function that wants nothing written.
var ErrUnchanged = errors.New("nothing to change")

// ErrUndecodable is, wrapped with the record's name, the error about a record that is in the store but cannot be decoded.
// It says nothing about the other records.
var ErrUndecodable = errors.New("decode ledger item")

// Cluster returns the cluster's item; one that does not exist has only its ID.
func (l *Ledger) Cluster(ctx context.Context, id string) (*Cluster, error) {
	r, err := l.store.Get(ctx, kindRotation, clusterPrefix+id)
	if err != nil {
		return nil, fmt.Errorf("read ledger item of cluster %s: %w", id, err)
	}
	return decodeCluster(r, id)
}

// UpdateCluster reads the cluster's item, lets change alter it, and swaps it in. After a conflict it starts again with the
// fresh item, so change must depend on the item given and may run several times. If change returns an error nothing is
// written; ErrUnchanged is not reported. If the item is as it was, nothing is written either.
//
// On success the item returned is the one in the ledger.
func (l *Ledger) UpdateCluster(ctx context.Context, id string, change func(*Cluster) error) (*Cluster, error) {
	for range attempts {
		c, err := l.Cluster(ctx, id)
		if err != nil {
			return nil, err
		}
		switch err := change(c); {
		case errors.Is(err, ErrUnchanged):
			return c, nil
		case err != nil:
			return nil, err
		}
		switch err := l.save(ctx, c); {
		case err == nil:
			return c, nil
		case !errors.Is(err, ErrConflict):
			return nil, err
		}
	}
	return nil, fmt.Errorf("write ledger item of cluster %s: %w, %d times in a row", id, ErrConflict, attempts)
}

// save swaps the cluster's item in and brings its Version up.
func (l *Ledger) save(ctx context.Context, c *Cluster) (err error) {
	r := c.record
	r.Kind, r.ID, r.Keys = kindRotation, clusterPrefix+c.ID, c.Keys()
	if err := c.fit(&r); err != nil {
		return err
	}
	if bytes.Equal(r.Data, c.record.Data) {
		return nil
	}
	r.NextLook = c.DueAt()
	c.record, err = l.put(ctx, r)
	return err
}

// put swaps a record in and returns it as stored. Whatever error the store gives, our own token in the stored record shows
// that the write happened and only its answer was lost.
func (l *Ledger) put(ctx context.Context, r Record) (Record, error) {
	r.Token = l.token()
	if err := l.store.Put(ctx, r); err != nil {
		stored, readErr := l.store.Get(ctx, r.Kind, r.ID)
		if readErr != nil {
			return r, fmt.Errorf("write ledger item %s/%s: %w", r.Kind, r.ID, errors.Join(err, readErr))
		}
		if stored.Token != r.Token {
			return r, fmt.Errorf("write ledger item %s/%s: %w", r.Kind, r.ID, err)
		}
	}
	r.Version++
	return r, nil
}

func (l *Ledger) token() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strconv.FormatUint(l.rand.Uint64(), 36) + strconv.FormatUint(l.rand.Uint64(), 36)
}

// Agenda is what is due.
type Agenda struct {
	// Clusters are due, the oldest first. Sweep is true if the worker's sweep is.
	Clusters []*Cluster
	Sweep    bool
}

// Empty reports whether nothing is due.
func (a Agenda) Empty() bool { return len(a.Clusters) == 0 && !a.Sweep }

// Due returns at most limit items that are due at now, with one query. Items that cannot be decoded are left out: the agenda
// holds the others, and the error, an ErrUndecodable, names them.
func (l *Ledger) Due(ctx context.Context, now time.Time, limit int) (Agenda, error) {
	clusters, err := due(ctx, l.store, kindRotation, now, limit, func(r Record) (*Cluster, error) {
		if r.ID == workerID {
			return nil, nil
		}
		return decodeCluster(r, strings.TrimPrefix(r.ID, clusterPrefix))
	})
	isWorker := func(c *Cluster) bool { return c == nil }
	return Agenda{Sweep: slices.ContainsFunc(clusters, isWorker), Clusters: slices.DeleteFunc(clusters, isWorker)}, err
}

// due reads at most limit records of the kind that are due at now, the oldest first. One that cannot be read is left out, and
// asked for on top of the limit, so that it keeps none of the others waiting; the error joins what was wrong with them.
func due[T any](ctx context.Context, store Store, kind string, now time.Time, limit int, read func(Record) (T, error)) ([]T, error) {
	for ask := limit; ; {
		records, err := store.Due(ctx, kind, now, ask)
		if err != nil {
			err = fmt.Errorf("query ledger for what is due: %w", err)
		}
		if err != nil && !errors.Is(err, ErrUndecodable) {
			return nil, err
		}
		items, broken := readAll(records, read)
		if len(records) < ask || len(items) >= limit {
			return items[:min(len(items), limit)], errors.Join(append(broken, err)...)
		}
		ask = limit + len(broken)
	}
}

// readAll reads the records that can be read, and says what is wrong with the others.
func readAll[T any](records []Record, read func(Record) (T, error)) (items []T, broken []error) {
	for _, r := range records {
		item, err := read(r)
		if err != nil {
			broken = append(broken, err)
			continue
		}
		items = append(items, item)
	}
	return items, broken
}

// ByKey returns the items of all clusters that name the key, now or in the past, ordered by cluster id. As with [Ledger.Due],
// items that cannot be decoded are left out and named by the error; so it is with ByRole and ByAccount.
func (l *Ledger) ByKey(ctx context.Context, key cmek.KeyURI) ([]*Cluster, error) {
	return l.byKey(ctx, key.Canonical())
}

// ByRole returns the items of all clusters that act as the role of that name in the account. The name may also be the role's
// ARN or a service account's e-mail, which say themselves whose they are.
func (l *Ledger) ByRole(ctx context.Context, account, name string) ([]*Cluster, error) {
	if p := cmek.Principal(name); p.Account() != "" {
		account, name = p.Account(), p.Name()
	}
	return l.byKey(ctx, roleKey(account, name))
}

// ByAccount returns the items of all clusters that name a key or a role of the account.
func (l *Ledger) ByAccount(ctx context.Context, account string) ([]*Cluster, error) {
	return l.byKey(ctx, accountKey(account))
}

func (l *Ledger) byKey(ctx context.Context, key string) ([]*Cluster, error) {
	records, err := l.store.ByKey(ctx, kindRotation, key)
	if err != nil {
		err = fmt.Errorf("query ledger for clusters of %s: %w", key, err)
	}
	if err != nil && !errors.Is(err, ErrUndecodable) {
		return nil, err
	}
	clusters, broken := readAll(records, func(r Record) (*Cluster, error) {
		return decodeCluster(r, strings.TrimPrefix(r.ID, clusterPrefix))
	})
	return clusters, errors.Join(append(broken, err)...)
}

// Clusters returns the items of all clusters that are not gone, for display.
func (l *Ledger) Clusters(ctx context.Context) ([]*Cluster, error) {
	const most = 100_000
	// Every item that is not gone is due at some time, be it only to be looked at again.
	end := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	a, err := l.Due(ctx, end, most)
	return slices.DeleteFunc(a.Clusters, func(c *Cluster) bool { return c.Gone }), err
}

func decodeCluster(r Record, id string) (*Cluster, error) {
	c := &Cluster{ID: id, record: r}
	return c, decode(r, c)
}

// Pause is the operator's order to send no PUT; the zero value is no order.
type Pause struct {
	Since  time.Time `json:"since,omitzero"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Active reports whether the order stands.
func (p Pause) Active() bool { return !p.Since.IsZero() }

// Paused reads the operator's order.
func (l *Ledger) Paused(ctx context.Context) (Pause, error) {
	var p Pause
	r, err := l.store.Get(ctx, kindControl, pauseID)
	if err != nil {
		return p, fmt.Errorf("read pause flag: %w", err)
	}
	err = decode(r, &p)
	return p, err
}

// SetPause gives the order, or withdraws it with the zero Pause. It holds from the next PUT on.
func (l *Ledger) SetPause(ctx context.Context, p Pause) error { return l.setControl(ctx, pauseID, p) }

// setControl writes an operator's order, or what a sweep noted, over whatever was there.
func (l *Ledger) setControl(ctx context.Context, id string, order any) error {
	for range attempts {
		r, err := l.store.Get(ctx, kindControl, id)
		if err != nil {
			return fmt.Errorf("read %s: %w", id, err)
		}
		r.Kind, r.ID = kindControl, id
		if err := fit(&r, order, nil, func() []part { return []part{partOf("its content", order)} }); err != nil {
			return err
		}
		if _, err = l.put(ctx, r); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("write %s: %w", id, ErrConflict)
}
