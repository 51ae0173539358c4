package alerting

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

const (
	cryptoKey      = cmek.KeyURI("projects/acme-keys/locations/us-east1/keyRings/crdb/cryptoKeys/payments")
	clusterAccount = "crdb-cmek@acme-keys.iam.gserviceaccount.com"
)

// versionedKMS is a Cloud KMS with one key: version 4 is the primary one of four.
type versionedKMS struct {
	*fakeKMS
	versions map[string]cmek.KeyState
	primary  string
	// unjustified: the key's policy allows no reason, so that it cannot be used whatever its versions' states.
	unjustified bool
}

func (k *versionedKMS) Key(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	if uri != cryptoKey {
		return k.fakeKMS.Key(ctx, uri)
	}
	k.interrupted()
	key := cmek.Key{URI: uri, State: k.versions[k.primary], Version: primary(k.primary)}
	if k.unjustified {
		key.State = cmek.KeyUnavailable
	}
	for _, id := range []string{"1", "2", "3", "4"} {
		if state, ok := k.versions[id]; ok {
			key.Versions = append(key.Versions, cmek.KeyVersionInfo{Version: primary(id), State: state})
		}
	}
	return key, k.outage.err(ctx)
}

// onGoogle gives the world a cluster on Google Cloud, whose store key is wrapped by the version; "" if that is not on record.
func onGoogle(t *testing.T, w *world, wrappedBy string) *versionedKMS {
	t.Helper()
	kms := &versionedKMS{w.kms, map[string]cmek.KeyState{"1": cmek.KeyDisabled, "2": cmek.KeyEnabled, "3": cmek.KeyEnabled, "4": cmek.KeyEnabled}, "4", false}
	w.KMS = kms
	_, err := w.Ledger.UpdateCluster(t.Context(), googleCluster, func(c *ledger.Cluster) error {
		c.Cluster = cmek.Cluster{ID: googleCluster, Name: "ledger", AccountID: crlProject, State: cmek.StateCreated}
		c.CMEK = cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{{Region: "us-east1", Status: cmek.Enabled, KeyInfos: []cmek.KeyInfo{{
			Spec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: cryptoKey, AuthPrincipal: clusterAccount}, Status: cmek.Enabled,
		}}}}}
		c.NextLook = time.Now()
		if wrappedBy != "" {
			c.SetDone(ledger.Done{Region: "us-east1", Key: cryptoKey, Version: primary(wrappedBy)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.swept()
	return kms
}

// logged are the events of a sample of the decoder, with something replaced, as if they happened now.
func logged(t *testing.T, sample, id string, replace ...string) []cmek.Event {
	t.Helper()
	payload, err := os.ReadFile(filepath.Join("../../events/testdata/google", sample+".json"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := events.Decode([]byte(strings.NewReplacer(replace...).Replace(string(payload))))
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: %d events, error %v", sample, len(list), err)
	}
	for i := range list {
		list[i].ID, list[i].Time = list[i].ID+id, time.Now()
	}
	return list
}

func (w *world) receives(list []cmek.Event) {
	w.t.Helper()
	for _, e := range list {
		w.happens(e)
	}
}

// An old version that is disabled keeps its incident open however well the primary one reads: it ends when that very version does.
func TestVersion_incidentEndsWhenThatVersionReadsWell(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		kms := onGoogle(t, w, "4")
		kms.versions["3"] = cmek.KeyDisabled
		w.receives(logged(t, "kms-updatecryptokeyversion-disabled", "a"))
		if a := w.last(); a.Severity != alert.High || !strings.Contains(a.Summary, "Version 3 of key payments was disabled") {
			t.Errorf("an old version was disabled: %s", a.Headline())
		}
		w.receives(logged(t, "kms-updatecryptokeyversion-enabled", "b", "cryptoKeyVersions/3", "cryptoKeyVersions/2"))
		w.ticks(3 * time.Hour)
		if n := len(w.open()); n != 1 {
			t.Fatalf("version 3 is disabled, and %d incidents are open, want 1", n)
		}
		kms.versions["3"] = cmek.KeyEnabled
		w.receives(logged(t, "kms-updatecryptokeyversion-enabled", "c"))
		w.ticks(20 * time.Minute)
		if n := len(w.open()); n != 0 {
			t.Errorf("version 3 is healthy, and %d incidents are open, want none", n)
		}
		if a := w.last(); !a.Resolved || !strings.Contains(a.Summary, "Version 3 of key payments can be used again") {
			t.Errorf("the last alert is %s", a.Headline())
		}
	})
}

// Each version has an incident of its own. A version that the KMS does not show any more has not recovered.
func TestVersion_eachHasAnIncidentOfItsOwn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		kms := onGoogle(t, w, "4")
		kms.versions["2"], kms.versions["3"] = cmek.KeyDisabled, cmek.KeyDeletionScheduled
		w.receives(logged(t, "kms-updatecryptokeyversion-disabled", "a", "cryptoKeyVersions/3", "cryptoKeyVersions/2"))
		w.receives(logged(t, "kms-destroycryptokeyversion", "b"))
		if n := len(w.open()); n != 2 {
			t.Fatalf("%d incidents are open, want one of each version", n)
		}
		delete(kms.versions, "3")
		kms.versions["2"] = cmek.KeyEnabled
		w.ticks(3 * time.Hour)
		if open := w.open(); len(open) != 1 {
			t.Errorf("open are %d incidents, want that of the version that is not shown", len(open))
		}
	})
}

func TestVersion_severityByWhatItIsNeededFor(t *testing.T) {
	for _, row := range []struct {
		what, wrappedBy, primary string
		outage                   outage
		want                     alert.Severity
	}{
		{"an old version", "4", "4", up, alert.High},
		{"the primary one", "4", "3", up, alert.Critical},
		{"the one that wraps the store key", "3", "4", up, alert.Critical},
		{"one of a cluster whose record says nothing", "", "4", up, alert.Critical},
		{"one of a key that cannot be read", "4", "4", down, alert.Critical},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			kms := onGoogle(t, w, row.wrappedBy)
			kms.primary, kms.versions["3"] = row.primary, cmek.KeyDisabled
			w.kms.outage = row.outage
			for _, e := range logged(t, "kms-updatecryptokeyversion-disabled", "a") {
				_ = w.Event(t.Context(), e)
			}
			if a := w.last(); a.Severity != row.want {
				t.Errorf("%s is disabled: %s, want %s", row.what, a.Headline(), row.want)
			}
		})
	}
}

// What happens to an old version, to the primary one, to the one that wraps a store key, and to one of which that is not known. A restored
// version is disabled, which is reported, and ends nothing.
func TestVersion_everyWayToLoseOne(t *testing.T) {
	for _, row := range []struct {
		sample, wrappedBy, primary string
		state                      cmek.KeyState
		want                       alert.Severity
		says                       string
	}{
		{"kms-destroycryptokeyversion", "4", "4", cmek.KeyDeletionScheduled, alert.High, "was scheduled for destruction"},
		{"kms-destroycryptokeyversion", "3", "4", cmek.KeyDeletionScheduled, alert.Critical, "was scheduled for destruction"},
		{"kms-destroycryptokeyversion", "4", "3", cmek.KeyDeletionScheduled, alert.Critical, "was scheduled for destruction"},
		{"kms-destroycryptokeyversion", "", "4", cmek.KeyDeletionScheduled, alert.Critical, "was scheduled for destruction"},
		{"hypothetical-kms-scheduleddestructionevent", "4", "4", cmek.KeyDestroyed, alert.High, "was destroyed"},
		{"hypothetical-kms-scheduleddestructionevent", "3", "4", cmek.KeyDestroyed, alert.Critical, "was destroyed"},
		{"kms-restorecryptokeyversion", "4", "4", cmek.KeyDisabled, alert.High, "is still disabled"},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			kms := onGoogle(t, w, row.wrappedBy)
			kms.primary, kms.versions["3"] = row.primary, row.state
			w.receives(logged(t, row.sample, "a"))
			if a := w.last(); a.Severity != row.want || !strings.Contains(a.Summary, "Version 3 of key payments") || !strings.Contains(a.Summary, row.says) {
				t.Errorf("%s, wrapped by %q, primary %s: %s", row.sample, row.wrappedBy, row.primary, a.Headline())
			}
			w.ticks(3 * time.Hour)
			if row.sample != "kms-restorecryptokeyversion" && len(w.open()) != 1 {
				t.Errorf("%s: the version reads as %q, and open are %v", row.sample, row.state, w.open())
			}
		})
	}
}

// A version that is scheduled for destruction and restored keeps its incident open until somebody enables it.
func TestVersion_restoredIsNotRecovered(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		kms := onGoogle(t, w, "4")
		kms.versions["3"] = cmek.KeyDeletionScheduled
		w.receives(logged(t, "kms-destroycryptokeyversion", "a"))
		time.Sleep(time.Minute)
		kms.versions["3"] = cmek.KeyDisabled
		w.receives(logged(t, "kms-restorecryptokeyversion", "b"))
		w.ticks(24 * time.Hour)
		w.want("a day after it was restored", "[HIGH] Version 3 of key payments was scheduled for destruction", "[HIGH] Version 3 of key payments is no longer scheduled for destruction, but is still disabled")
		if len(w.open()) != 1 {
			t.Fatalf("open are %v", w.open())
		}
		kms.versions["3"] = cmek.KeyEnabled
		w.receives(logged(t, "kms-updatecryptokeyversion-enabled", "c"))
		w.ticks(20 * time.Minute)
		if !w.last().Resolved || len(w.open()) != 0 {
			t.Errorf("it is enabled, and the last is %s", w.last().Headline())
		}
	})
}

// A policy that allows no reason makes the whole key unusable. However well IAM reads, the incident stays open until the key does.
func TestVersion_keyWithoutAnAllowedReason(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		kms, _ := withIAM(t, w)
		kms.unjustified = true
		w.receives(logged(t, "kms-updatecryptokey-justifications-none", "a"))
		if a := w.last(); a.Severity != alert.Critical || len(w.open()) != 1 || !strings.Contains(a.Summary, "to allow no reason") {
			t.Fatalf("the alert is %s, open are %v", a.Headline(), w.open())
		}
		w.ticks(3 * time.Hour)
		if len(w.open()) != 1 {
			t.Errorf("the key reads unavailable, and the last is %s", w.last().Headline())
		}
		kms.unjustified = false
		w.ticks(2 * time.Hour)
		if len(w.open()) != 0 || !w.last().Resolved {
			t.Errorf("the key can be used again, and open are %v", w.open())
		}
	})
}

// A primary version that is set back is no rotation like any other. By the entry alone it could be one.
func TestVersion_primarySetBackIsReported(t *testing.T) {
	for _, row := range []struct {
		sample, wrappedBy string
		replace           []string
		want              cmek.Change
	}{
		{"kms-updatecryptokeyprimaryversion", "3", nil, ""},
		{"kms-updatecryptokeyprimaryversion", "", nil, ""},
		{"kms-updatecryptokeyprimaryversion", "4", []string{`"cryptoKeyVersionId": "4"`, `"cryptoKeyVersionId": "3"`}, cmek.ChangePrimarySetBack},
		{"asset-cryptokey-primary", "", nil, ""},
		{"asset-cryptokey-primary-set-back", "", nil, cmek.ChangePrimarySetBack},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			onGoogle(t, w, row.wrappedBy)
			w.receives(logged(t, row.sample, "a", row.replace...))
			alerts := w.told.Alerts()
			switch {
			case row.want == "" && len(alerts) > 0:
				t.Errorf("%s, wrapped by %q: %s", row.sample, row.wrappedBy, alerts[0].Headline())
			case row.want != "" && (len(alerts) != 1 || alerts[0].Change != row.want || alerts[0].Severity != alert.High):
				t.Errorf("%s, wrapped by %q: %+v, want one high alert of %q", row.sample, row.wrappedBy, alerts, row.want)
			}
		})
	}
}

// What concerns a project, its service accounts or what is above it reaches the clusters by their keys and principals.
func TestGoogle_whatIsAroundTheKey(t *testing.T) {
	for _, row := range []struct {
		sample  string
		replace []string
		want    alert.Severity
	}{
		{"iam-disableserviceaccount", nil, alert.Critical},
		{"iam-disableserviceaccount", []string{"crdb-cmek@", "another@"}, alert.Medium},
		{"iam-disableserviceaccount-by-unique-id", nil, alert.Critical},
		{"iam-deleteserviceaccount", nil, alert.Critical},
		{"iam-createserviceaccount", nil, alert.High},
		{"iam-createserviceaccount", []string{"crdb-cmek@", "another@"}, alert.None},
		{"iam-setiampolicy-token-creator-removed", nil, alert.High},
		{"kms-setiampolicy-key", nil, alert.High},
		{"kms-setiampolicy-key-ring", nil, alert.High},
		{"resourcemanager-setiampolicy-v1", nil, alert.High},
		{"resourcemanager-setiampolicy-organization", nil, alert.High},
		{"resourcemanager-setiampolicy-audit-only", nil, alert.High},
		{"iam-deletepolicy-organization", nil, alert.High},
		{"iam-deleterole", nil, alert.High},
		{"serviceusage-disableservice-last", nil, alert.Critical},
		{"serviceusage-disableservice-last", []string{"acme-keys", "acme-other"}, alert.Medium},
		{"serviceusage-disableservice-iamcredentials", nil, alert.Critical},
		// Whose project has this number is not known, so any cluster may be concerned.
		{"serviceusage-disableservice-last", []string{"acme-keys", "123456789012"}, alert.Critical},
		{"kms-updatecryptokeyversion-by-project-number", nil, alert.High},
		{"kms-updatecryptokeyversion-by-project-number", []string{"acme-keys", "123456789012"}, alert.Critical},
		{"billing-disableresourcebilling", nil, alert.Critical},
		{"billing-closebillingaccount", nil, alert.Critical},
		{"resourcemanager-deleteproject-v1", nil, alert.Critical},
		{"kms-deletekeyring", nil, alert.Critical},
		{"kms-deletekeyring", []string{"keyRings/crdb", "keyRings/other"}, alert.None},
		{"kms-updateekmconnection", nil, alert.High},
		{"kms-updatecryptokey-justifications", nil, alert.High},
		{"logging-deletesink", nil, alert.High},
		{"pubsub-deletesubscription", nil, alert.None},
		{"hypothetical-kms-rotationevent-failed", nil, alert.Medium},
		{"hypothetical-kms-rotationevent", nil, alert.None},
		{"kms-createcryptokeyversion", nil, alert.None},
		{"kms-decrypt-refused-disabled", nil, alert.Critical},
		{"kms-decrypt-refused-denied", nil, alert.Critical},
		{"kms-decrypt-by-somebody", nil, alert.High},
		{"kms-encrypt", nil, alert.None}, // by the cluster's own
		{"iamcredentials-generateaccesstoken", nil, alert.None},
		{"iamcredentials-generateaccesstoken", []string{"crl-prod-xyz", "somebody-else"}, alert.High},
		{"iamcredentials-generateaccesstoken-denied", nil, alert.Critical},
		{"iamcredentials-generateaccesstoken-denied-redacted", nil, alert.Critical},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			onGoogle(t, w, "4")
			w.receives(logged(t, row.sample, "a", row.replace...))
			got := alert.None
			if alerts := w.told.Alerts(); len(alerts) > 0 {
				got = alerts[0].Severity
			}
			if got != row.want {
				t.Errorf("%s %q is reported as %s, want %s", row.sample, row.replace, got, row.want)
			}
		})
	}
}

// An API and billing of one project are two things: one that is back does not end the incident of the other.
func TestGoogle_eachThingOfAProjectHasItsIncident(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		onGoogle(t, w, "4")
		w.receives(logged(t, "serviceusage-disableservice-last", "a"))
		w.receives(logged(t, "serviceusage-disableservice-iamcredentials", "b"))
		w.receives(logged(t, "billing-disableresourcebilling", "c"))
		time.Sleep(time.Minute)
		w.receives(logged(t, "serviceusage-enableservice", "d"))
		w.ticks(30 * time.Minute)
		if n := len(w.open()); n != 2 {
			t.Errorf("one of three things is back, and %d incidents are open", n)
		}
	})
}

// What keyturn itself is made of is known by its names, as on AWS.
func TestGoogle_ownPartsAreKnown(t *testing.T) {
	for _, row := range []struct {
		sample  string
		replace []string
		want    alert.Severity
	}{
		{"logging-deletesink", nil, alert.Critical},
		{"logging-deletesink", []string{"sinks/keyturn", "sinks/other"}, alert.High},
		{"pubsub-deletesubscription", nil, alert.Critical},
		{"pubsub-deletesubscription", []string{"keyturn-alerting", "other"}, alert.None},
		{"asset-deletefeed", nil, alert.Critical},
		{"functions-updatefunction", nil, alert.Critical},
		{"run-replaceservice", nil, alert.Critical},
		{"scheduler-pausejob", nil, alert.High},
		{"secretmanager-deletesecret", nil, alert.High},
		{"secretmanager-addsecretversion", nil, alert.Medium},
		{"firestore-deletedatabase", nil, alert.Critical},
		{"monitoring-updatealertpolicy", nil, alert.High},
		{"monitoring-deletealertpolicy", nil, alert.High},
		{"iam-disableserviceaccount", []string{"crdb-cmek@acme-keys", "keyturn-alerting@hub"}, alert.High},
		{"iam-setiampolicy-token-creator-removed", []string{"crdb-cmek@acme-keys", "keyturn-alerting@hub"}, alert.High},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			onGoogle(t, w, "4")
			w.Settings.OwnResources = "keyturn, keyturn-{alerting,events,tick,api-key}, 12345678901234567890"
			w.Settings.OwnRoles = "keyturn-{alerting,rotation}@hub.iam.gserviceaccount.com"
			if problems := w.Settings.Check(); len(problems) > 0 {
				t.Fatal(problems)
			}
			w.receives(logged(t, row.sample, "a", row.replace...))
			got := alert.None
			if alerts := w.told.Alerts(); len(alerts) > 0 {
				got = alerts[0].Severity
			}
			if got != row.want {
				t.Errorf("%s %q is reported as %s, want %s", row.sample, row.replace, got, row.want)
			}
		})
	}
}

// The heartbeat sets its label on the canary key. Whoever else does that, and whatever else it does, is reported.
func TestGoogle_heartbeatIsALabel(t *testing.T) {
	const heartbeat = "keyturn-heartbeat@hub.iam.gserviceaccount.com"
	for _, row := range []struct {
		sample  string
		replace []string
		alerts  int
	}{
		{"kms-updatecryptokey-labels", []string{"ana@acme.example", heartbeat, "cryptoKeys/payments", "cryptoKeys/canary"}, 0},
		{"kms-updatecryptokey-labels", []string{"ana@acme.example", heartbeat}, 1}, // of a key that a cluster uses
		{"kms-updatecryptokey-labels", nil, 1},
		{"kms-updatecryptokey-labels", []string{"ana@acme.example", heartbeat, "keyturn-heartbeat\"", "another\""}, 1},
		{"kms-destroycryptokeyversion", []string{"ana@acme.example", heartbeat}, 1},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			onGoogle(t, w, "4")
			w.Settings.HeartbeatRole = heartbeat
			if problems := w.Settings.Check(); len(problems) > 0 {
				t.Fatal(problems)
			}
			w.receives(logged(t, row.sample, "a", row.replace...))
			if n := len(w.told.Alerts()); n != row.alerts {
				t.Errorf("%s %q made %d alerts, want %d", row.sample, row.replace, n, row.alerts)
			}
			if noted := w.beaten("acme-keys", ""); noted != (row.alerts == 0) {
				t.Errorf("%s %q is a heartbeat in the ledger: %t", row.sample, row.replace, noted)
			}
		})
	}
}

// An IAM policy can have 1,500 members. Its event fits beside the alert, or is judged again without its documents.
func TestGoogle_largestPolicyFits(t *testing.T) {
	for _, sample := range []string{"resourcemanager-setiampolicy-v1", "kms-setiampolicy-key", "iam-setiampolicy-token-creator-removed"} {
		inWorld(t, func(t *testing.T, w *world) {
			onGoogle(t, w, "4")
			for _, e := range logged(t, sample, "a") {
				var members strings.Builder
				for i := range 6000 {
					fmt.Fprintf(&members, `"user:%x@acme.example",`, sha256.Sum256([]byte{byte(i), byte(i >> 8)})) // hardly compresses
				}
				e.Policy = `{"bindings":[{"role":"roles/viewer","members":[` + strings.TrimSuffix(members.String(), ",") + `]}]}`
				e.Delta = e.Policy
				if err := w.Event(t.Context(), e); err != nil {
					t.Errorf("%s with a policy of %d bytes: %v", sample, len(e.Policy), err)
				}
				w.happens(e)
				if n := len(w.told.Alerts()); n != 1 {
					t.Errorf("%s with a policy of %d bytes made %d alerts, want 1", sample, len(e.Policy), n)
				}
			}
		})
	}
}
