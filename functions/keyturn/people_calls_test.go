package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/ledger"
)

// startMoto starts moto_server as the account of the sample company and returns its address. Without the program the test is skipped.
func startMoto(t *testing.T) *url.URL {
	t.Helper()
	program, err := exec.LookPath("moto_server")
	if err != nil {
		t.Skipf("needs moto_server (pip install 'moto[server]'): %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	_, port, _ := net.SplitHostPort(address)
	moto := exec.Command(program, "-H", "127.0.0.1", "-p", port)
	moto.Env = append(os.Environ(), "MOTO_ACCOUNT_ID=111122223333")
	if err := moto.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = moto.Process.Kill(); _ = moto.Wait() })
	for range 300 {
		if answer, err := http.Get("http://" + address + "/moto-api/"); err == nil {
			_ = answer.Body.Close()
			return &url.URL{Scheme: "http", Host: address}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("moto_server does not answer")
	return nil
}

// recordedCalls are the permissions that the calls through a proxy need: action and target of a grant, and what was written of the ledger.
type recordedCalls struct {
	mu     sync.Mutex
	grants map[deployment.Grant]bool
	items  map[string]bool
	// others are calls that no grant is about.
	others map[string]bool
}

func (c *recordedCalls) record(r *http.Request, body []byte) {
	action, form := actionOf(r, body)
	var named struct {
		IndexName string
		Item      map[string]struct{ S string }
	}
	_ = json.Unmarshal(body, &named) // what it does not name is ""
	target := map[string]deployment.Target{"ssm": deployment.OnParameter, "dynamodb": deployment.OnLedger, "sns": deployment.OnTopics, "s3": deployment.OnArchive, "sts": deployment.OnReaders}[strings.Split(action, ":")[0]]
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case action == "s3:ListBucketVersions" && strings.HasPrefix(r.URL.Query().Get("prefix"), "archive/runs/"):
		target = deployment.OnRunList
	case action == "s3:ListBucketVersions":
		target = deployment.OnArchiveList
	case action == "s3:GetObject" && strings.Contains(r.URL.Path, "/archive/runs/"):
		target = deployment.OnRuns
	case named.IndexName == amazon.DueIndex:
		target = deployment.OnDueIndex
	case action == "sts:GetCallerIdentity":
		return // everybody may (docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html)
	case action == "sts:AssumeRole" && !strings.HasSuffix(form.Get("RoleArn"), ":role/prod-reader"), target == "", strings.HasSuffix(action, ":"):
		c.others[action+" "+form.Get("RoleArn")] = true
		return
	}
	if pk := named.Item[amazon.PartitionKey].S; pk != "" {
		c.items[pk] = true
	}
	c.grants[deployment.Grant{Action: action, On: target}] = true
}

// newTown is a bench whose deployment is in moto_server, behind a proxy that records the calls.
func newTown(t *testing.T) (*bench, *recordedCalls) {
	t.Helper()
	moto := startMoto(t)
	b := newBench(t)
	c := &recordedCalls{}
	c.reset()
	proxy := httputil.NewSingleHostReverseProxy(moto)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		c.record(r, body)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	for _, service := range []string{"SSM", "DYNAMODB", "STS", "SNS", "S3"} {
		t.Setenv("AWS_ENDPOINT_URL_"+service, server.URL)
	}
	config, err := installation.LoadAWS(t.Context(), "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	p := published()
	p.Region, p.Server = "us-east-1", b.url
	p.Settings = map[string]string{"KEYTURN_SETTLE": "0s", "KEYTURN_CONFIRM": "100ms", "KEYTURN_POLL": "50ms"}
	p.Ledger, p.Archive = "dynamodb://prod-ledger?region=us-east-1", "s3://prod-archive/archive?region=us-east-1"
	p.OrganizationID = ""
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	attribute := func(name string, kind types.ScalarAttributeType) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: kind}
	}
	keys := func(hash, sort string) []types.KeySchemaElement {
		return []types.KeySchemaElement{{AttributeName: &hash, KeyType: types.KeyTypeHash}, {AttributeName: &sort, KeyType: types.KeyTypeRange}}
	}
	must(dynamodb.NewFromConfig(config).CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String("prod-ledger"), BillingMode: types.BillingModePayPerRequest, KeySchema: keys(amazon.PartitionKey, amazon.SortKey),
		AttributeDefinitions: []types.AttributeDefinition{attribute(amazon.PartitionKey, "S"), attribute(amazon.SortKey, "S"), attribute(amazon.KindAttribute, "S"), attribute(amazon.NextLookAttribute, "N")},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName: aws.String(amazon.DueIndex), KeySchema: keys(amazon.KindAttribute, amazon.NextLookAttribute), Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}},
	}))
	must(s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true }).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("prod-archive")}))
	for name, topic := range map[string]*string{"prod-alerts": &p.AlertsTopic, "prod-operations": &p.OperationsTopic} {
		made, err := sns.NewFromConfig(config).CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name})
		must(made, err)
		*topic = *made.TopicArn
	}
	p.OrganizationID = "3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613"
	must(ssm.NewFromConfig(config).PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String("/keyturn/prod"), Type: ssmtypes.ParameterTypeString, Value: aws.String(p.JSON())}))
	b.environ = slices.DeleteFunc(b.environ, func(pair string) bool {
		return strings.HasPrefix(pair, "KEYTURN_")
	})
	b.environ = append(b.environ, "KEYTURN_DEPLOYMENT=prod", "KEYTURN_REQUEST_RATE=10")
	c.reset()
	return b, c
}

func (c *recordedCalls) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grants, c.items, c.others = map[deployment.Grant]bool{}, map[string]bool{}, map[string]bool{}
}

// usedOtherwise are grants that the commands of the test below do not need, by why they are there.
var usedOtherwise = map[deployment.Grant]string{
	{Action: "sns:ListSubscriptionsByTopic", On: deployment.OnTopics}: "doctor looks for lost subscriptions; its own test sees the call",
	{Action: "s3:GetObject", On: deployment.OnArchive}:                "evidence whose name is taken is compared with what is there: a write whose answer was lost",
}

// What the commands really call is what the policies allow, no more and no less.
func TestThePoliciesOfPeopleAreWhatTheCommandsCall(t *testing.T) {
	b, c := newTown(t)
	check := func(policy string, granted []deployment.Grant) {
		t.Helper()
		for g := range c.grants {
			if !slices.Contains(granted, g) {
				t.Errorf("a command calls %s on %s, which policy %s does not allow", g.Action, g.On, policy)
			}
		}
		for _, g := range granted {
			if !c.grants[g] && usedOtherwise[g] == "" {
				t.Errorf("policy %s allows %s on %s, which no command calls", policy, g.Action, g.On)
			}
		}
		for call := range c.others {
			t.Errorf("a command calls %s, which no policy is about", call)
		}
		for item := range c.items {
			if !slices.ContainsFunc(ledger.OperatorItems, func(i ledger.Items) bool { return strings.HasPrefix(item, amazon.Partition(i.Kind, i.Prefix)) }) {
				t.Errorf("a command writes the item %s, which no policy allows", item)
			}
		}
	}

	b.succeed(t, "follow", "--mode", "follow") // so that there is something to see
	event := b.rotate(t, ordersKey)[0]
	run := func(args ...string) {
		t.Helper()
		o := b.keyturnWith(t.Context(), event, args...)
		if o.code == exitFailed || o.code == exitUsage {
			t.Errorf("keyturn %s exits with %d: %s%s", strings.Join(args, " "), o.code, o.out, o.err)
		}
	}
	c.reset()
	run("status")
	run("status", "orders")
	run("alerts")
	run("plan")
	run("explain", "-")
	run("hold")
	run("config", "show")
	run("version", "--deployment", "prod")
	if len(c.items) > 0 {
		t.Errorf("commands that only look write %v", slices.Sorted(maps.Keys(c.items)))
	}
	check("viewer", deployment.ViewerGrants())

	run("replay", "-")
	run("follow", "--mode", "follow")
	run("pause", "--reason", "test")
	run("resume")
	run("hold", "orders", "--reason", "test")
	run("release", "orders")
	run("retry", "orders", "--done")
	run("follow", "--mode", "follow")
	run("evidence", "list")
	run("evidence", "verify")
	check("operator", deployment.OperatorGrants())

	// Who audits has the archive's name, and no deployment.
	config, err := installation.LoadAWS(t.Context(), "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	archivedRun(t, amazon.NewArchive(config, "prod-archive", "archive/"))
	b.environ = append(slices.DeleteFunc(b.environ, func(pair string) bool { return strings.HasPrefix(pair, "KEYTURN_") }),
		"KEYTURN_ARCHIVE=s3://prod-archive/archive?region=us-east-1")
	c.reset()
	run("report")
	run("report", "--from", "2026-03-01", "--to", "2026-03-02")
	check("auditor", deployment.AuditorGrants())
}
