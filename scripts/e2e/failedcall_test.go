package e2e

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

func TestACallThatFailedIsToldOnceAndPagesNobody(t *testing.T) {
	w := newWatch(t, simulator.DefaultSeed())
	w.tryToDisable(sharedKey)
	w.deny(sharedKey, false)
	attempt := w.deliver(1)
	w.untilHeard("the attempt", unpaged)
	for _, e := range attempt {
		w.account.emit(e.Payload)
	}
	w.pass(2 * healthyFor)
	for _, kind := range unpaged {
		got := w.receiver.got(kind)
		w.checkTrigger(kind, got[0], "MEDIUM", "failed", "AccessDenied", "Nothing changed", "payments", "checkout", operator)
		if len(got) != 1 {
			t.Errorf("%s has %d messages, want the attempt once: %+v", kind, len(got), got)
		}
	}
	if got := w.receiver.got(notify.PagerDuty); len(got) > 0 {
		t.Errorf("PagerDuty has %+v, want nothing: the call changed nothing", got)
	}
	open, err := w.ledger.OpenIncidents(t.Context())
	must(t, err, "read open incidents")
	if len(open) > 0 {
		t.Errorf("incident %q is open, want none: nothing is broken", open[0].DedupKey)
	}

	// What succeeds later is no repeat of it.
	w.disable(sharedKey)
	w.deliver(1)
	for kind, d := range w.untilSaid("the disabled key is reported", 1, "CRITICAL", "was disabled") {
		w.checkTrigger(kind, d, "payments", "checkout", "aws kms enable-key")
	}
	if len(w.troubles) > 0 {
		t.Errorf("invocations failed: %v", w.troubles)
	}
}

func TestAUseThatWasRefusedToAClusterIsToldOnceWithTheWayBack(t *testing.T) {
	w := newWatch(t, simulator.DefaultSeed())
	w.emitRefused("Decrypt", "somebody-else", 1)
	w.pass(0)
	w.checkTold("after a use was refused to a stranger", 0)

	w.emitRefused("Decrypt", "payments-cmek", 1)
	first := w.untilTold("the refused use is reported", 1)
	at := " --region us-east-1 --key-id " + string(sharedKey)
	for _, kind := range channels {
		w.checkTrigger(kind, first[kind], "CRITICAL", "refused", "AccessDenied", "payments", "checkout", string(sharedKey),
			"assumed-role/payments-cmek", "aws kms describe-key"+at, "aws kms get-key-policy"+at)
	}
	w.emitRefused("Decrypt", "payments-cmek", 3)
	w.pass(2 * healthyFor)
	w.checkTold("after more of the cluster's calls were refused", 1)
	if len(w.troubles) > 0 {
		t.Errorf("invocations failed: %v", w.troubles)
	}
}

func TestReadsThatWereRefusedToUsLeadToNoMoreReads(t *testing.T) {
	w := newWatch(t, simulator.DefaultSeed())
	ourRole := w.account.name + "-reader"
	reads := func() (names []string) {
		for _, c := range w.alertingWire.since(0) {
			if c.service == "kms" {
				names = append(names, c.operation)
			}
		}
		return names
	}

	// The attempt makes alerting read the key, which is refused.
	w.tryToDisable(sharedKey)
	w.deliver(1)
	w.untilHeard("the attempt", unpaged)
	w.pass(0)
	refused := reads()
	if len(refused) == 0 {
		t.Fatal("the attempt made alerting read nothing, so there is nothing that could be refused")
	}

	// The rules leave the events of its refused reads out. One that comes in spite of them changes nothing either.
	handled := len(w.alerting.bodies)
	w.emitRefused("DescribeKey", ourRole, len(refused))
	w.pass(healthyFor)
	if got := len(w.alerting.bodies) - handled; got != 0 {
		t.Errorf("alerting was given %d events of its refused reads, want none", got)
	}
	w.account.send(w.alerting.queue, w.refused("DescribeKey", ourRole))
	w.pass(healthyFor)
	if got := len(w.alerting.bodies) - handled; got != 1 {
		t.Errorf("alerting was given %d events of its refused reads, want the 1 that was put into its queue", got)
	}
	if got := reads(); !slices.Equal(got, refused) {
		t.Errorf("the events of its refused reads made alerting read %v, want nothing: those would be refused, too", got[len(refused):])
	}
	for _, kind := range unpaged {
		if got := w.receiver.got(kind); len(got) != 1 {
			t.Errorf("%s has %d messages, want only that of the attempt: %+v", kind, len(got), got)
		}
	}
}

// deny has every call on the key refused, or no longer.
func (w *watch) deny(key cmek.KeyURI, denied bool) {
	w.t.Helper()
	must(w.t, w.world.DenyKMS(string(key), denied), "deny the key")
}

// tryToDisable has a call fail that would have disabled the key. The key stays closed to everybody.
func (w *watch) tryToDisable(key cmek.KeyURI) {
	w.t.Helper()
	w.deny(key, true)
	_, err := w.keyOwner(key).DisableKey(w.t.Context(), &kms.DisableKeyInput{KeyId: aws.String(string(key))})
	var refused smithy.APIError
	if !errors.As(err, &refused) || refused.ErrorCode() != "AccessDeniedException" {
		w.t.Fatalf("the call that is to fail ended with %v, want AccessDeniedException", err)
	}
}

// emitRefused has AWS emit so many records of calls on the shared key that it refused to a session of the role.
func (w *watch) emitRefused(operation, role string, times int) {
	w.t.Helper()
	for range times {
		w.account.emit([]byte(w.refused(operation, role)))
	}
}

// refused is the record of a call on the shared key that AWS refused to a session of the role. Each is a happening of its own.
func (w *watch) refused(operation, role string) string {
	w.t.Helper()
	w.refusals++
	return sample(w.t, "cloudtrail-decrypt-denied",
		"arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", string(sharedKey),
		"us-west-2", region,
		"Decrypt", operation,
		"assumed-role/cmek/", "assumed-role/"+role+"/",
		"role/cmek", "role/"+role,
		"2026-03-02T08:14:27Z", time.Now().UTC().Format(time.RFC3339),
		"abcde202-ba1a-467c-b4ba-f729d45ae521", fmt.Sprintf("abcde202-ba1a-467c-b4ba-%012d", w.refusals),
	)
}
