package stack_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/compliance"
)

// What the checks are told that the detection consists of is what the templates make: each rule with its pattern, its state and its target, each
// queue for dead letters, and each heartbeat.
func TestTheDetectionThatTheChecksCompareWithIsWhatIsDeployed(t *testing.T) {
	var made []string
	for name, m := range templates(t) {
		if !strings.HasPrefix(name, "keyturn-spoke-") && name != "keyturn-hub" {
			continue
		}
		for _, id := range m.of("AWS::Events::Rule") {
			r := m.Resources[id]
			ruleName := fmt.Sprint(r.property("Name"))
			if name == "keyturn-hub" && !strings.HasPrefix(ruleName, "keyturn-alerting-event-") && !strings.HasPrefix(ruleName, "keyturn-rotation-event-") {
				continue // of channels and of alarms
			}
			target := r.property("Targets").([]any)[0].(map[string]any)["Arn"]
			to := arn(target)
			if name == "keyturn-hub" {
				to = ruleName[:len("keyturn-alerting-event")]
			}
			made = append(made, fmt.Sprintln(name, ruleName, compliance.PatternHash(compact(r.property("EventPattern"))), r.property("State") != "ENABLED", to))
		}
		for _, id := range m.of("AWS::SQS::Queue") {
			queue := fmt.Sprint(m.Resources[id].property("QueueName"))
			if strings.HasSuffix(queue, "-forward-dead") || queue == "keyturn-alerting-event-dead" || queue == "keyturn-rotation-event-dead" {
				made = append(made, fmt.Sprintln(name, "queue", queue))
			}
		}
		for _, id := range m.of("AWS::Scheduler::Schedule") {
			if m.Resources[id].property("Name") == "keyturn-heartbeat" {
				made = append(made, fmt.Sprintln(name, "heartbeat"))
			}
		}
	}
	d := full(t).Detection()
	var said []string
	for _, in := range append(slices.Clone(d.Rules), d.Hub) {
		name := "keyturn-spoke-" + in.Account + "-" + in.Region
		if in.Bus != "" {
			name = "keyturn-hub"
		}
		for _, r := range in.Rules {
			to := in.Target
			if r.Target != "" {
				to = r.Target[strings.LastIndex(r.Target, ":")+1:]
			}
			said = append(said, fmt.Sprintln(name, r.Name, r.Pattern, r.ReadOnly, to))
		}
		for _, queue := range in.DeadLetters {
			said = append(said, fmt.Sprintln(name, "queue", queue))
		}
		if slices.Contains(in.Heartbeats, in.Region) {
			said = append(said, fmt.Sprintln(name, "heartbeat"))
		}
	}
	slices.Sort(made)
	slices.Sort(said)
	if !slices.Equal(made, said) {
		t.Errorf("deployed:\n%s\nsaid to be deployed:\n%s", strings.Join(made, ""), strings.Join(said, ""))
	}
	if len(said) < 40 {
		t.Errorf("only %d parts were compared", len(said))
	}
}
