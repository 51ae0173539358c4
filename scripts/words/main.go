// Command words fails where comments, strings, names or Markdown use a word that has a standard one: words lists each with its place
// and what to write instead.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// rule is a way of saying something that has a standard one.
type rule struct {
	// never matches it, but says what is like it and fine; nil for nothing.
	never, but *regexp.Regexp
	// instead is what to write.
	instead string
}

func never(expression, instead string) rule {
	return rule{never: regexp.MustCompile(`(?i)` + expression), instead: instead}
}

func (r rule) unless(expression string) rule {
	r.but = regexp.MustCompile(`(?i)` + expression)
	return r
}

var rules = []rule{
	never(`\b(tell|tells|telling|told)\b (people|operations|owners|operators|them|him|her|somebody|everybody|nobody|anybody|you|whoever|once|twice|again)\b`, "notify, report, send, log").
		unless(`\btells? (them|you) apart\b`),
	never(`\b(is|are|was|were)( not)? told\b`, "is reported, is notified").unless(`\b(is|are|was|were)( not)? told (apart|to|from|that)\b`),
	never(`\bhears? of\b|\bheard of\b|\bnobody needs to hear\b`, "is notified of; no alert"),
	never(`\bmend(s|ed|ing)?\b`, "fix, fixed"),
	never(`\bwell again\b|\bit is over\b|\breads? well\b`, "healthy, recovered, resolved"),
	never(`\bway back\b|\bWayBack\b`, "recovery steps; undo"),
	never(`\bwhat breaks\b|\bharm(s|ed|ful)?\b`, "impact").unless(`["|\x60(]harm["|\x60)]`),
	never(`\bendanger(s|ed|ing)?\b`, "puts at risk, at risk"),
	never(`\bwithout a (word|message from anybody)\b`, "silently"),
	never(`\bdies\b|\bis dead\b`, "is unavailable, cannot restart, ends").unless(`\bis dead-`),
	never(`\ba person must settle\b`, "needs attention"),
	never(`\bpeople are at work on\b`, "on hold"),
	never(`\b(look|looks|looked|looking) again\b|\b(a|one|each|every|last|first|next|another|two|three|more) looks?\b`, "poll, read, check"),
	never(`\bwhose turn\b|\b(its|their|his|a|one's) turns?\b`, "next in order").unless(`\bin (its|their) turn\b`),
	never(`\bcomes? to the same\b|\bbehind our back\b|\bforgets? itself\b|\bso take it that\b`, "has the same effect, implicitly, expires, assume"),
	never(`\blet(s|ting)?( \w+)? in\b`, "grant access, allow").unless(`\blet(s|ting)?( \w+)? in[- ](flight|order|time|place|the|a|this|that|which|one)\b`),
	never(`\bas what (it|he|she|they|the \w+) acts?\b`, "the role it assumes"),
	never(`\bat first sight\b`, "on first discovery"),
	never(`\bopen answers?\b`, "undocumented API behavior"),
	never(`\b(house|houses|floor|floors)\b`, "package, file, layer; minimum").unless(`\bfloor\(`),
}

func main() {
	out, err := exec.CommandContext(context.Background(), "git", "ls-files", "-co", "--exclude-standard", "*.go", "*.md", "*.yaml", "*.sh", "*.tf", "Makefile").Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "words: list files:", err)
		os.Exit(1)
	}
	found := 0
	for file := range strings.Lines(string(out)) {
		file = strings.TrimSpace(file)
		if strings.HasPrefix(file, "scripts/words/") || strings.Contains(file, "testdata/") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			fmt.Fprintln(os.Stderr, "words:", err)
			os.Exit(1)
		}
		for _, f := range check(file, data) {
			fmt.Println(f)
			found++
		}
	}
	if found > 0 {
		fmt.Printf("%d phrases have a standard one\n", found)
		os.Exit(1)
	}
}

// finding is a phrase at its place.
type finding struct {
	file            string
	line            int
	phrase, instead string
}

func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %q; write: %s", f.file, f.line, f.phrase, f.instead)
}

// check finds the phrases of a file: in Go within comments, strings and names, elsewhere in every line.
func check(file string, data []byte) (found []finding) {
	if !strings.HasSuffix(file, ".go") {
		lines := bufio.NewScanner(bytes.NewReader(data))
		lines.Buffer(nil, 1<<20)
		for n := 1; lines.Scan(); n++ {
			found = append(found, phrases(file, n, lines.Text())...)
		}
		return found
	}
	var s scanner.Scanner
	files := token.NewFileSet()
	source := files.AddFile(file, files.Base(), len(data))
	s.Init(source, data, nil, scanner.ScanComments)
	for {
		at, kind, text := s.Scan()
		switch kind {
		case token.EOF:
			return found
		case token.COMMENT, token.STRING, token.IDENT:
			for i, line := range strings.Split(text, "\n") {
				found = append(found, phrases(file, files.Position(at).Line+i, line)...)
			}
		}
	}
}

func phrases(file string, line int, text string) (found []finding) {
	for _, r := range rules {
		for _, phrase := range r.phrases(text) {
			found = append(found, finding{file, line, phrase, r.instead})
		}
	}
	return found
}

// phrases are what the rule finds in the text.
func (r rule) phrases(text string) (found []string) {
	for _, at := range r.never.FindAllStringIndex(text, -1) {
		if r.but == nil || !r.fine(text, at) {
			found = append(found, text[at[0]:at[1]])
		}
	}
	return found
}

// fine reports whether what was found is part of something that may be written.
func (r rule) fine(text string, at []int) bool {
	for _, fine := range r.but.FindAllStringIndex(text, -1) {
		if fine[0] <= at[0] && at[1] <= fine[1] {
			return true
		}
	}
	return false
}
