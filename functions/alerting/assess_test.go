package alerting

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// severities of one change: succeeded and failed, for a key in use, for one that nobody uses, and with usage unknown.
type severities struct{ used, usedFailed, unused, unusedFailed, unknown, unknownFailed cmek.Severity }

// What "two steps lower" makes of each severity: for a key that is not in use, and again for a call that failed and changed
// nothing.
var (
	critical = severities{cmek.Critical, cmek.Medium, cmek.Medium, cmek.Info, cmek.Critical, cmek.Medium}
	high     = severities{cmek.High, cmek.Low, cmek.Low, cmek.Info, cmek.High, cmek.Low}
	medium   = severities{cmek.Medium, cmek.Info, cmek.Info, cmek.Info, cmek.Medium, cmek.Info}
	low      = severities{cmek.Low, cmek.Info, cmek.Info, cmek.Info, cmek.Low, cmek.Info}
	info     = severities{cmek.Info, cmek.Info, cmek.Info, cmek.Info, cmek.Info, cmek.Info}
)

// everybodys: what endangers all clusters is not lowered because none has anything in that very account.
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
	{"RK-01", "the deletion of a key is scheduled", cmek.DeletionWasScheduled, critical, nil, nil},
	{"RK-02", "a key is disabled", cmek.KeyWasDisabled, critical, nil, nil},
	{"RK-02", "a key is disabled, and the KMS still shows the state before", cmek.KeyWasDisabled, critical, nil, showing(cmek.KeyEnabled)},
	{"RK-02", "a key store is disconnected", cmek.KeyStoreDisconnected, critical, nil, nil},
	{"RK-02", "a key store is changed", cmek.KeyStoreChanged, high, nil, nil},
	{"RK-03", "a key is deleted", cmek.KeyWasDeleted, critical, nil, nil},
	{"RK-04", "imported material is deleted", cmek.MaterialDeleted, critical, nil, nil},
	{"RK-04", "imported material expires", cmek.MaterialExpired, critical, nil, nil},
	{"RK-05", "material is imported", cmek.MaterialImported, medium, nil, nil},
	{"RK-05", "material is imported that will expire", cmek.MaterialImported, high, map[string]string{"expiration_model": "KEY_MATERIAL_EXPIRES"}, nil},
	{"RK-06", "a key policy takes an action from the role", cmek.KeyPolicyReplaced, critical, nil, does(Effect{CutsOff: true})},
	{"RK-06", "a key policy lets somebody new in", cmek.KeyPolicyReplaced, critical, nil, does(Effect{Exposes: true})},
	{"RK-06", "a key policy is replaced past the lockout check", cmek.KeyPolicyReplaced, high, map[string]string{"bypass_policy_lockout_safety_check": "true"}, does(Effect{})},
	{"RK-06", "a key policy is replaced by a harmless one", cmek.KeyPolicyReplaced, medium, nil, does(Effect{})},
	{"RK-06", "a key policy is replaced, nobody knows by what", cmek.KeyPolicyReplaced, medium, nil, nil},
	{"RK-08", "a grant is created", cmek.GrantCreated, medium, nil, nil},
	{"RK-08", "a grant is revoked or retired", cmek.GrantRemoved, medium, nil, nil},
	{"RK-09", "a trust policy shuts the cluster out", cmek.RoleTrustChanged, critical, nil, does(Effect{CutsOff: true})},
	{"RK-09", "a trust policy no longer asks for the external id", cmek.RoleTrustChanged, critical, nil, does(Effect{Exposes: true})},
	{"RK-09", "a trust policy is changed, nobody knows how", cmek.RoleTrustChanged, high, nil, nil},
	{"RK-09", "a trust policy is changed, and one cannot tell what it does", cmek.RoleTrustChanged, high, nil, does(Effect{Unclear: "no external id is known"})},
	{"RK-09", "a trust policy is saved that still lets the cluster in and nobody else", cmek.RoleTrustChanged, info, nil, does(Effect{})},
	{"RK-09", "the role is deleted", cmek.RoleDeleted, critical, nil, nil},
	{"RK-09", "the role gets an explicit Deny", cmek.RolePolicyChanged, critical, nil, does(Effect{CutsOff: true})},
	{"RK-09", "the role's permissions change", cmek.RolePolicyChanged, high, nil, nil},
	{"RK-09", "the role gets a boundary without the key's actions", cmek.BoundaryChanged, critical, nil, does(Effect{CutsOff: true})},
	{"RK-09", "the role's boundary changes", cmek.BoundaryChanged, high, nil, nil},
	{"RK-09", "a managed policy changes", cmek.PolicyChanged, high, nil, nil},
	{"RK-09", "the role's tags change, which is seldom of consequence", cmek.RoleChanged, low, nil, nil},
	{"RK-11", "automatic rotation is turned off", cmek.RotationDisabled, medium, nil, nil},
	{"RK-11", "the rotation period is made longer than the usual year", cmek.RotationChanged, medium, map[string]string{"rotation_period_days": "730"}, nil},
	{"RK-11", "automatic rotation is turned on", cmek.RotationChanged, info, map[string]string{"rotation_period_days": "365"}, nil},
	{"RK-12", "a key rotates", cmek.Rotated, info, nil, nil},
	{"RK-12", "a rotation is asked for", cmek.RotationRequested, medium, nil, nil},
	{"RK-13", "an alias moves; the Cloud API pins ARNs, never aliases", cmek.AliasChanged, low, nil, nil},
	{"RK-13", "a key's tags change", cmek.KeyTagged, low, nil, nil},
	{"RK-15", "a deletion is canceled, which leaves the key disabled", cmek.DeletionWasCanceled, high, nil, showing(cmek.KeyDisabled)},
	{"RK-15", "a deletion is canceled, and the key is scheduled for deletion again by now", cmek.DeletionWasCanceled, critical, nil, showing(cmek.KeyDeletionScheduled)},
	{"RK-15", "a key is enabled, and the KMS does not show it yet", cmek.KeyWasEnabled, high, nil, showing(cmek.KeyDisabled)},
	{"RK-15", "a key is enabled", cmek.KeyWasEnabled, info, nil, showing(cmek.KeyEnabled)},
	{"RK-15", "a key store is connected", cmek.KeyStoreConnected, info, nil, nil},
	{"RK-16", "the primary Region moves", cmek.PrimaryMoved, medium, nil, nil},
	{"RK-16", "a replica is created", cmek.KeyReplicated, medium, nil, nil},
	{"RK-17", "a trail is stopped", cmek.TrailChanged, everybodys(high), nil, nil},
	{"RK-17", "an event rule is disabled", cmek.RuleChanged, everybodys(high), nil, nil},
	{"RK-17", "an event rule of our own is disabled", cmek.RuleChanged, everybodys(critical), nil, ourRule("DisableRule", "")},
	{"RK-17", "a rule of our own is put", cmek.RuleChanged, everybodys(critical), map[string]string{"state": "ENABLED"}, ourRule("PutRule", "")},
	{"RK-17", "a rule of our own gets targets", cmek.RuleChanged, everybodys(critical), nil, ourRule("PutTargets", "")},
	{"RK-17", "another service deletes a rule of our own", cmek.RuleChanged, everybodys(critical), nil, ourRule("DeleteRule", "config.amazonaws.com")},
	{"RK-17", "a deployment puts a rule of our own", cmek.RuleChanged, info, map[string]string{"state": "ENABLED"}, ourRule("PutRule", cloudFormation)},
	{"RK-17", "a deployment puts a rule of our own that takes read-only calls, too", cmek.RuleChanged, info, map[string]string{"state": "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"}, ourRule("PutRule", cloudFormation)},
	{"RK-17", "a deployment puts a rule of our own without a word on its state", cmek.RuleChanged, info, nil, ourRule("PutRule", cloudFormation)},
	{"RK-17", "a deployment gives targets to a rule of our own", cmek.RuleChanged, info, nil, ourRule("PutTargets", cloudFormation)},
	{"RK-17", "a deployment puts a rule of our own, but disabled", cmek.RuleChanged, everybodys(medium), map[string]string{"state": "DISABLED"}, ourRule("PutRule", cloudFormation)},
	{"RK-17", "a deployment disables a rule of our own", cmek.RuleChanged, everybodys(medium), nil, ourRule("DisableRule", cloudFormation)},
	{"RK-17", "a deployment deletes a rule of our own", cmek.RuleChanged, everybodys(medium), nil, ourRule("DeleteRule", cloudFormation)},
	{"RK-17", "a deployment takes targets from a rule of our own", cmek.RuleChanged, everybodys(medium), nil, ourRule("RemoveTargets", cloudFormation)},
	{"RK-17", "a deployment puts somebody else's rule", cmek.RuleChanged, everybodys(high), map[string]string{"via": cloudFormation}, nil},
	// Without a cluster that is known to use the key nobody can be called a stranger. A failed use changes nothing; that of a
	// cluster is RK-19.
	{"RK-18", "a stranger uses the key", cmek.UseUnexpected, severities{cmek.High, None, None, None, None, None}, nil, nil},
	{"RK-18", "a cluster uses its key", cmek.UseUnexpected, severities{None, None, None, None, None, None}, nil, byTheCluster},
	{"RK-18", "a stranger assumes the role", cmek.RoleAssumed, severities{cmek.High, None, None, None, None, None}, nil, nil},
	// It is a failed call by its nature; who is refused is a cluster's principal, so the key is in use.
	{"RK-19", "a cluster is refused", cmek.UseRefused, severities{cmek.Critical, cmek.Critical, cmek.Medium, cmek.Medium, cmek.Critical, cmek.Critical}, nil, byTheCluster},
	{"RK-19", "somebody else is refused", cmek.UseRefused, severities{None, None, None, None, None, None}, nil, nil},
	{"RK-20", "organization policies change", cmek.GuardRailsChanged, everybodys(medium), nil, nil},
	{"RK-20", "an account leaves its organization", cmek.AccountDetached, high, nil, nil},
	{"RK-20", "a Region is disabled", cmek.RegionDisabled, high, nil, nil},
}

// Entries of the catalog that no event of AWS tells of.
var withoutEvent = map[string]string{
	"RK-07": "Google Cloud IAM", "RK-10": "Google Cloud service accounts", "RK-14": "Google Cloud key versions",
	"RK-21": "CockroachDB Cloud's audit log, which needs an Organization Admin", "RK-22": "rotation's own alarms",
}

func showing(state cmek.KeyState) func(*cmek.Event, *Facts) {
	return func(_ *cmek.Event, f *Facts) { f.Key, f.KeyKnown = cmek.Key{State: state}, true }
}

func does(e Effect) func(*cmek.Event, *Facts) {
	return func(_ *cmek.Event, f *Facts) { f.Effect = &e }
}

func byTheCluster(_ *cmek.Event, f *Facts) { f.ByCluster = true }

// ourRule: the call is about a rule of our own, and came via a service or "".
func ourRule(call, via string) func(*cmek.Event, *Facts) {
	return func(e *cmek.Event, f *Facts) {
		f.OurRule = true
		made := ruleCall(e.ID, call, via)
		maps.Copy(made.Parameters, e.Parameters)
		e.Source, e.Parameters = made.Source, made.Parameters
	}
}

func TestSeverityFollowsTheCatalogOfRiskyChanges(t *testing.T) {
	inUse := Usage{Clusters: []cmek.AffectedCluster{{ID: "c-1", Name: "orders"}}, Complete: true}
	nobody, unknown := Usage{Complete: true}, Usage{}
	for _, row := range severityTable {
		for _, cell := range []struct {
			condition string
			usage     Usage
			code      string
			want      cmek.Severity
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
		summary := Assess(ruleCall("e-1", "DeleteRule", row.via), Facts{OurRule: row.ours}).Summary
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

func TestAnErrorCodeTellsWhatIsBrokenWhenAClusterIsRefused(t *testing.T) {
	facts := Facts{Usage: Usage{Clusters: []cmek.AffectedCluster{{ID: "c-1"}}}, ByCluster: true}
	for _, row := range []struct {
		code     string
		severity cmek.Severity
		incident string
	}{
		{"AccessDenied", cmek.Critical, IncidentAccess},
		{"AccessDeniedException", cmek.Critical, IncidentAccess},
		{"DisabledException", cmek.Critical, IncidentKey},
		{"Disabled", cmek.Critical, IncidentKey},
		{"KMSInvalidStateException", cmek.Critical, IncidentKey},
		{"NotFoundException", cmek.Critical, IncidentKey},
		{"SomethingNew", cmek.Critical, IncidentAccess},
		{"IncorrectKeyException", cmek.High, ""},
		{"InvalidCiphertextException", cmek.High, ""},
		{"ThrottlingException", cmek.Low, ""},
		{"KMSInternalException", cmek.Low, ""},
		{"KeyUnavailableException", cmek.Low, ""},
	} {
		a := Assess(cmek.Event{Change: cmek.UseRefused, Key: key, Error: row.code}, facts)
		if a.Severity != row.severity || a.Incident != row.incident {
			t.Errorf("%s is %s and opens the incident %q, want %s and %q", row.code, a.Severity, a.Incident, row.severity, row.incident)
		}
	}
}

func TestALookAtAKeyIsNoUseOfIt(t *testing.T) {
	inUse := Facts{Usage: Usage{Clusters: []cmek.AffectedCluster{{ID: "c-1"}}}}
	e := cmek.Event{Change: cmek.UseUnexpected, Key: key, Source: "aws.kms/AWS API Call via CloudTrail/DescribeKey"}
	if a := Assess(e, inUse); a.Severity != None {
		t.Errorf("DescribeKey by somebody else is %s, want none", a.Severity)
	}
}

func TestTheDeadlineIsTheKMSsOrFollowsFromTheWaitingPeriod(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	final := now.AddDate(0, 0, 30)
	e := cmek.Event{Change: cmek.DeletionWasScheduled, Key: key, Time: now, Parameters: map[string]string{"pending_window_days": "7"}}
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
	f.Add(string(cmek.RuleChanged), "", "", "", cloudFormation, uint8(4))
	words := []cmek.Severity{None, cmek.Info, cmek.Low, cmek.Medium, cmek.High, cmek.Critical}
	states := []cmek.KeyState{cmek.KeyEnabled, cmek.KeyDisabled, cmek.KeyDeletionScheduled, cmek.KeyNotFound, "", "new"}
	f.Fuzz(func(t *testing.T, change, uri, code, name, parameter string, bits uint8) {
		is := func(n int) bool { return bits>>n&1 == 1 }
		e := cmek.Event{ID: name, Change: cmek.Change(change), Key: cmek.KeyURI(uri), Role: name, Issuer: code, Parameters: map[string]string{}}
		for _, word := range []string{"pending_window_days", "rotation_period_days", "expiration_model", "rule", "via", "state", "trail", "target", "policy_arn"} {
			e.Parameters[word] = parameter
		}
		facts := Facts{Usage: Usage{Complete: is(0)}, KeyKnown: is(1), Key: cmek.Key{State: states[int(bits)%len(states)]}, OurRule: is(2), ByCluster: is(3)}
		if is(4) {
			facts.Usage.Clusters = []cmek.AffectedCluster{{ID: name, Name: parameter}}
		}
		if is(5) {
			facts.Effect = &Effect{CutsOff: is(6), Exposes: is(7), Unclear: name, Words: []string{parameter}}
		}
		succeeded := Assess(e, facts)
		e.Error = code + "Denied"
		a := Assess(e, facts)
		for _, a := range []Assessment{succeeded, a} {
			if !slices.Contains(words, a.Severity) || !slices.Contains(words, a.Unused) {
				t.Errorf("%q: severity %q, %q if unused; want one of %v", change, a.Severity, a.Unused, words)
			}
			if level(a.Unused) > level(a.Severity) {
				t.Errorf("%q is %s in use, and %s if not", change, a.Severity, a.Unused)
			}
			if a.Severity == None {
				continue
			}
			alert := compose(e, a, facts, dedupKey(e, a), nil)
			if text := alert.Text(); a.Summary == "" || !strings.Contains(text, "need") && !strings.Contains(text, "concern") {
				t.Errorf("%q: the text does not say who needs it:\n%s", change, text)
			}
		}
		if level(a.Severity) > level(succeeded.Severity) {
			t.Errorf("%q is %s if it failed, but %s if it succeeded", change, a.Severity, succeeded.Severity)
		}
	})
}

func TestAHarmlessPolicyIsSaidToKeepTheAccessOfClustersThatAreKnown(t *testing.T) {
	known := Usage{Clusters: []cmek.AffectedCluster{{ID: "c-1", Name: "orders"}}}
	for _, row := range []struct {
		usage  Usage
		effect Effect
		want   string
	}{
		{known, Effect{}, "It still lets the clusters use the key, and nobody new."},
		{known, Effect{Words: []string{"The previous policy is not known."}}, "It still lets the clusters use the key. The previous policy is not known."},
		{known, Effect{Exposes: true, Words: []string{"Everybody may."}}, "Everybody may."},
		{Usage{}, Effect{}, "It lets nobody new use the key."},
		{Usage{}, Effect{Words: []string{"The previous policy is not known."}}, "The previous policy is not known."},
	} {
		a := Assess(cmek.Event{Change: cmek.KeyPolicyReplaced, Key: key}, Facts{Usage: row.usage, Effect: &row.effect})
		if a.Consequence != row.want {
			t.Errorf("with %d clusters known, %+v reads %q, want %q", len(row.usage.Clusters), row.effect, a.Consequence, row.want)
		}
	}
}
