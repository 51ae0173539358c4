package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/demo"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/live"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/infra/aws/deployment"
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
		{spareKey, policyFor("payments-cmek", "orders-cmek")}, {strangeKey, policyFor("another-cmek")}, {farKey, policyFor("payments-cmek")},
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
		if r.API == "cloud" && r.Method != http.MethodGet || r.API == "google" && r.Method != http.MethodGet && !strings.HasSuffix(r.Path, ":getIamPolicy") && !strings.HasSuffix(r.Path, ":getAncestry") || r.API == "kms" && !strings.HasPrefix(r.Path, "Describe") && !strings.HasPrefix(r.Path, "Get") && !strings.HasPrefix(r.Path, "List") {
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
	rows := refusedBeforeTheFirstRequest(t, "rotate-preflight.txt", func(t *testing.T) *bench { return movable(t) }, []refusedRotation{
		{"the cluster is busy", func(t *testing.T, b *bench) {
			must(t, b.Lock("7c1d9e20-3a4b-4c5d-8e6f-000000000001", "CRDB_SCALE_RUNNING", time.Hour))
		}, to(spareKey)},
		{"the cluster is revoked", nil, []string{"rotate", "archive", "--to", spareKey, "--no-terraform"}},
		{"the cluster has no such region", nil, to(spareKey, "--region", "eu-west-3")},
		{"the region is on another key than the one named", nil, to(spareKey, "--region", "us-east-1", "--from", strangeKey)},
		{"the new key is named by an alias", nil, to("arn:aws:kms:us-east-1:111122223333:alias/payments")},
		{"the new key is named by its id alone", nil, to("0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00a")},
		{"the new key is of another cloud", nil, to("projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/payments")},
		{"the new key is Azure's", nil, to("https://vault.vault.azure.net/keys/cmek/0123456789abcdef0123456789abcdef")},
		{"the new key does not exist", nil, to(absentKey)},
		{"the new key is disabled", kms("DisableKey", spareKey), to(spareKey)},
		{"the new key does not admit the role", nil, to(strangeKey)},
		{"the new key is in another Region", nil, to(farKey)},
		{"keyturn may not read the new key", func(t *testing.T, b *bench) { must(t, b.DenyKMS(spareKey, true)) }, to(spareKey)},
		{"the old key is disabled", kms("DisableKey", paymentsKey), to(spareKey)},
		{"the old key no longer admits the role", func(t *testing.T, b *bench) { b.putKeyPolicy(t, paymentsKey, policyFor("another-cmek")) }, to(spareKey)},
		{"keyturn may not read the old key", func(t *testing.T, b *bench) { must(t, b.DenyKMS(paymentsKey, true)) }, to(spareKey)},
		{"nobody reads the role's policies", func(t *testing.T, b *bench) {
			t.Setenv("AWS_ENDPOINT_URL_IAM", "")
			b.environ = append(b.environ, "AWS_ENDPOINT_URL_IAM=")
		}, to(spareKey)},
		{"an incident is open on the old key", func(t *testing.T, b *bench) {
			b.open(t, ledger.Incident{DedupKey: "key-policy/" + paymentsKey, Opened: time.Now(), NextLook: time.Now().Add(time.Hour), Alert: alert.Alert{Key: paymentsKey, Summary: "Key policy changed by mallory"}})
		}, to(spareKey)},
		{"an incident is open on the new key", func(t *testing.T, b *bench) {
			b.open(t, ledger.Incident{DedupKey: "key-policy/" + spareKey, Opened: time.Now(), NextLook: time.Now().Add(time.Hour), Alert: alert.Alert{Key: spareKey, Summary: "Key policy changed by mallory"}})
		}, to(spareKey)},
		{"the old key is on hold", func(t *testing.T, b *bench) { b.succeed(t, "hold", paymentsKey, "--reason", "CHG-7") }, to(spareKey)},
		{"the new key's account is not watched", func(t *testing.T, b *bench) {
			b.deployed(t, func(p *deployment.Published) {
				p.Watched = []deployment.WatchedPlaces{{Accounts: []string{"444455556666"}, Regions: []string{"us-east-1"}}}
			})
		}, to(spareKey)},
		{"the new key's Region is not watched", func(t *testing.T, b *bench) {
			b.deployed(t, func(p *deployment.Published) {
				p.Watched = []deployment.WatchedPlaces{{Accounts: []string{"111122223333"}, Regions: []string{"us-west-2"}}}
			})
		}, to(spareKey)},
		{"the cluster is labeled keyturn=off", func(t *testing.T, b *bench) { b.patch(t, paymentsID, `{"labels":{"keyturn":"off"}}`) }, to(spareKey)},
		{"the CMEK rotates", func(t *testing.T, b *bench) {
			must(t, b.Set("rotation-duration", "1h"))
			b.put(t, "payments", "arn:aws:iam::111122223333:role/payments-cmek")
		}, to(spareKey)},
		{"two regions, and one is refused", func(t *testing.T, b *bench) { b.kms(t, "DisableKey", ordersKey) }, []string{"rotate", "orders", "--to", spareKey, "--no-terraform", "--cross-region-key"}},
		{"Terraform was not answered", nil, []string{"rotate", "payments", "--to", spareKey}},
	})
	for _, row := range []string{"cluster", "current", "hold", "uri", "location", "new key", "new access", "new incident", "old key", "old access", "old incident", "watched", "terraform"} {
		if !rows[row] {
			t.Errorf("no case is refused by the row %q", row)
		}
	}
}

// deployed lets commands find a deployment that publishes that, and keeps the bench's own ledger.
func (b *bench) deployed(t *testing.T, change func(*deployment.Published)) {
	t.Helper()
	p := published()
	p.Server, p.Mode = b.url, deployment.Observe
	change(&p)
	newStore(t).values["us-east-1 /keyturn/prod"] = p.JSON()
	t.Setenv("AWS_REGION", "us-east-1")
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // as whatever role, the caller stays who they are
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey>`+
			`<SessionToken>sample</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`, demo.SampleAccessKeyID, demo.SampleSecretAccessKey)
	}))
	t.Cleanup(sts.Close)
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	b.environ = append(b.environ, "KEYTURN_DEPLOYMENT=prod", "KEYTURN_ARCHIVE=file:"+filepath.Join(b.folder, "archive"))
}

// Only a deployment that publishes the new key's account and Region lets the row pass; one that publishes nothing is not taken for it.
func TestRotate_asksTheDeploymentWhetherTheNewKeyIsWatched(t *testing.T) {
	watching := func(account string, regions ...string) func(*deployment.Published) {
		return func(p *deployment.Published) {
			p.Watched = []deployment.WatchedPlaces{{Accounts: []string{account}, Regions: regions}}
		}
	}
	for _, r := range []struct {
		name    string
		publish func(*deployment.Published)
		code    int
		out     string
		err     string
	}{
		{"its account and Region", watching("111122223333", "us-east-1", "us-west-2"), exitFine, "ready", ""},
		{"nothing is published", func(p *deployment.Published) { p.Watched = nil }, exitFine, "ready", "the deployment does not publish what it watches"},
	} {
		t.Run(r.name, func(t *testing.T) {
			b := movable(t)
			b.deployed(t, r.publish)
			o := b.keyturn(t, "rotate", "payments", "--to", spareKey, "--no-terraform", "--dry-run")
			o.wantCode(t, r.code)
			wantText(t, "the orders", o.out, r.out)
			if !strings.Contains(o.err, r.err) || strings.Contains(o.err, "Not verified") != (r.err != "") {
				t.Errorf("it says %q, want %q", o.err, r.err)
			}
		})
	}
}

// refusedRotation is what is given, and a command that must not be carried out then.
type refusedRotation struct {
	name  string
	given func(*testing.T, *bench)
	args  []string
}

func refusedBeforeTheFirstRequest(t *testing.T, file string, movable func(*testing.T) *bench, rotations []refusedRotation) (rows map[string]bool) {
	t.Helper()
	rows = map[string]bool{}
	var text strings.Builder
	for _, r := range rotations {
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
			report := decodeJSON[live.RotateReport](t, b.keyturn(t, append(r.args, "-o", "json")...).out)
			for _, order := range report.Orders {
				for _, p := range order.Problems {
					rows[p.Row] = true
				}
			}
			fmt.Fprintf(&text, "-- %s --\n", r.name)
			for line := range strings.Lines(o.out) {
				if strings.Contains(line, ": ") { // the table before has none
					text.WriteString(line)
				}
			}
		})
	}
	golden(t, file, text.String())
	return rows
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patch changes a cluster at the Cloud API, as its owner does.
func (b *bench) patch(t *testing.T, clusterID, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, b.url+"/api/v1/clusters/"+clusterID, strings.NewReader(body))
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+simulator.SampleAPIKey)
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("PATCH of cluster %s answered %s", clusterID, response.Status)
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
	wantText(t, "the dry run to the key that the region is on", b.succeed(t, "rotate", "payments", "--to", paymentsKey, "--no-terraform", "--dry-run"), "There is nothing to do")
	wantText(t, "what no check tells", dry.err, "Not verified: whether changes of keys of 111122223333 in us-east-1 are reported", "no deployment is named")
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
		{"an object within spec, as enable takes it", `{"spec":{"region_specs":[` + spec + `]}}`, exitFine},
		{"another document", `{"clusters":[]}`, exitUsage},
		{"a misspelled principal", `[` + strings.Replace(spec, "auth_principal", "auth_principle", 1) + `]`, exitUsage},
		{"a key twice", `[` + strings.Replace(spec, `"uri"`, `"uri":"x","uri"`, 1) + `]`, exitUsage},
		{"cut", `[` + spec, exitUsage},
		{"a second document", `[` + spec + `] {}`, exitUsage},
	} {
		t.Run(r.name, func(t *testing.T) {
			b := movable(t)
			file := filepath.Join(b.folder, "cmek_config.json")
			must(t, os.WriteFile(file, []byte(r.content), 0o600))
			o := b.keyturn(t, "rotate", "payments", "-f", file, "--no-terraform", "-o", "json", "--dry-run")
			o.wantCode(t, r.code)
			if r.code == exitFine && !strings.Contains(o.out, `"state":"ready"`) {
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

// The last line of the JSON says of each region what became of it, also when the command is repeated, and when an order waits.
func TestRotate_endsItsJSONWithWhatBecameOfEachRegion(t *testing.T) {
	b := movable(t)
	end := func(code int, args ...string) live.RotateReport {
		t.Helper()
		o := b.keyturn(t, append([]string{"rotate", "--no-terraform", "-o", "json"}, args...)...)
		o.wantCode(t, code, args...)
		lines := strings.Split(strings.TrimSpace(o.out), "\n")
		return decodeJSON[live.RotateReport](t, lines[len(lines)-1])
	}
	states := func(r live.RotateReport) (list []string) {
		for _, o := range r.Orders {
			list = append(list, o.Cluster+" "+o.Region+" "+o.State)
		}
		slices.Sort(list)
		return list
	}
	fleet := []string{"--from", paymentsKey, "--to", spareKey}
	if got := states(end(exitFine, append(fleet, "--dry-run")...)); !slices.Equal(got, []string{"checkout us-east-1 ready", "payments us-east-1 ready"}) {
		t.Errorf("the dry run ends with %q", got)
	}
	b.succeed(t, "pause", "--reason", "freeze")
	r := end(exitNeedsPerson, "payments", "--to", spareKey)
	if got := states(r); !slices.Equal(got, []string{"payments us-east-1 ordered"}) || !strings.Contains(r.Orders[0].Why, "paused since") || len(r.OldKeys) > 0 {
		t.Errorf("the paused order ends with %q: %+v", got, r)
	}
	b.succeed(t, "resume")
	done := []string{"checkout us-east-1 done", "payments us-east-1 done"}
	r = end(exitFine, fleet...)
	if got := states(r); !slices.Equal(got, done) || len(r.OldKeys) != 1 || r.OldKeys[0].Key != paymentsKey || !r.OldKeys[0].NeededUntil.After(time.Now()) || len(r.NotVerified) != 1 {
		t.Errorf("the rotation ends with %q: %+v", got, r)
	}
	if got := states(end(exitFine, "payments", "--to", spareKey)); !slices.Equal(got, done[1:]) || len(b.PUTs()) != 2 {
		t.Errorf("repeated, it ends with %q after %d PUTs", got, len(b.PUTs()))
	}
	if got := states(end(exitRefused, "payments", "--to", strangeKey)); !slices.Equal(got, []string{"payments us-east-1 refused"}) {
		t.Errorf("the refused one ends with %q", got)
	}
}

func TestRotate_wrongUsage(t *testing.T) {
	b := newBench(t)
	for _, args := range [][]string{
		{}, {"payments"}, {"--to", spareKey}, {"payments", "--to", spareKey, "-f", "x.json"}, {"--from", paymentsKey, "--to", spareKey, "--region", "us-east-1"},
		{"payments", "--to", spareKey, "--terraform", ".", "--no-terraform"}, {"--cancel"}, {"payments", "--cancel", "--to", spareKey}, {"a", "b", "--to", spareKey},
		{"", "--from", paymentsKey, "--to", spareKey, "--no-terraform"}, {"payments", "--region", "", "--to", spareKey, "--no-terraform"}, {"payments", "--cancel", "--region", ""},
		{"payments", "--region", "us-east-1", "--region", "us-east-1", "--to", spareKey, "--no-terraform"},
	} {
		b.keyturn(t, append([]string{"rotate"}, args...)...).wantCode(t, exitUsage, args...)
	}
}

// A name that no cluster has, or several, names none: the exit code is 4, and nothing is written.
func TestRotateAndPin_ofNoClusterOrSeveral(t *testing.T) {
	b := movable(t)
	b.change(t, "7c1d9e20-3a4b-4c5d-8e6f-0000000000aa", func(c *ledger.Cluster) {
		c.Cluster, c.SeenAt = cmek.Cluster{ID: "7c1d9e20-3a4b-4c5d-8e6f-0000000000aa", Name: "payments", State: cmek.StateCreated}, time.Now()
		c.WaitUntil(time.Now().Add(time.Hour))
	})
	for _, name := range []string{"payments", "nobody", "Orders", "orders "} {
		for _, args := range [][]string{
			{"rotate", name, "--to", spareKey, "--no-terraform"}, {"rotate", name, "--to", spareKey, "--no-terraform", "-o", "json"},
			{"pin", name, "--region", "us-east-1", "--alias", "arn:aws:kms:us-east-1:111122223333:alias/payments-cmek"},
		} {
			since := len(b.Requests())
			o := b.keyturn(t, args...)
			o.wantCode(t, exitRefused, args...)
			if w := b.written(t, since); len(w) > 0 {
				t.Errorf("%q wrote %q", args, w)
			}
		}
	}
	must(t, b.Set(simulator.CMEKAbsent, "404"))
	for says, args := range map[string][]string{
		"no cluster has a region on that key":           {"--from", strangeKey},
		"no region of cluster checkout is on key":       {"checkout", "--from", strangeKey},
		"the Cloud API shows no CMEK of cluster analyt": {"analytics"},
	} {
		o := b.keyturn(t, append([]string{"rotate", "--to", spareKey, "--no-terraform"}, args...)...)
		o.wantCode(t, exitRefused, args...)
		wantText(t, "the refusal", o.err, says)
	}
	b.change(t, "7c1d9e20-3a4b-4c5d-8e6f-0000000000aa", func(c *ledger.Cluster) { c.Cluster.State = cmek.StateDeleted })
	b.succeed(t, "rotate", "payments", "--to", spareKey, "--no-terraform", "--dry-run")
	b.succeed(t, "rotate", strings.ToUpper(paymentsID), "--to", spareKey, "--no-terraform", "--dry-run")
}

// An open order about one region keeps another one from the region, and those of the same command from all others: none is given in part.
func TestRotate_whileAnotherOrderIsOpen(t *testing.T) {
	b := movable(t)
	b.succeed(t, "pause", "--reason", "freeze")
	b.keyturn(t, "rotate", "checkout", "--to", spareKey, "--no-terraform").wantCode(t, exitNeedsPerson, "rotate checkout")
	ordered := b.written(t, len(b.Requests()))
	for _, args := range [][]string{
		{"rotate", "checkout", "--to", farKey, "--cross-region-key", "--no-terraform", "--dry-run"}, {"rotate", "checkout", "--to", farKey, "--cross-region-key", "--no-terraform"},
		{"rotate", "--from", paymentsKey, "--to", farKey, "--cross-region-key", "--no-terraform"},
		{"rotate", "checkout", "--to", paymentsKey, "--no-terraform"}, // it is on that key, and is going to leave it
	} {
		o := b.keyturn(t, args...)
		o.wantCode(t, exitRefused, args...)
		wantText(t, "the refusal", o.out, "another order is open, to "+spareKey, "rotate 7c1d9e20-3a4b-4c5d-8e6f-000000000002 --cancel --region us-east-1")
	}
	if now := b.written(t, len(b.Requests())); len(ordered) != 1 || !slices.Equal(now, ordered) {
		t.Errorf("the orders are %q, want those of before, %q", now, ordered)
	}
	b.keyturn(t, "rotate", "checkout", "--to", spareKey, "--no-terraform").wantCode(t, exitNeedsPerson, "the same order again")
	b.succeed(t, "rotate", "checkout", "--cancel", "--region", "us-east-1")
	b.succeed(t, "rotate", "checkout", "--to", farKey, "--cross-region-key", "--no-terraform", "--dry-run")
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
