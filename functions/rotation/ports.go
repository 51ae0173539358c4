package rotation

import (
	"context"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Cloud is what follow-through needs of the CockroachDB Cloud API. Reads may be retried by the implementation; a PUT is
// sent at most once for each call. Errors wrap cmek.ErrNotFound or cmek.ErrDenied where that is the reason.
type Cloud interface {
	// ClusterPage lists clusters from the page on ("" for the first) and returns the next page's name, "" at the end.
	ClusterPage(ctx context.Context, page string) (clusters []cmek.Cluster, next string, err error)
	// Cluster reads one cluster.
	Cluster(ctx context.Context, id string) (cmek.Cluster, error)
	// CMEK reads the cluster's CMEK. A cluster without CMEK is either an info with status DISABLED or no regions, or
	// cmek.ErrNotFound: the API leaves open which.
	CMEK(ctx context.Context, id string) (cmek.ClusterInfo, error)
	// RotateCMEK sends the PUT that re-encrypts the store keys of the regions named. It does not fail: what is known about
	// the request is in the answer.
	RotateCMEK(ctx context.Context, id string, specs []cmek.RegionSpec) cmek.Answer
}

// KMS reads a key at its own URI. A key that does not exist has the state cmek.KeyNotFound; an error means that the truth
// could not be read (cmek.ErrDenied: because we may not), and says nothing about the key.
type KMS interface {
	Key(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error)
	// Describe is Key at the least cost: what it tells is so, but nothing about rotations need be told, nor a version that
	// follows from them.
	Describe(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error)
}

// Archive keeps immutable evidence.
type Archive interface {
	// PutIfAbsent stores data under the name. If the name is taken it changes nothing and returns nil when the stored
	// bytes are the same, an error when they differ.
	PutIfAbsent(ctx context.Context, name string, data []byte) error
}

// Notifier tells people. Delivering an alert twice is harmless: its ID and DedupKey stay the same.
type Notifier interface {
	Notify(ctx context.Context, alert cmek.Alert) error
}
