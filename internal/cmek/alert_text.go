package cmek

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// mostClustersInText bounds the text of an alert; its JSON lists every cluster.
const mostClustersInText = 20

// Headline is the alert in one line: how urgent it is (or that it is over) and the summary.
func (a Alert) Headline() string {
	word := strings.ToUpper(string(a.Severity))
	if a.Resolved {
		word = "RESOLVED"
	}
	return "[" + printable(word) + "] " + printable(a.Summary)
}

// Text is the alert for people to read: the headline, the facts, the consequence and the way back, in plain text that
// ends with a newline. A value takes one line and holds no control characters, so that no text from outside can
// imitate another part of the alert or drive a terminal.
func (a Alert) Text() string {
	var b strings.Builder
	b.WriteString(a.Headline() + "\n")

	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-11s%s\n", name+":", printable(value))
		}
	}
	fact("When", timestamp(a.Time))
	fact("Deadline", timestamp(a.Deadline))
	fact("Key", string(a.Key))
	fact("Principal", a.Principal)
	for i, c := range a.Clusters {
		if i == mostClustersInText {
			fact("Clusters", fmt.Sprintf("and %d more", len(a.Clusters)-i))
			break
		}
		fact("Cluster", affected(c))
	}

	if a.Consequence != "" {
		b.WriteString("\n" + printable(a.Consequence) + "\n")
	}
	if len(a.WayBack) > 0 {
		b.WriteString("\nWay back:\n")
	}
	for i, step := range a.WayBack {
		fmt.Fprintf(&b, "%3d. %s\n", i+1, printable(step))
	}
	if a.Runbook != "" {
		b.WriteString("\nRunbook: " + printable(a.Runbook) + "\n")
	}
	return b.String()
}

// affected names a cluster, and the regions of it that are concerned.
func affected(c AffectedCluster) string {
	s := c.Name + " (" + c.ID + ")"
	if len(c.Regions) > 0 {
		s += " in " + strings.Join(c.Regions, ", ")
	}
	return s
}

func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// printable makes s one line: white space becomes a blank, and what neither prints nor takes space (control and
// formatting characters, invalid UTF-8) is left out.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar, !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
}
