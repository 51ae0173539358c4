package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/explain"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// With a ledger explain judges what a change of Google Cloud does to the clusters that use the key: by the entry, by what it says that it
// changed, and by the documents that a sweep noted, whose age it says. What was not noted stays unclear.
func TestExplainJudgesGoogleByTheLedger(t *testing.T) {
	const (
		cluster = "0a5d1c2e-7f43-4b1a-9c68-a90d4e613b1f"
		key     = cmek.KeyURI("projects/acme-keys/locations/us-east1/keyRings/crdb/cryptoKeys/payments")
		account = "crdb-cmek@acme-keys.iam.gserviceaccount.com"
		granted = `{"version":1,"etag":"BwX=","bindings":[{"role":"roles/cloudkms.cryptoKeyEncrypterDecrypter","members":["serviceAccount:` + account + `"]}]}`
	)
	b := newBench(t).swept(t)
	file := "file:" + filepath.Join(b.folder, "ledger.db")
	if err := (&installation.Program{Terminal: terminal.Terminal{Environ: b.environ}}).WithLedger(t.Context(), func(ctx context.Context, l *ledger.Ledger) error {
		if _, err := l.UpdateCluster(ctx, cluster, func(c *ledger.Cluster) error {
			c.Cluster = cmek.Cluster{ID: cluster, Name: "ledger", AccountID: "crl-prod-xyz", State: cmek.StateCreated}
			c.CMEK = cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{{Region: "us-east1", Status: cmek.Enabled, KeyInfos: []cmek.KeyInfo{{
				Spec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: key, AuthPrincipal: account}, Status: cmek.Enabled,
			}}}}}
			c.NextLook = time.Now()
			return nil
		}); err != nil {
			return err
		}
		return l.NotePolicy(ctx, string(key), granted, ledger.NotedPolicy{})
	}); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	samples := samplesOf(t, "../../events/testdata/google/*.json")
	for _, name := range []string{"iam-createserviceaccount", "iam-deleterole", "iam-disableserviceaccount", "iam-setiampolicy-token-creator-removed", "kms-setiampolicy-key",
		"kms-setiampolicy-key-ring", "kms-updatecryptokeyversion-disabled", "resourcemanager-setiampolicy-v1", "resourcemanager-setiampolicy-organization"} {
		o := b.keyturnWith(t.Context(), samples[name], "explain", "--ledger", file)
		o.wantCode(t, exitFine, "explain", name)
		fmt.Fprintf(&text, "-- %s --\n%s\n", name, o.out)
	}
	golden(t, "explain-google-ledger.txt", text.String())

	// With all documents noted, what an entry takes away is a loss, unless another document grants the same.
	const none, ring, project, itself = `{"version":1,"etag":"ACAB"}`, "projects/acme-keys/locations/us-east1/keyRings/crdb", "projects/acme-keys",
		"projects/acme-keys/serviceAccounts/" + account
	note := func(texts map[string]string) {
		if err := (&installation.Program{Terminal: terminal.Terminal{Environ: b.environ}}).WithLedger(t.Context(), func(ctx context.Context, l *ledger.Ledger) error {
			for name, text := range texts {
				if err := l.NotePolicy(ctx, name, text, ledger.NotedPolicy{}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	note(map[string]string{
		ring: none, project: none, project + "#denies": "[]", project + "#boundaries": "[]", project + "#parents": "[]", itself + "#state": `{"email":"` + account + `","uniqueId":"1001"}`,
		itself: `{"bindings":[{"role":"roles/iam.serviceAccountTokenCreator","members":["serviceAccount:crl-kms-user-a90d4e613b1f@crl-prod-xyz.iam.gserviceaccount.com"]}]}`,
	})
	removed := strings.ReplaceAll(samples["kms-setiampolicy-key"], "2026-03-01T12:00:00.123456789Z", time.Now().UTC().Format(time.RFC3339))
	for _, row := range []struct {
		ring string
		want alert.Severity
	}{{none, alert.Critical}, {granted, alert.Medium}} {
		note(map[string]string{ring: row.ring})
		o := b.keyturnWith(t.Context(), removed, "explain", "-o", "json", "--ledger", file)
		if x := decodeJSON[explain.Explanation](t, o.out); x.Severity != row.want || !strings.Contains(x.Reason, "as the ledger noted it, within the last two minutes") {
			t.Errorf("with the ring's policy %s noted, the removed grant is %s because %s; want %s, and the age of what was noted", row.ring, x.Severity, x.Reason, row.want)
		}
	}

	// The policy that the ledger has noted, set again, changes nothing; without the ledger nobody knows.
	again := strings.ReplaceAll(samples["kms-setiampolicy-key"], "2026-03-01T12:00:00.123456789Z", time.Now().UTC().Add(time.Minute).Format(time.RFC3339))
	again = strings.NewReplacer(`"roles/cloudkms.admin"`, `"roles/cloudkms.cryptoKeyEncrypterDecrypter"`, `"group:kms@acme.example"`, `"serviceAccount:`+account+`"`).Replace(again)
	o := b.keyturnWith(t.Context(), again, "explain", "-o", "json", "--ledger", file)
	if x := decodeJSON[explain.Explanation](t, o.out); x.Severity != alert.Info {
		t.Errorf("the noted policy set again is %s because %s; want info", x.Severity, x.Reason)
	}
	o = explainText(t.Context(), again, "-o", "json")
	if x := decodeJSON[explain.Explanation](t, o.out); x.Severity != alert.High {
		t.Errorf("without a ledger the same policy is %s because %s; want high", x.Severity, x.Reason)
	}
}
