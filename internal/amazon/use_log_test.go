package amazon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// eventHistory answers LookupEvents with records, the newest first, 50 on a page.
type eventHistory struct {
	records []string
	asked   []time.Time
}

func (h *eventHistory) RoundTrip(r *http.Request) (*http.Response, error) {
	h.asked = append(h.asked, time.Now())
	body, _ := io.ReadAll(r.Body)
	var input struct{ NextToken string }
	if err := json.Unmarshal(body, &input); err != nil {
		return nil, err
	}
	first := 0
	_, _ = fmt.Sscan(input.NextToken, &first) // none is the first page
	var output struct {
		Events    []map[string]string
		NextToken string `json:",omitempty"`
	}
	last := min(first+50, len(h.records))
	for _, record := range h.records[first:last] {
		output.Events = append(output.Events, map[string]string{"CloudTrailEvent": record})
	}
	if last < len(h.records) {
		output.NextToken = fmt.Sprint(last)
	}
	data, err := json.Marshal(output)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(strings.NewReader(string(data))), Request: r}, err
}

// uses reads the records through the SDK.
func (h *eventHistory) uses(t *testing.T) (uses cmek.RecordedUses) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		if uses, err = amazon.NewUseLog(configAt(t, "http://cloudtrail.test", h), nil).RecordedUses(t.Context(), ownKey, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	})
	return uses
}

const (
	oldMaterial = "123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0"
	newMaterial = "96083e4fb6dbc41d77578a213a6b6669c044dd4c143e96755396d2bf11fd6068"
	session     = `"userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/orders-cmek/x","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/team/orders-cmek"}}}`
	theRole     = cmek.Principal("arn:aws:iam::111122223333:role/team/orders-cmek")
)

func useRecord(name, more string) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","eventID":"e-1","eventTime":"2026-03-01T12:00:00Z","eventSource":"kms.amazonaws.com","eventName":%q,"resources":[{"type":"AWS::KMS::Key","ARN":%q}],%s}`, name, ownKey, more)
}

// The shapes are those of docs.aws.amazon.com/kms/latest/developerguide/ct-encrypt.html, ct-decrypt.html and ct-reencrypt.html.
func TestUseLog_reads_who_used_which_material(t *testing.T) {
	v := cmek.MaterialVersion
	for _, tt := range []struct {
		name, record         string
		by                   cmek.Principal
		encrypted, decrypted cmek.KeyVersion
		none, cut            bool
	}{
		{name: "Encrypt", record: useRecord("Encrypt", session+`,"additionalEventData":{"keyMaterialId":"`+newMaterial+`"}`), by: theRole, encrypted: v(newMaterial)},
		{name: "GenerateDataKey", record: useRecord("GenerateDataKeyWithoutPlaintext", session+`,"additionalEventData":{"keyMaterialId":"`+newMaterial+`"}`), by: theRole, encrypted: v(newMaterial)},
		{name: "Decrypt", record: useRecord("Decrypt", session+`,"additionalEventData":{"keyMaterialId":"`+oldMaterial+`"}`), by: theRole, decrypted: v(oldMaterial)},
		{name: "ReEncrypt under the same key", record: useRecord("ReEncrypt", session+`,"additionalEventData":{"sourceKeyMaterialId":"`+oldMaterial+`","destinationKeyMaterialId":"`+newMaterial+`"}`),
			by: theRole, encrypted: v(newMaterial), decrypted: v(oldMaterial)},
		{name: "ReEncrypt from another key", record: strings.Replace(useRecord("ReEncrypt", session+`,"additionalEventData":{"sourceKeyMaterialId":"`+oldMaterial+`","destinationKeyMaterialId":"`+newMaterial+`"}`),
			`"resources":[`, `"resources":[{"ARN":"`+string(foreignKey)+`"},`, 1), by: theRole, encrypted: v(newMaterial)},
		{name: "ReEncrypt to another key", record: strings.Replace(useRecord("ReEncrypt", session+`,"additionalEventData":{"sourceKeyMaterialId":"`+oldMaterial+`","destinationKeyMaterialId":"`+newMaterial+`"}`),
			`}],`, `},{"ARN":"`+string(foreignKey)+`"}],`, 1), by: theRole, decrypted: v(oldMaterial)},
		{name: "no material", record: useRecord("Encrypt", session), by: theRole},
		{name: "a session without its issuer", record: useRecord("Encrypt", `"userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/orders-cmek/x"}`), by: "arn:aws:iam::111122223333:role/orders-cmek"},
		{name: "a user", record: useRecord("Encrypt", `"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/jo"}`), by: "arn:aws:iam::111122223333:user/jo"},
		{name: "a service", record: useRecord("Decrypt", `"userIdentity":{"type":"AWSService","invokedBy":"s3.amazonaws.com"}`)},
		{name: "refused", record: useRecord("Decrypt", session+`,"errorCode":"AccessDenied"`), none: true},
		{name: "no use", record: useRecord("DescribeKey", session), none: true},
		{name: "of another service", record: strings.Replace(useRecord("Encrypt", session), "kms.amazonaws.com", "payment-cryptography.amazonaws.com", 1), none: true},
		{name: "cut off", record: useRecord("Encrypt", session)[:90], none: true, cut: true},
		{name: "without id", record: strings.Replace(useRecord("Encrypt", session), "e-1", "", 1), none: true, cut: true},
		{name: "empty", none: true, cut: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := (&eventHistory{records: []string{tt.record}}).uses(t)
			want := []cmek.RecordedUse{{Event: "e-1", At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), By: tt.by, Encrypted: tt.encrypted, Decrypted: tt.decrypted}}
			if tt.none {
				want = nil
			}
			for i := range got.Uses {
				got.Uses[i].Operation = ""
			}
			if !slices.Equal(got.Uses, want) || got.Cut != tt.cut {
				t.Errorf("%+v, want %+v, cut %v", got, want, tt.cut)
			}
		})
	}
}

func TestUseLog_keeps_the_pace_and_ends(t *testing.T) {
	for _, tt := range []struct {
		records, pages int
		cut            bool
	}{{0, 1, false}, {50, 1, false}, {51, 2, false}, {1000, 20, false}, {1001, 20, true}} {
		h := &eventHistory{records: slices.Repeat([]string{useRecord("Encrypt", session)}, tt.records)}
		got := h.uses(t)
		if len(got.Uses) != min(tt.records, 1000) || got.Cut != tt.cut || len(h.asked) != tt.pages {
			t.Errorf("%d records: %d uses, cut %v, %d pages", tt.records, len(got.Uses), got.Cut, len(h.asked))
		}
		for i, at := range h.asked {
			if i > 0 && at.Sub(h.asked[i-1]) < 500*time.Millisecond {
				t.Errorf("%d records: page %d after %s; two a second are permitted", tt.records, i, at.Sub(h.asked[i-1]))
			}
		}
	}
}

func TestUseLog_over_the_simulator(t *testing.T) {
	s := newSimulatedKMS(t)
	s.set(simulator.CloudTrailLookup, "0s")
	_, err := s.client().Encrypt(t.Context(), &kms.EncryptInput{KeyId: aws.String(string(ownKey)), Plaintext: []byte("x")})
	s.must(err)
	log := amazon.NewUseLog(configAt(t, "http://aws.test", simulator.Transport(s.world.Handler())), nil)
	uses, err := log.RecordedUses(t.Context(), ownKey, time.Now().Add(-time.Minute))
	s.must(err)
	last, err := amazon.NewKMS(s.config, nil).LastUse(t.Context(), ownKey)
	s.must(err)
	if len(uses.Uses) != 1 || uses.Uses[0].Encrypted != cmek.MaterialVersion(first) || uses.Uses[0].Event != last.Event || last.Event == "" {
		t.Errorf("%+v, last use %+v", uses, last)
	}
	if uses, err = log.RecordedUses(t.Context(), relatedKey, time.Now().Add(-time.Minute)); err != nil || len(uses.Uses) > 0 {
		t.Errorf("another key: %+v, %v", uses, err)
	}
}

func TestUseLog_refusal_names_the_permission(t *testing.T) {
	_, err := amazon.NewUseLog(configAt(t, "http://cloudtrail.test", refusingAll{"AccessDeniedException"}), nil).RecordedUses(t.Context(), ownKey, time.Now())
	var missing *cmek.PermissionError
	if !errors.As(err, &missing) || missing.Permission != "cloudtrail:LookupEvents in account 111122223333" || err.Error() != "cloudtrail:LookupEvents: AccessDeniedException: no" {
		t.Errorf("%v", err)
	}
	_, err = amazon.NewUseLog(configAt(t, "http://cloudtrail.test", refusingAll{"InvalidTimeRangeException"}), nil).RecordedUses(t.Context(), ownKey, time.Now())
	if err == nil || errors.Is(err, cmek.ErrDenied) {
		t.Errorf("%v", err)
	}
}

// refusingAll refuses every call with the code.
type refusingAll struct{ code string }

func (r refusingAll) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
		Body: io.NopCloser(strings.NewReader(`{"__type":"` + r.code + `","message":"no"}`)), Request: request,
	}, nil
}
