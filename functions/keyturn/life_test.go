package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

const unverified = "the simulator has no IAM"

// typing runs the command line for a person at a terminal who types the input.
func (b *bench) typing(t *testing.T, input string, args ...string) outcome {
	t.Helper()
	var out, errs buffer
	p := &program{Program: installation.Program{
		Terminal: terminal.Terminal{In: strings.NewReader(input), Out: &out, Err: &errs, Environ: append([]string(nil), b.environ...), Interactive: true}, Dir: b.dir,
	}}
	return outcome{p.run(t.Context(), args), out.String(), errs.String()}
}

// file writes a file for a command.
func (b *bench) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(b.folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// writes are the requests that reached the Cloud API to change something.
func (b *bench) writes() (found []string) {
	for _, r := range b.Requests() {
		if r.API == "cloud" && r.Method != http.MethodGet {
			found = append(found, fmt.Sprintf("%s %s %d", r.Method, strings.TrimPrefix(r.Path, "/api/v1/clusters/"), r.Status))
		}
	}
	return found
}

const enableAnalytics = `{"region_specs": [{"region": "us-east-1", "key_spec": {"type": "AWS_KMS", "uri": "` + paymentsKey + `",
	"auth_principal": "arn:aws:iam::111122223333:role/payments-cmek"}}]}`

func TestCMEK_printsTheAPIsOwnAnswer(t *testing.T) {
	b := newBench(t)
	wantText(t, "the table", b.succeed(t, "cmek", "orders"), "CMEK ENABLED", "us-east-1", "us-west-2", "eu-west-1", "0a5d1c2e…f002")
	before := len(b.Requests())
	out := b.succeed(t, "cmek", "7c1d9e20-3a4b-4c5d-8e6f-000000000003", "-o", "json")
	if n := len(b.Requests()) - before; n != 1 || !strings.HasPrefix(out, `{"status":"ENABLED","region_infos":[`) || !json.Valid([]byte(out)) {
		t.Errorf("%d requests, and the answer is\n%s", n, out)
	}
	b.keyturn(t, "cmek", "nobody").wantCode(t, exitFailed, "cmek", "nobody")
	if err := b.Set(simulator.CMEKAbsent, "404"); err != nil {
		t.Fatal(err)
	}
	o := b.keyturn(t, "cmek", "analytics")
	o.wantCode(t, exitNeedsPerson, "cmek", "analytics")
	wantText(t, "the error", o.err, "shows no CMEK of analytics")
}

func TestEnable_fromTheCommandLine(t *testing.T) {
	b := newBench(t)
	file := b.file(t, "cmek_config.json", enableAnalytics)

	o := b.keyturn(t, "enable", "analytics", "-f", file)
	o.wantCode(t, exitRefused, "enable")
	wantText(t, "the refusal", o.err, "refused, and nothing was sent to cluster analytics", "whether Cockroach Labs may act as", "--access-unverified REASON")

	wantText(t, "the dry run", b.succeed(t, "enable", "analytics", "-f", file, "--dry-run", "--access-unverified", unverified), "Nothing stands against it", paymentsKey)
	if w := b.writes(); len(w) > 0 {
		t.Fatalf("refused and dry runs sent %q", w)
	}
	out := b.succeed(t, "enable", "analytics", "-f", file, "--access-unverified", unverified)
	wantText(t, "the progress", out, "sending", "accepted", "Done: enable of cluster analytics")
	evidence, _ := filepath.Glob(filepath.Join(b.folder, "archive", "evidence", "*", "*-enable.json"))
	if w := b.writes(); len(w) != 1 || len(evidence) != 1 {
		t.Errorf("sent %q, evidence %q, want one each", w, evidence)
	}
	result := decodeJSON[lifecycle.Result](t, b.succeed(t, "enable", "analytics", "-f", file, "--access-unverified", unverified, "-o", "json"))
	if !result.Already || len(b.writes()) != 1 {
		t.Errorf("run again: %+v, sent %q", result, b.writes())
	}
	wantText(t, "the standard input", b.keyturnWith(t.Context(), `[]`, "enable", "analytics", "-f", "-").err, "there are none")
}

// Whatever is asked of a cluster that must not be changed, the exit code is 4 and no write is in the request log.
func TestRefusedChanges_sendNothing(t *testing.T) {
	b := newBench(t)
	wrong := func(from, to string) string {
		return b.file(t, "wrong.json", strings.Replace(enableAnalytics, from, to, 1))
	}
	waived := "--access-unverified=" + unverified
	b.succeed(t, "add-region", "payments", "--region", "us-west-2=3", "--key", paymentsKey, "--principal", "arn:aws:iam::111122223333:role/payments-cmek", waived,
		"--cross-region-key", "--dry-run")
	for _, tt := range []struct {
		says string
		args func() []string
	}{
		{"none of that name", func() []string { return []string{"enable", "nobody", "-f", wrong("", ""), waived} }},
		{"has a CMEK already", func() []string { return []string{"enable", "payments", "-f", wrong("f001", "f002"), waived} }},
		{"REVOKED", func() []string {
			return []string{"enable", "archive", "-f", wrong("us-east-1\", \"key_spec", "eu-central-1\", \"key_spec"), waived}
		}},
		{"does not exist", func() []string { return []string{"enable", "analytics", "-f", wrong("b7f001", "b7f00f"), waived} }},
		{"has no region \"us-west-9\"", func() []string {
			return []string{"enable", "analytics", "-f", wrong(`"region": "us-east-1"`, `"region": "us-west-9"`), waived}
		}},
		{"takes keys of the type AWS_KMS", func() []string {
			return []string{"enable", "analytics", "-f", wrong("AWS_KMS", "GCP_CLOUD_KMS"), waived}
		}},
		{"has the region us-east-1 already", func() []string {
			return []string{"add-region", "payments", "--region", "us-east-1=5", "--key", paymentsKey, "--principal", "arn:aws:iam::111122223333:role/payments-cmek", waived}
		}},
		{"has no CMEK", func() []string {
			return []string{"add-region", "analytics", "--region", "us-west-2=3", "--key", paymentsKey, "--principal", "arn:aws:iam::111122223333:role/payments-cmek", waived}
		}},
		{"Or take it: --cross-region-key\n", func() []string {
			return []string{"add-region", "payments", "--region", "us-west-2=3", "--key", paymentsKey, "--principal", "arn:aws:iam::111122223333:role/payments-cmek", waived}
		}},
		{"is in us-west-2 and the cluster's region is us-east-1", func() []string {
			return []string{"enable", "analytics", "-f", wrong("us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001", "us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f003"), waived}
		}},
		{"used by other clusters", func() []string {
			return []string{"revoke", "payments", "--reason", "test", "--out", filepath.Join(b.folder, "no.json"), waived}
		}},
	} {
		args := tt.args()
		if strings.Contains(strings.Join(args, " "), "revoke payments") {
			b.swept(t) // so that the other clusters are known
		}
		o := b.keyturn(t, args...)
		o.wantCode(t, exitRefused, args...)
		wantText(t, "the refusal of "+strings.Join(args, " "), o.err, "nothing was sent", tt.says)
	}
	if w := b.writes(); len(w) > 0 {
		t.Errorf("sent %q, want nothing", w)
	}
	if _, err := os.Stat(filepath.Join(b.folder, "no.json")); err == nil {
		t.Error("a refused revocation has a plan")
	}
}

func TestAddRegion_takesThePagesFileAsAdditions(t *testing.T) {
	b := newBench(t)
	// The page's own body: a client that sends it as it is removes us-east-1.
	file := b.file(t, "add.json", `{"dedicated": {"region_nodes": {"us-west-2": 3}, "cmek_region_specs": [{"region": "us-west-2", "key_spec": {"type": "AWS_KMS",
		"uri": "arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f003", "auth_principal": "arn:aws:iam::111122223333:role/orders-cmek"}}],
		"hardware": {"machine_type": "n2-standard-8"}}}`)
	b.succeed(t, "add-region", "payments", "-f", file, "--access-unverified", unverified, "--dry-run", "-o", "json")
	b.succeed(t, "add-region", "payments", "-f", file, "--access-unverified", unverified)
	wantText(t, "the CMEK", b.succeed(t, "cmek", "payments"), "us-east-1", "us-west-2")
	resized := b.file(t, "resized.json", `{"dedicated": {"region_nodes": {"us-east-1": 9, "us-west-2": 3}, "cmek_region_specs": []}}`)
	o := b.keyturn(t, "add-region", "payments", "-f", resized)
	o.wantCode(t, exitUsage, "add-region")
	wantText(t, "the error", o.err, "resizes nothing")
	for _, args := range [][]string{{"--region", "us-west-2"}, {"--region", "us-west-2=0", "--key", "k", "--principal", "p"}, {"--region", "a=1", "--region", "b=1", "--region", "c=1", "--key", "k", "--key", "l", "--principal", "p"}, {}, {"-f", file, "--key", "k"}} {
		b.keyturn(t, append([]string{"add-region", "payments"}, args...)...).wantCode(t, exitUsage, args...)
	}
	if w := b.writes(); len(w) != 1 {
		t.Errorf("sent %q, want one PATCH", w)
	}
}

// No single mistake revokes: each of these leaves the cluster as it is.
func TestRevoke_needsAPlanATerminalAndTheName(t *testing.T) {
	b := newBench(t)
	b.kms(t, "DisableKey", paymentsKey)
	plan := filepath.Join(b.folder, "plan.json")
	b.keyturn(t, "revoke", "payments", "--out", plan).wantCode(t, exitUsage, "revoke")
	b.keyturn(t, "revoke", "payments", "--reason", "test").wantCode(t, exitUsage, "revoke")
	// A ledger without a sweep does not know who else uses the key.
	o := b.keyturn(t, "revoke", "payments", "--reason", "key compromised", "--dry-run")
	o.wantCode(t, exitRefused, "revoke without a sweep")
	wantText(t, "the refusal", o.err, "whether other clusters use its keys is not known", "--shared-key REASON")
	const shared = "--shared-key=checkout moves too"
	b.succeed(t, "revoke", "payments", "--reason", "key compromised", shared, "--dry-run")
	b.succeed(t, "revoke", "payments", "--reason", "key compromised", shared, "--dry-run", "-o", "json")
	if _, err := os.Stat(plan); err == nil {
		t.Fatal("a dry run wrote a plan")
	}
	out := b.succeed(t, "revoke", "payments", "--reason", "key compromised", shared, "--out", plan)
	wantText(t, "the plan", out, "3 nodes run until they restart", "backups: the newest", "Nothing was sent")
	wantText(t, "the holds", b.succeed(t, "hold"), "f001", "key compromised")

	data, err := os.ReadFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	changed := b.file(t, "changed.json", strings.Replace(string(data), `"payments"`, `"orders"`, 1))
	for name, o := range map[string]outcome{
		"without a terminal":   b.keyturn(t, "apply", plan),
		"asking for JSON":      b.keyturn(t, "apply", plan, "-o", "json"),
		"with --yes":           b.typing(t, "payments\n", "apply", plan, "--yes"),
		"a wrong name":         b.typing(t, "Payments\n", "apply", plan),
		"an empty line":        b.typing(t, "\n", "apply", plan),
		"without Enter":        b.typing(t, "payments", "apply", plan),
		"a blank before":       b.typing(t, " payments\n", "apply", plan),
		"a blank after":        b.typing(t, "payments \n", "apply", plan),
		"the cluster's id":     b.typing(t, "7c1d9e20-3a4b-4c5d-8e6f-000000000001\n", "apply", plan),
		"at another Cloud API": b.typing(t, "payments\n", "apply", plan, "--server", strings.Replace(b.url, "127.0.0.1", "localhost", 1)),
	} {
		if o.code != exitRefused {
			t.Errorf("%s: exit code %d, want 4\n%s%s", name, o.code, o.out, o.err)
		}
	}
	b.typing(t, "orders\n", "apply", changed).wantCode(t, exitUsage, "apply")
	b.typing(t, "payments\n", "apply", filepath.Join(b.folder, "missing.json")).wantCode(t, exitUsage, "apply")

	if err := b.PUTCMEK("org-admin", "orders"); err != nil { // of another cluster: no fact of the plan
		t.Fatal(err)
	}
	b.kms(t, "EnableKey", paymentsKey)
	o = b.typing(t, "payments\n", "apply", plan)
	o.wantCode(t, exitRefused, "apply")
	wantText(t, "the refusal of a stale plan", o.err, "a key changed")
	for _, w := range b.writes() {
		if strings.HasPrefix(w, "PATCH") {
			t.Errorf("sent %s", w)
		}
	}

	b.kms(t, "DisableKey", paymentsKey)
	b.succeed(t, "revoke", "payments", "--reason", "key compromised", shared, "--out", plan)
	o = b.typing(t, "payments\n", "apply", plan)
	o.wantCode(t, exitFine, "apply")
	wantText(t, "the end", o.out, "Done: revoke of cluster payments")
	b.typing(t, "payments\n", "apply", plan).wantCode(t, exitRefused, "apply again")
	patches := 0
	for _, w := range b.writes() {
		if strings.HasPrefix(w, "PATCH") {
			patches++
		}
	}
	if patches != 1 {
		t.Errorf("%d PATCHes were sent, want one: %q", patches, b.writes())
	}

	ticket := filepath.Join(b.folder, "ticket.txt")
	o = b.keyturn(t, "restore", "payments", "--dry-run", "--ticket", ticket)
	o.wantCode(t, exitNeedsPerson, "restore")
	wantText(t, "what is missing", o.out, "the key is disabled", "aws kms enable-key --region us-east-1", "On hold")
	if _, err := os.Stat(ticket); err == nil {
		t.Error("a dry run wrote a ticket")
	}
	b.kms(t, "EnableKey", paymentsKey)
	go func() {
		time.Sleep(time.Second)
		_ = b.Restore("payments")
	}()
	o = b.keyturn(t, "restore", "payments", "--ticket", ticket)
	o.wantCode(t, exitFine, "restore")
	wantText(t, "the end", o.out, "reads ENABLED, and every node is live", "Still on hold", "keyturn release")
	if text, err := os.ReadFile(ticket); err != nil || !strings.Contains(string(text), "Timeline") {
		t.Errorf("the ticket is %q, %v", text, err)
	}
}

// Ctrl-C where the name is asked for ends the command at once, and nothing is sent.
func TestApply_endsWithCtrlCAtThePrompt(t *testing.T) {
	b := newBench(t)
	b.kms(t, "DisableKey", paymentsKey)
	plan := filepath.Join(b.folder, "plan.json")
	b.succeed(t, "revoke", "payments", "--reason", "test", "--shared-key", "checkout moves too", "--out", plan)
	ctx, interrupt := context.WithCancel(t.Context())
	typing, hand := io.Pipe() // nothing is typed
	defer func() { _ = hand.Close() }()
	var out, errs buffer
	p := &program{Program: installation.Program{Terminal: terminal.Terminal{In: typing, Out: &out, Err: &errs, Environ: b.environ, Interactive: true}, Dir: b.dir}}
	ended := make(chan int, 1)
	go func() { ended <- p.run(ctx, []string{"apply", plan}) }()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(errs.String(), "Type the name"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no name is asked for:\n%s", errs.String())
		}
	}
	interrupt()
	select {
	case code := <-ended:
		if code != exitRefused || !strings.Contains(errs.String(), "nothing was sent") || len(b.writes()) > 0 {
			t.Errorf("exit code %d, sent %q\n%s", code, b.writes(), errs.String())
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}

func TestRestore_ofAClusterWithoutCMEK(t *testing.T) {
	b := newBench(t)
	for _, absent := range []string{"disabled", "404", "empty"} {
		must(t, b.Set(simulator.CMEKAbsent, absent))
		o := b.keyturn(t, "restore", "analytics")
		o.wantCode(t, exitRefused, "restore")
		wantText(t, "the refusal", o.err, "shows no key")
		if strings.Contains(o.out, "Please restore") {
			t.Errorf("it writes a ticket:\n%s", o.out)
		}
	}
	out := b.succeed(t, "restore", "orders", "--dry-run")
	if strings.Contains(out, "Please restore") {
		t.Errorf("a cluster that is not revoked has a ticket:\n%s", out)
	}
}

func TestStatus_showsARequestThatIsOpen(t *testing.T) {
	b := newBench(t).swept(t)
	p := &installation.Program{Terminal: terminal.Terminal{Environ: b.environ}}
	err := p.WithLedger(t.Context(), func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.UpdateCluster(ctx, "7c1d9e20-3a4b-4c5d-8e6f-000000000003", func(c *ledger.Cluster) error {
			c.Operation = &ledger.Operation{Kind: ledger.OperationAddRegion, By: "ana\x1b[2J", Sent: time.Now().Add(-3 * time.Minute), Baseline: &ledger.OperationBaseline{}}
			return nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"status"}, {"status", "orders"}} {
		out := b.keyturn(t, args...).out
		wantText(t, "the status", out, "A request is open at cluster orders: add-region, by ana [2J, sent 3m ago; the same command again watches it\n")
	}
	for outcome, line := range map[cmek.Outcome]string{
		cmek.Refused:  "A request was refused at cluster orders: add-region, by ana [2J, sent 3m ago; the same command again begins anew\n",
		cmek.Accepted: "A request is open at cluster orders: add-region, by ana [2J, sent 3m ago; the same command again watches it\n",
		cmek.Unknown:  "A request is open at cluster orders: add-region, by ana [2J, sent 3m ago; the same command again watches it\n",
	} {
		b.change(t, "7c1d9e20-3a4b-4c5d-8e6f-000000000003", func(c *ledger.Cluster) { c.Operation.Answer = &cmek.Answer{Outcome: outcome} })
		wantText(t, "the status after the answer "+string(outcome), b.keyturn(t, "status", "orders").out, line)
	}
	if out := b.keyturn(t, "status", "-o", "json").out; !strings.Contains(out, `"kind": "add-region"`) || strings.Contains(out, "baseline") {
		t.Errorf("the JSON is\n%s", out)
	}
}

func TestEnable_onGoogleCloudFromTheCommandLine(t *testing.T) {
	seed := simulator.DefaultSeed()
	const key, account = "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay", "cmek@acme.iam.gserviceaccount.com"
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: key, AgeDays: 300})
	seed.Google.Projects = []simulator.GoogleProjectSeed{{ID: "acme", Number: "123456789012"}}
	for i, id := range []string{"7c1d9e20-3a4b-4c5d-8e6f-000000000902", "7c1d9e20-3a4b-4c5d-8e60-000000000902"} {
		region := simulator.RegionSeed{Name: "us-east1"}
		if i == 1 { // it admits Cockroach Labs' account, which both have by the end of their ids
			region.Key, region.AuthPrincipal = key, account
		}
		seed.Clusters = append(seed.Clusters, simulator.ClusterSeed{ID: id, Name: fmt.Sprintf("on-google-%d", i), CloudProvider: "GCP", AccountID: "crl-prod-abc", AgeDays: 300,
			Regions: []simulator.RegionSeed{region}})
	}
	b := newBenchOf(t, seed)
	file := b.file(t, "cmek_config.json", `[{"region":"us-east1","key_spec":{"type":"GCP_CLOUD_KMS","uri":"`+key+`","auth_principal":"`+account+`"}}]`)
	o := b.keyturn(t, "enable", "on-google-0", "-f", file)
	o.wantCode(t, exitRefused, "enable")
	wantText(t, "the refusal without Google's APIs", o.err, "no access to keys of the type GCP_CLOUD_KMS")
	b.environ = append(b.environ, "KEYTURN_GOOGLE_ENDPOINT="+b.url)
	wantText(t, "the end", b.succeed(t, "enable", "on-google-0", "-f", file), "Done: enable of cluster on-google-0")
}
