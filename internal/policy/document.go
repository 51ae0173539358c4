package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Document is a policy: a key policy, a role's trust policy, an identity policy or a permissions boundary. The zero value
// allows nothing and denies nothing explicitly.
type Document struct {
	// Version is the version of the policy language, "" if it is missing: before 2012-10-17 a policy variable is a text
	// like any other.
	Version    string
	Statements []Statement
}

// Effect is what a statement does to the calls that it covers.
type Effect string

// The two effects.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// verbs are what statements do, in a sentence.
var verbs = map[Effect]string{Allow: "allows", Deny: "denies"}

// Statement is one statement of a policy. Of each pair X and NotX at most one is set; NotX is everything except.
type Statement struct {
	// Index counts from 1, as a person would.
	Index int
	// Sid is the statement's own name, "" if it has none.
	Sid    string
	Effect Effect

	Principals, NotPrincipals []Principal
	Actions, NotActions       []string
	Resources, NotResources   []string
	// Conditions must all be met. They are ordered by key, then operator.
	Conditions []Condition
}

// Condition is one test of a statement's Condition element.
type Condition struct {
	// Operator and Key are as written, for example "StringEquals" and "sts:ExternalId".
	Operator, Key string
	// Values are the texts of the strings, numbers and booleans compared with.
	Values []string
}

// label names the statement in a sentence.
func (s Statement) label() string {
	if s.Sid != "" {
		return fmt.Sprintf("statement %q", clip(s.Sid))
	}
	return fmt.Sprintf("statement %d", s.Index)
}

// Deleted lists the unique ids (AROA…, AIDA…) of deleted principals that the policy still names. AWS shows such an id in
// place of the ARN once the role or user is deleted; it matches nobody, not even a new role of the same name (IAM User
// Guide, "AWS JSON policy elements: Principal").
func (d Document) Deleted() []string {
	var ids []string
	seen := map[string]bool{}
	for _, s := range d.Statements {
		for _, p := range slices.Concat(s.Principals, s.NotPrincipals) {
			if p.Kind == DeletedPrincipal && !seen[p.ID] {
				ids, seen[p.ID] = append(ids, p.ID), true
			}
		}
	}
	return ids
}

// elements are the names of the policy language (IAM User Guide, "Grammar of the IAM JSON policy language").
var elements = []string{"Version", "Id", "Statement", "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction",
	"Resource", "NotResource", "Condition"}

type object map[string]jsontext.Value

// maxSize is above every quota: the largest, a key policy's, is 32 KB (AWS KMS Developer Guide, "Resource quotas"). IAM does not
// count white space, of which a document may hold much more: maxText is above all that CloudTrail records (256 KB).
const maxSize, maxText = 64 << 10, 512 << 10

// Compact is the text of a document without white space between its elements, and other text as it is.
func Compact(text string) string {
	value := jsontext.Value(text)
	if len(text) > maxText || value.Compact() != nil {
		return text
	}
	return string(value)
}

// Parse reads a policy document from JSON text. IAM's own read calls percent-encode it; decode it first.
//
// Elements it does not know are ignored; what decides about access must be well formed. Element names given twice or in
// the wrong case, and values of a form that the policy language does not have, are errors that name the statement and the
// element. With an error the document is empty.
func Parse(text string) (Document, error) {
	if len(text) > maxSize {
		text = Compact(text)
	}
	if len(text) > maxSize {
		return Document{}, fmt.Errorf("parse policy: %d bytes are more than any policy may have", len(text))
	}
	if strings.HasPrefix(text, "%7B") || strings.HasPrefix(text, "%7b") {
		return Document{}, errors.New("parse policy: the text is percent-encoded, not JSON")
	}
	top, err := parseObject(jsontext.Value(text))
	if err != nil {
		return Document{}, fmt.Errorf("parse policy: %w", err)
	}
	var d Document
	if v, ok := top["Version"]; ok {
		if d.Version, err = parseString(v); err != nil || d.Version != "2012-10-17" && d.Version != "2008-10-17" {
			return Document{}, fmt.Errorf("parse policy: Version: want 2012-10-17 or 2008-10-17, got %s", clip(string(v)))
		}
	}
	list, err := parseList(top["Statement"])
	if err != nil {
		return Document{}, fmt.Errorf("parse policy: Statement: %w", err)
	}
	for i, value := range list {
		s, err := parseStatement(value)
		if s.Index = i + 1; err != nil {
			return Document{}, fmt.Errorf("parse policy: %s: %w", s.position(), err)
		}
		d.Statements = append(d.Statements, s)
	}
	return d, nil
}

// position names the statement to somebody who searches the document for it: by its number, and its Sid if it has one.
func (s Statement) position() string {
	if s.Sid == "" {
		return s.label()
	}
	return fmt.Sprintf("statement %d (%q)", s.Index, clip(s.Sid))
}

// parseStatement returns what it knows about the statement, its Sid above all, along with an error.
func parseStatement(value jsontext.Value) (s Statement, err error) {
	fields, err := parseObject(value)
	if err != nil {
		return s, err
	}
	if v, ok := fields["Sid"]; ok {
		if s.Sid, err = parseString(v); err != nil {
			return s, fmt.Errorf("read Sid: %w", err)
		}
	}
	effect, err := parseString(fields["Effect"])
	if s.Effect = Effect(effect); err != nil || s.Effect != Allow && s.Effect != Deny {
		return s, fmt.Errorf("Effect: want Allow or Deny, got %s", describe(fields["Effect"]))
	}
	if s.Actions, s.NotActions, err = parsePair(fields, "Action", parseStrings); err != nil {
		return s, err
	}
	if s.Resources, s.NotResources, err = parsePair(fields, "Resource", parseStrings); err != nil {
		return s, err
	}
	if s.Principals, s.NotPrincipals, err = parsePair(fields, "Principal", parsePrincipals); err != nil {
		return s, err
	}
	if v, ok := fields["Condition"]; ok {
		if s.Conditions, err = parseConditions(v); err != nil {
			return s, fmt.Errorf("Condition: %w", err)
		}
	}
	return s, nil
}

// parsePair reads an element and its negation. An empty element covers nothing, which is harmless; an empty negation would
// cover everything, which nobody can mean.
func parsePair[T any](fields object, name string, parse func(jsontext.Value) ([]T, error)) (is, isNot []T, err error) {
	negation := "Not" + name
	positive, hasPositive := fields[name]
	negative, hasNegative := fields[negation]
	switch {
	case hasPositive && hasNegative:
		return nil, nil, fmt.Errorf("%s and %s exclude each other", name, negation)
	case hasPositive:
		if is, err = parse(positive); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
	case hasNegative:
		if isNot, err = parse(negative); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", negation, err)
		}
		if len(isNot) == 0 {
			return nil, nil, fmt.Errorf("%s: want at least one value", negation)
		}
	}
	return is, isNot, nil
}

func parsePrincipals(value jsontext.Value) ([]Principal, error) {
	if value.Kind() == '"' {
		if text, err := parseString(value); err != nil || text != "*" {
			return nil, fmt.Errorf(`want "*" or an object, got %s`, describe(value))
		}
		return []Principal{{Kind: Everybody}}, nil
	}
	types, err := parseObject(value)
	if err != nil {
		return nil, err
	}
	var principals []Principal
	for _, kind := range sortedKeys(types) {
		ids, err := parseStrings(types[kind])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", clip(kind), err)
		}
		for _, id := range ids {
			p, err := parsePrincipal(kind, id)
			if err != nil {
				return nil, err
			}
			principals = append(principals, p)
		}
	}
	return principals, nil
}

func parseConditions(value jsontext.Value) ([]Condition, error) {
	operators, err := parseObject(value)
	if err != nil {
		return nil, err
	}
	var conditions []Condition
	for operator, value := range operators {
		keys, err := parseObject(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", clip(operator), err)
		}
		for key, value := range keys {
			values, err := parseScalars(value)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", clip(operator), clip(key), err)
			}
			conditions = append(conditions, Condition{operator, key, values})
		}
	}
	slices.SortFunc(conditions, func(a, b Condition) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Operator, b.Operator))
	})
	return conditions, nil
}

// parseObject refuses element names in the wrong case: ignoring a "condition" would make its statement unconditional.
func parseObject(value jsontext.Value) (object, error) {
	if value.Kind() != '{' {
		return nil, fmt.Errorf("want an object, got %s", describe(value))
	}
	var fields object
	if err := json.Unmarshal(value, &fields); err != nil {
		// The library's error quotes member names at any length.
		return nil, fmt.Errorf("read object: %s", clip(err.Error()))
	}
	for _, name := range sortedKeys(fields) {
		for _, element := range elements {
			if name != element && strings.EqualFold(name, element) {
				return nil, fmt.Errorf("element %q must be spelled %s", name, element)
			}
		}
	}
	return fields, nil
}

// parseList reads an array, or one value that stands for itself.
func parseList(value jsontext.Value) (list []jsontext.Value, err error) {
	switch value.Kind() {
	case '[':
		if err = json.Unmarshal(value, &list); err != nil {
			return nil, fmt.Errorf("read list: %s", clip(err.Error()))
		}
		return list, nil
	case '"', '{', 't', 'f', '0':
		return []jsontext.Value{value}, nil
	}
	return nil, fmt.Errorf("want a value or a list, got %s", describe(value))
}

func parseStrings(value jsontext.Value) ([]string, error) { return parseEach(value, parseString) }

// parseScalars reads strings, numbers and booleans as their text.
func parseScalars(value jsontext.Value) ([]string, error) {
	return parseEach(value, func(v jsontext.Value) (string, error) {
		switch v.Kind() {
		case 't', 'f', '0':
			return string(v), nil
		}
		return parseString(v)
	})
}

func parseEach(value jsontext.Value, parse func(jsontext.Value) (string, error)) ([]string, error) {
	list, err := parseList(value)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, v := range list {
		text, err := parse(v)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

func parseString(value jsontext.Value) (text string, err error) {
	if value.Kind() != '"' {
		return "", fmt.Errorf("want a string, got %s", describe(value))
	}
	if err := json.Unmarshal(value, &text); err != nil {
		return "", fmt.Errorf("read string: %s", clip(err.Error()))
	}
	return text, nil
}

func describe(value jsontext.Value) string {
	if len(value) == 0 {
		return "nothing"
	}
	return clip(string(value))
}

func sortedKeys(m object) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// clip keeps hostile input out of errors and sentences beyond a readable length.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
