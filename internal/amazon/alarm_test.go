package amazon

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
)

// stateChange is EventBridge's event of a change of an alarm's state, as the documentation shows one
// (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html).
func stateChange(state, description string) map[string]any {
	return map[string]any{
		"version": "0", "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92", "detail-type": "CloudWatch Alarm State Change", "source": "aws.cloudwatch",
		"account": "444455556666", "time": "2026-10-02T17:04:40Z", "region": "eu-west-1",
		"resources": []string{"arn:aws:cloudwatch:eu-west-1:444455556666:alarm:keyturn-forward-dead-letters-eu-west-1"},
		"detail": map[string]any{
			"alarmName":     "keyturn-forward-dead-letters-eu-west-1",
			"configuration": map[string]any{"description": description, "metrics": []any{}},
			"previousState": map[string]any{"value": "OK", "timestamp": "2026-10-02T16:59:07.307+0000", "reason": "Threshold Crossed"},
			"state": map[string]any{
				"value": state, "timestamp": "2026-10-02T17:04:40.985+0000",
				"reason": "Threshold Crossed: 1 out of the last 1 datapoints [3.0] was greater than the threshold (0.0).", "reasonData": `{"version":"1.0"}`,
			},
		},
	}
}

func event(t *testing.T, of map[string]any) string {
	t.Helper()
	data, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var forwarding = Alarm{
	Severity: alert.High, Summary: "events could not be forwarded to the hub", Impact: "Changes to keys here may go unnoticed.",
	Steps:   []string{"Read the attribute ERROR_CODE of a message.", "Fix what it names. Then purge the queue."},
	Runbook: "infra/RUNBOOK.md#forward-dead-letters",
}

func TestADescriptionIsReadAsItWasWritten(t *testing.T) {
	for _, base := range []string{"https://github.com/keyturn/keyturn/blob/v1.2.3/", "https://git.example.com/infra/keyturn"} {
		text := forwarding.Description(base)
		if !strings.Contains(text, strings.TrimRight(base, "/")+"/infra/RUNBOOK.md#forward-dead-letters") {
			t.Errorf("the description has no absolute link to the runbook:\n%s", text)
		}
		if got := readAlarm(text); !reflect.DeepEqual(got, forwarding) {
			t.Errorf("it is read as\n%+v, want\n%+v", got, forwarding)
		}
	}
}

func TestAnAlarmBecomesAnAlert(t *testing.T) {
	raised, err := ParseMessage(event(t, stateChange("ALARM", forwarding.Description("https://example.com"))))
	if err != nil {
		t.Fatal(err)
	}
	const key = "alarm/arn:aws:cloudwatch:eu-west-1:444455556666:alarm:keyturn-forward-dead-letters-eu-west-1"
	want := alert.Alert{
		ID: key + "@1790960680/ALARM", DedupKey: key, Audience: alert.Operations, Severity: alert.High, Change: "alarm",
		Summary: "Alarm keyturn-forward-dead-letters-eu-west-1 in account 444455556666, eu-west-1: events could not be forwarded to the hub",
		Impact:  forwarding.Impact, RecoverySteps: forwarding.Steps, Runbook: forwarding.Runbook, Time: time.Date(2026, 10, 2, 17, 4, 40, 0, time.UTC),
	}
	if !reflect.DeepEqual(raised, want) {
		t.Errorf("the alert is\n%+v, want\n%+v", raised, want)
	}
	resolved, err := ParseMessage(event(t, stateChange("OK", forwarding.Description("https://example.com"))))
	if err != nil || !resolved.Resolved || resolved.DedupKey != key || resolved.ID == raised.ID || resolved.RecoverySteps != nil {
		t.Errorf("OK becomes %+v (%v), want the end of the same incident", resolved, err)
	}
}

func TestAnAlarmWithoutOurWordsIsAnAlert(t *testing.T) {
	for name, description := range map[string]any{"none": nil, "empty": "", "blank": "\n \n", "another's": "call Ops"} {
		change := stateChange("ALARM", "")
		change["detail"].(map[string]any)["configuration"] = map[string]any{"description": description}
		a, err := ParseMessage(event(t, change))
		if err != nil || a.Severity != alert.High || !strings.Contains(a.Impact, "Threshold Crossed") || !strings.Contains(a.Summary, "keyturn-forward-dead-letters-eu-west-1") {
			t.Errorf("%s: the alert is %+v (%v), want one of high severity with CloudWatch's reason", name, a, err)
		}
		if strings.HasSuffix(a.Summary, ": ") {
			t.Errorf("%s: the summary %q ends in nothing", name, a.Summary)
		}
	}
}

func TestWhatIsNoChangeToAlarmOrOKIsRefused(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"insufficient data": func(e map[string]any) {
			e["detail"].(map[string]any)["state"] = map[string]any{"value": "INSUFFICIENT_DATA"}
		},
		"no state":            func(e map[string]any) { delete(e["detail"].(map[string]any), "state") },
		"a state in lower":    func(e map[string]any) { e["detail"].(map[string]any)["state"] = map[string]any{"value": "alarm"} },
		"no name":             func(e map[string]any) { delete(e["detail"].(map[string]any), "alarmName") },
		"no ARN":              func(e map[string]any) { e["resources"] = []string{} },
		"another's ARN":       func(e map[string]any) { e["resources"] = []string{"arn:aws:sns:eu-west-1:444455556666:x"} },
		"no time":             func(e map[string]any) { delete(e, "time") },
		"another detail-type": func(e map[string]any) { e["detail-type"] = "CloudWatch Alarm Configuration Change" },
		"wrong types":         func(e map[string]any) { e["detail"] = []any{7} },
	} {
		of := stateChange("ALARM", "x")
		change(of)
		if a, err := ParseMessage(event(t, of)); err == nil {
			t.Errorf("%s: it is read as %+v, want an error", name, a)
		}
	}
	if a, err := ParseMessage(fmt.Sprintf("a line\n%s", event(t, stateChange("ALARM", "x")))); err == nil && a.Summary != "" {
		t.Errorf("an event behind a line is read as %+v, want no alert", a)
	}
}

func FuzzReadAlarm(f *testing.F) {
	f.Add(forwarding.Description("https://example.com"))
	f.Add("1. \n. \nSeverity: \nRunbook: infra/")
	f.Fuzz(func(t *testing.T, description string) {
		a := readAlarm(description)
		if again := readAlarm(a.Description("https://example.com")); len(again.Steps) < len(a.Steps) && a.Summary != "" {
			t.Errorf("%q loses steps: %+v, then %+v", description, a, again)
		}
	})
}
