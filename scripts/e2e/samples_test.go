package e2e

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
)

// subscribers are the functions that take events, with what they subscribe to.
var subscribers = map[string][]cmek.Change{"rotation-event": rotation.Subscribes, "alerting-event": alerting.Subscribes}

// narrowedAway are the samples that mean a change to which alerting subscribes, and that no rule picks.
var narrowedAway = map[string]string{
	"cloudtrail-assumerole-denied":         "an AssumeRole that was refused names no role",
	"cloudtrail-decrypt":                   ownUse,
	"cloudtrail-encrypt-alias":             ownUse,
	"cloudtrail-decrypt-aws-managed-alias": "a key that AWS manages is no cluster's",
	"cloudtrail-encrypt-key-material":      ownUse,
	"cloudtrail-decrypt-incorrect-key":     "refused to somebody who is no cluster",
	"cloudtrail-decrypt-invalid-state":     "refused to somebody who is no cluster",
	"cloudtrail-describekey":               "reading a key's description is no use of it",
}

const (
	ownUse      = "the cluster itself uses its key"
	othersThing = "it is about a thing of another deployment"
)

// ownThings are parts of every deployment, by the service whose calls could make keyturn blind through them. The samples of such calls
// are about a deployment by another name.
var ownThings = map[string]string{
	"aws.events": "-kms-calls", "aws.monitoring": "-alerting-event-errors", "aws.sns": "-alerts", "aws.scheduler": "-alerting-tick",
	"aws.lambda": "-alerting-event", "aws.secretsmanager": "-api-key", "aws.sqs": "-alerting-event", "aws.dynamodb": "-hub",
}

var (
	// theirSecret is a secret's name within its ARN, theirThing any other name.
	theirSecret = regexp.MustCompile(`secret:keyturn[a-z0-9/-]*-([a-z0-9]{6})"`)
	theirThing  = regexp.MustCompile(`\bkeyturn(?:-[a-z]+)*`)
)

// aboutOurs is the sample about the deployment's own thing; nil if it is about no such thing.
func aboutOurs(payload []byte, deployment string) []byte {
	var e struct {
		Source, Region string
		Detail         struct{ EventName string }
	}
	part, ok := "", json.Unmarshal(payload, &e) == nil // else it is a bad sample
	if ok {
		part, ok = ownThings[e.Source]
	}
	if !ok {
		return nil
	}
	if bus := []string{"DeleteEventBus", "UpdateEventBus", "RemovePermission", "PutPermission"}; e.Source == "aws.events" && slices.Contains(bus, e.Detail.EventName) {
		part = "" // the bus
	}
	payload = bytes.ReplaceAll(payload, []byte(e.Region), []byte(region))
	payload = theirSecret.ReplaceAll(payload, []byte("secret:"+deployment+part+`-$1"`))
	return theirThing.ReplaceAll(payload, []byte(deployment+part))
}

// inVain is the sample that rotation gets besides: a rotation that failed, which only it can tell from one that succeeded.
const inVain = "cloudtrail-rotatekey-with-error-code"

// nobodysBus are the bad samples that no service can put on a bus.
var nobodysBus = map[string]string{
	"bad/array":                 notAnObject,
	"bad/empty":                 notAnObject,
	"bad/null":                  notAnObject,
	"bad/text":                  notAnObject,
	"bad/truncated":             notAnObject,
	"bad/two-documents":         notAnObject,
	"bad/object":                "an event has a source and a detail type",
	"bad/source-is-a-number":    "a source is a string",
	"bad/detail-is-a-string":    "a detail is an object",
	"bad/resources-is-a-string": "resources are a list",
}

const notAnObject = "an event is one JSON object"

func TestEverySampleReachesExactlyTheFunctionsThatSubscribeToIt(t *testing.T) {
	endToEnd(t)
	a := newAccount(t, plain)
	var payloads [][]byte
	wanted := map[string]map[string]int{} // times, by sample and function
	emit := func(name string, payload []byte, wants func(function string) bool) {
		wanted[name] = map[string]int{}
		for function := range subscribers {
			if wants(function) {
				wanted[name][function] = 1
			}
		}
		payloads = append(payloads, marked(t, payload, name))
	}
	for name, payload := range onABus(t) {
		payload := atItsKey(t, payload)
		subscribes := func(function string) bool { return concerns(payload, subscribers[function]) }
		reason, narrowed := narrowedAway[name]
		if ours := aboutOurs(payload, a.name); ours != nil && subscribes("alerting-event") {
			reason, narrowed = othersThing, true
			emit(name+" (it is our own)", ours, subscribes)
		}
		switch {
		case !narrowed:
			emit(name, payload, func(function string) bool {
				return subscribes(function) || name == inVain && function == "rotation-event"
			})
		case !subscribes("alerting-event"):
			t.Errorf("%s concerns nobody anyway, so it is no exception (%s)", name, reason)
		default:
			emit(name+" ("+reason+")", payload, func(string) bool { return false })
		}
	}
	a.emit(payloads...)

	reached := map[string]map[string]int{}
	for function := range subscribers {
		bodies := a.drain(a.queueNamed(function))
		if len(bodies) == 0 {
			t.Errorf("no sample reached %s", function)
		}
		for _, body := range bodies {
			name := markOf(t, body)
			if reached[name] == nil {
				reached[name] = map[string]int{}
			}
			reached[name][function]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		for function := range subscribers {
			if got, want := reached[name][function], wanted[name][function]; got != want {
				t.Errorf("%s reached %s %d times, want %d", name, function, got, want)
			}
		}
	}
}

// sampleName is a field of no service's details, by which the samples are known when they arrive.
const sampleName = "sample"

func marked(t *testing.T, payload []byte, name string) []byte {
	t.Helper()
	var e map[string]any
	must(t, json.Unmarshal(payload, &e), "read sample")
	e["detail"].(map[string]any)[sampleName] = name
	return []byte(encode(t, e))
}

func markOf(t *testing.T, body string) (name string) {
	t.Helper()
	var e event
	must(t, json.Unmarshal([]byte(body), &e), "read what arrived")
	must(t, json.Unmarshal(e.Detail[sampleName], &name), "read the sample's name")
	return name
}

// onABus are the samples that can be on a bus, by name.
func onABus(t *testing.T) iter.Seq2[string, []byte] {
	t.Helper()
	const directory = "../../events/testdata/"
	files, err := filepath.Glob(directory + "*.json")
	must(t, err, "list samples")
	bad, err := filepath.Glob(directory + "bad/*.json")
	must(t, err, "list bad samples")
	return func(yield func(string, []byte) bool) {
		for _, file := range append(files, bad...) {
			name := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(file), directory), ".json")
			if nobodysBus[name] != "" || strings.HasSuffix(name, ".want") {
				continue
			}
			payload, err := os.ReadFile(file)
			must(t, err, "read sample")
			if !yield(name, payload) {
				return
			}
		}
	}
}

// atItsKey moves an event to the Region of its key. Some of AWS's examples are of another Region, where AWS would not record
// the call.
func atItsKey(t *testing.T, payload []byte) []byte {
	t.Helper()
	var e event
	must(t, json.Unmarshal(payload, &e), "read sample")
	for _, arn := range arnsOf(e.Detail["resources"]) {
		if key := cmek.KeyURI(arn); strings.Contains(arn, ":key/") && key.Location() != e.Region {
			return bytes.Replace(payload, []byte(`"region": "`+e.Region), []byte(`"region": "`+key.Location()), 1)
		}
	}
	return payload
}

// concerns says whether a function that subscribes to these changes is to have the event: because it means one of them, or
// because it is of a kind that does and cannot be understood, which somebody has to say.
func concerns(payload []byte, subscribes []cmek.Change) bool {
	decoded, err := events.Decode(payload)
	if err == nil {
		return slices.ContainsFunc(decoded, func(e cmek.Event) bool { return slices.Contains(subscribes, e.Change) })
	}
	var e struct {
		Source     string
		DetailType string `json:"detail-type"`
		Detail     struct{ EventName string }
	}
	if json.Unmarshal(payload, &e) != nil {
		return false
	}
	return slices.ContainsFunc(events.AWS(), func(row events.Row) bool {
		return row.Source == e.Source && row.DetailType == e.DetailType && row.Name == e.Detail.EventName &&
			(slices.Contains(subscribes, row.Change) || slices.Contains(subscribes, row.Failed))
	})
}
