package pattern_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/pattern"
	"github.com/keyturn/keyturn/internal/cmek"
)

var scope = pattern.Scope{
	Keys:   []cmek.KeyURI{"arn:aws:kms:us-east-1:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11"},
	Roles:  []string{"arn:aws:iam::111122223333:role/payments-cmek"},
	Own:    own,
	Global: true,
}

var own = pattern.Own{
	Account: "111122223333", Region: "us-east-1", Bus: "keyturn",
	Rules: []string{"keyturn-kms-calls", "keyturn-events-calls"}, Functions: []string{"keyturn-alerting-event"},
	Alarms: []string{"keyturn-alerting-event-errors"}, Topics: []string{"keyturn-alerts"}, Schedules: []string{"keyturn-alerting-tick"},
	Secrets: []string{"keyturn-api-key"}, Queues: []string{"keyturn-alerting-event"}, Table: "keyturn-hub-Ledger", Roles: []string{"arn:aws:iam::111122223333:role/keyturn-reader"},
	AssumedBy: []string{"arn:aws:iam::111122223333:role/keyturn-alerting-event"},
}

// names returns what the rules select by name: detail types, and event names of CloudTrail records.
func names(t *testing.T, rules []pattern.Rule) (found []string) {
	t.Helper()
	for _, r := range rules {
		var p struct {
			Source     []string `json:"source"`
			DetailType []string `json:"detail-type"`
			Detail     struct {
				EventName []string `json:"eventName"`
			} `json:"detail"`
		}
		if err := json.Unmarshal([]byte(r.Pattern), &p); err != nil {
			t.Fatalf("pattern of %s: %v", r.Name, err)
		}
		if len(p.Source) != 1 || len(p.DetailType) == 0 {
			t.Errorf("rule %s selects the sources %v and detail types %v, want one source and at least one type", r.Name, p.Source, p.DetailType)
		}
		list := p.Detail.EventName
		if len(list) == 0 {
			list = p.DetailType
		}
		for _, name := range list {
			found = append(found, p.Source[0]+"/"+name)
		}
	}
	return found
}

func TestEverySubscribedRowIsSelectedOnceAndNothingElse(t *testing.T) {
	for _, f := range []struct {
		name       string
		subscribes []cmek.Change
	}{{"rotation", rotation.Subscribes}, {"alerting", alerting.Subscribes}} {
		var want []string
		for _, row := range events.AWS() {
			if !slices.Contains(f.subscribes, row.Change) && !slices.Contains(f.subscribes, row.Failed) {
				continue
			}
			name := row.Name
			if name == "" {
				name = row.DetailType
			}
			want = append(want, row.Source+"/"+name)
		}
		got := names(t, pattern.Selected(f.subscribes))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the rules select\n%s\nwant\n%s", f.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestEveryRowIsForwardedThatAFunctionSubscribesTo(t *testing.T) {
	all := slices.Concat(rotation.Subscribes, alerting.Subscribes)
	got := names(t, pattern.Forwarded(all, scope))
	for _, name := range names(t, pattern.Selected(all)) {
		if !slices.Contains(got, name) {
			t.Errorf("%s is not forwarded", name)
		}
	}
}

func TestRulesOfReadOnlyEventsAreNarrowAndNeverSelectOurOwnReads(t *testing.T) {
	readOnly := 0
	for _, r := range pattern.Forwarded(alerting.Subscribes, scope) {
		if !r.ReadOnly {
			continue
		}
		readOnly++
		refusedToClusters := strings.Contains(r.Pattern, `"sessionIssuer":{"arn":["arn:aws:iam::111122223333:role/payments-cmek"]}`) &&
			strings.Contains(r.Pattern, `"errorCode":[{"exists":true}]`)
		roleAssumed := strings.Contains(r.Pattern, `"roleArn":["arn:aws:iam::111122223333:role/payments-cmek"]`)
		byOthers := strings.Contains(r.Pattern, `"ARN":["arn:aws:kms:us-east-1:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11"]`) &&
			strings.Contains(r.Pattern, `{"anything-but":["arn:aws:iam::111122223333:role/payments-cmek"]}`) &&
			strings.Contains(r.Pattern, `"errorCode":[{"exists":false}]`) && !strings.Contains(r.Pattern, "DescribeKey")
		readerAssumed := strings.Contains(r.Pattern, `"roleArn":["arn:aws:iam::111122223333:role/keyturn-reader"]`) &&
			strings.Contains(r.Pattern, `{"anything-but":["arn:aws:iam::111122223333:role/keyturn-alerting-event"]}`)
		if !refusedToClusters && !roleAssumed && !byOthers && !readerAssumed {
			t.Errorf("rule %s selects read-only events without narrowing: %s", r.Name, r.Pattern)
		}
	}
	if readOnly != 4 {
		t.Errorf("%d rules are for read-only events, want 4: use that was refused to clusters, use by others, roles of clusters assumed, and our own", readOnly)
	}
}

func TestWhatIsNotThereIsNotWatched(t *testing.T) {
	elsewhere := pattern.Scope{Own: pattern.Own{Rules: []string{"keyturn-kms-calls"}}}
	for _, r := range pattern.Forwarded(alerting.Subscribes, elsewhere) {
		if r.ReadOnly || strings.HasPrefix(r.Name, "iam") || strings.HasPrefix(r.Name, "organizations") {
			t.Errorf("rule %s was made for a place without keys, roles and global services: %s", r.Name, r.Pattern)
		}
	}
}

func TestAPatternOverTheQuotaIsSplitWithoutLoss(t *testing.T) {
	big := scope
	big.Keys, big.Roles = nil, nil
	for i := range 200 {
		big.Keys = append(big.Keys, cmek.KeyURI(fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e%04d", i)))
		big.Roles = append(big.Roles, fmt.Sprintf("arn:aws:iam::111122223333:role/cluster-%04d-cmek", i))
	}
	rules := pattern.Forwarded(alerting.Subscribes, big)
	pairs := map[string]int{} // rules by group and narrowing ARN and event name
	seen := map[string]bool{}
	for _, r := range rules {
		if len(r.Pattern) > pattern.Limit {
			t.Errorf("the pattern of %s has %d characters, want at most %d", r.Name, len(r.Pattern), pattern.Limit)
		}
		if seen[r.Name] {
			t.Errorf("two rules are called %s", r.Name)
		}
		seen[r.Name] = true
		if !r.ReadOnly || !strings.HasPrefix(r.Name, "kms-use-refused") {
			continue
		}
		for _, role := range big.Roles {
			if strings.Contains(r.Pattern, `"`+role+`"`) {
				for _, name := range names(t, []pattern.Rule{r}) {
					pairs[role+" "+name]++
				}
			}
		}
	}
	if want := 200 * 8; len(pairs) != want {
		t.Errorf("refused use is selected for %d pairs of role and call, want %d", len(pairs), want)
	}
	if len(rules) > 100 {
		t.Errorf("there are %d rules for 200 keys and 200 roles, want few enough for a bus, which takes 100 in some Regions", len(rules))
	}
	for pair, n := range pairs {
		if n != 1 {
			t.Errorf("%s is selected by %d rules, want 1", pair, n)
		}
	}
}
