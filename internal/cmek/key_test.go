package cmek_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestKeyVersionsReadBackWhatTheyWrite(t *testing.T) {
	for text, v := range map[string]cmek.KeyVersion{
		"":             {},
		"material:abc": cmek.MaterialVersion("abc"),
		"rotated:2026-11-20T11:00:00.5Z": cmek.RotatedOnVersion(
			time.Date(2026, 11, 20, 12, 0, 0, 500e6, time.FixedZone("CET", 3600))),
		"primary:12": {Scheme: cmek.Primary, ID: "12"},
	} {
		if got := v.String(); got != text {
			t.Errorf("%+v is written %q, want %q", v, got, text)
		}
		if got, err := cmek.ParseKeyVersion(text); err != nil || got != v {
			t.Errorf("%q is read as %+v, %v; want %+v", text, got, err, v)
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("encode %+v: %v", v, err)
		}
		var decoded cmek.KeyVersion
		if err := json.Unmarshal(encoded, &decoded); err != nil || decoded != v {
			t.Errorf("%+v became %s in JSON and %+v (%v) again", v, encoded, decoded, err)
		}
	}
}

func TestKeyVersionsThatAreNoneAreRefused(t *testing.T) {
	for _, text := range []string{"material", "material:", ":abc", "primary:", "serial:1", "Material:abc"} {
		if v, err := cmek.ParseKeyVersion(text); err == nil || !v.IsZero() || !strings.Contains(err.Error(), "key version") {
			t.Errorf("%q is read as %+v with error %v, want an error and no version", text, v, err)
		}
	}
}

func TestKeyVersionsOfDifferentSchemesAreNeverEqual(t *testing.T) {
	same := []cmek.KeyVersion{{Scheme: cmek.Material, ID: "1"}, {Scheme: cmek.RotatedOn, ID: "1"}, {Scheme: cmek.Primary, ID: "1"}}
	for i, a := range same {
		for _, b := range same[i+1:] {
			if a == b {
				t.Errorf("%s equals %s", a, b)
			}
		}
	}
}

func TestAVersionThatIsNotKnownIsZero(t *testing.T) {
	for name, v := range map[string]cmek.KeyVersion{"no material id": cmek.MaterialVersion(""), "no rotation date": cmek.RotatedOnVersion(time.Time{})} {
		if !v.IsZero() {
			t.Errorf("%s gives the version %q, want the unknown one", name, v)
		}
	}
}

func TestShortCutsOnlyWhatPeopleCannotCompare(t *testing.T) {
	for _, r := range []struct {
		version cmek.KeyVersion
		want    string
	}{
		{cmek.MaterialVersion(strings.Repeat("0123456789abcdef", 4)), "material:0123456789ab…"},
		{cmek.MaterialVersion("0123"), "material:0123"},
		{cmek.RotatedOnVersion(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)), "rotated:2026-11-20T12:00:00Z"},
		{cmek.KeyVersion{}, ""},
	} {
		if got := r.version.Short(); got != r.want {
			t.Errorf("%s is shown as %q, want %q", r.version, got, r.want)
		}
	}
}

func TestKeyStatesAreUsableOrUnusableOrNeither(t *testing.T) {
	for state, want := range map[cmek.KeyState][2]bool{
		cmek.KeyEnabled:           {true, false},
		cmek.KeyDisabled:          {false, true},
		cmek.KeyDeletionScheduled: {false, true},
		cmek.KeyPendingImport:     {false, true},
		cmek.KeyUnavailable:       {false, true},
		cmek.KeyDestroyed:         {false, true},
		cmek.KeyNotFound:          {false, true},
		cmek.KeyTransient:         {false, false},
		cmek.KeyUnknown:           {false, false},
		"":                        {false, false},
	} {
		if got := [2]bool{state.Usable(), state.Unusable()}; got != want {
			t.Errorf("a key that is %q is usable: %t, unusable: %t; want %t, %t", state, got[0], got[1], want[0], want[1])
		}
	}
}

func TestAKeyKnowsItsHistory(t *testing.T) {
	version := func(id string) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: id} }
	key := cmek.Key{Version: version("1"), Versions: []cmek.KeyVersionInfo{
		{Version: version("1"), State: cmek.KeyEnabled}, {Version: version("2"), State: cmek.KeyDisabled},
	}}
	for _, r := range []struct {
		sentence string
		key      cmek.Key
		version  cmek.KeyVersion
		has      bool
		position int
		state    cmek.KeyState
	}{
		{"the current version, which is the oldest", key, version("1"), true, 0, cmek.KeyEnabled},
		{"a newer one that is not current", key, version("2"), true, 1, cmek.KeyDisabled},
		{"one that is not shown", key, version("3"), false, -1, ""},
		{"the unknown version", key, cmek.KeyVersion{}, false, -1, ""},
		{"one of another scheme", key, cmek.MaterialVersion("1"), false, -1, ""},
		{"the current one of a key without history", cmek.Key{Version: version("1")}, version("1"), true, -1, ""},
		{"another of a key without history", cmek.Key{Version: version("1")}, version("2"), false, -1, ""},
		{"the unknown version of a key without version", cmek.Key{}, cmek.KeyVersion{}, false, -1, ""},
	} {
		info, shown := r.key.VersionInfo(r.version)
		if r.key.Has(r.version) != r.has || r.key.Position(r.version) != r.position || info.State != r.state || shown != (r.position >= 0) {
			t.Errorf("%s: in the history %t, position %d, state %q, shown %t; want %t, %d, %q", r.sentence,
				r.key.Has(r.version), r.key.Position(r.version), info.State, shown, r.has, r.position, r.state)
		}
	}
}

func TestKeyVersionBefore_onlyNumbersOfCloudKMSHaveAnOrder(t *testing.T) {
	primary := func(id string) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: id} }
	for _, r := range []struct {
		a, b cmek.KeyVersion
		want bool
	}{
		{primary("3"), primary("4"), true}, {primary("9"), primary("10"), true},
		{primary("4"), primary("3"), false}, {primary("4"), primary("4"), false}, {primary(""), primary("4"), false}, {primary("x"), primary("4"), false},
		{cmek.KeyVersion{}, primary("4"), false}, {primary("4"), cmek.KeyVersion{}, false}, {cmek.MaterialVersion("3"), cmek.MaterialVersion("4"), false},
		{cmek.MaterialVersion("3"), primary("4"), false},
	} {
		if got := r.a.Before(r.b); got != r.want {
			t.Errorf("%q is before %q: %t, want %t", r.a, r.b, got, r.want)
		}
	}
}
