package events

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestFailure_classesErrorCodes(t *testing.T) {
	for class, codes := range map[cmek.Failure][]string{
		cmek.FailureDryRun:   {"DryRunOperationException", "DryRunOperation", "com.amazonaws.kms#DryRunOperationException"},
		cmek.FailureDenied:   {"AccessDenied", "AccessDeniedException", "Client.UnauthorizedOperation", "UnauthorizedOperation", "com.amazon.coral.service#AccessDeniedException", "AccessDeniedForDependencyException"},
		cmek.FailureUnfit:    {"DisabledException", "Disabled", "KMSInvalidStateException", "KMSInvalidState"},
		cmek.FailureMissing:  {"NotFoundException", "NotFound", "NoSuchEntityException", "NoSuchEntity", "ResourceNotFoundException"},
		cmek.FailureWrongKey: {"IncorrectKeyException", "IncorrectKey", "InvalidCiphertextException", "InvalidCiphertext"},
		cmek.FailurePassing: {"ThrottlingException", "Throttling", "LimitExceededException", "LimitExceeded", "KeyUnavailableException",
			"DependencyTimeoutException", "KMSInternalException"},
		cmek.FailureRequest: {"ValidationException", "ValidationError", "InvalidKeyUsageException", "UnsupportedOperationException",
			"InvalidGrantTokenException", "InvalidGrantToken", "InvalidArnException", "MalformedPolicyDocument"},
		// Near misses on both sides of the codes above, and codes that say nothing about the key.
		cmek.FailureUnknown: {"DryRun", "DryRunOperationExceptions", "NotAuthorized", "AccessDenie", "access denied", "accessDenied", "NotAccessDenied",
			"UnauthorizedOperationClient.", "disabled", "DisabledKey", "KMSInvalidStateExceptionException", "KMSInvalid", "NotFoundHere", "TrailNotFound",
			"IncorrectKeyMaterialException", "IncorrectTrustAnchorException", "Throttle", "KMSInternalError", "KeyUnavailableForever",
			"InvalidGrant", "ValidationErrors", "InternalFailure", "TeleportationException", "Exception", "#", "Client.", "AccessDenied#", "AccessDenied#X"},
	} {
		for _, code := range codes {
			if got := (&record{ErrorCode: code}).failure(); got != class {
				t.Errorf("%q is %q, want %q", code, got, class)
			}
		}
	}
}

func TestDecode_failureOfEachCode(t *testing.T) {
	succeeded := string(read(t, "testdata/cloudtrail-decrypt.json"))
	if got := decodeOne(t, succeeded).Failure; got != "" {
		t.Errorf("a call that succeeded has failure %q, want none", got)
	}
	for _, tc := range []struct {
		fields string
		want   cmek.Failure
	}{
		{`"errorCode":"AccessDenied"`, cmek.FailureDenied},
		{`"errorCode":"DryRunOperationException"`, cmek.FailureDryRun},
		{`"errorCode":"","errorMessage":""`, ""},
		// Without a code the message says only that it failed.
		{`"errorMessage":"DryRunOperationException"`, cmek.FailureUnknown},
	} {
		failed := strings.Replace(succeeded, `"eventSource"`, tc.fields+`,"eventSource"`, 1)
		if got := decodeOne(t, failed); got.Failure != tc.want || got.Succeeded() != (tc.want == "") {
			t.Errorf("%s is %q with error %q, want %q", tc.fields, got.Failure, got.Error, tc.want)
		}
	}
}
