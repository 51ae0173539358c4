package google

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// module evaluates a Terraform module as Terraform does, as far as these tests need it: locals, and the arguments of resources of Pub/Sub.
type module struct {
	t      *testing.T
	folder string
	locals map[string]hclsyntax.Expression
	blocks map[string]*hclsyntax.Block // resources, by their addresses
	vars   map[string]cty.Value
	// found are the locals that have been evaluated, or whose values are given.
	found map[string]cty.Value
	// ids are those of the resources that others refer to, by address and key.
	ids map[string]map[string]cty.Value
}

// readModule reads the files of the folder. Variables that are not given have their defaults.
func readModule(t *testing.T, folder string, variables map[string]cty.Value) *module {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.tf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s holds no Terraform files (%v)", folder, err)
	}
	m := &module{
		t: t, folder: folder, locals: map[string]hclsyntax.Expression{}, blocks: map[string]*hclsyntax.Block{}, vars: map[string]cty.Value{},
		found: map[string]cty.Value{}, ids: map[string]map[string]cty.Value{},
	}
	for _, name := range files {
		file, problems := hclparse.NewParser().ParseHCLFile(name)
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		for _, b := range file.Body.(*hclsyntax.Body).Blocks {
			switch b.Type {
			case "locals":
				for local, a := range b.Body.Attributes {
					m.locals[local] = a.Expr
				}
			case "variable":
				if a := b.Body.Attributes["default"]; a != nil {
					m.vars[b.Labels[0]] = m.eval(a.Expr, cty.NilVal)
				}
			case "resource":
				m.blocks[strings.Join(b.Labels, ".")] = b
			}
		}
	}
	maps.Copy(m.vars, variables)
	return m
}

// local is the value of a local.
func (m *module) local(name string) cty.Value {
	m.t.Helper()
	if v, ok := m.found[name]; ok {
		return v
	}
	if m.locals[name] == nil {
		m.t.Fatalf("%s has no local.%s", m.folder, name)
	}
	m.found[name] = m.eval(m.locals[name], cty.NilVal)
	return m.found[name]
}

// eval evaluates an expression; each is what for_each gives to it.
func (m *module) eval(expr hclsyntax.Expression, each cty.Value) cty.Value {
	m.t.Helper()
	scope := map[string]map[string]cty.Value{"path": {"module": cty.StringVal(m.folder)}}
	for _, traversal := range expr.Variables() {
		root := traversal.RootName()
		if len(traversal) < 2 {
			continue // the variable of a for expression
		}
		name := traversal[1].(hcl.TraverseAttr).Name
		if scope[root] == nil {
			scope[root] = map[string]cty.Value{}
		}
		switch known, ok := m.vars[name]; {
		case root == "local":
			scope[root][name] = m.local(name)
		case root == "var" && ok:
			scope[root][name] = known
		case m.ids[root+"."+name] != nil:
			scope[root][name] = cty.ObjectVal(m.ids[root+"."+name])
		}
	}
	c := &hcl.EvalContext{Functions: functions(m.t), Variables: map[string]cty.Value{}}
	for root, values := range scope {
		c.Variables[root] = cty.ObjectVal(values)
	}
	if each != cty.NilVal {
		c.Variables["each"] = each
	}
	v, problems := expr.Value(c)
	if problems.HasErrors() {
		m.t.Fatalf("%s: %v", m.folder, problems)
	}
	return v
}

// functions are those of Terraform that the module calls.
func functions(t *testing.T) map[string]function.Function {
	// text is a function of one text.
	text := func(f func(string) (string, error)) function.Function {
		return function.New(&function.Spec{
			Params: []function.Parameter{{Name: "text", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				result, err := f(args[0].AsString())
				return cty.StringVal(result), err
			},
		})
	}
	return map[string]function.Function{
		"concat": stdlib.ConcatFunc, "merge": stdlib.MergeFunc, "keys": stdlib.KeysFunc, "values": stdlib.ValuesFunc, "sort": stdlib.SortFunc,
		"distinct": stdlib.DistinctFunc, "setproduct": stdlib.SetProductFunc, "join": stdlib.JoinFunc, "split": stdlib.SplitFunc,
		"reverse": stdlib.ReverseListFunc, "coalesce": stdlib.CoalesceFunc, "try": tryfunc.TryFunc, "jsondecode": stdlib.JSONDecodeFunc, "length": stdlib.LengthFunc, "jsonencode": stdlib.JSONEncodeFunc,
		"contains": stdlib.ContainsFunc, "trimspace": stdlib.TrimSpaceFunc, "toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
		"sha256": text(func(s string) (string, error) {
			sum := sha256.Sum256([]byte(s))
			return hex.EncodeToString(sum[:]), nil
		}),
		"base64encode": text(func(s string) (string, error) { return base64.StdEncoding.EncodeToString([]byte(s)), nil }),
		"file": text(func(name string) (string, error) {
			data, err := os.ReadFile(name)
			return string(data), err
		}),
		// In Terraform a text between slashes is a regular expression.
		"replace": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "from", Type: cty.String}, {Name: "to", Type: cty.String}},
			Type:   function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				if from := args[1].AsString(); len(from) > 1 && strings.HasPrefix(from, "/") && strings.HasSuffix(from, "/") {
					return stdlib.RegexReplace(args[0], cty.StringVal(from[1:len(from)-1]), args[2])
				}
				return stdlib.Replace(args[0], args[1], args[2])
			},
		}),
		"endswith": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "end", Type: cty.String}}, Type: function.StaticReturnType(cty.Bool),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				return cty.BoolVal(strings.HasSuffix(args[0].AsString(), args[1].AsString())), nil
			},
		}),
	}
}

// instances are what for_each makes of a resource, each with "each", by their keys.
func (m *module) instances(address string) map[string]cty.Value {
	m.t.Helper()
	b := m.blocks[address]
	if b == nil || b.Body.Attributes["for_each"] == nil {
		m.t.Fatalf("%s has no %s with for_each", m.folder, address)
	}
	each := map[string]cty.Value{}
	of := m.eval(b.Body.Attributes["for_each"].Expr, cty.NilVal)
	for i := of.ElementIterator(); i.Next(); {
		k, v := i.Element()
		if of.Type().IsSetType() {
			k = v
		}
		each[k.AsString()] = cty.ObjectVal(map[string]cty.Value{"key": k, "value": v})
	}
	return each
}

// message is the body of a block as the API's JSON has it: names in camel case, without what is null, empty, or no part of the resource.
func (m *module) message(body *hclsyntax.Body, each cty.Value) map[string]any {
	m.t.Helper()
	message := map[string]any{}
	for name, a := range body.Attributes {
		v := m.eval(a.Expr, each)
		if name == "for_each" || v.IsNull() || v.RawEquals(cty.StringVal("")) {
			continue
		}
		text, err := ctyjson.Marshal(v, v.Type())
		var value any
		if err != nil || json.Unmarshal(text, &value) != nil {
			m.t.Fatalf("%s: %s is not to be written as JSON (%v)", m.folder, name, err)
		}
		message[camelCase(name)] = value
	}
	for _, b := range body.Blocks {
		if b.Type != "dynamic" {
			message[camelCase(b.Type)] = m.message(b.Body, each)
		} else if v := m.eval(b.Body.Attributes["for_each"].Expr, each); v.LengthInt() > 0 {
			m.t.Fatalf("%s: %s is there, and dynamic blocks are not evaluated", m.folder, b.Labels[0])
		}
	}
	return message
}

func camelCase(name string) string {
	words := strings.Split(name, "_")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

// texts are the entries of an object or a map of texts.
func texts(v cty.Value) map[string]string {
	found := map[string]string{}
	for name, text := range v.AsValueMap() {
		found[name] = text.AsString()
	}
	return found
}
