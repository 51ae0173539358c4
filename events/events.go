// Package events turns cloud providers' payloads into [cmek.Event]s, and lists the notices that it understands.
//
// An event is a hint: it names what to read, never what to do. The package therefore takes from a payload only the key and its
// circumstances, and accepts every field it does not know.
package events

import (
	"github.com/keyturn/keyturn/internal/cmek"
)

// Row is one kind of notice that [Decode] understands, with one change that it can mean. What selects events (an EventBridge rule, the
// filter of a log sink) is built from the same rows, so the two cannot drift apart.
type Row struct {
	// Source and DetailType are those of the EventBridge envelope. On Google Cloud they are the service and the log: the last part of
	// the log's id, or "feed" for what Cloud Asset Inventory reports.
	Source, DetailType string
	// Name is the detail.eventName of a CloudTrail record, "" for notices that a service sends by itself. On Google Cloud it is the last
	// segment of the method's name, the event of a platform log, or the type of an asset.
	Name string
	// Change is what the notice means.
	Change cmek.Change
	// Failed is what it means when the call failed. Mostly it is Change again: somebody tried.
	Failed cmek.Change
	// ReadOnly: the call only reads, or uses a key. Google Cloud records it in Data Access logs, which are off unless somebody enables
	// them. CloudTrail records it as a read-only management event, which only a rule in the state
	// ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS receives
	// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail-management.html).
	ReadOnly bool
}

// String is "source/detail-type" or "source/detail-type/name": the [cmek.Event.Source] of events decoded from such a
// notice.
func (r Row) String() string { return selector{r.Source, r.DetailType, r.Name}.String() }

// Table returns the kinds of notice that [Decode] understands, of every cloud, in a fixed order. The caller may change the slice.
func Table() []Row { return append(AWS(), Google()...) }

// AWS returns the kinds that arrive through EventBridge: events that services send by themselves, and CloudTrail's records. Each stands
// there once.
func AWS() []Row {
	rows := make([]Row, len(understood))
	for i, u := range understood {
		rows[i] = u.Row
	}
	return rows
}

// Google returns the kinds that arrive through Pub/Sub: entries of audit logs and of the platform logs of Cloud KMS from log sinks, and
// what feeds of Cloud Asset Inventory report. A kind has a row for each change that it can mean.
func Google() (rows []Row) {
	for _, u := range understoodGoogle {
		for _, m := range u.meanings {
			rows = append(rows, Row{u.source, u.detailType, u.name, m.change, m.failed, u.detailType == dataAccess})
		}
	}
	return rows
}

// selector is what a notice is looked up by.
type selector struct{ source, detailType, name string }

func (s selector) String() string {
	if s.name == "" {
		return s.source + "/" + s.detailType
	}
	return s.source + "/" + s.detailType + "/" + s.name
}

// lookup finds the row of a selector.
var lookup = func() map[selector]entry {
	m := make(map[selector]entry, len(understood))
	for _, u := range understood {
		m[selector{u.Source, u.DetailType, u.Name}] = u
	}
	return m
}()
