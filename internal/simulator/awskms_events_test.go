package simulator_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/simulator"
)

// payload is what the tests look at in an event.
type payload struct {
	Source     string
	DetailType string `json:"detail-type"`
	Region     string
	Resources  []string
	Detail     struct {
		EventName, EventType, ErrorCode string
		RequestParameters               map[string]any
		ResponseElements                map[string]any
		Resources                       []struct{ ARN string }
		ServiceEventDetails             map[string]string
		CurrentMaterial                 string `json:"current-key-material-id"`
		KeyID                           string `json:"key-id"`
	}
}

// eventNames names each event by its CloudTrail name or, if it is none of CloudTrail's, by its detail-type.
func eventNames(t *testing.T, events []simulator.Event) (names []string) {
	t.Helper()
	for _, event := range events {
		p := decode[payload](t, string(event.Payload))
		if p.Detail.EventName != "" {
			names = append(names, p.Detail.EventName)
		} else {
			names = append(names, p.DetailType)
		}
	}
	return names
}

// eventsOf keeps the events of one key.
func eventsOf(t *testing.T, events []simulator.Event, arn string) []simulator.Event {
	t.Helper()
	return slices.DeleteFunc(events, func(e simulator.Event) bool {
		p := decode[payload](t, string(e.Payload))
		return !slices.Contains(p.Resources, arn) && (len(p.Detail.Resources) == 0 || p.Detail.Resources[0].ARN != arn)
	})
}

func TestARotationIsToldTwiceWithTheSameMaterial(t *testing.T) {
	world := newWorld(t)
	if err := world.Rotate(ledgerReplica); err != nil {
		t.Fatal(err)
	}
	events := world.Events()
	if len(events) != 2 || len(world.Events()) != 0 || len(world.EventsAfter(1)) != 1 {
		t.Fatalf("%d events, want two and then none", len(events))
	}
	direct, trail := decode[payload](t, string(events[0].Payload)), decode[payload](t, string(events[1].Payload))
	if direct.DetailType != "KMS CMK Rotation" || direct.Resources[0] != ledgerKey || strings.Contains(direct.Detail.KeyID, ":") {
		t.Errorf("KMS's own event is %+v; want the primary's ARN in resources and a bare key id", direct)
	}
	if trail.DetailType != "AWS Service Event via CloudTrail" || len(trail.Resources) != 0 || trail.Detail.Resources[0].ARN != ledgerKey {
		t.Errorf("CloudTrail's event is %+v; want no resources in the envelope", trail)
	}
	if direct.Detail.CurrentMaterial == "" || direct.Detail.CurrentMaterial != trail.Detail.ServiceEventDetails["currentKeyMaterialId"] {
		t.Errorf("materials are %q and %v", direct.Detail.CurrentMaterial, trail.Detail.ServiceEventDetails)
	}
}

func TestWritesLeaveCloudTrailRecordsAndReadsDoNot(t *testing.T) {
	world := newWorld(t)
	input := fmt.Sprintf(`{"KeyId":%q,"PendingWindowInDays":7}`, paymentsKey)
	callKMS(t, world, "us-east-1", "DescribeKey", input).want(t, 200, "")
	callKMS(t, world, "us-east-1", "ScheduleKeyDeletion", input).want(t, 200, "")
	callKMS(t, world, "us-east-1", "DisableKey", input).want(t, 400, "KMSInvalidStateException")
	if err := world.DenyKMS(paymentsKey, true); err != nil {
		t.Fatal(err)
	}
	callKMS(t, world, "us-east-1", "EnableKey", input).want(t, 400, "AccessDeniedException")

	events := world.Events()
	if len(events) != 3 {
		t.Fatalf("%d records, want one for each write", len(events))
	}
	done, failed, denied := decode[payload](t, string(events[0].Payload)), decode[payload](t, string(events[1].Payload)), decode[payload](t, string(events[2].Payload))
	if done.Detail.EventType != "AwsApiCall" || done.Detail.RequestParameters["pendingWindowInDays"] != 7.0 || done.Detail.ResponseElements["keyState"] != "PendingDeletion" {
		t.Errorf("the record of the success is %+v", done)
	}
	if _, isString := done.Detail.ResponseElements["deletionDate"].(string); !isString {
		t.Errorf("deletionDate is %v, want a display string", done.Detail.ResponseElements["deletionDate"])
	}
	if failed.Detail.ErrorCode != "KMSInvalidStateException" || len(failed.Detail.Resources) != 1 || failed.Detail.ResponseElements != nil {
		t.Errorf("the record of the failure is %+v", failed)
	}
	if denied.Detail.ErrorCode != "AccessDenied" || denied.Detail.Resources != nil || denied.Detail.RequestParameters != nil {
		t.Errorf("the record of the denial is %+v; want neither resources nor parameters", denied)
	}
}

func TestPoliciesInRecordsAreStrings(t *testing.T) {
	world := newWorld(t)
	input, _ := json.Marshal(map[string]any{"KeyId": paymentsKey, "Policy": `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}]}`, "BypassPolicyLockoutSafetyCheck": true})
	callKMS(t, world, "us-east-1", "PutKeyPolicy", string(input)).want(t, 200, "")
	p := decode[payload](t, string(world.Events()[0].Payload))
	if policy, isString := p.Detail.RequestParameters["policy"].(string); !isString || !strings.Contains(policy, "Deny") {
		t.Errorf("the policy in the record is %v", p.Detail.RequestParameters["policy"])
	}
}
