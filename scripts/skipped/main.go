// Command skipped reads what "go test -json" writes, prints it as go test does without -v, and then which tests were skipped and why: a
// test that was skipped is no test that passed.
//
//	go test -json ./... | skipped
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if err := report(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "skipped:", err)
		os.Exit(1)
	}
}

// event is a line of go test -json (go doc test2json).
type event struct{ Action, Package, Test, Output string }

type test struct{ pkg, name string }

// report copies the output of packages and of tests that failed, and ends with the skipped tests and their number. Whether tests failed
// is up to the exit status of go test.
func report(in io.Reader, out io.Writer) error {
	var failure error
	write := func(text string) {
		if _, err := io.WriteString(out, text); err != nil {
			failure = err
		}
	}
	outputs := map[test]*strings.Builder{}
	var skipped []string
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action == "" {
			write(lines.Text() + "\n")
			continue
		}
		of := test{e.Package, e.Test}
		switch e.Action {
		case "output", "build-output":
			if e.Test == "" {
				if e.Output != "PASS\n" {
					write(e.Output)
				}
				continue
			}
			if outputs[of] == nil {
				outputs[of] = &strings.Builder{}
			}
			outputs[of].WriteString(e.Output)
		case "fail":
			if outputs[of] != nil {
				write(outputs[of].String())
			}
			delete(outputs, of)
		case "skip":
			if e.Test != "" {
				skipped = append(skipped, fmt.Sprintf("  %s in %s: %s", e.Test, e.Package, reason(outputs[of])))
			}
			delete(outputs, of)
		case "pass":
			delete(outputs, of)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for of, unfinished := range outputs { // a test that never ended, as in a panic
		write(of.name + " did not end:\n" + unfinished.String())
	}
	for _, line := range skipped {
		write(line + "\n")
	}
	write(fmt.Sprintf("skipped: %d\n", len(skipped)))
	return failure
}

// reason is what the test said when it was skipped.
func reason(output *strings.Builder) string {
	if output == nil {
		return "no reason given"
	}
	var said []string
	for line := range strings.Lines(output.String()) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}
