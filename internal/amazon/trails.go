package amazon

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"
)

// Trail is what CloudTrail says of one trail. Where a part of it could not be read, the field that ends in Unread says why,
// and the part is empty.
type Trail struct {
	Name, ARN, HomeRegion     string
	MultiRegion, Organization bool
	Logging                   bool
	LoggingUnread             string
	DeliveryError             string
	// Selectors match the events that the trail records; none means CloudTrail's default, unless CustomSelectors.
	Selectors       [][]EventCondition
	CustomSelectors bool
	SelectorsUnread string
}

// EventCondition is a condition on one field of an event. All conditions of a selector must hold.
type EventCondition struct {
	Field                                 string
	Equals, StartsWith, EndsWith          []string
	NotEquals, NotStartsWith, NotEndsWith []string
}

// Trails reads the trails that concern our account and Region.
type Trails struct{ client *cloudtrail.Client }

// NewTrails returns a reader of trails.
func NewTrails(config Config) *Trails { return &Trails{cloudtrail.NewFromConfig(config)} }

// Trails reads all trails that are visible in the Region: its own, the shadows of multi-Region trails, and the shadows of
// organization trails, which are left out unless asked for
// (docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_DescribeTrails.html). The error means that there is no list.
func (t *Trails) Trails(ctx context.Context) ([]Trail, error) {
	out, err := t.client.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{IncludeShadowTrails: aws.Bool(true)})
	if err != nil {
		return nil, explain(err, "list trails")
	}
	var trails []Trail
	for _, described := range out.TrailList {
		trail := Trail{
			Name: aws.ToString(described.Name), ARN: aws.ToString(described.TrailARN), HomeRegion: aws.ToString(described.HomeRegion),
			MultiRegion: aws.ToBool(described.IsMultiRegionTrail), Organization: aws.ToBool(described.IsOrganizationTrail),
			CustomSelectors: aws.ToBool(described.HasCustomEventSelectors),
		}
		t.readStatus(ctx, &trail)
		t.readSelectors(ctx, &trail)
		trails = append(trails, trail)
	}
	return trails, nil
}

// readStatus asks this Region: a status is that of one Region. A shadow is known by its ARN only
// (docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_GetTrailStatus.html).
func (t *Trails) readStatus(ctx context.Context, trail *Trail) {
	out, err := t.client.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: &trail.ARN})
	switch {
	case err != nil:
		trail.LoggingUnread = reason(err)
	case out.IsLogging == nil:
		trail.LoggingUnread = "the answer does not say"
	default:
		trail.Logging, trail.DeliveryError = *out.IsLogging, aws.ToString(out.LatestDeliveryError)
	}
}

// readSelectors asks the trail's home Region, where its selectors are kept. The selectors of an organization trail can be
// read in the account that owns it only.
func (t *Trails) readSelectors(ctx context.Context, trail *Trail) {
	out, err := t.client.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: &trail.ARN}, func(o *cloudtrail.Options) {
		if trail.HomeRegion != "" {
			o.Region = trail.HomeRegion
		}
	})
	if err != nil {
		trail.SelectorsUnread = reason(err)
		return
	}
	for _, basic := range out.EventSelectors {
		trail.Selectors = append(trail.Selectors, fromBasic(basic))
	}
	for _, advanced := range out.AdvancedEventSelectors {
		var conditions []EventCondition
		for _, field := range advanced.FieldSelectors {
			conditions = append(conditions, EventCondition{
				Field: aws.ToString(field.Field), Equals: field.Equals, StartsWith: field.StartsWith, EndsWith: field.EndsWith,
				NotEquals: field.NotEquals, NotStartsWith: field.NotStartsWith, NotEndsWith: field.NotEndsWith,
			})
		}
		trail.Selectors = append(trail.Selectors, conditions)
	}
}

// fromBasic turns a basic event selector into the advanced one that does the same for management events. What is not given is
// the default: management events, read and write ones
// (docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_EventSelector.html).
func fromBasic(basic cttypes.EventSelector) []EventCondition {
	category := "Management"
	if basic.IncludeManagementEvents != nil && !*basic.IncludeManagementEvents {
		category = "Data"
	}
	conditions := []EventCondition{{Field: "eventCategory", Equals: []string{category}}}
	switch basic.ReadWriteType {
	case cttypes.ReadWriteTypeAll, "":
	case cttypes.ReadWriteTypeReadOnly:
		conditions = append(conditions, EventCondition{Field: "readOnly", Equals: []string{"true"}})
	case cttypes.ReadWriteTypeWriteOnly:
		conditions = append(conditions, EventCondition{Field: "readOnly", Equals: []string{"false"}})
	default: // kept as it is, so that nobody takes it for one of the three
		conditions = append(conditions, EventCondition{Field: "ReadWriteType", Equals: []string{string(basic.ReadWriteType)}})
	}
	if len(basic.ExcludeManagementEventSources) > 0 {
		conditions = append(conditions, EventCondition{Field: "eventSource", NotEquals: basic.ExcludeManagementEventSources})
	}
	return conditions
}

// reason is an error in few words: the service's own, without the SDK's account of the call.
func reason(err error) string {
	var refusal smithy.APIError
	if errors.As(err, &refusal) {
		return fmt.Sprintf("%s: %s", refusal.ErrorCode(), refusal.ErrorMessage())
	}
	return err.Error()
}
