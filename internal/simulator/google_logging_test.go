package simulator_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	usesOfKeys = `log_id(\"cloudaudit.googleapis.com/data_access\") AND protoPayload.serviceName=\"cloudkms.googleapis.com\"`
	listLog    = "v2/entries:list"
)

// logged are the entries that the filter selects, the newest first.
func logged(t *testing.T, world *simulator.World, filter string) (entries []loggedEntry) {
	t.Helper()
	body := callGoogle(t, world, "", "POST", listLog, `{"resourceNames":["projects/acme"],"orderBy":"timestamp desc","filter":"`+filter+`"}`)
	body.want(t, 200, "")
	var answer struct{ Entries []loggedEntry }
	if err := json.Unmarshal([]byte(body.body), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Entries
}

type loggedEntry struct {
	InsertID  string
	Timestamp time.Time
	Resource  struct {
		Type   string
		Labels map[string]string
	}
	ProtoPayload struct {
		MethodName, ResourceName string
		Response                 map[string]string
	}
}

func TestCloudLoggingListsWhatClustersUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := googleWorld(t, simulator.GooglePropagation, "0s", simulator.RotationDuration, "0s", simulator.GoogleDataAccess, "on")
		call(t, world, "PUT", "/clusters/"+acmeCluster+"/cmek", specBody(acmeSpec)).want(t, 200, "")
		if got := logged(t, world, usesOfKeys); len(got) > 0 {
			t.Errorf("at once the log shows %+v", got)
		}
		time.Sleep(5 * time.Second)
		if err := world.Use(acmeCluster, "us-east1", "Decrypt", "1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		got := logged(t, world, usesOfKeys)
		if len(got) != 2 || got[0].ProtoPayload.MethodName != "Decrypt" || got[0].Resource.Labels["crypto_key_version_id"] != "1" ||
			got[1].ProtoPayload.MethodName != "Encrypt" || got[1].Resource.Labels["crypto_key_version_id"] != "2" || got[1].InsertID == "" {
			t.Errorf("%+v", got)
		}
		if got := logged(t, world, `protoPayload.methodName=\"GenerateAccessToken\"`); len(got) != 2 {
			t.Errorf("%+v", got)
		}
		time.Sleep(720 * time.Hour)
		if got := logged(t, world, usesOfKeys); len(got) > 0 {
			t.Errorf("after its retention the log shows %+v", got)
		}
	})
}

// Without an answer of the documentation the version is named in one place, or in none.
func TestCloudLoggingNamesTheVersionAsTheSwitchSays(t *testing.T) {
	for setting, want := range map[string]string{
		"label": "2 " + acmeKey + " ", "response": " " + acmeKey + " " + version("2"), "resource-name": " " + version("2") + " ", "none": " " + acmeKey + " ",
	} {
		world := googleWorld(t, simulator.RotationDuration, "0s", simulator.GoogleDataAccess, "on", simulator.GoogleLogging, "0s", simulator.GoogleLoggedVersion, setting)
		call(t, world, "PUT", "/clusters/"+acmeCluster+"/cmek", specBody(acmeSpec)).want(t, 200, "")
		for _, e := range logged(t, world, usesOfKeys) {
			if got := e.Resource.Labels["crypto_key_version_id"] + " " + e.ProtoPayload.ResourceName + " " + e.ProtoPayload.Response["name"]; got != want {
				t.Errorf("%s: %q, want %q", setting, got, want)
			}
		}
	}
}

// Data Access logs are on where an allow policy of the project, or of what is above it, says so, and leave out whom it exempts.
func TestDataAccessLogsFollowThePolicies(t *testing.T) {
	for policy, want := range map[string]int{
		`{"service":"cloudkms.googleapis.com","auditLogConfigs":[{"logType":"DATA_READ"}]}`:                                                         1,
		`{"service":"allServices","auditLogConfigs":[{"logType":"DATA_READ"}]}`:                                                                     1,
		`{"service":"cloudkms.googleapis.com","auditLogConfigs":[{"logType":"ADMIN_READ"}]}`:                                                        0,
		`{"service":"iam.googleapis.com","auditLogConfigs":[{"logType":"DATA_READ"}]}`:                                                              0,
		`{"service":"allServices","auditLogConfigs":[{"logType":"DATA_READ","exemptedMembers":["serviceAccount:` + acmeAccount + `"]}]}`:            0,
		`{"service":"allServices","auditLogConfigs":[{"logType":"DATA_READ","exemptedMembers":["serviceAccount:x@acme.iam.gserviceaccount.com"]}]}`: 1,
	} {
		for _, node := range []string{"projects/acme", "folders/77"} {
			world := googleWorld(t, simulator.RotationDuration, "0s", simulator.GoogleLogging, "0s")
			ask(t, world, "POST", "v3/"+node+":setIamPolicy", `{"policy":{"auditConfigs":[`+policy+`]},"updateMask":"auditConfigs"}`, 200, "")
			call(t, world, "PUT", "/clusters/"+acmeCluster+"/cmek", specBody(acmeSpec)).want(t, 200, "")
			if got := logged(t, world, usesOfKeys); len(got) != want {
				t.Errorf("%s on %s: %d entries, want %d", policy, node, len(got), want)
			}
		}
	}
}

// Who may read no Data Access logs gets the rest silently.
func TestCloudLoggingLeavesOutWhatMayNotBeRead(t *testing.T) {
	world := googleWorld(t, simulator.RotationDuration, "0s", simulator.GoogleDataAccess, "on", simulator.GoogleLogging, "0s")
	call(t, world, "PUT", "/clusters/"+acmeCluster+"/cmek", specBody(acmeSpec)).want(t, 200, "")
	ask(t, world, "POST", "v1/"+version("1")+":destroy", "{}", 200, "")
	count := func() (n int) { return len(logged(t, world, "")) }
	before := count()
	const permission = "logging.privateLogEntries.list"
	held := func(want string) {
		t.Helper()
		ask(t, world, "POST", "v3/projects/acme:testIamPermissions", `{"permissions":["`+permission+`"]}`, 200, want)
	}
	held(permission)
	if err := world.DenyGoogle("projects/acme", true, permission); err != nil {
		t.Fatal(err)
	}
	held("{}")
	if after := count(); before != 3 || after != 1 {
		t.Errorf("%d entries, without the permission %d", before, after)
	}
	if err := world.DenyGoogle("projects/acme", true, "logging.logEntries.list"); err != nil {
		t.Fatal(err)
	}
	ask(t, world, "POST", listLog, `{"resourceNames":["projects/acme"]}`, 403, "Permission denied")
}

func TestCloudLoggingRefusesWhatItDoesNotTake(t *testing.T) {
	world := googleWorld(t, simulator.RotationDuration, "0s", simulator.GoogleDataAccess, "on", simulator.GoogleLogging, "0s", simulator.GooglePageLimit, "2")
	for range 2 {
		call(t, world, "PUT", "/clusters/"+acmeCluster+"/cmek", specBody(acmeSpec)).want(t, 200, "")
	}
	ask(t, world, "POST", listLog, `{"resourceNames":["projects/acme"]}`, 200, `"nextPageToken":"from-2"`)
	ask(t, world, "POST", listLog, `{"resourceNames":["projects/acme"],"pageToken":"from-2"}`, 200, `"entries"`)
	for body, status := range map[string]int{
		`{}`: 400, `{"resourceNames":["projects/acme"],"orderBy":"severity"}`: 400, `{"resourceNames":["projects/acme"],"filter":"a=="}`: 400,
		`{"resourceNames":["projects/nobody"]}`: 403, `{"resourceNames":["projects/acme"],"pageToken":"x"}`: 400, `{"resourceNames":["projects/acme"],"pageSize":-1}`: 400,
	} {
		ask(t, world, "POST", listLog, body, status, fmt.Sprint(status))
	}
}
