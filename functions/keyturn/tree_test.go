package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
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
