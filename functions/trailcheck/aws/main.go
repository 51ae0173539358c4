// Command aws is trailcheck's entry point on AWS Lambda: a CloudFormation custom resource.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keyturn/keyturn/functions/trailcheck"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/config"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	LogLevel slog.Level `env:"KEYTURN_LOG_LEVEL"`
}

func main() { lambda.Start(wire(os.Environ(), os.Getenv).handle) }

// wire builds the function from the environment. A function that does not start never answers, and CloudFormation then waits
// for an hour; so a wrong configuration makes a resource that starts and says what is wrong with it.
func wire(environ []string, getenv func(string) string) *resource {
	var s settings
	loading := config.Load(&s, environ)
	client := &http.Client{Timeout: 5 * time.Second}
	aws, err := amazon.ConfigFromEnv(getenv, client)
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: s.LogLevel})).With("function", "trailcheck")
	r := &resource{client: client, log: log, pause: time.Second}
	if err := errors.Join(loading, err); err != nil {
		r.check = func(context.Context, bool) (string, error) {
			return "", fmt.Errorf("trailcheck cannot start; its configuration has these problems: %w", err)
		}
		return r
	}
	function := &trailcheck.Function{Trails: trails{amazon.NewTrails(aws)}, Region: aws.Region, Log: log}
	r.check = function.Check
	return r
}

// trails hands CloudTrail's trails to the check.
type trails struct{ reader *amazon.Trails }

func (t trails) Trails(ctx context.Context) ([]trailcheck.Trail, error) {
	read, err := t.reader.Trails(ctx)
	var all []trailcheck.Trail
	for _, r := range read {
		trail := trailcheck.Trail{
			Name: r.Name, ARN: r.ARN, HomeRegion: r.HomeRegion, MultiRegion: r.MultiRegion, Organization: r.Organization,
			Logging: r.Logging, LoggingUnread: r.LoggingUnread, DeliveryError: r.DeliveryError,
			CustomSelectors: r.CustomSelectors, SelectorsUnread: r.SelectorsUnread,
		}
		for _, conditions := range r.Selectors {
			selector := trailcheck.Selector{}
			for _, condition := range conditions {
				selector = append(selector, trailcheck.Condition(condition))
			}
			trail.Selectors = append(trail.Selectors, selector)
		}
		all = append(all, trail)
	}
	return all, err
}
