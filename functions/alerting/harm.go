package alerting

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// mostEnriched bounds the clusters whose next days are read for one alert.
const mostEnriched = 5

// What is said of a cluster in place of what its next days bring.
const (
	daysUnknown = "its next backup and maintenance are not known"
	pastUser    = "uses it no longer, but what was written under it, backups too, needs it"
)

// startHarm begins to read what the next days bring to the first clusters, and returns what can be said of each, by its id,
// until that is known.
func (f *Function) startHarm(ctx context.Context, r *reads, usage Usage, clusters []*ledger.Cluster) map[string]string {
	byID := map[string]*ledger.Cluster{}
	for _, c := range clusters {
		byID[c.ID] = c
	}
	harm := map[string]string{}
	for i, affected := range usage.Clusters {
		if len(affected.Regions) == 0 {
			harm[affected.ID] = pastUser
			continue
		}
		c := byID[affected.ID]
		harm[c.ID] = joinHarm(underWay(c), daysUnknown)
		if i >= mostEnriched {
			continue
		}
		r.start("", func() (func(*Facts), error) {
			line, err := f.nextHarm(ctx, c)
			return func(facts *Facts) { facts.Harm[c.ID] = line }, err
		})
	}
	return harm
}

// nextHarm says what a cluster's next backup and restart are, and when. Beside an error it says what is known.
func (f *Function) nextHarm(ctx context.Context, c *ledger.Cluster) (string, error) {
	window, windowErr := f.Cloud.NextMaintenance(ctx, c.ID)
	interval, intervalErr := f.Cloud.BackupInterval(ctx, c.ID)
	if windowErr != nil && intervalErr != nil {
		return joinHarm(underWay(c), daysUnknown), fmt.Errorf("read next days of cluster %s: %w", c.ID, errors.Join(windowErr, intervalErr))
	}
	var backup, maintenance string
	switch {
	case intervalErr != nil:
		backup = "its next backup is not known"
	case interval > 0:
		backup = "the next backup fails, within " + brief(interval)
	}
	switch at := window.UTC().Format("Mon 2 Jan 15:04 UTC"); {
	case windowErr != nil:
		maintenance = "its next maintenance is not known"
	case window.IsZero():
	case window.Before(time.Now()):
		maintenance = "maintenance since " + at + " may take nodes down now"
	default:
		maintenance = "maintenance from " + at + " may take nodes down"
	}
	line := joinHarm(underWay(c), backup, maintenance)
	if line == "" {
		line = "no backup and no maintenance is planned"
	}
	if err := errors.Join(windowErr, intervalErr); err != nil {
		return line, fmt.Errorf("read next days of cluster %s: %w", c.ID, err)
	}
	return line, nil
}

// underWay says that an operation runs that restarts nodes, as far as the inventory knows; else "".
func underWay(c *ledger.Cluster) string {
	if strings.HasSuffix(c.Cluster.OperationStatus, "_RUNNING") {
		return c.Cluster.OperationStatus + " may take nodes down now"
	}
	return ""
}

func joinHarm(parts ...string) string {
	var said []string
	for _, part := range parts {
		if part != "" {
			said = append(said, part)
		}
	}
	return strings.Join(said, "; ")
}

// withHarm is the clusters with what breaks there.
func withHarm(clusters []cmek.AffectedCluster, harm map[string]string) []cmek.AffectedCluster {
	list := make([]cmek.AffectedCluster, len(clusters))
	for i, c := range clusters {
		c.Harm = harm[c.ID]
		list[i] = c
	}
	return list
}

// brief is a duration in hours and minutes, without zeros at the end.
func brief(d time.Duration) string {
	s := strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	if strings.HasSuffix(s, "h0m") {
		return strings.TrimSuffix(s, "0m")
	}
	return s
}
