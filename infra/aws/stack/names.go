package stack

import (
	"slices"

	"github.com/keyturn/keyturn/infra/aws/deployment"
)

// names are those by which parts of a deployment find each other across accounts and Regions, or by which people find them.
// What is kept when the deployment is removed (table, bucket) has a name of CloudFormation's making, so that it is in nobody's way.
type names struct{ d deployment.Deployment }

func (n names) of(part string) string { return n.d.Of(part) }

func (n names) hub() string { return n.of("hub") }

func (n names) bus() string { return n.d.Name }

func (n names) busARN() string {
	return "arn:aws:events:" + n.d.Hub.Region + ":" + n.d.Hub.Account + ":event-bus/" + n.bus()
}

// Functions of the hub.
const (
	rotationEvent = deployment.RotationEvent
	rotationTick  = deployment.RotationTick
	alertingEvent = deployment.AlertingEvent
	alertingTick  = deployment.AlertingTick
	compliance    = deployment.ComplianceTick
)

func notifyName(c deployment.Channel) string { return deployment.NotifyFunction(c) }

func (n names) reader(account string) string   { return n.d.RoleARN(account, "reader") }
func (n names) repairer(account string) string { return n.d.RoleARN(account, "repair") }

// repairAccounts are the accounts in which deletions can be canceled.
func (n names) repairAccounts() (accounts []string) {
	for _, a := range n.d.Accounts {
		if len(a.Keys) > 0 {
			accounts = append(accounts, a.ID)
		}
	}
	return accounts
}

// readerAccounts are the accounts in which something is read.
func (n names) readerAccounts() (accounts []string) {
	for _, a := range n.d.Accounts {
		if len(a.Keys)+len(a.Aliases) > 0 || len(n.d.AccountRoles(a)) > 0 {
			accounts = append(accounts, a.ID)
		}
	}
	return accounts
}

// each applies name to the accounts.
func each(accounts []string, name func(account string) string) []string {
	arns := slices.Clone(accounts)
	for i, account := range accounts {
		arns[i] = name(account)
	}
	return arns
}
