package checks

import (
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// Reading is when and where a fact was read, or why it was not.
type Reading struct {
	// ReadAt is when the value was true: for what the ledger keeps, when the sweep read it. Zero: the fact was not read.
	ReadAt time.Time `json:"read_at,omitzero"`
	// Source is the call or the ledger's item, for example "AWS KMS GetKeyPolicy" or "ledger".
	Source string `json:"source,omitempty"`
	// Unread says why the fact could not be read; "" if it was. Grant is the permission that is missing, exactly and with where it is to be
	// given ("kms:ListGrants in the key policy of arn:…"); "" if something else is the matter.
	Unread string `json:"unread,omitempty"`
	Grant  string `json:"grant,omitempty"`
}

// Fact is a value with its reading. The zero Fact was not read. The value of an unread fact means nothing.
type Fact[T any] struct {
	Value T `json:"value"`
	Reading
}

// Known is a fact that was read.
func Known[T any](value T, at time.Time, source string) Fact[T] {
	return Fact[T]{Value: value, Reading: Reading{ReadAt: at, Source: source}}
}

// Unread is a fact that could not be read.
func Unread[T any](source, why, grant string) Fact[T] {
	return Fact[T]{Reading: Reading{Source: source, Unread: why, Grant: grant}}
}

// Facts are a snapshot of what was read, of a whole fleet or of a part of it, each thing once. Nothing is concluded from what is not among
// them: a key that a cluster of the snapshot names is checked, and its facts are unread if Keys does not have it.
type Facts struct {
	// Organization is the id of the organization at Cockroach Labs, the external id of trust policies (Cloud API, GetOrganizationInfo).
	Organization Fact[string] `json:"organization"`

	Clusters    []Cluster    `json:"clusters,omitempty"`
	Keys        []Key        `json:"keys,omitempty"`
	Principals  []Principal  `json:"principals,omitempty"`
	Accounts    []Account    `json:"accounts,omitempty"`
	Credentials []Credential `json:"credentials,omitempty"`
}

// Cluster is a cluster that the Cloud API lists, whether it has a CMEK or not.
type Cluster struct {
	ID string `json:"id"`
	// Info is the cluster itself: the ledger's inventory of at most 20 minutes, else a fresh GET of the Cloud API.
	Info Fact[cmek.Cluster] `json:"info"`
	// CMEK is its GET /cmek, from the ledger or fresh as Info. The zero ClusterInfo is a cluster without CMEK. An answer without keys of a
	// cluster that had some is unread, since a CMEK cannot be switched off.
	CMEK Fact[cmek.ClusterInfo] `json:"cmek"`
	// Done are the last re-encryptions that were completed or adopted as complete, one for each region and key (ledger).
	Done Fact[[]Done] `json:"done"`
	// Requests are keyturn's own writes to /cmek, whatever became of them, at least as far back as Audit (ledger).
	Requests Fact[[]Request] `json:"requests"`
	// Backups are the managed backups and their configuration (Cloud API, ListBackups and backups-config).
	Backups Fact[Backups] `json:"backups"`
	// Audit are the CMEK entries about the cluster in the organization's audit log (Cloud API, auditlogevents; ORG_ADMIN, or AUDITOR with
	// version 2026-09-15: a second credential).
	Audit Fact[[]AuditEntry] `json:"audit"`
	// Pins are the regions' standing orders to follow an alias (ledger), each with what the alias points to (AWS KMS DescribeKey).
	Pins Fact[[]Pin] `json:"pins"`
	// Moves are the last orders that moved each region to another key (ledger).
	Moves Fact[[]Move] `json:"moves"`
}

// Move is the key that a region was last moved to by an order, and when.
type Move struct {
	Region string      `json:"region"`
	To     cmek.KeyURI `json:"to"`
	At     time.Time   `json:"at"`
	// Reported is the alert that says that the region is on that key no more; "" while there is none.
	Reported string `json:"reported,omitempty"`
	// AcceptedBy is who said that To is the right key when the region was on it, and Reason why; "" if the order moved it there.
	AcceptedBy string `json:"accepted_by,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

// Done is the key version that a region's store key was last re-encrypted under, and when that was confirmed.
type Done struct {
	Region  string          `json:"region"`
	URI     cmek.KeyURI     `json:"uri"`
	Version cmek.KeyVersion `json:"version"`
	At      time.Time       `json:"at"`
}

// Request is a write of keyturn.
type Request struct {
	At time.Time `json:"at"`
}

// Backups are a cluster's managed backups.
type Backups = cmek.Backups

// The actions of the audit log that change a CMEK (Cloud API, AuditLogAction).
const (
	AuditUpdate = "AUDIT_LOG_ACTION_UPDATE_CMEK"
	AuditRevoke = "AUDIT_LOG_ACTION_REVOKE_CMEK"
)

// AuditEntry is an entry of the organization's audit log.
type AuditEntry = cmek.AuditEntry

// Pin is the alias that a region follows.
type Pin struct {
	Region string `json:"region"`
	Alias  string `json:"alias"`
	// Target is the key that the alias points to; "" if it points to none or does not exist.
	Target cmek.KeyURI `json:"target,omitempty"`
}

// Key is a key at its own URI: each replica of a multi-Region key is one of its own.
type Key struct {
	URI cmek.KeyURI `json:"uri"`
	// Description is the key as its KMS shows it: AWS KMS DescribeKey and ListKeyRotations, Cloud KMS GetCryptoKey and ListCryptoKeyVersions.
	// A key that does not exist is read: its state says so.
	Description Fact[Description] `json:"description"`
	// Rotation is its automatic rotation: AWS KMS GetKeyRotationStatus, Cloud KMS GetCryptoKey.
	Rotation Fact[Rotation] `json:"rotation"`
	// FirstSeen is when keyturn saw the version that is current become so; zero if it has been since keyturn knows the key (ledger). Cloud KMS
	// does not tell it.
	FirstSeen Fact[time.Time] `json:"first_seen"`
	// Uses are all key infos, current and past, of all clusters that name the key or a related multi-Region key (the ledger's inventory by
	// key). None: the inventory is complete, and no cluster does.
	Uses Fact[[]Use] `json:"uses"`
	// Ties are what else than a key info of a cluster ties the key to one: that it is declared, or that the ledger knows it. Only [Retire] needs
	// them, of a key without uses.
	Ties Fact[[]string] `json:"ties"`
	// Retention is the longest time that any cluster of Uses keeps a backup (Cloud API, backups-config of each).
	Retention Fact[time.Duration] `json:"retention"`
	// Policy is the key policy as JSON text, at most 2 hours old: the one that the sweep noted, or AWS KMS GetKeyPolicy. AWS only.
	Policy Fact[string] `json:"policy"`
	// Replicas are the key policies of all other keys of a multi-Region key, by their URIs (GetKeyPolicy in each Region). AWS only.
	Replicas Fact[map[cmek.KeyURI]string] `json:"replicas"`
	// Grants are those of AWS KMS ListGrants. AWS only.
	Grants Fact[[]KeyGrant] `json:"grants"`
	// IAM are the allow and deny policies of the key, its ring, its project and what is above, with all roles that they bind (iam.roles.get).
	// Google only.
	IAM Fact[google.Documents] `json:"iam"`
	// LastUse is AWS KMS GetKeyLastUsage, or what the Data Access logs of Cloud KMS show.
	LastUse Fact[LastUse] `json:"last_use"`
}

// Description is what the KMS says about a key.
type Description = cmek.KeyDescription

// Rotation is a key's automatic rotation.
type Rotation = cmek.KeyRotation

// Use is a key info of a cluster, current or past.
type Use struct {
	ClusterID   string            `json:"cluster_id"`
	ClusterName string            `json:"cluster_name"`
	Labels      map[string]string `json:"labels,omitempty"`
	Region      string            `json:"region"`
	Spec        cmek.KeySpec      `json:"spec"`
	Status      cmek.Status       `json:"status"`
	// Until is when a DISABLED info was last updated, which is when the region left the key; zero for others, and if it is not known.
	Until time.Time `json:"until,omitzero"`
	// Deleted is when the cluster was deleted, if it was; its infos are DISABLED then, whatever they were.
	Deleted time.Time `json:"deleted,omitzero"`
	// Done is the version that the region's store key was last re-encrypted under with this key, and when; zero if the ledger has none.
	Done   cmek.KeyVersion `json:"done,omitzero"`
	DoneAt time.Time       `json:"done_at,omitzero"`
	// Adopted is how keyturn found the region up to date without a request of its own; "" if it sent one.
	Adopted string `json:"adopted,omitempty"`
}

// KeyGrant is a grant of AWS KMS.
type KeyGrant = cmek.KeyGrant

// LastUse is the last successful operation with a key.
type LastUse = cmek.KeyUsage

// Document is a policy of a role as JSON text. Missing: the role does not exist.
type Document struct {
	Text    string `json:"text,omitempty"`
	Missing bool   `json:"missing,omitempty"`
}

// Principal is a role or a service account that clusters act as.
type Principal struct {
	ID cmek.Principal `json:"id"`
	// Clusters are all clusters that name the principal in a key info in force, with their accounts (the ledger's inventory).
	Clusters Fact[[]Assumer] `json:"clusters"`
	// Trust and Policies are the role's, as the sweep noted them within 2 hours, or IAM's own (iam:GetRole; iam:ListRolePolicies,
	// iam:GetRolePolicy, iam:ListAttachedRolePolicies, iam:GetPolicy, iam:GetPolicyVersion), in the form of package policy. AWS only.
	Trust    Fact[Document] `json:"trust"`
	Policies Fact[Document] `json:"policies"`
	// Account is the service account (iam.serviceAccounts.get), IAM the policies of it, its project and what is above. Google only.
	Account Fact[google.ServiceAccount] `json:"account"`
	IAM     Fact[google.Documents]      `json:"iam"`
}

// Assumer is a cluster that acts as a principal.
type Assumer struct {
	ClusterID string `json:"cluster_id"`
	// AccountID is the cluster's account_id: an AWS account or a Google project of Cockroach Labs.
	AccountID string `json:"account_id"`
}

// Account is an AWS account in one Region, or a Google project, that has keys of clusters.
type Account struct {
	Cloud    Cloud  `json:"cloud"`
	ID       string `json:"id"`
	Location string `json:"location,omitempty"`
	// Watch is what keyturn detects changes by there (AWS: events:DescribeRule, events:ListTargetsByRule, sqs:GetQueueAttributes; Google:
	// logging.sinks.get, pubsub.subscriptions.get), compared with what the deployment says that it consists of.
	Watch Fact[Watch] `json:"watch"`
	// Heartbeat is the last one that proves the place's detection (ledger).
	Heartbeat Fact[Heartbeat] `json:"heartbeat"`
	// Trails are the trails that are seen in the Region (cloudtrail:DescribeTrails, GetTrailStatus, GetEventSelectors), as trailcheck judges
	// them. AWS only.
	Trails Fact[[]Trail] `json:"trails"`
	// AuditConfigs are those of the project and of what is above that concern Cloud KMS (resourcemanager.projects.getIamPolicy). Google only.
	AuditConfigs Fact[[]AuditConfig] `json:"audit_configs"`
}

// Heartbeat is keyturn's own test event.
type Heartbeat struct {
	// At is when the last one was sent that came through; zero if none ever did.
	At time.Time `json:"at,omitzero"`
	// From is the place that it is of, as a subject's id, if the deployment sends none from the account's own and this one proves the rest of the
	// way; "" else. None: no heartbeat proves anything about the place.
	From string `json:"from,omitempty"`
	None bool   `json:"none,omitempty"`
}

// PartKind is the kind of a part of the detection.
type PartKind string

// The parts: rules of EventBridge, sinks of Cloud Logging, subscriptions to their topic. The alarm about keys that are disabled or deleted is
// keyturn's alerting, to which they lead.
const (
	PartRule         PartKind = "rule"
	PartSink         PartKind = "sink"
	PartSubscription PartKind = "subscription"
)

// Watch is the detection in one place: each part that the deployment says to have made for it, there or in the hub.
type Watch struct {
	// Unwatched: the deployment made nothing for the place.
	Unwatched bool   `json:"unwatched,omitempty"`
	Parts     []Part `json:"parts"`
	// DeadLetters counts the messages in its dead-letter queues: events that did not reach alerting. Google Cloud tells that by metrics only,
	// about which there is an alarm.
	DeadLetters int `json:"dead_letters"`
}

// Part is a part of the detection. Healthy: it is enabled, selects what it was made to select, and leads where it should; else Why says what
// is wrong.
type Part struct {
	Kind    PartKind `json:"kind"`
	Name    string   `json:"name"`
	Healthy bool     `json:"healthy"`
	Why     string   `json:"why,omitempty"`
	// Disabled: nothing else is known to be wrong, and Region and Bus ("" for the default one) are where a rule of AWS is to be enabled.
	Disabled bool   `json:"disabled,omitempty"`
	Region   string `json:"region,omitempty"`
	Bus      string `json:"bus,omitempty"`
}

// Answer is three-valued; the zero Answer is Unclear and never good news.
type Answer string

// The answers.
const (
	Unclear Answer = ""
	Yes     Answer = "yes"
	No      Answer = "no"
)

// Trail is what a trail records of KMS's management events: Writes are changes of keys, Reads are uses of them. Why says why not.
type Trail struct {
	Name   string `json:"name"`
	Writes Answer `json:"writes"`
	Reads  Answer `json:"reads"`
	Why    string `json:"why,omitempty"`
}

// AuditConfig is the configuration of one kind of Data Access logs of a service.
type AuditConfig struct {
	// Service is cloudkms.googleapis.com or allServices, LogType for example DATA_READ.
	Service  string   `json:"service"`
	LogType  string   `json:"log_type"`
	Exempted []string `json:"exempted,omitempty"`
}

// Credential is a secret that keyturn authenticates with at the Cloud API.
type Credential struct {
	Cloud Cloud `json:"cloud"`
	// Name is the secret's ARN or resource name.
	Name string `json:"name"`
	// Created is when its current value was made (AWS: secretsmanager:ListSecretVersionIds; Google: secretmanager.versions.get).
	Created Fact[time.Time] `json:"created"`
	// Roles are those of the service account at Cockroach Labs, by their API names. Only an Org Admin or an auditor may read them.
	Roles Fact[[]string] `json:"roles"`
}
