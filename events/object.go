package events

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// object is a JSON object whose fields may have any type. What is null, left out or of another kind is an empty object: AWS
// promises no shape here, and what is missing is better not known than refused.
type object map[string]jsontext.Value

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (o *object) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != jsontext.KindBeginObject {
		*o = nil
		return dec.SkipValue()
	}
	return json.UnmarshalDecode(dec, (*map[string]jsontext.Value)(o))
}

// text is a field as text: a string's content, the items of a list of strings joined by commas, and compact JSON for
// anything else; "" for null and what is missing. So a policy document reads the same as a string and as an object.
func (o object) text(name string) string {
	value := o[name]
	switch value.Kind() {
	case jsontext.KindInvalid, jsontext.KindNull:
		return ""
	case jsontext.KindString:
		var s string
		if json.Unmarshal(value, &s, tolerant) != nil {
			return ""
		}
		return s
	case jsontext.KindBeginArray:
		var list []string
		if json.Unmarshal(value, &list, tolerant) == nil {
			return strings.Join(list, ",")
		}
	}
	if value.Compact(tolerant) != nil {
		return ""
	}
	return strings.ToValidUTF8(string(value), "\uFFFD")
}

// object is a field that is an object itself.
func (o object) object(name string) (inner object) {
	if json.Unmarshal(o[name], &inner, tolerant) != nil {
		return nil
	}
	return inner
}
