package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/explain"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
)

func TestExplainReadsWhatPeoplePaste(t *testing.T) {
	files, err := filepath.Glob("../../events/testdata/pasted/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are %d samples, error %v", len(files), err)
	}
	bad := map[string]string{ // what is said of it, and how many lines are not understood
		"lines-one-broken.ndjson":         "keyturn: line 2: not JSON: line 2, byte ",
		"logs-tail.txt":                   "keyturn: line 2: not JSON: a line of text",
		"insights-event.json":             "keyturn: line 1, record /Records/0: not an API record: a CloudTrail Insights event",
		"guardduty-get-findings.json":     "keyturn: line 4, record /Findings/0: not an API record: a GuardDuty finding",
		"securityhub-get-findings.json":   "keyturn: line 4, record /Findings/0: not an API record: a Security Hub finding",
		"securityhub-findings-event.json": "keyturn: line 1: not an API record: a Security Hub finding",
	}
	for _, file := range files {
		o := explainText(t.Context(), "", file, "-o", "json")
		name := filepath.Base(file)
		says, isBad := bad[name]
		if !isBad {
			o.wantCode(t, exitFine, "explain", name)
			if o.err != "" {
				t.Errorf("%s: standard error has %q, want nothing", name, o.err)
			}
		} else {
			o.wantCode(t, exitFailed, "explain", name)
			wantText(t, name, o.err, says, "keyturn: 1 of ")
		}
		for line := range strings.Lines(o.out) {
			x := decodeJSON[explain.Explanation](t, line)
			if x.Time != "2026-03-04T05:06:07Z" {
				t.Errorf("%s: the time is %q", name, x.Time)
			}
			if x.Change == "none" {
				t.Errorf("%s: a record is not for us: %s", name, line)
			}
		}
	}
}

func TestExplainReadsSeveralFiles(t *testing.T) {
	const samples = "../../events/testdata/"
	folder := t.TempDir()
	o := explainText(t.Context(), "", samples+"cloudtrail-disablekey.json", filepath.Join(folder, "missing.json"),
		samples+"pasted/lines-one-broken.ndjson", samples+"cloudtrail-enablekey.json")
	o.wantCode(t, exitFailed, "explain")
	wantText(t, "the explanations", o.out, "6 records: ", "1 not understood")
	wantText(t, "the errors", o.err, "keyturn: "+samples+"pasted/lines-one-broken.ndjson: line 2: not JSON", "missing.json", "1 of 6 records could not be understood")
	o = explainText(t.Context(), `{"Records":[]}`, "-", samples+"cloudtrail-disablekey.json")
	o.wantCode(t, exitFine, "explain")
}

func TestExplainUsesTheLedgerOfTheEnvironment(t *testing.T) {
	b := newBench(t).swept(t)
	payload := strings.NewReplacer("REGION", "us-east-1", "KEY", paymentsKey).Replace(`{"eventSource":"kms.amazonaws.com","eventName":"DisableKey",
		"eventType":"AwsApiCall","eventID":"1","awsRegion":"REGION","recipientAccountId":"111122223333","resources":["KEY"]}`)
	explain := func(args ...string) outcome {
		return b.keyturnWith(t.Context(), payload, append([]string{"explain"}, args...)...)
	}
	o := explain()
	o.wantCode(t, exitFine, "explain")
	wantText(t, "the explanation", o.out, "clusters payments (7c1d9e20-3a4b-4c5d-8e6f-000000000001), checkout")

	b.environ = append(b.environ, "KEYTURN_LEDGER=file:"+filepath.Join(b.folder, "missing.db"))
	o = explain()
	o.wantCode(t, exitUsage, "explain")
	wantText(t, "the error", o.err, "there is no ledger at")
	wantText(t, "the flag's explanation", explain("--ledger", "file:"+filepath.Join(b.folder, "ledger.db")).out, "clusters payments")

	b.environ = append(b.environ, "KEYTURN_LEDGER=")
	o = explain()
	o.wantCode(t, exitFine, "explain")
	if strings.Contains(o.out, "clusters ") {
		t.Errorf("without a ledger clusters are named:\n%s", o.out)
	}
}

// watched is a reader that notes the most memory that was in use while it was read.
type watched struct {
	io.Reader
	most uint64
}

func (w *watched) Read(p []byte) (int, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	w.most = max(w.most, m.HeapAlloc)
	return w.Reader.Read(p[:min(len(p), 16<<10)])
}

func TestAGzipBombIsReadInBoundedMemory(t *testing.T) {
	good := string(bytes.ReplaceAll([]byte(eventSamples(t)["cloudtrail-disablekey"]), []byte("\n"), nil))
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(z, good+"\n"+`{"eventVersion":"`) // a buffer takes everything
	for range 1 << 10 {
		_, _ = io.WriteString(z, strings.Repeat("a", 1<<20))
	}
	_, _ = io.WriteString(z, `"}`+"\n"+good+"\n")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var out, errs buffer
	size := packed.Len()
	in := &watched{Reader: &packed}
	p := &program{Program: installation.Program{Terminal: terminal.Terminal{In: in, Out: &out, Err: &errs}}}
	outcome{p.run(t.Context(), []string{"explain"}), out.String(), errs.String()}.wantCode(t, exitFailed, "explain")
	wantText(t, "the explanations", out.String(), "3 records: 2 critical, 1 not understood")
	wantText(t, "the error", errs.String(), "keyturn: line 2: larger than 8 MiB")
	if in.most > 150<<20 {
		t.Errorf("%d MB of memory were in use, want at most 150", in.most>>20)
	}
	t.Logf("%d KB of gzip with 1 GB took at most %d MB of memory", size>>10, in.most>>20)
}

func TestATruncatedGzipFileIsReported(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for range 100 {
		_, _ = io.WriteString(z, eventSamples(t)["cloudtrail-disablekey"])
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trail.json.gz")
	if err := os.WriteFile(file, packed.Bytes()[:packed.Len()-20], 0o600); err != nil {
		t.Fatal(err)
	}
	o := explainText(t.Context(), "", file)
	o.wantCode(t, exitFailed, "explain")
	wantText(t, "the error", o.err, "read: unexpected EOF", "1 of ")
	wantText(t, "the explanations", o.out, "CRITICAL")
}

func TestReplayGoesOnAfterAnEventThatItCannotUnderstand(t *testing.T) {
	b := newBench(t).swept(t)
	event := b.rotate(t, ordersKey)[0]
	quoted, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	o := b.keyturnWith(t.Context(), `{"Messages":[{"Body":"rotate, please"},{"Body":`+string(quoted)+`},{"Body":"{"}]}`, "replay", "-")
	o.wantCode(t, exitFailed, "replay")
	wantText(t, "the answer", o.out, "Opened work for orders")
	wantText(t, "the error", o.err, "keyturn: read event: line 1, record /Messages/0/Body: not JSON", "and 1 more")
}
