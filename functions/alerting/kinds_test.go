package alerting

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// A trust policy that the cluster's account can meet with no external id at all cuts it off, also where the id is not configured.
func TestTrust_certainDenialNeedsNoExternalID(t *testing.T) {
	for name, trust := range map[string]string{
		"a service only":        `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
		"its own account only":  `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`,
		"another account":       strings.Replace(goodTrust, crlAccount, "777788889999", 1),
		"SAML, by the account":  strings.Replace(goodTrust, "sts:AssumeRole", "sts:AssumeRoleWithSAML", 1),
		"a Deny of the account": strings.Replace(goodTrust, `"Statement":[`, `"Statement":[{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"sts:*"},`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.Settings.OrganizationID = ""
				w.kms.trust = trust
				w.happens(event("e1", cmek.ChangePrincipalTrust, ofRole(role), document(trust)))
				w.wantCut()
			})
		})
	}
}

// A version of a managed policy that is not the default one changes nothing.
func TestManaged_versionThatIsNotTheDefault(t *testing.T) {
	const arn = "arn:aws:iam::111122223333:policy/kms"
	for _, isDefault := range []bool{true, false} {
		inWorld(t, func(t *testing.T, w *world) {
			w.kms.rolePolicies = `{"inline":{},"attached":{"` + arn + `":` + allowS3 + `}}`
			w.happens(call(t, "iam", "CreatePolicyVersion", map[string]any{"policyArn": arn, "policyDocument": denyKMS, "setAsDefault": isDefault}, ""))
			if got := len(w.open()) > 0; got != isDefault {
				t.Errorf("a version that denies, default %t: an incident is open: %t; %s", isDefault, got, w.last().Headline())
			}
		})
	}
}

// One principal that repeats a change makes a bounded number of alerts, whatever the change is.
func TestFlood_ofOnePrincipal(t *testing.T) {
	for _, change := range []cmek.Change{cmek.ChangeGrantCreated, cmek.ChangeGrantRemoved, cmek.ChangeAlias, cmek.ChangeKeyTags, cmek.ChangeRotationDisabled, cmek.ChangeKeyPolicy} {
		inWorld(t, func(t *testing.T, w *world) {
			for i := range 100 {
				e := event(fmt.Sprint("e", i), change)
				if change == cmek.ChangeKeyPolicy {
					e.Policy = strings.Replace(goodKeyPolicy, "Root", fmt.Sprint("Root", i), 1)
				}
				w.happens(e)
			}
			if n := len(w.told.Alerts()); n > 5 {
				t.Errorf("100 times %q by one principal made %d alerts", change, n)
			}
		})
	}
}

// A key whose state nobody could read is not enabled: the absence of a read is no sign.
func TestRepair_unreadKeyIsNotEnabled(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Repairer = w.repair
		time.Sleep(72 * time.Hour) // the key was disabled meanwhile; neither the event nor a read came
		w.swept()                  // a sweep is complete without keys that it may not read
		w.kms.set(key, cmek.KeyDisabled)
		w.kms.outage = down
		w.happens(event("s", cmek.ChangeDeletionScheduled, with("pending_window_days", "7")))
		for range 20 {
			time.Sleep(time.Minute)
			_ = w.Tick(t.Context())
		}
		if w.kms.state[key] == cmek.KeyEnabled {
			t.Errorf("a key that nobody read for 3 days was enabled: %v; %s", w.repair.calls, w.last().Headline())
		}
	})
}

// A cluster's principal that a key refuses is reported, also if the inventory does not know that key yet.
func TestRefused_onAKeyThatIsNotListed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e := event("e1", cmek.ChangeUseRefused, of(unused), by(role), failed("AccessDeniedException"))
		e.Source = "aws.kms/AWS API Call via CloudTrail/Decrypt"
		w.happens(e)
		if len(w.told.Alerts()) == 0 {
			t.Error("the principal of cluster orders was refused a key that the inventory does not list, and nobody was notified")
		}
	})
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

// A call padded until CloudTrail leaves its parameters out may be about any role of the account, keyturn's own among them.
func TestOmitted_mayBeAboutKeyturnsOwnRole(t *testing.T) {
	for _, name := range []string{"UpdateAssumeRolePolicy", "PutRolePolicy"} {
		inWorld(t, func(t *testing.T, w *world) {
			w.noted(role, goodTrust)
			time.Sleep(time.Hour)
			e := call(t, "iam", name, leftOut, "")
			e.Time = time.Now()
			w.happens(e)
			w.ticks(20 * time.Minute)
			if len(w.told.Alerts()) == 0 || !w.told.Alerts()[0].Severity.AtLeast(alert.Medium) {
				t.Errorf("%s of a role that the event does not name: nobody was notified", name)
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

// Two deployments of a day are two alerts: the second may be an attacker's with the deployment's own role.
func TestOwn_eachDeploymentIsReported(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Settings.OwnResources = "keyturn-alerting-event"
		for i := range 2 {
			e := call(t, "lambda", "UpdateFunctionCode20150331v2", map[string]any{"functionName": "keyturn-alerting-event"}, "")
			e.ID, e.Time, e.Parameters["via"] = fmt.Sprint("d", i), time.Now(), cloudFormation
			w.happens(e)
			time.Sleep(6 * time.Hour)
		}
		if n := len(w.told.Alerts()); n != 2 {
			t.Errorf("two deployments 6 hours apart made %d alerts, want 2", n)
		}
	})
}

// A document noted twice in two spellings is no document before.
func TestJudge_noGainIsProvenByASpelling(t *testing.T) {
	e := cmek.Event{ID: "e", Source: "aws.kms/AWS API Call via CloudTrail/PutKeyPolicy", Change: cmek.ChangeKeyPolicy, Key: key, Account: account, Time: time.Unix(1_000_000, 0), Policy: openKeyPolicy}
	docs := Documents{Permissions: map[cmek.Principal]Document{role: {Text: noPolicies, Read: true}},
		NotedKeyPolicies: map[cmek.KeyURI]Noted{key: {Text: openKeyPolicy, Earlier: " " + openKeyPolicy, Since: e.Time.Add(2 * time.Hour)}}}
	if effect := Judge(e, docs, []Use{anyUse}); !effect.Exposes {
		t.Errorf("a policy that lets a stranger in, noted after the event in two spellings: %+v", effect)
	}
}

// A version that is not the default one is not in force, and says so. It becomes the default by a call of its own, which is judged.
func TestManaged_dormantVersionSaysSo(t *testing.T) {
	e := cmek.Event{ID: "e", Source: "aws.iam/AWS API Call via CloudTrail/CreatePolicyVersion", Change: cmek.ChangeManagedPolicy, Account: account,
		Policy: denyKMS, Parameters: map[string]string{"policy_arn": "arn:aws:iam::111122223333:policy/kms"}}
	effect := Judge(e, Documents{}, []Use{anyUse})
	a := Assess(e, Facts{Effect: &effect})
	if a.Severity != alert.Info || a.Incident != "" || a.Recovery || !strings.Contains(a.Impact, "not in force") {
		t.Errorf("a version that is not the default one: %v %q, recovery %t, %q", a.Severity, a.Incident, a.Recovery, a.Impact)
	}
	e.Parameters["omitted"] = "true"
	if effect := Judge(e, Documents{}, []Use{anyUse}); effect.Dormant {
		t.Error("a version whose parameters were left out may be the default one")
	}
}
