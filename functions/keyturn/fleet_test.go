package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/live"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	ordersID   = "7c1d9e20-3a4b-4c5d-8e6f-000000000003"
	paymentsID = "7c1d9e20-3a4b-4c5d-8e6f-000000000001"
)

// newMixedBench is a world with one cluster on AWS and one on Google Cloud.
func newMixedBench(t *testing.T) *bench {
	t.Helper()
	return newBenchOf(t, mixedSeed(t))
}

func mixedSeed(t *testing.T) simulator.Seed {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "mixed-fleet-seed.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := simulator.LoadSeed(data)
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

func TestClustersOfAnotherInstallationAreCountedAndLeftAlone(t *testing.T) {
	b := newMixedBench(t)
	out := b.succeed(t, "follow", "--mode", "follow")
	wantText(t, "follow", out, "1 cluster read, 1 of another installation left alone", "Nothing is open")
	wantText(t, "the status", b.succeed(t, "status"), "1 cluster, 1 of another installation, complete", "aws1")
	s := decodeJSON[live.Status](t, b.succeed(t, "status", "-o", "json"))
	if len(s.Clusters) != 1 || s.Sweep.Others != 1 || s.NotShown != 0 {
		t.Errorf("status has %d clusters, %d of another installation, %d not shown; want 1, 1 and 0", len(s.Clusters), s.Sweep.Others, s.NotShown)
	}
	for _, args := range [][]string{{"plan", "--fresh"}, {"plan", "gcp1"}, {"plan", "--mode", "follow", "--fresh"}} {
		wantText(t, "the plan", b.succeed(t, args...), "gcp1", "another installation's", "1 cluster of another installation")
	}
	report := decodeJSON[live.PlanReport](t, b.succeed(t, "plan", "--fresh", "-o", "json"))
	if report.Others != 1 || len(report.Clusters) != 2 {
		t.Errorf("the plan has %d clusters, %d of them another installation's; want 2 and 1", len(report.Clusters), report.Others)
	}
	wantText(t, "the plan from the inventory", b.succeed(t, "plan"), "1 cluster of another installation")
	for _, put := range b.PUTs() {
		t.Errorf("a PUT was sent to %s", put.Cluster)
	}
}

// notRead makes the cluster due for a poll, as it is a day after the last read.
func (b *bench) notRead(t *testing.T, id string) {
	t.Helper()
	b.change(t, id, func(c *ledger.Cluster) { c.NextLook = time.Now() })
}

func TestAClusterThatIsNotShownIsVisibleInStatusAndPlan(t *testing.T) {
	for _, tc := range []struct {
		name, why string
		hide      func(*bench) error
	}{
		{"the cluster", "the Cloud API no longer shows the cluster to keyturn's API key", func(b *bench) error { return b.Hide("payments") }},
		{"its CMEK", "the Cloud API shows no CMEK of the cluster", func(b *bench) error { return b.HideCMEK("payments", "404") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t).swept(t)
			if err := tc.hide(b); err != nil {
				t.Fatal(err)
			}
			plan := b.keyturn(t, "plan", "--fresh")
			plan.wantCode(t, exitNeedsPerson, "plan")
			wantText(t, "the plan", plan.out, "not shown", tc.why)

			b.notRead(t, paymentsID)
			b.keyturn(t, "follow", "--mode", "follow").wantCode(t, exitNeedsPerson, "follow")
			o := b.keyturn(t, "status")
			o.wantCode(t, exitNeedsPerson, "status")
			wantText(t, "the status", o.out, "1 not shown", "complete", "not shown", tc.why, "since", "Needs attention:", "#cluster-not-shown")
			s := b.keyturn(t, "status", "payments")
			wantText(t, "the details", s.out, "not shown since", tc.why, "keyturn forget "+paymentsID)
			report := decodeJSON[live.Status](t, b.keyturn(t, "status", "payments", "-o", "json").out)
			if u := report.Clusters[0].NotShown; u == nil || u.Since.IsZero() || !strings.Contains(u.Why, tc.why) {
				t.Errorf("the JSON says %+v", u)
			}
		})
	}
}

func TestForgetEndsTheRecordOfAClusterThatIsNotShown(t *testing.T) {
	for _, tc := range []struct {
		name       string
		hide, show func(*bench) error
	}{
		{"the cluster", func(b *bench) error { return b.Hide("payments") }, func(b *bench) error { return b.Show("payments") }},
		{"its CMEK", func(b *bench) error { return b.HideCMEK("payments", "404") }, func(b *bench) error { return b.ShowCMEK("payments") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t).swept(t)
			o := b.keyturn(t, "forget", "payments", "--reason", "gone")
			o.wantCode(t, exitFailed, "forget")
			wantText(t, "the refusal", o.err, "forget cluster payments: the Cloud API still shows it", "keyturn=off")

			if err := tc.hide(b); err != nil {
				t.Fatal(err)
			}
			b.notRead(t, paymentsID)
			b.keyturn(t, "follow", "--mode", "follow").wantCode(t, exitNeedsPerson, "follow")
			o = b.keyturn(t, "forget", "payments")
			o.wantCode(t, exitUsage, "forget")
			wantText(t, "the refusal", o.err, "reason")
			o = b.keyturn(t, "forget", "payments", "--reason", " ")
			o.wantCode(t, exitUsage, "forget")

			wantText(t, "forget", b.succeed(t, "forget", "payments", "--reason", "moved to another organization"), "Forgot payments")
			follow := b.succeed(t, "follow", "--mode", "follow")
			wantText(t, "the messages", follow, "was forgotten by", "moved to another organization")
			if out := b.succeed(t, "status"); strings.Contains(out, "payments") {
				t.Errorf("a forgotten cluster is still in status:\n%s", out)
			}
			if again := b.succeed(t, "follow", "--mode", "follow"); strings.Contains(again, "payments") {
				t.Errorf("a forgotten cluster is reported again:\n%s", again)
			}

			if err := tc.show(b); err != nil {
				t.Fatal(err)
			}
			b.succeed(t, "follow", "--mode", "follow")
			wantText(t, "status after it is shown again", b.succeed(t, "status"), "payments", "up to date")
		})
	}
}
