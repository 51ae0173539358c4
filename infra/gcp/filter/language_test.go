package filter_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// This file evaluates filters as the documentation of the language says
// (docs.cloud.google.com/logging/docs/view/logging-query-language), and knows nothing about how they are written:
//
//   - NOT binds closest, then OR, then AND; two comparisons side by side are joined by AND.
//   - Texts are compared without regard to case, as a whole (=) or in part (:). A regular expression (=~) is RE2, regards case, and matches
//     in part.
//   - A comparison with a field that is missing fails, and its NOT succeeds. log_id takes the id of the log without its encoding.
//   - What follows -- in a line is a comment.

// evaluate reports whether the filter selects the entry. loose swaps the precedence of AND and OR.
func evaluate(t *testing.T, filter string, entry map[string]any, loose bool) bool {
	t.Helper()
	p := &parser{t: t, tokens: tokens(t, filter), entry: entry, loose: loose}
	selected := p.expression()
	if len(p.tokens) > 0 {
		t.Fatalf("the filter does not end at %q", p.tokens[0])
	}
	return selected
}

var token = regexp.MustCompile(`^(?:\s+|--[^\n]*|"(?:[^"\\]|\\.)*"|=~|!~|!=|>=|<=|[()=:<>,]|[A-Za-z_][A-Za-z0-9_.]*|-)`)

func tokens(t *testing.T, filter string) (list []string) {
	t.Helper()
	for filter != "" {
		found := token.FindString(filter)
		if found == "" {
			t.Fatalf("not a token: %.40q", filter)
		}
		filter = filter[len(found):]
		if strings.TrimSpace(found) != "" && !strings.HasPrefix(found, "--") {
			list = append(list, found)
		}
	}
	return list
}

type parser struct {
	t      *testing.T
	tokens []string
	entry  map[string]any
	loose  bool
}

func (p *parser) next() string {
	p.t.Helper()
	if len(p.tokens) == 0 {
		p.t.Fatal("the filter ends too early")
	}
	first := p.tokens[0]
	p.tokens = p.tokens[1:]
	return first
}

func (p *parser) take(token string) bool {
	if len(p.tokens) > 0 && p.tokens[0] == token {
		p.tokens = p.tokens[1:]
		return true
	}
	return false
}

func (p *parser) want(token string) {
	p.t.Helper()
	if got := p.next(); got != token {
		p.t.Fatalf("got %q, want %q", got, token)
	}
}

func (p *parser) expression() bool {
	if p.loose {
		return p.either(func() bool { return p.both(p.negation) })
	}
	return p.both(func() bool { return p.either(p.negation) })
}

func (p *parser) both(operand func() bool) bool {
	result := operand()
	for p.take("AND") || len(p.tokens) > 0 && p.tokens[0] != ")" && p.tokens[0] != "OR" && p.tokens[0] != "AND" {
		right := operand()
		result = result && right
	}
	return result
}

func (p *parser) either(operand func() bool) bool {
	result := operand()
	for p.take("OR") {
		right := operand()
		result = result || right
	}
	return result
}

func (p *parser) negation() bool {
	if p.take("NOT") || p.take("-") {
		return !p.negation()
	}
	if p.take("(") {
		result := p.expression()
		p.want(")")
		return result
	}
	return p.comparison()
}

func (p *parser) comparison() bool {
	p.t.Helper()
	field := p.next()
	if field == "log_id" {
		p.want("(")
		want := p.text()
		p.want(")")
		name, _ := p.entry["logName"].(string)
		_, id, _ := strings.Cut(name, "/logs/")
		return strings.EqualFold(strings.ReplaceAll(id, "%2F", "/"), want)
	}
	operator := p.next()
	value, ok := p.value(field)
	compare := func(want string) bool {
		switch operator {
		case "=":
			return ok && strings.EqualFold(value, want)
		case ":":
			return ok && strings.Contains(strings.ToLower(value), strings.ToLower(want))
		case "=~":
			return ok && regexp.MustCompile(want).MatchString(value)
		}
		p.t.Fatalf("unknown operator %q", operator)
		return false
	}
	if !p.take("(") {
		return compare(p.text())
	}
	result := compare(p.text())
	for p.take("OR") {
		right := compare(p.text())
		result = result || right
	}
	p.want(")")
	return result
}

func (p *parser) text() string {
	p.t.Helper()
	var text string
	if err := json.Unmarshal([]byte(p.next()), &text); err != nil {
		p.t.Fatalf("not a text: %v", err)
	}
	return text
}

// value is a field of the entry as text.
func (p *parser) value(path string) (text string, ok bool) {
	var value any = p.entry
	for name := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		if value, ok = object[name]; !ok {
			return "", false
		}
	}
	return fmt.Sprint(value), true
}

func TestLanguage_isEvaluatedAsDocumented(t *testing.T) {
	entry := map[string]any{
		"logName": "projects/p/logs/cloudaudit.googleapis.com%2Factivity", "a": "true", "b": "true", "c": "false",
		"protoPayload": map[string]any{"methodName": "google.iam.admin.v1.SetIAMPolicy"},
	}
	for filter, want := range map[string]bool{
		`log_id("cloudaudit.googleapis.com/activity")`: true, `log_id("cloudaudit.googleapis.com/data_access")`: false, `log_id("activity")`: false,
		`a="true"`: true, `a="TRUE"`: true, `a="tru"`: false, `a:"RU"`: true, `a=~"^tr"`: true, `a=~"^TR"`: false, `a=~"ru"`: true,
		`NOT c="true"`: true, `-c="true"`: true, `x="true"`: false, `NOT x="true"`: true, `x:"true"`: false,
		// OR binds closer than AND: (a OR b) AND c.
		`a="true" OR b="true" AND c="true"`: false, `a="true" OR (b="true" AND c="true")`: true,
		`a="true" c="true"`: false, `a="true" b="true"`: true, `a=("x" OR "true")`: true, `a=("x" OR "y")`: false,
		"a=\"true\" -- AND c=\"true\"\nAND b=\"true\"":      true,
		`protoPayload.methodName=~"(^|[.])(SetIamPolicy)$"`: false, `protoPayload.methodName=~"(^|[.])(SetIAMPolicy)$"`: true,
		`protoPayload.methodName="google.iam.admin.v1.SetIamPolicy"`: true,
	} {
		if got := evaluate(t, filter, entry, false); got != want {
			t.Errorf("%s selects the entry: %t, want %t", filter, got, want)
		}
	}
}
