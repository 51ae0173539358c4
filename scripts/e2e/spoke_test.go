package e2e

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventbridgetypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// spoke is the spoke's stack in one Region, with what plays the default bus there.
type spoke struct {
	defaultBus string
	bus        *eventbridge.Client
	// toHub is where the rules put what goes to the hub's bus.
	toHub queue
}

// event is an event as EventBridge has it.
type event struct {
	Source     string                     `json:"source"`
	DetailType string                     `json:"detail-type"`
	Region     string                     `json:"region"`
	Time       time.Time                  `json:"time"`
	Resources  []string                   `json:"resources"`
	Detail     map[string]json.RawMessage `json:"detail"`
}

// emit has services of AWS send the events: onto the default bus of their Region, from which the spoke's rules pick them for the
// hub's bus, from which the hub's rules pick them for the functions' queues.
func (a *account) emit(payloads ...[]byte) {
	a.t.Helper()
	byRegion := map[string][]event{}
	for _, payload := range payloads {
		var e event
		must(a.t, json.Unmarshal(payload, &e), "read the event to emit")
		if arns := arnsOf(e.Detail["resources"]); arns != nil {
			e.Detail[resourceARNs] = json.RawMessage(encode(a.t, arns))
		}
		byRegion[e.Region] = append(byRegion[e.Region], e)
	}
	for _, region := range slices.Sorted(maps.Keys(byRegion)) {
		s := a.spoke(region)
		a.put(s.bus, s.defaultBus, byRegion[region])
		a.forward(s)
	}
}

// resourceARNs is the path at which moto_server looks for a pattern's resources: {ARN: …}.
const resourceARNs = "resources.ARN"

func arnsOf(resources json.RawMessage) (arns []string) {
	var list []struct{ ARN string }
	if json.Unmarshal(resources, &list) != nil {
		return nil
	}
	for _, r := range list {
		arns = append(arns, r.ARN)
	}
	return arns
}

// forward does what EventBridge does with a rule's target that is another account's bus.
func (a *account) forward(s *spoke) {
	a.t.Helper()
	var list []event
	for _, body := range a.drain(s.toHub) {
		var e event
		must(a.t, json.Unmarshal([]byte(body), &e), "read the event to forward")
		delete(e.Detail, resourceARNs)
		list = append(list, e)
	}
	a.put(a.bus, a.name, list)
}

// put puts events on a bus. On AWS only a service itself can use a source aws.*; moto_server does not mind. It gives each
// another id and the bus's own Region, and keeps the rest.
func (a *account) put(client *eventbridge.Client, bus string, list []event) {
	a.t.Helper()
	const mostEntries = 10
	for batch := range slices.Chunk(list, mostEntries) {
		var entries []eventbridgetypes.PutEventsRequestEntry
		for _, e := range batch {
			entries = append(entries, eventbridgetypes.PutEventsRequestEntry{
				EventBusName: &bus, Source: &e.Source, DetailType: &e.DetailType, Time: &e.Time, Resources: e.Resources,
				Detail: aws.String(encode(a.t, e.Detail)),
			})
		}
		out, err := client.PutEvents(a.t.Context(), &eventbridge.PutEventsInput{Entries: entries})
		must(a.t, err, "put events")
		for _, entry := range out.Entries {
			if entry.ErrorMessage != nil {
				a.t.Fatalf("put events: %s", *entry.ErrorMessage)
			}
		}
	}
}

// spoke deploys the Region's spoke when its first event comes.
func (a *account) spoke(region string) *spoke {
	a.t.Helper()
	if s, ok := a.spokes[region]; ok {
		return s
	}
	config := configOf(a.t, region)
	s := &spoke{defaultBus: a.name + "-default", bus: eventbridge.NewFromConfig(config)}
	_, err := s.bus.CreateEventBus(a.t.Context(), &eventbridge.CreateEventBusInput{Name: &s.defaultBus})
	var exists *eventbridgetypes.ResourceAlreadyExistsException
	if !errors.As(err, &exists) { // else a slow answer made the SDK ask twice: the name is this scene's alone
		must(a.t, err, "create what plays the default bus")
	}
	s.toHub = a.createQueue(sqs.NewFromConfig(config), region, "to-hub")

	tmpl, err := templateFor(a.variant, a.name, "spoke-"+accountID+"-"+region)
	must(a.t, err, "find template")
	for id, r := range tmpl.Resources {
		if r.Type != "AWS::Events::Rule" {
			continue
		}
		if bus, ok := r.Properties["EventBusName"]; ok {
			a.t.Fatalf("rule %s is on the bus %v, want the default bus", id, bus)
		}
		r.Properties["EventBusName"] = s.defaultBus
		adapt(r.Properties)
		for _, target := range r.Properties["Targets"].([]any) {
			target := target.(map[string]any)
			if hub := "arn:aws:events:us-east-1:" + accountID + ":event-bus/" + a.name; target["Arn"] != hub {
				a.t.Fatalf("rule %s has the target %v, want the hub's bus %s", id, target["Arn"], hub)
			}
			target["Arn"] = s.toHub.arn
		}
	}
	d := deploy(a.t, a.name+"-spoke", region, tmpl)
	for _, p := range propertiesOf[functionProperties](a.t, d, lambdaFunction) {
		a.takeFunction(p)
	}
	a.spokes[region] = s
	return s
}

// adapt makes moto_server do with a rule what AWS does.
func adapt(rule map[string]any) {
	for _, target := range rule["Targets"].([]any) {
		// It passes on the whole event; the path is there because there must be one.
		target.(map[string]any)["InputTransformer"] = map[string]any{
			"InputPathsMap": map[string]any{"source": "$.source"}, "InputTemplate": "<aws.events.event.json>",
		}
	}
	// Only one state lets read-only management events through
	// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail-management.html).
	if rule["State"] == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS" {
		return
	}
	pattern := rule["EventPattern"].(map[string]any)
	detail, ok := pattern["detail"].(map[string]any)
	if !ok {
		detail = map[string]any{}
		pattern["detail"] = detail
	}
	detail["readOnly"] = []any{map[string]any{"exists": false}, map[string]any{"anything-but": []any{true}}}
}
