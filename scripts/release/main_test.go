package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"
	"time"
)

var at = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// The same files give the same bytes, whatever the order in which a map yields them, and the program is executable.
func TestArchives_sameFiles_sameBytes(t *testing.T) {
	files := func() map[string][]byte {
		return map[string][]byte{"keyturn": []byte("program"), "README.md": []byte("text"), "man/man1/keyturn.1": []byte("page"), "LICENSE": []byte("terms")}
	}
	for name, pack := range map[string]func(string, map[string][]byte, string, time.Time) ([]byte, error){"tar": tarball, "zip": zipped} {
		first, err := pack("keyturn-v1", files(), "keyturn", at)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			again, err := pack("keyturn-v1", files(), "keyturn", at)
			if err != nil || !bytes.Equal(first, again) {
				t.Fatalf("%s: the same files gave other bytes (error %v)", name, err)
			}
		}
		modes := map[string]int64{}
		if name == "tar" {
			z, err := gzip.NewReader(bytes.NewReader(first))
			if err != nil {
				t.Fatal(err)
			}
			for r := tar.NewReader(z); ; {
				h, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				modes[h.Name] = h.Mode
			}
		} else {
			r, err := zip.NewReader(bytes.NewReader(first), int64(len(first)))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.File {
				modes[f.Name] = int64(f.Mode().Perm())
			}
		}
		if len(modes) != 4 || modes["keyturn-v1/keyturn"] != 0o755 || modes["keyturn-v1/man/man1/keyturn.1"] != 0o644 {
			t.Errorf("%s holds %v", name, modes)
		}
	}
}

func TestRelease_refusesWhatIsNoVersion(t *testing.T) {
	for _, version := range []string{"", "../x", "v1 2"} {
		if err := release(version, t.TempDir()); err == nil {
			t.Errorf("%q is taken for a version", version)
		}
	}
}
