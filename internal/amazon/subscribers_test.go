package amazon_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
)

const alertsTopic = "arn:aws:sns:us-east-1:111122223333:keyturn-alerts"

// member is one subscription in SNS's answer (docs.aws.amazon.com/sns/latest/api/API_ListSubscriptionsByTopic.html).
func member(topic, protocol, endpoint, arn string) string {
	return fmt.Sprintf(`<member><TopicArn>%s</TopicArn><Protocol>%s</Protocol><SubscriptionArn>%s</SubscriptionArn><Owner>111122223333</Owner><Endpoint>%s</Endpoint></member>`, topic, protocol, arn, endpoint)
}

func page(next string, members ...string) string {
	token := ""
	if next != "" {
		token = "<NextToken>" + next + "</NextToken>"
	}
	return `<ListSubscriptionsByTopicResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><ListSubscriptionsByTopicResult>` + token +
		`<Subscriptions>` + strings.Join(members, "") + `</Subscriptions></ListSubscriptionsByTopicResult></ListSubscriptionsByTopicResponse>`
}

// subscribersOf asks a server that answers with these pages, by their tokens.
func subscribersOf(t *testing.T, status int, pages map[string]string) (map[string]bool, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("TopicArn") != alertsTopic {
			t.Errorf("the request is %v (%v)", r.Form, err)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, pages[r.Form.Get("NextToken")])
	}))
	defer server.Close()
	return amazon.NewSubscribers(configAt(t, server.URL, nil), amazon.Topics{Owners: alertsTopic}).Subscribers(t.Context(), alert.Owners)
}

func TestSubscribersAreThoseOfAllPages_confirmedIfTheyHaveAnARN(t *testing.T) {
	got, err := subscribersOf(t, http.StatusOK, map[string]string{
		"": page("2", member(alertsTopic, "email", "a@example.com", alertsTopic+":1b2c3d4e-0000-4000-8000-000000000001"), member(alertsTopic, "email", "b@example.com", "PendingConfirmation")),
		"2": page("", member(alertsTopic, "sqs", "arn:aws:sqs:us-east-1:111122223333:keyturn-notify-slack", alertsTopic+":2"), member(alertsTopic, "email", "c@example.com", "Deleted"),
			member(alertsTopic, "email", "d@example.com", ""), member(alertsTopic, "email", "e@example.com", "arn:aws:sns:us-east-1:111122223333:other:3"),
			member(alertsTopic, "email", "b@example.com", alertsTopic+":4")),
	})
	want := map[string]bool{"email:a@example.com": true, "email:b@example.com": true, "sqs:arn:aws:sqs:us-east-1:111122223333:keyturn-notify-slack": true,
		"email:c@example.com": false, "email:d@example.com": false, "email:e@example.com": false}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("subscribers are %v (%v), want %v", got, err, want)
	}
	if got, err := subscribersOf(t, http.StatusOK, map[string]string{"": page("")}); err != nil || len(got) != 0 {
		t.Errorf("of a topic that nobody is subscribed to they are %v (%v)", got, err)
	}
}

func TestSubscribersThatCannotBeReadAreAnError(t *testing.T) {
	whole := member(alertsTopic, "email", "a@example.com", alertsTopic+":1")
	for what, row := range map[string]struct {
		status int
		pages  map[string]string
		denied bool
	}{
		"denied": {http.StatusForbidden, map[string]string{"": `<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>no</Message></Error></ErrorResponse>`}, true},
		"gone":   {http.StatusNotFound, map[string]string{"": `<ErrorResponse><Error><Type>Sender</Type><Code>NotFound</Code><Message>no</Message></Error></ErrorResponse>`}, false},
		"empty":  {http.StatusOK, map[string]string{}, false}, "cut": {http.StatusOK, map[string]string{"": page("", whole)[:200]}, false},
		"a proxy's": {http.StatusOK, map[string]string{"": "<html><body>Sign in</body></html>"}, false},
		"a page":    {http.StatusOK, map[string]string{"": page("2", whole)}, false},
		"no end":    {http.StatusOK, map[string]string{"": page("2", whole), "2": page("2", whole)}, false},
		"endpoint":  {http.StatusOK, map[string]string{"": page("", member(alertsTopic, "email", "", alertsTopic+":1"))}, false},
		"protocol":  {http.StatusOK, map[string]string{"": page("", member(alertsTopic, "", "a@example.com", alertsTopic+":1"))}, false},
		"another's": {http.StatusOK, map[string]string{"": page("", member(alertsTopic+"2", "email", "a@example.com", alertsTopic+"2:1"))}, false},
	} {
		got, err := subscribersOf(t, row.status, row.pages)
		if err == nil || got != nil || errors.Is(err, cmek.ErrDenied) != row.denied {
			t.Errorf("%s: subscribers are %v (%v), want an error (denied: %t)", what, got, err, row.denied)
		}
	}
}

func TestSubscribersOfARealTopic(t *testing.T) {
	config := motoConfig(t, nil)
	box := newInbox(t, config, alert.Operations)
	for protocol, endpoint := range map[string]string{"email": "oncall@example.com", "sms": "+15550100123"} {
		if _, err := sns.NewFromConfig(config).Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &box.topic, Protocol: aws.String(protocol), Endpoint: aws.String(endpoint)}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := amazon.NewSubscribers(config, amazon.Topics{Operations: box.topic}).Subscribers(t.Context(), alert.Operations)
	queue := "sqs:arn:aws:sqs:us-east-1:123456789012:" + box.topic[strings.LastIndex(box.topic, ":")+1:]
	if _, listed := got["email:oncall@example.com"]; err != nil || !listed || !got[queue] {
		t.Errorf("subscribers are %v (%v), want %s and the address", got, err, queue)
	}
}
