package policy

// truth is Kleene's three-valued logic, ordered no < maybe < yes: "and" is the least, "or" the greatest. All decisions
// are built from it, so one more Allow never takes access away and one more Deny never gives any.
type truth int

const (
	no truth = iota
	maybe
	yes
)

func (t truth) not() truth { return yes - t }

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// anyOf is the truth of "one of them is".
func anyOf[T any](all []T, is func(T) truth) truth {
	result := no
	for _, one := range all {
		result = max(result, is(one))
	}
	return result
}

// answer is a truth with the reason for it.
type answer struct {
	is  truth
	why string
}

// either is "or": the truest answer, and the first of equals.
func either(first answer, others ...answer) answer {
	for _, other := range others {
		if other.is > first.is {
			first = other
		}
	}
	return first
}

// both is "and": the least true answer, and the first of equals.
func both(first answer, others ...answer) answer {
	for _, other := range others {
		if other.is < first.is {
			first = other
		}
	}
	return first
}

func (a answer) not() answer { return answer{a.is.not(), a.why} }

func (a answer) verdict() Verdict {
	return Verdict{[...]Decision{no: Denied, maybe: CannotTell, yes: Allowed}[a.is], a.why}
}
