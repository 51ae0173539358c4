package cockroachcloud

import (
	"context"
	"fmt"
)

// Settings are what the environment says about the Cloud API.
type Settings struct {
	Server          string `env:"COCKROACH_SERVER"`
	CloudAPIVersion string `env:"KEYTURN_CLOUD_API_VERSION"`
	// RequestRate is the function's share of UserRate.
	RequestRate float64 `env:"KEYTURN_REQUEST_RATE"`
}

// Check returns every setting that makes no sense, each naming its variable and what it should be.
func (s Settings) Check() (problems []error) {
	if _, err := parseServer(s.Server); err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", EnvServer, err))
	}
	if !(s.RequestRate > 0 && s.RequestRate <= UserRate) {
		problems = append(problems, fmt.Errorf("KEYTURN_REQUEST_RATE is %v; want more than 0 and at most %v requests/s", s.RequestRate, UserRate))
	}
	return problems
}

// Options are those of a client with the settings.
func (s Settings) Options(apiKey func(context.Context) (string, error)) Options {
	return Options{Server: s.Server, APIKey: apiKey, Version: s.CloudAPIVersion, Rate: s.RequestRate}
}
