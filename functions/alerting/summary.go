package alerting

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
)

// summary is one line that makes sense alone, also read aloud: what happened, and which clusters it concerns.
func summary(row risk.Row, c risk.Case, usage Usage) string {
	link, unknown, nobody := "needed by", "which clusters need it is unknown", "no cluster needs it"
	if row.Broad(c) {
		link, unknown, nobody = "may concern", "which clusters it concerns is unknown", "it concerns no cluster"
	}
	line := row.Headline(c)
	switch count := len(usage.Clusters); {
	case count > 0:
		return fmt.Sprintf("%s; %s %s", line, link, someNames(usage.Clusters, count))
	case usage.Complete:
		return line + "; " + nobody
	}
	return line + "; " + unknown
}

// someNames lists up to four of the clusters, of which there are count, or three and how many more.
func someNames(clusters []alert.AffectedCluster, count int) string {
	names := clusterNames(clusters)
	if count <= 4 {
		return strings.Join(names, ", ")
	}
	names = names[:min(len(names), 3)]
	return fmt.Sprintf("%s and %d more clusters", strings.Join(names, ", "), count-len(names))
}

func clusterNames(clusters []alert.AffectedCluster) (names []string) {
	for _, c := range clusters {
		names = append(names, cmp.Or(c.Name, c.ID))
	}
	return names
}

func lowerFirst(s string) string { return strings.ToLower(s[:min(len(s), 1)]) + s[min(len(s), 1):] }
