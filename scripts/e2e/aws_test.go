package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventbridgetypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	accountID = "111122223333"
	region    = "us-east-1"

	accessKeyID     = "AKIASAMPLESAMPLESAMP"
	secretAccessKey = "sampleSecretAccessKey/that/no/log/may/show"
	sessionToken    = "sampleSessionToken/that/no/log/may/show"
)

// account is one installation of keyturn in AWS, played by moto_server: bus → rule → queue, table, bucket, topics with one
// subscription, secret. Its clients go straight to moto_server, past the wire.
type account struct {
	t      *testing.T
	name   string
	config amazon.Config

	// events is what the function is fed from, dead where its bad messages end, messages what the topics said.
	events, dead, messages queue
	alerts, operations     string // topic ARNs

	sqs *sqs.Client
	bus *eventbridge.Client
	s3  *s3.Client
}

type queue struct{ url, arn string }

var accounts atomic.Int32

func newAccount(t *testing.T) *account {
	env := map[string]string{
		"AWS_REGION": region, "AWS_ACCESS_KEY_ID": accessKeyID, "AWS_SECRET_ACCESS_KEY": secretAccessKey, "AWS_ENDPOINT_URL": motoEndpoint,
	}
	config, err := amazon.ConfigFromEnv(func(name string) string { return env[name] }, &http.Client{Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	a := &account{
		t: t, name: fmt.Sprintf("keyturn-%d", accounts.Add(1)), config: config,
		sqs: sqs.NewFromConfig(config), bus: eventbridge.NewFromConfig(config),
		s3: s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true }),
	}
	a.createTable()
	a.createQueues()
	_, err = a.bus.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: &a.name})
	must(a.t, err, "create bus")
	a.createRule(rotationFunction, a.events, rotation.Subscribes)
	a.createTopics()

	_, err = a.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &a.name})
	must(a.t, err, "create bucket")
	a.createSecret(a.name, `{"api_key":"`+simulator.SampleAPIKey+`"}`)
	a.createRoles()
	return a
}

var rolesOnce sync.Once

// createRoles makes the roles that the clusters of the default world act as. moto_server plays one account to all
// installations, so they share them.
func (a *account) createRoles() {
	rolesOnce.Do(func() {
		trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"*"},` +
			`"Condition":{"StringEquals":{"sts:ExternalId":"` + simulator.DefaultSeed().Organization.ID + `"}}}]}`
		for _, name := range []string{"payments-cmek", "orders-cmek", "ledger-cmek", "archive-cmek"} {
			_, err := iam.NewFromConfig(a.config).CreateRole(a.t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust})
			must(a.t, err, "create role "+name)
		}
	})
}

func (a *account) createSecret(name, value string) {
	_, err := secretsmanager.NewFromConfig(a.config).CreateSecret(a.t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: &value})
	must(a.t, err, "create secret "+name)
}

// environment is the function's configuration.
func (a *account) environment() []string {
	return []string{
		"KEYTURN_LEDGER=dynamodb://" + a.name,
		"KEYTURN_ARCHIVE=s3://" + a.name + "/archive",
		"KEYTURN_ALERTS_TOPIC=" + a.alerts,
		"KEYTURN_OPERATIONS_TOPIC=" + a.operations,
		"KEYTURN_API_KEY_SECRET=" + a.name,
	}
}

func (a *account) createTable() {
	attribute := func(name string, kind dynamodbtypes.ScalarAttributeType) dynamodbtypes.AttributeDefinition {
		return dynamodbtypes.AttributeDefinition{AttributeName: &name, AttributeType: kind}
	}
	schema := func(hash, sort string) []dynamodbtypes.KeySchemaElement {
		return []dynamodbtypes.KeySchemaElement{
			{AttributeName: &hash, KeyType: dynamodbtypes.KeyTypeHash},
			{AttributeName: &sort, KeyType: dynamodbtypes.KeyTypeRange},
		}
	}
	_, err := dynamodb.NewFromConfig(a.config).CreateTable(a.t.Context(), &dynamodb.CreateTableInput{
		TableName:   &a.name,
		BillingMode: dynamodbtypes.BillingModePayPerRequest,
		AttributeDefinitions: []dynamodbtypes.AttributeDefinition{
			attribute(amazon.PartitionKey, dynamodbtypes.ScalarAttributeTypeS),
			attribute(amazon.SortKey, dynamodbtypes.ScalarAttributeTypeS),
			attribute(amazon.KindAttribute, dynamodbtypes.ScalarAttributeTypeS),
			attribute(amazon.NextLookAttribute, dynamodbtypes.ScalarAttributeTypeN),
		},
		KeySchema: schema(amazon.PartitionKey, amazon.SortKey),
		GlobalSecondaryIndexes: []dynamodbtypes.GlobalSecondaryIndex{{
			IndexName:  aws.String(amazon.DueIndex),
			KeySchema:  schema(amazon.KindAttribute, amazon.NextLookAttribute),
			Projection: &dynamodbtypes.Projection{ProjectionType: dynamodbtypes.ProjectionTypeKeysOnly},
		}},
	})
	must(a.t, err, "create table")
}

// mostReceives is how often a message is delivered before it goes to the dead-letter queue.
const mostReceives = 3

func (a *account) createQueues() {
	a.dead = a.createQueue("dead", nil)
	a.events = a.createQueue("events", map[string]string{
		"VisibilityTimeout": "2",
		"RedrivePolicy":     fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, a.dead.arn, mostReceives),
	})
	a.messages = a.createQueue("messages", nil)
}

func (a *account) createQueue(name string, attributes map[string]string) queue {
	name = a.name + "-" + name
	out, err := a.sqs.CreateQueue(a.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	must(a.t, err, "create queue")
	return queue{url: *out.QueueUrl, arn: "arn:aws:sqs:" + region + ":" + accountID + ":" + name}
}

// createRule sends to the queue what a function subscribes to. AWS puts the events of its services on the account's default
// bus; here each installation has a bus of its own, because moto_server plays one account to all of them.
func (a *account) createRule(name string, target queue, subscribes []cmek.Change) {
	name = a.name + "-" + name
	_, err := a.bus.PutRule(a.t.Context(), &eventbridge.PutRuleInput{
		Name: &name, EventBusName: &a.name, EventPattern: aws.String(eventPattern(subscribes)),
	})
	must(a.t, err, "put rule "+name)
	_, err = a.bus.PutTargets(a.t.Context(), &eventbridge.PutTargetsInput{
		Rule: &name, EventBusName: &a.name, Targets: []eventbridgetypes.Target{{Id: aws.String("queue"), Arn: &target.arn}},
	})
	must(a.t, err, "put targets of rule "+name)
}

// eventPattern selects the notices that mean one of the changes, be it when the call succeeded or when it failed.
func eventPattern(subscribes []cmek.Change) string {
	var rows []map[string]any
	for _, row := range events.Table() {
		if !slices.Contains(subscribes, row.Change) && !slices.Contains(subscribes, row.Failed) {
			continue
		}
		pattern := map[string]any{"source": []string{row.Source}, "detail-type": []string{row.DetailType}}
		if row.Name != "" {
			pattern["detail"] = map[string]any{"eventName": []string{row.Name}}
		}
		rows = append(rows, pattern)
	}
	data, err := json.Marshal(map[string]any{"$or": rows})
	if err != nil {
		panic(err) // It is made of strings.
	}
	return string(data)
}

func (a *account) createTopics() {
	client := sns.NewFromConfig(a.config)
	create := func(name string) string {
		out, err := client.CreateTopic(a.t.Context(), &sns.CreateTopicInput{Name: aws.String(a.name + "-" + name)})
		must(a.t, err, "create topic "+name)
		_, err = client.Subscribe(a.t.Context(), &sns.SubscribeInput{
			TopicArn: out.TopicArn, Protocol: aws.String("sqs"), Attributes: map[string]string{"RawMessageDelivery": "true"},
			Endpoint: &a.messages.arn,
		})
		must(a.t, err, "subscribe to topic "+name)
		return *out.TopicArn
	}
	a.alerts, a.operations = create("alerts"), create("operations")
}

// emit puts an event of AWS on the bus, and the rule does the rest. On AWS only a service itself can use a source aws.*;
// moto_server does not mind. It gives the event another id and the bus's own Region, and keeps the rest.
func (a *account) emit(payload []byte) {
	a.t.Helper()
	var e struct {
		Source     string          `json:"source"`
		DetailType string          `json:"detail-type"`
		Time       time.Time       `json:"time"`
		Resources  []string        `json:"resources"`
		Detail     json.RawMessage `json:"detail"`
	}
	must(a.t, json.Unmarshal(payload, &e), "read the event that the simulator emitted")
	_, err := a.bus.PutEvents(a.t.Context(), &eventbridge.PutEventsInput{Entries: []eventbridgetypes.PutEventsRequestEntry{{
		EventBusName: &a.name, Source: &e.Source, DetailType: &e.DetailType, Time: &e.Time, Resources: e.Resources,
		Detail: aws.String(string(e.Detail)),
	}}})
	must(a.t, err, "put event")
}

// send puts a message into the queue of events by hand, and returns its id.
func (a *account) send(body string) (messageID string) {
	a.t.Helper()
	out, err := a.sqs.SendMessage(a.t.Context(), &sqs.SendMessageInput{QueueUrl: &a.events.url, MessageBody: &body})
	must(a.t, err, "send message")
	return *out.MessageId
}

// receive takes up to ten messages, which stay invisible for the queue's visibility timeout.
func (a *account) receive(q queue) []sqstypes.Message {
	a.t.Helper()
	out, err := a.sqs.ReceiveMessage(a.t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: 10,
		MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{sqstypes.MessageSystemAttributeNameAll},
	})
	must(a.t, err, "receive messages")
	return out.Messages
}

// waiting is how many messages of the queue are visible.
func (a *account) waiting(q queue) int {
	a.t.Helper()
	const visible = sqstypes.QueueAttributeNameApproximateNumberOfMessages
	out, err := a.sqs.GetQueueAttributes(a.t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &q.url, AttributeNames: []sqstypes.QueueAttributeName{visible},
	})
	must(a.t, err, "count messages")
	n, err := strconv.Atoi(out.Attributes[string(visible)])
	must(a.t, err, "count messages")
	return n
}

func (a *account) remove(q queue, m sqstypes.Message) {
	a.t.Helper()
	_, err := a.sqs.DeleteMessage(a.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &q.url, ReceiptHandle: m.ReceiptHandle})
	must(a.t, err, "delete message")
}

// drain takes all messages that are visible out of a queue.
func (a *account) drain(q queue) (bodies []string) {
	a.t.Helper()
	const mostBatches = 100
	for range mostBatches {
		batch := a.receive(q)
		if len(batch) == 0 {
			return bodies
		}
		for _, m := range batch {
			bodies = append(bodies, *m.Body)
			a.remove(q, m)
		}
	}
	a.t.Fatalf("queue %s does not get empty", q.arn)
	return nil
}

// published returns the alerts that came since the last call, as a subscriber of the topics reads them.
func (a *account) published() (alerts []cmek.Alert) {
	a.t.Helper()
	for _, message := range a.drain(a.messages) {
		alert, err := amazon.ParseMessage(message)
		if err != nil {
			a.t.Errorf("a subscriber cannot read a message: %v", err)
			continue
		}
		alerts = append(alerts, alert)
	}
	return alerts
}

// archived returns the evidence of the cluster in the order of its names, which is that of its numbers.
func (a *account) archived(clusterID string) (records [][]byte) {
	a.t.Helper()
	ctx := a.t.Context()
	prefix := "archive/evidence/" + clusterID + "/"
	list, err := a.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &a.name, Prefix: &prefix})
	must(a.t, err, "list the archive")
	for _, object := range list.Contents { // sorted by key, says ListObjectsV2
		if !strings.HasSuffix(*object.Key, ".json") {
			a.t.Errorf("evidence has the name %q, want one that ends in .json", *object.Key)
		}
		out, err := a.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &a.name, Key: object.Key})
		must(a.t, err, "read the archive")
		data, err := io.ReadAll(out.Body)
		_ = out.Body.Close()
		must(a.t, err, "read the archive")
		records = append(records, data)
	}
	return records
}
