// Command aws is trailcheck's entry point on AWS Lambda: a CloudFormation custom resource.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	runtime "github.com/aws/aws-lambda-go/lambda"

	"github.com/keyturn/keyturn/functions/trailcheck"
	"github.com/keyturn/keyturn/functions/trailcheck/cloudtrail"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/lambda"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	LogLevel slog.Level `env:"KEYTURN_LOG_LEVEL"`
}

func main() {
	lambda.Serve("trailcheck", func(environ []string) (runtime.Handler, error) {
		return runtime.NewHandler(wire(environ).handle), nil
	})
}

// timeout bounds each attempt of a call.
const timeout = 5 * time.Second

// wire builds the function from the environment. A function that does not start never answers, and CloudFormation then waits
// for an hour; so a wrong configuration makes a resource that starts and says what is wrong with it.
func wire(environ []string) *resource {
	var s settings
	aws, err := amazon.Load(&s, environ, timeout)
	log := lambda.NewLog("trailcheck", s.LogLevel)
	r := &resource{client: &http.Client{Timeout: timeout}, log: log, pause: time.Second}
	if err != nil {
		r.check = func(context.Context, bool) (string, error) {
			return "", fmt.Errorf("trailcheck cannot start; its configuration has these problems: %w", err)
		}
		return r
	}
	function := &trailcheck.Function{Trails: cloudtrail.Trails{Reader: amazon.NewTrails(aws)}, Region: aws.Region, Log: log}
	r.check = function.Check
	return r
}
