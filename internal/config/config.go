// Package config fills typed settings from environment variables and reports every problem at once, each naming the
// variable and what it should be.
package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Load fills the struct that settings points to. Fields carry the tag `env:"NAME"`, or `env:"NAME,required"`; what they hold
// already is the default of a variable that is not set or empty. Structs within the struct are filled too. After that
// every struct that has a method Check() []error is asked.
//
// The error joins all problems. It never quotes a value of a variable whose name speaks of a key or a secret.
func Load(settings any, environ []string) error {
	set := map[string]string{}
	for _, pair := range environ {
		if name, value, _ := strings.Cut(pair, "="); strings.TrimSpace(value) != "" {
			set[name] = strings.TrimSpace(value)
		}
	}
	var problems []error
	err := env.ParseWithOptions(settings, env.Options{Environment: set})
	var all env.AggregateError
	switch {
	case errors.As(err, &all):
		fields := variables(reflect.TypeOf(settings).Elem())
		for _, problem := range all.Errors {
			problems = append(problems, explain(problem, fields, set))
		}
	case err != nil:
		return fmt.Errorf("read configuration: %w", err)
	}
	for _, problem := range checks(reflect.ValueOf(settings)) {
		if !named(problems, problem) { // what could not be read need not be checked
			problems = append(problems, problem)
		}
	}
	slices.SortStableFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

// named reports whether the variable that the problem begins with is named in another problem already.
func named(problems []error, problem error) bool {
	name, _, _ := strings.Cut(problem.Error(), " ")
	name = strings.TrimSuffix(name, ":")
	return slices.ContainsFunc(problems, func(other error) bool {
		return strings.HasPrefix(other.Error(), name+" ") || strings.HasPrefix(other.Error(), name+":")
	})
}

// variable is a field's variable and type.
type variable struct {
	name string
	typ  reflect.Type
}

// variables maps field names, which is what the parser's errors name, to variables. Field names are unique within one
// program's settings.
func variables(t reflect.Type) map[string]variable {
	found := map[string]variable{}
	for field := range t.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("env"), ","); name != "" {
			found[field.Name] = variable{name, field.Type}
		} else if field.Type.Kind() == reflect.Struct {
			for inner, v := range variables(field.Type) {
				found[inner] = v
			}
		}
	}
	return found
}

// Variables are the names of the variables that [Load] reads for the struct that settings points to, in alphabetical order.
func Variables(settings any) (names []string) {
	for _, v := range variables(reflect.TypeOf(settings).Elem()) {
		names = append(names, v.name)
	}
	slices.Sort(names)
	return names
}

func explain(problem error, fields map[string]variable, set map[string]string) error {
	var missing env.VarIsNotSetError
	var unparsed env.ParseError
	switch {
	case errors.As(problem, &missing):
		return fmt.Errorf("%s is not set", missing.Key)
	case errors.As(problem, &unparsed):
		v, ok := fields[unparsed.Name]
		if !ok {
			return problem
		}
		if reflect.PointerTo(v.typ).Implements(textType) {
			return fmt.Errorf("%s: %w", v.name, unparsed.Err)
		}
		value := fmt.Sprintf("%q", set[v.name])
		if secret(v.name) {
			value = "not readable"
		}
		return fmt.Errorf("%s is %s; want %s", v.name, value, wanted(v.typ))
	}
	return problem
}

func secret(name string) bool {
	return strings.Contains(name, "KEY") && !strings.HasPrefix(name, "KEYTURN_") || strings.Contains(name, "SECRET") || strings.Contains(name, "TOKEN")
}

var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType = reflect.TypeFor[time.Duration]()
)

// wanted describes a type's values.
func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration such as 90s, 5m or 2h"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return "a whole number"
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return "a number"
	}
	return "a " + t.String()
}

// checks asks the struct and the structs within it, the innermost last.
func checks(v reflect.Value) (problems []error) {
	v = reflect.Indirect(v)
	if c, ok := v.Addr().Interface().(interface{ Check() []error }); ok {
		problems = append(problems, c.Check()...)
	}
	for i := range v.NumField() {
		if field := v.Field(i); field.Kind() == reflect.Struct && v.Type().Field(i).IsExported() {
			// An embedded struct's Check is the outer one's already.
			if !v.Type().Field(i).Anonymous {
				problems = append(problems, checks(field)...)
			}
		}
	}
	return problems
}

// Description is a variable with what its field holds.
type Description struct {
	Name string
	// Value is "" for a zero value.
	Value string
	// Secret says that the value must not be shown.
	Secret bool
}

// Describe returns the variables of a struct as [Load] filled it, in alphabetical order.
func Describe(settings any) (all []Description) {
	describe(reflect.ValueOf(settings).Elem(), &all)
	slices.SortFunc(all, func(a, b Description) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func describe(v reflect.Value, all *[]Description) {
	for field, value := range v.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
		switch {
		case name != "" && value.IsZero():
			*all = append(*all, Description{Name: name, Secret: secret(name)})
		case name != "":
			*all = append(*all, Description{name, fmt.Sprint(value.Interface()), secret(name)})
		case field.Type.Kind() == reflect.Struct && field.IsExported():
			describe(value, all)
		}
	}
}

// Getenv looks a variable up in an environment as os.Getenv does in the process's own.
func Getenv(environ []string) func(name string) string {
	set := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		set[name] = value
	}
	return func(name string) string { return set[name] }
}
