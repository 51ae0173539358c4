package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// operator is who calls the simulator's KMS.
const operator = "arn:aws:iam::" + accountID + ":user/operator"

// unusedKey is a key that no cluster of the default world needs, for tests that add it.
const unusedKey = cmek.KeyURI("arn:aws:kms:us-east-1:" + accountID + ":key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00f")

// unpaged are the channels that also take what is no reason to wake somebody.
var unpaged = []notify.Kind{notify.Slack, notify.Webhook}

func TestAnEndangeredKeyIsToldOnEveryChannelUntilItIsWellAgain(t *testing.T) {
	w := newWatch(t, simulator.DefaultSeed(), repairRole)

	deadline := w.scheduleDeletion(sharedKey)
	scheduled := w.deliver(1)
	first := w.untilTold("the scheduled deletion is reported", 1)
	at := " --region us-east-1 --key-id " + string(sharedKey)
	for _, kind := range channels {
		w.checkTrigger(kind, first[kind], "CRITICAL", "scheduled for deletion", "payments", "checkout", string(sharedKey), operator,
			deadline.UTC().Format(time.RFC3339), "aws kms cancel-key-deletion"+at, "aws kms enable-key"+at)
	}

	for _, e := range scheduled {
		w.account.emit(e.Payload)
	}
	w.pass(0)
	w.checkTold("after a repeat of the event", 1)
	w.checkNothingRepaired("without KEYTURN_REPAIR", sharedKey)

	// The key is still disabled after this, so nothing may be called well, however long it lasts.
	w.cancelDeletion(sharedKey)
	w.deliver(1)
	w.pass(3 * healthyFor)
	for _, kind := range channels {
		for _, d := range w.receiver.got(kind) {
			if d.resolved {
				t.Errorf("after the deletion was only canceled, %s is notified of the end:\n%s", kind, d.text)
			}
		}
	}
	told := len(w.receiver.got(notify.Slack))
	w.checkTold("after the deletion was canceled", told)

	w.enable(sharedKey)
	w.deliver(1)
	told++
	end := w.untilTold("the end is reported", told)
	w.pass(2 * healthyFor)
	w.checkTold("after the end", told)
	for _, kind := range channels {
		if d := end[kind]; !d.resolved || d.dedupKey != first[kind].dedupKey {
			t.Errorf("on %s the end is (resolved %t, incident %q), want the end of incident %q", kind, d.resolved, d.dedupKey, first[kind].dedupKey)
		}
	}

	w.disable(sharedKey)
	w.deliver(1)
	told++
	second := w.untilTold("the key's second danger is reported", told)
	w.pass(healthyFor)
	w.checkTold("after the second danger", told)
	for _, kind := range channels {
		w.checkTrigger(kind, second[kind], "CRITICAL", "was disabled", "payments", "checkout", "aws kms enable-key"+at)
		if second[kind].dedupKey != first[kind].dedupKey || kind != notify.Slack && second[kind].id == first[kind].id {
			t.Errorf("on %s the second danger is message %q of incident %q; the first was %q of %q; want another message of the same incident",
				kind, second[kind].id, second[kind].dedupKey, first[kind].id, first[kind].dedupKey)
		}
	}
	if len(w.troubles) > 0 {
		t.Errorf("invocations failed: %v", w.troubles)
	}
}

func TestAKeyPolicyThatCutsTheClustersOffIsToldUntilItLetsThemInAgain(t *testing.T) {
	w := newWatch(t, simulator.DefaultSeed())
	before := w.policy(sharedKey)
	w.putPolicy(sharedKey, `{"Version":"2012-10-17","Statement":[{"Sid":"Admins","Effect":"Allow","Action":"kms:*","Resource":"*",
		"Principal":{"AWS":"`+operator+`"}}]}`)
	w.deliver(1)
	first := w.untilTold("the policy is reported", 1)
	for _, kind := range channels {
		w.checkTrigger(kind, first[kind], "CRITICAL", "key policy", "payments", "checkout", operator, "kms:Decrypt",
			"arn:aws:iam::"+accountID+":role/payments-cmek", "aws kms put-key-policy --region us-east-1 --key-id "+string(sharedKey))
	}
	w.pass(2 * healthyFor)
	w.checkTold("after the policy", 1)

	w.putPolicy(sharedKey, before)
	w.deliver(1)
	w.checkOver(first)
}

func TestAKeyThatNobodyNeedsWakesNobody(t *testing.T) {
	seed := simulator.DefaultSeed()
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: unusedKey, AgeDays: 10})
	w := newWatch(t, seed)
	w.disable(unusedKey)
	w.deliver(1)
	w.untilHeard("the disabled key", unpaged)
	w.pass(healthyFor)
	for _, kind := range unpaged {
		w.checkTrigger(kind, w.receiver.got(kind)[0], "no cluster")
	}
	if got := w.receiver.got(notify.PagerDuty); len(got) > 0 {
		t.Errorf("PagerDuty has %+v, want nothing: no cluster is in danger", got)
	}
}

// checkTrigger checks that a message begins an incident and says everything that it should.
func (w *watch) checkTrigger(kind notify.Kind, d delivery, says ...string) {
	w.t.Helper()
	if d.resolved || kind != notify.Slack && (d.id == "" || d.dedupKey == "") {
		w.t.Errorf("%s has an alert with id %q and dedup key %q, resolved %t; want an alert with both that is not", kind, d.id, d.dedupKey, d.resolved)
	}
	missing := slices.DeleteFunc(says, func(s string) bool { return strings.Contains(d.text, s) })
	if len(missing) > 0 {
		w.t.Errorf("%s has an alert that lacks %q:\n%s", kind, missing, d.text)
	}
}

// checkOver waits until every channel was notified of the end of the incident, and checks that it is of one only.
func (w *watch) checkOver(incident map[notify.Kind]delivery) {
	w.t.Helper()
	ends := func(kind notify.Kind) []delivery {
		return slices.DeleteFunc(w.receiver.got(kind), func(d delivery) bool { return !d.resolved })
	}
	w.until("the end is reported", func() string {
		for _, kind := range channels {
			if len(ends(kind)) == 0 {
				return "the end on " + string(kind)
			}
		}
		return ""
	})
	w.pass(2 * healthyFor)
	for _, kind := range channels {
		if got := ends(kind); len(got) != 1 || got[0].dedupKey != incident[kind].dedupKey {
			w.t.Errorf("%s has the ends %+v, want one, of incident %q", kind, got, incident[kind].dedupKey)
		}
	}
}

// scheduleDeletion has the key deleted in a week, and returns when.
func (w *watch) scheduleDeletion(key cmek.KeyURI) (deadline time.Time) {
	w.t.Helper()
	const week = 7
	out, err := w.keyOwner(key).ScheduleKeyDeletion(w.t.Context(), &kms.ScheduleKeyDeletionInput{
		KeyId: aws.String(string(key)), PendingWindowInDays: aws.Int32(week),
	})
	must(w.t, err, "schedule key deletion")
	return *out.DeletionDate
}

func (w *watch) cancelDeletion(key cmek.KeyURI) {
	w.t.Helper()
	_, err := w.keyOwner(key).CancelKeyDeletion(w.t.Context(), &kms.CancelKeyDeletionInput{KeyId: aws.String(string(key))})
	must(w.t, err, "cancel key deletion")
}

func (w *watch) disable(key cmek.KeyURI) {
	w.t.Helper()
	_, err := w.keyOwner(key).DisableKey(w.t.Context(), &kms.DisableKeyInput{KeyId: aws.String(string(key))})
	must(w.t, err, "disable key")
}

func (w *watch) enable(key cmek.KeyURI) {
	w.t.Helper()
	_, err := w.keyOwner(key).EnableKey(w.t.Context(), &kms.EnableKeyInput{KeyId: aws.String(string(key))})
	must(w.t, err, "enable key")
}

func (w *watch) policy(key cmek.KeyURI) string {
	w.t.Helper()
	out, err := w.keyOwner(key).GetKeyPolicy(w.t.Context(), &kms.GetKeyPolicyInput{KeyId: aws.String(string(key))})
	must(w.t, err, "get key policy")
	return *out.Policy
}

func (w *watch) putPolicy(key cmek.KeyURI, policy string) {
	w.t.Helper()
	_, err := w.keyOwner(key).PutKeyPolicy(w.t.Context(), &kms.PutKeyPolicyInput{KeyId: aws.String(string(key)), Policy: &policy})
	must(w.t, err, "put key policy")
}
