package stack

import (
	"fmt"
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
	// condition limits it further; nil for none.
	condition map[string]any
	// Where the resources hold a wildcard, why they cannot be named one by one.
	why string
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

func (p permission) when(condition map[string]any) permission {
	p.condition = condition
	return p
}

// WhyWildcards is the metadata of a role that says, by a statement's first action, why its resources hold a wildcard.
const WhyWildcards = "WhyWildcards"

// newRole makes a role that may do just this. Nothing is added to it implicitly: what the CDK would grant along with other
// constructs is ignored.
func newRole(scope constructs.Construct, id, name, description string, trusted awsiam.IPrincipal, permissions ...permission) awsiam.IRole {
	inline, managed := pack(permissions)
	policies := map[string]awsiam.PolicyDocument{}
	if len(inline) > 0 {
		policies["permissions"] = documentOf(inline)
	}
	role := awsiam.NewRole(scope, text(id), &awsiam.RoleProps{
		RoleName: text(name), Description: text(description), AssumedBy: trusted, InlinePolicies: &policies,
	})
	for i, chunk := range managed {
		role.AddManagedPolicy(awsiam.NewManagedPolicy(scope, text(fmt.Sprintf("%sMore%d", id, i+1)), &awsiam.ManagedPolicyProps{
			ManagedPolicyName: text(fmt.Sprintf("%s-more-%d", name, i+1)), Document: documentOf(chunk),
			Description: text("What does not fit into the role itself"),
		}))
	}
	why := map[string]string{} // by the first action of a statement
	for _, p := range permissions {
		if p.why != "" {
			why[p.actions[0]] = p.why
		}
	}
	if len(why) > 0 {
		accept(role, "AwsSolutions-IAM5", strings.Join(slices.Sorted(maps.Values(why)), " "))
		role.Node().DefaultChild().(awsiam.CfnRole).AddMetadata(text(WhyWildcards), why)
	}
	return awsiam.Role_FromRoleArn(scope, text(id+"Fixed"), role.RoleArn(), &awsiam.FromRoleArnOptions{Mutable: jsii.Bool(false)})
}

// The most characters of a role's inline policies together and of a managed policy, with room for what is around the statements
// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 10,240 and 6,144).
const (
	inlineRoom  = 9000
	managedRoom = 5500
)

// pack puts permissions into the role itself as far as they fit, and the rest into managed policies.
func pack(permissions []permission) (inline []permission, managed [][]permission) {
	room, inRole := inlineRoom, true
	for _, p := range permissions {
		for _, piece := range p.pieces(managedRoom / 3) {
			size := piece.size()
			switch {
			case inRole && size <= room:
				inline, room = append(inline, piece), room-size
				continue
			case inRole || size > room:
				managed, room, inRole = append(managed, nil), managedRoom, false
			}
			last := len(managed) - 1
			managed[last], room = append(managed[last], piece), room-size
		}
	}
	return inline, managed
}

// size is about how many characters the permission takes. A resource that is known only when it is deployed counts for an ARN.
func (p permission) size() int {
	const around, unknown = 120, 150
	n := around + len(strings.Join(p.actions, `","`)) + len(p.why)
	for operator, operands := range p.condition {
		n += len(operator) + len(fmt.Sprint(operands)) + around
	}
	for _, r := range p.resources {
		if len(*r) > 0 && !strings.Contains(*r, "${Token") {
			n += len(*r) + len(`"",`)
		} else {
			n += unknown
		}
	}
	return n
}

// pieces divides the permission by its resources so that each piece has at most about so many characters.
func (p permission) pieces(most int) (pieces []permission) {
	piece := p
	piece.resources = nil
	for _, r := range p.resources {
		longer := piece
		longer.resources = append(slices.Clone(piece.resources), r)
		if len(piece.resources) > 0 && longer.size() > most {
			pieces = append(pieces, piece)
			longer.resources = []*string{r}
		}
		piece = longer
	}
	return append(pieces, piece)
}

func documentOf(permissions []permission) awsiam.PolicyDocument {
	// Statements stay as they were packed.
	document := awsiam.NewPolicyDocument(&awsiam.PolicyDocumentProps{Minimize: jsii.Bool(false)})
	for _, p := range permissions {
		statement := awsiam.PolicyStatementProps{Actions: texts(p.actions...), Resources: &p.resources}
		if p.condition != nil {
			statement.Conditions = &p.condition
		}
		document.AddStatements(awsiam.NewPolicyStatement(&statement))
	}
	return document
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
