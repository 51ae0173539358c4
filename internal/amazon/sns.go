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

	"github.com/keyturn/keyturn/internal/cmek"
)

// Limits of Publish (docs.aws.amazon.com/sns/latest/api/API_Publish.html): a message with its attributes, and the
// characters of a subject. The attributes of an alert stay far below the room left for them.
const (
	mostMessageBytes = 256<<10 - 4<<10
	mostSubjectChars = 100
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

// Notify publishes the alert to its audience's topic. The message is the alert's text, an empty line, and on the last
// line the alert's JSON: people read the beginning, [ParseMessage] the end.
//
// A list of clusters that would make the message too large for SNS is cut short, and the consequence says so.
func (n *Notifier) Notify(ctx context.Context, alert cmek.Alert) error {
	doing := "publish alert " + alert.ID
	message, err := compose(alert)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	// An alert for an unknown audience had better reach somebody.
	topic := n.topics.Operations
	if alert.Audience == cmek.Owners {
		topic = n.topics.Owners
	}
	input := &sns.PublishInput{
		TopicArn:          &topic,
		Subject:           aws.String(subject(alert.Headline())),
		Message:           &message,
		MessageAttributes: map[string]types.MessageAttributeValue{},
	}
	for name, value := range map[string]string{
		SeverityMessageAttribute: string(alert.Severity), ChangeMessageAttribute: string(alert.Change),
	} {
		if value != "" {
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

// compose is the message of an alert, with as many clusters as there is room for.
func compose(alert cmek.Alert) (string, error) {
	all, consequence := len(alert.Clusters), alert.Consequence
	for listed := all; ; listed /= 2 {
		if listed < all {
			alert.Shorten(listed)
			alert.Consequence = strings.TrimSpace(fmt.Sprintf("%s (The list of clusters names %d of %d.)", consequence, listed, alert.AffectedCount()))
		}
		data, err := json.Marshal(alert)
		if err != nil {
			return "", fmt.Errorf("encode: %w", err)
		}
		message := alert.Text() + "\n" + string(data)
		if len(message) <= mostMessageBytes {
			return message, nil
		}
		if listed == 0 {
			return "", fmt.Errorf("%d bytes are more than an SNS message holds", len(message))
		}
	}
}

// ParseMessage reads the alert from the last line of a message that a [Notifier] published.
func ParseMessage(message string) (cmek.Alert, error) {
	last := message[strings.LastIndexByte(message, '\n')+1:]
	var alert cmek.Alert
	if err := json.Unmarshal([]byte(last), &alert); err != nil {
		return cmek.Alert{}, fmt.Errorf("parse alert on the last line of the message: %w", err)
	}
	return alert, nil
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
