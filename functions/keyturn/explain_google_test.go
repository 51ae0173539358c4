package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// What each sample of Google Cloud means, as people read it and as programs do: read testdata aloud before changing it.
func TestExplainIsRightAboutEverySampleOfGoogle(t *testing.T) {
	var forPeople, forPrograms strings.Builder
	samples := samplesOf(t, "../../events/testdata/google/*.json")
	for _, name := range slices.Sorted(maps.Keys(samples)) {
		for _, form := range []struct {
			golden *strings.Builder
			args   []string
		}{{&forPeople, nil}, {&forPrograms, []string{"-o", "json"}}} {
			o := explainText(t.Context(), samples[name], form.args...)
			o.wantCode(t, exitFine, "explain", name)
			fmt.Fprintf(form.golden, "-- %s --\n%s\n", name, o.out)
		}
	}
	golden(t, "explain-google.txt", forPeople.String())
	golden(t, "explain-google.json.txt", forPrograms.String())
}

// Hostile names are refused before a command is made of them, and the reason says so.
func TestExplainRefusesHostileNamesOfGoogle(t *testing.T) {
	for name, text := range samplesOf(t, "../../events/testdata/google/bad/hostile-*.json") {
		o := explainText(t.Context(), text)
		if o.code == exitFine || strings.Contains(o.out, "gcloud") {
			t.Errorf("%s: code %d\n%s", name, o.code, o.out)
		}
		if !strings.Contains(o.err, "not of the form") && !strings.Contains(o.err, "neither") && !strings.Contains(o.err, "is not a number") && !strings.Contains(o.err, "cannot have that name") {
			t.Errorf("%s: the reason is %q", name, o.err)
		}
	}
}

// Records of both clouds may stand in one stream, and the sum counts them all.
func TestExplainReadsBothCloudsInOneStream(t *testing.T) {
	google := samplesOf(t, "../../events/testdata/google/push-disabled.json")["push-disabled"]
	aws := eventSamples(t)["cloudtrail-disablekey"]
	o := explainText(t.Context(), google+aws)
	o.wantCode(t, exitFine, "explain")
	for _, want := range []string{"gcloud kms keys versions enable 3", "aws kms enable-key", "2 records: 2 critical"} {
		if !strings.Contains(o.out, want) {
			t.Errorf("the explanation of both has no %q:\n%s", want, o.out)
		}
	}
}
