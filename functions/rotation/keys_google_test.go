package rotation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// On Cloud KMS versions have states: the alert is about the primary version, under alerting's own incident, so that nobody is paged twice,
// and its commands name the version.
func TestKeyConditions_onCloudKMS_areAboutTheVersion(t *testing.T) {
	const key = cmek.KeyURI("projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay")
	const at = " --key=pay --keyring=crdb --location=us-east1 --project=acme"
	now := time.Now()
	for _, tc := range []struct {
		state    cmek.KeyState
		version  cmek.KeyVersion
		incident string
		steps    []string
	}{
		{cmek.KeyDisabled, cmek.KeyVersion{Scheme: cmek.Primary, ID: "3"}, "/cryptoKeyVersions/3", []string{"gcloud kms keys versions enable 3" + at}},
		{cmek.KeyDeletionScheduled, cmek.KeyVersion{Scheme: cmek.Primary, ID: "3"}, "/cryptoKeyVersions/3", []string{"gcloud kms keys versions restore 3" + at, "gcloud kms keys versions enable 3" + at}},
		{cmek.KeyPendingImport, cmek.KeyVersion{Scheme: cmek.Primary, ID: "3"}, "/cryptoKeyVersions/3", []string{"gcloud kms keys versions list" + at}},
		{cmek.KeyNotFound, cmek.KeyVersion{}, "", []string{"gcloud kms keys describe pay --keyring=crdb --location=us-east1 --project=acme"}},
	} {
		read := map[cmek.KeyURI]KeyFact{key: {Key: cmek.Key{URI: key, State: tc.state, Version: tc.version}}}
		found, err := keyConditions(troubles(nil, read, now), func(cmek.KeyURI) ([]*ledger.Cluster, error) { return nil, nil })
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %d conditions, error %v", tc.state, len(found), err)
		}
		if want := alert.IncidentKey(alert.KeyUnusable, string(key)+tc.incident); found[0].DedupKey != want {
			t.Errorf("%s: the incident is %s, want %s", tc.state, found[0].DedupKey, want)
		}
		commands := slices.DeleteFunc(slices.Clone(found[0].RecoverySteps), func(step string) bool { return !strings.HasPrefix(step, "gcloud ") })
		if len(commands) != len(tc.steps) || slices.ContainsFunc(tc.steps, func(want string) bool {
			return !slices.Contains(commands, want)
		}) {
			t.Errorf("%s: the commands are %q, want %q", tc.state, commands, tc.steps)
		}
	}
}

// Another version is another incident, so a change from one to the other is news.
func TestSameTroubles_anotherVersion(t *testing.T) {
	const key = cmek.KeyURI("projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay")
	now := time.Now()
	of := func(version string) map[cmek.KeyURI]KeyFact {
		return map[cmek.KeyURI]KeyFact{key: {Key: cmek.Key{URI: key, State: cmek.KeyDisabled, Version: cmek.KeyVersion{Scheme: cmek.Primary, ID: version}}}}
	}
	first := troubles(nil, of("1"), now)
	if !sameTroubles(first, troubles(first, of("1"), now.Add(time.Minute))) || sameTroubles(first, troubles(first, of("2"), now.Add(time.Minute))) {
		t.Error("a change of the version is no change, or no change is one")
	}
}
