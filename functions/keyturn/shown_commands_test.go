package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
)

// shownCommand is a command that a help text, a document or a message shows, as it would be pasted into a shell.
type shownCommand struct{ where, text string }

var (
	quotedCommand = regexp.MustCompile(`"(keyturn [^"\n]*)"`)
	codeSpan      = regexp.MustCompile("`(?:bin/)?(keyturn [^`\n]+)`")
	fence         = regexp.MustCompile("(?s)```[a-z]*\n(.*?)```")
	// In Go source: a command in quotes within a text, and a text that is a command, perhaps with a remark after three blanks.
	quotedInSource = regexp.MustCompile(`\\"(keyturn [^"\\\n]*)\\"`)
	wholeInSource  = regexp.MustCompile(`"(keyturn [a-z][^"\\\n]*)"?`)
	joined         = regexp.MustCompile(`"\s*\+\s*[\w.()]+\s*\+\s*"`)
	comment        = regexp.MustCompile(`(?m)^\s*//.*$`)
	verb           = regexp.MustCompile(`%(?:\[\d\])?[sqd]`)
)

// shownCommands collects what people are told to type.
func shownCommands(t *testing.T) (all []shownCommand) {
	t.Helper()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			if line = strings.TrimSpace(line); line != "" {
				all = append(all, shownCommand{"the examples of " + c.CommandPath(), line})
			}
		}
		for _, text := range quotedCommand.FindAllStringSubmatch(c.Long, -1) {
			all = append(all, shownCommand{"the help of " + c.CommandPath(), text[1]})
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&program{}).command())
	if n := len(all); n < 40 {
		t.Fatalf("there are only %d commands in the help texts", n)
	}

	read := func(pattern string, collect func(file, text string)) {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			collect(file, string(data))
		}
	}
	for _, pattern := range []string{"../../*.md", "../../infra/*.md", "../*/*.md", "../../internal/*.md"} {
		read(pattern, func(file, text string) {
			if filepath.Base(file) == "CHANGELOG.md" {
				return // it names commands that are no more
			}
			for _, block := range fence.FindAllStringSubmatch(text, -1) {
				lines := strings.ReplaceAll(block[1], "\\\n", " ")
				for line := range strings.Lines(lines) {
					line = strings.TrimSpace(line)
					if command, prompt := strings.CutPrefix(line, "$ "); prompt {
						all = append(all, shownCommand{file, command})
					}
				}
			}
			for _, span := range codeSpan.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
				all = append(all, shownCommand{file, strings.ReplaceAll(span[1], `KEY\|CLUSTER`, "CLUSTER")})
			}
		})
	}
	for _, pattern := range []string{"../*/*.go", "*/*.go", "../alerting/risk/*.go"} {
		read(pattern, func(file, text string) {
			if strings.HasSuffix(file, "_test.go") {
				return
			}
			text = joined.ReplaceAllString(comment.ReplaceAllString(text, ""), "x")
			for _, quoted := range quotedInSource.FindAllStringSubmatch(text, -1) {
				all = append(all, shownCommand{file, verb.ReplaceAllString(quoted[1], "x")})
			}
			for _, whole := range wholeInSource.FindAllStringSubmatch(text, -1) {
				command, _, _ := strings.Cut(whole[1], "   (")
				if strings.HasSuffix(command, " ") {
					command += "x" // an id follows
				}
				if isCommand(command) && !strings.HasSuffix(command, ".") && !strings.Contains(command, " shows ") {
					all = append(all, shownCommand{file, verb.ReplaceAllString(command, "x")})
				}
			}
		})
	}
	return all
}

// isCommand reports whether the text's second word is a command, not a verb of which keyturn is the subject.
func isCommand(text string) bool {
	words := strings.Fields(text)
	return len(words) > 1 && slices.ContainsFunc((&program{}).command().Commands(), func(c *cobra.Command) bool { return c.Name() == words[1] })
}

// shell makes of a command what a shell makes of it: it returns the arguments of each call of keyturn. A pattern that matches no file is an
// error, as in zsh. Nothing is run.
func shell(t *testing.T, text string) (calls [][]string, err error) {
	t.Helper()
	const stubs = `keyturn() { printf '%s\0' "$@" >&3; printf '\n\0' >&3; }
command_not_found_handle() { return 0; }
PATH=/nonexistent
`
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "trail"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "trail", "a.json.gz"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	recorded := filepath.Join(folder, ".calls")
	out, err := os.Create(recorded)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := exec.Command("bash", "-O", "failglob", "-c", stubs+strings.ReplaceAll(text, "bin/keyturn", "keyturn"))
	var complaint bytes.Buffer
	c.Dir, c.Stderr, c.ExtraFiles = folder, &complaint, []*os.File{out}
	if err := c.Run(); err != nil || complaint.Len() > 0 {
		return nil, fmt.Errorf("exit code %d: %s", c.ProcessState.ExitCode(), complaint.String())
	}
	data, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	call := []string{}
	for _, word := range strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00") {
		if word == "\n" {
			calls, call = append(calls, call), []string{}
			continue
		}
		call = append(call, word)
	}
	return calls, nil
}

// parse checks flags and arguments as the program does, and runs nothing. A command's name without anything else only names it.
func parse(t *testing.T, args []string) error {
	t.Helper()
	root := (&program{Program: installation.Program{Terminal: terminal.Terminal{Out: &buffer{}, Err: &buffer{}}}}).command()
	var disarm func(c *cobra.Command)
	disarm = func(c *cobra.Command) {
		if c.Runnable() {
			c.RunE, c.Run = func(*cobra.Command, []string) error { return nil }, nil
		}
		for _, sub := range c.Commands() {
			disarm(sub)
		}
	}
	disarm(root)
	if named, rest, err := root.Find(args); err == nil && named != root && len(rest) == 0 {
		return nil
	}
	root.SetArgs(args)
	root.SetOut(&buffer{})
	root.SetErr(&buffer{})
	return root.ExecuteContext(t.Context())
}

func TestEveryShownCommandCanBePasted(t *testing.T) {
	calls := 0
	for _, shown := range shownCommands(t) {
		if strings.Contains(shown.text, " # ") {
			t.Errorf("%s: %q has a remark, which zsh takes for arguments; put it on a line before it", shown.where, shown.text)
		}
		found, err := shell(t, shown.text)
		if err != nil {
			t.Errorf("%s: a shell refuses %q: %v", shown.where, shown.text, err)
		}
		for _, args := range found {
			calls++
			if err := parse(t, args); err != nil {
				t.Errorf("%s: keyturn refuses %q: %v", shown.where, shown.text, err)
			}
		}
	}
	if calls < 100 {
		t.Errorf("only %d calls were checked", calls)
	}
	t.Logf("%d calls", calls)
}

func TestWhatCannotBePastedIsFound(t *testing.T) {
	for _, text := range []string{"keyturn status --ledger dynamodb://keyturn?region=us-east-1", "keyturn hold KEY|CLUSTER (x)", `keyturn hold "x`} {
		if calls, err := shell(t, text); err == nil {
			t.Errorf("a shell takes %q as %q", text, calls)
		}
	}
	for _, args := range [][]string{{"statsu"}, {"status", "--ledgre", "x"}, {"retry", "a", "b"}, {"hold", "x"}, {"status", "--ledger", "dynamodb://x?regoin=y"}} {
		if parse(t, args) == nil {
			t.Errorf("keyturn takes %q", args)
		}
	}
	for text, want := range map[string]int{`keyturn status "a b" | jq .x`: 1, "keyturn plan; keyturn status": 2, "A=b keyturn plan  # why": 1} {
		calls, err := shell(t, text)
		if err != nil || len(calls) != want {
			t.Errorf("%q makes the calls %q (%v), want %d", text, calls, err, want)
		}
	}
}
