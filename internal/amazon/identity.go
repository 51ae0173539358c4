package amazon

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Identity is whose credentials are used.
type Identity struct{ ARN, Account string }

// WhoAmI asks whose the credentials are, for which no permission is needed.
func WhoAmI(ctx context.Context, config Config) (Identity, error) {
	out, err := sts.NewFromConfig(config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	switch {
	case err != nil:
		return Identity{}, explain(err, "get caller identity")
	case aws.ToString(out.Arn) == "" || aws.ToString(out.Account) == "":
		return Identity{}, errors.New("get caller identity: the answer names nobody")
	}
	return Identity{*out.Arn, *out.Account}, nil
}

// CallerARN asks for the ARN of the credentials, as WhoAmI.
func CallerARN(config Config) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		who, err := WhoAmI(ctx, config)
		return who.ARN, err
	}
}
