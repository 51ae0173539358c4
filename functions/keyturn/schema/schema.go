// Package schema holds the JSON Schema of each JSON output of the command line: COMMAND.schema.json, with a hyphen between the words of a
// command. They are made of the Go types that are printed and of their comments; a test keeps them so (make golden rewrites them).
//
// Fields may be added to an output. One that is removed, or that means something else, is named in CHANGELOG.md.
package schema

import (
	"embed"
	"strings"

	"github.com/keyturn/keyturn/internal/report"
)

//go:embed *.schema.json
var files embed.FS

const suffix = ".schema.json"

// reportOf is the command whose output has its schema beside package report, where others read it.
const reportOf = "check"

// Names are the outputs that have a schema, sorted.
func Names() (names []string) {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // it is in the program
	}
	names = append(names, reportOf)
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), suffix))
	}
	return names
}

// Of returns the schema of an output by its name, and false if there is none.
func Of(name string) (schema []byte, ok bool) {
	if name == reportOf {
		return report.Schema, true
	}
	schema, err := files.ReadFile(name + suffix)
	return schema, err == nil
}
