package google

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/keyturn/keyturn/internal/alert"
)

// Message attributes for the filters of subscriptions, and the line that a person sees first. An attribute without a value is
// left out.
const (
	SeverityAttribute = "severity"
	ChangeAttribute   = "change"
	SubjectAttribute  = "subject"
)

// mostAttribute is within Pub/Sub's limit of 1,024 bytes for the value of an attribute (cloud.google.com/pubsub/quotas).
const mostAttribute = 1000

// Topics are the resource names, projects/PROJECT/topics/TOPIC, of the topics for the two audiences.
type Topics struct{ Owners, Operations string }

// Notifier publishes alerts to Pub/Sub.
type Notifier struct {
	config Config
	client *pubsub.TopicAdminClient
	topics Topics
}

// NewNotifier returns a notifier for the topics. The error names every one that is missing or not the name of a topic.
func NewNotifier(config Config, topics Topics) (*Notifier, error) {
	var problems []error
	for _, topic := range []struct{ audience, name string }{{"owners", topics.Owners}, {"operations", topics.Operations}} {
		if err := CheckTopic(topic.name); err != nil {
			problems = append(problems, fmt.Errorf("topic for %s: %w", topic.audience, err))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if host := os.Getenv("PUBSUB_EMULATOR_HOST"); host != "" {
		config.Endpoint, config.Tokens = "http://"+host, nil
	}
	client, err := pubsub.NewTopicAdminRESTClient(context.Background(), config.options()...)
	if err != nil {
		return nil, explain(err, "make a client of Pub/Sub")
	}
	return &Notifier{config, client, topics}, nil
}

// topicName is projects/PROJECT/topics/TOPIC, whose last part has 3 to 255 bytes (cloud.google.com/pubsub/docs/pubsub-basics,
// "Resource names").
var topicName = regexp.MustCompile(`^projects/([a-z0-9.-]+:)?[a-z0-9][a-z0-9-]*/topics/([A-Za-z][A-Za-z0-9._~+%-]+)$`)

// CheckTopic reports whether the text is the resource name of a Pub/Sub topic.
func CheckTopic(topic string) error {
	if parts := topicName.FindStringSubmatch(topic); parts == nil || len(parts[2]) < 3 || len(parts[2]) > 255 {
		return fmt.Errorf("%q is not the name of a Pub/Sub topic; want projects/PROJECT/topics/TOPIC", clip(topic))
	}
	return nil
}

// Notify publishes the alert's message to its audience's topic; see [alert.Alert.Message]. A call whose answer was lost is
// repeated, so an alert may arrive twice.
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
	attributes := map[string]string{}
	for name, value := range map[string]string{
		SeverityAttribute: string(a.Severity), ChangeAttribute: string(a.Change), SubjectAttribute: line(a.Headline()),
	} {
		if value = strings.ToValidUTF8(value[:min(len(value), mostAttribute)], ""); value != "" {
			attributes[name] = value
		}
	}
	ctx, cancel := n.config.within(ctx)
	defer cancel()
	published, err := n.client.Publish(ctx, &pubsubpb.PublishRequest{
		Topic: topic, Messages: []*pubsubpb.PubsubMessage{{Data: []byte(message), Attributes: attributes}},
	})
	switch {
	case err != nil:
		return explain(err, doing)
	case len(published.GetMessageIds()) != 1 || cmp.Or(published.GetMessageIds()...) == "":
		return fmt.Errorf("%s: the answer does not say that it was published", doing)
	}
	return nil
}

// line makes a headline one printable line.
func line(headline string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, headline)
}
