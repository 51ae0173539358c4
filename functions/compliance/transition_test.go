package compliance

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// A history is a result a day: P, F, A (a failure that is accepted), M (one that an open incident reports), N (not applicable), E.
var histories = []struct {
	results string
	changes []report.ChangeKind
	since   string // the day, from 0, since which the last result counts
}{
	{"P", []report.ChangeKind{""}, "0"},
	{"F", []report.ChangeKind{report.Failed}, "0"},
	{"PP", []report.ChangeKind{"", ""}, "0"},
	{"PF", []report.ChangeKind{"", report.Failed}, "1"},
	{"FF", []report.ChangeKind{report.Failed, ""}, "0"},
	{"FP", []report.ChangeKind{report.Failed, report.Recovered}, "1"},
	{"FN", []report.ChangeKind{report.Failed, report.Recovered}, "1"},
	{"NF", []report.ChangeKind{"", report.Failed}, "1"},
	{"PN", []report.ChangeKind{"", ""}, "1"},
	// Without an answer nothing has failed, recovered or held.
	{"PE", []report.ChangeKind{"", ""}, "1"},
	{"PEP", []report.ChangeKind{"", "", ""}, "2"},
	{"FEP", []report.ChangeKind{report.Failed, "", report.Recovered}, "2"},
	{"FEF", []report.ChangeKind{report.Failed, "", ""}, "0"},
	{"PEF", []report.ChangeKind{"", "", report.Failed}, "2"},
	{"EP", []report.ChangeKind{"", ""}, "1"},
	{"EF", []report.ChangeKind{"", report.Failed}, "1"},
	{"E", []report.ChangeKind{""}, "0"},
	{"EE", []report.ChangeKind{"", report.Unanswered}, "0"},
	{"EEE", []report.ChangeKind{"", report.Unanswered, ""}, "0"},
	{"EEP", []report.ChangeKind{"", report.Unanswered, report.Answered}, "2"},
	{"EPE", []report.ChangeKind{"", "", ""}, "2"},
	{"FEEF", []report.ChangeKind{report.Failed, "", report.Unanswered, report.Answered}, "0"},
	{"FEEP", []report.ChangeKind{report.Failed, "", report.Unanswered, report.Recovered}, "3"},
	// What is accepted is a failure all the same, and one again when the exception ends.
	{"A", []report.ChangeKind{""}, "0"},
	{"FA", []report.ChangeKind{report.Failed, report.Accepted}, "0"},
	{"AF", []report.ChangeKind{"", report.Failed}, "0"},
	{"AP", []report.ChangeKind{"", ""}, "1"},
	{"AEF", []report.ChangeKind{"", "", report.Failed}, "0"},
	// What an open incident reports is silent, and no longer when the incident is over.
	{"M", []report.ChangeKind{""}, "0"},
	{"MP", []report.ChangeKind{"", ""}, "1"},
	{"MF", []report.ChangeKind{"", report.Failed}, "0"},
	{"FMP", []report.ChangeKind{report.Failed, "", report.Recovered}, "2"},
	{"FMF", []report.ChangeKind{report.Failed, "", ""}, "0"},
	{"MEF", []report.ChangeKind{"", "", report.Failed}, "0"},
	{"FEA", []report.ChangeKind{report.Failed, "", report.Accepted}, "0"},
}

func TestHistory_of_results(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 11, 1+n, 6, 0, 0, 0, time.UTC) }
	for _, tt := range histories {
		t.Run(tt.results, func(t *testing.T) {
			var last *ledger.Result
			for n, letter := range tt.results {
				f := checks.Finding{Check: "CMEK-13", Subject: checks.Subject{ID: "k"}, Severity: alert.Critical, Result: map[rune]checks.Result{
					'P': checks.Pass, 'F': checks.Fail, 'A': checks.Fail, 'M': checks.Fail, 'N': checks.NotApplicable, 'E': checks.Error}[letter]}
				if letter == 'A' {
					f.Exception = &checks.Exception{}
				}
				if letter == 'M' {
					f.Incident = "i"
				}
				was := ""
				if last != nil {
					was = last.Result
				}
				next, change := follow(last, &f, day(n))
				if change != tt.changes[n] {
					t.Errorf("day %d is %q, want %q", n, change, tt.changes[n])
				}
				if f.New != (n == 0) || (f.Was != "") != (n > 0 && was != string(f.Result)) {
					t.Errorf("day %d: new %t, was %q after %q", n, f.New, f.Was, was)
				}
				if !f.Since.Equal(next.Since) {
					t.Errorf("day %d: since %s in the finding, %s in the ledger", n, f.Since, next.Since)
				}
				last = &next
			}
			if got := fmt.Sprint(int(last.Since.Sub(day(0)).Hours()) / 24); got != tt.since {
				t.Errorf("the last result counts since day %s, want %s", got, tt.since)
			}
		})
	}
}

func TestIncident_that_reports_a_failure(t *testing.T) {
	const (
		key  = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
		role = "arn:aws:iam::111122223333:role/path/payments"
	)
	onKey, onRole := checks.Subject{ID: key, Key: key}, checks.Subject{ID: role, Principal: role}
	for _, tt := range []struct {
		name, check string
		subject     checks.Subject
		kind, of    string
		closed      bool
		want        bool
	}{
		{"the key's", "CMEK-05", onKey, alert.KeyUnusable, key, false, true},
		{"a version's", "CMEK-05", onKey, alert.KeyUnusable, key + "/cryptoKeyVersions/3", false, true},
		{"the principal's", "CMEK-16", onRole, alert.AccessLost, "111122223333/payments", false, true},
		{"another key's", "CMEK-05", onKey, alert.KeyUnusable, key + "f", false, false},
		{"another principal's", "CMEK-16", onRole, alert.AccessLost, "111122223333/orders", false, false},
		{"one that is over", "CMEK-05", onKey, alert.KeyUnusable, key, true, false},
		{"another condition of the key", "CMEK-05", onKey, alert.AccessLost, key, false, false},
		{"a check that mirrors none", "CMEK-13", onKey, alert.KeyUnusable, key, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := &ledger.Incident{DedupKey: alert.IncidentKey(tt.kind, tt.of), Kind: tt.kind, Opened: time.Unix(1, 0)}
			if tt.closed {
				i.Closed = time.Unix(2, 0)
			}
			f := checks.Finding{Check: tt.check, Subject: tt.subject, Result: checks.Fail}
			if got := reportedBy(f, []*ledger.Incident{i}, nil); got != "" != tt.want {
				t.Errorf("%q, want %t", got, tt.want)
			}
			f.Result = checks.Error
			if reportedBy(f, []*ledger.Incident{i}, nil) != "" {
				t.Error("it reports a check without an answer")
			}
		})
	}
}

// Rotation reports a region that left the key of its order, once: what it reports is silent here, and linked.
func TestIncident_of_an_order_that_was_undone(t *testing.T) {
	const id = "order-undone/c1/o1@946684800"
	moves := func(moves ...checks.Move) []checks.Cluster {
		return []checks.Cluster{{ID: "c0", Moves: checks.Known(moves, time.Unix(1, 0), "test")}, {ID: "c1", Moves: checks.Known(moves, time.Unix(1, 0), "test")}}
	}
	f := checks.Finding{Check: "CMEK-32", Subject: checks.Subject{ID: "c1/us-east-1", ClusterID: "c1", Region: "us-east-1"}, Result: checks.Fail}
	for _, tt := range []struct {
		name     string
		clusters []checks.Cluster
		want     string
	}{
		{"reported", moves(checks.Move{Region: "us-east-1", Reported: id}), id},
		{"not reported", moves(checks.Move{Region: "us-east-1"}), ""},
		{"another region's", moves(checks.Move{Region: "us-west-2", Reported: id}), ""},
		{"of another cluster", moves(checks.Move{Region: "us-east-1", Reported: id})[:1], ""},
		{"no moves", nil, ""},
	} {
		if got := reportedBy(f, nil, tt.clusters); got != tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
		for _, other := range []checks.Result{checks.Pass, checks.Error, checks.NotApplicable} {
			quiet := f
			if quiet.Result = other; reportedBy(quiet, nil, tt.clusters) != "" {
				t.Errorf("%s: it reports %s", tt.name, other)
			}
		}
		other := f
		if other.Check = "CMEK-02"; reportedBy(other, nil, tt.clusters) != "" {
			t.Errorf("%s: it reports another check", tt.name)
		}
	}
	e := ledger.OrderEnd{ID: "o1"}
	if e.UndoneAlert("c1") != "" {
		t.Error("an order that holds has an alert")
	}
	if e.Undone = time.Unix(946684800, 5).UTC(); e.UndoneAlert("c1") != id {
		t.Errorf("the alert is %q", e.UndoneAlert("c1"))
	}
}
