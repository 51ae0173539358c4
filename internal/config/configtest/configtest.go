// Package configtest holds what every entry point's environment variables must pass.
package configtest

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Entry is an entry point with its configuration.
type Entry struct {
	// Wire makes the function from its environment, as pairs NAME=value.
	Wire func(environ []string) error
	// Complete is a configuration that is accepted, and of which nothing can be left out.
	Complete map[string]string
	// Wrong are variables, each with a value that is refused, and with what the error says in the line that names the variable.
	Wrong [][3]string
}

// Check checks that what is complete is accepted, and that each missing and each wrong variable is named in a line of its own, the wrong
// ones both one at a time and all at once.
func (e Entry) Check(t *testing.T) {
	t.Helper()
	if err := e.with(nil); err != nil {
		t.Errorf("a complete configuration is refused: %v", err)
	}
	err := e.Wire(nil)
	for name := range e.Complete {
		if !says(err, name, " is not set") {
			t.Errorf("of an empty configuration no line says that %s is not set:\n%v", name, err)
		}
	}
	all := map[string]string{} // of two wrong values of a variable the last
	for _, wrong := range e.Wrong {
		name, value, hint := wrong[0], wrong[1], wrong[2]
		if err := e.with(map[string]string{name: value}); !says(err, name, hint) {
			t.Errorf("%s=%s: no line names it with %q in:\n%v", name, value, hint, err)
		}
		all[name] = value
	}
	err = e.with(all)
	for _, wrong := range e.Wrong {
		name, value, hint := wrong[0], wrong[1], wrong[2]
		if all[name] == value && !says(err, name, hint) {
			t.Errorf("with all that is wrong, no line names %s with %q in:\n%v", name, hint, err)
		}
	}
}

// with wires the complete configuration with these changes.
func (e Entry) with(changes map[string]string) error {
	env := maps.Clone(e.Complete)
	maps.Copy(env, changes)
	var environ []string
	for name, value := range env {
		environ = append(environ, name+"="+value)
	}
	return e.Wire(environ)
}

func says(err error, name, hint string) bool {
	return err != nil && slices.ContainsFunc(strings.Split(err.Error(), "\n"), func(line string) bool {
		return strings.Contains(line, name) && strings.Contains(line, hint)
	})
}

// row is a variable in a table of a README, with its default.
var row = regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| `?([^|`]+)`? \\|")

// Defaults are those of the README at the path, by variable. It checks that the README has a row for each variable of the settings, which
// are a struct, that it says of those and no others that they are required, and that it has no more rows.
func Defaults(t *testing.T, readme string, settings any) map[string]string {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		rows[m[1]] = strings.TrimSpace(m[2])
	}
	more := maps.Clone(rows)
	var check func(reflect.Type)
	check = func(of reflect.Type) {
		for field := range of.Fields() {
			name, required := strings.CutSuffix(field.Tag.Get("env"), ",required")
			switch {
			case name == "" && field.Type.Kind() == reflect.Struct:
				check(field.Type)
			case name == "": // not read from the environment
				continue
			case rows[name] == "":
				t.Errorf("README.md has no row for %s", name)
			case required != (rows[name] == "required"):
				t.Errorf("README.md says that %s is %q; required is %v", name, rows[name], required)
			}
			delete(more, name)
		}
	}
	check(reflect.TypeOf(settings))
	for name := range more {
		t.Errorf("README.md lists %s, which is no variable", name)
	}
	return rows
}
