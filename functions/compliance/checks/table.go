package checks

import (
	"fmt"
	"slices"
	"strings"
)

// Table is the catalog as tables of Markdown: what each check demands, what it needs, and which clauses of frameworks cite it.
func Table() string {
	var out strings.Builder
	out.WriteString("| Check | Title | What must hold | About | Severity | AWS | Google Cloud |\n|---|---|---|---|---|---|---|\n")
	for _, c := range catalog {
		var severities []string
		for _, s := range c.Severities {
			severities = append(severities, string(s))
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s | %s |\n", c.ID, c.Title, c.Clause, c.Subject, strings.Join(severities, " or "), c.needs(AWS), c.needs(GCP))
	}
	out.WriteString("\n| Check | Cited by |\n|---|---|\n")
	for _, c := range catalog {
		fmt.Fprintf(&out, "| %s | %s |\n", c.ID, citations(c.Citations))
	}
	out.WriteString("\n| Fact | Read by | Not older than |\n|---|---|---|\n")
	var seen []string
	for _, c := range catalog {
		for _, n := range append(c.NeedsOn(AWS), c.GCP.Needs...) {
			if !slices.Contains(seen, n.Name) {
				seen = append(seen, n.Name)
				fmt.Fprintf(&out, "| %s | %s | %s |\n", n.Name, strings.ReplaceAll(n.From, "*", `\*`), span(n.MaxAge))
			}
		}
	}
	return out.String()
}

// needs are the facts of a cloud in one cell, or why there are none.
func (c Check) needs(cloud Cloud) string {
	rule, _ := c.On(cloud)
	if rule.NotApplicable != "" {
		return "not applicable: " + rule.NotApplicable
	}
	var names []string
	for _, n := range c.NeedsOn(cloud) {
		names = append(names, n.Name)
	}
	return strings.Join(names, ", ")
}

// citations are those of one framework and version together, each with who maps it.
func citations(all []Citation) string {
	if len(all) == 0 {
		return "no known mapping"
	}
	var groups []string
	for i := 0; i < len(all); {
		first := all[i]
		var clauses []string
		for ; i < len(all) && all[i].Framework == first.Framework && all[i].Version == first.Version && all[i].By == first.By; i++ {
			clauses = append(clauses, all[i].Clause)
		}
		groups = append(groups, fmt.Sprintf("%s %s: %s (%s)", first.Framework, first.Version, strings.Join(clauses, ", "), first.By))
	}
	return strings.Join(groups, "; ")
}
