package alert

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Fit returns the alert, shortened as little as it takes for size to report at most the given number of bytes. The result depends
// on the alert alone, so a repeat is shortened in the same way. What is left out is counted, and a note says where it is.
//
// The list of clusters is cut first, as long as enough of them stay; then long texts and steps; at last everything but what
// identifies the alert and says what happened. That last form has at most about a third of any size of 8 KB or more.
func (a Alert) Fit(most int, size func(Alert) int) Alert {
	if size(a) <= most {
		return a
	}
	if fitting, listed := a.fitClusters(most, size); listed >= min(len(a.Clusters), enoughClusters) {
		return fitting
	}
	a = a.cut(most)
	if fitting, listed := a.fitClusters(most, size); listed >= 0 {
		return fitting
	}
	return a.brief(most)
}

const (
	// enoughClusters are worth more than long steps, which can be read elsewhere.
	enoughClusters = 25
	// mostSteps and mostRegions bound lists of short texts.
	mostSteps, mostRegions = 200, 50

	wholeText = `"keyturn alerts" prints the whole text; policies are in the archive, too`
)

// fitClusters returns the alert with as many clusters as fit, and their number; -1 if not even none do.
func (a Alert) fitClusters(most int, size func(Alert) int) (fitting Alert, listed int) {
	low, high := -1, len(a.Clusters) // low is known to fit, unless it is -1
	for low < high {
		middle := (low + high + 1) / 2
		if size(a.listing(middle)) <= most {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return a.listing(max(low, 0)), low
}

// listing is the alert with the first clusters only, and a note if there are more.
func (a Alert) listing(clusters int) Alert {
	if len(a.Clusters) > clusters {
		a.Shorten(clusters)
		a.Impact = strings.TrimSpace(fmt.Sprintf("%s (The list of clusters names %d of %d.)", a.Impact, clusters, a.AffectedCount()))
	}
	return a
}

// cut bounds every text, so that all but the clusters takes less than the given size.
func (a Alert) cut(most int) Alert {
	short := most / 256
	if impact := head(a.Impact, most/16); impact != a.Impact {
		a.Impact = fmt.Sprintf("%s (%d bytes more: %s.)", impact, len(a.Impact)-len(impact), wholeText)
	}
	a.Summary, a.Principal, a.Runbook = shorten(a.Summary, short), shorten(a.Principal, short), shorten(a.Runbook, short)
	if a.Hold != nil {
		hold := *a.Hold
		hold.By, hold.Reason, hold.Cluster = shorten(hold.By, short), shorten(hold.Reason, short), shorten(hold.Cluster, short)
		a.Hold = &hold
	}
	a.RecoverySteps = cutSteps(a.RecoverySteps, most/32, most/8)
	a.Clusters = slices.Clone(a.Clusters)
	for i, c := range a.Clusters {
		c.ID, c.Name, c.Impact = shorten(c.ID, short), shorten(c.Name, short), shorten(c.Impact, short)
		c.Regions = slices.Clone(c.Regions[:min(len(c.Regions), mostRegions)])
		for n, region := range c.Regions {
			c.Regions[n] = shorten(region, 64)
		}
		a.Clusters[i] = c
	}
	return a
}

// cutSteps keeps the steps that are not too long, together and by themselves. A step is shown whole or not at all: half a command
// is dangerous. Of a step that introduces a document, the introduction stays.
func cutSteps(steps []string, each, together int) (kept []string) {
	for i, step := range steps {
		if weight(step) > each {
			introduction, _, found := strings.Cut(step, "{")
			if !found || len(introduction) > 300 || !strings.HasSuffix(introduction, ": ") {
				introduction = ""
			}
			step = fmt.Sprintf("%s(%d bytes, too long for this message: %s)", introduction, len(step)-len(introduction), wholeText)
		}
		const around = 16 // the step's number, quotes and such
		if together -= weight(step) + around; together < 0 || i == mostSteps {
			return append(kept, fmt.Sprintf("(%d more steps: %s)", len(steps)-i, wholeText))
		}
		kept = append(kept, step)
	}
	return kept
}

// brief is the least that is worth sending.
func (a Alert) brief(most int) Alert {
	short := most / 256
	return Alert{
		ID: shorten(a.ID, most/32), DedupKey: shorten(a.DedupKey, most/32), Resolved: a.Resolved,
		Audience: Audience(shorten(string(a.Audience), short)), Severity: Severity(shorten(string(a.Severity), short)),
		Change: cmek.Change(shorten(string(a.Change), short)), Summary: shorten(a.Summary, short),
		Impact: "This alert is too large to be sent whole: " + wholeText + ".",
		Key:    cmek.KeyURI(shorten(string(a.Key), short)), Principal: shorten(a.Principal, short), ClusterCount: a.AffectedCount(),
		Time: a.Time, Deadline: a.Deadline, Runbook: shorten(a.Runbook, short),
	}
}

const ellipsis = "…"

// shorten is s, or its beginning with an ellipsis, of at most the weight.
func shorten(s string, most int) string {
	if weight(s) <= most {
		return s
	}
	return head(s, most-len(ellipsis)) + ellipsis
}

// head is the longest beginning of s of at most the weight.
func head(s string, most int) string {
	for i, r := range s {
		if most -= weightOf(r, s[i:]); most < 0 {
			return s[:i]
		}
	}
	return s
}

// weight is how many bytes s takes in JSON that escapes what it must, and at least as it is.
func weight(s string) (bytes int) {
	for i, r := range s {
		bytes += weightOf(r, s[i:])
	}
	return bytes
}

func weightOf(r rune, at string) int {
	const escaped = len(`\u2028`)
	switch {
	case r == '"' || r == '\\':
		return 2
	case r < ' ', r == '\u2028', r == '\u2029', r == '\uFFFE', r == '\uFFFF':
		return escaped
	case r == utf8.RuneError:
		if _, n := utf8.DecodeRuneInString(at); n == 1 {
			return escaped // It is no UTF-8.
		}
	}
	return utf8.RuneLen(r)
}
