package cloudtrail

import (
	"context"
	"fmt"
	"sync"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/trailcheck"
	"github.com/keyturn/keyturn/internal/amazon"
)

// Own are the trails of the account whose credentials are used, as trailcheck judges them. Those of others cannot be read with them. It is
// safe for concurrent use.
type Own struct {
	aws amazon.Config
	mu  sync.Mutex
	// account is asked for until there is an answer.
	account string
}

// NewOwn makes it.
func NewOwn(aws amazon.Config) *Own { return &Own{aws: aws} }

// Trails says what the trails that are seen in the Region record of KMS.
func (o *Own) Trails(ctx context.Context, account, region string) ([]checks.Trail, error) {
	own, err := o.who(ctx)
	if err != nil {
		return nil, err
	}
	if own != account {
		return nil, fmt.Errorf("the credentials are of account %s, and trails are read in their own account only", own)
	}
	there := o.aws
	there.Region = region
	trails, err := Trails{Reader: amazon.NewTrails(there)}.Trails(ctx)
	if err != nil {
		return nil, err
	}
	var all []checks.Trail
	for _, record := range trailcheck.Decide(region, trails, "", false).Records {
		all = append(all, checks.Trail{Name: record.Trail.Name, Writes: answer(record.Writes), Reads: answer(record.Reads), Why: record.Why})
	}
	return all, nil
}

func (o *Own) who(ctx context.Context) (account string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.account == "" {
		who, err := amazon.WhoAmI(ctx, o.aws)
		if err != nil {
			return "", err
		}
		o.account = who.Account
	}
	return o.account, nil
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
