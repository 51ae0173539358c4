package function

import (
	"fmt"
	"log/slog"
	"time"
)

// Settings are what the runtime layer must know of its platform.
type Settings struct {
	// Timeout is the time limit of the function, as it was deployed.
	Timeout time.Duration `env:"KEYTURN_TIMEOUT"`
	// Deployed is the time limit in seconds as the framework knows it; 0: it does not.
	Deployed int `env:"CLOUD_RUN_TIMEOUT_SECONDS"`
	// LogLevel is the least level that is logged.
	LogLevel slog.Level `env:"KEYTURN_LOG_LEVEL"`
}

// DefaultSettings have the time limit of a function whose deployment names none
// (cloud.google.com/functions/docs/configuring/timeout).
func DefaultSettings() Settings { return Settings{Timeout: time.Minute} }

// The time limits that make sense: alerts must be out within 10 s, and Cloud Run ends requests after an hour.
const (
	leastTimeout = 10 * time.Second
	mostTimeout  = time.Hour
)

// Check returns every setting that makes no sense, each naming its variable and what it should be.
func (s Settings) Check() (problems []error) {
	if s.Timeout < leastTimeout || s.Timeout > mostTimeout {
		problems = append(problems, fmt.Errorf("KEYTURN_TIMEOUT is %s; want the time limit that the function is deployed with, from 10s to 1h", s.Timeout))
	}
	if deployed := time.Duration(s.Deployed) * time.Second; s.Deployed != 0 && deployed < s.Timeout {
		problems = append(problems, fmt.Errorf("KEYTURN_TIMEOUT is %s, but the function is deployed with a time limit of %s; want the same", s.Timeout, deployed))
	}
	return problems
}
