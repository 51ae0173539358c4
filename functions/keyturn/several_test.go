package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/live"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/simulator"
)

// twoInstallations are benches with a ledger each, of different fleets; the flags name both ledgers. An incident of the first one pages.
func twoInstallations(t *testing.T) (first *bench, flags []string, ledgers [2]string) {
	t.Helper()
	seed := simulator.DefaultSeed()
	seed.Clusters = slices.DeleteFunc(seed.Clusters, func(c simulator.ClusterSeed) bool { return c.Name != "payments" })
	seed.Clusters[0].Name = "aardvark"
	second := newBenchOf(t, seed).swept(t)
	first = newBench(t).swept(t)
	first.ring(t, "7c1d9e20-3a4b-4c5d-8e6f-000000000001", alert.Alert{
		ID: "a", DedupKey: "key-unusable/x", Severity: alert.Critical, Change: "key unusable", Summary: "A key is unusable", Time: time.Now(),
	})
	ledgers = [2]string{"file:" + filepath.Join(first.folder, "ledger.db"), "file:" + filepath.Join(second.folder, "ledger.db")}
	return first, []string{"--ledger", ledgers[0], "--ledger", ledgers[1]}, ledgers
}

func with(flags []string, args ...string) []string { return slices.Concat(args, flags) }

func TestStatus_ofSeveralInstallations_isOneFleet(t *testing.T) {
	b, flags, ledgers := twoInstallations(t)
	o := b.keyturn(t, with(flags, "status")...)
	o.wantCode(t, exitNeedsPerson, "status")
	wantText(t, "the table", o.out, "INSTALLATION", ledgers[0]+": [CRITICAL] A key is unusable")
	rows := map[string]string{} // installation by cluster
	for line := range strings.Lines(o.out) {
		fields := strings.Fields(line)
		if len(fields) > 2 && (fields[0] == ledgers[0] || fields[0] == ledgers[1]) {
			rows[fields[1]] = fields[0]
		}
	}
	if rows["aardvark"] != ledgers[1] || rows["payments"] != ledgers[0] || rows["orders"] != ledgers[0] {
		t.Errorf("the rows name the installations %v:\n%s", rows, o.out)
	}
	if strings.Index(o.out, "aardvark") > strings.Index(o.out, "orders") {
		t.Errorf("the clusters are not in the order of their names:\n%s", o.out)
	}
	all := decodeJSON[[]live.InstallationStatus](t, b.keyturn(t, with(flags, "status", "-o", "json")...).out)
	if len(all) != 2 || all[0].Installation != ledgers[0] || len(all[0].Clusters) != 5 || len(all[1].Clusters) != 1 || all[1].Error != "" {
		t.Errorf("the JSON is %+v", all)
	}

	o = b.keyturn(t, with(flags, "status", "aardvark")...)
	o.wantCode(t, exitFine, "status", "aardvark")
	wantText(t, "the cluster", o.out, ledgers[1], "aardvark", paymentsKey)
	if strings.Contains(o.out, ledgers[0]) {
		t.Errorf("an installation that does not know the cluster is shown:\n%s", o.out)
	}
	o = b.keyturn(t, with(flags, "status", "nobody")...)
	o.wantCode(t, exitFailed, "status", "nobody")
	wantText(t, "the error", o.err, `no ledger knows a cluster "nobody"`)
}

// Whatever keeps one from being read, the others are shown.
func TestSeveralInstallations_oneUnreadable(t *testing.T) {
	for name, unreadable := range map[string]string{
		"there is none": "file:" + filepath.Join(t.TempDir(), "nowhere.db"), "it is damaged": "file:" + damaged(t),
		"its project is none": "firestore://Acme_/keyturn",
	} {
		b, _, ledgers := twoInstallations(t)
		for _, order := range [][]string{{ledgers[1], unreadable}, {unreadable, ledgers[1]}} {
			flags := []string{"--ledger", order[0], "--ledger", order[1]}
			o := b.keyturn(t, with(flags, "status")...)
			o.wantCode(t, exitNeedsPerson, "status")
			wantText(t, name, o.out, "aardvark", unreadable+" cannot be read: ")
			all := decodeJSON[[]live.InstallationStatus](t, b.keyturn(t, with(flags, "status", "-o", "json")...).out)
			if len(all) != 2 || all[0].Installation != ledgers[1] || all[1].Installation != unreadable || all[1].Error == "" || all[1].Status != nil {
				t.Errorf("%s: the JSON is %+v", name, all)
			}
			// That the cluster is not found where it can be read is no proof that it is not there.
			b.keyturn(t, with(flags, "status", "nobody")...).wantCode(t, exitNeedsPerson, "status", "nobody")

			o = b.keyturn(t, with(flags, "alerts")...)
			o.wantCode(t, exitNeedsPerson, "alerts")
			wantText(t, name, o.out, "No incident is open where incidents can be read", unreadable+" cannot be read: ")
		}
	}
}

// damaged is a file that is no ledger.
func damaged(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "damaged.db")
	if err := os.WriteFile(name, []byte(strings.Repeat("no ledger ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAlerts_ofSeveralInstallations(t *testing.T) {
	b, flags, ledgers := twoInstallations(t)
	o := b.keyturn(t, with(flags, "alerts")...)
	o.wantCode(t, exitNeedsPerson, "alerts")
	wantText(t, "the list", o.out, "INSTALLATION", ledgers[0], "A key is unusable")
	all := decodeJSON[[]live.LocatedIncident](t, b.keyturn(t, with(flags, "alerts", "-o", "json")...).out)
	if len(all) != 1 || all[0].Installation != ledgers[0] {
		t.Fatalf("the JSON is %+v", all)
	}
	o = b.keyturn(t, with(flags, "alerts", all[0].ID)...)
	o.wantCode(t, exitNeedsPerson, "alerts", all[0].ID)
	wantText(t, "the incident", o.out, ledgers[0], "A key is unusable")
	o = b.keyturn(t, with(flags, "alerts", "0000000000")...)
	o.wantCode(t, exitFailed, "alerts")
	wantText(t, "the error", o.err, "no ledger knows an incident")
}

// One that acts must not choose.
func TestSeveralInstallations_otherCommandsRefuse(t *testing.T) {
	b, flags, _ := twoInstallations(t)
	for _, args := range [][]string{{"plan"}, {"pause", "--reason", "x"}, {"retry", "payments"}, {"follow", "--mode", "follow"}} {
		o := b.keyturn(t, with(flags, args...)...)
		o.wantCode(t, exitUsage, args...)
		wantText(t, "the error", o.err, "2 installations are named", "status and alerts")
	}
	b.environ = []string{"KEYTURN_DEPLOYMENT=prod, acme-keyturn/keyturn"}
	for _, args := range [][]string{{"plan"}, {"version", "--deployment", "a", "--deployment", "b"}} {
		o := b.keyturn(t, args...)
		o.wantCode(t, exitUsage, args...)
		wantText(t, "the error", o.err, "2 installations are named")
	}
}

// A name with a slash is meant for Google Cloud, also if it is misspelled: no other cloud is asked for it.
func TestDeployment_misspelledOnGoogleCloud(t *testing.T) {
	for name, misspelled := range map[string]bool{
		"acme_keyturn/keyturn": true, "acme-keyturn/keyturn/x": true, "acme-keyturn/": true, "/keyturn": true, "acme-keyturn/abc": true, "acme-keyturn/Keyturn": true,
		"acme;x/keyturn": true, "projects/acme-keyturn/keyturn": true, "acme-keyturn/keyturn": false,
	} {
		b, _ := newGoogleClinic(t)
		b.environ = b.environ[1:]
		t.Setenv("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:1")
		o := b.keyturn(t, "plan", "--deployment", name)
		if got := strings.Contains(o.err, "is no deployment; want NAME, or on Google Cloud PROJECT/NAME"); got != misspelled || strings.Contains(o.err, "AWS") {
			t.Errorf("%s: exit code %d, %s", name, o.code, o.err)
		}
		if misspelled {
			o.wantCode(t, exitUsage, "plan", "--deployment", name)
		}
	}
}

// One on each cloud, by name: neither hides the other, and nothing of one is taken for the other's.
func TestStatus_ofTwoDeployments_namesBoth(t *testing.T) {
	b, g := newGoogleClinic(t)
	g.Deny = "storage.objects.get"
	b.environ = append(b.environ[1:], "KEYTURN_DEPLOYMENT=prod,acme-keyturn/keyturn", "KEYTURN_LEDGER=file:nowhere")
	t.Setenv("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:1")
	o := b.keyturn(t, "status")
	o.wantCode(t, exitNeedsPerson, "status")
	wantText(t, "the text", o.out, "prod cannot be read: find deployment prod", "acme-keyturn/keyturn cannot be read: find deployment acme-keyturn/keyturn")
}
