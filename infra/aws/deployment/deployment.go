// Package deployment is what keyturn.yaml says: where keyturn runs on AWS, what it watches, and whom it notifies.
package deployment

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/pattern"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Deployment is the content of keyturn.yaml. The file keyturn.example.yaml beside the CDK app has every field with its meaning.
type Deployment struct {
	// Name begins the name of everything that is created; "keyturn" if empty.
	Name string `yaml:"name"`
	// Hub is where the functions run. Required.
	Hub Place `yaml:"hub"`
	// CockroachDB says which organization's clusters are followed. Required.
	CockroachDB CockroachDB `yaml:"cockroachdb"`
	// Mode is "observe" (the default) or "follow".
	Mode string `yaml:"mode"`
	// Accounts own keys, or roles that clusters assume, or manage the organization. At least one.
	Accounts []Account `yaml:"accounts"`
	// Alerts and Operations say who is notified directly, besides the channels. At least one person or list each.
	Alerts     Subscribers `yaml:"alerts"`
	Operations Subscribers `yaml:"operations"`
	// Channels are where alerts go besides; each gets a queue, a function and a secret of its own.
	Channels []Channel `yaml:"channels"`
	// Repair lets alerting cancel scheduled deletions of keys in use. It creates a role for that in each account with keys.
	Repair bool `yaml:"repair"`
	// SecurityHub lets compliance report failures, and their ends, to Security Hub of the hub's account and Region, which must be enabled there.
	SecurityHub bool `yaml:"security_hub"`
	// Archive says how long evidence is kept from deletion.
	Archive Archive `yaml:"archive"`
	// LogDays is how long logs are kept; 90 if 0.
	LogDays int `yaml:"log_days"`
	// Settings are further environment variables of the functions, by their names: KEYTURN_SETTLE, for example. They are checked
	// by the functions' own rules.
	Settings map[string]string `yaml:"settings"`
	// CMEKKeys are keys, with the roles that use them, to be created ready for clusters.
	CMEKKeys []CMEKKey `yaml:"cmek_keys"`
	// Tags go on everything that can have tags.
	Tags map[string]string `yaml:"tags"`
	// NewRegions are Regions that AWS opened after this version of keyturn. They are known besides those that it knows.
	NewRegions []string `yaml:"new_regions"`
	// Operators are the ARNs of roles in the hub's account whose holders run keyturn's command line: the reader roles trust them besides the
	// functions. Others can do everything that needs no reading of keys.
	Operators []string `yaml:"operators"`
	// Compliance is what compliance checks compare with: limits, expected principals, exceptions.
	Compliance checks.Declarations `yaml:"compliance"`

	// Version is what the deployment is made from. It is no part of the file: the program sets it.
	Version string
}

// Values of Deployment.Mode.
const (
	Observe = string(rotation.Observe)
	Follow  = string(rotation.Follow)
)

// Place is an account and a Region in it.
type Place struct {
	Account string `yaml:"account"`
	Region  string `yaml:"region"`
}

func (p Place) String() string { return p.Account + "/" + p.Region }

// CockroachDB names the organization at CockroachDB Cloud.
type CockroachDB struct {
	// OrganizationID is the external id that the roles' trust policies ask for. Required.
	OrganizationID string `yaml:"organization_id"`
	// Server is the base URL of the Cloud API; the public one if empty.
	Server string `yaml:"server"`
}

// Account is an AWS account in which something is watched.
type Account struct {
	ID string `yaml:"id"`
	// Keys are the ARNs of keys that clusters use; of a multi-Region key the primary and each replica.
	Keys []cmek.KeyURI `yaml:"keys"`
	// Aliases are the ARNs of the aliases that regions are pinned to ("keyturn pin"). keyturn may read whichever keys of the account have one: who
	// may move such an alias makes a key known to keyturn.
	Aliases []cmek.KeyURI `yaml:"aliases"`
	// Roles are the ARNs of the roles that clusters assume.
	Roles []string `yaml:"roles"`
	// Management says that the account manages the organization, whose guard rails are changed there.
	Management bool `yaml:"management"`
	// Regions are watched besides those that follow from the fields above: such as the home Region of the account's trail, where
	// its end would be recorded.
	Regions []string `yaml:"regions"`
	// Trail is "checked" (the default) or "asserted": the owner's word that an organization trail, which this account cannot read,
	// records the management events of KMS.
	Trail string `yaml:"trail"`
	// Heartbeat is the Region from which the whole path from this account is proved every hour, by a canary key; none if empty. With an
	// asserted trail every watched Region has one.
	Heartbeat string `yaml:"heartbeat"`

	// implied says that keyturn.yaml does not list the account: it is the hub's.
	implied bool
}

// Values of Account.Trail.
const (
	TrailChecked  = "checked"
	TrailAsserted = "asserted"
)

// Subscribers are notified directly.
type Subscribers struct {
	Email []string `yaml:"email"`
	// SMS numbers in E.164 form.
	SMS []string `yaml:"sms"`
}

// Channel is one way out for alerts.
type Channel struct {
	// Name distinguishes channels of one kind; the kind if empty.
	Name string `yaml:"name"`
	// Kind is "slack", "pagerduty" or "webhook".
	Kind string `yaml:"kind"`
	// URL is where a webhook goes (required), or PagerDuty's endpoint for the EU.
	URL string `yaml:"url"`
	// MinSeverity is the least severity that is sent; by kind if empty.
	MinSeverity string `yaml:"min_severity"`
	// AllowPrivate lets a webhook have a private address.
	AllowPrivate bool `yaml:"allow_private"`
}

// Archive says how the evidence is kept.
type Archive struct {
	// RetentionDays is how long no object can be deleted; 400 if left out.
	RetentionDays *int `yaml:"retention_days"`
	// Lock is "governance" (the default) or "compliance", which nobody can shorten, not even the account's root user.
	Lock string `yaml:"lock"`
}

// Values of Archive.Lock.
const (
	LockGovernance = "governance"
	LockCompliance = "compliance"
)

// CMEKKey is a key to be created for a cluster, with the role that the cluster assumes.
type CMEKKey struct {
	// Name begins the key's alias and is the role's name, followed by "-cmek".
	Name    string `yaml:"name"`
	Account string `yaml:"account"`
	// Regions are the cluster's; the key is created in each. The first is the primary of a multi-Region key.
	Regions []string `yaml:"regions"`
	// MultiRegion makes one key with replicas instead of a key for each Region.
	MultiRegion bool `yaml:"multi_region"`
	// RotationDays is the period of automatic rotation, 90 to 2560; 365 if 0.
	RotationDays int `yaml:"rotation_days"`
	// PrimaryKey is the ARN of a multi-Region key's primary, known after its first deployment; its replicas are made then.
	PrimaryKey cmek.KeyURI `yaml:"primary_key"`
	// ClusterAccount is the AWS account from which the cluster acts: account_id of GET /api/v1/clusters/{cluster_id}.
	ClusterAccount string `yaml:"cluster_account"`
}

// Load reads keyturn.yaml. The error names every problem at once, each with its line, its field and how to fix it; if the file could
// be read it wraps [Problems].
func Load(file string) (Deployment, error) {
	data, err := readFile(file)
	if err != nil {
		return Deployment{}, err
	}
	d, err := Parse(data)
	if err != nil {
		return Deployment{}, fmt.Errorf("%s has problems:\n%w", file, err)
	}
	return d, nil
}

// Parse is Load for a file's content. Its error is [Problems].
func Parse(data []byte) (Deployment, error) {
	var d Deployment
	r := &reader{}
	r.read(data, &d)
	d.fill()
	found := d.validate()
	r.locate(found)
	if problems := slices.Concat(r.problems, found.sorted(r.unread)).sorted(nil); len(problems) > 0 {
		return Deployment{}, problems
	}
	return d, nil
}

// UnknownVersion is the version of a deployment that was made by a program without one.
const UnknownVersion = "unknown"

func readFile(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w; begin with a copy of infra/aws/keyturn.example.yaml", err)
	}
	return data, nil
}

// MadeFrom is the version of the deployment; [UnknownVersion] if the program set none.
func (d Deployment) MadeFrom() string { return cmp.Or(d.Version, UnknownVersion) }

// fill sets what may be left out.
func (d *Deployment) fill() {
	or(&d.Name, "keyturn")
	or(&d.Mode, Observe)
	or(&d.Archive.RetentionDays, ptr(400))
	or(&d.Archive.Lock, LockGovernance)
	or(&d.LogDays, 90)
	if watched := func(a Account) bool { return a.ID == d.Hub.Account }; !slices.ContainsFunc(d.Accounts, watched) && d.Hub.Account != "" {
		d.Accounts = append(d.Accounts, Account{ID: d.Hub.Account, implied: true}) // the rules there are ours
	}
	for i := range d.Accounts {
		or(&d.Accounts[i].Trail, TrailChecked)
	}
	for i := range d.Channels {
		or(&d.Channels[i].Name, d.Channels[i].Kind)
	}
	for i := range d.CMEKKeys {
		or(&d.CMEKKeys[i].RotationDays, 365)
	}
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func ptr[T any](value T) *T { return &value }

// GlobalRegion is where IAM and Organizations record their calls (docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-concepts.html).
const GlobalRegion = "us-east-1"

// WatchedRegions are the Regions of the account in which events are picked up: where its keys and pinned aliases are, where the hub's rules are, and
// the one of IAM, Organizations and the account itself.
func (d Deployment) WatchedRegions(a Account) []string {
	regions := map[string]bool{}
	for _, key := range slices.Concat(a.Keys, a.Aliases) {
		regions[key.Location()] = true
	}
	for _, region := range a.Regions {
		regions[region] = true
	}
	if a.ID == d.Hub.Account {
		regions[d.Hub.Region] = true
	}
	for _, k := range d.CMEKKeys {
		if k.Account == a.ID {
			for _, region := range k.Regions {
				regions[region] = true
			}
		}
	}
	regions[GlobalRegion] = true
	return slices.Sorted(maps.Keys(regions))
}

// Scope is what is watched in a Region of the account.
func (d Deployment) Scope(a Account, region string) pattern.Scope {
	return d.scope(a, region, d.Own(a, region))
}

func (d Deployment) scope(a Account, region string, own pattern.Own) pattern.Scope {
	scope := pattern.Scope{Roles: d.Roles(), Own: own, Global: region == GlobalRegion}
	for _, key := range a.Keys {
		if key.Location() == region {
			scope.Keys = append(scope.Keys, key)
		}
	}
	return scope
}

// Rules are those that forward events from a Region of the account to the hub.
func (d Deployment) Rules(a Account, region string) []pattern.Rule {
	return d.rules(a, region, d.Own(a, region))
}

func (d Deployment) rules(a Account, region string, own pattern.Own) []pattern.Rule {
	return append(pattern.Forwarded(subscribed(), d.scope(a, region, own)), pattern.AlarmChanges(own.Alarms)...)
}

// Heartbeats are the Regions of the account from which the whole path is proved every hour: the one that its owner names, and where
// nobody but the owner says that a trail records KMS, every one.
func (d Deployment) Heartbeats(a Account) []string {
	if a.Trail == TrailAsserted {
		return d.WatchedRegions(a)
	}
	if a.Heartbeat == "" {
		return nil
	}
	return []string{a.Heartbeat}
}

// Keys are the keys of all accounts.
func (d Deployment) Keys() (keys []cmek.KeyURI) {
	for _, a := range d.Accounts {
		keys = append(keys, a.Keys...)
	}
	return keys
}

// Roles are the roles of all accounts that clusters assume, those to be created included.
func (d Deployment) Roles() (roles []string) {
	for _, a := range d.Accounts {
		roles = append(roles, d.AccountRoles(a)...)
	}
	return roles
}

// AccountRoles are the roles of one account that clusters assume, those to be created included.
func (d Deployment) AccountRoles(a Account) []string {
	roles := slices.Clone(a.Roles)
	for _, k := range d.CMEKKeys {
		if k.Account == a.ID && !slices.Contains(roles, k.Role()) {
			roles = append(roles, k.Role())
		}
	}
	return roles
}

// RoleName is the name of the role that the cluster will assume.
func (k CMEKKey) RoleName() string { return k.Name + "-cmek" }

// Role is the ARN of the role that the cluster will assume.
func (k CMEKKey) Role() string { return "arn:aws:iam::" + k.Account + ":role/" + k.RoleName() }
