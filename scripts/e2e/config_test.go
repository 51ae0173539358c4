package e2e

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/infra/aws/deployment"
)

func TestAWrongConfigurationIsAnInitErrorThatNamesEveryVariable(t *testing.T) {
	endToEnd(t)
	const topic = "arn:aws:sns:us-east-1:111122223333:keyturn"
	for _, tc := range []struct {
		name        string
		environment []string
		problems    []string // what one line each says
	}{
		{"nothing is set", nil, []string{
			"AWS_REGION is not set", "AWS_ACCESS_KEY_ID is not set", "AWS_SECRET_ACCESS_KEY is not set",
			"KEYTURN_LEDGER is not set", "KEYTURN_ARCHIVE is not set", "KEYTURN_API_KEY_SECRET is not set",
			"KEYTURN_ALERTS_TOPIC is not set", "KEYTURN_OPERATIONS_TOPIC is not set",
		}},
		{"everything is wrong", slices.Concat(lambdaEnvironment(functionProperties{FunctionName: "keyturn-rotation-tick"}), []string{
			"KEYTURN_LEDGER=s3://keyturn", "KEYTURN_ARCHIVE=dynamodb://keyturn",
			"KEYTURN_ALERTS_TOPIC=alerts", "KEYTURN_OPERATIONS_TOPIC=operations", "KEYTURN_API_KEY_SECRET=keyturn",
			"COCKROACH_SERVER=http://cockroachlabs.cloud", "KEYTURN_REQUEST_RATE=11", "KEYTURN_LOG_LEVEL=loud", "KEYTURN_MODE=drive",
			"KEYTURN_SETTLE=48h", "KEYTURN_IN_FLIGHT=0", "KEYTURN_SWEEP_EVERY=-1m", "KEYTURN_CONCURRENCY=1000",
			"KEYTURN_POLL=0s", "KEYTURN_CONFIRM=1h", "KEYTURN_GRACE=-10m",
		}), []string{
			"KEYTURN_LEDGER is s3://keyturn", "KEYTURN_ARCHIVE is dynamodb://keyturn", `"alerts" is not the ARN`, `"operations" is not the ARN`,
			"COCKROACH_SERVER: ", "KEYTURN_REQUEST_RATE is 11", "KEYTURN_LOG_LEVEL: ", `KEYTURN_MODE: "drive"`,
			"KEYTURN_SETTLE is 48h", "KEYTURN_IN_FLIGHT is 0", "KEYTURN_SWEEP_EVERY is -1m", "KEYTURN_CONCURRENCY is 1000",
			"KEYTURN_POLL is 0s", "KEYTURN_CONFIRM is 1h", "KEYTURN_GRACE is -10m",
		}},
		{"nothing can be read", slices.Concat(lambdaEnvironment(functionProperties{FunctionName: "keyturn-rotation-tick"}), []string{
			"KEYTURN_LEDGER=keyturn", "KEYTURN_ARCHIVE=s3:keyturn", "KEYTURN_API_KEY_SECRET=keyturn",
			"KEYTURN_ALERTS_TOPIC=" + topic, "KEYTURN_OPERATIONS_TOPIC=" + topic, "KEYTURN_REQUEST_RATE=many",
			"KEYTURN_SETTLE=5 minutes", "KEYTURN_IN_FLIGHT=few", "KEYTURN_SWEEP_EVERY=15", "KEYTURN_CONCURRENCY=1.5",
			"KEYTURN_POLL=soon", "KEYTURN_CONFIRM=twice", "KEYTURN_GRACE=some",
		}), []string{
			`KEYTURN_LEDGER: "keyturn" is not a location`, `KEYTURN_ARCHIVE: "s3:keyturn" is not a location`, `KEYTURN_REQUEST_RATE is "many"`,
			`KEYTURN_SETTLE is "5 minutes"`, `KEYTURN_IN_FLIGHT is "few"`, `KEYTURN_SWEEP_EVERY is "15"`, `KEYTURN_CONCURRENCY is "1.5"`,
			`KEYTURN_POLL is "soon"`, `KEYTURN_CONFIRM is "twice"`, `KEYTURN_GRACE is "some"`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLambda(t, deployment.Rotation, tc.environment...)
			_, err := l.invoke([]byte("{}"), 5*time.Second)
			if !errors.Is(err, errInit) {
				t.Fatalf("the first invocation ends with %v, want an init error", err)
			}
			if code := l.sandbox.status.ExitCode(); code != 1 {
				t.Errorf("the process ended with status %d, want 1", code)
			}
			for _, problem := range tc.problems {
				if lines := l.log.lines(problem); len(lines) != 1 {
					t.Errorf("%q stands on %d lines of stderr, want 1", problem, len(lines))
				}
			}
			// The first line only says that problems follow.
			if got := strings.Count(l.log.String(), "\n") - 1; got != len(tc.problems) {
				t.Errorf("stderr has %d lines of problems, want %d:\n%s", got, len(tc.problems), l.log.String())
			}
		})
	}
}
