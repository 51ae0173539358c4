package stack_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/infra/aws/pattern/patterntest"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmektest"
)

// placeOf is the account and Region of a stack.
func placeOf(stack string) (account, region string) {
	if rest, ok := strings.CutPrefix(stack, "keyturn-spoke-"); ok {
		account, region, _ = strings.Cut(rest, "-")
		return account, region
	}
	return "111122223333", "us-east-1"
}

// stateChange is what EventBridge in an alarm's account and Region says of a change of its state
// (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html).
func stateChange(t *testing.T, stack string, alarm resource, from, to string) (event any, message string) {
	t.Helper()
	account, region := placeOf(stack)
	name := alarm.property("AlarmName").(string)
	data, err := json.Marshal(map[string]any{
		"version": "0", "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92", "detail-type": "CloudWatch Alarm State Change", "source": "aws.cloudwatch",
		"account": account, "region": region, "time": "2026-10-02T17:04:40Z",
		"resources": []string{"arn:aws:cloudwatch:" + region + ":" + account + ":alarm:" + name},
		"detail": map[string]any{
			"alarmName": name, "configuration": map[string]any{"description": alarm.property("AlarmDescription")},
			"state": map[string]any{"value": to, "reason": "Threshold Crossed"}, "previousState": map[string]any{"value": from},
		},
	})
	if err == nil {
		err = json.Unmarshal(data, &event)
	}
	if err != nil {
		t.Fatal(err)
	}
	return event, string(data)
}

// targets are the targets of the rules on a bus ("" for the default one) that the event matches, by the names of queues and topics.
func targets(t *testing.T, made template, bus string, event any) (found []string) {
	t.Helper()
	d := deploy(t, made)
	for _, id := range made.of("AWS::Events::Rule") {
		r := made.Resources[id]
		if (r.property("EventBusName") != nil) != (bus != "") || !patterntest.Matches(t, r.property("EventPattern"), event) {
			continue
		}
		for _, target := range list(r.property("Targets")) {
			arn := target.(map[string]any)["Arn"]
			if ref, ok := arn.(map[string]any); ok && ref["Ref"] != nil {
				found = append(found, made.Resources[ref["Ref"].(string)].property("TopicName").(string))
			} else if ok {
				found = append(found, d.name(arn))
			} else {
				found = append(found, arn.(string))
			}
		}
	}
	slices.Sort(found)
	return found
}

func TestEveryAlarmReachesPeopleAndTheChannels(t *testing.T) {
	const bus = "arn:aws:events:us-east-1:111122223333:event-bus/keyturn"
	channels := []string{"keyturn-notify-pagerduty", "keyturn-notify-siem", "keyturn-notify-slack"}
	for stack, made := range templates(t) {
		account, region := placeOf(stack)
		spoke := templates(t)["keyturn-spoke-"+account+"-"+region]
		for _, id := range made.of("AWS::CloudWatch::Alarm") {
			a := made.Resources[id]
			name := a.property("AlarmName").(string)
			direct := 0
			for _, actions := range []string{"AlarmActions", "OKActions"} {
				if to := compact(a.property(actions)); a.property(actions) != nil && (strings.Contains(to, "Operations") || strings.Contains(to, "keyturn-operations")) {
					direct++
				}
			}
			for _, change := range []struct {
				from, to string
				news     bool
			}{{"OK", "ALARM", true}, {"INSUFFICIENT_DATA", "ALARM", true}, {"ALARM", "OK", true}, {"INSUFFICIENT_DATA", "OK", false}, {"OK", "INSUFFICIENT_DATA", false}} {
				event, _ := stateChange(t, stack, a, change.from, change.to)
				forwarded := targets(t, spoke, "", event)
				if got, want := slices.Equal(forwarded, []string{bus}), change.news; got != want || len(forwarded) > 1 {
					t.Errorf("%s: %s from %s to %s is forwarded to %q, want the hub's bus: %t", stack, name, change.from, change.to, forwarded, want)
				}
				if !change.news {
					continue
				}
				want := slices.DeleteFunc(slices.Clone(channels), func(channel string) bool { return strings.HasPrefix(name, channel+"-") })
				if direct == 0 {
					want = append(want, "keyturn-operations")
				}
				slices.Sort(want)
				if got := targets(t, hub(t), bus, event); !slices.Equal(got, want) {
					t.Errorf("%s: %s from %s to %s reaches %q, want %q", stack, name, change.from, change.to, got, want)
				}
			}
			if inHub := stack == "keyturn-hub" || stack == "keyturn-spoke-111122223333-us-east-1"; inHub != (direct == 2) {
				t.Errorf("%s: alarm %s notifies the operations topic by %d actions; want 2 where the topic is, elsewhere none", stack, name, direct)
			}
		}
	}
}

func TestOtherAlarmsAreNotForwarded(t *testing.T) {
	spoke := templates(t)["keyturn-spoke-111122223333-us-east-1"]
	for _, name := range []string{"keyturn", "keyturn-dev-errors", "keyturn-alerting-event-errors-2", "payments-errors"} {
		event, _ := stateChange(t, "keyturn-hub", resource{Properties: map[string]any{"AlarmName": name}}, "OK", "ALARM")
		if got := targets(t, spoke, "", event); len(got) > 0 {
			t.Errorf("alarm %s is forwarded to %q", name, got)
		}
	}
}

func TestEveryAlarmHasWordsForPeople(t *testing.T) {
	runbook, err := os.ReadFile("../../RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for line := range strings.Lines(string(runbook)) {
		if title, ok := strings.CutPrefix(line, "### "); ok {
			sections[strings.TrimSpace(title)] = false
		}
	}
	for stack, made := range templates(t) {
		for _, id := range made.of("AWS::CloudWatch::Alarm") {
			a := made.Resources[id]
			name, description := a.property("AlarmName").(string), a.property("AlarmDescription").(string)
			if n := len([]rune(description)); n > amazon.MostDescription {
				t.Errorf("%s: the description of %s has %d characters, and CloudWatch takes %d", stack, name, n, amazon.MostDescription)
			}
			_, raised := stateChange(t, stack, a, "OK", "ALARM")
			_, ended := stateChange(t, stack, a, "ALARM", "OK")
			beginning, err := amazon.ParseMessage(raised)
			if err != nil {
				t.Fatal(err)
			}
			end, err := amazon.ParseMessage(ended)
			if err != nil || !end.Resolved || end.DedupKey != beginning.DedupKey {
				t.Errorf("%s: the end of %s is %+v (%v)", stack, name, end, err)
			}
			if !beginning.Severity.AtLeast(alert.Medium) || len(beginning.Impact) < 15 || strings.Contains(beginning.Impact, "Threshold Crossed") || len(beginning.RecoverySteps) == 0 ||
				!strings.Contains(beginning.Summary, name) || strings.HasSuffix(beginning.Summary, ".") {
				t.Errorf("%s: the alert of %s is\n%s", stack, name, beginning.Text())
			}
			cmektest.CheckSteps(t, beginning.RecoverySteps...)
			file, section, _ := strings.Cut(beginning.Runbook, "#")
			if _, ok := sections[section]; !ok || file != "infra/RUNBOOK.md" {
				t.Errorf("%s: %s has its runbook at %q, which is not there", stack, name, beginning.Runbook)
			}
			sections[section] = true
			if !strings.Contains(description, "https://github.com/keyturn/keyturn/blob/main/"+beginning.Runbook) {
				t.Errorf("%s: the description of %s has no link to its runbook:\n%s", stack, name, description)
			}
		}
	}
	for section, used := range sections {
		if !used {
			t.Errorf("no alarm has its runbook at infra/RUNBOOK.md#%s", section)
		}
	}
}

// What is put into an e-mail is in the event.
func TestTheMessageOfAnAlarmElsewhereIsMadeOfItsEvent(t *testing.T) {
	const stack = "keyturn-spoke-444455556666-us-east-1"
	made := templates(t)[stack]
	event, _ := stateChange(t, stack, made.Resources[made.of("AWS::CloudWatch::Alarm")[0]], "OK", "ALARM")
	checked := 0
	for _, id := range hub(t).of("AWS::Events::Rule") {
		transformer := list(hub(t).Resources[id].property("Targets"))[0].(map[string]any)["InputTransformer"]
		if transformer == nil {
			continue
		}
		input := resource{Properties: transformer.(map[string]any)}
		for name, path := range input.property("InputPathsMap").(map[string]any) {
			checked++
			at := event
			for _, field := range strings.Split(strings.TrimPrefix(path.(string), "$."), ".") {
				of, _ := at.(map[string]any)
				at = of[field]
			}
			if text, ok := at.(string); !ok || text == "" {
				t.Errorf("%s is %v in the event: %v", path, at, event)
			}
			if !strings.Contains(input.property("InputTemplate").(string), "<"+name+">") {
				t.Errorf("the template has no <%s>", name)
			}
		}
	}
	if checked < 5 {
		t.Errorf("%d values are put into the message, want at least 5", checked)
	}
}
