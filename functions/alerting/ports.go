package alerting

import (
	"context"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// KMS reads a key at its own URI; see rotation's port of the same name. A key that does not exist has the state
// cmek.KeyNotFound; an error says nothing about the key.
type KMS interface {
	Key(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error)
}

// Policies reads the policies that decide about a cluster's access, as JSON text. An error says nothing about them;
// cmek.ErrNotFound means that the role does not exist.
type Policies interface {
	KeyPolicy(ctx context.Context, uri cmek.KeyURI) (string, error)
	RoleTrust(ctx context.Context, role string) (string, error)
	// RolePolicies returns all identity policies of a role and its permissions boundary; policy.ParseRole reads them.
	RolePolicies(ctx context.Context, role string) (string, error)
}

// Cloud is what is worth knowing about a cluster's next days.
type Cloud interface {
	// NextMaintenance is when the cluster's maintenance window opens next; zero if none is set.
	NextMaintenance(ctx context.Context, clusterID string) (time.Time, error)
	// BackupInterval is the time between managed backups; zero if there are none.
	BackupInterval(ctx context.Context, clusterID string) (time.Duration, error)
}

// Notifier tells people. Telling twice is harmless: ID and DedupKey stay the same.
type Notifier interface {
	Notify(ctx context.Context, alert cmek.Alert) error
}

// Repairer undoes a scheduled deletion. It acts under a role of its own, which exists only if its owner wants repairs.
type Repairer interface {
	// CancelDeletion cancels the deletion; the key is disabled then. Enable enables it.
	CancelDeletion(ctx context.Context, uri cmek.KeyURI) error
	Enable(ctx context.Context, uri cmek.KeyURI) error
}
