package alert

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/cmek"
)

const (
	// A key policy has at most 32 KB, a record's parameters 100 KB, of which blanks may be most
	// (docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html,
	// docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html).
	mostPolicy, mostParameters = 32 << 10, 131072
	// What a queue takes, envelope included.
	mostQueued = 256 << 10
)

// padding are texts that grow, or shrink, on their way into a message.
var padding = []string{"<", "\u2028", `"`, `\`, "\x00", "\n", "\xff", "\uFFFE", "🔑", "a", " ", "&", "\u00e9", "`", "\u202e"}

// randomAlert is within what AWS and CockroachDB Cloud let through, at the limits more often than not.
func randomAlert(r *rand.Rand) Alert {
	text := func(most int) string {
		pad := padding[r.IntN(len(padding))]
		n := most
		if r.IntN(3) == 0 {
			n = r.IntN(most + 1)
		}
		return strings.Repeat(pad, n/len(pad))
	}
	id := fmt.Sprintf("access-lost/arn:aws:kms:us-east-1:111122223333:key/%x", r.Uint64())
	a := Alert{
		ID: id + "@1", DedupKey: id, Audience: Owners, Severity: Critical, Change: cmek.ChangeKeyPolicy,
		Summary: "The new key policy of 1234 shuts out " + text(200), Impact: text([]int{200, mostPolicy, mostParameters}[r.IntN(3)]),
		Key: "arn:aws:kms:us-east-1:111122223333:key/1234", Principal: text(2048), Runbook: "functions/alerting/README.md#key-policy-replaced",
	}
	for range r.IntN(6) {
		a.RecoverySteps = append(a.RecoverySteps, "The policy before, to save as previous.json: {"+text(mostPolicy)+"}")
	}
	for range []int{0, 3, 300}[r.IntN(3)] {
		a.RecoverySteps = append(a.RecoverySteps, "aws kms enable-key --key-id "+text(100))
	}
	for i := range []int{0, 1, 30, 5000}[r.IntN(4)] {
		a.Clusters = append(a.Clusters, AffectedCluster{
			ID: fmt.Sprintf("%036d", i), Name: text(20), Regions: []string{"us-east-1", "eu-west-1"}, Impact: text(60),
		})
	}
	return a
}

func TestWhateverAnAlertHoldsItsMessageFits(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 3))
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for i := range rounds {
		a := randomAlert(r)
		message, err := a.Message()
		if err != nil {
			t.Fatalf("alert %d: %v", i, err)
		}
		again, _ := a.Message()
		envelope, err := json.Marshal(map[string]string{"Message": message})
		if err != nil {
			t.Fatal(err)
		}
		// json.Marshal escapes these in its own way.
		size := len(envelope) - 5*(strings.Count(message, "<")+strings.Count(message, ">")+strings.Count(message, "&"))
		got, err := ParseMessage(message)
		switch {
		case len(message) > MostMessage || size > mostQueued:
			t.Errorf("alert %d: %d bytes, %d in the envelope; want at most %d", i, len(message), size, mostQueued)
		case err != nil:
			t.Errorf("alert %d: %v", i, err)
		case message != again:
			t.Errorf("alert %d: a repeat has another message", i)
		case !utf8.ValidString(message) || strings.ContainsAny(message, "\uFFFE\uFFFF"):
			t.Errorf("alert %d: the message has characters that a queue cannot transport", i)
		case got.ID != a.ID || got.DedupKey != a.DedupKey || got.Severity != a.Severity || got.Change != a.Change || got.Key != a.Key || got.AffectedCount() != a.AffectedCount():
			t.Errorf("alert %d: arrived as %s %s %s about %d clusters", i, got.ID, got.Severity, got.Key, got.AffectedCount())
		case !strings.HasPrefix(got.Summary, "The new key policy"):
			t.Errorf("alert %d: the summary is %.50q", i, got.Summary)
		case len(got.Clusters) < len(a.Clusters) && !strings.Contains(got.Impact, "names") && !strings.Contains(got.Impact, "too large"):
			t.Errorf("alert %d: lists %d of %d clusters and does not say so: %.200q", i, len(got.Clusters), len(a.Clusters), got.Impact)
		case len(got.RecoverySteps) != len(a.RecoverySteps) && !strings.Contains(got.RecoverySteps[len(got.RecoverySteps)-1], "more steps"):
			t.Errorf("alert %d: has %d of %d steps and does not say so", i, len(got.RecoverySteps), len(a.RecoverySteps))
		}
		for n, step := range got.RecoverySteps {
			if n < len(a.RecoverySteps) && step != plain(a.RecoverySteps[n]) && !strings.Contains(step, "too long for this message") && !strings.Contains(step, "more steps") {
				t.Errorf("alert %d: step %d is half a step: %.80q", i, n, step)
			}
		}
	}
}

// plain is s as JSON transports it.
func plain(s string) string {
	data, _ := json.Marshal(s)
	_ = json.Unmarshal(data, &s)
	return s
}

func TestTheShortestFormOfAnAlertAlwaysFits(t *testing.T) {
	long := strings.Repeat("\x00<\u2028\xff", 100_000)
	a := Alert{
		ID: long, DedupKey: long, Audience: Audience(long), Severity: Severity(long), Change: cmek.Change(long), Summary: long,
		Impact: long, RecoverySteps: []string{long, long}, Key: cmek.KeyURI(long), Principal: long, Runbook: long,
		Clusters: []AffectedCluster{{ID: long, Name: long, Regions: []string{long}, Impact: long}},
	}
	message, err := a.Message()
	if err != nil || enveloped(message) > MostMessage {
		t.Errorf("%d bytes, error %v", enveloped(message), err)
	}
	if got, err := ParseMessage(message); err != nil || got.ClusterCount != 1 || !strings.Contains(got.Impact, "too large") {
		t.Errorf("arrived as %.300v, error %v", got, err)
	}
}
