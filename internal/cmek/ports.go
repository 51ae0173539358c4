package cmek

import (
	"context"
	"iter"
	"time"
)

// The ports: what functions need of the outside world (alert.Notifier stands beside the alert that it sends). Adapters implement them; the suites of package cmektest check the
// contracts written here.

// Cloud is what follow-through needs of the CockroachDB Cloud API. Reads may be retried by the implementation; a PUT is
// sent at most once for each call. Errors wrap ErrNotFound or ErrDenied where that is the reason.
type Cloud interface {
	// ClusterPage lists clusters from the page on ("" for the first) and returns the next page's name, "" at the end.
	ClusterPage(ctx context.Context, page string) (clusters []Cluster, next string, err error)
	// Cluster reads one cluster.
	Cluster(ctx context.Context, id string) (Cluster, error)
	// CMEK reads the cluster's CMEK. A cluster without CMEK is either an info with status DISABLED or no regions, or
	// ErrNotFound: the API does not document which.
	CMEK(ctx context.Context, id string) (ClusterInfo, error)
	// RotateCMEK sends the PUT that re-encrypts the store keys of the regions named. It does not fail: what is known about
	// the request is in the answer.
	RotateCMEK(ctx context.Context, id string, specs []RegionSpec) Answer
}

// KMS reads a key at its own URI. A key that does not exist has the state KeyNotFound; an error means that the key could
// not be read (ErrDenied: because we may not), and says nothing about the key.
type KMS interface {
	Key(ctx context.Context, uri KeyURI) (Key, error)
	// Describe is Key at the least cost: what it returns is true, but it may leave out everything about rotations, and a
	// version that follows from them.
	Describe(ctx context.Context, uri KeyURI) (Key, error)
}

// Policies reads the documents that decide about a cluster's access to its keys. Each has a name, under which the ledger and the
// archive keep it.
type Policies interface {
	// Deciding names the documents that decide about the use, as far as those show that were read so far (known, the texts by name):
	// what a document refers to is named once that one is known. It reads nothing, names each once and in one order, and names
	// nothing for a key of another cloud.
	Deciding(use Use, known map[string]string) []string
	// Document reads a document as it is now, as JSON text. An error says nothing about it: ErrDenied means that we may not read
	// it, ErrNotFound that what it belongs to does not exist.
	Document(ctx context.Context, name string) (string, error)
}

// Projects knows the two names of projects of Google Cloud.
type Projects interface {
	// Project reads a project's id and number by one of them. An error says nothing about the project.
	Project(ctx context.Context, name string) (id, number string, err error)
}

// Aliases knows which keys the aliases of AWS KMS name. Cloud KMS has none.
type Aliases interface {
	// AliasTarget reads which key the alias, given by its ARN, names now: the key's own ARN. ErrNotFound: there is no such alias, or it names no
	// key. Any other error says nothing about the alias; ErrDenied: because we may not read it.
	AliasTarget(ctx context.Context, alias KeyURI) (KeyURI, error)
}

// Archive keeps immutable evidence.
type Archive interface {
	// PutIfAbsent stores data under the name. If the name is taken it changes nothing and returns nil when the stored
	// bytes are the same, an error when they differ.
	PutIfAbsent(ctx context.Context, name string, data []byte) error
}

// ArchiveReader reads an archive. It has no method that changes anything.
type ArchiveReader interface {
	// List yields what is stored under the names that begin with the prefix, in the order of the names' bytes, each with all its
	// versions. It ends with the first error.
	List(ctx context.Context, prefix string) iter.Seq2[Stored, error]
	// Read returns the bytes of a version, "" for the current one. ErrNotFound: there is none, or it is deleted.
	Read(ctx context.Context, name, version string) ([]byte, error)
}

// Stored is what an archive holds under a name. Whoever puts if absent makes one version of each; more, or a deletion, is the work of
// somebody else.
type Stored struct {
	Name string
	// Versions are all that the archive still has, the oldest first.
	Versions []StoredVersion
}

// StoredVersion is a version of what is stored under a name. Deleted: it has no content, and hides the one before it.
type StoredVersion struct {
	ID      string
	At      time.Time
	Size    int64
	Deleted bool
}
