package events

import (
	"encoding/json"
	"testing"

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
			if e.Change == "" || e.Source == "" {
				t.Errorf("event without change or source: %+v", e)
			}
			if uri, err := cmek.ParseKeyURI(string(e.Key)); err != nil || uri != e.Key || uri.IsAlias() || uri.Location() == "" {
				t.Errorf("key %q is not the URI of one key in one Region: %v", e.Key, err)
			}
			if e.Account != e.Key.Account() || e.Region != e.Key.Location() {
				t.Errorf("account %q and Region %q are not those of key %s", e.Account, e.Region, e.Key)
			}
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatalf("event cannot be written: %v", err)
			}
			var again cmek.Event
			if err := json.Unmarshal(text, &again); err != nil || again != e {
				t.Errorf("%s reads back as %+v (%v), want %+v", text, again, err, e)
			}
		}
	})
}
