package events

import (
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// failures classes AWS's error codes, each without prefix and without the word Exception: CloudTrail writes a code now with
// and now without them.
//
// Of AWS KMS they are those of docs.aws.amazon.com/kms/latest/APIReference (the Errors of each operation) and of
// .../APIReference/CommonErrors.html. LimitExceeded is a quota, which passes or can be raised.
var failures = map[string]cmek.Failure{
	"DryRunOperation": cmek.FailureDryRun,

	"UnauthorizedOperation": cmek.FailureDenied,

	// The key is disabled, waits for its deletion or for its material, or its key store is not connected.
	"Disabled":        cmek.FailureUnfit,
	"KMSInvalidState": cmek.FailureUnfit,

	"NotFound":         cmek.FailureMissing,
	"NoSuchEntity":     cmek.FailureMissing,
	"ResourceNotFound": cmek.FailureMissing,

	"IncorrectKey":      cmek.FailureWrongKey,
	"InvalidCiphertext": cmek.FailureWrongKey,

	"Throttling":        cmek.FailurePassing,
	"LimitExceeded":     cmek.FailurePassing,
	"KeyUnavailable":    cmek.FailurePassing,
	"DependencyTimeout": cmek.FailurePassing,
	"KMSInternal":       cmek.FailurePassing,

	"Validation":              cmek.FailureRequest,
	"ValidationError":         cmek.FailureRequest,
	"InvalidArn":              cmek.FailureRequest,
	"InvalidAliasName":        cmek.FailureRequest,
	"InvalidGrantId":          cmek.FailureRequest,
	"InvalidGrantToken":       cmek.FailureRequest,
	"InvalidKeyUsage":         cmek.FailureRequest,
	"InvalidMarker":           cmek.FailureRequest,
	"MalformedPolicyDocument": cmek.FailureRequest,
	"UnsupportedOperation":    cmek.FailureRequest,
}

// denied begins the error codes of calls that a policy refused.
const denied = "AccessDenied"

// failure classes the outcome of a call; "" if it succeeded. Only the code counts: callers choose parts of the message.
func (r *record) failure() cmek.Failure {
	if r.ErrorCode == "" && r.ErrorMessage == "" {
		return ""
	}
	code := r.ErrorCode
	// "Client." and "Server." blame one of the two; a namespace ends with #.
	code = code[strings.LastIndexByte(code, '#')+1:]
	for _, side := range []string{"Client.", "Server."} {
		code = strings.TrimPrefix(code, side)
	}
	if class, ok := failures[strings.TrimSuffix(code, "Exception")]; ok {
		return class
	}
	if strings.HasPrefix(code, denied) {
		return cmek.FailureDenied
	}
	return cmek.FailureUnknown
}
