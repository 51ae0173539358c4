package alerting

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Usage is who needs what an event is about, as far as is known.
type Usage struct {
	// Clusters need it: by their current keys or past ones (backups were written under those), or by their principal.
	Clusters []cmek.AffectedCluster
	// Complete is true if nobody else can need it: a walk over the whole fleet ended within the hour.
	Complete bool
}

// InUse reports that somebody needs it. Neither in use nor unused means unknown, which is rated like in use.
func (u Usage) InUse() bool { return len(u.Clusters) > 0 }

// Unused reports that nobody needs it, for certain.
func (u Usage) Unused() bool { return len(u.Clusters) == 0 && u.Complete }

// Effect is what a change of a policy does to the clusters' principal and to strangers.
type Effect struct {
	// CutsOff: the principal can no longer use the key. Exposes: somebody new, or everybody, can.
	CutsOff, Exposes bool
	// Words say what changed, one sentence each.
	Words []string
	// Previous is the policy before, as JSON text; "" if it is not known.
	Previous string
	// Unclear is why it cannot be told, or "".
	Unclear string
}

// Facts are what was read about an event in the time there was.
type Facts struct {
	Usage Usage
	// Key is the key's state now; KeyKnown is false if it could not be read in time. The KMS lags behind events, so a state
	// may raise a severity and never lowers it.
	Key      cmek.Key
	KeyKnown bool
	// Effect is set for changes of policies.
	Effect *Effect
	// Harm says what breaks at each cluster and when, by its id, as far as it was read.
	Harm map[string]string
	// OurRule is true if the event rule changed is one of keyturn's own.
	OurRule bool
	// ByCluster is true if the principal of the call is that of a cluster that uses the key.
	ByCluster bool
	// ByRepair is true if the call was a repair by keyturn itself.
	ByRepair bool
	// NoInventory is true if nobody could be asked which principals are clusters'. ByCluster says nothing then.
	NoInventory bool
}

// Assessment is the verdict about one event.
type Assessment struct {
	// Entry is the entry of the catalog of risky changes, as "RK-01"; "" if the event is none.
	Entry    string
	Severity cmek.Severity
	// Unused is what the severity would be if nobody used the key, and the severity if that is certain.
	Unused cmek.Severity
	// Incident names what is broken from now on, without the key; "" if nothing is, or if it has no end that could be seen.
	Incident string
	// Recovery: the event may end an incident of its kind. It does so only together with good reads of the state.
	Recovery bool
	// Summary is one line; Consequence what breaks and when.
	Summary, Consequence string
	// Deadline is when it becomes final; zero if it does not, or if that is not known.
	Deadline time.Time
}

// None is the severity of an event that nobody needs to hear of.
const None cmek.Severity = "none"

// levels orders severities; lower steps towards None.
var levels = []cmek.Severity{None, cmek.Info, cmek.Low, cmek.Medium, cmek.High, cmek.Critical}

func level(s cmek.Severity) int {
	for i, l := range levels {
		if l == s {
			return i
		}
	}
	return 0
}

// lowered is the severity so many steps lower, but not below Info.
func lowered(s cmek.Severity, steps int) cmek.Severity {
	if level(s) <= level(cmek.Info) {
		return s
	}
	return levels[max(level(s)-steps, level(cmek.Info))]
}

func worse(a, b cmek.Severity) cmek.Severity {
	if level(a) >= level(b) {
		return a
	}
	return b
}

// risk is a row of the catalog: how bad a change is if it succeeded and the key is in use.
type risk struct {
	entry    string
	severity cmek.Severity
	// incident is shared by all changes that leave the same thing broken.
	incident string
	recovery bool
	// happened follows the name of what the event is about; consequence says what breaks.
	happened, consequence string
}

// Incidents: what is broken as long as one is open.
const (
	IncidentKey    = "key-unusable"
	IncidentAccess = "access-lost"
)

const (
	unusable = "Nodes that restart cannot rejoin the cluster, and managed backups fail without a message from anybody. " +
		"Running nodes go on with the keys they hold in memory, so the harm begins with the next restart or backup."
	gone  = "Whatever was encrypted under the key cannot be read once the nodes restart. There is no way back for the key itself."
	blind = "Changes that endanger keys may happen unseen until this is mended."
	// following: by default keyturn only observes.
	following = "keyturn re-encrypts them when it follows (KEYTURN_MODE=follow)."
	// lockout: whoever sets a policy past this check may lock everybody out of the key, its administrators included.
	lockout = "The policy lockout safety check was bypassed."
)

// catalog rates each change as the catalog of risky changes does, for a key in use.
var catalog = map[cmek.Change]risk{
	cmek.DeletionWasScheduled: {"RK-01", cmek.Critical, IncidentKey, false, "was scheduled for deletion", unusable + " When the waiting period is over, the key is gone for good."},
	cmek.KeyWasDisabled:       {"RK-02", cmek.Critical, IncidentKey, false, "was disabled", unusable},
	cmek.KeyWasDeleted:        {"RK-03", cmek.Critical, IncidentKey, false, "was deleted for good", gone},
	cmek.MaterialDeleted:      {"RK-04", cmek.Critical, IncidentKey, false, "lost imported key material: it was deleted", unusable},
	cmek.MaterialExpired:      {"RK-04", cmek.Critical, IncidentKey, false, "lost imported key material: it expired", unusable},
	cmek.KeyStoreDisconnected: {"RK-02", cmek.Critical, IncidentKey, false, "was disconnected", "No key in it can be used. " + unusable},
	cmek.KeyStoreChanged:      {"RK-02", cmek.High, "", false, "was changed or deleted", "If the keys in it can no longer be used: " + unusable},
	cmek.KeyStoreConnected:    {"RK-15", cmek.Info, IncidentKey, true, "was connected again", ""},
	cmek.MaterialImported:     {"RK-05", cmek.Medium, IncidentKey, true, "got key material by import", "Material with an expiry date makes the whole key unusable on that date."},

	cmek.KeyPolicyReplaced: {"RK-06", cmek.Medium, IncidentAccess, true, "got another key policy", ""},
	cmek.GrantCreated:      {"RK-08", cmek.Medium, "", false, "got a grant", "Whoever holds the grant may use the key, whatever its policy says."},
	cmek.GrantRemoved:      {"RK-08", cmek.Medium, "", false, "lost a grant", "A cluster's access comes from the key policy, not from grants; unless yours is set up otherwise, nothing breaks."},

	cmek.RoleTrustChanged:  {"RK-09", cmek.High, IncidentAccess, true, "got another trust policy", ""},
	cmek.RoleDeleted:       {"RK-09", cmek.Critical, IncidentAccess, false, "was deleted", "The clusters can no longer use their keys. " + unusable + " A new role of the same name does not restore access: the key policy must be saved again, too."},
	cmek.RolePolicyChanged: {"RK-09", cmek.High, IncidentAccess, true, "had its permissions changed", "An explicit Deny anywhere cuts the clusters off."},
	cmek.BoundaryChanged:   {"RK-09", cmek.High, IncidentAccess, true, "had its permissions boundary changed", "A boundary that does not allow the key's actions cuts the clusters off."},
	cmek.PolicyChanged:     {"RK-09", cmek.High, "", false, "was changed", "If it is attached to the clusters' role, an explicit Deny in it cuts them off."},
	cmek.RoleChanged:       {"RK-09", cmek.Low, "", false, "had its settings or tags changed", "Nothing breaks unless access depends on the role's tags."},

	cmek.RotationDisabled:    {"RK-11", cmek.Medium, "", false, "no longer rotates by itself", "The key's material grows older than your policy may allow."},
	cmek.RotationChanged:     {"RK-11", cmek.Info, "", false, "had its automatic rotation switched on or changed", ""},
	cmek.Rotated:             {"RK-12", cmek.Info, "", false, "was rotated", "The store keys are now behind; " + following},
	cmek.RotationRequested:   {"RK-12", cmek.Medium, "", false, "is being rotated on demand", "A key can be rotated on demand 25 times in its life. When the rotation is done, the store keys are behind; " + following},
	cmek.AliasChanged:        {"RK-13", cmek.Low, "", false, "had an alias created, moved or deleted", "Clusters name keys by ARN; nothing breaks unless your own procedures go by the alias."},
	cmek.KeyTagged:           {"RK-13", cmek.Low, "", false, "had its tags changed", "Nothing breaks unless access depends on the key's tags."},
	cmek.DeletionWasCanceled: {"RK-15", cmek.High, IncidentKey, false, "is no longer scheduled for deletion, but is still disabled", "Canceling a deletion does not enable the key. " + unusable},
	cmek.KeyWasEnabled:       {"RK-15", cmek.Info, IncidentKey, true, "was enabled", "Nodes that restarted meanwhile may not recover by themselves."},
	cmek.PrimaryMoved:        {"RK-16", cmek.Medium, "", false, "had its primary Region moved", "Rotations now begin in another Region; keyturn's event rules must be there, too."},
	cmek.KeyReplicated:       {"RK-16", cmek.Medium, "", false, "was replicated to another Region", "A replica has a key policy of its own."},

	cmek.TrailChanged:  {"RK-17", cmek.High, "", false, "was stopped, deleted or changed", blind},
	cmek.RuleChanged:   {"RK-17", cmek.High, "", false, "was changed, disabled or deleted", blind},
	cmek.UseUnexpected: {"RK-18", cmek.High, "", false, "was used by a principal that is not a cluster's", "Somebody besides CockroachDB Cloud encrypts or decrypts with the key."},
	cmek.RoleAssumed:   {"RK-18", cmek.High, "", false, "was assumed by a principal that is not a cluster's", "A third party holds the clusters' access to the key."},
	cmek.UseRefused:    {"RK-19", cmek.Critical, IncidentAccess, false, "refused a call of a cluster", "The harm may have begun. " + unusable},

	cmek.GuardRailsChanged: {"RK-20", cmek.Medium, "", false, "were changed", "A service or resource control policy can cut the clusters off, whatever the key policy says."},
	cmek.AccountDetached:   {"RK-20", cmek.High, "", false, "left its organization or was closed", "The keys in a closed account cannot be used. " + unusable},
	cmek.RegionDisabled:    {"RK-20", cmek.High, "", false, "was disabled", "The keys in it cannot be used. " + unusable},
}

// Assess judges one event. It is pure. A change that is not in the catalog, and a use that is none of ours, is None.
func Assess(e cmek.Event, f Facts) Assessment {
	r, ok := catalog[e.Change]
	if !ok || harmless(e, f) {
		return Assessment{Entry: r.entry, Severity: None, Unused: None}
	}
	if f.ByRepair {
		// The repair has told what it did. Only an enabled key is a recovery.
		enabled := e.Change == cmek.KeyWasEnabled || f.KeyKnown && f.Key.State.Usable()
		return Assessment{Entry: r.entry, Severity: None, Unused: None, Recovery: e.Succeeded() && enabled}
	}
	a := Assessment{
		Entry: r.entry, Severity: rated(r, e, f), Incident: r.incident, Recovery: r.recovery && e.Succeeded(),
		Summary: summary(r, e, f), Consequence: r.consequence, Deadline: deadline(e, f),
	}
	switch {
	case changesPolicy(e.Change):
		if f.Effect == nil || !f.Effect.CutsOff {
			a.Incident = ""
		}
		a.Recovery = a.Recovery && (f.Effect == nil || !f.Effect.CutsOff && !f.Effect.Exposes)
		a.Consequence = effect(f.Effect, f.Usage.InUse(), r.consequence)
		if bypassed(e) {
			a.Consequence += " " + lockout
		}
	case byDeployment(e, f) && a.Severity == cmek.Info:
		a.Consequence = "Deployments do this. Nothing is lost if this one was meant."
	case e.Change == cmek.UseRefused:
		a.Incident = refused(e)
	case r.recovery && (!f.KeyKnown || !f.Key.State.Unusable()):
		a.Incident = ""
	}
	if attempt(e) {
		a.Severity, a.Incident = lowered(a.Severity, 2), ""
		a.Consequence = "Nothing changed: the call failed with " + e.Error + "."
	}
	a.Unused = a.Severity
	if !concernsAll(e.Change) {
		a.Unused = lowered(a.Severity, 2)
		if f.Usage.Unused() {
			a.Severity, a.Incident = a.Unused, ""
		}
	}
	return a
}

// attempt reports whether somebody tried to change something and failed.
func attempt(e cmek.Event) bool { return !e.Succeeded() && e.Change != cmek.UseRefused }

// changesPolicy reports whether what a change does depends on the document that it sets.
func changesPolicy(change cmek.Change) bool {
	switch change {
	case cmek.KeyPolicyReplaced, cmek.RoleTrustChanged, cmek.RolePolicyChanged, cmek.BoundaryChanged:
		return true
	}
	return false
}

// concernsAll reports whether a change may matter to clusters that have nothing in the account where it happened.
func concernsAll(change cmek.Change) bool {
	return change == cmek.TrailChanged || change == cmek.RuleChanged || change == cmek.GuardRailsChanged
}

// concernsAccount reports whether a change is about a whole account, and not about a key or role that a cluster names.
func concernsAccount(change cmek.Change) bool {
	return concernsAll(change) || change == cmek.AccountDetached || change == cmek.RegionDisabled || change == cmek.PolicyChanged
}

// rated is the severity for a key in use, from what happened and what it led to.
func rated(r risk, e cmek.Event, f Facts) cmek.Severity {
	s := r.severity
	broken := f.KeyKnown && f.Key.State.Unusable()
	switch e.Change {
	case cmek.KeyPolicyReplaced, cmek.RoleTrustChanged, cmek.RolePolicyChanged, cmek.BoundaryChanged:
		switch {
		case f.Effect == nil:
		case f.Effect.CutsOff || f.Effect.Exposes:
			s = cmek.Critical
		case f.Effect.Unclear == "" && e.Change == cmek.RoleTrustChanged:
			s = cmek.Info // it still lets the cluster in, and nobody else
		}
		if bypassed(e) {
			s = worse(s, cmek.High)
		}
	case cmek.MaterialImported:
		if strings.Contains(e.Parameters["expiration_model"], "KEY_MATERIAL_EXPIRES") {
			s = cmek.High
		}
	case cmek.RotationChanged:
		if days, err := strconv.Atoi(e.Parameters["rotation_period_days"]); err == nil && days > usualRotationDays {
			s = cmek.Medium
		}
	case cmek.RuleChanged:
		s = ofRule(s, e, f)
	case cmek.UseRefused:
		switch {
		case startsWith(e.Error, passing...):
			s = cmek.Low
		case startsWith(e.Error, wrongKey...):
			s = cmek.High
		}
	case cmek.KeyWasEnabled, cmek.KeyStoreConnected:
		if broken {
			s = cmek.High // recovery has begun, and is not complete
		}
	case cmek.DeletionWasCanceled:
		if broken && f.Key.State != cmek.KeyDisabled {
			s = cmek.Critical // worse than what canceling leads to
		}
	default:
		if broken && r.incident == IncidentKey {
			s = worse(s, cmek.Critical)
		}
	}
	return s
}

// bypassed reports whether a key policy was set without the check that its author can still change it.
func bypassed(e cmek.Event) bool { return e.Parameters["bypass_policy_lockout_safety_check"] == "true" }

// ofRule is the severity of a change of an event rule. Deployments put our own rules and their targets, so that is told to
// nobody; what they take away may be missing by mistake.
func ofRule(s cmek.Severity, e cmek.Event, f Facts) cmek.Severity {
	switch call := lastSegment(e.Source); {
	case !f.OurRule:
		return s
	case !byDeployment(e, f):
		return cmek.Critical
	case call == "PutTargets", call == "PutRule" && e.Parameters["state"] != "DISABLED":
		return cmek.Info
	}
	return cmek.Medium
}

// byDeployment reports whether CloudFormation changed a rule of our own.
func byDeployment(e cmek.Event, f Facts) bool {
	return f.OurRule && e.Parameters["via"] == "cloudformation.amazonaws.com"
}

// usualRotationDays is the period that AWS KMS takes unless told otherwise
// (docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html).
const usualRotationDays = 365

// Error codes of refused uses, by their beginnings: CloudTrail may leave the word Exception out.
var (
	// passing: the KMS asks to try again.
	passing = []string{"Throttling", "LimitExceeded", "KeyUnavailable", "DependencyTimeout", "KMSInternal"}
	// wrongKey: the key is well, but the data was encrypted under another one.
	wrongKey = []string{"IncorrectKey", "InvalidCiphertext"}
	// unfit: the key itself cannot be used
	// (docs.aws.amazon.com/kms/latest/developerguide/key-state.html).
	unfit = []string{"Disabled", "KMSInvalidState", "NotFound"}
)

// refused names what is broken when a cluster's call was refused.
func refused(e cmek.Event) string {
	switch {
	case startsWith(e.Error, passing...), startsWith(e.Error, wrongKey...):
		return ""
	case readable(e.Key) && startsWith(e.Error, unfit...):
		return IncidentKey
	}
	return IncidentAccess
}

func startsWith(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// harmless reports uses that are as they should be: a cluster's own, a look at a key without using it, and a stranger's
// that failed or that no known cluster's key saw.
func harmless(e cmek.Event, f Facts) bool {
	switch e.Change {
	case cmek.UseUnexpected, cmek.RoleAssumed:
		return f.ByCluster || !f.Usage.InUse() || !e.Succeeded() || strings.HasSuffix(e.Source, "/DescribeKey")
	case cmek.UseRefused:
		return !f.ByCluster
	}
	return false
}

// deadline is when a scheduled deletion is final: as the KMS says, or by the waiting period that was asked for.
func deadline(e cmek.Event, f Facts) time.Time {
	if f.KeyKnown && f.Key.State == cmek.KeyDeletionScheduled {
		return f.Key.DeletionDate
	}
	days, err := strconv.Atoi(e.Parameters["pending_window_days"])
	if e.Change != cmek.DeletionWasScheduled || !e.Succeeded() || e.Time.IsZero() || err != nil || days <= 0 || days > 366 {
		return time.Time{}
	}
	return e.Time.AddDate(0, 0, days)
}

// effect says what a new policy does, or what such a policy can do. That clusters keep their access is only said of clusters
// that are known.
func effect(e *Effect, inUse bool, can string) string {
	switch {
	case e == nil:
		return strings.TrimSpace("What the new policy does to the clusters' access is not known. " + can)
	case e.CutsOff:
		return strings.Join(append(slices.Clone(e.Words), unusable), " ")
	case e.Unclear != "":
		return strings.Join(append(slices.Clone(e.Words), "Whether the clusters can still use the key cannot be told: "+e.Unclear+"."), " ")
	case len(e.Words) == 0 && !inUse:
		return "It lets nobody new use the key."
	case len(e.Words) == 0:
		return "It still lets the clusters use the key, and nobody new."
	case inUse && !e.Exposes:
		return strings.Join(append([]string{"It still lets the clusters use the key."}, e.Words...), " ")
	}
	return strings.Join(e.Words, " ")
}
