package life

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Exit code 4 says that nothing was sent. A request that the API refused was sent, whatever check keeps it from being sent again.
func TestConclude_saysThatNothingWasSentOnlyIfSo(t *testing.T) {
	operation := func(attempts int, a cmek.Answer) *ledger.Operation {
		return &ledger.Operation{Kind: ledger.OperationEnable, Attempts: attempts, Answer: &a, Result: ledger.OperationRefused, Why: "refused: " + a.Message}
	}
	unsent := cmek.Answer{Outcome: cmek.Refused, Unsent: true, Message: "no such host"}
	refused := cmek.Answer{Outcome: cmek.Refused, HTTPStatus: http.StatusBadRequest, Message: "Insufficient permissions"}
	for _, tt := range []struct {
		name      string
		operation *ledger.Operation
		want      error
	}{
		{"refused by a check", nil, terminal.ErrRefused},
		{"a request that did not leave", operation(1, unsent), terminal.ErrRefused},
		{"a request that the API refused", operation(1, refused), terminal.ErrNeedsPerson},
		{"one that did not leave after one that the API refused", operation(2, unsent), terminal.ErrNeedsPerson},
		{"one whose answer is not on record", &ledger.Operation{Kind: ledger.OperationEnable, Attempts: 1}, terminal.ErrNeedsPerson},
	} {
		for _, form := range []bool{false, true} {
			var out, errs bytes.Buffer
			p := Commands{&installation.Program{Terminal: terminal.Terminal{Out: &out, Err: &errs, JSON: form}}}
			err := p.conclude(cmek.Cluster{Name: "orders"}, lifecycle.Result{Operation: tt.operation, Refusals: []lifecycle.Refusal{{Row: "on-hold", What: "the key is on hold"}}})
			said := out.String() + errs.String()
			if !errors.Is(err, tt.want) || !form && strings.Contains(said, "nothing was sent") != errors.Is(tt.want, terminal.ErrRefused) || !strings.Contains(said, "the key is on hold") {
				t.Errorf("%s (JSON %t): %v, want %v; it says\n%s", tt.name, form, err, tt.want, said)
			}
		}
	}
}
