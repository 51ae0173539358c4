package google_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
)

// A project in which an API or the billing is off refuses as if a permission were missing, with another reason. The words of it may say
// anything.
func TestWhatIsOffIsNoMissingPermission(t *testing.T) {
	const errorInfo, domain = "type.googleapis.com/google.rpc.ErrorInfo", "googleapis.com"
	const number, kms = "projects/123456789012", "cloudkms.googleapis.com"
	for name, row := range map[string]struct {
		code                                    int
		kind, reason, domain, consumer, service string
		before                                  string // details before it
		what                                    string // "" for a refusal of us
		help                                    []string
	}{
		"an API": {403, errorInfo, "SERVICE_DISABLED", domain, number, kms, "", "the API cloudkms.googleapis.com of project 123456789012 is off",
			[]string{"Enable the API:", "gcloud services enable cloudkms.googleapis.com --project=123456789012"}},
		"an API, said after more": {403, errorInfo, "SERVICE_DISABLED", domain, number, "iamcredentials.googleapis.com",
			`"odd",{"@type":"type.googleapis.com/google.rpc.Help","reason":7},{"@type":"type.googleapis.com/of.nobody"},`,
			"the API iamcredentials.googleapis.com of project 123456789012 is off", []string{"Enable the API:", "gcloud services enable iamcredentials.googleapis.com --project=123456789012"}},
		"the billing": {403, errorInfo, "BILLING_DISABLED", domain, number, kms, "", "the billing of project 123456789012 is off",
			[]string{"Link the project to a billing account; replace BILLING_ACCOUNT:", "gcloud billing projects link 123456789012 --billing-account=BILLING_ACCOUNT"}},
		"a project of a domain": {403, errorInfo, "SERVICE_DISABLED", domain, "projects/example.com:keys", kms, "", "the API cloudkms.googleapis.com of project example.com:keys is off",
			[]string{"Enable the API:", "gcloud services enable cloudkms.googleapis.com --project=example.com:keys"}},
		"a hostile project": {403, errorInfo, "BILLING_DISABLED", domain, "projects/p;x", kms, "", "the billing of a project that the answer does not name is off",
			[]string{"Link the project to a billing account; replace PROJECT and BILLING_ACCOUNT:", "gcloud billing projects link PROJECT --billing-account=BILLING_ACCOUNT"}},
		"a hostile API": {403, errorInfo, "SERVICE_DISABLED", domain, number, "$(rm).googleapis.com", "", "an API of project 123456789012 is off",
			[]string{"Enable the API; replace API:", "gcloud services enable API --project=123456789012"}},
		"neither named": {403, errorInfo, "SERVICE_DISABLED", domain, "", "", "", "an API of a project that the answer does not name is off",
			[]string{"Enable the API; replace PROJECT and API:", "gcloud services enable API --project=PROJECT"}},

		"a missing permission":          {403, errorInfo, "IAM_PERMISSION_DENIED", "iam.googleapis.com", number, kms, "", "", nil},
		"a project that was shut down":  {403, errorInfo, "USER_PROJECT_DENIED", domain, number, kms, "", "", nil},
		"a reason that begins so":       {403, errorInfo, "SERVICE_DISABLED_BY_NOBODY", domain, number, kms, "", "", nil},
		"the reason in small letters":   {403, errorInfo, "service_disabled", domain, number, kms, "", "", nil},
		"that reason of somebody else":  {403, errorInfo, "SERVICE_DISABLED", "example.com", number, kms, "", "", nil},
		"that reason of nobody":         {403, errorInfo, "BILLING_DISABLED", "", number, kms, "", "", nil},
		"that reason with an old token": {401, errorInfo, "SERVICE_DISABLED", domain, number, kms, "", "", nil},
		"that word in another detail":   {403, "type.googleapis.com/google.rpc.Help", "SERVICE_DISABLED", domain, number, kms, "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			state, code := "PERMISSION_DENIED", codes.PermissionDenied
			if row.code == 401 {
				state, code = "UNAUTHENTICATED", codes.Unauthenticated
			}
			answer := fmt.Sprintf(`{"error":{"code":%d,"message":"It is off.\nSee elsewhere","status":%q,"details":[%s{"@type":%q,"reason":%q,"domain":%q,"metadata":{"consumer":%q,"service":%q}}]}}`,
				row.code, state, row.before, row.kind, row.reason, row.domain, row.consumer, row.service)
			_, overREST := kmsOf(t, &fakeKMS{answers: map[string]string{"k": answer}, status: map[string]int{"k": row.code}}).Key(t.Context(), testKey)
			all := map[string]error{"REST": overREST}
			if row.kind == errorInfo { // gRPC has types
				s, err := status.New(code, "It is off.\nSee elsewhere").WithDetails(&errdetails.Help{}, &errdetails.ErrorInfo{
					Reason: row.reason, Domain: row.domain, Metadata: map[string]string{"consumer": row.consumer, "service": row.service},
				})
				if err != nil {
					t.Fatal(err)
				}
				all["gRPC"] = google.Explain(s.Err(), "read key "+string(testKey))
			}
			for over, err := range all {
				var off *cmek.SwitchedOffError
				is := errors.As(err, &off)
				if is == (row.what == "") || errors.Is(err, cmek.ErrDenied) == is || errors.Is(err, cmek.ErrNotFound) {
					t.Errorf("over %s the error is %v; want that something is off: %t, or else that we were denied", over, err, row.what != "")
					continue
				}
				if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "It is off. See elsewhere") || !strings.Contains(err.Error(), string(testKey)) {
					t.Errorf("over %s the error is %q; want one line with the answer and the key", over, err)
				}
				if !is {
					continue
				}
				if off.What != row.what || !slices.Equal(off.Help, row.help) || !strings.Contains(err.Error(), strings.Join(row.help, " ")) {
					t.Errorf("over %s %q is off, and %q helps (%v); want %q and %q", over, off.What, off.Help, err, row.what, row.help)
				}
				cmektest.CheckSteps(t, off.Help...)
				var missing *cmek.PermissionError
				if errors.As(err, &missing) {
					t.Errorf("over %s the permission %s is missing", over, missing.Permission)
				}
			}
		})
	}
}
