package events

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/keyturn/keyturn/internal/cmek"
)

func entryOf(t *testing.T, text string) *googleNotice {
	t.Helper()
	n := new(googleNotice)
	if err := json.Unmarshal([]byte(text), n, tolerant); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return n
}

// A payload has the shape that what is around it shows, and no other.
func TestGoogle_shapes(t *testing.T) {
	const logName = `"logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity"`
	for text, want := range map[string]googleShape{
		`{` + logName + `,"protoPayload":{}}`: googleEntryShape, `{` + logName + `,"jsonPayload":{}}`: googleEntryShape, `{` + logName + `,"textPayload":"x"}`: googleEntryShape,
		`{` + logName + `}`: noGoogle, `{"logName":7,"protoPayload":{}}`: noGoogle, `{"protoPayload":{}}`: noGoogle,
		`{"specversion":"1.0","data":{}}`: googleCloudEventShape, `{"specversion":"1.0"}`: noGoogle, `{"data":{}}`: noGoogle, `{"specversion":1,"data":{}}`: noGoogle, `{"specversion":"1.0","data":"x"}`: noGoogle,
		`{"asset":{},"window":{}}`: googleAssetShape, `{"asset":{}}`: noGoogle, `{"window":{}}`: noGoogle, `{"asset":"x","window":{}}`: noGoogle,
	} {
		var h googleHead
		if err := json.Unmarshal([]byte(text), &h, tolerant); err != nil || h.shape() != want {
			t.Errorf("%s has shape %d (%v), want %d", text, h.shape(), err, want)
		}
	}
}

// What is beside an entry of a log does not make it another one.
func TestGoogle_entryWithAnAsset(t *testing.T) {
	want := decodeOne(t, disabledVersion(t))
	got := decodeOne(t, strings.Replace(disabledVersion(t), `"insertId"`, `"asset": {"name": "x", "assetType": "cloudkms.googleapis.com/CryptoKey"}, "window": {}, "insertId"`, 1))
	if got.ID != want.ID || got.Source != want.Source || got.Change != want.Change {
		t.Errorf("an entry with an asset is %s of %s, want %s of %s", got.ID, got.Source, want.ID, want.Source)
	}
	foreign := strings.ReplaceAll(string(read(t, "testdata/google/hypothetical-kms-rotationevent.json")), "cloudkms.googleapis.com%2F", "acme.example%2F")
	if decoded, err := Decode([]byte(foreign)); err != nil || len(decoded) > 0 {
		t.Errorf("an entry of another service's log of that name: %v, %v", decoded, err)
	}
}

// An insert id stands in the event's id as it is if it is short, so that it can be searched for.
func TestGoogle_lengthOfAnID(t *testing.T) {
	for length, isLegible := range map[int]bool{1: true, 63: true, 64: false, 65: false, 300: false} {
		n := entryOf(t, `{"logName":"projects/p/logs/x","insertId":"`+strings.Repeat("a", length)+`"}`)
		id := n.id()
		if identifier("id", id) != nil || strings.HasPrefix(id, strings.Repeat("a", length)+"-") != isLegible {
			t.Errorf("an insert id of %d characters makes %q", length, id)
		}
	}
}

// The status of an event of the platform is found beside whatever else the entry has.
func TestGoogle_statusOfAPlatformEvent(t *testing.T) {
	others := ""
	for i := range 20 {
		others += `"a` + strings.Repeat("a", i) + `":{},"text` + strings.Repeat("a", i) + `":"x",`
	}
	var e cmek.Event
	if err := entryOf(t, `{"jsonPayload":{`+others+`"rotationEvent":{"status":{"code":7}}}}`).describe(&e); err != nil || e.Error != "PERMISSION_DENIED" {
		t.Errorf("the error is %q, %v", e.Error, err)
	}
}

// Where an entry happened is what it says in a form that Google Cloud has.
func TestGoogle_whereAnEntryIs(t *testing.T) {
	for _, row := range []struct{ text, project, resource string }{
		{`{"logName":"projects/acme-keys/logs/x"}`, "acme-keys", ""}, {`{"logName":"projects/acme-keys"}`, "acme-keys", ""}, {`{"logName":"projects"}`, "", ""}, {`{"logName":"projects/No;Project/logs/x"}`, "", ""},
		{`{"logName":"tables/acme-keys/logs/x"}`, "", ""}, {`{"logName":"projects/acme-keys/logs/x","resource":{"labels":{"project_id":"acme-other"}}}`, "acme-other", ""},
		{`{"logName":"projects/acme-keys/logs/x","protoPayload":{"resourceName":"projects/acme-other/x"}}`, "acme-other", ""}, {`{"logName":"projects/acme-keys/logs/x","protoPayload":{"resourceName":"//x"}}`, "acme-keys", ""},
		{`{"logName":"organizations/42/logs/x"}`, "", "organizations/42"}, {`{"logName":"folders/77/logs/x"}`, "", "folders/77"}, {`{"logName":"billingAccounts/0A-1/logs/x"}`, "", "billingAccounts/0A-1"},
		{`{"logName":"organizations/42"}`, "", ""}, {`{"logName":"organizations"}`, "", ""}, {`{"logName":"things/42/logs/x"}`, "", ""}, {`{"logName":"folders/-7/logs/x"}`, "", ""}, {`{"logName":"folders//logs/x"}`, "", ""},
		{`{"logName":"folders/77/logs/x","resource":{"labels":{"project_id":"acme-keys"}}}`, "acme-keys", ""},
	} {
		var e cmek.Event
		if err := entryOf(t, row.text).describe(&e); err != nil || e.Account != row.project || e.Parameters["resource"] != row.resource {
			t.Errorf("%s is in project %q, resource %q (%v), want %q and %q", row.text, e.Account, e.Parameters["resource"], err, row.project, row.resource)
		}
	}
	for node, want := range map[string]string{
		"projects/acme-keys": "acme-keys", "folders/77": "", "organizations/42": "", "billingAccounts/0A-1": "",
		"projects/": "error", "folders/": "error", "organizations/a/b": "error", "things/42": "error", "77": "error", "": "error",
	} {
		e := cmek.Event{Account: "111", Parameters: map[string]string{"resource": "x"}}
		if err := at(&e, node); (err != nil) != (want == "error") || err == nil && (e.Account != want || e.Parameters["resource"] != node) {
			t.Errorf("at %q the event is in %q, %v: %v", node, e.Account, e.Parameters, err)
		}
	}
	for _, row := range []struct{ label, name, want string }{{"acme-keys", "123", "acme-keys"}, {"", "123", "123"}, {"acme-keys", "acme-other", "acme-other"}, {"", "acme-other", "acme-other"}} {
		e := cmek.Event{Account: row.label}
		if err := at(&e, "projects/"+row.name); err != nil || e.Account != row.want {
			t.Errorf("project %s of an entry of %q is %q, %v; want %q", row.name, row.label, e.Account, err, row.want)
		}
	}
}

func TestGoogle_formsOfNames(t *testing.T) {
	for id, want := range map[string]bool{"42": true, "0A-1": true, strings.Repeat("a", 63): true, strings.Repeat("a", 64): false, "": false, "-1": false, "a_b": false, "a/b": false} {
		if got := isNodeID(id); got != want {
			t.Errorf("%q is an id of a folder: %t", id, got)
		}
	}
	for number, want := range map[string]bool{"1": true, strings.Repeat("1", 32): true, strings.Repeat("1", 33): false, "": false, "1a": false} {
		if got := isNumber(number); got != want {
			t.Errorf("%q is a number: %t", number, got)
		}
	}
	long := strings.Repeat("a", 256-len("@p.example"))
	for email, want := range map[string]bool{
		account: true, "x@p.example": true, long + "@p.example": true, long + "a@p.example": false, "p.example": false, "@p.example": false, "-x@p.example": false, "x-@p.example": true,
		"x y@p.example": false, "x@example": false, "x@p;example.com": false, "x.y-z@p.example": true, "x@": false, "": false,
	} {
		if got := isServiceAccount(email); got != want {
			t.Errorf("%q is a service account: %t", email, got)
		}
	}
	for duration, want := range map[string]string{"86400s": "1", "86401s": "2", "86399s": "1", "1s": "1", "7776000s": "90", "0s": "", "-86400s": "", "": "", "90 days": "", "90": ""} {
		if got := daysOf(duration); got != want {
			t.Errorf("%q is %q days, want %q", duration, got, want)
		}
	}
}

// A perimeter that is shown to restrict neither API is none of ours, nor is one that is only tried, or has another title. What is not shown may be.
func TestGoogle_perimeters(t *testing.T) {
	const name = "accessPolicies/42/servicePerimeters/data"
	for _, row := range []struct {
		resource, request string
		events            int
		policy, perimeter string
	}{
		{name, `{"servicePerimeter":{"status":{"restrictedServices":["storage.googleapis.com","cloudkms.googleapis.com"]}}}`, 1, "42", "data"},
		{name, `{"servicePerimeter":{"status":{"restrictedServices":["iamcredentials.googleapis.com"]}},"updateMask":"status"}`, 1, "42", "data"},
		{name, `{"servicePerimeter":{"status":{"restrictedServices":["*"]}},"updateMask":"*"}`, 1, "42", "data"},
		{name, `{"servicePerimeter":{"status":{"restrictedServices":["storage.googleapis.com"]}},"updateMask":"status"}`, 0, "", ""},
		{name, `{"servicePerimeter":{"status":{"restrictedServices":["notcloudkms.googleapis.com"]}}}`, 0, "", ""},
		{name, `{"servicePerimeter":{"status":{"restrictedServices":[]}},"updateMask":"status.ingressPolicies"}`, 1, "42", "data"},
		{name, `{"updateMask":"status.resources"}`, 1, "42", "data"},
		{name, `{"updateMask":"useExplicitDryRunSpec,spec"}`, 1, "42", "data"},
		{name, `{"updateMask":"spec"}`, 0, "", ""},
		{name, `{"updateMask":"title,description"}`, 0, "", ""},
		{name, `{}`, 1, "42", "data"},
		{"accessPolicies/42/accessLevels/crdb", `{"updateMask":"title"}`, 1, "42", "crdb"},
		{"accessPolicies/42", `{"servicePerimeters":[]}`, 1, "42", ""},
		{"", `{"servicePerimeter":{"name":"` + name + `"}}`, 1, "42", "data"},
		{"accessPolicies/x;y/servicePerimeters/$(rm)", `{}`, 1, "", ""},
		{"", `{}`, 1, "", ""},
	} {
		list, err := perimeter(entryOf(t, `{"protoPayload":{"resourceName":"`+row.resource+`","request":`+row.request+`}}`), cmek.Event{})
		if err != nil || len(list) != row.events {
			t.Errorf("%s with %s makes %d events (%v), want %d", row.resource, row.request, len(list), err, row.events)
			continue
		}
		if row.events == 1 && (list[0].Parameters["access_policy"] != row.policy || list[0].Parameters["perimeter"] != row.perimeter) {
			t.Errorf("%s with %s is about %v, want %q of %q", row.resource, row.request, list[0].Parameters, row.perimeter, row.policy)
		}
	}
	split := entryOf(t, `{"split":{"uid":"1"},"protoPayload":{"resourceName":"`+name+`","request":{"servicePerimeter":{"status":{"restrictedServices":["storage.googleapis.com"]}}}}}`)
	if list, err := perimeter(split, cmek.Event{}); err != nil || len(list) != 1 {
		t.Errorf("of a split entry, which shows a part of the services: %v, %v; want an event", list, err)
	}
}

// A snooze names the alert policies that it silences by their numbers, and is named itself where it is there already.
func TestGoogle_snoozes(t *testing.T) {
	for _, row := range []struct{ entry, alarm, snooze, omitted string }{
		{`{"request":{"snooze":{"criteria":{"policies":["projects/p/alertPolicies/1","projects/p/alertPolicies/2"]}}}}`, "1,2", "", ""},
		{`{"resourceName":"projects/p/snoozes/7","request":{"snooze":{"criteria":{"policies":["projects/p/alertPolicies/1"]}}}}`, "1", "7", ""},
		{`{"request":{"snooze":{"criteria":{"policies":["1"]}}},"response":{"name":"projects/p/snoozes/8"}}`, "1", "8", ""},
		{`{"resourceName":"projects/p/snoozes/$(rm)","request":{}}`, "", "", "true"},
		{`{}`, "", "", "true"},
	} {
		list, err := snooze(entryOf(t, `{"protoPayload":`+row.entry+`}`), cmek.Event{})
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v, %v", row.entry, list, err)
		}
		if p := list[0].Parameters; p["alarm"] != row.alarm || p["snooze"] != row.snooze || p["omitted"] != row.omitted {
			t.Errorf("%s is about %v, want policies %q by %q, omitted %q", row.entry, p, row.alarm, row.snooze, row.omitted)
		}
	}
}

// One call of Pub/Sub sets the policies of topics, subscriptions, and of what keyturn has none of.
func TestGoogle_policiesOfMessages(t *testing.T) {
	for name, want := range map[string]string{
		"projects/p/topics/t": "topic=t", "projects/p/subscriptions/s": "subscription=s", "projects/p/snapshots/x": "", "projects/p/schemas/x": "",
		"projects/example.com:p/topics/t": "topic=t", "": "topic=",
	} {
		list, err := messagePolicy(entryOf(t, `{"protoPayload":{"resourceName":"`+name+`","serviceData":{"policyDelta":{"bindingDeltas":[{}]}}}}`), cmek.Event{})
		switch {
		case err != nil, (len(list) == 0) != (want == ""):
			t.Errorf("%s: %v, %v; want %q", name, list, err, want)
		case len(list) == 1:
			word, value, _ := strings.Cut(want, "=")
			if list[0].Parameters[word] != value || list[0].Delta == "" || (list[0].Parameters["omitted"] == "true") != (value == "") {
				t.Errorf("%s is about %v, delta %q; want %q", name, list[0].Parameters, list[0].Delta, want)
			}
		}
	}
}

// A role that is disabled gives nothing, whatever it includes. Its stage counts only if the call set it.
func TestGoogle_roleThatIsDisabled(t *testing.T) {
	for request, want := range map[string]string{
		`{"role":{"stage":"DISABLED"},"update_mask":{"paths":["stage"]}}`:              `{"stage":"DISABLED"}`,
		`{"role":{"stage":"DISABLED","title":"x"},"updateMask":"title,stage"}`:         `{"stage":"DISABLED","title":"x"}`,
		`{"role":{"stage":"DISABLED","title":"x"},"updateMask":"title"}`:               "",
		`{"role":{"stage":"GA","includedPermissions":["a.b.c"]},"updateMask":"stage"}`: "",
		`{"role":{"stage":"DEPRECATED"},"updateMask":"stage"}`:                         "",
		`{"updateMask":"stage"}`: "",
		`{"role":{"stage":"GA","includedPermissions":["a.b.c"]},"updateMask":"stage,includedPermissions"}`: `{"stage":"GA","includedPermissions":["a.b.c"]}`,
	} {
		n := entryOf(t, `{"protoPayload":{"resourceName":"projects/acme-keys/roles/kmsUser","request":`+request+`}}`)
		list, err := customRole(n, cmek.Event{})
		if err != nil || len(list) != 1 || list[0].Policy != want {
			t.Errorf("%s sets %+v (%v), want %q", request, list, err, want)
		}
	}
}

// A Key Access Justifications policy that is not shown may be one without reasons.
func TestGoogle_justifications(t *testing.T) {
	for key, want := range map[string][]string{
		`{"keyAccessJustificationsPolicy":{"allowedAccessReasons":["A","B"]}}`: {"reasons", "A,B"},
		`{"keyAccessJustificationsPolicy":{"allowedAccessReasons":[5]}}`:       {"reasons", "5"},
		`{"keyAccessJustificationsPolicy":{"allowedAccessReasons":[]}}`:        {"justifications", "none"},
		`{"keyAccessJustificationsPolicy":{}}`:                                 {"justifications", "none"},
		`{"keyAccessJustificationsPolicy":null}`:                               {"justifications", "absent"},
		`{"keyAccessJustificationsPolicy":"x"}`:                                {"justifications", "absent"},
		`{"labels":{}}`:                                                        {"justifications", "absent"},
		`{}`:                                                                   {"justifications", "absent"},
	} {
		n := entryOf(t, `{"protoPayload":{"request":{"cryptoKey":`+key+`}}}`)
		if got := justifications(n.Audit.Request.object("cryptoKey")); !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

const account = "crdb-cmek@acme-keys.iam.gserviceaccount.com"

// A log that is switched off, or not written for somebody, is less logging; of another service it is none of ours.
func TestGoogle_lessLogging(t *testing.T) {
	for delta, want := range map[string]string{
		`{"action":"REMOVE","service":"cloudkms.googleapis.com"}`: "cloudkms.googleapis.com", `{"action":"ADD","service":"cloudkms.googleapis.com"}`: "", `{"action":"REMOVE"}`: "allServices",
		`{"action":"ADD","service":"iam.googleapis.com","exemptedMember":"user:a"}`: "iam.googleapis.com", `{"action":"REMOVE","service":"iam.googleapis.com","exemptedMember":"user:a"}`: "",
		`{"action":"REMOVE","service":"storage.googleapis.com"}`: "", `{"service":"cloudkms.googleapis.com"}`: "", `{"service":"cloudkms.googleapis.com","exemptedMember":"user:a"}`: "",
		`{"action":"REMOVE"},{"action":"REMOVE"},{"action":"REMOVE","service":"iam.googleapis.com"}`: "allServices,iam.googleapis.com",
	} {
		var deltas []object
		if err := json.Unmarshal([]byte("["+delta+"]"), &deltas, tolerant); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(reduced(deltas), ","); got != want {
			t.Errorf("%s is less logging of %q, want %q", delta, got, want)
		}
	}
}

// The inventory shows a change of a key if it shows what was there before, too.
func TestGoogle_assetsThatChanged(t *testing.T) {
	const one, two = `{"primary":{"name":"` + ofKey + `/cryptoKeyVersions/1"}}`, `{"primary":{"name":"` + ofKey + `/cryptoKeyVersions/2"}}`
	asset := func(name, now, before, more string) string {
		return `{"asset":{"name":"//cloudkms.googleapis.com/` + name + `","resource":{"data":` + now + `}},"priorAsset":{"resource":{"data":` + before + `}},"window":{"startTime":"2026-03-01T12:00:00Z"}` + more + `}`
	}
	for _, row := range []struct {
		name string
		read func(*googleNotice, cmek.Event) ([]cmek.Event, error)
		text string
		want cmek.Change // "" for none
	}{
		{"another primary version", assetOfKey, asset(ofKey, two, one, ""), "as it was"}, {"the same", assetOfKey, asset(ofKey, two, two, ""), ""}, {"none before", assetOfKey, asset(ofKey, two, `{}`, ""), ""},
		{"none now", assetOfKey, asset(ofKey, `{}`, one, ""), ""}, {"none at all", assetOfKey, asset(ofKey, `{}`, `{}`, ""), ""}, {"it is deleted", assetOfKey, asset(ofKey, two, two, `,"deleted":true`), cmek.ChangeKeyDeleted},
		{"no key", assetOfKey, asset("projects/p", two, one, ""), "error"}, {"a version is no key's name", assetOfVersion, asset(ofKey, `{"state":"DISABLED"}`, `{"state":"ENABLED"}`, ""), "error"},
		{"another state", assetOfVersion, asset(ofVersion, `{"state":"DISABLED"}`, `{"state":"ENABLED"}`, ""), cmek.ChangeVersionDisabled}, {"the same state", assetOfVersion, asset(ofVersion, `{"state":"DISABLED"}`, `{"state":"DISABLED"}`, ""), ""},
		{"a state that nobody knows", assetOfVersion, asset(ofVersion, `{"state":"NEW_ONE"}`, `{"state":"ENABLED"}`, ""), ""}, {"no state before", assetOfVersion, asset(ofVersion, `{"state":"DISABLED"}`, `{}`, ""), ""}, {"no state", assetOfVersion, asset(ofVersion, `{}`, `{"state":"ENABLED"}`, ""), ""},
		{"a new version", assetOfVersion, asset(ofVersion, `{"state":"ENABLED"}`, `{}`, `,"priorAssetState":"DOES_NOT_EXIST"`), cmek.ChangeVersionCreated}, {"a new one without a state", assetOfVersion, asset(ofVersion, `{}`, `{}`, `,"priorAssetState":"DOES_NOT_EXIST"`), ""},
	} {
		list, err := row.read(entryOf(t, row.text), cmek.Event{Change: "as it was"})
		switch {
		case row.want == "error" && err == nil, row.want != "error" && err != nil:
			t.Errorf("%s: %v, error %v", row.name, list, err)
		case err == nil && (len(list) > 0) != (row.want != ""), err == nil && len(list) > 0 && list[0].Change != row.want:
			t.Errorf("%s: %+v, want %q", row.name, list, row.want)
		}
	}
}

const (
	ofKey     = "projects/acme-keys/locations/us-east1/keyRings/crdb/cryptoKeys/payments"
	ofVersion = ofKey + "/cryptoKeyVersions/3"
)

// Clusters name a key by the id of its project: a number gives way to an id that the labels have.
func TestGoogle_projectOfAKey(t *testing.T) {
	numbered := strings.Replace(ofKey, "acme-keys", "123", 1)
	for _, row := range []struct{ key, label, want string }{
		{numbered, "acme-keys", ofKey}, {numbered, "", numbered}, {numbered, "Not;One", numbered}, {ofKey, "acme-other", ofKey}, {ofKey, "", ofKey},
	} {
		n := entryOf(t, `{"resource":{"labels":{"project_id":"`+row.label+`"}}}`)
		if got := n.withProjectID(cmek.KeyURI(row.key)); string(got) != row.want {
			t.Errorf("%s with the label %q is %s", row.key, row.label, got)
		}
	}
}

// A version is that of the key's name, of the labels, or of the request. A garbled key is an error for each of them, unless the call failed.
func TestGoogle_versionsOfKeys(t *testing.T) {
	labels := func(version string) string {
		return `"resource":{"labels":{"crypto_key_version_id":"` + version + `"}}`
	}
	for _, row := range []struct {
		name string
		read func(*googleNotice, cmek.Event) ([]cmek.Event, error)
		text string
		key  string
		on   string
		err  bool
	}{
		{"the version of the name", cryptoKeyVersion, `{"protoPayload":{"resourceName":"` + ofVersion + `"},` + labels("7") + `}`, ofKey, "3", false}, {"that of the labels", cryptoKeyVersion, `{"protoPayload":{"resourceName":"` + ofKey + `"},` + labels("7") + `}`, ofKey, "7", false},
		{"a garbled label", cryptoKeyVersion, `{"protoPayload":{"resourceName":"` + ofKey + `"},` + labels("x/y") + `}`, ofKey, "", false}, {"a garbled key", cryptoKeyVersion, `{"protoPayload":{"resourceName":"projects/p/keys"},` + labels("7") + `}`, "", "", true},
		{"the primary version", primaryVersion, `{"protoPayload":{"resourceName":"` + ofKey + `","request":{"cryptoKeyVersionId":"4"}}}`, ofKey, "", false}, {"a garbled key's primary version", primaryVersion, `{"protoPayload":{"resourceName":"projects/p/keys","request":{"cryptoKeyVersionId":"4"}}}`, "", "", true},
		{"a garbled primary version", primaryVersion, `{"protoPayload":{"resourceName":"` + ofKey + `","request":{"cryptoKeyVersionId":"x/y"}}}`, "", "", true},
	} {
		n := entryOf(t, row.text)
		list, err := row.read(n, cmek.Event{})
		if (err != nil) != row.err || err == nil && (string(list[0].Key) != row.key || list[0].On.ID != row.on) {
			t.Errorf("%s: %+v, error %v", row.name, list, err)
		}
		if list, err := row.read(n, cmek.Event{Error: "NOT_FOUND"}); err != nil || len(list) != 1 || row.err && row.key == "" && !strings.Contains(row.text, ofKey) && list[0].Key != "" {
			t.Errorf("%s, of a call that failed: %+v, error %v", row.name, list, err)
		}
	}
}

// A change of when a key rotates is one, whichever of both fields is set.
func TestGoogle_rotationFields(t *testing.T) {
	for mask, want := range map[string][]cmek.Change{
		"rotationPeriod": {cmek.ChangeRotationSchedule}, "nextRotationTime": {cmek.ChangeRotationSchedule}, "rotationPeriod,nextRotationTime": {cmek.ChangeRotationSchedule}, "versionTemplate": {cmek.ChangeKeyDescription},
		"labels": {cmek.ChangeKeyTags}, "labels,nextRotationTime": {cmek.ChangeRotationSchedule, cmek.ChangeKeyTags},
	} {
		period := ""
		if strings.Contains(mask, "rotationPeriod") {
			period = `"rotationPeriod":"86400s",`
		}
		list, err := keyUpdate(entryOf(t, `{"protoPayload":{"resourceName":"`+ofKey+`","request":{"updateMask":"`+mask+`","cryptoKey":{`+period+`"labels":{"a":"b"}}}}}`), cmek.Event{})
		var got []cmek.Change
		for _, e := range list {
			got = append(got, e.Change)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("with the mask %s the changes are %q, error %v; want %q", mask, got, err, want)
		}
	}
}

func TestGoogle_externalKeysAreWhereTheirNameSays(t *testing.T) {
	for name, want := range map[string][3]string{
		"projects/acme-keys/locations/us-east1/ekmConnections/c": {"acme-keys", "us-east1", "c"}, "projects/acme-keys/locations/us-east1/ekmConfig": {"acme-keys", "us-east1", "ekmConfig"},
		"projects/acme-keys/locations/us-east1/singleTenantHsmInstances/h/proposals/p": {"acme-keys", "us-east1", "h"}, "projects/acme-keys/locations/us-east1": {"acme-keys", "us-east1", "us-east1"},
		"things/acme-keys/locations/us-east1/x/c": {"before", "before", "c"}, "projects/acme-keys/places/us-east1/x/c": {"before", "before", "c"}, "projects/Not;One/locations/us-east1/x/c": {"before", "before", "c"},
		"projects/acme-keys/locations/-x/x/c": {"before", "before", "c"}, "projects/acme-keys/locations": {"before", "before", "locations"}, "c": {"before", "before", "c"},
	} {
		list, err := externalKeys(entryOf(t, `{"protoPayload":{"resourceName":"`+name+`"}}`), cmek.Event{Account: "before", Region: "before"})
		if err != nil || [3]string{list[0].Account, list[0].Region, list[0].Parameters["custom_key_store_id"]} != want {
			t.Errorf("%s is %+v, error %v; want %q", name, list, err, want)
		}
	}
}

// A service account is known by its e-mail address or its unique id. Without a project, and without an account, it may be anywhere.
func TestGoogle_serviceAccounts(t *testing.T) {
	for _, row := range []struct {
		name, text, failure string
		identity, id        string
		want                string // "none", "error", or "" for an event
	}{
		{"by the label", `{"resource":{"type":"service_account","labels":{"email_id":"` + account + `","unique_id":"1001"}}}`, "", account, "1001", ""}, {"by the resource's name", `{"protoPayload":{"resourceName":"projects/-/serviceAccounts/` + account + `"}}`, "", account, "", ""},
		{"by its id", `{"protoPayload":{"resourceName":"projects/-/serviceAccounts/1001"}}`, "", "", "1001", ""}, {"by the answer", `{"protoPayload":{"response":{"email":"` + account + `","uniqueId":"1001"}}}`, "", account, "1001", ""},
		{"another resource", `{"resource":{"type":"project"},"protoPayload":{"resourceName":"projects/p"}}`, "", "", "", "none"}, {"no name", `{"resource":{"type":"service_account"}}`, "", "", "", "error"}, {"no name, and it failed", `{"resource":{"type":"service_account"}}`, "DENIED", "", "", ""},
		{"a garbled name", `{"protoPayload":{"resourceName":"projects/-/serviceAccounts/x;y"}}`, "", "", "", "error"},
	} {
		list, err := serviceAccount(entryOf(t, row.text), cmek.Event{Account: "acme-keys", Error: row.failure})
		got := map[bool]string{true: "error", false: ""}[err != nil]
		if err == nil && list == nil {
			got = "none"
		}
		if got != row.want || got == "" && (string(list[0].Identity) != row.identity || list[0].Parameters["unique_id"] != row.id) {
			t.Errorf("%s: %+v, error %v; want %q", row.name, list, err, row.want)
		}
	}
	for text, refused := range map[string]bool{`{"protoPayload":{"resourceName":"projects/-/serviceAccounts/1001"}}`: true, `{"protoPayload":{"resourceName":"projects/-/serviceAccounts/` + account + `"}}`: false} {
		if list, err := serviceAccount(entryOf(t, text), cmek.Event{}); (err != nil) != refused {
			t.Errorf("without a project, %s is %+v, error %v", text, list, err)
		}
	}
}

func TestGoogle_rolesAndDenyPolicies(t *testing.T) {
	for name, want := range map[string]string{
		"projects/acme-keys/roles/wrap": "acme-keys", "organizations/42/roles/wrap": "", "projects/acme-keys/roles/": "error", "projects/acme-keys/things/wrap": "error", "projects/Not;One/roles/wrap": "error", "organizations/-4/roles/wrap": "error",
		"folders/77/roles/wrap": "error", "roles/viewer": "error", "projects/acme-keys/roles/a b": "error", "organizations/acme keys/roles/wrap": "error",
	} {
		n := entryOf(t, `{"protoPayload":{"resourceName":"`+name+`"}}`)
		list, err := customRole(n, cmek.Event{Account: "before"})
		if (err != nil) != (want == "error") || err == nil && (list[0].Account != want || list[0].Parameters["role"] != name) {
			t.Errorf("role %s: %+v, error %v", name, list, err)
		}
		if list, err := customRole(n, cmek.Event{Account: "before", Error: "DENIED"}); err != nil || (list[0].Parameters["role"] == "") != (want == "error") {
			t.Errorf("role %s of a call that failed: %+v, error %v", name, list, err)
		}
	}
	for name, want := range map[string]string{
		"policies/cloudresourcemanager.googleapis.com%2Fprojects%2Facme-keys/denypolicies/stop": "projects/acme-keys stop", "policies/cloudresourcemanager.googleapis.com%2ffolders%2f77/denypolicies": "folders/77 ",
		"policies/cloudresourcemanager.googleapis.com%2Fprojects%2Facme-keys/accesspolicies/x": "none", "things/acme-keys": "error", "policies/x/denypolicies/stop": "error",
	} {
		n := entryOf(t, `{"protoPayload":{"resourceName":"`+name+`"}}`)
		list, err := denyPolicy(n, cmek.Event{})
		got := "none"
		if err != nil {
			got = "error"
		} else if len(list) > 0 {
			got = list[0].Parameters["resource"] + " " + list[0].Parameters["policy_name"]
		}
		if got != want {
			t.Errorf("deny policy %s is %q, %v; want %q", name, got, err, want)
		}
		if _, err := denyPolicy(n, cmek.Event{Error: "DENIED"}); err != nil {
			t.Errorf("deny policy %s of a call that failed: %v", name, err)
		}
	}
}

// What a policy of services allows, of an entry that is in parts, is not known.
func TestGoogle_splitConsumerPolicy(t *testing.T) {
	sample := string(read(t, "testdata/google/serviceusage-updateconsumerpolicylro-with-both.json"))
	whole, err := Decode([]byte(sample))
	if err != nil || len(whole) > 0 {
		t.Fatalf("a policy with both services: %v, %v", whole, err)
	}
	part := strings.Replace(sample, `"insertId"`, `"split": {"uid": "u", "index": 0, "totalSplits": 2}, "insertId"`, 1)
	if e := decodeOne(t, part); e.Parameters["omitted"] != "true" || e.Parameters["api"] != "" {
		t.Errorf("a part of it: %v", maps.Clone(e.Parameters))
	}
}
