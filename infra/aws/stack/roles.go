package stack

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/detection"
)

// newRoles makes the roles of an account: the one that reads the clusters' keys and roles, some of which can be read from within
// the account only; if wanted, the one that cancels scheduled deletions; and those of clusters for which keys are made.
func newRoles(app constructs.Construct, d deployment.Deployment, a deployment.Account) awscdk.Stack {
	n := names{d}
	if !slices.Contains(n.readerAccounts(), a.ID) {
		return nil
	}
	name := n.of("roles-" + a.ID)
	stack := awscdk.NewStack(app, text(name), props(deployment.Place{Account: a.ID, Region: deployment.GlobalRegion}, name,
		"keyturn: the roles that read the keys and roles of clusters in this account"))
	var keys []string
	for _, key := range a.Keys {
		keys = append(keys, string(key))
	}
	roles := d.AccountRoles(a)
	var reads []permission
	if len(keys) > 0 {
		reads = append(reads, allow(strings.Join(amazon.KeyReads(), " "), keys...),
			allow(amazon.UseLogActions, "*").because("cloudtrail:LookupEvents has no resource to name."))
	}
	if rules := d.SpokeRules(a); len(rules) > 0 {
		reads = append(reads, allow(detection.RuleActions, rules...).because("Which rules there are follows from what keyturn understands."),
			allow(detection.QueueActions, d.SpokeDeadLetters(a)...))
	}
	reads = append(reads, readsByAlias(a)...)
	if len(roles) > 0 {
		reads = append(reads,
			allow("iam:GetRole iam:GetRolePolicy iam:ListAttachedRolePolicies iam:ListRolePolicies", roles...),
			allow("iam:GetPolicy iam:GetPolicyVersion", "arn:aws:iam::"+a.ID+":policy/*", "arn:aws:iam::aws:policy/*").
				because("Which policies will be attached to the clusters' roles is what is to be found out."))
	}
	newRole(stack, "Reader", n.of("reader"), "keyturn reads the keys and roles of clusters", sessionsOf(d.Hub.Account, d.Assuming()), reads...)
	statement, err := json.Marshal(amazon.ReaderStatement(a.ID, n.reader(a.ID)))
	if err != nil {
		panic(err) // It is made of strings.
	}
	awscdk.NewCfnOutput(stack, text("KeyPolicyStatement"), &awscdk.CfnOutputProps{
		Description: text("Add this to the policy of a key that does not grant access to IAM"), Value: text(string(statement)),
	})
	if d.Repair && len(keys) > 0 {
		newRole(stack, "Repair", n.of("repair"), "keyturn cancels scheduled deletions of keys that clusters need",
			sessionsOf(d.Hub.Account, []string{d.RoleARN(d.Hub.Account, alertingTick)}),
			allow("kms:CancelKeyDeletion kms:EnableKey", keys...))
	}
	for _, k := range d.CMEKKeys {
		if k.Account == a.ID {
			newClusterRole(stack, d, k)
		}
	}
	return stack
}

// readsByAlias lets the keys be read that have an alias to which regions are pinned: which they will be is what is to be found out. IAM judges a call
// that names an alias by the key (docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html).
func readsByAlias(a deployment.Account) (reads []permission) {
	names := map[string][]string{}
	for _, alias := range a.Aliases {
		names[alias.Location()] = append(names[alias.Location()], alias.ID())
	}
	for _, region := range slices.Sorted(maps.Keys(names)) {
		reads = append(reads, allow(strings.Join(amazon.KeyReads(), " "), "arn:aws:kms:"+region+":"+a.ID+":key/*").
			when(map[string]any{"ForAnyValue:StringEquals": map[string]any{"kms:ResourceAliases": names[region]}}).
			because("Which key a pinned alias names is what is to be found out."))
	}
	return reads
}
