// Command release builds what a release consists of into a folder, so that one commit always gives the same bytes:
//
//	release VERSION dist/release
//
// An archive of the command line for each platform, with its manual pages and completions; the archives of the functions for AWS and for
// Google Cloud, which make build and make stage-gcp have made; a list of what is linked into each (CycloneDX); and the SHA-256 of every
// file.
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/scripts/buildpack"
)

const (
	program  = "keyturn"
	manifest = "SHA256SUMS"
	// sbom lists what is linked into a binary.
	sbom = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"
)

var (
	systems   = []string{"linux", "darwin", "windows"}
	machines  = []string{"amd64", "arm64"}
	lambdas   = "dist/aws/*.zip"
	sources   = "dist/gcp/*.zip"
	stamp     = "github.com/keyturn/keyturn/internal/version.stamp="
	documents = []string{"LICENSE", "README.md", "CHANGELOG.md"}
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: release VERSION FOLDER")
		os.Exit(2)
	}
	if err := release(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func release(version, folder string) error {
	if strings.ContainsAny(version, `/\ `) || version == "" {
		return fmt.Errorf("%q is no version; want one like v1.2.3", version)
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	at, err := committed()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	beside, err := contents(version, work)
	if err != nil {
		return err
	}
	for _, system := range systems {
		for _, machine := range machines {
			if err := platform(version, system, machine, work, folder, beside, at); err != nil {
				return fmt.Errorf("%s/%s: %w", system, machine, err)
			}
		}
	}
	if err := functions(lambdas, version, folder, "lambda", func(_, name string) (string, error) {
		return filepath.Join("dist/aws", name, "bootstrap"), nil
	}); err != nil {
		return err
	}
	if err := functions(sources, version, folder, "gcp", func(archive, name string) (string, error) {
		binary := filepath.Join(work, name)
		return binary, buildpack.Build(context.Background(), archive, filepath.Join(work, "source-"+name), binary)
	}); err != nil {
		return err
	}
	return sums(folder)
}

// functions copies the archives of functions that match the pattern, and lists what is linked into the binary of each.
func functions(pattern, version, folder, cloud string, binaryOf func(archive, name string) (binary string, err error)) error {
	archives, err := filepath.Glob(pattern)
	if err != nil || len(archives) == 0 {
		return errors.Join(err, fmt.Errorf("there is no %s; run make build stage-gcp first", pattern))
	}
	prefix := fmt.Sprintf("%s-%s-%s-", program, version, cloud)
	for _, archive := range archives {
		data, err := os.ReadFile(archive)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, prefix+filepath.Base(archive)), data, 0o644); err != nil {
			return err
		}
		name := strings.TrimSuffix(filepath.Base(archive), ".zip")
		binary, err := binaryOf(archive, name)
		if err != nil {
			return err
		}
		if err := linked(version, binary, filepath.Join(folder, prefix+name+".cdx.json")); err != nil {
			return err
		}
	}
	return nil
}

// committed is when the commit was made: the time of every file in the archives.
func committed() (time.Time, error) {
	out, err := exec.CommandContext(context.Background(), "git", "log", "-1", "--format=%ct").Output()
	if err != nil {
		return time.Time{}, fmt.Errorf("read commit time: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Unix(seconds, 0).UTC(), err
}

// contents are the files that stand beside the program in every archive, by their names there.
func contents(version, work string) (map[string][]byte, error) {
	host := filepath.Join(work, "host")
	if err := build(version, host, os.Environ()); err != nil {
		return nil, err
	}
	manual := filepath.Join(work, "manual")
	if err := run(os.Environ(), host, "manual", manual); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, name := range documents {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files[name] = data
	}
	err := fs.WalkDir(os.DirFS(manual), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[name], err = os.ReadFile(filepath.Join(manual, name))
		return err
	})
	return files, err
}

func platform(version, system, machine, work, folder string, beside map[string][]byte, at time.Time) error {
	binary := program
	if system == "windows" {
		binary += ".exe"
	}
	built := filepath.Join(work, system+machine, binary)
	if err := build(version, built, append(os.Environ(), "GOOS="+system, "GOARCH="+machine)); err != nil {
		return err
	}
	data, err := os.ReadFile(built)
	if err != nil {
		return err
	}
	files := maps.Clone(beside)
	files[binary] = data
	name := fmt.Sprintf("%s-%s-%s-%s", program, version, system, machine)
	archive, suffix := tarball, ".tar.gz"
	if system == "windows" {
		archive, suffix = zipped, ".zip"
	}
	packed, err := archive(name, files, binary, at)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, name+suffix), packed, 0o644); err != nil {
		return err
	}
	return linked(version, built, filepath.Join(folder, name+".cdx.json"))
}

func build(version, out string, environ []string) error {
	return run(append(environ, "CGO_ENABLED=0"), "go", "build", "-trimpath", "-ldflags=-s -w -X "+stamp+version, "-o", out, "./functions/"+program)
}

func linked(version, binary, out string) error {
	// Without its own serial number and times, the list of one binary is always the same.
	return run(os.Environ(), "go", "run", sbom, "bin", "-json", "-noserial", "-notimestamp", "-version", version, "-output", out, binary)
}

func run(environ []string, name string, args ...string) error {
	c := exec.CommandContext(context.Background(), name, args...)
	c.Env, c.Stderr = environ, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

// tarball packs the files below a folder of the archive's own name, executable what is called so.
func tarball(folder string, files map[string][]byte, executable string, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out) // without a name and a time
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		mode := int64(0o644)
		if name == executable {
			mode = 0o755
		}
		header := &tar.Header{Name: path.Join(folder, name), Mode: mode, Size: int64(len(files[name])), ModTime: at, Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	err := errors.Join(w.Close(), z.Close())
	return out.Bytes(), err
}

func zipped(folder string, files map[string][]byte, executable string, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &zip.FileHeader{Name: path.Join(folder, name), Method: zip.Deflate, Modified: at}
		header.SetMode(0o644)
		if name == executable {
			header.SetMode(0o755)
		}
		file, err := w.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := file.Write(files[name]); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// sums writes the SHA-256 of every file of the folder, as sha256sum --check reads them.
func sums(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, e := range entries {
		file, err := os.Open(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		hash := sha256.New()
		_, err = io.Copy(hash, file)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%x  %s\n", hash.Sum(nil), e.Name())
	}
	return os.WriteFile(filepath.Join(folder, manifest), []byte(lines.String()), 0o644)
}
