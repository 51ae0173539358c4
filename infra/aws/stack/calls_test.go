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

// call is one line of testdata/calls.txt: what a role did, on what, in the end-to-end tests; of an item that was written, the beginning
// of its partition key, and of a list, that of the names, too.
type call struct{ role, action, resource, item string }

// calls returns what `make e2e` recorded, and checks against.
func calls(t *testing.T) (recorded []call) {
	t.Helper()
	data, err := os.ReadFile("testdata/calls.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if itemized := len(words) > 1 && (words[1] == "dynamodb:PutItem" || words[1] == "s3:ListBucketVersions"); len(words) != 3 && !itemized || len(words) != 4 && itemized {
			t.Fatalf("calls.txt: line %q has %d words, want role, action, resource, and the item of a write or the prefix of a list", line, len(words))
		}
		words = append(words, "")
		recorded = append(recorded, call{words[0], words[1], words[2], words[3]})
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

// contentHash is what names an object of the CDK's.
var contentHash = regexp.MustCompile(`[0-9a-f]{64}`)

// covers reports whether a statement's resource stands for the one of a call.
func covers(granted, called string) bool {
	if id := logicalID.FindStringSubmatch(called); id != nil {
		called = "<" + id[1] + ">" + id[2]
	}
	granted = strings.NewReplacer("scene0000-", "", "<AWS::Partition>", "aws").Replace(granted)
	pattern := regexp.QuoteMeta(contentHash.ReplaceAllString(granted, "HASH"))
	return regexp.MustCompile("^" + strings.ReplaceAll(pattern, `\*`, ".*") + "$").MatchString(called)
}

// byOthers are the permissions that AWS itself or the command of a person uses, so that no call of a function shows them, by the roles
// that may have them.
var byOthers = []struct{ roles, actions, why string }{
	{`^(rotation-|alerting-|notify-|trailcheck-|compliance$)`, "logs:CreateLogStream logs:PutLogEvents", "Lambda writes the log."},
	{`^(rotation-|alerting-|notify-|trailcheck-|compliance$)`, "xray:PutTelemetryRecords xray:PutTraceSegments", "Lambda's X-Ray daemon sends the traces."},
	{`^(rotation-event|alerting-event|notify-[a-z]+)$`, "sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueAttributes sqs:ReceiveMessage", "Lambda polls the queue."},
	{`(-tick|^compliance)$`, "sqs:SendMessage", "Lambda puts away ticks that failed."},
	{`-scheduler$`, "lambda:InvokeFunction sqs:SendMessage", "Scheduler invokes, and puts away what it cannot."},
	{`^forward-`, "events:PutEvents", "EventBridge forwards."},
	{`^heartbeat-`, "kms:TagResource sqs:SendMessage", "Scheduler tags the canary key, and puts away what it cannot."},
}

func usedByOthers(role, action string) bool {
	for _, by := range byOthers {
		if regexp.MustCompile(by.roles).MatchString(role) && slices.Contains(strings.Fields(by.actions), action) {
			return true
		}
	}
	return false
}

// kind is what a resource has in common with others of which there may be any number: keys, and roles of clusters.
func kind(resource string) string {
	switch {
	case strings.HasPrefix(resource, "arn:aws:kms:"):
		return "a key"
	case strings.HasPrefix(resource, "arn:aws:events:") && !strings.Contains(resource, ":rule/scene0000/"):
		return "the rules of a spoke"
	case strings.HasPrefix(resource, "arn:aws:sqs:") && strings.HasSuffix(resource, "forward-dead"):
		return "the dead letters of a spoke"
	case strings.HasPrefix(resource, "arn:aws:iam::") && strings.HasSuffix(resource, "cmek"):
		return "a role of a cluster"
	}
	return resource
}

func TestEveryRecordedCallIsGranted(t *testing.T) {
	roles := deployedForE2E(t)
	for _, c := range calls(t) {
		granted := slices.ContainsFunc(roles, func(r role) bool {
			return strings.TrimPrefix(r.name, "scene0000-") == c.role && slices.ContainsFunc(r.statements, func(s statement) bool {
				return slices.Contains(s.actions, c.action) && s.holds(t, strings.ReplaceAll(c.item, "*", "1234")) && slices.ContainsFunc(s.resources, func(on string) bool { return covers(on, c.resource) })
			})
		})
		if !granted {
			t.Errorf("%s called %s on %s %s, which its role does not allow", c.role, c.action, c.resource, c.item)
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
				if strings.HasPrefix(action, "securityhub:") {
					t.Errorf("%s may %s, which nobody asked for", r.name, action)
				}
				if usedByOthers(name, action) {
					continue
				}
				for _, on := range s.resources {
					checked++
					if !slices.ContainsFunc(recorded, func(c call) bool {
						return c.role == name && c.action == action && (covers(on, c.resource) || kind(on) != on && kind(on) == kind(c.resource))
					}) {
						t.Errorf("%s may %s on %s, and never did", r.name, action, on)
					}
				}
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d permissions were compared with the calls", checked)
	}
}
