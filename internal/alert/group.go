package alert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Group is what several alerts have in common: the same change by the same principal, begun or resolved.
type Group struct {
	Change    cmek.Change
	Principal string
	Resolved  bool
	// Alerts are those of the group, the most urgent first.
	Alerts []Alert
}

// GroupAlerts puts the alerts into groups for people to read: what is resolved comes last; before that the group with the most
// urgent alert first, then the largest. A repeat of a message counts once. The order depends on the alerts only, not on theirs.
func GroupAlerts(alerts []Alert) []Group {
	type kind struct {
		change    cmek.Change
		principal string
		resolved  bool
	}
	groups := map[kind]*Group{}
	seen := map[string]bool{}
	for _, a := range alerts {
		if seen[a.ID] {
			continue
		}
		seen[a.ID] = true
		k := kind{a.Change, a.Principal, a.Resolved}
		if groups[k] == nil {
			groups[k] = &Group{Change: a.Change, Principal: a.Principal, Resolved: a.Resolved}
		}
		groups[k].Alerts = append(groups[k].Alerts, a)
	}
	list := make([]Group, 0, len(groups))
	for _, g := range groups {
		slices.SortFunc(g.Alerts, ByUrgency)
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b Group) int {
		return cmp.Or(lastIf(a.Resolved, b.Resolved), cmp.Compare(b.Worst().urgency(), a.Worst().urgency()),
			cmp.Compare(len(b.Alerts), len(a.Alerts)), strings.Compare(string(a.Change), string(b.Change)), strings.Compare(a.Principal, b.Principal))
	})
	return list
}

// ByUrgency orders alerts by how soon a person should read them: by severity, deadline, and clusters concerned.
func ByUrgency(a, b Alert) int {
	return cmp.Or(cmp.Compare(b.Severity.urgency(), a.Severity.urgency()), lastIf(a.Deadline.IsZero(), b.Deadline.IsZero()), a.Deadline.Compare(b.Deadline),
		cmp.Compare(b.AffectedCount(), a.AffectedCount()), a.Time.Compare(b.Time), strings.Compare(a.Summary, b.Summary), strings.Compare(a.ID, b.ID))
}

func lastIf(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// urgency is the rank of a severity; one that is not known counts as high.
func (s Severity) urgency() int {
	if !s.Known() {
		return High.rank()
	}
	return s.rank()
}

// Worst is the severity of the group's most urgent alert.
func (g Group) Worst() Severity { return g.Alerts[0].Severity }

// Counts says how many alerts there are of each severity, the most urgent first: "2 critical, 1 high".
func Counts(alerts []Alert) string {
	count := map[Severity]int{}
	for _, a := range alerts {
		if !a.Severity.Known() {
			a.Severity = ""
		}
		count[a.Severity]++
	}
	severities := slices.SortedFunc(maps.Keys(count), func(a, b Severity) int {
		return cmp.Or(cmp.Compare(b.urgency(), a.urgency()), strings.Compare(string(a), string(b)))
	})
	var parts []string
	for _, s := range severities {
		parts = append(parts, fmt.Sprintf("%d %s", count[s], cmp.Or(string(s), "of unknown severity")))
	}
	return strings.Join(parts, ", ")
}

// Span is from the group's first alert to its last; both are zero if no time is known.
func (g Group) Span() (from, to time.Time) {
	for _, a := range g.Alerts {
		if !a.Time.IsZero() && (from.IsZero() || a.Time.Before(from)) {
			from = a.Time
		}
		if a.Time.After(to) {
			to = a.Time
		}
	}
	return from, to
}

// Deadline is the earliest deadline of the group; zero if there is none.
func (g Group) Deadline() (first time.Time) {
	for _, a := range g.Alerts {
		if !a.Deadline.IsZero() && (first.IsZero() || a.Deadline.Before(first)) {
			first = a.Deadline
		}
	}
	return first
}

// Clusters is how many clusters the group concerns. exact is false if an alert lists only some of its clusters, so that there may be
// more.
func (g Group) Clusters() (count int, exact bool) {
	ids, most, exact := map[string]bool{}, 0, true
	for _, a := range g.Alerts {
		for _, c := range a.Clusters {
			ids[c.ID] = true
		}
		most = max(most, a.AffectedCount())
		exact = exact && !a.Shortened()
	}
	return max(len(ids), most), exact || len(g.Alerts) == 1
}
