package checks

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// The good fleet: everything that the catalog asks for holds, on both clouds. Tests change one thing of it at a time.
var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

const (
	organization = "9a0b1c2d-1111-4222-8333-444455556666"
	roachAWS     = "777788889999"
	roachGCP     = "crl-prod-abc"
	orders       = "11111111-aaaa-4aaa-8aaa-0000000000a1"
	vault        = "22222222-bbbb-4bbb-8bbb-0000000000b2"
	payments     = "33333333-cccc-4ccc-8ccc-0000000000c3"

	east    cmek.KeyURI = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	west    cmek.KeyURI = "arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	past    cmek.KeyURI = "arn:aws:kms:us-east-1:111122223333:key/0000aaaa-12ab-34cd-56ef-1234567890ab"
	retired cmek.KeyURI = "arn:aws:kms:us-east-1:111122223333:key/1111bbbb-12ab-34cd-56ef-1234567890ab"
	owned   cmek.KeyURI = "arn:aws:kms:eu-west-1:111122223333:key/2222cccc-12ab-34cd-56ef-1234567890ab"
	gkey    cmek.KeyURI = "projects/acme-keys/locations/us-east1/keyRings/crdb/cryptoKeys/payments"
	gpast   cmek.KeyURI = "projects/acme-keys/locations/us-east1/keyRings/crdb/cryptoKeys/former"
	ggone   cmek.KeyURI = "projects/acme-keys/locations/us-east1/keyRings/crdb/cryptoKeys/retired"

	role    cmek.Principal = "arn:aws:iam::111122223333:role/crdb/cmek"
	account cmek.Principal = "cmek@acme-keys.iam.gserviceaccount.com"

	alias = "arn:aws:kms:us-east-1:111122223333:alias/orders"
)

func ago(d time.Duration) time.Time { return now.Add(-d) }

const oneDay = 24 * time.Hour

// known is a fact that was read five minutes ago.
func known[T any](value T) Fact[T] { return Known(value, ago(5*time.Minute), "test") }

// keyPolicyText is a key policy with the statements beside those of the good fleet.
func keyPolicyText(more ...string) string {
	statements := append([]string{
		`{"Sid":"cmek","Effect":"Allow","Principal":{"AWS":"` + string(role) + `"},"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"],"Resource":"*"}`,
		`{"Sid":"admin","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/key-admin"},"Action":["kms:PutKeyPolicy","kms:GetKeyPolicy","kms:ScheduleKeyDeletion","kms:EnableKey"],"Resource":"*"}`,
	}, more...)
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func statement(principal, actions string) string {
	return `{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":` + actions + `,"Resource":"*"}`
}

func trustText(condition string, more ...string) string {
	statements := append([]string{`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + roachAWS + `:root"},"Action":"sts:AssumeRole"` + condition + `}`}, more...)
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

const (
	guarded  = `,"Condition":{"StringEquals":{"sts:ExternalId":"` + organization + `"}}`
	noPolicy = `{"inline":{},"attached":{},"boundary":{}}`
)

// allow is a policy of Google with the bindings, each "ROLE MEMBER MEMBER …".
func allow(bindings ...string) google.Policy {
	var list []string
	for _, b := range bindings {
		words := strings.Fields(b)
		list = append(list, fmt.Sprintf(`{"role":%q,"members":["%s"]}`, words[0], strings.Join(words[1:], `","`)))
	}
	p, err := google.ParsePolicy(`{"version":3,"etag":"BwX","bindings":[` + strings.Join(list, ",") + `]}`)
	if err != nil {
		panic(err)
	}
	return p
}

const use2 = "roles/cloudkms.cryptoKeyEncrypterDecrypter serviceAccount:" + string(account)

func googleDocuments() google.Documents {
	docs := google.Documents{
		Denies:  map[string][]google.DenyPolicy{"projects/acme-keys": {}, "organizations/42": {}},
		Roles:   map[string]google.Role{"roles/logging.viewer": {Name: "roles/logging.viewer", Permissions: []google.Permission{"logging.logs.list"}}},
		Parents: map[string][]string{"projects/acme-keys": {"organizations/42"}},
		Policies: map[string]google.Policy{
			"projects/acme-keys/locations/us-east1/keyRings/crdb": allow(),
			"projects/acme-keys": allow("roles/cloudkms.admin group:key-admins@acme.example", "roles/logging.viewer user:eve@acme.example"),
			"organizations/42":   allow(),
			"projects/acme-keys/serviceAccounts/" + string(account): allow("roles/iam.serviceAccountTokenCreator serviceAccount:crl-kms-user-0000000000c3@" + roachGCP + ".iam.gserviceaccount.com"),
		},
	}
	for _, key := range []cmek.KeyURI{gkey, gpast, ggone} {
		docs.Policies[googleName(key)] = allow(use2)
	}
	return docs
}

func spec(uri cmek.KeyURI, p cmek.Principal) cmek.KeySpec {
	return cmek.KeySpec{Type: uri.Type(), URI: uri, AuthPrincipal: p}
}

func keyInfo(uri cmek.KeyURI, p cmek.Principal, status cmek.Status, updated time.Time) cmek.KeyInfo {
	return cmek.KeyInfo{Spec: spec(uri, p), Status: status, CreatedAt: ago(300 * oneDay), UpdatedAt: updated}
}

func region(name string, infos ...cmek.KeyInfo) cmek.RegionInfo {
	return cmek.RegionInfo{Region: name, Status: cmek.Enabled, KeyInfos: infos}
}

func cluster(id, name, provider, accountID string, regions ...cmek.RegionInfo) Cluster {
	info := cmek.Cluster{ID: id, Name: name, Plan: cmek.PlanAdvanced, CloudProvider: provider, AccountID: accountID, State: cmek.StateCreated,
		Labels: map[string]string{"environment": "prod"}, CreatedAt: ago(400 * oneDay)}
	var done []Done
	for _, r := range regions {
		info.Regions = append(info.Regions, cmek.Region{Name: r.Region, NodeCount: 3})
		for _, k := range r.KeyInfos {
			if k.Status == cmek.Enabled {
				done = append(done, Done{r.Region, k.Spec.URI, currentVersion(k.Spec.URI), ago(9 * oneDay)})
			}
		}
	}
	return Cluster{
		ID: id, Info: known(info), CMEK: known(cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: regions}), Done: known(done),
		Requests: known([]Request{{ago(9*oneDay + time.Hour)}}), Backups: known(Backups{Newest: ago(20 * time.Hour), Frequency: oneDay, Retention: 30 * oneDay}),
		Audit: known([]AuditEntry{{ID: "e1", Action: AuditUpdate, At: ago(9*oneDay + time.Hour - time.Minute), By: "keyturn"}}), Pins: known([]Pin(nil)), Moves: known([]Move(nil)),
	}
}

func primary(n string) cmek.KeyVersion { return cmek.KeyVersion{Scheme: "primary", ID: n} }

func currentVersion(uri cmek.KeyURI) cmek.KeyVersion {
	if cloudOf(uri) == GCP {
		return primary("3")
	}
	return cmek.MaterialVersion(strings.Repeat("ab", 32))
}

// useOf is a use of the key by a region of a cluster, in force or past.
func useOf(id, name, in string, uri cmek.KeyURI, p cmek.Principal, until time.Time) Use {
	u := Use{ClusterID: id, ClusterName: name, Labels: map[string]string{"environment": "prod"}, Region: in, Spec: spec(uri, p), Status: cmek.Disabled, Until: until}
	if until.IsZero() {
		u.Status, u.Done, u.DoneAt = cmek.Enabled, currentVersion(uri), ago(9*oneDay)
	}
	return u
}

func key(uri cmek.KeyURI, uses ...Use) Key {
	d := Description{Key: cmek.Key{URI: uri, State: cmek.KeyEnabled, Version: currentVersion(uri), RotatedAt: ago(10 * oneDay)}, CreatedAt: ago(300 * oneDay), Purpose: "ENCRYPT_DECRYPT"}
	k := Key{URI: uri, Rotation: known(Rotation{Enabled: true, Period: 90 * oneDay, Next: now.Add(80 * oneDay)}), FirstSeen: known(ago(10 * oneDay)),
		Uses: known(uses), Retention: known(30 * oneDay), LastUse: known(LastUse{At: ago(time.Hour), Operation: "Encrypt", Tracked: ago(250 * oneDay)})}
	if cloudOf(uri) == GCP {
		d.Spec, d.DeletionWindow, d.RotatedAt = "GOOGLE_SYMMETRIC_ENCRYPTION", 30*oneDay, time.Time{}
		for i, created := range []time.Duration{300, 100, 10} {
			d.Versions = append(d.Versions, cmek.KeyVersionInfo{Version: primary(fmt.Sprint(i + 1)), State: cmek.KeyEnabled, CreatedAt: ago(created * oneDay)})
		}
		k.IAM = known(googleDocuments())
	} else {
		d.Spec, d.Manager, d.Origin = "SYMMETRIC_DEFAULT", "CUSTOMER", "AWS_KMS"
		k.Policy, k.Grants, k.Replicas = known(keyPolicyText()), known([]KeyGrant(nil)), known(map[cmek.KeyURI]string{})
	}
	if uri.IsMultiRegion() {
		d.Primary, d.Replicas = east, []cmek.KeyURI{west}
		k.Replicas = known(map[cmek.KeyURI]string{east: keyPolicyText(), west: keyPolicyText()})
	}
	k.Description = known(d)
	return k
}

func goodFleet() (Facts, Declarations) {
	current := []Use{useOf(orders, "orders", "us-east-1", east, role, time.Time{}), useOf(orders, "orders", "us-west-2", west, role, time.Time{})}
	f := Facts{
		Organization: known(organization),
		Clusters: []Cluster{
			cluster(orders, "orders", "AWS", roachAWS,
				region("us-east-1", keyInfo(east, role, cmek.Enabled, ago(9*oneDay)), keyInfo(past, role, cmek.Disabled, ago(20*oneDay)), keyInfo(retired, role, cmek.Disabled, ago(200*oneDay))),
				region("us-west-2", keyInfo(west, role, cmek.Enabled, ago(9*oneDay)))),
			cluster(vault, "vault", "AWS", roachAWS, region("eu-west-1", keyInfo(owned, role, cmek.Enabled, ago(9*oneDay)))),
			cluster(payments, "payments", "GCP", roachGCP,
				region("us-east1", keyInfo(gkey, account, cmek.Enabled, ago(9*oneDay)), keyInfo(gpast, account, cmek.Disabled, ago(20*oneDay)), keyInfo(ggone, account, cmek.Disabled, ago(200*oneDay)))),
		},
		Keys: []Key{
			key(east, current...), key(west, current...),
			key(past, useOf(orders, "orders", "us-east-1", past, role, ago(20*oneDay))),
			key(retired, useOf(orders, "orders", "us-east-1", retired, role, ago(200*oneDay))),
			key(owned, useOf(vault, "vault", "eu-west-1", owned, role, time.Time{})),
			key(gkey, useOf(payments, "payments", "us-east1", gkey, account, time.Time{})),
			key(gpast, useOf(payments, "payments", "us-east1", gpast, account, ago(20*oneDay))),
			key(ggone, useOf(payments, "payments", "us-east1", ggone, account, ago(200*oneDay))),
		},
		Principals: []Principal{
			{ID: role, Clusters: known([]Assumer{{orders, roachAWS}, {vault, roachAWS}}), Trust: known(Document{Text: trustText(guarded)}), Policies: known(Document{Text: noPolicy})},
			{ID: account, Clusters: known([]Assumer{{payments, roachGCP}}), Account: known(google.ServiceAccount{Email: string(account), UniqueID: "110"}), IAM: known(googleDocuments())},
		},
		Credentials: []Credential{
			{AWS, "arn:aws:secretsmanager:us-east-1:111122223333:secret:keyturn", known(ago(30 * oneDay)), known([]string{"CLUSTER_OPERATOR_WRITER"})},
			{GCP, "projects/acme-ops/secrets/keyturn", known(ago(30 * oneDay)), known([]string{"CLUSTER_OPERATOR_WRITER"})},
		},
	}
	for _, location := range []string{"us-east-1", "us-west-2", "eu-west-1"} {
		f.Accounts = append(f.Accounts, Account{Cloud: AWS, ID: "111122223333", Location: location, Heartbeat: known(ago(10 * time.Minute)),
			Watch:  known(Watch{Parts: []Part{{PartRule, "keyturn-kms", true}, {PartAlarm, "keyturn-keys", true}}}),
			Trails: known([]Trail{{Name: "all", Writes: Yes, Reads: Yes}})})
	}
	f.Accounts = append(f.Accounts, Account{Cloud: GCP, ID: "acme-keys", Heartbeat: known(ago(10 * time.Minute)),
		Watch:        known(Watch{Parts: []Part{{PartSink, "keyturn", true}, {PartSubscription, "keyturn-events", true}, {PartAlarm, "keyturn-keys", true}}}),
		AuditConfigs: known([]AuditConfig{{Service: "cloudkms.googleapis.com", LogType: "DATA_READ"}})})
	// Imported material, which its owner replaces.
	d := &f.Keys[4].Description.Value
	d.Origin, d.ExpirationModel, d.ValidTo = "EXTERNAL", "KEY_MATERIAL_EXPIRES", now.Add(200*oneDay)
	f.Keys[4].Rotation = known(Rotation{Unsupported: true})
	// Two keys that are to go, long unused.
	for _, i := range []int{3, 7} {
		f.Keys[i].LastUse = known(LastUse{At: ago(150 * oneDay), Operation: "Decrypt", Tracked: ago(250 * oneDay)})
	}
	going := &f.Keys[3].Description.Value
	going.State, going.DeletionDate, going.DeletionWindow = cmek.KeyDeletionScheduled, now.Add(10*oneDay), 30*oneDay
	f.Clusters[0].Pins = known([]Pin{{"us-east-1", alias, east}})
	f.Clusters[0].Moves = known([]Move{{Region: "us-east-1", To: east, At: ago(20 * oneDay)}})
	f.Clusters[2].Moves = known([]Move{{Region: "us-east1", To: gkey, At: ago(20 * oneDay)}})
	return f, Declarations{
		AuditCredential: true,
		Accounts:        []string{"111122223333", "acme-keys"},
		Keys:            []KeyDeclaration{{Key: owned, OwnerRotated: true}, {Key: retired, Retired: true}, {Key: ggone, Retired: true}},
	}
}

func TestGoodFleet_passes_every_check_that_has_a_meaning(t *testing.T) {
	facts, declared := goodFleet()
	if err := declared.Validate(now); err != nil {
		t.Fatal(err)
	}
	passed := map[string]bool{}
	for _, f := range Run(facts, declared, now) {
		switch f.Result {
		case Pass:
			passed[f.Check+" "+string(f.Subject.Cloud)] = true
		case NotApplicable:
		case Fail, Error:
			t.Errorf("%s about %s: %s, %s", f.Check, f.Subject.ID, f.Result, f.Why)
		}
		if f.Why == "" || f.Result != Fail && f.Exception != nil || f.Severity != "none" {
			t.Errorf("incomplete: %+v", f)
		}
	}
	for _, c := range Catalog() {
		for _, cloud := range []Cloud{AWS, GCP} {
			if rule, _ := c.On(cloud); rule.NotApplicable == "" && !passed[c.ID+" "+string(cloud)] {
				t.Errorf("%s passes nowhere on %s", c.ID, cloud)
			}
		}
	}
}
