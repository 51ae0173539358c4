package main

import (
	"strings"
	"testing"
)

// Each rule finds its phrase, and leaves alone what is like it.
func TestRules(t *testing.T) {
	rows := []struct{ found, fine string }{
		{"it tells people", "it tells them apart; tell(out)"},
		{"it was told; people are not told", "they are told apart; it is told to stop"},
		{"whoever hears of it; nobody needs to hear", "it hears a sound"},
		{"the key was mended", "recommended, amended"},
		{"it is well again; it is over; reads well", "as well; well known; over again"},
		{"the way back", "a way to go back; always backed up"},
		{"what breaks; harm", "harmless, pharmacy"},
		{"it endangers a key", "a danger to it"},
		{"without a word", "without a wording"},
		{"it dies; the node is dead", "is dead-lettered, dead-letter queue, a deadline"},
		{"a person must settle this", "a person must decide"},
		{"people are at work on it", "people work on it"},
		{"look again; the next look; two looks", "look up, looks like, NextLook, look at it"},
		{"whose turn it is; its turn", "turn on, keyturn, in turn, turns off"},
		{"comes to the same; behind our back; forgets itself; so take it that", "comes to a halt; forgets nothing"},
		{"lets IAM in; let in", "let it go; let in-flight requests end; let him inside"},
		{"as what it acts", "what it acts on"},
		{"at first sight", "at first; sighting"},
		{"an open answer", "an open question; reopen answers"},
		{"the house; a floor", "warehouse; math.Floored; floor(x)"},
	}
	if len(rows) != len(rules) {
		t.Fatalf("there are %d rows for %d rules; give each rule one", len(rows), len(rules))
	}
	for i, row := range rows {
		for phrase := range strings.SplitSeq(row.found, ";") {
			if rest := rules[i : i+1]; len(find(rest, phrase)) != 1 {
				t.Errorf("rule %d finds %v in %q, want one phrase", i, find(rest, phrase), phrase)
			}
		}
		if got := find(rules, row.fine); len(got) > 0 {
			t.Errorf("in %q these are found: %v", row.fine, got)
		}
	}
}

func find(rules []rule, text string) (found []string) {
	for _, r := range rules {
		found = append(found, r.phrases(text)...)
	}
	return found
}

// Comments, strings and names are read in Go, and every line elsewhere.
func TestCheck_readsWhatPeopleRead(t *testing.T) {
	source := "package p\n\n// mended\nfunc f() string { return \"mend\" + `\nmends` }\n\nvar x = `fine` // recommended\n"
	if got := check("a.go", []byte(source)); len(got) != 3 || got[0].line != 3 || got[1].line != 4 || got[2].line != 5 {
		t.Errorf("in Go these are found: %v", got)
	}
	if got := check("README.md", []byte("# Title\n\nIt was mended.\n")); len(got) != 1 || got[0].line != 3 || !strings.Contains(got[0].String(), `README.md:3: "mended"; write: fix`) {
		t.Errorf("in Markdown these are found: %v", got)
	}
}
