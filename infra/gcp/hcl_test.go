package gcp_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

type (
	hclExpression = hclsyntax.Expression
	hclCall       = hclsyntax.FunctionCallExpr
)

// block is a block of a Terraform module, such as a resource, with the text of its arguments as they are written.
type block struct {
	kind    string
	labels  []string
	text    map[string]string
	exprs   map[string]hclsyntax.Expression
	blocks  []block
	written string
}

// address is how Terraform names the resource or module.
func (b block) address() string { return strings.Join(b.labels, ".") }

// inner returns the nested blocks of the kind, those that are made by "dynamic" left out.
func (b block) inner(kind string) (found []block) {
	for _, one := range b.blocks {
		if one.kind == kind {
			found = append(found, one)
		}
	}
	return found
}

// module is what the files of a folder hold.
type module struct {
	blocks []block
	locals map[string]hclsyntax.Expression
	source map[string]string // of locals
}

func readModule(t *testing.T, folder string) module {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.tf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s holds no Terraform files: %v", folder, err)
	}
	m := module{locals: map[string]hclsyntax.Expression{}, source: map[string]string{}}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, problems := hclparse.NewParser().ParseHCL(text, name)
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		for _, b := range blocksOf(file.Body.(*hclsyntax.Body), text) {
			if b.kind != "locals" {
				m.blocks = append(m.blocks, b)
				continue
			}
			for local, expr := range b.exprs {
				if m.locals[local] != nil {
					t.Fatalf("local.%s is defined twice", local)
				}
				m.locals[local], m.source[local] = expr, b.text[local]
			}
		}
	}
	return m
}

func blocksOf(body *hclsyntax.Body, text []byte) (blocks []block) {
	for _, b := range body.Blocks {
		one := block{
			kind: b.Type, labels: b.Labels, text: map[string]string{}, exprs: map[string]hclsyntax.Expression{}, blocks: blocksOf(b.Body, text),
			written: string(b.Range().SliceBytes(text)),
		}
		for name, attribute := range b.Body.Attributes {
			one.text[name] = spaces.ReplaceAllString(string(attribute.Expr.Range().SliceBytes(text)), " ")
			one.exprs[name] = attribute.Expr
		}
		blocks = append(blocks, one)
	}
	return blocks
}

var spaces = regexp.MustCompile(`\s+`)

// resources returns those whose type matches the expression as a whole, in the order of their addresses.
func (m module) resources(types string) (found []block) {
	of := regexp.MustCompile("^(" + types + ")$")
	for _, b := range m.blocks {
		if b.kind == "resource" && of.MatchString(b.labels[0]) {
			found = append(found, b)
		}
	}
	slices.SortFunc(found, func(a, b block) int { return strings.Compare(a.address(), b.address()) })
	return found
}

func (m module) resource(t *testing.T, address string) block {
	t.Helper()
	for _, b := range m.blocks {
		if b.kind == "resource" && b.address() == address {
			return b
		}
	}
	t.Fatalf("the module has no %s", address)
	return block{}
}

// value is what an expression without variables is.
func value(t *testing.T, what string, expr hclsyntax.Expression) cty.Value {
	t.Helper()
	if expr == nil {
		t.Fatalf("%s is not defined", what)
	}
	v, problems := expr.Value(&hcl.EvalContext{})
	if problems.HasErrors() {
		t.Fatalf("%s is not a literal: %v", what, problems)
	}
	return v
}

// list is a literal list of texts.
func (m module) list(t *testing.T, local string) (texts []string) {
	t.Helper()
	return textsOf(t, "local."+local, value(t, "local."+local, m.locals[local]))
}

func textsOf(t *testing.T, what string, list cty.Value) (texts []string) {
	t.Helper()
	if !list.CanIterateElements() {
		t.Fatalf("%s is no list", what)
	}
	for _, v := range list.AsValueSlice() {
		if v.Type() != cty.String {
			t.Fatalf("%s holds something else than texts", what)
		}
		texts = append(texts, v.AsString())
	}
	return texts
}
