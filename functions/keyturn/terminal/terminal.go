// Package terminal is how commands read, write and end: streams, colors, tables, JSON, --output and --watch, text that others wrote made
// fit for a terminal, and the errors that have an exit code of their own. It knows no command and no installation.
package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"
)

// Terminal is where a command reads and writes, and how.
type Terminal struct {
	// Name is how the program was called; empty means keyturn.
	Name     string
	In       io.Reader
	Out, Err io.Writer
	// Environ is the environment, NAME=value; flags are appended to it, and the last entry of a name counts.
	Environ []string
	// Live is true if Out is a terminal that can be painted over, and Width the number of its columns; 0 if Out is none.
	Live  bool
	Width int
	// JSON is true after --output json, and wide after --output wide.
	JSON, wide bool
	// Quiet leaves out progress.
	Quiet bool
	// watch is the pause between two reads, 0 for one read.
	watch time.Duration
}

// Lookup is the value of a variable, the last one that is given; "" if there is none, or it is blank.
func (t *Terminal) Lookup(variable string) string {
	value := ""
	for _, pair := range t.Environ {
		if name, v, _ := strings.Cut(pair, "="); name == variable {
			value = strings.TrimSpace(v)
		}
	}
	return value
}

// OutputFlag adds --output to a command that prints data.
func (t *Terminal) OutputFlag(c *cobra.Command) {
	forms := []cobra.Completion{"table", "wide", "json"}
	c.Flags().FuncP("output", "o", "the `form` of the output: table, wide (every column, no wrapping) or json", func(value string) error {
		if !slices.Contains(forms, value) {
			return errors.New("want table, wide or json")
		}
		t.JSON, t.wide = value == "json", value == "wide"
		return nil
	})
	// The flag exists: it was just added.
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
}

// What ends a command that worked, with an exit code of its own: 3, 4 and 5. The command has said what it found.
var (
	ErrNeedsPerson = errors.New("something needs attention")
	ErrRefused     = errors.New("a check before the first request refused it")
	ErrDue         = errors.New("a re-encryption is due")
)

// ConfigurationError is every problem of the configuration, one a line; the exit code is 2.
type ConfigurationError struct{ Problems error }

func (e *ConfigurationError) Error() string {
	problems := strings.Split(e.Problems.Error(), "\n")
	if len(problems) == 1 {
		return problems[0]
	}
	return fmt.Sprintf("the configuration has %d problems:\n  %s", len(problems), strings.Join(problems, "\n  "))
}

// Unwrap returns the problems.
func (e *ConfigurationError) Unwrap() error { return e.Problems }

// PrintJSON writes v with indentation, and under --watch in one line.
func (t *Terminal) PrintJSON(v any) error {
	indent := "  "
	if t.watch > 0 {
		indent = ""
	}
	return WriteJSON(t.Out, v, indent)
}

// WriteJSON writes v and a line feed. Characters that control or reorder a terminal are written as escapes.
func WriteJSON(out io.Writer, v any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	text := b.String()
	if strings.ContainsFunc(text, isHidden) {
		var escaped strings.Builder
		for _, r := range text {
			switch {
			case !isHidden(r):
				escaped.WriteRune(r)
			case r > 0xffff:
				high, low := utf16.EncodeRune(r)
				fmt.Fprintf(&escaped, `\u%04x\u%04x`, high, low)
			default:
				fmt.Fprintf(&escaped, `\u%04x`, r)
			}
		}
		text = escaped.String()
	}
	if _, err := io.WriteString(out, text); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// isHidden reports whether a character of JSON, which holds control characters within its strings as escapes only, does not
// print.
func isHidden(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
