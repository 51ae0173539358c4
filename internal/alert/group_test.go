package alert_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// groupsOf shows groups as "change/principal: ids", with ! before those that are resolved.
func groupsOf(alerts []alert.Alert) string {
	var shown []string
	for _, g := range alert.GroupAlerts(alerts) {
		var ids []string
		for _, a := range g.Alerts {
			ids = append(ids, a.ID)
		}
		mark := ""
		if g.Resolved {
			mark = "!"
		}
		shown = append(shown, fmt.Sprintf("%s%s/%s: %s", mark, g.Change, g.Principal, strings.Join(ids, " ")))
	}
	return strings.Join(shown, "; ")
}

func TestAlertsAreGroupedByChangeAndPrincipalTheWorstFirst(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 3, 1, 12, minute, 0, 0, time.UTC) }
	is := func(id string, s alert.Severity, change cmek.Change, principal string) alert.Alert {
		return alert.Alert{ID: id, Severity: s, Change: change, Principal: principal, Time: at(0)}
	}
	urgent, urgentLater := is("urgent", alert.High, "deletion", "ana"), is("later", alert.High, "deletion", "ana")
	urgent.Deadline, urgentLater.Deadline = at(30), at(40)
	large, early := is("large", alert.High, "deletion", "ana"), is("early", alert.High, "deletion", "ana")
	large.ClusterCount = 3
	early.Time = at(0).Add(-time.Hour)
	resolved := is("end", alert.Critical, "disabled", "ana")
	resolved.Resolved = true
	for _, tc := range []struct {
		name   string
		alerts []alert.Alert
		want   string
	}{
		{"none", nil, ""},
		{"by change and principal", []alert.Alert{is("1", "high", "disabled", "ana"), is("2", "high", "disabled", "bob"), is("3", "high", "deletion", "ana"), is("4", "high", "disabled", "ana")},
			"disabled/ana: 1 4; deletion/ana: 3; disabled/bob: 2"},
		{"a repeat", []alert.Alert{is("1", "high", "disabled", "ana"), is("1", "high", "disabled", "ana")}, "disabled/ana: 1"},
		{"the worst group first, though it is small", []alert.Alert{is("1", "high", "a", ""), is("2", "high", "a", ""), is("3", "critical", "b", "")}, "b/: 3; a/: 1 2"},
		{"the worst of a group first", []alert.Alert{is("1", "low", "a", ""), is("2", "critical", "a", ""), is("3", "medium", "a", "")}, "a/: 2 3 1"},
		{"an unknown severity is as urgent as high", []alert.Alert{is("1", "medium", "a", ""), is("2", "loud", "a", ""), is("3", "critical", "a", "")}, "a/: 3 2 1"},
		{"by deadline, clusters and time", []alert.Alert{is("last", alert.High, "deletion", "ana"), early, large, urgentLater, urgent}, "deletion/ana: urgent later large early last"},
		{"the end comes last, however severe", []alert.Alert{resolved, is("1", "info", "disabled", "ana")}, "disabled/ana: 1; !disabled/ana: end"},
	} {
		if got := groupsOf(tc.alerts); got != tc.want {
			t.Errorf("%s: the groups are %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestAGroupCountsHonestly(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clusters := func(ids ...string) (list []alert.AffectedCluster) {
		for _, id := range ids {
			list = append(list, alert.AffectedCluster{ID: id})
		}
		return list
	}
	for _, tc := range []struct {
		name   string
		alerts []alert.Alert
		count  int
		exact  bool
		span   string
		due    time.Time
	}{
		{"none", []alert.Alert{{}}, 0, true, "", time.Time{}},
		{"the same cluster twice", []alert.Alert{{ID: "1", Clusters: clusters("a", "b"), Time: noon}, {ID: "2", Clusters: clusters("b"), Time: noon.Add(time.Minute), Deadline: noon}}, 2, true, "1m0s", noon},
		{"a shortened list alone", []alert.Alert{{ID: "1", Clusters: clusters("a"), ClusterCount: 500}}, 500, true, "", time.Time{}},
		{"a shortened list beside others", []alert.Alert{{ID: "1", Clusters: clusters("a"), ClusterCount: 500}, {ID: "2", Clusters: clusters("b"), Deadline: noon.Add(time.Hour)}, {ID: "3", Deadline: noon}}, 500, false, "", noon},
		{"no time but one", []alert.Alert{{ID: "1"}, {ID: "2", Time: noon}}, 0, true, "0s", time.Time{}},
	} {
		g := alert.GroupAlerts(tc.alerts)[0]
		n, exact := g.Clusters()
		from, to := g.Span()
		span := ""
		if !from.IsZero() {
			span = to.Sub(from).String()
		}
		if n != tc.count || exact != tc.exact || span != tc.span || !g.Deadline().Equal(tc.due) {
			t.Errorf("%s: %d clusters (exact: %t) over %q, due %s; want %d (%t), %q, %s", tc.name, n, exact, span, g.Deadline(), tc.count, tc.exact, tc.span, tc.due)
		}
	}
}

func TestCountsNameEverySeverityOnce(t *testing.T) {
	alerts := []alert.Alert{{Severity: alert.Low}, {Severity: "<!here>"}, {Severity: alert.Critical}, {Severity: "loud"}, {Severity: alert.Critical}}
	if got, want := alert.Counts(alerts), "2 critical, 2 of unknown severity, 1 low"; got != want {
		t.Errorf("the counts are %q, want %q", got, want)
	}
}
