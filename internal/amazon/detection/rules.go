// Package detection reads what the detection consists of on AWS. It is apart from package amazon because the clients of EventBridge and SQS take
// a millisecond at the start of every function that links them, and compliance alone needs them.
package detection

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Rules reads rules of EventBridge and counts messages in queues of SQS. It acts as the reader role of the account that it is given, and with
// its own credentials for account "". It is safe for concurrent use.
type Rules struct {
	kms *amazon.KMS

	mu      sync.Mutex
	clients map[string]ruleClients // by account
}

type ruleClients struct {
	events *eventbridge.Client
	queues *sqs.Client
}

// The actions that it needs, on the rules and on the queues.
const (
	RuleActions  = "events:DescribeRule events:ListTargetsByRule"
	QueueActions = "sqs:GetQueueAttributes"
)

// NewRules returns a reader of rules. roles may be nil.
func NewRules(config amazon.Config, roles amazon.ReaderRoles) *Rules {
	return &Rules{kms: amazon.NewKMS(config, roles), clients: map[string]ruleClients{}}
}

// mostTargetPages bounds the listing of a rule's targets, of which there are five (docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html).
const mostTargetPages = 10

// Rule reads a rule of a bus, "" for the default one, with all its targets. One that does not exist is [cmek.ErrNotFound].
func (r *Rules) Rule(ctx context.Context, account, region, bus, name string) (cmek.EventRule, error) {
	doing := fmt.Sprintf("read rule %s in %s", name, region)
	on := func(o *eventbridge.Options) { o.Region = region }
	var busName *string
	where := "rule " + name
	if bus != "" {
		busName, where = aws.String(bus), "rule "+bus+"/"+name
	}
	failed := func(err error, action string) error {
		var notFound *ebtypes.ResourceNotFoundException
		if errors.As(err, &notFound) {
			return fmt.Errorf("%s: %w: %w", doing, cmek.ErrNotFound, err)
		}
		return amazon.Refusal(err, doing, action+" on "+where+" in "+region+inAccountOf(account))
	}
	client := r.of(account).events
	out, err := client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &name, EventBusName: busName}, on)
	if err != nil {
		return cmek.EventRule{}, failed(err, "events:DescribeRule")
	}
	rule := cmek.EventRule{State: string(out.State), Pattern: aws.ToString(out.EventPattern)}
	var next *string
	for range mostTargetPages {
		page, err := client.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &name, EventBusName: busName, NextToken: next}, on)
		if err != nil {
			return cmek.EventRule{}, failed(err, "events:ListTargetsByRule")
		}
		for _, target := range page.Targets {
			rule.Targets = append(rule.Targets, aws.ToString(target.Arn))
		}
		if next = page.NextToken; aws.ToString(next) == "" {
			return rule, nil
		}
	}
	return cmek.EventRule{}, fmt.Errorf("%s: %w: its targets do not end", doing, cmek.ErrIncomplete)
}

// Waiting counts the messages in a queue of the owner's account, those in flight and delayed ones included. The count is SQS's own, an
// approximate one (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html).
func (r *Rules) Waiting(ctx context.Context, account, owner, region, queue string) (int, error) {
	doing := fmt.Sprintf("count messages in queue %s in %s", queue, region)
	counted := []sqstypes.QueueAttributeName{
		sqstypes.QueueAttributeNameApproximateNumberOfMessages, sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		sqstypes.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	}
	out, err := r.of(account).queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String("https://sqs." + region + ".amazonaws.com/" + owner + "/" + queue), AttributeNames: counted,
	}, func(o *sqs.Options) { o.Region = region })
	if err != nil {
		return 0, amazon.Refusal(err, doing, QueueActions+" on queue "+queue+" in "+region+inAccountOf(account))
	}
	total := 0
	for _, name := range counted {
		n, err := strconv.Atoi(out.Attributes[string(name)])
		if err != nil {
			return 0, fmt.Errorf("%s: %w: no %s", doing, cmek.ErrIncomplete, name)
		}
		total += n
	}
	return total, nil
}

func inAccountOf(account string) string {
	if account == "" {
		return ""
	}
	return " of account " + account
}

func (r *Rules) of(account string) ruleClients {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.clients[account]
	if !ok {
		config := r.kms.As(account)
		c = ruleClients{eventbridge.NewFromConfig(config), sqs.NewFromConfig(config)}
		r.clients[account] = c
	}
	return c
}
