package amazon

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/keyturn/keyturn/internal/alert"
)

// mostSubscriptionPages bounds how many subscriptions of a topic are read: a page has up to 100.
const mostSubscriptionPages = 50

// Subscribers reads who is subscribed to the topics.
type Subscribers struct {
	client *sns.Client
	topics Topics
}

// NewSubscribers reads the subscriptions of these topics; see [CheckTopic].
func NewSubscribers(config Config, topics Topics) *Subscribers {
	return &Subscribers{sns.NewFromConfig(config), topics}
}

// Subscribers lists the subscriptions of the audience's topic, each as PROTOCOL:ENDPOINT, and whether it is confirmed. It needs
// sns:ListSubscriptionsByTopic on the topic. A subscription is confirmed if it has an ARN: SNS writes words in its place as long as nobody
// confirmed it, and once it is deleted (docs.aws.amazon.com/sns/latest/api/API_ListSubscriptionsByTopic.html). An answer that is not
// complete, or about another topic, is an error.
func (s *Subscribers) Subscribers(ctx context.Context, audience alert.Audience) (confirmed map[string]bool, err error) {
	topic := s.topics.Operations
	if audience == alert.Owners {
		topic = s.topics.Owners
	}
	doing := "list subscriptions of " + topic
	confirmed = map[string]bool{}
	input := &sns.ListSubscriptionsByTopicInput{TopicArn: &topic}
	for range mostSubscriptionPages {
		page, err := s.client.ListSubscriptionsByTopic(ctx, input, inRegionOf(topic))
		if err != nil {
			return nil, explain(err, doing)
		}
		if page.Subscriptions == nil { // SNS always sends a list, be it an empty one
			return nil, fmt.Errorf("%s: the answer has no list", doing)
		}
		for _, one := range page.Subscriptions {
			protocol, endpoint := aws.ToString(one.Protocol), aws.ToString(one.Endpoint)
			if protocol == "" || endpoint == "" || aws.ToString(one.TopicArn) != topic {
				return nil, fmt.Errorf("%s: a subscription has the protocol %q, the endpoint %q and the topic %q", doing, protocol, endpoint, aws.ToString(one.TopicArn))
			}
			subscriber, is := protocol+":"+endpoint, isSubscription(aws.ToString(one.SubscriptionArn), topic)
			confirmed[subscriber] = confirmed[subscriber] || is
		}
		if aws.ToString(page.NextToken) == "" {
			return confirmed, nil
		}
		input.NextToken = page.NextToken
	}
	return nil, fmt.Errorf("%s: there are more than %d pages", doing, mostSubscriptionPages)
}

// isSubscription reports whether the text is the ARN of a subscription of the topic.
func isSubscription(text, topic string) bool {
	_, err := arn.Parse(text)
	return err == nil && strings.HasPrefix(text, topic+":")
}
