package deployment_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/cmek"
)

func example(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../keyturn.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestTheExampleIsADeployment(t *testing.T) {
	d, err := deployment.Parse([]byte(example(t)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.WatchedRegions(d.Accounts[0]), []string{"eu-west-1", "us-east-1", "us-west-2"}; !slices.Equal(got, want) {
		t.Errorf("Regions watched in the first account are %v, want %v", got, want)
	}
	if got, want := d.WatchedRegions(d.Accounts[1]), []string{"us-east-1"}; !slices.Equal(got, want) {
		t.Errorf("Regions watched in the management account are %v, want %v", got, want)
	}
	if want := "arn:aws:iam::111122223333:role/orders-cmek"; !slices.Contains(d.Roles(), want) {
		t.Errorf("the clusters' roles are %v, want the one to be created, %s, too", d.Roles(), want)
	}
	if got := d.FunctionSettings(deployment.Alerting); len(got) != 0 {
		t.Errorf("alerting gets the settings %v, want none of rotation's", got)
	}
	if got := d.FunctionSettings(deployment.Rotation)["KEYTURN_SETTLE"]; got != "5m" {
		t.Errorf("rotation gets KEYTURN_SETTLE=%q, want 5m", got)
	}
}

func TestAnAlertsListThatAFunctionCannotHoldIsRefused(t *testing.T) {
	addresses := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("oncall-%03d@security.example.com", i))
		}
		return strings.Replace(example(t), "[platform-oncall@example.com]", "["+strings.Join(list, ", ")+"]", 1)
	}
	if _, err := deployment.Parse([]byte(addresses(25))); err != nil {
		t.Errorf("25 addresses: %v", err)
	}
	if _, err := deployment.Parse([]byte(addresses(60))); err == nil || !strings.Contains(err.Error(), `operations is "60 addresses": name fewer addresses`) {
		t.Errorf("60 addresses: %v", err)
	}
}

// Where a trail is only asserted, the heartbeat is what finds that there is none.
func TestAHeartbeatIsWhereItsOwnerWantsIt_andWhereverATrailIsAsserted(t *testing.T) {
	key := func(region string) cmek.KeyURI {
		return cmek.KeyURI("arn:aws:kms:" + region + ":111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11")
	}
	a := deployment.Account{ID: "111122223333", Keys: []cmek.KeyURI{key("eu-west-1"), key("sa-east-1")}, Trail: deployment.TrailChecked}
	for _, tc := range []struct {
		trail, heartbeat string
		want             []string
	}{
		{deployment.TrailChecked, "", nil}, {deployment.TrailChecked, "sa-east-1", []string{"sa-east-1"}},
		{deployment.TrailAsserted, "", []string{"eu-west-1", "sa-east-1", "us-east-1"}}, {deployment.TrailAsserted, "sa-east-1", []string{"eu-west-1", "sa-east-1", "us-east-1"}},
	} {
		a.Trail, a.Heartbeat = tc.trail, tc.heartbeat
		if got := (deployment.Deployment{}).Heartbeats(a); !slices.Equal(got, tc.want) {
			t.Errorf("trail %s, heartbeat %q: there are heartbeats in %v, want %v", tc.trail, tc.heartbeat, got, tc.want)
		}
	}
}

func TestALeanFileGetsDefaults(t *testing.T) {
	d, err := deployment.Parse([]byte(`
hub: {account: "111122223333", region: eu-west-1}
cockroachdb: {organization_id: 5f3c1f0e-58c2-4d2a-9a3e-0c1b9a7d2e41}
accounts:
  - id: "111122223333"
    keys: ["arn:aws:kms:us-west-2:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11"]
alerts: {email: [a@example.com]}
operations: {sms: ["+15550100123"]}
`))
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "keyturn" || d.Mode != "observe" || d.LogDays != 90 || *d.Archive.RetentionDays != 400 ||
		d.Archive.Lock != deployment.LockGovernance || d.Accounts[0].Trail != deployment.TrailChecked {
		t.Errorf("defaults are not filled in: %+v", d)
	}
	if got, want := d.WatchedRegions(d.Accounts[0]), []string{"eu-west-1", "us-east-1", "us-west-2"}; !slices.Equal(got, want) {
		t.Errorf("watched Regions are %v, want the key's, the hub's and the global one: %v", got, want)
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	_, err := deployment.Parse([]byte(`
name: Keyturn
hub: {account: "1", region: cn-north-1}
cockroachdb: {organization_id: mine, server: "http://x"}
mode: act
accounts:
  - id: "111122223333"
    keys:
      - arn:aws:kms:us-east-1:111122223333:alias/a
      - arn:aws:kms:us-east-1:444455556666:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11
    roles: [payments-cmek, "arn:aws:iam::444455556666:role/x"]
    trail: maybe
  - id: "111122223333"
  - id: "222233334444"
  - id: "333344445555"
    keys: ["arn:aws:kms:moon-1:333344445555:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11"]
    roles: ["arn:aws:iam::333344445555:role/x", "arn:aws:iam::333344445555:role/x"]
    heartbeat: eu-west-1
alerts: {email: ["Somebody <a@example.com>", a@example.com, a@example.com]}
channels:
  - kind: slack
    url: https://hooks.slack.com/services/secret
  - kind: slack
  - kind: webhook
  - kind: pager
  - name: slack-dead
    kind: slack
tags: {"aws:team": x, owner: "a;b"}
archive: {lock: soft, retention_days: 0}
log_days: 42
settings: {KEYTURN_MODE: follow, KEYTURN_SETLE: 1m, KEYTURN_SETTLE: soon, KEYTURN_IN_FLIGHT: "0", KEYTURN_LOG_LEVEL: WARN}
cmek_keys:
  - name: orders
    account: "999900001111"
    rotation_days: 30
    primary_key: arn:aws:kms:us-east-1:999900001111:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11
`))
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, want := range []string{
		`name is "Keyturn"`, `hub.account is "1"`, `hub.region is "cn-north-1"`, `cockroachdb.organization_id is "mine"`,
		`cockroachdb.server is "http://x"`, `mode is "act": write observe or follow`,
		`accounts[0].keys[0] is "arn:aws:kms:us-east-1:111122223333:alias/a": write a key's ARN, not an alias`,
		`accounts[0].keys[1] is "arn:aws:kms:us-east-1:444455556666:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11": list the key under its own account`,
		`accounts[0].roles[0] is "payments-cmek": write a role's ARN`, `list the role under its own account`,
		`accounts[0].trail is "maybe"`, `accounts[1].id is "111122223333": list each account once`,
		`alerts.email[0] is "Somebody <a@example.com>"`, `operations is missing: name at least one`,
		`channels[0].url is "…": leave it out`, `channels[1].name is "slack": give each channel`, `channels[2].url is missing`,
		`channels[3].kind is "pager": write slack or pagerduty or webhook`, `archive.lock is "soft"`, `archive.retention_days is "0"`,
		`log_days is "42"`, `settings is "KEYTURN_MODE": leave it out`, `settings is "KEYTURN_SETLE": write one of`,
		`settings: KEYTURN_SETTLE`, `settings: KEYTURN_IN_FLIGHT`, `settings.KEYTURN_LOG_LEVEL is "WARN": write DEBUG or INFO`, `cmek_keys[0].account is "999900001111": list it under accounts`,
		`accounts[2] is "222233334444": list its keys or roles, or leave the account out`,
		`accounts[3].keys[0] is "arn:aws:kms:moon-1:`, `accounts[3].roles[1] is "arn:aws:iam::333344445555:role/x": list each role once`,
		`accounts[3].heartbeat is "eu-west-1": write one of the Regions that are watched`, `alerts.email[2] is "a@example.com": list each address once`,
		`channels[4].name is "slack-dead": write a name that does not end in -dead`, `tags is "aws:team"`, `tags.owner is "a;b"`,
		`cmek_keys[0].primary_key is "arn:aws:kms:us-east-1:999900001111:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11": write the ARN of the multi-Region key`,
		`cmek_keys[0].regions is missing`, `cmek_keys[0].rotation_days is "30"`, `cmek_keys[0].cluster_account is missing`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %s", want)
		}
	}
	if strings.Contains(err.Error(), "hooks.slack.com") {
		t.Error("the error quotes Slack's URL, which is a secret")
	}
	if t.Failed() {
		t.Logf("the error is:\n%v", err)
	}
}

func TestMoreRulesThanABusTakesAreRefused(t *testing.T) {
	var roles strings.Builder
	for account := range 30 {
		fmt.Fprintf(&roles, "\n  - id: \"%012d\"\n    roles:", 500000000000+account)
		for i := range 300 {
			fmt.Fprintf(&roles, "\n      - arn:aws:iam::%012d:role/cluster-%04d-cmek", 500000000000+account, i)
		}
	}
	_, err := deployment.Parse([]byte(strings.Replace(example(t), "\n  - id: \"444455556666\"", roles.String()+"\n  - id: \"444455556666\"", 1)))
	if err == nil || !strings.Contains(err.Error(), "event rules would be needed, and EventBridge takes 300 on a bus") {
		t.Errorf("the error is %v, want one about the number of rules", err)
	}
}

func TestTheHubsOwnAccountIsWatchedThoughItIsNotListed(t *testing.T) {
	d, err := deployment.Parse([]byte(strings.Replace(example(t), `account: "111122223333"`, `account: "999900001111"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	hub := d.Accounts[len(d.Accounts)-1]
	if got, want := d.WatchedRegions(hub), []string{"us-east-1"}; hub.ID != "999900001111" || !slices.Equal(got, want) {
		t.Errorf("in account %s these Regions are watched: %v; want %v of the hub's account", hub.ID, got, want)
	}
}
