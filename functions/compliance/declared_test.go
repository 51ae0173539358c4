package compliance_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
)

func TestDeclaredIn_takes_what_a_deployment_stores_and_nothing_else(t *testing.T) {
	in := func(text string, err error) (string, error) {
		d, hash, err := compliance.DeclaredIn(func(context.Context) ([]byte, error) { return []byte(text), err })(t.Context())
		return fmt.Sprintf("%d %d %s", d.Thresholds.CryptoperiodDays, len(d.Exceptions), hash), err
	}
	exception := `{"exceptions":[{"check":"CMEK-26","subject":"GCP/acme","owner":"a","approver":"b","reason":"c","expires":"` +
		time.Now().Add(100*24*time.Hour).UTC().Format("2006-01-02") + `T00:00:00Z"}]}`
	for text, want := range map[string]string{
		// As sha256sum prints it.
		`{}`:   "0 0 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
		"{}\n": "0 0 ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356",
		`{"thresholds":{"cryptoperiod_days":90},"keys":[],"exceptions":null}`: "90 0 ",
		exception: "0 1 ",
	} {
		if got, err := in(text, nil); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, error %v; want %s", text, got, err, want)
		}
	}
	for text, reason := range map[string]string{
		``: "EOF", `{`: "unexpected", `[]`: "cannot unmarshal", `<html>`: "invalid character", `{} {}`: "more than one", `{"exeptions":[]}`: "exeptions",
		`{"thresholds":{"cryptoperiod":90}}`: "cryptoperiod", `{"thresholds":{"cryptoperiod_days":-1}}`: "cryptoperiod_days",
		strings.Replace(exception, `"a"`, `""`, 1): "owner", strings.Replace(exception, `T00:00:00Z`, ``, 1): "cannot parse",
	} {
		if got, err := in(text, nil); err == nil || !strings.Contains(err.Error(), "declarations") || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %s, error %v; want one about %s", text, got, err, reason)
		}
	}
	if _, err := in(`{}`, errors.New("refused")); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("what cannot be read is declared: %v", err)
	}
}
