package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/live"
	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// kms calls the simulated KMS without a signature, which it does not check.
func (b *bench) kms(t *testing.T, operation, key string) {
	t.Helper()
	b.callKMS(t, operation, map[string]string{"KeyId": key})
}

func TestFollowSendsOnePUTForEachClusterAndKeepsTheEvidence(t *testing.T) {
	b := newBench(t).swept(t)
	b.rotate(t, ordersKey)
	out := b.succeed(t, "follow", "--mode", "follow")
	wantText(t, "the progress", out, "6 clusters read", "orders", "us-east-1", "done", "Nothing is open: 1 piece of work followed through.")
	if puts := b.PUTs(); len(puts) != 1 || puts[0].Cluster != "orders" || len(puts[0].Regions) != 1 {
		t.Errorf("PUTs are %+v, want one for orders in one region", puts)
	}
	for _, key := range b.StoreKeys() {
		if key.Behind {
			t.Errorf("the store key of %s in %s is still behind", key.Cluster, key.Region)
		}
	}
	evidence, _ := filepath.Glob(filepath.Join(b.folder, "archive", "evidence", "*", "*.json"))
	if len(evidence) != 1 {
		t.Errorf("evidence files are %q, want one beside the ledger", evidence)
	}
	if again := b.succeed(t, "follow", "--mode", "follow"); len(b.PUTs()) != 1 {
		t.Errorf("following again sent %d more PUTs, want none:\n%s", len(b.PUTs())-1, again)
	}
}

func TestFollowSaysHowManyPUTsItIsGoingToSendTheFirstTime(t *testing.T) {
	b := newBench(t)
	b.rotate(t, paymentsKey)
	out := b.succeed(t, "follow", "--mode", "follow")
	wantText(t, "the beginning", out, "This installation has sent no PUT yet. It is going to send 2 PUTs, in this order: checkout, payments.")
	if said, sent := strings.Index(out, "is going to send"), strings.Index(out, "requested"); sent >= 0 && sent < said {
		t.Errorf("a PUT left before the announcement:\n%s", out)
	}
	var order []string
	for _, put := range b.PUTs() {
		order = append(order, put.Cluster)
	}
	if strings.Join(order, " ") != "checkout payments" {
		t.Errorf("PUTs went to %q, want those that were announced, in that order", order)
	}
	if again := b.succeed(t, "follow", "--mode", "follow"); strings.Contains(again, "is going to send") {
		t.Errorf("an installation that has sent PUTs announces them again:\n%s", again)
	}
}

func TestFollowWithNothingBehindSaysThatItSendsNone(t *testing.T) {
	wantText(t, "the beginning", newBench(t).succeed(t, "follow", "--mode", "follow"), "It is going to send none now")
}

func TestFollowSpeaksJSONLinesToPrograms(t *testing.T) {
	b := newBench(t).swept(t)
	b.rotate(t, ordersKey)
	lines := strings.Split(strings.TrimSpace(b.succeed(t, "follow", "--mode", "follow", "-o", "json")), "\n")
	last := decodeJSON[progress.Track](t, lines[len(lines)-1])
	if last.Cluster != "orders" || last.Stages[len(last.Stages)-1] != "done" {
		t.Errorf("the last line is %+v, want orders done", last)
	}
}

func TestFollowRefusesToObserve(t *testing.T) {
	b := newBench(t)
	o := b.keyturn(t, "follow")
	o.wantCode(t, exitUsage, "follow")
	wantText(t, "the error", o.err, "KEYTURN_MODE is observe", "--mode follow", "keyturn plan")
	if n := len(b.Requests()); n != 0 {
		t.Errorf("%d requests were sent, want none", n)
	}
}

func TestFollowRefusesALocalLedgerForAServerBeyondLoopback(t *testing.T) {
	b := newBench(t)
	for _, server := range []string{"https://cockroachlabs.cloud", "https://127.0.0.1.example.com", "https://10.0.0.1"} {
		o := b.keyturn(t, "follow", "--mode", "follow", "--server", server)
		o.wantCode(t, exitUsage, "follow", "--server", server)
		wantText(t, "the error", o.err, server, "on this machine only", "another ledger may drive that fleet", "--deployment NAME")
	}
}

func TestFollowWithASharedLedgerWantsItsArchiveAndTopics(t *testing.T) {
	b := newBench(t)
	o := b.keyturn(t, "follow", "--mode", "follow", "--ledger", "dynamodb://keyturn")
	o.wantCode(t, exitUsage, "follow")
	wantText(t, "the error", o.err, "KEYTURN_ARCHIVE", "KEYTURN_ALERTS_TOPIC", "KEYTURN_OPERATIONS_TOPIC")
}

func TestFollowEndsWithExitCode3WhenAPersonIsNeeded(t *testing.T) {
	b := newBench(t, "failed-key-status=ENABLED").swept(t)
	// Somebody else's rotation of the cluster failed.
	if err := b.FailNextRotation("orders", "us-east-1", "access denied by the key policy"); err != nil {
		t.Fatal(err)
	}
	b.put(t, "orders", "arn:aws:iam::111122223333:role/orders-cmek")
	time.Sleep(200 * time.Millisecond)
	b.rotate(t, ordersKey)
	o := b.keyturn(t, "follow", "--mode", "follow")
	o.wantCode(t, exitNeedsPerson, "follow")
	wantText(t, "the end", o.out, "Needs attention:", "orders us-east-1 is blocked", "access denied by the key policy")
	if puts := b.PUTs(); len(puts) != 1 {
		t.Errorf("%d PUTs were sent, want the other one's alone", len(puts))
	}
	status := b.keyturn(t, "status")
	status.wantCode(t, exitNeedsPerson, "status")
	wantText(t, "the status", status.out, "blocked")
	b.keyturn(t, "plan", "--mode", "follow").wantCode(t, exitNeedsPerson, "plan")
	wantText(t, "the retry", b.succeed(t, "retry", "orders"), "tries orders again in us-east-1")
}

// put re-encrypts a cluster as somebody else would, with its current keys.
func (b *bench) put(t *testing.T, cluster string, role cmek.Principal) {
	t.Helper()
	var specs []cmek.RegionSpec
	var id string
	for _, key := range b.StoreKeys() {
		if key.Cluster == cluster {
			id = key.ClusterID
			specs = append(specs, cmek.RegionSpec{Region: key.Region, KeySpec: cmek.KeySpec{
				Type: cmek.AWSKMS, URI: key.URI, AuthPrincipal: role}})
		}
	}
	body, _ := json.Marshal(map[string]any{"region_specs": specs})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.url+"/api/v1/clusters/"+id+"/cmek", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+simulator.SampleAPIKey)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("PUT answered %s", response.Status)
	}
}

func TestFollowEndsWhenItIsPausedAndGoesOnAfterResume(t *testing.T) {
	b := newBench(t).swept(t)
	b.succeed(t, "pause")
	b.rotate(t, ordersKey)
	o := b.keyturn(t, "follow", "--mode", "follow")
	o.wantCode(t, exitNeedsPerson, "follow")
	wantText(t, "the end", o.out, "following is paused", "keyturn resume")
	if puts := b.PUTs(); len(puts) != 0 {
		t.Errorf("%d PUTs were sent in the pause, want none", len(puts))
	}
	wantText(t, "the resumption", b.succeed(t, "resume"), "Resumed")
	wantText(t, "a second resumption", b.succeed(t, "resume"), "was not paused")
}

func TestFollowFailsWhenTheFleetCannotBeRead(t *testing.T) {
	b := newBench(t)
	b.mayOnlyList()
	o := b.keyturn(t, "follow", "--mode", "follow")
	o.wantCode(t, exitFailed, "follow")
	wantText(t, "the error", o.err, "the sweep could not read the whole fleet", "403", "check the roles")
}

func TestCtrlCDuringFollowLeavesTheLedgerReadyForTheNextOne(t *testing.T) {
	b := newBench(t, "rotation-duration=1h").swept(t)
	b.rotate(t, ordersKey)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan outcome)
	go func() { ended <- b.keyturnWith(ctx, "", "follow", "--mode", "follow") }()
	for deadline := time.Now().Add(20 * time.Second); len(b.PUTs()) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no PUT was sent within 20 s")
		}
	}
	interrupt() // the PUT was just received
	o := <-ended
	o.wantCode(t, exitFailed, "follow")
	wantText(t, "standard output", o.out, "Stopping after the step that is under way")
	wantText(t, "standard error", o.err, "interrupted; 1 piece of work open in the ledger")

	s := decodeJSON[live.Status](t, b.succeed(t, "status", "orders", "-o", "json"))
	if s.Worker != "" {
		t.Errorf("the lease is still held by %q", s.Worker)
	}
	for _, r := range s.Clusters[0].Regions {
		if r.Region == "us-east-1" && (r.Work == nil || r.Work.Request == nil || r.Work.Request.Answer == nil || r.Work.Request.Answer.Outcome != cmek.Accepted) {
			t.Errorf("the open work is %+v; want a request with the answer that it was accepted", r.Work)
		}
	}
}
