package google

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/alerting"
)

// where names the shared key in commands.
const where = "--key shared --keyring crdb --location us-east1 --project acme-keys"

// setState sets the state of a version, as "gcloud kms keys versions enable" and "disable" do.
func (s *stand) setState(key string, version int, state string) {
	s.t.Helper()
	s.gcloud("PATCH", fmt.Sprintf("%s/cryptoKeyVersions/%d?updateMask=state", key, version), `{"state":"`+state+`"}`)
	if s.sinks(1)["alerting"] == 0 {
		s.t.Errorf("the sink of alerting selects no entry of version %d set to %s", version, state)
	}
}

// pass lets ticks run for as long as an incident needs to be resolved, and a while more.
func (s *stand) pass() {
	s.t.Helper()
	for began := time.Now(); time.Since(began) < healthyFor+3*time.Second; time.Sleep(300 * time.Millisecond) {
		s.ticks()
	}
}

func (s *stand) untilSlack(what string, texts ...string) {
	s.t.Helper()
	s.until(what, func() string {
		s.ticks()
		if len(s.messages(texts...)) == 0 {
			return fmt.Sprintf("a message with %q; there are:\n%s", texts, strings.Join(s.messages(), "\n\n"))
		}
		return ""
	})
}

func TestDisabledVersion_isResolvedWhenThatVersionReadsWell(t *testing.T) {
	t.Parallel()
	s := newStand(t, "acme-disabled")
	s.sweep()
	s.gcloud("POST", sharedKey+"/cryptoKeyVersions", `{}`)
	s.forget() // creating a version is not what this is about

	s.setState(sharedKey, 1, "DISABLED")
	s.untilSlack("the disabled version is reported", "CRITICAL", "Version 1", "was disabled", "payments", "checkout", "operator@example.com",
		"gcloud kms keys versions enable 1 "+where)

	// Another version that is enabled says nothing about this one.
	s.setState(sharedKey, 2, "DISABLED")
	s.setState(sharedKey, 2, "ENABLED")
	s.pass()
	for _, m := range s.messages("[RESOLVED]") {
		if !strings.Contains(m, "Version 2") {
			t.Errorf("while version 1 is disabled, Slack has\n%s", m)
		}
	}

	s.setState(sharedKey, 1, "ENABLED")
	s.untilSlack("the end is reported", "[RESOLVED]", "Version 1")
}

func TestScheduledDestruction_isReportedWithTheWayBack(t *testing.T) {
	t.Parallel()
	s := newStand(t, "acme-destroyed")
	s.sweep()

	s.putObject(s.project+"-"+name+"-source", "deployment.json", s.published)

	s.gcloud("POST", sharedKey+"/cryptoKeyVersions/1:destroy", `{}`)
	s.sinks(1)
	s.untilSlack("the scheduled destruction is reported", "CRITICAL", "scheduled for destruction", "payments", "checkout",
		"gcloud kms keys versions restore 1 "+where, "gcloud kms keys versions enable 1 "+where)
	// The same entry again, once the alert is on record: alerting publishes before it records, so two at once may both be reported.
	s.until("the alert is on record", func() string {
		if out, _ := s.keyturn("alerts"); !strings.Contains(out, "scheduled for destruction") {
			return "its line among these:\n" + out
		}
		return ""
	})
	s.again()
	s.until("the entry that comes again is known", func() string {
		return map[bool]string{false: "its line in the log"}[strings.Contains(s.log.String(), alerting.LogReportedBefore)]
	})
	if all := s.messages("was scheduled for destruction"); len(all) != 1 {
		t.Errorf("the destruction, whose entry came twice, is reported %d times:\n%s", len(all), strings.Join(all, "\n\n"))
	}

	// Restoring leaves the version disabled, so nothing is well yet, however long it lasts.
	s.gcloud("POST", sharedKey+"/cryptoKeyVersions/1:restore", `{}`)
	s.sinks(1)
	s.pass()
	if ends := s.messages("[RESOLVED]"); len(ends) > 0 {
		t.Errorf("a version that was only restored is called well:\n%s", strings.Join(ends, "\n\n"))
	}
	s.setState(sharedKey, 1, "ENABLED")
	s.untilSlack("the end is reported", "[RESOLVED]", "Version 1")
}
