package policy

import (
	"fmt"
	"strings"
)

// facts are the values of condition keys in one call, by the key in lower case. A key that is not among them is unknown;
// one with a nil value is known to be absent from the call.
type facts map[string]*string

func (f facts) with(key, value string) facts {
	f[strings.ToLower(key)] = &value
	return f
}

func (f facts) without(key string) facts {
	f[strings.ToLower(key)] = nil
	return f
}

// Condition keys that can be evaluated. Every other one makes its statement uncertain.
const (
	principalARN     = "aws:PrincipalArn"
	principalAccount = "aws:PrincipalAccount"
	callerAccount    = "kms:CallerAccount"
	secureTransport  = "aws:SecureTransport"
	externalID       = "sts:ExternalId"
	principalOrgID   = "aws:PrincipalOrgID"
)

// sourceAccount is the account for which a service of AWS makes a call. It cannot be evaluated, but it confines everybody.
const sourceAccount = "aws:SourceAccount"

// factsAbout are the condition keys that a principal's identity decides. KMS and STS take calls over TLS only.
func factsAbout(p Principal) facts {
	f := facts{}.with(secureTransport, "true")
	if account := p.Account(); account != "" {
		f.with(principalAccount, account).with(callerAccount, account)
	}
	if p.Kind == Organization {
		f.with(principalOrgID, p.ID)
	}
	if p.Kind == Identity && strings.Contains(p.ID, ":iam:") {
		f.with(principalARN, p.ID)
	}
	return f
}

// meets decides whether a call with these facts meets all of the statement's conditions.
func (s Statement) meets(known facts) answer {
	result := answer{yes, ""}
	for _, c := range s.Conditions {
		if is := c.holds(known); is < result.is {
			result = answer{is, fmt.Sprintf("%s %s it only if %s", s.label(), verbs[s.Effect], c)}
		}
	}
	return result
}

// holds is the truth of [Statement.meets], without the reason.
func (s Statement) holds(known facts) truth {
	result := yes
	for _, c := range s.Conditions {
		result = min(result, c.holds(known))
	}
	return result
}

// String is the condition as a phrase that follows "if".
func (c Condition) String() string {
	return clip(c.Key) + " " + clip(c.Operator) + " " + clip(strings.Join(c.Values, " or "))
}

// holds evaluates one condition (IAM User Guide, "IAM JSON policy elements: Condition operators"). Several values are
// alternatives; under a negated operator none of them may match.
func (c Condition) holds(known facts) truth {
	value, isKnown := known[strings.ToLower(c.Key)]
	if !isKnown {
		return maybe
	}
	operator, ifExists := strings.CutSuffix(c.Operator, "IfExists")
	if operator == "Null" {
		return anyOf(c.Values, func(v string) truth { return truthOf(strings.EqualFold(v, "true") == (value == nil)) })
	}
	compare, negated := comparison(operator)
	switch {
	case compare == nil:
		return maybe
	case value == nil:
		return truthOf(ifExists || negated)
	}
	matched := anyOf(c.Values, func(want string) truth { return compare(want, *value) })
	if negated {
		return matched.not()
	}
	return matched
}

// comparison returns the operator's test of a wanted against an actual value, nil for an operator that is not known here.
func comparison(operator string) (compare func(want, got string) truth, negated bool) {
	positive := strings.Replace(operator, "Not", "", 1)
	switch negated = positive != operator; positive {
	case "StringEquals":
		return literally(func(want, got string) bool { return want == got }), negated
	case "StringEqualsIgnoreCase", "Bool":
		return literally(strings.EqualFold), negated
	case "StringLike":
		return matches, negated
	case "ArnEquals", "ArnLike":
		return matchesARN, negated
	}
	return nil, false
}

func literally(equal func(want, got string) bool) func(want, got string) truth {
	return func(want, got string) truth {
		if strings.Contains(want, "${") {
			return maybe
		}
		return truthOf(equal(want, got))
	}
}

// matchesARN compares each of the six parts of an ARN for itself: a wildcard does not reach across a colon.
func matchesARN(want, got string) truth {
	wants, gots := strings.SplitN(want, ":", 6), strings.SplitN(got, ":", 6)
	if len(wants) != len(gots) {
		return min(matches(want, got), maybe)
	}
	result := yes
	for i := range wants {
		result = min(result, matches(wants[i], gots[i]))
	}
	return result
}
