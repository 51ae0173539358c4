// Package trailcheck makes a deployment fail where no CloudTrail trail records the KMS events that keyturn lives on.
// EventBridge gets the records of API calls only where a trail with logging on records them
// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html); without one, keyturn is deaf and
// nothing says so.
package trailcheck

import (
	"context"
	"errors"
	"log/slog"
)

// Trails reads the trails of our account that are visible in our Region, shadow trails and organization trails included.
// What could not be read of a trail is said in the trail; the error means that there is no list at all.
type Trails interface {
	Trails(ctx context.Context) ([]Trail, error)
}

// Trail is what is known about one trail.
type Trail struct {
	Name, ARN, HomeRegion string
	MultiRegion           bool
	Organization          bool
	// Logging is of no meaning if LoggingUnread says why it could not be read.
	Logging       bool
	LoggingUnread string
	// DeliveryError is S3's latest refusal of the trail's files, if there was one.
	DeliveryError string
	// Selectors choose the events that the trail records: those that at least one selector matches. None at all means
	// CloudTrail's default, all management events, unless CustomSelectors says that there are some. They are of no meaning
	// if SelectorsUnread says why they could not be read.
	Selectors       []Selector
	CustomSelectors bool
	SelectorsUnread string
}

// Selector matches the events for which all its conditions hold. A basic event selector is given as the advanced one
// that does the same.
type Selector []Condition

// Condition is about one field of an event, as in docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedFieldSelector.html.
type Condition struct {
	Field                                 string
	Equals, StartsWith, EndsWith          []string
	NotEquals, NotStartsWith, NotEndsWith []string
}

// Function is the check.
type Function struct {
	Trails Trails
	// Region is where the check runs and the keys are.
	Region string
	Log    *slog.Logger
}

// Check returns what it found in words, as the error if the deployment must not go on. Both fit into CloudFormation's
// list of events. Asserted is the owner's word that an organization trail, which this account cannot read, records KMS
// events; it stands in for what cannot be told, never against what can.
func (f *Function) Check(ctx context.Context, asserted bool) (string, error) {
	trails, err := f.Trails.Trails(ctx)
	unread := ""
	if err != nil {
		unread = err.Error()
		f.Log.Warn("trails cannot be listed", "error", unread)
	}
	verdict := Decide(f.Region, trails, unread, asserted)
	for _, record := range verdict.Records {
		f.Log.Info("trail read", "trail", record.Trail.ARN, "writes", record.Writes.String(), "reads", record.Reads.String(), "why", record.Why)
	}
	if !verdict.Pass {
		return "", errors.New(verdict.Text)
	}
	return verdict.Text, nil
}
