package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// scene is one installation of keyturn with a world of its own around it.
type scene struct {
	t       *testing.T
	world   *simulator.World
	account *account
	wire    *wire
	lambda  *lambda
	ledger  *ledger.Ledger
	// tickTime is the function's timeout for a tick. A process that dies holds the worker's lease for that long and a little
	// more, so tests that kill give it little.
	tickTime time.Duration
	// troubles are the invocations that failed.
	troubles []error
	// bodies are the messages that the function was given, none of which may be in its log.
	bodies []string
}

// settings make the function as quick as it can be. The sweep is left at an hour: after the first one, what is followed is
// followed because of an event.
var settings = []string{
	"KEYTURN_MODE=follow", "KEYTURN_SETTLE=1s", "KEYTURN_POLL=500ms", "KEYTURN_GRACE=3s", "KEYTURN_SWEEP_EVERY=1h", "KEYTURN_LOG_LEVEL=DEBUG",
}

// quick are the switches of a world whose operations take no longer than a test likes to wait.
var quick = map[string]string{
	simulator.RotationDuration: "1s", simulator.KMSPropagation: "500ms", simulator.KMSRotationTime: "500ms",
}

// endToEnd lets a test run together with all others, or skips it.
func endToEnd(t *testing.T) {
	t.Helper()
	if !enabled() {
		t.Skip("end-to-end tests run with KEYTURN_E2E=1: make e2e")
	}
	t.Parallel()
}

// must ends the test if err is not nil.
func must(t *testing.T, err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// newScene sets up a world and an installation in it, and lets the function see every cluster once.
func newScene(t *testing.T, seed simulator.Seed) *scene {
	t.Helper()
	endToEnd(t)
	seed.Switches = quick
	world, err := simulator.New(seed)
	must(t, err, "make the world")
	s := &scene{t: t, world: world, account: newAccount(t), wire: &wire{t: t}, tickTime: 10 * time.Second}
	s.lambda = newLambda(t, slices.Concat(lambdaEnvironment(), s.endpoints(), s.account.environment(), settings)...)
	s.ledger = ledger.New(amazon.NewStore(s.account.config, s.account.name), rand.New(rand.NewPCG(1, 2)))
	t.Cleanup(s.checkLog)

	s.until("the first sweep has seen every cluster", time.Minute, func() string {
		worker, err := s.ledger.Worker(t.Context())
		if err != nil || worker.Sweep.Complete.IsZero() {
			return fmt.Sprintf("the sweep is not complete (%v)", err)
		}
		return ""
	})
	if puts := world.PUTs(); len(puts) > 0 {
		t.Fatalf("the first sweep sent %d PUTs, although no key has rotated since the store keys were wrapped: %+v", len(puts), puts)
	}
	return s
}

// lambdaEnvironment is what Lambda itself sets
// (docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime).
func lambdaEnvironment() []string {
	return []string{
		"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region, "AWS_ACCESS_KEY_ID=" + accessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + secretAccessKey, "AWS_SESSION_TOKEN=" + sessionToken,
		"AWS_EXECUTION_ENV=AWS_Lambda_provided.al2023", "AWS_LAMBDA_FUNCTION_NAME=keyturn-rotation",
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/keyturn-rotation", "AWS_LAMBDA_LOG_STREAM_NAME=2026/01/02/[$LATEST]0123456789abcdef",
		"TZ=:UTC", "LANG=en_US.UTF-8", "PATH=/usr/bin:/bin",
	}
}

// endpoints sends every service's calls over the wire.
func (s *scene) endpoints() []string {
	moto := toMoto(s.t)
	return []string{
		"COCKROACH_SERVER=" + s.wire.to("cloud", s.world.CloudAPI()),
		"AWS_ENDPOINT_URL_KMS=" + s.wire.to("kms", s.world.AWSKMS()),
		"AWS_ENDPOINT_URL_DYNAMODB=" + s.wire.to("dynamodb", moto),
		"AWS_ENDPOINT_URL_S3=" + s.wire.to("s3", moto),
		"AWS_ENDPOINT_URL_SNS=" + s.wire.to("sns", moto),
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + s.wire.to("secretsmanager", moto),
		"AWS_ENDPOINT_URL=http://127.0.0.1:1", // Nothing else may be called.
	}
}

// tick invokes the function as EventBridge Scheduler does.
func (s *scene) tick() error {
	payload := fmt.Sprintf(`{"keyturn":"tick","schedule":"arn:aws:scheduler:%s:%s:schedule/keyturn/rotation","scheduled":%q}`,
		region, accountID, time.Now().UTC().Format(time.RFC3339))
	_, err := s.lambda.invoke([]byte(payload), s.tickTime)
	return err
}

// poll does once what Lambda's event source mapping does: it takes a batch from the queue, invokes the function, and deletes
// the messages that did not fail. It returns the ids of the messages of the batch and of those that failed.
func (s *scene) poll() (batch, failed []string, err error) {
	messages := s.account.receive(s.account.events)
	if len(messages) == 0 {
		return nil, nil, nil
	}
	failed, err = s.invokeWithBatch(messages)
	for _, m := range messages {
		batch = append(batch, *m.MessageId)
		if err == nil && !slices.Contains(failed, *m.MessageId) {
			s.account.remove(s.account.events, m)
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

func (s *scene) invokeWithBatch(messages []sqstypes.Message) (failed []string, err error) {
	var event struct{ Records []sqsRecord }
	for _, m := range messages {
		s.bodies = append(s.bodies, *m.Body)
		event.Records = append(event.Records, sqsRecord{
			MessageID: *m.MessageId, ReceiptHandle: *m.ReceiptHandle, Body: *m.Body, MD5OfBody: *m.MD5OfBody, Attributes: m.Attributes,
			EventSource: "aws:sqs", EventSourceARN: s.account.events.arn, AWSRegion: region,
		})
	}
	payload, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	const functionTimeout = 30 * time.Second
	reply, err := s.lambda.invoke(payload, functionTimeout)
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

// until lets time pass: queue and clock invoke the function in turn, until missing returns "". It fails the test after the
// given time with what was missing last.
func (s *scene) until(what string, within time.Duration, missing func() string) {
	s.t.Helper()
	const pause = 500 * time.Millisecond
	for deadline := time.Now().Add(within); ; time.Sleep(pause) {
		_, _, polled := s.poll()
		if err := errors.Join(polled, s.tick()); err != nil {
			s.troubles = append(s.troubles, err)
		}
		lack := missing()
		if lack == "" {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %s until %s; missing: %s\nfailed invocations: %v\nend of the log:\n%s",
				within, what, lack, s.troubles, s.lambda.log.tail())
		}
	}
}

// deliver puts everything that AWS emitted since the last call on the bus, each event as often as said.
func (s *scene) deliver(times int) {
	s.t.Helper()
	for _, e := range s.world.Events() {
		for range times {
			s.account.emit(e.Payload)
		}
	}
}

// checkLog makes sure that the log holds no secret and no piece of a message body that is longer than a quotation.
func (s *scene) checkLog() {
	// A log line quotes by escaping; without backslashes both look alike.
	plain := func(text string) string { return strings.ReplaceAll(text, `\`, "") }
	log := plain(s.lambda.log.String())
	for _, secret := range []string{simulator.SampleAPIKey, secretAccessKey, sessionToken} {
		if strings.Contains(log, secret) {
			s.t.Error("the log holds a secret")
		}
	}
	const quotation = 200
	for _, body := range s.bodies {
		for body := plain(body); len(body) > quotation; body = body[quotation:] {
			if strings.Contains(log, body[:quotation]) {
				s.t.Errorf("the log holds a piece of a message body: %s", body[:quotation])
				break
			}
		}
	}
}
