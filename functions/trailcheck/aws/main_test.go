package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-lambda-go/lambda"
)

// secret stands for the signature of a presigned URL.
const secret = "X-Amz-Signature=5ecre7"

// cloudFormation takes answers at a presigned URL; it refuses as many as it is told to, and quotes the URL when it does.
type cloudFormation struct {
	url     string
	refuse  int
	answers []cfn.Response
	puts    int
}

func newCloudFormation(t *testing.T) *cloudFormation {
	t.Helper()
	c := &cloudFormation{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.puts++
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPut || r.URL.RawQuery != secret || r.Header.Get("Content-Type") != "" || len(body) > 4096 {
			t.Errorf("the answer came as %s %s of type %q with %d bytes (%v)", r.Method, r.URL, r.Header.Get("Content-Type"), len(body), err)
		}
		if c.puts <= c.refuse {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "SignatureDoesNotMatch ", r.URL)
			return
		}
		var answer cfn.Response
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Error(err)
		}
		c.answers = append(c.answers, answer)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL + "/response?" + secret
	return c
}

func (c *cloudFormation) event(request cfn.RequestType, properties map[string]any) cfn.Event {
	event := cfn.Event{
		RequestType: request, RequestID: "r-1", ResponseURL: c.url, LogicalResourceID: "TrailCheck",
		StackID: "arn:aws:cloudformation:us-east-1:111122223333:stack/keyturn/1", ResourceProperties: properties,
	}
	if request != cfn.RequestCreate {
		event.PhysicalResourceID = "trailcheck-TrailCheck"
	}
	return event
}

// answered is CloudFormation's one answer, after its fixed part was looked at.
func (c *cloudFormation) answered(t *testing.T) cfn.Response {
	t.Helper()
	if len(c.answers) != 1 {
		t.Fatalf("CloudFormation has %d answers, want 1", len(c.answers))
	}
	got := c.answers[0]
	if got.PhysicalResourceID != "trailcheck-TrailCheck" || got.RequestID != "r-1" || got.LogicalResourceID != "TrailCheck" || !strings.HasSuffix(got.StackID, "stack/keyturn/1") {
		t.Errorf("the answer is about %+v", got)
	}
	return got
}

// checkOf is a resource whose check gives this outcome, and its log.
func checkOf(check func(context.Context, bool) (string, error)) (*resource, *bytes.Buffer) {
	var log bytes.Buffer
	return &resource{check: check, client: &http.Client{Timeout: time.Second}, log: slog.New(slog.NewJSONHandler(&log, nil)), pause: time.Millisecond}, &log
}

func passing(context.Context, bool) (string, error) { return "all is well", nil }

func failing(context.Context, bool) (string, error) { return "", fmt.Errorf("no trail") }

func TestCreateAndUpdateAnswerWhatTheCheckFound(t *testing.T) {
	for _, request := range []cfn.RequestType{cfn.RequestCreate, cfn.RequestUpdate} {
		stack := newCloudFormation(t)
		r, _ := checkOf(passing)
		if err := r.handle(t.Context(), stack.event(request, nil)); err != nil {
			t.Errorf("%s: %v", request, err)
		}
		if got := stack.answered(t); got.Status != cfn.StatusSuccess || got.Data["Answer"] != "all is well" {
			t.Errorf("%s: a check that passes is answered %+v", request, got)
		}
		stack = newCloudFormation(t)
		r, _ = checkOf(failing)
		if err := r.handle(t.Context(), stack.event(request, nil)); err != nil {
			t.Errorf("%s: %v; a deployment that fails is no failure of the function", request, err)
		}
		if got := stack.answered(t); got.Status != cfn.StatusFailed || got.Reason != "no trail" {
			t.Errorf("%s: a check that fails is answered %+v", request, got)
		}
	}
}

func TestDeleteSucceedsWithoutACheck(t *testing.T) {
	stack := newCloudFormation(t)
	r, _ := checkOf(func(context.Context, bool) (string, error) { panic("a delete was checked") })
	if err := r.handle(t.Context(), stack.event(cfn.RequestDelete, map[string]any{"Assert": "nonsense"})); err != nil {
		t.Fatal(err)
	}
	if got := stack.answered(t); got.Status != cfn.StatusSuccess {
		t.Errorf("a delete is answered %+v", got)
	}
}

func TestAssertIsReadAsCloudFormationSendsIt(t *testing.T) {
	for _, tc := range []struct {
		property any
		want     bool
		problem  string
	}{
		{nil, false, ""}, {"false", false, ""}, {false, false, ""}, {"true", true, ""}, {true, true, ""},
		{"yes", false, `property Assert is "yes"; want true or false`}, {map[string]any{}, false, "want true or false"},
		{strings.Repeat("long", 5000), false, "want true or false"},
	} {
		stack := newCloudFormation(t)
		got := false
		r, _ := checkOf(func(_ context.Context, asserted bool) (string, error) {
			got = asserted
			return "", nil
		})
		if err := r.handle(t.Context(), stack.event(cfn.RequestCreate, map[string]any{"Assert": tc.property})); err != nil {
			t.Fatal(err)
		}
		answer := stack.answered(t)
		if got != tc.want || (answer.Status == cfn.StatusFailed) != (tc.problem != "") || !strings.Contains(answer.Reason, tc.problem) {
			t.Errorf("Assert %.20v: asserted is %v and the answer %+v; want %v, %q", tc.property, got, answer, tc.want, tc.problem)
		}
	}
}

func TestAPanicIsAnsweredAsAFailure(t *testing.T) {
	stack := newCloudFormation(t)
	r, log := checkOf(func(context.Context, bool) (string, error) { panic("the stack is only in the log") })
	if err := r.handle(t.Context(), stack.event(cfn.RequestCreate, nil)); err != nil {
		t.Fatal(err)
	}
	if got := stack.answered(t); got.Status != cfn.StatusFailed || got.Reason != "trailcheck panicked; its log says where" {
		t.Errorf("a panic is answered %+v", got)
	}
	if !strings.Contains(log.String(), "main_test.go") {
		t.Errorf("the log does not say where: %s", log)
	}
}

func TestACheckThatHangsIsAnsweredBeforeTheFunctionsTimeIsOver(t *testing.T) {
	stack := newCloudFormation(t)
	r, _ := checkOf(func(ctx context.Context, _ bool) (string, error) {
		<-ctx.Done()
		return "", fmt.Errorf("list trails: %w", ctx.Err())
	})
	ctx, cancel := context.WithTimeout(t.Context(), answerTime+50*time.Millisecond)
	defer cancel()
	if err := r.handle(ctx, stack.event(cfn.RequestCreate, nil)); err != nil || ctx.Err() != nil {
		t.Fatalf("handle: %v; the function's time: %v", err, ctx.Err())
	}
	if got := stack.answered(t); got.Status != cfn.StatusFailed || !strings.Contains(got.Reason, "deadline exceeded") {
		t.Errorf("a check that hangs is answered %+v", got)
	}
}

func TestAnAnswerThatIsNotTakenIsSentAgainAndThenAnError(t *testing.T) {
	for refuse, want := range map[int]int{0: 1, 2: 3, 3: 3} {
		stack := newCloudFormation(t)
		stack.refuse = refuse
		r, log := checkOf(passing)
		err := r.handle(t.Context(), stack.event(cfn.RequestCreate, nil))
		if stack.puts != want || (err != nil) != (refuse == 3) {
			t.Errorf("refused %d times the answer was sent %d times and the error is %v; want %d times", refuse, stack.puts, err, want)
		}
		if text := fmt.Sprint(err, log); strings.Contains(text, "5ecre7") {
			t.Errorf("the signature is in the error or in the log: %s", text)
		}
	}
}

func TestThePresignedURLIsInNoErrorAndNoLog(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, presigned := range []string{gone.URL + "/?" + secret, "https://%zz/?" + secret, "nowhere://host/?" + secret, "\x7f" + secret} {
		r, log := checkOf(passing)
		stack := newCloudFormation(t)
		event := stack.event(cfn.RequestCreate, nil)
		event.ResponseURL = presigned
		err := r.handle(t.Context(), event)
		if err == nil || !strings.HasPrefix(err.Error(), "answer CloudFormation: ") {
			t.Errorf("answering %q gave %v", presigned, err)
		}
		if text := fmt.Sprint(err, log); strings.Contains(text, "5ecre7") {
			t.Errorf("the signature is in the error or in the log: %s", text)
		}
	}
}

func complete(cloudTrail string) map[string]string {
	return map[string]string{
		"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample", "AWS_ENDPOINT_URL_CLOUDTRAIL": cloudTrail,
	}
}

func wireWith(env map[string]string) *resource {
	var environ []string
	for name, value := range env {
		environ = append(environ, name+"="+value)
	}
	return wire(environ)
}

func TestAWrongConfigurationIsAnsweredWithEveryProblem(t *testing.T) {
	stack := newCloudFormation(t)
	r := wireWith(map[string]string{"KEYTURN_LOG_LEVEL": "loud"})
	if err := r.handle(t.Context(), stack.event(cfn.RequestCreate, nil)); err != nil {
		t.Fatal(err)
	}
	got := stack.answered(t)
	for _, want := range []string{`KEYTURN_LOG_LEVEL: slog: level string "loud"`, "AWS_REGION is not set", "AWS_ACCESS_KEY_ID is not set", "AWS_SECRET_ACCESS_KEY is not set"} {
		if got.Status != cfn.StatusFailed || !strings.Contains(got.Reason, want) {
			t.Errorf("the answer is %s %q; want it to say %q", got.Status, got.Reason, want)
		}
	}
}

func TestTheTrailsOfCloudTrailDecide(t *testing.T) {
	const selectors = `{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventSource","NotEquals":[%q]}]}]}`
	for source, want := range map[string]cfn.StatusType{"rdsdata.amazonaws.com": cfn.StatusSuccess, "kms.amazonaws.com": cfn.StatusFailed} {
		cloudTrail := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			switch _, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "CloudTrail_20131101."); action {
			case "DescribeTrails":
				fmt.Fprint(w, `{"trailList":[{"Name":"main","TrailARN":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/main","HomeRegion":"eu-west-1"}]}`)
			case "GetTrailStatus":
				fmt.Fprint(w, `{"IsLogging":true}`)
			case "GetEventSelectors":
				fmt.Fprintf(w, selectors, source)
			default:
				t.Errorf("unexpected call %q", r.Header.Get("X-Amz-Target"))
			}
		}))
		defer cloudTrail.Close()
		stack := newCloudFormation(t)
		payload, err := json.Marshal(stack.event(cfn.RequestCreate, nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lambda.NewHandler(wireWith(complete(cloudTrail.URL)).handle).Invoke(t.Context(), payload); err != nil {
			t.Fatal(err)
		}
		got := stack.answered(t)
		if got.Status != want || !strings.Contains(got.Reason+fmt.Sprint(got.Data["Answer"]), `trail "main"`) {
			t.Errorf("with a trail that excludes %s the answer is %+v, want %s", source, got, want)
		}
	}
}

func TestTheReadmeListsEveryVariableWithItsDefault(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(KEYTURN_[A-Z_]+)` \\| `?([^|`]+)`? \\|").FindAllStringSubmatch(string(readme), -1) {
		rows[m[1]] = m[2]
	}
	defaults := reflect.ValueOf(settings{})
	want := map[string]string{}
	for i := range defaults.NumField() {
		want[defaults.Type().Field(i).Tag.Get("env")] = fmt.Sprint(defaults.Field(i))
	}
	if !reflect.DeepEqual(rows, want) {
		t.Errorf("README.md lists %v, want %v", rows, want)
	}
}
