package events

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/keyturn/keyturn/internal/cmek"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata")

const (
	sampleARN   = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	sampleKeyID = "1234abcd-12ab-34cd-56ef-1234567890ab"
)

func TestEachSampleDecodesToItsGoldenEvents(t *testing.T) {
	for _, file := range samples(t, "testdata/*.json") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			decoded, err := Decode(read(t, file))
			if err != nil {
				t.Fatalf("a sample that we understand or ignore was refused: %v", err)
			}
			got, err := json.MarshalIndent(decoded, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".json")+".want.json", append(got, '\n'))
		})
	}
}

func TestEachBadSampleIsRefusedForItsReason(t *testing.T) {
	for _, file := range samples(t, "testdata/bad/*.json") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			decoded, err := Decode(read(t, file))
			if err == nil {
				t.Fatalf("decoded to %v, want an error", decoded)
			}
			if decoded != nil {
				t.Errorf("the error comes with events: %v", decoded)
			}
			if len(err.Error()) > 300 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("the error is not one readable line: %q", err)
			}
			golden(t, strings.TrimSuffix(file, ".json")+".want.txt", []byte(err.Error()+"\n"))
		})
	}
}

func TestEachRowOfTheTableHasASampleAndEachEventHasARow(t *testing.T) {
	rows := map[string]Row{}
	for _, row := range AWS() {
		if _, twice := rows[row.String()]; twice {
			t.Errorf("%s stands in the table twice", row)
		}
		rows[row.String()] = row
	}
	seen := map[string]bool{}
	for _, file := range samples(t, "testdata/*.json") {
		decoded, err := Decode(read(t, file))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, e := range decoded {
			seen[e.Source] = true
			row, ok := rows[e.Source]
			want := row.Change
			if !e.Succeeded() {
				want = row.Failed
			}
			if !ok || e.Change != want {
				t.Errorf("%s: source %q with change %q; the table says %q", file, e.Source, e.Change, want)
			}
		}
	}
	for row := range rows {
		if !seen[row] {
			t.Errorf("no sample in testdata is understood as %s", row)
		}
	}
}

func TestBothSignalsOfOneRotationAreOnePieceOfWork(t *testing.T) {
	for _, pair := range [][2]string{
		{"kms-cmk-rotation-automatic", "cloudtrail-rotatekey-automatic"},
		{"kms-cmk-rotation-on-demand-external", "cloudtrail-rotatekey-on-demand-external"},
		{"kms-cmk-rotation-multi-region-primary", "cloudtrail-rotatekey-multi-region-primary"},
		{"kms-cmk-rotation-old", "cloudtrail-rotatekey-2020"},
	} {
		direct, trail := only(t, pair[0]), only(t, pair[1])
		if direct.Change != trail.Change || !direct.Key.SameKey(trail.Key) || direct.Version != trail.Version {
			t.Errorf("%s is (%s, %s, %s), %s is (%s, %s, %s): want them equal",
				pair[0], direct.Change, direct.Key.Canonical(), direct.Version,
				pair[1], trail.Change, trail.Key.Canonical(), trail.Version)
		}
	}
}

func TestTheKeyIsFoundWhereverAnEditionPutsIt(t *testing.T) {
	const notice, trail = "kms-cmk-rotation-automatic", "cloudtrail-rotatekey-2023"
	for _, tc := range []struct {
		name    string
		sample  string
		replace []string // old, new, old, new, …
		want    cmek.KeyURI
	}{
		{"the key id alone, at the Region and account of the notice", notice,
			[]string{`"` + sampleARN + `"`, ``}, sampleARN},
		{"no resources at all", notice,
			[]string{`"resources": [`, `"were-resources": [`}, sampleARN},
		{"the partition of the Region", notice,
			[]string{`"` + sampleARN + `"`, ``, "us-west-2", "cn-north-1"},
			"arn:aws-cn:kms:cn-north-1:111122223333:key/" + sampleKeyID},
		{"the ARN, when the notice names another Region", notice,
			[]string{`"region": "us-west-2"`, `"region": "eu-central-1"`}, sampleARN},
		{"the ARN, when another key id is given", notice,
			[]string{`"key-id": "1234`, `"key-id": "9999`}, sampleARN},
		{"the key among an alias and a bucket", notice,
			[]string{`"` + sampleARN + `"`, `"arn:aws:kms:us-west-2:111122223333:alias/a", "arn:aws:s3:::b", "` + sampleARN + `"`}, sampleARN},
		{"responseElements, when there are no resources", trail,
			[]string{`"resources": [`, `"were-resources": [`}, sampleARN},
		{"responseElements, when the resource has no ARN", trail,
			[]string{`"ARN": `, `"were-ARN": `}, sampleARN},
		{"serviceEventDetails, when there is nothing else", trail,
			[]string{`"resources": [`, `"were-resources": [`, `"responseElements": {`, `"were-response": {`}, sampleARN},
		{"recipientAccountId, when it differs from the envelope", trail,
			[]string{`"resources": [`, `"were-resources": [`, `"responseElements": {`, `"were-response": {`,
				`"account": "111122223333"`, `"account": "999999999999"`}, sampleARN},
		{"the account of the envelope, when the record has none", trail,
			[]string{`"resources": [`, `"were-resources": [`, `"responseElements": {`, `"were-response": {`,
				`"recipientAccountId": "111122223333",`, ``}, sampleARN},
	} {
		t.Run(tc.name, func(t *testing.T) {
			payload := strings.NewReplacer(tc.replace...).Replace(string(read(t, "testdata/"+tc.sample+".json")))
			decoded, err := Decode([]byte(payload))
			if err != nil || len(decoded) != 1 {
				t.Fatalf("got %d events and error %v, want one event", len(decoded), err)
			}
			if got := decoded[0].Key; got != tc.want {
				t.Errorf("key is %s, want %s", got, tc.want)
			}
		})
	}
}

func TestVia_isTheServiceThatMadeTheCall(t *testing.T) {
	const service, address = "cloudformation.amazonaws.com", "192.0.2.0"
	direct := string(read(t, "testdata/cloudtrail-events-putrule.json"))
	through := string(read(t, "testdata/cloudtrail-events-putrule-by-cloudformation.json"))
	sourceIs := func(name string) string { return `"sourceIPAddress": "` + name + `"` }
	const invokedByService = `"invokedBy": "` + service + `"`
	for _, tc := range []struct{ name, payload, want string }{
		{"a person's call", direct, ""},
		{"a person's call whose user agent pretends", strings.Replace(direct, `"userAgent": "`, `"userAgent": "`+service+" ", 1), ""},
		{"a service's call", through, service},
		{"a service's call without invokedBy", strings.Replace(through, invokedByService, `"x": ""`, 1), service},
		{"a service's call with an address", strings.Replace(through, sourceIs(service), sourceIs(address), 1), service},
		{"a call by AWS itself", strings.NewReplacer(sourceIs(service), sourceIs("AWS Internal"), invokedByService, `"invokedBy": "AWS Internal"`).Replace(through), ""},
	} {
		if got := decodeOne(t, tc.payload).Parameters["via"]; got != tc.want {
			t.Errorf("%s came via %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestADirtyButReadablePayloadIsStillUnderstood(t *testing.T) {
	clean := string(read(t, "testdata/kms-cmk-rotation-automatic.json"))
	for name, payload := range map[string]string{
		"a field twice":          strings.Replace(clean, `"version"`, `"version": "9", "version"`, 1),
		"invalid UTF-8":          strings.Replace(clean, `"detail": {`, "\"detail\": { \"note\": \"\xff\xfe\",", 1),
		"fields we do not know":  strings.Replace(clean, `"detail": {`, `"new": {"deep": [1]}, "detail": { "new": null,`, 1),
		"null where a string is": strings.Replace(clean, `"rotation-type": "AUTOMATIC"`, `"rotation-type": null`, 1),
	} {
		decoded, err := Decode([]byte(payload))
		if err != nil || len(decoded) != 1 {
			t.Errorf("%s: got %d events and error %v, want one event", name, len(decoded), err)
		}
	}
}

func TestATimeThatCannotBeReadIsUnknown(t *testing.T) {
	clean := string(read(t, "testdata/kms-cmk-rotation-automatic.json"))
	const at = "2025-05-23T03:11:54Z"
	if got := decodeOne(t, clean).Time; !got.Equal(time.Date(2025, 5, 23, 3, 11, 54, 0, time.UTC)) {
		t.Errorf("time is %s, want %s", got, at)
	}
	for _, text := range []string{"", "yesterday", "Nov 2, 2021, 11:25:25 PM", "1748000000", "9999-12-31T23:59:59-12:00"} {
		if got := decodeOne(t, strings.Replace(clean, at, text, 1)).Time; !got.IsZero() {
			t.Errorf("time of %q is %s, want unknown", text, got)
		}
	}
}

func TestNewMinorVersionsOfCloudTrailAreUnderstood(t *testing.T) {
	clean := string(read(t, "testdata/cloudtrail-rotatekey-automatic.json"))
	for _, version := range []string{"1.02", "1.11", "1.99", "1", ""} {
		decodeOne(t, strings.Replace(clean, `"1.11"`, `"`+version+`"`, 1))
	}
	for _, version := range []string{"2.0", "10.1", "0.9", "one"} {
		if _, err := Decode([]byte(strings.Replace(clean, `"1.11"`, `"`+version+`"`, 1))); err == nil {
			t.Errorf("eventVersion %q was accepted, want an error", version)
		}
	}
}

func TestHostileNestingIsRefusedQuickly(t *testing.T) {
	const megabyte = 1 << 20
	detail := func(nested string) string {
		return `{"version":"0","source":"aws.kms","detail-type":"KMS CMK Rotation","detail":` + nested
	}
	for name, payload := range map[string]string{
		"open arrays":      strings.Repeat("[", megabyte),
		"open objects":     strings.Repeat(`{"a":`, megabyte/5),
		"closed arrays":    strings.Repeat("[", megabyte/2) + strings.Repeat("]", megabyte/2),
		"nested detail":    detail(strings.Repeat("[", megabyte/2) + strings.Repeat("]", megabyte/2) + "}"),
		"nested in detail": detail(`{"x":` + strings.Repeat(`{"detail":`, megabyte/10) + "}"),
	} {
		start := time.Now()
		decoded, err := Decode([]byte(payload))
		if err == nil || decoded != nil {
			t.Errorf("%s: got %v and error %v, want an error alone", name, decoded, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: refused after %s, want well under a second", name, took)
		}
	}
}

// samples lists the payloads that match the pattern, without golden files.
func samples(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var payloads []string
	for _, f := range files {
		if !strings.HasSuffix(f, ".want.json") {
			payloads = append(payloads, f)
		}
	}
	if len(payloads) == 0 {
		t.Fatalf("no samples match %s", pattern)
	}
	return payloads
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// golden compares got with the file, or rewrites the file under -update.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := read(t, file); !bytes.Equal(got, want) {
		t.Errorf("differs from %s (rewrite with -update)\ngot:  %s\nwant: %s", file, got, want)
	}
}

func only(t *testing.T, sample string) cmek.Event {
	t.Helper()
	return decodeOne(t, string(read(t, "testdata/"+sample+".json")))
}

func decodeOne(t *testing.T, payload string) cmek.Event {
	t.Helper()
	decoded, err := Decode([]byte(payload))
	if err != nil || len(decoded) != 1 {
		t.Fatalf("got %d events and error %v, want one event", len(decoded), err)
	}
	return decoded[0]
}
