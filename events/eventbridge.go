package events

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Decode reads one notice, by its shape: an EventBridge event, as a rule delivers it to its target, or what Google Cloud sends: a log entry,
// alone or in the body of a Pub/Sub push, what Cloud Asset Inventory publishes, and a CloudEvent around any of these.
//
// No events and no error mean that the payload is not for us: a notice that is not in [Table]. Such payloads cost one scan
// of their bytes. So do the first of the two entries of a long-running operation of Google Cloud, the later parts of an entry that was split,
// and the greeting of Cloud Asset Inventory.
//
// An error means that the payload cannot be understood although it claims to be for us, or that it has none of these shapes.
// It names the field and the reason, quotes at most a short piece of the payload, and comes without events.
//
// Every event has a Source that is the String of its row, and the Change of its row, or the row's Failed if Error is set; Failure
// is set if and only if Error is. Key is the ARN of one key in one Region; it is an alias ARN if the notice names nothing better,
// or if AWS manages the key ([cmek.KeyURI.AWSManaged]), and "" if it names no key (or the call failed and names none that could
// exist), but a rotation always names its key. Account and Region are those of the Key; without a key, Account is that of the
// Identity or of the account that the call is about, and else both are those where the call was recorded. ID, Version, Previous and
// Time may be zero. A rotation that is reported twice, by KMS and by CloudTrail, gives two events with different IDs for the same
// Change of the same Key, with the same Version if both notices carry it. KMS's own notices about keys that AWS manages look like
// those about others. A ReEncrypt from one key to another gives two events, one for each key.
//
// On Google Cloud the Key is the name of a key without its version, under the id of its project, or the number if the notice does not have
// the id. On is the version that was acted on, Version the new primary one. An event about a folder, an organization or a billing account
// has no Account. One call that changes several things gives an event for each. The first of the two entries of a long-running operation
// gives events that are Begun, unless the operation failed at once.
func Decode(payload []byte) ([]cmek.Event, error) {
	if len(payload) > largest {
		return nil, fmt.Errorf("not an EventBridge event: %d bytes are more than EventBridge delivers", len(payload))
	}
	var head struct {
		envelope
		googleHead
	}
	if err := json.Unmarshal(payload, &head, tolerant); err != nil {
		if foreign(payload) {
			return nil, nil
		}
		return nil, explain(err)
	}
	if head.Source == "" || head.DetailType == "" {
		if shape := head.shape(); shape != noGoogle {
			r, err := decodeGoogle(shape, payload)
			return r.events, err
		}
		return nil, errors.New("not an EventBridge event: source or detail-type is missing")
	}
	row, ok := lookup[head.selector()]
	if !ok {
		return nil, nil
	}
	return row.decodeEnvelope(payload)
}

// largest is twice the size of an EventBridge event, 1 MB (docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html).
const largest = 2 << 20

// envelope decides whether an EventBridge event is for us.
type envelope struct {
	DetailType string `json:"detail-type"`
	Source     string `json:"source"`
	Detail     struct {
		EventName string `json:"eventName"`
		bulk
	} `json:"detail"`
}

func (e *envelope) selector() selector { return selector{e.Source, e.DetailType, e.Detail.EventName} }

// bulk is the greater part of a CloudTrail record, named so that it is passed over in one piece: the decoder takes names
// that it does not know, and all below them, token by token.
type bulk struct {
	UserIdentity        passed `json:"userIdentity"`
	RequestParameters   passed `json:"requestParameters"`
	ResponseElements    passed `json:"responseElements"`
	AdditionalEventData passed `json:"additionalEventData"`
	Resources           passed `json:"resources"`
	TLSDetails          passed `json:"tlsDetails"`
}

// passed is a value of any type that nobody reads. isSet is false for null.
type passed struct{ isSet, isText, isObject bool }

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (p *passed) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	kind := dec.PeekKind()
	*p = passed{kind != jsontext.KindNull, kind == jsontext.KindString, kind == jsontext.KindBeginObject}
	_, err := dec.ReadValue()
	return err
}

// decodeEnvelope reads a notice of the row out of an EventBridge event.
func (row entry) decodeEnvelope(payload []byte) ([]cmek.Event, error) {
	var n notice
	if err := json.Unmarshal(payload, &n, tolerant); err != nil {
		return nil, explain(err)
	}
	if n.Version != "0" {
		return nil, fmt.Errorf("decode %s: version %q: unknown, want \"0\"", row, clip(n.Version))
	}
	return row.events(&n)
}

// decodeRecord reads a notice of the row out of a CloudTrail record without an envelope.
func (row entry) decodeRecord(payload []byte) ([]cmek.Event, error) {
	var n notice
	if err := json.Unmarshal(payload, &n.Detail, tolerant); err != nil {
		return nil, explain(err)
	}
	return row.events(&n)
}

// events makes the events of what was read: one, or one for each key that the call used.
func (row entry) events(n *notice) ([]cmek.Event, error) {
	e, err := row.event(n)
	if err != nil {
		return nil, err
	}
	list := []cmek.Event{e}
	if row.Name == "ReEncrypt" && e.Succeeded() {
		if key := otherKey(&n.Detail.record, e.Key); key != "" {
			e.Key, e.Account, e.Region, e.Parameters = key, key.Account(), key.Location(), maps.Clone(e.Parameters)
			if e.ID != "" {
				e.ID += "-2"
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// event makes the event of what was read.
func (row entry) event(n *notice) (cmek.Event, error) {
	e := cmek.Event{ID: n.ID, Source: row.String(), Change: row.Change, Time: instant(n.Time), Account: n.Account, Region: n.Region}
	if row.Name != "" {
		if err := n.Detail.check(row.Row); err != nil {
			return cmek.Event{}, fmt.Errorf("decode %s: %w", row, err)
		}
		n.Detail.describe(&e, facts[row.Change])
	}
	if !e.Succeeded() {
		e.Change = row.Failed
	}
	err := cmp.Or(row.read(n, &e), identifier("event id", e.ID), identifier("id of the amended event", e.Amends))
	if err != nil {
		return cmek.Event{}, fmt.Errorf("decode %s: %w", row, err)
	}
	e.Account, e.Region = bounded(e.Account), bounded(e.Region)
	return e, nil
}

// tolerant accepts what Go's JSON v2 would refuse and AWS does not promise to avoid. Names stay case-sensitive.
var tolerant = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// notice is an EventBridge envelope (docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html) with all
// that any reader wants of its detail, so that one scan reads it.
type notice struct {
	Version   string   `json:"version"`
	ID        string   `json:"id"`
	Account   string   `json:"account"`
	Time      string   `json:"time"`
	Region    string   `json:"region"`
	Resources []string `json:"resources"`
	Detail    detail   `json:"detail"`
}

type detail struct {
	kmsDetail
	record
}

// kmsDetail is the detail of an event that AWS KMS sends by itself.
type kmsDetail struct {
	KeyID                 string `json:"key-id"`
	KeyMaterialID         string `json:"key-material-id"`
	CurrentKeyMaterialID  string `json:"current-key-material-id"`
	PreviousKeyMaterialID string `json:"previous-key-material-id"`
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

// explain is one short line about why a payload could not be read, without its values.
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
	return fmt.Errorf("read JSON: %w", err)
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

// instant reads an RFC 3339 time, or one as CloudTrail Lake writes it, in UTC. A time that cannot be read is unknown, never an
// error: nothing is decided upon it.
func instant(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t, err = time.Parse(time.DateTime, strings.TrimSuffix(strings.Replace(text, "T", " ", 1), " UTC"))
	}
	t = t.UTC()
	// The offset may carry t out of the years that RFC 3339 can write.
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// clip keeps hostile input out of errors, and so out of logs, beyond a readable length.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// bounded keeps a fact from outside to a length that a ledger and an alert can carry.
func bounded(s string) string {
	const most = 4096
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + cmek.Shortened
	}
	return s
}
