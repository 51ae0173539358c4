package stack

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsscheduler"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssnssubscriptions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/infra/aws/pattern"
	"github.com/keyturn/keyturn/internal/ledger"
)

// eventProps describe a function that is fed from the bus: rules → queue → function.
type eventProps struct {
	functionProps
	visibilitySeconds int
	feed              feed
	rules             []pattern.Rule
}

func (h *hub) eventFunction(p eventProps) {
	scope := constructs.NewConstruct(h.stack, text(p.name))
	queue := newInbox(scope, h.of(p.name), p.visibilitySeconds)
	queue.selectFrom(scope, h.bus, h.of(p.name), p.rules)
	p.permissions = append(p.permissions, queue.consume())
	f := newFunction(scope, h.names, p.functionProps)
	queue.feed(f, p.feed)
	h.watched.queue(p.name, queue)
	h.watched.function(p.name, f)
}

// tickFunction makes a function that is invoked by the clock. A tick that fails is not repeated: the next one does its work.
func (h *hub) tickFunction(p functionProps) {
	scope := constructs.NewConstruct(h.stack, text(p.name))
	failed := awssqs.NewQueue(scope, text("Failed"), &awssqs.QueueProps{
		QueueName: text(h.of(p.name) + "-failed"), Encryption: awssqs.QueueEncryption_SQS_MANAGED, EnforceSSL: yes(), RetentionPeriod: days(1),
	})
	accept(failed, "AwsSolutions-SQS3", "It keeps failed ticks for a day, with their errors; nothing is to be done again with them.")
	p.failed = failed
	f := newFunction(scope, h.names, p)
	// A tick that did not get through is worth nothing an hour later, and the next one may do.
	dead := newDeadLetters(scope, "DeadLetters", h.of(p.name)+"-dead", awscdk.Duration_Hours(number(1)))

	role := newRole(scope, "Scheduler", h.of(p.name)+"-scheduler", "keyturn: lets the scheduler invoke "+p.name,
		scheduler(h.d.Hub),
		allowOn(f.lambda.FunctionArn(), "lambda:InvokeFunction"), allowOn(dead.QueueArn(), "sqs:SendMessage"))
	id, every, rate := "EveryMinute", "Every minute", "rate(1 minute)"
	if p.everyMinutes > 0 {
		id, every, rate = "Schedule", fmt.Sprintf("Every %d minutes", p.everyMinutes), fmt.Sprintf("rate(%d minutes)", p.everyMinutes)
	}
	awsscheduler.NewCfnSchedule(scope, text(id), &awsscheduler.CfnScheduleProps{
		Name: text(h.of(p.name)), Description: text(every + ": " + p.description), ScheduleExpression: text(rate),
		FlexibleTimeWindow: &awsscheduler.CfnSchedule_FlexibleTimeWindowProperty{Mode: text("OFF")},
		Target: &awsscheduler.CfnSchedule_TargetProperty{
			Arn: f.lambda.FunctionArn(), RoleArn: role.RoleArn(), Input: text(tickPayload),
			RetryPolicy:      &awsscheduler.CfnSchedule_RetryPolicyProperty{MaximumRetryAttempts: number(0), MaximumEventAgeInSeconds: number(60)},
			DeadLetterConfig: &awsscheduler.CfnSchedule_DeadLetterConfigProperty{Arn: dead.QueueArn()},
		},
	})
	h.watched.tick(p.name, f, max(1, p.everyMinutes))
	h.watched.deadLetters(p.name, dead)
}

// scheduler trusts the schedules of the place
// (docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html).
func scheduler(p deployment.Place) awsiam.IPrincipal {
	return awsiam.NewServicePrincipal(text("scheduler.amazonaws.com"), &awsiam.ServicePrincipalOpts{Conditions: &map[string]any{
		"StringEquals": map[string]any{"aws:SourceAccount": p.Account},
		"ArnEquals":    map[string]any{"aws:SourceArn": "arn:aws:scheduler:" + p.Region + ":" + p.Account + ":schedule-group/default"},
	}})
}

// tickPayload is what a tick brings. The two attributes stay the same when it is delivered twice
// (docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html).
const tickPayload = `{"keyturn":"tick","schedule":"<aws.scheduler.schedule-arn>","scheduled":"<aws.scheduler.scheduled-time>"}`

// notifySeconds is the time limit of notify. It waits out a pause that a channel asks for, if that is shorter.
const notifySeconds = 60

// notifyFeeds are how each kind of channel gets its alerts. In Slack a batch is one message, so it gathers what a storm brings within the
// window. PagerDuty wakes people and gathers for a moment only. A webhook gets each alert by itself, so it has batches of which all
// requests are made at once.
var notifyFeeds = map[notify.Kind]feed{
	notify.Slack:     {batch: 1000, windowSeconds: 10, concurrency: 2},
	notify.PagerDuty: {batch: 100, windowSeconds: 2, concurrency: 2},
	notify.Webhook:   {batch: 10, concurrency: 5},
}

// channel carries alerts of both topics to one channel: topics → queue → notify.
func (h *hub) channel(c deployment.Channel) {
	name, kind := notifyName(c), notify.Kind(c.Kind)
	scope := constructs.NewConstruct(h.stack, text(name))
	secret := newSecret(scope, "Secret", h.of(name), map[notify.Kind]string{
		notify.Slack:     "URL of the Slack incoming webhook",
		notify.PagerDuty: "Integration key of the PagerDuty Events API v2",
		notify.Webhook:   "Key under which alerts to the webhook are signed",
	}[kind])
	queue := newInbox(scope, h.of(name), notifyFeeds[kind].visibilitySeconds(notifySeconds))
	// CloudWatch's own messages to the operations topic have no such attribute: alarms reach the channel by the rule below.
	alertsOnly := map[string]awssns.SubscriptionFilter{"change": awssns.SubscriptionFilter_ExistsFilter()}
	for _, topic := range []awssns.Topic{h.alerts, h.operations} {
		topic.AddSubscription(awssnssubscriptions.NewSqsSubscription(queue.queue, &awssnssubscriptions.SqsSubscriptionProps{
			DeadLetterQueue: queue.dead, FilterPolicy: &alertsOnly,
		}))
	}
	queue.selectFrom(scope, h.bus, h.of(name), []pattern.Rule{pattern.AlarmsBut(h.d.ChannelAlarms(c))})
	environment := map[string]*string{"KEYTURN_CHANNEL": text(c.Kind), "KEYTURN_CHANNEL_SECRET": secret.Ref()}
	set := func(variable, value string) {
		if value != "" {
			environment[variable] = text(value)
		}
	}
	set("KEYTURN_CHANNEL_URL", c.URL)
	set("KEYTURN_MIN_SEVERITY", c.MinSeverity)
	if c.AllowPrivate {
		set("KEYTURN_ALLOW_PRIVATE", "true")
	}
	permissions := []permission{queue.consume(), allowOn(secret.Ref(), "secretsmanager:GetSecretValue")}
	if kind == notify.PagerDuty {
		environment["KEYTURN_LEDGER"] = join("dynamodb://", h.table.TableName(), "")
		permissions = append(permissions, allowOn(h.table.TableArn(), "dynamodb:GetItem"), h.writeLedger(ledger.NotifyItems))
	}
	for variable, value := range h.d.FunctionSettings(deployment.Notify) {
		set(variable, value)
	}
	f := newFunction(scope, h.names, functionProps{
		name: name, description: "keyturn: carries alerts to " + c.Name, code: h.code(scope, deployment.Notify), seconds: notifySeconds, memoryMB: 128,
		environment: environment, permissions: permissions,
	})
	queue.feed(f, notifyFeeds[kind])
	h.watched.queue(name, queue)
	h.watched.function(name, f)
}
