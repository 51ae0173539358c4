package amazon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
)

// securityHub answers GetCallerIdentity, and import requests with the answers in order.
type securityHub struct {
	t       *testing.T
	answers []string
	bodies  []string
}

func (h *securityHub) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	status, answer := http.StatusOK, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::111122223333:assumed-role/keyturn-compliance/x</Arn><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`
	if r.URL.Path == "/findings/import" {
		if r.Method != http.MethodPost || !strings.Contains(r.Header.Get("Authorization"), "/us-east-1/securityhub/aws4_request") || r.Header.Get("Content-Type") != "application/json" {
			h.t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		h.bodies = append(h.bodies, string(body))
		answer = h.answers[min(len(h.bodies), len(h.answers))-1]
		if n := 0; !strings.HasPrefix(answer, "{") {
			_, err := fmt.Sscan(answer[:3], &n)
			if err != nil {
				h.t.Fatal(err)
			}
			status, answer = n, answer[4:]
		}
		if answer == `{"all":true}` {
			var sent struct{ Findings []any }
			if err := json.Unmarshal(body, &sent); err != nil {
				h.t.Error(err)
			}
			answer = fmt.Sprintf(`{"FailedCount":0,"SuccessCount":%d}`, len(sent.Findings))
		}
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func someFindings(n int) (all []cmek.SecurityFinding) {
	for i := range n {
		all = append(all, cmek.SecurityFinding{
			ID: fmt.Sprintf("keyturn/CMEK-08/k%d", i), Check: "CMEK-08", Title: "t", Description: "d", Severity: "medium", Failed: true, Since: began, Updated: began.Add(time.Hour), Resource: string(ownKey),
		})
	}
	return all
}

func (h *securityHub) importing(t *testing.T, findings []cmek.SecurityFinding) ([]cmek.RejectedFinding, error) {
	t.Helper()
	h.t = t
	return amazon.NewSecurityHub(configAt(t, "http://securityhub.test", h)).Import(t.Context(), findings)
}

func TestSecurityHub_gets_batches_of_100(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 1, 100: 1, 101: 2, 250: 3} {
		h := &securityHub{answers: []string{`{"all":true}`}}
		if rejected, err := h.importing(t, someFindings(n)); err != nil || len(rejected) > 0 || len(h.bodies) != want {
			t.Errorf("%d: %d batches, %v, %v", n, len(h.bodies), rejected, err)
		}
	}
}

func TestSecurityHub_names_what_it_does_not_take(t *testing.T) {
	h := &securityHub{answers: []string{`{"FailedCount":1,"SuccessCount":1,"FailedFindings":[{"Id":"keyturn/CMEK-08/k1","ErrorCode":"InvalidInput","ErrorMessage":"no"}]}`}}
	rejected, err := h.importing(t, someFindings(2))
	if err != nil || len(rejected) != 1 || rejected[0] != (cmek.RejectedFinding{ID: "keyturn/CMEK-08/k1", Code: "InvalidInput", Why: "no"}) {
		t.Errorf("%+v, %v", rejected, err)
	}
}

// An answer that does not account for every finding is no answer.
func TestSecurityHub_answers_that_are_errors(t *testing.T) {
	for _, tt := range []struct {
		answer string
		denied bool
		sent   int
	}{
		{`{}`, false, 1}, {`{"FailedCount":0,"SuccessCount":1}`, false, 1}, {`{"FailedCount":1,"SuccessCount":1}`, false, 1},
		{`200 <html>`, false, 1}, {`403 {"Message":"no"}`, true, 1}, {`400 {"Code":"InvalidInputException","Message":"no"}`, false, 1},
		{`401 {"Message":"account is not subscribed"}`, false, 1}, {`500 {}`, false, 3}, {`429 {}`, false, 3},
	} {
		h := &securityHub{answers: []string{tt.answer}}
		var err error
		synctest.Test(t, func(t *testing.T) { _, err = h.importing(t, someFindings(2)) })
		var missing *cmek.PermissionError
		if err == nil || errors.As(err, &missing) != tt.denied || len(h.bodies) != tt.sent {
			t.Errorf("%s: %v, sent %d times", tt.answer, err, len(h.bodies))
		}
		if tt.denied && missing.Permission != "securityhub:BatchImportFindings in account 111122223333" {
			t.Error(missing.Permission)
		}
	}
}

func TestSecurityHub_format(t *testing.T) {
	long := strings.Repeat("ä", 3000)
	for _, tt := range []struct {
		name   string
		change func(*cmek.SecurityFinding)
		want   map[string]string
	}{
		{"failed", func(*cmek.SecurityFinding) {}, map[string]string{
			"SchemaVersion": "2018-10-08", "Id": "keyturn/CMEK-08/k0", "ProductArn": "arn:aws:securityhub:us-east-1:111122223333:product/111122223333/default", "GeneratorId": "keyturn/CMEK-08",
			"AwsAccountId": "111122223333", "CreatedAt": "2026-03-01T12:00:00.000Z", "UpdatedAt": "2026-03-01T13:00:00.000Z", "RecordState": "ACTIVE", "Compliance.Status": "FAILED",
			"FindingProviderFields.Severity.Label": "MEDIUM", "FindingProviderFields.Severity.Original": "medium", "Resources.0.Type": "AwsKmsKey", "Resources.0.Id": string(ownKey), "Resources.0.Region": "eu-west-1",
			"Severity": "<nil>", "Types": "<nil>", "Workflow": "<nil>", "Remediation": "<nil>",
		}},
		{"fixed", func(f *cmek.SecurityFinding) { f.Failed = false }, map[string]string{"Compliance.Status": "PASSED", "RecordState": "ACTIVE"}},
		{"gone", func(f *cmek.SecurityFinding) { f.Failed, f.Gone = false, true }, map[string]string{"Compliance.Status": "NOT_AVAILABLE", "RecordState": "ARCHIVED"}},
		{"a cluster", func(f *cmek.SecurityFinding) { f.Resource = "7c1d9e20/us-east-1" }, map[string]string{"Resources.0.Type": "Other", "Resources.0.Region": "<nil>"}},
		{"a role", func(f *cmek.SecurityFinding) { f.Resource = "arn:aws:iam::111122223333:role/x" }, map[string]string{"Resources.0.Type": "AwsIamRole", "Resources.0.Region": "<nil>"}},
		{"long texts", func(f *cmek.SecurityFinding) { f.Title, f.Description, f.Recommendation = long, long, long }, map[string]string{
			"Title": strings.Repeat("ä", 255) + "…", "Description": strings.Repeat("ä", 1023) + "…", "Remediation.Recommendation.Text": strings.Repeat("ä", 511) + "…",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, f := &securityHub{answers: []string{`{"all":true}`}}, someFindings(1)
			tt.change(&f[0])
			if _, err := h.importing(t, f); err != nil {
				t.Fatal(err)
			}
			var sent struct{ Findings []any }
			if err := json.Unmarshal([]byte(h.bodies[0]), &sent); err != nil {
				t.Fatal(err)
			}
			for path, want := range tt.want {
				value := sent.Findings[0]
				for step := range strings.SplitSeq(path, ".") {
					switch v := value.(type) {
					case map[string]any:
						value = v[step]
					case []any:
						value = v[0]
					}
				}
				if got := fmt.Sprint(value); got != want {
					t.Errorf("%s is %s, want %s", path, got, want)
				}
			}
		})
	}
}

// Ids that are too long stay different, and a rejected one is named as it was given.
func TestSecurityHub_ids_that_are_too_long(t *testing.T) {
	f := someFindings(2)
	f[0].ID, f[1].ID = strings.Repeat("x", 600)+"a", strings.Repeat("x", 600)+"b"
	h := &securityHub{answers: []string{`{"all":true}`}}
	if _, err := h.importing(t, f); err != nil {
		t.Fatal(err)
	}
	var sent struct {
		Findings []struct {
			ID string `json:"Id"`
		}
	}
	if err := json.Unmarshal([]byte(h.bodies[0]), &sent); err != nil || sent.Findings[0].ID == sent.Findings[1].ID || len(sent.Findings[0].ID) > 512 {
		t.Errorf("%v %v", sent, err)
	}
	h = &securityHub{answers: []string{`{"FailedCount":1,"SuccessCount":1,"FailedFindings":[{"Id":"` + sent.Findings[1].ID + `","ErrorCode":"X","ErrorMessage":"no"}]}`}}
	if rejected, err := h.importing(t, f); err != nil || len(rejected) != 1 || rejected[0].ID != f[1].ID {
		t.Errorf("%v, %v", rejected, err)
	}
}

func TestSecurityHub_over_moto(t *testing.T) {
	rejected, err := amazon.NewSecurityHub(motoConfig(t, nil)).Import(t.Context(), someFindings(101))
	if err != nil || len(rejected) > 0 {
		t.Errorf("%v, %v", rejected, err)
	}
}
