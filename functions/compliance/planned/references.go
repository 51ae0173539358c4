package planned

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// constant is the text of an expression of the configuration that is one; "" for any other.
func constant(expression json.RawMessage) string {
	var e struct {
		Value any `json:"constant_value"`
	}
	_ = json.Unmarshal(expression, &e)
	text, _ := e.Value.(string)
	return text
}

// references are what an expression refers to, the longest name of each first.
func references(expression json.RawMessage) []string {
	var e struct {
		References []string `json:"references"`
	}
	_ = json.Unmarshal(expression, &e) // of nested blocks it is another form, without any
	return e.References
}

// referred are the changes that an attribute of c refers to, which tells what a value that is not known yet will be.
func (p *Plan) referred(c change, attribute string) []change {
	m, ok := p.module(c.Module)
	if !ok {
		return nil
	}
	for _, r := range m.Resources {
		if r.Address == c.Type+"."+c.Name {
			names := references(r.Expressions[attribute])
			if slices.Contains(names, "each.value") {
				names = append(slices.Clone(names), references(r.ForEach)...)
			}
			return p.resolve(c, c.Module, names, 0)
		}
	}
	return nil
}

// resolve finds what references within a module stand for. Those to a variable lead to the call of the module.
func (p *Plan) resolve(from change, in string, names []string, depth int) (found []change) {
	const deepest = 20
	if depth > deepest {
		return nil
	}
	for _, name := range names {
		parts := strings.Split(plain(name), ".")
		switch {
		case len(parts) < 2:
		case parts[0] == "var" && in != "":
			outer, call := parent(in)
			if m, ok := p.module(outer); ok {
				found = append(found, p.resolve(from, outer, references(m.Calls[call].Expressions[parts[1]]), depth+1)...)
			}
		case parts[0] == "module" && len(parts) > 2:
			inner := joined(in, "module."+parts[1])
			if m, ok := p.module(inner); ok {
				found = append(found, p.resolve(from, inner, references(m.Outputs[parts[2]].Expression), depth+1)...)
			}
		default:
			found = append(found, p.instances(from, in, parts[0]+"."+parts[1], name)...)
		}
	}
	return found
}

// instances are those of a resource in a module, by a reference to it: the one that it names, or the one with the key of the instance
// where the reference stands, or else all.
func (p *Plan) instances(from change, in, resource, reference string) (found []change) {
	var same []change
	for _, c := range p.changes {
		if c.Mode != "managed" || c.Type+"."+c.Name != resource || plain(c.Module) != plain(in) {
			continue
		}
		found = append(found, c)
		key := strings.TrimPrefix(strings.TrimPrefix(c.Address, c.Module), ".")
		switch {
		case strings.HasPrefix(reference, resource+"["):
			if strings.HasPrefix(reference+".", key+".") {
				same = append(same, c)
			}
		case strings.HasPrefix(from.Module+".", c.Module) && (len(c.Index) == 0 || bytes.Equal(c.Index, from.Index)):
			same = append(same, c)
		}
	}
	if len(same) > 0 {
		return same
	}
	return found
}

// module is the configuration of the module with the address.
func (p *Plan) module(address string) (*module, bool) {
	m, path := &p.root, strings.Split(plain(address), ".")
	for i := 1; i < len(path); i += 2 {
		call, ok := m.Calls[path[i]]
		if !ok {
			return nil, false
		}
		m = &call.Module
	}
	return m, true
}

// parent is the module around one, and the name of its call.
func parent(address string) (outer, call string) {
	path := strings.Split(plain(address), ".")
	return strings.Join(path[:max(0, len(path)-2)], "."), path[len(path)-1]
}

func joined(module, name string) string {
	if module == "" {
		return name
	}
	return module + "." + name
}

// plain is an address without the keys of instances.
func plain(address string) string {
	var out strings.Builder
	for depth, quoted, i := 0, false, 0; i < len(address); i++ {
		switch c := address[i]; {
		case quoted:
			switch c {
			case '\\':
				i++
			case '"':
				quoted = false
			}
		case depth > 0 && c == '"':
			quoted = true
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth == 0:
			out.WriteByte(c)
		}
	}
	return out.String()
}
