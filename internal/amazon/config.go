package amazon

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Config is who we are, where, and through which HTTP client. [ConfigFromEnv] makes one for a Lambda function; a program
// that has the SDK's shared profiles may pass one of those.
type Config = aws.Config

// Calls are repeated by the SDK when that is safe or when the service asks for it: at most this often, and with pauses
// that leave a tick of one minute time for its work.
const (
	mostAttempts = 4
	longestPause = 4 * time.Second
)

// ConfigFromEnv reads the variables that Lambda sets: AWS_REGION (or AWS_DEFAULT_REGION), AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. As every AWS SDK does, it honors AWS_ENDPOINT_URL and
// AWS_ENDPOINT_URL_<SERVICE> for emulators and private endpoints (docs.aws.amazon.com/sdkref, Service-specific
// endpoints). It knows nothing of files or instance metadata, which keeps a function small and its start quick.
//
// The error names every variable that is missing. The client must not be nil; its timeout bounds one attempt of a call.
func ConfigFromEnv(getenv func(string) string, client *http.Client) (Config, error) {
	region := getenv("AWS_REGION")
	if region == "" {
		region = getenv("AWS_DEFAULT_REGION")
	}
	keyID, secret := getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY")
	var problems []error
	if region == "" {
		problems = append(problems, errors.New("AWS_REGION is not set"))
	}
	if keyID == "" {
		problems = append(problems, errors.New("AWS_ACCESS_KEY_ID is not set"))
	}
	if secret == "" {
		problems = append(problems, errors.New("AWS_SECRET_ACCESS_KEY is not set"))
	}
	if len(problems) > 0 {
		return Config{}, errors.Join(problems...)
	}

	config := Config{
		Region:        region,
		Credentials:   credentials.NewStaticCredentialsProvider(keyID, secret, getenv("AWS_SESSION_TOKEN")),
		HTTPClient:    client,
		ConfigSources: []any{serviceEndpoints{getenv}},
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = mostAttempts, longestPause
			})
		},
	}
	if endpoint := getenv("AWS_ENDPOINT_URL"); endpoint != "" {
		config.BaseEndpoint = &endpoint
	}
	return config, nil
}

// serviceEndpoints answers the SDK's question for a service's own endpoint, as the SDK's package config does.
type serviceEndpoints struct{ getenv func(string) string }

// GetServiceBaseEndpoint looks up "Secrets Manager" as AWS_ENDPOINT_URL_SECRETS_MANAGER.
func (e serviceEndpoints) GetServiceBaseEndpoint(_ context.Context, sdkID string) (string, bool, error) {
	endpoint := e.getenv("AWS_ENDPOINT_URL_" + strings.ToUpper(strings.ReplaceAll(sdkID, " ", "_")))
	return endpoint, endpoint != "", nil
}
