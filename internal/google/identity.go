package google

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/compute/metadata"

	"github.com/keyturn/keyturn/internal/cmek"
)

// longestIdentity bounds the question who we are: the metadata server is on the function's own host.
const longestIdentity = 5 * time.Second

// CallerEmail asks the metadata server for the e-mail address of the service account that the function runs as, for which no permission is
// needed (cloud.google.com/compute/docs/metadata/predefined-metadata-keys, "service-accounts"). An endpoint on this machine gets no
// credentials, so nobody calls it.
func CallerEmail(c Config) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		const doing = "ask for the service account"
		if c.Tokens == nil {
			return "", fmt.Errorf("%s: %w: the endpoint is on this machine", doing, cmek.ErrNoCredentials)
		}
		ctx, cancel := context.WithTimeout(ctx, longestIdentity)
		defer cancel()
		email, err := metadata.NewClient(c.HTTP).EmailWithContext(ctx, "default")
		switch {
		case err != nil:
			return "", fmt.Errorf("%s: %w", doing, clipped{err})
		case !strings.Contains(email, "@") || strings.ContainsAny(email, " \n<"):
			return "", errors.New(doing + ": the answer names nobody")
		}
		return email, nil
	}
}
