package checks

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// plan is a list of steps: sentences, and commands that can be pasted into a shell as they are.
type plan struct{ steps []string }

func (p *plan) say(sentence string) { p.steps = append(p.steps, sentence) }

// run adds a command with arguments and flags; flags are given in pairs. A value that is not known, or that the CLI would not take as it
// is, becomes a word in capitals, and a sentence before says so.
func (p *plan) run(command string, arguments []string, flags ...string) {
	words := []string{command}
	for _, a := range arguments {
		words = append(words, p.word("value", a))
	}
	for i := 0; i+1 < len(flags); i += 2 {
		separator := " "
		value := p.word(flags[i], flags[i+1])
		if strings.HasPrefix(value, "-") {
			separator = "=" // else it is read as a flag
		}
		words = append(words, "--"+flags[i]+separator+value)
	}
	p.say(strings.Join(words, " "))
}

func number(n int) string { return strconv.Itoa(n) }

// word is the value as one word of a shell.
func (p *plan) word(name, value string) string {
	placeholder := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	switch {
	case value == "":
		p.say("Replace " + placeholder + " below: it is not known.")
		return placeholder
	case strings.ContainsFunc(value, invisible):
		p.say("Replace " + placeholder + " below: the real value has characters that cannot be shown, " + strconv.QuoteToASCII(clip(value)) + ".")
		return placeholder
	case strings.Contains(value, "://") && value != "file://"+policyFile && value != "file://"+secretFile:
		// docs.aws.amazon.com/cli/latest/userguide/cli-usage-parameters-file.html
		p.say("Replace " + placeholder + " below: the CLI would read a file in place of the real value, " + strconv.Quote(clip(value)) + ".")
		return placeholder
	}
	return alert.ShellWord(value)
}

// The files that steps write and read: a document, and a secret that must not stand in a shell's history.
const (
	policyFile = "policy.json"
	secretFile = "api-key.txt"
)

// invisible reports whether a character is changed or left out where findings are shown.
func invisible(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }

// kms adds a command of AWS KMS about a key.
func (p *plan) kms(uri cmek.KeyURI, operation string, flags ...string) {
	p.run("aws kms "+operation, nil, append([]string{"region", uri.Location(), "key-id", string(uri)}, flags...)...)
}

// editKeyPolicy reads the key policy into a file, says what to change there, and puts it back.
func (p *plan) editKeyPolicy(uri cmek.KeyURI, change string) {
	p.kms(uri, "get-key-policy", "policy-name", "default", "query", "Policy", "output", "text")
	p.steps[len(p.steps)-1] += " > " + policyFile
	p.say("In " + policyFile + ", " + change)
	p.kms(uri, "put-key-policy", "policy-name", "default", "policy", "file://"+policyFile)
}

// gcloud adds a command of gcloud kms keys about a key.
func (p *plan) gcloud(uri cmek.KeyURI, command string, flags ...string) {
	p.run("gcloud kms keys "+command, []string{uri.ID()}, append(flags, keyFlags(uri)...)...)
}

// version adds a command of gcloud kms keys versions about a version of a key.
func (p *plan) version(uri cmek.KeyURI, version cmek.KeyVersion, command string) {
	p.run("gcloud kms keys versions "+command, []string{version.ID}, append([]string{"key", uri.ID()}, keyFlags(uri)...)...)
}

func keyFlags(uri cmek.KeyURI) []string {
	ring, _, _ := strings.Cut(googleName(uri), "/cryptoKeys/")
	_, ring, _ = strings.Cut(ring, "/keyRings/")
	return []string{"keyring", ring, "location", uri.Location(), "project", uri.Account()}
}

// googleName is the key's resource name, projects/P/locations/L/keyRings/R/cryptoKeys/K.
func googleName(uri cmek.KeyURI) string {
	name := uri.Canonical()
	if i := strings.Index(name, "projects/"); i >= 0 {
		return name[i:]
	}
	return name
}

// cluster adds a command of keyturn about the scope's cluster.
func (p *plan) cluster(s *scope, command string) {
	p.run("keyturn "+command, []string{s.cluster.ID})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
