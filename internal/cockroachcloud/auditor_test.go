package cockroachcloud_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
)

// The methods are pinned: a new one needs a read at what it sends.
func TestAuditor_has_no_method_that_writes(t *testing.T) {
	auditor := reflect.TypeFor[cockroachcloud.Auditor]()
	var methods []string
	for i := range auditor.NumMethod() {
		methods = append(methods, auditor.Method(i).Name)
	}
	if want := []string{"CMEKChanges", "Roles"}; !slices.Equal(methods, want) || reflect.PointerTo(auditor).NumMethod() != len(want) {
		t.Errorf("methods %v, want %v", methods, want)
	}
}

// answers are the API's by path.
type answers map[string]string

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		return nil, fmt.Errorf("a %s was sent", r.Method)
	}
	status, body := http.StatusOK, a[r.URL.Path]
	if body == "403" {
		status, body = http.StatusForbidden, `{"code":7,"message":"no","details":[]}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func auditorOver(t *testing.T, a answers) cockroachcloud.Auditor {
	t.Helper()
	auditor, err := cockroachcloud.NewAuditor(cockroachcloud.Options{
		Server: "http://localhost", APIKey: cockroachcloud.StaticAPIKey("CCDB1_SAMPLEadminSAMPLEadmin_SAMPLEadminSAMPLEadminSAMPLEadminSAMPLEa"), Rate: 10, MaxReadAttempts: 1,
		HTTPClient: &http.Client{Transport: a},
	})
	if err != nil {
		t.Fatal(err)
	}
	return auditor
}

const entry = `{"id":"e1","action":"AUDIT_LOG_ACTION_UPDATE_CMEK","cluster_id":"c1","created_at":"2026-01-01T00:00:00Z","service_account_name":"keyturn"}`

func TestCMEKChanges_are_read_whole_or_not_at_all(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       int
		is         error
	}{
		{"none", `{"entries":[]}`, 0, nil},
		{"one, and what is about something else", `{"entries":[` + entry + `,{"id":"e2","action":"AUDIT_LOG_ACTION_CREATE_CLUSTER"}]}`, 1, nil},
		{"one twice", `{"entries":[` + entry + `,` + entry + `]}`, 1, nil},
		{"without a cluster", `{"entries":[` + strings.Replace(entry, `"c1"`, `""`, 1) + `]}`, 0, cmek.ErrIncomplete},
		{"without a time", `{"entries":[` + strings.Replace(entry, `"created_at"`, `"x"`, 1) + `]}`, 0, cmek.ErrIncomplete},
		{"without an id", `{"entries":[` + strings.Replace(entry, `"e1"`, `""`, 1) + `]}`, 0, cmek.ErrIncomplete},
		{"no list", `{}`, 0, cmek.ErrIncomplete},
		{"refused", "403", 0, cmek.ErrDenied},
	} {
		got, err := auditorOver(t, answers{"/api/v1/auditlogevents": tt.body}).CMEKChanges(t.Context(), time.Now())
		var missing *cmek.PermissionError
		if len(got) != tt.want || (err != nil) != (tt.is != nil) || err != nil && !errors.Is(err, tt.is) || errors.As(err, &missing) != (tt.body == "403") {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
		if tt.want == 1 && (got[0].By != "keyturn" || got[0].ClusterID != "c1") {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

func TestRoles_are_those_of_the_service_account_of_the_key(t *testing.T) {
	key, account := `{"id":"CCDB1_a","service_account_id":"s1"}`, `{"id":"s1","roles":[{"name":"ORG_MEMBER","resource":{"type":"ORGANIZATION"}},{"name":"CLUSTER_OPERATOR_WRITER","resource":{}}]}`
	for _, tt := range []struct {
		name, key, account string
		want               []string
	}{
		{"two", key, account, []string{"ORG_MEMBER", "CLUSTER_OPERATOR_WRITER"}},
		{"the key is refused", "403", account, nil},
		{"the account is refused", key, "403", nil},
		{"the key names no account", `{"id":"CCDB1_a"}`, account, nil},
		{"the account has no list of roles", key, `{"id":"s1"}`, nil},
	} {
		got, err := auditorOver(t, answers{"/api/v1/api-keys/CCDB1_a": tt.key, "/api/v1/service-accounts/s1": tt.account}).Roles(t.Context(), "CCDB1_a")
		var missing *cmek.PermissionError
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) || errors.As(err, &missing) != strings.HasSuffix(tt.name, "refused") {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}
