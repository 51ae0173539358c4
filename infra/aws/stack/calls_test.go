package stack_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/infra/aws/deployment"
)

// call is one line of testdata/calls.txt: what a role did, on what, in the end-to-end tests.
type call struct{ role, action, resource string }

// calls returns what `make e2e` recorded, and checks against.
func calls(t *testing.T) (recorded []call) {
	t.Helper()
	data, err := os.ReadFile("testdata/calls.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) != 3 {
			t.Fatalf("calls.txt: line %q has %d words, want role, action, resource", line, len(words))
		}
		recorded = append(recorded, call{words[0], words[1], words[2]})
	}
	return recorded
}

// deployedForE2E are the roles of the deployment that the end-to-end tests run, repairs included.
func deployedForE2E(t *testing.T) []role {
	t.Helper()
	d, err := deployment.Load("../../../scripts/e2e/testdata/keyturn.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d.Repair = true
	directory := t.TempDir()
	synthesize(d, directory)
	made := map[string]template{}
	for _, file := range files(t, directory) {
		made[filepath.Base(file)] = read(t, file)
	}
	return rolesOf(t, made)
}

var logicalID = regexp.MustCompile(`^([A-Za-z]+?)(?:[0-9A-F]{8})?((?:/.*)?)$`)

// covers reports whether a statement's resource stands for the one of a call.
func covers(granted, called string) bool {
	if id := logicalID.FindStringSubmatch(called); id != nil {
		called = "<" + id[1] + ">" + id[2]
	}
	pattern := regexp.QuoteMeta(strings.ReplaceAll(granted, "scene0000-", ""))
	return regexp.MustCompile("^" + strings.ReplaceAll(pattern, `\*`, ".*") + "$").MatchString(called)
}

// byAWS are the permissions that AWS itself uses on a function's behalf, so that no call of the function shows them.
var byAWS = map[string]string{
	"logs:CreateLogStream": "Lambda writes the log.", "logs:PutLogEvents": "Lambda writes the log.",
	"xray:PutTelemetryRecords": "Lambda's X-Ray daemon sends the traces.", "xray:PutTraceSegments": "Lambda's X-Ray daemon sends the traces.",
	"sqs:ChangeMessageVisibility": "Lambda polls the queue.", "sqs:DeleteMessage": "Lambda polls the queue.",
	"sqs:GetQueueAttributes": "Lambda polls the queue.", "sqs:ReceiveMessage": "Lambda polls the queue.",
	"sqs:SendMessage":       "Lambda, EventBridge and Scheduler put away what failed.",
	"events:PutEvents":      "EventBridge forwards.",
	"lambda:InvokeFunction": "Scheduler invokes.",
	"kms:TagResource":       "Scheduler tags the canary key.",
}

func TestEveryRecordedCallIsGranted(t *testing.T) {
	roles := deployedForE2E(t)
	for _, c := range calls(t) {
		granted := slices.ContainsFunc(roles, func(r role) bool {
			return strings.TrimPrefix(r.name, "scene0000-") == c.role && slices.ContainsFunc(r.statements, func(s statement) bool {
				return slices.Contains(s.actions, c.action) && slices.ContainsFunc(s.resources, func(on string) bool { return covers(on, c.resource) })
			})
		})
		if !granted {
			t.Errorf("%s called %s on %s, which its role does not allow", c.role, c.action, c.resource)
		}
	}
}

func TestNothingIsGrantedThatIsNeverUsed(t *testing.T) {
	recorded := calls(t)
	checked := 0
	for _, r := range deployedForE2E(t) {
		name := strings.TrimPrefix(r.name, "scene0000-")
		if strings.HasPrefix(name, "trailcheck-") {
			name = "trailcheck-us-east-1" // one function in every Region
		}
		for _, s := range r.statements {
			for _, action := range s.actions {
				if byAWS[action] != "" {
					continue
				}
				checked++
				if !slices.ContainsFunc(recorded, func(c call) bool {
					return c.role == name && c.action == action && slices.ContainsFunc(s.resources, func(on string) bool { return covers(on, c.resource) })
				}) {
					t.Errorf("%s may %s on %v, and never did", r.name, action, s.resources)
				}
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d permissions were compared with the calls", checked)
	}
}
