// Package buildpack builds a function from its archive as Google's buildpack does, on this machine and without a network
// (github.com/GoogleCloudPlatform/buildpacks, cmd/go/functions_framework, createMainGoModVendored). The one difference is that the program
// listens on the loopback interface only.
package buildpack

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is the main package that is added; %q is the function's package.
const program = `package main

import (
	"log"
	"os"

	_ %q

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
)

func main() {
	if err := funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT")); err != nil {
		log.Fatalf("Function failed to start: %%v\n", err)
	}
}
`

// The imports that the buildpack looks for: of the root package, and of what must be vendored.
const (
	functions     = "github.com/GoogleCloudPlatform/functions-framework-go/functions"
	funcframework = "github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
)

// Build unpacks the archive into the folder, which must be new, and builds the binary. It refuses what the buildpack refuses.
func Build(ctx context.Context, archive, dir, binary string) error {
	if err := unpack(archive, dir); err != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	if err := check(dir); err != nil {
		return err
	}
	name, err := run(ctx, dir, "go", "list", "-m")
	if err != nil {
		return err
	}
	if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") {
		return fmt.Errorf("the module is %s; want a dot in the first element of its path", name)
	}
	app := filepath.Join(dir, "functions.local", "app")
	if err := os.MkdirAll(app, 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(app, "main.go"), fmt.Appendf(nil, program, name), 0o600); err != nil {
		return err
	}
	_, err = run(ctx, dir, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, app)
	return err
}

// check is what the buildpack checks of the source.
func check(dir string) error {
	packages, err := parser.ParseDir(token.NewFileSet(), dir, nil, parser.ImportsOnly) //nolint:staticcheck // it is what the buildpack calls
	if err != nil {
		return err
	}
	if len(packages) != 1 {
		return fmt.Errorf("%d packages at the root, want one", len(packages))
	}
	registers := false
	for _, p := range packages {
		for _, file := range p.Files {
			for _, i := range file.Imports {
				registers = registers || i.Path.Value == `"`+functions+`"`
			}
		}
	}
	if !registers {
		return fmt.Errorf("the root package does not import %s", functions)
	}
	_, err = os.Stat(filepath.Join(dir, "vendor", funcframework))
	return err
}

// run runs a program with the vendored modules and nothing else to build from: no proxy, and an empty module cache.
func run(ctx context.Context, dir, program string, arguments ...string) (string, error) {
	cache, err := os.MkdirTemp("", "buildpack")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(cache) }()
	var problem strings.Builder
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Dir, cmd.Stderr = dir, &problem
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=vendor", "GOPROXY=off", "GOMODCACHE="+cache, "GOTOOLCHAIN=local", "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, strings.Join(arguments, " "), err, problem.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// mostUnpacked bounds a file of an archive.
const mostUnpacked = 64 << 20

func unpack(archive, dir string) (err error) {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, f := range r.File {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("the name %q leads out of the folder", f.Name)
		}
		in, err := f.Open()
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(in, mostUnpacked))
		if err != nil {
			return errors.Join(err, in.Close())
		}
		target := filepath.Join(dir, f.Name)
		if err := errors.Join(in.Close(), os.MkdirAll(filepath.Dir(target), 0o750), os.WriteFile(target, data, 0o600)); err != nil {
			return err
		}
	}
	return nil
}
