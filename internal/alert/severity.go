package alert

import "slices"

// Severity orders alerts by how soon a person must act.
type Severity string

// Severities, most urgent first. Critical and High page somebody; Info and None are not sent.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
	Info     Severity = "info"
	// None is the severity of what needs no alert.
	None Severity = "none"
)

// ascending orders the severities. What is not in it ranks as None.
var ascending = []Severity{None, Info, Low, Medium, High, Critical}

func (s Severity) rank() int { return max(0, slices.Index(ascending, s)) }

// Known reports whether s is one of the severities.
func (s Severity) Known() bool { return slices.Contains(ascending, s) }

// AtLeast reports whether s is as urgent as t, or more.
func (s Severity) AtLeast(t Severity) bool { return s.rank() >= t.rank() }

// Above reports whether s is more urgent than t.
func (s Severity) Above(t Severity) bool { return s.rank() > t.rank() }

// Lowered is s by so many steps less urgent, but not below Info. What is Info or None stays.
func (s Severity) Lowered(steps int) Severity {
	if !s.AtLeast(Low) {
		return s
	}
	return ascending[max(s.rank()-steps, Info.rank())]
}

// Worse is the more urgent of the two.
func Worse(s, t Severity) Severity {
	if t.Above(s) {
		return t
	}
	return s
}
