package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// leaves are the commands that do something, with the words that call them.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	for _, sub := range c.Commands() {
		all = append(all, leaves(sub)...)
	}
	if c.Runnable() && !c.Hidden {
		all = append(all, c)
	}
	return all
}

// What changes a cluster, or orders that, can be tried without changing anything, and says what it did as JSON. What only reads or prints
// has the second.
func TestCommandsAboutACMEK_canBeTriedAndReadAsJSON(t *testing.T) {
	writes := map[string]bool{"rotate": true, "pin": true, "enable": true, "add-region": true, "revoke": true, "restore": true, "cmek": false, "aws": false, "gcp": false}
	for _, c := range leaves((&program{}).command()) {
		tried, is := writes[c.Name()]
		if !is {
			continue
		}
		delete(writes, c.Name())
		if c.Flags().Lookup("output") == nil {
			t.Errorf("%s has no -o json", c.CommandPath())
		}
		if (c.Flags().Lookup("dry-run") != nil) != tried {
			t.Errorf("%s: that it has --dry-run should be %t", c.CommandPath(), tried)
		}
	}
	for name := range writes {
		t.Errorf("there is no command %s", name)
	}
}

// Every command answers for itself: help, an example that calls it, and the exit code for wrong usage.
func TestEveryCommand_hasHelpAndExitCodes(t *testing.T) {
	b := newBench(t)
	for _, c := range leaves((&program{}).command()) {
		if slices.Contains([]string{"help", "completion", "bash", "zsh", "fish", "powershell"}, c.Name()) {
			continue
		}
		words := strings.Fields(c.CommandPath())[1:]
		help := b.keyturn(t, append(words, "--help")...)
		help.wantCode(t, exitFine, words...)
		if c.Short == "" || c.Example == "" || !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s has no summary, or no example that calls it", c.CommandPath())
		}
		o := b.keyturn(t, append(words, "--no-such-flag")...)
		o.wantCode(t, exitUsage, words...)
		if f := c.Flags().Lookup("output"); f != nil {
			for _, form := range []string{"yaml", "JSON"} {
				b.keyturn(t, append(words, "-o", form)...).wantCode(t, exitUsage, words...)
			}
		}
		for line := range strings.Lines(c.Example) {
			if n := len(strings.TrimRight(line, "\n")); n > 130 {
				t.Errorf("an example of %s has a line of %d characters: %s", c.CommandPath(), n, line)
			}
		}
	}
	wantText(t, "the help", b.succeed(t, "--help"), "0  fine", "1  failed", "2  wrong usage", "3  something needs attention", "4  refused by a check before", "5  nothing needs attention")
	wantText(t, "the version", b.succeed(t, "--version"), "keyturn ", "go1.")
}

// A variable of the shell that is not set leaves an empty word. It is never the same as nothing, which may mean all clusters, or all regions.
func TestEveryCommand_refusesWhatIsGivenAndEmpty(t *testing.T) {
	flags := 0
	for _, made := range leaves((&program{}).command()) {
		words := strings.Fields(made.CommandPath())[1:]
		parsed := func(args ...string) *cobra.Command {
			c, _, err := (&program{}).command().Find(words)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.ParseFlags(args); err != nil {
				t.Fatalf("%s %q: %v", c.CommandPath(), args, err)
			}
			return c
		}
		for _, empty := range [][]string{{""}, {"  "}, {"orders", ""}} {
			if blank(parsed(), empty) == nil {
				t.Errorf("%s takes the arguments %q", made.CommandPath(), empty)
			}
		}
		if err := blank(parsed(), []string{"orders"}); err != nil {
			t.Errorf("%s orders: %v", made.CommandPath(), err)
		}
		made.Flags().VisitAll(func(f *pflag.Flag) {
			_, list := f.Value.(pflag.SliceValue)
			if f.Value.Type() != "string" && !list {
				return
			}
			flags++
			flag := "--" + f.Name
			for _, empty := range [][]string{{flag, ""}, {flag + "="}, {flag, " "}} {
				if err := blank(parsed(empty...), nil); err == nil || !strings.Contains(err.Error(), flag) {
					t.Errorf("%s %q: %v, want the flag named", made.CommandPath(), empty, err)
				}
			}
			if err := blank(parsed(flag, "x"), nil); err != nil {
				t.Errorf("%s %s x: %v", made.CommandPath(), flag, err)
			}
			if f.Value.Type() == "stringArray" && blank(parsed(flag, "x", flag, ""), nil) == nil {
				t.Errorf("%s takes %s once with and once without a value", made.CommandPath(), flag)
			}
		})
	}
	if flags < 50 {
		t.Errorf("%d flags were tried, want all that take text", flags)
	}
}
