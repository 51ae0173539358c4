package compliance

import (
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// unreadRuns is after how many runs in a row a check without an answer is reported.
const unreadRuns = 2

// follow compares a finding with the last result about the same, nil for none. It fills in what the finding is compared with it, and
// returns the result to keep and what people are notified of. A finding that an open incident reports names it already.
//
// A run without an answer neither ends a failure nor continues a pass: a failure goes on across it, a pass begins anew after it.
func follow(before *ledger.Result, f *checks.Finding, now time.Time) (ledger.Result, report.ChangeKind) {
	f.New = before == nil
	if before == nil {
		before = &ledger.Result{}
	}
	is := ledger.Result{Check: f.Check, Subject: f.Subject.ID, Result: string(f.Result), Since: now}
	wasFailing := before.Known == string(checks.Fail)
	switch {
	case before.Result == is.Result:
		is.Since = before.Since
	case f.Result == checks.Fail && wasFailing:
		is.Since = before.KnownSince
	}
	f.Since, f.Was = is.Since, ""
	if before.Result != is.Result {
		f.Was = checks.Result(before.Result)
	}
	if f.Result == checks.Error {
		is.Known, is.KnownQuiet, is.KnownSince, is.Unread = before.Known, before.KnownQuiet, before.KnownSince, before.Unread+1
		if is.Unread == unreadRuns {
			return is, report.Unanswered
		}
		return is, report.Same
	}
	open := wasFailing && !before.KnownQuiet // people were notified of a failure
	failing, accepted := f.Result == checks.Fail, f.Exception != nil
	is.Known, is.KnownSince = is.Result, is.Since
	is.KnownQuiet = failing && (accepted || f.Incident != "" && !open)
	switch {
	case failing && !is.KnownQuiet && !open:
		return is, report.Failed
	case failing && accepted && open:
		return is, report.Accepted
	case !failing && open:
		return is, report.Recovered
	case before.Unread >= unreadRuns:
		return is, report.Answered
	}
	return is, report.Same
}

// reportedBy is the id of the open incident that reports a failure already; "" if there is none.
func reportedBy(f checks.Finding, incidents []*ledger.Incident, clusters []checks.Cluster) string {
	check, _ := checks.Of(f.Check)
	if f.Result != checks.Fail || len(check.Mirrors) == 0 {
		return ""
	}
	for _, i := range incidents {
		if i.Open() && slices.Contains(check.Mirrors, i.Kind) && concerns(i, f.Subject) {
			return i.ID()
		}
	}
	if slices.Contains(check.Mirrors, alert.OrderUndone) {
		return undone(f.Subject, clusters)
	}
	return ""
}

// undone is the alert about the region's last move; "" if there is none.
func undone(s checks.Subject, clusters []checks.Cluster) string {
	for _, c := range clusters {
		for _, m := range c.Moves.Value {
			if c.ID == s.ClusterID && m.Region == s.Region && m.Reported != "" {
				return m.Reported
			}
		}
	}
	return ""
}

// concerns reports whether an incident is about the subject's key, a version of it, or the subject's principal.
func concerns(i *ledger.Incident, s checks.Subject) bool {
	of := strings.TrimPrefix(i.DedupKey, i.Kind+"/")
	if s.Key != "" && (of == string(s.Key) || strings.HasPrefix(of, string(s.Key)+"/")) {
		return true
	}
	name := s.Principal.Name()
	return s.Principal != "" && of == s.Principal.Account()+"/"+name[strings.LastIndex(name, "/")+1:]
}

// pages reports whether a failure alerts by itself: it is critical, nobody accepts it, and no incident reports it.
func pages(f checks.Finding) bool {
	return f.Result == checks.Fail && f.Exception == nil && f.Incident == "" && f.Severity == alert.Critical
}
