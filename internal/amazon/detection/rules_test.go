package detection_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/detection"
	"github.com/keyturn/keyturn/internal/cmek"
)

// ruleServer answers EventBridge and SQS by operation, and keeps what it was asked, with the Region and the access key that the request is
// signed for.
type ruleServer struct {
	answers map[string]string // by operation, or by operation and token
	codes   map[string]string // by operation: it is refused with the code

	mu    sync.Mutex
	asked []string
}

func (s *ruleServer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	answer := func(status int, text string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
	}
	if strings.Contains(string(body), "Action=AssumeRole") {
		if !strings.Contains(string(body), "role%2Freader") {
			return answer(http.StatusForbidden, "")
		}
		return answer(http.StatusOK, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>READER</AccessKeyId>`+
			`<SecretAccessKey>x</SecretAccessKey><SessionToken>x</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	}
	target := r.Header.Get("X-Amz-Target")
	operation := target[strings.LastIndex(target, ".")+1:]
	var input struct{ EventBusName, NextToken, QueueURL string }
	_ = json.Unmarshal(body, &input)
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	words := strings.Split(scope, "/")
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSpace(strings.Join([]string{operation, words[0], words[2], input.EventBusName + input.QueueURL}, " ")))
	s.mu.Unlock()
	if code := s.codes[operation]; code != "" {
		return answer(http.StatusBadRequest, `{"__type":"`+code+`","message":"no"}`)
	}
	return answer(http.StatusOK, s.answers[operation+input.NextToken])
}

var aRule = map[string]string{
	"DescribeRule":       `{"Name":"keyturn-kms","State":"ENABLED","EventPattern":"{\"source\":[\"aws.kms\"]}"}`,
	"ListTargetsByRule":  `{"Targets":[{"Id":"hub","Arn":"arn:1"}],"NextToken":"2"}`,
	"ListTargetsByRule2": `{"Targets":[{"Id":"more","Arn":"arn:2"}]}`,
	"GetQueueAttributes": `{"Attributes":{"ApproximateNumberOfMessages":"2","ApproximateNumberOfMessagesNotVisible":"1","ApproximateNumberOfMessagesDelayed":"0"}}`,
}

func rulesOver(t *testing.T, s *ruleServer) *detection.Rules {
	t.Helper()
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": "http://aws.test"}
	config, err := amazon.ConfigFromEnv(func(name string) string { return env[name] }, &http.Client{Transport: s})
	if err != nil {
		t.Fatal(err)
	}
	config.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return detection.NewRules(config, amazon.ReaderRoles{"*": {ARN: "arn:aws:iam::{account}:role/reader"}})
}

func TestRule_isReadWithAllItsTargets(t *testing.T) {
	s := &ruleServer{answers: aRule}
	rules := rulesOver(t, s)
	for _, account := range []string{"444455556666", ""} {
		bus := map[string]string{"": "keyturn"}[account]
		got, err := rules.Rule(t.Context(), account, "eu-west-1", bus, "keyturn-kms")
		if err != nil || got.State != "ENABLED" || got.Pattern != `{"source":["aws.kms"]}` || !slices.Equal(got.Targets, []string{"arn:1", "arn:2"}) {
			t.Errorf("%+v, %v", got, err)
		}
		if n, err := rules.Waiting(t.Context(), account, "444455556666", "eu-west-1", "keyturn-forward-dead"); err != nil || n != 3 {
			t.Errorf("%d messages wait, want 3 (error %v)", n, err)
		}
	}
	const queue = " https://sqs.eu-west-1.amazonaws.com/444455556666/keyturn-forward-dead"
	want := []string{
		"DescribeRule READER eu-west-1", "ListTargetsByRule READER eu-west-1", "ListTargetsByRule READER eu-west-1", "GetQueueAttributes READER eu-west-1" + queue,
		"DescribeRule test eu-west-1 keyturn", "ListTargetsByRule test eu-west-1 keyturn", "ListTargetsByRule test eu-west-1 keyturn", "GetQueueAttributes test eu-west-1" + queue,
	}
	if !slices.Equal(s.asked, want) {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(s.asked, "\n"), strings.Join(want, "\n"))
	}
}

// What is refused names the permission and where it is to be given. What does not exist is no refusal, and what does not say its number is none.
func TestRule_thatCannotBeRead(t *testing.T) {
	for _, tt := range []struct {
		operation, code string
		is              error
		permission      string
	}{
		{"DescribeRule", "AccessDeniedException", cmek.ErrDenied, "events:DescribeRule on rule keyturn-kms in eu-west-1 of account 444455556666"},
		{"ListTargetsByRule", "AccessDeniedException", cmek.ErrDenied, "events:ListTargetsByRule on rule keyturn-kms in eu-west-1 of account 444455556666"},
		{"GetQueueAttributes", "AccessDeniedException", cmek.ErrDenied, "sqs:GetQueueAttributes on queue keyturn-forward-dead in eu-west-1 of account 444455556666"},
		{"DescribeRule", "ResourceNotFoundException", cmek.ErrNotFound, ""},
		{"ListTargetsByRule", "ResourceNotFoundException", cmek.ErrNotFound, ""},
		{"DescribeRule", "ValidationException", nil, ""},
		{"GetQueueAttributes", "QueueDoesNotExist", nil, ""},
	} {
		rules := rulesOver(t, &ruleServer{answers: aRule, codes: map[string]string{tt.operation: tt.code}})
		_, err := rules.Rule(t.Context(), "444455556666", "eu-west-1", "", "keyturn-kms")
		if tt.operation == "GetQueueAttributes" {
			_, err = rules.Waiting(t.Context(), "444455556666", "444455556666", "eu-west-1", "keyturn-forward-dead")
		}
		var missing *cmek.PermissionError
		errors.As(err, &missing)
		if err == nil || tt.is != nil && !errors.Is(err, tt.is) || (missing != nil) != (tt.permission != "") || missing != nil && missing.Permission != tt.permission {
			t.Errorf("%s with %s: %v, %+v", tt.operation, tt.code, err, missing)
		}
	}
	for name, answer := range map[string]string{"no count": `{}`, "part of it": `{"Attributes":{"ApproximateNumberOfMessages":"0"}}`, "no number": `{"Attributes":{"ApproximateNumberOfMessages":"many"}}`} {
		rules := rulesOver(t, &ruleServer{answers: map[string]string{"GetQueueAttributes": answer}})
		if n, err := rules.Waiting(t.Context(), "", "1", "eu-west-1", "q"); err == nil {
			t.Errorf("%s: %d messages", name, n)
		}
	}
	endless := &ruleServer{answers: map[string]string{"DescribeRule": aRule["DescribeRule"], "ListTargetsByRule": aRule["ListTargetsByRule"], "ListTargetsByRule2": aRule["ListTargetsByRule"]}}
	if rule, err := rulesOver(t, endless).Rule(t.Context(), "", "eu-west-1", "", "keyturn-kms"); !errors.Is(err, cmek.ErrIncomplete) {
		t.Errorf("a list of targets without an end gives %+v, %v", rule, err)
	}
}
