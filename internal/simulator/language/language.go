// Package language evaluates filters of Cloud Logging for the simulator and for tests, as the documentation of the language says
// (docs.cloud.google.com/logging/docs/view/logging-query-language). It knows nothing about who writes them:
//
//   - NOT binds closest, then OR, then AND; two comparisons side by side are joined by AND.
//   - Texts are compared without regard to case, as a whole (=) or in part (:). A regular expression (=~) is RE2, regards case, and matches
//     in part.
//   - A comparison with a field that is missing fails, and its NOT succeeds. log_id takes the id of the log without its encoding.
//   - Times (timestamp>="…") are compared as RFC 3339; nothing else is compared by its order.
//   - What follows -- in a line is a comment.
package language

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Precedence says which of AND and OR binds closer.
type Precedence bool

// Documented is the one that the documentation describes. A filter should mean the same with Swapped.
const (
	Documented Precedence = false
	Swapped    Precedence = true
)

// Selects reports whether the filter selects the entry, which is a log entry as encoding/json decodes it. What is not of the language, as
// far as it is known here, is an error.
func Selects(filter string, entry map[string]any, precedence Precedence) (selected bool, err error) {
	p := &parser{entry: entry, loose: precedence == Swapped}
	defer func() {
		if p.err != nil {
			selected, err = false, p.err
		}
	}()
	p.tokens = p.split(filter)
	selected = p.expression()
	if len(p.tokens) > 0 {
		p.fail("the filter does not end at %q", p.tokens[0])
	}
	return selected, nil
}

var token = regexp.MustCompile(`^(?:\s+|--[^\n]*|"(?:[^"\\]|\\.)*"|=~|!~|!=|>=|<=|[()=:<>,]|[A-Za-z_][A-Za-z0-9_.]*|-)`)

func (p *parser) split(filter string) (list []string) {
	for filter != "" {
		found := token.FindString(filter)
		if found == "" {
			p.fail("not a token: %.40q", filter)
			return nil
		}
		filter = filter[len(found):]
		if strings.TrimSpace(found) != "" && !strings.HasPrefix(found, "--") {
			list = append(list, found)
		}
	}
	return list
}

type parser struct {
	tokens []string
	entry  map[string]any
	loose  bool
	err    error // the first problem; nothing is left to read after it
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.tokens = nil
}

var errEnd = errors.New("the filter ends too early")

func (p *parser) next() string {
	if len(p.tokens) == 0 {
		p.fail("%w", errEnd)
		return ""
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
	if got := p.next(); got != token {
		p.fail("got %q, want %q", got, token)
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
			expression, err := regexp.Compile(want)
			if err != nil {
				p.fail("%w", err)
				return false
			}
			return ok && expression.MatchString(value)
		case ">=", "<":
			at, err := time.Parse(time.RFC3339, value)
			bound, unread := time.Parse(time.RFC3339, want)
			if ok && err != nil || unread != nil {
				p.fail("not two times: %q and %q", value, want)
				return false
			}
			return ok && at.Before(bound) == (operator == "<")
		}
		p.fail("unknown operator %q", operator)
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
	var text string
	if err := json.Unmarshal([]byte(p.next()), &text); err != nil {
		p.fail("not a text: %v", err)
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
