package e2e

import (
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// queue is an SQS queue, with the client of its Region.
type queue struct {
	sqs      *sqs.Client
	url, arn string
}

// queueNamed is a queue of the hub, by what follows the deployment's name.
func (a *account) queueNamed(name string) queue {
	name = a.name + "-" + name
	return queue{a.sqs, "https://sqs." + region + ".amazonaws.com/" + accountID + "/" + name, "arn:aws:sqs:" + region + ":" + accountID + ":" + name}
}

// createQueue makes a queue for the tests' own use.
func (a *account) createQueue(client *sqs.Client, region, name string) queue {
	name = a.name + "-" + name
	out, err := client.CreateQueue(a.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	must(a.t, err, "create queue")
	return queue{client, *out.QueueUrl, "arn:aws:sqs:" + region + ":" + accountID + ":" + name}
}

// hurry makes what failed come back soon.
func (a *account) hurry(q queue) { a.hide(q, queueTime) }

// hide sets for how many seconds a message is hidden that was received.
func (a *account) hide(q queue, seconds string) {
	a.t.Helper()
	_, err := q.sqs.SetQueueAttributes(a.t.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl: &q.url, Attributes: map[string]string{"VisibilityTimeout": seconds},
	})
	must(a.t, err, "set the visibility timeout of "+q.arn)
}

// send puts a message into a queue by hand, and returns its id.
func (a *account) send(q queue, body string) (messageID string) {
	a.t.Helper()
	out, err := q.sqs.SendMessage(a.t.Context(), &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body})
	must(a.t, err, "send message")
	return *out.MessageId
}

// sendAll puts many messages into a queue by hand.
func (a *account) sendAll(q queue, bodies []string) {
	a.t.Helper()
	for chunk := range slices.Chunk(bodies, mostMessages) {
		var entries []sqstypes.SendMessageBatchRequestEntry
		for i, body := range chunk {
			entries = append(entries, sqstypes.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: &body})
		}
		_, err := q.sqs.SendMessageBatch(a.t.Context(), &sqs.SendMessageBatchInput{QueueUrl: &q.url, Entries: entries})
		must(a.t, err, "send messages")
	}
}

// mostMessages is how many messages SQS hands out at once.
const mostMessages = 10

// receive takes messages, which stay invisible for the queue's visibility timeout.
func (a *account) receive(q queue, most int) []sqstypes.Message {
	a.t.Helper()
	out, err := q.sqs.ReceiveMessage(a.t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: int32(most),
		MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{sqstypes.MessageSystemAttributeNameAll},
	})
	must(a.t, err, "receive messages")
	return out.Messages
}

// waiting is how many messages of the queue are visible.
func (a *account) waiting(q queue) int {
	a.t.Helper()
	const visible = sqstypes.QueueAttributeNameApproximateNumberOfMessages
	out, err := q.sqs.GetQueueAttributes(a.t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &q.url, AttributeNames: []sqstypes.QueueAttributeName{visible},
	})
	must(a.t, err, "count messages")
	n, err := strconv.Atoi(out.Attributes[string(visible)])
	must(a.t, err, "count messages")
	return n
}

func (a *account) remove(q queue, messages ...sqstypes.Message) {
	a.t.Helper()
	for chunk := range slices.Chunk(messages, mostMessages) {
		var done []sqstypes.DeleteMessageBatchRequestEntry
		for _, m := range chunk {
			done = append(done, sqstypes.DeleteMessageBatchRequestEntry{Id: m.MessageId, ReceiptHandle: m.ReceiptHandle})
		}
		_, err := q.sqs.DeleteMessageBatch(a.t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &q.url, Entries: done})
		must(a.t, err, "delete messages")
	}
}

// drain takes all messages that are visible out of a queue.
func (a *account) drain(q queue) (bodies []string) {
	a.t.Helper()
	const mostBatches = 100
	for range mostBatches {
		batch := a.receive(q, mostMessages)
		for _, m := range batch {
			bodies = append(bodies, *m.Body)
		}
		a.remove(q, batch...)
		if len(batch) < mostMessages { // moto_server hands out all there are, up to that
			return bodies
		}
	}
	a.t.Fatalf("queue %s does not get empty", q.arn)
	return nil
}
