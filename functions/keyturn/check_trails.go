package main

import (
	"context"
	"fmt"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/trailcheck"
	"github.com/keyturn/keyturn/functions/trailcheck/cloudtrail"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/hub"
)

// ownTrails are the trails of the account whose credentials are used, as trailcheck judges them. Those of others cannot be read with them.
type ownTrails struct {
	aws amazon.Config
	// who is asked once.
	who *hub.Identity
}

// Trails implements compliance.Trails.
func (t *ownTrails) Trails(ctx context.Context, account, region string) ([]checks.Trail, error) {
	if t.who == nil {
		who, err := hub.WhoAmI(ctx, t.aws)
		if err != nil {
			return nil, err
		}
		t.who = &who
	}
	if t.who.Account != account {
		return nil, fmt.Errorf("the credentials are of account %s, and trails are read in their own account only", t.who.Account)
	}
	there := t.aws
	there.Region = region
	trails, err := cloudtrail.Trails{Reader: amazon.NewTrails(there)}.Trails(ctx)
	if err != nil {
		return nil, err
	}
	var all []checks.Trail
	for _, record := range trailcheck.Decide(region, trails, "", false).Records {
		all = append(all, checks.Trail{Name: record.Trail.Name, Writes: answer(record.Writes), Reads: answer(record.Reads), Why: record.Why})
	}
	return all, nil
}

func answer(a trailcheck.Answer) checks.Answer {
	switch a {
	case trailcheck.Yes:
		return checks.Yes
	case trailcheck.No:
		return checks.No
	case trailcheck.Unknown:
	}
	return checks.Unclear
}
