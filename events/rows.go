package events

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// CloudTrail Lake and Athena keep records in tables. A row of them, as their APIs and their consoles give it, has the fields
// of a record under other names (Athena: in lower case), and objects as text: JSON, or what Trino makes of a structure,
// {type=AssumedRole, arn=arn:aws:sts::…}
// (docs.aws.amazon.com/athena/latest/ug/create-cloudtrail-table.html,
// docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_GetQueryResults.html).

// fields are the names of a record's fields, and of the fields of its structures, by their lower case.
var fields = func() map[string]string {
	m := map[string]string{}
	for _, name := range strings.Fields(`eventVersion userIdentity eventTime eventSource eventName awsRegion sourceIPAddress userAgent
		errorCode errorMessage requestParameters responseElements additionalEventData requestID eventID readOnly resources eventType
		apiVersion recipientAccountId serviceEventDetails sharedEventID vpcEndpointId eventCategory addendum managementEvent tlsDetails
		type principalId arn accountId accessKeyId userName sessionContext sessionIssuer invokedBy onBehalfOf userId identityStoreArn
		attributes originalEventID reason`) {
		m[strings.ToLower(name)] = name
	}
	return m
}()

// table is what is known of an array that may be a row: CloudTrail Lake writes one as a list of objects with a column each.
type table struct {
	// columns are the members of the row so far, names the names of them, and place is that of the first.
	columns []byte
	names   map[string]bool
	place   Record
}

// takesColumn reports whether an object is a column of a row, and takes note of it.
func (l *list) takesColumn(raw []byte, place Record) bool {
	if l == nil || len(l.columns)+len(raw) > maxRecord {
		return false
	}
	var column map[string]jsontext.Value
	if json.Unmarshal(raw, &column, tolerant) != nil || len(column) != 1 {
		return false
	}
	for name, value := range column {
		isKnown := fields[strings.ToLower(name)] != "" || len(l.names) > 0
		isValue := value.Kind() == jsontext.KindString || value.Kind() == jsontext.KindNull
		if !isKnown || !isValue || isContent(name) || l.names[name] {
			return false
		}
		if len(l.names) == 0 {
			l.columns, l.names, l.place = append(l.columns[:0], '{'), map[string]bool{}, place
		}
		l.names[name] = true
	}
	l.columns = append(l.columns, bytes.TrimSpace(raw)[1:]...)
	l.columns[len(l.columns)-1] = ','
	return true
}

// athenaRow reads a row of Athena's, which has values alone; the first of a result has the names of the columns.
func (s *stream) athenaRow(raw []byte, place Record) error {
	var r struct {
		Data []struct {
			Value string `json:"VarCharValue"`
		} `json:"Data"`
	}
	if err := json.Unmarshal(raw, &r, tolerant); err != nil {
		return s.unknown(place, explain(err))
	}
	row, names := map[string]string{}, make([]string, len(r.Data))
	for i, d := range r.Data {
		names[i] = d.Value
		if i < len(s.header) {
			row[s.header[i]] = d.Value
		}
	}
	has := func(name string) bool {
		return slices.ContainsFunc(names, func(s string) bool { return strings.EqualFold(s, name) })
	}
	switch {
	case has("eventName") && has("eventSource"):
		s.header = names
		return nil
	case s.header == nil:
		return s.unknown(place, errors.New("a row of Athena without the row before it that names the columns eventname and eventsource"))
	}
	made, err := json.Marshal(row, tolerant)
	if err != nil {
		return s.unknown(place, explain(err))
	}
	return s.row(made, place)
}

// row reads a row of a table.
func (s *stream) row(raw []byte, place Record) error {
	made, err := rowRecord(raw)
	if err != nil {
		s.found++
		return s.emit(place, err)
	}
	var head recordHead
	if err := json.Unmarshal(made, &head, tolerant); err != nil {
		return s.unknown(place, explain(err))
	}
	if head.EventSource == "" || head.EventName == "" {
		return s.unknown(place, errors.New("a row of a table without eventSource or eventName"))
	}
	return s.decode(head.selector(), entry.decodeRecord, made, place)
}

// rowRecord makes the record of a row.
func rowRecord(raw []byte) ([]byte, error) {
	var row map[string]jsontext.Value
	if err := json.Unmarshal(raw, &row, tolerant); err != nil {
		return nil, explain(err)
	}
	record := make(map[string]jsontext.Value, len(row))
	for name, value := range row {
		canonical, known := fields[strings.ToLower(name)]
		if !known {
			continue
		}
		if value.Kind() == jsontext.KindString {
			text, err := unquoted(value)
			switch {
			case err != nil:
				return nil, explain(err)
			case len(text) == 0, string(text) == "null": // a column without a value
				continue
			case isStructure(canonical) && text[0] != '{' && text[0] != '[' && canonical != "resources":
				return nil, fmt.Errorf("%s of a row: neither JSON nor a structure", canonical)
			case isStructure(canonical) && (text[0] == '{' || text[0] == '['):
				var ok bool
				if value, ok = structure(string(text)); !ok {
					return nil, fmt.Errorf("%s of a row: neither JSON nor a structure", canonical)
				}
			}
		}
		record[canonical] = canonicalNames(canonical, value)
	}
	made, err := json.Marshal(record, tolerant, json.Deterministic(true))
	if err != nil {
		return nil, explain(err)
	}
	return made, nil
}

// isStructure reports whether the field of a record is an object or a list.
func isStructure(name string) bool {
	switch name {
	case "userIdentity", "requestParameters", "responseElements", "additionalEventData", "serviceEventDetails", "resources", "addendum", "tlsDetails":
		return true
	}
	return false
}

// canonicalNames gives the names of a record to the fields of the structures that CloudTrail defines; all others are the
// call's own.
func canonicalNames(field string, value jsontext.Value) jsontext.Value {
	if field != "userIdentity" && field != "resources" && field != "addendum" {
		return value
	}
	var decoded any
	if json.Unmarshal(value, &decoded, tolerant) != nil {
		return value
	}
	renamed, err := json.Marshal(renameAll(decoded), tolerant, json.Deterministic(true))
	if err != nil {
		return value
	}
	return renamed
}

func renameAll(value any) any {
	switch value := value.(type) {
	case map[string]any:
		renamed := make(map[string]any, len(value))
		for name, inner := range value {
			if canonical, ok := fields[strings.ToLower(name)]; ok {
				name = canonical
			}
			renamed[name] = renameAll(inner)
		}
		return renamed
	case []any:
		for i := range value {
			value[i] = renameAll(value[i])
		}
	}
	return value
}

// structure is the JSON of a structure's text. ok is false if it is neither JSON nor a structure.
func structure(text string) (value jsontext.Value, ok bool) {
	if raw := jsontext.Value(text); raw.IsValid(tolerant) {
		return raw, true
	}
	p := structureParser{rest: text}
	parsed, ok := p.value(0, false)
	if !ok || strings.TrimSpace(p.rest) != "" {
		return nil, false
	}
	raw, err := json.Marshal(parsed, tolerant, json.Deterministic(true))
	return raw, err == nil
}

// structureParser reads what Trino prints: {name=value, name={…}}, [value, value], with null for what is missing and no
// quotes, so that a value ends where the next name begins.
type structureParser struct{ rest string }

func (p *structureParser) value(depth int, inArray bool) (any, bool) {
	switch {
	case depth > maxDepth || p.rest == "":
		return nil, false
	case p.rest[0] != '{' && p.rest[0] != '[':
		return p.plain(inArray), true
	}
	if raw, ok := p.json(); ok {
		return raw, true
	}
	inObject, end := p.rest[0] == '{', "]"
	if inObject {
		end = "}"
	}
	p.rest = p.rest[1:]
	object, array := map[string]any{}, []any{}
	for {
		p.rest = strings.TrimLeft(p.rest, " ")
		switch {
		case p.rest == "":
			return nil, false
		case strings.HasPrefix(p.rest, end):
			p.rest = p.rest[1:]
			if inObject {
				return object, true
			}
			return array, true
		}
		name := ""
		if inObject {
			var ok bool
			if name, p.rest, ok = strings.Cut(p.rest, "="); !ok || !isFieldName(name) {
				return nil, false
			}
		}
		value, ok := p.value(depth+1, !inObject)
		if !ok {
			return nil, false
		}
		if inObject {
			object[name] = value
		} else {
			array = append(array, value)
		}
		switch {
		case strings.HasPrefix(p.rest, ","):
			p.rest = p.rest[1:]
		case !strings.HasPrefix(p.rest, end):
			return nil, false
		}
	}
}

// json reads a value that is JSON, such as a policy's document.
func (p *structureParser) json() (any, bool) {
	if !strings.HasPrefix(p.rest, `{"`) && !strings.HasPrefix(p.rest, `[{"`) && !strings.HasPrefix(p.rest, `["`) {
		return nil, false
	}
	d := jsontext.NewDecoder(strings.NewReader(p.rest), tolerant)
	raw, err := d.ReadValue()
	if err != nil {
		return nil, false
	}
	raw = raw.Clone()
	p.rest = p.rest[d.InputOffset():]
	return raw, true
}

// plain reads up to the next item, or the next name, or the end of the container.
func (p *structureParser) plain(inArray bool) any {
	const longestName = 128
	end := len(p.rest)
	for i := 0; i < end; i++ {
		switch {
		case p.rest[i] == '}' && !inArray, p.rest[i] == ']' && inArray:
			end = i
		case !strings.HasPrefix(p.rest[i:], ", "):
		case inArray:
			end = i
		default:
			ahead := p.rest[i+2 : min(i+2+longestName, len(p.rest))]
			if name, _, ok := strings.Cut(ahead, "="); ok && isFieldName(name) {
				end = i
			}
		}
	}
	text := p.rest[:end]
	p.rest = p.rest[end:]
	if text == "null" {
		return nil
	}
	return text
}

func isFieldName(name string) bool {
	return name != "" && strings.Trim(name, letters+digits+"_-.:") == ""
}
