package stack

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/infra/aws/pattern"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/detection"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// hub is the stack that holds the functions, in one account and Region.
type hub struct {
	names
	stack awscdk.Stack
	code  Code

	bus     awsevents.EventBus
	table   awsdynamodb.Table
	archive awss3.Bucket
	apiKey  awssecretsmanager.CfnSecret
	// checkKey is the secret with the API key of compliance's own service account.
	checkKey   awssecretsmanager.CfnSecret
	alerts     awssns.Topic
	operations awssns.Topic
	watched    watched
}

func newHub(app constructs.Construct, d deployment.Deployment, code Code) awscdk.Stack {
	n := names{d}
	h := &hub{names: n, code: code}
	h.stack = awscdk.NewStack(app, text(n.hub()), props(d.Hub, n.hub(), "keyturn: the functions, their ledger and archive, topics and alarms"))

	h.bus = h.newBus()
	h.table = newLedger(h.stack)
	h.archive = newArchive(h.stack, d.Archive)
	h.apiKey = newSecret(h.stack, "ApiKey", n.of("api-key"), "API key of keyturn's service account at CockroachDB Cloud (Cluster Operator)")
	h.checkKey = newSecret(h.stack, "ComplianceApiKey", n.of("compliance-api-key"), "API key of the service account of keyturn's compliance checks at CockroachDB Cloud (Cluster Operator)")
	h.alerts = newTopic(h.stack, "Alerts", n.of("alerts"), d.Alerts, false)
	h.operations = newTopic(h.stack, "Operations", n.of("operations"), d.Operations, true)

	h.rotation()
	h.alerting()
	h.compliance()
	for _, channel := range d.Channels {
		h.channel(channel)
	}
	h.alarmsOutside()
	h.alarms()
	h.dashboard()
	h.outputs()
	h.publish()
	return h.stack
}

// newBus makes the bus for forwarded events, which takes them from the watched accounts only, and only those of AWS' own services that
// the functions subscribe to. Nobody but the service itself can put an event of such a source, so what arrives was forwarded. It is
// a hint all the same: it makes keyturn read.
func (h *hub) newBus() awsevents.EventBus {
	bus := awsevents.NewEventBus(h.stack, text("Bus"), &awsevents.EventBusProps{
		EventBusName: text(h.names.bus()), Description: text("What keyturn's rules pick up in the watched accounts and Regions"),
	})
	var accounts []string
	for _, account := range h.d.Accounts {
		accounts = append(accounts, "arn:aws:iam::"+account.ID+":root")
	}
	awsevents.NewCfnEventBusPolicy(h.stack, text("Forwarders"), &awsevents.CfnEventBusPolicyProps{
		EventBusName: bus.EventBusName(), StatementId: text("forwarders"),
		Statement: map[string]any{
			"Sid": "forwarders", "Effect": "Allow", "Action": "events:PutEvents", "Resource": bus.EventBusArn(),
			"Principal": map[string]any{"AWS": accounts},
			// docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-bus-example-policy-cross-account-custom-bus-source.html
			"Condition": map[string]any{"ForAllValues:StringEquals": map[string]any{
				"events:source": append(pattern.Sources(slices.Concat(rotation.Subscribes, alerting.Subscribes)), amazon.AlarmSource),
			}},
		},
	})
	return bus
}

// alarmsOutside notifies the people of operations of the alarms in other accounts and Regions. Those of the hub's Region do so by
// themselves: an alarm can only notify a topic of its own Region.
func (h *hub) alarmsOutside() {
	scope := constructs.NewConstruct(h.stack, text("operations-alarms"))
	dead := newDeadLetters(scope, "DeadLetters", h.of("operations-alarms-dead"), days(keepDays))
	newRule(scope, h.bus.EventBusName(), h.of("operations"), pattern.AlarmsOutside(h.d.Hub.Account, h.d.Hub.Region), awsevents.CfnRule_TargetProperty{
		Id: text("operations"), Arn: h.operations.TopicArn(),
		DeadLetterConfig: &awsevents.CfnRule_DeadLetterConfigProperty{Arn: dead.QueueArn()},
		InputTransformer: &awsevents.CfnRule_InputTransformerProperty{
			InputPathsMap: map[string]string{
				"alarm": "$.detail.alarmName", "state": "$.detail.state.value", "says": "$.detail.configuration.description",
				"account": "$.account", "region": "$.region", "time": "$.time", "reason": "$.detail.state.reason",
			},
			InputTemplate: text("\"<state>: alarm <alarm> in account <account>, <region>, at <time>\"\n\"<says>\"\n\"<reason>\""),
		},
	})
	dead.AddToResourcePolicy(putByRules(dead, h.bus.EventBusName(), h.of("operations")))
	h.operations.AddToResourcePolicy(byRules("sns:Publish", h.operations.TopicArn(), h.stack, h.bus.EventBusName(), h.of("operations")))
	h.watched.outside = dead
}

// rotation takes rotations from the bus, and every minute does what is due.
func (h *hub) rotation() {
	environment := h.environment(deployment.Rotation, map[string]*string{
		"KEYTURN_MODE":    text(h.d.Mode),
		"KEYTURN_ARCHIVE": join("s3://", h.archive.BucketName(), "/"+deployment.ArchivePrefix),

		"KEYTURN_ALERTS_SUBSCRIBERS":     text(h.d.Subscriptions("alerts")),
		"KEYTURN_OPERATIONS_SUBSCRIBERS": text(h.d.Subscriptions("operations")),
	})
	h.eventFunction(eventProps{
		functionProps: functionProps{
			name: rotationEvent, description: "keyturn: opens follow-through for a rotated key",
			code: h.code(h.stack, deployment.Rotation), memoryMB: 128, environment: environment,
			permissions: []permission{h.readLedger(), h.writeLedger(ledger.OpeningItems)},
		},
		feed: feed{batch: 10, concurrency: 2, seconds: 60}, rules: pattern.Selected(rotation.Subscribes),
	})
	h.tickFunction(functionProps{
		name: rotationTick, description: "keyturn: follows rotations through, and finds those that no event reported",
		code: h.code(h.stack, deployment.Rotation), seconds: 55, memoryMB: 256, environment: environment,
		permissions: []permission{
			h.readLedger(), h.writeLedger(ledger.FollowingItems), h.due(), h.readAPIKey(), h.readKeys(),
			{actions: []string{"sns:Publish", "sns:ListSubscriptionsByTopic"}, resources: []*string{h.alerts.TopicArn(), h.operations.TopicArn()}},
			allowOn(h.archive.ArnForObjects(text(deployment.ArchivePrefix+"/*")), "s3:GetObject s3:PutObject").
				because("Evidence is named when it is written."),
		},
	})
}

// alertingFeed has few instances, because each has a share of the Cloud API's rate, and so each takes many events at a time. Lambda wants a
// window for more than 10; as short as it is, an event by itself waits for it.
var alertingFeed = feed{batch: alerting.Parallel, windowSeconds: 1, concurrency: 2, seconds: 15}

// alerting takes risky changes from the bus, and every minute reads again what open incidents are about.
func (h *hub) alerting() {
	own := map[string]*string{
		"KEYTURN_ORGANIZATION_ID": text(h.d.CockroachDB.OrganizationID),
		"KEYTURN_OWN_ROLES":       text(h.d.OwnRoles()),
		"KEYTURN_OWN_RESOURCES":   join(h.d.OwnResources()+",", h.table.TableName(), ""),
		"KEYTURN_HEARTBEAT_ROLE":  text(h.d.RoleARN("{account}", "heartbeat-{region}")),
	}
	// Alerting's messages are for the owners.
	publish := allowOn(h.alerts.TopicArn(), "sns:Publish")
	tick := []permission{
		allowOn(h.table.TableArn(), "dynamodb:BatchGetItem dynamodb:GetItem"), h.writeLedger(ledger.AlertingItems), h.due(), publish, h.readKeys(),
	}
	if h.d.Repair && len(h.repairAccounts()) > 0 {
		own["KEYTURN_REPAIR"] = text("true")
		own["KEYTURN_REPAIR_ROLE"] = text(h.repairer("{account}"))
		// It checks for revoked clusters first.
		tick = append(tick, allow("sts:AssumeRole", each(h.repairAccounts(), h.repairer)...), allowOn(h.table.TableArn(), "dynamodb:Query"))
	}
	environment := h.environment(deployment.Alerting, own)
	h.eventFunction(eventProps{
		functionProps: functionProps{
			name: alertingEvent, description: "keyturn: notifies at once when a key is at risk",
			code: h.code(h.stack, deployment.Alerting), memoryMB: 1024, environment: environment,
			permissions: []permission{h.readLedger(), h.writeLedger(ledger.AlertingItems), publish, h.readAPIKey(), h.readKeys()},
		},
		feed: alertingFeed, rules: pattern.Selected(alerting.Subscribes),
	})
	h.tickFunction(functionProps{
		name: alertingTick, description: "keyturn: checks open incidents, and notifies when they are resolved",
		code: h.code(h.stack, deployment.Alerting), seconds: 55, memoryMB: 128, environment: environment,
		permissions: tick,
	})
}

// compliance runs the checks once a day, in as many ticks as that takes.
func (h *hub) compliance() {
	declarations := h.object("Declarations", h.d.Compliance)
	expected := h.object("Detection", h.d.Detection())
	environment := h.environment(deployment.Compliance, map[string]*string{
		"KEYTURN_API_KEY_SECRET":          h.checkKey.Ref(),
		"KEYTURN_ROTATION_API_KEY_SECRET": h.apiKey.Ref(),
		"KEYTURN_ARCHIVE":                 join("s3://", h.archive.BucketName(), "/"+deployment.ArchivePrefix),
		"KEYTURN_DECLARATIONS":            declarations.S3ObjectUrl(),
		"KEYTURN_DETECTION":               expected.S3ObjectUrl(),
	})
	var reports []permission
	if h.d.Compliance.AuditCredential {
		// A service account of its own at Cockroach Labs: the audit log takes a role that may do much more.
		key := newSecret(h.stack, "AuditApiKey", h.of("audit-api-key"), "API key of a service account at CockroachDB Cloud that may read the organization's audit log (Org Admin)")
		environment["KEYTURN_AUDIT_API_KEY_SECRET"] = key.Ref()
		reports = append(reports, allowOn(key.Ref(), "secretsmanager:GetSecretValue"))
		awscdk.NewCfnOutput(h.stack, text("AuditApiKeySecretArn"), &awscdk.CfnOutputProps{
			Description: text("Store the API key that may read the organization's audit log here"), Value: key.Ref(),
		})
	}
	if h.d.SecurityHub {
		environment["KEYTURN_SECURITY_HUB"] = text("true")
		product := fmt.Sprintf(":securityhub:%s:%s:product/%s/default", h.d.Hub.Region, h.d.Hub.Account, h.d.Hub.Account)
		reports = append(reports, allowOn(join("arn:", h.stack.Partition(), product), amazon.SecurityHubActions))
	}
	in := func(folder string) string { return deployment.ArchivePrefix + "/" + folder + "*" }
	h.tickFunction(functionProps{
		name: compliance, description: "keyturn: runs the compliance checks once a day, and archives what they find",
		code: h.code(h.stack, deployment.Compliance), seconds: 840, memoryMB: 128, environment: environment, everyMinutes: 15,
		permissions: append([]permission{
			allowOn(h.table.TableArn(), "dynamodb:BatchGetItem dynamodb:GetItem"), h.writeLedger(ledger.ComplianceItems), h.due(), h.readKeys(),
			allowOn(h.checkKey.Ref(), "secretsmanager:GetSecretValue"),
			// Their age, and not what they are.
			{actions: []string{"secretsmanager:ListSecretVersionIds"}, resources: []*string{h.apiKey.Ref(), h.checkKey.Ref()}},
			{actions: []string{"sns:Publish"}, resources: []*string{h.alerts.TopicArn(), h.operations.TopicArn()}},
			{actions: []string{"s3:PutObject", "s3:GetObject"}, resources: []*string{h.archive.ArnForObjects(text(in(report.RunsFolder))), h.archive.ArnForObjects(text(in(ledger.ProofsFolder)))},
				why: "Runs and proofs are named when they begin."},
			// Rotation writes these. A proof names the record that it corroborates, with its hash.
			allowOn(h.archive.ArnForObjects(text(in(ledger.EvidenceFolder))), "s3:GetObject").because("Evidence is named when it is written."),
			allowOn(h.archive.BucketArn(), "s3:ListBucketVersions").when(map[string]any{"StringLike": map[string]any{"s3:prefix": in(ledger.EvidenceFolder)}}),
			// Without it S3 answers 403 for a file that does not exist, as for one that may not be read; a condition on the prefix, of which
			// reading a file has none, would take that away (docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
			allowOn(h.archive.BucketArn(), "s3:ListBucket"),
			{actions: []string{"s3:GetObject"}, resources: []*string{
				join("", declarations.Bucket().BucketArn(), "/"+*declarations.S3ObjectKey()), join("", expected.Bucket().BucketArn(), "/"+*expected.S3ObjectKey()),
			}},
			// What all that the spokes forward leads through. The spokes' own are read by the readers of their accounts.
			allow(detection.RuleActions, h.d.HubRules()).because("Which rules there are follows from what keyturn understands."),
			allow(detection.QueueActions, "arn:aws:sqs:"+h.d.Hub.Region+":"+h.d.Hub.Account+":"+h.of(alertingEvent)+"-dead",
				"arn:aws:sqs:"+h.d.Hub.Region+":"+h.d.Hub.Account+":"+h.of(rotationEvent)+"-dead"),
			// The trails of the hub's account, seen from every Region with keys. Those of other accounts stay unread: the reader role cannot read them.
			allow("cloudtrail:DescribeTrails", "*").because("cloudtrail:DescribeTrails has no resource to name."),
			allow("cloudtrail:GetEventSelectors cloudtrail:GetTrailStatus", "arn:aws:cloudtrail:*:*:trail/*").because("Trails are found by what is seen in the Region, and may be the organization's."),
		}, reports...),
	})
}

// object is what the checks need to know of the deployment, as an object of JSON whose name holds its hash: what keyturn.yaml declares, and what
// was made to detect changes by.
func (h *hub) object(id string, content any) awss3assets.Asset {
	data, err := json.Marshal(content)
	if err != nil {
		panic(err) // It is made of texts and numbers.
	}
	folder, err := os.MkdirTemp("", "keyturn-"+strings.ToLower(id)+"-")
	if err != nil {
		panic(err)
	}
	file := filepath.Join(folder, strings.ToLower(id)+".json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		panic(err)
	}
	asset := awss3assets.NewAsset(h.stack, text(id), &awss3assets.AssetProps{Path: text(file)})
	if err := os.RemoveAll(folder); err != nil { // the CDK has copied it
		panic(err)
	}
	return asset
}

// environment is what the functions have in common, and what the function has in addition.
func (h *hub) environment(function string, own map[string]*string) map[string]*string {
	all := map[string]*string{
		"KEYTURN_LEDGER":           join("dynamodb://", h.table.TableName(), ""),
		"KEYTURN_ALERTS_TOPIC":     h.alerts.TopicArn(),
		"KEYTURN_OPERATIONS_TOPIC": h.operations.TopicArn(),
		"KEYTURN_API_KEY_SECRET":   h.apiKey.Ref(),
		"KEYTURN_READER_ROLE":      text(h.reader("{account}")),
	}
	if h.d.CockroachDB.Server != "" {
		all["COCKROACH_SERVER"] = text(h.d.CockroachDB.Server)
	}
	maps.Copy(all, own)
	for name, value := range h.d.FunctionSettings(function) {
		all[name] = text(value)
	}
	return all
}

func (h *hub) readLedger() permission {
	return allowOn(h.table.TableArn(), "dynamodb:BatchGetItem dynamodb:GetItem dynamodb:Query")
}

// writeLedger lets a function write its own items. Its policy names no other action that writes: one that IAM sees no partition key of,
// such as PartiQL's, would pass the condition.
func (h *hub) writeLedger(items []ledger.Items) permission {
	return allowOn(h.table.TableArn(), "dynamodb:PutItem").when(amazon.LeadingKeys(items))
}

func (h *hub) due() permission {
	return allowOn(join("", h.table.TableArn(), "/index/"+amazon.DueIndex), "dynamodb:Query")
}

func (h *hub) readAPIKey() permission {
	return allowOn(h.apiKey.Ref(), "secretsmanager:GetSecretValue")
}

func (h *hub) readKeys() permission {
	return allow("sts:AssumeRole", each(h.readerAccounts(), h.reader)...)
}

// outputs are what an operator needs next.
func (h *hub) outputs() {
	out := func(id, description string, value *string) {
		awscdk.NewCfnOutput(h.stack, text(id), &awscdk.CfnOutputProps{Description: text(description), Value: value})
	}
	out("ApiKeySecretArn", "Store the API key of keyturn's service account here", h.apiKey.Ref())
	out("ComplianceApiKeySecretArn", "Store the API key of the compliance checks' own service account here", h.checkKey.Ref())
	out("LedgerURL", "KEYTURN_LEDGER for the command line", join("dynamodb://", h.table.TableName(), "?region="+h.d.Hub.Region))
	out("ArchiveURL", "Where evidence is", join("s3://", h.archive.BucketName(), "/"+deployment.ArchivePrefix))
	out("AlertsTopicArn", "Where alerts go first", h.alerts.TopicArn())
}

func join(before string, value *string, after string) *string {
	return awscdk.Fn_Join(text(""), &[]*string{text(before), value, text(after)})
}

// decode makes of a JSON text what CloudFormation takes as an object.
func decode(document string) any {
	var value any
	if err := json.Unmarshal([]byte(document), &value); err != nil {
		panic(err) // It was encoded by us.
	}
	return value
}
