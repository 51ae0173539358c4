package rotation

import (
	"errors"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// checking is an order with what was read about it. As it is, nothing keeps it from being carried out.
type checking struct {
	o       ledger.Order
	cluster cmek.Cluster
	info    cmek.ClusterInfo
	m       Move
	holds   cmek.Holds
}

func TestPreflight_everyRow(t *testing.T) {
	const googleKey = cmek.KeyURI("projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/new")
	onGoogle := func(c *checking) {
		c.cluster.CloudProvider = "GCP"
		c.o.Region = "us-east1"
		c.o.From = cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/old", AuthPrincipal: "cmek@acme.iam.gserviceaccount.com"}
		c.o.To = c.o.From
		c.o.To.URI = googleKey
		c.info.RegionInfos = []cmek.RegionInfo{{Region: "us-east1", Status: cmek.Enabled, KeyInfos: []cmek.KeyInfo{{Spec: c.o.From, Status: cmek.Enabled}}}}
	}
	toURI := func(uri cmek.KeyURI) func(*checking) { return func(c *checking) { c.o.To.URI = uri } }
	for _, r := range []struct {
		name   string
		change func(*checking)
		row    string // "" if nothing is wrong
		says   string
		unread bool
	}{
		{name: "all is well", change: func(*checking) {}},
		{name: "on Google Cloud", change: onGoogle},

		{name: "LOCKED", change: func(c *checking) { c.cluster.State = cmek.StateLocked }, row: "cluster", says: "LOCKED"},
		{name: "an operation runs", change: func(c *checking) { c.cluster.OperationStatus = "CRDB_SCALE_RUNNING" }, row: "cluster", says: "CRDB_SCALE_RUNNING"},
		{name: "an operation failed", change: func(c *checking) { c.cluster.OperationStatus = "CRDB_SCALE_FAILED" }},
		{name: "a Standard cluster", change: func(c *checking) { c.cluster.Plan = "STANDARD" }, row: "cluster", says: "STANDARD"},
		{name: "keyturn=off", change: func(c *checking) { c.cluster.Labels = map[string]string{"keyturn": "off"} }, row: "cluster", says: "keyturn=off"},
		{name: "keyturn=canary", change: func(c *checking) { c.cluster.Labels = map[string]string{"keyturn": "canary"} }},
		{name: "no such region", change: func(c *checking) { c.o.Region = west }, row: "current", says: "it has us-east-1"},
		{name: "revoked", change: func(c *checking) { c.info.RegionInfos[0].Status = cmek.Revoked }, row: "current", says: "leaves it alone"},
		{name: "rotating", change: func(c *checking) { c.info.RegionInfos[0].Status = cmek.Rotating }, row: "current", says: "nothing under way"},
		{name: "another region rotates", change: func(c *checking) { c.info.Status = cmek.Rotating }, row: "current", says: "nothing under way"},
		{name: "two specs", change: func(c *checking) {
			c.info.RegionInfos[0].KeyInfos = append(c.info.RegionInfos[0].KeyInfos, keyInfo(otherKey, cmek.Enabled, longAgo))
		}, row: "current", says: "2 ENABLED"},
		{name: "a past spec", change: func(c *checking) {
			c.info.RegionInfos[0].KeyInfos = append(c.info.RegionInfos[0].KeyInfos, keyInfo(otherKey, cmek.Disabled, longAgo))
		}},
		{name: "another spec", change: func(c *checking) { c.info.RegionInfos[0].KeyInfos[0].Spec.AuthPrincipal += "2" }, row: "current", says: "to move it from"},
		{name: "the cluster is on hold", change: func(c *checking) {
			c.holds = cmek.Holds{{ClusterID: "c-1", Cluster: "orders", Since: noon, Until: in(1), Reason: "CHG"}}
		}, row: "hold", says: "keyturn release c-1"},
		{name: "a hold that ended", change: func(c *checking) { c.holds = cmek.Holds{{ClusterID: "c-1", Since: ago(2), Until: noon, Reason: "CHG"}} }},

		{name: "an alias", change: toURI("arn:aws:kms:us-east-1:111122223333:alias/cmek"), row: "uri", says: "alias"},
		{name: "a version", change: func(c *checking) { onGoogle(c); c.o.To.URI += "/cryptoKeyVersions/3" }, row: "uri", says: "name the key: " + string(googleKey)},
		{name: "no ARN", change: toURI("key/1234"), row: "uri", says: "want a KMS key ARN"},
		{name: "spaces", change: toURI(" " + newKey), row: "uri", says: "spaces"},
		{name: "another cloud", change: toURI(googleKey), row: "uri", says: "no key of the cluster's cloud"},
		{name: "Azure", change: toURI("https://vault.vault.azure.net/keys/cmek/0123"), row: "uri", says: "does not"},
		{name: "another partition of AWS", change: toURI(cmek.KeyURI(strings.Replace(string(newKey), "arn:aws:", "arn:aws-us-gov:", 1))), row: "uri", says: "two partitions"},
		{name: "China", change: toURI(cmek.KeyURI(strings.Replace(string(newKey), "arn:aws:", "arn:aws-cn:", 1))), row: "uri", says: "two partitions"},
		{name: "key and role of one other partition", change: func(c *checking) {
			toURI(cmek.KeyURI(strings.Replace(string(newKey), "arn:aws:", "arn:aws-cn:", 1)))(c)
			c.o.To.AuthPrincipal = "arn:aws-cn:iam::111122223333:role/cmek"
		}},
		{name: "the same key", change: toURI(eastKey), row: "uri", says: "already"},
		{name: "no principal", change: func(c *checking) { c.o.To.AuthPrincipal = "" }, row: "uri", says: "auth_principal"},

		{name: "another Region", change: toURI(westKey), row: "location", says: "--cross-region-key"},
		{name: "another Region, allowed", change: func(c *checking) { c.o.To.URI, c.o.CrossRegion = westKey, true }},
		{name: "a replica elsewhere", change: toURI(mrkWest), row: "location", says: "name the key's replica in us-east-1"},
		{name: "the replica here", change: toURI(mrkEast)},
		{name: "the old key is elsewhere, too", change: func(c *checking) {
			c.o.From.URI, c.o.To.URI = westKey, westKey[:len(westKey)-1]+"5"
			c.info.RegionInfos[0].KeyInfos[0].Spec.URI = westKey
		}},

		{name: "for signing", change: func(c *checking) { c.m.To.Key.Key.Unfit = "its KeySpec is RSA_2048" }, row: "new key", says: "symmetric"},
		{name: "deletion scheduled", change: func(c *checking) { c.m.To.Key.Key.State = cmek.KeyDeletionScheduled }, row: "new key", says: "deletion scheduled"},
		{name: "in a passing state", change: func(c *checking) { c.m.To.Key.Key.State = cmek.KeyTransient }, row: "new key", says: "transient", unread: true},
		{name: "no version", change: func(c *checking) { c.m.To.Key.Key.Version = cmek.KeyVersion{} }, row: "new key", says: "no version", unread: true},
		{name: "denied to keyturn", change: func(c *checking) { c.m.To.Key = KeyFact{Err: cmek.ErrDenied} }, row: "new key", says: "may not read", unread: true},
		{name: "not read", change: func(c *checking) { c.m.To.Key = KeyFact{Err: errOutage} }, row: "new key", says: "could not be read", unread: true},
		{name: "not admitted", change: func(c *checking) { c.m.To.Access, c.m.To.AccessWhy = policy.Denied, "no statement" }, row: "new access", says: "no statement"},
		{name: "perhaps admitted", change: func(c *checking) { c.m.To.Access = policy.CannotTell }, row: "new access", says: "not known", unread: true},
		{name: "the old key is disabled", change: func(c *checking) { c.m.From.Key.Key.State = cmek.KeyDisabled }, row: "old key", says: "disabled"},
		{name: "the old key does not admit", change: func(c *checking) { c.m.From.Access = policy.Denied }, row: "old access", says: "does not admit"},
		{name: "the old key was not read", change: func(c *checking) { c.m.From.Key = KeyFact{Err: errOutage} }, row: "old key", says: "could not", unread: true},
		{name: "an incident on the new key", change: func(c *checking) { c.m.To.Incidents = []string{"policy changed"} }, row: "new incident", says: "policy changed"},
		{name: "an incident on the old key", change: func(c *checking) { c.m.From.Incidents = []string{"policy changed"} }, row: "old incident", says: "policy changed"},
		{name: "incidents were not read", change: func(c *checking) { c.m.From.IncidentsErr = errors.New("throttled") }, row: "old incident", says: "throttled", unread: true},
		{name: "nobody watches", change: func(c *checking) { c.m.To.Unwatched = "its account is not among accounts" }, row: "watched", says: "its account"},
		{name: "Terraform", change: func(c *checking) { c.o.Terraform = "" }, row: "terraform", says: "--no-terraform"},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld()
			w.facts.Cluster.CloudProvider = "AWS"
			c := checking{o: anOrder(), cluster: w.facts.Cluster, info: w.facts.CMEK, m: Move{From: admitted(eastKey), To: admitted(newKey)}}
			r.change(&c)
			problems := Preflight(c.o, c.cluster, c.info, c.m, c.holds, noon)
			switch {
			case r.row == "" && len(problems) > 0:
				t.Errorf("%+v, want none", problems)
			case r.row == "":
			case len(problems) != 1 || problems[0].Row != r.row || problems[0].Unread != r.unread || !strings.Contains(problems[0].Message, r.says):
				t.Errorf("%+v, want one of the row %q that says %q, unread: %t", problems, r.row, r.says, r.unread)
			}
		})
	}
}

// What is wrong for certain is said before what could not be read: it blocks, and does not merely wait.
func TestPreflight_whatIsWrongComesFirst(t *testing.T) {
	m := Move{From: admitted(eastKey), To: admitted(newKey)}
	m.To.Key = KeyFact{Err: errOutage}
	m.From.Access = policy.Denied
	problems := m.Problems(anOrder(), cmek.Cluster{})
	if len(problems) != 2 || problems[0].Unread || !problems[1].Unread {
		t.Errorf("problems are %+v", problems)
	}
}

const (
	awsRole  = "arn:aws:iam::111122223333:role/cmek"
	allows   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + awsRole + `"},"Action":"kms:*","Resource":"*"}]}`
	nothing  = `{"inline":{},"attached":{}}`
	denies   = `{"inline":{"no":{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"}]}},"attached":{}}`
	trusting = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"900000000001"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"org"}}}]}`
)

// Whether a principal may use a key is known only if every document that decides was read; a denial may be certain without the others.
func TestAccessOnAWS_isNotGuessed(t *testing.T) {
	policies, own := ledger.RolePolicies(awsRole), awsRole
	all := func(keyPolicy, rolePolicies, trust string) map[string]string {
		return map[string]string{string(newKey): keyPolicy, policies: rolePolicies, own: trust}
	}
	unread := func(name string, err error) map[string]error { return map[string]error{name: err} }
	without := func(name string) map[string]string {
		texts := all(allows, nothing, trusting)
		delete(texts, name)
		return texts
	}
	for _, r := range []struct {
		name   string
		texts  map[string]string
		unread map[string]error
		want   policy.Decision
	}{
		{"all allow", all(allows, nothing, trusting), nil, policy.Allowed},
		{"the key policy does not", all(strings.ReplaceAll(allows, awsRole, awsRole+"2"), nothing, trusting), nil, policy.Denied},
		{"the role's own policy denies", all(allows, denies, trusting), nil, policy.Denied},
		{"the trust policy names another account", all(allows, nothing, strings.ReplaceAll(trusting, "900000000001", "900000000002")), nil, policy.Denied},
		{"the key policy was not read", without(string(newKey)), unread(string(newKey), errOutage), policy.CannotTell},
		{"the role's policies were not read", without(policies), unread(policies, errOutage), policy.CannotTell},
		{"the trust policy was not read", without(own), unread(own, errOutage), policy.CannotTell},
		{"the role does not exist", without(own), unread(own, cmek.ErrNotFound), policy.Denied},
		{"the role's policies were not read, and the key policy denies", map[string]string{string(newKey): `{"Version":"2012-10-17","Statement":[]}`, own: trusting}, unread(policies, errOutage), policy.Denied},
		{"the key policy is no policy", all("{", nothing, trusting), nil, policy.CannotTell},
	} {
		t.Run(r.name, func(t *testing.T) {
			got, why := admittedOnAWS(cmek.Use{CloudAccount: "900000000001", Spec: spec(newKey)}, r.texts, r.unread)
			if got != r.want || (why == "") != (r.want == policy.Allowed) {
				t.Errorf("decided %s (%s), want %s", got, why, r.want)
			}
		})
	}
}
