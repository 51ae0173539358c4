package deployment

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/keyturn/keyturn/internal/config"
)

// reader fills a struct from YAML. It goes on after a problem, which the YAML library's own decoder does not.
type reader struct {
	problems Problems
	// lines are where the fields are, by path.
	lines map[string]int
	// unread are the paths of values that have not the type of their field.
	unread  []string
	anchors map[string]ast.Node
}

// read fills d as far as it can.
func (r *reader) read(data []byte, d *Deployment) {
	r.lines, r.anchors = map[string]int{}, map[string]ast.Node{}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	var wrong yaml.Error
	switch {
	case errors.As(err, &wrong):
		r.problems = append(r.problems, Problem{Line: wrong.GetToken().Position.Line, Message: "not YAML: " + wrong.GetMessage()})
	case err != nil:
		r.problems = append(r.problems, Problem{Message: "not YAML: " + err.Error()})
	case len(file.Docs) > 1:
		r.problems = append(r.problems, Problem{Message: "there are several documents; remove all but one, and the lines ---"})
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		r.problems = append(r.problems, Problem{Message: "the file is empty; begin with a copy of infra/aws/keyturn.example.yaml"})
	default:
		r.value(file.Docs[0].Body, reflect.ValueOf(d).Elem(), "")
		return
	}
	r.unread = append(r.unread, "") // so nothing else is said of the file
}

// locate sets the lines of problems that have none: of the field, or of what should hold it.
func (r *reader) locate(problems Problems) {
	for i := range problems {
		for field := problems[i].Field; field != "" && problems[i].Line == 0; field = parent(field) {
			problems[i].Line = r.lines[field]
		}
	}
}

func (r *reader) problem(node ast.Node, path, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: node.GetToken().Position.Line, Field: path, Message: fmt.Sprintf(format, args...)})
}

// mistyped reports a value that is not what its field wants.
func (r *reader) mistyped(node ast.Node, path, want string) {
	what := "the file"
	if path != "" {
		what = path
	}
	r.problem(node, path, "%s is %s; write %s", what, described(node), want)
	r.unread = append(r.unread, path)
}

func described(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	}
	return strconv.Quote(node.String())
}

// value sets v, at the path, to what the node holds. A value that is left out leaves v as it is.
func (r *reader) value(node ast.Node, v reflect.Value, path string) {
	switch n := node.(type) {
	case nil, *ast.NullNode:
		return
	case *ast.AnchorNode:
		r.value(n.Value, v, path)
		r.anchors[n.Name.String()] = n.Value // afterwards: an anchor cannot stand for what it is in
		return
	case *ast.TagNode:
		r.value(n.Value, v, path)
		return
	case *ast.AliasNode:
		if value, ok := r.anchors[n.Value.String()]; ok {
			r.value(value, v, path)
		} else {
			r.mistyped(n, path, "an alias of an anchor before it")
		}
		return
	}
	if date, ok := v.Addr().Interface().(*time.Time); ok {
		r.date(node, date, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.value(node, v.Elem(), path)
	case reflect.Struct, reflect.Map:
		if mapping, ok := node.(ast.MapNode); ok {
			r.mapping(mapping, v, path, map[string]bool{})
		} else {
			r.mistyped(node, path, "its fields below it, indented, each as NAME: VALUE")
		}
	case reflect.Slice:
		r.list(node, v, path)
	default:
		r.scalar(node, v, path)
	}
}

// date sets a day, which begins at midnight UTC.
func (r *reader) date(node ast.Node, date *time.Time, path string) {
	scalar, ok := node.(ast.ScalarNode)
	var err error
	if ok {
		*date, err = time.Parse(time.DateOnly, scalar.GetToken().Value)
	}
	if !ok || err != nil {
		r.mistyped(node, path, "a date such as 2027-01-31")
	}
}

func (r *reader) list(node ast.Node, v reflect.Value, path string) {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		r.mistyped(node, path, "a list: each element on a line of its own after a hyphen, or all in brackets")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
	for i, element := range list.Values {
		place := fmt.Sprintf("%s[%d]", path, i)
		r.lines[place] = element.GetToken().Position.Line
		r.value(element, v.Index(i), place)
	}
}

// mapping fills a struct or a map of texts. What a merged mapping brings does not replace what is written out.
func (r *reader) mapping(mapping ast.MapNode, v reflect.Value, path string, seen map[string]bool) {
	type merge struct{ key, value ast.Node }
	var merged []merge
	for entries := mapping.MapRange(); entries.Next(); {
		key := entries.Key()
		if key.IsMergeKey() {
			merged = append(merged, merge{key, entries.Value()})
			continue
		}
		name := key.GetToken().Value
		place := strings.TrimPrefix(path+"."+name, ".")
		if seen[name] {
			r.problem(key, place, "%s is there twice; remove one", place)
			continue
		}
		seen[name] = true
		r.lines[place] = key.GetToken().Position.Line
		if v.Kind() == reflect.Map {
			r.entry(entries.Value(), v, name, place)
			continue
		}
		if field := fieldOf(v, name); field.IsValid() {
			r.value(entries.Value(), field, place)
			continue
		}
		fix := "write one of " + strings.Join(fields(v.Type()), ", ")
		if near := config.Near(name, fields(v.Type())); near != "" {
			fix = "did you mean " + near + "?"
		}
		r.problem(key, place, "%s is no field: %s", place, fix)
	}
	for _, m := range merged {
		node := m.value
		if alias, ok := node.(*ast.AliasNode); ok {
			node = r.anchors[alias.Value.String()]
		}
		if anchored, ok := node.(ast.MapNode); ok {
			inner := &reader{lines: map[string]int{}, anchors: r.anchors}
			inner.mapping(anchored, v, path, seen)
			r.problems = append(r.problems, inner.problems...)
			r.unread = append(r.unread, inner.unread...)
		} else {
			r.problem(m.key, path, "<< merges no mapping; write an alias of an anchor before it")
		}
	}
}

// entry sets an entry of a map of texts.
func (r *reader) entry(node ast.Node, v reflect.Value, name, path string) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	value := reflect.New(v.Type().Elem()).Elem()
	r.value(node, value, path)
	v.SetMapIndex(reflect.ValueOf(name), value)
}

// scalar sets a text, a whole number or a truth value.
func (r *reader) scalar(node ast.Node, v reflect.Value, path string) {
	scalar, ok := node.(ast.ScalarNode)
	if literal, is := node.(*ast.LiteralNode); is {
		scalar, ok = literal.Value, true
	}
	switch v.Kind() {
	case reflect.String:
		if !ok {
			r.mistyped(node, path, "one text")
			return
		}
		text := scalar.GetToken().Value
		if _, number := node.(*ast.IntegerNode); number && len(text) > 1 && text[0] == '0' {
			r.mistyped(node, path, "it in quotes: YAML takes it for an octal or hexadecimal number") // an account, or a tag
			return
		}
		v.SetString(text)
	case reflect.Int:
		var n int
		err := strconv.ErrSyntax
		if ok {
			n, err = strconv.Atoi(scalar.GetToken().Value)
		}
		if _, number := node.(*ast.IntegerNode); !number || err != nil {
			r.mistyped(node, path, "a whole number")
			return
		}
		v.SetInt(int64(n))
	case reflect.Bool:
		is, ok := node.(*ast.BoolNode)
		if !ok {
			r.mistyped(node, path, "true or false")
			return
		}
		v.SetBool(is.Value)
	default:
		panic("deployment: no way to read a " + v.Kind().String()) // The fields are ours; a test reads each.
	}
}

// fieldOf is the field of a struct by its name in YAML; the zero Value if there is none.
func fieldOf(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag.Get("yaml"); tag != "" && tag == name {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// fields are the names of a struct's fields in YAML.
func fields(t reflect.Type) (names []string) {
	for field := range t.Fields() {
		if tag := field.Tag.Get("yaml"); tag != "" {
			names = append(names, tag)
		}
	}
	slices.Sort(names)
	return names
}
