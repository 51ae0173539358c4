package compliance

import (
	"context"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
)

// The ports beside those of package cmek. None has a method that changes anything.

// Cloud reads the Cloud API. Its reads are bounded by a rate of their own.
type Cloud interface {
	// ClusterPage and CMEK are those of [cmek.Cloud].
	ClusterPage(ctx context.Context, page string) (clusters []cmek.Cluster, next string, err error)
	CMEK(ctx context.Context, id string) (cmek.ClusterInfo, error)
	// OrganizationID is the external id of trust policies.
	OrganizationID(ctx context.Context) (string, error)
	// Backups reads the configuration of a cluster's managed backups, and the newest of the last periods.
	Backups(ctx context.Context, id string, periods int) (cmek.Backups, error)
}

// Keys reads all that a KMS shows of a key.
type Keys interface {
	Details(ctx context.Context, uri cmek.KeyURI) cmek.KeyDetails
}

// KeyUse reads who may use a key without its policy, and when somebody used it last. Refusals are a [*cmek.PermissionError].
type KeyUse interface {
	Grants(ctx context.Context, uri cmek.KeyURI) ([]cmek.KeyGrant, error)
	LastUse(ctx context.Context, uri cmek.KeyURI) (cmek.KeyUsage, error)
}

// UseLog reads the records of successful cryptographic operations with a key from a time on. Refusals are a [*cmek.PermissionError].
type UseLog interface {
	RecordedUses(ctx context.Context, uri cmek.KeyURI, since time.Time) (cmek.RecordedUses, error)
}

// Secret is where a credential of keyturn at Cockroach Labs is kept. It tells when the current one was stored, and not what it is.
type Secret interface {
	Name() string
	Created(ctx context.Context) (time.Time, error)
}

// OwnSecret is that of compliance itself, which it can read.
type OwnSecret interface {
	Secret
	Value(ctx context.Context) (string, error)
}

// Audit reads what takes a credential of its own at Cockroach Labs. Refusals are a [*cmek.PermissionError].
type Audit interface {
	// CMEKChanges reads the changes of CMEKs in the organization's audit log after the time.
	CMEKChanges(ctx context.Context, after time.Time) ([]cmek.AuditEntry, error)
	// Roles reads the roles of the service account to which the API key belongs.
	Roles(ctx context.Context, apiKeyID string) ([]string, error)
}

// Hub is where findings are reported beside the archive: Security Hub. It returns those that it did not take.
type Hub interface {
	Import(ctx context.Context, findings []cmek.SecurityFinding) ([]cmek.RejectedFinding, error)
}

// KeyPolicies reads key policies of AWS KMS, as [cmek.Policies] does.
type KeyPolicies interface {
	KeyPolicy(ctx context.Context, uri cmek.KeyURI) (string, error)
}

// Roles reads roles of AWS IAM, as [cmek.Policies] does.
type Roles interface {
	RoleTrust(ctx context.Context, role cmek.Principal) (string, error)
	RolePolicies(ctx context.Context, role cmek.Principal) (string, error)
}

// Trails says what the trails that are seen in a Region of an account record of KMS.
type Trails interface {
	Trails(ctx context.Context, account, region string) ([]checks.Trail, error)
}

// Rules reads rules of EventBridge, and how many messages wait in queues of SQS. It acts as the reader of the account; account "" is for
// its own credentials. Refusals are a [*cmek.PermissionError].
type Rules interface {
	// Rule reads a rule of a bus, "" for the default one, with all its targets; [cmek.ErrNotFound] if there is none.
	Rule(ctx context.Context, account, region, bus, name string) (cmek.EventRule, error)
	// Waiting counts the messages in a queue of the owner's account.
	Waiting(ctx context.Context, account, owner, region, queue string) (int, error)
}

// Sinks reads sinks of Cloud Logging and subscriptions of Pub/Sub by their whole names; [cmek.ErrNotFound] if there is none. Refusals are a
// [*cmek.PermissionError].
type Sinks interface {
	Sink(ctx context.Context, name string) (cmek.LogSink, error)
	Subscription(ctx context.Context, name string) (cmek.PushSubscription, error)
	// UsesKept is for how long a project keeps the Data Access logs of Cloud KMS where they are read. What leaves some out is an error.
	UsesKept(ctx context.Context, project string) (time.Duration, error)
}

// AWS is how AWS is read. What is nil is not read, and every check that needs it says so.
type AWS struct {
	Keys Keys
	Use  KeyUse
	// Aliases is nil where aliases are not read.
	Aliases  cmek.Aliases
	Policies KeyPolicies
	Roles    Roles
	Trails   Trails
	Log      UseLog
	Rules    Rules
	// Secrets hold the credentials of keyturn's functions.
	Secrets []Secret
}

// Documents reads policies, roles and service accounts of Google Cloud, as [cmek.Policies] does and under its names.
type Documents interface {
	Document(ctx context.Context, name string) (string, error)
}

// Google is how Google Cloud is read, as AWS is.
type Google struct {
	Keys     Keys
	Policies Documents
	Log      UseLog
	Sinks    Sinks
	// Secrets hold the credentials of keyturn's functions.
	Secrets []Secret
}
