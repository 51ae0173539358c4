// Package risk is the catalog of risky changes: one row for each change holds everything that is specific to it. Nothing outside
// of this package and of package events names a change; what others must know about one they ask its row.
//
// A row has two halves. How a change is rated, and what it is about, is the same on every cloud and stands in catalog.go. What
// people read and type stands in a table of its own for each cloud, such as aws.go.
package risk

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Kind is what a change acts on, and so how it is judged and what must be read.
type Kind string

// The kinds.
const (
	// State: the key (or a version, or the key store) cannot be used any more. Restored: it can be used again, as far as the
	// event goes. Scheduled and Canceled are those of a deletion: a canceled one leaves the key disabled.
	State     Kind = "state"
	Restored  Kind = "restored"
	Scheduled Kind = "deletion scheduled"
	Canceled  Kind = "deletion canceled"
	// KeyPolicy, Trust, Permissions (of a principal), Boundary: a document decides. Managed: so it does, for whoever it is
	// attached to. Inherited: a policy beside the key's own decides, such as that of what is above the key. PrincipalDeleted:
	// there is no document any more, or it does not count while the principal is disabled. Recreated: another principal has the
	// name of one that was deleted, and what documents say of that one may not hold for it.
	KeyPolicy        Kind = "key policy"
	Trust            Kind = "trust"
	Permissions      Kind = "permissions"
	Boundary         Kind = "boundary"
	Managed          Kind = "managed policy"
	Inherited        Kind = "inherited policy"
	PrincipalDeleted Kind = "principal deleted"
	Recreated        Kind = "principal created anew"
	// Tags of a key: nothing but the heartbeat makes them more than a change of their row.
	Tags Kind = "tags"
	// Use of a key, Assumed (of a principal), Refused: either of them was denied to the caller.
	Use     Kind = "use"
	Assumed Kind = "assumed"
	Refused Kind = "refused"
	// Failed: what the provider was to do by itself, which did not succeed. Such an event always has an error.
	Failed Kind = "failed"
	// Watch: what keyturn or the account detects and reports by was weakened.
	Watch Kind = "watch"
	// Other changes are judged by their row alone.
	Other Kind = "other"
)

// Documented reports whether the judgement about a change of the kind depends on policy documents.
func (k Kind) Documented() bool {
	switch k {
	case KeyPolicy, Trust, Permissions, Boundary, Managed, Inherited, PrincipalDeleted, Recreated:
		return true
	}
	return false
}

// SetsDocument reports whether a change of the kind sets one document, whose effect on the clusters decides.
func (k Kind) SetsDocument() bool {
	return k == KeyPolicy || k == Trust || k == Permissions || k == Boundary || k == Managed || k == Inherited
}

// Used reports whether the kind is a use of a key or a principal, and not a change.
func (k Kind) Used() bool { return k == Use || k == Assumed || k == Refused }

// Scope is whom a change can concern.
type Scope string

// The scopes. Of ScopeAll are changes that may concern clusters which have nothing in the account where they happened.
const (
	ScopeKey       Scope = "key"
	ScopeVersion   Scope = "version"
	ScopePrincipal Scope = "principal"
	ScopeAccount   Scope = "account"
	ScopeAll       Scope = "all"
)

// Broad reports whether changes of the scope name nothing that a cluster uses: they may concern clusters, which need not be so.
func (s Scope) Broad() bool { return s == ScopeAccount || s == ScopeAll }

// Row is a change in the catalog: how it is rated if it succeeded and the key is in use.
type Row struct {
	Change cmek.Change
	// Entry is the entry of the catalog of risky changes, as "RK-01".
	Entry    string
	Severity alert.Severity
	Kind     Kind
	Scope    Scope
	// Incident is the code of what is broken from then on, shared by all changes that break the same; "" if it has no end that
	// can be read. Recovery: it may end an incident of that code.
	Incident string
	Recovery bool
	// OwnOnly: only what belongs to keyturn matters, anything else of the kind is no risk to a key.
	OwnOnly bool
	// InUseOnly: what nobody uses needs no alert.
	InUseOnly bool
	// Part is what of an account a change of ScopeAccount is about, where several things of one account can be broken at a time; "" for the
	// account as a whole.
	Part string
	// Proven is the severity of a change whose document was proven to cut nobody off and to grant nothing new; "" is Severity.
	Proven alert.Severity

	// rate adapts the severity to the parameters of the event; nil changes nothing.
	rate func(Case, alert.Severity) alert.Severity
}

// Case is an event with what is known about it. The zero values of all but Event mean "not known", or "no".
type Case struct {
	Event cmek.Event
	// Key is the key's state as read; KeyKnown is false if it could not be read. The KMS lags behind events, so a state may raise
	// a severity and never lowers it.
	Key      cmek.Key
	KeyKnown bool
	// Effect is what the document of a documented change does; nil if it was not judged.
	Effect *Effect
	// InUse: clusters are known that use the key or the principal.
	InUse bool
	// Own: what was changed belongs to keyturn itself.
	Own bool
	// Replica: the key is a replica of a multi-Region key that no cluster names; the clusters name a related one.
	Replica bool
	// NoInventory: nobody could be asked which principals are clusters'.
	NoInventory bool
	// Keys are the keys that the clusters use as the principal of the event, as far as they are known.
	Keys []cmek.KeyURI
	// Wraps are the versions of the event's key that the clusters' store keys were last re-encrypted under. WrapsKnown is true if they are
	// known of every region that uses the key.
	Wraps      []cmek.KeyVersion
	WrapsKnown bool
	// Pinned: regions of clusters follow the event's alias.
	Pinned bool
	// Above is the folder or organization that the event's project was directly below before the event; "" if that is not known.
	Above string
}

// projectUpdate is the call that sets a project anew: its labels, its name and what it is below.
const projectUpdate = "UpdateProject"

// UpdatesProject reports that the call set a project of Google Cloud anew: whether it was moved takes what it was below before.
func UpdatesProject(e cmek.Event) bool { return OnGoogle(e) && call(e) == projectUpdate }

// moved reports that a project is known to be below something else than before the call.
func (c Case) moved() bool {
	now := c.Event.Parameters["destination_parent"]
	return UpdatesProject(c.Event) && now != "" && c.Above != "" && now != c.Above
}

// perhapsMoved reports that it is not known whether a project was moved.
func (c Case) perhapsMoved() bool {
	return UpdatesProject(c.Event) && (c.Event.Parameters["destination_parent"] == "" || c.Above == "")
}

// Effect is what a change of a policy does to the clusters' principals and to others.
type Effect struct {
	// CutsOff: a principal of the clusters can no longer use the key. Exposes: somebody new, or everybody, can.
	CutsOff, Exposes bool
	// Words say what changed, one sentence each.
	Words []string
	// Previous is the policy before, as JSON text; "" if it is not known.
	Previous string
	// Role is a deleted role as the clusters name it, with its path, and Permissions its policies and boundary as they were noted last
	// (the JSON text that package policy reads); "" if they are not known.
	Role        cmek.Principal
	Permissions string
	// Unclear are the reasons why it cannot be decided whether the clusters keep their access; none if it can.
	Unclear []string
	// Same: the document was proven equal to the one before, so nothing changed. LocksOut: nobody can manage the key any more.
	Same, LocksOut bool
	// StillLost: a principal was brought back, and the clusters still cannot use their keys as it.
	StillLost bool
	// Unattached: no principal of a cluster has the managed policy that was changed.
	Unattached bool
	// Dormant: the document is a version of a policy that is not in force.
	Dormant bool
	// Stale: the judgement rests on a read of what the event changed, which may not show the change yet.
	Stale bool
}

// Keeps reports that all clusters keep their access, for certain.
func (e Effect) Keeps() bool { return !e.CutsOff && len(e.Unclear) == 0 }

// Of is the row of a change; ok is false if it is not in the catalog, and its severity is then None.
func Of(change cmek.Change) (row Row, ok bool) {
	if row, ok = byChange[change]; !ok {
		row = Row{Change: change, Kind: Other, Scope: ScopeKey, Severity: alert.None}
	}
	return row, ok
}

// For is the row of a case: that of its event's change, or of what the change turns out to be with what is known.
func For(c Case) (row Row, ok bool) {
	if c.setBack() {
		return Of(cmek.ChangePrimarySetBack)
	}
	return Of(c.Event.Change)
}

// setBack reports that a rotation is none: the version that encryption uses now is older than the one that it used before.
func (c Case) setBack() bool {
	now := c.Event.Version
	if c.Event.Change != cmek.ChangeRotated || !c.Event.Succeeded() {
		return false
	}
	return now.Before(c.Event.Previous) || slices.ContainsFunc(c.Wraps, now.Before)
}

// goesOn reports that the version is for certain a newer one than those before.
func (c Case) goesOn() bool {
	now := c.Event.Version
	if !c.Event.Previous.IsZero() {
		return c.Event.Previous.Before(now)
	}
	return c.WrapsKnown && len(c.Wraps) > 0 && !slices.ContainsFunc(c.Wraps, func(v cmek.KeyVersion) bool { return !v.Before(now) })
}

// Changes lists the changes of the catalog in its order.
func Changes() []cmek.Change {
	changes := make([]cmek.Change, len(catalog))
	for i, r := range catalog {
		changes[i] = r.Change
	}
	return changes
}

// byChange finds the rows of the catalog.
var byChange = func() map[cmek.Change]Row {
	rows := make(map[cmek.Change]Row, len(catalog))
	for _, r := range catalog {
		rows[r.Change] = r
	}
	return rows
}()

// Attempted reports whether the event is a change that failed, so that nothing changed. A refused use is none, nor is what the provider
// failed to do by itself: they fail by their nature.
func (r Row) Attempted(c Case) bool {
	return !c.Event.Succeeded() && r.Kind != Refused && r.Kind != Failed
}

// Rate is the severity for a key in use; None if the event needs no alert whoever uses the key. It reads nothing that the caller
// of the event can choose in order to lower it.
func (r Row) Rate(c Case) alert.Severity {
	switch {
	case r.Severity == alert.None, r.OwnOnly && !c.Own, c.Event.Failure == cmek.FailureDryRun, ofProvider(c.Event.Key), r.Kind == Use && onlyDescribed(c.Event):
		return alert.None
	}
	s := r.Severity
	if c.Effect != nil && r.Kind != Restored || r.Kind.SetsDocument() && c.Event.Succeeded() {
		s = r.rateEffect(c.Effect)
	}
	if r.rate != nil {
		s = r.rate(c, s)
	}
	if r.Kind == Restored && c.broken() {
		s = alert.Worse(s, alert.High) // recovery has begun, and is not complete
	}
	if c.Own && r.Kind != Refused {
		s = r.rateOwn(c, s)
	}
	if r.mayBeOwn(c) {
		s = alert.Worse(s, alert.Medium)
	}
	// Material is shared by all replicas: whoever uses or may use one of them can read what the clusters wrote.
	if c.Replica && !r.Kind.Used() && (c.Effect == nil || !c.Effect.Exposes) && s.Above(alert.Medium) {
		s = alert.Medium
	}
	if r.Attempted(c) {
		s = s.Lowered(2)
	}
	return s
}

// mayBeOwn reports that the change is one of a role which the event does not name, and so may be keyturn's own. What its document did
// to the clusters' roles says nothing about that.
func (r Row) mayBeOwn(c Case) bool {
	return Omitted(c.Event) && c.Event.Identity == "" && (r.Scope == ScopePrincipal || r.Kind == Managed) && !r.Kind.Used()
}

// Unused is the severity s of the case if nobody uses what it is about.
func (r Row) Unused(c Case, s alert.Severity) alert.Severity {
	switch {
	case r.Everybody(c):
		return s
	case r.InUseOnly:
		return alert.None
	case r.mayBeOwn(c):
		return alert.Worse(s.Lowered(2), alert.Medium)
	}
	return s.Lowered(2)
}

// rateEffect rates a document by what it does: critical if it takes from clusters or gives to others, at least high if that cannot
// be told.
func (r Row) rateEffect(e *Effect) alert.Severity {
	switch {
	case e != nil && (e.Same || e.Unattached || e.Dormant):
		return alert.Info
	case e != nil && (e.CutsOff || e.Exposes):
		return alert.Critical
	case e == nil || e.LocksOut || len(e.Unclear) > 0:
		return alert.Worse(r.Severity, alert.High)
	case r.Proven != "":
		return r.Proven
	}
	return r.Severity
}

// rateOwn rates a change of something that belongs to keyturn. A deployment of keyturn makes such changes, so it pages nobody. It is
// never silent: whoever disarms keyturn can do that by a deployment, too.
func (r Row) rateOwn(c Case, s alert.Severity) alert.Severity {
	switch {
	case r.Kind.Used():
		return s
	case c.Deployed():
		return alert.Medium
	case r.Scope == ScopePrincipal:
		return alert.High
	}
	return s
}

// Opens is the code of the incident that the case opens; "" if it opens none, whatever its severity.
func (r Row) Opens(c Case) string {
	switch {
	case r.Incident == "", r.Attempted(c), c.Own, c.Replica:
		return ""
	case r.Kind == Refused:
		return c.refusal()
	case r.Kind.SetsDocument() || r.Kind == Recreated:
		if c.Effect == nil || !c.Effect.CutsOff {
			return ""
		}
	case r.Kind == Restored:
		if !c.broken() {
			return ""
		}
	}
	return r.Incident
}

// Restores reports whether the case may end an incident of the row's code. It does so only together with good reads.
func (r Row) Restores(c Case) bool {
	if !r.Recovery || !c.Event.Succeeded() {
		return false
	}
	return !r.Kind.SetsDocument() || c.Effect != nil && c.Effect.Keeps() && !c.Effect.Exposes && !c.Effect.Dormant
}

// Everybody reports whether the case may concern any cluster, wherever it happened: it is not lowered for want of users. What happened to
// a folder or an organization happened in no account.
func (r Row) Everybody(c Case) bool {
	nowhere := r.Scope == ScopeAccount && c.Event.Key == "" && c.Event.Identity == "" && c.Event.Account == ""
	return r.Scope == ScopeAll && !c.perhapsMoved() || c.Own || nowhere && OnGoogle(c.Event)
}

// Broad reports whether the case names nothing that a cluster uses.
func (r Row) Broad(c Case) bool {
	return r.Scope.Broad() || c.Own || c.Event.Key == "" && c.Event.Identity == ""
}

// waitsForReplicas reports that a key's waiting period begins only when its last replica is deleted.
func waitsForReplicas(e cmek.Event) bool {
	return e.Parameters["key_state"] == "PendingReplicaDeletion"
}

// longestWait bounds the waiting period of a deletion that is believed, in days. AWS allows 30.
const longestWait = 366

// Deadline is when a scheduled deletion becomes final: as the KMS says, or by the waiting period that was asked for; zero if neither
// is known.
func (r Row) Deadline(c Case) time.Time {
	e := c.Event
	if !e.On.IsZero() {
		version, _ := c.Key.VersionInfo(e.On)
		return version.DeletionDate
	}
	if c.KeyKnown && c.Key.State == cmek.KeyDeletionScheduled {
		return c.Key.DeletionDate
	}
	if waitsForReplicas(e) {
		return time.Time{}
	}
	days, err := strconv.Atoi(e.Parameters["pending_window_days"])
	if r.Kind != Scheduled || !e.Succeeded() || e.Time.IsZero() || err != nil || days <= 0 || days > longestWait {
		return time.Time{}
	}
	return e.Time.AddDate(0, 0, days)
}

// Runbook is the file with a section for each change that can alert.
const Runbook = "functions/alerting/RUNBOOK.md"

// Runbook is the section about the change, by the anchor that its heading gets.
func (r Row) Runbook() string {
	return Runbook + "#" + strings.NewReplacer(" ", "-", ",", "").Replace(strings.ToLower(string(r.Change)))
}

// broken reports whether the KMS says clearly that the key cannot be used, or the version of it that the event is about; or the IAM that
// a principal which the event brought back cannot.
func (c Case) broken() bool {
	return c.KeyKnown && c.state().Unusable() || c.Effect != nil && c.Effect.StillLost
}

// state is the state of the key, or of the version of it that the event is about, as read. That of a version that the KMS does not show
// is unknown.
func (c Case) state() cmek.KeyState {
	if c.Event.On.IsZero() {
		return c.Key.State
	}
	if version, ok := c.Key.VersionInfo(c.Event.On); ok {
		return version.State
	}
	return cmek.KeyUnknown
}

// need is what a version of a key is needed for.
type need int

const (
	needUnknown need = iota
	// neededNow: encryption uses the version, or it wraps the store key of a region.
	neededNow
	// neededForOldData: it is needed for backups and for data that were written under it.
	neededForOldData
)

// need is what the version that the event is about is needed for. It is unknown until both the key and the ledger were read.
func (c Case) need() need {
	on := c.Event.On
	switch {
	case on.IsZero():
	case c.KeyKnown && on == c.Key.Version, slices.Contains(c.Wraps, on):
		return neededNow
	case c.KeyKnown && !c.Key.Version.IsZero() && c.WrapsKnown:
		return neededForOldData
	}
	return needUnknown
}

// OfPrincipal reports that a refusal is one of a principal that was to be assumed, where others are a key's.
func (c Case) OfPrincipal() bool { return c.Event.Key == "" && c.Event.Identity != "" }

// refusal is the code of what is broken when a cluster's call was refused.
func (c Case) refusal() string {
	switch c.Event.Failure {
	case cmek.FailurePassing, cmek.FailureWrongKey, cmek.FailureRequest, cmek.FailureDryRun:
		return ""
	case cmek.FailureUnfit, cmek.FailureMissing:
		if key := c.Event.Key; key != "" && !key.IsAlias() {
			return alert.KeyUnusable
		}
	}
	return alert.AccessLost
}

// Deployed reports whether a deployment made the change, by a service that the provider vouches for.
func (c Case) Deployed() bool { return c.Event.Parameters["via"] == "cloudformation.amazonaws.com" }

// Concerned is the account that an event is about. One of the organization is recorded in its management account and names
// another as its target.
func Concerned(e cmek.Event) string {
	if target := e.Parameters["target"]; len(target) == 12 && strings.Trim(target, "0123456789") == "" {
		return target
	}
	return e.Account
}

// call is the name of the provider's operation: the last part of the event's source.
func call(e cmek.Event) string { return lastSegment(e.Source) }

// ofProvider reports whether a key is one that the provider manages for its own services, which can never be a CMEK
// (docs.aws.amazon.com/kms/latest/developerguide/concepts.html#aws-managed-cmk).
func ofProvider(key cmek.KeyURI) bool {
	return key.IsAlias() && strings.HasPrefix(key.ID(), "alias/aws/")
}

// OnGoogle reports whether an event is one of Google Cloud, by the service that its source begins with.
func OnGoogle(e cmek.Event) bool {
	service, _, _ := strings.Cut(e.Source, "/")
	return strings.HasSuffix(service, ".googleapis.com")
}

// onlyDescribed reports that a call read what the key is, and used it for nothing.
func onlyDescribed(e cmek.Event) bool { return call(e) == "DescribeKey" }

func lastSegment(s string) string { return s[strings.LastIndex(s, "/")+1:] }
