package alerting

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
)

// mostEnriched bounds the clusters whose next days are read for one alert.
const mostEnriched = 5

// What is reported of a cluster whose next days are not known or do not matter.
const (
	daysUnknown = "its next backup and maintenance are not known"
	pastUser    = "no longer uses it, but data and backups written under it still need it"
)

// startImpacts begins to read what the next days bring to the first clusters, and returns what can be said of each, by its id,
// until that is known. They are read one after the other: if there is no time for all, the first are known in full, and not all by half.
func (f *Function) startImpacts(ctx context.Context, r *reads, facts *Facts, clusters []*ledger.Cluster) map[string]string {
	byID := map[string]*ledger.Cluster{}
	for _, c := range clusters {
		byID[c.ID] = c
	}
	impacts := map[string]string{}
	next := make(chan struct{})
	close(next)
	for i, affected := range facts.Usage.Clusters {
		if len(affected.Regions) == 0 {
			impacts[affected.ID] = pastUser
			continue
		}
		c := byID[affected.ID]
		impacts[c.ID] = joined(underWay(c), daysUnknown)
		if i >= mostEnriched {
			continue
		}
		begin, end := next, make(chan struct{})
		next = end
		r.start("", "next days of cluster "+c.ID, func() (func(), error) {
			defer close(end)
			select {
			case <-begin:
			case <-ctx.Done():
				return func() {}, ctx.Err()
			}
			line, err := f.nextImpact(ctx, c)
			return func() { impacts[c.ID] = line }, err
		})
	}
	return impacts
}

// nextImpact says what a cluster's next backup and restart are, and when. Beside an error it says what is known.
func (f *Function) nextImpact(ctx context.Context, c *ledger.Cluster) (string, error) {
	window, windowErr := f.Cloud.NextMaintenance(ctx, c.ID)
	interval, intervalErr := f.Cloud.BackupInterval(ctx, c.ID)
	if windowErr != nil && intervalErr != nil {
		return joined(underWay(c), daysUnknown), fmt.Errorf("read next days of cluster %s: %w", c.ID, errors.Join(windowErr, intervalErr))
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
	line := joined(underWay(c), backup, maintenance)
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

func joined(parts ...string) string {
	var said []string
	for _, part := range parts {
		if part != "" {
			said = append(said, part)
		}
	}
	return strings.Join(said, "; ")
}

// withImpacts is the clusters with the impact on each.
func withImpacts(clusters []alert.AffectedCluster, impacts map[string]string) []alert.AffectedCluster {
	list := make([]alert.AffectedCluster, len(clusters))
	for i, c := range clusters {
		c.Impact = impacts[c.ID]
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
