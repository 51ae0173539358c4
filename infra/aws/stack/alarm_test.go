package stack_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// watchers describes every alarm and every metric that is made of a log, a line or two each.
func watchers(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(templates(t))) {
		made := templates(t)[name]
		var lines []string
		for _, id := range made.of("AWS::CloudWatch::Alarm") {
			a := made.Resources[id]
			lines = append(lines, fmt.Sprintf("alarm %s\n    %s of %s/%s%s in %v s %s %v, %v times; no data: %s", a.property("AlarmName"), a.property("Statistic"),
				a.property("Namespace"), a.property("MetricName"), dimensions(a.property("Dimensions")), a.property("Period"),
				a.property("ComparisonOperator"), a.property("Threshold"), a.property("EvaluationPeriods"), a.property("TreatMissingData")))
		}
		for _, id := range made.of("AWS::Logs::MetricFilter") {
			f := made.Resources[id]
			m := list(f.property("MetricTransformations"))[0].(map[string]any)
			lines = append(lines, fmt.Sprintf("metric %v/%v%s\n    %v of lines of %s with %v", m["MetricNamespace"], m["MetricName"], dimensions(m["Dimensions"]),
				m["MetricValue"], arn(f.property("LogGroupName")), f.property("FilterPattern")))
		}
		if slices.Sort(lines); len(lines) > 0 {
			fmt.Fprintf(&text, "# %s\n\n%s\n\n", name, strings.Join(lines, "\n"))
		}
	}
	return text.String()
}

func dimensions(value any) string {
	var pairs []string
	for _, d := range list(value) {
		if d, ok := d.(map[string]any); ok {
			if d["Key"] != nil {
				d = map[string]any{"Name": d["Key"], "Value": d["Value"]}
			}
			pairs = append(pairs, fmt.Sprintf("%v=%s", d["Name"], arn(d["Value"])))
		}
	}
	if len(pairs) == 0 {
		return ""
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func TestTheAlarmsAreThoseOfTheGoldenFile(t *testing.T) {
	const golden = "testdata/alarms.txt"
	got := watchers(t)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("the alarms differ from %s (%v); they are now\n%s", golden, err, got)
	}
}

func TestEveryAlarmOnAMetricOfOursHasALogThatMakesTheMetric(t *testing.T) {
	h := hub(t)
	made := map[string]bool{} // namespace/name and the names of the dimensions
	key := func(namespace, name, dimensionsOf any) string {
		var names []string
		for _, d := range list(dimensionsOf) {
			if d, ok := d.(map[string]any); ok {
				for _, field := range []string{"Key", "Name"} {
					if d[field] != nil {
						names = append(names, d[field].(string))
					}
				}
			}
		}
		slices.Sort(names)
		return fmt.Sprint(namespace, "/", name, names)
	}
	for _, id := range h.of("AWS::Logs::MetricFilter") {
		m := list(h.Resources[id].property("MetricTransformations"))[0].(map[string]any)
		made[key(m["MetricNamespace"], m["MetricName"], m["Dimensions"])] = true
	}
	checked := 0
	for _, id := range h.of("AWS::CloudWatch::Alarm") {
		a := h.Resources[id]
		if namespace := a.property("Namespace").(string); !strings.HasPrefix(namespace, "AWS/") {
			checked++
			if k := key(namespace, a.property("MetricName"), a.property("Dimensions")); !made[k] {
				t.Errorf("alarm %s watches %s, which no log makes", a.property("AlarmName"), k)
			}
		}
	}
	if checked != 4 {
		t.Errorf("%d alarms watch metrics of ours, want 4: event to alert, open work, secret, heartbeat", checked)
	}
}

func TestAlertingKnowsWhatIsKeyturnsOwn(t *testing.T) {
	for _, id := range hub(t).of("AWS::Lambda::Function") {
		f := hub(t).Resources[id]
		if !strings.HasPrefix(f.property("FunctionName").(string), "keyturn-alerting-") {
			continue
		}
		variable := func(name string) string { v, _ := f.property("Environment", "Variables", name).(string); return v }
		own := strings.Split(variable("KEYTURN_OWN_ROLES"), ",")
		for _, r := range roles(t) {
			for _, s := range r.statements {
				reads := slices.ContainsFunc(s.actions, func(action string) bool {
					return strings.HasPrefix(action, "kms:") || strings.HasPrefix(action, "iam:")
				})
				if reads && !slices.Contains(own, r.name) {
					t.Errorf("%s does not know that role %s, which calls %v, is keyturn's own", id, r.name, s.actions)
				}
			}
		}
		heartbeat := templates(t)["keyturn-spoke-111122223333-us-east-1"]
		schedule := heartbeat.Resources[heartbeat.of("AWS::Scheduler::Schedule")[0]]
		by := heartbeat.Resources[schedule.property("Target", "RoleArn", "Fn::GetAtt").([]any)[0].(string)]
		if variable("KEYTURN_HEARTBEAT_ROLE") != by.property("RoleName") {
			t.Errorf("%s takes role %q for the heartbeat's, which is %v", id, variable("KEYTURN_HEARTBEAT_ROLE"), by.property("RoleName"))
		}
		prefix := variable("KEYTURN_OWN_RULES")
		for name, made := range templates(t) {
			for _, rule := range made.of("AWS::Events::Rule") {
				r := made.Resources[rule]
				if !strings.HasPrefix(r.property("Name").(string), prefix) {
					t.Errorf("%s: rule %v does not begin with %q, by which alerting knows its own rules", name, r.property("Name"), prefix)
				}
				if pattern := compact(r.property("EventPattern")); strings.HasPrefix(name, "keyturn-spoke") && strings.Contains(pattern, `"aws.events"`) && !strings.Contains(pattern, `{"prefix":"`+prefix+`"}`) {
					t.Errorf("%s: rule %v does not pick up changes of rules that begin with %q: %s", name, r.property("Name"), prefix, pattern)
				}
			}
		}
	}
}
