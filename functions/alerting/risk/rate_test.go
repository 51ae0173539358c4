package risk

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

func of(change cmek.Change, edits ...func(*Case)) Case {
	c := Case{Event: cmek.Event{Change: change, Key: key, Source: "aws.kms/AWS API Call via CloudTrail/Something"}}
	for _, edit := range edits {
		edit(&c)
	}
	return c
}

func own(c *Case)     { c.Own = true }
func replica(c *Case) { c.Replica = true }
func failed(failure cmek.Failure) func(*Case) {
	return func(c *Case) { c.Event.Error, c.Event.Failure = "Code", failure }
}
func named(operation string) func(*Case) {
	return func(c *Case) { c.Event.Source = "aws.x/y/" + operation }
}
func reads(state cmek.KeyState) func(*Case) {
	return func(c *Case) { c.Key.State, c.KeyKnown = state, true }
}
func does(e Effect) func(*Case)         { return func(c *Case) { c.Effect = &e } }
func about(uri cmek.KeyURI) func(*Case) { return func(c *Case) { c.Event.Key = uri } }
func with(pairs ...string) func(*Case) {
	return func(c *Case) {
		c.Event.Parameters = maps.Clone(c.Event.Parameters)
		if c.Event.Parameters == nil {
			c.Event.Parameters = map[string]string{}
		}
		for i := 0; i < len(pairs); i += 2 {
			c.Event.Parameters[pairs[i]] = pairs[i+1]
		}
	}
}

func onCloud(cloud string) func(*Case) {
	return func(c *Case) { c.Event.Source = sources[cloud] + "x" }
}

var deployed = with("via", "cloudformation.amazonaws.com")

func TestRate(t *testing.T) {
	const alias = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:alias/")
	for _, row := range []struct {
		sentence string
		c        Case
		severity alert.Severity
		incident string
		recovers bool
	}{
		{"the deletion of a key is scheduled", of(cmek.ChangeDeletionScheduled), alert.Critical, alert.KeyUnusable, false},
		{"somebody tried", of(cmek.ChangeDeletionScheduled, failed(cmek.FailureDenied)), alert.Medium, "", false},
		{"somebody asked whether it would succeed", of(cmek.ChangeGrantCreated, failed(cmek.FailureDryRun)), alert.None, "", false},
		{"of a replica that no cluster names", of(cmek.ChangeDeletionScheduled, replica), alert.Medium, "", false},
		{"a replica is tagged", of(cmek.ChangeKeyTags, replica), alert.Low, "", false},
		{"a replica reads as disabled after it was enabled", of(cmek.ChangeKeyEnabled, replica, reads(cmek.KeyDisabled)), alert.Medium, "", true},

		{"a key is enabled", of(cmek.ChangeKeyEnabled), alert.Info, "", true},
		{"a key is enabled and reads so", of(cmek.ChangeKeyEnabled, reads(cmek.KeyEnabled)), alert.Info, "", true},
		{"a key is enabled and reads as disabled", of(cmek.ChangeKeyEnabled, reads(cmek.KeyDisabled)), alert.High, alert.KeyUnusable, true},
		{"enabling failed", of(cmek.ChangeKeyEnabled, failed(cmek.FailureDenied)), alert.Info, "", false},
		{"a key store is connected, and the key is unavailable", of(cmek.ChangeKeyStoreConnected, reads(cmek.KeyUnavailable)), alert.High, alert.KeyUnusable, true},
		{"material is imported", of(cmek.ChangeMaterialImported), alert.Medium, "", true},
		{"material is imported, and the key waits for more", of(cmek.ChangeMaterialImported, reads(cmek.KeyPendingImport)), alert.High, alert.KeyUnusable, true},
		{"material that expires", of(cmek.ChangeMaterialImported, with("expiration_model", "KEY_MATERIAL_EXPIRES")), alert.High, "", true},
		{"material that does not expire", of(cmek.ChangeMaterialImported, with("expiration_model", "KEY_MATERIAL_DOES_NOT_EXPIRE")), alert.Medium, "", true},
		{"a deletion is canceled", of(cmek.ChangeDeletionCanceled), alert.High, alert.KeyUnusable, false},
		{"canceled, and reads as disabled", of(cmek.ChangeDeletionCanceled, reads(cmek.KeyDisabled)), alert.High, alert.KeyUnusable, false},
		{"canceled, and reads as enabled", of(cmek.ChangeDeletionCanceled, reads(cmek.KeyEnabled)), alert.High, alert.KeyUnusable, false},
		{"canceled, and scheduled again", of(cmek.ChangeDeletionCanceled, reads(cmek.KeyDeletionScheduled)), alert.Critical, alert.KeyUnusable, false},

		{"a key policy of unknown effect", of(cmek.ChangeKeyPolicy), alert.High, "", false},
		{"an unclear one", of(cmek.ChangeKeyPolicy, does(Effect{Unclear: []string{"x"}})), alert.High, "", false},
		{"a harmless one", of(cmek.ChangeKeyPolicy, does(Effect{})), alert.Medium, "", true},
		{"one past the lockout check", of(cmek.ChangeKeyPolicy, does(Effect{}), with("bypass_policy_lockout_safety_check", "true")), alert.High, "", true},
		{"one within the lockout check", of(cmek.ChangeKeyPolicy, does(Effect{}), with("bypass_policy_lockout_safety_check", "false")), alert.Medium, "", true},
		{"one that cuts off", of(cmek.ChangeKeyPolicy, does(Effect{CutsOff: true})), alert.Critical, alert.AccessLost, false},
		{"one that cuts off, as far as is clear", of(cmek.ChangeKeyPolicy, does(Effect{CutsOff: true, Unclear: []string{"x"}})), alert.Critical, alert.AccessLost, false},
		{"one that exposes", of(cmek.ChangeKeyPolicy, does(Effect{Exposes: true})), alert.Critical, "", false},
		{"one that was refused", of(cmek.ChangeKeyPolicy, failed(cmek.FailureDenied)), alert.Info, "", false},
		{"a harmless trust policy", of(cmek.ChangePrincipalTrust, does(Effect{})), alert.Info, "", true},
		{"an unclear one", of(cmek.ChangePrincipalTrust, does(Effect{Unclear: []string{"x"}})), alert.High, "", false},
		{"a boundary that cuts off", of(cmek.ChangeBoundary, does(Effect{CutsOff: true})), alert.Critical, alert.AccessLost, false},
		{"a harmless policy of the role", of(cmek.ChangePrincipalPolicy, does(Effect{})), alert.High, "", true},
		{"a managed policy", of(cmek.ChangeManagedPolicy), alert.High, "", false},
		{"a managed policy that cuts off", of(cmek.ChangeManagedPolicy, does(Effect{CutsOff: true})), alert.Critical, alert.AccessLost, false},
		{"a managed policy that no cluster has", of(cmek.ChangeManagedPolicy, does(Effect{Unattached: true})), alert.Info, "", true},
		{"the same key policy again", of(cmek.ChangeKeyPolicy, does(Effect{Same: true})), alert.Info, "", true},
		{"a key policy that locks administrators out", of(cmek.ChangeKeyPolicy, does(Effect{LocksOut: true})), alert.High, "", true},
		{"the role is deleted", of(cmek.ChangePrincipalDeleted), alert.Critical, alert.AccessLost, false},

		{"refused: denied", of(cmek.ChangeUseRefused, failed(cmek.FailureDenied)), alert.Critical, alert.AccessLost, false},
		{"refused: unfit", of(cmek.ChangeUseRefused, failed(cmek.FailureUnfit)), alert.Critical, alert.KeyUnusable, false},
		{"refused: missing", of(cmek.ChangeUseRefused, failed(cmek.FailureMissing)), alert.Critical, alert.KeyUnusable, false},
		{"refused: no role of that name", of(cmek.ChangeUseRefused, failed(cmek.FailureMissing), about("")), alert.Critical, alert.AccessLost, false},
		{"refused: the key of an alias", of(cmek.ChangeUseRefused, failed(cmek.FailureUnfit), about(alias+"orders")), alert.Critical, alert.AccessLost, false},
		{"refused: unknown", of(cmek.ChangeUseRefused, failed(cmek.FailureUnknown)), alert.High, alert.AccessLost, false},
		{"refused: not classed", of(cmek.ChangeUseRefused, failed("")), alert.Critical, alert.AccessLost, false},
		{"refused: wrong key", of(cmek.ChangeUseRefused, failed(cmek.FailureWrongKey)), alert.High, "", false},
		{"refused: the request", of(cmek.ChangeUseRefused, failed(cmek.FailureRequest)), alert.Medium, "", false},
		{"refused: passing", of(cmek.ChangeUseRefused, failed(cmek.FailurePassing)), alert.Low, "", false},
		{"refused: dry run", of(cmek.ChangeUseRefused, failed(cmek.FailureDryRun)), alert.None, "", false},

		{"a use", of(cmek.ChangeUse, named("Decrypt")), alert.High, "", false},
		{"a read", of(cmek.ChangeUse, named("DescribeKey")), alert.None, "", false},
		{"a read that a cluster was refused", of(cmek.ChangeUseRefused, named("DescribeKey"), failed(cmek.FailureDenied)), alert.Critical, alert.AccessLost, false},
		{"a use of AWS's own key", of(cmek.ChangeUse, about(alias+"aws/s3")), alert.None, "", false},
		{"a use of a key whose alias only looks like it", of(cmek.ChangeUse, about(alias+"aws-s3")), alert.High, "", false},

		{"the period is long", of(cmek.ChangeRotationSchedule, with("rotation_period_days", "366")), alert.Medium, "", false},
		{"the period is a year", of(cmek.ChangeRotationSchedule, with("rotation_period_days", "365")), alert.Info, "", false},
		{"the period is no number", of(cmek.ChangeRotationSchedule, with("rotation_period_days", "x")), alert.Info, "", false},

		{"somebody's rule", of(cmek.ChangeEventRule, named("DeleteRule")), alert.High, "", false},
		{"somebody's rule, deployed", of(cmek.ChangeEventRule, named("PutRule"), deployed), alert.High, "", false},
		{"our rule by hand", of(cmek.ChangeEventRule, named("PutTargets"), own), alert.Critical, "", false},
		{"our targets, deployed", of(cmek.ChangeEventRule, named("PutTargets"), own, deployed), alert.Medium, "", false},
		{"our rule, deployed", of(cmek.ChangeEventRule, named("PutRule"), own, deployed), alert.Medium, "", false},
		{"our rule, deployed as disabled", of(cmek.ChangeEventRule, named("PutRule"), own, deployed, with("state", "DISABLED")), alert.Medium, "", false},
		{"our rule, deleted by a deployment", of(cmek.ChangeEventRule, named("DeleteRule"), own, deployed), alert.Medium, "", false},
		{"our rule, changed via another service", of(cmek.ChangeEventRule, named("PutRule"), own, with("via", "config.amazonaws.com")), alert.Critical, "", false},
		{"somebody's function", of(cmek.ChangeFunction), alert.None, "", false},
		{"our function", of(cmek.ChangeFunction, own), alert.Critical, "", false},
		{"our function, tried", of(cmek.ChangeFunction, own, failed(cmek.FailureDenied)), alert.Medium, "", false},
		{"our function, deployed", of(cmek.ChangeFunction, own, deployed), alert.Medium, "", false},
		{"a value of our secret is replaced", of(cmek.ChangeSecret, named("PutSecretValue"), own), alert.Medium, "", false},
		{"our secret is deleted", of(cmek.ChangeSecret, named("DeleteSecret"), own), alert.High, "", false},
		{"our queue is purged", of(cmek.ChangeQueue, named("PurgeQueue"), own), alert.High, "", false},
		{"our queue is deleted", of(cmek.ChangeQueue, named("DeleteQueue"), own), alert.Critical, "", false},
		{"the trust of a role that was left out is the same", of(cmek.ChangePrincipalTrust, about(""), with("omitted", "true"), does(Effect{Same: true})), alert.Medium, "", true},
		{"our role is tagged", of(cmek.ChangePrincipalSettings, own), alert.High, "", false},
		{"our role is tagged by a deployment", of(cmek.ChangePrincipalSettings, own, deployed), alert.Medium, "", false},
		{"our role is deleted", of(cmek.ChangePrincipalDeleted, own), alert.High, "", false},
		{"our role is deleted by a deployment", of(cmek.ChangePrincipalDeleted, own, deployed), alert.Medium, "", false},
		{"our role is assumed", of(cmek.ChangePrincipalAssumed, own, deployed), alert.High, "", false},
		{"an account is enabled again", of(cmek.ChangePrincipalEnabled, does(Effect{})), alert.Info, "", true},
		{"and what it may is not known", of(cmek.ChangePrincipalEnabled, does(Effect{Unclear: []string{"x"}})), alert.Info, "", true},
		{"and it has lost its roles", of(cmek.ChangePrincipalEnabled, does(Effect{StillLost: true})), alert.High, alert.AccessLost, true},
		{"a managed policy that was left out, and that no cluster has", of(cmek.ChangeManagedPolicy, about(""), with("omitted", "true"), does(Effect{Unattached: true})), alert.Medium, "", true},
		{"a managed policy of a role that is named", of(cmek.ChangeManagedPolicy, about(""), with("omitted", "true"), does(Effect{Unattached: true}), func(c *Case) { c.Event.Identity = role }), alert.Info, "", true},
		{"a key policy that was left out, and is the same", of(cmek.ChangeKeyPolicy, with("omitted", "true"), does(Effect{Same: true})), alert.Info, "", true},
		{"an assumption of a role that was left out", of(cmek.ChangePrincipalAssumed, about(""), with("omitted", "true")), alert.High, "", false},
		{"somebody's sink", of(cmek.ChangeLogSink, with("sink", "s")), alert.High, "", false},
		{"our sink", of(cmek.ChangeLogSink, own, with("sink", "s")), alert.Critical, "", false},
		{"our feed", of(cmek.ChangeLogSink, own, with("feed", "f")), alert.Critical, "", false},
		{"an exclusion beside our sink", of(cmek.ChangeLogSink, own, with("exclusion", "x")), alert.High, "", false},
		{"what is no risk", of(cmek.ChangeKeyCreated), alert.None, "", false},
	} {
		r, _ := Of(row.c.Event.Change)
		if s := r.Rate(row.c); s != row.severity {
			t.Errorf("%s: rated %s, want %s", row.sentence, s, row.severity)
		}
		if incident, recovers := r.Opens(row.c), r.Restores(row.c); row.severity != alert.None && (incident != row.incident || recovers != row.recovers) {
			t.Errorf("%s: opens %q and recovers: %t, want %q and %t", row.sentence, incident, recovers, row.incident, row.recovers)
		}
	}
}

// What nobody uses needs two levels less, unless it may be keyturn's own, or any cluster's.
func TestUnused(t *testing.T) {
	for _, row := range []struct {
		sentence string
		c        Case
		severity alert.Severity
	}{
		{"a key that nobody uses is disabled", of(cmek.ChangeKeyDisabled), alert.Medium},
		{"a managed policy", of(cmek.ChangeManagedPolicy, about("")), alert.Low},
		{"a managed policy that was left out", of(cmek.ChangeManagedPolicy, about(""), with("omitted", "true")), alert.Medium},
		{"a key policy that was left out", of(cmek.ChangeKeyPolicy, about(""), with("omitted", "true")), alert.Low},
		{"guard rails of everybody", of(cmek.ChangeGuardRails), alert.Medium},
	} {
		r, _ := Of(row.c.Event.Change)
		if s := r.Unused(row.c, r.Rate(row.c)); s != row.severity {
			t.Errorf("%s: rated %s, want %s", row.sentence, s, row.severity)
		}
	}
}

// A rotation to an older version is none, if the event or the ledger shows what was used before.
func TestFor_primarySetBack(t *testing.T) {
	to := func(now, before string, wraps ...string) func(*Case) {
		return func(c *Case) {
			c.Event.Key, c.Event.Version = cryptoKey, primary(now)
			if before != "" {
				c.Event.Previous = primary(before)
			}
			for _, v := range wraps {
				c.Wraps = append(c.Wraps, primary(v))
			}
		}
	}
	for _, row := range []struct {
		c    Case
		back bool
	}{
		{of(cmek.ChangeRotated, to("4", "5")), true}, {of(cmek.ChangeRotated, to("4", "3")), false}, {of(cmek.ChangeRotated, to("4", "4")), false}, {of(cmek.ChangeRotated, to("4", "")), false},
		{of(cmek.ChangeRotated, to("4", "", "3", "5")), true}, {of(cmek.ChangeRotated, to("4", "", "3", "4")), false}, {of(cmek.ChangeRotated, to("4", "3", "5")), true}, {of(cmek.ChangeRotated, to("4", "5", "3")), true},
		{of(cmek.ChangeRotated, to("4", "5"), failed(cmek.FailureDenied)), false}, {of(cmek.ChangeVersionDisabled, to("4", "5")), false},
	} {
		want := row.c.Event.Change
		if row.back {
			want = cmek.ChangePrimarySetBack
		}
		if r, _ := For(row.c); r.Change != want {
			t.Errorf("%s to %s after %s, wraps %v, error %q: %s, want %s", row.c.Event.Change, row.c.Event.Version, row.c.Event.Previous, row.c.Wraps, row.c.Event.Error, r.Change, want)
		}
	}
}

// What a version is needed for is not known before both the key and the ledger were read.
func TestNeed_ofAVersion(t *testing.T) {
	for _, row := range []struct {
		on, version string
		keyKnown    bool
		wraps       []string
		wrapsKnown  bool
		want        need
	}{
		{"", "3", true, []string{"3"}, true, needUnknown}, {"3", "3", true, nil, false, neededNow}, {"3", "4", true, []string{"3"}, false, neededNow},
		{"3", "4", true, []string{"4"}, true, neededForOldData}, {"3", "4", true, []string{"4"}, false, needUnknown}, {"3", "", true, []string{"4"}, true, needUnknown},
		{"3", "4", false, []string{"4"}, true, needUnknown}, {"3", "3", false, []string{"4"}, true, needUnknown},
	} {
		c := of(cmek.ChangeVersionDisabled, about(cryptoKey))
		c.KeyKnown, c.WrapsKnown = row.keyKnown, row.wrapsKnown
		if row.on != "" {
			c.Event.On = primary(row.on)
		}
		if row.version != "" {
			c.Key.Version = primary(row.version)
		}
		for _, v := range row.wraps {
			c.Wraps = append(c.Wraps, primary(v))
		}
		if got := c.need(); got != row.want {
			t.Errorf("%+v: %d, want %d", row, got, row.want)
		}
	}
}

// What a caller may choose (names of sessions, of users, of roles) does not lower a severity.
func TestRate_callersNamesDoNotLowerIt(t *testing.T) {
	for _, change := range Changes() {
		row, _ := Of(change)
		for _, base := range []Case{of(change), of(change, own), of(change, failed(cmek.FailureDenied))} {
			for _, name := range []string{"", "111122223333", "keyturn-reader", "AWSCloudFormation", "cloudformation.amazonaws.com", "DescribeKey", "alias/aws/s3"} {
				c := base
				c.Event.Principal = "arn:aws:sts::999900001111:assumed-role/" + name + "/" + name
				c.Event.Issuer, c.Event.Identity = cmek.Principal("arn:aws:iam::999900001111:role/"+name), cmek.Principal(name)
				c.Event.Parameters = map[string]string{}
				for _, word := range parameters {
					if word != "rotation_period_days" {
						c.Event.Parameters[word] = name
					}
				}
				if row.Rate(base).Above(row.Rate(c)) {
					t.Errorf("%s by %q is %s, want %s", change, name, row.Rate(c), row.Rate(base))
				}
			}
		}
	}
}

func TestDeadline(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	when := func(c *Case) { c.Event.Time = at }
	for _, row := range []struct {
		c    Case
		days int
	}{
		{of(cmek.ChangeDeletionScheduled, when, with("pending_window_days", "7")), 7},
		{of(cmek.ChangeDeletionScheduled, when, with("pending_window_days", "366")), 366},
		{of(cmek.ChangeDeletionScheduled, when, with("pending_window_days", "367")), 0},
		{of(cmek.ChangeDeletionScheduled, when, with("pending_window_days", "0")), 0},
		{of(cmek.ChangeDeletionScheduled, when, with("pending_window_days", "1")), 1},
		{of(cmek.ChangeDeletionScheduled, when, with("pending_window_days", "x")), 0},
		{of(cmek.ChangeDeletionScheduled, when, with("pending_window_days", "7", "key_state", "PendingReplicaDeletion")), 0},
		{of(cmek.ChangeDeletionScheduled, when, with("pending_window_days", "7", "key_state", "PendingDeletion")), 7},
		{of(cmek.ChangeDeletionScheduled, with("pending_window_days", "7")), 0},
		{of(cmek.ChangeDeletionScheduled, when, with("pending_window_days", "7"), failed(cmek.FailureDenied)), 0},
		{of(cmek.ChangeKeyDisabled, when, with("pending_window_days", "7")), 0},
		{of(cmek.ChangeKeyDisabled, reads(cmek.KeyDeletionScheduled), func(c *Case) { c.Key.DeletionDate = at.AddDate(0, 0, 9) }), 9},
		{of(cmek.ChangeKeyDisabled, reads(cmek.KeyDisabled), func(c *Case) { c.Key.DeletionDate = at }), 0},
	} {
		want := at.AddDate(0, 0, row.days)
		if row.days == 0 {
			want = time.Time{}
		}
		r, _ := Of(row.c.Event.Change)
		if got := r.Deadline(row.c); !got.Equal(want) {
			t.Errorf("%+v: the deadline is %s, want %s", row.c, got, want)
		}
	}
}

// A rotation is said to be one without doubt only if the version is known to be newer.
func TestImpact_ofARotationSaysWhatIsNotKnown(t *testing.T) {
	const doubt = "If this version is older than the one before"
	for _, row := range []struct {
		now, before string
		wraps       []string
		known, want bool
	}{
		{"4", "", nil, false, true}, {"4", "", []string{"3"}, true, false}, {"4", "", []string{"3"}, false, true}, {"4", "", []string{"3", "4"}, true, true},
		{"4", "", nil, true, true}, {"4", "3", nil, false, false}, {"", "", nil, false, false},
	} {
		c := of(cmek.ChangeRotated, about(cryptoKey), func(c *Case) { c.Event.Source = sources["gcp"] + "UpdateCryptoKeyPrimaryVersion" })
		if row.now != "" {
			c.Event.Version = primary(row.now)
		}
		if row.before != "" {
			c.Event.Previous = primary(row.before)
		}
		for _, v := range row.wraps {
			c.Wraps = append(c.Wraps, primary(v))
		}
		c.WrapsKnown = row.known
		r, _ := For(c)
		if got := strings.Contains(r.Impact(c), doubt); got != row.want || r.Change != cmek.ChangeRotated {
			t.Errorf("version %q after %q, wraps %q (known: %t): %q of %q", row.now, row.before, row.wraps, row.known, r.Impact(c), r.Change)
		}
	}
}

func TestScope_whomACaseConcerns(t *testing.T) {
	nothing := func(c *Case) { c.Event.Key, c.Event.Identity = "", "" }
	ofRole := func(c *Case) { c.Event.Key, c.Event.Identity = "", role }
	for _, row := range []struct {
		c                Case
		everybody, broad bool
	}{
		{of(cmek.ChangeKeyDisabled), false, false},
		{of(cmek.ChangeKeyDisabled, nothing), false, true},
		{of(cmek.ChangePrincipalDeleted, ofRole), false, false},
		{of(cmek.ChangePrincipalDeleted, ofRole, own), true, true},
		{of(cmek.ChangeManagedPolicy, nothing), false, true},
		{of(cmek.ChangeKeyStore, nothing), false, true}, {of(cmek.ChangeKeyStore), false, true}, {of(cmek.ChangeGuardRails), true, true},
		{of(cmek.ChangeKeyDisabled, nothing, onCloud("gcp")), false, true}, {of(cmek.ChangeManagedPolicy, about(cryptoKey), onCloud("gcp")), false, true},
		{of(cmek.ChangeManagedPolicy, ofRole, onCloud("gcp")), false, true},
		{of(cmek.ChangeLogSink, nothing), true, true},
		{of(cmek.ChangeGuardRails, nothing), true, true},
		// A folder or an organization of Google Cloud is in no account; an event of AWS always is.
		{of(cmek.ChangeDenyPolicy, nothing, onCloud("gcp")), true, true},
		{of(cmek.ChangeDenyPolicy, nothing, onCloud("gcp"), func(c *Case) { c.Event.Account = "acme-keys" }), false, true},
		{of(cmek.ChangeManagedPolicy, nothing, onCloud("gcp")), true, true},
		{of(cmek.ChangeVersionDisabled, onCloud("gcp")), false, false},
	} {
		r, _ := Of(row.c.Event.Change)
		if everybody, broad := r.Everybody(row.c), r.Broad(row.c); everybody != row.everybody || broad != row.broad {
			t.Errorf("%+v concerns everybody: %t, is broad: %t; want %t and %t", row.c.Event, everybody, broad, row.everybody, row.broad)
		}
	}
}

func TestImpact_saysWhatIsKnown(t *testing.T) {
	words := []string{"Something changed."}
	for _, row := range []struct {
		c    Case
		want string
	}{
		{of(cmek.ChangeKeyPolicy), "The effect of the new policy on the clusters' access is unknown. A key policy that"},
		{of(cmek.ChangeKeyPolicy, does(Effect{})), "It grants access to nobody new."},
		{of(cmek.ChangeKeyPolicy, does(Effect{}), func(c *Case) { c.InUse = true }), "The clusters can still use the key. Nobody else gained access."},
		{of(cmek.ChangeKeyPolicy, does(Effect{Words: words}), func(c *Case) { c.InUse = true }), "The clusters can still use the key. Something changed."},
		{of(cmek.ChangeKeyPolicy, does(Effect{Words: words, Exposes: true}), func(c *Case) { c.InUse = true }), "Something changed."},
		{of(cmek.ChangeKeyPolicy, does(Effect{Words: words, Unclear: []string{"why"}}), func(c *Case) { c.InUse = true }), "Something changed. Whether the clusters can still use the key is unknown: why."},
		{of(cmek.ChangeKeyPolicy, does(Effect{Words: words, CutsOff: true})), "Something changed. Nodes that restart cannot rejoin"},
		{of(cmek.ChangeKeyPolicy, does(Effect{}), with("bypass_policy_lockout_safety_check", "true")), "It grants access to nobody new. The policy lockout safety check was bypassed."},
		{of(cmek.ChangeKeyPolicy, does(Effect{}), with("omitted", "true")), "It grants access to nobody new. The event does not carry the parameters of the call, which are too large."},
		{of(cmek.ChangeKeyPolicy, failed(cmek.FailureDenied)), "Nothing changed: the call failed with Code."},
		{of(cmek.ChangeFunction, own, func(c *Case) { c.Event.Principal = "ana" }), "The function acts with keyturn's permissions; changed code can do whatever they allow. " + blind + " The change was made by ana."},
		{of(cmek.ChangeFunction, own, deployed, func(c *Case) { c.Event.Issuer = "role" }), "The function acts with keyturn's permissions; changed code can do whatever they allow. " + blind + " The deployment was made by role. If it was planned"},
		{of(cmek.ChangeFunction, own), "The function acts with keyturn's permissions; changed code can do whatever they allow. " + blind + " The event does not say who"},
	} {
		r, _ := Of(row.c.Event.Change)
		if got := r.Impact(row.c); !strings.HasPrefix(got, row.want) {
			t.Errorf("the impact of %s reads\n%s\nwant\n%s", row.c.Event.Change, got, row.want)
		}
	}
}

func TestHeadline(t *testing.T) {
	ofRole := func(c *Case) { c.Event.Key, c.Event.Identity = "", role }
	for _, row := range []struct {
		c    Case
		want string
	}{
		{of(cmek.ChangeKeyDisabled), "Key 1234abcd-12ab-34cd-56ef-1234567890ab was disabled"},
		{of(cmek.ChangeKeyDisabled, about("")), "A key was disabled"},
		{of(cmek.ChangeKeyDisabled, failed(cmek.FailureDenied)), "Failed attempt to disable key 1234abcd-12ab-34cd-56ef-1234567890ab (Code)"},
		{of(cmek.ChangeKeyPolicy, does(Effect{CutsOff: true})), "Key 1234abcd-12ab-34cd-56ef-1234567890ab had its key policy replaced, which cuts off clusters"},
		{of(cmek.ChangeKeyPolicy, does(Effect{Exposes: true})), "Key 1234abcd-12ab-34cd-56ef-1234567890ab had its key policy replaced, which grants access to a principal outside the account"},
		{of(cmek.ChangePrincipalTrust, ofRole, does(Effect{CutsOff: true, Exposes: true})), "Role crdb-cmek had its trust policy replaced, which cuts off clusters and grants access to another principal"},
		{of(cmek.ChangeUseRefused, failed(cmek.FailureDenied)), "Key 1234abcd-12ab-34cd-56ef-1234567890ab refused a call of a cluster (Code)"},
		{of(cmek.ChangeUseRefused, ofRole, failed(cmek.FailureDenied)), "Role crdb-cmek could not be assumed by a cluster (Code)"},
		{of(cmek.ChangeFunction, own, deployed, named("UpdateFunctionCode20150331v2"), with("function", "arn:aws:lambda:us-east-1:111122223333:function:keyturn-alerting:live")),
			`Function "keyturn-alerting" had its code replaced by a CloudFormation deployment`},
		{of(cmek.ChangeEventBus, own, named("DeleteEventBus"), with("event_bus", "arn:aws:events:us-east-1:111122223333:event-bus/keyturn")), `Event bus "keyturn" was deleted`},
		{of(cmek.ChangeAlarm, own, named("DisableAlarmActions"), with("alarm", "keyturn-dead")), `Alarm "keyturn-dead" had its actions disabled`},
		{of(cmek.ChangeAlertTopic, own, named("Unsubscribe"), with("subscription", "arn:aws:sns:us-east-1:111122223333:keyturn-alerts:0a1b")), `Alert topic "keyturn-alerts" lost a subscription`},
		{of(cmek.ChangeAlertTopic, own, named("DeleteTopic"), with("topic", "arn:aws:sns:us-east-1:111122223333:keyturn-alerts")), `Alert topic "keyturn-alerts" was deleted`},
		{of(cmek.ChangeSchedule, own, named("DeleteSchedule"), with("schedule", "keyturn-tick")), `Schedule "keyturn-tick" was deleted`},
		{of(cmek.ChangeSecret, own, named("DeleteSecret"), with("secret", "arn:aws:secretsmanager:us-east-1:111122223333:secret:keyturn-api-key-AbCdEf")), `Secret "keyturn-api-key-AbCdEf" was deleted`},
		{of(cmek.ChangeSecret, own, named("PutSecretValue"), with("secret", "keyturn-api-key")), `Secret "keyturn-api-key" had its value replaced`},
		{of(cmek.ChangeQueue, own, named("PurgeQueue"), with("queue", "https://sqs.us-east-1.amazonaws.com/111122223333/keyturn-alerting-event")), `Queue "keyturn-alerting-event" was purged`},
		{of(cmek.ChangeTable, own, named("DeleteTable"), with("table", "keyturn-hub-Ledger")), `Table "keyturn-hub-Ledger" was deleted`},
		{of(cmek.ChangeAccountDetached, named("AccountDepartedOrganization"), with("target", "444455556666")), "Account 444455556666 left its organization"},
		{of(cmek.ChangeAccountDetached, named("RemoveAccountFromOrganization"), with("target", "444455556666")), "Account 444455556666 was removed from its organization"},
		{of(cmek.ChangeAccountDetached, named("CloseAccount"), with("target", "x"), func(c *Case) { c.Event.Account = "111122223333" }), "Account 111122223333 was closed"},
		{of(cmek.ChangeAlias, named("DeleteAlias"), with("alias", "alias/orders")), `Alias "alias/orders" was deleted (it named key 1234abcd-12ab-34cd-56ef-1234567890ab)`},
		{of(cmek.ChangePrincipalPolicy, ofRole, named("AttachRolePolicy"), with("policy_arn", "arn:aws:iam::aws:policy/AWSDenyAll")), `Role crdb-cmek had managed policy "AWSDenyAll" attached`},
	} {
		r, _ := Of(row.c.Event.Change)
		if got := r.Headline(row.c); got != row.want {
			t.Errorf("the headline reads\n%s\nwant\n%s", got, row.want)
		}
	}
}
