package amazon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/cmek"
)

// errorCode is the code with which an AWS service refused a call, or "" if err is no such refusal.
func errorCode(err error) string {
	var refusal smithy.APIError
	if errors.As(err, &refusal) {
		return refusal.ErrorCode()
	}
	return ""
}

// deniedCodes mean that our own credentials were refused: they may not do this, or are not valid (any more). See "Common
// error types" in each service's API reference.
var deniedCodes = []string{
	"AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException", "NotAuthorized",
	"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException",
	"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSignatureException", "MissingAuthenticationToken",
	"MissingAuthenticationTokenException", "IncompleteSignature", "OptInRequired",
}

// explain wraps the error of an AWS call with what was tried, and with cmek.ErrDenied where that is the reason.
func explain(err error, doing string) error {
	if slices.Contains(deniedCodes, errorCode(err)) {
		return fmt.Errorf("%s: %w: %w", doing, cmek.ErrDenied, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Explain is how all errors of AWS calls are wrapped: with what was tried, and with [cmek.ErrDenied] where that is the reason.
func Explain(err error, doing string) error { return explain(err, doing) }

// sleep waits, or returns the context's error if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
