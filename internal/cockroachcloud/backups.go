package cockroachcloud

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// BackupConfig is how a cluster's managed backups are taken. A backup needs the CMEK it was encrypted with for as long as
// it is kept.
type BackupConfig struct {
	Enabled bool
	// RetentionDays is how long a backup is kept.
	RetentionDays int
	// FrequencyMinutes is the time from one backup to the next.
	FrequencyMinutes int
}

// BackupConfig reads the configuration of a cluster's managed backups.
func (c *Client) BackupConfig(ctx context.Context, id string) (BackupConfig, error) {
	path, err := clusterPath(id, "/backups-config")
	if err != nil {
		return BackupConfig{}, err
	}
	type config struct {
		Enabled          *bool `json:"enabled"`
		RetentionDays    int   `json:"retention_days"`
		FrequencyMinutes int   `json:"frequency_minutes"`
	}
	w, err := read(ctx, c, path, nil, func(w config) error {
		switch {
		case w.Enabled == nil:
			return missing("enabled")
		case *w.Enabled && w.RetentionDays <= 0:
			return missing("retention_days")
		case *w.Enabled && w.FrequencyMinutes <= 0:
			return missing("frequency_minutes")
		}
		return nil
	})
	if err != nil {
		return BackupConfig{}, err
	}
	return BackupConfig{*w.Enabled, w.RetentionDays, w.FrequencyMinutes}, nil
}

// Backup is one managed backup.
type Backup struct {
	ID string
	// AsOf is the point in time that the backup restores to.
	AsOf time.Time
}

// Backups yields a cluster's managed backups since the given time, all of them if it is zero, in the order of the API
// (which is not documented). An error ends it.
func (c *Client) Backups(ctx context.Context, id string, since time.Time) iter.Seq2[Backup, error] {
	return walk(func(page string) ([]Backup, string, error) {
		path, err := clusterPath(id, "/backups")
		if err != nil {
			return nil, "", err
		}
		query := pageQuery(page)
		if !since.IsZero() {
			query.Set("start_time", since.UTC().Format(time.RFC3339Nano))
		}
		list, err := read(ctx, c, path, query, backupList.check)
		if err != nil {
			return nil, "", err
		}
		backups := make([]Backup, len(list.Backups))
		for i, b := range list.Backups {
			backups[i] = Backup{b.ID, b.AsOf.Time}
		}
		return backups, list.Pagination.NextPage, nil
	})
}

// backupList is the API's ListBackupsResponse.
type backupList struct {
	Backups []struct {
		ID   string    `json:"id"`
		AsOf timestamp `json:"as_of_time"`
	} `json:"backups"`
	Pagination pagination `json:"pagination"`
}

func (w backupList) check() error { return missingArray("backups", w.Backups) }

// MaintenanceWindow is when Cockroach Labs may work on a cluster, every week.
type MaintenanceWindow struct {
	// Offset is the time from Monday 00:00 UTC to the start of the window.
	Offset time.Duration
	// Length is how long it lasts.
	Length time.Duration
}

// MaintenanceWindow reads a cluster's maintenance window. The error wraps cmek.ErrNotFound if the API has none to show.
func (c *Client) MaintenanceWindow(ctx context.Context, id string) (MaintenanceWindow, error) {
	path, err := clusterPath(id, "/maintenance-window")
	if err != nil {
		return MaintenanceWindow{}, err
	}
	// Durations are seconds with an s, for example "172800s".
	type window struct {
		Offset string `json:"offset_duration"`
		Length string `json:"window_duration"`
	}
	var offset, length time.Duration
	_, err = read(ctx, c, path, nil, func(w window) (err error) {
		if offset, err = parseDuration("offset_duration", w.Offset); err == nil {
			length, err = parseDuration("window_duration", w.Length)
		}
		return err
	})
	if err != nil {
		return MaintenanceWindow{}, err
	}
	return MaintenanceWindow{offset, length}, nil
}

func parseDuration(field, text string) (time.Duration, error) {
	if text == "" {
		return 0, missing(field)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s %q is not a duration", field, clip(text))
	}
	return d, nil
}

// NextMaintenance is when the cluster's maintenance window opens next, from now on; zero if none is set. A window that is
// open now counts.
func (c *Client) NextMaintenance(ctx context.Context, id string) (time.Time, error) {
	window, err := c.MaintenanceWindow(ctx, id)
	if errors.Is(err, cmek.ErrNotFound) || err == nil && window.Length == 0 {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return window.next(time.Now()), nil
}

// next is the start of the first window that ends after now.
func (w MaintenanceWindow) next(now time.Time) time.Time {
	now = now.UTC()
	day := now.Truncate(24 * time.Hour)
	monday := day.AddDate(0, 0, -int((now.Weekday()+6)%7))
	start := monday.Add(w.Offset).AddDate(0, 0, -7)
	for !start.Add(w.Length).After(now) {
		start = start.AddDate(0, 0, 7)
	}
	return start
}

// BackupInterval is the time from one managed backup to the next; zero if there are none.
func (c *Client) BackupInterval(ctx context.Context, id string) (time.Duration, error) {
	config, err := c.BackupConfig(ctx, id)
	if errors.Is(err, cmek.ErrNotFound) || err == nil && !config.Enabled {
		return 0, nil
	}
	return time.Duration(config.FrequencyMinutes) * time.Minute, err
}
