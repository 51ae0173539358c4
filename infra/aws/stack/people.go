package stack

import (
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsssm"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// publish lets commands find the deployment by its name, and says what the people may do who run them.
func (h *hub) publish() {
	name := deployment.ParameterName(h.d.Name)
	parameter := awsssm.NewCfnParameter(h.stack, text("Deployment"), &awsssm.CfnParameterProps{
		Name: text(name), Type: text("String"), Tier: text("Standard"), Description: text("What keyturn's command line needs to know of this deployment; no secrets"),
		Value: text(h.d.Publish(deployment.Resources{
			Table: *h.table.TableName(), Bucket: *h.archive.BucketName(), AlertsTopic: *h.alerts.TopicArn(), OperationsTopic: *h.operations.TopicArn(), APIKeySecret: *h.apiKey.Ref(),
		}).JSON()),
	})
	parameterARN := awscdk.Stack_Of(h.stack).FormatArn(&awscdk.ArnComponents{Service: text("ssm"), Resource: text("parameter"), ResourceName: text(name[1:])})
	on := map[deployment.Target][]*string{
		deployment.OnParameter: {parameterARN},
		deployment.OnLedger:    {h.table.TableArn()},
		deployment.OnDueIndex:  {join("", h.table.TableArn(), "/index/"+amazon.DueIndex)},
		deployment.OnReaders:   *texts(h.nameable(each(h.readerAccounts(), h.reader))...),
		deployment.OnTopics:    {h.alerts.TopicArn(), h.operations.TopicArn()},
		deployment.OnArchive:   {h.archive.ArnForObjects(text(deployment.ArchivePrefix + "/*"))},
		deployment.OnRuns:      {h.archive.ArnForObjects(text(deployment.ArchivePrefix + "/" + report.RunsFolder + "*"))},

		deployment.OnArchiveList: {h.archive.BucketArn()},
		deployment.OnRunList:     {h.archive.BucketArn()},
	}
	viewer := h.policy("Viewer", deployment.ViewerPolicy, "Look at keyturn: status, alerts, plan", deployment.ViewerGrants(), on)
	operator := h.policy("Operator", deployment.OperatorPolicy, "Operate keyturn: everything that its command line does", deployment.OperatorGrants(), on)

	auditor := h.policy("Auditor", deployment.AuditorPolicy, "Read keyturn's archived compliance runs, and nothing else", deployment.AuditorGrants(), on)

	out := func(id, description string, value *string) {
		awscdk.NewCfnOutput(h.stack, text(id), &awscdk.CfnOutputProps{Description: text(description), Value: value})
	}
	out("DeploymentParameter", "What keyturn --deployment "+h.d.Name+" reads", parameter.Ref())
	out("ViewerPolicyArn", "Attach this to those who look at keyturn", viewer.ManagedPolicyArn())
	out("OperatorPolicyArn", "Attach this to those who operate keyturn", operator.ManagedPolicyArn())
	out("AuditorPolicyArn", "Attach this to those who audit: it reads the archived compliance runs, and nothing else", auditor.ManagedPolicyArn())
	out("Version", "What the deployment was made from", text(h.d.MadeFrom()))
}

// mostReaders is how many reader roles a policy can name: 6,144 characters in all
// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
const mostReaders = 60

// nameable are the roles, or a pattern for them if there are too many to be named.
func (h *hub) nameable(readers []string) []string {
	if len(readers) > mostReaders {
		return []string{h.reader("*")}
	}
	return readers
}

// listable are the names that may be listed in a bucket, by the targets.
var listable = map[deployment.Target]string{
	deployment.OnArchiveList: deployment.ArchivePrefix + "/",
	deployment.OnRunList:     deployment.ArchivePrefix + "/" + report.RunsFolder,
}

// policy makes a managed policy for people. Actions on the same target become one statement, but for those that write the ledger.
func (h *hub) policy(id, name, description string, grants []deployment.Grant, on map[deployment.Target][]*string) awsiam.ManagedPolicy {
	var permissions []permission
	for _, g := range grants {
		if g.Action == "dynamodb:PutItem" {
			permissions = append(permissions, permission{actions: []string{g.Action}, resources: on[g.On]}.when(amazon.LeadingKeys(ledger.OperatorItems)))
			continue
		}
		if prefix, listed := listable[g.On]; listed {
			permissions = append(permissions, permission{actions: []string{g.Action}, resources: on[g.On]}.
				when(map[string]any{"StringLike": map[string]any{"s3:prefix": prefix + "*"}}))
			continue
		}
		same := slices.IndexFunc(permissions, func(p permission) bool {
			return p.condition == nil && len(on[g.On]) > 0 && len(p.resources) > 0 && p.resources[0] == on[g.On][0]
		})
		switch {
		case same >= 0:
			permissions[same].actions = append(permissions[same].actions, g.Action)
		case len(on[g.On]) > 0:
			permissions = append(permissions, permission{actions: []string{g.Action}, resources: on[g.On]})
		}
	}
	policy := awsiam.NewManagedPolicy(h.stack, text(id+"Policy"), &awsiam.ManagedPolicyProps{
		ManagedPolicyName: text(h.of(name)), Description: text(description), Document: documentOf(permissions),
	})
	accept(policy, "AwsSolutions-IAM5", "Evidence is named when it is written; beyond 60 accounts the reader roles are named by their common name.")
	return policy
}
