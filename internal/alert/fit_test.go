package alert

import (
	"fmt"
	"strings"
	"testing"
)

func textSize(a Alert) int { return len(a.Text()) }

func TestFit_whatFitsStaysAsItIs(t *testing.T) {
	a := Alert{Summary: "s", RecoverySteps: []string{"one"}, Clusters: []AffectedCluster{{ID: "c"}}}
	if got := a.Fit(10_000, textSize); fmt.Sprint(got) != fmt.Sprint(a) {
		t.Errorf("got %+v, want %+v", got, a)
	}
}

func TestFit_aStepIsWholeOrNotThere(t *testing.T) {
	a := Alert{Summary: "s", RecoverySteps: []string{
		"aws kms enable-key --key-id 1234",
		"The policy before, to save as previous.json: {" + strings.Repeat("x", 50_000) + "}",
		"aws kms put-key-policy --policy '{" + strings.Repeat("x", 50_000) + "}'",
		"the last",
	}}
	got := a.Fit(16<<10, textSize).RecoverySteps
	if len(got) != 4 || got[0] != a.RecoverySteps[0] || got[3] != "the last" {
		t.Errorf("the steps are %.500q", got)
	}
	if want := "The policy before, to save as previous.json: (50002 bytes, too long for this message: "; !strings.HasPrefix(got[1], want) {
		t.Errorf("a document is shown as %.200q, want %q…", got[1], want)
	}
	if !strings.HasPrefix(got[2], "(50036 bytes, too long") {
		t.Errorf("a command is shown as %.200q, want nothing of it", got[2])
	}
	if len(a.RecoverySteps[1]) < 50_000 {
		t.Error("the alert itself was changed")
	}
}

func TestFit_longStepsGoBeforeTheLastClusters(t *testing.T) {
	a := Alert{Summary: "s", Impact: "All stops.", RecoverySteps: []string{strings.Repeat("x", 10_000)}}
	for i := range 30 {
		a.Clusters = append(a.Clusters, AffectedCluster{ID: fmt.Sprint(i), Impact: strings.Repeat("y", 50)})
	}
	size := func(a Alert) int { data, _ := a.JSON(); return len(data) }
	got := a.Fit(8<<10, size)
	if len(got.Clusters) != 30 || size(got) > 8<<10 || !strings.Contains(got.RecoverySteps[0], "too long") {
		t.Errorf("%d clusters, steps %.100q", len(got.Clusters), got.RecoverySteps)
	}
}

func TestJSON_escapesNothingThatNeedNotBe(t *testing.T) {
	got, err := Alert{Summary: "<&>\uFFFE"}.JSON()
	if err != nil || !strings.Contains(string(got), `"summary":"<&>\ufffe"`) || strings.Contains(string(got), "\n") {
		t.Errorf("JSON is %s, error %v", got, err)
	}
}
