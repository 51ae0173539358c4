package stack

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatchactions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/infra/aws/deployment"
)

// watched is everything that alarms and the dashboard show, in the order in which it was made.
type watched struct {
	inboxes     []named[inbox]
	dead        []named[awssqs.Queue]
	functions   []named[function]
	ticks       []named[function]
	allFunction []named[function]
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

func (w *watched) tick(name string, f function) {
	w.ticks = append(w.ticks, named[function]{name, f})
	w.allFunction = append(w.allFunction, named[function]{name, f})
}

// alarm is a CloudWatch alarm that goes to a topic, and reports when it is resolved.
type alarm struct {
	name, description string
	metric            awscloudwatch.IMetric
	// over: the alarm is raised when the metric is above this; under turns that round.
	over  float64
	under bool
	// periods in a row it takes.
	periods int
	// silence says that no data is as bad as bad data; keep, that it changes nothing.
	silence, keep bool
}

func newAlarm(scope constructs.Construct, n names, topic awssns.ITopic, a alarm) {
	comparison, missing := awscloudwatch.ComparisonOperator_GREATER_THAN_THRESHOLD, awscloudwatch.TreatMissingData_NOT_BREACHING
	if a.under {
		comparison = awscloudwatch.ComparisonOperator_LESS_THAN_THRESHOLD
	}
	if a.silence {
		missing = awscloudwatch.TreatMissingData_BREACHING
	}
	if a.keep {
		missing = awscloudwatch.TreatMissingData_IGNORE
	}
	made := awscloudwatch.NewAlarm(scope, text("Alarm-"+a.name), &awscloudwatch.AlarmProps{
		AlarmName: text(n.of(a.name)), AlarmDescription: text(a.description), Metric: a.metric, Threshold: &a.over,
		EvaluationPeriods: number(max(1, a.periods)), ComparisonOperator: comparison, TreatMissingData: missing,
	})
	action := awscloudwatchactions.NewSnsAction(topic)
	made.AddAlarmAction(action)
	made.AddOkAction(action)
}

// Metrics that are read from the functions' logs.
const (
	eventToAlert     = "EventToAlertSeconds"
	oldestOpen       = "OldestOpenWorkSeconds"
	secretUnreadable = "SecretUnreadable"
	heartbeats       = "Heartbeats"
)

func (h *hub) alarms() {
	raise := func(a alarm) { newAlarm(h.stack, h.names, h.operations, a) }
	for _, q := range h.watched.dead {
		raise(notEmpty(q.name+"-dead-letters", q.it, "Messages for "+q.name+" could not be delivered or handled. Find the reason in its log, fix it, then redrive them: infra/README.md, Alarms."))
	}
	for _, q := range h.watched.inboxes {
		raise(alarm{name: q.name + "-queue-old", over: 120, periods: 3, metric: q.it.queue.MetricApproximateAgeOfOldestMessage(minutely("Maximum")),
			description: "The oldest message for " + q.name + " has waited for more than 120 s: the function fails or is throttled. Check its log."})
	}
	for _, f := range h.watched.functions {
		raise(alarm{name: f.name + "-errors", over: 0, metric: f.it.lambda.MetricErrors(every("Sum", 5)),
			description: "An invocation of " + f.name + " failed as a whole: a wrong configuration, a panic or its time limit. Check its log."})
	}
	for _, f := range h.watched.ticks {
		raise(alarm{name: f.name + "-errors", over: 2, metric: f.it.lambda.MetricErrors(every("Sum", 15)),
			description: "At least 3 ticks of " + f.name + " failed within 15 minutes. Its log and the queue of failed ticks say why; the rest of its work is done."})
		raise(alarm{name: f.name + "-silent", over: 1, under: true, silence: true, metric: f.it.lambda.MetricInvocations(every("Sum", 10)),
			description: "There was no tick of " + f.name + " for 10 minutes. Check the schedule of that name, and that the function can be invoked."})
	}
	for _, f := range h.watched.allFunction {
		raise(alarm{name: f.name + "-throttles", over: 0, metric: f.it.lambda.MetricThrottles(every("Sum", 5)),
			description: "Invocations of " + f.name + " are throttled: the account's concurrency is used up by something else."})
		h.logMetric(f.it, secretUnreadable, `"read secret"`, "1", nil)
	}
	raise(alarm{name: "secret-unreadable", over: 0, metric: h.metric(secretUnreadable, "Sum", 30, nil),
		description: "A function cannot read its secret: it has no value yet, or its role may not read it. The logs name the secret."})
	for _, f := range h.watched.functions {
		if f.name == alertingEvent {
			h.logMetric(f.it, eventToAlert, fmt.Sprintf(`{ $.msg = %q && $.%s = * }`, alerting.LogAlertSent, alerting.LogSecondsSince), "$."+alerting.LogSecondsSince, nil)
			h.logMetric(f.it, heartbeats, fmt.Sprintf(`{ $.msg = %q }`, alerting.LogHeartbeat), "1", &map[string]*string{"account": text("$.account"), "region": text("$.region")})
		}
	}
	raise(alarm{name: "event-to-alert", over: 300, metric: h.metric(eventToAlert, "Maximum", 5, nil),
		description: "An alert went out more than 300 s after its event. Check the age of the queues, and the log of alerting-event."})
	for _, f := range h.watched.ticks {
		if f.name == rotationTick {
			h.logMetric(f.it, oldestOpen, `{ $.msg = "sweep ended" && $.oldest_open_seconds = * }`, "$.oldest_open_seconds", nil)
		}
	}
	if h.d.Mode == deployment.Follow { // in observe mode work stays open: that is the mode
		raise(alarm{name: "open-work-old", over: 24 * 3600, keep: true, metric: h.metric(oldestOpen, "Maximum", 60, nil),
			description: "A store key has been waiting for its re-encryption for more than 24 h: `keyturn status` says which, and why."})
	}
	for _, a := range h.d.Accounts {
		if a.Heartbeat == "" {
			continue
		}
		raise(alarm{name: "heartbeat-" + a.ID, over: 1, under: true, silence: true, periods: 2,
			metric:      h.metric(heartbeats, "Sum", 60, &map[string]*string{"account": text(a.ID), "region": text(a.Heartbeat)}),
			description: "For 2 hours alerting has not seen the canary key's tag change in account " + a.ID + ", " + a.Heartbeat + ": events from there may be lost. Check that a trail records KMS, and that the rules " + h.of("*") + " there are enabled."})
	}
}

func notEmpty(name string, q awssqs.IQueue, description string) alarm {
	return alarm{name: name, description: description, over: 0, metric: q.MetricApproximateNumberOfMessagesVisible(minutely("Maximum"))}
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
