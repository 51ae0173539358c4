package demo

import (
	"os"
	"path/filepath"
	"testing"
)

func TestClearingADemoLeavesForeignFilesAlone(t *testing.T) {
	dir := t.TempDir()
	if err := clearDemo(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	notes, outside := filepath.Join(dir, "notes.txt"), filepath.Join(t.TempDir(), "outside.json")
	for _, file := range []string{notes, outside} {
		if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, archiveFolder)); err != nil {
		t.Fatal(err)
	}
	if err := clearDemo(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{notes, outside} {
		if _, err := os.Stat(file); err != nil {
			t.Errorf("clearing removed %s: %v", file, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, archiveFolder)); err == nil {
		t.Error("the former archive is still there")
	}
}
