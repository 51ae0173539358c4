package alerting

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
)

// From a call in Google Cloud to what people are told to type. {KEY} and {AT} are the key of the cluster and where it is.
func TestSimulatedGoogle_commandsOfEachChange(t *testing.T) {
	none := `{"bindings":[]}`
	const version = "v1/" + simulatedKey + "/cryptoKeyVersions/"
	for _, row := range []struct {
		name    string
		calls   []string
		want    alert.Severity
		command string
	}{
		{"an old version disabled", []string{"PATCH " + version + `1?updateMask=state {"state":"DISABLED"}`}, alert.High, "gcloud kms keys versions enable 1 "},
		{"the primary disabled", []string{"PATCH " + version + `2?updateMask=state {"state":"DISABLED"}`}, alert.Critical, "gcloud kms keys versions enable 2 "},
		{"the destruction of an old version scheduled", []string{"POST " + version + "1:destroy {}"}, alert.High, "gcloud kms keys versions restore 1 "},
		{"the destruction of the primary scheduled", []string{"POST " + version + "2:destroy {}"}, alert.Critical, "gcloud kms keys versions restore 2 "},
		{"a version restored, which leaves it disabled", []string{"POST " + version + "1:destroy {}", "POST " + version + "1:restore {}"}, alert.High, "gcloud kms keys versions enable 1 "},
		{"the primary set back", []string{"POST v1/" + simulatedKey + `:updatePrimaryVersion {"cryptoKeyVersionId":"1"}`}, alert.High, "gcloud kms keys"},
		{"the key's binding removed", []string{setPolicy(simulatedKey, "v1", none)}, alert.Critical, "gcloud kms keys add-iam-policy-binding pay "},
		{"Token Creator removed", []string{setPolicy(accountName, "v1", none)}, alert.Critical, "gcloud iam service-accounts add-iam-policy-binding " + simulatedAccount},
		{"the service account disabled", []string{"POST v1/" + accountName + ":disable {}"}, alert.Critical, "gcloud iam service-accounts enable " + simulatedAccount},
		{"the service account deleted", []string{"DELETE v1/" + accountName}, alert.Critical, "gcloud iam service-accounts undelete "},
		{"Cloud KMS switched off", []string{"POST v1/projects/acme/services/cloudkms.googleapis.com:disable {}"}, alert.Critical, "gcloud services enable cloudkms.googleapis.com "},
		{"the credentials' API switched off", []string{"POST v1/projects/acme/services/iamcredentials.googleapis.com:disable {}"}, alert.Critical, "gcloud services enable iamcredentials.googleapis.com "},
		{"billing switched off", []string{`PUT v1/projects/acme/billingInfo {"billingAccountName":""}`}, alert.Critical, "gcloud billing projects link acme "},
		{"the project shut down", []string{"DELETE v3/projects/acme"}, alert.Critical, "gcloud projects undelete acme"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				cloud := simulated(t, w)
				cloud.Events()
				for i, call := range row.calls {
					if i > 0 {
						time.Sleep(time.Minute)
					}
					w.asks(cloud, call)
				}
				a := w.last()
				steps := strings.Join(a.RecoverySteps, "\n")
				if a.Severity != row.want || !strings.Contains(steps, row.command) || len(a.Clusters) != 1 || a.Clusters[0].Name != "pay" {
					t.Errorf("%s about %v with\n%s\nwant %s about pay, with %s", a.Headline(), a.Clusters, steps, row.want, row.command)
				}
			})
		})
	}
}

// An automatic rotation that failed is reported, and again as worse where the primary is disabled.
func TestSimulatedGoogle_failedRotation(t *testing.T) {
	for _, disabled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			cloud := simulated(t, w)
			want := alert.Medium
			if disabled {
				want = alert.High
				w.asks(cloud, "PATCH v1/"+simulatedKey+`/cryptoKeyVersions/2?updateMask=state {"state":"DISABLED"}`)
			}
			if err := cloud.FailNextKeyRotation(simulatedKey, 8, "out of quota"); err != nil {
				t.Fatal(err)
			}
			before := len(w.told.Alerts())
			if err := cloud.Rotate(simulatedKey); err != nil {
				t.Fatal(err)
			}
			w.asks(cloud, "GET v1/"+simulatedKey)
			for _, a := range w.told.Alerts()[before:] {
				if a.Severity == want && strings.Contains(strings.Join(a.RecoverySteps, "\n"), "gcloud kms keys") {
					return
				}
			}
			t.Errorf("a failed rotation, primary disabled %t, is reported as %s; want %s", disabled, headlines(w.told.Alerts()[before:]), want)
		})
	}
}
