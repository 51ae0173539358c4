package alerting

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// calling is the record of a call.
func calling(source, call string) func(*cmek.Event) {
	return func(e *cmek.Event) { e.Source = source + "/AWS API Call via CloudTrail/" + call }
}

func TestTheSummarySaysWhatWasCalledWhereTheEventTells(t *testing.T) {
	trail := func(call string) cmek.Event {
		return event("e-1", cmek.ChangeLogSink, of(""), with("trail", "arn:aws:cloudtrail:us-east-1:111122223333:trail/main"), calling("aws.cloudtrail", call))
	}
	rule := func(call string, edits ...func(*cmek.Event)) cmek.Event {
		edits = append([]func(*cmek.Event){of(""), with("rule", "nightly"), calling("aws.events", call)}, edits...)
		return event("e-1", cmek.ChangeEventRule, edits...)
	}
	for _, row := range []struct {
		event cmek.Event
		want  string
	}{
		{trail("StopLogging"), `Trail "main" was stopped; `},
		{trail("DeleteTrail"), `Trail "main" was deleted; `},
		{trail("UpdateTrail"), `Trail "main" was changed; `},
		{trail("PutEventSelectors"), `Trail "main" had its event selectors changed; `},
		{trail("SomethingNew"), `Trail "main" was stopped, deleted or changed; `},
		{rule("DeleteRule"), `Event rule "nightly" was deleted; `},
		{rule("DisableRule"), `Event rule "nightly" was disabled; `},
		{rule("PutRule"), `Event rule "nightly" was changed; `},
		{rule("PutRule", func(e *cmek.Event) { e.Parameters["state"] = "DISABLED" }), `Event rule "nightly" was disabled; `},
		{rule("PutTargets"), `Event rule "nightly" had its targets changed; `},
		{rule("RemoveTargets"), `Event rule "nightly" lost targets; `},
		{rule("DeleteRule", with("rule", "")), "An event rule was deleted; "},
	} {
		if got := Assess(row.event, Facts{}).Summary; !strings.HasPrefix(got, row.want) {
			t.Errorf("%s reads %q, want %q…", row.event.Source, got, row.want)
		}
	}
}

func TestWhatNamesNothingThatClustersNeedMayConcernThem(t *testing.T) {
	known := Facts{Usage: Usage{Clusters: []alert.AffectedCluster{{ID: "c-1", Name: "orders"}}}}
	for _, row := range []struct {
		event cmek.Event
		want  string
	}{
		{event("e-1", cmek.ChangeKeyDisabled, failed("ValidationException"), of("")), "; may concern orders"},
		{event("e-1", cmek.ChangeKeyDisabled), "; needed by orders"},
		{event("e-1", cmek.ChangePrincipalDeleted, ofRole("crdb-cmek")), "; needed by orders"},
		{event("e-1", cmek.ChangeKeyStoreDisconnected, of(""), with("custom_key_store_id", "cks-1")), "; may concern orders"},
	} {
		if got := Assess(row.event, known).Summary; !strings.HasSuffix(got, row.want) {
			t.Errorf("%s reads %q, want …%q", row.event.Change, got, row.want)
		}
	}
}

func TestWithoutAnInventoryNobodyIsCalledAStranger(t *testing.T) {
	for _, e := range []cmek.Event{event("e-1", cmek.ChangeUse), event("e-1", cmek.ChangePrincipalAssumed, ofRole("crdb-cmek"))} {
		for _, row := range []struct {
			noInventory bool
			want        string
		}{{true, "by a principal that may not be a cluster's"}, {false, "by a principal that is not a cluster's"}} {
			facts := Facts{Usage: Usage{Clusters: []alert.AffectedCluster{{ID: "c-1"}}}, NoInventory: row.noInventory}
			if got := Assess(e, facts).Summary; !strings.Contains(got, row.want) {
				t.Errorf("%s, without an inventory: %t, reads %q, want %q", e.Change, row.noInventory, got, row.want)
			}
		}
	}
}

func TestAKeyPolicySetPastTheLockoutCheckIsSaidToBe(t *testing.T) {
	for _, bypass := range []string{"true", "false"} {
		a := Assess(event("e-1", cmek.ChangeKeyPolicy, with("bypass_policy_lockout_safety_check", bypass)), Facts{Effect: &Effect{}})
		if said := strings.Contains(a.Impact, "The policy lockout safety check was bypassed."); said != (bypass == "true") {
			t.Errorf("bypassed: %s; it reads %q", bypass, a.Impact)
		}
	}
}

func TestNamesCountClustersThatAreNotListed(t *testing.T) {
	listed := []alert.AffectedCluster{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}}
	for count, want := range map[int]string{5: "a, b, c and 2 more clusters", 5000: "a, b, c and 4997 more clusters"} {
		if got := someNames(listed, count); got != want {
			t.Errorf("of %d clusters the names are %q, want %q", count, got, want)
		}
	}
}
