package google

import (
	"fmt"
	"slices"
	"strings"
)

// Denial is what a deny policy takes from one principal, with the same exceptions and under the same condition.
type Denial struct {
	// Member is the principal's identifier, as the policy writes it.
	Member string
	// On is the project, folder or organization that the policy is attached to.
	On string
	// Permissions are those of [KeyPermissions] and [ActAsPermissions] that are denied, or may be.
	Permissions []Permission
	// Except are the principals that are not denied it, sorted.
	Except []string
	// Condition is the expression that must hold; "" if there is none.
	Condition string
	// exceptions stands for the set of those excepted.
	exceptions string
}

// String is the denial as a sentence.
func (d Denial) String() string { return d.with("is denied") }

func (d Denial) with(verb string) string {
	var what []string
	if keys := slices.DeleteFunc(slices.Clone(d.Permissions), func(p Permission) bool { return p == Impersonate }); len(keys) > 0 {
		words := map[Permission]string{Encrypt: "encrypting", Decrypt: "decrypting"}
		verbs := make([]string, len(keys))
		for i, p := range keys {
			verbs[i] = words[p]
		}
		what = append(what, strings.Join(verbs, " and ")+" with the keys of "+label(d.On))
	}
	if slices.Contains(d.Permissions, Impersonate) {
		what = append(what, "acting as the service accounts of "+label(d.On))
	}
	sentence := clip(d.Member) + " " + verb + " " + strings.Join(what, ", and ")
	if len(d.Except) > 0 {
		clipped := make([]string, len(d.Except))
		for i, one := range d.Except {
			clipped[i] = clip(one)
		}
		sentence += ", except " + listed(clipped, ", ")
	}
	if d.Condition != "" {
		sentence += ", if " + clip(d.Condition)
	}
	return sentence
}

// Denials lists what a deny policy on the project, folder or organization takes of the permissions that keys need, in the order of its
// rules. What may be about such a permission counts.
func Denials(on string, p DenyPolicy) (list []Denial) {
	for _, rule := range p.Rules {
		d := Denial{On: on, Except: slices.Compact(slices.Sorted(slices.Values(rule.ExceptionPrincipals)))}
		folded := make([]string, len(d.Except))
		for i, member := range d.Except {
			folded[i] = fold(member)
		}
		slices.Sort(folded)
		d.exceptions = strings.Join(slices.Compact(folded), "\n")
		if rule.Condition != nil {
			d.Condition = rule.Condition.Expression
		}
		for _, permission := range slices.Concat(KeyPermissions, ActAsPermissions) {
			if rule.covers(permission).is != no {
				d.Permissions = append(d.Permissions, permission)
			}
		}
		if len(d.Permissions) == 0 {
			continue
		}
		for _, member := range unique(rule.DeniedPrincipals) {
			d.Member = member
			list = append(list, d)
		}
	}
	return list
}

// DiffDenials describes what is newly denied, what no longer, and who is excepted from the same denial now or no longer. It is empty if both
// lists deny the same, however they are divided into rules.
func DiffDenials(before, after []Denial) []string {
	var sentences []string
	was, is := byPermission(before), byPermission(after)
	for _, d := range together(without(is, was)) {
		if old, ok := onlyExceptions(was, is, d); ok {
			sentences = append(sentences, reexcepted(old, d)...)
			continue
		}
		sentences = append(sentences, d.with("is newly denied"))
	}
	for _, d := range together(without(was, is)) {
		if _, ok := onlyExceptions(is, was, d); !ok {
			sentences = append(sentences, d.with("is no longer denied"))
		}
	}
	return unique(sentences)
}

// denied names a denial of one permission without its exceptions.
type denied struct {
	member, on, condition string
	permission            Permission
}

func (d Denial) of(p Permission) denied { return denied{fold(d.Member), d.On, d.Condition, p} }

// denials are denials of one permission each, in their order, those with the same name together.
type denials struct {
	order []denied
	by    map[denied][]Denial
}

func byPermission(list []Denial) denials {
	all := denials{by: map[denied][]Denial{}}
	for _, d := range list {
		for _, p := range d.Permissions {
			one, name := d, d.of(p)
			one.Permissions = []Permission{p}
			if all.by[name] == nil {
				all.order = append(all.order, name)
			}
			if !all.has(name, one) {
				all.by[name] = append(all.by[name], one)
			}
		}
	}
	return all
}

func (a denials) has(name denied, d Denial) bool {
	return slices.ContainsFunc(a.by[name], func(o Denial) bool { return o.exceptions == d.exceptions })
}

// without are the denials that the others have not.
func without(all, others denials) (left []Denial) {
	for _, name := range all.order {
		for _, d := range all.by[name] {
			if !others.has(name, d) {
				left = append(left, d)
			}
		}
	}
	return left
}

// together joins denials of a principal that differ in their permissions alone.
func together(list []Denial) (joined []Denial) {
	at := map[denied][]int{}
	for _, d := range list {
		whose := d.of("")
		i := slices.IndexFunc(at[whose], func(i int) bool { return joined[i].exceptions == d.exceptions })
		if i < 0 {
			at[whose] = append(at[whose], len(joined))
			joined = append(joined, d)
			continue
		}
		one := &joined[at[whose][i]]
		one.Permissions = slices.Concat(one.Permissions, d.Permissions)
	}
	return joined
}

// onlyExceptions is the denial among the others that differs from this one in its exceptions alone, if each side has one such only.
func onlyExceptions(others, own denials, d Denial) (other Denial, found bool) {
	for _, p := range d.Permissions {
		name := d.of(p)
		if len(others.by[name]) != 1 || len(own.by[name]) != 1 || found && other.exceptions != others.by[name][0].exceptions {
			return Denial{}, false
		}
		other, found = others.by[name][0], true
	}
	return other, found
}

// reexcepted describes a denial whose exceptions alone changed.
func reexcepted(before, after Denial) (sentences []string) {
	have := func(list []string, member string) bool {
		return slices.ContainsFunc(list, func(one string) bool { return fold(one) == fold(member) })
	}
	bare := after
	bare.Except = nil
	for _, member := range before.Except {
		if !have(after.Except, member) {
			sentences = append(sentences, fmt.Sprintf("%s is no longer excepted where %s", clip(member), bare.String()))
		}
	}
	for _, member := range after.Except {
		if !have(before.Except, member) {
			sentences = append(sentences, fmt.Sprintf("%s is newly excepted where %s", clip(member), bare.String()))
		}
	}
	return sentences
}
