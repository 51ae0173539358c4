package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/explain"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
)

// With a ledger explain knows the document before the event, as alerting does: the same policy saved again is no critical change.
func TestExplainComparesWithTheNotedPolicy(t *testing.T) {
	const statements = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/payments-cmek"},"Action":"kms:*","Resource":"*"},` +
		`{"Effect":"Allow","Principal":{"Service":"logs.us-east-1.amazonaws.com"},"Action":"kms:Encrypt","Resource":"*"}`
	b := newBench(t).swept(t)
	if err := (&installation.Program{Terminal: terminal.Terminal{Environ: b.environ}}).WithLedger(t.Context(), func(ctx context.Context, l *ledger.Ledger) error {
		return l.NotePolicy(ctx, paymentsKey, `{"Version":"2012-10-17","Statement":[`+statements+`]}`, ledger.NotedPolicy{})
	}); err != nil {
		t.Fatal(err)
	}
	record := strings.Replace(withPolicy("PutKeyPolicy", "policy", statements), `"eventID"`, fmt.Sprintf(`"eventTime":%q,"eventID"`, time.Now().UTC().Add(time.Minute).Format(time.RFC3339)), 1)
	o := b.keyturnWith(t.Context(), record, "explain", "-o", "json", "--ledger", "file:"+filepath.Join(b.folder, "ledger.db"))
	if x := decodeJSON[explain.Explanation](t, o.out); x.Severity.Above(alert.Medium) {
		t.Errorf("the policy that the ledger has noted, saved again, is %s because %s; want at most medium", x.Severity, x.Reason)
	}
	// Of a record without a time nobody knows whether it came after the note.
	o = b.keyturnWith(t.Context(), withPolicy("PutKeyPolicy", "policy", statements), "explain", "-o", "json", "--ledger", "file:"+filepath.Join(b.folder, "ledger.db"))
	if x := decodeJSON[explain.Explanation](t, o.out); x.Severity != alert.Critical {
		t.Errorf("the same policy at an unknown time is %s because %s; want critical", x.Severity, x.Reason)
	}
}
