package alerting

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// severities of one change: succeeded and failed, for a key in use, for one that nobody uses, and with usage unknown.
type severities struct{ used, usedFailed, unused, unusedFailed, unknown, unknownFailed alert.Severity }

// What "two steps lower" makes of each severity: for a key that is not in use, and again for a call that failed and changed
// nothing.
var (
	critical = severities{alert.Critical, alert.Medium, alert.Medium, alert.Info, alert.Critical, alert.Medium}
	high     = severities{alert.High, alert.Low, alert.Low, alert.Info, alert.High, alert.Low}
	medium   = severities{alert.Medium, alert.Info, alert.Info, alert.Info, alert.Medium, alert.Info}
	low      = severities{alert.Low, alert.Info, alert.Info, alert.Info, alert.Low, alert.Info}
	never    = severities{alert.None, alert.None, alert.None, alert.None, alert.None, alert.None}
	info     = severities{alert.Info, alert.Info, alert.Info, alert.Info, alert.Info, alert.Info}
)

// everybodys: what puts all clusters at risk is not lowered because none has anything in that very account.
func everybodys(s severities) severities {
	s.unused, s.unusedFailed = s.used, s.usedFailed
	return s
}

// The catalog of risky changes, and what each entry leads to.
var severityTable = []struct {
	entry, sentence string
	change          cmek.Change
	want            severities
	parameters      map[string]string
	given           func(*cmek.Event, *Facts)
}{
	{"RK-01", "the deletion of a key is scheduled", cmek.ChangeDeletionScheduled, critical, nil, nil},
	{"RK-02", "a key is disabled", cmek.ChangeKeyDisabled, critical, nil, nil},
	{"RK-02", "a key is disabled, and the KMS still shows the state before", cmek.ChangeKeyDisabled, critical, nil, showing(cmek.KeyEnabled)},
	{"RK-02", "a key store is disconnected", cmek.ChangeKeyStoreDisconnected, critical, nil, nil},
	{"RK-02", "a key store is changed", cmek.ChangeKeyStore, high, nil, nil},
	{"RK-03", "a key is deleted", cmek.ChangeKeyDeleted, critical, nil, nil},
	{"RK-04", "imported material is deleted", cmek.ChangeMaterialDeleted, critical, nil, nil},
	{"RK-04", "imported material expires", cmek.ChangeMaterialExpired, critical, nil, nil},
	{"RK-05", "material is imported", cmek.ChangeMaterialImported, medium, nil, nil},
	{"RK-05", "material is imported that will expire", cmek.ChangeMaterialImported, high, map[string]string{"expiration_model": "KEY_MATERIAL_EXPIRES"}, nil},
	{"RK-06", "a key policy takes an action from the role", cmek.ChangeKeyPolicy, critical, nil, does(Effect{CutsOff: true})},
	{"RK-06", "a key policy lets somebody new in", cmek.ChangeKeyPolicy, critical, nil, does(Effect{Exposes: true})},
	{"RK-06", "a key policy is replaced past the lockout check", cmek.ChangeKeyPolicy, high, map[string]string{"bypass_policy_lockout_safety_check": "true"}, does(Effect{})},
	{"RK-06", "a key policy is replaced by a harmless one", cmek.ChangeKeyPolicy, medium, nil, does(Effect{})},
	{"RK-06", "a key policy is replaced, nobody knows by what", cmek.ChangeKeyPolicy, severities{alert.High, alert.Info, alert.Low, alert.Info, alert.High, alert.Info}, nil, nil},
	{"RK-08", "a grant is created", cmek.ChangeGrantCreated, medium, nil, nil},
	{"RK-08", "a grant is revoked or retired", cmek.ChangeGrantRemoved, medium, nil, nil},
	{"RK-09", "a trust policy shuts the cluster out", cmek.ChangePrincipalTrust, critical, nil, does(Effect{CutsOff: true})},
	{"RK-09", "a trust policy no longer asks for the external id", cmek.ChangePrincipalTrust, critical, nil, does(Effect{Exposes: true})},
	{"RK-09", "a trust policy is changed, nobody knows how", cmek.ChangePrincipalTrust, high, nil, nil},
	{"RK-09", "a trust policy is changed, and one cannot tell what it does", cmek.ChangePrincipalTrust, high, nil, does(Effect{Unclear: []string{"no external id is known"}})},
	{"RK-09", "a trust policy is saved that still lets the cluster in and nobody else", cmek.ChangePrincipalTrust, info, nil, does(Effect{})},
	{"RK-09", "the role is deleted", cmek.ChangePrincipalDeleted, critical, nil, nil},
	{"RK-09", "the role gets an explicit Deny", cmek.ChangePrincipalPolicy, critical, nil, does(Effect{CutsOff: true})},
	{"RK-09", "the role's permissions change", cmek.ChangePrincipalPolicy, high, nil, nil},
	{"RK-09", "the role gets a boundary without the key's actions", cmek.ChangeBoundary, critical, nil, does(Effect{CutsOff: true})},
	{"RK-09", "the role's boundary changes", cmek.ChangeBoundary, high, nil, nil},
	{"RK-09", "a managed policy changes", cmek.ChangeManagedPolicy, high, nil, nil},
	{"RK-09", "the role's tags change, which is seldom of consequence", cmek.ChangePrincipalSettings, low, nil, nil},
	{"RK-11", "automatic rotation is turned off", cmek.ChangeRotationDisabled, medium, nil, nil},
	{"RK-11", "the rotation period is made longer than the usual year", cmek.ChangeRotationSchedule, medium, map[string]string{"rotation_period_days": "730"}, nil},
	{"RK-11", "automatic rotation is turned on", cmek.ChangeRotationSchedule, info, map[string]string{"rotation_period_days": "365"}, nil},
	{"RK-12", "a key rotates", cmek.ChangeRotated, info, nil, nil},
	{"RK-12", "a rotation is asked for", cmek.ChangeRotationRequested, medium, nil, nil},
	{"RK-13", "an alias moves; the Cloud API pins ARNs, never aliases", cmek.ChangeAlias, low, nil, nil},
	{"RK-13", "an alias moves that regions are pinned to", cmek.ChangeAlias, high, nil, func(_ *cmek.Event, f *Facts) { f.Pinned = true }},
	{"RK-13", "a key's tags change", cmek.ChangeKeyTags, low, nil, nil},
	{"RK-15", "a deletion is canceled, which leaves the key disabled", cmek.ChangeDeletionCanceled, high, nil, showing(cmek.KeyDisabled)},
	{"RK-15", "a deletion is canceled, and the key is scheduled for deletion again by now", cmek.ChangeDeletionCanceled, critical, nil, showing(cmek.KeyDeletionScheduled)},
	{"RK-15", "a key is enabled, and the KMS does not show it yet", cmek.ChangeKeyEnabled, high, nil, showing(cmek.KeyDisabled)},
	{"RK-15", "a key is enabled", cmek.ChangeKeyEnabled, info, nil, showing(cmek.KeyEnabled)},
	{"RK-15", "a key store is connected", cmek.ChangeKeyStoreConnected, info, nil, nil},
	{"RK-16", "the primary Region moves", cmek.ChangePrimaryMoved, medium, nil, nil},
	{"RK-16", "a replica is created", cmek.ChangeReplicaCreated, medium, nil, nil},
	{"RK-17", "a trail is stopped", cmek.ChangeLogSink, everybodys(high), nil, nil},
	{"RK-17", "an event rule is disabled", cmek.ChangeEventRule, everybodys(high), nil, nil},
	{"RK-17", "an event rule of our own is disabled", cmek.ChangeEventRule, everybodys(critical), nil, ourRule("DisableRule", "")},
	{"RK-17", "a rule of our own is put", cmek.ChangeEventRule, everybodys(critical), map[string]string{"state": "ENABLED"}, ourRule("PutRule", "")},
	{"RK-17", "a rule of our own gets targets", cmek.ChangeEventRule, everybodys(critical), nil, ourRule("PutTargets", "")},
	{"RK-17", "another service deletes a rule of our own", cmek.ChangeEventRule, everybodys(critical), nil, ourRule("DeleteRule", "config.amazonaws.com")},
	{"RK-17", "a deployment puts a rule of our own", cmek.ChangeEventRule, everybodys(medium), map[string]string{"state": "ENABLED"}, ourRule("PutRule", cloudFormation)},
	{"RK-17", "a deployment puts a rule of our own that takes read-only calls, too", cmek.ChangeEventRule, everybodys(medium), map[string]string{"state": "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"}, ourRule("PutRule", cloudFormation)},
	{"RK-17", "a deployment puts a rule of our own whose state is not given", cmek.ChangeEventRule, everybodys(medium), nil, ourRule("PutRule", cloudFormation)},
	{"RK-17", "a deployment gives targets to a rule of our own", cmek.ChangeEventRule, everybodys(medium), nil, ourRule("PutTargets", cloudFormation)},
	{"RK-17", "a deployment puts a rule of our own, but disabled", cmek.ChangeEventRule, everybodys(medium), map[string]string{"state": "DISABLED"}, ourRule("PutRule", cloudFormation)},
	{"RK-17", "a deployment disables a rule of our own", cmek.ChangeEventRule, everybodys(medium), nil, ourRule("DisableRule", cloudFormation)},
	{"RK-17", "a deployment deletes a rule of our own", cmek.ChangeEventRule, everybodys(medium), nil, ourRule("DeleteRule", cloudFormation)},
	{"RK-17", "a deployment takes targets from a rule of our own", cmek.ChangeEventRule, everybodys(medium), nil, ourRule("RemoveTargets", cloudFormation)},
	{"RK-17", "a deployment puts somebody else's rule", cmek.ChangeEventRule, everybodys(high), map[string]string{"via": cloudFormation}, nil},
	{"RK-17", "somebody else's alarm is deleted", cmek.ChangeAlarm, never, nil, nil},
	{"RK-17", "a function of somebody else is deployed", cmek.ChangeFunction, never, map[string]string{"via": cloudFormation}, nil},
	{"RK-17", "keyturn's own is changed by hand", cmek.ChangeEventBus, everybodys(critical), nil, own},
	{"RK-17", "keyturn's own is changed by a deployment", cmek.ChangeEventBus, everybodys(medium), map[string]string{"via": cloudFormation}, own},
	{"RK-17", "keyturn's own is changed by hand", cmek.ChangeAlarm, everybodys(high), nil, own},
	{"RK-17", "keyturn's own is changed by a deployment", cmek.ChangeAlarm, everybodys(medium), map[string]string{"via": cloudFormation}, own},
	{"RK-17", "keyturn's own is changed by hand", cmek.ChangeAlertTopic, everybodys(critical), nil, own},
	{"RK-17", "keyturn's own is changed by a deployment", cmek.ChangeAlertTopic, everybodys(medium), map[string]string{"via": cloudFormation}, own},
	{"RK-17", "keyturn's own is changed by hand", cmek.ChangeSchedule, everybodys(high), nil, own},
	{"RK-17", "keyturn's own is changed by a deployment", cmek.ChangeSchedule, everybodys(medium), map[string]string{"via": cloudFormation}, own},
	{"RK-17", "keyturn's own is changed by hand", cmek.ChangeFunction, everybodys(critical), nil, own},
	{"RK-17", "keyturn's own is changed by a deployment", cmek.ChangeFunction, everybodys(medium), map[string]string{"via": cloudFormation}, own},
	{"RK-17", "keyturn's own is changed by hand", cmek.ChangeSecret, everybodys(high), nil, own},
	{"RK-17", "keyturn's own is changed by a deployment", cmek.ChangeSecret, everybodys(medium), map[string]string{"via": cloudFormation}, own},
	{"RK-17", "keyturn's own is changed by hand", cmek.ChangeQueue, everybodys(critical), nil, own},
	{"RK-17", "keyturn's own is changed by a deployment", cmek.ChangeQueue, everybodys(medium), map[string]string{"via": cloudFormation}, own},
	{"RK-17", "keyturn's own is changed by hand", cmek.ChangeTable, everybodys(critical), nil, own},
	{"RK-17", "keyturn's own is changed by a deployment", cmek.ChangeTable, everybodys(medium), map[string]string{"via": cloudFormation}, own},
	{"RK-17", "a queue of somebody else is purged", cmek.ChangeQueue, never, nil, nil},
	{"RK-09", "the trust policy of keyturn's own role is changed", cmek.ChangePrincipalTrust, everybodys(high), nil, own},
	{"RK-09", "keyturn's own role is deleted", cmek.ChangePrincipalDeleted, everybodys(high), nil, own},
	{"RK-09", "keyturn's own role is tagged", cmek.ChangePrincipalSettings, everybodys(severities{alert.High, alert.Low, "", "", alert.High, alert.Low}), nil, own},
	{"RK-09", "keyturn's own role is deployed", cmek.ChangePrincipalPolicy, everybodys(medium), map[string]string{"via": cloudFormation}, own},
	{"RK-01", "the deletion of a replica that no cluster names is scheduled", cmek.ChangeDeletionScheduled, medium, nil, replica},
	{"RK-02", "a replica that no cluster names is disabled", cmek.ChangeKeyDisabled, medium, nil, replica},
	{"RK-13", "a replica that no cluster names is tagged", cmek.ChangeKeyTags, low, nil, replica},
	{"RK-18", "a key of AWS's own is used", cmek.ChangeUse, never, nil, ofAWS},
	{"RK-19", "a use of a key of AWS's own is refused", cmek.ChangeUseRefused, never, nil, ofAWS},
	// Without a cluster that is known to use the key nobody can be called a stranger. A failed use changes nothing; that of a
	// cluster is RK-19.
	{"RK-18", "a stranger uses the key", cmek.ChangeUse, severities{alert.High, alert.None, alert.None, alert.None, alert.None, alert.None}, nil, nil},
	{"RK-18", "a cluster uses its key", cmek.ChangeUse, never, nil, byTheCluster},
	{"RK-18", "a stranger assumes the role", cmek.ChangePrincipalAssumed, severities{alert.High, alert.None, alert.None, alert.None, alert.None, alert.None}, nil, nil},
	// It is a failed call by its nature; who is refused is a cluster's principal, so the key is in use.
	{"RK-19", "a cluster is refused", cmek.ChangeUseRefused, severities{alert.Critical, alert.Critical, alert.Medium, alert.Medium, alert.Critical, alert.Critical}, nil, byTheCluster},
	{"RK-19", "somebody else is refused", cmek.ChangeUseRefused, never, nil, nil},
	{"RK-20", "organization policies change", cmek.ChangeGuardRails, everybodys(medium), nil, nil},
	{"RK-20", "an account leaves its organization", cmek.ChangeAccountDetached, high, nil, nil},
	{"RK-20", "a Region is disabled", cmek.ChangeRegionDisabled, high, nil, nil},

	// Google Cloud. A version is as critical as its key until it is known that only old data needs it.
	{"RK-01", "the destruction of a version is scheduled", cmek.ChangeVersionScheduled, critical, nil, nil},
	{"RK-01", "the destruction of the primary version is scheduled", cmek.ChangeVersionScheduled, critical, nil, versions("4", "4", "4")},
	{"RK-01", "the destruction of an old version is scheduled", cmek.ChangeVersionScheduled, high, nil, versions("3", "4", "4")},
	{"RK-02", "a version is disabled", cmek.ChangeVersionDisabled, critical, nil, nil},
	{"RK-02", "the primary version is disabled", cmek.ChangeVersionDisabled, critical, nil, versions("4", "4", "4")},
	{"RK-02", "the version is disabled that a region was last re-encrypted under", cmek.ChangeVersionDisabled, critical, nil, versions("3", "4", "3", "4")},
	{"RK-02", "an old version is disabled", cmek.ChangeVersionDisabled, high, nil, versions("3", "4", "4")},
	{"RK-02", "a version is disabled, and what wraps the store keys is not known", cmek.ChangeVersionDisabled, critical, nil, wrapsUnknown(versions("3", "4", "4"))},
	{"RK-02", "a version is disabled, and the key's primary version is not known", cmek.ChangeVersionDisabled, critical, nil, versions("3", "", "4")},
	{"RK-02", "a version is disabled that the event does not name", cmek.ChangeVersionDisabled, critical, nil, versions("", "4", "4")},
	{"RK-03", "an old version is destroyed", cmek.ChangeVersionDestroyed, high, nil, versions("1", "4", "4")},
	{"RK-03", "a version is destroyed", cmek.ChangeVersionDestroyed, critical, nil, nil},
	{"RK-15", "a version is restored, which leaves it disabled", cmek.ChangeVersionRestored, high, nil, nil},
	{"RK-15", "a version is restored, and its destruction scheduled again", cmek.ChangeVersionRestored, critical, nil, reading("4", cmek.KeyDeletionScheduled)},
	{"RK-15", "an old version is restored, and its destruction scheduled again", cmek.ChangeVersionRestored, high, nil, andWraps(reading("3", cmek.KeyDeletionScheduled), "4")},
	{"RK-15", "a version is enabled", cmek.ChangeVersionEnabled, info, nil, nil},
	{"RK-15", "a version is enabled and reads so, while the primary one is disabled", cmek.ChangeVersionEnabled, info, nil, reading("3", cmek.KeyEnabled)},
	{"RK-15", "a version is enabled, and still reads as disabled", cmek.ChangeVersionEnabled, high, nil, reading("3", cmek.KeyDisabled)},
	{"RK-12", "a version is created", cmek.ChangeVersionCreated, info, nil, nil},
	{"RK-12", "another version becomes the primary one", cmek.ChangeRotated, info, nil, becomes("4", "", "3")},
	{"RK-14", "a primary version is said to be set back", cmek.ChangePrimarySetBack, high, nil, nil},
	{"RK-11", "an automatic rotation fails", cmek.ChangeRotationFailed, severities{alert.Medium, alert.Medium, alert.Info, alert.Info, alert.Medium, alert.Medium}, nil, nil},
	{"RK-11", "an automatic rotation fails, and the primary version is disabled", cmek.ChangeRotationFailed, severities{alert.High, alert.High, alert.Low, alert.Low, alert.High, alert.High}, nil, showing(cmek.KeyDisabled)},
	{"RK-03", "a key ring is deleted", cmek.ChangeKeyRingDeleted, severities{alert.Critical, alert.Medium, alert.None, alert.None, alert.Critical, alert.Medium}, nil, nil},
	{"RK-02", "an external key manager changes", cmek.ChangeExternalKeys, severities{alert.High, alert.Low, alert.None, alert.None, alert.High, alert.Low}, nil, nil},
	{"RK-07", "an inherited policy cuts off", cmek.ChangeInheritedPolicy, critical, nil, does(Effect{CutsOff: true})},
	{"RK-07", "an inherited policy changes, nobody knows how", cmek.ChangeInheritedPolicy, severities{alert.High, alert.Info, alert.Low, alert.Info, alert.High, alert.Info}, nil, nil},
	{"RK-07", "an inherited policy changes without effect", cmek.ChangeInheritedPolicy, medium, nil, does(Effect{})},
	{"RK-07", "a deny policy cuts off", cmek.ChangeDenyPolicy, critical, nil, does(Effect{CutsOff: true})},
	{"RK-07", "a deny policy changes without effect", cmek.ChangeDenyPolicy, medium, nil, does(Effect{})},
	{"RK-07", "a principal access boundary cuts off", cmek.ChangeAccessBoundary, critical, nil, does(Effect{CutsOff: true})},
	{"RK-07", "a principal access boundary changes, nobody knows how", cmek.ChangeAccessBoundary, high, nil, does(Effect{Unclear: []string{"x"}})},
	{"RK-07", "a principal access boundary changes without effect", cmek.ChangeAccessBoundary, medium, nil, does(Effect{})},
	{"RK-07", "the reasons for access change, nobody knows with what effect", cmek.ChangeJustifications, high, nil, does(Effect{Unclear: []string{"x"}})},
	{"RK-10", "a service account is disabled", cmek.ChangePrincipalDisabled, critical, nil, nil},
	{"RK-10", "a service account is enabled", cmek.ChangePrincipalEnabled, info, nil, nil},
	{"RK-10", "a service account is undeleted", cmek.ChangePrincipalUndeleted, info, nil, nil},
	{"RK-10", "a service account of a cluster is created again", cmek.ChangePrincipalCreated, severities{alert.High, alert.Low, alert.None, alert.None, alert.High, alert.Low}, nil, nil},
	{"RK-17", "audit logs are switched off", cmek.ChangeAuditLogs, everybodys(high), nil, nil},
	{"RK-17", "somebody else's sink is deleted", cmek.ChangeLogSink, everybodys(high), map[string]string{"sink": "x"}, nil},
	{"RK-17", "keyturn's own sink is deleted", cmek.ChangeLogSink, everybodys(critical), map[string]string{"sink": "x"}, own},
	{"RK-17", "keyturn's own feed is deleted", cmek.ChangeLogSink, everybodys(critical), map[string]string{"feed": "x"}, own},
	{"RK-20", "an API is disabled", cmek.ChangeAPIDisabled, critical, nil, nil},
	{"RK-20", "an API is enabled", cmek.ChangeAPIEnabled, info, nil, nil},
	{"RK-20", "billing is disabled", cmek.ChangeBillingDisabled, critical, nil, nil},
	{"RK-20", "another billing account is assigned", cmek.ChangeBillingAssigned, low, nil, nil},
	{"RK-20", "a project is shut down", cmek.ChangeProjectShutDown, critical, nil, nil},
	{"RK-20", "a project is restored", cmek.ChangeProjectRestored, info, nil, nil},
}

func primary(number string) cmek.KeyVersion {
	if number == "" {
		return cmek.KeyVersion{}
	}
	return cmek.KeyVersion{Scheme: cmek.Primary, ID: number}
}

// versions: the event is about one version, the key's primary one was read, and the others wrap the store keys.
func versions(on, current string, wraps ...string) func(*cmek.Event, *Facts) {
	return func(e *cmek.Event, f *Facts) {
		e.On, f.Key, f.KeyKnown, f.WrapsKnown = primary(on), cmek.Key{State: cmek.KeyEnabled, Version: primary(current)}, true, true
		for _, v := range wraps {
			f.Wraps = append(f.Wraps, primary(v))
		}
	}
}

func wrapsUnknown(given func(*cmek.Event, *Facts)) func(*cmek.Event, *Facts) {
	return func(e *cmek.Event, f *Facts) { given(e, f); f.Wraps, f.WrapsKnown = nil, false }
}

// reading: the event is about a version, which reads as the state.
func reading(on string, state cmek.KeyState) func(*cmek.Event, *Facts) {
	return func(e *cmek.Event, f *Facts) {
		e.On, f.KeyKnown = primary(on), true
		f.Key = cmek.Key{State: cmek.KeyDisabled, Version: primary("4"), Versions: []cmek.KeyVersionInfo{{Version: primary(on), State: state}, {Version: primary("4"), State: cmek.KeyDisabled}}}
	}
}

func andWraps(given func(*cmek.Event, *Facts), version string) func(*cmek.Event, *Facts) {
	return func(e *cmek.Event, f *Facts) {
		given(e, f)
		f.Wraps, f.WrapsKnown = []cmek.KeyVersion{primary(version)}, true
	}
}

// becomes: the version is the primary one, after another one; the rest wraps the store keys.
func becomes(now, before string, wraps ...string) func(*cmek.Event, *Facts) {
	return func(e *cmek.Event, f *Facts) {
		versions("", now, wraps...)(e, f)
		e.Version, e.Previous = primary(now), primary(before)
	}
}

// Entries of the catalog without an event of a provider.
var withoutEvent = map[string]string{
	"RK-21": "CockroachDB Cloud's audit log, which needs an Organization Admin", "RK-22": "rotation's own alarms",
}

func showing(state cmek.KeyState) func(*cmek.Event, *Facts) {
	return func(_ *cmek.Event, f *Facts) { f.Key, f.KeyKnown = cmek.Key{State: state}, true }
}

func does(e Effect) func(*cmek.Event, *Facts) {
	return func(_ *cmek.Event, f *Facts) { f.Effect = &e }
}

func own(_ *cmek.Event, f *Facts)     { f.Own = true }
func replica(_ *cmek.Event, f *Facts) { f.Replica = true }
func ofAWS(e *cmek.Event, f *Facts) {
	e.Key, f.ByCluster = "arn:aws:kms:us-east-1:111122223333:alias/aws/s3", e.Change == cmek.ChangeUseRefused
}

func byTheCluster(_ *cmek.Event, f *Facts) { f.ByCluster = true }

// ourRule: the call is about a rule of our own, and came via a service or "".
func ourRule(call, via string) func(*cmek.Event, *Facts) {
	return func(e *cmek.Event, f *Facts) {
		f.Own = true
		made := ruleCall(e.ID, call, via)
		maps.Copy(made.Parameters, e.Parameters)
		e.Source, e.Parameters = made.Source, made.Parameters
	}
}

func TestSeverityFollowsTheCatalogOfRiskyChanges(t *testing.T) {
	inUse := Usage{Clusters: []alert.AffectedCluster{{ID: "c-1", Name: "orders"}}, Complete: true}
	nobody, unknown := Usage{Complete: true}, Usage{}
	for _, row := range severityTable {
		for _, cell := range []struct {
			condition string
			usage     Usage
			code      string
			want      alert.Severity
		}{
			{"in use", inUse, "", row.want.used},
			{"in use, but the call failed", inUse, "AccessDenied", row.want.usedFailed},
			{"not in use", nobody, "", row.want.unused},
			{"not in use, and the call failed", nobody, "AccessDenied", row.want.unusedFailed},
			{"usage unknown", unknown, "", row.want.unknown},
			{"usage unknown, and the call failed", unknown, "AccessDenied", row.want.unknownFailed},
		} {
			facts := Facts{Usage: cell.usage}
			e := cmek.Event{ID: "e-1", Change: row.change, Key: key, Error: cell.code, Parameters: maps.Clone(row.parameters)}
			if row.given != nil {
				row.given(&e, &facts)
			}
			a := Assess(e, facts)
			if a.Severity != cell.want || a.Entry != row.entry {
				t.Errorf("%s: %s (%s) is %s of %s, want %s", row.entry, row.sentence, cell.condition, a.Severity, a.Entry, cell.want)
			}
			if cell.condition == "in use" && a.Unused != row.want.unused && row.entry != "RK-18" {
				t.Errorf("%s: %s would be %s if the key was not in use, want %s", row.entry, row.sentence, a.Unused, row.want.unused)
			}
		}
	}
}

func TestOnlyADeploymentOfOurOwnRulesIsSaidToBeOne(t *testing.T) {
	for _, row := range []struct {
		ours bool
		via  string
		want bool
	}{{true, cloudFormation, true}, {true, "", false}, {false, cloudFormation, false}} {
		summary := Assess(ruleCall("e-1", "DeleteRule", row.via), Facts{Own: row.ours}).Summary
		if said := strings.Contains(summary, "by a CloudFormation deployment"); said != row.want {
			t.Errorf("for a call via %q about a rule of our own (%t) it reads %q; a deployment is said: %t, want %t", row.via, row.ours, summary, said, row.want)
		}
	}
}

func TestEveryEntryOfTheCatalogHasARowOrAReason(t *testing.T) {
	rows, changes := map[string]bool{}, map[cmek.Change]bool{}
	for _, row := range severityTable {
		rows[row.entry], changes[row.change] = true, true
	}
	for n := 1; n <= 22; n++ {
		entry := fmt.Sprintf("RK-%02d", n)
		if _, reason := withoutEvent[entry]; rows[entry] == reason {
			t.Errorf("%s has a row: %t; a reason for none: %t", entry, rows[entry], reason)
		}
	}
	for _, change := range Subscribes {
		if !changes[change] {
			t.Errorf("%q has no row in the table of severities", change)
		}
	}
}

func TestAssess_classOfARefusalDecides(t *testing.T) {
	facts := Facts{Usage: Usage{Clusters: []alert.AffectedCluster{{ID: "c-1"}}}, ByCluster: true}
	for _, row := range []struct {
		failure  cmek.Failure
		severity alert.Severity
		incident string
	}{
		{cmek.FailureDenied, alert.Critical, alert.AccessLost},
		{cmek.FailureUnfit, alert.Critical, alert.KeyUnusable},
		{cmek.FailureMissing, alert.Critical, alert.KeyUnusable},
		{cmek.FailureUnknown, alert.High, alert.AccessLost},
		{"", alert.Critical, alert.AccessLost},
		{cmek.FailureWrongKey, alert.High, ""},
		{cmek.FailureRequest, alert.Medium, ""},
		{cmek.FailurePassing, alert.Low, ""},
		{cmek.FailureDryRun, alert.None, ""},
	} {
		a := Assess(cmek.Event{Change: cmek.ChangeUseRefused, Key: key, Error: "Code", Failure: row.failure}, facts)
		if a.Severity != row.severity || a.Incident != row.incident {
			t.Errorf("%q is %s and opens the incident %q, want %s and %q", row.failure, a.Severity, a.Incident, row.severity, row.incident)
		}
	}
}

func TestALookAtAKeyIsNoUseOfIt(t *testing.T) {
	inUse := Facts{Usage: Usage{Clusters: []alert.AffectedCluster{{ID: "c-1"}}}}
	e := cmek.Event{Change: cmek.ChangeUse, Key: key, Source: "aws.kms/AWS API Call via CloudTrail/DescribeKey"}
	if a := Assess(e, inUse); a.Severity != alert.None {
		t.Errorf("DescribeKey by somebody else is %s, want none", a.Severity)
	}
}

func TestTheDeadlineIsTheKMSsOrFollowsFromTheWaitingPeriod(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	final := now.AddDate(0, 0, 30)
	e := cmek.Event{Change: cmek.ChangeDeletionScheduled, Key: key, Time: now, Parameters: map[string]string{"pending_window_days": "7"}}
	for _, row := range []struct {
		sentence string
		facts    Facts
		days     string
		want     time.Time
	}{
		{"the KMS knows the date", Facts{KeyKnown: true, Key: cmek.Key{State: cmek.KeyDeletionScheduled, DeletionDate: final}}, "7", final},
		{"the KMS was not read", Facts{}, "7", now.AddDate(0, 0, 7)},
		{"the KMS shows the state before", Facts{KeyKnown: true, Key: cmek.Key{State: cmek.KeyEnabled}}, "7", now.AddDate(0, 0, 7)},
		{"the record has no period", Facts{}, "", time.Time{}},
		{"the record's period is nonsense", Facts{}, "99999999999999999999", time.Time{}},
	} {
		e.Parameters["pending_window_days"] = row.days
		if a := Assess(e, row.facts); !a.Deadline.Equal(row.want) {
			t.Errorf("%s: the deadline is %s, want %s", row.sentence, a.Deadline, row.want)
		}
	}
}

func FuzzAssess(f *testing.F) {
	for i, change := range Subscribes {
		f.Add(string(change), string(key), "", "", "7", uint8(i))
		f.Add(string(change), "", "AccessDenied", role, "", uint8(255-i))
	}
	f.Add(string(cmek.ChangeEventRule), "", "", "", cloudFormation, uint8(4))
	words := []alert.Severity{alert.None, alert.Info, alert.Low, alert.Medium, alert.High, alert.Critical}
	states := []cmek.KeyState{cmek.KeyEnabled, cmek.KeyDisabled, cmek.KeyDeletionScheduled, cmek.KeyNotFound, "", "new"}
	f.Fuzz(func(t *testing.T, change, uri, code, name, parameter string, bits uint8) {
		is := func(n int) bool { return bits>>n&1 == 1 }
		e := cmek.Event{ID: name, Change: cmek.Change(change), Key: cmek.KeyURI(uri), Identity: cmek.Principal(name), Issuer: cmek.Principal(code), Parameters: map[string]string{}}
		for _, word := range []string{"pending_window_days", "rotation_period_days", "expiration_model", "rule", "via", "state", "trail", "target", "policy_arn"} {
			e.Parameters[word] = parameter
		}
		facts := Facts{Usage: Usage{Complete: is(0)}, KeyKnown: is(1), Key: cmek.Key{State: states[int(bits)%len(states)]}, Own: is(2), ByCluster: is(3)}
		if is(4) {
			facts.Usage.Clusters = []alert.AffectedCluster{{ID: name, Name: parameter}}
		}
		if is(5) {
			facts.Effect = &Effect{CutsOff: is(6), Exposes: is(7), Unclear: []string{name}, Words: []string{parameter}}
		}
		succeeded := Assess(e, facts)
		e.Error = code + "Denied"
		a := Assess(e, facts)
		for _, a := range []Assessment{succeeded, a} {
			if !slices.Contains(words, a.Severity) || !slices.Contains(words, a.Unused) {
				t.Errorf("%q: severity %q, %q if unused; want one of %v", change, a.Severity, a.Unused, words)
			}
			if a.Unused.Above(a.Severity) {
				t.Errorf("%q is %s in use, and %s if not", change, a.Severity, a.Unused)
			}
			if a.Severity == alert.None {
				continue
			}
			sent := compose(e, a, facts, dedupKey(e, a), nil)
			if text := sent.Text(); a.Summary == "" || !strings.Contains(text, "need") && !strings.Contains(text, "concern") {
				t.Errorf("%q: the text does not say who needs it:\n%s", change, text)
			}
		}
		if a.Severity.Above(succeeded.Severity) {
			t.Errorf("%q is %s if it failed, but %s if it succeeded", change, a.Severity, succeeded.Severity)
		}
	})
}

func TestAHarmlessPolicyIsSaidToKeepTheAccessOfClustersThatAreKnown(t *testing.T) {
	known := Usage{Clusters: []alert.AffectedCluster{{ID: "c-1", Name: "orders"}}}
	for _, row := range []struct {
		usage  Usage
		effect Effect
		want   string
	}{
		{known, Effect{}, "The clusters can still use the key. Nobody else gained access."},
		{known, Effect{Words: []string{"The previous policy is not known."}}, "The clusters can still use the key. The previous policy is not known."},
		{known, Effect{Exposes: true, Words: []string{"Everybody may."}}, "Everybody may."},
		{Usage{}, Effect{}, "It grants access to nobody new."},
		{Usage{}, Effect{Words: []string{"The previous policy is not known."}}, "The previous policy is not known."},
	} {
		a := Assess(cmek.Event{Change: cmek.ChangeKeyPolicy, Key: key}, Facts{Usage: row.usage, Effect: &row.effect})
		if a.Impact != row.want {
			t.Errorf("with %d clusters known, %+v reads %q, want %q", len(row.usage.Clusters), row.effect, a.Impact, row.want)
		}
	}
}

// A version that is not the default one is not in force, and says so. It becomes the default by a call of its own, which is judged.
func TestManaged_dormantVersionSaysSo(t *testing.T) {
	e := cmek.Event{ID: "e", Source: "aws.iam/AWS API Call via CloudTrail/CreatePolicyVersion", Change: cmek.ChangeManagedPolicy, Account: account,
		Policy: denyKMS, Parameters: map[string]string{"policy_arn": "arn:aws:iam::111122223333:policy/kms"}}
	effect := Judge(e, Documents{}, []Use{anyUse})
	a := Assess(e, Facts{Effect: &effect})
	if a.Severity != alert.Info || a.Incident != "" || a.Recovery || !strings.Contains(a.Impact, "not in force") {
		t.Errorf("a version that is not the default one: %v %q, recovery %t, %q", a.Severity, a.Incident, a.Recovery, a.Impact)
	}
	e.Parameters["omitted"] = "true"
	if effect := Judge(e, Documents{}, []Use{anyUse}); effect.Dormant {
		t.Error("a version whose parameters were left out may be the default one")
	}
}
