package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/keyturn/keyturn/internal/cmek"
)

// outcomes are what became of the records of a stream: the change of an event, the source of a record that is not for us, and
// "line N: error" for what is not understood.
func outcomes(text string) (all []string) {
	for r, err := range DecodeStream(strings.NewReader(text)) {
		switch {
		case err != nil:
			all = append(all, outcome(r, err))
		case r.Event != nil:
			all = append(all, string(r.Event.Change))
		default:
			all = append(all, r.Source)
		}
	}
	return all
}

func outcome(r Record, err error) string { return fmt.Sprintf("line %d: %v", r.Line, err) }

// wantOutcomes compares; an error needs only begin as it should.
func wantOutcomes(t *testing.T, name, text string, want ...string) {
	t.Helper()
	got := outcomes(text)
	same := func(got, want string) bool {
		return got == want || strings.HasPrefix(want, "line ") && strings.HasPrefix(got, want)
	}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("%s: got %q, want %q", name, got, want)
	}
}

const (
	disabled = string(cmek.ChangeKeyDisabled)
	enabled  = string(cmek.ChangeKeyEnabled)
)

func TestEachPastedSampleIsRead(t *testing.T) {
	wants := map[string][]string{
		"lines-one-broken.ndjson":                  {disabled, "line 2: not JSON", enabled, disabled},
		"partition-iso.json":                       {disabled},
		"identity-center-user.json":                {disabled},
		"decrypt-aws-managed-alias.json":           {string(cmek.ChangeUse)},
		"insights-event.json":                      {"line 1: not an API record: a CloudTrail Insights event"},
		"putrolepolicy-deny-one-key.json":          {string(cmek.ChangePrincipalPolicy)},
		"putrolepolicy-deny-one-region.json":       {string(cmek.ChangePrincipalPolicy)},
		"assumerole-denied-in-own-account.json":    {string(cmek.ChangeUseRefused)},
		"updateassumerolepolicy-service-only.json": {string(cmek.ChangePrincipalTrust)},
		"decrypt-dry-run.json":                     {string(cmek.ChangeUseRefused)},
		"filter-log-events.json":                   {disabled, enabled},
		"lookup-events-query-strings.json":         {disabled, enabled},
		"lookup-events-slurped-pages.json":         {disabled, enabled, disabled, enabled},
		"lookup-events-jq-strings.ndjson":          {disabled, enabled},
		"time-of-lake.json":                        {disabled},
		"without-eventversion.json":                {disabled},
		"resources-strings.json":                   {disabled},
		"athena-get-query-results.json":            {disabled, enabled},
		"athena-rows.ndjson":                       {disabled, enabled},
		"lake-get-query-results.json":              {disabled, enabled},
		"guardduty-get-findings.json":              {"line 4: not an API record: a GuardDuty finding"},
		"securityhub-get-findings.json":            {"line 4: not an API record: a Security Hub finding"},
		"securityhub-findings-event.json":          {"line 1: not an API record: a Security Hub finding"},
		"lambda-on-failure-destination.json":       {disabled},
		"logs-subscription-decoded.json":           {disabled, enabled},
		"logs-tail.txt":                            {disabled, "line 2: not JSON: a line of text", enabled},
	}
	files, err := filepath.Glob("testdata/pasted/*")
	if err != nil || len(files) != len(wants) {
		t.Errorf("there are %d samples (%v), want %d", len(files), err, len(wants))
	}
	for _, file := range files {
		want, ok := wants[filepath.Base(file)]
		if !ok {
			t.Errorf("%s: nothing is expected of it", file)
		}
		wantOutcomes(t, file, string(read(t, file)), want...)
	}
}

// pasted is the first event of a sample.
func pasted(t *testing.T, name string) cmek.Event {
	t.Helper()
	for r, err := range DecodeStream(bytes.NewReader(read(t, "testdata/pasted/"+name))) {
		if err != nil || r.Event == nil {
			t.Fatalf("%s: got %v (%v), want an event", name, r, err)
		}
		return *r.Event
	}
	t.Fatalf("%s has no record", name)
	return cmek.Event{}
}

func TestPastedRecordsAreReadInFull(t *testing.T) {
	want := pasted(t, "lines-one-broken.ndjson")
	if want.Key == "" || want.Time != time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) || want.Principal == "" || want.Issuer == "" || want.ID == "" {
		t.Fatalf("the record itself is read as %+v", want)
	}
	for _, name := range []string{
		"filter-log-events.json", "lookup-events-query-strings.json", "lookup-events-slurped-pages.json", "lookup-events-jq-strings.ndjson",
		"time-of-lake.json", "without-eventversion.json", "resources-strings.json", "athena-get-query-results.json", "athena-rows.ndjson",
		"lake-get-query-results.json", "lambda-on-failure-destination.json", "logs-subscription-decoded.json", "logs-tail.txt",
	} {
		if got := pasted(t, name); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
	if got := pasted(t, "partition-iso.json").Key; got != "arn:aws-iso:kms:us-iso-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab" {
		t.Errorf("the key of another partition is %s", got)
	}
	if got := pasted(t, "identity-center-user.json").Principal; got != "arn:aws:identitystore:::user/5488b4a8-d0a1-70ea-ab5f-6be3a1e5b7c9" {
		t.Errorf("the user of IAM Identity Center is %s", got)
	}
}

// twoRecords are records of a disabling and an enabling, compact.
func twoRecords(tb testing.TB) (first, second string) {
	tb.Helper()
	lines := strings.Split(string(read(tb, "testdata/pasted/lines-one-broken.ndjson")), "\n")
	return string(compact(tb, []byte(lines[0]))), string(compact(tb, []byte(lines[2])))
}

func TestEveryQueryOfLookupEventsIsRead(t *testing.T) {
	a, b := twoRecords(t)
	qa, qb := quoted(t, a), quoted(t, b)
	entry := func(record string) string {
		return `{"EventId":"e","EventName":"DisableKey","ReadOnly":"false","EventTime":"2026-03-04T06:06:07+01:00","EventSource":"kms.amazonaws.com","Username":"al","Resources":[],"CloudTrailEvent":` + record + `}`
	}
	page := `{"Events":[` + entry(qa) + `,` + entry(qb) + `],"NextToken":"eyJ"}`
	for name, text := range map[string]string{
		"the whole answer":           page,
		"Events":                     `[` + entry(qa) + `,` + entry(qb) + `]`,
		"Events[].CloudTrailEvent":   `[` + qa + `,` + qb + `]`,
		"Events[].[CloudTrailEvent]": `[[` + qa + `],[` + qb + `]]`,
		"Events[].[EventName,EventTime,CloudTrailEvent]":   `[["DisableKey",1772439267.0,` + qa + `],["EnableKey",null,` + qb + `]]`,
		"Events[].{name:EventName,record:CloudTrailEvent}": `[{"name":"DisableKey","record":` + qa + `},{"name":"EnableKey","record":` + qb + `}]`,
		"{found:Events[].CloudTrailEvent}":                 `{"found":[` + qa + `,` + qb + `]}`,
		"as text":                                          "EVENTS\tASIA\t" + a + "\te\tDisableKey\nRESOURCES\tarn:aws:kms:us-east-1:111122223333:key/1\tAWS::KMS::Key\nEVENTS\tASIA\t" + b + "\te\tEnableKey\n",
		"CloudTrailEvent as text":                          a + "\t" + b + "\n",
		"jq .Events[]":                                     entry(qa) + "\n" + entry(qb),
		"jq .Events[].CloudTrailEvent":                     qa + "\n" + qb + "\n",
		"jq -r .Events[].CloudTrailEvent":                  a + "\n" + b + "\n",
		"jq .Events[].CloudTrailEvent|fromjson":            a + "\n" + b + "\n",
		"jq .Events[].CloudTrailEvent|=fromjson":           `{"Events":[` + entry(a) + `,` + entry(b) + `]}`,
		"jq [.Events[].CloudTrailEvent]":                   `[` + qa + `,` + qb + `]`,
		"jq -s of pages":                                   `[{"Events":[` + entry(qa) + `]},{"Events":[` + entry(qb) + `]}]`,
		"jq -s of log files":                               `[{"Records":[` + a + `]},{"Records":[` + b + `]}]`,
		"jq -R of lines":                                   quoted(t, "2026-03-04 "+a) + "\n" + qb,
		"jq -Rs of a file":                                 quoted(t, a+"\n"+b+"\n"),
		"hits of a search":                                 `{"hits":{"total":2,"hits":[{"_id":"1","_source":` + a + `},{"_id":"2","_source":{"event":` + b + `}}]}}`,
	} {
		want := []string{disabled, enabled}
		if name == "as text" { // the line of the key is text
			want = []string{disabled, "line 2: not JSON", enabled}
		}
		wantOutcomes(t, name, text, want...)
	}
}

// What people paste in place of a record is named, so that they know what to paste; and what only looks like it is not.
func TestWhatStandsForARecordIsNamed(t *testing.T) {
	const unknown = "line 1: not an event: neither"
	for text, want := range map[string]string{
		`{"source":"aws.securityhub","detail-type":"Security Hub Insight Results","detail":{}}`:                         "line 1: not an API record: a Security Hub finding",
		`{"source":"aws.securityhub","detail-type":"Findings Imported V2","detail":{}}`:                                 "line 1: not an API record: a Security Hub finding",
		`{"source":"aws.securityhub","detail-type":"Account Added","detail":{}}`:                                        "aws.securityhub/Account Added",
		`{"Findings":[{"class_uid":2003,"finding_info":{"uid":"x"}}]}`:                                                  "line 1: not an API record: a finding in OCSF",
		`{"class_uid":2003,"finding_info":"x"}`:                                                                         unknown,
		`{"class_uid":6003,"api":{"operation":"DisableKey"}}`:                                                           unknown,
		`{"Events":[{"EventId":"a","EventName":"DisableKey","EventSource":"kms.amazonaws.com"}]}`:                       "line 1: not an event: what lookup-events lists",
		`[{"EventName":"DisableKey","Username":"ana"}]`:                                                                 "line 1: not an event: what lookup-events lists",
		`[{"EventName":"DisableKey"}]`:                                                                                  unknown,
		`{"Events":[{"EventId":"a","EventName":"DisableKey","CloudTrailEvent":""}]}`:                                    "line 1: not an event: what lookup-events lists",
		`{"Events":[{"EventId":"a","EventName":"DisableKey","EventSource":"kms.amazonaws.com","CloudTrailEvent":"x"}]}`: "line 1: not JSON: a line of text",
	} {
		wantOutcomes(t, text, text, want)
	}
}

// The end of a list of which a record is broken is no record of its own.
func TestWhatIsLeftOfABrokenListIsNoRecord(t *testing.T) {
	good := `{"eventSource":"kms.amazonaws.com","eventName":"DisableKey","resources":["arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"]}`
	wantOutcomes(t, "a list", "[\n"+good+",\n{\"a\" 1},\n"+good+"\n]\n", disabled, "line 3: not JSON", disabled)
	wantOutcomes(t, "a log file", "{\"Records\":[\n"+good+",\n{\"a\" 1},\n"+good+"\n]\n}\n"+good, disabled, "line 3: not JSON", disabled, disabled)
	wantOutcomes(t, "an end alone", "]\n"+good, "line 1: not JSON", disabled)
}

func TestMessagesAreReadWithWhatIsAroundThem(t *testing.T) {
	a, b := twoRecords(t)
	both := `{"Records":[` + a + `,` + b + `]}`
	for name, text := range map[string]string{
		"a message that is an object":            `{"messageId":"m","body":` + both + `,"eventSource":"aws:sqs"}`,
		"a destination with a batch":             `{"version":"1.0","requestContext":{"condition":"RetriesExhausted"},"requestPayload":{"Records":[{"messageId":"m","body":` + quoted(t, both) + `}]},"responseContext":{"statusCode":200},"responsePayload":{"errorMessage":"timed out"}}`,
		"a destination in a queue":               `{"Messages":[{"MessageId":"m","Body":` + quoted(t, `{"requestPayload":`+both+`,"responsePayload":null}`) + `}]}`,
		"a list of what a function was given":    `{"requestPayload":[` + a + `,` + b + `]}`,
		"log events whose messages are indented": `{"logEvents":[{"id":"1","message":` + quoted(t, strings.ReplaceAll(a, ",", ",\n")) + `},{"id":"2","message":` + quoted(t, b) + `}]}`,
	} {
		wantOutcomes(t, name, text, disabled, enabled)
	}
	wantOutcomes(t, "an envelope around a list", `{"version":"0","source":"aws.ec2","detail-type":"EC2","detail":{},"Records":[`+a+`]}`, disabled, "aws.ec2/EC2")
	wantOutcomes(t, "a broken text beside a good one", `{"a":`+quoted(t, a)+`,"b":`+quoted(t, b[:len(b)-1])+`}`, disabled, "line 1: not JSON")
	wantOutcomes(t, "what is not understood in a message", `{"Records":[{"messageId":"m","eventSource":"aws:sqs","body":`+quoted(t, `{"Records":[1,{"eventVersion":5}]}`)+`}]}`,
		"line 1: not an event: got a number", "line 1: not an event: neither")
	wantOutcomes(t, "plain text in a message", `{"Message":"hello","Subject":"x"}`, "line 1: not JSON: a line of text")
	wantOutcomes(t, "a list of words", `["a","b"]`, "line 1: not an event: got a string", "line 1: not an event: got a string")
	wantOutcomes(t, "an object without any", `{"a":{"b":[{"c":"{}"}]}}`, "line 1: not an event: neither")
}

func TestRowsWithoutWhatARecordNeedsAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		`{"eventsource":"kms.amazonaws.com","eventname":"DisableKey","requestparameters":"keyId=1"}`: "line 1: requestParameters of a row: neither JSON nor a structure",
		`{"eventsource":"kms.amazonaws.com","eventname":"DisableKey","useridentity":"{type=A, arn"}`: "line 1: userIdentity of a row: neither JSON nor a structure",
		`{"ResultSet":{"Rows":[{"Data":[{"VarCharValue":"1"}]}]}}`:                                   "line 1: a row of Athena without the row before it",
		`[[{"eventTime":"2026-03-04 05:06:07.000"},{"eventName":"DisableKey"}]]`:                     "line 1: not an event",
		`{"eventSource":"kms.amazonaws.com","requestParameters":"{keyId=1}"}`:                        "line 1: a row of a table without eventSource or eventName",
	} {
		wantOutcomes(t, text, text, want)
	}
}

func TestAStructureIsReadAsTrinoPrintsIt(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:    `{}`,
		`[]`:    `[]`,
		`{a=b}`: `{"a":"b"}`,
		`{arn=arn:aws:sts::1:assumed-role/R/x=y, z, type=null}`: `{"arn":"arn:aws:sts::1:assumed-role/R/x=y, z","type":null}`,
		`{a={b=[x, y], c={}}, d=}`:                              `{"a":{"b":["x","y"],"c":{}},"d":""}`,
		`[{accountid=1, arn=a}, {arn=b}]`:                       `[{"accountid":"1","arn":"a"},{"arn":"b"}]`,
		`{policy={"Statement": [{"Effect":"Deny"}]}, keyId=k}`:  `{"keyId":"k","policy":{"Statement": [{"Effect":"Deny"}]}}`,
		`{"a": "b"}`: `{"a": "b"}`,
	} {
		got, ok := structure(text)
		if !ok || string(compact(t, got)) != string(compact(t, []byte(want))) {
			t.Errorf("%s is read as %s (%t), want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{`{`, `{a`, `{a=b`, `[a, b`, `{=b}`, `{a=b} c`, `[a}`, `[{a=b}}`, `[,`, strings.Repeat("[", 1000)} {
		if got, ok := structure(text); ok {
			t.Errorf("%s is read as %s, want nothing", text, got)
		}
	}
}

func TestTextIsReadInTheEncodingsOfWindows(t *testing.T) {
	a, b := twoRecords(t)
	text := strings.Replace(a, `"aws-cli"`, `"déjà 🔑"`, 1) + "\r\n" + b + "\r\n"
	units := utf16.Encode([]rune(text))
	encode := func(mark bool, low, high int) string {
		var out []byte
		if mark {
			units = append([]uint16{0xfeff}, units...)
		}
		for _, u := range units {
			two := [2]byte{}
			two[low], two[high] = byte(u), byte(u>>8)
			out = append(out, two[:]...)
		}
		return string(out)
	}
	for name, text := range map[string]string{
		"UTF-8 with a byte order mark":           byteOrderMark + text,
		"files with a mark, one after the other": byteOrderMark + a + "\n" + byteOrderMark + b + "\n",
		"UTF-16LE":                               encode(false, 0, 1),
		"UTF-16BE":                               encode(false, 1, 0),
	} {
		wantOutcomes(t, name, text, disabled, enabled)
	}
	wantOutcomes(t, "UTF-16LE with a mark", encode(true, 0, 1), disabled, enabled)
	units = units[1:]
	wantOutcomes(t, "UTF-16BE with a mark", encode(true, 1, 0), disabled, enabled)
	half := encode(false, 1, 0)
	wantOutcomes(t, "half a character at the end", half+"\x00", disabled, enabled, "line 3: not JSON")
}

func TestARecordOfAnotherPartitionNamesItsKeyThere(t *testing.T) {
	a, _ := twoRecords(t)
	var fields map[string]any
	if err := json.Unmarshal([]byte(a), &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "resources")
	for region, want := range map[string]string{
		"us-iso-west-1": "aws-iso", "us-isob-east-1": "aws-iso-b", "eu-isoe-west-1": "aws-iso-e", "us-isof-south-1": "aws-iso-f",
		"eusc-de-east-1": "aws-eusc", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov", "eu-central-1": "aws",
	} {
		fields["awsRegion"] = region
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range DecodeStream(bytes.NewReader(text)) {
			if err != nil || r.Event == nil || !strings.HasPrefix(string(r.Event.Key), "arn:"+want+":kms:"+region) {
				t.Errorf("%s: got %+v (%v), want a key of partition %s", region, r.Event, err, want)
			}
		}
	}
}

func TestResourcesMayBeOfAnyShape(t *testing.T) {
	a, _ := twoRecords(t)
	a = strings.Replace(a, `"requestParameters":{"keyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}`, `"requestParameters":null`, 1)
	from := strings.Index(a, `"resources":`) + len(`"resources":`)
	to := from + strings.Index(a[from:], "]") + 1
	const arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	for shape, want := range map[string]cmek.KeyURI{
		`[{"ARN":"` + arn + `"}]`: arn, `["` + arn + `"]`: arn, `{"ARN":"` + arn + `"}`: arn, `{"arn":"` + arn + `"}`: arn, `"` + arn + `"`: arn,
		`[null,7,["x"],"` + arn + `"]`: arn, `null`: "", `[]`: "", `7`: "", `{}`: "",
	} {
		for r, err := range DecodeStream(strings.NewReader(a[:from] + shape + a[to:])) {
			if err != nil || r.Event == nil || r.Event.Key != want {
				t.Errorf("resources %s: got %+v (%v), want the key %q", shape, r.Event, err, want)
			}
		}
	}
}
