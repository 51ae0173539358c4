package e2e

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/infra/aws/cloudwatchtest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// filterProperties are those of an AWS::Logs::MetricFilter.
type filterProperties struct {
	LogGroupName, FilterPattern string
	MetricTransformations       []struct {
		MetricName, MetricValue string
		Dimensions              []struct{ Key, Value string }
	}
}

// measure applies the filter to a line as CloudWatch Logs does, as far as our patterns go
// (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html). It returns what the metric gets: its value, and
// the values of its dimensions; ok is false if the line does not match, or lacks one of those.
func (p filterProperties) measure(t *testing.T, line string) (value any, dimensions map[string]any, ok bool) {
	t.Helper()
	var fields map[string]any
	_ = json.Unmarshal([]byte(line), &fields) // Not every line is JSON.
	field := func(selector string) any {
		if name, is := strings.CutPrefix(selector, "$."); is {
			return fields[name]
		}
		return selector
	}
	ok, err := cloudwatchtest.Matches(p.FilterPattern, line)
	must(t, err, "match a line")
	transformation := p.MetricTransformations[0]
	value, dimensions = field(transformation.MetricValue), map[string]any{}
	for _, d := range transformation.Dimensions {
		dimensions[d.Key] = field(d.Value)
		ok = ok && dimensions[d.Key] != nil
	}
	return value, dimensions, ok && value != nil
}

func TestTheFunctionsLogWhatTheAlarmsMetricsAreMadeOf(t *testing.T) {
	w := newWatch(t, simulator.DefaultSeed())

	// Scheduler changes the canary key's tag as the heartbeat's role, somebody disables a key, and a channel's secret is gone.
	w.account.emit([]byte(sample(t, "cloudtrail-tagresource",
		"us-west-2", region, "1234abcd-12ab-34cd-56ef-1234567890ab", "0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f0ca", "Department", "keyturn-heartbeat",
		"2020-07-01T21:19:25Z", time.Now().UTC().Format(time.RFC3339), // a late one is no sign of life
		`"type": "IAMUser"`, `"type": "AssumedRole"`,
		"arn:aws:iam::111122223333:user/Alice", "arn:aws:sts::111122223333:assumed-role/"+w.account.name+"-heartbeat-"+region+"/session")))
	_, err := w.account.secrets().DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{
		SecretId: aws.String(w.account.name + "-notify-slack"), ForceDeleteWithoutRecovery: aws.Bool(true),
	})
	must(t, err, "delete secret")
	w.disable(sharedKey)
	w.deliver(1)

	place := map[string]any{"account": accountID, "region": region}
	functions := map[string]*lambda{
		"alerting-event": w.alerting.lambda, "rotation-tick": w.clock.lambda, "notify-slack": w.notify[notify.Slack].lambda,
	}
	want := []struct {
		metric, function string
		dimensions       map[string]any
	}{
		{"EventToAlertSeconds", "alerting-event", map[string]any{}}, {"Heartbeats", "alerting-event", place},
		{"OldestOpenWorkSeconds", "rotation-tick", map[string]any{}}, {"SweepsEnded", "rotation-tick", map[string]any{}}, {"SecretUnreadable-notify-slack", "notify-slack", map[string]any{}},
	}
	w.until("all metrics are made", func() string {
		for _, m := range want {
			if !w.measured(m.metric, m.function, functions[m.function], m.dimensions) {
				return m.metric + " of " + m.function
			}
		}
		return ""
	})
	for _, kind := range []notify.Kind{notify.PagerDuty, notify.Webhook} {
		w.pass(time.Second)
		for _, d := range w.receiver.got(kind) {
			if strings.Contains(d.text, "f0ca") {
				t.Errorf("%s is notified of the heartbeat: %s", kind, d.text)
			}
		}
	}
}

// measured reports whether the deployed filters make the metric of what the function has logged.
func (w *watch) measured(metric, name string, l *lambda, dimensions map[string]any) bool {
	w.t.Helper()
	group := w.account.functions[name].LoggingConfig.LogGroup
	for _, filter := range w.account.filters {
		if filter.LogGroupName != group || filter.MetricTransformations[0].MetricName != metric {
			continue
		}
		for line := range strings.Lines(l.log.String()) {
			if _, got, ok := filter.measure(w.t, line); ok && maps.Equal(got, dimensions) {
				return true
			}
		}
	}
	return false
}
