package e2e

import (
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// Keys of the simulator's default world: payments and checkout share one, ledger-eu has a replica of another in each region.
const (
	sharedKey      = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001")
	multiRegionKey = cmek.KeyURI("arn:aws:kms:eu-central-1:111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906")
)

func TestARotationIsFollowedFromTheBusToTheEvidence(t *testing.T) {
	s := newScene(t, simulator.DefaultSeed())

	// One key rotates by its schedule, the other because somebody asks for it. KMS and CloudTrail both tell of each, and
	// every notice comes twice.
	must(t, s.world.Rotate(string(sharedKey)), "rotate key")
	s.rotateOnDemand(multiRegionKey)
	time.Sleep(time.Second) // The on-demand rotation takes half of it.
	s.deliver(2)
	const notices = 2 * 2 * 2
	if got := s.account.waiting(s.events.queue); got != notices {
		t.Errorf("%d notices are in the queue, want %d: two of each signal of each rotation, and not the call RotateKeyOnDemand", got, notices)
	}

	clusters := []string{"checkout", "ledger-eu", "payments"}
	var messages []alert.Alert
	s.until("both rotations are followed", 120*time.Second, func() string {
		messages = append(messages, s.account.published()...)
		return s.notFollowed(clusters, messages)
	})
	s.checkFollowed(clusters, messages)
	s.checkCanary("payments", "checkout")
	if len(s.troubles) > 0 {
		t.Errorf("invocations failed: %v", s.troubles)
	}
	if rest := s.account.drain(s.account.queueNamed("rotation-event-dead")); len(rest) > 0 {
		t.Errorf("%d messages went to the dead-letter queue", len(rest))
	}
}

func TestAKeyThatWeMayNotReadIsToldToOperationsAndNothingIsSent(t *testing.T) {
	s := newScene(t, simulator.DefaultSeed())
	must(t, s.world.DenyKMS(string(sharedKey), true), "deny the key")
	must(t, s.world.Rotate(string(sharedKey)), "rotate key")
	s.deliver(1)
	var messages []alert.Alert
	s.until("operations hear that the key cannot be read", 60*time.Second, func() string {
		messages = append(messages, s.account.published()...)
		if slices.ContainsFunc(messages, func(a alert.Alert) bool { return a.Audience == alert.Operations && a.Key == sharedKey }) {
			return ""
		}
		return "a message to operations about the key"
	})
	if puts := s.world.PUTs(); len(puts) > 0 {
		t.Errorf("%d PUTs were sent although the key could not be read", len(puts))
	}
}

func TestAnIdleTickCostsOneRequest(t *testing.T) {
	s := newScene(t, simulator.DefaultSeed())
	before := s.wire.count()
	must(t, s.clock.tick(), "tick")
	calls := s.wire.since(before)
	if len(calls) != 1 || calls[0].String() != "dynamodb Query" {
		t.Errorf("an idle tick made the requests %v, want one query of the ledger", calls)
	}
}

// rotateOnDemand asks the KMS for new key material, as the key's owner does.
func (s *scene) rotateOnDemand(key cmek.KeyURI) {
	s.t.Helper()
	_, err := s.keyOwner(key).RotateKeyOnDemand(s.t.Context(), &kms.RotateKeyOnDemandInput{KeyId: aws.String(string(key))})
	must(s.t, err, "rotate key on demand")
}

// keyOwner is the KMS as somebody uses it who may do everything to the key.
func (s *scene) keyOwner(key cmek.KeyURI) *kms.Client {
	server := httptest.NewServer(s.world.AWSKMS())
	s.t.Cleanup(server.Close)
	config := s.account.config.Copy()
	config.BaseEndpoint, config.Region = aws.String(server.URL), key.Location()
	return kms.NewFromConfig(config)
}
