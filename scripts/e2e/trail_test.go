package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/keyturn/keyturn/internal/simulator"
)

func TestADeploymentIsRefusedUntilATrailRecordsKMS(t *testing.T) {
	endToEnd(t)
	makeTrail(t)
}

var trailOnce sync.Once

// makeTrail lets trailcheck refuse and then accept the one account of moto_server, which has a trail after that. The tests that need one share it.
func makeTrail(t *testing.T) {
	t.Helper()
	trailOnce.Do(func() { refuseUntilATrailRecordsKMS(t) })
}

func refuseUntilATrailRecordsKMS(t *testing.T) {
	t.Helper()
	world, err := simulator.New(simulator.DefaultSeed())
	must(t, err, "make the world")
	a := newAccount(t, plain)
	a.spoke(region)
	check := a.function("trailcheck-"+region, world, &wire{t: t, account: a})

	answers := make(chan cfn.Response, 1)
	stack := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var answer cfn.Response
		if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
			t.Errorf("CloudFormation cannot read the answer: %v", err)
		}
		answers <- answer
	}))
	t.Cleanup(stack.Close)
	create := func() cfn.Response {
		t.Helper()
		request := encode(t, cfn.Event{
			RequestType: cfn.RequestCreate, RequestID: "1", ResponseURL: stack.URL + "/?X-Amz-Signature=secret", StackID: "stack", LogicalResourceID: "check",
			ResourceProperties: map[string]any{"ServiceToken": check.arn, "Assert": "false"},
		})
		_, err := check.invoke([]byte(request), check.timeout)
		must(t, err, "check")
		select {
		case answer := <-answers:
			return answer
		case <-time.After(patience):
			t.Fatal("CloudFormation gets no answer")
			return cfn.Response{}
		}
	}

	if got := create(); got.Status != cfn.StatusFailed || !strings.Contains(got.Reason, "No trail is visible here") {
		t.Errorf("without a trail the answer is %s: %s; want FAILED, for there is no trail", got.Status, got.Reason)
	}
	trail := cloudtrail.NewFromConfig(a.config)
	name := "records-everything" // the same in every run: it is in the list of calls
	_, err = a.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	must(t, err, "create bucket")
	_, err = trail.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: &name, S3BucketName: &name, IsMultiRegionTrail: aws.Bool(true)})
	must(t, err, "create trail")
	if got := create(); got.Status != cfn.StatusFailed || !strings.Contains(got.Reason, name) {
		t.Errorf("with a trail whose logging is off the answer is %s: %s; want FAILED, naming the trail", got.Status, got.Reason)
	}
	_, err = trail.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: &name})
	must(t, err, "start logging")
	if got := create(); got.Status != cfn.StatusSuccess || !strings.Contains(encode(t, got.Data), name) {
		t.Errorf("with a trail that records everything the answer is %s: %s %v; want SUCCESS, naming the trail", got.Status, got.Reason, got.Data)
	}
	if strings.Contains(check.log.String(), "X-Amz-Signature") {
		t.Error("the log holds CloudFormation's presigned URL")
	}
}
