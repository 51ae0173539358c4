package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/live"
)

func TestPlanOfAFleetThatNoLedgerKnowsSendsNothing(t *testing.T) {
	b := newBench(t)
	b.rotate(t, paymentsKey)
	out := b.succeed(t, "plan", "-o", "json")
	b.golden(t, "plan.json", out)
	report := decodeJSON[live.PlanReport](t, out)
	for _, c := range report.Clusters {
		for _, r := range c.Regions {
			want := "note as up to date"
			switch c.Name {
			case "payments", "checkout":
				want = "open work"
			case "archive", "analytics":
				want = "nothing for now"
			}
			if r.Act != want {
				t.Errorf("plan for %s in %s is %q (%s), want %q", c.Name, r.Region, r.Act, r.Why, want)
			}
		}
	}
	if puts := b.PUTs(); len(puts) != 0 {
		t.Errorf("plan sent %d PUTs, want none", len(puts))
	}
	wantText(t, "the table", b.succeed(t, "plan"), "CLUSTER", "payments", "open work", "observes")
}

func TestPlanHeedsTheFleetsOrderAndTheMode(t *testing.T) {
	b := newBench(t).swept(t)
	events := b.rotate(t, paymentsKey)
	b.keyturnWith(t.Context(), events[0], "replay", "-").wantCode(t, exitFine, "replay")

	report := decodeJSON[live.PlanReport](t, b.succeed(t, "plan", "--mode", "follow", "-o", "json"))
	acts := map[string]live.RegionPlan{}
	for _, c := range report.Clusters {
		acts[c.Name] = c.Regions[0]
	}
	if report.PUTs != 2 || acts["checkout"].Act != "send a PUT" {
		t.Errorf("%d PUTs planned and checkout's act is %q; want two PUTs, the canary's now", report.PUTs, acts["checkout"].Act)
	}
	if got := sendsOf(report); got != "1 checkout us-east-1 (), 2 payments us-east-1 (waits for the canary checkout)" {
		t.Errorf("the sends are %s", got)
	}
	if got := acts["payments"]; got.Act != "wait" || got.Why != "waits for the canary checkout" {
		t.Errorf("the plan for payments is %q (%s), want it to wait for the canary", got.Act, got.Why)
	}

	observing := decodeJSON[live.PlanReport](t, b.succeed(t, "plan", "payments", "-o", "json"))
	if act := observing.Clusters[0].Regions[0].Act; act != "would send a PUT" {
		t.Errorf("observe mode plans %q, want would send a PUT", act)
	}

	b.succeed(t, "pause", "--reason", "freeze")
	wantText(t, "the plan", b.succeed(t, "plan", "--mode", "follow"), "Paused", "freeze", "No PUT would be sent")
	if puts := b.PUTs(); len(puts) != 0 {
		t.Errorf("plan sent %d PUTs, want none", len(puts))
	}
}

// sendsOf is the plan's list of sends in one line.
func sendsOf(r live.PlanReport) string {
	var sends []string
	for _, s := range r.Sends {
		sends = append(sends, fmt.Sprintf("%d %s %s (%s)", s.PUT, s.Name, s.Region, s.WaitsFor))
	}
	return strings.Join(sends, ", ")
}

func TestPlanListsTheSendsPastSettleTimesAsFollowSendsThem(t *testing.T) {
	b := newBench(t).swept(t)
	b.environ = append(b.environ, "KEYTURN_SETTLE=2s")
	const ledgerEU = "arn:aws:kms:eu-central-1:111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906"
	for _, event := range b.rotate(t, paymentsKey, ledgerEU) {
		b.keyturnWith(t.Context(), event, "replay", "-")
	}
	out := b.succeed(t, "plan", "--mode", "follow")
	wantText(t, "the plan", out, "3 PUTs would be sent, in this order:", "(now: ", "Nothing was sent or written.")
	report := decodeJSON[live.PlanReport](t, b.succeed(t, "plan", "--mode", "follow", "-o", "json"))
	ranks := map[string][]int{}
	for _, s := range report.Sends {
		ranks[s.Name] = append(ranks[s.Name], s.PUT)
	}
	if eu := ranks["ledger-eu"]; len(eu) != 2 || eu[0] != eu[1] {
		t.Errorf("the two regions of ledger-eu have ranks %v, want one PUT", eu)
	}
	if one := decodeJSON[live.PlanReport](t, b.succeed(t, "plan", "payments", "--mode", "follow", "-o", "json")); len(one.Sends) != 1 || one.Sends[0].Name != "payments" {
		t.Errorf("the plan for payments lists %s", sendsOf(one))
	}

	b.succeed(t, "follow", "--mode", "follow")
	var planned, sent []string
	for _, s := range report.Sends {
		if n := len(planned); n == 0 || planned[n-1] != s.Name {
			planned = append(planned, s.Name)
		}
	}
	for _, put := range b.PUTs() {
		sent = append(sent, put.Cluster)
	}
	slices.Sort(planned) // clusters of different keys do not wait for each other
	slices.Sort(sent)
	if !slices.Equal(planned, sent) {
		t.Errorf("planned were %v, sent %v", planned, sent)
	}
}

func TestPlanFindsAClusterByNameOrID(t *testing.T) {
	b := newBench(t)
	for _, wanted := range []string{"orders", "7c1d9e20-3a4b-4c5d-8e6f-000000000003"} {
		report := decodeJSON[live.PlanReport](t, b.succeed(t, "plan", wanted, "-o", "json"))
		if len(report.Clusters) != 1 || report.Clusters[0].Name != "orders" || len(report.Clusters[0].Regions) != 3 {
			t.Errorf("plan %s is about %+v, want orders with its three regions", wanted, report.Clusters)
		}
	}
	for _, unknown := range []string{"nobody", "00000000-0000-4000-8000-000000000000"} {
		o := b.keyturn(t, "plan", unknown)
		o.wantCode(t, exitFailed, "plan", unknown)
		wantText(t, "the error", o.err, unknown)
	}
}

// The Cloud API lists deleted clusters for ever; their names may be in use again.
func TestPlanTakesNoDeletedClusterByItsName(t *testing.T) {
	b := newBench(t)
	request := httptest.NewRequest(http.MethodDelete, "/api/v1/clusters/7c1d9e20-3a4b-4c5d-8e6f-000000000003", nil)
	request.Header.Set("Authorization", "Bearer CCDB1_SAMPLEadminSAMPLEadmin_SAMPLEadminSAMPLEadminSAMPLEadminSAMPLEa")
	deleted := httptest.NewRecorder()
	b.CloudAPI().ServeHTTP(deleted, request)
	if deleted.Code != http.StatusOK {
		t.Fatalf("delete cluster: %d %s", deleted.Code, deleted.Body)
	}
	o := b.keyturn(t, "plan", "orders")
	o.wantCode(t, exitFailed, "plan", "orders")
	wantText(t, "the error", o.err, `sees no cluster "orders"`)
}

func TestPlanNeedsAPersonWhenAKeyCannotBeUsed(t *testing.T) {
	b := newBench(t)
	b.kms(t, "DisableKey", ordersKey)
	o := b.keyturn(t, "plan")
	o.wantCode(t, exitNeedsPerson, "plan")
	wantText(t, "the plan", o.out, "Needs attention:", "f002 in us-east-1 is disabled (1 cluster)", "Recovery steps:", "aws kms enable-key")
	if strings.Contains(o.err, "keyturn:") {
		t.Errorf("standard error repeats what the plan says: %s", o.err)
	}
}

// mayOnlyList has the bench use an API key that sees clusters but no CMEK.
func (b *bench) mayOnlyList() {
	b.environ = append(b.environ, "COCKROACH_API_KEY=CCDB1_SAMPLEdevelSAMPLEdevel_SAMPLEdevelSAMPLEdevelSAMPLEdevelSAMPLEd")
}

func TestPlanNamesTheClustersThatCannotBeRead(t *testing.T) {
	b := newBench(t)
	b.mayOnlyList()
	o := b.keyturn(t, "plan", "orders")
	o.wantCode(t, exitFailed, "plan", "orders")
	wantText(t, "the table", o.out, "orders", "unreadable")
	wantText(t, "the error", o.err, "403", "check the roles")
}

func TestPlanWithoutAWSCredentialsSaysHowToGiveThem(t *testing.T) {
	b := newBench(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	o := b.keyturn(t, "plan")
	o.wantCode(t, exitUsage, "plan")
	wantText(t, "the error", o.err, "AWS gives no credentials", "AWS_PROFILE")
}

// A reader that the KMS denies is the likeliest first mistake: nothing is called fine, and the statement to add is printed.
func TestPlan_keysDenied_needsAttentionOnce(t *testing.T) {
	b := newBench(t)
	for _, key := range []string{paymentsKey, ordersKey} {
		if err := b.DenyKMS(key, true); err != nil {
			t.Fatal(err)
		}
	}
	o := b.keyturn(t, "plan")
	o.wantCode(t, exitNeedsPerson, "plan")
	wantText(t, "the plan", o.out, "2 keys of account 111122223333 could not be read", "The statement to add to the policy of "+paymentsKey+", "+ordersKey+`: {"Action":["kms:DescribeKey","kms:GetKeyLastUsage"`, "ROLE_ARN")
	if n := strings.Count(o.out, "could not be read"); n != 1 {
		t.Errorf("the cause is named %d times, want once:\n%s", n, o.out)
	}
	if only := decodeJSON[live.PlanReport](t, b.keyturn(t, "plan", "--only", "unreadable", "-o", "json").out); len(only.Clusters) != 3 {
		t.Errorf("unreadable are %+v, want the three clusters of the two keys", only.Clusters)
	}
}

// A cause that many clusters share is printed once, with their number.
func TestPlan_clustersDenied_areOneCause(t *testing.T) {
	b := newBench(t)
	b.mayOnlyList()
	o := b.keyturn(t, "plan")
	o.wantCode(t, exitFailed, "plan")
	if n := strings.Count(o.err, "403"); n != 1 {
		t.Errorf("403 is printed %d times, want once: %s", n, o.err)
	}
	wantText(t, "the error", o.err, "could not be read (", " more): ", "check the roles")
}

func TestPlan_detailedExitcode_saysWhatIsDue(t *testing.T) {
	b := newBench(t).swept(t)
	b.succeed(t, "plan", "--detailed-exitcode")
	b.keyturnWith(t.Context(), b.rotate(t, ordersKey)[0], "replay", "-").wantCode(t, exitFine)
	for _, args := range [][]string{{"plan", "--detailed-exitcode"}, {"plan", "--detailed-exitcode", "--mode", "follow"}, {"plan", "orders", "--detailed-exitcode"}} {
		b.keyturn(t, args...).wantCode(t, exitDue, args...)
	}
	b.succeed(t, "plan")
	b.succeed(t, "plan", "payments", "--detailed-exitcode")
	if err := b.DenyKMS(paymentsKey, true); err != nil {
		t.Fatal(err)
	}
	b.keyturn(t, "plan", "--detailed-exitcode").wantCode(t, exitNeedsPerson, "plan")
}

func TestPlan_filters(t *testing.T) {
	b := newBench(t).swept(t)
	b.keyturnWith(t.Context(), b.rotate(t, ordersKey)[0], "replay", "-").wantCode(t, exitFine)
	b.succeed(t, "hold", "payments", "--reason", "freeze")
	shown := func(args ...string) string {
		t.Helper()
		report := decodeJSON[live.PlanReport](t, b.succeed(t, append([]string{"plan", "--mode", "follow", "-o", "json"}, args...)...))
		var all []string
		for _, c := range report.Clusters {
			for _, r := range c.Regions {
				all = append(all, c.Name+" "+r.Region)
			}
		}
		return strings.Join(all, ", ") + " | " + sendsOf(report)
	}
	const sent = "1 orders us-east-1 ()"
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"orders", "--region", "us-east-1"}, "orders us-east-1 | " + sent},
		{[]string{"--cluster", "orders", "--region", "us-west-2"}, "orders us-west-2 | "},
		{[]string{"--key", ordersKey}, "orders us-east-1 | " + sent},
		{[]string{"--key", "0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"}, "checkout us-east-1, payments us-east-1 | "},
		{[]string{"--only", "due"}, "orders us-east-1 | " + sent},
		{[]string{"--only", "held"}, " | " + sent},
		{[]string{"--only", "due,held", "--region", "eu-west-1"}, " | "},
		{[]string{"--label", "env=nowhere"}, " | "},
	} {
		if got := shown(row.args...); got != row.want {
			t.Errorf("plan %s shows %q, want %q", strings.Join(row.args, " "), got, row.want)
		}
	}
	for _, args := range [][]string{{"--only", "bad"}, {"--label", "env"}, {"--label", "=x"}} {
		b.keyturn(t, append([]string{"plan"}, args...)...).wantCode(t, exitUsage, args...)
	}
}

// After a sweep the plan rests on what it read, and says so; --fresh reads again, with rows as they come.
func TestPlan_saysHowOldItsReadsAre(t *testing.T) {
	b := newBench(t).swept(t)
	asked := func() (n int) {
		for _, r := range b.Requests() {
			if strings.HasPrefix(r.Path, "/api/") {
				n++
			}
		}
		return n
	}
	before := asked()
	wantText(t, "the plan", b.succeed(t, "plan"), "as the sweep read them that ended", "--fresh reads them again")
	if n := asked() - before; n != 0 {
		t.Errorf("a plan from the inventory sent %d requests to the Cloud API, want none", n)
	}
	out := b.succeed(t, "plan", "--fresh")
	if strings.Contains(out, "as the sweep") || strings.Count(out, "CLUSTER ") != 1 || strings.Contains(out, "Otherwise") {
		t.Errorf("the fresh plan reads\n%s", out)
	}
}
