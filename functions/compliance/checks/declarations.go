package checks

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Declarations are what the owner says should be so: the part of keyturn.yaml that checks compare with.
type Declarations struct {
	Thresholds Thresholds `json:"thresholds" yaml:"thresholds"`
	// Accounts are the AWS accounts and Google projects that keys may be in; none: any.
	Accounts []string `json:"accounts,omitempty" yaml:"accounts"`
	// Principals may decrypt with any key, beside the clusters that use it: ARNs and account ids as key policies write them, and member
	// identifiers of Google ("group:…").
	Principals []string `json:"principals,omitempty" yaml:"principals"`
	// EnvironmentLabel is the label of a cluster that names its environment; "" is "environment". Environments name it for clusters by id.
	EnvironmentLabel string            `json:"environment_label,omitempty" yaml:"environment_label"`
	Environments     map[string]string `json:"environments,omitempty" yaml:"environments"`
	// Residency lists, for a region of clusters, the locations that its key may be in beside the region itself.
	Residency map[string][]string `json:"residency,omitempty" yaml:"residency"`
	Keys      []KeyDeclaration    `json:"keys,omitempty" yaml:"keys"`
	// ClusterKeys are the keys that keyturn.yaml lists for its accounts, in the section beside this one. They decide only what a key is tied to.
	ClusterKeys []cmek.KeyURI `json:"-" yaml:"-"`
	// OutOfScope are clusters that are not checked.
	OutOfScope []Exclusion `json:"out_of_scope,omitempty" yaml:"out_of_scope"`
	// AuditCredential: there is a second credential that may read the organization's audit log and roles.
	AuditCredential bool        `json:"audit_credential,omitempty" yaml:"audit_credential"`
	Exceptions      []Exception `json:"exceptions,omitempty" yaml:"exceptions"`
}

// Thresholds are limits. 0 is the default.
type Thresholds struct {
	// CryptoperiodDays is the longest time that key material may be in use (365), RotationGraceDays what a rotation may be late (7).
	CryptoperiodDays  int `json:"cryptoperiod_days,omitempty" yaml:"cryptoperiod_days"`
	RotationGraceDays int `json:"rotation_grace_days,omitempty" yaml:"rotation_grace_days"`
	// FollowHours is by when after a rotation the store keys must be re-encrypted (24), StuckHours how long an operation may run (2).
	FollowHours int `json:"follow_hours,omitempty" yaml:"follow_hours"`
	StuckHours  int `json:"stuck_hours,omitempty" yaml:"stuck_hours"`
	// ExpiryNoticeDays is how long before its expiry imported material must be replaced (30).
	ExpiryNoticeDays int `json:"expiry_notice_days,omitempty" yaml:"expiry_notice_days"`
	// ClustersPerKey is how many clusters may share a key (20).
	ClustersPerKey int `json:"clusters_per_key,omitempty" yaml:"clusters_per_key"`
	// DeletionWindowDays is the shortest wait before a deletion is final (30), WatchDays how long a retired key must be unused (30).
	DeletionWindowDays int `json:"deletion_window_days,omitempty" yaml:"deletion_window_days"`
	WatchDays          int `json:"watch_days,omitempty" yaml:"watch_days"`
	// HeartbeatMinutes is how old the last heartbeat may be ([cmek.HeartbeatAge]): longer than they are apart.
	HeartbeatMinutes int `json:"heartbeat_minutes,omitempty" yaml:"heartbeat_minutes"`
	// BackupFactor times the frequency is how old the newest backup may be (3).
	BackupFactor int `json:"backup_factor,omitempty" yaml:"backup_factor"`
	// CredentialDays is how old a credential may be (90).
	CredentialDays int `json:"credential_days,omitempty" yaml:"credential_days"`
}

var defaults = Thresholds{CryptoperiodDays: 365, RotationGraceDays: 7, FollowHours: 24, StuckHours: 2, ExpiryNoticeDays: 30, ClustersPerKey: 20,
	DeletionWindowDays: 30, WatchDays: 30, HeartbeatMinutes: int(cmek.HeartbeatAge / time.Minute), BackupFactor: 3, CredentialDays: 90}

// threshold is one of the limits by its name in keyturn.yaml.
type threshold struct {
	name           string
	value, initial *int
}

func (t *Thresholds) all() []threshold {
	d := defaults
	return []threshold{
		{"cryptoperiod_days", &t.CryptoperiodDays, &d.CryptoperiodDays}, {"rotation_grace_days", &t.RotationGraceDays, &d.RotationGraceDays},
		{"follow_hours", &t.FollowHours, &d.FollowHours}, {"stuck_hours", &t.StuckHours, &d.StuckHours},
		{"expiry_notice_days", &t.ExpiryNoticeDays, &d.ExpiryNoticeDays}, {"clusters_per_key", &t.ClustersPerKey, &d.ClustersPerKey},
		{"deletion_window_days", &t.DeletionWindowDays, &d.DeletionWindowDays}, {"watch_days", &t.WatchDays, &d.WatchDays},
		{"heartbeat_minutes", &t.HeartbeatMinutes, &d.HeartbeatMinutes}, {"backup_factor", &t.BackupFactor, &d.BackupFactor},
		{"credential_days", &t.CredentialDays, &d.CredentialDays},
	}
}

// WithDefaults are the thresholds with the default of each that is not declared.
func (t Thresholds) WithDefaults() Thresholds {
	for _, one := range t.all() {
		if *one.value == 0 {
			*one.value = *one.initial
		}
	}
	return t
}

// KeyDeclaration is what is declared about one key.
type KeyDeclaration struct {
	Key cmek.KeyURI `json:"key" yaml:"key"`
	// OwnerRotated: its owner rotates it, and so replaces material before it expires.
	OwnerRotated bool `json:"owner_rotated,omitempty" yaml:"owner_rotated"`
	// CryptoperiodDays is another limit for this key; 0 is that of the thresholds.
	CryptoperiodDays int `json:"cryptoperiod_days,omitempty" yaml:"cryptoperiod_days"`
	// Principals may decrypt with this key, as Declarations.Principals.
	Principals []string `json:"principals,omitempty" yaml:"principals"`
	// Retired: the key is to be deleted once nothing needs it.
	Retired bool `json:"retired,omitempty" yaml:"retired"`
}

// Exclusion is a cluster that is not checked, and why.
type Exclusion struct {
	Cluster string `json:"cluster" yaml:"cluster"`
	Reason  string `json:"reason" yaml:"reason"`
}

// Exception accepts the failure of a check about a subject until a date. It never hides an ERROR.
type Exception struct {
	Check string `json:"check" yaml:"check"`
	// Subject is the id of the subject ([Subject.ID]), or "*" for all.
	Subject  string `json:"subject" yaml:"subject"`
	Owner    string `json:"owner" yaml:"owner"`
	Approver string `json:"approver" yaml:"approver"`
	Reason   string `json:"reason" yaml:"reason"`
	// Expires is when the failure counts again.
	Expires time.Time `json:"expires" yaml:"expires"`
}

// The notice before an exception expires, and the longest time that one may last.
const (
	exceptionNotice  = 14 * 24 * time.Hour
	longestException = 366 * 24 * time.Hour
)

// mostThreshold is 100 years in days. A duration holds no more than 292 years, and one that overflows allows anything, or nothing.
const mostThreshold = 36500

// Validate returns every problem of the declarations at once, joined, each with what to write instead.
func (d Declarations) Validate(now time.Time) error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for _, t := range d.Thresholds.all() {
		if *t.value < 0 {
			problem("thresholds.%s is %d: give a positive number, or leave it out for %d", t.name, *t.value, *t.initial)
		}
		if *t.value > mostThreshold {
			problem("thresholds.%s is %d: give at most %d", t.name, *t.value, mostThreshold)
		}
	}
	if every := int(cmek.HeartbeatEvery / time.Minute); d.Thresholds.HeartbeatMinutes > 0 && d.Thresholds.HeartbeatMinutes <= every {
		problem("thresholds.heartbeat_minutes is %d: heartbeats are %d minutes apart; give a longer time, or leave it out for %d", d.Thresholds.HeartbeatMinutes, every, defaults.HeartbeatMinutes)
	}
	seen := map[string]bool{}
	for i, k := range d.Keys {
		if _, err := cmek.ParseKeyURI(string(k.Key)); err != nil {
			problem("keys[%d]: %w", i, err)
		}
		if k.CryptoperiodDays < 0 {
			problem("keys[%d].cryptoperiod_days is %d: give a positive number, or leave it out", i, k.CryptoperiodDays)
		}
		if k.CryptoperiodDays > mostThreshold {
			problem("keys[%d].cryptoperiod_days is %d: give at most %d", i, k.CryptoperiodDays, mostThreshold)
		}
		if place := k.Key.Canonical() + "@" + k.Key.Location(); seen[place] {
			problem("keys[%d]: %s is declared twice: join the two", i, k.Key)
		} else {
			seen[place] = true
		}
	}
	for i, x := range d.OutOfScope {
		if x.Cluster == "" || strings.TrimSpace(x.Reason) == "" {
			problem("out_of_scope[%d]: give the cluster's id and a reason", i)
		}
	}
	for _, cluster := range slices.Sorted(maps.Keys(d.Environments)) {
		if d.Environments[cluster] == "" {
			problem("environments: cluster %q has no environment: give its name", cluster)
		}
	}
	for i, x := range d.Exceptions {
		for _, err := range x.validate(now) {
			problem("exceptions[%d]: %w", i, err)
		}
	}
	return errors.Join(problems...)
}

func (x Exception) validate(now time.Time) (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if _, ok := Of(x.Check); !ok {
		problem("check %q is not in the catalog: give an id such as CMEK-09", x.Check)
	}
	for _, field := range []struct{ name, value string }{{"subject", x.Subject}, {"owner", x.Owner}, {"approver", x.Approver}, {"reason", x.Reason}} {
		if strings.TrimSpace(field.value) == "" {
			problem("%s is missing", field.name)
		}
	}
	if x.Owner != "" && strings.EqualFold(strings.TrimSpace(x.Owner), strings.TrimSpace(x.Approver)) {
		problem("owner and approver are the same: somebody else must approve")
	}
	switch {
	case x.Expires.IsZero():
		problem("expires is missing: give a date")
	case x.Expires.After(now.Add(longestException)):
		problem("expires on %s: give a date within a year", day(x.Expires))
	}
	return problems
}

// key is what is declared about a key.
func (d Declarations) key(uri cmek.KeyURI) KeyDeclaration {
	for _, k := range d.Keys {
		if sameKey(k.Key, uri) {
			return k
		}
	}
	return KeyDeclaration{Key: uri}
}

// cryptoperiod is the longest time that a key's material may be in use.
func (d Declarations) cryptoperiod(uri cmek.KeyURI) time.Duration {
	if days := d.key(uri).CryptoperiodDays; days > 0 {
		return time.Duration(days) * 24 * time.Hour
	}
	return days(d.Thresholds.CryptoperiodDays)
}

// CryptoperiodDays is the longest time, in days, that a key's material may be in use.
func (d Declarations) CryptoperiodDays(uri cmek.KeyURI) int {
	d.Thresholds = d.Thresholds.WithDefaults()
	return int(d.cryptoperiod(uri) / (24 * time.Hour))
}

// environment of a cluster; "" if none is declared.
func (d Declarations) environment(clusterID string, labels map[string]string) string {
	if e := d.Environments[clusterID]; e != "" {
		return e
	}
	if d.EnvironmentLabel == "" {
		return labels["environment"]
	}
	return labels[d.EnvironmentLabel]
}

// exception is the one for a check and a subject that lasts longest.
func (d Declarations) exception(check, subject string) (found Exception, ok bool) {
	for _, x := range d.Exceptions {
		if x.Check == check && (x.Subject == subject || x.Subject == "*") && (!ok || x.Expires.After(found.Expires)) {
			found, ok = x, true
		}
	}
	return found, ok
}

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
