package checks

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// row is one change of the good fleet. It makes its check give want, and those in with, too, and changes no other result. A row that
// wants PASS is a near miss, which changes nothing.
type row struct {
	check    string
	cloud    Cloud
	name     string
	change   func(*Facts, *Declarations)
	want     Result
	severity alert.Severity // of the failure; "" is the check's own
	why      string         // is part of the reason
	with     []string
}

func clusterAt(i int, change func(*Cluster)) func(*Facts, *Declarations) {
	return func(f *Facts, _ *Declarations) { change(&f.Clusters[i]) }
}

func keyAt(i int, change func(*Key)) func(*Facts, *Declarations) {
	return func(f *Facts, _ *Declarations) { change(&f.Keys[i]) }
}

func state(s cmek.KeyState) func(*Key) { return func(k *Key) { k.Description.Value.State = s } }

func part(account, n int, is Part) func(*Facts, *Declarations) {
	return accountAt(account, func(a *Account) { a.Watch.Value.Parts[n] = is })
}

func beats(account int, is Heartbeat) func(*Facts, *Declarations) {
	return accountAt(account, func(a *Account) { a.Heartbeat.Value = is })
}

func accountAt(i int, change func(*Account)) func(*Facts, *Declarations) {
	return func(f *Facts, _ *Declarations) { change(&f.Accounts[i]) }
}

// The policies of a multi-Region key are changed together: else CMEK-21 fails, too.
func policyOfBoth(statements ...string) func(*Facts, *Declarations) {
	return func(f *Facts, _ *Declarations) {
		for _, i := range []int{0, 1} {
			f.Keys[i].Policy.Value = keyPolicyText(statements...)
			f.Keys[i].Replicas.Value = map[cmek.KeyURI]string{east: keyPolicyText(statements...), west: keyPolicyText(statements...)}
		}
	}
}

func policyOf(text string) func(*Facts, *Declarations) {
	return keyAt(4, func(k *Key) { k.Policy.Value = text })
}

func iam(change func(google.Documents) google.Documents) func(*Facts, *Declarations) {
	return keyAt(5, func(k *Key) { k.IAM.Value = change(k.IAM.Value) })
}

func binding(resource string, bindings ...string) func(google.Documents) google.Documents {
	return func(d google.Documents) google.Documents { return d.With(resource, allow(bindings...)) }
}

func trust(text string) func(*Facts, *Declarations) {
	return func(f *Facts, _ *Declarations) { f.Principals[0].Trust.Value.Text = text }
}

func actAs(change func(*Principal)) func(*Facts, *Declarations) {
	return func(f *Facts, _ *Declarations) { change(&f.Principals[1]) }
}

func declare(change func(*Declarations)) func(*Facts, *Declarations) {
	return func(_ *Facts, d *Declarations) { change(d) }
}

// version changes the state of a version of a key of Google, and with the primary one that of the key.
func version(n int, s cmek.KeyState) func(*Key) {
	return func(k *Key) {
		d := &k.Description.Value
		if d.Versions[n-1].State = s; d.Versions[n-1].Version == d.Version {
			d.State = s
		}
	}
}

func grant(grantee string, created time.Time, operations ...string) func(*Key) {
	return func(k *Key) {
		k.Grants.Value = append(k.Grants.Value, KeyGrant{ID: "g1", Grantee: grantee, Operations: operations, CreatedAt: created})
	}
}

// moved gives the cluster's first region another name.
func moved(i int, name string) func(*Facts, *Declarations) {
	return func(f *Facts, _ *Declarations) {
		c := &f.Clusters[i]
		c.Info.Value.Regions[0].Name, c.CMEK.Value.RegionInfos[0].Region, c.Done.Value[0].Region = name, name, name
		for k := range f.Keys {
			for u := range f.Keys[k].Uses.Value {
				if use := &f.Keys[k].Uses.Value[u]; use.ClusterID == c.ID {
					use.Region = name
				}
			}
		}
	}
}

func share(key int, id, environment string) func(*Facts, *Declarations) {
	return keyAt(key, func(k *Key) {
		u := k.Uses.Value[0]
		u.ClusterID, u.ClusterName, u.Labels = id, "another", map[string]string{"environment": environment}
		if environment == "" {
			u.Labels = nil
		}
		k.Uses.Value = append(k.Uses.Value, u)
	})
}

func both(changes ...func(*Facts, *Declarations)) func(*Facts, *Declarations) {
	return func(f *Facts, d *Declarations) {
		for _, change := range changes {
			change(f, d)
		}
	}
}

// What becomes of the regional checks of a cluster without CMEK is not the cause of another failure.
var (
	projectPolicy = "projects/acme-keys"
	keyName       = googleName(gkey)
	accountName   = "projects/acme-keys/serviceAccounts/" + string(account)
	tokenCreator  = "roles/iam.serviceAccountTokenCreator serviceAccount:crl-kms-user-0000000000c3@" + roachGCP + ".iam.gserviceaccount.com"
	admins        = "roles/cloudkms.admin group:key-admins@acme.example"
)

var rows = slices.Concat(
	// What is CockroachDB Cloud's is the same on both clouds: each row stands for both.
	twice("CMEK-01", "no CMEK at all", func(c *Cluster) {
		c.CMEK.Value.RegionInfos, c.CMEK.Value.Status = nil, cmek.Disabled
	}, Fail, "", "no CMEK"),
	twice("CMEK-01", "revoked", func(c *Cluster) { c.CMEK.Value.Status = cmek.Revoked }, Fail, "", "REVOKED"),
	twice("CMEK-01", "rotating", rotating(time.Hour), Pass, "", ""),
	twice("CMEK-01", "an unknown status", func(c *Cluster) { c.CMEK.Value.Status = "SHINY" }, Error, "", "not known", "CMEK-03"),
	twice("CMEK-02", "a region without CMEK", func(c *Cluster) {
		c.Info.Value.Regions = append(c.Info.Value.Regions, cmek.Region{Name: "us-north-9"})
	}, Fail, "", "does not have the region"),
	twice("CMEK-02", "a region without a key in force", func(c *Cluster) {
		c.Info.Value.Regions = append(c.Info.Value.Regions, cmek.Region{Name: "us-north-9"})
		c.CMEK.Value.RegionInfos = append(c.CMEK.Value.RegionInfos, cmek.RegionInfo{Region: "us-north-9", Status: cmek.Disabled})
	}, Fail, "", "no key of the region is ENABLED"),
	twice("CMEK-02", "a region that the cluster does not list", func(c *Cluster) {
		c.CMEK.Value.RegionInfos = append(c.CMEK.Value.RegionInfos, cmek.RegionInfo{Region: "us-north-9", Status: cmek.Disabled})
	}, Error, "", "does not list it"),
	twice("CMEK-03", "a failed rotation", func(c *Cluster) { c.CMEK.Value.RegionInfos[0].KeyInfos[0].Status = cmek.RotateFailed }, Fail, alert.Critical, "ROTATE_FAILED"),
	twice("CMEK-03", "a failed operation of the cluster", func(c *Cluster) { c.Info.Value.OperationStatus = cmek.CMEKOperationFailed }, Fail, alert.Critical, cmek.CMEKOperationFailed),
	twice("CMEK-03", "a stuck rotation", rotating(2*time.Hour+time.Minute), Fail, alert.High, "longer than"),
	twice("CMEK-03", "a rotation that runs for less than the limit", rotating(2*time.Hour-time.Minute), Pass, "", ""),
	twice("CMEK-03", "a rotation without its time", func(c *Cluster) {
		for i := range c.CMEK.Value.RegionInfos[0].KeyInfos {
			c.CMEK.Value.RegionInfos[0].KeyInfos[i].UpdatedAt = time.Time{}
		}
		c.CMEK.Value.RegionInfos[0].KeyInfos[0].Status = cmek.Rotating
	}, Error, "", "since when"),
	twice("CMEK-03", "a rotation since tomorrow", rotating(-oneDay), Error, "", "since when"),
	[]row{
		{"CMEK-03", AWS, "another region rotates", clusterAt(0, func(c *Cluster) { rotatingIn(c, 1, 5*time.Minute) }), Pass, "", "", nil},
		{"CMEK-03", AWS, "another region's rotation is stuck", clusterAt(0, func(c *Cluster) {
			rotatingIn(c, 1, 3*time.Hour)
			for i := range c.CMEK.Value.RegionInfos[0].KeyInfos {
				c.CMEK.Value.RegionInfos[0].KeyInfos[i].UpdatedAt = ago(9 * oneDay)
			}
		}), Fail, alert.High, "longer than", nil},
	},
	twice("CMEK-04", "nothing in the ledger, and a failed re-encryption", func(c *Cluster) {
		c.Done.Value, c.CMEK.Value.RegionInfos[0].KeyInfos[0].Status = nil, cmek.RotateFailed
	}, Fail, "", "not re-encrypted", "CMEK-03"),
	twice("CMEK-04", "nothing in the ledger, and a re-encryption that is under way", func(c *Cluster) {
		c.Done.Value = nil
		rotatingIn(c, 0, time.Hour)
	}, Fail, "", "not re-encrypted"),
	twice("CMEK-04", "nothing in the ledger, and an update tomorrow", func(c *Cluster) {
		c.Done.Value, c.CMEK.Value.RegionInfos[0].KeyInfos[0].UpdatedAt = nil, now.Add(oneDay)
	}, Fail, "", "not re-encrypted"),
	twice("CMEK-04", "still under the version before", func(c *Cluster) { c.Done.Value[0].Version.ID = "1" }, Fail, "", "not re-encrypted"),
	twice("CMEK-04", "another scheme of versions", func(c *Cluster) { c.Done.Value[0].Version.Scheme = "rotated" }, Error, "", "cannot be compared"),
	twice("CMEK-04", "nothing in the ledger, and no later update", func(c *Cluster) {
		c.Done.Value = c.Done.Value[1:]
		c.CMEK.Value.RegionInfos[0].KeyInfos[0].UpdatedAt = ago(11 * oneDay)
	}, Fail, "", "not re-encrypted"),
	twice("CMEK-04", "nothing in the ledger, and a later update", func(c *Cluster) { c.Done.Value = c.Done.Value[1:] }, Pass, "", ""),
	twice("CMEK-27", "backups stopped", func(c *Cluster) { c.Backups.Value.Newest = ago(3*oneDay + time.Minute) }, Fail, "", "older than"),
	twice("CMEK-27", "backups late, within the factor", func(c *Cluster) { c.Backups.Value.Newest = ago(3*oneDay - time.Minute) }, Pass, "", ""),
	twice("CMEK-27", "backups off", func(c *Cluster) { c.Backups.Value.Frequency = 0 }, Fail, "", "off"),
	twice("CMEK-02", "revoked", func(c *Cluster) {
		r := &c.CMEK.Value.RegionInfos[0]
		r.Status, r.KeyInfos[0].Status = cmek.Revoked, cmek.Revoked
	}, Fail, "", "REVOKED", "CMEK-04:NOT_APPLICABLE", "CMEK-22:NOT_APPLICABLE"),
	twice("CMEK-27", "no backup", func(c *Cluster) { c.Backups.Value.Newest = time.Time{} }, Fail, "", "no backup"),
	twice("CMEK-27", "no backup of a cluster of tomorrow", func(c *Cluster) {
		c.Backups.Value.Newest, c.Info.Value.CreatedAt = time.Time{}, now.Add(oneDay)
	}, Fail, "", "no backup"),
	twice("CMEK-27", "too young for a backup", func(c *Cluster) {
		c.Backups.Value.Newest, c.Info.Value.CreatedAt = time.Time{}, ago(oneDay)
	}, NotApplicable, "", "too young"),
	twice("CMEK-29", "a PUT of somebody else", func(c *Cluster) { c.Requests.Value = nil }, Fail, "", "keyturn sent nothing"),
	twice("CMEK-29", "a PUT at another time", func(c *Cluster) { c.Audit.Value[0].At = ago(9*oneDay + time.Hour + 11*time.Minute) }, Fail, "", "keyturn sent nothing"),
	twice("CMEK-29", "a revocation", func(c *Cluster) { c.Audit.Value[0].Action = AuditRevoke }, Fail, "", "revoked"),
	twice("CMEK-29", "a failed PUT of somebody else", func(c *Cluster) { c.Requests.Value, c.Audit.Value[0].Error = nil, "denied" }, Pass, "", ""),

	// Keys of both clouds.
	keys("CMEK-05", "disabled", state(cmek.KeyDisabled), Fail, "the key is disabled"),
	keys("CMEK-05", "a passing state", state(cmek.KeyTransient), Error, "transient"),
	keys("CMEK-05", "another purpose", func(k *Key) { k.Description.Value.Purpose = "SIGN_VERIFY" }, Fail, "SIGN_VERIFY"),
	keys("CMEK-05", "a purpose that was left out", func(k *Key) { k.Description.Value.Purpose = "" }, Error, "does not tell"),
	keys("CMEK-08", "automatic rotation off", func(k *Key) { k.Rotation.Value = Rotation{} }, Fail, "off", "CMEK-09"),
	keys("CMEK-08", "rotation not supported", func(k *Key) { k.Rotation.Value = Rotation{Unsupported: true} }, NotApplicable, "by itself", "CMEK-09"),
	keys("CMEK-09", "a long period", func(k *Key) {
		k.Rotation.Value.Period, k.Rotation.Value.Next = 366*oneDay, now.Add(300*oneDay)
	}, Fail, "longer than the declared"),
	keys("CMEK-09", "a period just within", func(k *Key) {
		k.Rotation.Value.Period, k.Rotation.Value.Next = 365*oneDay, now.Add(300*oneDay)
	}, Pass, ""),
	keys("CMEK-09", "overdue", func(k *Key) { k.Rotation.Value.Next = ago(time.Hour) }, Fail, "overdue"),
	keys("CMEK-09", "no next rotation", func(k *Key) { k.Rotation.Value.Next = time.Time{} }, Error, "does not tell the next"),
	keys("CMEK-10", "old material", func(k *Key) {
		k.FirstSeen.Value = ago(98 * oneDay)
		if !k.Description.Value.RotatedAt.IsZero() {
			k.Description.Value.RotatedAt = ago(98 * oneDay)
		}
	}, Fail, "longer than the configured"),
	keys("CMEK-10", "material within the grace", func(k *Key) {
		k.FirstSeen.Value = ago(96 * oneDay)
		if !k.Description.Value.RotatedAt.IsZero() {
			k.Description.Value.RotatedAt = ago(96 * oneDay)
		}
	}, Pass, ""),
	keys("CMEK-10", "material of tomorrow", func(k *Key) {
		k.FirstSeen.Value = now.Add(oneDay)
		if !k.Description.Value.RotatedAt.IsZero() {
			k.Description.Value.RotatedAt = now.Add(oneDay)
		}
	}, Error, "not known when"),
	keys("CMEK-31", "declared as retired, and in use", nil, Fail, "a cluster uses it"),

	[]row{
		{"CMEK-05", AWS, "an undeclared account", declare(func(d *Declarations) { d.Accounts = []string{"acme-keys"} }), Fail, "", "declared accounts", nil},
		{"CMEK-05", AWS, "a key of AWS itself", keyAt(0, func(k *Key) { k.Description.Value.Manager = "AWS" }), Fail, "", "manager is AWS", nil},
		{"CMEK-06", AWS, "deletion of the key in use", keyAt(0, func(k *Key) {
			k.Description.Value.State, k.Description.Value.DeletionWindow = cmek.KeyDeletionScheduled, 30*oneDay
		}), Fail, "", "deletion scheduled", []string{"CMEK-05", "CMEK-24:PASS"}},
		{"CMEK-06", AWS, "deletion of a past key that backups need", keyAt(2, func(k *Key) {
			k.Description.Value.State, k.Description.Value.DeletionWindow = cmek.KeyDeletionScheduled, 30*oneDay
		}), Fail, "", "backups may need it until 2026-12-09", []string{"CMEK-07", "CMEK-24:PASS", "CMEK-31"}},
		{"CMEK-06", AWS, "deletion of a past key, the retention not known", both(keyAt(3, func(k *Key) { k.Retention.Value = 0 })), Error, "", "not known", []string{"CMEK-07"}},
		{"CMEK-06", GCP, "the primary scheduled for destruction", keyAt(5, version(3, cmek.KeyDeletionScheduled)), Fail, "", "version 3", []string{"CMEK-05"}},
		{"CMEK-06", GCP, "an older version destroyed", keyAt(5, version(1, cmek.KeyDestroyed)), Fail, "", "version 1 is destroyed", []string{"CMEK-07"}},
		{"CMEK-06", GCP, "a version of a long past key scheduled", keyAt(7, version(1, cmek.KeyDeletionScheduled)), Pass, "", "", nil},
		{"CMEK-07", AWS, "a past key disabled", keyAt(2, state(cmek.KeyDisabled)), Fail, "", "the past key is disabled", nil},
		{"CMEK-07", AWS, "a long past key disabled", keyAt(3, func(k *Key) { k.Description.Value.State = cmek.KeyDisabled }), Pass, "", "", []string{"CMEK-24:NOT_APPLICABLE"}},
		{"CMEK-07", GCP, "an older version disabled", keyAt(5, version(2, cmek.KeyDisabled)), Fail, "", "version 2 is disabled", nil},
		{"CMEK-07", GCP, "a version of a past key disabled", keyAt(6, version(3, cmek.KeyDisabled)), Fail, "", "version 3 is disabled", nil},
		{"CMEK-07", GCP, "a version of a long past key disabled", keyAt(7, version(3, cmek.KeyDisabled)), Pass, "", "", nil},
		{"CMEK-06", GCP, "an older version in a state that is not known", keyAt(5, version(1, cmek.KeyUnknown)), Error, "", "the state of version 1", []string{"CMEK-07"}},
		{"CMEK-06", GCP, "an older version without a state", keyAt(5, version(1, "")), Error, "", "the state of version 1", []string{"CMEK-07"}},
		{"CMEK-06", GCP, "a version of a long past key in a state that is not known", keyAt(7, version(1, cmek.KeyUnknown)), Pass, "", "", nil},
		{"CMEK-06", GCP, "the version of the store key is not shown", keyAt(5, func(k *Key) { k.Uses.Value[0].Done = primary("9") }), Error, "", "does not show version 9", []string{"CMEK-07"}},
		{"CMEK-06", GCP, "a newer version that is being made", keyAt(5, func(k *Key) {
			k.Description.Value.Versions = append(k.Description.Value.Versions, cmek.KeyVersionInfo{Version: primary("4"), State: cmek.KeyTransient, CreatedAt: ago(time.Minute)})
		}), Pass, "", "", nil},
		{"CMEK-10", GCP, "set back to old material", keyAt(5, func(k *Key) {
			k.Description.Value.Version, k.Uses.Value[0].Done, k.FirstSeen.Value = primary("1"), primary("1"), ago(oneDay)
		}), Fail, "", "longer than", nil},
		{"CMEK-10", GCP, "set back to material that is young", keyAt(5, func(k *Key) {
			d := &k.Description.Value
			d.Version, d.Versions[1].CreatedAt, k.FirstSeen.Value = primary("2"), ago(20*oneDay), ago(oneDay)
		}), Pass, "", "", nil},
		{"CMEK-08", AWS, "owner-rotated", both(keyAt(0, func(k *Key) { k.Rotation.Value = Rotation{} }), declare(func(d *Declarations) {
			d.Keys = append(d.Keys, KeyDeclaration{Key: east, OwnerRotated: true})
		})), Pass, "", "", []string{"CMEK-09:NOT_APPLICABLE"}},
		{"CMEK-11", AWS, "near its expiry", keyAt(4, func(k *Key) { k.Description.Value.ValidTo = now.Add(29 * oneDay) }), Fail, "", "within 30 days", nil},
		{"CMEK-11", AWS, "far from its expiry", keyAt(4, func(k *Key) { k.Description.Value.ValidTo = now.Add(31 * oneDay) }), Pass, "", "", nil},
		{"CMEK-11", AWS, "expired", keyAt(4, state(cmek.KeyPendingImport)), Fail, "", "missing or has expired", []string{"CMEK-05"}},
		{"CMEK-11", AWS, "no expiry told", keyAt(4, func(k *Key) { k.Description.Value.ExpirationModel = "" }), Error, "", "when the material expires", nil},

		{"CMEK-12", AWS, "an action is missing", policyOf(strings.Replace(keyPolicyText(), `"kms:ReEncrypt*"`, `"kms:GetKeyPolicy"`, 1)), Fail, alert.Critical, "kms:ReEncrypt*", nil},
		{"CMEK-12", AWS, "more than it needs", policyOf(keyPolicyText(statement(string(role), `"kms:GetKeyPolicy"`))), Fail, alert.Medium, "also lets", nil},
		{"CMEK-12", AWS, "a Deny in the role", func(f *Facts, _ *Declarations) {
			f.Principals[0].Policies.Value.Text = `{"inline":{"x":{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}},"attached":{},"boundary":{}}`
		}, Fail, alert.Critical, "kms:Decrypt", nil},
		{"CMEK-12", AWS, "the role is gone", func(f *Facts, _ *Declarations) {
			f.Principals[0].Policies.Value, f.Principals[0].Trust.Value = Document{Missing: true}, Document{Missing: true}
		}, Fail, alert.Critical, "does not exist", []string{"CMEK-16"}},
		{"CMEK-12", AWS, "an administrator of the key, too", policyOf(keyPolicyText(statement(string(role), `"kms:PutKeyPolicy"`))), Fail, alert.Medium, "kms:PutKeyPolicy", []string{"CMEK-18"}},
		{"CMEK-12", GCP, "the role on the key is gone", iam(binding(keyName)), Fail, alert.Critical, "", nil},
		{"CMEK-12", GCP, "an administrator of the key, too", iam(binding(keyName, use2, "roles/cloudkms.admin serviceAccount:"+string(account))), Fail, alert.Medium, "also has roles/cloudkms.admin", []string{"CMEK-18"}},
		{"CMEK-12", GCP, "a viewer of the key, too", iam(binding(keyName, use2, "roles/cloudkms.viewer serviceAccount:"+string(account))), Fail, alert.Medium, "also has roles/cloudkms.viewer", nil},
		{"CMEK-12", GCP, "the project's policy is missing", iam(func(d google.Documents) google.Documents {
			delete(d.Policies, projectPolicy)
			return d
		}), Error, "", "was not read", []string{"CMEK-13", "CMEK-14", "CMEK-15", "CMEK-18"}},
		{"CMEK-13", AWS, "everybody may administer", policyOf(keyPolicyText(statement("*", `"kms:DescribeKey"`))), Fail, "", "everybody", nil},
		{"CMEK-13", AWS, "everybody may decrypt", policyOf(keyPolicyText(statement("*", `"kms:Decrypt"`))), Fail, "", "everybody", []string{"CMEK-14"}},
		{"CMEK-13", AWS, "everybody may do everything", policyOf(keyPolicyText(statement("*", `"kms:*"`))), Fail, "", "everybody", []string{"CMEK-14", "CMEK-18"}},
		{"CMEK-13", GCP, "everybody may encrypt", iam(binding(keyName, use2, "roles/cloudkms.cryptoKeyEncrypter allUsers")), Fail, "", "allUsers", nil},
		{"CMEK-13", GCP, "every account may decrypt", iam(binding(keyName, use2, "roles/cloudkms.cryptoKeyDecrypter allAuthenticatedUsers")), Fail, "", "allAuthenticatedUsers", []string{"CMEK-14"}},
		{"CMEK-14", AWS, "another role", policyOfBoth(statement("arn:aws:iam::111122223333:role/app", `"kms:Decrypt"`)), Fail, "", "role/app", nil},
		{"CMEK-14", AWS, "another role, by a grant", keyAt(0, grant("arn:aws:iam::111122223333:role/app", ago(oneDay), "Decrypt")), Fail, "", "by grant g1", []string{"CMEK-20"}},
		{"CMEK-14", AWS, "a declared role", both(policyOfBoth(statement("arn:aws:iam::111122223333:role/app", `"kms:Decrypt"`)), declare(func(d *Declarations) {
			d.Principals = []string{"arn:aws:iam::111122223333:role/app"}
		})), Pass, "", "", nil},
		{"CMEK-14", AWS, "its own account", policyOfBoth(statement("arn:aws:iam::111122223333:root", `"kms:*"`)), Pass, "", "", nil},
		{"CMEK-14", AWS, "another account", policyOf(keyPolicyText(statement("arn:aws:iam::999900001111:root", `"kms:Decrypt"`))), Fail, "", "999900001111", nil},
		{"CMEK-14", AWS, "another account that does everything", policyOf(keyPolicyText(statement("arn:aws:iam::999900001111:root", `"kms:*"`))), Fail, "", "999900001111", []string{"CMEK-18"}},
		{"CMEK-14", GCP, "somebody else", iam(binding(keyName, use2, "roles/cloudkms.cryptoKeyDecrypter user:eve@acme.example")), Fail, "", "user:eve@acme.example", nil},
		{"CMEK-14", GCP, "somebody who may encrypt only", iam(binding(keyName, use2, "roles/cloudkms.cryptoKeyEncrypter user:eve@acme.example")), Pass, "", "", nil},
		{"CMEK-14", GCP, "somebody with an unknown role", iam(binding(keyName, use2, "projects/acme-keys/roles/x user:eve@acme.example")), Error, "", "projects/acme-keys/roles/x", []string{"CMEK-18"}},
		{"CMEK-15", AWS, "a deleted administrator", policyOf(keyPolicyText(statement("AROAABCDEFGHIJKLMNOPQ", `"kms:GetKeyPolicy"`))), Fail, alert.Medium, "AROAABCDEFGHIJKLMNOPQ", nil},
		{"CMEK-15", AWS, "the deleted role of the cluster", policyOf(strings.Replace(keyPolicyText(), string(role), "AROAABCDEFGHIJKLMNOPQ", 1)), Fail, alert.Critical, "AROAABCDEFGHIJKLMNOPQ", []string{"CMEK-12"}},
		{"CMEK-15", GCP, "a deleted administrator", iam(binding(keyName, use2, "roles/cloudkms.admin deleted:user:bob@acme.example?uid=7")), Fail, alert.Medium, "bob", nil},
		{"CMEK-15", GCP, "the deleted account of the cluster", iam(binding(keyName, "roles/cloudkms.cryptoKeyEncrypterDecrypter deleted:serviceAccount:"+string(account)+"?uid=109")), Fail, alert.Critical, "uid=109", []string{"CMEK-12"}},
		{"CMEK-16", AWS, "no external id", trust(trustText("")), Fail, "", "without an external id", nil},
		{"CMEK-16", AWS, "another external id", trust(trustText(strings.Replace(guarded, organization, "another", 1))), Fail, "", "cannot assume", nil},
		{"CMEK-16", AWS, "somebody else, too", trust(trustText(guarded, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999900001111:root"},"Action":"sts:AssumeRole"}`)), Fail, "", "999900001111", nil},
		{"CMEK-16", AWS, "the account of another cluster that acts as it", func(f *Facts, _ *Declarations) {
			f.Principals[0].Clusters.Value = append(f.Principals[0].Clusters.Value, Assumer{"44444444-dddd", "999900001111"})
			f.Principals[0].Trust.Value.Text = trustText(guarded, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999900001111:root"},"Action":"sts:AssumeRole"`+guarded+`}`)
		}, Pass, "", "", nil},
		{"CMEK-16", AWS, "a condition that cannot be evaluated", trust(trustText(`,"Condition":{"StringEquals":{"sts:ExternalId":"` + organization + `","aws:SourceVpc":"vpc-1"}}`)), Error, "", "whether account", nil},
		{"CMEK-17", GCP, "disabled", actAs(func(p *Principal) { p.Account.Value.Disabled = true }), Fail, "", "disabled", []string{"CMEK-12"}},
		{"CMEK-17", GCP, "Token Creator is gone", actAs(func(p *Principal) { p.IAM.Value = p.IAM.Value.With(accountName, allow()) }), Fail, "", "", nil},
		{"CMEK-17", GCP, "somebody else, too", actAs(func(p *Principal) {
			p.IAM.Value = p.IAM.Value.With(accountName, allow(tokenCreator, "roles/iam.serviceAccountTokenCreator user:eve@acme.example"))
		}), Fail, "", "eve", nil},
		{"CMEK-17", GCP, "somebody who may view it", actAs(func(p *Principal) {
			p.IAM.Value = p.IAM.Value.With(accountName, allow(tokenCreator, "roles/iam.serviceAccountViewer user:eve@acme.example"))
		}), Pass, "", "", nil},
		{"CMEK-18", AWS, "an administrator who is expected to decrypt", both(policyOf(keyPolicyText(statement("arn:aws:iam::111122223333:role/key-admin", `"kms:Decrypt"`))),
			declare(func(d *Declarations) { d.Principals = []string{"arn:aws:iam::111122223333:role/key-admin"} })), Fail, alert.Medium, "role/key-admin", nil},
		{"CMEK-18", AWS, "an administrator who can decrypt", policyOf(keyPolicyText(statement("arn:aws:iam::111122223333:role/key-admin", `"kms:Decrypt"`))), Fail, alert.Medium, "role/key-admin", []string{"CMEK-14"}},
		{"CMEK-18", AWS, "the cluster's role", policyOf(keyPolicyText(statement(string(role), `"kms:ScheduleKeyDeletion"`))), Fail, alert.High, string(role), []string{"CMEK-12"}},
		{"CMEK-18", GCP, "an administrator who can decrypt", iam(binding(keyName, use2, "roles/cloudkms.cryptoKeyDecrypter group:key-admins@acme.example")), Fail, alert.Medium, "key-admins", []string{"CMEK-14"}},
		{"CMEK-18", GCP, "an administrator by a custom role who can decrypt", iam(func(d google.Documents) google.Documents {
			d = d.WithRole(google.Role{Name: "projects/acme-keys/roles/ops", Permissions: []google.Permission{"cloudkms.cryptoKeys.setIamPolicy"}})
			return d.With(keyName, allow(use2, "projects/acme-keys/roles/ops group:ops@acme.example", "roles/cloudkms.cryptoKeyDecrypter group:ops@acme.example"))
		}), Fail, alert.Medium, "roles/ops", []string{"CMEK-14"}},
		{"CMEK-18", GCP, "an administrator by a custom role", iam(func(d google.Documents) google.Documents {
			d = d.WithRole(google.Role{Name: "projects/acme-keys/roles/ops", Permissions: []google.Permission{"cloudkms.cryptoKeys.setIamPolicy"}})
			return d.With(keyName, allow(use2, "projects/acme-keys/roles/ops group:ops@acme.example"))
		}), Pass, "", "", nil},
		{"CMEK-18", GCP, "an administrator who is expected to decrypt", both(iam(binding(keyName, use2, "roles/cloudkms.cryptoKeyDecrypter group:key-admins@acme.example")),
			declare(func(d *Declarations) { d.Principals = []string{"group:key-admins@acme.example"} })), Fail, alert.Medium, "key-admins", nil},
		{"CMEK-18", GCP, "an owner of the project", iam(binding(projectPolicy, admins, "roles/owner user:eve@acme.example")), Fail, alert.High, "roles/owner", []string{"CMEK-14"}},
		{"CMEK-18", GCP, "the cluster's account", iam(binding(keyName, use2, "roles/cloudkms.admin serviceAccount:"+string(account))), Fail, alert.Medium, string(account), []string{"CMEK-12"}},
		{"CMEK-20", AWS, "older than the rotation", keyAt(0, grant(string(role), ago(11*oneDay), "Decrypt")), Fail, "", "before the last rotation", nil},
		{"CMEK-20", AWS, "younger than the rotation", keyAt(0, grant(string(role), ago(9*oneDay), "Decrypt")), Pass, "", "", nil},
		{"CMEK-20", AWS, "further grants", keyAt(0, grant(string(role), ago(9*oneDay), "CreateGrant")), Fail, "", "further grants", nil},
		{"CMEK-20", AWS, "somebody else, who decrypts", keyAt(0, grant("arn:aws:iam::111122223333:role/app", ago(9*oneDay), "Decrypt")), Fail, "", "not expected", []string{"CMEK-14"}},
		{"CMEK-20", AWS, "the rotation's time is not known", keyAt(0, func(k *Key) {
			grant(string(role), ago(9*oneDay), "Decrypt")(k)
			k.Description.Value.RotatedAt = time.Time{}
		}), Error, "", "whether grant g1", nil},

		{"CMEK-21", AWS, "another policy at the replica", keyAt(0, func(k *Key) {
			k.Replicas.Value[west] = keyPolicyText(statement("arn:aws:iam::111122223333:role/auditor", `"kms:DescribeKey"`))
		}), Fail, "", "another one", nil},
		{"CMEK-21", AWS, "a replica that is gone", keyAt(0, func(k *Key) { k.Description.Value.Replicas = nil }), Fail, "", "no replica", nil},
		{"CMEK-21", AWS, "a replica's policy that was not read", keyAt(0, func(k *Key) { delete(k.Replicas.Value, west) }), Error, "", "was not read", nil},
		{"CMEK-22", AWS, "another region", moved(1, "eu-central-1"), Fail, "", "eu-central-1", []string{}},
		{"CMEK-22", GCP, "another region", moved(2, "us-east4"), Fail, "", "us-east4", []string{}},
		{"CMEK-22", GCP, "another region that is declared", both(moved(2, "us-east4"), declare(func(d *Declarations) { d.Residency = map[string][]string{"us-east4": {"us-east1"}} })), Pass, "", "", nil},
		{"CMEK-23", AWS, "another environment", share(4, "x", "test"), Fail, alert.Medium, "prod and test", nil},
		{"CMEK-23", AWS, "the same environment", share(4, "x", "prod"), Pass, "", "", nil},
		{"CMEK-23", AWS, "no environment", share(4, "x", ""), Error, "", "no environment", nil},
		{"CMEK-23", AWS, "too many clusters", both(share(4, "x", "prod"), declare(func(d *Declarations) { d.Thresholds.ClustersPerKey = 1 })), Fail, alert.Low, "more than 1", nil},
		{"CMEK-23", GCP, "another environment", share(5, "x", "test"), Fail, alert.Medium, "prod and test", nil},
		{"CMEK-24", AWS, "a short wait for a key that nothing needs", keyAt(3, func(k *Key) { k.Description.Value.DeletionWindow = 29 * oneDay }), Fail, "", "less than 30 days", nil},
		{"CMEK-24", AWS, "a short wait for a key in use", keyAt(0, func(k *Key) {
			k.Description.Value.State, k.Description.Value.DeletionWindow = cmek.KeyDeletionScheduled, 7*oneDay
		}), Fail, "", "7 days", []string{"CMEK-05", "CMEK-06"}},
		{"CMEK-24", AWS, "a wait that is not known", keyAt(3, func(k *Key) { k.Description.Value.DeletionWindow = 0 }), Error, "", "not known", nil},
		{"CMEK-24", GCP, "a short wait", keyAt(5, func(k *Key) { k.Description.Value.DeletionWindow = oneDay }), Fail, "", "less than 30 days", nil},

		{"CMEK-25", AWS, "a rule disabled", part(0, 0, Part{Kind: PartRule, Name: "keyturn-kms", Region: "us-east-1", Disabled: true, Why: "is disabled"}), Fail, "", "keyturn-kms is disabled", nil},
		{"CMEK-25", AWS, "a rule of the hub disabled", part(0, 1, Part{Kind: PartRule, Name: "keyturn-alerting-event-kms", Region: "us-east-1", Bus: "keyturn", Disabled: true, Why: "is disabled"}),
			Fail, "", "keyturn-alerting-event-kms is disabled", nil},
		{"CMEK-25", AWS, "a rule that lost its target", part(0, 0, Part{Kind: PartRule, Name: "keyturn-kms", Why: "does not lead to arn:aws:events:us-east-1:111122223333:event-bus/keyturn"}), Fail, "", "does not lead to", nil},
		{"CMEK-25", AWS, "a rule that nobody says to be as it should", part(0, 0, Part{Kind: PartRule, Name: "keyturn-kms"}), Fail, "", "not as it was deployed", nil},
		{"CMEK-25", AWS, "no rules", accountAt(0, func(a *Account) { a.Watch.Value.Parts = nil }), Fail, "", "no rule", nil},
		{"CMEK-25", AWS, "a place that nobody watches", accountAt(0, func(a *Account) { a.Watch.Value = Watch{Unwatched: true} }), Fail, "", "does not watch", nil},
		{"CMEK-25", GCP, "a place that nobody watches", accountAt(3, func(a *Account) { a.Watch.Value = Watch{Unwatched: true} }), Fail, "", "does not watch", nil},
		{"CMEK-25", AWS, "dead letters", accountAt(0, func(a *Account) { a.Watch.Value.DeadLetters = 1 }), Fail, "", "dead-letter", nil},
		{"CMEK-25", AWS, "an old heartbeat", beats(0, Heartbeat{At: ago(121 * time.Minute)}), Fail, "", "2 hours", nil},
		{"CMEK-25", AWS, "a heartbeat just in time", beats(0, Heartbeat{At: ago(119 * time.Minute)}), Pass, "", "", nil},
		{"CMEK-25", AWS, "a heartbeat by a clock that is ahead", beats(0, Heartbeat{At: ago(-9 * time.Minute)}), Pass, "", "", nil},
		{"CMEK-25", AWS, "a heartbeat of the future", beats(0, Heartbeat{At: ago(-11 * time.Minute)}), Error, "", "in the future", nil},
		{"CMEK-25", AWS, "no heartbeat ever", beats(0, Heartbeat{}), Fail, "", "ever", nil},
		{"CMEK-25", AWS, "no heartbeat is sent", beats(0, Heartbeat{None: true, At: ago(time.Minute)}), Fail, "", "no heartbeat is sent", nil},
		{"CMEK-25", AWS, "an old heartbeat of another Region", beats(0, Heartbeat{At: ago(3 * time.Hour), From: "AWS/111122223333/us-west-2"}), Fail, "", "of AWS/111122223333/us-west-2", nil},
		{"CMEK-25", AWS, "a heartbeat of another Region", beats(0, Heartbeat{At: ago(time.Hour), From: "AWS/111122223333/us-west-2"}), Pass, "", "of AWS/111122223333/us-west-2", nil},
		{"CMEK-25", GCP, "no sink", accountAt(3, func(a *Account) { a.Watch.Value.Parts = a.Watch.Value.Parts[1:] }), Fail, "", "no sink", nil},
		{"CMEK-25", GCP, "no subscription", accountAt(3, func(a *Account) { a.Watch.Value.Parts = a.Watch.Value.Parts[:1] }), Fail, "", "no subscription", nil},
		{"CMEK-25", GCP, "a sink with another filter", part(3, 0, Part{Kind: PartSink, Name: "projects/acme-keys/sinks/keyturn", Why: "has another filter"}), Fail, "", "has another filter", nil},
		{"CMEK-25", GCP, "an old heartbeat", beats(3, Heartbeat{At: ago(121 * time.Minute)}), Fail, "", "2 hours", nil},
		{"CMEK-25", GCP, "no heartbeat is sent", beats(3, Heartbeat{None: true}), Fail, "", "no heartbeat is sent", nil},
		{"CMEK-26", AWS, "uses are not recorded", accountAt(0, func(a *Account) { a.Trails.Value[0].Reads = No }), Fail, "", "does not record", nil},
		{"CMEK-26", AWS, "no trail", accountAt(0, func(a *Account) { a.Trails.Value = nil }), Fail, "", "no trail", nil},
		{"CMEK-26", AWS, "a trail that nobody understands", accountAt(0, func(a *Account) { a.Trails.Value[0].Reads = Unclear }), Error, "", "what trail", nil},
		{"CMEK-26", AWS, "one trail of two", accountAt(0, func(a *Account) { a.Trails.Value = append([]Trail{{Name: "x"}}, a.Trails.Value...) }), Pass, "", "", nil},
		{"CMEK-26", AWS, "two trails, of which each records a half", accountAt(0, func(a *Account) {
			a.Trails.Value = []Trail{{Name: "writes", Writes: Yes, Reads: No}, {Name: "reads", Writes: No, Reads: Yes}}
		}), Pass, "", "", nil},
		{"CMEK-26", AWS, "two trails that record the same half", accountAt(0, func(a *Account) {
			a.Trails.Value = []Trail{{Name: "one", Writes: Yes, Reads: No}, {Name: "two", Writes: Yes, Reads: No}}
		}), Fail, "", "does not record", nil},
		{"CMEK-26", GCP, "off", accountAt(3, func(a *Account) { a.AuditConfigs.Value = nil }), Fail, "", "off", nil},
		{"CMEK-26", GCP, "the account is exempted", accountAt(3, func(a *Account) { a.AuditConfigs.Value[0].Exempted = []string{"serviceAccount:x"} }), Fail, "", "leave out", nil},
		{"CMEK-26", GCP, "all services", accountAt(3, func(a *Account) { a.AuditConfigs.Value[0].Service = "allServices" }), Pass, "", "", nil},
		{"CMEK-30", AWS, "old", func(f *Facts, _ *Declarations) { f.Credentials[0].Created.Value = ago(91 * oneDay) }, Fail, "", "older than", nil},
		{"CMEK-30", AWS, "of the future", func(f *Facts, _ *Declarations) { f.Credentials[0].Created.Value = ago(-time.Hour) }, Error, "", "in the future", nil},
		{"CMEK-30", AWS, "by a clock that is a little ahead", func(f *Facts, _ *Declarations) { f.Credentials[0].Created.Value = ago(-time.Minute) }, Pass, "", "", nil},
		{"CMEK-30", GCP, "an Org Admin", func(f *Facts, _ *Declarations) { f.Credentials[1].Roles.Value = []string{"ORG_ADMIN"} }, Fail, "", "ORG_ADMIN", nil},
		{"CMEK-30", GCP, "no roles", func(f *Facts, _ *Declarations) { f.Credentials[1].Roles.Value = nil }, Error, "", "which roles", nil},
		{"CMEK-31", AWS, "used yesterday", keyAt(3, func(k *Key) { k.LastUse.Value.At = ago(oneDay) }), Fail, "", "less than 30 days", nil},
		{"CMEK-31", AWS, "a grant", keyAt(3, grant(string(role), ago(oneDay), "Decrypt")), Fail, "", "grants on the key: 1", nil},
		{"CMEK-31", AWS, "recorded since yesterday", keyAt(3, func(k *Key) { k.LastUse.Value = LastUse{Tracked: ago(oneDay)} }), Fail, "", "since", nil},
		{"CMEK-31", GCP, "used yesterday", keyAt(7, func(k *Key) { k.LastUse.Value.At = ago(oneDay) }), Fail, "", "less than 30 days", nil},
		{"CMEK-31", GCP, "used 31 days ago", keyAt(7, func(k *Key) { k.LastUse.Value.At = ago(31 * oneDay) }), Pass, "", "", nil},
		{"CMEK-32", AWS, "put back to the key before an order", clusterAt(0, func(c *Cluster) { c.Moves.Value[0].To = past }), Fail, "", "was moved to " + string(past) + " on", nil},
		{"CMEK-32", AWS, "put back, and accepted", clusterAt(0, func(c *Cluster) {
			c.Moves.Value[0].AcceptedBy, c.Moves.Value[0].Reason, c.Pins.Value = "ana", "CHG-7", nil
		}), Pass, "", "ana accepted on", nil},
		{"CMEK-32", AWS, "another key than the accepted one", clusterAt(0, func(c *Cluster) { c.Moves.Value[0].To, c.Moves.Value[0].AcceptedBy = past, "ana" }), Fail, "", "ana accepted " + string(past), nil},
		{"CMEK-32", AWS, "moved to the replica elsewhere", clusterAt(0, func(c *Cluster) { c.Moves.Value[0].To = west }), Fail, "", string(west), nil},
		{"CMEK-32", AWS, "another region was moved", clusterAt(0, func(c *Cluster) { c.Moves.Value[0] = Move{Region: "eu-west-3", To: past, At: ago(oneDay)} }), Pass, "", "", nil},
		{"CMEK-32", AWS, "put back where no alias is followed", clusterAt(0, func(c *Cluster) { c.Pins.Value, c.Moves.Value[0].To = nil, past }), Fail, "", string(past), nil},
		{"CMEK-32", AWS, "moved where no alias is followed", clusterAt(0, func(c *Cluster) { c.Pins.Value = nil }), Pass, "", "", nil},
		{"CMEK-32", GCP, "put back to the key before an order", clusterAt(2, func(c *Cluster) { c.Moves.Value[0].To = gpast }), Fail, "", string(gpast), nil},
		{"CMEK-32", AWS, "another key", clusterAt(0, func(c *Cluster) { c.Pins.Value[0].Target = past }), Fail, "", string(past), nil},
		{"CMEK-32", AWS, "the replica elsewhere", clusterAt(0, func(c *Cluster) { c.Pins.Value[0].Target = west }), Fail, "", string(west), nil},
		{"CMEK-32", AWS, "nothing", clusterAt(0, func(c *Cluster) { c.Pins.Value[0].Target = "" }), Fail, "", "no key", nil},
	},
)

func rotating(since time.Duration) func(*Cluster) {
	return func(c *Cluster) { rotatingIn(c, 0, since) }
}

func rotatingIn(c *Cluster, region int, since time.Duration) {
	info := &c.CMEK.Value.RegionInfos[region].KeyInfos[0]
	info.Status, info.UpdatedAt = cmek.Rotating, ago(since)
	c.CMEK.Value.Status, c.CMEK.Value.RegionInfos[region].Status = cmek.Rotating, cmek.Rotating
}

// twice is a row about the cluster on each cloud.
func twice(check, name string, change func(*Cluster), want Result, severity alert.Severity, why string, with ...string) []row {
	return []row{
		{check, AWS, name, clusterAt(1, change), want, severity, why, with},
		{check, GCP, name, clusterAt(2, change), want, severity, why, with},
	}
}

// keys is a row about a key in use on each cloud; without a change, the key is declared as retired.
func keys(check, name string, change func(*Key), want Result, why string, with ...string) []row {
	if want == Fail { // what is not there any more has no period
		for i := range with {
			with[i] += ":NOT_APPLICABLE"
		}
	}
	of := func(i int, uri cmek.KeyURI) func(*Facts, *Declarations) {
		if change == nil {
			return declare(func(d *Declarations) { d.Keys = append(d.Keys, KeyDeclaration{Key: uri, Retired: true}) })
		}
		return keyAt(i, change)
	}
	return []row{{check, AWS, name, of(0, east), want, "", why, with}, {check, GCP, name, of(5, gkey), want, "", why, with}}
}

// results are the results of a fleet by check and subject.
func results(findings []Finding) map[string]Finding {
	all := map[string]Finding{}
	for _, f := range findings {
		all[f.Key()] = f
	}
	return all
}

func TestRow_changes_its_check_and_what_goes_with_it(t *testing.T) {
	facts, declared := goodFleet()
	good := results(Run(facts, declared, now))
	for _, r := range rows {
		t.Run(r.check+" "+string(r.cloud)+" "+r.name, func(t *testing.T) {
			facts, declared := goodFleet()
			r.change(&facts, &declared)
			want := map[string]bool{}
			if r.want != Pass {
				want[r.check+":"+string(r.want)] = true
			}
			for _, other := range r.with {
				if !strings.Contains(other, ":") {
					other += ":" + string(r.want)
				}
				want[other] = true
			}
			said, seen := false, map[string]bool{}
			for k, f := range results(Run(facts, declared, now)) {
				before, known := good[k]
				if !known {
					before.Result = Pass
				}
				if f.Result == before.Result || !known && f.Result == NotApplicable {
					continue
				}
				got := f.Check + ":" + string(f.Result)
				if seen[got] = true; !want[got] && (r.want != Fail || r.check >= "CMEK-05" || f.Result != NotApplicable) {
					t.Errorf("%s about %s became %s: %s", f.Check, f.Subject.ID, f.Result, f.Why)
				}
				if f.Check != r.check || f.Result != r.want {
					continue
				}
				said = said || strings.Contains(f.Why, r.why)
				check, _ := Of(f.Check)
				severity := r.severity
				if severity == "" {
					severity = check.Severity()
				}
				if r.want == Fail && f.Severity != severity {
					t.Errorf("severity %s, want %s: %s", f.Severity, severity, f.Why)
				}
				if r.want == Fail && len(f.Fix) == 0 {
					t.Error("a failure without fix")
				}
				if !said {
					t.Errorf("%q does not say %q", f.Why, r.why)
				}
			}
			for _, k := range slices.Sorted(maps.Keys(want)) {
				if !seen[k] {
					t.Errorf("%s is missing", k)
				}
			}
		})
	}
}

// Each check has a row that fails on each cloud where it has a meaning, and what fails together is what the catalog says, neither more
// nor less.
func TestCatalog_says_which_checks_fail_together(t *testing.T) {
	fails, together := map[string]bool{}, map[string]map[string]bool{}
	for _, r := range rows {
		if r.want != Fail {
			continue
		}
		fails[r.check+" "+string(r.cloud)] = true
		members := []string{r.check}
		for _, other := range r.with {
			if !strings.Contains(other, ":") {
				members = append(members, other)
			}
		}
		for _, m := range members {
			for _, other := range members {
				if id := m + " " + string(r.cloud); m != other {
					if together[id] == nil {
						together[id] = map[string]bool{}
					}
					together[id][other] = true
				}
			}
		}
	}
	for _, c := range Catalog() {
		for _, cloud := range []Cloud{AWS, GCP} {
			rule, _ := c.On(cloud)
			id := c.ID + " " + string(cloud)
			if fails[id] != (rule.NotApplicable == "") {
				t.Errorf("%s: a failing row: %t, not applicable: %q", id, fails[id], rule.NotApplicable)
			}
			if got := slices.Sorted(maps.Keys(together[id])); !slices.Equal(got, slices.Sorted(slices.Values(rule.GoesWith))) {
				t.Errorf("%s goes with %v, and the rows show %v", id, rule.GoesWith, got)
			}
		}
	}
}
