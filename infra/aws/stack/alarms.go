package stack

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatchactions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/keyturn/keyturn/functions/alerting"
	checks "github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/delivery"
	"github.com/keyturn/keyturn/internal/version"
)

// watched is everything that alarms and the dashboard show, in the order in which it was made.
type watched struct {
	inboxes     []named[inbox]
	dead        []named[awssqs.Queue]
	functions   []named[function]
	ticks       []ticked
	allFunction []named[function]
	// outside holds alarms of other accounts and Regions that could not be sent on.
	outside awssqs.Queue
}

// ticked is a function that is invoked every so many minutes.
type ticked struct {
	named[function]
	every int
}

type named[T any] struct {
	name string
	it   T
}

func (w *watched) queue(name string, q inbox) {
	w.inboxes = append(w.inboxes, named[inbox]{name, q})
	w.deadLetters(name, q.dead)
}

func (w *watched) deadLetters(name string, q awssqs.Queue) {
	w.dead = append(w.dead, named[awssqs.Queue]{name, q})
}

func (w *watched) function(name string, f function) {
	w.functions = append(w.functions, named[function]{name, f})
	w.allFunction = append(w.allFunction, named[function]{name, f})
}

func (w *watched) tick(name string, f function, every int) {
	w.ticks = append(w.ticks, ticked{named[function]{name, f}, every})
	w.allFunction = append(w.allFunction, named[function]{name, f})
}

// alarm is a CloudWatch alarm. People are notified when it is raised, and when it is resolved.
type alarm struct {
	name string
	// says is the text for people, but for the severity, which is high if left out.
	says   amazon.Alarm
	metric awscloudwatch.IMetric
	// over: the alarm is raised when the metric is above this; under turns that round.
	over  float64
	under bool
	// periods it takes, of so many; in a row if of is left out. The newest may have no data yet.
	periods, of int
	// keep says that no data leaves the alarm as it is. Otherwise no data is well, unless the alarm is of an absence.
	keep bool
}

// absence is an alarm that nothing was counted for so many minutes. FILL counts zero where there is no data: where an alarm takes missing
// data for breaching, an older data point would keep it at OK, for as many periods more as CloudWatch looks back
// (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html). Where there is no data at all, missing data does it.
func absence(name string, count awscloudwatch.Metric, minutes int, says amazon.Alarm) alarm {
	return alarm{
		name: name, says: says, over: 1, under: true, periods: minutes / int(*count.Period().ToMinutes(nil)),
		metric: awscloudwatch.NewMathExpression(&awscloudwatch.MathExpressionProps{
			Expression: text("FILL(counted, 0)"), UsingMetrics: &map[string]awscloudwatch.IMetric{"counted": count}, Period: count.Period(),
		}),
	}
}

// newAlarm makes the alarm. Its topic notifies people by itself; nil: the alarm's changes are forwarded to the hub.
func newAlarm(scope constructs.Construct, n names, topic awssns.ITopic, a alarm) {
	comparison, missing := awscloudwatch.ComparisonOperator_GREATER_THAN_THRESHOLD, awscloudwatch.TreatMissingData_NOT_BREACHING
	if a.under {
		comparison, missing = awscloudwatch.ComparisonOperator_LESS_THAN_THRESHOLD, awscloudwatch.TreatMissingData_BREACHING
	}
	if a.keep {
		missing = awscloudwatch.TreatMissingData_IGNORE
	}
	a.says.Severity = cmp.Or(a.says.Severity, alert.High)
	made := awscloudwatch.NewAlarm(scope, text("Alarm-"+a.name), &awscloudwatch.AlarmProps{
		AlarmName: text(n.of(a.name)), AlarmDescription: text(a.says.Description(n.runbooks())), Metric: a.metric, Threshold: &a.over,
		EvaluationPeriods: number(max(1, a.periods, a.of)), DatapointsToAlarm: number(max(1, a.periods)), ComparisonOperator: comparison, TreatMissingData: missing,
	})
	if topic != nil {
		action := awscloudwatchactions.NewSnsAction(topic)
		made.AddAlarmAction(action)
		made.AddOkAction(action)
	}
}

// runbooks is the URL below which the runbooks are.
func (n names) runbooks() string {
	return cmp.Or(n.d.Settings["KEYTURN_RUNBOOKS"], version.Source(n.d.Version))
}

// runbook is a section of the alarms' runbook.
func runbook(section string) string { return amazon.RunbookFolder + "RUNBOOK.md#" + section }

// Metrics that are read from the functions' logs.
const (
	eventToAlert     = "EventToAlertSeconds"
	oldestOpen       = "OldestOpenWorkSeconds"
	sweepsEnded      = "SweepsEnded"
	secretUnreadable = "SecretUnreadable"
	poisonMessages   = "PoisonMessages"
	heartbeats       = "Heartbeats"
	runsEnded        = "ComplianceRunsEnded"
)

// sweepOverdue is how long no sweep may have ended: three times the time from one to the next, or more.
func (h *hub) sweepOverdue() time.Duration {
	every := rotation.DefaultSettings().SweepEvery
	if chosen, err := time.ParseDuration(h.d.Settings["KEYTURN_SWEEP_EVERY"]); err == nil {
		every = max(every, chosen)
	}
	return 3 * every
}

func (h *hub) alarms() {
	raise := func(a alarm) { newAlarm(h.stack, h.names, h.operations, a) }
	for _, q := range h.watched.dead {
		raise(notEmpty(q.name+"-dead-letters", q.it, amazon.Alarm{
			Summary: "messages for " + q.name + " could not be delivered or handled",
			Impact:  "They wait in the queue " + h.of(q.name) + "-dead. What they report is not handled.",
			Steps:   []string{h.readLog(q.name), "Fix the reason, then redrive the queue as the runbook says."},
			Runbook: runbook("dead-letters"),
		}))
	}
	raise(notEmpty("operations-alarms-dead-letters", h.watched.outside, amazon.Alarm{
		Summary: "alarms of other accounts or Regions could not be sent to the operations topic",
		Impact:  "People who are notified by e-mail or SMS only do not get these alarms. The channels do.",
		Steps:   []string{"Read the messages of the queue " + h.of("operations-alarms-dead") + ": the attribute ERROR_CODE names the reason. Fix it, then purge the queue."},
		Runbook: runbook("operations-alarms-dead-letters"),
	}))
	for _, q := range h.watched.inboxes {
		raise(alarm{name: q.name + "-queue-old", over: 120, periods: 3, of: 6, metric: q.it.queue.MetricApproximateAgeOfOldestMessage(minutely("Maximum")), says: amazon.Alarm{
			Summary: "the oldest message for " + q.name + " has waited for more than 120 s",
			Impact:  "Messages are late, and none is lost yet.",
			Steps:   []string{h.readLog(q.name), "Check that its event source mapping is enabled, and that the function is not throttled."},
			Runbook: runbook("queue-old"),
		}})
	}
	for _, f := range h.watched.functions {
		raise(alarm{name: f.name + "-errors", over: 0, metric: f.it.lambda.MetricErrors(every("Sum", 5)), says: amazon.Alarm{
			Summary: "an invocation of " + f.name + " failed: no message of a batch could be handled, or the function could not run",
			Impact:  "The messages are delivered again, and end in the dead-letter queue if that goes on.",
			Steps:   []string{h.readLog(f.name)},
			Runbook: runbook("errors"),
		}})
		// A message that fails beside others that are handled fails no invocation.
		h.logMetric(f.it, of(poisonMessages, f.name), fmt.Sprintf(`{ $.msg = %q || $.msg = %q }`, delivery.LogUnreadable, delivery.LogPanicked), "1", nil)
		raise(alarm{name: f.name + "-poison", over: 0, metric: h.metric(of(poisonMessages, f.name), "Sum", 5, nil), says: amazon.Alarm{
			Summary: f.name + " cannot read a message, or panics on it",
			Impact:  "What the message reports is not handled; the messages beside it are. It ends in the dead-letter queue.",
			Steps:   []string{h.readLog(f.name), "Read the message in the dead-letter queue: if keyturn should understand it, report a bug."},
			Runbook: runbook("poison"),
		}})
	}
	for _, f := range h.watched.ticks {
		window := 15 * f.every
		raise(alarm{name: f.name + "-errors", over: 2, metric: f.it.lambda.MetricErrors(every("Sum", min(window, 60))), says: amazon.Alarm{
			Severity: alert.Medium,
			Summary:  fmt.Sprintf("at least 3 ticks of %s failed within %d minutes", f.name, min(window, 60)),
			Impact:   "Some of its work is not done; the rest is.",
			Steps:    []string{h.readLog(f.name), "The messages of the queue " + h.of(f.name) + "-failed hold the errors of the last day."},
			Runbook:  runbook("tick-errors"),
		}})
		raise(absence(f.name+"-silent", f.it.lambda.MetricInvocations(every("Sum", f.every)), 10*f.every, amazon.Alarm{
			Summary: fmt.Sprintf("there was no tick of %s for %d minutes", f.name, 10*f.every),
			Impact:  "Nothing that is due is done.",
			Steps:   []string{"Check that the schedule " + h.of(f.name) + " is enabled, and that it may invoke the function.", "Check that the function exists and has no reserved concurrency of 0."},
			Runbook: runbook("tick-silent"),
		}))
	}
	for _, f := range h.watched.allFunction {
		raise(alarm{name: f.name + "-throttles", over: 0, metric: f.it.lambda.MetricThrottles(every("Sum", 5)), says: amazon.Alarm{
			Severity: alert.Medium,
			Summary:  "invocations of " + f.name + " are throttled",
			Impact:   "Its messages or ticks are late.",
			Steps:    []string{"Find out what uses up the account's concurrency, or raise its quota.", "Check that nobody gave the function a reserved concurrency."},
			Runbook:  runbook("throttles"),
		}})
	}
	h.secretAlarms(raise)
	h.sweepAlarms(raise)
	h.complianceAlarms(raise)
	for _, f := range h.watched.functions {
		if f.name == alertingEvent {
			h.logMetric(f.it, eventToAlert, fmt.Sprintf(`{ $.msg = %q && $.%s = * }`, alerting.LogAlertSent, alerting.LogSecondsSince), "$."+alerting.LogSecondsSince, nil)
			h.logMetric(f.it, heartbeats, fmt.Sprintf(`{ $.msg = %q }`, alerting.LogHeartbeat), "1", &map[string]*string{"account": text("$.account"), "region": text("$.region")})
		}
	}
	raise(alarm{name: "event-to-alert", over: 300, metric: h.metric(eventToAlert, "Maximum", 5, nil), says: amazon.Alarm{
		Severity: alert.Medium,
		Summary:  "an alert went out more than 300 s after its event",
		Impact:   "People were notified late of a risk to a key.",
		Steps:    []string{"Check the age of the queues, and the log /" + h.d.Name + "/" + alertingEvent + "."},
		Runbook:  runbook("event-to-alert"),
	}})
	for _, a := range h.d.Accounts {
		for _, region := range h.d.Heartbeats(a) {
			count := h.metric(heartbeats, "Sum", 5, &map[string]*string{"account": text(a.ID), "region": text(region)})
			raise(absence("heartbeat-"+a.ID+"-"+region, count, int(cmek.HeartbeatAge/time.Minute), amazon.Alarm{
				Summary: "for 2 hours alerting has not seen the canary key's tag change in account " + a.ID + ", " + region,
				Impact:  "Changes of keys there may go unnoticed.",
				Steps: []string{
					"Check that a trail records the management events of KMS there, and that logging is on.",
					"Check that the rules " + h.of("*") + " there, and the schedule " + h.of("heartbeat") + ", are enabled.",
					"Check the queues " + h.of("forward-dead") + " and " + h.of("heartbeat-dead") + " there.",
				},
				Runbook: runbook("heartbeat"),
			}))
		}
	}
}

// secretAlarms tell which secret cannot be read: the API key, or that of a channel.
func (h *hub) secretAlarms(raise func(alarm)) {
	secret := func(name, metric, what, impact string) {
		raise(alarm{name: name, over: 0, metric: h.metric(metric, "Sum", 30, nil), says: amazon.Alarm{
			Summary: what + " cannot be read: it has no value yet, or the role may not read it",
			Impact:  impact,
			Steps:   []string{"Save the value as secret.txt, and store it. Replace SECRET by the name in the log:", "aws secretsmanager put-secret-value --secret-id SECRET --secret-string file://secret.txt", "If it has one, check the role's policy, and the secret's."},
			Runbook: runbook("secret-unreadable"),
		}})
	}
	for _, f := range h.watched.allFunction {
		if f.name == compliance {
			h.logMetric(f.it, of(secretUnreadable, f.name), `"read secret"`, "1", nil)
			secret(f.name+"-secret-unreadable", of(secretUnreadable, f.name), "the secret with compliance's own API key", "The compliance checks do not run. Rotations and alerts do.")
			continue
		}
		if !strings.HasPrefix(f.name, deployment.Notify+"-") {
			h.logMetric(f.it, secretUnreadable, `"read secret"`, "1", nil)
			continue
		}
		h.logMetric(f.it, of(secretUnreadable, f.name), `"read secret"`, "1", nil)
		secret(f.name+"-secret-unreadable", of(secretUnreadable, f.name), "the secret of "+f.name, "Alerts do not reach this channel. They wait in its queue.")
	}
	secret("secret-unreadable", secretUnreadable, "the API key's secret", "Rotations are not followed, and alerts lack what the Cloud API knows.")
}

// complianceAlarms watch over the daily run.
func (h *hub) complianceAlarms(raise func(alarm)) {
	for _, f := range h.watched.ticks {
		if f.name == compliance {
			h.logMetric(f.it, runsEnded, fmt.Sprintf(`{ $.msg = %q }`, checks.LogRunEnded), "1", nil)
		}
	}
	raise(absence("compliance-overdue", h.metric(runsEnded, "Sum", 60, nil), 26*60, amazon.Alarm{
		Severity: alert.Medium,
		Summary:  "no complete run of the compliance checks has ended for 26 hours",
		Impact:   "Nobody knows whether what was proved before still holds. Rotations and alerts do not depend on it.",
		Steps:    []string{h.readLog(compliance), "A run that was given up is announced as incomplete, with how far it came."},
		Runbook:  runbook("compliance-overdue"),
	}))
}

// sweepAlarms watch over rotation's walks over all clusters, in observe mode, too.
func (h *hub) sweepAlarms(raise func(alarm)) {
	for _, f := range h.watched.ticks {
		if f.name == rotationTick {
			h.logMetric(f.it, oldestOpen, fmt.Sprintf(`{ $.msg = %q && $.%s = * }`, rotation.LogSweepEnded, rotation.LogOldestOpen), "$."+rotation.LogOldestOpen, nil)
			// A walk that was given up has an error, and did not end.
			h.logMetric(f.it, sweepsEnded, fmt.Sprintf(`{ $.msg = %q && $.error NOT EXISTS }`, rotation.LogSweepEnded), "1", nil)
		}
	}
	overdue := h.sweepOverdue()
	raise(absence("sweep-overdue", h.metric(sweepsEnded, "Sum", 1, nil), int(overdue.Minutes()), amazon.Alarm{
		Summary: fmt.Sprintf("no walk over all clusters has ended for %d minutes", int(overdue.Minutes())),
		Impact:  "Rotations that no event reported are not found, and what keyturn knows of the clusters is old.",
		Steps: []string{
			h.readLog(rotationTick),
			"Check that the Cloud API answers and that the API key is valid:", "keyturn doctor",
		},
		Runbook: runbook("sweep-overdue"),
	}))
	if h.d.Mode == deployment.Follow { // in observe mode work stays open: that is the mode
		raise(alarm{name: "open-work-old", over: 24 * 3600, keep: true, metric: h.metric(oldestOpen, "Maximum", 60, nil), says: amazon.Alarm{
			Severity: alert.Medium,
			Summary:  "a store key has waited for its re-encryption for more than 24 h",
			Impact:   "It stays encrypted under an older version of its key.",
			Steps:    []string{"Read which, and why:", "keyturn status", "Once the reason is fixed, reopen what is blocked. Replace CLUSTER:", "keyturn retry CLUSTER"},
			Runbook:  runbook("open-work-old"),
		}})
	}
}

// readLog is the step that begins most recoveries.
func (h *hub) readLog(function string) string {
	return "Read the log /" + h.d.Name + "/" + function + `: lines of level ERROR name the reason.`
}

// of is the metric of one function.
func of(metric, function string) string { return metric + "-" + function }

// notEmpty is an alarm that a queue holds messages. Its period is longer than the metric's, which is some minutes late.
func notEmpty(name string, q awssqs.IQueue, says amazon.Alarm) alarm {
	return alarm{name: name, says: says, over: 0, metric: q.MetricApproximateNumberOfMessagesVisible(every("Maximum", 5))}
}

func minutely(statistic string) *awscloudwatch.MetricOptions { return every(statistic, 1) }

func every(statistic string, minutes int) *awscloudwatch.MetricOptions {
	return &awscloudwatch.MetricOptions{Statistic: text(statistic), Period: awscdk.Duration_Minutes(number(minutes))}
}

// logMetric makes a metric of log lines (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html).
func (h *hub) logMetric(f function, metric, filter, value string, dimensions *map[string]*string) {
	var list []any
	if dimensions != nil {
		for _, name := range []string{"account", "region"} {
			list = append(list, &awslogs.CfnMetricFilter_DimensionProperty{Key: text(name), Value: (*dimensions)[name]})
		}
	}
	transformation := &awslogs.CfnMetricFilter_MetricTransformationProperty{
		MetricName: text(metric), MetricNamespace: text(h.d.Name), MetricValue: text(value),
	}
	if list != nil {
		transformation.Dimensions = &list
	}
	awslogs.NewCfnMetricFilter(f.lambda, text(metric), &awslogs.CfnMetricFilterProps{
		LogGroupName: f.log.Ref(), FilterPattern: text(filter), MetricTransformations: &[]any{transformation},
	})
}

func (h *hub) metric(name, statistic string, minutes int, dimensions *map[string]*string) awscloudwatch.Metric {
	return awscloudwatch.NewMetric(&awscloudwatch.MetricProps{
		Namespace: text(h.d.Name), MetricName: text(name), Statistic: text(statistic), Period: awscdk.Duration_Minutes(number(minutes)),
		DimensionsMap: dimensions,
	})
}
