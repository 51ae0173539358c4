package alerting

import (
	"context"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Cloud is what is worth knowing about a cluster's next days.
type Cloud interface {
	// NextMaintenance is when the cluster's maintenance window opens next; zero if none is set.
	NextMaintenance(ctx context.Context, clusterID string) (time.Time, error)
	// BackupInterval is the time between managed backups; zero if there are none.
	BackupInterval(ctx context.Context, clusterID string) (time.Duration, error)
}

// Repairer undoes a scheduled deletion. It acts under a role of its own, which exists only if its owner wants repairs.
type Repairer interface {
	// CancelDeletion cancels the deletion; the key is disabled then. Enable enables it.
	CancelDeletion(ctx context.Context, uri cmek.KeyURI) error
	Enable(ctx context.Context, uri cmek.KeyURI) error
}
