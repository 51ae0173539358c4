package events

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

// googleHead is what tells the shapes of Google Cloud's payloads apart, from one another and from AWS's: a log entry
// (cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry), the body of a Pub/Sub push or a message as it was pulled
// (cloud.google.com/pubsub/docs/push), a CloudEvent around either, and a change as Cloud Asset Inventory reports it
// (cloud.google.com/asset-inventory/docs/reference/rest/v1/TemporalAsset).
type googleHead struct {
	LogName      passed  `json:"logName"`
	ProtoPayload passed  `json:"protoPayload"`
	JSONPayload  passed  `json:"jsonPayload"`
	TextPayload  passed  `json:"textPayload"`
	Message      message `json:"message"`
	Asset        passed  `json:"asset"`
	Window       passed  `json:"window"`
	SpecVersion  passed  `json:"specversion"`
	Data         passed  `json:"data"`
}

// message is a Pub/Sub message, if it has data. Others use that name for a text.
type message struct{ hasData bool }

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (m *message) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != jsontext.KindBeginObject {
		return dec.SkipValue()
	}
	var inner struct {
		Data passed `json:"data"`
	}
	err := json.UnmarshalDecode(dec, &inner)
	m.hasData = inner.Data.isText
	return err
}

// googleShape is one of the shapes of Google Cloud.
type googleShape int

const (
	noGoogle googleShape = iota
	googleEntryShape
	googleMessageShape
	googleAssetShape
	googleCloudEventShape
)

func (h googleHead) shape() googleShape {
	switch {
	case h.LogName.isText && (h.ProtoPayload.isSet || h.JSONPayload.isSet || h.TextPayload.isSet):
		return googleEntryShape
	case h.SpecVersion.isText && h.Data.isObject:
		return googleCloudEventShape
	case h.Message.hasData:
		return googleMessageShape
	case h.Asset.isObject && h.Window.isSet:
		return googleAssetShape
	}
	return noGoogle
}

// googleNotice is a log entry, or a change as Cloud Asset Inventory reports it. Types of fields that decide nothing are left open:
// entries are copied by many tools.
type googleNotice struct {
	LogName   string `json:"logName"`
	InsertID  loose  `json:"insertId"`
	Timestamp loose  `json:"timestamp"`
	Resource  struct {
		Type   string `json:"type"`
		Labels object `json:"labels"`
	} `json:"resource"`
	Operation object   `json:"operation"`
	Split     object   `json:"split"`
	Audit     auditLog `json:"protoPayload"`
	Platform  object   `json:"jsonPayload"`

	Asset      object `json:"asset"`
	PriorAsset object `json:"priorAsset"`
	PriorState string `json:"priorAssetState"`
	Window     object `json:"window"`
	Deleted    bool   `json:"deleted"`
}

// loose is a text of a field that other tools write in other types; "" for those.
type loose string

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (l *loose) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != jsontext.KindString {
		*l = ""
		return dec.SkipValue()
	}
	return json.UnmarshalDecode(dec, (*string)(l))
}

// auditLog is google.cloud.audit.AuditLog (cloud.google.com/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog).
type auditLog struct {
	ServiceName    string `json:"serviceName"`
	MethodName     string `json:"methodName"`
	ResourceName   string `json:"resourceName"`
	Status         object `json:"status"`
	Authentication object `json:"authenticationInfo"`
	Request        object `json:"request"`
	Response       object `json:"response"`
	ServiceData    object `json:"serviceData"`
}

// googleResult is what became of a payload: which notice it is, its events, and why there are none although the kind is understood.
type googleResult struct {
	what   selector
	events []cmek.Event
	why    string
}

// decodeGoogle reads one notice of Google Cloud, in any of its shapes. The result tells which notice it is, also if it is none of ours.
func decodeGoogle(shape googleShape, raw []byte) (r googleResult, err error) {
	for range deepest {
		switch shape {
		case googleCloudEventShape:
			raw, err = innerOf(raw, "data")
		case googleMessageShape:
			if raw, err = messageOf(raw); raw == nil && err == nil {
				return googleResult{what: selector{googleAssets, assetFeed, ""}, why: "the greeting of a new feed"}, nil
			}
		case googleEntryShape, googleAssetShape:
			return decodeNotice(raw)
		default:
			return r, errors.New("not a log entry: neither that nor a message about an asset is in the message")
		}
		if err != nil {
			return r, err
		}
		var head googleHead
		if err := json.Unmarshal(raw, &head, tolerant); err != nil {
			return r, fmt.Errorf("in the message: %w", explain(err))
		}
		shape = head.shape()
	}
	return r, fmt.Errorf("more than %d messages within one another", deepest)
}

// innerOf is a member of an object.
func innerOf(raw []byte, name string) ([]byte, error) {
	var outer object
	if err := json.Unmarshal(raw, &outer, tolerant); err != nil {
		return nil, explain(err)
	}
	return outer[name], nil
}

// sinkAttribute is an attribute of the messages that a log sink sends.
const sinkAttribute = "logging.googleapis.com/timestamp"

// messageOf is the content of a Pub/Sub message; nil for the greeting, a plain text, that Cloud Asset Inventory sends first to each feed
// (cloud.google.com/asset-inventory/docs/monitor-asset-changes).
func messageOf(raw []byte) ([]byte, error) {
	var push struct {
		Message struct {
			Data       string `json:"data"`
			Attributes object `json:"attributes"`
		} `json:"message"`
	}
	if err := json.Unmarshal(raw, &push, tolerant); err != nil {
		return nil, explain(err)
	}
	content, err := base64.StdEncoding.DecodeString(push.Message.Data)
	if err != nil {
		return nil, errors.New("message.data: not base64")
	}
	text := strings.TrimLeft(string(content), " \t\r\n")
	switch {
	case text == "":
		return nil, errors.New("message.data: is missing")
	case text[0] == '{' || jsontext.Value(text).IsValid(tolerant):
		return content, nil
	case push.Message.Attributes.text(sinkAttribute) != "":
		return nil, errors.New("message.data: not a log entry, though it came from a log sink")
	}
	return nil, nil
}

// begunOnly is why people are shown no event of the first entry of an operation. Functions take it as one that is begun.
const begunOnly = "an operation has begun; its last entry shows how it ended"

// decodeNotice reads a log entry, or a change of an asset.
func decodeNotice(raw []byte) (r googleResult, err error) {
	var n googleNotice
	err = json.Unmarshal(raw, &n, tolerant)
	r.what = n.selector()
	if err != nil {
		return r, explain(err)
	}
	row, ok := lookupGoogle[r.what]
	switch {
	case !ok:
	case n.isLaterPart():
		r.why = "a later part of an entry that was split; its first part is the event"
	default:
		if n.isPending() {
			r.why = begunOnly
		}
		if r.events, err = row.events(&n); err != nil {
			return googleResult{what: r.what}, fmt.Errorf("decode %s: %w", r.what, err)
		}
	}
	return r, nil
}

// selector is what the notice is looked up by.
func (n *googleNotice) selector() selector {
	if n.LogName == "" && n.Asset != nil {
		return selector{googleAssets, assetFeed, strings.TrimPrefix(n.Asset.text("assetType"), googleKMS+"/")}
	}
	log, service := logID(n.LogName)
	switch {
	case service == googleKMS && (log == keyEvents || log == keyVersionEvents):
		for _, u := range understoodGoogle {
			if n.hasPlatform(u.name) && u.detailType == log {
				return u.selector
			}
		}
		return selector{service, log, ""}
	case service == "cloudaudit.googleapis.com":
		method := n.Audit.MethodName
		return selector{n.Audit.ServiceName, log, method[strings.LastIndexByte(method, '.')+1:]}
	}
	return selector{cmp.Or(service, n.LogName), cmp.Or(log, "log"), ""}
}

// hasPlatform reports whether the payload of a platform log has the event. No entry was seen yet, so that its name may also be that of
// the message's field, with underscores.
func (n *googleNotice) hasPlatform(event string) bool {
	for name := range n.Platform {
		if event != "" && strings.EqualFold(strings.ReplaceAll(name, "_", ""), event) {
			return true
		}
	}
	return false
}

// logID takes the id out of a log's name, PARENT/logs/ID, whose id is percent-encoded: the last part of it, and what stands before.
func logID(name string) (log, service string) {
	_, id, _ := strings.Cut(name, "/logs/")
	service, log, _ = strings.Cut(strings.NewReplacer("%2F", "/", "%2f", "/").Replace(id), "/")
	return log, service
}

// isPending reports whether the entry is the first of the two of a long-running operation, which does not know yet how it ends.
// An operation that failed at once says so in its first.
func (n *googleNotice) isPending() bool {
	code, _, err := statusOf(n.Audit.Status)
	return n.Operation.text("first") == "true" && n.Operation.text("last") != "true" && code == "" && err == nil
}

// operation names the long-running operation of the entry: an id is one of its producer's
// (cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#LogEntryOperation). It is "" if there is none.
func (n *googleNotice) operation() string {
	id := n.Operation.text("id")
	if id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(n.Operation.text("producer") + "\x00" + id))
	return "operation-" + hex.EncodeToString(sum[:8])
}

// isSplit reports whether the entry is a part of one that was too large. All parts have everything but pieces of the request, the
// response and the metadata (cloud.google.com/logging/docs/audit/split-logs).
func (n *googleNotice) isSplit() bool { return n.Split.text("uid") != "" }

// isLaterPart reports whether the entry is a part behind the first.
func (n *googleNotice) isLaterPart() bool {
	index := n.Split.text("index") // left out if it is 0
	return n.isSplit() && index != "" && index != "0"
}

// events makes the events of a notice, which are begun if it is the first of an operation.
func (row googleEntry) events(n *googleNotice) ([]cmek.Event, error) {
	e := cmek.Event{ID: n.id(), Source: row.String(), Change: row.meanings[0].change, Time: instant(string(n.Timestamp))}
	if err := n.describe(&e); err != nil {
		return nil, err
	}
	list, err := row.read(n, e)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Operation, list[i].Begun = n.operation(), n.isPending()
		if i > 0 && list[i].ID != "" {
			list[i].ID += "-" + strconv.Itoa(i+1)
		}
		if i > 0 && list[i].Operation != "" {
			list[i].Operation += "-" + strconv.Itoa(i+1)
		}
		if list[i].Key != "" {
			list[i].Account, list[i].Region = list[i].Key.Account(), list[i].Key.Location()
		}
		for _, m := range row.meanings {
			if m.change == list[i].Change && !list[i].Succeeded() {
				list[i].Change = m.failed
				break
			}
		}
	}
	return list, nil
}

// id names the entry, "" if it does not name itself. An insert id is unique among the entries of one log and time only; all parts of a
// split entry have one id.
func (n *googleNotice) id() string {
	insertID, at := string(n.InsertID), string(n.Timestamp)
	digest := func(parts ...string) string {
		sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
		return hex.EncodeToString(sum[:8])
	}
	switch {
	case n.LogName == "" && n.Asset != nil:
		return "asset-" + digest(n.Asset.text("name"), n.Window.text("startTime"), n.Asset.text("resource"))
	case n.isSplit():
		return "split-" + digest(n.Split.text("uid"))
	case insertID == "":
		return ""
	case identifier("insert id", insertID) == nil && len(insertID) < 64:
		return strings.Trim(insertID, "-") + "-" + digest(n.LogName, at, insertID)[:8]
	}
	return "entry-" + digest(n.LogName, at, insertID)
}

// describe fills in what an entry of any service holds: who did it, the outcome, and where.
func (n *googleNotice) describe(e *cmek.Event) error {
	a := n.Audit
	who := a.Authentication.text("principalEmail")
	if who == "" {
		_, who, _ = strings.Cut(a.Authentication.text("principalSubject"), ":")
		if strings.HasPrefix(who, "//") { // principal://, a workforce or workload identity
			who = a.Authentication.text("principalSubject")
		}
	}
	e.Principal, e.Caller = bounded(who), cmek.Principal(who).Account()
	if !cmek.IsProject(e.Caller) {
		e.Caller = ""
	}
	status := a.Status
	if status == nil {
		for _, event := range n.Platform {
			var inner object
			if json.Unmarshal(event, &inner, tolerant) == nil && inner.object("status") != nil {
				status = inner.object("status")
			}
		}
	}
	var err error
	if e.Error, e.Failure, err = statusOf(status); err != nil {
		return err
	}
	if n.isSplit() {
		setParameter(e, "omitted", "true")
	}
	e.Region = bounded(n.Resource.Labels.text("location"))
	if e.Account = n.project(); e.Account == "" {
		setParameter(e, "resource", n.nodeOfLog())
	}
	return nil
}

// project is the project that the entry is about: of its monitored resource, else of the log; "" if it is none, or has no name that a
// project can have.
func (n *googleNotice) project() string {
	of := func(name string) string {
		parts := strings.Split(name, "/")
		if len(parts) > 1 && parts[0] == "projects" && cmek.IsProject(parts[1]) {
			return parts[1]
		}
		return ""
	}
	if label := n.Resource.Labels.text("project_id"); cmek.IsProject(label) {
		return label
	}
	return cmp.Or(of(n.Audit.ResourceName), of(n.LogName))
}

// nodeOfLog is the organization, folder or billing account that the log belongs to; "" for one of a project.
func (n *googleNotice) nodeOfLog() string {
	parts := strings.Split(n.LogName, "/")
	if len(parts) > 2 && (parts[0] == "organizations" || parts[0] == "folders" || parts[0] == "billingAccounts") && isNodeID(parts[1]) {
		return parts[0] + "/" + parts[1]
	}
	return ""
}

// isNodeID reports whether s can be the id of a folder, an organization or a billing account.
func isNodeID(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, letters+digits+"-") == "" && s[0] != '-'
}

// rpcCodes are the canonical codes (google/rpc/code.proto) by their number, each with the class of its failures.
var rpcCodes = []struct {
	name    string
	failure cmek.Failure
}{
	{"OK", ""},
	{"CANCELLED", cmek.FailurePassing}, //nolint:misspell // so it stands in code.proto
	{"UNKNOWN", cmek.FailureUnknown},
	{"INVALID_ARGUMENT", cmek.FailureRequest},
	{"DEADLINE_EXCEEDED", cmek.FailurePassing},
	{"NOT_FOUND", cmek.FailureMissing},
	{"ALREADY_EXISTS", cmek.FailureRequest},
	{"PERMISSION_DENIED", cmek.FailureDenied},
	{"RESOURCE_EXHAUSTED", cmek.FailurePassing},
	{"FAILED_PRECONDITION", cmek.FailureUnfit}, // "… is not enabled, current state is: DISABLED."
	{"ABORTED", cmek.FailurePassing},
	{"OUT_OF_RANGE", cmek.FailureRequest},
	{"UNIMPLEMENTED", cmek.FailureRequest},
	{"INTERNAL", cmek.FailurePassing},
	{"UNAVAILABLE", cmek.FailurePassing},
	{"DATA_LOSS", cmek.FailureUnknown},
	{"UNAUTHENTICATED", cmek.FailureDenied},
}

// statusOf classes a google.rpc.Status. Only the code counts: severities of entries differ, and callers choose parts of messages. A code
// that cannot be read is an error, since neither success nor failure may be assumed.
func statusOf(status object) (code string, failure cmek.Failure, err error) {
	switch value := status["code"]; value.Kind() {
	case jsontext.KindInvalid, jsontext.KindNull:
		return "", "", nil
	case jsontext.KindNumber, jsontext.KindString:
		text := status.text("code")
		for number, known := range rpcCodes {
			if text != strconv.Itoa(number) && text != known.name {
				continue
			}
			if number == 0 {
				return "", "", nil
			}
			// An external key manager that does not answer is reported with details (cloud.google.com/kms/docs/audit-logging).
			if known.name == "UNAVAILABLE" && status.text("details") != "" {
				return known.name, cmek.FailureUnfit, nil
			}
			return known.name, known.failure, nil
		}
		if number, err := strconv.Atoi(text); err == nil && number > 0 {
			return "CODE_" + strconv.Itoa(number), cmek.FailureUnknown, nil
		}
	}
	return "", "", fmt.Errorf("status.code %q: unknown, want a number of google.rpc.Code", clip(string(status["code"])))
}
