package amazon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// Secret is an API key in Secrets Manager. It is safe for concurrent use.
type Secret struct {
	client *secretsmanager.Client
	id     string
}

// NewSecret returns the secret with that name or ARN. An ARN is read in its own Region.
func NewSecret(config Config, id string) *Secret {
	client := secretsmanager.NewFromConfig(config, func(o *secretsmanager.Options) {
		if parsed, err := arn.Parse(id); err == nil {
			o.Region = parsed.Region
		}
	})
	return &Secret{client, id}
}

// Value reads the API key. The secret is either the key itself, or a JSON object with the key as "api_key". Its content is
// in no error. Nothing is kept: the Cloud API's client keeps the key, and asks again when it was refused.
func (s *Secret) Value(ctx context.Context) (string, error) {
	doing := "read secret " + s.id
	out, err := s.client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.id})
	if err != nil {
		return "", explain(err, doing)
	}
	content := string(out.SecretBinary)
	if out.SecretString != nil {
		content = *out.SecretString
	}
	value, err := apiKey(content)
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	return value, nil
}

// apiKey takes the key out of a secret's content. Errors of the JSON decoder quote their input, so they are not passed on.
func apiKey(content string) (string, error) {
	key := strings.TrimSpace(content)
	if strings.HasPrefix(key, "{") {
		var fields struct {
			APIKey string `json:"api_key"`
		}
		if json.Unmarshal([]byte(key), &fields) != nil {
			return "", errors.New("it looks like JSON, but is not an object with a text as api_key")
		}
		key = strings.TrimSpace(fields.APIKey)
	}
	if key == "" {
		return "", errors.New("it holds no API key: want the key itself, or JSON with the key as api_key")
	}
	return key, nil
}
