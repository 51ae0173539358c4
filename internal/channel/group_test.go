package channel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// storm is what alerting sends when ana disables so many keys within a minute.
func storm(keys int) (alerts []alert.Alert) {
	for i := range keys {
		key := fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-%012d", i)
		a := alert.Alert{
			ID: "key-unusable/" + key + "@e", DedupKey: "key-unusable/" + key, Audience: alert.Owners, Severity: alert.Critical,
			Change: cmek.ChangeKeyDisabled, Key: cmek.KeyURI(key), Summary: fmt.Sprintf("Key 1234abcd-12ab-34cd-56ef-%012d in us-east-1 was disabled", i),
			Clusters:  []alert.AffectedCluster{{ID: fmt.Sprintf("c-%d", i), Name: fmt.Sprintf("cluster-%d", i)}},
			Principal: "arn:aws:sts::111122223333:assumed-role/admin/ana", Time: time.Date(2026, 3, 1, 11, 0, i%60, 0, time.UTC),
			Runbook: "functions/alerting/RUNBOOK.md#key-disabled", RecoverySteps: []string{"aws kms enable-key --region us-east-1 --key-id " + key},
		}
		if i%10 == 3 {
			a.Severity, a.Clusters = alert.Medium, nil // nobody uses it
		}
		alerts = append(alerts, a)
	}
	return alerts
}

func ended(alerts []alert.Alert) (ends []alert.Alert) {
	for _, a := range alerts {
		a.ID, a.Resolved, a.Severity, a.Time = a.ID+"/resolved", true, alert.Info, a.Time.Add(time.Hour)
		a.Summary, a.RecoverySteps = strings.Replace(a.Summary, "was disabled", "is enabled again", 1), nil
		ends = append(ends, a)
	}
	return ends
}

// batches are the kinds of batches that look different.
func batches() map[string][]alert.Alert {
	deletion := firing()
	deletion.Principal = "arn:aws:iam::111122223333:user/bob"
	mixed := slices.Concat(ended(storm(12)), storm(40)[20:], []alert.Alert{deletion})

	var clusters, principals []alert.Alert
	for i := range 500 {
		clusters = append(clusters, alert.Alert{
			ID: fmt.Sprintf("rotate-failed/c-%d", i), DedupKey: fmt.Sprintf("rotate-failed/c-%d", i), Severity: alert.High, Change: "rotate failed",
			Key: firing().Key, Summary: fmt.Sprintf("Cluster c%d could not be re-encrypted in us-east-1", i),
			Clusters: []alert.AffectedCluster{{ID: fmt.Sprintf("c-%d", i), Name: fmt.Sprintf("c%d", i)}}, Runbook: "functions/rotation/RUNBOOK.md#rotate-failed",
		})
	}
	for i, a := range storm(30) {
		a.Principal = fmt.Sprintf("arn:aws:iam::111122223333:user/u%02d", i)
		principals = append(principals, a)
	}
	large := firing()
	large.ID, large.Clusters, large.ClusterCount = "large", large.Clusters[:1], 500
	hostile := alerts()["hostile"]
	hostile.ID, hostile.Change, hostile.Severity = "h", "<!channel> ```*x", "<!here>"
	huge, known := alerts()["huge"], alerts()["hostile"]
	huge.ID, known.ID = "huge", "known"
	return map[string][]alert.Alert{
		"storm": storm(1000), "resolved": ended(storm(250)), "mixed": mixed, "clusters": clusters, "principals": principals,
		"large":   {large, firing()},
		"hostile": {hostile, huge, known},
	}
}

func TestEachBatchIsExactlyThisMessage(t *testing.T) {
	for kind, batch := range batches() {
		r := newReceiver(t)
		channels := r.channels()
		var firing []alert.Alert
		for _, a := range batch {
			if !a.Resolved {
				firing = append(firing, a)
			}
		}
		for name, send := range map[string]func() error{
			"slack-group": func() error { return channels["slack"].(Slack).SendAll(t.Context(), batch) },
			"slack-count": func() error { return channels["slack"].(Slack).SendCount(t.Context(), batch) },
			"pagerduty-rest": func() error {
				return channels["pagerduty"].(PagerDuty).SendRest(t.Context(), "more/1", firing[:min(len(firing), 100)], len(firing))
			},
		} {
			if name == "pagerduty-rest" && len(firing) == 0 || name != "slack-group" && kind != "mixed" {
				continue
			}
			if err := send(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, r.bodies[len(r.bodies)-1], "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			golden := "testdata/" + name + "-" + kind + ".json"
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("the batch %q is for %s:\n%s\nwant %s (%v; -update rewrites it)", kind, name, &got, golden, err)
			}
		}
	}
}

func TestABatchOfOneIsThatAlertsMessage(t *testing.T) {
	r := newReceiver(t)
	slack := r.channels()["slack"].(Slack)
	for kind, a := range alerts() {
		r.bodies = nil
		if err := slack.Send(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		for _, batch := range [][]alert.Alert{{a}, {a, a}} {
			if err := slack.SendAll(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			if got := r.bodies[len(r.bodies)-1]; !bytes.Equal(r.bodies[0], got) {
				t.Errorf("the alert %q, %d times, is\n%s\nwant\n%s", kind, len(batch), got, r.bodies[0])
			}
		}
	}
}

// docs.slack.dev/reference/block-kit/blocks
func TestNoBatchBreaksTheLimitsOfSlack(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	text := func() string {
		return strings.Repeat(string([]rune{'&', '<', '*', 'a', '世', '\n', 0x202e}[r.IntN(7)]), r.IntN(1500))
	}
	all := batches()
	for i := range 300 {
		var batch []alert.Alert
		for n := range 2 + r.IntN(60) {
			batch = append(batch, alert.Alert{
				ID: fmt.Sprint(n), Severity: alert.Severity(text()), Change: cmek.Change(text()), Principal: text(), Summary: text(), Runbook: text(),
				Resolved: r.IntN(3) == 0, ClusterCount: r.IntN(1e6), Time: time.Unix(r.Int64N(4e9), 0), Deadline: time.Unix(r.Int64N(4e9), 0),
			})
		}
		all[fmt.Sprint("random ", i)] = batch
	}
	for name, batch := range all {
		m := Slack{}.summary(alert.GroupAlerts(batch))
		if m.Text == "" || len(m.Text) > 40_000 || len(m.Blocks) > 50 {
			t.Errorf("%s: the text has %d bytes, and there are %d blocks", name, len(m.Text), len(m.Blocks))
		}
		for i, b := range m.Blocks {
			if most := map[string]int{"header": mostHeader, "section": mostSection}[b.Type]; b.Text.Text == "" || len(b.Text.Text) > most {
				t.Errorf("%s: block %d, a %s, has %d bytes, want 1 to %d", name, i, b.Type, len(b.Text.Text), most)
			}
			for _, mark := range []string{"<!", "<@", "<#"} {
				if strings.Contains(b.Text.Text, mark) && b.Text.Type == "mrkdwn" {
					t.Errorf("%s: block %d notifies people: %s", name, i, b.Text.Text)
				}
			}
		}
	}
}

func TestTheMessageOfABatchDoesNotDependOnItsOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for kind, batch := range batches() {
		want := fmt.Sprint(Slack{}.summary(alert.GroupAlerts(batch)).Blocks[0].Text.Text, texts(Slack{}.summary(alert.GroupAlerts(batch))))
		shuffled := slices.Concat(batch, batch[:len(batch)/2]) // some arrive twice
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := fmt.Sprint(Slack{}.summary(alert.GroupAlerts(shuffled)).Blocks[0].Text.Text, texts(Slack{}.summary(alert.GroupAlerts(shuffled)))); got != want {
			t.Errorf("%s: in another order, some twice, it is\n%s\nwant\n%s", kind, got, want)
		}
	}
}

func texts(m slackMessage) (all []string) {
	for _, b := range m.Blocks {
		all = append(all, b.Text.Text)
	}
	return all
}

func TestWhichRefusalsAreOfTheContent(t *testing.T) {
	for status, want := range map[int]bool{400: true, 413: true, 422: true, 401: false, 403: false, 404: false, 410: false, 429: false, 500: false, 302: false} {
		if got := (&Refused{Status: status}).OfContent(); got != want {
			t.Errorf("status %d is a refusal of the content: %t, want %t", status, got, want)
		}
	}
}
