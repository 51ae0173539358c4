package amazon

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/config"
)

// Secret is an API key in Secrets Manager. It is safe for concurrent use.
type Secret struct {
	client *secretsmanager.Client
	id     string
}

// NewSecret returns the secret with that name or ARN. An ARN is read in its own Region.
func NewSecret(c Config, id string) *Secret {
	client := secretsmanager.NewFromConfig(c, func(o *secretsmanager.Options) {
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
	value, err := config.APIKey(content)
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	return value, nil
}
