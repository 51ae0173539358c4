package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

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
	// events feeds the function.
	events *mapping
	// tickTime is the function's timeout for a tick. A process that dies holds the worker's lease for that long and a little
	// more, so tests that kill give it less than tickTimeout.
	tickTime time.Duration
	// troubles are the invocations that failed.
	troubles []error
}

// tickTimeout is how long a deployed function may take for a tick. A healthy one needs a hundredth of it.
const tickTimeout = 55 * time.Second

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

// newScene sets up a world and an installation in it, with settings for the function besides those above, and lets the
// function see every cluster once.
func newScene(t *testing.T, seed simulator.Seed, more ...string) *scene {
	t.Helper()
	endToEnd(t)
	seed.Switches = quick
	world, err := simulator.New(seed)
	must(t, err, "make the world")
	s := &scene{t: t, world: world, account: newAccount(t), wire: &wire{t: t}, tickTime: tickTimeout}
	s.lambda = newLambda(t, rotationFunction, slices.Concat(
		lambdaEnvironment(rotationFunction), endpoints(world, s.wire), s.account.environment(), settings, more)...)
	s.events = &mapping{t: t, account: s.account, queue: s.account.events, lambda: s.lambda}
	s.ledger = ledger.New(amazon.NewStore(s.account.config, s.account.name), rand.New(rand.NewPCG(1, 2)))
	t.Cleanup(s.events.checkLog)

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
func lambdaEnvironment(function string) []string {
	return []string{
		"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region, "AWS_ACCESS_KEY_ID=" + accessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + secretAccessKey, "AWS_SESSION_TOKEN=" + sessionToken,
		"AWS_EXECUTION_ENV=AWS_Lambda_provided.al2023", "AWS_LAMBDA_FUNCTION_NAME=keyturn-" + function,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/keyturn-" + function, "AWS_LAMBDA_LOG_STREAM_NAME=2026/01/02/[$LATEST]0123456789abcdef",
		"TZ=:UTC", "LANG=en_US.UTF-8", "PATH=/usr/bin:/bin",
	}
}

// endpoints sends every service's calls over the wire.
func endpoints(world *simulator.World, w *wire) []string {
	moto := toMoto(w.t)
	return []string{
		"COCKROACH_SERVER=" + w.to("cloud", world.CloudAPI()),
		"AWS_ENDPOINT_URL_KMS=" + w.to("kms", world.AWSKMS()),
		"AWS_ENDPOINT_URL_DYNAMODB=" + w.to("dynamodb", moto),
		"AWS_ENDPOINT_URL_S3=" + w.to("s3", moto),
		"AWS_ENDPOINT_URL_SNS=" + w.to("sns", moto),
		"AWS_ENDPOINT_URL_IAM=" + w.to("iam", moto),
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + w.to("secretsmanager", moto),
		"AWS_ENDPOINT_URL=http://127.0.0.1:1", // Nothing else may be called.
	}
}

func (s *scene) tick() error { return s.lambda.tick(s.tickTime) }

// until lets time pass: queue and clock invoke the function in turn, until missing returns "". It fails the test after the
// given time with what was missing last.
func (s *scene) until(what string, within time.Duration, missing func() string) {
	s.t.Helper()
	const pause = 500 * time.Millisecond
	for deadline := time.Now().Add(within); ; time.Sleep(pause) {
		_, _, polled := s.events.poll()
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

// deliver puts everything that AWS emitted since the last call on the bus, each event as often as said, and returns it.
func (s *scene) deliver(times int) []simulator.Event {
	s.t.Helper()
	emitted := s.world.Events()
	for _, e := range emitted {
		for range times {
			s.account.emit(e.Payload)
		}
	}
	return emitted
}
