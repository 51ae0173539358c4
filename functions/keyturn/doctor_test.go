package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/demo"
	"github.com/keyturn/keyturn/functions/keyturn/setup"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/simulator"
)

// fakeHub answers as the services of AWS at a hub do: an empty ledger and archive, and topics with subscriptions.
type fakeHub struct {
	deny    string            // this action is refused, with AWS' own error
	expired bool              // the credentials are
	topics  map[string]string // subscription ARN and endpoint of more subscriptions, by topic
	value   string            // of the parameter

	mu     sync.Mutex
	called map[string]int // by action
	kept   bool           // something was written
}

var operation = regexp.MustCompile(`^\w+\.(\w+)$`)

// actionOf is the action of IAM that a call needs.
func actionOf(r *http.Request, body []byte) (action string, form url.Values) {
	if target := operation.FindStringSubmatch(r.Header.Get("X-Amz-Target")); target != nil {
		service := map[string]string{"AmazonSSM": "ssm", "DynamoDB_20120810": "dynamodb", "TrentService": "kms"}[strings.Split(target[0], ".")[0]]
		return service + ":" + target[1], nil
	}
	if form, _ = url.ParseQuery(string(body)); form.Get("Action") != "" {
		service := "sns"
		if strings.Contains(form.Get("Action"), "Role") || strings.Contains(form.Get("Action"), "Caller") {
			service = "sts"
		}
		return service + ":" + form.Get("Action"), form
	}
	switch query := r.URL.Query(); {
	case query.Has("versions"):
		return "s3:ListBucketVersions", nil
	case query.Get("versionId") != "":
		return "s3:GetObjectVersion", nil
	}
	return map[string]string{http.MethodGet: "s3:GetObject", http.MethodPut: "s3:PutObject"}[r.Method], nil
}

func (f *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	f.answer(answer, r)
	// DynamoDB's answers carry their checksum, and the SDK misses it.
	w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE(answer.Body.Bytes())))
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

func (f *fakeHub) answer(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	action, form := actionOf(r, body)
	f.called[action]++
	service, name, _ := strings.Cut(action, ":")
	switch {
	case f.expired && service == "sts":
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>The security token included in the request is expired</Message></Error></ErrorResponse>`)
	case action == f.deny:
		f.refuse(w, service, action)
	case service == "ssm":
		fmt.Fprintf(w, `{"Parameter":{"Name":"x","Type":"String","Value":%q}}`, f.value)
	case name == "PutItem":
		if !strings.Contains(string(body), "attribute_exists(#p) AND attribute_not_exists(#p)") {
			f.kept = true
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"The conditional request failed"}`)
	case service == "dynamodb":
		fmt.Fprint(w, map[string]string{"GetItem": `{}`, "BatchGetItem": `{"Responses":{},"UnprocessedKeys":{}}`, "Query": `{"Items":[],"Count":0,"ScannedCount":0}`}[name])
	case name == "GetCallerIdentity":
		fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::111122223333:assumed-role/oncall/jo</Arn><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
	case name == "AssumeRole":
		fmt.Fprintf(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>x</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
			demo.SampleAccessKeyID, demo.SampleSecretAccessKey, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	case name == "ListSubscriptionsByTopic":
		topic := form.Get("TopicArn")
		fmt.Fprintf(w, `<ListSubscriptionsByTopicResponse><ListSubscriptionsByTopicResult><Subscriptions>%s%s</Subscriptions></ListSubscriptionsByTopicResult></ListSubscriptionsByTopicResponse>`,
			subscription("email", topic+":1", "a@example.com"), f.topics[topic[strings.LastIndexByte(topic, ':')+1:]])
	case name == "ListBucketVersions":
		fmt.Fprint(w, `<ListVersionsResult></ListVersionsResult>`)
	case name == "GetObject" || name == "GetObjectVersion":
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>`)
	case name == "PutObject" && r.Header.Get("If-Match") != "":
		w.WriteHeader(http.StatusPreconditionFailed)
		fmt.Fprint(w, `<Error><Code>PreconditionFailed</Code><Message>At least one of the pre-conditions you specified did not hold</Message></Error>`)
	default:
		f.kept = true
	}
}

func subscription(protocol, arn, endpoint string) string {
	return "<member><SubscriptionArn>" + arn + "</SubscriptionArn><Protocol>" + protocol + "</Protocol><Endpoint>" + endpoint + "</Endpoint></member>"
}

// refuse answers as each service does for a missing permission.
func (f *fakeHub) refuse(w http.ResponseWriter, service, action string) {
	message := "User: arn:aws:sts::111122223333:assumed-role/oncall/jo is not authorized to perform: " + action + " on resource: * because no identity-based policy allows the " + action + " action"
	switch service {
	case "dynamodb", "ssm":
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":"com.amazon.coral.service#AccessDeniedException","Message":%q}`, message)
	case "sns":
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>%s</Message></Error></ErrorResponse>`, message)
	case "s3":
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `<Error><Code>AccessDenied</Code><Message>%s</Message></Error>`, message)
	default:
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>%s</Message></Error></ErrorResponse>`, message)
	}
}

// newClinic is a bench with a hub at which everything is fine, and a keyturn.yaml that describes it.
func newClinic(t *testing.T) (*bench, *fakeHub) {
	t.Helper()
	b := newBench(t)
	organization := simulator.DefaultSeed().Organization.ID
	file := strings.ReplaceAll(hubFile, "5f3c1f0e-58c2-4d2a-9a3e-0c1b9a7d2e41", organization)
	file = regexp.MustCompile(`arn:aws:kms:[^"]+`).ReplaceAllString(file, paymentsKey)
	b.dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(b.dir, "keyturn.yaml"), []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	p := published()
	p.OrganizationID, p.Server = organization, b.url
	f := &fakeHub{called: map[string]int{}, value: p.JSON()}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	for _, service := range []string{"SSM", "DYNAMODB", "STS", "SNS", "S3"} {
		t.Setenv("AWS_ENDPOINT_URL_"+service, server.URL)
	}
	b.environ = []string{"KEYTURN_DEPLOYMENT=prod", "COCKROACH_SERVER=" + b.url, "COCKROACH_API_KEY=" + simulator.SampleAPIKey}
	return b, f
}

// examine runs doctor and returns its problems, and what it could not verify.
func examine(t *testing.T, b *bench, args ...string) (code int, problems, unverified []setup.Diagnosis) {
	t.Helper()
	o := b.keyturn(t, append([]string{"doctor", "-o", "json"}, args...)...)
	all := decodeJSON[[]setup.Diagnosis](t, o.out)
	for _, d := range all {
		switch d.Result {
		case setup.ResultProblem:
			problems = append(problems, d)
		case setup.ResultUnverified:
			unverified = append(unverified, d)
		case setup.ResultOK:
			if d.Fix != "" {
				t.Errorf("%s is ok, and has the fix %q", d.Check, d.Fix)
			}
		}
		if d.Check == "" || d.Detail == "" {
			t.Errorf("a line says nothing: %+v", d)
		}
	}
	return o.code, problems, unverified
}

func TestDoctorFindsAHealthyDeploymentHealthy(t *testing.T) {
	b, f := newClinic(t)
	code, problems, unverified := examine(t, b)
	if code != exitFine || len(problems) > 0 {
		t.Errorf("doctor exits with %d and has the problems %+v", code, problems)
	}
	var checks []string
	for _, d := range unverified {
		checks = append(checks, d.Check)
	}
	// These tests are built without a version, and nothing shows a permission to publish but a message.
	if got, want := strings.Join(checks, ", "), "versions, permission sns:Publish"; got != want {
		t.Errorf("not verified are %s, want %s", got, want)
	}
	if f.kept {
		t.Error("doctor wrote something")
	}
	text := b.succeed(t, "doctor")
	wantText(t, "the text", text, "ok            credentials: arn:aws:sts::111122223333:assumed-role/oncall/jo\n", "not verified  permission sns:Publish", "ok            Cloud API")
}

func TestDoctorNamesExactlyTheActionThatIsDenied(t *testing.T) {
	for _, g := range deployment.OperatorGrants() {
		b, f := newClinic(t)
		f.deny = g.Action
		code, problems, unverified := examine(t, b)
		if f.kept {
			t.Errorf("with %s denied doctor wrote something", g.Action)
		}
		if g.Action == "sns:Publish" {
			if code != exitFine || len(unverified) < 2 {
				t.Errorf("%s, which cannot be tried, is not left unverified: %+v", g.Action, problems)
			}
			continue
		}
		if g.Action == "ssm:GetParameter" { // without it nothing else is known
			if code != exitNeedsPerson || len(problems) == 0 || !strings.Contains(problems[0].Detail, g.Action) {
				t.Errorf("%s denied: the problems are %+v", g.Action, problems)
			}
			continue
		}
		named := 0
		for _, p := range problems {
			other := p.Check != "permission "+g.Action
			// The key cannot be read as nobody, which is the same cause: the fix says so.
			if other && (g.Action != "sts:AssumeRole" || p.Check != "keys") {
				t.Errorf("%s denied: %s is a problem, too: %s", g.Action, p.Check, p.Detail)
			}
			if !other {
				named++
				if !strings.Contains(p.Detail, g.Action) || !strings.Contains(p.Fix, "prod-operator") {
					t.Errorf("%s denied: the problem is %+v", g.Action, p)
				}
			}
		}
		if code != exitNeedsPerson || named == 0 {
			t.Errorf("%s denied: doctor exits with %d, and names it in %d problems", g.Action, code, named)
		}
	}
}

func TestDoctorThatIsInterruptedSaysSo(t *testing.T) {
	b, _ := newClinic(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	o := b.keyturnWith(ctx, "", "doctor")
	o.wantCode(t, exitFailed, "doctor")
	wantText(t, "the error", o.err, "interrupted")
	if strings.Contains(o.out, "problem") {
		t.Errorf("an interrupted check is a problem:\n%s", o.out)
	}
}

func TestAMisspelledSettingHidesNoOtherProblem(t *testing.T) {
	b, f := newClinic(t)
	b.environ = append(b.environ, "KEYTURN_SETLE=1s")
	f.deny = "sts:AssumeRole"
	_, problems, _ := examine(t, b)
	var checks []string
	for _, p := range problems {
		checks = append(checks, p.Check)
	}
	if got, want := strings.Join(checks, ", "), "configuration, permission sts:AssumeRole, keys"; got != want {
		t.Errorf("the problems are %s, want %s", got, want)
	}
}

func TestEveryGrantIsTriedOrUnverified(t *testing.T) {
	b, f := newClinic(t)
	examine(t, b)
	for _, g := range deployment.OperatorGrants() {
		if f.called[g.Action] == 0 && g.Action != "sns:Publish" {
			t.Errorf("%s is not tried", g.Action)
		}
	}
	if f.called["sns:Publish"] > 0 {
		t.Error("doctor sends alerts")
	}
	b, f = newClinic(t)
	f.deny = "dynamodb:PutItem"
	if code, problems, _ := examine(t, b, "--viewer"); code != exitFine {
		t.Errorf("who only looks needs to write: %+v", problems)
	}
}

func TestDoctorTellsProblemsApart(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, b *bench, f *fakeHub)
		check  string
		want   string
	}{
		{"credentials expired", func(_ *testing.T, _ *bench, f *fakeHub) { f.expired = true }, "credentials", "expired"},
		{"another account", func(_ *testing.T, _ *bench, f *fakeHub) {
			f.value = strings.Replace(f.value, `"account":"111122223333"`, `"account":"999900001111"`, 1)
		}, "credentials", "the hub is in 999900001111"},
		{"a wrong API key", func(_ *testing.T, b *bench, _ *fakeHub) {
			b.environ = append(b.environ, "COCKROACH_API_KEY="+strings.Replace(simulator.SampleAPIKey, "SAMPLE", "hunter", 1))
		}, "Cloud API", "401"},
		{"a service account without the role", func(t *testing.T, b *bench, f *fakeHub) {
			forbidden := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, `{"code":7,"message":"permission denied","details":[]}`)
			}))
			t.Cleanup(forbidden.Close)
			f.value = strings.Replace(f.value, b.url, forbidden.URL, 1)
			b.environ = append(b.environ, "COCKROACH_SERVER="+forbidden.URL)
		}, "Cloud API", "403: the API key is accepted"},
		{"nobody answers", func(_ *testing.T, b *bench, f *fakeHub) {
			b.environ = append(b.environ, "COCKROACH_SERVER=http://127.0.0.1:1")
			f.value = strings.Replace(f.value, b.url, "http://127.0.0.1:1", 1)
		}, "Cloud API", "refused"},
		{"no API key", func(_ *testing.T, b *bench, _ *fakeHub) { b.environ = b.environ[:2] }, "Cloud API", "COCKROACH_API_KEY is not set"},
		{"another organization", func(_ *testing.T, b *bench, _ *fakeHub) {
			b.environ = append(b.environ, "KEYTURN_ORGANIZATION_ID=5f3c1f0e-58c2-4d2a-9a3e-0c1b9a7d2e41")
		}, "Cloud API", "the deployment is for 5f3c1f0e"},
		{"a misspelled setting", func(_ *testing.T, b *bench, _ *fakeHub) { b.environ = append(b.environ, "KEYTURN_SETLE=1s") }, "configuration", "did you mean KEYTURN_SETTLE"},
		{"a pending subscription", func(_ *testing.T, _ *bench, f *fakeHub) {
			f.topics = map[string]string{"prod-alerts": subscription("email", "PendingConfirmation", "b@example.com")}
		}, "subscriptions of prod-alerts", "not confirmed: b@example.com"},
		{"a deleted one", func(_ *testing.T, _ *bench, f *fakeHub) {
			f.topics = map[string]string{"prod-operations": subscription("sms", "Deleted", "+15550100123")}
		}, "subscriptions of prod-operations", "not confirmed: +15550100123"},
		{"a lost channel", func(_ *testing.T, _ *bench, f *fakeHub) {
			f.value = strings.Replace(f.value, `"functions":[`, `"functions":["notify-slack",`, 1)
		}, "subscriptions of prod-alerts", "lost: arn:aws:sqs:eu-west-1:111122223333:prod-notify-slack"},
		{"no deployment", func(_ *testing.T, b *bench, _ *fakeHub) { b.environ[0] = "KEYTURN_DEPLOYMENT=" + "prd" }, "configuration", `about the deployment "prod"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, f := newClinic(t)
			c.change(t, b, f)
			code, problems, _ := examine(t, b)
			found := false
			for _, p := range problems {
				found = found || p.Check == c.check && strings.Contains(p.Detail, c.want) && p.Fix != ""
				if strings.Contains(fmt.Sprint(p), "hunter") {
					t.Errorf("the API key is shown: %+v", p)
				}
			}
			if code != exitNeedsPerson || !found {
				t.Errorf("doctor exits with %d, and its problems are %+v, want %s: %s", code, problems, c.check, c.want)
			}
		})
	}
}
