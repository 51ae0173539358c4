package stack

import (
	"slices"
	"strings"

	"github.com/keyturn/keyturn/infra/aws/deployment"
)

// names are those by which parts of a deployment find each other across accounts and Regions, or by which people find them.
// What is kept when the deployment is removed (table, bucket) has a name of CloudFormation's making, so that it is in nobody's way.
type names struct{ d deployment.Deployment }

func (n names) of(part string) string { return n.d.Name + "-" + part }

func (n names) hub() string { return n.of("hub") }

func (n names) bus() string { return n.d.Name }

func (n names) busARN() string {
	return "arn:aws:events:" + n.d.Hub.Region + ":" + n.d.Hub.Account + ":event-bus/" + n.bus()
}

func roleARN(account, name string) string { return "arn:aws:iam::" + account + ":role/" + name }

// Roles in the hub's account.
const (
	rotationEvent = "rotation-event"
	rotationTick  = "rotation-tick"
	alertingEvent = "alerting-event"
	alertingTick  = "alerting-tick"
)

func notifyName(c deployment.Channel) string { return "notify-" + c.Name }

// readers are the roles in the hub's account that may become readers of keys and policies.
func (n names) readers() []string {
	var arns []string
	for _, name := range []string{rotationTick, alertingEvent, alertingTick} {
		arns = append(arns, roleARN(n.d.Hub.Account, n.of(name)))
	}
	return arns
}

func (n names) reader(account string) string   { return roleARN(account, n.of("reader")) }
func (n names) repairer(account string) string { return roleARN(account, n.of("repair")) }

// ownRoles are the names of all roles of ours that read keys or policies, or act on keys.
func (n names) ownRoles() string {
	roles := []string{"reader", "repair", "heartbeat", rotationEvent, rotationTick, alertingEvent, alertingTick}
	for i, role := range roles {
		roles[i] = n.of(role)
	}
	return strings.Join(roles, ",")
}

// repairAccounts are the accounts in which deletions can be undone.
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
		if len(a.Keys) > 0 || len(n.d.AccountRoles(a)) > 0 {
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
