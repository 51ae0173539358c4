package amazon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/cmek"
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

// Name is the secret's name or ARN, as it was given.
func (s *Secret) Name() string { return s.id }

// Created reads when the current value was stored, and not the value. When the secret itself was changed last says less: a tag does that
// (docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecretVersionIds.html).
func (s *Secret) Created(ctx context.Context) (time.Time, error) {
	const action, current = "secretsmanager:ListSecretVersionIds", "AWSCURRENT"
	doing := "read versions of secret " + s.id
	pages := secretsmanager.NewListSecretVersionIdsPaginator(s.client, &secretsmanager.ListSecretVersionIdsInput{SecretId: &s.id})
	for page := 0; pages.HasMorePages() && page < 20; page++ {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return time.Time{}, permissionError(explain(err, doing), action+" on "+s.id)
		}
		for _, v := range out.Versions {
			if slices.Contains(v.VersionStages, current) && v.CreatedDate != nil {
				return v.CreatedDate.UTC(), nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%s: %w: none is %s", doing, cmek.ErrIncomplete, current)
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
