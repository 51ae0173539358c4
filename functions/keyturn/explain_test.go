package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/explain"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// explainText runs explain on the text, with no environment at all.
func explainText(ctx context.Context, text string, args ...string) outcome {
	return (&bench{}).keyturnWith(ctx, text, append([]string{"explain"}, args...)...)
}

func eventSamples(t testing.TB) map[string]string {
	t.Helper()
	return samplesOf(t, "../../events/testdata/*.json")
}

// samplesOf are the samples of the decoder that match, by their names.
func samplesOf(t testing.TB, pattern string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("there are %d samples, error %v", len(files), err)
	}
	samples := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, ".want.json") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		samples[strings.TrimSuffix(filepath.Base(file), ".json")] = string(data)
	}
	return samples
}

func TestExplainIsRightAboutEverySample(t *testing.T) {
	var forPeople, forPrograms strings.Builder
	samples := eventSamples(t)
	for _, name := range slices.Sorted(maps.Keys(samples)) {
		for _, form := range []struct {
			golden *strings.Builder
			args   []string
		}{{&forPeople, nil}, {&forPrograms, []string{"-o", "json"}}} {
			o := explainText(t.Context(), samples[name], form.args...)
			o.wantCode(t, exitFine, "explain", name)
			fmt.Fprintf(form.golden, "-- %s --\n%s\n", name, o.out)
		}
	}
	golden(t, "explain.txt", forPeople.String())
	golden(t, "explain.json.txt", forPrograms.String())
}

// golden compares the text with a file of testdata, to the byte.
func golden(t *testing.T, file, text string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(data), "\n")
	for i, line := range strings.Split(text, "\n") {
		if i >= len(want) || line != want[i] {
			t.Fatalf("the output differs from %s in line %d (-update rewrites it):\n%s", path, i+1, line)
		}
	}
	if len(text) != len(data) {
		t.Errorf("the output ends before %s does (-update rewrites it)", path)
	}
}

func TestExplainRatesWhatItReads(t *testing.T) {
	samples := eventSamples(t)
	for _, tc := range []struct {
		sample           string
		severity, unused alert.Severity
		reason           string
	}{
		{"cloudtrail-schedulekeydeletion", alert.Critical, alert.Medium, "It is final on 2021-04-12T18:58:30Z at the earliest."},
		{"cloudtrail-disablekey-denied", alert.Medium, alert.Info, "Nothing changed: the call failed with AccessDenied."},
		{"cloudtrail-cancelkeydeletion", alert.High, alert.Low, "still disabled"},
		{"cloudtrail-putkeypolicy", alert.High, alert.Low, "is unknown: no principal of a cluster is known that could be tried"},
		{"cloudtrail-putrolepolicy", alert.Critical, alert.Medium, "may not call kms:Decrypt: statement 1 of an identity policy denies it."},
		{"cloudtrail-updateassumerolepolicy", alert.High, alert.Low, "is unknown: the account that the clusters run in is not known."},
		{"cloudtrail-decrypt-denied", alert.Critical, alert.Medium, "If the principal is not a cluster's, there is no impact"},
		{"kms-cmk-rotation-automatic", alert.Info, alert.Info, "was rotated"},
		{"cloudtrail-createkey", "none", "none", "No alert: key created."},
		{"foreign-ec2-state-change", "none", "none", "aws.ec2/EC2 Instance State-change Notification concerns no key"},
	} {
		x := decodeJSON[explain.Explanation](t, explainText(t.Context(), samples[tc.sample], "-o", "json").out)
		if x.Severity != tc.severity || x.SeverityUnused != tc.unused || !strings.Contains(x.Reason, tc.reason) {
			t.Errorf("%s is %s, %s if unused, because %q; want %s, %s, and %q", tc.sample, x.Severity, x.SeverityUnused, x.Reason, tc.severity, tc.unused, tc.reason)
		}
		if failed := strings.HasSuffix(tc.sample, "-denied"); x.Succeeded == failed {
			t.Errorf("%s succeeded: %t, want %t", tc.sample, x.Succeeded, !failed)
		}
	}
}

// withPolicy is a call that sets the policy.
func withPolicy(name, field, statement string) string {
	document := `{"Version":"2012-10-17","Statement":[` + statement + `]}`
	parameters, _ := json.Marshal(map[string]string{
		"keyId": paymentsKey, "roleName": "payments-cmek", field: document,
	})
	source := map[bool]string{true: "kms", false: "iam"}[name == "PutKeyPolicy"]
	return fmt.Sprintf(`{"eventVersion":"1.11","eventSource":"%s.amazonaws.com","eventName":%q,"eventType":"AwsApiCall","eventID":"1",
		"awsRegion":"us-east-1","recipientAccountId":"111122223333","requestParameters":%s}`, source, name, parameters)
}

func TestExplainJudgesANewPolicyByItself(t *testing.T) {
	b := newBench(t).swept(t)
	b.environ = append(b.environ, "KEYTURN_ORGANIZATION_ID=our-organization")
	const use = `"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"],"Resource":"*"}`
	ledger := []string{"--ledger", "file:" + filepath.Join(b.folder, "ledger.db")}
	b.environ = append(b.environ, "KEYTURN_LEDGER=")
	for _, tc := range []struct {
		sentence, payload string
		args              []string
		severity          alert.Severity
		reason            string
	}{
		{"a key policy for nobody cuts everybody off", withPolicy("PutKeyPolicy", "policy",
			`{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:PutKeyPolicy","Resource":"*"}`),
			nil, alert.Critical, "Nobody may call kms:Encrypt"},
		{"a key policy for everybody exposes the key", withPolicy("PutKeyPolicy", "policy", `{"Effect":"Allow","Principal":"*",`+use),
			nil, alert.Critical, "Everybody may call kms:Encrypt"},
		{"a key policy for some role of the account may or may not be right", withPolicy("PutKeyPolicy", "policy",
			`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/x"},`+use), nil, alert.High, "is unknown"},
		{"the ledger knows that it is the wrong role", withPolicy("PutKeyPolicy", "policy",
			`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/x"},`+use), ledger, alert.Critical,
			"arn:aws:iam::111122223333:role/payments-cmek may not call kms:Encrypt"},
		{"a key policy that cannot be parsed cannot be judged", withPolicy("PutKeyPolicy", "policy", `7`), nil, alert.High, "cannot be understood"},
		{"a trust policy for nobody cuts everybody off", withPolicy("UpdateAssumeRolePolicy", "policyDocument",
			`{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"}`), nil, alert.Critical, "No other account may assume the role"},
		{"a trust policy without an external id admits others", withPolicy("UpdateAssumeRolePolicy", "policyDocument",
			`{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"sts:AssumeRole"}`), nil, alert.Critical, "without an external id"},
		{"the ledger knows that it is a stranger's account", withPolicy("UpdateAssumeRolePolicy", "policyDocument",
			`{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x"}}}`),
			ledger, alert.Critical, "cannot assume the role"},
		{"a role policy that allows is not all of the role's", withPolicy("PutRolePolicy", "policyDocument",
			`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`), nil, alert.High, "other policies are not known"},
	} {
		o := b.keyturnWith(t.Context(), tc.payload, append([]string{"explain", "-o", "json"}, tc.args...)...)
		o.wantCode(t, exitFine, tc.sentence)
		if x := decodeJSON[explain.Explanation](t, o.out); x.Severity != tc.severity || !strings.Contains(x.Reason, tc.reason) {
			t.Errorf("%s: got %s because %q, want %s and %q", tc.sentence, x.Severity, x.Reason, tc.severity, tc.reason)
		}
	}
}

func TestExplainReadsWhateverTheEventsAreKeptIn(t *testing.T) {
	samples := eventSamples(t)
	one := samples["cloudtrail-disablekey"]
	var event struct{ Detail json.RawMessage }
	if err := json.Unmarshal([]byte(one), &event); err != nil {
		t.Fatal(err)
	}
	bare := string(event.Detail)
	quoted, _ := json.Marshal(one)
	notification := `{"Type":"Notification","Message":` + string(quoted) + `}`
	wrapped, _ := json.Marshal(notification)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprintf(w, `{"Records":[%s,%s]}`, bare, bare)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, payload string
		records       int
	}{
		{"an event", one, 1},
		{"a bare record", bare, 1},
		{"an array", "[" + one + "," + bare + "]", 2},
		{"NDJSON", one + "\n" + bare + "\n" + one + "\n", 3},
		{"a CloudTrail log file", `{"Records":[` + bare + "," + bare + "]}", 2},
		{"a packed CloudTrail log file", packed.String(), 2},
		{"an SNS notification", notification, 1},
		{"an SQS batch", `{"Records":[{"messageId":"1","eventSource":"aws:sqs","body":` + string(quoted) + `},{"messageId":"2","body":` + string(wrapped) + `}]}`, 2},
	} {
		o := explainText(t.Context(), tc.payload, "-o", "json")
		o.wantCode(t, exitFine, "explain", tc.name)
		lines := strings.Split(strings.TrimSpace(o.out), "\n")
		if len(lines) != tc.records {
			t.Errorf("%s: %d records explained, want %d", tc.name, len(lines), tc.records)
		}
		for _, line := range lines {
			if x := decodeJSON[explain.Explanation](t, line); x.Change != cmek.ChangeKeyDisabled || x.Severity != alert.Critical {
				t.Errorf("%s: explained as %s %s, want %s %s", tc.name, x.Severity, x.Change, alert.Critical, cmek.ChangeKeyDisabled)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "trail.json.gz")
	if err := os.WriteFile(file, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	o := explainText(t.Context(), "", file)
	o.wantCode(t, exitFine, "explain", file)
	wantText(t, "the summary", o.out, "2 records: 2 critical\n")
}

func TestExplainGoesOnAfterARecordThatItCannotUnderstand(t *testing.T) {
	samples := eventSamples(t)
	hostile, err := os.ReadFile("../../events/testdata/bad/hostile-region.json")
	if err != nil {
		t.Fatal(err)
	}
	foreign := samples["foreign-ec2-state-change"]
	o := explainText(t.Context(), strings.Join([]string{foreign, string(hostile), foreign, foreign, samples["cloudtrail-disablekey"]}, "\n"))
	o.wantCode(t, exitFailed, "explain")
	wantText(t, "the explanations", o.out, "NONE  3 records concern no key", "CRITICAL  Key 1234abcd",
		"5 records: 1 critical, 3 none, 1 not understood")
	wantText(t, "the error", o.err, "keyturn: line 18: ", "name of the key", "1 of 5 records could not be understood")

	for _, broken := range []string{"rotate, please", "{", `"text"`, "[1]"} {
		o := explainText(t.Context(), broken, "-o", "json")
		o.wantCode(t, exitFailed, "explain", broken)
		if o.out != "" || !strings.Contains(o.err, "could not be understood") {
			t.Errorf("%q: output %q and error %q, want an error alone", broken, o.out, o.err)
		}
	}
	o = explainText(t.Context(), "")
	o.wantCode(t, exitFine, "explain")
	wantText(t, "the error", o.err, "There is no record")
	o = explainText(t.Context(), "", "missing.json")
	o.wantCode(t, exitFailed, "explain", "missing.json")
	wantText(t, "the error", o.err, "missing.json")
	folder := t.TempDir()
	o = explainText(t.Context(), "", folder)
	o.wantCode(t, exitFailed, "explain", folder)
	wantText(t, "the error", o.err, "read "+folder+": is a directory")
}

func TestExplainSumsUpSeveralRecordsOnly(t *testing.T) {
	samples := eventSamples(t)
	for _, name := range []string{"cloudtrail-disablekey", "cloudtrail-createkey", "foreign-ec2-state-change", "foreign-custom-event-with-other-types"} {
		o := explainText(t.Context(), samples[name])
		o.wantCode(t, exitFine, "explain", name)
		if strings.Contains(o.out, "1 record") || strings.Contains(o.out, ": \n") {
			t.Errorf("%s: the explanation of one record has a sum or an empty end:\n%s", name, o.out)
		}
	}
}

func TestExplainNamesTheClustersOfTheLedger(t *testing.T) {
	b := newBench(t).swept(t)
	ledger := "file:" + filepath.Join(b.folder, "ledger.db")
	requests := len(b.Requests())
	explain := func(payload string) string {
		t.Helper()
		o := b.keyturnWith(t.Context(), payload, "explain", "--ledger", ledger)
		o.wantCode(t, exitFine, "explain")
		return o.out
	}
	b.Events()
	b.kms(t, "DisableKey", paymentsKey)
	wantText(t, "the explanation of a key in use", explain(string(b.Events()[0].Payload)), "CRITICAL  Key", "needed by payments, checkout",
		"clusters payments (7c1d9e20-3a4b-4c5d-8e6f-000000000001), checkout", "aws kms enable-key --region us-east-1")
	wantText(t, "the explanation of a key that nobody needs", explain(eventSamples(t)["cloudtrail-disablekey"]),
		"MEDIUM  Key", "no cluster needs it", "clusters none that the ledger knows")

	decrypt := func(principal string) string {
		return fmt.Sprintf(`{"eventVersion":"1.11","eventSource":"kms.amazonaws.com","eventName":"Decrypt","eventType":"AwsApiCall","eventID":"1",
			"awsRegion":"us-east-1","recipientAccountId":"111122223333","userIdentity":{"arn":%q},"resources":[{"ARN":%q}]}`, principal, paymentsKey)
	}
	wantText(t, "the cluster's own use", explain(decrypt("arn:aws:iam::111122223333:role/payments-cmek")), "NONE  No alert")
	wantText(t, "a stranger's use", explain(decrypt("arn:aws:iam::111122223333:role/stranger")), "HIGH  Key", "was used by a principal that is not a cluster's")
	if more := len(b.Requests()) - requests; more != 1 { // DisableKey
		t.Errorf("explain sent %d requests, want none", more-1)
	}
}

func FuzzExplain(f *testing.F) {
	for _, text := range eventSamples(f) {
		f.Add([]byte(text))
	}
	bad, _ := filepath.Glob("../../events/testdata/bad/*.json")
	pasted, _ := filepath.Glob("../../events/testdata/pasted/*")
	for _, file := range append(bad, pasted...) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(withPolicy("PutKeyPolicy", "policy", `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}`)))
	f.Add([]byte(withPolicy("PutRolePolicy", "policyDocument", `{"Effect":"Deny","NotAction":"kms:*","Resource":"*"}`)))
	f.Add([]byte(withPolicy("UpdateAssumeRolePolicy", "policyDocument", `{"Effect":"Allow","Principal":{"AWS":["ñ","4444"]},"Action":"*"}`)))
	words := []alert.Severity{alert.Critical, alert.High, alert.Medium, alert.Low, alert.Info, "none"}
	f.Fuzz(func(t *testing.T, payload []byte) {
		people := explainText(t.Context(), string(payload))
		programs := explainText(t.Context(), string(payload), "-o", "json")
		if people.code != programs.code || people.code > exitFailed {
			t.Errorf("exit codes are %d and %d, want the same: 0 or 1", people.code, programs.code)
		}
		if strings.ContainsAny(people.out+people.err, "\x1b\r\x00\u202e") {
			t.Errorf("what people read holds control characters: %q", people.out+people.err)
		}
		for line := range strings.Lines(programs.out) {
			x := decodeJSON[explain.Explanation](t, line)
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil || len(fields) != 9 {
				t.Errorf("a line has %d fields, error %v, want 9: %s", len(fields), err, line)
			}
			if x.Change == "" || x.Reason == "" || x.RecoverySteps == nil || !slices.Contains(words, x.Severity) || !slices.Contains(words, x.SeverityUnused) {
				t.Errorf("incomplete explanation: %s", line)
			}
		}
	})
}
