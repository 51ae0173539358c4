// Package patterntest evaluates event patterns for tests.
package patterntest

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Matches evaluates a pattern as EventBridge does
// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html), as far as our patterns go.
func Matches(t testing.TB, pattern, event any) bool {
	t.Helper()
	t.Helper()
	fields, ok := pattern.(map[string]any)
	if !ok {
		t.Fatalf("a pattern holds %v", pattern)
	}
	for name, inner := range fields {
		if name == "$or" {
			if !slices.ContainsFunc(inner.([]any), func(alternative any) bool { return Matches(t, alternative, event) }) {
				return false
			}
			continue
		}
		at, _ := event.(map[string]any)
		value, there := at[name]
		if filters, leaf := inner.([]any); leaf {
			if !slices.ContainsFunc(filters, func(filter any) bool { return passes(t, filter, value, there) }) {
				return false
			}
		} else if list, many := value.([]any); many { // any element may have the field
			if !slices.ContainsFunc(list, func(element any) bool { return Matches(t, inner, element) }) {
				return false
			}
		} else if !Matches(t, inner, value) {
			return false
		}
	}
	return true
}

func passes(t testing.TB, filter, value any, there bool) bool {
	if list, many := value.([]any); many && there {
		return slices.ContainsFunc(list, func(element any) bool { return passes(t, filter, element, true) })
	}
	text, isText := value.(string)
	operator, ok := filter.(map[string]any)
	if !ok {
		return there && filter == value
	}
	for name, operand := range operator {
		switch name {
		case "exists":
			return operand == (there && value != nil)
		case "prefix":
			return isText && strings.HasPrefix(text, operand.(string))
		case "suffix":
			return isText && strings.HasSuffix(text, operand.(string))
		case "wildcard":
			parts := strings.Split(regexp.QuoteMeta(operand.(string)), `\*`)
			return isText && regexp.MustCompile("^"+strings.Join(parts, ".*")+"$").MatchString(text)
		case "anything-but":
			return there && !slices.Contains(operand.([]any), value)
		}
	}
	t.Fatalf("unknown filter %v", filter)
	return false
}
