package amazon

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/keyturn/keyturn/internal/alert"
)

// What EventBridge says of a change of an alarm's state
// (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html).
const (
	AlarmSource     = "aws.cloudwatch"
	AlarmDetailType = "CloudWatch Alarm State Change"
	AlarmRaised     = "ALARM"
	AlarmResolved   = "OK"
)

// ChangeAlarm is the change of alerts that are made of CloudWatch alarms.
const ChangeAlarm = "alarm"

// MostDescription is the longest description that an alarm can have, in characters
// (docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html).
const MostDescription = 1024

// Alarm is what a CloudWatch alarm of keyturn's own says to people. It is the alarm's description: people read it in CloudWatch's
// e-mails, and [ParseMessage] makes an alert of it for the channels.
type Alarm struct {
	Severity alert.Severity
	// Summary is what happened, without a full stop; Impact is what fails meanwhile; Steps are what to do. Each is one line.
	Summary, Impact string
	Steps           []string
	// Runbook is a path in the repository with an anchor, below RunbookFolder.
	Runbook string
}

// RunbookFolder is where the runbooks of alarms are.
const RunbookFolder = "infra/"

// The labels that begin the lines of a description; a step has its number.
const (
	severityLabel = "Severity: "
	impactLabel   = "Impact: "
	runbookLabel  = "Runbook: "
)

// Description writes the alarm down. runbooks is the URL below which the runbooks are.
func (a Alarm) Description(runbooks string) string {
	lines := []string{a.Summary, impactLabel + a.Impact}
	for i, step := range a.Steps {
		lines = append(lines, fmt.Sprintf("%d. %s", i+1, step))
	}
	lines = append(lines, severityLabel+string(a.Severity), runbookLabel+strings.TrimRight(runbooks, "/")+"/"+a.Runbook)
	return strings.Join(lines, "\n")
}

// readAlarm reads a description. What is not there stays empty: somebody else may have written it.
func readAlarm(description string) (a Alarm) {
	for line := range strings.Lines(description) {
		line = strings.TrimSpace(line)
		number, step, numbered := strings.Cut(line, ". ")
		if text, ok := strings.CutPrefix(line, severityLabel); ok {
			a.Severity = alert.Severity(text)
		} else if text, ok := strings.CutPrefix(line, impactLabel); ok {
			a.Impact = text
		} else if text, ok := strings.CutPrefix(line, runbookLabel); ok {
			a.Runbook = text[max(0, strings.LastIndex(text, RunbookFolder)):]
		} else if numbered && number != "" && strings.Trim(number, "0123456789") == "" {
			a.Steps = append(a.Steps, step)
		} else if a.Summary == "" {
			a.Summary = line
		}
	}
	return a
}

// alarmEvent is EventBridge's event of a change of an alarm's state.
type alarmEvent struct {
	Source     string    `json:"source"`
	DetailType string    `json:"detail-type"`
	Account    string    `json:"account"`
	Region     string    `json:"region"`
	Time       time.Time `json:"time"`
	Resources  []string  `json:"resources"`
	Detail     struct {
		AlarmName     string `json:"alarmName"`
		Configuration struct {
			Description string `json:"description"`
		} `json:"configuration"`
		State struct {
			Value  string `json:"value"`
			Reason string `json:"reason"`
		} `json:"state"`
	} `json:"detail"`
}

// parseAlarm makes an alert of a change of an alarm's state. ALARM opens the incident of that alarm, OK resolves it. Of an alarm whose
// description says little, or nothing, the alert says what CloudWatch says.
func parseAlarm(message string) (alert.Alert, error) {
	var e alarmEvent
	if err := json.Unmarshal([]byte(message), &e); err != nil {
		return alert.Alert{}, fmt.Errorf("parse change of an alarm's state: %w", err)
	}
	switch {
	case e.DetailType != AlarmDetailType:
		return alert.Alert{}, fmt.Errorf("parse change of an alarm's state: detail-type %q is another", e.DetailType)
	case e.Detail.AlarmName == "" || len(e.Resources) == 0 || e.Time.IsZero():
		return alert.Alert{}, errors.New("parse change of an alarm's state: it lacks the alarm's name or ARN, or the time")
	case e.Detail.State.Value != AlarmRaised && e.Detail.State.Value != AlarmResolved:
		return alert.Alert{}, fmt.Errorf("parse change of an alarm's state: state %q is neither %s nor %s", e.Detail.State.Value, AlarmRaised, AlarmResolved)
	}
	if of, err := arn.Parse(e.Resources[0]); err != nil || of.Service != "cloudwatch" {
		return alert.Alert{}, fmt.Errorf("parse change of an alarm's state: %q is not the ARN of an alarm", e.Resources[0])
	}
	says := readAlarm(e.Detail.Configuration.Description)
	if says.Summary == "" {
		says.Summary = "CloudWatch gives no description of it"
	}
	if !says.Severity.Known() {
		says.Severity = alert.High // it may mean anything
	}
	key := "alarm/" + e.Resources[0]
	a := alert.Alert{
		ID: fmt.Sprintf("%s@%d/%s", key, e.Time.Unix(), e.Detail.State.Value), DedupKey: key, Audience: alert.Operations,
		Severity: says.Severity, Change: ChangeAlarm, Time: e.Time, Runbook: says.Runbook,
		Summary: fmt.Sprintf("Alarm %s in account %s, %s: %s", e.Detail.AlarmName, e.Account, e.Region, says.Summary),
	}
	if e.Detail.State.Value == AlarmResolved {
		a.Resolved, a.Severity = true, alert.Info
		a.Impact = "CloudWatch reads the alarm as OK again."
		return a, nil
	}
	a.Impact, a.RecoverySteps = says.Impact, says.Steps
	if a.Impact == "" {
		a.Impact = e.Detail.State.Reason
	}
	return a, nil
}
