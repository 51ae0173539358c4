package local_test

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

// sampleLedger is the content of a closed ledger file with the records of sampleRecord.
func sampleLedger(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	store := openStore(t, path)
	for i := range sampleRecords {
		if err := store.Put(t.Context(), sampleRecord(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

const sampleRecords = 12

func sampleRecord(i int) ledger.Record {
	return ledger.Record{
		Kind: "rotation", ID: fmt.Sprintf("cluster#%02d", i), Token: "token", NextLook: time.UnixMilli(int64(i + 1)).UTC(),
		Keys: []string{"key", fmt.Sprintf("key-%d", i)}, Data: bytes.Repeat([]byte(fmt.Sprintf("data %d ", i)), 500*(i%4+1)),
	}
}

// boltLedger is a ledger as keyturn wrote it until commit 21510dd: one cluster and a pause, in a bbolt file.
func boltLedger(t *testing.T) []byte {
	t.Helper()
	file, err := os.Open("testdata/ledger-bbolt.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestUnusableFileIsOneErrorAndStaysAsItIs(t *testing.T) {
	ledgerFile, boltFile := sampleLedger(t), boltLedger(t)
	foreign := filepath.Join(t.TempDir(), "foreign")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inFile(t, foreign, func(db *sql.DB) error {
		_, err := db.Exec(`CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('https://example.com')`)
		return err
	})
	foreignFile, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(offset int, b ...byte) []byte {
		content := bytes.Clone(ledgerFile)
		copy(content[offset:], b)
		return content
	}
	const recovery, newLedger = "restore a backup", "keyturn follow"
	for name, row := range map[string]struct {
		content []byte
		want    []string
	}{
		"an empty file":                      {nil, []string{"is empty", recovery, newLedger}},
		"one byte":                           {[]byte("x"), []string{"not a ledger", recovery, newLedger}},
		"a text file":                        {bytes.Repeat([]byte("not a ledger "), 1000), []string{"not a ledger", newLedger}},
		"zeros":                              {make([]byte, len(ledgerFile)), []string{"not a ledger", recovery, newLedger}},
		"a database of another program":      {foreignFile, []string{"another program", "another file"}},
		"a ledger of an earlier keyturn":     {boltFile, []string{"earlier keyturn", "done work", newLedger, "pause"}},
		"one of them, cut":                   {boltFile[:5000], []string{"earlier keyturn"}},
		"a ledger of a later layout":         {changed(60, 0, 0, 0, 9), []string{"layout is 9", "layout 1", "the keyturn that wrote it"}},
		"a ledger cut within its header":     {ledgerFile[:60], []string{"damaged", recovery, newLedger, "done work", "pause"}},
		"a ledger cut within its first page": {ledgerFile[:2000], []string{"damaged", recovery}},
		"a ledger cut within a page":         {ledgerFile[:len(ledgerFile)-1000], []string{"damaged", recovery}},
		"a ledger cut between pages":         {ledgerFile[:len(ledgerFile)-3*4096], []string{"damaged", recovery}},
		"a ledger with a page of zeros":      {changed(4096, make([]byte, 4096)...), []string{"damaged", recovery}},
		"a ledger with a page of others":     {changed(4096, ledgerFile[2*4096:3*4096]...), []string{"damaged", recovery}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			if err := os.WriteFile(path, row.content, 0o600); err != nil {
				t.Fatal(err)
			}
			store, err := local.OpenStore(t.Context(), path)
			if err == nil {
				_ = store.Close()
				t.Fatal("the file was opened")
			}
			for _, part := range append(row.want, path) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is more than one line: %v", err)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, row.content) {
				t.Errorf("the file has changed (error %v)", err)
			}
			if names, err := filepath.Glob(filepath.Dir(path) + "/*"); err != nil || len(names) != 1 {
				t.Errorf("the folder holds %q (error %v), want the file alone", names, err)
			}
		})
	}
}

func TestOpenStore_whatIsNoFile_isAnError(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "ledger.db")
	orphan := filepath.Join(folder, "orphan.db")
	for _, name := range []string{path, orphan + "-wal"} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dangling := filepath.Join(folder, "link")
	if err := os.Symlink(filepath.Join(folder, "nowhere"), dangling); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		folder: "is a folder", filepath.Join(path, "ledger.db"): "not a directory", os.DevNull: "not a regular file",
		orphan: orphan + "-wal", dangling: "cannot be opened",
	} {
		store, err := local.OpenStore(t.Context(), name)
		if err == nil {
			_ = store.Close()
			t.Errorf("%s was opened as a ledger", name)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error about %s does not say %q: %v", name, want, err)
		}
	}
}

func TestOpenStore_missingFile_isANewLedger(t *testing.T) {
	for _, name := range []string{"ledger.db", "a folder/ledger.db", "50% of?this#one&that=.db"} {
		path := filepath.Join(t.TempDir(), name)
		putAll(t, openStore(t, path), ledger.Record{ID: "a"})
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the ledger is not at its path: %v", err)
		}
	}
}

// Whatever byte is wrong: reads return what was written, or an error that names the file or the record.
func TestFlippedBytesAreNeverReadAsContent(t *testing.T) {
	original := sampleLedger(t)
	var offsets []int
	for i := range 100 {
		offsets = append(offsets, i)
	}
	for i := 100; i < len(original); i += 211 {
		offsets = append(offsets, i)
	}
	found := map[string]int{}
	for _, offset := range offsets {
		path := filepath.Join(t.TempDir(), "ledger.db")
		content := bytes.Clone(original)
		for i := offset; i < min(offset+3, len(content)); i++ {
			content[i] ^= 0xff
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		store, err := local.OpenStore(t.Context(), path)
		if err != nil {
			found["refused"]++
			if !strings.Contains(err.Error(), path) {
				t.Errorf("offset %d: the error does not name the file: %v", offset, err)
			}
			continue
		}
		due, err := store.Due(t.Context(), "rotation", time.Now(), 100)
		if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
			t.Errorf("offset %d: Due: %v", offset, err)
		}
		if err == nil && len(due) != sampleRecords {
			t.Errorf("offset %d: Due returns %d records and no error, want %d", offset, len(due), sampleRecords)
		}
		for _, r := range due {
			var i int
			_, _ = fmt.Sscanf(r.ID, "cluster#%02d", &i)
			want := sampleRecord(i)
			if !bytes.Equal(r.Data, want.Data) || !r.NextLook.Equal(want.NextLook) || r.Version != 1 || r.Token != want.Token || !slices.Equal(r.Keys, want.Keys) {
				t.Errorf("offset %d: record %s is not what was written, and no error says so", offset, r.ID)
			}
		}
		if err == nil {
			found["harmless"]++
		} else {
			found["undecodable"]++
		}
		_ = store.Close()
	}
	if found["refused"] == 0 || found["undecodable"] == 0 {
		t.Errorf("of %d files %v; want some of each", len(offsets), found)
	}
	t.Logf("of %d files: %v", len(offsets), found)
}

func TestRemoveStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	store := openStore(t, path)
	putAll(t, store, ledger.Record{ID: "a"})
	if err := local.RemoveStore(t.Context(), path); err == nil || !strings.Contains(err.Error(), "another keyturn process is using it") {
		t.Errorf("removing a ledger that is open: error %v", err)
	}
	if _, err := store.Get(t.Context(), "alerting", "a"); err != nil {
		t.Errorf("the open ledger can no longer be read: %v", err)
	}
	_ = store.Close()
	for _, content := range [][]byte{nil, []byte("text"), boltLedger(t)} {
		if err := local.RemoveStore(t.Context(), path); err != nil {
			t.Errorf("remove a ledger that is closed, or what is no ledger: %v", err)
		}
		if names, _ := filepath.Glob(filepath.Dir(path) + "/*"); len(names) > 0 {
			t.Errorf("afterwards there is still %q", names)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
