package rotation_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// What follow-through does is the same on each cloud: these tests run on both, over the simulated KMS of each and its real adapter.

// onGoogleCloud says on which cloud sharedKey, follower and the key's owner are.
var onGoogleCloud bool

const googleUser = "cmek@acme.iam.gserviceaccount.com"

// settling is how much longer a version settles there than on AWS.
func settling() time.Duration {
	if onGoogleCloud {
		return 30 * time.Minute
	}
	return 0
}

// onEachCloud runs a test on AWS and on Google Cloud. Such tests do not run in parallel.
func onEachCloud(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	defer func() { onGoogleCloud = false }()
	for _, name := range []string{"AWS", "GoogleCloud"} {
		onGoogleCloud = name == "GoogleCloud"
		t.Run(name, test)
	}
}

// settleTime is how long a new version settles: on Google Cloud as long as Cloud KMS asks for.
func settleTime() time.Duration {
	if onGoogleCloud {
		return 30 * time.Minute
	}
	return 5 * time.Minute
}

// nextVersion is a version that the key never gets.
func nextVersion() cmek.KeyVersion {
	if onGoogleCloud {
		return cmek.KeyVersion{Scheme: cmek.Primary, ID: "999"}
	}
	return cmek.MaterialVersion("next")
}

// homeRegion is where the clusters of sharedKey are.
func homeRegion() string { return sharedKey(1).Clusters[0].Regions[0].Name }

// deny makes our reads of a key fail, or no more.
func deny(t *testing.T, world *simulator.World, key cmek.KeyURI, denied bool) {
	t.Helper()
	if key.Type() == cmek.GCPCloudKMS {
		must(t, world.DenyGoogle(string(key), denied, "cloudkms.cryptoKeys.get", "cloudkms.cryptoKeyVersions.list"))
		return
	}
	must(t, world.DenyKMS(string(key), denied))
}

// callKMS calls Cloud KMS as the key's owner.
func (o keyOwner) callKMS(method, path, body string) string {
	o.t.Helper()
	request := httptest.NewRequestWithContext(context.Background(), method, "/v1/"+path, strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer owner")
	answer := httptest.NewRecorder()
	o.world.Google().ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		o.t.Fatalf("%s %s: %d %s", method, path, answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// setPrimaryState sets the state of the key's primary version.
func (o keyOwner) setPrimaryState(key cmek.KeyURI, state string) {
	o.t.Helper()
	_, after, _ := strings.Cut(o.callKMS(http.MethodGet, string(key), ""), "/cryptoKeyVersions/")
	version, _, _ := strings.Cut(after, "\"")
	o.callKMS(http.MethodPatch, string(key)+"/cryptoKeyVersions/"+version+"?updateMask=state", `{"state":"`+state+`"}`)
}

// admitOnGoogle replaces the key's allow policy by one that lets these service accounts use it.
func (o keyOwner) admitOnGoogle(key cmek.KeyURI, principals ...string) {
	o.t.Helper()
	for i, p := range principals {
		principals[i] = `"serviceAccount:` + p + `"`
	}
	o.callKMS(http.MethodPost, string(key)+":setIamPolicy", `{"policy":{"bindings":[{"role":"roles/cloudkms.cryptoKeyEncrypterDecrypter","members":[`+strings.Join(principals, ",")+`]}]}}`)
}
