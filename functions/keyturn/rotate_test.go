package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	spareKey   = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00a"
	strangeKey = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00b"
	farKey     = "arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00c"
	absentKey  = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f0ff"
)

// policyFor lets keyturn read the key, and these roles use it.
func policyFor(roles ...string) string {
	principals := []string{`"111122223333"`}
	text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":[%s]},"Action":["kms:DescribeKey","kms:Get*","kms:List*","kms:Put*","kms:Enable*","kms:Disable*","kms:UpdateAlias"],"Resource":"*"}`, strings.Join(principals, ","))
	for _, role := range roles {
		text += fmt.Sprintf(`,{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/%s"},"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"],"Resource":"*"}`, role)
	}
	return text + `]}`
}

// movable is the sample company with keys that clusters may be moved to, or not.
func movable(t *testing.T, switches ...string) *bench {
	t.Helper()
	seed := simulator.DefaultSeed()
	for _, k := range []struct{ uri, policy string }{
		{spareKey, policyFor("payments-cmek")}, {strangeKey, policyFor("another-cmek")}, {farKey, policyFor("payments-cmek")},
	} {
		seed.Keys = append(seed.Keys, simulator.KeySeed{URI: cmek.KeyURI(k.uri), AgeDays: 100, Policy: k.policy})
	}
	b := newBenchOf(t, seed, switches...)
	t.Setenv("AWS_ENDPOINT_URL_IAM", b.url)
	b.environ = append(b.environ, "AWS_ENDPOINT_URL_IAM="+b.url)
	return b.swept(t)
}

// written are the requests since then that change anything, and the orders in the ledger.
func (b *bench) written(t *testing.T, since int) (list []string) {
	t.Helper()
	for _, r := range b.Requests()[since:] {
		if r.API == "cloud" && r.Method != http.MethodGet || r.API == "kms" && !strings.HasPrefix(r.Path, "Describe") && !strings.HasPrefix(r.Path, "Get") && !strings.HasPrefix(r.Path, "List") {
			list = append(list, r.Method+" "+r.Path)
		}
	}
	b.ledger(t, func(l *ledger.Ledger) {
		clusters, err := l.Clusters(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range clusters {
			orders, err := l.Orders(t.Context(), c.ID)
			if err != nil || len(orders) > 0 {
				list = append(list, fmt.Sprint(c.Cluster.Name, " was ordered: ", orders, err))
			}
		}
	})
	return list
}

// A region that fails one check keeps everything from being sent: the exit code is 4, the message says what is wrong, and no request that
// changes anything was made.
func TestRotate_refusesBeforeTheFirstRequest(t *testing.T) {
	to := func(key string, args ...string) []string {
		return append([]string{"rotate", "payments", "--to", key, "--no-terraform"}, args...)
	}
	kms := func(operation, key string) func(*testing.T, *bench) {
		return func(t *testing.T, b *bench) { b.kms(t, operation, key) }
	}
	var text strings.Builder
	for _, r := range []struct {
		name  string
		given func(*testing.T, *bench)
		args  []string
	}{
		{"the cluster is busy", func(t *testing.T, b *bench) {
			must(t, b.Lock("7c1d9e20-3a4b-4c5d-8e6f-000000000001", "CRDB_SCALE_RUNNING", time.Hour))
		}, to(spareKey)},
		{"the cluster is revoked", nil, []string{"rotate", "archive", "--to", spareKey, "--no-terraform"}},
		{"the cluster has no such region", nil, to(spareKey, "--region", "eu-west-3")},
		{"the region is on another key than the one named", nil, to(spareKey, "--region", "us-east-1", "--from", strangeKey)},
		{"the new key is named by an alias", nil, to("arn:aws:kms:us-east-1:111122223333:alias/payments")},
		{"the new key is named by its id alone", nil, to("0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00a")},
		{"the new key is of another cloud", nil, to("projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/payments")},
		{"the new key does not exist", nil, to(absentKey)},
		{"the new key is disabled", kms("DisableKey", spareKey), to(spareKey)},
		{"the new key does not admit the role", nil, to(strangeKey)},
		{"the new key is in another Region", nil, to(farKey)},
		{"keyturn may not read the new key", func(t *testing.T, b *bench) { must(t, b.DenyKMS(spareKey, true)) }, to(spareKey)},
		{"the old key is disabled", kms("DisableKey", paymentsKey), to(spareKey)},
		{"the old key no longer admits the role", func(t *testing.T, b *bench) { b.putKeyPolicy(t, paymentsKey, policyFor("another-cmek")) }, to(spareKey)},
		{"an incident is open on the new key", func(t *testing.T, b *bench) {
			b.open(t, ledger.Incident{DedupKey: "key-policy/" + spareKey, Opened: time.Now(), NextLook: time.Now().Add(time.Hour), Alert: alert.Alert{Key: spareKey, Summary: "Key policy changed by mallory"}})
		}, to(spareKey)},
		{"the old key is on hold", func(t *testing.T, b *bench) { b.succeed(t, "hold", paymentsKey, "--reason", "CHG-7") }, to(spareKey)},
		{"Terraform was not answered", nil, []string{"rotate", "payments", "--to", spareKey}},
	} {
		t.Run(r.name, func(t *testing.T) {
			b := movable(t)
			if r.given != nil {
				r.given(t, b)
			}
			since := len(b.Requests())
			o := b.keyturn(t, r.args...)
			o.wantCode(t, exitRefused, r.args...)
			if list := b.written(t, since); len(list) > 0 {
				t.Errorf("refused, and yet written: %q", list)
			}
			_, messages, _ := strings.Cut(o.out, "refused\n")
			fmt.Fprintf(&text, "-- %s --\n%s", r.name, messages)
		})
	}
	golden(t, "rotate-preflight.txt", text.String())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) putKeyPolicy(t *testing.T, key, policy string) {
	t.Helper()
	b.callKMS(t, "PutKeyPolicy", map[string]string{"KeyId": key, "PolicyName": "default", "Policy": policy})
}

// keyOf is the key of the cluster's store key in the region.
func (b *bench) keyOf(cluster, region string) cmek.KeyURI {
	for _, k := range b.StoreKeys() {
		if k.Cluster == cluster && k.Region == region {
			return k.URI
		}
	}
	return ""
}

func TestRotate_movesAClusterOnceAndSaysWhatIsLeft(t *testing.T) {
	b := movable(t)
	args := []string{"rotate", "payments", "--to", spareKey, "--no-terraform", "--reason", "CHG-1", "--by", "ana"}
	since := len(b.Requests())
	dry := b.keyturn(t, append(args, "--dry-run")...)
	dry.wantCode(t, exitFine, "rotate", "--dry-run")
	wantText(t, "what no check tells", dry.err, "Not verified: that account 111122223333 in us-east-1 is watched")
	out := dry.out
	wantText(t, "the dry run", out, "payments", "us-east-1", "ready", "Nothing was written")
	if list := b.written(t, since); len(list) > 0 {
		t.Fatalf("the dry run wrote %q", list)
	}
	out = b.succeed(t, args...) // in observe mode
	wantText(t, "the end", out, "1 of 1 order done.", "The old key "+paymentsKey+" is still needed")
	if strings.Contains(strings.ToLower(out), "delete") {
		t.Errorf("it speaks of deleting:\n%s", out)
	}
	if b.keyOf("payments", "us-east-1") != spareKey || len(b.PUTs()) != 1 {
		t.Errorf("payments is on %s after %d PUTs, want one PUT to the new key", b.keyOf("payments", "us-east-1"), len(b.PUTs()))
	}
	files, _ := filepath.Glob(filepath.Join(b.folder, "archive", "evidence", "*", "*.json"))
	if len(files) != 1 {
		t.Fatalf("evidence files are %q, want one", files)
	}
	evidence, err := os.ReadFile(files[0])
	must(t, err)
	wantText(t, "the evidence", string(evidence), `"kind": "order"`, `"source": "ana"`, paymentsKey, spareKey, "new key in force")
	out = b.succeed(t, args...)
	wantText(t, "the command again", out, "is on this key already")
	if len(b.PUTs()) != 1 {
		t.Errorf("the command again sent %d more PUTs", len(b.PUTs())-1)
	}
}

func TestRotate_movesAllClustersOfAKey(t *testing.T) {
	b := movable(t)
	out := b.succeed(t, "rotate", "--from", paymentsKey, "--to", spareKey, "--no-terraform")
	wantText(t, "the end", out, "2 of 2 orders done.")
	var moved []string
	for _, put := range b.PUTs() {
		moved = append(moved, put.Cluster)
	}
	slices.Sort(moved)
	if strings.Join(moved, " ") != "checkout payments" {
		t.Errorf("PUTs went to %q, want one to each cluster of the key", moved)
	}
}

func TestRotate_readsTheVendorsFile(t *testing.T) {
	spec := `{"region":"us-east-1","key_spec":{"type":"AWS_KMS","uri":"` + spareKey + `","auth_principal":"arn:aws:iam::111122223333:role/payments-cmek"}}`
	for _, r := range []struct {
		name, content string
		code          int
	}{
		{"an object", `{"region_specs":[` + spec + `]}`, exitFine},
		{"a list", `[` + spec + `]`, exitFine},
		{"a region twice", `[` + spec + `,` + spec + `]`, exitUsage},
		{"no region", `[]`, exitUsage},
		{"another document", `{"spec":{"region_specs":[` + spec + `]}}`, exitUsage},
		{"cut", `[` + spec, exitUsage},
		{"a second document", `[` + spec + `] {}`, exitUsage},
	} {
		t.Run(r.name, func(t *testing.T) {
			b := movable(t)
			file := filepath.Join(b.folder, "cmek_config.json")
			must(t, os.WriteFile(file, []byte(r.content), 0o600))
			o := b.keyturn(t, "rotate", "payments", "-f", file, "--no-terraform", "-o", "json", "--dry-run")
			o.wantCode(t, r.code)
			if r.code == exitFine && !strings.Contains(o.out, `"state": "ready"`) {
				t.Errorf("it printed\n%s", o.out)
			}
		})
	}
}

func TestRotate_cancelTakesBackWhatWasNotSent(t *testing.T) {
	b := movable(t)
	b.succeed(t, "pause", "--reason", "freeze")
	o := b.keyturn(t, "rotate", "payments", "--to", spareKey, "--no-terraform")
	o.wantCode(t, exitNeedsPerson)
	wantText(t, "the paused order", o.out, "waits in us-east-1", "paused since")
	wantText(t, "the cancellation", b.succeed(t, "rotate", "payments", "--cancel"), "Canceled: payments in us-east-1")
	wantText(t, "a second one", b.succeed(t, "rotate", "payments", "--cancel"), "No order about payments is open.")
	b.succeed(t, "resume")
	b.succeed(t, "follow", "--mode", "follow")
	if len(b.PUTs()) > 0 {
		t.Errorf("%d PUTs were sent for a canceled order", len(b.PUTs()))
	}
}

func TestRotate_wrongUsage(t *testing.T) {
	b := newBench(t)
	for _, args := range [][]string{
		{}, {"payments"}, {"--to", spareKey}, {"payments", "--to", spareKey, "-f", "x.json"}, {"--from", paymentsKey, "--to", spareKey, "--region", "us-east-1"},
		{"payments", "--to", spareKey, "--terraform", ".", "--no-terraform"}, {"--cancel"}, {"payments", "--cancel", "--to", spareKey}, {"a", "b", "--to", spareKey},
	} {
		b.keyturn(t, append([]string{"rotate"}, args...)...).wantCode(t, exitUsage, args...)
	}
}

// terraform prints a state in which payments is managed, as "terraform show -json" of Terraform 1.11 with the provider 1.22 does.
const terraformShown = `{"format_version":"1.0","terraform_version":"1.11.4","values":{"root_module":{"resources":[
{"address":"data.cockroach_cmek.other","mode":"data","type":"cockroach_cmek","values":{"id":"7c1d9e20-3a4b-4c5d-8e6f-000000000001"}},
{"address":"cockroach_cluster.c","mode":"managed","type":"cockroach_cluster","values":{"id":"7c1d9e20-3a4b-4c5d-8e6f-000000000001"}}],
"child_modules":[{"address":"module.crdb[\"a\"]","resources":[{"address":"module.crdb[\"a\"].cockroach_cmek.this","mode":"managed","type":"cockroach_cmek","values":{"id":"7c1d9e20-3a4b-4c5d-8e6f-000000000001","regions":[]}}]}]}}}`

func TestRotate_printsTheWriteBackOfTerraform(t *testing.T) {
	b := movable(t)
	bin := t.TempDir()
	script := "#!/bin/sh\n[ \"$*\" = '-chdir=../infra show -json' ] || { echo \"unexpected: $*\" >&2; exit 1; }\ncat <<'END'\n" + terraformShown + "\nEND\n"
	must(t, os.WriteFile(filepath.Join(bin, "terraform"), []byte(script), 0o700)) //nolint:gosec // a program must be executable
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	out := b.succeed(t, "rotate", "payments", "--to", spareKey, "--terraform", "../infra")
	const address = `'module.crdb["a"].cockroach_cmek.this'`
	steps := []string{
		"change\n       the key of us-east-1 from " + paymentsKey + " to " + spareKey,
		"terraform -chdir=../infra state rm " + address,
		"terraform -chdir=../infra import " + address + " 7c1d9e20-3a4b-4c5d-8e6f-000000000001",
		"terraform -chdir=../infra plan",
	}
	at := -1
	for _, step := range steps {
		n := strings.Index(out, step)
		if n <= at {
			t.Errorf("%q does not follow the step before:\n%s", step, out)
		}
		at = n
	}
	if strings.Contains(out, "data.cockroach_cmek") {
		t.Errorf("a data source is to be written back:\n%s", out)
	}
	o := b.keyturn(t, "rotate", "checkout", "--to", spareKey, "--terraform", "elsewhere")
	o.wantCode(t, exitFailed)
	wantText(t, "the error", o.err, "unexpected: -chdir=elsewhere")
}

// ledger opens the bench's ledger.
func (b *bench) ledger(t *testing.T, do func(*ledger.Ledger)) {
	t.Helper()
	p := &installation.Program{Terminal: terminal.Terminal{Environ: b.environ}}
	must(t, p.WithLedger(t.Context(), func(_ context.Context, l *ledger.Ledger) error { do(l); return nil }))
}
