// Package cloudtrail hands CloudTrail's trails to trailcheck, and to whoever asks the same of them.
package cloudtrail

import (
	"context"

	"github.com/keyturn/keyturn/functions/trailcheck"
	"github.com/keyturn/keyturn/internal/amazon"
)

// Trails implements trailcheck.Trails.
type Trails struct{ Reader *amazon.Trails }

// Trails reads the trails as [amazon.Trails] does.
func (t Trails) Trails(ctx context.Context) ([]trailcheck.Trail, error) {
	read, err := t.Reader.Trails(ctx)
	var all []trailcheck.Trail
	for _, r := range read {
		trail := trailcheck.Trail{
			Name: r.Name, ARN: r.ARN, HomeRegion: r.HomeRegion, MultiRegion: r.MultiRegion, Organization: r.Organization,
			Logging: r.Logging, LoggingUnread: r.LoggingUnread, DeliveryError: r.DeliveryError,
			CustomSelectors: r.CustomSelectors, SelectorsUnread: r.SelectorsUnread,
		}
		for _, conditions := range r.Selectors {
			selector := trailcheck.Selector{}
			for _, condition := range conditions {
				selector = append(selector, trailcheck.Condition(condition))
			}
			trail.Selectors = append(trail.Selectors, selector)
		}
		all = append(all, trail)
	}
	return all, err
}
