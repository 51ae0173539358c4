// Command aws is compliance's entry point on AWS Lambda: ticks of EventBridge Scheduler begin the run of the day and go on with it.
package main

import (
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/lambda"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// rate is what the function sends to the Cloud API in a second. Its service account is its own, and so are that account's 10 requests/s.
const rate = 8

func main() { lambda.Serve("compliance", wire) }

// wire builds the function from the environment. The error names every problem.
func wire(environ []string) (lambda.Handler, error) {
	s := settings{Compliance: compliance.DefaultSettings(), Cloud: cockroachcloud.Settings{RequestRate: rate}}
	aws, err := amazon.Load(&s, environ, 10*time.Second)
	if err != nil {
		return lambda.Handler{}, err
	}
	notifier, err := s.AWS.Notifier(aws)
	if err != nil {
		return lambda.Handler{}, err
	}
	cloud, err := cockroachcloud.NewReader(s.Cloud.Options(amazon.NewSecret(aws, s.AWS.APIKeySecret).Value))
	if err != nil {
		return lambda.Handler{}, err
	}
	audit, err := s.audit(aws)
	if err != nil {
		return lambda.Handler{}, err
	}
	log, random := lambda.NewLog("compliance", s.LogLevel), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	f := &compliance.Function{
		Cloud: cloud, Ledger: ledger.New(s.AWS.Store(aws), random), KeyTypes: []cmek.KeyType{cmek.AWSKMS},
		AWS:     s.reads(aws),
		Audit:   audit,
		Detect:  compliance.DetectionIn(s.Detection.Read(aws)),
		Declare: compliance.DeclaredIn(s.Declared.Read(aws)), Archive: s.Evidence.Store(aws), Notifier: notifier, Page: report.ArchivedPage, Caller: amazon.CallerARN(aws),
		Hub: s.hub(aws), Settings: s.Compliance, Log: log,
		Holder: os.Getenv("AWS_LAMBDA_LOG_STREAM_NAME") + "/" + strconv.FormatUint(random.Uint64(), 36),
	}
	return lambda.Handler{Tick: f.Tick, Log: log}, nil
}
