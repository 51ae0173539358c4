package events

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"testdata/*.json", "testdata/bad/*.json", "testdata/google/*.json", "testdata/google/bad/*.json"} {
		for _, file := range samples(f, pattern) {
			f.Add(read(f, file))
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		decoded, err := Decode(payload)
		if err != nil {
			if decoded != nil {
				t.Fatalf("error %v comes with events %v", err, decoded)
			}
			if len(err.Error()) > 2000 {
				t.Fatalf("an error of %d bytes: %.200q…", len(err.Error()), err)
			}
			return
		}
		for _, e := range decoded {
			sound(t, e)
		}
	})
}

func FuzzDecodeStream(f *testing.F) {
	for _, pattern := range []string{"testdata/*.json", "testdata/bad/*.json", "testdata/mixed/*.json", "testdata/pasted/*", "testdata/google/*.json", "testdata/google/bad/*.json"} {
		for _, file := range samples(f, pattern) {
			f.Add(read(f, file))
		}
	}
	for _, stream := range wrapped(f, string(read(f, "testdata/cloudtrail-disablekey.json"))) {
		f.Add([]byte(stream))
	}
	for seed := range uint64(30) {
		p := newPasting(f, seed)
		f.Add([]byte(p.line() + "\n" + p.garbage() + "\n" + p.line()))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for record, err := range DecodeStream(bytes.NewReader(payload)) {
			if err != nil && record.Event != nil {
				t.Fatalf("error %v comes with event %v", err, record.Event)
			}
			if err != nil && len(err.Error()) > 2000 {
				t.Fatalf("an error of %d bytes: %.200q…", len(err.Error()), err)
			}
			if record.Event != nil {
				sound(t, *record.Event)
			}
			if record.Line < 1 || record.Line > 1+bytes.Count(payload, []byte{'\n'}) && utf8.Valid(payload) {
				t.Errorf("line %d is outside of the stream", record.Line)
			}
			if record.Offset < 0 || record.Offset > 2*int64(len(payload)) { // UTF-16 grows by half
				t.Errorf("offset %d is outside of the %d bytes of the stream", record.Offset, len(payload))
			}
			if pointer := jsontext.Pointer(record.Pointer); !pointer.IsValid() {
				t.Errorf("pointer %q is not valid", pointer)
			}
		}
	})
}

// sound checks what every event promises.
func sound(t *testing.T, e cmek.Event) {
	t.Helper()
	if e.Change == "" || e.Source == "" {
		t.Errorf("event without change or source: %+v", e)
	}
	if e.Key == "" && e.Change == cmek.ChangeRotated {
		t.Error("a rotation without a key")
	}
	if e.Change == cmek.ChangeRotated && !e.Succeeded() {
		t.Errorf("a rotation that failed with %q", e.Error)
	}
	if e.Key != "" {
		if uri, err := cmek.ParseKeyURI(string(e.Key)); err != nil || uri != e.Key || uri.Location() == "" {
			t.Errorf("key %q is not the URI of one key in one Region: %v", e.Key, err)
		}
		if e.Account != e.Key.Account() || e.Region != e.Key.Location() {
			t.Errorf("account %q and Region %q are not those of key %s", e.Account, e.Region, e.Key)
		}
	}
	if e.Succeeded() != (e.Failure == "") {
		t.Errorf("error %q is of class %q", e.Error, e.Failure)
	}
	if e.Caller != "" && !isAccountID(e.Caller) && !cmek.IsProject(e.Caller) {
		t.Errorf("caller %q is no account", e.Caller)
	}
	if e.Key == "" && e.Identity.IsRole() && e.Identity.Account() != e.Account {
		t.Errorf("role %s in account %q", e.Identity, e.Account)
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatalf("marshal event: %v", err)
	}
	var again cmek.Event
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(again, e) {
		t.Errorf("%s reads back as %+v (%v), want %+v", text, again, err, e)
	}
}

// FuzzDecodeStreamBetween puts anything between two records: both come out, whatever it is.
func FuzzDecodeStreamBetween(f *testing.F) {
	for _, file := range samples(f, "testdata/pasted/*") {
		f.Add(read(f, file))
	}
	for seed := range uint64(100) {
		f.Add([]byte(newPasting(f, seed).garbage()))
	}
	first, last := twoRecords(f)
	first, last = strings.Replace(first, "0a1b2c3d", "first", 1), strings.Replace(last, "0a1b2c3d", "last", 1)
	f.Fuzz(func(t *testing.T, between []byte) {
		seen := map[string]int{}
		for r, err := range DecodeStream(io.MultiReader(strings.NewReader(first+"\n"), bytes.NewReader(between), strings.NewReader("\n"+last+"\n"))) {
			if err == nil && r.Event != nil {
				seen[r.Event.ID]++
			}
		}
		if seen["first-0000-4000-8000-000000000001"] != 1 {
			t.Errorf("the first record came out %d times", seen["first-0000-4000-8000-000000000001"])
		}
		if seen["last-0000-4000-8000-000000000002"] != 1 {
			t.Errorf("the last record came out %d times", seen["last-0000-4000-8000-000000000002"])
		}
	})
}

func FuzzStructure(f *testing.F) {
	for _, text := range []string{`{a=b, c={d=[e, f]}}`, `{policy={"a":[1]}, keyId=k}`, `[{arn=a}, {arn=b}]`, `{"a":1}`, `{a={`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if value, ok := structure(text); ok && !value.IsValid(tolerant) {
			t.Errorf("%q is read as %s, which is no JSON", text, value)
		}
	})
}
