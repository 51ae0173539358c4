package stack_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/pattern"
	"github.com/keyturn/keyturn/internal/amazon"
)

func hub(t *testing.T) template { t.Helper(); return templates(t)["keyturn-hub"] }

// property digs a property out, by its path.
func (r resource) property(path ...string) any {
	var at any = r.Properties
	for _, name := range path {
		inner, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = inner[name]
	}
	return at
}

func TestTheFunctionsHaveTheirTimeLimits(t *testing.T) {
	want := map[string]float64{
		"keyturn-rotation-event": 60, "keyturn-rotation-tick": 55, "keyturn-alerting-event": 15, "keyturn-alerting-tick": 55, "keyturn-compliance": 840,
		"keyturn-notify-slack": 60, "keyturn-notify-pagerduty": 60, "keyturn-notify-siem": 60,
	}
	got := map[string]float64{}
	for _, id := range hub(t).of("AWS::Lambda::Function") {
		f := hub(t).Resources[id]
		got[f.property("FunctionName").(string)], _ = f.property("Timeout").(float64)
		if f.property("Runtime") != "provided.al2023" || compact(f.property("Architectures")) != `["arm64"]` ||
			f.property("TracingConfig", "Mode") != "Active" || f.property("LoggingConfig", "LogGroup") == nil {
			t.Errorf("%s is %s, want provided.al2023 on arm64 with tracing and a log group of its own", id, compact(f.Properties))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the functions and their time limits are %v, want %v", got, want)
	}
}

func TestEveryQueueOfAFunctionLosesNothing(t *testing.T) {
	h := hub(t)
	visibility := map[string]float64{"keyturn-alerting-event": 90, "keyturn-rotation-event": 360}
	mappings := h.of("AWS::Lambda::EventSourceMapping")
	if len(mappings) != 5 {
		t.Errorf("there are %d event source mappings, want 5", len(mappings))
	}
	for _, id := range mappings {
		m := h.Resources[id]
		if compact(m.property("FunctionResponseTypes")) != `["ReportBatchItemFailures"]` {
			t.Errorf("%s does not report which messages failed", id)
		}
		if most, _ := m.property("ScalingConfig", "MaximumConcurrency").(float64); most < 2 {
			t.Errorf("%s has maximum concurrency %v, want 2 or more", id, most)
		}
		queue := h.Resources[m.property("EventSourceArn", "Fn::GetAtt").([]any)[0].(string)]
		name := queue.property("QueueName").(string)
		if queue.property("RedrivePolicy", "maxReceiveCount") != 10.0 || queue.property("SqsManagedSseEnabled") != true {
			t.Errorf("queue %s is %s, want 10 receives before its dead-letter queue, and encryption by SQS", name, compact(queue.Properties))
		}
		timeout, _ := h.Resources[m.property("FunctionName", "Ref").(string)].property("Timeout").(float64)
		visible, _ := queue.property("VisibilityTimeout").(float64)
		if want := visibility[name]; want > 0 && visible != want || visible < 6*timeout {
			t.Errorf("queue %s has visibility %v s, want six times the function's %v s", name, visible, timeout)
		}
		if name == "keyturn-alerting-event" && m.property("BatchSize") != float64(alerting.Parallel) {
			t.Errorf("alerting gets batches of %v, want %d: as many as it handles at once, so that no event waits for another", m.property("BatchSize"), alerting.Parallel)
		}
	}
}

func TestEveryDeadLetterQueueHasAnAlarm(t *testing.T) {
	for name, made := range templates(t) {
		alarmed := map[string]bool{}
		for _, id := range made.of("AWS::CloudWatch::Alarm") {
			alarm := compact(made.Resources[id].Properties)
			for _, queue := range made.of("AWS::SQS::Queue") {
				if strings.Contains(alarm, `"ApproximateNumberOfMessagesVisible"`) && strings.Contains(alarm, `"`+queue+`"`) {
					alarmed[queue] = true
				}
			}
		}
		for _, queue := range made.of("AWS::SQS::Queue") {
			called, _ := made.Resources[queue].property("QueueName").(string)
			if strings.HasSuffix(called, "-dead") && !alarmed[queue] {
				t.Errorf("%s: nobody is told when %s is not empty", name, called)
			}
		}
	}
}

func TestEveryRuleAndScheduleHasADeadLetterQueue(t *testing.T) {
	for name, made := range templates(t) {
		for _, id := range made.of("AWS::Events::Rule") {
			for _, target := range made.Resources[id].property("Targets").([]any) {
				if target.(map[string]any)["DeadLetterConfig"] == nil {
					t.Errorf("%s: a target of rule %s has no dead-letter queue", name, id)
				}
			}
		}
		for _, id := range made.of("AWS::Scheduler::Schedule") {
			if made.Resources[id].property("Target", "DeadLetterConfig", "Arn") == nil {
				t.Errorf("%s: schedule %s has no dead-letter queue", name, id)
			}
		}
	}
}

func TestTicksComeWithTheirScheduledTime(t *testing.T) {
	ticks := hub(t).of("AWS::Scheduler::Schedule")
	if len(ticks) != 3 {
		t.Errorf("there are %d schedules, want 3", len(ticks))
	}
	for _, id := range ticks {
		s := hub(t).Resources[id]
		want := `{"keyturn":"tick","schedule":"<aws.scheduler.schedule-arn>","scheduled":"<aws.scheduler.scheduled-time>"}`
		rate := "rate(1 minute)"
		if s.property("Name") == "keyturn-compliance" {
			rate = "rate(15 minutes)"
		}
		if s.property("ScheduleExpression") != rate || s.property("Target", "Input") != want ||
			s.property("Target", "RetryPolicy", "MaximumRetryAttempts") != 0.0 {
			t.Errorf("schedule %s is %s", id, compact(s.Properties))
		}
	}
	for _, id := range hub(t).of("AWS::Lambda::EventInvokeConfig") {
		c := hub(t).Resources[id]
		if c.property("MaximumRetryAttempts") != 0.0 || c.property("DestinationConfig", "OnFailure", "Destination") == nil {
			t.Errorf("ticks that fail are repeated, or go nowhere: %s", compact(c.Properties))
		}
	}
}

func TestTheLedgerAndTheArchiveSurvive(t *testing.T) {
	h := hub(t)
	table, bucket := h.Resources[h.of("AWS::DynamoDB::Table")[0]], h.Resources[h.of("AWS::S3::Bucket")[0]]
	const kept = "RetainExceptOnCreate"
	if table.DeletionPolicy != kept || bucket.DeletionPolicy != kept {
		t.Errorf("the table's deletion policy is %q, the bucket's %q; want %s", table.DeletionPolicy, bucket.DeletionPolicy, kept)
	}
	if table.property("DeletionProtectionEnabled") != true || table.property("BillingMode") != "PAY_PER_REQUEST" ||
		table.property("PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled") != true ||
		table.property("TimeToLiveSpecification", "AttributeName") != amazon.ExpiresAttribute || table.property("TableName") != nil {
		t.Errorf("the table is %s", compact(table.Properties))
	}
	for _, name := range []string{amazon.PartitionKey, amazon.SortKey, amazon.DueIndex, amazon.KindAttribute, amazon.NextLookAttribute} {
		if !strings.Contains(compact(table.Properties), `"`+name+`"`) {
			t.Errorf("the table has nothing called %q: %s", name, compact(table.Properties))
		}
	}
	if bucket.property("ObjectLockEnabled") != true || bucket.property("VersioningConfiguration", "Status") != "Enabled" ||
		compact(bucket.property("ObjectLockConfiguration", "Rule", "DefaultRetention")) != `{"Days":400,"Mode":"GOVERNANCE"}` ||
		strings.Count(compact(bucket.property("PublicAccessBlockConfiguration")), "true") != 4 {
		t.Errorf("the bucket is %s", compact(bucket.Properties))
	}
}

func TestEveryTopicReachesAPersonDirectlyAndTakesAlarms(t *testing.T) {
	addresses := map[string]int{} // how many subscriptions each has to confirm, in all stacks together
	for name, made := range templates(t) {
		for _, id := range made.of("AWS::SNS::Topic") {
			people, secure, alarms := 0, 0, 0
			for _, s := range made.of("AWS::SNS::Subscription") {
				sub := made.Resources[s]
				if protocol := sub.property("Protocol"); strings.Contains(compact(sub.property("TopicArn")), `"`+id+`"`) && (protocol == "email" || protocol == "sms") {
					people++
					addresses[sub.property("Endpoint").(string)]++
				}
			}
			for _, p := range made.of("AWS::SNS::TopicPolicy") {
				text := compact(made.Resources[p].Properties)
				if strings.Contains(text, `"`+id+`"`) && strings.Contains(text, "aws:SecureTransport") {
					secure++
				}
				if strings.Contains(text, `"`+id+`"`) && strings.Contains(text, "cloudwatch.amazonaws.com") {
					alarms++
				}
			}
			wantAlarms := 1
			if made.Resources[id].property("TopicName") == "keyturn-alerts" {
				wantAlarms = 0
			}
			if people == 0 || secure != 1 || alarms != wantAlarms {
				t.Errorf("%s: topic %s reaches %d people directly, %d policies ask for TLS, %d admit alarms (want %d)", name, id, people, secure, alarms, wantAlarms)
			}
			if made.Resources[id].property("KmsMasterKeyId") != nil {
				t.Errorf("%s: topic %s is encrypted with a key, whose loss would silence it", name, id)
			}
		}
	}
	for address, n := range addresses {
		if n > 2 {
			t.Errorf("%s has to confirm %d subscriptions, want at most 2", address, n)
		}
	}
	if len(addresses) == 0 {
		t.Error("nobody is subscribed")
	}
}

func TestTopicsSendTheChannelsAlertsOnly(t *testing.T) {
	subscriptions := 0
	for _, id := range hub(t).of("AWS::SNS::Subscription") {
		s := hub(t).Resources[id]
		if s.property("Protocol") != "sqs" {
			continue
		}
		subscriptions++
		if compact(s.property("FilterPolicy")) != `{"change":[{"exists":true}]}` || s.property("RedrivePolicy") == nil {
			t.Errorf("subscription %s is %s", id, compact(s.Properties))
		}
	}
	if subscriptions != 3*2 {
		t.Errorf("there are %d subscriptions of queues, want one for each of 3 channels on each of 2 topics", subscriptions)
	}
}

// guarded finds a key that keyturn watches over.
var guarded = regexp.MustCompile(`0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11|9d1b7c44-3e0a-4f5b-8c26-71a5e9f0b3d2`)

func TestNothingIsEncryptedWithAGuardedKey(t *testing.T) {
	for name, made := range templates(t) {
		for id, r := range made.Resources {
			for property, value := range r.Properties {
				encryption := strings.Contains(property, "Kms") || strings.Contains(property, "Encrypt") || strings.Contains(property, "SSE")
				if encryption && guarded.MatchString(compact(value)) {
					t.Errorf("%s: %s is encrypted with a guarded key: %s", name, id, compact(value))
				}
			}
		}
	}
}

func TestTheHubsRulesAreThoseOfTheTables(t *testing.T) {
	h := hub(t)
	for function, rules := range map[string][]pattern.Rule{
		"keyturn-rotation-event": pattern.Selected(rotation.Subscribes), "keyturn-alerting-event": pattern.Selected(alerting.Subscribes),
	} {
		var got, want []string
		for _, id := range h.of("AWS::Events::Rule") {
			r := h.Resources[id]
			name := r.property("Name").(string)
			if strings.HasPrefix(name, function+"-") {
				got = append(got, name+" "+r.property("State").(string)+" "+compact(r.property("EventPattern")))
			}
			if len(compact(r.property("EventPattern"))) > pattern.Limit {
				t.Errorf("the pattern of %s is over the quota", name)
			}
		}
		for _, r := range rules {
			state := "ENABLED"
			if r.ReadOnly {
				state = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
			}
			want = append(want, function+"-"+r.Name+" "+state+" "+r.Pattern)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("the rules of %s are\n%s\nwant\n%s", function, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// Rotation's tick checks the very subscriptions that are made.
func TestTheSubscriptionsThatAreCheckedAreThoseThatAreMade(t *testing.T) {
	d := deploy(t, hub(t))
	made := map[string][]string{} // by topic
	for _, id := range hub(t).of("AWS::SNS::Subscription") {
		s := hub(t).Resources[id]
		topic := hub(t).Resources[s.property("TopicArn", "Ref").(string)].property("TopicName").(string)
		endpoint, ok := s.property("Endpoint").(string)
		if !ok {
			endpoint = "arn:aws:sqs:us-east-1:111122223333:" + d.name(s.property("Endpoint"))
		}
		made[topic] = append(made[topic], s.property("Protocol").(string)+":"+endpoint)
	}
	for _, id := range hub(t).of("AWS::Lambda::Function") {
		f := hub(t).Resources[id]
		if f.property("FunctionName") != "keyturn-rotation-tick" {
			continue
		}
		for variable, topic := range map[string]string{"KEYTURN_ALERTS_SUBSCRIBERS": "keyturn-alerts", "KEYTURN_OPERATIONS_SUBSCRIBERS": "keyturn-operations"} {
			checked := strings.Split(f.property("Environment", "Variables", variable).(string), ",")
			slices.Sort(checked)
			slices.Sort(made[topic])
			if !slices.Equal(checked, made[topic]) || len(checked) != 4 {
				t.Errorf("of %s the subscriptions\n%q\nare checked, want\n%q", topic, checked, made[topic])
			}
		}
		return
	}
	t.Error("there is no keyturn-rotation-tick")
}
