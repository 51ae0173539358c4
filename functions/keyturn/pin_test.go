package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/demo"
	"github.com/keyturn/keyturn/functions/keyturn/live"
	"github.com/keyturn/keyturn/internal/ledger"
)

const paymentsAlias = "arn:aws:kms:us-east-1:111122223333:alias/payments-cmek"

// callKMS sends a call that changes something at KMS in us-east-1, as the owner of the keys.
func (b *bench) callKMS(t *testing.T, operation string, input map[string]string) {
	t.Helper()
	body, err := json.Marshal(input)
	must(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/", bytes.NewReader(body))
	must(t, err)
	request.Header.Set("X-Amz-Target", "TrentService."+operation)
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+demo.SampleAccessKeyID+"/20261120/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=00")
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s answered %s", operation, response.Status)
	}
}

func (b *bench) moveAlias(t *testing.T, key string) {
	t.Helper()
	b.callKMS(t, "UpdateAlias", map[string]string{"AliasName": "alias/payments-cmek", "TargetKeyId": key})
}

func (b *bench) pins(t *testing.T) (pins []ledger.Pin) {
	t.Helper()
	b.ledger(t, func(l *ledger.Ledger) {
		var err error
		pins, err = l.Pins(t.Context(), paymentsID)
		must(t, err)
	})
	return pins
}

func pinPayments(args ...string) []string {
	return append([]string{"pin", "payments", "--region", "us-east-1", "--alias", paymentsAlias}, args...)
}

func TestPin_refusesBeforeAnythingIsWritten(t *testing.T) {
	alias := func(arn string) []string {
		return []string{"pin", "payments", "--region", "us-east-1", "--alias", arn}
	}
	var text strings.Builder
	for _, r := range []struct {
		name  string
		given func(*testing.T, *bench)
		args  []string
	}{
		{"the cluster has no such region", nil, []string{"pin", "payments", "--region", "eu-west-3", "--alias", paymentsAlias}},
		{"a key is named", nil, alias(paymentsKey)},
		{"a name is named", nil, alias("alias/payments-cmek")},
		{"an alias of another partition", nil, alias("arn:aws-cn:kms:us-east-1:111122223333:alias/payments-cmek")},
		{"an alias of AWS's own", nil, alias("arn:aws:kms:us-east-1:111122223333:alias/aws/rds")},
		{"the alias does not exist", nil, alias(paymentsAlias + "2")},
		{"the alias is in another Region", nil, alias("arn:aws:kms:us-west-2:111122223333:alias/orders-cmek")},
		{"the alias is in another account", nil, alias("arn:aws:kms:us-east-1:444455556666:alias/payments-cmek")},
		{"keyturn may not read the alias", func(t *testing.T, b *bench) { must(t, b.DenyKMS(paymentsKey, true)) }, pinPayments()},
		{"Terraform was not answered", nil, pinPayments("--follow")},
	} {
		t.Run(r.name, func(t *testing.T) {
			b := movable(t)
			if r.given != nil {
				r.given(t, b)
			}
			since := len(b.Requests())
			o := b.keyturn(t, r.args...)
			o.wantCode(t, exitRefused, r.args...)
			if list := b.written(t, since); len(list) > 0 || len(b.pins(t)) > 0 {
				t.Errorf("refused, and yet written: %q, pins %+v", list, b.pins(t))
			}
			wantText(t, "the JSON", b.keyturn(t, append(r.args, "-o", "json")...).out, `"state": "refused"`)
			fmt.Fprintf(&text, "-- %s --\n%s", r.name, o.out)
		})
	}
	golden(t, "pin-refused.txt", text.String())
}

func TestPin_isIdempotentAndShown(t *testing.T) {
	b := movable(t)
	wantText(t, "no pins", b.succeed(t, "pin"), "No region is pinned.")
	wantText(t, "the dry run", b.succeed(t, pinPayments("--dry-run")...), "may be pinned", "Nothing was written", "The alias names the region's key")
	if pins := b.pins(t); len(pins) > 0 {
		t.Fatalf("the dry run pinned %+v", pins)
	}
	wantText(t, "the pin", b.succeed(t, pinPayments("--reason", "CHG-1", "--by", "ana")...), "Pinned payments in us-east-1", "reports when it is moved")
	first := b.pins(t)
	wantText(t, "the pin again", b.succeed(t, pinPayments("--by", "bob")...), "Pinned already")
	if again := b.pins(t); len(again) != 1 || !again[0].Since.Equal(first[0].Since) || again[0].By != "ana" {
		t.Errorf("the same command again made %+v of %+v", again, first)
	}
	wantText(t, "the list", b.succeed(t, "pin"), "payments", "us-east-1", paymentsAlias, "no", "by ana: CHG-1", "not read yet")
	b.succeed(t, "follow", "--mode", "follow")
	wantText(t, "the list after a sweep", b.succeed(t, "pin"), "as last agreed")
	wantText(t, "the status", b.succeed(t, "status", "payments"), paymentsAlias, "reported only")
	list := decodeJSON[[]live.PinStatus](t, b.succeed(t, "pin", "-o", "json"))
	if len(list) != 1 || list[0].Pinned == nil || list[0].Pinned.Target != paymentsKey {
		t.Errorf("the list is %+v", list)
	}
	wantText(t, "the end", b.succeed(t, "unpin", "payments", "--region", "us-east-1"), "Unpinned payments in us-east-1.")
	wantText(t, "the end again", b.succeed(t, "unpin", "payments", "--region", "us-east-1"), "is not pinned")
	b.succeed(t, "unpin", "payments", "--region", "us-east-1", "-o", "json")
}

func TestPin_withFollowMovesTheRegionOnce(t *testing.T) {
	b := movable(t)
	b.succeed(t, pinPayments("--follow", "--no-terraform", "--by", "ana")...)
	b.moveAlias(t, spareKey)
	for _, args := range [][]string{{"plan", "--mode", "follow", "--fresh"}, {"plan", "--mode", "follow"}} { // it reads what decides, as follow does
		wantText(t, "the plan", b.succeed(t, args...), "1 PUT would be sent", "1. payments us-east-1, key 0a5d1c2e…f00a")
	}
	b.succeed(t, "follow", "--mode", "follow")
	if b.keyOf("payments", "us-east-1") != spareKey || len(b.PUTs()) != 1 {
		t.Fatalf("payments is on %s after %d PUTs, want one PUT to the alias's key", b.keyOf("payments", "us-east-1"), len(b.PUTs()))
	}
	files, _ := filepath.Glob(filepath.Join(b.folder, "archive", "evidence", "*", "*.json"))
	if len(files) != 1 {
		t.Fatalf("evidence files are %q, want one", files)
	}
	evidence, err := os.ReadFile(files[0])
	must(t, err)
	wantText(t, "the evidence", string(evidence), `"kind": "pin"`, `"source": "`+paymentsAlias+`"`, paymentsKey, spareKey)
	b.succeed(t, "follow", "--mode", "follow")
	if len(b.PUTs()) != 1 {
		t.Errorf("%d more PUTs were sent", len(b.PUTs())-1)
	}
}

func TestPin_withoutFollowIsReported(t *testing.T) {
	b := movable(t)
	b.moveAlias(t, spareKey)
	wantText(t, "the pin", b.succeed(t, pinPayments()...), "The alias names key "+spareKey, "Without --follow it stays there.")
	o := b.keyturn(t, "follow", "--mode", "follow")
	if len(b.PUTs()) > 0 || b.keyOf("payments", "us-east-1") != paymentsKey {
		t.Fatalf("without --follow %d PUTs were sent", len(b.PUTs()))
	}
	wantText(t, "the alert", o.out+o.err, "Alias "+paymentsAlias+" names key", "the pin is without --follow")
	b.keyturn(t, "alerts").wantCode(t, exitNeedsPerson)
}

func TestPin_waitsUntilTheKeyAdmitsTheRole(t *testing.T) {
	b := movable(t)
	b.moveAlias(t, strangeKey)
	wantText(t, "the pin", b.succeed(t, pinPayments("--follow", "--no-terraform")...), "Such a move waits: the new key "+strangeKey+": it does not admit the cluster's principal")
	b.keyturn(t, "follow", "--mode", "follow")
	wantText(t, "the status", b.keyturn(t, "status", "payments").out, "does not admit the cluster's principal", "blocked")
	if len(b.PUTs()) > 0 {
		t.Fatalf("%d PUTs were sent to a key that does not admit the role", len(b.PUTs()))
	}
	b.putKeyPolicy(t, strangeKey, policyFor("payments-cmek"))
	b.ledger(t, func(l *ledger.Ledger) {
		_, err := l.AliasChanged(t.Context(), paymentsAlias, time.Time{}, time.Now())
		must(t, err)
	})
	b.succeed(t, "follow", "--mode", "follow")
	if b.keyOf("payments", "us-east-1") != strangeKey || len(b.PUTs()) != 1 {
		t.Errorf("payments is on %s after %d PUTs, want one PUT once the key admits the role", b.keyOf("payments", "us-east-1"), len(b.PUTs()))
	}
}

func TestPin_wrongUsage(t *testing.T) {
	b := newBench(t)
	for _, args := range [][]string{
		{"pin", "payments"}, {"pin", "payments", "--region", "us-east-1"}, {"pin", "--region", "us-east-1", "--alias", paymentsAlias},
		pinPayments("--terraform", "x", "--no-terraform"), {"pin", "payments", "orders", "--region", "us-east-1", "--alias", paymentsAlias}, {"unpin", "payments"}, {"unpin", "--region", "us-east-1"},
	} {
		b.keyturn(t, args...).wantCode(t, exitUsage, args...)
	}
}

func TestPin_saysThatAClusterOnGoogleCloudNeedsNone(t *testing.T) {
	b := newMixedBench(t)
	o := b.keyturn(t, "pin", "gcp1", "--region", "us-east1", "--alias", paymentsAlias, "--follow", "--no-terraform")
	o.wantCode(t, exitRefused, "pin", "gcp1")
	wantText(t, "the refusal", o.out, "only AWS KMS has aliases", "needs no pin", "followed by itself")
}
