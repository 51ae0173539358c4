package stack_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// writes reports whether one of the role's statements allows putting an item under the partition key.
func (r role) writes(t *testing.T, partitionKey string) bool {
	t.Helper()
	return slices.ContainsFunc(r.statements, func(s statement) bool {
		return slices.Contains(s.actions, "dynamodb:PutItem") && s.holds(t, partitionKey)
	})
}

// holds evaluates the statement's condition for a call about the partition key, or about the names that begin with the prefix
// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html).
func (s statement) holds(t *testing.T, partitionKey string) bool {
	t.Helper()
	condition, _ := s.condition.(map[string]any)
	for operator, operands := range condition {
		for key, values := range operands.(map[string]any) {
			if key != "dynamodb:LeadingKeys" && key != "s3:prefix" {
				t.Fatalf("a condition compares %s", key)
			}
			like := func(pattern any) bool { return glob(pattern.(string)).MatchString(partitionKey) }
			equal := func(value any) bool { return value == partitionKey }
			var ok bool
			switch operator {
			case "ForAllValues:StringLike", "StringLike":
				ok = slices.ContainsFunc(list(values), like)
			case "ForAllValues:StringNotEquals":
				ok = !slices.ContainsFunc(list(values), equal)
			default:
				t.Fatalf("unknown operator %s", operator)
			}
			if !ok {
				return false
			}
		}
	}
	return true
}

// glob is a pattern of StringLike.
func glob(pattern string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(pattern)
	return regexp.MustCompile("^(?s:" + strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(quoted) + ")$")
}

// items are samples of all that the table holds, by partition key.
var items = map[string]string{
	"a cluster":               "rotation#cluster#c-1",
	"a key of the index":      "rotation#arn:aws:kms:us-east-1:111122223333:key/1234",
	"a role of the index":     "rotation#role:111122223333/payments-cmek",
	"a long key":              "rotation#sha256:0123",
	"the worker's lease":      "rotation#worker",
	"a noted policy":          "control#policy#arn:aws:kms:us-east-1:111122223333:key/1234",
	"a heartbeat":             "alerting#heartbeat#111122223333/us-east-1",
	"an incident":             "alerting#incident#key-unusable/arn:aws:kms:us-east-1:111122223333:key/1234",
	"the operators' pause":    "control#pause",
	"the operators' holds":    "control#holds",
	"a compliance run":        "compliance#runs",
	"results of checks":       "compliance#results#cluster/c-1",
	"an order to another key": "control#order#c-1",
	"a pin to an alias":       "control#pin#c-1",
	"an alias of the index":   "control#arn:aws:kms:us-east-1:111122223333:alias/cmek",
	"an item of a new kind":   "orders#c-1",
	"a kind that looks alike": "rotations#cluster#c-1",
}

func TestEachFunctionWritesItsOwnItemsOnly(t *testing.T) {
	opening := []string{"a cluster", "a key of the index", "a role of the index", "a long key"}
	want := map[string][]string{
		"keyturn-rotation-event": opening,
		"keyturn-rotation-tick":  append(slices.Clone(opening), "the worker's lease", "a noted policy"),
		"keyturn-alerting-event": {"an incident", "a heartbeat"},
		"keyturn-alerting-tick":  {"an incident", "a heartbeat"},
		"keyturn-compliance":     {"a compliance run", "results of checks"},
	}
	for _, r := range roles(t) {
		for what, partitionKey := range items {
			if got, ok := r.writes(t, partitionKey), slices.Contains(want[r.name], what); got != ok {
				t.Errorf("%s may write %s (%s): %t, want %t", r.name, what, partitionKey, got, ok)
			}
		}
		for _, s := range r.statements {
			for _, action := range s.actions {
				if strings.HasPrefix(action, "dynamodb:") && !slices.Contains([]string{"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem"}, action) {
					t.Errorf("%s may %s, of which the condition on partition keys knows nothing", r.name, action)
				}
				if action == "dynamodb:PutItem" && s.condition == nil {
					t.Errorf("%s may write every item", r.name)
				}
			}
		}
	}
}

// spy is a store that keeps the names of what is written.
type spy struct{ written map[string]bool }

func (s spy) Get(_ context.Context, kind, id string) (ledger.Record, error) {
	return ledger.Record{Kind: kind, ID: id}, nil
}

func (s spy) Put(_ context.Context, r ledger.Record) error {
	s.written[r.Kind+"#"+r.ID] = true
	for _, key := range r.Keys {
		s.written[r.Kind+"#"+key] = true
	}
	return nil
}

func (s spy) Due(context.Context, string, time.Time, int) ([]ledger.Record, error) { return nil, nil }

func (s spy) ByKey(context.Context, string, string) ([]ledger.Record, error) { return nil, nil }

// writers are all methods of the ledger that write, each with a call of it.
var writers = map[string]func(context.Context, *ledger.Ledger) error{
	"UpdateCluster": func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.UpdateCluster(ctx, "c-1", func(c *ledger.Cluster) error { c.Cluster.Name = "orders"; return nil })
		return err
	},
	"EnsureWorker": func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.EnsureWorker(ctx, time.Unix(1, 0))
		return err
	},
	"Lease": func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.Lease(ctx, "h", time.Unix(1, 0), time.Unix(2, 0))
		return err
	},
	"SaveWorker": func(ctx context.Context, l *ledger.Ledger) error {
		return l.SaveWorker(ctx, &ledger.Worker{}, time.Unix(1, 0))
	},
	"NotePolicy": func(ctx context.Context, l *ledger.Ledger) error {
		return l.NotePolicy(ctx, "arn:aws:kms:x", "{}", ledger.NotedPolicy{})
	},
	"NotePolicyChange": func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.NotePolicyChange(ctx, "arn:aws:kms:x", ledger.PolicyChange{Event: "e-1", At: time.Unix(1, 0)})
		return err
	},
	"NoteState": func(ctx context.Context, l *ledger.Ledger) error {
		return l.NoteState(ctx, "arn:aws:kms:x", cmek.KeyEnabled, ledger.NotedState{})
	},
	"UpdateIncident": func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.UpdateIncident(ctx, "key-unusable/x", func(i *ledger.Incident) error { i.Opened = time.Unix(1, 0); return nil })
		return err
	},
	"CloseIncident": func(ctx context.Context, l *ledger.Ledger) error {
		_, _, err := l.CloseIncident(ctx, "key-unusable/x", ledger.Closing{At: time.Unix(1, 0), By: "ana"})
		return err
	},
	"LeaseRuns": func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.LeaseRuns(ctx, "h", time.Unix(1, 0), time.Unix(2, 0))
		return err
	},
	"SaveRuns": func(ctx context.Context, l *ledger.Ledger) error { return l.SaveRuns(ctx, &ledger.Runs{}) },
	"SaveResults": func(ctx context.Context, l *ledger.Ledger) error {
		return l.SaveResults(ctx, &ledger.Results{Of: "cluster/c-1"}, ledger.Generation{Run: 1}, 0)
	},
	"SaveProofs": func(ctx context.Context, l *ledger.Ledger) error {
		return l.SaveProofs(ctx, &ledger.Proofs{Cluster: "c-1"})
	},
	"NoteHeartbeat": func(ctx context.Context, l *ledger.Ledger) error {
		return l.NoteHeartbeat(ctx, "111122223333", "us-east-1", ledger.Heartbeat{At: time.Unix(1, 0), Arrived: time.Unix(2, 0)})
	},
	"NoteRecorded": func(ctx context.Context, l *ledger.Ledger) error {
		return l.NoteRecorded(ctx, "acme", true, time.Unix(1, 0))
	},
	"SetPause": func(ctx context.Context, l *ledger.Ledger) error {
		return l.SetPause(ctx, ledger.Pause{Since: time.Unix(1, 0)})
	},
	"Hold": func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.Hold(ctx, cmek.Hold{ClusterID: "c-1", Since: time.Unix(1, 0), Until: time.Unix(2, 0)})
		return err
	},
	"PlaceOrders": func(ctx context.Context, l *ledger.Ledger) error {
		_, err := l.PlaceOrders(ctx, "c-1", []ledger.Order{{Region: "us-east-1"}}, time.Unix(1, 0))
		return err
	},
	"AliasChanged": func(ctx context.Context, l *ledger.Ledger) error { // it writes the clusters that are pinned to the alias
		_, err := l.UpdateCluster(ctx, "c-1", func(c *ledger.Cluster) error { c.NextLook = time.Unix(1, 0); return nil })
		return err
	},
	"SetPin": func(ctx context.Context, l *ledger.Ledger) error {
		return l.SetPin(ctx, "c-1", ledger.Pin{Region: "us-east-1", Alias: "arn:aws:kms:us-east-1:111122223333:alias/cmek"})
	},
}

// What a function's code writes is found by its calls of the ledger, so that a new one fails here and not in production.
func TestEachFunctionMayWriteWhatItsCodeWrites(t *testing.T) {
	byRole := map[string]role{}
	for _, r := range roles(t) {
		byRole[r.name] = r
	}
	reads := []string{
		"Cluster", "Clusters", "ByKey", "ByRole", "ByAccount", "Due", "Paused", "Worker", "PolicyNoted", "PolicyChanges", "StateNoted", "Incident", "DueIncidents",
		"OpenIncidents", "Holds", "HoldOnKey", "Orders", "Pins", "PinnedTo", "Runs", "Results", "Proofs", "Recorded", "Heartbeat",
	}
	for folder, name := range map[string]string{"rotation": "keyturn-rotation-tick", "alerting": "keyturn-alerting-event", "compliance": "keyturn-compliance"} {
		for method := range methodsIn(t, "../../../functions/"+folder) {
			if slices.Contains(reads, method) {
				continue
			}
			call := writers[method]
			if call == nil {
				t.Errorf("%s calls ledger.%s: is it a read, or what does it write?", folder, method)
				continue
			}
			store := spy{map[string]bool{}}
			if err := call(t.Context(), ledger.New(store, rand.New(rand.NewPCG(1, 2)))); err != nil && !errors.Is(err, ledger.ErrUnchanged) {
				t.Fatalf("%s: %v", method, err)
			}
			for partitionKey := range store.written {
				if !byRole[name].writes(t, partitionKey) {
					t.Errorf("%s calls ledger.%s, which writes %s; its role may not", folder, method, partitionKey)
				}
			}
		}
	}
	// What operators write is theirs alone.
	for _, method := range []string{"SetPause", "Hold", "PlaceOrders", "SetPin"} {
		store := spy{map[string]bool{}}
		if err := writers[method](t.Context(), ledger.New(store, rand.New(rand.NewPCG(1, 2)))); err != nil || len(store.written) == 0 {
			t.Fatalf("%s wrote %v, error %v", method, store.written, err)
		}
		for partitionKey := range store.written {
			for name, r := range byRole {
				if r.writes(t, partitionKey) {
					t.Errorf("%s may write %s, which is for operators", name, partitionKey)
				}
			}
		}
	}
}

// methodsIn are the methods of the ledger that the folder's code calls. Package functions are called likewise, and are left out.
func methodsIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`\.Ledger\.([A-Z]\w+)\(`).FindAllStringSubmatch(code(t, folder), -1) {
		found[m[1]] = true
	}
	if len(found) == 0 {
		t.Errorf("%s does not use the ledger", folder)
	}
	return found
}

func TestTheBusTakesSourcesOfAWSOnly(t *testing.T) {
	ids := hub(t).of("AWS::Events::EventBusPolicy")
	if len(ids) != 1 {
		t.Fatalf("there are %d policies of buses, want 1", len(ids))
	}
	statement := hub(t).Resources[ids[0]].property("Statement").(map[string]any)
	sources := list(statement["Condition"].(map[string]any)["ForAllValues:StringEquals"].(map[string]any)["events:source"])
	for _, source := range sources {
		if !strings.HasPrefix(source.(string), "aws.") {
			t.Errorf("the bus takes events of %v, which anybody could put", source)
		}
	}
	for _, id := range hub(t).of("AWS::Events::Rule") {
		for _, source := range list(hub(t).Resources[id].property("EventPattern", "source")) {
			if !slices.Contains(sources, source) {
				t.Errorf("rule %s waits for events of %v, which the bus does not take", id, source)
			}
		}
	}
	if got := fmt.Sprint(statement["Principal"]); strings.Contains(got, "*") || !strings.Contains(got, ":444455556666:root") {
		t.Errorf("the bus admits %s, want the watched accounts", got)
	}
	if n := len(compact(statement)); n > 10240 {
		t.Errorf("the policy has %d characters", n)
	}
}
