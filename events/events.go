// Package events turns cloud providers' payloads into [cmek.Event]s, and says which notices it understands.
//
// An event is a hint: it says where to look, never what to do. The package therefore asks of a payload only what tells
// the key, its version and the time, and accepts every field it does not know.
package events

import (
	"slices"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Row is one kind of notice that [Decode] understands. What selects events (an EventBridge rule) is built from the same
// rows, so the two cannot drift apart.
type Row struct {
	// Source and DetailType are those of the EventBridge envelope.
	Source, DetailType string
	// Name is the detail.eventName of a CloudTrail record, "" for notices that a service sends by itself.
	Name string
	// Change is what the notice means.
	Change cmek.Change
}

// String is "source/detail-type" or "source/detail-type/name": the [cmek.Event.Source] of events decoded from such a
// notice.
func (r Row) String() string {
	if r.Name == "" {
		return r.Source + "/" + r.DetailType
	}
	return r.Source + "/" + r.DetailType + "/" + r.Name
}

// Table returns the kinds of notice that [Decode] understands, each once, in a fixed order. The caller may change the
// slice.
func Table() []Row {
	rows := make([]Row, len(understood))
	for i, u := range understood {
		rows[i] = u.Row
	}
	return rows
}

// serviceEvent is the detail type of what CloudTrail records of a service's own doing; calls have another one
// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html).
const serviceEvent = "AWS Service Event via CloudTrail"

// understood is the table: what is not in it is not for us. The call RotateKeyOnDemand is missing on purpose: it only asks
// for a rotation, whose completion is told by the two rows here
// (docs.aws.amazon.com/kms/latest/developerguide/ct-rotatekeyondemand.html).
var understood = []struct {
	Row
	decode decoder
}{
	{Row{"aws.kms", "KMS CMK Rotation", "", cmek.Rotated}, rotationNotice},
	{Row{"aws.kms", serviceEvent, "RotateKey", cmek.Rotated}, rotateKeyRecord},
}

// decoder reads the event out of a notice; it leaves Source and Change to its caller. errNotForUs means that nothing is
// wrong with the notice, but that no key of ours can be concerned.
type decoder func(*notice) (cmek.Event, error)

// selector is what a notice is looked up by.
type selector struct{ source, detailType, name string }

// positions maps a selector to its place in understood.
var positions = func() map[selector]int {
	m := make(map[selector]int, len(understood))
	for i, u := range understood {
		m[selector{u.Source, u.DetailType, u.Name}] = i
	}
	return m
}()

// understandsType reports whether any row has the source and the detail type.
func understandsType(source, detailType string) bool {
	return slices.ContainsFunc(Table(), func(r Row) bool { return r.Source == source && r.DetailType == detailType })
}
