// Package hub is what a person's own credentials find at a deployment's hub: what it publishes, and what they may do there. The functions
// need none of it.
package hub

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
)

// ReadParameter reads a parameter of Systems Manager. The error wraps [cmek.ErrNotFound] if the account has none of that name in
// the configuration's Region, and [cmek.ErrDenied] if it may not be read.
func ReadParameter(ctx context.Context, config amazon.Config, name string) (string, error) {
	doing := "read parameter " + name
	out, err := ssm.NewFromConfig(config).GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
	var missing *types.ParameterNotFound
	switch {
	case errors.As(err, &missing):
		return "", fmt.Errorf("%s: %w", doing, cmek.ErrNotFound)
	case err != nil:
		return "", amazon.Explain(err, doing)
	case out.Parameter == nil || out.Parameter.Value == nil || *out.Parameter.Value == "":
		return "", fmt.Errorf("%s: the answer holds no value", doing)
	}
	return *out.Parameter.Value, nil
}
