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
	value = value.Clone() // it is made compact in place
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

// resources are those of a CloudTrail record. AWS writes a list of objects; tools that flatten records keep the ARNs alone, or
// one object in place of a list of one. What is none of these names no resource.
type resources []resource

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (r *resources) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*r = nil
	if dec.PeekKind() != jsontext.KindBeginArray {
		return r.add(dec)
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != jsontext.KindEndArray {
		if err := r.add(dec); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// add reads one resource.
func (r *resources) add(dec *jsontext.Decoder) error {
	var one resource
	switch dec.PeekKind() {
	case jsontext.KindBeginObject:
		if err := json.UnmarshalDecode(dec, &one); err != nil {
			return err
		}
	case jsontext.KindString:
		if err := json.UnmarshalDecode(dec, &one.ARN); err != nil {
			return err
		}
	default:
		return dec.SkipValue()
	}
	*r = append(*r, one)
	return nil
}

// identityCenterUser is the ARN of a user of IAM Identity Center, whose records name the id alone
// (docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentitystore.html).
func (i identity) identityCenterUser() string {
	if i.OnBehalfOf.UserID == "" {
		return ""
	}
	return "arn:aws:identitystore:::user/" + i.OnBehalfOf.UserID
}
