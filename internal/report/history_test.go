package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/report"
)

// archived puts a run with one part into the archive.
func archived(t *testing.T, a *cmektest.Archive, run int, ended time.Time, complete bool, counts []report.Count, findings ...checks.Finding) {
	t.Helper()
	var part bytes.Buffer
	for _, f := range findings {
		if err := json.NewEncoder(&part).Encode(report.Line{Finding: &f}); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256(part.Bytes())
	m := report.Manifest{Schema: report.ManifestSchema, Run: run, ChainStart: noon, Complete: complete, Period: report.Period{Ended: ended}, Counts: counts, Version: "v1",
		Files: []report.File{{Name: report.PartName(noon, run, 1, ".jsonl"), SHA256: hex.EncodeToString(sum[:]), Bytes: part.Len()}}}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{m.Files[0].Name: part.Bytes(), report.ManifestName(noon, run): data} {
		if err := a.PutIfAbsent(t.Context(), name, data); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHistory_counts_days_and_failures(t *testing.T) {
	a := &cmektest.Archive{}
	day := func(n int) time.Time { return noon.AddDate(0, 0, n) }
	at := func(result checks.Result, since int) checks.Finding {
		f := finding("CMEK-08", result, alert.Medium, key("a"), "=why")
		f.Since = day(since)
		return f
	}
	count := func(f string) []report.Count {
		c := report.Count{Check: "CMEK-08"}
		for _, r := range f {
			switch r {
			case 'P':
				c.Pass++
			case 'F':
				c.Fail++
			case 'A':
				c.Accepted++
			case 'E':
				c.Error++
			case 'N':
				c.NotApplicable++
			}
		}
		return []report.Count{c}
	}
	accepted := at(checks.Fail, 5)
	accepted.Exception = &checks.Exception{Expires: day(100)}
	archived(t, a, 1, day(0), true, count("PN"), at(checks.Pass, 0))
	archived(t, a, 2, day(1), true, count("PFE"), at(checks.Fail, 1))
	archived(t, a, 3, day(2), true, count("PE"), at(checks.Error, 2))
	archived(t, a, 4, day(3), false, count("F"), at(checks.Fail, 3)) // incomplete: a day without an answer
	archived(t, a, 5, day(4), true, count("P"), at(checks.Pass, 4))
	archived(t, a, 6, day(5), true, count("A"), accepted)
	archived(t, a, 7, day(6), true, count("N")) // nothing is there any more
	archived(t, a, 8, day(6).Add(time.Hour), true, count("P"))
	h, err := report.Between(t.Context(), a, day(0), day(7))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Runs) != 7 || h.WithoutRun != 2 {
		t.Errorf("%d runs, %d days without", len(h.Runs), h.WithoutRun)
	}
	for _, c := range h.Controls {
		if days := c.Pass + c.Fail + c.Accepted + c.Unknown + c.NotApplicable; days != 8 {
			t.Errorf("%s: %d days", c.Check, days)
		}
		if c.Check != "CMEK-08" {
			if c.Unknown != 8 || len(c.Failures) > 0 {
				t.Errorf("%+v", c)
			}
			continue
		}
		if c.Pass != 3 || c.Fail != 1 || c.Accepted != 1 || c.Unknown != 3 || c.NotApplicable != 0 {
			t.Errorf("%+v", c)
		}
		if len(c.Failures) != 2 {
			t.Fatalf("%+v", c.Failures)
		}
		if f := c.Failures[0]; !f.From.Equal(day(1)) || !f.To.Equal(day(4)) || f.Unanswered != 1 || !f.Accepted.IsZero() {
			t.Errorf("%+v", f)
		}
		if f := c.Failures[1]; !f.From.Equal(day(5)) || !f.To.Equal(day(6)) || !f.Accepted.Equal(day(100)) {
			t.Errorf("%+v", f)
		}
	}
	h, err = report.Between(t.Context(), a, day(1), day(2)) // it lasts
	if err != nil || len(h.Runs) != 2 {
		t.Fatal(h.Runs, err)
	}
	var table, cells bytes.Buffer
	if err := errors.Join(h.Table(&table), h.CSV(&cells)); err != nil || !strings.Contains(table.String(), "to now") {
		t.Errorf("%v\n%s", err, &table)
	}
	rows, err := csv.NewReader(&cells).ReadAll()
	if err != nil || len(rows) != 1+len(checks.Catalog())+1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if strings.Contains(cells.String(), ",=") {
		t.Error("a cell is a formula")
	}
}

func TestLoad_of_a_run(t *testing.T) {
	a := &cmektest.Archive{}
	if _, err := report.Load(t.Context(), a, 0); !errors.Is(err, report.ErrNoRun) {
		t.Error(err)
	}
	for run := 1; run <= 10; run++ {
		archived(t, a, run, noon, true, nil, finding("CMEK-13", checks.Pass, alert.None, key("b"), "x"), finding("CMEK-08", checks.Pass, alert.None, key("a"), "x"))
	}
	for run, want := range map[int]int{0: 10, 1: 1, 10: 10} {
		got, err := report.Load(t.Context(), a, run)
		if err != nil || got.Manifest.Run != want {
			t.Fatal(run, err)
		}
		r, err := got.Report(t.Context())
		if err != nil || len(r.Findings) != 2 || r.Findings[0].Check != "CMEK-08" || r.Version != "v1" {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if _, err := report.Load(t.Context(), a, 11); !errors.Is(err, report.ErrNoRun) {
		t.Error(err)
	}
	a.Tamper(report.PartName(noon, 3, 1, ".jsonl"), []byte("{}"))
	got, err := report.Load(t.Context(), a, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got.Report(t.Context()); err == nil || !strings.Contains(err.Error(), "part-0001") {
		t.Errorf("a part that was altered is shown: %v", err)
	}
}
