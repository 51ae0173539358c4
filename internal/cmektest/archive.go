package cmektest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Archive is an archive in memory. Its zero value is empty and ready. It is safe for concurrent use.
type Archive struct {
	mu    sync.Mutex
	files map[string][]byte
}

// PutIfAbsent stores a copy of data under the name.
func (a *Archive) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	stored, taken := a.files[name]
	switch {
	case !taken:
		if a.files == nil {
			a.files = map[string][]byte{}
		}
		a.files[name] = bytes.Clone(data)
	case !bytes.Equal(stored, data):
		return fmt.Errorf("archive %s: the name is taken by other content", name)
	}
	return nil
}

// Names lists what is stored, in order.
func (a *Archive) Names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.files))
}

// Data returns a copy of what is stored under the name, and whether there is anything.
func (a *Archive) Data(name string) ([]byte, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	data, ok := a.files[name]
	return bytes.Clone(data), ok
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
