package kmsmodel

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// model is botocore's service-2.json of KMS, as far as the tests need it.
type model struct {
	Operations map[string]operation
	Shapes     map[string]shape
}

type operation struct {
	Input  struct{ Shape string }
	Output struct{ Shape string }
	Errors []struct{ Shape string }
}

type shape struct {
	Type     string
	Required []string
	Members  map[string]struct{ Shape string }
	Member   struct{ Shape string }
	Min, Max *int
	Pattern  string
	Enum     []string
}

// UnmarshalJSON reads bounds of numbers of other services, too, which have a fraction.
func (s *shape) UnmarshalJSON(data []byte) error {
	type fields shape
	read := struct {
		*fields
		Min, Max *float64
	}{fields: (*fields)(s)}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	for _, bound := range []struct {
		from *float64
		to   **int
	}{{read.Min, &s.Min}, {read.Max, &s.Max}} {
		if bound.from != nil {
			n := int(*bound.from)
			*bound.to = &n
		}
	}
	return nil
}

// readModel reads the file below botocore's data, packed or not. It skips the test, and says why, where there is no botocore.
func readModel[T any](t *testing.T, name string) (read T) {
	t.Helper()
	if os.Getenv("KEYTURN_E2E") != "1" {
		t.Skip("an end-to-end test: set KEYTURN_E2E=1, or run make e2e")
	}
	for _, data := range botocoreData() {
		for _, unpack := range []func(string) ([]byte, error){os.ReadFile, readPacked} {
			content, err := unpack(filepath.Join(data, name))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err == nil {
				err = json.Unmarshal(content, &read)
			}
			if err != nil {
				t.Fatalf("read %s: %v", name, err)
			}
			return read
		}
	}
	t.Skipf("botocore's %s is not on this machine: install the AWS CLI or the Python package botocore", name)
	return read
}

func readPacked(name string) ([]byte, error) {
	packed, err := os.ReadFile(name + ".gz")
	if err != nil {
		return nil, err
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

// botocoreData are the folders in which botocore may keep its data: that of Python, and that of the AWS CLI, version 2.
func botocoreData() (folders []string) {
	if out, err := exec.Command("python3", "-c", "import botocore; print(botocore.__path__[0])").Output(); err == nil {
		folders = append(folders, filepath.Join(strings.TrimSpace(string(out)), "data"))
	}
	if cli, err := exec.LookPath("aws"); err == nil {
		if cli, err = filepath.EvalSymlinks(cli); err == nil {
			folders = append(folders, filepath.Join(filepath.Dir(cli), "awscli", "botocore", "data"))
		}
	}
	return folders
}

func kmsModel(t *testing.T) model {
	t.Helper()
	return readModel[model](t, "kms/2014-11-01/service-2.json")
}

// parameters are the operation's, by name.
func (m model) parameters(operation string) map[string]shape {
	all := map[string]shape{}
	for name, member := range m.Shapes[m.Operations[operation].Input.Shape].Members {
		all[name] = m.Shapes[member.Shape]
	}
	return all
}

func (m model) required(operation string) []string {
	return m.Shapes[m.Operations[operation].Input.Shape].Required
}

// errors are the codes that the operation may answer.
func (m model) errors(operation string) (codes []string) {
	for _, e := range m.Operations[operation].Errors {
		codes = append(codes, e.Shape)
	}
	return codes
}

// unknownIn lists what the value has and the shape does not: names of members, and values of another type.
func (m model) unknownIn(shapeName string, value any) (unknown []string) {
	s := m.Shapes[shapeName]
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			member, known := s.Members[name]
			switch {
			case s.Type == "map":
			case !known:
				unknown = append(unknown, name)
			default:
				unknown = append(unknown, m.unknownIn(member.Shape, field)...)
			}
		}
	case []any:
		if s.Type != "list" {
			return []string{fmt.Sprintf("%s is a list", shapeName)}
		}
		for _, element := range value {
			unknown = append(unknown, m.unknownIn(s.Member.Shape, element)...)
		}
	default:
		kind := map[string]string{"string": "string", "blob": "string", "integer": "float64", "long": "float64", "timestamp": "float64", "boolean": "bool"}[s.Type]
		if fmt.Sprintf("%T", value) != kind || s.Enum != nil && !slices.Contains(s.Enum, value.(string)) {
			unknown = append(unknown, fmt.Sprintf("%s is %v", shapeName, value))
		}
	}
	return unknown
}

// goPattern is the pattern of a shape, which is for the whole text, in the syntax of Go.
func (s shape) goPattern() *regexp.Regexp {
	unicode := regexp.MustCompile(`\\u([0-9A-F]{4})`)
	return regexp.MustCompile(`^(?:` + unicode.ReplaceAllString(s.Pattern, `\x{$1}`) + `)$`)
}

// admits reports whether the model admits the text.
func (s shape) admits(text string) bool {
	n := len([]rune(text))
	return (s.Min == nil || n >= *s.Min) && (s.Max == nil || n <= *s.Max) && (s.Pattern == "" || s.goPattern().MatchString(text)) &&
		(s.Enum == nil || slices.Contains(s.Enum, text))
}
