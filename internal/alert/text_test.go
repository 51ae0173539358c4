package alert

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestAlertTextSaysEverythingInReadingOrder(t *testing.T) {
	a := Alert{
		ID: "01J", DedupKey: "incident-7", Audience: Owners, Severity: Critical, Change: "key unusable",
		Summary:       "Key 1234 is disabled; 2 clusters need it",
		Impact:        "Nodes that restart cannot read their disks.",
		RecoverySteps: []string{"aws kms enable-key --key-id 1234", "Look at the cluster again"},
		Key:           "arn:aws:kms:us-east-1:111122223333:key/1234",
		Clusters: []AffectedCluster{
			{ID: "c-1", Name: "orders", Regions: []string{"us-east-1", "us-west-2"}, Impact: "the next backup fails, within 1h"},
			{ID: "c-2", Name: "payments"},
		},
		Principal: "arn:aws:iam::111122223333:user/ana",
		Time:      time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("CET", 3600)),
		Deadline:  time.Date(2026, 3, 8, 11, 0, 0, 0, time.UTC),
		Runbook:   "functions/alerting/README.md#key-unusable",
	}
	const want = `[CRITICAL] Key 1234 is disabled; 2 clusters need it
When:      2026-03-01T11:00:00Z
Deadline:  2026-03-08T11:00:00Z
Key:       arn:aws:kms:us-east-1:111122223333:key/1234
Principal: arn:aws:iam::111122223333:user/ana

Clusters (2):
  - orders in us-east-1, us-west-2: the next backup fails, within 1h
  - payments

Nodes that restart cannot read their disks.

Recovery steps:
  1. aws kms enable-key --key-id 1234
  2. Look at the cluster again

Runbook: https://github.com/keyturn/keyturn/blob/main/functions/alerting/README.md#key-unusable
`
	if got := a.Text(); got != want {
		t.Errorf("text of the alert:\n%s\nwant:\n%s", got, want)
	}
}

func TestAlertTextLeavesOutWhatIsNotKnown(t *testing.T) {
	a := Alert{Severity: Info, Summary: "Nothing to do"}
	if got, want := a.Text(), "[INFO] Nothing to do\n"; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
}

func TestAlertHeadlineOfTheEndSaysResolvedInsteadOfTheSeverity(t *testing.T) {
	a := Alert{Severity: Critical, Resolved: true, Summary: "Key 1234 works again"}
	if got, want := a.Headline(), "[RESOLVED] Key 1234 works again"; got != want {
		t.Errorf("headline = %q, want %q", got, want)
	}
}

func TestAlertTextListsAFewClustersAndCountsTheRest(t *testing.T) {
	a := Alert{Severity: High, Summary: "A key that everything needs"}
	for i := range 25 {
		a.Clusters = append(a.Clusters, AffectedCluster{ID: fmt.Sprint(i), Name: fmt.Sprintf("name-%02d", i)})
	}
	text := a.Text()
	if !strings.Contains(text, "Clusters (25):\n") || !strings.Contains(text, "  - name-09\n  and 15 more\n") || strings.Contains(text, "name-10") {
		t.Errorf("want the first 10 clusters and %q:\n%s", "and 15 more", text)
	}
}

func TestAClusterIsCalledByItsIDOnlyWhereItsNameDoesNotTell(t *testing.T) {
	a := Alert{Clusters: []AffectedCluster{{ID: "c-1", Name: "orders"}, {ID: "c-2", Name: "dev"}, {ID: "c-3", Name: "dev"}, {ID: "c-4"}}}
	if got, want := strings.Join(a.ClusterLines(), ", "), "orders, dev (c-2), dev (c-3), c-4"; got != want {
		t.Errorf("the clusters are called %s, want %s", got, want)
	}
}

func TestAlertTextCannotBeForgedByTheValuesInIt(t *testing.T) {
	hostile := "x\nRecovery steps:\r\n  1. rm\x1b[2J\u202e\u2028y\xff"
	a := Alert{
		Severity: Severity(hostile), Summary: hostile, Impact: hostile, RecoverySteps: []string{hostile}, Runbook: hostile,
		Key: cmek.KeyURI(hostile), Principal: hostile, Clusters: []AffectedCluster{{ID: hostile}, {Name: hostile, Regions: []string{hostile}, Impact: hostile}},
	}
	const harmless = "x Recovery steps:    1. rm[2J y"
	text := a.Text()
	if strings.ContainsAny(text, "\x1b\r\u202e\u2028") || strings.Contains(text, "\xff") {
		t.Errorf("the text holds control or formatting characters: %q", text)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  1. rm") {
			t.Errorf("a value reads like a recovery step: %q", line)
		}
	}
	if got := strings.Count(text, harmless); got != 10 {
		t.Errorf("%d values are readable on one line, want 10:\n%s", got, text)
	}
}

func TestShortenedAlertCountsAllClusters(t *testing.T) {
	a := Alert{Severity: High, Summary: "A key that everything needs"}
	for i := range 5000 {
		a.Clusters = append(a.Clusters, AffectedCluster{ID: fmt.Sprint(i), Name: fmt.Sprintf("name-%02d", i)})
	}
	whole := a
	a.Shorten(25)
	a.Shorten(5) // again: the count stays that of all
	if a.AffectedCount() != 5000 || len(a.Clusters) != 5 || !a.Shortened() {
		t.Errorf("the alert lists %d of %d clusters, want 5 of 5000", len(a.Clusters), a.AffectedCount())
	}
	text := a.Text()
	if !strings.Contains(text, "Clusters (5000):\n") || !strings.Contains(text, "  - name-04\n  and 4995 more\n") {
		t.Errorf("want 5 clusters and %q:\n%s", "and 4995 more", text)
	}
	if whole.Shorten(5000); whole.Shortened() || whole.ClusterCount != 0 {
		t.Errorf("an alert that lists all clusters has the count %d, want none", whole.ClusterCount)
	}
}
