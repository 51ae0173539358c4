package rotation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// keyReads takes reads of keys in turn, a minute apart, and returns what is wrong after the last.
func keyReads(reads ...map[cmek.KeyURI]KeyFact) map[string]ledger.KeyTrouble {
	var all map[string]ledger.KeyTrouble
	for i, read := range reads {
		all = troubles(all, read, noon.Add(time.Duration(i)*time.Minute))
	}
	return all
}

func read(fact KeyFact) map[cmek.KeyURI]KeyFact { return map[cmek.KeyURI]KeyFact{eastKey: fact} }

func inState(s cmek.KeyState) map[cmek.KeyURI]KeyFact {
	return read(KeyFact{Key: cmek.Key{URI: eastKey, State: s}})
}

// byKey finds the clusters that need a key.
func byKey(clusters ...*ledger.Cluster) func(cmek.KeyURI) ([]*ledger.Cluster, error) {
	return func(key cmek.KeyURI) (found []*ledger.Cluster, err error) {
		for _, c := range clusters {
			if slices.Contains(c.Keys(), key.Canonical()) {
				found = append(found, c)
			}
		}
		return found, nil
	}
}

func TestKeys_whatIsReported(t *testing.T) { onBothClouds(t, testKeys_whatIsReported) }

func testKeys_whatIsReported(t *testing.T) {
	healthy, disabled := inState(cmek.KeyEnabled), inState(cmek.KeyDisabled)
	denied, outage := read(KeyFact{Err: fmt.Errorf("read key: %w", cmek.ErrDenied)}), read(KeyFact{Err: errOutage})
	for _, r := range []struct {
		sentence string
		reads    []map[cmek.KeyURI]KeyFact
		want     []cmek.Change
	}{
		{"a healthy key", []map[cmek.KeyURI]KeyFact{healthy}, nil},
		{"a disabled key", []map[cmek.KeyURI]KeyFact{disabled}, []cmek.Change{changeKeyUnusable}},
		{"a key about to be deleted", []map[cmek.KeyURI]KeyFact{inState(cmek.KeyDeletionScheduled)}, []cmek.Change{changeKeyUnusable}},
		{"a key without its material", []map[cmek.KeyURI]KeyFact{inState(cmek.KeyPendingImport)}, []cmek.Change{changeKeyUnusable}},
		{"a key that recovered", []map[cmek.KeyURI]KeyFact{disabled, healthy}, nil},
		{"a transient state", []map[cmek.KeyURI]KeyFact{inState(cmek.KeyTransient)}, nil},
		{"an unknown state", []map[cmek.KeyURI]KeyFact{inState(cmek.KeyUnknown)}, nil},
		{"a transient state of a disabled key", []map[cmek.KeyURI]KeyFact{disabled, inState(cmek.KeyTransient)}, []cmek.Change{changeKeyUnusable}},
		{"a denied read", []map[cmek.KeyURI]KeyFact{denied}, []cmek.Change{changeKeyUnreadable}},
		{"a denied read that ended", []map[cmek.KeyURI]KeyFact{denied, healthy}, nil},
		{"two failed reads", []map[cmek.KeyURI]KeyFact{outage, outage}, nil},
		{"three failed reads", []map[cmek.KeyURI]KeyFact{outage, outage, outage}, []cmek.Change{changeKeyUnreadable}},
		{"two failed reads, a good one, two failed ones", []map[cmek.KeyURI]KeyFact{outage, outage, healthy, outage, outage}, nil},
		{"a disabled key that may no longer be read", []map[cmek.KeyURI]KeyFact{disabled, denied}, []cmek.Change{changeKeyUnusable}},
		{"a disabled key whose reads fail", []map[cmek.KeyURI]KeyFact{disabled, outage, outage, outage}, []cmek.Change{changeKeyUnusable}},
		{"an unreadable key that turns out disabled", []map[cmek.KeyURI]KeyFact{denied, disabled}, []cmek.Change{changeKeyUnusable}},
		{"a key that another tick did not read", []map[cmek.KeyURI]KeyFact{disabled, {}}, []cmek.Change{changeKeyUnusable}},
	} {
		found, err := keyConditions(keyReads(r.reads...), byKey(newWorld().item))
		if got := changesOf(found); err != nil || !slices.Equal(got, r.want) {
			t.Errorf("%s is reported as %q (%v), want %q", r.sentence, got, err, r.want)
		}
	}
}

func TestKeys_nobodyReads_isForgotten(t *testing.T) {
	onBothClouds(t, testKeys_nobodyReads_isForgotten)
}

func testKeys_nobodyReads_isForgotten(t *testing.T) {
	known := troubles(nil, inState(cmek.KeyDisabled), noon)
	if got := troubles(known, nil, in(troubleForgotten)); len(got) != 1 {
		t.Errorf("after %s the trouble is %+v, want it kept", troubleForgotten, got)
	}
	late := in(troubleForgotten + time.Second)
	if got, err := forgetUnused(known, in(troubleForgotten), byKey()); err != nil || len(got) != 1 {
		t.Errorf("after %s the trouble with a key that nobody needs is %+v (%v), want it kept", troubleForgotten, got, err)
	}
	if got, err := forgetUnused(known, late, byKey()); err != nil || len(got) != 0 {
		t.Errorf("after more than %s the trouble with a key that nobody needs is %+v (%v), want none", troubleForgotten, got, err)
	}
	if got, err := forgetUnused(known, late, byKey(member("a"))); err != nil || len(got) != 1 {
		t.Errorf("trouble with a key that a cluster needs became %+v (%v) because it was not read", got, err)
	}
	failing := func(cmek.KeyURI) ([]*ledger.Cluster, error) { return nil, errOutage }
	if got, err := forgetUnused(known, late, failing); err == nil || len(got) != 1 {
		t.Errorf("trouble became %+v (%v) because the ledger does not answer", got, err)
	}
}

func TestKeys_oneCause_isOneAlertWithAllClusters(t *testing.T) {
	onBothClouds(t, testKeys_oneCause_isOneAlertWithAllClusters)
}

func testKeys_oneCause_isOneAlertWithAllClusters(t *testing.T) {
	a, b := member("a"), member("b")
	other := member("c", func(c *ledger.Cluster) { c.CMEK.RegionInfos[0] = regionInfo(west, westKey) })
	found, err := keyConditions(keyReads(inState(cmek.KeyDisabled)), byKey(a, b, other))
	if err != nil || len(found) != 1 {
		t.Fatalf("a disabled key of two clusters is reported as %+v (%v), want one alert", found, err)
	}
	var names []string
	for _, c := range found[0].Clusters {
		names = append(names, c.Name)
		if !slices.Equal(c.Regions, []string{east}) {
			t.Errorf("cluster %s is named with the regions %q", c.Name, c.Regions)
		}
	}
	if !slices.Equal(names, []string{"a", "b"}) || found[0].Severity != alert.Critical || found[0].Audience != alert.Owners {
		t.Errorf("the alert is %s to %s and names %q, want critical, to the owners, naming a and b", found[0].Severity, found[0].Audience, names)
	}

	// Two keys of one account that may not be read are one cause, in any Region.
	denied := KeyFact{Err: cmek.ErrDenied}
	found, err = keyConditions(keyReads(map[cmek.KeyURI]KeyFact{eastKey: denied, westKey: denied}), byKey(a, b, other))
	if steps := strings.Join(found[0].RecoverySteps, " "); strings.Contains(steps, "kms:DescribeKey") != (eastKey.Type() == cmek.AWSKMS) || strings.Contains(steps, "cloudkms.") == strings.Contains(steps, "kms:Describe") {
		t.Errorf("the steps for %s are %q, want those of its cloud", eastKey, steps)
	}
	if err != nil || len(found) != 1 || len(found[0].Clusters) != 3 || found[0].Audience != alert.Operations || !strings.Contains(found[0].Summary, "2 keys of account "+eastKey.Account()) {
		t.Errorf("two unreadable keys are reported as %+v (%v), want one alert to operations that names three clusters", found, err)
	}
}

// What is off for all readers of a project is reported at once, in one alert, with what turns it on and not with permissions.
func TestKeys_whatIsOff_isOneAlertWithItsOwnWayBack(t *testing.T) {
	const first, second = "projects/p/locations/global/keyRings/r/cryptoKeys/k", "projects/p/locations/global/keyRings/r/cryptoKeys/l"
	fact := func(what, command string) KeyFact {
		return KeyFact{Err: fmt.Errorf("read key: %w", &cmek.SwitchedOffError{What: what, Help: []string{"Enable it:", command}, Err: errOutage})}
	}
	const api, billing = "the API cloudkms.googleapis.com of project 1 is off", "the billing of project 1 is off"
	const enable, link = "gcloud services enable cloudkms.googleapis.com --project=1", "gcloud billing projects link 1 --billing-account=BILLING_ACCOUNT"
	for _, row := range []struct {
		what string
		read map[cmek.KeyURI]KeyFact
		want map[string]string // the end of the summary of each alert, and the command in its steps
	}{
		{"an API that is off", map[cmek.KeyURI]KeyFact{first: fact(api, enable)}, map[string]string{"key k: " + api: enable}},
		{"an API that is off for two keys", map[cmek.KeyURI]KeyFact{first: fact(api, enable), second: fact(api, enable)}, map[string]string{"2 keys of account p: " + api: enable}},
		{"an API that is off, and billing", map[cmek.KeyURI]KeyFact{first: fact(api, enable), second: fact(billing, link)}, map[string]string{"key k: " + api: enable, "key l: " + billing: link}},
		{"an API that is off, and a refusal", map[cmek.KeyURI]KeyFact{first: fact(api, enable), second: {Err: cmek.ErrDenied}},
			map[string]string{"key k: " + api: enable, "key l: access denied": "roles/cloudkms.viewer"}},
	} {
		found, err := keyConditions(keyReads(row.read), byKey(member("a")))
		if err != nil || len(found) != len(row.want) {
			t.Errorf("%s is reported as %+v (%v), want %d alerts", row.what, found, err, len(row.want))
		}
		names := map[string]bool{}
		for _, a := range found {
			names[a.DedupKey] = true
			steps := strings.Join(a.RecoverySteps, "\n")
			command, known := row.want[strings.TrimPrefix(a.Summary, "keyturn cannot read ")]
			if !known || !strings.Contains(steps, command) || strings.Contains(steps, "roles/") != strings.Contains(command, "roles/") || a.Change != changeKeyUnreadable {
				t.Errorf("%s is reported as %q with the steps %q, want %q", row.what, a.Summary, a.RecoverySteps, row.want)
			}
			cmektest.CheckSteps(t, a.RecoverySteps...)
		}
		if len(names) != len(found) {
			t.Errorf("%s: the alerts have the names %v, want one each", row.what, names)
		}
	}
}

func TestKeys_replicas_areReportedEach(t *testing.T) {
	w := newWorld(usingKey(mrkEast), alsoWest(mrkWest))
	disabled := func(uri cmek.KeyURI) KeyFact { return KeyFact{Key: cmek.Key{URI: uri, State: cmek.KeyDisabled}} }
	healthy := KeyFact{Key: healthyKey(mrkEast)}
	found, _ := keyConditions(keyReads(map[cmek.KeyURI]KeyFact{mrkEast: healthy, mrkWest: disabled(mrkWest)}), byKey(w.item))
	if len(found) != 1 || found[0].Key != mrkWest || !slices.Equal(found[0].Clusters[0].Regions, []string{west}) {
		t.Errorf("one disabled replica is reported as %+v, want its own alert with its region", found)
	}
	found, _ = keyConditions(keyReads(map[cmek.KeyURI]KeyFact{mrkEast: disabled(mrkEast), mrkWest: disabled(mrkWest)}), byKey(w.item))
	if len(found) != 2 || found[0].DedupKey == found[1].DedupKey {
		t.Errorf("two disabled replicas are reported as %+v, want two incidents", found)
	}
}

func TestKeys_worseState_isReportedAgain(t *testing.T) {
	onBothClouds(t, testKeys_worseState_isReportedAgain)
}

func testKeys_worseState_isReportedAgain(t *testing.T) {
	deletion := read(KeyFact{Key: cmek.Key{URI: eastKey, State: cmek.KeyDeletionScheduled, DeletionDate: in(7 * 24 * time.Hour)}})
	var out ledger.Outbox
	var open []ledger.Alarm
	var all map[string]ledger.KeyTrouble
	step := func(reads map[cmek.KeyURI]KeyFact, at time.Time) int {
		all = troubles(all, reads, at)
		found, _ := keyConditions(all, byKey(newWorld().item))
		before := len(out.Messages)
		open = transitions(open, found, never, at, &out)
		return len(out.Messages) - before
	}
	for i, s := range []struct {
		what  string
		reads map[cmek.KeyURI]KeyFact
		want  int
	}{
		{"disabled", inState(cmek.KeyDisabled), 1}, {"disabled still", inState(cmek.KeyDisabled), 0},
		{"scheduled for deletion", deletion, 1}, {"scheduled for deletion still", deletion, 0},
		{"not readable", read(KeyFact{Err: cmek.ErrDenied}), 0},
		{"enabled", inState(cmek.KeyEnabled), 1}, {"enabled still", inState(cmek.KeyEnabled), 0},
	} {
		if n := step(s.reads, noon.Add(time.Duration(i)*time.Minute)); n != s.want {
			t.Errorf("a key that is %s sent %d messages, want %d", s.what, n, s.want)
		}
	}
	second, last := out.Messages[1].Alert, out.Messages[2].Alert
	if !second.Deadline.Equal(in(7*24*time.Hour)) || second.DedupKey != out.Messages[0].Alert.DedupKey || !last.Resolved {
		t.Errorf("the messages are %+v and %+v, want the deletion's date and the resolution of one incident", second, last)
	}
}

func TestKeys_ledgerThatFails_isAnErrorNotAnAllClear(t *testing.T) {
	onBothClouds(t, testKeys_ledgerThatFails_isAnErrorNotAnAllClear)
}

func testKeys_ledgerThatFails_isAnErrorNotAnAllClear(t *testing.T) {
	broken := func(cmek.KeyURI) ([]*ledger.Cluster, error) { return nil, errors.New("no ledger") }
	found, err := keyConditions(keyReads(inState(cmek.KeyDisabled)), broken)
	if err == nil || len(found) != 1 {
		t.Errorf("without the clusters of the key the alerts are %+v (%v), want the alert and an error", found, err)
	}
}

func TestKeys_recoverySteps_nameTheRealKey(t *testing.T) {
	for state, commands := range map[cmek.KeyState][]string{
		cmek.KeyDisabled:          {"aws kms enable-key"},
		cmek.KeyDeletionScheduled: {"aws kms cancel-key-deletion", "aws kms enable-key"},
		cmek.KeyPendingImport:     {"aws kms get-parameters-for-import", "aws kms import-key-material"},
		cmek.KeyNotFound:          {"aws kms describe-key"},
		cmek.KeyUnavailable:       {"aws kms describe-key"},
	} {
		found, _ := keyConditions(keyReads(inState(state)), byKey())
		cmektest.CheckSteps(t, found[0].RecoverySteps...)
		steps := slices.DeleteFunc(slices.Clone(found[0].RecoverySteps), func(step string) bool { return !strings.HasPrefix(step, "aws ") })
		for i, command := range commands {
			if i >= len(steps) || !strings.Contains(steps[i], command) || !strings.Contains(steps[i], string(eastKey)) || !strings.Contains(steps[i], east) {
				t.Errorf("recovery step %d from %q is not %q with the key and its Region: %q", i+1, state, command, steps)
			}
		}
	}
}

// On Google Cloud a key's state is that of its primary version, which the command names.
func TestKeys_recoverySteps_onGoogleCloud(t *testing.T) {
	const key = cmek.KeyURI("projects/example.com:acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay")
	const at = "--key=pay --keyring=crdb --location=us-east1 --project=example.com:acme"
	for state, commands := range map[cmek.KeyState][]string{
		cmek.KeyDisabled:          {"keys describe pay ", "keys versions enable VERSION " + at},
		cmek.KeyDeletionScheduled: {"keys describe pay ", "keys versions restore VERSION " + at, "keys versions enable VERSION " + at},
		cmek.KeyDestroyed:         {"keys describe pay ", "keys versions list " + at},
		cmek.KeyNotFound:          {"keys describe pay "},
	} {
		all := recoverySteps(key, ledger.KeyTrouble{Reason: string(state)})
		cmektest.CheckSteps(t, all...)
		steps := slices.DeleteFunc(slices.Clone(all), func(step string) bool { return !strings.HasPrefix(step, "gcloud ") })
		if len(steps) != len(commands) {
			t.Errorf("%s: the commands are %q, want %d", state, steps, len(commands))
			continue
		}
		for i, command := range commands {
			if !strings.HasPrefix(steps[i], "gcloud kms "+command) {
				t.Errorf("%s: step %d is %q, want gcloud kms %s", state, i, steps[i], command)
			}
		}
	}
}
