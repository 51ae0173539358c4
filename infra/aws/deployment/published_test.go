package deployment_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/infra/aws/deployment"
)

var resources = deployment.Resources{Table: "keyturn-hub-Ledger-1ABC", Bucket: "keyturn-hub-archive-1abc",
	AlertsTopic: "arn:aws:sns:eu-west-1:111122223333:keyturn-alerts", OperationsTopic: "arn:aws:sns:eu-west-1:111122223333:keyturn-operations"}

func TestWhatIsPublishedIsReadBack(t *testing.T) {
	d, err := deployment.Parse([]byte(rich))
	if err != nil {
		t.Fatal(err)
	}
	d.Version = "v1.2.3"
	p, err := deployment.ParsePublished("keyturn", d.Publish(resources).JSON())
	if err != nil {
		t.Fatal(err)
	}
	if p.JSON() != d.Publish(resources).JSON() {
		t.Errorf("it reads back as\n%s\nwant\n%s", p.JSON(), d.Publish(resources).JSON())
	}
	v := p.Variables()
	for name, want := range map[string]string{
		"KEYTURN_LEDGER": "dynamodb://keyturn-hub-Ledger-1ABC?region=us-east-1", "KEYTURN_SETTLE": "5m", "KEYTURN_IN_FLIGHT": "3", "KEYTURN_MODE": "follow",
	} {
		if v[name] != want {
			t.Errorf("%s is %q, want %q", name, v[name], want)
		}
	}
	for name := range v {
		if _, external := strings.CutPrefix(name, "KEYTURN_READER_EXTERNAL_ID"); external || strings.Contains(name, "SECRET") {
			t.Errorf("%s is set, and there is none", name)
		}
	}
	p.Settings["COCKROACH_API_KEY"], p.Settings["KEYTURN_LEDGER"], p.Server = "x", "dynamodb://other", "https://other.example.com"
	for name, value := range p.Variables() {
		if name == "COCKROACH_API_KEY" || name == "COCKROACH_SERVER" || value == "dynamodb://other" {
			t.Errorf("a parameter sets %s to %s", name, value)
		}
	}
	p = d.Publish(resources)
	// What a later version adds within the format does not matter.
	more := strings.Replace(p.JSON(), `{"format":1`, `{"format":1,"hue":"red"`, 1)
	if _, err := deployment.ParsePublished("keyturn", more); err != nil {
		t.Errorf("a field that is not known is refused: %v", err)
	}
}

func TestWhatWouldNotFitIntoTheParameterIsRefused(t *testing.T) {
	channels := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "  - {name: channel-%04d, kind: webhook, url: \"https://siem.example.com/%d\"}\n", i, i)
		}
		return "channels:\n" + b.String()
	}
	if got := problemsOf(t, lean+channels(10)); got != nil {
		t.Errorf("10 channels are refused: %v", got)
	}
	if got := problemsOf(t, lean+channels(150)); len(got) == 0 {
		t.Error("150 channels are taken")
	}
	long := lean + "settings: {KEYTURN_CLOUD_API_VERSION: \"" + strings.Repeat("x", 4000) + "\"}\n"
	if got := problemsOf(t, long); !slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, "a parameter that holds 4096") }) {
		t.Errorf("a setting of 4,000 characters has the problems %v, want that the parameter cannot hold it", got)
	}
}
