package google

import "slices"

// truth is Kleene's three-valued logic, ordered no < maybe < yes: "and" is the least, "or" the greatest.
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

// finding is a truth with its reason and, if it is a maybe, what would settle it.
type finding struct {
	is      truth
	why     string
	missing []Missing
}

// unknown is a maybe that hangs on one thing.
func unknown(why string, kind MissingKind, name string) finding {
	return finding{maybe, why, []Missing{{kind, name}}}
}

// all is "and": the least true part, and the first of equals. What would settle a maybe is what would settle each of them.
func all(parts ...finding) finding {
	result := finding{is: yes}
	for _, part := range parts {
		switch {
		case part.is < result.is:
			result = part
		case result.is == maybe: // and the part is one, or a yes, which misses nothing
			result.missing = slices.Concat(result.missing, part.missing)
		}
	}
	return result
}

// add is "or": the truest, and the first of equals. What is added is not to be used any more: a policy may have thousands of members
// that nobody can tell about.
func (f *finding) add(other finding) {
	switch {
	case other.is > f.is:
		*f = other
	case other.is == maybe && f.is == maybe:
		f.missing = append(f.missing, other.missing...)
	}
}
