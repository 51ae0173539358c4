package amazon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/keyturn/keyturn/internal/alert"
)

// Limits of Publish (docs.aws.amazon.com/sns/latest/api/API_Publish.html): the characters of a subject. The attributes of an alert
// stay below the room that [alert.MostMessage] leaves for them.
const (
	mostSubjectChars = 100
	mostAttribute    = 200
)

// Message attributes for the filter policies of subscriptions. An attribute without a value is left out.
const (
	SeverityMessageAttribute = "severity"
	ChangeMessageAttribute   = "change"
)

// Topics are the ARNs of the standard topics for the two audiences.
type Topics struct{ Owners, Operations string }

// Notifier publishes alerts to SNS.
type Notifier struct {
	client *sns.Client
	topics Topics
}

// NewNotifier returns a notifier for the topics. The error names every ARN that is missing or none of SNS.
func NewNotifier(config Config, topics Topics) (*Notifier, error) {
	var problems []error
	for _, topic := range []struct{ audience, arn string }{{"owners", topics.Owners}, {"operations", topics.Operations}} {
		if err := CheckTopic(topic.arn); err != nil {
			problems = append(problems, fmt.Errorf("topic for %s: %w", topic.audience, err))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return &Notifier{sns.NewFromConfig(config), topics}, nil
}

// CheckTopic reports whether the text is the ARN of an SNS topic.
func CheckTopic(topic string) error {
	if parsed, err := arn.Parse(topic); err != nil || parsed.Service != "sns" || parsed.Region == "" {
		return fmt.Errorf("%q is not the ARN of an SNS topic", topic)
	}
	return nil
}

// Notify publishes the alert's message to its audience's topic; see [alert.Alert.Message].
func (n *Notifier) Notify(ctx context.Context, a alert.Alert) error {
	doing := "publish alert " + a.ID
	message, err := a.Message()
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	// An alert for an unknown audience must reach somebody.
	topic := n.topics.Operations
	if a.Audience == alert.Owners {
		topic = n.topics.Owners
	}
	input := &sns.PublishInput{
		TopicArn:          &topic,
		Subject:           aws.String(subject(a.Headline())),
		Message:           &message,
		MessageAttributes: map[string]types.MessageAttributeValue{},
	}
	for name, value := range map[string]string{
		SeverityMessageAttribute: string(a.Severity), ChangeMessageAttribute: string(a.Change),
	} {
		if value = strings.ToValidUTF8(value[:min(len(value), mostAttribute)], ""); value != "" {
			input.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
		}
	}
	if _, err := n.client.Publish(ctx, input, inRegionOf(topic)); err != nil {
		return explain(err, doing)
	}
	return nil
}

// inRegionOf sends a request to the topic's own Region.
func inRegionOf(topic string) func(*sns.Options) {
	parsed, _ := arn.Parse(topic) // NewNotifier checked it.
	return func(o *sns.Options) { o.Region = parsed.Region }
}

// ParseMessage reads the alert of a message that a [Notifier] published, or makes one of EventBridge's event that a CloudWatch alarm
// changed its state.
func ParseMessage(message string) (alert.Alert, error) {
	var kind struct{ Source string }
	if json.Unmarshal([]byte(message), &kind) == nil && kind.Source == AlarmSource {
		return parseAlarm(message)
	}
	return alert.ParseMessage(message)
}

// subject makes a headline fit for SNS: ASCII without control characters, at most 100.
func subject(headline string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, headline)
	if len(ascii) > mostSubjectChars {
		ascii = strings.TrimRight(ascii[:mostSubjectChars-3], " ") + "..."
	}
	return ascii
}
