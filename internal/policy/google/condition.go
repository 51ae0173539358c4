package google

import (
	"slices"
	"strings"
	"time"
)

// facts are the attributes of one request that a condition may ask about (IAM documentation, "Attribute reference for IAM
// Conditions"). An empty text and a zero time are not known.
//
// For a symmetric key the resource of a request is the key, as the request names it, without a version. Services other
// than those that the reference lists have no resource attributes: service accounts have none.
type facts struct {
	name, kind, service string
	at                  time.Time
	// principal and subject are the type and the e-mail of who makes the request, which conditions of bindings of principal access
	// boundaries ask about.
	principal, subject string
}

// meets decides whether the request meets the condition.
func (f facts) meets(c *Condition) finding {
	if c == nil {
		return finding{is: yes}
	}
	text := clip(strings.TrimSpace(c.Expression))
	switch f.evaluate(c.Expression) {
	case yes:
		return finding{is: yes, why: ", as long as " + text}
	case no:
		return finding{is: no, why: "its condition is not met: " + text}
	}
	return unknown("it depends on its condition: "+text, MissingCondition, strings.TrimSpace(c.Expression))
}

// evaluate decides an expression of the Common Expression Language, as far as it consists of and, or, not, comparisons of
// request.time with a timestamp, and of resource.name, resource.type, resource.service, principal.type and principal.subject with texts
// (==, !=, startsWith, endsWith). Whatever else it has is a maybe. As in CEL, a false part decides an and whatever the others are.
func (f facts) evaluate(expression string) truth {
	const most = 4096 // IAM allows twelve logical operators
	if len(expression) > most {
		return maybe
	}
	p := parser{facts: f, rest: expression}
	p.next()
	result := p.or()
	if p.failed || p.token != "" {
		return maybe
	}
	return result.truth()
}

// value is the value of a part of an expression. One without a kind is not known.
type value struct {
	kind   string // "bool", "text", "time", or "path" for a name that is not resolved yet
	is     truth
	text   string
	time   time.Time
	isName bool // the text is the resource's name
}

func (v value) truth() truth {
	if v.kind == "bool" {
		return v.is
	}
	return maybe
}

func boolean(t truth) value { return value{kind: "bool", is: t} }

// parser reads an expression from left to right, one token ahead, and evaluates it on the way.
type parser struct {
	facts
	rest, token string
	depth       int
	failed      bool
}

// next reads the next token: a name, a number, a text with its quotes, an operator, or "" at the end.
func (p *parser) next() {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	n := 1
	switch {
	case p.rest == "":
		p.token = ""
		return
	case wordly(p.rest[0]):
		for n < len(p.rest) && wordly(p.rest[n]) {
			n++
		}
	case p.rest[0] == '"' || p.rest[0] == '\'':
		end := strings.IndexByte(p.rest[1:], p.rest[0])
		if n = end + 2; end < 0 || strings.ContainsAny(p.rest[:n], "\\\n") || strings.HasPrefix(p.rest[n:], p.rest[:1]) { // escapes, or three quotes
			p.fail()
			return
		}
	case len(p.rest) > 1 && slices.Contains([]string{"&&", "||", "==", "!=", "<=", ">="}, p.rest[:2]):
		n = 2
	}
	p.token, p.rest = p.rest[:n], p.rest[n:]
}

func wordly(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// fail gives up: an expression that cannot be read is a maybe as a whole.
func (p *parser) fail() value {
	p.failed, p.token, p.rest = true, "", ""
	return value{}
}

// take reads the token if it is the next one.
func (p *parser) take(token string) bool {
	if p.token != token {
		return false
	}
	p.next()
	return true
}

func (p *parser) want(token string) {
	if !p.take(token) {
		p.fail()
	}
}

func (p *parser) or() value {
	const deepest = 50
	if p.depth++; p.depth > deepest {
		return p.fail()
	}
	defer func() { p.depth-- }()
	result := p.and()
	for p.take("||") {
		result = boolean(max(result.truth(), p.and().truth()))
	}
	if p.take("?") {
		p.or()
		p.want(":")
		p.or()
		return value{}
	}
	return result
}

func (p *parser) and() value {
	result := p.relation()
	for p.take("&&") {
		result = boolean(min(result.truth(), p.relation().truth()))
	}
	return result
}

func (p *parser) relation() value {
	left := p.sum()
	switch operator := p.token; operator {
	case "==", "!=", "<", "<=", ">", ">=", "in":
		p.next()
		return boolean(compare(operator, left, p.sum()))
	}
	return left
}

// sum reads arithmetic, which no condition that can be decided has.
func (p *parser) sum() value {
	result := p.unary()
	for slices.Contains([]string{"+", "-", "*", "/", "%"}, p.token) {
		p.next()
		p.unary()
		result = value{}
	}
	return result
}

func (p *parser) unary() value {
	negated := false
	for p.take("!") {
		negated = !negated
	}
	result := p.selection()
	if negated {
		return boolean(result.truth().not())
	}
	return result
}

// selection reads what stands at the left of dots and brackets, with them.
func (p *parser) selection() value {
	result := p.primary()
	for !p.failed {
		switch {
		case p.take("."):
			name := p.token
			if p.next(); p.token == "(" {
				result = p.method(p.resolve(result), name)
				continue
			}
			result.text += "." + name
			if result.kind != "path" {
				result = value{}
			}
		case p.take("["):
			p.or()
			p.want("]")
			result = value{}
		default:
			return p.resolve(result)
		}
	}
	return value{}
}

func (p *parser) primary() value {
	switch token := p.token; {
	case p.take("("):
		result := p.or()
		p.want(")")
		return result
	case p.take("["):
		p.arguments("]")
		return value{}
	case p.take("-"):
		p.primary()
		return value{}
	case token == "":
		return p.fail()
	case token[0] == '"' || token[0] == '\'':
		p.next()
		return value{kind: "text", text: token[1 : len(token)-1]}
	case wordly(token[0]):
		if p.next(); p.take("(") {
			return function(token, p.arguments(")"))
		}
		return value{kind: "path", text: token}
	}
	return p.fail()
}

// arguments reads values up to the closing bracket.
func (p *parser) arguments(closing string) (list []value) {
	for !p.failed && !p.take(closing) {
		if list = append(list, p.or()); p.token != closing {
			p.want(",")
		}
	}
	return list
}

// resolve is the value of a path.
func (p *parser) resolve(v value) value {
	if v.kind != "path" {
		return v
	}
	text, found := map[string]string{"resource.name": p.name, "resource.type": p.kind, "resource.service": p.service,
		"principal.type": p.principal, "principal.subject": p.subject}[v.text]
	switch {
	case found && text != "":
		return value{kind: "text", text: text, isName: v.text == "resource.name"}
	case v.text == "request.time" && !p.at.IsZero():
		return value{kind: "time", time: p.at}
	case v.text == "true", v.text == "false":
		return boolean(truthOf(v.text == "true"))
	}
	return value{}
}

// function is the value of a call: only timestamp is known.
func function(name string, arguments []value) value {
	if name == "timestamp" && len(arguments) == 1 && arguments[0].kind == "text" {
		if at, err := time.Parse(time.RFC3339, arguments[0].text); err == nil {
			return value{kind: "time", time: at}
		}
	}
	return value{}
}

// method reads the call of a method of v.
func (p *parser) method(v value, name string) value {
	p.want("(")
	arguments := p.arguments(")")
	test, known := map[string]func(s, part string) bool{"startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix}[name]
	if !known || len(arguments) != 1 || v.kind != "text" || arguments[0].kind != "text" || arguments[0].isName {
		return value{}
	}
	return boolean(about(v, arguments[0].text, test))
}

func compare(operator string, left, right value) truth {
	if left.kind == "text" && right.kind == "text" {
		if right.isName {
			left, right = right, left
		}
		equal := about(left, right.text, func(a, b string) bool { return a == b })
		switch operator {
		case "==":
			return equal
		case "!=":
			return equal.not()
		}
	}
	if left.kind == "time" && right.kind == "time" {
		order := left.time.Compare(right.time)
		switch operator {
		case "==":
			return truthOf(order == 0)
		case "!=":
			return truthOf(order != 0)
		case "<":
			return truthOf(order < 0)
		case "<=":
			return truthOf(order <= 0)
		case ">":
			return truthOf(order > 0)
		case ">=":
			return truthOf(order >= 0)
		}
	}
	return maybe
}

// about tests a text. A resource's name may spell its project by id or by number: where the literal has the other
// spelling, it may mean the same project, and only what does not match otherwise is certain.
func about(v value, literal string, test func(s, part string) bool) truth {
	if !v.isName {
		return truthOf(test(v.text, literal))
	}
	mine, its := project(v.text), project(literal)
	if mine == "" || its == "" || isNumber(mine) == isNumber(its) {
		return truthOf(test(v.text, literal))
	}
	return min(maybe, truthOf(test(strings.Replace(v.text, "projects/"+mine, "projects/"+its, 1), literal)))
}

// project is the project that a resource's name, or the beginning of one, spells.
func project(name string) string {
	_, after, _ := strings.Cut(name, "projects/")
	project, _, _ := strings.Cut(after, "/")
	return project
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }
