package risk

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// words are what people read about a change on one cloud. Every field is set.
type words struct {
	// subject names what was changed, at the beginning of a sentence; happened follows it, and is the last part of it.
	subject  func(Case) string
	happened func(Case) string
	// attempt says what somebody tried to do to %s, as an infinitive.
	attempt string
	// impact says what fails and when, or what to know about the change.
	impact func(Case) string
	// steps adds what to do, so that the clusters are safe again.
	steps func(Case, *plan)
}

// always is a text that depends on nothing.
func always(text string) func(Case) string { return func(Case) string { return text } }

// cloud is what people read and type on one cloud.
type cloud struct {
	changes map[cmek.Change]words
	// ownPrincipal adds what to do about a principal of keyturn itself.
	ownPrincipal func(Case, *plan)
}

// clouds are those that keyturn runs on.
var clouds = map[string]cloud{"aws": {aws, awsOwnRole}, "gcp": {gcp, gcpOwnAccount}}

// cloud is the one that the event comes from.
func (c Case) cloud() cloud {
	if OnGoogle(c.Event) {
		return clouds["gcp"]
	}
	return clouds["aws"]
}

// words are those of the cloud that the event comes from.
func (r Row) words(c Case) words {
	w, ok := c.cloud().changes[r.Change]
	if !ok {
		w = words{always("A key"), always("changed: " + string(r.Change)), "change %s", always(""), func(Case, *plan) {}}
	}
	return w
}

// Subject names what the change is about, at the beginning of a sentence.
func (r Row) Subject(c Case) string { return r.words(c).subject(c) }

// Happened says what happened, after the subject.
func (r Row) Happened(c Case) string {
	line := r.words(c).happened(c)
	switch e := c.Effect; {
	case c.Own && c.Deployed():
		line += " by a CloudFormation deployment"
	case e == nil || !r.Kind.SetsDocument():
	case e.CutsOff && e.Exposes:
		line += ", which cuts off clusters and " + r.exposes()
	case e.CutsOff:
		line += ", which cuts off clusters"
	case e.Exposes:
		line += ", which " + r.exposes()
	}
	return line
}

func (r Row) exposes() string {
	if r.Kind == Trust {
		return "grants access to another principal"
	}
	return "grants access to a principal outside the account"
}

// Headline says what happened to what, as one clause that makes sense alone.
func (r Row) Headline(c Case) string {
	subject, code := r.Subject(c), clip(c.Event.Error)
	switch {
	case c.Event.Begun:
		return fmt.Sprintf("An operation to "+r.words(c).attempt+" began, and its end was not reported", lowerFirst(subject))
	case r.Attempted(c):
		return fmt.Sprintf("Failed attempt to "+r.words(c).attempt+" (%s)", lowerFirst(subject), code)
	case code != "":
		return subject + " " + r.Happened(c) + " (" + code + ")"
	}
	return subject + " " + r.Happened(c)
}

// Impact says what fails, when, and what could not be judged.
func (r Row) Impact(c Case) string {
	e := c.Event
	if r.Attempted(c) {
		return "Nothing changed: the call failed with " + clip(e.Error) + "."
	}
	text := r.words(c).impact(c)
	switch {
	case r.ownPrincipal(c):
		text = "keyturn may have lost access that it needs, or somebody else may have gained keyturn's."
	case r.Kind.SetsDocument():
		text = c.access(text)
	}
	if e.Begun {
		text = "No log entry says how the operation ended. Check whether it took effect. " + text
	}
	if e.Parameters["omitted"] == "true" {
		text += " The event does not carry the parameters of the call, which are too large."
	}
	if bypassed(e) {
		text += " The policy lockout safety check was bypassed."
	}
	if c.Own && !r.Kind.Used() {
		text = strings.TrimSpace(text + " " + c.changedBy())
	}
	return text
}

// ownPrincipal reports whether a principal of keyturn itself was changed, which no cluster acts as.
func (r Row) ownPrincipal(c Case) bool { return c.Own && r.Scope == ScopePrincipal && !r.Kind.Used() }

// changedBy names who changed what belongs to keyturn.
func (c Case) changedBy() string {
	who := clip(cmp.Or(c.Event.Principal, string(c.Event.Issuer)))
	switch {
	case who == "":
		return "The event does not say who made the change."
	case c.Deployed():
		return "The deployment was made by " + who + ". If it was planned, there is nothing to do."
	}
	return "The change was made by " + who + "."
}

// access says what a new policy does, or, if that was not judged, what such a policy can do. That clusters keep their access is only
// said of clusters that are known.
func (c Case) access(can string) string {
	e := c.Effect
	if e == nil {
		return strings.TrimSpace("The effect of the new policy on the clusters' access is unknown. " + can)
	}
	said := slices.Clone(e.Words)
	switch {
	case e.CutsOff:
		said = append(said, unusable)
	case e.Same:
		return "The document is the one that was there before, so nothing changed."
	case e.Dormant:
		return "The new version is not the default one, so it is not in force until somebody makes it the default."
	case e.Unattached:
		if OnGoogle(c.Event) {
			return "It decides about no key and no service account of a cluster, so the clusters are not affected."
		}
		return "The policy is attached to no role of a cluster, so the clusters are not affected."
	case len(e.Unclear) > 0:
		said = append(said, "Whether the clusters can still use the key is unknown: "+strings.Join(e.Unclear, "; ")+".")
	case len(said) == 0 && !c.InUse:
		said = append(said, "It grants access to nobody new.")
	case len(said) == 0:
		said = append(said, "The clusters can still use the key. Nobody else gained access.")
	case c.InUse && !e.Exposes:
		said = append([]string{"The clusters can still use the key."}, said...)
	}
	return strings.Join(said, " ")
}

// Steps are the recovery steps: each is a sentence, or a command that can be pasted into a shell as it stands.
func (r Row) Steps(c Case) []string {
	p := &plan{}
	if r.Attempted(c) {
		p.say("There is nothing to undo. Find out who made the call, and why.")
		return p.steps
	}
	if r.ownPrincipal(c) {
		c.cloud().ownPrincipal(c, p)
		return p.steps
	}
	r.words(c).steps(c, p)
	return p.steps
}

// CheckClusters is the last step of most recoveries: access that returns does not bring back a node that could not start.
const CheckClusters = "Check the clusters: nodes that restarted while the key could not be used may need Cockroach Labs support."

// plan collects recovery steps.
type plan struct {
	steps []string
	// unknown are the words in capitals that were explained, pending those of the next command.
	unknown, pending []string
}

// say adds a sentence.
func (p *plan) say(sentence string) { p.steps = append(p.steps, sentence) }

// check adds the last step of a recovery.
func (p *plan) check() { p.say(CheckClusters) }

// run adds a command with the values of its flags, which are given in pairs. A value that the event does not carry becomes a word in
// capitals, and a sentence before says so.
func (p *plan) run(command string, flags ...string) {
	unknown := p.pending // of what stands in the command itself
	p.pending = nil
	words := []string{command}
	for flag := range slices.Chunk(flags, 2) {
		name, value := flag[0], flag[1]
		word := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		separator := " "
		switch {
		case value == "":
			value, unknown = word, append(unknown, word)
		case readsFile(value) && !slices.Contains(ownFiles, value):
			p.say("Replace " + word + " below: the AWS CLI would read a file in place of the real value, " + strconv.Quote(clip(value)) + ".")
			value = word
		case strings.ContainsFunc(value, invisible):
			p.say("Replace " + word + " below: the real value has characters that cannot be shown, " + strconv.QuoteToASCII(clip(value)) + ".")
			value = word
		case strings.HasPrefix(value, "-"):
			separator = "=" // else it is read as a flag
		}
		words = append(words, "--"+name+separator+quoted(value))
	}
	unknown = slices.DeleteFunc(unknown, func(word string) bool { return slices.Contains(p.unknown, word) })
	p.unknown = append(p.unknown, unknown...)
	if len(unknown) > 0 {
		them := map[bool]string{true: "it", false: "them"}[len(unknown) == 1]
		p.say("Replace " + listed(unknown) + " below: the event does not carry " + them + ".")
	}
	p.steps = append(p.steps, strings.Join(words, " "))
}

// listed is an enumeration for people.
func listed(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// The files that steps write and read.
const (
	previousPolicy = "previous-policy.json"
	previousRole   = "previous-role.json"
	keyPolicyFile  = "key-policy.json"
	rolePolicyFile = "role-policy.json"
)

var ownFiles = []string{"file://" + previousPolicy, "file://" + keyPolicyFile, "file://" + rolePolicyFile, "fileb://material.bin", "fileb://token.bin"}

// readsFile reports whether the AWS CLI takes a value for the name of a file or page to read the value from
// (docs.aws.amazon.com/cli/latest/userguide/cli-usage-parameters-file.html).
func readsFile(value string) bool {
	return slices.ContainsFunc([]string{"file://", "fileb://", "http://", "https://"}, func(p string) bool { return strings.HasPrefix(value, p) })
}

// save adds the step that writes what was there before into a file, or says where to look for it.
func (p *plan) save(c Case, what, file string) {
	if c.Effect == nil || c.Effect.Previous == "" {
		p.say("Save the previous " + what + " as " + file + ": it is in keyturn's archive (policies/) or in your own repository. AWS keeps no versions of it.")
		return
	}
	p.steps = append(p.steps, `printf '%s\n' `+quoted(compact(c.Effect.Previous))+" > "+file)
}

// compact is a JSON document without its white space and with all characters visible; what is no JSON stays as it is.
func compact(document string) string {
	var short bytes.Buffer
	if json.Compact(&short, []byte(document)) != nil {
		return document
	}
	var shown strings.Builder
	for _, r := range short.String() {
		if !invisible(r) {
			shown.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&shown, `\u%04x`, unit)
		}
	}
	return shown.String()
}

// invisible reports whether a character is changed or left out where an alert is shown.
func invisible(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }

// quoted makes a value from an event safe to paste into a shell.
func quoted(value string) string { return alert.ShellWord(value) }

// the names a thing at the beginning of a sentence; an unknown name gives "A thing".
func the(thing, name string) string {
	switch {
	case name != "":
		return thing + " " + clip(name)
	case strings.ContainsAny(thing[:1], "AEIO"):
		return "An " + lowerFirst(thing)
	}
	return "A " + lowerFirst(thing)
}

// inQuotes sets a name that people chose apart from the sentence; "" stays "".
func inQuotes(name string) string {
	if name == "" {
		return ""
	}
	return strconv.Quote(clip(name))
}

// clip keeps a text from outside to what can be read in a sentence.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func lowerFirst(s string) string { return strings.ToLower(s[:min(len(s), 1)]) + s[min(len(s), 1):] }
