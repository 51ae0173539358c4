package lifecycle_test

import (
	"testing"

	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Against real readers: what is there on each cloud is found complete, and what is taken away is named; nothing is written.
func TestVerify_readsWhatExists(t *testing.T) {
	w := newWorld(t)
	f := w.function()
	verify := func(cluster string, specs ...cmek.RegionSpec) lifecycle.Provisioning {
		t.Helper()
		p, err := f.Verify(t.Context(), lifecycle.ProvisionRequest{ClusterID: cluster}, specs)
		must(t, err)
		return p
	}
	if p := verify(analytics, awsSpec("us-east-1", eastKey, paymentsRole)); !p.Complete() {
		t.Errorf("AWS: %+v %+v", p.Findings, p.Refusals)
	}
	if p := verify(onGoogle, googleSpec("us-east1", googleKey)); !p.Complete() {
		t.Errorf("Google Cloud: %+v %+v", p.Findings, p.Refusals)
	}
	if p := verify(onGoogleToo); !p.Complete() { // by the keys that it has
		t.Errorf("Google Cloud, enabled: %+v %+v", p.Findings, p.Refusals)
	}
	// A key in force in another Region was accepted when it was asked for; asked for anew it would be refused.
	elsewhere := awsSpec("eu-west-1", eastKey, paymentsRole)
	must(t, w.AddRegion("payments", 3, elsewhere))
	if p := verify(payments); !p.Complete() {
		t.Errorf("a key elsewhere that is in force: %+v %+v", p.Findings, p.Refusals)
	}
	if p := verify(payments, awsSpec("us-east-1", eastKey, paymentsRole), elsewhere); p.Complete() {
		t.Errorf("a key elsewhere that is asked for: %+v", p.Findings)
	}
	w.distrust()
	if p := verify(analytics, awsSpec("us-east-1", eastKey, paymentsRole)); p.Complete() || len(p.Files) != 1 || len(p.Refusals) > 0 {
		t.Errorf("a role that trusts another account: %+v %+v", p.Findings, p.Files)
	}
	if p := verify(analytics, awsSpec("us-east-1", eastKey, "arn:aws:iam::111122223333:role/no-such")); p.Complete() {
		t.Errorf("a role that is not there: %+v", p.Findings)
	}
	if p := verify(onGoogle, googleSpec("us-east1", "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/none")); p.Complete() {
		t.Errorf("a key that is not there: %+v", p.Findings)
	}
	// The key of the sample company was made by AWS KMS: it is no key of Vault's.
	p, err := f.Verify(t.Context(), lifecycle.ProvisionRequest{ClusterID: analytics, Vault: true}, []cmek.RegionSpec{awsSpec("us-east-1", eastKey, paymentsRole)})
	must(t, err)
	if n := len(p.Findings); n != 6 || p.Findings[4].Check != "origin" || *p.Findings[4].OK {
		t.Errorf("%d findings for Vault: %+v", n, p.Findings)
	}
	guide, err := f.Provision(t.Context(), lifecycle.ProvisionRequest{ClusterID: analytics, Account: "111122223333"})
	must(t, err)
	if guide.Cluster.AccountID != "900000000006" || guide.Cluster.OrganizationID != organization || len(guide.Refusals) > 0 {
		t.Errorf("the guide is for %+v, refused %+v", guide.Cluster, guide.Refusals)
	}
	if len(w.sent) > 0 || len(w.records()) > 0 {
		t.Errorf("sent %v, filed %v", w.sent, w.records())
	}
}
