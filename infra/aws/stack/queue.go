package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/keyturn/keyturn/infra/aws/pattern"
)

// keepDays is how long queues hold what nobody takes: the most that SQS can.
const keepDays = 14

// newDeadLetters makes a queue for what could not be delivered or handled. An alarm must watch it.
func newDeadLetters(scope constructs.Construct, id, name string, keep awscdk.Duration) awssqs.Queue {
	q := awssqs.NewQueue(scope, text(id), &awssqs.QueueProps{
		QueueName: text(name), Encryption: awssqs.QueueEncryption_SQS_MANAGED, EnforceSSL: yes(), RetentionPeriod: keep,
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

func newInbox(scope constructs.Construct, name string, how feed) inbox {
	dead := newDeadLetters(scope, "DeadLetters", name+"-dead", days(keepDays))
	return inbox{dead: dead, queue: awssqs.NewQueue(scope, text("Queue"), &awssqs.QueueProps{
		QueueName: text(name), Encryption: awssqs.QueueEncryption_SQS_MANAGED, EnforceSSL: yes(), RetentionPeriod: days(keepDays),
		VisibilityTimeout: seconds(how.visibilitySeconds()),
		DeadLetterQueue:   &awssqs.DeadLetterQueue{Queue: dead, MaxReceiveCount: number(mostReceives)},
	})}
}

// consume is what a function must be allowed for Lambda to feed it from the queue.
func (q inbox) consume() permission {
	return allowOn(q.queue.QueueArn(), "sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueAttributes sqs:ReceiveMessage")
}

// feed is how a function gets its messages.
type feed struct {
	// batch is the most messages of one invocation, concurrency the most invocations at a time.
	batch, concurrency int
	// windowSeconds is how long Lambda gathers messages for a batch; 0: it hands over what is there.
	windowSeconds int
	// seconds is the time limit of the function.
	seconds int
}

// visibilitySeconds is for how long a message is hidden from others while the function has it: six times as long as that may take, and
// the batching window (docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html).
func (f feed) visibilitySeconds() int { return 6*f.seconds + f.windowSeconds }

// feed lets Lambda hand batches to the function; of a batch, only what failed comes back.
func (q inbox) feed(f function, how feed) {
	var window *float64
	if how.windowSeconds > 0 {
		window = number(how.windowSeconds)
	}
	awslambda.NewCfnEventSourceMapping(f.lambda, text("Feed"), &awslambda.CfnEventSourceMappingProps{
		EventSourceArn: q.queue.QueueArn(), FunctionName: f.lambda.FunctionName(), BatchSize: number(how.batch),
		MaximumBatchingWindowInSeconds: window,
		FunctionResponseTypes:          texts("ReportBatchItemFailures"),
		ScalingConfig:                  &awslambda.CfnEventSourceMapping_ScalingConfigProperty{MaximumConcurrency: number(how.concurrency)},
	})
}

// select adds rules to the bus that put what they pick into the queue. What cannot be put there goes to the dead letters, in
// the same form, so that one redrive serves both.
func (q inbox) selectFrom(scope constructs.Construct, bus awsevents.EventBus, prefix string, rules []pattern.Rule) {
	for _, r := range rules {
		newRule(scope, bus.EventBusName(), prefix, r, awsevents.CfnRule_TargetProperty{
			Id: text("queue"), Arn: q.queue.QueueArn(),
			DeadLetterConfig: &awsevents.CfnRule_DeadLetterConfigProperty{Arn: q.dead.QueueArn()},
		})
	}
	for _, target := range []awssqs.Queue{q.queue, q.dead} {
		target.AddToResourcePolicy(putByRules(target, bus.EventBusName(), prefix))
	}
}

// putByRules lets EventBridge put messages into the queue on behalf of our rules on the bus; nil is the default bus. There may be
// more rules than a queue's policy can name.
func putByRules(q awssqs.Queue, bus *string, prefix string) awsiam.PolicyStatement {
	return byRules("sqs:SendMessage", q.QueueArn(), awscdk.Stack_Of(q), bus, prefix)
}

// byRules lets EventBridge do that to the resource, on behalf of our rules on the bus.
func byRules(action string, resource *string, stack awscdk.Stack, bus *string, prefix string) awsiam.PolicyStatement {
	parts := []*string{text("arn:aws:events:"), stack.Region(), text(":"), stack.Account(), text(":rule/")}
	if bus != nil {
		parts = append(parts, bus, text("/"))
	}
	rules := awscdk.Fn_Join(text(""), ptr(append(parts, text(prefix+"-*"))))
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(text("events.amazonaws.com"), nil)},
		Actions:    texts(action), Resources: &[]*string{resource},
		Conditions: &map[string]any{"ArnLike": map[string]any{"aws:SourceArn": rules}},
	})
}

func ptr[T any](value T) *T { return &value }

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
