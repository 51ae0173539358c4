package stack

import (
	"encoding/json"
	"maps"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/infra/aws/pattern"
	"github.com/keyturn/keyturn/internal/amazon"
)

// hub is the stack that holds the functions, in one account and Region.
type hub struct {
	names
	stack awscdk.Stack
	code  Code

	bus        awsevents.EventBus
	table      awsdynamodb.Table
	archive    awss3.Bucket
	apiKey     awssecretsmanager.CfnSecret
	alerts     awssns.Topic
	operations awssns.Topic
	watched    watched
}

// archivePrefix is where in the bucket evidence and policies are.
const archivePrefix = "archive"

func newHub(app constructs.Construct, d deployment.Deployment, code Code) awscdk.Stack {
	n := names{d}
	h := &hub{names: n, code: code}
	h.stack = awscdk.NewStack(app, text(n.hub()), props(d.Hub, n.hub(), "keyturn: the functions, their ledger and archive, topics and alarms"))

	h.bus = h.newBus()
	h.table = newLedger(h.stack)
	h.archive = newArchive(h.stack, d.Archive)
	h.apiKey = newSecret(h.stack, "ApiKey", n.of("api-key"), "API key of keyturn's service account at CockroachDB Cloud (Cluster Operator)")
	h.alerts = newTopic(h.stack, "Alerts", n.of("alerts"), d.Alerts, false)
	h.operations = newTopic(h.stack, "Operations", n.of("operations"), d.Operations, true)

	h.rotation()
	h.alerting()
	for _, channel := range d.Channels {
		h.channel(channel)
	}
	h.alarms()
	h.dashboard()
	h.outputs()
	return h.stack
}

// newBus makes the bus for forwarded events, which takes them from the watched accounts only. An event is a hint: forged by one of
// them, it makes keyturn look.
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
		},
	})
	return bus
}

// rotation takes rotations from the bus, and every minute does what is due.
func (h *hub) rotation() {
	environment := h.environment(deployment.Rotation, map[string]*string{
		"KEYTURN_MODE":    text(h.d.Mode),
		"KEYTURN_ARCHIVE": join("s3://", h.archive.BucketName(), "/"+archivePrefix),
	})
	h.eventFunction(eventProps{
		functionProps: functionProps{
			name: rotationEvent, description: "keyturn: opens follow-through for a rotated key",
			code: h.code(h.stack, deployment.Rotation), seconds: 60, memoryMB: 128, environment: environment,
			permissions: []permission{h.ledger()},
		},
		visibilitySeconds: 360, batch: 10, concurrency: 2, rules: pattern.Selected(rotation.Subscribes),
	})
	h.tickFunction(functionProps{
		name: rotationTick, description: "keyturn: follows rotations through, and looks for those that no event told of",
		code: h.code(h.stack, deployment.Rotation), seconds: 55, memoryMB: 256, environment: environment,
		permissions: []permission{
			h.ledger(), h.due(), h.readAPIKey(), h.readKeys(),
			{actions: []string{"sns:Publish"}, resources: []*string{h.alerts.TopicArn(), h.operations.TopicArn()}},
			allowOn(h.archive.ArnForObjects(text(archivePrefix+"/*")), "s3:GetObject s3:PutObject").
				because("Evidence is named when it is written."),
		},
	})
}

// alerting takes risky changes from the bus, and every minute looks again at open incidents.
func (h *hub) alerting() {
	own := map[string]*string{
		"KEYTURN_ORGANIZATION_ID": text(h.d.CockroachDB.OrganizationID),
		"KEYTURN_OWN_ROLES":       text(h.ownRoles()),
		"KEYTURN_OWN_RULES":       text(h.of("")),
		"KEYTURN_HEARTBEAT_ROLE":  text(h.of("heartbeat")),
	}
	// What alerting says is for the owners.
	tell := allowOn(h.alerts.TopicArn(), "sns:Publish")
	tick := []permission{
		allowOn(h.table.TableArn(), "dynamodb:BatchGetItem dynamodb:GetItem dynamodb:PutItem"), h.due(), tell, h.readKeys(),
	}
	if h.d.Repair && len(h.repairAccounts()) > 0 {
		own["KEYTURN_REPAIR"] = text("true")
		own["KEYTURN_REPAIR_ROLE"] = text(h.repairer("{account}"))
		// It looks for revoked clusters first.
		tick = append(tick, allow("sts:AssumeRole", each(h.repairAccounts(), h.repairer)...), allowOn(h.table.TableArn(), "dynamodb:Query"))
	}
	environment := h.environment(deployment.Alerting, own)
	h.eventFunction(eventProps{
		functionProps: functionProps{
			name: alertingEvent, description: "keyturn: tells at once when somebody endangers a key",
			code: h.code(h.stack, deployment.Alerting), seconds: 15, memoryMB: 256, environment: environment,
			permissions: []permission{h.ledger(), tell, h.readAPIKey(), h.readKeys()},
		},
		visibilitySeconds: 90, batch: 1, concurrency: 10, rules: pattern.Selected(alerting.Subscribes),
	})
	h.tickFunction(functionProps{
		name: alertingTick, description: "keyturn: looks again at open incidents, and tells when they are over",
		code: h.code(h.stack, deployment.Alerting), seconds: 55, memoryMB: 128, environment: environment,
		permissions: tick,
	})
}

// environment is what the functions have in common, and what the function has besides.
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

func (h *hub) ledger() permission {
	return allowOn(h.table.TableArn(), "dynamodb:BatchGetItem dynamodb:GetItem dynamodb:PutItem dynamodb:Query")
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

// outputs are what an operator needs to go on.
func (h *hub) outputs() {
	out := func(id, description string, value *string) {
		awscdk.NewCfnOutput(h.stack, text(id), &awscdk.CfnOutputProps{Description: text(description), Value: value})
	}
	out("ApiKeySecretArn", "Store the API key of keyturn's service account here", h.apiKey.Ref())
	out("LedgerURL", "KEYTURN_LEDGER for the command line", join("dynamodb://", h.table.TableName(), "?region="+h.d.Hub.Region))
	out("ArchiveURL", "Where evidence is", join("s3://", h.archive.BucketName(), "/"+archivePrefix))
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
