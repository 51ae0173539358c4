package events

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestGoogle_eachSampleDecodesToItsGoldenEvents(t *testing.T) {
	for _, file := range samples(t, "testdata/google/*.json") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			decoded, err := Decode(read(t, file))
			if err != nil {
				t.Fatalf("a sample that we understand or ignore was refused: %v", err)
			}
			for _, e := range decoded {
				sound(t, e)
			}
			got, err := json.MarshalIndent(decoded, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".json")+".want.json", append(got, '\n'))
		})
	}
}

func TestGoogle_eachBadSampleIsRefusedForItsReason(t *testing.T) {
	for _, file := range samples(t, "testdata/google/bad/*.json") {
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

func TestGoogle_eachRowHasASampleAndEachEventHasARow(t *testing.T) {
	seen := map[Row]bool{}
	for _, row := range Google() {
		if _, twice := seen[row]; twice {
			t.Errorf("%+v stands in the table twice", row)
		}
		if row.ReadOnly != (row.DetailType == "data_access") {
			t.Errorf("%+v only reads: %t", row, row.ReadOnly)
		}
		seen[row] = false
	}
	for _, file := range samples(t, "testdata/google/*.json") {
		decoded, err := Decode(read(t, file))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, e := range decoded {
			found := false
			for row := range seen {
				if row.String() == e.Source && (e.Succeeded() && row.Change == e.Change || !e.Succeeded() && row.Failed == e.Change) {
					seen[row], found = true, true
				}
			}
			if !found {
				t.Errorf("%s: source %q with change %q has no row in the table", file, e.Source, e.Change)
			}
		}
	}
	for row, ok := range seen {
		if !ok {
			t.Errorf("no sample in testdata/google is understood as %s, %q", row, row.Change)
		}
	}
}

// disabledVersion is an entry of a version that was disabled.
func disabledVersion(t testing.TB) string {
	t.Helper()
	return string(read(t, "testdata/google/kms-updatecryptokeyversion-disabled.json"))
}

// pushed is the body of a Pub/Sub push with the text.
func pushed(text string) string {
	return fmt.Sprintf(`{"message":{"data":%q,"messageId":"1","attributes":{"logging.googleapis.com/timestamp":"x"}},"subscription":"projects/p/subscriptions/s"}`,
		base64.StdEncoding.EncodeToString([]byte(text)))
}

// However an entry comes, the event is the same: so that of a push and that of a file are one to whoever has seen it.
func TestGoogle_eventIsTheSameHoweverItComes(t *testing.T) {
	want := decodeOne(t, disabledVersion(t))
	for name, payload := range map[string]string{
		"push": pushed(disabledVersion(t)), "push with a line feed": pushed(disabledVersion(t) + "\n"),
		"pulled":                        fmt.Sprintf(`{"ackId":"x","message":{"data":%q}}`, base64.StdEncoding.EncodeToString([]byte(disabledVersion(t)))),
		"CloudEvent":                    `{"specversion":"1.0","type":"google.cloud.pubsub.topic.v1.messagePublished","source":"//pubsub.googleapis.com/","id":"1","data":` + pushed(disabledVersion(t)) + `}`,
		"CloudEvent of an audit log":    `{"specversion":"1.0","type":"google.cloud.audit.log.v1.written","source":"x","id":"1","data":` + disabledVersion(t) + `}`,
		"without severity":              strings.Replace(disabledVersion(t), `"severity": "NOTICE"`, `"severity": "ERROR"`, 1),
		"with fields that nobody knows": strings.Replace(disabledVersion(t), `"insertId"`, `"new": {"deep": [1]}, "insertId"`, 1),
	} {
		got := decodeOne(t, payload)
		if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); a != b {
			t.Errorf("%s: decoded to\n%s\nwant\n%s", name, a, b)
		}
	}
}

func TestGoogle_streamsOfEntries(t *testing.T) {
	one := string(compact(t, []byte(disabledVersion(t))))
	other := strings.Replace(one, "DISABLED", "ENABLED", 1)
	foreign := string(compact(t, read(t, "testdata/google/iap-setiampolicy.json")))
	aws := string(compact(t, read(t, "testdata/cloudtrail-disablekey.json")))
	for name, stream := range map[string]string{
		"an array":           "[" + one + ",\n" + other + "," + foreign + "]",
		"one a line":         one + "\n" + other + "\n" + foreign + "\n",
		"an answer":          `{"entries":[` + one + "," + other + "," + foreign + `],"nextPageToken":"x"}`,
		"pushes":             pushed(one) + "\n" + pushed(other) + "\n" + pushed(foreign),
		"pulled":             "[" + pushed(one) + "," + pushed(other) + "," + pushed(foreign) + "]",
		"indented, in order": disabledVersion(t) + strings.Replace(disabledVersion(t), "DISABLED", "ENABLED", 1) + foreign,
	} {
		// Records of AWS and of Google may stand in one stream.
		var changes []string
		for record, err := range DecodeStream(strings.NewReader(stream + "\n" + aws)) {
			switch {
			case err != nil:
				t.Errorf("%s: %v", name, err)
			case record.Event == nil:
				changes = append(changes, "none of "+record.Source)
			default:
				changes = append(changes, string(record.Event.Change))
			}
		}
		want := []string{"key version disabled", "key version enabled", "none of iap.googleapis.com/activity/SetIamPolicy", "key disabled"}
		if !slices.Equal(changes, want) {
			t.Errorf("%s: the records are %q, want %q", name, changes, want)
		}
	}
}

// A broken entry hides none of those around it, and is reported.
func TestGoogle_brokenEntryHidesNoOther(t *testing.T) {
	one := string(compact(t, []byte(disabledVersion(t))))
	stream := one + "\n" + one[:len(one)/2] + "\n" + pushed("cut") + "\n" + one
	events, errs := 0, 0
	for record, err := range DecodeStream(strings.NewReader(stream)) {
		if err != nil {
			errs++
		} else if record.Event != nil {
			events++
		}
	}
	if events != 2 || errs != 2 {
		t.Errorf("%d events and %d errors, want 2 and 2", events, errs)
	}
}

// The status decides by its code alone. What cannot be read is refused: neither a success nor a failure may be made of it.
func TestGoogle_statusCode(t *testing.T) {
	for status, want := range map[string]struct {
		code    string
		failure cmek.Failure
		refused bool
	}{
		`{}`: {}, `null`: {}, `{"code":0}`: {}, `{"code":null}`: {}, `{"message":"failed"}`: {}, `{"code":"OK"}`: {}, `"text"`: {},
		`{"code":7}`:                    {"PERMISSION_DENIED", cmek.FailureDenied, false},
		`{"code":"7"}`:                  {"PERMISSION_DENIED", cmek.FailureDenied, false},
		`{"code":"PERMISSION_DENIED"}`:  {"PERMISSION_DENIED", cmek.FailureDenied, false},
		`{"code":16}`:                   {"UNAUTHENTICATED", cmek.FailureDenied, false},
		`{"code":9}`:                    {"FAILED_PRECONDITION", cmek.FailureUnfit, false},
		`{"code":5}`:                    {"NOT_FOUND", cmek.FailureMissing, false},
		`{"code":8}`:                    {"RESOURCE_EXHAUSTED", cmek.FailurePassing, false},
		`{"code":14}`:                   {"UNAVAILABLE", cmek.FailurePassing, false},
		`{"code":14,"details":[{}]}`:    {"UNAVAILABLE", cmek.FailureUnfit, false},
		`{"code":14,"details":"loose"}`: {"UNAVAILABLE", cmek.FailureUnfit, false},
		`{"code":3}`:                    {"INVALID_ARGUMENT", cmek.FailureRequest, false},
		`{"code":2}`:                    {"UNKNOWN", cmek.FailureUnknown, false},
		`{"code":99}`:                   {"CODE_99", cmek.FailureUnknown, false},
		`{"code":-1}`:                   {refused: true}, `{"code":true}`: {refused: true}, `{"code":{}}`: {refused: true}, `{"code":"DENIED"}`: {refused: true}, `{"code":7.5}`: {refused: true}, `{"code":"00"}`: {refused: true},
	} {
		payload := strings.Replace(disabledVersion(t), `"status": {}`, `"status": `+status, 1)
		decoded, err := Decode([]byte(payload))
		switch {
		case want.refused:
			if err == nil {
				t.Errorf("status %s: decoded to %v, want an error", status, decoded)
			}
		case err != nil || len(decoded) != 1:
			t.Errorf("status %s: %d events, error %v", status, len(decoded), err)
		case decoded[0].Error != want.code || decoded[0].Failure != want.failure:
			t.Errorf("status %s: error %q of class %q, want %q of class %q", status, decoded[0].Error, decoded[0].Failure, want.code, want.failure)
		}
	}
}

// A service and the last segment of the method's name decide; the version of the API and the way to write it do not.
func TestGoogle_methodIsKnownByServiceAndLastSegment(t *testing.T) {
	for name, want := range map[string]bool{
		"UpdateCryptoKeyVersion": true, "google.cloud.kms.v1.KeyManagementService.UpdateCryptoKeyVersion": true, "google.cloud.kms.v9.X.UpdateCryptoKeyVersion": true,
		"updateCryptoKeyVersion": false, "UpdateCryptoKeyVersions": false, "google.cloud.kms.v1.UpdateCryptoKeyVersion.X": false, "": false,
	} {
		decoded, err := Decode([]byte(strings.Replace(disabledVersion(t), `"methodName": "UpdateCryptoKeyVersion"`, fmt.Sprintf(`"methodName": %q`, name), 1)))
		if err != nil || (len(decoded) == 1) != want {
			t.Errorf("method %q: %d events, error %v; want it understood: %t", name, len(decoded), err, want)
		}
	}
	for _, edit := range [][2]string{
		{`"serviceName": "cloudkms.googleapis.com"`, `"serviceName": "kmsinventory.googleapis.com"`},
		{`cloudaudit.googleapis.com%2Factivity`, `cloudaudit.googleapis.com%2Fdata_access`},
		{`cloudaudit.googleapis.com%2Factivity`, `acme.example%2Factivity`},
		{`cloudaudit.googleapis.com%2Factivity`, `activity`},
	} {
		decoded, err := Decode([]byte(strings.ReplaceAll(disabledVersion(t), edit[0], edit[1])))
		if err != nil || len(decoded) != 0 {
			t.Errorf("with %s: %d events, error %v; want none", edit[1], len(decoded), err)
		}
	}
}

// A policy whose bindings the call did not set is no policy without bindings.
func TestGoogle_documentOutsideOfTheMaskIsNotSet(t *testing.T) {
	for _, sample := range []string{"kms-setiampolicy-key", "kms-setiampolicy-key-ring", "iam-setiampolicy-token-creator-removed"} {
		plain := string(read(t, "testdata/google/"+sample+".json"))
		whole := decodeOne(t, plain).Policy
		if whole == "" {
			t.Fatalf("%s sets no policy", sample)
		}
		for mask, set := range map[string]bool{
			`"bindings,etag"`: true, `"*"`: true, `""`: true, `{"paths":["bindings"]}`: true, `"etag"`: false, `"auditConfigs"`: false, `{"paths":["audit_configs","etag"]}`: false,
		} {
			i := strings.Index(plain, `"request": {`) + len(`"request": {`)
			e := decodeOne(t, plain[:i]+`"updateMask": `+mask+`,`+plain[i:])
			if got := e.Policy == whole; got != set || !set && e.Policy != "" {
				t.Errorf("%s with the mask %s has the policy %q, want it to be there: %v", sample, mask, e.Policy, set)
			}
		}
	}
}

// What was not read is never taken for the better.
func TestGoogle_missingRequestIsTheWorst(t *testing.T) {
	for _, row := range []struct {
		sample, old, new string
		want             cmek.Change
	}{
		{"kms-updatecryptokeyversion-enabled", `"state": "ENABLED"`, `"state": "SOMETHING_NEW"`, cmek.ChangeVersionDisabled},
		{"kms-updatecryptokeyversion-enabled", `"state": "ENABLED"`, `"status": "ENABLED"`, cmek.ChangeVersionDisabled},
		{"kms-updatecryptokeyversion-enabled", `"request":`, `"requested":`, cmek.ChangeVersionDisabled},
		{"kms-updatecryptokeyversion-enabled", `"state": "ENABLED"`, `"state": 2`, cmek.ChangeVersionDisabled},
		{"kms-updatecryptokeyversion-disabled", `"updateMask": "state"`, `"updateMask": "*"`, cmek.ChangeVersionDisabled},
		{"kms-updatecryptokeyversion-disabled", `"updateMask": "state"`, `"updateMask": "cryptoKeyVersion.state"`, cmek.ChangeVersionDisabled},
		{"kms-updatecryptokeyversion-disabled", `"updateMask": "state"`, `"updateMask": "name"`, cmek.ChangeVersionDisabled},
		{"kms-updatecryptokey-labels", `"updateMask":`, `"mask":`, cmek.ChangeJustifications},
		{"kms-updatecryptokey-labels", `"updateMask": "labels"`, `"updateMask": "*"`, cmek.ChangeJustifications},
		{"kms-updatecryptokey-labels", `"updateMask": "labels"`, `"updateMask": "labels,*"`, cmek.ChangeJustifications},
		{"kms-updatecryptokey-rotation", `"rotationPeriod":`, `"period":`, cmek.ChangeRotationDisabled},
		{"serviceusage-updateconsumerpolicylro-with-both", `"request":`, `"requested":`, cmek.ChangeAPIDisabled},
		{"orgpolicy-updatepolicy", `cloudkms.minimumDestroyScheduledDuration`, `custom.noKeys`, cmek.ChangeGuardRails},
	} {
		payload := strings.ReplaceAll(string(read(t, "testdata/google/"+row.sample+".json")), row.old, row.new)
		if payload == string(read(t, "testdata/google/"+row.sample+".json")) {
			t.Fatalf("%s has no %s", row.sample, row.old)
		}
		if got := decodeOne(t, payload).Change; got != row.want {
			t.Errorf("%s with %s is %q, want %q", row.sample, row.new, got, row.want)
		}
	}
	for state, want := range map[string]cmek.Change{`"ENABLED"`: cmek.ChangeVersionEnabled, `1`: cmek.ChangeVersionEnabled, `"1"`: cmek.ChangeVersionEnabled} {
		if got := decodeOne(t, strings.Replace(disabledVersion(t), `"DISABLED"`, state, 1)).Change; got != want {
			t.Errorf("state %s is %q, want %q", state, got, want)
		}
	}
}

// Of the two entries of a long-running operation the first is one that is begun, and the last shows how it ended. One that failed at once has
// no other. Both name the same operation, and people are shown the last alone.
func TestGoogle_operationHasABeginningAndAnEnd(t *testing.T) {
	base := string(read(t, "testdata/google/serviceusage-disableservice-last.json"))
	names := map[string]string{}
	for operation, begun := range map[string]bool{
		`{"id":"x","first":true}`: true, `{"id":"x","last":true}`: false, `{"id":"x","first":true,"last":true}`: false, `{"id":"x"}`: false, `{}`: false, `null`: false,
		`{"id":"x","first":"true"}`: true, `{"first":true}`: true, `{"id":"y","last":true}`: false, `{"id":"x","producer":"p","last":true}`: false,
	} {
		var entry map[string]json.RawMessage
		if err := json.Unmarshal([]byte(base), &entry); err != nil {
			t.Fatal(err)
		}
		entry["operation"] = json.RawMessage(operation)
		payload, err := json.Marshal(entry)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := Decode(payload)
		if err != nil || len(decoded) != 1 || decoded[0].Begun != begun {
			t.Fatalf("operation %s: %+v, error %v; want one event, begun: %t", operation, decoded, err, begun)
		}
		names[operation] = decoded[0].Operation
		for record, err := range DecodeStream(strings.NewReader(string(payload))) {
			if err != nil || (record.Event == nil) != begun || (record.Why != "") != begun {
				t.Errorf("operation %s: people are shown %+v, error %v", operation, record, err)
			}
		}
		failed := strings.Replace(string(payload), `"status":{}`, `"status":{"code":9}`, 1)
		if decoded, err := Decode([]byte(failed)); err != nil || len(decoded) != 1 || decoded[0].Begun {
			t.Errorf("operation %s that failed: %+v, error %v; want one that is not begun", operation, decoded, err)
		}
	}
	x := names[`{"id":"x","first":true}`]
	for operation, same := range map[string]bool{`{"id":"x","last":true}`: true, `{"id":"y","last":true}`: false, `{"id":"x","producer":"p","last":true}`: false, `{"first":true}`: false, `null`: false} {
		if x == "" || (names[operation] == x) != same {
			t.Errorf("%s is the operation %q, that of its first entry %q", operation, names[operation], x)
		}
	}
	if names[`{"first":true}`] != "" || names[`null`] != "" {
		t.Errorf("operations without an id are named: %q", names)
	}
}

// Entries are copied by many tools: what decides nothing may have any type.
func TestGoogle_fieldsOfOtherTypesAreUnknown(t *testing.T) {
	for field, value := range map[string]string{
		`"timestamp"`: `1772366400`, `"insertId"`: `7`, `"severity"`: `500`, `"receiveTimestamp"`: `null`, `"requestMetadata"`: `"text"`, `"authorizationInfo"`: `{}`,
		`"authenticationInfo"`: `"redacted"`, `"operation"`: `"op"`, `"split"`: `[]`, `"resourceLocation"`: `7`,
	} {
		payload := strings.Replace(disabledVersion(t), `"protoPayload": {`, `"protoPayload": { `+field+`: `+value+`,`, 1)
		payload = strings.Replace(payload, "{", "{ "+field+": "+value+",", 1)
		// A name that stands twice counts as it stands last, so the entry's own field is renamed.
		own := strings.LastIndex(payload, field+": ")
		payload = payload[:own] + `"was-` + payload[own+1:]
		e := decodeOne(t, payload)
		if e.Change != cmek.ChangeVersionDisabled || e.On != (cmek.KeyVersion{Scheme: cmek.Primary, ID: "3"}) {
			t.Errorf("with %s: %s the entry is %+v", field, value, e)
		}
	}
}

// The greeting of a feed is a plain text. What is JSON, or was cut from it, is none.
func TestGoogle_onlyAPlainTextIsAGreeting(t *testing.T) {
	for text, ignored := range map[string]bool{
		"You have successfully configured real time feed for assets.": true, "hello {": true,
		"[]": false, `"text"`: false, "7": false, "null": false, `{"a":`: false, "{}": false, "": false, "  ": false,
	} {
		payload := fmt.Sprintf(`{"message":{"data":%q,"messageId":"1"},"subscription":"s"}`, base64.StdEncoding.EncodeToString([]byte(text)))
		if decoded, err := Decode([]byte(payload)); (err == nil) != ignored || len(decoded) > 0 {
			t.Errorf("a message of %q: %d events, error %v; want it ignored: %t", text, len(decoded), err, ignored)
		}
	}
}

// Two entries have one id only if they are the same entry.
func TestGoogle_idIsThatOfTheEntry(t *testing.T) {
	id := decodeOne(t, disabledVersion(t)).ID
	if id == "" || identifier("id", id) != nil {
		t.Errorf("the id is %q", id)
	}
	for what, edit := range map[string][2]string{
		"the insert id": {`"insertId": "`, `"insertId": "x`}, "the time": {`12:00:00.123456789Z`, `12:00:00.123456788Z`}, "the log": {`"logName": "projects/acme-keys`, `"logName": "projects/acme-other`},
	} {
		if other := decodeOne(t, strings.Replace(disabledVersion(t), edit[0], edit[1], 1)).ID; other == id {
			t.Errorf("entries that differ in %s have one id %q", what, id)
		}
	}
	if again := decodeOne(t, strings.Replace(disabledVersion(t), `"receiveTimestamp": "2026`, `"receiveTimestamp": "2027`, 1)).ID; again != id {
		t.Errorf("a repeat has id %q, want %q", again, id)
	}
	hostile := decodeOne(t, strings.Replace(disabledVersion(t), `"insertId": "`, `"insertId": "$(rm) `, 1)).ID
	if identifier("id", hostile) != nil || hostile == "" {
		t.Errorf("the id of an entry with a hostile insert id is %q", hostile)
	}
}

// A use that was refused because of a version's state is about that version, as far as the entry names it. Another refusal is the key's.
func TestGoogle_refusedUseNamesTheVersion(t *testing.T) {
	label, message := `"crypto_key_version_id": "3"`, `cryptoKeys/payments/cryptoKeyVersions/3 is not enabled`
	for _, row := range []struct {
		sample string
		edits  []string
		want   string
	}{
		{"kms-decrypt-refused-disabled", nil, "3"},
		{"kms-decrypt-refused-disabled", []string{label, `"x": "3"`}, "3"},
		{"kms-decrypt-refused-disabled", []string{label, `"x": "3"`, message, "cryptoKeys/payments/cryptoKeyVersions/3. It is disabled"}, "3"},
		{"kms-decrypt-refused-disabled", []string{label, `"x": "3"`, message, "cryptoKeys/another/cryptoKeyVersions/3 is not enabled"}, ""},
		{"kms-decrypt-refused-disabled", []string{label, `"x": "3"`, message, "cryptoKeys/payments/cryptoKeyVersions/3;x is not enabled"}, ""},
		{"kms-decrypt-refused-disabled", []string{label, `"x": "3"`, message, "a version is not enabled"}, ""},
		{"kms-decrypt-refused-denied", nil, ""},
		{"kms-decrypt-refused-ekm", nil, ""}, // what is down is the key manager
	} {
		payload := string(read(t, "testdata/google/"+row.sample+".json"))
		for i := 0; i < len(row.edits); i += 2 {
			if !strings.Contains(payload, row.edits[i]) {
				t.Fatalf("%s has no %s", row.sample, row.edits[i])
			}
			payload = strings.Replace(payload, row.edits[i], row.edits[i+1], 1)
		}
		if e := decodeOne(t, payload); e.Change != cmek.ChangeUseRefused || e.On.ID != row.want {
			t.Errorf("%s %q is %q of version %q, want %q", row.sample, row.edits, e.Change, e.On.ID, row.want)
		}
	}
}

// A call that sets the state of a version and where its external key is makes two changes.
func TestGoogle_stateAndExternalKeyAreTwoChanges(t *testing.T) {
	payload := strings.Replace(string(read(t, "testdata/google/kms-updatecryptokeyversion-enabled.json")), `"updateMask": "state"`, `"updateMask": "state,external_protection_level_options.external_key_uri"`, 1)
	decoded, err := Decode([]byte(payload))
	if err != nil || len(decoded) != 2 || decoded[0].Change != cmek.ChangeVersionEnabled || decoded[1].Change != cmek.ChangeExternalKeys || decoded[0].ID == decoded[1].ID {
		t.Errorf("decoded to %+v, error %v; want an enabled version and a changed external key", decoded, err)
	}
}

// The version that became the primary one, in each spelling; one of another key is refused.
func TestGoogle_primaryVersionInEachSpelling(t *testing.T) {
	const key = "projects/acme-keys/locations/us-east1/keyRings/crdb/cryptoKeys/payments"
	for id, want := range map[string]string{
		`"4"`: "4", `4`: "4", `"` + key + `/cryptoKeyVersions/4"`: "4", `""`: "", `null`: "",
		`"` + key + `2/cryptoKeyVersions/4"`: "refused", `"4/5"`: "refused", `"x"`: "refused", `"$(rm)"`: "refused",
	} {
		payload := strings.Replace(string(read(t, "testdata/google/kms-updatecryptokeyprimaryversion.json")), `"cryptoKeyVersionId": "4"`, `"cryptoKeyVersionId": `+id, 1)
		decoded, err := Decode([]byte(payload))
		switch {
		case want == "refused":
			if err == nil {
				t.Errorf("id %s: decoded to %+v, want an error", id, decoded)
			}
		case err != nil || len(decoded) != 1 || decoded[0].Change != cmek.ChangeRotated || decoded[0].Version.ID != want:
			t.Errorf("id %s: decoded to %+v, error %v; want version %q", id, decoded, err, want)
		}
	}
}

// An event of a platform log is known by the name of its field, in either spelling.
func TestGoogle_platformEventInEachSpelling(t *testing.T) {
	failed := string(read(t, "testdata/google/hypothetical-kms-rotationevent-failed.json"))
	for name, want := range map[string]cmek.Change{"rotationEvent": cmek.ChangeRotationFailed, "rotation_event": cmek.ChangeRotationFailed, "rotationEvents": ""} {
		decoded, err := Decode([]byte(strings.Replace(failed, `"rotationEvent"`, `"`+name+`"`, 1)))
		if got := len(decoded) == 1 && decoded[0].Change == want; err != nil || got != (want != "") {
			t.Errorf("%s: decoded to %+v, error %v; want %q", name, decoded, err, want)
		}
	}
}
