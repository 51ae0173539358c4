package policy

import (
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// target is what a call acts on. Its zero value is the role of a trust policy: such a policy has no Resource element.
type target struct {
	// key is set for calls to KMS.
	key cmek.KeyURI
}

// covers decides whether the statement is about the action on the target, whoever calls. A statement without an action or,
// in a key policy, without a resource is accepted by KMS and has no effect (AWS KMS API, PutKeyPolicy).
func (s Statement) covers(action string, on target) truth {
	return min(s.coversAction(action), s.coversTarget(on))
}

func (s Statement) coversAction(action string) truth {
	action = strings.ToLower(action)
	is := func(pattern string) truth { return matches(strings.ToLower(pattern), action) }
	if len(s.NotActions) > 0 {
		return anyOf(s.NotActions, is).not()
	}
	return anyOf(s.Actions, is)
}

func (s Statement) coversTarget(on target) truth {
	if on == (target{}) {
		return yes
	}
	is := func(pattern string) truth {
		switch {
		case pattern == "*":
			return yes
		case on.key.Type() != cmek.AWSKMS || on.key.IsAlias() || on.key.Location() == "":
			return maybe
		}
		return matches(pattern, string(on.key))
	}
	if len(s.NotResources) > 0 {
		return anyOf(s.NotResources, is).not()
	}
	return anyOf(s.Resources, is)
}

// at is the document with the resources of each statement replaced by whether they include the target. A document may name
// thousands of resources, and is asked about many actions.
func (d Document) at(on target) Document {
	d.Statements = slices.Clone(d.Statements)
	for i, s := range d.Statements {
		resources := map[truth][]string{maybe: {"${unknown}"}, yes: {"*"}}[s.coversTarget(on)]
		d.Statements[i].Resources, d.Statements[i].NotResources = resources, nil
	}
	return d
}

// matches compares a text with a pattern of * (any run of characters) and ? (any one). What a policy variable stands for
// is known only when the call is made.
func matches(pattern, text string) truth {
	if strings.Contains(pattern, "${") {
		return maybe
	}
	return truthOf(glob(pattern, text))
}

// glob goes back to the last * only, so hostile patterns take quadratic time at worst.
func glob(pattern, text string) bool {
	p, t, star, from := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
