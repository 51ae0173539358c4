package cmektest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Archive is an archive in memory that keeps all versions. Its zero value is empty and ready. It is safe for concurrent use.
type Archive struct {
	mu    sync.Mutex
	files map[string][]archived
}

// archived is a version; data is nil for a deletion.
type archived struct {
	data []byte
	at   time.Time
}

// PutIfAbsent stores a copy of data under the name.
func (a *Archive) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	stored := a.current(name)
	switch {
	case stored == nil:
		a.add(name, data)
	case !bytes.Equal(stored, data):
		return fmt.Errorf("archive %s: the name is taken by other content", name)
	}
	return nil
}

// current is the content of the current version, nil if there is none.
func (a *Archive) current(name string) []byte {
	if all := a.files[name]; len(all) > 0 {
		return all[len(all)-1].data
	}
	return nil
}

func (a *Archive) add(name string, data []byte) {
	a.append(name, archived{append([]byte{}, data...), time.Now()})
}

func (a *Archive) append(name string, v archived) {
	if a.files == nil {
		a.files = map[string][]archived{}
	}
	a.files[name] = append(a.files[name], v)
}

// Names lists what is stored and not deleted, in order.
func (a *Archive) Names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(a.files)), func(name string) bool { return a.current(name) == nil })
}

// Data returns a copy of what is stored under the name, and whether there is anything.
func (a *Archive) Data(name string) ([]byte, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	data := a.current(name)
	return bytes.Clone(data), data != nil
}

// Overwrite does what an archive that protects versions and not names allows anybody who may write: a second version under a name.
func (a *Archive) Overwrite(name string, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(name, data)
}

// Delete hides what is stored under a name behind a deletion.
func (a *Archive) Delete(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.append(name, archived{at: time.Now()})
}

// Tamper does what no archive allows: it replaces the only version under a name, or with nil makes the name as if nothing had ever been
// stored under it.
func (a *Archive) Tamper(name string, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.files, name)
	if data != nil {
		a.add(name, data)
	}
}

// List yields what is stored.
func (a *Archive) List(ctx context.Context, prefix string) iter.Seq2[cmek.Stored, error] {
	a.mu.Lock()
	var all []cmek.Stored
	for _, name := range slices.Sorted(maps.Keys(a.files)) {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		s := cmek.Stored{Name: name}
		for i, v := range a.files[name] {
			s.Versions = append(s.Versions, cmek.StoredVersion{ID: strconv.Itoa(i + 1), At: v.at, Size: int64(len(v.data)), Deleted: v.data == nil})
		}
		all = append(all, s)
	}
	a.mu.Unlock()
	return func(yield func(cmek.Stored, error) bool) {
		for _, s := range all {
			if err := ctx.Err(); err != nil {
				yield(cmek.Stored{}, fmt.Errorf("list archive: %w", err))
				return
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// Read returns a copy of the bytes of a version.
func (a *Archive) Read(ctx context.Context, name, version string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.files[name]
	i := len(all) - 1
	if version != "" {
		n, err := strconv.Atoi(version)
		if err != nil {
			n = 0
		}
		i = n - 1
	}
	if i < 0 || i >= len(all) || all[i].data == nil {
		return nil, fmt.Errorf("read %s: %w", name, cmek.ErrNotFound)
	}
	return append([]byte{}, all[i].data...), nil
}

// ArchiveConforms checks the contract of [cmek.Archive]. open returns an empty archive, and how to read what it stored.
func ArchiveConforms(t *testing.T, open func(t *testing.T) (archive cmek.Archive, read func(name string) ([]byte, error))) {
	stored := func(t *testing.T, read func(string) ([]byte, error), name string, want []byte) {
		t.Helper()
		if got, err := read(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("archive holds %d bytes under %q (error %v), want the %d bytes put", len(got), name, err, len(want))
		}
	}

	t.Run("content is kept to the byte under its name", func(t *testing.T) {
		archive, read := open(t)
		content := map[string][]byte{
			"one.json":                       []byte(`{"n":1}`),
			"rotation/c-1/2026/03/01/a.json": []byte("{}\n"),
			"rotation/c-1/2026/03/01/b.json": {0, 1, 0xff},
			"rotation/empty":                 {},
			"rotation/c 1+2&3=ü%20.json":     bytes.Repeat([]byte("0123456789"), 10_000),
		}
		for name, data := range content {
			if err := archive.PutIfAbsent(t.Context(), name, data); err != nil {
				t.Errorf("put %q: %v", name, err)
			}
		}
		for name, data := range content {
			stored(t, read, name, data)
		}
	})
	t.Run("the same content again is no error", func(t *testing.T) {
		archive, read := open(t)
		for range 2 {
			if err := archive.PutIfAbsent(t.Context(), "a/b.json", []byte("same")); err != nil {
				t.Errorf("put the same content: %v", err)
			}
		}
		stored(t, read, "a/b.json", []byte("same"))
	})
	t.Run("other content under a taken name is an error and changes nothing", func(t *testing.T) {
		archive, read := open(t)
		if err := archive.PutIfAbsent(t.Context(), "a/b.json", []byte("first")); err != nil {
			t.Fatal(err)
		}
		for _, other := range []string{"other", "first and more", "fir", ""} {
			if err := archive.PutIfAbsent(t.Context(), "a/b.json", []byte(other)); err == nil {
				t.Errorf("put %q over %q reported success", other, "first")
			}
		}
		stored(t, read, "a/b.json", []byte("first"))
	})
	t.Run("of concurrent writers of different content exactly one wins", func(t *testing.T) {
		archive, _ := open(t)
		const writers = 6
		errs := make(chan error, writers)
		for i := range writers {
			go func() { errs <- archive.PutIfAbsent(t.Context(), "a/b.json", []byte{byte(i)}) }()
		}
		won := 0
		for range writers {
			if <-errs == nil {
				won++
			}
		}
		if won != 1 {
			t.Errorf("%d of %d writers won, want 1", won, writers)
		}
	})
	t.Run("a canceled context stops the write", func(t *testing.T) {
		archive, read := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := archive.PutIfAbsent(ctx, "a/b.json", []byte("late")); err == nil {
			t.Error("put with a canceled context reported success")
		}
		if data, err := read("a/b.json"); err == nil {
			t.Errorf("put with a canceled context stored %q", data)
		}
	})
}
