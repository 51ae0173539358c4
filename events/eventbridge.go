package events

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Decode reads one EventBridge event, as a rule delivers it to its target.
//
// No events and no error mean that the payload is not for us: a notice that is not in [Table], a call that failed, a
// notice about something that is no KMS key. Such payloads cost little more than one scan of their bytes.
//
// An error means that the payload cannot be understood although it claims to be for us, or that it is not an EventBridge
// event at all. It names the field and the reason, quotes at most a short piece of the payload, and comes without events.
//
// Every event has a Change, a Source that is the String of its row, and a Key that is an ARN of one key in one Region;
// Account and Region are those of that ARN. ID, Version, Previous and Time may be zero. A rotation that is told twice, by
// KMS and by CloudTrail, gives two events with different IDs for the same Change of the same Key, with the same Version
// if both notices carry it. Keys that AWS manages rotate too and look the same on the wire.
func Decode(payload []byte) ([]cmek.Event, error) {
	var n notice
	if err := json.Unmarshal(payload, &n, tolerant); err != nil {
		if foreign(payload) {
			return nil, nil
		}
		return nil, explain(err)
	}
	if n.Source == "" || n.DetailType == "" {
		return nil, errors.New("not an EventBridge event: source or detail-type is missing")
	}
	position, ok := positions[selector{n.Source, n.DetailType, n.Detail.EventName}]
	if !ok || n.Detail.ErrorCode != "" {
		return nil, nil
	}
	row := understood[position]
	if n.Version != "0" {
		return nil, fmt.Errorf("decode %s: version %q: unknown, want \"0\"", row, clip(n.Version))
	}
	event, err := row.decode(&n)
	if errors.Is(err, errNotForUs) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", row, err)
	}
	event.Source, event.Change = row.String(), row.Change
	return []cmek.Event{event}, nil
}

// errNotForUs ends the decoding of a notice that is in the table but concerns no KMS key.
var errNotForUs = errors.New("not for us")

// tolerant accepts what Go's JSON v2 would refuse and AWS does not promise to avoid. Names stay case-sensitive.
var tolerant = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// notice is an EventBridge envelope (docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html) with all
// that any decoder wants of its detail, so that a payload is scanned once.
type notice struct {
	Version    string   `json:"version"`
	ID         string   `json:"id"`
	DetailType string   `json:"detail-type"`
	Source     string   `json:"source"`
	Account    string   `json:"account"`
	Time       string   `json:"time"`
	Region     string   `json:"region"`
	Resources  []string `json:"resources"`
	Detail     struct {
		kmsDetail
		record
	} `json:"detail"`
}

// record is a CloudTrail record
// (docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html).
type record struct {
	EventVersion       string     `json:"eventVersion"`
	EventTime          string     `json:"eventTime"`
	EventSource        string     `json:"eventSource"`
	EventName          string     `json:"eventName"`
	EventType          string     `json:"eventType"`
	EventID            string     `json:"eventID"`
	AWSRegion          string     `json:"awsRegion"`
	RecipientAccountID string     `json:"recipientAccountId"`
	ErrorCode          string     `json:"errorCode"`
	Resources          []resource `json:"resources"`
	ResponseElements   struct {
		KeyID string `json:"keyId"`
	} `json:"responseElements"`
	ServiceEventDetails struct {
		KeyID                 string `json:"keyId"`
		CurrentKeyMaterialID  string `json:"currentKeyMaterialId"`
		PreviousKeyMaterialID string `json:"previousKeyMaterialId"`
	} `json:"serviceEventDetails"`
}

// resource is something that a CloudTrail record concerns. AWS writes ARN; tools that normalise records write arn.
type resource struct {
	ARN        string `json:"ARN"`
	Normalised string `json:"arn"`
}

// check makes sure that the notice carries a CloudTrail record of the type and service that its envelope announces.
// CloudTrail adds fields under a new minor version; only a new major version may change their meaning.
func (r *record) check(service, eventType string) error {
	if major, _, _ := strings.Cut(r.EventVersion, "."); major != "1" {
		return fmt.Errorf("detail.eventVersion %q: unknown version, want 1.x", clip(r.EventVersion))
	}
	if r.EventSource != service {
		return fmt.Errorf("detail.eventSource %q: want %s", clip(r.EventSource), service)
	}
	if r.EventType != eventType {
		return fmt.Errorf("detail.eventType %q: want %s", clip(r.EventType), eventType)
	}
	return nil
}

// foreign reports whether a payload with fields of unexpected types is well-formed and of a kind that no row knows.
func foreign(payload []byte) bool {
	var head struct {
		DetailType string `json:"detail-type"`
		Source     string `json:"source"`
	}
	err := json.Unmarshal(payload, &head, tolerant)
	return err == nil && head.Source != "" && head.DetailType != "" && !understandsType(head.Source, head.DetailType)
}

// explain says in one short line why a payload could not be read, without its values.
func explain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: it ends too early")
	}
	if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
		field := strings.ReplaceAll("payload"+string(wrong.JSONPointer), "/", ".")
		return fmt.Errorf("%s: got %s, want %s", clip(field), jsonKind(wrong.JSONKind), goType(wrong.GoType))
	}
	if wrong, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("not JSON: byte %d: %s", wrong.ByteOffset, clip(wrong.Err.Error()))
	}
	return fmt.Errorf("not JSON: %s", clip(err.Error()))
}

// jsonKind names the JSON type that was found.
func jsonKind(k jsontext.Kind) string {
	switch k {
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	}
	return "a " + k.String()
}

// goType names the JSON type that a field of a notice is read from.
func goType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}

// identifier checks an id that came from outside. "" passes: no notice is refused for an id that it leaves out.
func identifier(name, id string) error {
	const longest = 128
	if len(id) > longest || strings.Trim(id, letters+digits+"-") != "" {
		return fmt.Errorf("%s %q: want at most %d letters, digits and hyphens", name, clip(id), longest)
	}
	return nil
}

// instant reads an RFC 3339 time. A time that cannot be read is unknown, never an error: nothing is decided upon it.
func instant(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	t = t.UTC()
	// The offset may carry t out of the years that RFC 3339 can write.
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)

// clip keeps hostile input out of errors, and so out of logs, beyond a readable length.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
