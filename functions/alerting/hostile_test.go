package alerting

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// What somebody hostile can choose (names of sessions, users and roles, the number of calls, the order of events) must not lower a
// severity, silence an alert or make keyturn enable a key.

const stranger = "999900001111"

func assumed(by, issuer, callerAccount string) cmek.Event {
	return cmek.Event{ID: "e1", Source: "aws.sts/AWS API Call via CloudTrail/AssumeRole", Change: cmek.ChangePrincipalAssumed, Identity: role, Account: account,
		Region: "us-east-1", Time: time.Now(), Principal: by, Issuer: cmek.Principal(issuer), Caller: callerAccount}
}

func TestHostile_namesSilenceNothing(t *testing.T) {
	for _, by := range []string{
		"arn:aws:sts::999900001111:assumed-role/Admin/mallory",
		"arn:aws:sts::999900001111:assumed-role/Admin/" + crlAccount,
		"arn:aws:sts::999900001111:assumed-role/" + crlAccount + "/s",
		"arn:aws:iam::999900001111:user/x" + crlAccount,
		"arn:aws:iam::999900001111:user/" + account + "/crdb-cmek",
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.happens(assumed(by, string(cmek.SessionRole(by)), stranger))
			if a := w.last(); a.Severity != alert.High {
				t.Errorf("%s assumed the clusters' role: %s", by, a.Headline())
			}
		})
	}
	inWorld(t, func(t *testing.T, w *world) {
		w.happens(assumed("arn:aws:sts::444455556666:assumed-role/crdb/node", "arn:aws:iam::444455556666:role/crdb", crlAccount))
		w.want("after the cluster's own account assumed its role")
	})
}

func TestHostile_refusedStrangerPagesNobody(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e := assumed("arn:aws:sts::999900001111:assumed-role/Admin/"+crlAccount, "arn:aws:iam::999900001111:role/Admin", stranger)
		e.Change, e.Error, e.Failure = cmek.ChangeUseRefused, "AccessDenied", cmek.FailureDenied
		w.happens(e)
		w.want("after a stranger named like the cluster's account was refused")
	})
}

// Own roles: the full ARN in the account of the key counts, and only a denied DescribeKey is excused.
func TestHostile_ownRoleNames(t *testing.T) {
	for _, tc := range []struct {
		name, issuer, source string
		failure              cmek.Failure
		silent               bool
	}{
		{"our reader is denied a read", "arn:aws:iam::111122223333:role/keyturn-reader", "DescribeKey", cmek.FailureDenied, true},
		{"our reader decrypts", "arn:aws:iam::111122223333:role/keyturn-reader", "Decrypt", "", false},
		{"a stranger's keyturn-reader decrypts", "arn:aws:iam::999900001111:role/keyturn-reader", "Decrypt", "", false},
		{"a role in a path named like ours decrypts", "arn:aws:iam::999900001111:role/keyturn-reader/x", "Decrypt", "", false},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			e := cmek.Event{ID: "e1", Source: "aws.kms/AWS API Call via CloudTrail/" + tc.source, Change: cmek.ChangeUse, Key: key, Account: account,
				Region: "us-east-1", Time: time.Now(), Principal: tc.issuer + "/session", Issuer: cmek.Principal(tc.issuer), Failure: tc.failure}
			if tc.failure != "" {
				e.Change, e.Error = cmek.ChangeUseRefused, "AccessDenied"
			}
			w.happens(e)
			if got := len(w.told.Alerts()) == 0; got != tc.silent {
				t.Errorf("%s: silent is %t, want %t", tc.name, got, tc.silent)
			}
		})
	}
}

func TestHostile_heartbeat(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Settings.HeartbeatRole = "arn:aws:iam::{account}:role/keyturn-heartbeat-{region}"
		e := cmek.Event{Change: cmek.ChangeKeyTags, Key: key, Account: account, Parameters: map[string]string{"tags": `[{"tagKey":"keyturn-heartbeat"}]`}}
		of := func(name string) cmek.Principal {
			return cmek.Principal("arn:aws:iam::111122223333:role/keyturn-heartbeat" + name)
		}
		beats := of("-" + key.Location())
		for issuer, want := range map[cmek.Principal]bool{
			beats: true, "arn:aws:iam::999900001111:role/" + cmek.Principal(beats.Name()): false, beats + "2": false, of("-sa-east-1"): false,
			of("-{region}"): false, of(""): false, "": false,
		} {
			if e.Issuer = issuer; w.Settings.heartbeat(e) != want {
				t.Errorf("a tag set by %q is a heartbeat: %t, want %t", issuer, !want, want)
			}
		}
	})
}

// A changed role of keyturn's own is reported, whoever has a role of that name elsewhere.
func TestHostile_ownRolesChanged(t *testing.T) {
	for _, change := range []cmek.Change{cmek.ChangePrincipalPolicy, cmek.ChangePrincipalDeleted, cmek.ChangePrincipalTrust, cmek.ChangeBoundary} {
		for identity, want := range map[cmek.Principal]alert.Severity{
			"arn:aws:iam::111122223333:role/keyturn-reader":  alert.High,
			"arn:aws:iam::111122223333:role/keyturn-reader2": "",
		} {
			inWorld(t, func(t *testing.T, w *world) {
				w.happens(cmek.Event{ID: "r", Source: "aws.iam/AWS API Call via CloudTrail/X", Change: change, Identity: identity, Account: account,
					Region: "us-east-1", Time: time.Now(), Principal: ana, Caller: account})
				var got alert.Severity
				for _, a := range w.told.Alerts() {
					got = a.Severity
				}
				if want != "" && got != want || want == "" && got.AtLeast(alert.High) {
					t.Errorf("%s of %s is %q, want %q", change, identity, got, want)
				}
			})
		}
	}
}

func TestHostile_floodOfAttempts(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		for i := range 300 {
			w.happens(s.event(w, fmt.Sprint("e", i), cmek.ChangeKeyDisabled, failed("AccessDenied")))
		}
		if n := len(w.told.Alerts()); n != 3 || !strings.HasSuffix(w.last().Summary, "(100 times)") {
			t.Errorf("300 denied calls of one principal made %d alerts, the last one %s; want the first, the 10th and the 100th", n, w.last().Headline())
		}
		w.happens(s.event(w, "other", cmek.ChangeKeyDisabled, failed("AccessDenied"), s.caller))
		if n := len(w.told.Alerts()); n != 4 {
			t.Errorf("with another principal there are %d alerts, want 4", n)
		}
		w.happens(s.disable(w, "done"))
		if a := w.last(); a.Severity != alert.Critical {
			t.Errorf("after the attempts the success is %s", a.Headline())
		}
	})
}

func TestHostile_lowRefusalHidesNothing(t *testing.T) {
	onBothSides(t, func(_ *testing.T, w *world, s side) {
		for i, class := range []cmek.Failure{cmek.FailurePassing, cmek.FailureWrongKey, cmek.FailureWrongKey, cmek.FailurePassing} {
			w.happens(s.refused(w, fmt.Sprint("e", i), class))
		}
		w.want("after low, high, high and low", "[LOW]", "[HIGH]")
	})
}

func TestHostile_timeFromTheFuture(t *testing.T) {
	onBothSides(t, func(_ *testing.T, w *world, s side) {
		w.happens(s.event(w, "e1", cmek.ChangeKeyEnabled, at(time.Now().Add(1000*time.Hour))))
		w.happens(s.disable(w, "e2"))
		w.want("after a recovery from the future and a disabled key", "[CRITICAL]")
	})
}

// Repair enables a key only where a sweep saw it enabled before its deletion was scheduled, in any order and loss of events.
func TestHostile_repairOfAKeyDisabledOnPurpose(t *testing.T) {
	for _, tc := range []struct {
		name    string
		noted   []cmek.KeyState
		seen    bool // the DisableKey event arrives before
		late    bool // it arrives after the repair was planned
		stale   bool // no sweep ended for hours
		enabled bool
	}{
		{name: "seen enabled before", noted: []cmek.KeyState{cmek.KeyEnabled}, enabled: true},
		{name: "never seen at all"},
		{name: "seen enabled, then disabled", noted: []cmek.KeyState{cmek.KeyEnabled, cmek.KeyDisabled}},
		{name: "seen enabled, disable event seen", noted: []cmek.KeyState{cmek.KeyEnabled}, seen: true},
		{name: "seen enabled, disable event late", noted: []cmek.KeyState{cmek.KeyEnabled}, late: true},
		{name: "seen enabled long ago", noted: []cmek.KeyState{cmek.KeyEnabled}, stale: true},
		{name: "a sweep saw the deletion already", noted: []cmek.KeyState{cmek.KeyEnabled, cmek.KeyDeletionScheduled}, enabled: true},
		{name: "disabled, then the deletion", noted: []cmek.KeyState{cmek.KeyEnabled, cmek.KeyDisabled, cmek.KeyDeletionScheduled}},
		{name: "only the deletion was ever seen", noted: []cmek.KeyState{cmek.KeyDeletionScheduled}},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.Repairer = w.repair
			note := func(state cmek.KeyState) {
				was, err := w.Ledger.StateNoted(t.Context(), key)
				if err == nil {
					err = w.Ledger.NoteState(t.Context(), key, state, was)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Ledger.NoteState(t.Context(), key, "", ledger.NotedState{}); err != nil {
				t.Fatal(err)
			}
			for _, state := range tc.noted {
				if state != cmek.KeyDeletionScheduled {
					note(state)
				}
			}
			time.Sleep(30 * time.Minute)
			if tc.stale {
				time.Sleep(5 * time.Hour)
			} else {
				w.swept()
			}
			disable := event("d", cmek.ChangeKeyDisabled)
			if tc.seen {
				w.happens(w.isDisabled("d"))
			}
			time.Sleep(time.Minute)
			w.happens(w.isScheduled("s"))
			if n := len(tc.noted); n > 0 && tc.noted[n-1] == cmek.KeyDeletionScheduled {
				time.Sleep(time.Minute)
				note(cmek.KeyDeletionScheduled)
			}
			if tc.late {
				w.happens(disable)
			}
			w.ticks(20 * time.Minute)
			want := cmek.KeyDisabled
			if tc.enabled {
				want = cmek.KeyEnabled
			}
			if got := w.kms.state[key]; got != want {
				t.Errorf("%s: the key is %s, want %s; %v; last: %s", tc.name, got, want, w.repair.calls, w.last().Headline())
			}
		})
	}
}

// hostileKeyPolicy is a key policy within AWS's limit of 32 KB whose statements allow many actions that no catalog knows.
func hostileKeyPolicy(statements, actions int) string {
	var list []string
	for s := range statements {
		var names []string
		for a := range actions {
			names = append(names, fmt.Sprintf(`"kms:%x%x*"`, s, a))
		}
		list = append(list, fmt.Sprintf(`{"Effect":"Allow","Principal":{"AWS":"%012d"},"Action":[%s],"Resource":"*"}`, s, strings.Join(names, ",")))
	}
	return `{"Version":"2012-10-17","Statement":[` + rootStatement + "," + strings.Join(list, ",") + `]}`
}

// processorTime is what the test has used of the processor: a busy machine changes it little.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// The judgement of whatever AWS takes as a policy leaves time to publish the alert.
func TestJudge_laboriousPolicy(t *testing.T) {
	for _, shape := range [][2]int{{1, 2_000}, {250, 2}} {
		policy := hostileKeyPolicy(shape[0], shape[1])
		if len(policy) > 32<<10 {
			t.Fatalf("%v: %d bytes", shape, len(policy))
		}
		var uses []Use
		docs := Documents{Now: map[string]Document{}, Noted: map[string]Noted{string(key): {Text: strings.Replace(policy, "Root", "Other", 1), Since: time.Unix(0, 0)}}}
		for i := range 40 {
			p := cmek.Principal(fmt.Sprint(role, i))
			uses = append(uses, Use{ClusterID: "c", CloudAccount: crlAccount, Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: key, AuthPrincipal: p}})
			docs.Now[ledger.RolePolicies(p)] = Document{Text: noPolicies, Read: true}
		}
		e := cmek.Event{ID: "e", Source: "aws.kms/AWS API Call via CloudTrail/PutKeyPolicy", Change: cmek.ChangeKeyPolicy, Key: key, Account: account, Time: time.Unix(1_000_000, 0), Policy: strings.Replace(policy, `"kms:00*"`, `"kms:zz*"`, 1)}
		began := processorTime(t)
		Judge(e, docs, uses)
		if took := processorTime(t) - began; took > time.Second {
			t.Errorf("a policy of %d statements with %d actions takes %s to judge for 40 principals", shape[0], shape[1], took)
		}
	}
}

// Whatever a call may carry can be recorded with the alert: else the alert is sent with each delivery.
func TestRecord_largestPolicyFits(t *testing.T) {
	noise := func(n int, from string) string { // hardly compresses
		var b strings.Builder
		x := uint64(1)
		for b.Len() < n {
			x = x*6364136223846793005 + 1442695040888963407
			b.WriteByte(from[int(x>>33)%len(from)])
		}
		return b.String()
	}
	const text = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for name, policy := range map[string]string{
		"32 KB of names":        strings.Replace(denyKeyPolicy, "Stop", noise(31_000, text), 1),
		"100 KB of white space": strings.Replace(denyKeyPolicy, `"Statement"`, noise(100_000, " \t\n\r")+`"Statement"`, 1),
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.kms.keyPolicy, w.kms.rolePolicies = policy, ""
			e := event("e1", cmek.ChangeKeyPolicy, document(policy))
			if err := w.Event(t.Context(), e); err != nil && !errors.Is(err, ledger.ErrTooLarge) {
				t.Fatal(err)
			} else if err != nil {
				t.Errorf("%s: alerts %d, then %v", name, len(w.told.Alerts()), err)
			}
		})
	}
}

// Who uses the key's material by a replica, or grants it to strangers there, has the material: the severity does not depend on the Region
// that somebody chooses.
func TestReplica_sharesTheMaterial(t *testing.T) {
	open := strings.ReplaceAll(openKeyPolicy, "CMEK", "X")
	for name, e := range map[string]func() cmek.Event{
		"a stranger decrypts by a replica": func() cmek.Event {
			return event("e1", cmek.ChangeUse, of(mrkWest), by("arn:aws:iam::999900001111:role/x"), func(e *cmek.Event) { e.Source = "aws.kms/AWS API Call via CloudTrail/Decrypt" })
		},
		"a replica's policy lets a stranger decrypt": func() cmek.Event { return event("e1", cmek.ChangeKeyPolicy, of(mrkWest), document(open)) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.uses(as(mrkEast, cmek.Enabled))
				w.kms.set(mrkWest, cmek.KeyEnabled)
				w.happens(e())
				if a := w.last(); !a.Severity.AtLeast(alert.High) {
					t.Errorf("%s: %s", name, a.Headline())
				}
			})
		})
	}
}
