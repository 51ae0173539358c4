package events

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"testdata/*.json", "testdata/bad/*.json"} {
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
	for _, pattern := range []string{"testdata/*.json", "testdata/bad/*.json", "testdata/mixed/*.json"} {
		for _, file := range samples(f, pattern) {
			f.Add(read(f, file))
		}
	}
	for _, stream := range wrapped(f, string(read(f, "testdata/cloudtrail-disablekey.json"))) {
		f.Add([]byte(stream))
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
			if record.Offset < 0 || record.Offset > int64(len(payload)) {
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
	if e.Key == "" && e.Change == cmek.Rotated {
		t.Error("a rotation without a key")
	}
	if e.Change == cmek.Rotated && !e.Succeeded() {
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
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatalf("event cannot be written: %v", err)
	}
	var again cmek.Event
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(again, e) {
		t.Errorf("%s reads back as %+v (%v), want %+v", text, again, err, e)
	}
}
