package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// repairRole alone does not ask alerting to undo scheduled deletions.
const repairRole = "KEYTURN_REPAIR_ROLE=arn:aws:iam::{account}:role/keyturn-repair"

// aboutRepair is in every message about a repair that was made, or was not: the runbook's section.
const aboutRepair = "#repair"

func TestAScheduledDeletionOfAKeyInUseIsUndoneOnceADay(t *testing.T) {
	w := newWatchOf(t, repairing, simulator.DefaultSeed())

	w.scheduleDeletion(sharedKey)
	scheduled := w.deliver(1)
	danger := w.untilSaid("the scheduled deletion is reported", 1, "CRITICAL", "scheduled for deletion")
	repaired := w.untilSaid("the repair is reported", 1, aboutRepair)
	for _, kind := range channels {
		w.checkTrigger(kind, repaired[kind], "HIGH", "canceled", "enabled", "payments", "checkout", string(sharedKey))
		if repaired[kind].dedupKey != danger[kind].dedupKey {
			t.Errorf("%s has the repair under incident %q, want that of the deletion, %q", kind, repaired[kind].dedupKey, danger[kind].dedupKey)
		}
	}
	w.checkState(sharedKey, types.KeyStateEnabled)
	once := []string{"CancelKeyDeletion", "EnableKey"}
	w.checkRepairs("for the scheduled deletion", once)

	// The event comes once more, together with those of the repair.
	for _, e := range scheduled {
		w.account.emit(e.Payload)
	}
	w.deliver(1)
	w.checkOver(danger)
	w.checkRepairs("after the end", once)

	w.scheduleDeletion(sharedKey)
	w.deliver(1)
	w.untilSaid("the second deletion is reported", 2, "CRITICAL", "scheduled for deletion")
	left := w.untilSaid("why nothing is repaired is reported", 2, aboutRepair)
	w.pass(healthyFor)
	for _, kind := range channels {
		w.checkTrigger(kind, left[kind], "day", "payments", "checkout", "aws kms cancel-key-deletion", "aws kms enable-key")
		if n := len(w.said(kind, aboutRepair)); n != 2 {
			t.Errorf("%s has %d messages about repairs, want 2: one for each deletion", kind, n)
		}
	}
	w.checkState(sharedKey, types.KeyStatePendingDeletion)
	w.checkRepairs("after the second deletion", once)
	if len(w.troubles) > 0 {
		t.Errorf("invocations failed: %v", w.troubles)
	}
}

func TestADeletionIsNotUndoneWherePeopleMayHaveMeantIt(t *testing.T) {
	const (
		ordersKey   = cmek.KeyURI("arn:aws:kms:us-east-1:" + accountID + ":key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002")
		archivesKey = cmek.KeyURI("arn:aws:kms:eu-central-1:" + accountID + ":key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f005")
	)
	seed := simulator.DefaultSeed()
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: unusedKey, AgeDays: 10})
	w := newWatchOf(t, repairing, seed)

	// One key is on hold, another was disabled before, and the cluster of a third is revoked.
	_, err := w.ledger.Hold(t.Context(), cmek.Hold{Key: sharedKey, Since: time.Now(), Until: time.Now().Add(time.Hour), By: "ana", Reason: "it may have leaked"})
	must(t, err, "hold a key")
	w.disable(ordersKey)
	w.deliver(1)
	w.untilSaid("the disabled key is reported", 1, "CRITICAL", string(ordersKey))

	needed := []struct {
		key cmek.KeyURI
		why string // it is left alone, or left disabled
	}{{sharedKey, "is on hold"}, {ordersKey, "left it disabled"}, {archivesKey, "revoked"}}
	for _, n := range needed {
		w.scheduleDeletion(n.key)
	}
	w.scheduleDeletion(unusedKey)
	w.deliver(1)
	for _, n := range needed {
		danger := w.untilSaid("the scheduled deletion is reported", 1, "CRITICAL", "scheduled for deletion", string(n.key))
		left := w.untilSaid("why nothing is repaired is reported", 1, aboutRepair, string(n.key))
		for _, kind := range channels {
			w.checkTrigger(kind, left[kind], n.why, "aws kms enable-key")
			if left[kind].dedupKey != danger[kind].dedupKey {
				t.Errorf("%s hears why nothing is repaired under incident %q, want that of the deletion, %q", kind, left[kind].dedupKey, danger[kind].dedupKey)
			}
		}
	}
	w.pass(2 * healthyFor)
	for _, kind := range channels {
		if n := len(w.said(kind, aboutRepair)); n != len(needed) {
			t.Errorf("%s has %d messages about repairs, want %d: one for each key in use", kind, n, len(needed))
		}
	}
	// The key that was disabled before is not enabled: somebody may have disabled it on purpose.
	w.checkRepairs("of keys that are to be left alone", []string{"CancelKeyDeletion"})
	w.checkState(ordersKey, types.KeyStateDisabled)
	for _, key := range []cmek.KeyURI{sharedKey, archivesKey, unusedKey} {
		w.checkState(key, types.KeyStatePendingDeletion)
	}
	if len(w.troubles) > 0 {
		t.Errorf("invocations failed: %v", w.troubles)
	}
}

// said returns the messages that the channel took so far and that hold all of the words.
func (w *watch) said(kind notify.Kind, words ...string) []delivery {
	return slices.DeleteFunc(w.receiver.got(kind), func(d delivery) bool {
		return slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(d.text, word) })
	})
}

// untilSaid waits until every channel has taken so many messages that hold all of the words, whatever else it took, and
// returns the last one of each.
func (w *watch) untilSaid(what string, messages int, words ...string) map[notify.Kind]delivery {
	w.t.Helper()
	last := map[notify.Kind]delivery{}
	w.until(what, func() string {
		for _, kind := range channels {
			said := w.said(kind, words...)
			if len(said) < messages {
				return fmt.Sprintf("message %d on %s that says %q", messages, kind, words)
			}
			last[kind] = said[messages-1]
		}
		return ""
	})
	return last
}

// checkRepairs checks that alerting made exactly these changes to keys so far, and acted as the repair role.
func (w *watch) checkRepairs(when string, want []string) {
	w.t.Helper()
	reads := func(operation string) bool {
		return slices.ContainsFunc([]string{"Describe", "Get", "List"}, func(verb string) bool { return strings.HasPrefix(operation, verb) })
	}
	var made, roles []string
	for _, c := range w.alertingWire.since(0) {
		switch {
		case c.String() == "sts AssumeRole":
			form, err := url.ParseQuery(string(c.body))
			must(w.t, err, "read AssumeRole")
			if role := form.Get("RoleArn"); role != roleARN(w.account.name+"-reader") {
				roles = append(roles, role)
			}
		case c.service == "kms" && !reads(c.operation):
			made = append(made, c.operation)
			if role := w.account.roleOf(c); role != "repair" {
				w.t.Errorf("%s: alerting called %s as %s, want as the repair role", when, c.operation, role)
			}
		}
	}
	if !slices.Equal(made, want) {
		w.t.Errorf("%s: alerting called %v, want %v", when, made, want)
	}
	wantRoles := []string{roleARN(w.account.name + "-repair")}
	if len(want) == 0 {
		wantRoles = nil
	}
	if !slices.Equal(slices.Compact(roles), wantRoles) {
		w.t.Errorf("%s: alerting assumed the roles %q, want %q", when, roles, wantRoles)
	}
}

// checkNothingRepaired checks that alerting changed nothing, and that the deletions of the keys are still scheduled.
func (w *watch) checkNothingRepaired(when string, keys ...cmek.KeyURI) {
	w.t.Helper()
	w.checkRepairs(when, nil)
	for _, key := range keys {
		w.checkState(key, types.KeyStatePendingDeletion)
	}
}

// checkState checks the key's state as its owner sees it.
func (w *watch) checkState(key cmek.KeyURI, want types.KeyState) {
	w.t.Helper()
	out, err := w.keyOwner(key).DescribeKey(w.t.Context(), &kms.DescribeKeyInput{KeyId: aws.String(string(key))})
	must(w.t, err, "describe key")
	if got := out.KeyMetadata.KeyState; got != want {
		w.t.Errorf("key %s is %s, want %s", key, got, want)
	}
}
