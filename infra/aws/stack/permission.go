package stack

import (
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"
)

// permission is what a role may do.
type permission struct {
	actions   []string
	resources []*string
	// Where the resources hold a wildcard, why they cannot be named one by one.
	why string
	// condition narrows the permission further.
	condition map[string]any
}

func allow(actions string, resources ...string) permission {
	return permission{actions: strings.Fields(actions), resources: *texts(resources...)}
}

func allowOn(resource *string, actions string) permission {
	return permission{actions: strings.Fields(actions), resources: []*string{resource}}
}

func (p permission) because(why string) permission {
	p.why = why
	return p
}

// WhyWildcards is the metadata of a role that says, by a statement's first action, why its resources hold a wildcard.
const WhyWildcards = "WhyWildcards"

// newRole makes a role that may do just this. Nothing is added to it behind our back: what the CDK would grant along with other
// constructs is ignored.
func newRole(scope constructs.Construct, id, name, description string, trusted awsiam.IPrincipal, permissions ...permission) awsiam.IRole {
	policies := map[string]awsiam.PolicyDocument{}
	why := map[string]string{} // by the first action of a statement
	if len(permissions) > 0 {
		document := awsiam.NewPolicyDocument(nil)
		for _, p := range permissions {
			resources := p.resources
			var conditions *map[string]any
			if len(p.condition) > 0 {
				conditions = &p.condition
			}
			document.AddStatements(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
				Actions: texts(p.actions...), Resources: &resources, Conditions: conditions,
			}))
			if p.why != "" {
				why[p.actions[0]] = p.why
			}
		}
		policies["permissions"] = document
	}
	role := awsiam.NewRole(scope, text(id), &awsiam.RoleProps{
		RoleName: text(name), Description: text(description), AssumedBy: trusted, InlinePolicies: &policies,
	})
	if len(why) > 0 {
		reasons := slices.Sorted(maps.Values(why))
		accept(role, "AwsSolutions-IAM5", strings.Join(reasons, " "))
		role.Node().DefaultChild().(awsiam.CfnRole).AddMetadata(text(WhyWildcards), why)
	}
	return awsiam.Role_FromRoleArn(scope, text(id+"Fixed"), role.RoleArn(), &awsiam.FromRoleArnOptions{Mutable: jsii.Bool(false)})
}

func service(name string, conditions map[string]any) awsiam.IPrincipal {
	return awsiam.NewServicePrincipal(text(name), &awsiam.ServicePrincipalOpts{Conditions: &conditions})
}

// sessionsOf trusts the roles of another account, which need not exist yet.
func sessionsOf(account string, roles []string) awsiam.IPrincipal {
	return awsiam.NewPrincipalWithConditions(awsiam.NewAccountPrincipal(account),
		&map[string]any{"ArnEquals": map[string]any{"aws:PrincipalArn": roles}})
}

// accept explains why a finding of cdk-nag is as it should be.
func accept(construct constructs.IConstruct, rule, reason string) {
	cdknag.NagSuppressions_AddResourceSuppressions(construct, &[]*cdknag.NagPackSuppression{{Id: text(rule), Reason: text(reason)}}, yes())
}
