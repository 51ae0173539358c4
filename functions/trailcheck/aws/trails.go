package main

import (
	"context"

	"github.com/keyturn/keyturn/functions/trailcheck"
	"github.com/keyturn/keyturn/internal/amazon"
)

// trails hands CloudTrail's trails to the check.
type trails struct{ reader *amazon.Trails }

func (t trails) Trails(ctx context.Context) ([]trailcheck.Trail, error) {
	read, err := t.reader.Trails(ctx)
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
