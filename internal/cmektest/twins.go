package cmektest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// CheckTwins fails the test unless each test of the package in the directory is known to hold on both clouds, or why it is about one: it
// calls one of the runners, which run a test on each cloud; it or its file is named after a cloud; or only has the reason, by the name of
// the test or of its file. A reason that is not needed fails the test, too.
func CheckTwins(t *testing.T, dir string, runners []string, only map[string]string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("list test files: %d, error %v", len(files), err)
	}
	needed := map[string]bool{}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		for _, declared := range file.Decls {
			test, ok := declared.(*ast.FuncDecl)
			if !ok || test.Recv != nil || !strings.HasPrefix(test.Name.Name, "Test") || test.Name.Name == "TestMain" {
				continue
			}
			if calls(test, runners) || namedAfterCloud(test.Name.Name) || namedAfterCloud(name) {
				continue
			}
			switch {
			case only[test.Name.Name] != "":
				needed[test.Name.Name] = true
			case only[name] != "":
				needed[name] = true
			default:
				t.Errorf("%s: %s runs on one cloud only; want it run by %s, or the reason why not", name, test.Name.Name, strings.Join(runners, " or "))
			}
		}
	}
	for name := range only {
		if !needed[name] {
			t.Errorf("%s is listed as about one cloud only, but there is no such test, or it runs on both", name)
		}
	}
}

func namedAfterCloud(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"google", "gcp", "aws"}, func(cloud string) bool { return strings.Contains(name, cloud) })
}

// calls reports whether a function calls another one of these names.
func calls(f *ast.FuncDecl, names []string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			found = found || slices.Contains(names, fmt.Sprint(call.Fun))
		}
		return !found
	})
	return found
}
