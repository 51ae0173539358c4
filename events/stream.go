package events

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Record is one notice of a stream.
type Record struct {
	// Offset is where the record begins, in bytes from the start of the stream. Pointer (RFC 6901) leads to it from the
	// top of its JSON document: "/Records/3", or "" if it is the whole document. A record in the text of a message has
	// the offset of the message, and its pointer goes on within that text: "/Records/0/body".
	Offset  int64
	Pointer string
	// Source tells which notice it is, as [Row.String] writes it, also for notices that are not for us; "" if it cannot be
	// told.
	Source string
	// Event is nil if the record is not for us.
	Event *cmek.Event
}

// DecodeStream reads records in whatever people keep them in: EventBridge events and bare CloudTrail records; CloudTrail log
// files and the answers of its LookupEvents; SQS messages, alone, in a Lambda batch or as the SQS command line prints them;
// SNS notifications; arrays of events, records and messages; and any number of such documents one after the other (NDJSON).
// One record is held in memory at a time, so the size of the stream does not matter, but that of a record does.
//
// The records come in the order of the stream. An error tells that the record it comes with cannot be understood, as for
// [Decode]; the next one follows. After bytes that are no JSON, or an error of the reader, nothing follows.
func DecodeStream(r io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s := stream{dec: jsontext.NewDecoder(r, tolerant), yield: yield}
		if err := s.read(); err != nil && !errors.Is(err, errStopped) {
			yield(s.place(s.dec.InputOffset()), explain(err))
		}
	}
}

// errStopped means that nobody wants more records.
var errStopped = errors.New("stopped")

// stream walks through JSON documents. Its methods return an error only when there is nothing more to read.
type stream struct {
	dec   *jsontext.Decoder
	yield func(Record, error) bool
	// message is the place of the message whose text this is; depth is the number of messages around it.
	message Record
	depth   int
	// raw is a buffer for the document that is being read.
	raw []byte
}

func (s *stream) read() error {
	for {
		if err := s.value(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (s *stream) value() error {
	kind := s.dec.PeekKind()
	switch {
	case kind == jsontext.KindBeginArray:
		return s.list()
	case kind == jsontext.KindBeginObject && s.dec.StackDepth() == 0:
		return s.document()
	}
	value, err := s.dec.ReadValue()
	if err != nil {
		return err
	}
	place := s.place(s.dec.InputOffset() - int64(len(value)))
	if kind != jsontext.KindBeginObject {
		return s.emit(place, fmt.Errorf("not an event: got %s, want an object", jsonKind(kind)))
	}
	return s.record(value, place)
}

func (s *stream) list() error {
	if _, err := s.dec.ReadToken(); err != nil {
		return err
	}
	for s.dec.PeekKind() != jsontext.KindEndArray {
		if err := s.value(); err != nil {
			return err
		}
	}
	_, err := s.dec.ReadToken()
	return err
}

// document reads an object at the top: a record, or the records of the list that it wraps, which may be longer than memory.
func (s *stream) document() error {
	if _, err := s.dec.ReadToken(); err != nil {
		return err
	}
	begin := s.dec.InputOffset() - 1
	wraps := false
	s.raw = append(s.raw[:0], '{')
	for s.dec.PeekKind() != jsontext.KindEndObject {
		name, err := s.dec.ReadValue()
		if err != nil {
			return err
		}
		if isList(name) && s.dec.PeekKind() == jsontext.KindBeginArray {
			wraps = true
			if err := s.list(); err != nil {
				return err
			}
			continue
		}
		s.raw = append(append(s.raw, name...), ':')
		value, err := s.dec.ReadValue()
		if err != nil {
			return err
		}
		s.raw = append(append(s.raw, value...), ',')
	}
	if _, err := s.dec.ReadToken(); err != nil || wraps {
		return err
	}
	return s.record(append(bytes.TrimSuffix(s.raw, []byte(",")), '}'), s.place(begin))
}

// isList reports whether a member of that name holds records: of a CloudTrail log file or a Lambda batch, of what
// "aws sqs receive-message" prints, or of what "aws cloudtrail lookup-events" prints.
func isList(name jsontext.Value) bool {
	switch string(name) {
	case `"Records"`, `"Messages"`, `"Events"`:
		return true
	}
	return false
}

// place is that of the value read last, or of where reading ended; it began at the offset.
func (s *stream) place(offset int64) Record {
	pointer := string(s.dec.StackPointer())
	if s.depth > 0 {
		return Record{Offset: s.message.Offset, Pointer: s.message.Pointer + pointer}
	}
	return Record{Offset: offset, Pointer: pointer}
}

func (s *stream) emit(r Record, err error) error {
	if !s.yield(r, err) {
		return errStopped
	}
	return nil
}

// item is what tells the kinds of object apart, and what is needed to pass over those that are not for us.
type item struct {
	envelope
	recordHead
	bulk
	// An SQS message, as Lambda gets it and as the command line prints it.
	Body      string `json:"body"`
	BodyInCLI string `json:"Body"`
	// An SNS notification, as a queue gets it and as Lambda gets it.
	Message string `json:"Message"`
	SNS     struct {
		Message string `json:"Message"`
	} `json:"Sns"`
	// An answer of CloudTrail's LookupEvents.
	CloudTrailEvent string `json:"CloudTrailEvent"`
}

// record decodes one object.
func (s *stream) record(raw []byte, place Record) error {
	var i item
	if err := json.Unmarshal(raw, &i, tolerant); err != nil {
		if foreign(raw) {
			return s.emit(place, nil)
		}
		return s.emit(place, explain(err))
	}
	var what selector
	var decode func(entry, []byte) (cmek.Event, error)
	switch {
	case i.Source != "" && i.DetailType != "":
		what, decode = i.envelope.selector(), entry.decodeEnvelope
	case i.EventSource != "" && i.EventName != "":
		what, decode = i.recordHead.selector(), entry.decodeRecord
	default:
		return s.text(i, place)
	}
	place.Source = clip(what.String())
	row, ok := lookup[what]
	if !ok {
		return s.emit(place, nil)
	}
	event, err := decode(row, raw)
	if err != nil {
		return s.emit(place, err)
	}
	place.Event = &event
	return s.emit(place, nil)
}

// deepest is how many messages may be around an event: SNS sends through SQS, and somebody may have kept that in a third.
const deepest = 4

// text reads the documents in the text of a message.
func (s *stream) text(i item, place Record) error {
	for _, field := range []struct{ pointer, text string }{
		{"/body", i.Body}, {"/Body", i.BodyInCLI}, {"/Sns/Message", i.SNS.Message}, {"/Message", i.Message},
		{"/CloudTrailEvent", i.CloudTrailEvent},
	} {
		if field.text == "" {
			continue
		}
		place.Pointer += field.pointer
		if s.depth == deepest {
			return s.emit(place, fmt.Errorf("more than %d messages within one another", deepest))
		}
		inner := stream{dec: jsontext.NewDecoder(strings.NewReader(field.text), tolerant), yield: s.yield, message: place, depth: s.depth + 1}
		if err := inner.read(); errors.Is(err, errStopped) {
			return err
		} else if err != nil {
			return s.emit(place, explain(err))
		}
		return nil
	}
	return s.emit(place, errors.New("not an event: neither an EventBridge event nor a CloudTrail record, nor a message with either"))
}
