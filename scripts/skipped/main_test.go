package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestReport_printsFailuresAndCountsWhatWasSkipped(t *testing.T) {
	events := []event{
		{"start", "p", "", ""},
		{"output", "p", "TestA", "=== RUN   TestA\n"}, {"output", "p", "TestA", "    a_test.go:1: all is well\n"}, {"pass", "p", "TestA", ""},
		{"output", "p", "TestB", "=== RUN   TestB\n"}, {"output", "p", "TestB", "    b_test.go:2: broken\n"}, {"output", "p", "TestB", "--- FAIL: TestB\n"}, {"fail", "p", "TestB", ""},
		{"output", "p", "TestC", "=== RUN   TestC\n"}, {"output", "p", "TestC", "    c_test.go:3: needs the provider\n"}, {"output", "p", "TestC", "--- SKIP: TestC\n"}, {"skip", "p", "TestC", ""},
		{"skip", "p", "TestD", ""},
		{"output", "p", "TestE", "panic: oh\n"},
		{"output", "p", "", "FAIL\tp\t0.1s\n"}, {"fail", "p", "", ""},
		{"output", "q", "", "?   \tq\t[no test files]\n"}, {"skip", "q", "", ""},
		{"build-output", "r", "", "r.go:1: undefined\n"},
		{"output", "s", "", "PASS\n"}, {"output", "s", "", "ok  \ts\t0.1s\n"}, {"pass", "s", "", ""},
	}
	var in strings.Builder
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	in.WriteString("not JSON\n")
	var out strings.Builder
	if err := report(strings.NewReader(in.String()), &out); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	for _, want := range []string{"b_test.go:2: broken", "FAIL\tp\t0.1s", "[no test files]", "r.go:1: undefined", "ok  \ts", "not JSON", "TestE did not end:\npanic: oh"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not printed:\n%s", want, got)
		}
	}
	for _, unwanted := range []string{"all is well", "PASS"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("%q is printed:\n%s", unwanted, got)
		}
	}
	if want := "  TestC in p: c_test.go:3: needs the provider\n  TestD in p: no reason given\nskipped: 2\n"; !strings.HasSuffix(got, want) {
		t.Errorf("it ends\n%s\nwant\n%s", got, want)
	}
}

func TestReport_ofNothingSkipsNothing(t *testing.T) {
	var out strings.Builder
	if err := report(strings.NewReader(""), &out); err != nil || out.String() != "skipped: 0\n" {
		t.Errorf("printed %q, error %v", out.String(), err)
	}
}
