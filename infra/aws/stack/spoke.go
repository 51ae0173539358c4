package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsscheduler"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/infra/aws/pattern"
	"github.com/keyturn/keyturn/internal/amazon"
)

// spoke is the stack that picks up what matters in one account and Region and forwards it to the hub.
type spoke struct {
	names
	stack   awscdk.Stack
	account deployment.Account
	region  string
	// topic is where alarms notify people; nil where they are forwarded to the hub.
	topic awssns.ITopic
}

func newSpoke(app constructs.Construct, d deployment.Deployment, a deployment.Account, region string, code Code) awscdk.Stack {
	n := names{d}
	name := n.of("spoke-" + a.ID + "-" + region)
	place := deployment.Place{Account: a.ID, Region: region}
	s := &spoke{names: n, account: a, region: region}
	s.stack = awscdk.NewStack(app, text(name), props(place, name, "keyturn: forwards what happens to keys here to the hub"))
	if place == d.Hub {
		s.topic = awssns.Topic_FromTopicArn(s.stack, text("Operations"), text("arn:aws:sns:"+region+":"+a.ID+":"+n.of("operations")))
	}
	rules := d.Rules(a, region)
	trail := s.trailCheck(code, rules)
	s.forward(rules, trail)
	if slices.Contains(d.Heartbeats(a), region) {
		s.heartbeat()
	}
	return s.stack
}

// forward makes the rules that send events to the hub's bus.
func (s *spoke) forward(rules []pattern.Rule, trail awscdk.CustomResource) {
	dead := newDeadLetters(s.stack, "DeadLetters", s.of("forward-dead"), days(keepDays))
	// Only rules of this account can be given the role (iam:PassRole). That EventBridge says which rule it acts for when it
	// assumes a role is not documented, so nothing is asked of that.
	role := newRole(s.stack, "Forwarder", s.of("forward-"+s.region), "keyturn: puts events on the hub's bus",
		awsiam.NewServicePrincipal(text("events.amazonaws.com"), nil), allow("events:PutEvents", s.busARN()))
	for _, r := range rules {
		rule := newRule(s.stack, nil, s.d.Name, r, awsevents.CfnRule_TargetProperty{
			Id: text("hub"), Arn: text(s.busARN()), RoleArn: role.RoleArn(),
			DeadLetterConfig: &awsevents.CfnRule_DeadLetterConfigProperty{Arn: dead.QueueArn()},
		})
		// Without a trail no rule would ever see a call: that fails first.
		rule.Node().AddDependency(trail)
	}
	dead.AddToResourcePolicy(putByRules(dead, nil, s.d.Name))
	newAlarm(s.stack, s.names, s.topic, notEmpty("forward-dead-letters-"+s.region, dead, amazon.Alarm{
		Summary: "events could not be forwarded to keyturn's hub",
		Impact:  "Changes of keys here may go unnoticed, and alarms from here may not arrive.",
		Steps: []string{
			"Read the messages of the queue " + s.of("forward-dead") + ": the attribute ERROR_CODE names the reason. Fix it.",
			"Read each with keyturn explain, then purge the queue. The next sweep finds the rotations among them.",
		},
		Runbook: runbook("forward-dead-letters"),
	}))
}

// trailCheck makes the deployment fail when no trail records the management events of KMS here.
func (s *spoke) trailCheck(code Code, rules []pattern.Rule) awscdk.CustomResource {
	scope := constructs.NewConstruct(s.stack, text("trail"))
	f := newFunction(scope, s.names, functionProps{
		name: deployment.TrailCheck + "-" + s.region, description: "keyturn: checks at deployment that a trail records KMS",
		code: code(scope, deployment.TrailCheck), seconds: 60, memoryMB: 128, environment: map[string]*string{},
		permissions: []permission{
			allow("cloudtrail:DescribeTrails", "*").because("cloudtrail:DescribeTrails has no resource to name."),
			allow("cloudtrail:GetEventSelectors cloudtrail:GetTrailStatus", "arn:aws:cloudtrail:*:*:trail/*").
				because("Which trails there are, and in which Region and account they live, is what is to be found out."),
		},
	})
	// What has changed is checked by a new resource: one that fails while it is updated would fail in the rollback as well.
	digest := sha256.New()
	digest.Write([]byte(s.account.Trail))
	for _, r := range rules {
		digest.Write([]byte(r.Pattern))
	}
	check := "Check" + hex.EncodeToString(digest.Sum(nil))[:8]
	made := awscdk.NewCustomResource(scope, text(check), &awscdk.CustomResourceProps{
		ServiceToken: f.lambda.FunctionArn(), ResourceType: text("Custom::KeyturnTrailCheck"), ServiceTimeout: seconds(300),
		Properties: &map[string]any{"Assert": s.account.Trail == deployment.TrailAsserted},
	})
	awscdk.NewCfnOutput(s.stack, text("TrailCheck"), &awscdk.CfnOutputProps{
		Description: text("Which trail records KMS here, and what it leaves out"), Value: made.GetAttString(text("Answer")),
	})
	return made
}

// heartbeat tags a canary key of our own every hour. Alerting must see the CloudTrail record of that, or the hub raises an alarm.
func (s *spoke) heartbeat() {
	key := awskms.NewCfnKey(s.stack, text("Canary"), &awskms.CfnKeyProps{
		Description: text("keyturn's canary: nothing is encrypted with it; its tag is changed every hour"), EnableKeyRotation: yes(),
		PendingWindowInDays: number(7), KeyPolicy: keyPolicy(administration(s.account.ID)),
	})
	dead := newDeadLetters(s.stack, "HeartbeatDeadLetters", s.of("heartbeat-dead"), awscdk.Duration_Hours(number(2)))
	role := newRole(s.stack, "Heartbeat", s.of("heartbeat-"+s.region), "keyturn: changes the canary key's tag",
		scheduler(deployment.Place{Account: s.account.ID, Region: s.region}),
		allowOn(key.AttrArn(), "kms:TagResource"), allowOn(dead.QueueArn(), "sqs:SendMessage"))
	input := awscdk.Fn_Join(text(""), &[]*string{
		text(`{"KeyId":"`), key.Ref(), text(`","Tags":[{"TagKey":"keyturn-heartbeat","TagValue":"<aws.scheduler.scheduled-time>"}]}`),
	})
	awsscheduler.NewCfnSchedule(s.stack, text("EveryHour"), &awsscheduler.CfnScheduleProps{
		Name: text(s.of("heartbeat")), Description: text("Every hour: changes the canary key's tag"), ScheduleExpression: text("rate(1 hour)"),
		FlexibleTimeWindow: &awsscheduler.CfnSchedule_FlexibleTimeWindowProperty{Mode: text("OFF")},
		Target: &awsscheduler.CfnSchedule_TargetProperty{
			// docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
			Arn: text("arn:aws:scheduler:::aws-sdk:kms:tagResource"), RoleArn: role.RoleArn(), Input: input,
			DeadLetterConfig: &awsscheduler.CfnSchedule_DeadLetterConfigProperty{Arn: dead.QueueArn()},
		},
	})
	newAlarm(s.stack, s.names, s.topic, notEmpty("heartbeat-dead-letters", dead, amazon.Alarm{
		Summary: "the canary key's tag could not be changed",
		Impact:  "The heartbeat says nothing about this Region until it can.",
		Steps:   []string{"Read the messages of the queue " + s.of("heartbeat-dead") + ": the attribute ERROR_CODE names the reason. Fix it."},
		Runbook: runbook("heartbeat-dead-letters"),
	}))
}
