package events

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

// holdsRecords reports whether a member of that name, whose value begins with c, is read item by item: lists of records, which
// may be longer than memory, and what is around such lists.
func holdsRecords(name string, c byte) bool {
	switch name {
	case "Records", // a CloudTrail log file, a Lambda batch
		"Messages",        // aws sqs receive-message
		"Events",          // aws cloudtrail lookup-events
		"events",          // aws logs filter-log-events, get-log-events
		"logEvents",       // a CloudWatch Logs subscription
		"Findings",        // aws guardduty get-findings, aws securityhub get-findings
		"QueryResultRows", // aws cloudtrail get-query-results
		"Rows":            // aws athena get-query-results
		return c == '['
	case "ResultSet", // around the rows of Athena
		"requestPayload": // a destination of a Lambda function: what the function was invoked with
		return c == '{' || c == '['
	}
	return false
}

// isContent reports whether a member of that name is the text of a message.
func isContent(name string) bool {
	switch name {
	case "body", "Body", // an SQS message, as Lambda gets it and as the command line prints it
		"Message",         // an SNS notification
		"message",         // CloudWatch Logs
		"CloudTrailEvent": // an answer of CloudTrail's LookupEvents
		return true
	}
	return false
}

// item is what tells the kinds of object apart, and what is needed to pass over those that are not for us.
type item struct {
	envelope
	recordHead
	bulk
	googleHead
	ServiceEventDetails passed `json:"serviceEventDetails"`
	// A row of Athena, whose names are in lower case.
	RowSource string `json:"eventsource"`
	RowName   string `json:"eventname"`
}

// isRow reports whether it is a row of a table: objects became text there.
func (i *item) isRow() bool {
	return i.EventSource == "" && i.RowSource != "" && i.RowName != "" ||
		i.UserIdentity.isText || i.RequestParameters.isText || i.ResponseElements.isText ||
		i.AdditionalEventData.isText || i.Resources.isText || i.ServiceEventDetails.isText
}

// record decodes one object. What it wraps beside its members was read before.
func (s *stream) record(raw []byte, place Record, l *list, wraps bool) error {
	if err := l.flush(s); err != nil {
		return err
	}
	var i item
	if err := json.Unmarshal(raw, &i, tolerant); err != nil {
		switch wrong, isSyntax := errors.AsType[*jsontext.SyntacticError](err); {
		case isSyntax:
			return s.unknown(place, &syntaxError{offset: wrong.ByteOffset, why: clip(wrong.Err.Error())})
		case foreign(raw):
			s.found++
			return s.emit(place, nil)
		}
		return s.unknown(place, explain(err))
	}
	var what selector
	var decode func(entry, []byte) ([]cmek.Event, error)
	switch noRecord := i.otherThanRecord(); {
	case noRecord != "":
		s.found++
		return s.emit(place, errors.New("not an API record: "+noRecord))
	case i.Source != "" && i.DetailType != "":
		what, decode = i.envelope.selector(), entry.decodeEnvelope
	case (i.EventSource != "" || i.RowSource != "") && i.isRow():
		return s.row(raw, place)
	case i.EventSource != "" && i.EventName != "":
		what, decode = i.recordHead.selector(), entry.decodeRecord
	case i.shape() != noGoogle:
		return s.google(i.shape(), raw, place)
	case l.takesColumn(raw, place):
		return nil
	case bytes.Contains(raw, []byte(`"VarCharValue"`)):
		return s.athenaRow(raw, place)
	default:
		return s.unwrap(raw, place, wraps)
	}
	return s.decode(what, decode, raw, place)
}

// google reads a record of Google Cloud.
func (s *stream) google(shape googleShape, raw []byte, place Record) error {
	r, err := decodeGoogle(shape, raw)
	if r.what != (selector{}) {
		place.Source = clip(r.what.String())
	}
	place.Why = r.why
	s.found++
	if r.why == begunOnly {
		r.events = nil
	}
	return s.emitAll(place, r.events, err)
}

// decode reads a record of a known shape.
func (s *stream) decode(what selector, decode func(entry, []byte) ([]cmek.Event, error), raw []byte, place Record) error {
	place.Source = clip(what.String())
	s.found++
	row, ok := lookup[what]
	if !ok {
		return s.emit(place, nil)
	}
	list, err := decode(row, raw)
	return s.emitAll(place, list, err)
}

// emitAll reports the events of a record, or that there are none.
func (s *stream) emitAll(place Record, list []cmek.Event, err error) error {
	if err != nil || len(list) == 0 {
		return s.emit(place, err)
	}
	for _, event := range list {
		place.Event = &event
		if err := s.emit(place, nil); err != nil {
			return err
		}
	}
	return nil
}

// otherThanRecord says what it is that looks like a record, and reports no call; "" if it may be one.
func (i *item) otherThanRecord() string {
	switch {
	case i.EventType == "AwsCloudTrailInsight", i.Source == "aws.cloudtrail" && i.DetailType == "AWS Insight via CloudTrail":
		return "a CloudTrail Insights event reports an unusual rate of calls, not a call"
	case i.Source == "aws.guardduty" && strings.Contains(i.DetailType, "Finding"):
		return guardDutyFinding
	case i.Source == "aws.securityhub" && (strings.Contains(i.DetailType, "Finding") || strings.Contains(i.DetailType, "Insight")):
		return securityHubFinding
	}
	return ""
}

const (
	guardDutyFinding   = "a GuardDuty finding; explain the CloudTrail record of the call that it names"
	securityHubFinding = "a Security Hub finding; explain the CloudTrail record of the call that it is about"
	ocsfFinding        = "a finding in OCSF, such as one of Security Hub; explain the CloudTrail record of the call that it is about"
)

// errNoRecord is that of an answer of LookupEvents of which the wrong fields were kept: the record is in one of them.
var errNoRecord = errors.New("not an event: what lookup-events lists, without the CloudTrailEvent, which is the record; keep it in the --query")

// isLookedUp reports whether the object is an entry of LookupEvents
// (docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_Event.html).
func isLookedUp(raw []byte) bool {
	var e struct {
		EventID     string `json:"EventId"`
		EventName   string `json:"EventName"`
		EventSource string `json:"EventSource"`
		Username    string `json:"Username"`
	}
	return json.Unmarshal(raw, &e, tolerant) == nil && e.EventName != "" && e.EventID+e.EventSource+e.Username != ""
}

// finding says of which service it is one: as the API and as EventBridge write it
// (docs.aws.amazon.com/guardduty/latest/APIReference/API_Finding.html,
// docs.aws.amazon.com/securityhub/latest/userguide/securityhub-findings-format.html; schema.ocsf.io, Findings); "" if it is none.
func finding(raw []byte) string {
	var f struct {
		ProductARN string `json:"ProductArn"`
		ARN        string `json:"Arn"`
		Detail     string `json:"arn"`
		Class      int    `json:"class_uid"`
		Info       passed `json:"finding_info"`
	}
	if json.Unmarshal(raw, &f, tolerant) != nil {
		return ""
	}
	switch arn := cmp.Or(f.ARN, f.Detail); {
	case f.ProductARN != "":
		return securityHubFinding
	case strings.Contains(arn, ":guardduty:") && strings.Contains(arn, "/finding/"):
		return guardDutyFinding
	case f.Class > 0 && f.Info.isObject:
		return ocsfFinding
	}
	return ""
}

const (
	// deepest is how many messages may be around an event: SNS sends through SQS, and somebody may have kept that in a third.
	deepest = 4
	// mostParts is how many objects that are no records may be around one, beside the lists that holdsRecords knows.
	mostParts = 16
)

// unwrap looks for records in the members of an object that is none: in the text of a message, where anything else is an
// error, and in all others, for people give their own names to what they take out of an answer.
func (s *stream) unwrap(raw []byte, place Record, wraps bool) error {
	if kind := finding(raw); kind != "" {
		s.found++
		return s.emit(place, errors.New("not an API record: "+kind))
	}
	before, reported := s.found, s.reported
	var dull func() error // the text of a message that can hold no record
	d := jsontext.NewDecoder(bytes.NewReader(raw), tolerant)
	_, err := d.ReadToken()
	for err == nil && d.PeekKind() != jsontext.KindEndObject {
		var token jsontext.Token
		if token, err = d.ReadToken(); err != nil {
			break
		}
		name := token.String()
		var value jsontext.Value
		if value, err = d.ReadValue(); err != nil {
			break
		}
		var found error
		dull, found = s.member(name, value, place, dull)
		if found != nil {
			return found
		}
	}
	hidden := s.hidden
	if !s.quiet {
		s.hidden = nil
	}
	switch {
	case err != nil:
		return s.unknown(place, explain(err))
	case s.found > before && hidden != nil && !s.quiet:
		return hidden()
	case s.found > before, s.reported > reported, wraps:
		return nil
	case dull != nil:
		return dull()
	case isLookedUp(raw):
		return s.unknown(place, errNoRecord)
	}
	return s.unknown(place, errors.New("not an event: neither an EventBridge event nor a CloudTrail record, nor anything around one"))
}

// member looks for records in the member of an object. It returns how to report the text of a message that can hold none.
func (s *stream) member(name string, value jsontext.Value, place Record, dull func() error) (func() error, error) {
	kind, content := value.Kind(), []byte(value)
	place.Pointer = string(jsontext.Pointer(place.Pointer).AppendToken(strings.ToValidUTF8(name, "\ufffd")))
	isText := kind == jsontext.KindString
	switch {
	case isText:
		var err error
		if content, err = unquoted(value); err != nil {
			return dull, s.unknown(place, explain(err))
		}
		if len(content) == 0 {
			return dull, nil
		}
	case kind != jsontext.KindBeginObject && kind != jsontext.KindBeginArray:
		return dull, nil
	}
	if isText && !mayHoldRecords(content) {
		if dull == nil && isContent(name) {
			dull = func() error { return s.part(content, place, true, s.quiet) }
		}
		return dull, nil
	}
	return dull, s.part(content, place, isText, s.quiet || !isContent(name) && name != "Sns")
}

// part reads the documents in a part of a record: the text of a message, or a member of it.
func (s *stream) part(content []byte, place Record, isText, quiet bool) error {
	p := stream{w: newPart(content), yield: s.yield, within: &place, messages: s.messages, parts: s.parts, quiet: quiet, hidden: s.hidden}
	if isText {
		p.messages++
	} else {
		p.parts++
	}
	if p.messages > deepest || p.parts > mostParts {
		return s.emit(place, fmt.Errorf("more than %d messages or %d objects within one another", deepest, mostParts))
	}
	err := p.read()
	s.found += p.found
	s.reported += p.reported
	if s.hidden = p.hidden; s.hidden == nil && isText && p.found > 0 {
		s.hidden = p.doubt
	}
	return err
}

// mayHoldRecords reports whether there can be an object in a text.
func mayHoldRecords(text []byte) bool { return bytes.IndexByte(text, '{') >= 0 }

// unquoted is the content of a JSON string.
func unquoted(value []byte) ([]byte, error) {
	var text string
	err := json.Unmarshal(value, &text, tolerant)
	return []byte(text), err
}

// list is what is to be known of the items of an array that came before.
type list struct {
	// plain are items that are no objects. They are reported, unless records stand beside them as text: then it is a row that
	// somebody chose, as by --query 'Events[].[EventName,CloudTrailEvent]'.
	plains   []plain
	hasTexts bool
	table
}

type plain struct {
	place Record
	err   error
}

// plain takes note of an item that is no object.
func (l *list) plain(s *stream, place Record, err error) error {
	const most = 100
	switch {
	case l == nil:
		return s.unknown(place, err)
	case l.hasTexts:
		return nil
	}
	l.plains = append(l.plains, plain{place, err})
	if len(l.plains) > most {
		return l.flush(s)
	}
	return nil
}

// holdTexts is called when an item was a text with a record.
func (l *list) holdTexts() { l.hasTexts, l.plains = true, nil }

// flush reports the plain items.
func (l *list) flush(s *stream) error {
	if l == nil {
		return nil
	}
	plains := l.plains
	l.plains = nil
	for _, p := range plains {
		if err := s.unknown(p.place, p.err); err != nil {
			return err
		}
	}
	return nil
}

// end is called after the last item.
func (l *list) end(s *stream) error {
	if err := l.flush(s); err != nil {
		return err
	}
	if len(l.names) == 0 {
		return nil
	}
	row := append(bytes.TrimSuffix(l.columns, []byte(",")), '}')
	l.names = nil
	return s.record(row, l.place, nil, false)
}
