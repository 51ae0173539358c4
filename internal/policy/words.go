package policy

import (
	"fmt"
	"slices"
	"strings"
)

// with is the grant as a sentence with the verb given.
func (g Grant) with(verb string) string {
	sentence := fmt.Sprintf("%s %s %s", g.Principal, verb, doing(g.Actions))
	if len(g.Conditions) > 0 {
		sentence += " if " + listed(g.Conditions, " and ")
	}
	return sentence
}

// describe makes one sentence for all actions that share a reason. The pattern takes the role, the actions and the reason.
func (a Access) describe(pattern string, actions []string) []string {
	var reasons []string
	byReason := map[string][]string{}
	for _, action := range actions {
		why := a.Verdicts[action].Why
		if byReason[why] == nil {
			reasons = append(reasons, why)
		}
		byReason[why] = append(byReason[why], action)
	}
	var sentences []string
	for _, why := range reasons {
		sentences = append(sentences, fmt.Sprintf(pattern, clip(a.Role), inWords(byReason[why]), why))
	}
	return sentences
}

// doing is what somebody does who takes the actions, as it follows "may".
func doing(actions []string) string {
	if slices.Equal(actions, []string{assumeRole}) {
		return "assume the role"
	}
	return "call " + inWords(actions)
}

// inWords lists actions as somebody would write them into a policy: "kms:*" for all, a wildcard for a family, what a
// cluster needs first, and a long rest only counted.
func inWords(actions []string) string {
	if isSubset(keyCatalog, actions) {
		return "kms:*"
	}
	rest := slices.Clone(actions)
	var words []string
	take := func(word string, family ...string) {
		if isSubset(family, rest) {
			words = append(words, word)
			rest = slices.DeleteFunc(rest, func(action string) bool { return slices.Contains(family, action) })
		}
	}
	take("kms:Encrypt", "kms:Encrypt")
	take("kms:Decrypt", "kms:Decrypt")
	take("kms:GenerateDataKey*", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext")
	take("kms:GenerateDataKey*", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext")
	take("kms:DescribeKey", "kms:DescribeKey")
	take("kms:ReEncrypt*", "kms:ReEncryptFrom", "kms:ReEncryptTo")
	for _, action := range rest {
		words = append(words, clip(action))
	}
	return listed(words, ", ")
}

// listed joins words, and counts those beyond what somebody would read.
func listed(words []string, separator string) string {
	const most = 8
	if len(words) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], separator), len(words)-most)
	}
	return strings.Join(words, separator)
}

func isSubset(some, of []string) bool {
	return !slices.ContainsFunc(some, func(one string) bool { return !slices.Contains(of, one) })
}
