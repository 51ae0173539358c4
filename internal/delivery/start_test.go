package delivery

import (
	"bytes"
	"errors"
	"testing"
)

func TestAFunctionThatCannotBeBuiltSaysWhy(t *testing.T) {
	var out bytes.Buffer
	wire := func(environ []string) (string, error) {
		return "", errors.Join(errors.New("A is not set"), errors.New(environ[0]+" is wrong"))
	}
	if _, ok := start("alerting", wire, []string{"B=2"}, &out); ok {
		t.Error("it started")
	}
	if want := "alerting cannot start; its configuration has these problems:\nA is not set\nB=2 is wrong\n"; out.String() != want {
		t.Errorf("it says %q, want %q", &out, want)
	}
	if _, ok := start("alerting", func([]string) (string, error) { return "", nil }, nil, &out); !ok {
		t.Error("one that can be built did not start")
	}
}
