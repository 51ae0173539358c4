package main

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	describe "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/compliance/evidence"
	"github.com/keyturn/keyturn/functions/compliance/planned"
	"github.com/keyturn/keyturn/functions/keyturn/explain"
	"github.com/keyturn/keyturn/functions/keyturn/life"
	"github.com/keyturn/keyturn/functions/keyturn/live"
	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/functions/keyturn/schema"
	"github.com/keyturn/keyturn/functions/keyturn/setup"
	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/simulator"
)

// outputs are what commands print with -o json. The schema of check's is written by hand, beside its type.
var outputs = map[string]any{
	"alerts": alternatives{[]live.OpenIncident{}, []live.LocatedIncident{}}, "config-check": setup.CheckedFile{}, "config-show": setup.ShownConfig{}, "doctor": []setup.Diagnosis{}, "explain": explain.Explanation{},
	"follow": progress.Track{}, "hold": cmek.Holds{}, "plan": live.PlanReport{}, "replay": []explain.Replayed{}, "retire": checks.Retirement{},
	"simulate": []simulator.Switch{}, "status": alternatives{live.Status{}, []live.InstallationStatus{}}, "version": versions{},
	"add-region": alternatives{lifecycle.Result{}, life.DryRun{}}, "apply": alternatives{lifecycle.Result{}, life.DryRun{}}, "enable": alternatives{lifecycle.Result{}, life.DryRun{}},
	"cmek": map[string]any{}, "evidence-list": []evidence.Record{}, "evidence-verify": evidence.Verification{}, "report": alternatives{report.Report{}, report.History{}},
	"restore": alternatives{lifecycle.Diagnosis{}, lifecycle.Result{}}, "revoke": alternatives{lifecycle.Plan{}, lifecycle.Result{}},
	"provision-aws": alternatives{lifecycle.Provisioning{}, lifecycle.Result{}}, "provision-gcp": alternatives{lifecycle.Provisioning{}, lifecycle.Result{}},
	"provision-vault": alternatives{lifecycle.Provisioning{}, lifecycle.Result{}},
	"check-planned":   planned.Report{},
	"pin":             alternatives{[]live.PinReport{}, []live.PinStatus{}},
	"unpin":           []live.UnpinReport{},
	"rotate":          alternatives{live.RotateReport{}, progress.Track{}, live.CanceledOrders{}},
}

// alternatives are outputs of one command, of which it prints one, by its flags and by what comes of it.
type alternatives []any

// commented are the packages whose comments describe the outputs.
var commented = []string{
	"functions/keyturn", "functions/keyturn/explain", "functions/keyturn/life", "functions/keyturn/live", "functions/keyturn/progress", "functions/keyturn/setup", "functions/lifecycle", "functions/rotation",
	"functions/compliance/checks", "functions/compliance/evidence", "functions/compliance/planned", "internal/report", "infra/aws/deployment", "internal/alert", "internal/cmek",
	"internal/ledger", "internal/simulator", "internal/version",
}

// comments are those of the types and fields of these packages: by "PACKAGE.TYPE" and "PACKAGE.TYPE.FIELD".
var comments = sync.OnceValue(func() map[string]string {
	found := map[string]string{}
	for _, folder := range commented {
		files, err := filepath.Glob("../../" + folder + "/*.go")
		if err != nil || len(files) == 0 {
			panic(fmt.Sprint("no Go files in ", folder, ": ", err))
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				panic(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				declared, ok := n.(*ast.GenDecl)
				if !ok {
					return true
				}
				for _, spec := range declared.Specs {
					if typ, ok := spec.(*ast.TypeSpec); ok {
						name := "github.com/keyturn/keyturn/" + folder + "." + typ.Name.Name
						found[name] = cmp.Or(typ.Doc.Text(), declared.Doc.Text())
						if fields, ok := typ.Type.(*ast.StructType); ok {
							for _, field := range fields.Fields.List {
								for _, id := range field.Names {
									found[name+"."+id.Name] = cmp.Or(field.Doc.Text(), field.Comment.Text())
								}
							}
						}
					}
				}
				return false
			})
		}
	}
	return found
})

// described makes the schema of an output.
func described(t *testing.T, name string) []byte {
	t.Helper()
	r := &describe.Reflector{
		Anonymous: true,
		Namer: func(typ reflect.Type) string {
			if typ.Name() == "" {
				return ""
			}
			return path.Base(typ.PkgPath()) + "." + typ.Name() // two packages have a Status
		},
		LookupComment: func(typ reflect.Type, field string) string {
			key := typ.PkgPath() + "." + typ.Name()
			if field != "" {
				key += "." + field
			}
			return strings.Join(strings.Fields(comments()[key]), " ")
		},
		Mapper: func(typ reflect.Type) *describe.Schema {
			switch {
			case typ == reflect.TypeFor[alert.Severity]():
				return &describe.Schema{Type: "string", Enum: []any{alert.None, alert.Info, alert.Low, alert.Medium, alert.High, alert.Critical}}
			case typ != reflect.TypeFor[time.Time]() && typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
				return &describe.Schema{Type: "string"}
			}
			return nil
		},
	}
	var s *describe.Schema
	if several, ok := outputs[name].(alternatives); ok {
		s = &describe.Schema{Version: describe.Version, Definitions: describe.Definitions{}}
		for _, one := range several {
			of := r.Reflect(one)
			maps.Copy(s.Definitions, of.Definitions)
			of.Version, of.Definitions = "", nil
			s.AnyOf = append(s.AnyOf, of)
		}
	} else {
		s = r.Reflect(outputs[name])
	}
	for _, typ := range []string{"live.InstallationStatus", "live.LocatedIncident"} {
		if d, ok := s.Definitions[typ]; ok {
			d.Required = []string{"installation"} // the rest is there unless the installation could not be read
		}
	}
	s.ID = describe.ID("https://github.com/keyturn/keyturn/functions/keyturn/schema/" + name + ".schema.json")
	s.Title = "keyturn " + strings.ReplaceAll(name, "-", " ") + " -o json"
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func TestSchemas_areThoseOfTheTypes(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		t.Run(name, func(t *testing.T) {
			file, text := "schema/"+name+".schema.json", described(t, name)
			if *update {
				if err := os.WriteFile(file, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(file); err != nil || !bytes.Equal(text, want) {
				t.Errorf("the output of %s is not as %s says (%v; make golden rewrites it)", name, file, err)
			}
		})
	}
}

// printsJSON are the outputs of the command's tree.
func printsJSON(c *cobra.Command) (names []string) {
	for _, sub := range c.Commands() {
		names = append(names, printsJSON(sub)...)
	}
	if c.Flags().Lookup("output") != nil || c.Flags().Lookup("format") != nil {
		names = append(names, strings.Join(strings.Fields(c.CommandPath())[1:], "-"))
	}
	if c.Flags().Lookup("terraform-plan") != nil { // of a change it prints another document
		names = append(names, c.Name()+"-planned")
	}
	return names
}

func TestEveryJSONOutput_hasASchema(t *testing.T) {
	commands, have := printsJSON((&program{}).command()), schema.Names()
	slices.Sort(commands)
	slices.Sort(have)
	if !slices.Equal(commands, have) {
		t.Errorf("commands with JSON output: %v; schemas: %v", commands, have)
	}
	b := newBench(t)
	for _, name := range have {
		if text := b.succeed(t, append([]string{"schema"}, strings.Split(name, "-")...)...); !json.Valid([]byte(text)) || compiledSchema(t, name) == nil {
			t.Errorf("the schema of %s is no JSON", name)
		}
	}
	b.keyturn(t, "schema", "demo").wantCode(t, exitUsage, "schema", "demo")
}

// compiledSchemas are those that were needed so far; checkedOutputs are the names of outputs that were checked.
var compiledSchemas, checkedOutputs sync.Map

func compiledSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	if compiled, ok := compiledSchemas.Load(name); ok {
		return compiled.(*jsonschema.Schema)
	}
	text, ok := schema.Of(name)
	if !ok {
		t.Fatalf("%s prints JSON, and has no schema", name)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(name, value); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	compiledSchemas.Store(name, compiled)
	return compiled
}

// checkJSON checks what a command printed, if it was asked for JSON and printed any, against the schema of the command.
func checkJSON(t *testing.T, args []string, printed string) {
	t.Helper()
	asked := strings.Join(args, " ") + " "
	if !strings.Contains(asked, "-o json ") && !strings.Contains(asked, "--output json ") && !strings.Contains(asked, "--format json ") {
		return
	}
	named, _, err := (&program{}).command().Find(args)
	if err != nil {
		return // cobra's own, which completes
	}
	name := strings.Join(strings.Fields(named.CommandPath())[1:], "-")
	if name == "check" && (slices.Contains(args, "--terraform-plan") || slices.Contains(args, "--policy")) {
		name += "-planned"
	}
	for d := json.NewDecoder(strings.NewReader(printed)); d.More(); {
		var document json.RawMessage
		if err := d.Decode(&document); err != nil {
			t.Errorf("keyturn %s prints no JSON: %v", asked, err)
			return
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
		if err == nil {
			err = compiledSchema(t, name).Validate(value)
		}
		if err != nil {
			t.Errorf("keyturn %sprints what its schema does not say: %v\n%s", asked, err, document)
			return
		}
		checkedOutputs.Store(name, true)
	}
}

func TestRealOutput_isAsItsSchemaSays(t *testing.T) {
	b := newBench(t).swept(t)
	event := filepath.Join(b.folder, "event.json")
	if err := os.WriteFile(event, []byte(b.rotate(t, paymentsKey)[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	b.keyturn(t, "plan", "-o", "json")
	b.keyturn(t, "plan", "--mode", "follow", "--fresh", "-o", "json")
	b.keyturn(t, "replay", event, "-o", "json")
	b.keyturn(t, "explain", event, "-o", "json")
	b.keyturn(t, "status", "-o", "json")
	b.keyturn(t, "follow", "--mode", "follow", "-o", "json")
	low, critical := sampleIncidents()
	b.open(t, low, critical)
	for _, args := range [][]string{
		{"hold", "orders", "--reason", "x", "-o", "json"}, {"hold", "-o", "json"}, {"alerts", "-o", "json"}, {"status", "-o", "json"}, {"status", "orders", "-o", "json"},
		{"plan", "--mode", "follow", "-o", "json"}, {"check", "--format", "json"}, {"retire", paymentsKey, "-o", "json"}, {"version", "-o", "json"},
		{"config", "show", "-o", "json"}, {"config", "check", "../../infra/aws/keyturn.example.yaml", "-o", "json"}, {"doctor", "-o", "json"},
		{"simulate", "--list-switches", "-o", "json"},
	} {
		if o := b.keyturn(t, args...); o.code == exitUsage || o.out == "" {
			t.Errorf("keyturn %v exits with %d and prints %q\n%s", args, o.code, o.out, o.err)
		}
	}
}

// unchecked are the outputs of which no test has checked one.
func unchecked() (names []string) {
	for _, name := range schema.Names() {
		if _, ok := checkedOutputs.Load(name); !ok {
			names = append(names, name)
		}
	}
	return names
}
