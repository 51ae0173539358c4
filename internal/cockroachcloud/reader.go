package cockroachcloud

import (
	"context"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Reader is a client that cannot write: it has no method that sends anything but a GET. Compliance gets nothing else.
type Reader struct{ client *Client }

// NewReader returns a reader with a service account and a rate of its own, or an error that names every option that is wrong.
func NewReader(o Options) (Reader, error) {
	client, err := New(o)
	return Reader{client}, err
}

// ClusterPage is [Client.ClusterPage].
func (r Reader) ClusterPage(ctx context.Context, page string) ([]cmek.Cluster, string, error) {
	return r.client.ClusterPage(ctx, page)
}

// Cluster is [Client.Cluster].
func (r Reader) Cluster(ctx context.Context, id string) (cmek.Cluster, error) {
	return r.client.Cluster(ctx, id)
}

// CMEK is [Client.CMEK].
func (r Reader) CMEK(ctx context.Context, id string) (cmek.ClusterInfo, error) {
	return r.client.CMEK(ctx, id)
}

// OrganizationID reads the organization's id.
func (r Reader) OrganizationID(ctx context.Context) (string, error) {
	o, err := r.client.Organization(ctx)
	return o.ID, err
}

// Backups reads how a cluster's managed backups are configured, and the newest one of the last periods of their frequency. It takes two
// requests, or one if backups are off.
func (r Reader) Backups(ctx context.Context, id string, periods int) (cmek.Backups, error) {
	config, err := r.client.BackupConfig(ctx, id)
	if err != nil {
		return cmek.Backups{}, err
	}
	b := cmek.Backups{Retention: time.Duration(config.RetentionDays) * 24 * time.Hour}
	if !config.Enabled {
		return b, nil
	}
	b.Frequency = time.Duration(config.FrequencyMinutes) * time.Minute
	since := time.Now().Add(-time.Duration(periods) * b.Frequency)
	for backup, err := range r.client.Backups(ctx, id, since) {
		if err != nil {
			return cmek.Backups{}, err
		}
		if backup.AsOf.IsZero() {
			return cmek.Backups{}, fmt.Errorf("list backups of cluster %s: %w: one has no as_of_time", clip(id), cmek.ErrIncomplete)
		}
		if backup.AsOf.After(b.Newest) {
			b.Newest = backup.AsOf
		}
	}
	return b, nil
}
