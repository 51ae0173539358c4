package local_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

func openStore(t *testing.T, path string) *local.Store {
	t.Helper()
	store, err := local.OpenStore(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func TestStoreConforms(t *testing.T) {
	cmektest.StoreConforms(t, func(t *testing.T) ledger.Store {
		return openStore(t, filepath.Join(t.TempDir(), "ledger"))
	})
}

func TestStoreSurvivesLostCalls(t *testing.T) {
	cmektest.StoreSurvivesLostCalls(t, func(t *testing.T, faults *cmektest.Faults) ledger.Store {
		return faults.Store(openStore(t, filepath.Join(t.TempDir(), "ledger")))
	})
}

func TestStoreKeepsItsRecordsInAFileForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	record := ledger.Record{Kind: "rotation", ID: "c-1", Token: "t", Keys: []string{"k"}, NextLook: time.UnixMilli(1), Data: []byte("d")}
	first := openStore(t, path)
	if err := first.Put(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	again := openStore(t, path)
	found, err := again.ByKey(t.Context(), "rotation", "k")
	if err != nil || len(found) != 1 || found[0].Version != 1 || string(found[0].Data) != "d" {
		t.Errorf("after opening the file again, ByKey = %+v, error %v; want the record put before", found, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the ledger has mode %v (error %v), want 0600", info.Mode(), err)
	}
}

func TestStoreFindsWhatIsDueBefore1970First(t *testing.T) {
	store := openStore(t, filepath.Join(t.TempDir(), "ledger"))
	for id, at := range map[string]time.Time{"b": time.UnixMilli(1), "a": time.UnixMilli(-1)} {
		if err := store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: id, NextLook: at}); err != nil {
			t.Fatal(err)
		}
	}
	due, err := store.Due(t.Context(), "rotation", time.UnixMilli(1), 10)
	if err != nil || len(due) != 2 || due[0].ID != "a" || !due[0].NextLook.Equal(time.UnixMilli(-1)) {
		t.Errorf("Due = %+v, error %v; want a, then b", due, err)
	}
}

func TestArchiveConforms(t *testing.T) {
	cmektest.ArchiveConforms(t, func(t *testing.T) (cmek.Archive, func(string) ([]byte, error)) {
		folder := filepath.Join(t.TempDir(), "evidence")
		return local.NewArchive(folder), func(name string) ([]byte, error) {
			return os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
		}
	})
}

func TestArchiveReaderConforms(t *testing.T) {
	cmektest.ArchiveReaderConforms(t, func(t *testing.T) (cmektest.ReadableArchive, cmektest.Intruder) {
		return local.NewArchive(filepath.Join(t.TempDir(), "evidence")), cmektest.Intruder{}
	})
}

func TestArchiveWritesNothingOutsideItsFolder(t *testing.T) {
	outside := t.TempDir()
	folder := filepath.Join(outside, "evidence")
	archive := local.NewArchive(folder)
	if err := archive.PutIfAbsent(t.Context(), "inside.json", nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../x", "a/../../x", "/tmp/x", "a//b", "a/", "link/x"} {
		if err := archive.PutIfAbsent(t.Context(), name, []byte("x")); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the archive there is %v (error %v), want nothing", entries, err)
	}
}

func TestArchiveIsReadableByItsOwnerOnlyAndLeavesNoTemporaryFiles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "evidence")
	archive := local.NewArchive(folder)
	for _, content := range []string{"first", "first", "other"} {
		_ = archive.PutIfAbsent(t.Context(), "c-1/a.json", []byte(content))
	}
	var found []string
	err := filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(folder, path)
		found = append(found, name+" "+info.Mode().String())
		return nil
	})
	want := []string{". drwx------", "c-1 drwx------", "c-1/a.json -rw-------"}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("the archive holds %q (error %v), want %q", found, err, want)
	}
}

func TestTerminalConforms(t *testing.T) {
	cmektest.NotifierConforms(t, func(*testing.T) (alert.Notifier, func() []cmektest.Delivery) {
		var out bytes.Buffer
		seen := &remember{next: local.NewTerminal(&out, false)}
		return seen, func() []cmektest.Delivery {
			if out.Len() == 0 {
				return nil
			}
			text := strings.TrimSuffix(out.String(), "\n")
			subject, _, _ := strings.Cut(text, "\n")
			return []cmektest.Delivery{{Audience: seen.audience, Subject: subject, Text: text}}
		}
	})
}

// remember knows whom an alert was for, which a terminal does not show.
type remember struct {
	next     *local.Terminal
	audience alert.Audience
}

func (r *remember) Notify(ctx context.Context, a alert.Alert) error {
	r.audience = a.Audience
	return r.next.Notify(ctx, a)
}

func TestTerminalColorsTheHeadlineOnlyIfAsked(t *testing.T) {
	a := alert.Alert{Severity: alert.Critical, Summary: "Key 1234 is disabled", Impact: "Nodes cannot restart."}
	for color, want := range map[bool]string{
		false: "[CRITICAL] Key 1234 is disabled\n\nNodes cannot restart.\n\n",
		true:  "\x1b[1;31m[CRITICAL] Key 1234 is disabled\x1b[0m\n\nNodes cannot restart.\n\n",
	} {
		var out bytes.Buffer
		if err := local.NewTerminal(&out, color).Notify(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("with color %t the terminal shows %q, want %q", color, out.String(), want)
		}
	}
}
