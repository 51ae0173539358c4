// Command stagegcp writes the source of each function for Google Cloud, as Cloud Build gets it:
//
//	stagegcp v1.2.3 dist/gcp
//
// Google builds functions from source. Without vendored modules it would run "go mod tidy" and download them at each deployment; so
// dist/gcp/<function>.zip holds all that the function is made of, and nothing else. The root of its module is one generated package that
// imports the entry point; the buildpack adds a main package that imports it (github.com/GoogleCloudPlatform/buildpacks,
// cmd/go/functions_framework). The same source gives the same bytes.
package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keyturn is this module, and base what those of the functions are under: the first element must have a dot.
const (
	keyturn = "github.com/keyturn/keyturn"
	base    = "keyturn.local/"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: stagegcp VERSION FOLDER")
		os.Exit(2)
	}
	if err := stageAll(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "stagegcp:", err)
		os.Exit(1)
	}
}

func stageAll(version, folder string) error {
	entries, err := filepath.Glob("functions/*/gcp/gcp.go")
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return errors.New("found no functions/*/gcp/gcp.go here")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, entry := range entries {
		function := filepath.Base(filepath.Dir(filepath.Dir(entry)))
		archive := filepath.Join(folder, function+".zip")
		fmt.Println(archive)
		if err := stage(function, version, archive); err != nil {
			return fmt.Errorf("stage %s: %w", function, err)
		}
	}
	return nil
}

// stage writes the archive of one function.
func stage(function, version, archive string) error {
	dir, err := os.MkdirTemp("", "stagegcp")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := vendorInto(dir, function); err != nil {
		return err
	}
	stamp := fmt.Sprintf("package version\n\nfunc init() { stamp = %q }\n", version)
	if err := write(dir, "vendor/"+keyturn+"/internal/version/stamp.go", stamp); err != nil {
		return err
	}
	data, err := pack(os.DirFS(dir))
	if err != nil {
		return err
	}
	return os.WriteFile(archive, data, 0o644) //nolint:gosec // an archive of public sources
}

// vendorInto makes the function's module in the folder.
func vendorInto(dir, function string) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	edited, err := output(root, "go", "mod", "edit", "-json")
	if err != nil {
		return err
	}
	var all goMod
	if err := json.Unmarshal(edited, &all); err != nil {
		return fmt.Errorf("read go.mod: %w", err)
	}
	all.Require = append(all.Require, module{keyturn, "v0.0.0"})
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		return err
	}
	// The versions are those of this module, so nothing is looked up. It is replaced by this folder for as long as it is copied.
	for name, text := range map[string]string{
		function + ".go": source(function), "go.sum": string(sums),
		"go.mod": all.text(function) + fmt.Sprintf("\nreplace %s => %s\n", keyturn, root),
	} {
		if err := write(dir, name, text); err != nil {
			return err
		}
	}
	if _, err := output(dir, "go", "mod", "vendor"); err != nil {
		return err
	}
	list, err := os.ReadFile(filepath.Join(dir, "vendor", "modules.txt"))
	if err != nil {
		return err
	}
	vendored, used := onlyUsed(string(list))
	all.Require = slices.DeleteFunc(all.Require, func(m module) bool { return !used[m.Path] })
	return errors.Join(write(dir, "vendor/modules.txt", vendored), write(dir, "go.mod", all.text(function)), os.Remove(filepath.Join(dir, "go.sum")))
}

// source is the package at the root of the module. The buildpack looks for the import of package functions there, and needs funcframework
// to be vendored.
func source(function string) string {
	return fmt.Sprintf(`// Package %[1]s is what Google Cloud builds the function from. It is generated.
package %[1]s

import (
	_ "github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	_ "github.com/GoogleCloudPlatform/functions-framework-go/functions"

	_ %[2]q
)
`, function, keyturn+"/functions/"+function+"/gcp")
}

// goMod is a go.mod file, as "go mod edit -json" writes it.
type goMod struct {
	Go      string
	Require []module
}

type module struct{ Path, Version string }

func (g goMod) text(function string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "module %s%s\n\ngo %s\n\nrequire (\n", base, function, g.Go)
	for _, m := range g.Require {
		fmt.Fprintf(&b, "\t%s %s\n", m.Path, m.Version)
	}
	b.WriteString(")\n")
	return b.String()
}

// onlyUsed is a vendor/modules.txt without the modules that no package is of, and without the replacement of our own, which exists on this
// machine only. used are the modules left.
func onlyUsed(list string) (text string, used map[string]bool) {
	used = map[string]bool{}
	var head []string // of the module whose packages come next, not written yet
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "# "):
			name, _, _ := strings.Cut(line, " => ")
			head = []string{strings.TrimSpace(name) + "\n"}
			if len(strings.Fields(name)) < 3 {
				head = nil // a replacement, listed once more
			}
		case strings.HasPrefix(line, "## "):
			head = append(head, line)
		case len(fields) == 1 && len(head) > 0:
			used[strings.Fields(head[0])[1]] = true
			text += strings.Join(head, "") + line
			head = nil
		default:
			text += line
		}
	}
	return text, used
}

func write(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) //nolint:gosec // a public source
}

func output(dir, program string, arguments ...string) ([]byte, error) {
	var problem bytes.Buffer
	cmd := exec.CommandContext(context.Background(), program, arguments...)
	cmd.Dir, cmd.Stderr = dir, &problem
	// A workspace, or flags of whoever builds, would change what is vendored.
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", program, strings.Join(arguments, " "), err, problem.Bytes())
	}
	return out, nil
}

// pack makes an archive of all files, in the order of their names and with zip's own epoch as time.
func pack(files fs.FS) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(out, flate.BestCompression)
	})
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		header := &zip.FileHeader{Name: path.Clean(name), Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
		header.SetMode(0o644)
		file, err := w.CreateHeader(header)
		if err != nil {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		_, err = file.Write(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
