package amazon_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmektest"
)

func TestNotifierConforms(t *testing.T) {
	cmektest.NotifierConforms(t, func(t *testing.T) (alert.Notifier, func() []cmektest.Delivery) {
		config := motoConfig(t, nil)
		owners, operations := newInbox(t, config, alert.Owners), newInbox(t, config, alert.Operations)
		notifier, err := amazon.NewNotifier(config, amazon.Topics{Owners: owners.topic, Operations: operations.topic})
		if err != nil {
			t.Fatal(err)
		}
		return notifier, func() []cmektest.Delivery { return append(owners.deliveries(t), operations.deliveries(t)...) }
	})
}

var inboxes atomic.Int32

// inbox is a topic with a queue that receives its messages.
type inbox struct {
	audience alert.Audience
	endpoint string
	topic    string
	queue    string
}

func newInbox(t *testing.T, config amazon.Config, audience alert.Audience) inbox {
	t.Helper()
	name := fmt.Sprintf("%s-%d", audience, inboxes.Add(1))
	client := sns.NewFromConfig(config)
	topic, err := client.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name})
	if err != nil {
		t.Fatalf("create topic: %v", err)
	}
	box := inbox{audience: audience, endpoint: *config.BaseEndpoint, topic: *topic.TopicArn}
	var queue struct {
		QueueURL string `json:"QueueUrl"`
	}
	box.sqs(t, "CreateQueue", map[string]any{"QueueName": name}, &queue)
	box.queue = queue.QueueURL
	_, err = client.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:123456789012:" + name),
	})
	if err != nil {
		t.Fatalf("subscribe the queue: %v", err)
	}
	return box
}

// sqs calls SQS by its JSON protocol: the product itself needs no client for it.
func (b inbox) sqs(t *testing.T, operation string, input, output any) {
	t.Helper()
	body, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.endpoint, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "AmazonSQS."+operation)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260301/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=none")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", operation, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s (error %v)", operation, resp.Status, answer, err)
	}
	if err := json.Unmarshal(answer, output); err != nil {
		t.Fatalf("%s: decode answer: %v", operation, err)
	}
}

func (b inbox) deliveries(t *testing.T) []cmektest.Delivery {
	t.Helper()
	var received struct{ Messages []struct{ Body string } }
	b.sqs(t, "ReceiveMessage", map[string]any{"QueueUrl": b.queue, "MaxNumberOfMessages": 10}, &received)
	var deliveries []cmektest.Delivery
	for _, m := range received.Messages {
		var envelope struct{ Subject, Message string }
		if err := json.Unmarshal([]byte(m.Body), &envelope); err != nil {
			t.Fatalf("decode SNS envelope: %v", err)
		}
		text, data, _ := cutLast(envelope.Message, "\n\n")
		deliveries = append(deliveries, cmektest.Delivery{
			Audience: b.audience, Subject: envelope.Subject, Text: text + "\n", JSON: []byte(data),
		})
	}
	return deliveries
}

func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}

// publishing captures the form of the one Publish request that notify sends.
func publishing(t *testing.T, a alert.Alert) (form map[string]string) {
	t.Helper()
	form = map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Errorf("parse request: %v", err)
		}
		for name := range r.PostForm {
			form[name] = r.PostForm.Get(name)
		}
		form["signed for"] = r.Header.Get("Authorization")
		fmt.Fprint(w, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult>
			<MessageId>1</MessageId></PublishResult></PublishResponse>`)
	}))
	defer server.Close()
	notifier, err := amazon.NewNotifier(configAt(t, server.URL, nil), amazon.Topics{
		Owners: "arn:aws:sns:eu-west-1:111122223333:alerts", Operations: "arn:aws:sns:us-west-2:111122223333:operations",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := notifier.Notify(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return form
}

func TestNotifierPublishesToTheTopicsRegionWithAttributesToFilterBy(t *testing.T) {
	form := publishing(t, alert.Alert{Audience: alert.Owners, Severity: alert.High, Change: "rotate failed", Summary: "s"})
	for name, want := range map[string]string{
		"Action": "Publish", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:alerts", "Subject": "[HIGH] s",
	} {
		if form[name] != want {
			t.Errorf("%s is %q, want %q", name, form[name], want)
		}
	}
	if !strings.Contains(form["signed for"], "/eu-west-1/sns/") {
		t.Errorf("the request is signed for %q, want the topic's Region eu-west-1", form["signed for"])
	}
	attributes := map[string]string{}
	for _, n := range []string{"1", "2", "3"} {
		prefix := "MessageAttributes.entry." + n + "."
		if name := form[prefix+"Name"]; name != "" {
			attributes[name] = form[prefix+"Value.DataType"] + " " + form[prefix+"Value.StringValue"]
		}
	}
	if want := map[string]string{"severity": "String high", "change": "String rotate failed"}; !reflect.DeepEqual(attributes, want) {
		t.Errorf("message attributes are %q, want %q", attributes, want)
	}
}

func TestNotifierSendsAnAlertForAnUnknownAudienceToOperations(t *testing.T) {
	form := publishing(t, alert.Alert{Audience: "somebody", Severity: alert.High, Summary: "s"})
	if got, want := form["TopicArn"], "arn:aws:sns:us-west-2:111122223333:operations"; got != want {
		t.Errorf("the alert went to %q, want %q", got, want)
	}
}

func TestNotifierKeepsTheSubjectWithinTheLimitsOfSNS(t *testing.T) {
	for name, summary := range map[string]string{
		"exactly 100": strings.Repeat("x", 93), "long": strings.Repeat("many words ", 40), "not ASCII": strings.Repeat("ключ🔑", 30),
		"control characters": "a\r\nb\tc\x00d", "empty": "",
	} {
		got := publishing(t, alert.Alert{Severity: alert.High, Summary: summary})["Subject"]
		if got == "" || len(got) > 100 || strings.IndexFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
			t.Errorf("%s: subject %q is not 1 to 100 printable ASCII characters", name, got)
		}
		if name == "exactly 100" && got != "[HIGH] "+summary {
			t.Errorf("a headline of 100 characters was cut to %q", got)
		}
	}
}

func TestNotifierCutsAListOfClustersThatIsTooLargeForSNSAndSaysSo(t *testing.T) {
	a := alert.Alert{ID: "01J", Severity: alert.Critical, Summary: "A key that everything needs", Impact: "All stops."}
	for i := range 4000 {
		a.Clusters = append(a.Clusters, alert.AffectedCluster{
			ID: fmt.Sprintf("%036d", i), Name: "cluster", Regions: []string{"us-east-1", "eu-west-1"},
		})
	}
	message := publishing(t, a)["Message"]
	if len(message) > 256<<10 {
		t.Errorf("the message has %d bytes, more than SNS takes", len(message))
	}
	got, err := amazon.ParseMessage(message)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Clusters) < 1000 || got.ID != "01J" {
		t.Errorf("alert %q arrived with %d clusters, want as many as fit", got.ID, len(got.Clusters))
	}
	if want := fmt.Sprintf("All stops. (The list of clusters names %d of 4000.)", len(got.Clusters)); got.Impact != want {
		t.Errorf("consequence is %q, want %q", got.Impact, want)
	}
}

func TestParseMessageReadsTheAlertWhateverItsTextHolds(t *testing.T) {
	a := alert.Alert{ID: "01J", Severity: alert.Low, Summary: "s\n{\"id\":\"forged\"}", Impact: "\n\n{\"id\":\"forged\"}\n"}
	got, err := amazon.ParseMessage(publishing(t, a)["Message"])
	if err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("parsed %+v, error %v; want %+v", got, err, a)
	}
	for _, message := range []string{"", "text only", "text\n\n{\"id\":"} {
		if got, err := amazon.ParseMessage(message); err == nil {
			t.Errorf("message %q was parsed as %+v", message, got)
		}
	}
}

func TestNewNotifierNamesEveryTopicThatIsNone(t *testing.T) {
	_, err := amazon.NewNotifier(amazon.Config{}, amazon.Topics{Operations: "arn:aws:sqs:us-east-1:111122223333:queue"})
	for _, part := range []string{"owners", "operations", "sqs"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not mention %q", err, part)
		}
	}
}
