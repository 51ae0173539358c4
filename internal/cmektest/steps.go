package cmektest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"mvdan.cc/sh/v3/syntax"
)

// CheckSteps fails the test for each recovery step that somebody could not follow as it stands: one is either a sentence, or one command
// that bash and zsh take as it is printed, in an interactive shell too.
func CheckSteps(t testing.TB, steps ...string) {
	t.Helper()
	for _, step := range steps {
		if err := checkStep(step); err != nil {
			t.Errorf("recovery step %q: %v", step, err)
		}
	}
}

// CheckRecovery does that for what was notified.
func (n *Notifier) CheckRecovery(t testing.TB) {
	t.Helper()
	for _, a := range n.Alerts() {
		CheckSteps(t, a.RecoverySteps...)
	}
}

// checkStep says what is wrong with a step. One that begins with a small letter is a command.
func checkStep(step string) error {
	first := []rune(step + " ")[0]
	if unicode.IsLower(first) {
		return checkCommand(step)
	}
	if !unicode.IsUpper(first) && !unicode.IsDigit(first) {
		return errors.New("begins neither as a sentence nor as a command")
	}
	if !strings.ContainsRune(".:?", rune(step[len(step)-1])) {
		return errors.New("is a sentence without an end")
	}
	for _, program := range []string{"aws", "gcloud", "keyturn", "kubectl", "terraform", "vault"} {
		if strings.Contains(step, ": "+program+" ") {
			return fmt.Errorf("hides a command of %s within a sentence", program)
		}
	}
	return nil
}

// checkCommand says why a line is not one plain command whose words are what is printed.
func checkCommand(line string) error {
	if strings.HasSuffix(line, ".") || strings.HasSuffix(line, ":") {
		return errors.New("is a sentence that begins as a command")
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash), syntax.KeepComments(true)).Parse(strings.NewReader(line), "")
	if err != nil {
		return err
	}
	if len(file.Stmts) != 1 || len(file.Last) > 0 || len(file.Stmts[0].Comments) > 0 {
		return errors.New("is not one command without a remark")
	}
	stmt := file.Stmts[0]
	call, plain := stmt.Cmd.(*syntax.CallExpr)
	if !plain || len(call.Assigns) > 0 || stmt.Background || stmt.Negated || stmt.Semicolon.IsValid() {
		return errors.New("is not one plain command")
	}
	if strings.Contains(line, "\n") {
		return errors.New("has several lines")
	}
	words := call.Args
	for _, redirect := range stmt.Redirs {
		if redirect.Op != syntax.RdrOut {
			return fmt.Errorf("redirects by %s", redirect.Op)
		}
		words = append(words, redirect.Word)
	}
	for _, word := range words {
		if err := checkWord(word); err != nil {
			return err
		}
	}
	for _, program := range []string{"aws", "gcloud", "keyturn", "printf", "terraform", "vault"} {
		if words[0].Lit() == program {
			return nil
		}
	}
	return fmt.Errorf("calls %q, which is no program that recovery needs", words[0].Lit())
}

// checkWord says what a shell, bash or zsh, would make of a word beside its text.
func checkWord(word *syntax.Word) error {
	for i, part := range word.Parts {
		switch part := part.(type) {
		case *syntax.SglQuoted:
			if part.Dollar {
				return errors.New("a word is quoted as zsh and bash do not agree on")
			}
		case *syntax.Lit:
			if i == 0 && strings.HasPrefix(part.Value, "~") || i == 0 && strings.HasPrefix(part.Value, "=") {
				return fmt.Errorf("zsh or bash expands %q", part.Value)
			}
			if at := strings.IndexFunc(strings.ReplaceAll(part.Value, `\'`, ""), func(r rune) bool {
				return r > unicode.MaxASCII || strings.ContainsRune("*?[]{}^!#\\", r)
			}); at >= 0 {
				return fmt.Errorf("%q has a character that a shell may replace, or that nobody can type", part.Value)
			}
		case *syntax.DblQuoted:
			for _, inner := range part.Parts {
				text, literal := inner.(*syntax.Lit)
				if !literal || strings.ContainsAny(text.Value, "!\\…") {
					return errors.New("a word in double quotes is replaced, or stands for another")
				}
			}
		default:
			return fmt.Errorf("a word has a %T", part)
		}
	}
	return nil
}
