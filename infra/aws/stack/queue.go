package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambdaeventsources"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/keyturn/keyturn/infra/aws/pattern"
)

// keepDays is how long queues hold what nobody takes: the most that SQS can.
const keepDays = 14

// newDeadLetters makes a queue for what could not be delivered or handled. An alarm must watch it.
func newDeadLetters(scope constructs.Construct, id, name string) awssqs.Queue {
	q := awssqs.NewQueue(scope, text(id), &awssqs.QueueProps{
		QueueName: text(name), Encryption: awssqs.QueueEncryption_SQS_MANAGED, EnforceSSL: yes(), RetentionPeriod: days(keepDays),
	})
	accept(q, "AwsSolutions-SQS3", "It is a dead-letter queue itself.")
	return q
}

// inbox is a queue that feeds a function, with the dead-letter queue for what could neither be handled nor be put into it.
type inbox struct {
	queue awssqs.Queue
	dead  awssqs.Queue
}

// mostReceives is how often a message is handed to the function before it goes to the dead-letter queue.
const mostReceives = 10

func newInbox(scope constructs.Construct, name string, visibilitySeconds int) inbox {
	dead := newDeadLetters(scope, "DeadLetters", name+"-dead")
	return inbox{dead: dead, queue: awssqs.NewQueue(scope, text("Queue"), &awssqs.QueueProps{
		QueueName: text(name), Encryption: awssqs.QueueEncryption_SQS_MANAGED, EnforceSSL: yes(), RetentionPeriod: days(keepDays),
		VisibilityTimeout: seconds(visibilitySeconds),
		DeadLetterQueue:   &awssqs.DeadLetterQueue{Queue: dead, MaxReceiveCount: number(mostReceives)},
	})}
}

// consume is what a function must be allowed for Lambda to feed it from the queue.
func (q inbox) consume() permission {
	return allowOn(q.queue.QueueArn(), "sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueAttributes sqs:ReceiveMessage")
}

// feed lets Lambda hand batches to the function; of a batch, only what failed comes back.
func (q inbox) feed(f function, batch, concurrency int) {
	f.lambda.AddEventSource(awslambdaeventsources.NewSqsEventSource(q.queue, &awslambdaeventsources.SqsEventSourceProps{
		BatchSize: number(batch), MaxConcurrency: number(concurrency), ReportBatchItemFailures: yes(),
	}))
}

// select adds rules to the bus that put what they pick into the queue. What cannot be put there goes to the dead letters, in
// the same form, so that one redrive serves both.
func (q inbox) selectFrom(scope constructs.Construct, bus awsevents.EventBus, prefix string, rules []pattern.Rule) {
	var arns []*string
	for _, r := range rules {
		rule := newRule(scope, bus.EventBusName(), prefix, r, awsevents.CfnRule_TargetProperty{
			Id: text("queue"), Arn: q.queue.QueueArn(),
			DeadLetterConfig: &awsevents.CfnRule_DeadLetterConfigProperty{Arn: q.dead.QueueArn()},
		})
		arns = append(arns, rule.AttrArn())
	}
	for _, target := range []awssqs.Queue{q.queue, q.dead} {
		target.AddToResourcePolicy(putBy("events.amazonaws.com", target, arns))
	}
}

// putBy lets a service put messages into the queue on behalf of the sources.
func putBy(service string, q awssqs.Queue, sources []*string) awsiam.PolicyStatement {
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(text(service), nil)},
		Actions:    texts("sqs:SendMessage"), Resources: &[]*string{q.QueueArn()},
		Conditions: &map[string]any{"ArnEquals": map[string]any{"aws:SourceArn": sources}},
	})
}

// newRule makes a rule in the state that its events need.
func newRule(scope constructs.Construct, bus *string, prefix string, r pattern.Rule, target awsevents.CfnRule_TargetProperty) awsevents.CfnRule {
	state := "ENABLED"
	if r.ReadOnly {
		state = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
	}
	return awsevents.NewCfnRule(scope, text("Rule-"+r.Name), &awsevents.CfnRuleProps{
		Name: text(prefix + "-" + r.Name), EventBusName: bus, EventPattern: decode(r.Pattern), State: text(state),
		Targets: &[]any{&target},
	})
}
