// Command aws is compliance's entry point on AWS Lambda: ticks of EventBridge Scheduler begin the run of the day and go on with it.
package main

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/trailcheck/cloudtrail"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/lambda"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	Compliance compliance.Settings
	AWS        amazon.Settings
	Evidence   amazon.ArchiveSettings
	Declared   amazon.DeclarationSettings
	Cloud      cockroachcloud.Settings
	// RotationSecret is that with the API key of rotation, whose age is checked, too; "" for none.
	RotationSecret string `env:"KEYTURN_ROTATION_API_KEY_SECRET"`
	// SecurityHub: failures are reported there, too.
	SecurityHub bool       `env:"KEYTURN_SECURITY_HUB"`
	LogLevel    slog.Level `env:"KEYTURN_LOG_LEVEL"`
}

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
	secret := amazon.NewSecret(aws, s.AWS.APIKeySecret)
	cloud, err := cockroachcloud.NewReader(s.Cloud.Options(secret.Value))
	if err != nil {
		return lambda.Handler{}, err
	}
	log, random := lambda.NewLog("compliance", s.LogLevel), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	keys, policies := amazon.NewKMS(aws, s.AWS.Readers()), amazon.NewPolicies(aws, s.AWS.Readers())
	var hub compliance.Hub
	if s.SecurityHub {
		hub = amazon.NewSecurityHub(aws)
	}
	secrets := []compliance.Secret{secret}
	if s.RotationSecret != "" {
		secrets = append(secrets, amazon.NewSecret(aws, s.RotationSecret))
	}
	f := &compliance.Function{
		Cloud: cloud, Ledger: ledger.New(s.AWS.Store(aws), random), KeyTypes: []cmek.KeyType{cmek.AWSKMS},
		AWS:     compliance.AWS{Keys: keys, Use: keys, Aliases: keys, Policies: policies, Roles: policies, Trails: cloudtrail.NewOwn(aws), Log: amazon.NewUseLog(aws, s.AWS.Readers()), Secrets: secrets},
		Declare: compliance.DeclaredIn(s.Declared.Read(aws)), Archive: s.Evidence.Store(aws), Notifier: notifier, Page: report.ArchivedPage, Caller: amazon.CallerARN(aws),
		Hub: hub, Settings: s.Compliance, Log: log,
		Holder: os.Getenv("AWS_LAMBDA_LOG_STREAM_NAME") + "/" + strconv.FormatUint(random.Uint64(), 36),
	}
	return lambda.Handler{Tick: f.Tick, Log: log}, nil
}
