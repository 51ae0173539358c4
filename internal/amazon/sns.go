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

// Limits of Publish (docs.aws.amazon.com/sns/latest/api/API_Publish.html): a message with its attributes, and the
// characters of a subject. The same number of bytes is what a queue takes of the whole envelope in which a topic sends the message
// on. The attributes of an alert, and the rest of the envelope, stay below the room left for them.
const (
	mostMessageBytes = 256<<10 - 4<<10
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

// Notify publishes the alert to its audience's topic. The message is the alert's text, an empty line, and on the last
// line the alert's JSON: people read the beginning, [ParseMessage] the end.
//
// An alert that would make the message too large for SNS or for a queue behind it is cut short, and says so; see [alert.Alert.Fit].
func (n *Notifier) Notify(ctx context.Context, a alert.Alert) error {
	doing := "publish alert " + a.ID
	message, err := compose(a)
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

// compose is the message of an alert, shortened if it must be: whatever the alert holds, its message fits.
func compose(a alert.Alert) (string, error) {
	var problem error
	fitting := a.Fit(mostMessageBytes, func(a alert.Alert) int {
		message, err := render(a)
		problem = errors.Join(problem, err)
		return enveloped(message)
	})
	if problem != nil {
		return "", fmt.Errorf("encode: %w", problem)
	}
	return render(fitting)
}

// render is the alert's text, an empty line, and its JSON.
func render(a alert.Alert) (string, error) {
	data, err := a.JSON()
	return a.Text() + "\n" + string(data), err
}

// enveloped is the size of the message as a string of JSON, which is how a queue gets it from a topic. Other bytes than these are not
// escaped in a message.
func enveloped(message string) int {
	return len(message) + strings.Count(message, `"`) + strings.Count(message, `\`) + strings.Count(message, "\n")
}

// ParseMessage reads the alert from the last line of a message that a [Notifier] published.
func ParseMessage(message string) (alert.Alert, error) {
	last := message[strings.LastIndexByte(message, '\n')+1:]
	var a alert.Alert
	if err := json.Unmarshal([]byte(last), &a); err != nil {
		return alert.Alert{}, fmt.Errorf("parse alert on the last line of the message: %w", err)
	}
	return a, nil
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
