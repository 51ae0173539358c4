package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

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
	// batch is the most messages of one invocation, concurrency the most invocations at a time.
	batch, concurrency int
	// partial says that of a batch only the messages that failed come back.
	partial bool
	// bodies are the messages that the function was given, none of which may be in its log either.
	bodies []string
}

// poll takes a batch from the queue, invokes the function, and deletes the messages that did not fail. It returns the ids of
// the messages of the batch and of those that failed. That a function says that all failed is no error.
func (m *mapping) poll() (batch, failed []string, err error) {
	messages := m.gather()
	if len(messages) == 0 {
		return nil, nil, nil
	}
	failed, err = m.invoke(messages)
	allFailed := false
	if failure, ok := errors.AsType[*functionError](err); ok && strings.Contains(failure.Message, "messages of the batch failed") {
		allFailed, err = true, nil
	}
	var done []sqstypes.Message
	for _, message := range messages {
		batch = append(batch, *message.MessageId)
		if allFailed {
			failed = append(failed, *message.MessageId)
		}
		if err == nil && !slices.Contains(failed, *message.MessageId) {
			done = append(done, message)
		}
	}
	m.account.remove(m.queue, done...)
	return batch, failed, err
}

// gather takes what the queue has, up to a batch. A batching window would let more come.
func (m *mapping) gather() (messages []sqstypes.Message) {
	for len(messages) < m.batch {
		got := m.account.receive(m.queue, min(mostMessages, m.batch-len(messages)))
		messages = append(messages, got...)
		if len(got) < mostMessages {
			break
		}
	}
	return messages
}

// rush takes as many batches as Lambda works on at a time, and reports whether any message was handled.
func (m *mapping) rush() (busy bool, err error) {
	for range m.concurrency {
		batch, failed, err := m.poll()
		busy = busy || len(batch) > len(failed)
		if err != nil || len(batch) == 0 {
			return busy, err
		}
	}
	return busy, nil
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
	reply, err := m.lambda.invoke(payload, m.lambda.timeout)
	if err != nil {
		return nil, err
	}
	if !m.partial {
		return nil, nil
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

// checkLog makes sure that the function's log holds no secret and no piece of these bodies that is longer than a quotation.
func (l *lambda) checkLog(bodies []string) {
	// A log line quotes by escaping; without backslashes both look alike.
	plain := func(text string) string { return strings.ReplaceAll(text, `\`, "") }
	log := plain(l.log.String())
	for _, secret := range []string{simulator.SampleAPIKey, secretAccessKey, sessionToken, slackPath, routingKey, signingKey} {
		if strings.Contains(log, secret) {
			l.t.Errorf("the log of %s holds a secret", l.name)
		}
	}
	const quotation = 200
	for _, body := range bodies {
		for body := plain(body); len(body) > quotation; body = body[quotation:] {
			if strings.Contains(log, body[:quotation]) {
				l.t.Errorf("the log of %s holds a piece of a message body: %s", l.name, body[:quotation])
				break
			}
		}
	}
}
