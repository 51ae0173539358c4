package gcp_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/keyturn/keyturn/internal/cmektest"
)

// Every alert policy has a section of the runbook, and every section an alert policy of that severity.
func TestRunbook_hasASectionForEachAlertPolicy(t *testing.T) {
	alarms := readModule(t, ".").source["alarms"]
	severities := map[string]map[string]bool{}
	for _, found := range regexp.MustCompile(`severity = "([a-z]+)", runbook = "([a-z-]+)", for = "\d+s"`).FindAllStringSubmatch(alarms, -1) {
		if severities[found[2]] == nil {
			severities[found[2]] = map[string]bool{}
		}
		severities[found[2]][found[1]] = true
	}
	if n := strings.Count(alarms, "runbook = "); n < 12 || len(severities) != n {
		t.Fatalf("%d kinds of alarms have %d sections", n, len(severities))
	}
	text, err := os.ReadFile("RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, section := range strings.Split(string(text), "\n### ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		body, _, _ = strings.Cut(body, "\n## ")
		severity := "high"
		if found := regexp.MustCompile(`^\n\*([A-Z][a-z]+)\.\*`).FindStringSubmatch(body); found != nil {
			severity = strings.ToLower(found[1])
		}
		sections[name] = severity
		if !regexp.MustCompile("`keyturn-(SUBSCRIPTION-|FUNCTION-)?" + name + "(-PROJECT)?`").MatchString(body) {
			t.Errorf("section %s does not name its alert policies", name)
		}
	}
	if got, want := slices.Sorted(maps.Keys(sections)), slices.Sorted(maps.Keys(severities)); !slices.Equal(got, want) {
		t.Errorf("the runbook has the sections %v, alert policies link to %v", got, want)
	}
	for name, severity := range sections {
		if !severities[name][severity] || len(severities[name]) != 1 {
			t.Errorf("section %s says %s, its alert policies %v", name, severity, severities[name])
		}
	}
}

// Each step of an alert policy can be followed as it stands. What Terraform puts in is a word here.
func TestSteps_canBeFollowed(t *testing.T) {
	m := readModule(t, ".")
	checked := 0
	check := func(node hclsyntax.Node) hcl.Diagnostics {
		if list, isList := node.(*hclsyntax.TupleConsExpr); isList {
			for _, step := range list.Exprs {
				if text, isText := step.(*hclsyntax.TemplateExpr); isText {
					checked++
					cmektest.CheckSteps(t, filled(text))
				}
			}
		}
		return nil
	}
	_ = hclsyntax.VisitAll(m.locals["read_log"], check)
	_ = hclsyntax.VisitAll(m.locals["alarms"], func(node hclsyntax.Node) hcl.Diagnostics {
		if alarm, isObject := node.(*hclsyntax.ObjectConsExpr); isObject {
			for _, item := range alarm.Items {
				if hcl.ExprAsKeyword(item.KeyExpr) == "steps" {
					_ = hclsyntax.VisitAll(item.ValueExpr, check)
				}
			}
		}
		return nil
	})
	if checked < 25 {
		t.Errorf("only %d steps were checked", checked)
	}
}

// filled is a text with a word for each value that Terraform puts in.
func filled(template *hclsyntax.TemplateExpr) (text string) {
	for _, part := range template.Parts {
		if literal, isLiteral := part.(*hclsyntax.LiteralValueExpr); isLiteral {
			text += literal.Val.AsString()
		} else {
			text += "x"
		}
	}
	return text
}

// Each metric that is counted or measured is read by an alarm or the dashboard, and each that is read is there.
func TestMetrics_areReadAndThere(t *testing.T) {
	m := readModule(t, ".")
	// local.counters and local.values name their metrics, with ${f} for a function.
	there := map[string]bool{}
	for _, found := range regexp.MustCompile(`(?:"(\$\{f\}-[a-z-]+)" => \{|\b([a-z]+(?:-[a-z]+)+|heartbeats) = \{) (?://[^{]*)?(?:filter|#)`).FindAllStringSubmatch(m.source["counters"]+m.source["values"], -1) {
		there[found[1]+found[2]] = true
	}
	read := map[string]bool{}
	for _, found := range regexp.MustCompile(`local\.promql\["([^"]+)"\]`).FindAllStringSubmatch(m.source["alarms"]+m.source["graphs"], -1) {
		read[found[1]] = true
	}
	if !maps.Equal(there, read) || len(there) < 7 {
		t.Errorf("metrics are %v, and read are %v", slices.Sorted(maps.Keys(there)), slices.Sorted(maps.Keys(read)))
	}
}

// That no tick comes is seen by the ticks: pushes are requests of the same function.
func TestTickSilent_countsTicks(t *testing.T) {
	alarm := regexp.MustCompile(`"\$\{f\}-tick-silent" => \{[^{]*(?:\$\{[^}]*\}[^{}]*)*\}`).FindString(readModule(t, ".").source["alarms"])
	if !strings.Contains(alarm, `local.promql["${f}-ticks"]`) || strings.Contains(alarm, "request_count") {
		t.Errorf("the alarm about ticks that do not come is\n%s", alarm)
	}
}

// A measured value counts as the upper bound of its bucket, so an alarm's limit must be a bound.
func TestLimits_areBoundsOfTheBuckets(t *testing.T) {
	m := readModule(t, ".")
	bounds := map[string]bool{}
	for _, options := range m.resource(t, "google_logging_metric.value").inner("bucket_options") {
		for _, bound := range value(t, "bounds", options.inner("explicit_buckets")[0].exprs["bounds"]).AsValueSlice() {
			bounds[bound.AsBigFloat().String()] = true
		}
	}
	limits := regexp.MustCompile(`histogram_quantile\(1, [^>]*> (\d+)"`).FindAllStringSubmatch(m.source["alarms"], -1)
	if len(limits) != 2 {
		t.Fatalf("%d alarms have a limit for a measured value, want 2", len(limits))
	}
	for _, limit := range limits {
		if !bounds[limit[1]] {
			t.Errorf("%s is no bound of the buckets %v", limit[1], slices.Sorted(maps.Keys(bounds)))
		}
	}
}
