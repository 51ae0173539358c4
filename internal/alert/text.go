package alert

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/keyturn/keyturn/internal/version"
)

// MostClusters bounds the clusters that people are shown of one alert; its JSON lists all, or says how many there are.
const MostClusters = 10

// Headline is the alert in one line: how urgent it is (or that it is resolved) and the summary.
func (a Alert) Headline() string {
	word := strings.ToUpper(string(a.Severity))
	if a.Resolved {
		word = "RESOLVED"
	}
	return "[" + printable(word) + "] " + printable(a.Summary)
}

// Text is the alert for people to read: the headline, the facts, the impact and the recovery steps, in plain text that
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
	fact("On hold", a.HoldText())
	if a.AffectedCount() > 0 {
		fmt.Fprintf(&b, "\nClusters (%d):\n", a.AffectedCount())
	}
	lines := a.ClusterLines()
	lines = lines[:min(len(lines), MostClusters)]
	for _, line := range lines {
		b.WriteString("  - " + line + "\n")
	}
	if more := a.AffectedCount() - len(lines); more > 0 {
		fmt.Fprintf(&b, "  and %d more\n", more)
	}
	if a.Impact != "" {
		b.WriteString("\n" + printable(a.Impact) + "\n")
	}
	if len(a.RecoverySteps) > 0 {
		b.WriteString("\nRecovery steps:\n")
	}
	for i, step := range a.RecoverySteps {
		fmt.Fprintf(&b, "%3d. %s\n", i+1, printable(step))
	}
	if a.Runbook != "" {
		b.WriteString("\nRunbook: " + printable(version.URL(a.Runbook)) + "\n")
	}
	return b.String()
}

// HoldText says what the operator's hold means for what the alert is about, in one sentence; "" if there is none.
func (a Alert) HoldText() string {
	if a.Hold == nil {
		return ""
	}
	by := ""
	if a.Hold.By != "" {
		by = ", by " + a.Hold.By
	}
	return fmt.Sprintf("keyturn sends no PUT and repairs nothing until %s%s: %s", timestamp(a.Hold.Until), by, a.Hold.Reason)
}

// ClusterLines are the listed clusters for people to read (see [Alert.AffectedCount] for those that are not), each on a line: its
// name, the regions that are concerned, and what fails there by when. The id stands only where the name does not tell clusters apart.
func (a Alert) ClusterLines() []string {
	named := map[string]int{}
	for _, c := range a.Clusters {
		named[c.Name]++
	}
	lines := make([]string, len(a.Clusters))
	for i, c := range a.Clusters {
		line := c.Name
		switch {
		case c.Name == "":
			line = c.ID
		case named[c.Name] > 1:
			line += " (" + c.ID + ")"
		}
		if len(c.Regions) > 0 {
			line += " in " + strings.Join(c.Regions, ", ")
		}
		if c.Impact != "" {
			line += ": " + c.Impact
		}
		lines[i] = printable(line)
	}
	return lines
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
