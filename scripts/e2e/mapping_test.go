package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/keyturn/keyturn/internal/simulator"
)

// mapping feeds a function from a queue, as Lambda's event source mapping does that has ReportBatchItemFailures
// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
type mapping struct {
	t       *testing.T
	account *account
	queue   queue
	lambda  *lambda
	// timeout is the function's; 0 means 30 s.
	timeout time.Duration
	// secrets may not be in the function's log, besides those that every function gets.
	secrets []string
	// bodies are the messages that the function was given, none of which may be in its log either.
	bodies []string
}

// poll takes a batch from the queue, invokes the function, and deletes the messages that did not fail. It returns the ids of
// the messages of the batch and of those that failed.
func (m *mapping) poll() (batch, failed []string, err error) {
	messages := m.account.receive(m.queue)
	if len(messages) == 0 {
		return nil, nil, nil
	}
	failed, err = m.invoke(messages)
	for _, message := range messages {
		batch = append(batch, *message.MessageId)
		if err == nil && !slices.Contains(failed, *message.MessageId) {
			m.account.remove(m.queue, message)
		}
	}
	return batch, failed, err
}

// sqsRecord is a message as Lambda hands it to a function (docs.aws.amazon.com/lambda/latest/dg/with-sqs.html).
type sqsRecord struct {
	MessageID         string            `json:"messageId"`
	ReceiptHandle     string            `json:"receiptHandle"`
	Body              string            `json:"body"`
	Attributes        map[string]string `json:"attributes"`
	MessageAttributes struct{}          `json:"messageAttributes"`
	MD5OfBody         string            `json:"md5OfBody"`
	EventSource       string            `json:"eventSource"`
	EventSourceARN    string            `json:"eventSourceARN"`
	AWSRegion         string            `json:"awsRegion"`
}

func (m *mapping) invoke(messages []sqstypes.Message) (failed []string, err error) {
	var event struct{ Records []sqsRecord }
	for _, message := range messages {
		m.bodies = append(m.bodies, *message.Body)
		event.Records = append(event.Records, sqsRecord{
			MessageID: *message.MessageId, ReceiptHandle: *message.ReceiptHandle, Body: *message.Body, MD5OfBody: *message.MD5OfBody,
			Attributes: message.Attributes, EventSource: "aws:sqs", EventSourceARN: m.queue.arn, AWSRegion: region,
		})
	}
	payload, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	reply, err := m.lambda.invoke(payload, cmp.Or(m.timeout, 30*time.Second))
	if err != nil {
		return nil, err
	}
	var response lambdaevents.SQSEventResponse
	if err := json.Unmarshal(reply, &response); err != nil {
		return nil, fmt.Errorf("read the answer to a batch: %w", err)
	}
	if response.BatchItemFailures == nil {
		return nil, fmt.Errorf("the answer to a batch is %s, want batchItemFailures", reply)
	}
	for _, f := range response.BatchItemFailures {
		failed = append(failed, f.ItemIdentifier)
	}
	return failed, nil
}

// checkLog makes sure that the function's log holds no secret and no piece of a message body that is longer than a quotation.
func (m *mapping) checkLog() {
	// A log line quotes by escaping; without backslashes both look alike.
	plain := func(text string) string { return strings.ReplaceAll(text, `\`, "") }
	log := plain(m.lambda.log.String())
	for _, secret := range append([]string{simulator.SampleAPIKey, secretAccessKey, sessionToken}, m.secrets...) {
		if strings.Contains(log, secret) {
			m.t.Errorf("the log of %s holds a secret", m.lambda.function)
		}
	}
	const quotation = 200
	for _, body := range m.bodies {
		for body := plain(body); len(body) > quotation; body = body[quotation:] {
			if strings.Contains(log, body[:quotation]) {
				m.t.Errorf("the log of %s holds a piece of a message body: %s", m.lambda.function, body[:quotation])
				break
			}
		}
	}
}
