package alerting

import (
	"testing"

	"github.com/keyturn/keyturn/internal/alert"
)

// What somebody hostile can choose on Google Cloud: names of projects, service accounts and keys.

const (
	crlUser = "crl-kms-user-a90d4e613b1f@crl-prod-xyz.iam.gserviceaccount.com"
	mallory = "mallory@evil.iam.gserviceaccount.com"
)

// A token of the clusters' service account that is not for Cockroach Labs' account is reported, whatever the caller is called.
func TestHostile_googleNamesSilenceNothing(t *testing.T) {
	for who, want := range map[string]alert.Severity{
		crlUser:                   alert.None,
		crlUser + ".evil.example": alert.High,
		"crl-kms-user-a90d4e613b1f@crl-prod-xyz-evil.iam.gserviceaccount.com":      alert.High,
		"crl-prod-xyz@evil.iam.gserviceaccount.com":                                alert.High,
		"crl-kms-user-a90d4e613b1f@crl-prod-xyz.example.com":                       alert.High,
		"crl-kms-user-a90d4e613b1f@crl-prod-xyz":                                   alert.High,
		"x@crl-prod-xyz.iam.gserviceaccount.com@evil.iam.gserviceaccount.com":      alert.High,
		"principal://iam.googleapis.com/projects/1/x/subject/" + crlUser:           alert.High,
		"deleted:serviceAccount:" + crlUser + "?uid=109876543210987654321":         alert.High,
		"crdb-cmek@acme-keys-evil.iam.gserviceaccount.com":                         alert.High,
		"serviceAccount:" + crlUser + " serviceAccount:evil@x.iam.gserviceaccount": alert.High,
	} {
		onGoogleOnly(t, func(t *testing.T, w *world) {
			w.receives(logged(t, "iamcredentials-generateaccesstoken", "a", crlUser, who))
			if got := w.worst(); got != want {
				t.Errorf("a token made by %q is reported as %s, want %s", who, got, want)
			}
		})
	}
}

// A stranger who is refused is no cluster's failure, whatever the stranger is called.
func TestHostile_googleRefusedStrangerPagesNobody(t *testing.T) {
	for who, pages := range map[string]bool{
		crlUser: true, mallory: false, "crl-prod-xyz@evil.iam.gserviceaccount.com": false, crlUser + ".evil.example": false,
		"crl-kms-user-a90d4e613b1f@crl-prod-xyz-evil.iam.gserviceaccount.com": false,
	} {
		onGoogleOnly(t, func(t *testing.T, w *world) {
			w.receives(logged(t, "iamcredentials-generateaccesstoken-denied", "a", crlUser, who))
			if got := w.worst().AtLeast(alert.High); got != pages {
				t.Errorf("%q is refused a token: somebody is paged: %t, want %t", who, got, pages)
			}
		})
	}
}

// keyturn's own accounts are known by their whole names. What one of them does with a key is reported all the same.
func TestHostile_googleOwnAccounts(t *testing.T) {
	const ours = "keyturn-alerting@hub.iam.gserviceaccount.com"
	for _, row := range []struct {
		sample, was, is string
		want            alert.Severity
	}{
		{"kms-decrypt-by-somebody", "ana@acme.example", ours, alert.High},
		{"iam-disableserviceaccount", clusterAccount, ours, alert.High},
		{"iam-disableserviceaccount", clusterAccount, "keyturn-alerting2@hub.iam.gserviceaccount.com", alert.Medium},
		{"iam-disableserviceaccount", clusterAccount, "keyturn-alerting@hub2.iam.gserviceaccount.com", alert.Medium},
		{"iam-deleteserviceaccount", clusterAccount, ours, alert.High},
	} {
		onGoogleOnly(t, func(t *testing.T, w *world) {
			w.Settings.OwnRoles = "keyturn-{alerting,rotation}@hub.iam.gserviceaccount.com"
			w.receives(logged(t, row.sample, "a", row.was, row.is))
			if got := w.worst(); got != row.want {
				t.Errorf("%s with %s is reported as %s, want %s", row.sample, row.is, got, row.want)
			}
		})
	}
}

// The heartbeat is the whole service account's, on its own key.
func TestHostile_googleHeartbeat(t *testing.T) {
	for who, want := range map[string]bool{
		"keyturn-heartbeat@hub.iam.gserviceaccount.com": true, "keyturn-heartbeat@hub2.iam.gserviceaccount.com": false, "keyturn-heartbeat2@hub.iam.gserviceaccount.com": false,
		"keyturn-heartbeat@hub": false, "ana@acme.example": false, "keyturn-heartbeat@hub.iam.gserviceaccount.com.evil.example": false,
	} {
		onGoogleOnly(t, func(t *testing.T, w *world) {
			w.Settings.HeartbeatRole = "keyturn-heartbeat@hub.iam.gserviceaccount.com"
			e := logged(t, "kms-updatecryptokey-labels", "a", "ana@acme.example", who, "cryptoKeys/payments", "cryptoKeys/canary")[0]
			if got := w.Settings.heartbeat(e); got != want {
				t.Errorf("a label set by %q is a heartbeat: %t, want %t", who, got, want)
			}
		})
	}
}

// worst is the severity of the worst that was reported.
func (w *world) worst() alert.Severity {
	worst := alert.None
	for _, a := range w.told.Alerts() {
		worst = alert.Worse(worst, a.Severity)
	}
	return worst
}

// onGoogleOnly runs the test in the world on Google Cloud.
func onGoogleOnly(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	inWorld(t, func(t *testing.T, w *world) {
		withIAM(t, w)
		test(t, w)
	})
}
