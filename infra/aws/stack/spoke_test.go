package stack_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestASpokeForwardsToTheHubByARoleOfItsOwn(t *testing.T) {
	for name, made := range templates(t) {
		if !strings.HasPrefix(name, "keyturn-spoke-") {
			continue
		}
		rules := made.of("AWS::Events::Rule")
		if len(rules) < 4 {
			t.Errorf("%s has %d rules", name, len(rules))
		}
		for _, id := range rules {
			r := made.Resources[id]
			target := r.property("Targets").([]any)[0].(map[string]any)
			if target["Arn"] != "arn:aws:events:us-east-1:111122223333:event-bus/keyturn" || target["RoleArn"] == nil {
				t.Errorf("%s: rule %s goes to %s", name, id, compact(target))
			}
			if r.property("EventBusName") != nil {
				t.Errorf("%s: rule %s is not on the default bus, where AWS' events are", name, id)
			}
			if !strings.Contains(compact(r.DependsOn), "trailCheck") {
				t.Errorf("%s: rule %s does not wait for the check of the trail", name, id)
			}
		}
		if n := len(made.of("Custom::KeyturnTrailCheck")); n != 1 {
			t.Errorf("%s checks trails %d times, want once", name, n)
		}
	}
}

func TestOnlyTheRegionOfIAMForwardsItsCalls(t *testing.T) {
	for name, want := range map[string]bool{
		"keyturn-spoke-111122223333-eu-west-1": false, "keyturn-spoke-111122223333-us-east-1": true, "keyturn-spoke-444455556666-us-east-1": true,
	} {
		if got := strings.Contains(compact(templates(t)[name].Resources), `"aws.iam"`); got != want {
			t.Errorf("%s forwards calls to IAM: %t, want %t", name, got, want)
		}
	}
}

func TestTheHeartbeatTagsACanaryKeyEveryHour(t *testing.T) {
	made := templates(t)["keyturn-spoke-111122223333-us-east-1"]
	schedules := made.of("AWS::Scheduler::Schedule")
	if len(schedules) != 1 {
		t.Fatalf("there are %d schedules, want 1", len(schedules))
	}
	s := made.Resources[schedules[0]]
	if cmek.HeartbeatEvery != time.Hour {
		t.Errorf("heartbeats are %s apart, and the schedule is an hourly one", cmek.HeartbeatEvery)
	}
	if s.property("ScheduleExpression") != "rate(1 hour)" || s.property("Target", "Arn") != "arn:aws:scheduler:::aws-sdk:kms:tagResource" {
		t.Errorf("the schedule is %s", compact(s.Properties))
	}
	want := `{"KeyId":"<Canary>","Tags":[{"TagKey":"keyturn-heartbeat","TagValue":"<aws.scheduler.scheduled-time>"}]}`
	if input := arn(s.property("Target", "Input")); input != want {
		t.Errorf("the schedule's input is %s, want %s", input, want)
	}
	if others := templates(t)["keyturn-spoke-111122223333-eu-west-1"].of("AWS::Scheduler::Schedule"); len(others) > 0 {
		t.Errorf("another Region of the account has a heartbeat too: %v", others)
	}
}

func TestAKeyForAClusterIsAsTheSetUpPageAsks(t *testing.T) {
	primary, replica := templates(t)["keyturn-key-orders-us-east-1"], templates(t)["keyturn-key-orders-us-west-2"]
	const cluster = `{"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"],"Effect":"Allow",` +
		`"Principal":{"AWS":"arn:aws:iam::111122223333:role/orders-cmek"},"Resource":"*","Sid":"crdb-cmek-kms"}`
	key := primary.Resources[primary.of("AWS::KMS::Key")[0]]
	if key.property("MultiRegion") != true || key.property("EnableKeyRotation") != true || key.property("RotationPeriodInDays") != 365.0 ||
		key.DeletionPolicy != "RetainExceptOnCreate" || !strings.Contains(compact(key.property("KeyPolicy")), cluster) {
		t.Errorf("the primary key is %s (%s)", compact(key.Properties), key.DeletionPolicy)
	}
	var role resource
	for _, r := range templates(t)["keyturn-roles-111122223333"].Resources {
		if r.property("RoleName") == "orders-cmek" {
			role = r
		}
	}
	const trust = `{"Statement":[{"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"5f3c1f0e-58c2-4d2a-9a3e-0c1b9a7d2e41"}},` +
		`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::777788889999:root"}}],"Version":"2012-10-17"}`
	if got := compact(role.property("AssumeRolePolicyDocument")); got != trust {
		t.Errorf("the role trusts %s, want %s", got, trust)
	}
	other := replica.Resources[replica.of("AWS::KMS::ReplicaKey")[0]]
	if other.property("PrimaryKeyArn") != "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab" ||
		!strings.Contains(compact(other.property("KeyPolicy")), cluster) || len(replica.of("AWS::IAM::Role")) > 0 {
		t.Errorf("the replica is %s", compact(other.Properties))
	}
	if specs := compact(primary.Outputs["RegionSpecs"].Value); !strings.Contains(specs, `arn:aws:kms:us-west-2:111122223333:key/`) ||
		!strings.Contains(specs, `\"auth_principal\":\"arn:aws:iam::111122223333:role/orders-cmek\"`) {
		t.Errorf("region_specs are %s", specs)
	}
}
