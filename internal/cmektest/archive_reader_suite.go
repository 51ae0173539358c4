package cmektest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

// ReadableArchive is an archive that is written and read.
type ReadableArchive interface {
	cmek.Archive
	cmek.ArchiveReader
}

// Intruder does what somebody with rights of their own may do to an archive that keeps versions. Nil functions: the archive keeps none.
type Intruder struct {
	Overwrite func(t *testing.T, name string, data []byte)
	Delete    func(t *testing.T, name string)
}

// ArchiveReaderConforms checks the contract of [cmek.ArchiveReader]. open returns an empty archive.
func ArchiveReaderConforms(t *testing.T, open func(t *testing.T) (ReadableArchive, Intruder)) {
	put := func(t *testing.T, a ReadableArchive, name, data string) {
		t.Helper()
		if err := a.PutIfAbsent(t.Context(), name, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	list := func(t *testing.T, a ReadableArchive, prefix string) (all []cmek.Stored) {
		t.Helper()
		for s, err := range a.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		return all
	}
	t.Run("an empty archive lists nothing and has no file", func(t *testing.T) {
		a, _ := open(t)
		if all := list(t, a, ""); len(all) != 0 {
			t.Errorf("it lists %v", all)
		}
		if data, err := a.Read(t.Context(), "a/b.json", ""); !errors.Is(err, cmek.ErrNotFound) {
			t.Errorf("it has %q, error %v; want ErrNotFound", data, err)
		}
	})
	t.Run("names are listed in the order of their bytes, over all pages", func(t *testing.T) {
		a, _ := open(t)
		names := []string{"other/x", "z/a-b", "z/a.b", "z/a/b", "z/a0", "z/ü 1+2&3=%20.json"}
		for i := range 9 {
			names = append(names, fmt.Sprintf("z/page/%d.json", i))
		}
		for _, name := range names {
			put(t, a, name, "content of "+name)
		}
		want := slices.DeleteFunc(slices.Sorted(slices.Values(names)), func(name string) bool { return name == "other/x" })
		var got []string
		for _, s := range list(t, a, "z/") {
			got = append(got, s.Name)
			if len(s.Versions) != 1 || s.Versions[0].Deleted || s.Versions[0].At.IsZero() || s.Versions[0].Size != int64(len("content of "+s.Name)) {
				t.Errorf("%s has %+v", s.Name, s.Versions)
			}
			for _, version := range []string{"", s.Versions[0].ID} {
				if data, err := a.Read(t.Context(), s.Name, version); err != nil || string(data) != "content of "+s.Name {
					t.Errorf("version %q of %s is %q, error %v", version, s.Name, data, err)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("it lists\n%q, want\n%q", got, want)
		}
	})
	t.Run("a prefix is no folder", func(t *testing.T) {
		a, _ := open(t)
		put(t, a, "runs/1-000001/x", "1")
		put(t, a, "runs/1-000010/x", "2")
		if all := list(t, a, "runs/1-00001"); len(all) != 1 || all[0].Name != "runs/1-000010/x" {
			t.Errorf("it lists %v", all)
		}
	})
	t.Run("a large file is read whole", func(t *testing.T) {
		a, _ := open(t)
		large := bytes.Repeat([]byte("0123456789"), 300_000)
		put(t, a, "large", string(large))
		if data, err := a.Read(t.Context(), "large", ""); err != nil || !bytes.Equal(data, large) {
			t.Errorf("%d bytes, error %v; want %d", len(data), err, len(large))
		}
	})
	t.Run("reading ends with the context", func(t *testing.T) {
		a, _ := open(t)
		put(t, a, "a", "1")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.Read(ctx, "a", ""); err == nil || errors.Is(err, cmek.ErrNotFound) {
			t.Errorf("read: %v", err)
		}
		var failed error
		for _, err := range a.List(ctx, "") {
			failed = err
		}
		if failed == nil {
			t.Error("the list of an ended context ends without an error")
		}
	})
	t.Run("a second version and a deletion are seen, and the first version is read", func(t *testing.T) {
		a, intruder := open(t)
		if intruder.Overwrite == nil {
			t.Skip("this archive keeps no versions")
		}
		for _, name := range []string{"deleted", "overwritten", "untouched"} {
			put(t, a, name, "first")
		}
		intruder.Overwrite(t, "overwritten", []byte("second"))
		intruder.Delete(t, "deleted")
		all := list(t, a, "")
		if len(all) != 3 {
			t.Fatalf("it lists %+v", all)
		}
		if v := all[0].Versions; len(v) != 2 || v[0].Deleted || !v[1].Deleted {
			t.Errorf("the deleted one has %+v", v)
		}
		if v := all[1].Versions; len(v) != 2 || v[0].Deleted || v[1].Deleted {
			t.Errorf("the overwritten one has %+v", v)
		}
		if v := all[2].Versions; len(v) != 1 {
			t.Errorf("the untouched one has %+v", v)
		}
		for i, current := range []string{"", "second", "first"} {
			if data, err := a.Read(t.Context(), all[i].Name, all[i].Versions[0].ID); err != nil || string(data) != "first" {
				t.Errorf("the first version of %s is %q, error %v", all[i].Name, data, err)
			}
			data, err := a.Read(t.Context(), all[i].Name, "")
			if string(data) != current || errors.Is(err, cmek.ErrNotFound) != (current == "") {
				t.Errorf("the current version of %s is %q, error %v", all[i].Name, data, err)
			}
		}
	})
}
