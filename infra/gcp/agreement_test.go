package gcp_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/infra/gcp/filter"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/delivery"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Strings that the module and the code must agree on.

func TestLogLines_areThoseThatTheFunctionsWrite(t *testing.T) {
	got := map[string]string{}
	for name, v := range value(t, "local.log_lines", readModule(t, ".").locals["log_lines"]).AsValueMap() {
		got[name] = v.AsString()
	}
	want := map[string]string{
		"alert_sent": alerting.LogAlertSent, "heartbeat": alerting.LogHeartbeat, "seconds_since": alerting.LogSecondsSince,
		"run_ended": compliance.LogRunEnded, "sweep_ended": rotation.LogSweepEnded, "oldest_open": rotation.LogOldestOpen,
		"unreadable": delivery.LogUnreadable, "panicked": delivery.LogPanicked,
		"secret": "read secret",
	}
	if !maps.Equal(got, want) {
		t.Errorf("the metrics read the lines %v, the functions write %v", got, want)
	}
	// Whatever keeps a secret from being read, its error has these words.
	secret, err := google.NewSecret(google.Config{HTTP: &http.Client{Transport: broken{}}}, "projects/acme-keyturn/secrets/s")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := secret.Value(t.Context()); err == nil || !strings.Contains(err.Error(), want["secret"]) {
		t.Errorf("a secret that cannot be read has the error %v; the metric reads %q", err, want["secret"])
	}
}

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("broken") }

func TestCriticalSubscription_selectsWhatTheNotifierMarks(t *testing.T) {
	want := `"attributes.` + google.SeverityAttribute + ` = \"` + string(alert.Critical) + `\""`
	if got := readModule(t, "modules/pubsub").resource(t, "google_pubsub_subscription.critical").text["filter"]; got != want {
		t.Errorf("the subscription for people has the filter %s, want %s", got, want)
	}
}

// Heartbeats are as far apart as alerting and the checks take them to be, and the alarm waits as long.
func TestHeartbeat_isSentAsOftenAsItIsExpected(t *testing.T) {
	m := readModule(t, ".")
	if got := m.resource(t, "google_cloud_scheduler_job.heartbeat").text["schedule"]; cmek.HeartbeatEvery != time.Hour || !regexp.MustCompile(`^"[0-9]+ \* \* \* \*"$`).MatchString(got) {
		t.Errorf("the schedule is %s, and heartbeats are expected to be %s apart", got, cmek.HeartbeatEvery)
	}
	alarms, err := os.ReadFile("alarms.tf")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`account=\"${p}\"}[%dm]`, int(cmek.HeartbeatAge.Minutes())); !strings.Contains(string(alarms), want) {
		t.Errorf("the alarm about heartbeats does not wait for %s", cmek.HeartbeatAge)
	}
}

// The label is the one that alerting looks for. Its name is not exported: the function's own setting is tried.
func TestHeartbeat_setsTheLabelThatAlertingKnows(t *testing.T) {
	source, err := os.ReadFile("../../functions/alerting/settings.go")
	if err != nil {
		t.Fatal(err)
	}
	label := regexp.MustCompile(`heartbeatTag = "([^"]+)"`).FindSubmatch(source)
	if label == nil {
		t.Fatal("alerting has no heartbeatTag")
	}
	if got := readModule(t, ".").resource(t, "google_kms_crypto_key.canary").text["labels"]; !strings.Contains(got, string(label[1])+` = "on"`) {
		t.Errorf("the canary key has the labels %s, and alerting looks for %s", got, label[1])
	}
}

func TestLedger_hasTheCollectionsAndFieldsOfTheStore(t *testing.T) {
	m := readModule(t, ".")
	kinds := map[string]bool{}
	for _, items := range slices.Concat(ledger.OpeningItems, ledger.FollowingItems, ledger.AlertingItems, ledger.ComplianceItems, ledger.OperatorItems, ledger.NotifyItems) {
		kinds[items.Kind] = true
	}
	if got, want := m.list(t, "collections"), slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) {
		t.Errorf("the module knows the collections %v, the ledger writes %v", got, want)
	}
	unindexed := m.list(t, "unindexed")
	for _, field := range []string{google.DataField, google.PlainKeysField, google.PackedKeysField, google.ExpiresField} {
		if !slices.Contains(unindexed, field) {
			t.Errorf("%s is indexed", field)
		}
	}
	for _, field := range []string{google.NextLookField, google.KeysField} {
		if slices.Contains(unindexed, field) {
			t.Errorf("%s is not indexed, and queries need it", field)
		}
	}
	if got := m.resource(t, "google_firestore_field.unindexed").written; !strings.Contains(got, `each.value.field == "`+google.ExpiresField+`"`) {
		t.Errorf("%s has no TTL", google.ExpiresField)
	}
}

// An owner may choose the settings that can be chosen on AWS, but for those about repairs, which Google Cloud has none of, and the
// runbooks' URL, which alert policies need as well.
func TestSettings_areThoseOfTheFunctions(t *testing.T) {
	got := map[string][]string{}
	for name, functions := range value(t, "local.readers", readModule(t, ".").locals["readers"]).AsValueMap() {
		got[name] = textsOf(t, name, functions)
	}
	want := map[string][]string{}
	for _, name := range deployment.Settings() {
		if name == "KEYTURN_RUNBOOKS" || name == "KEYTURN_REPAIR_AFTER" {
			continue
		}
		chosen := deployment.Deployment{Settings: map[string]string{name: "x"}}
		for _, function := range []string{deployment.Rotation, deployment.Alerting, deployment.Notify, deployment.Compliance} {
			if chosen.FunctionSettings(function)[name] != "" {
				want[name] = append(want[name], function)
			}
		}
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("settings can be chosen for\n%v\nwant\n%v", got, want)
	}
}

// Each variable that the module sets is one that functions read.
func TestEnvironment_hasVariablesOfTheFunctions(t *testing.T) {
	m := readModule(t, ".")
	var set []string
	for _, text := range []string{m.source["common"], m.source["own_environment"], m.resource(t, "google_cloudfunctions2_function.function").written} {
		set = append(set, regexp.MustCompile(`\bKEYTURN_[A-Z_]+\b`).FindAllString(text, -1)...)
	}
	if len(set) < 15 {
		t.Fatalf("only %d variables are set", len(set))
	}
	for _, name := range set {
		if name != "KEYTURN_TIMEOUT" && !slices.Contains(deployment.Variables(), name) { // Lambda tells its time limit by itself
			t.Errorf("no function reads %s", name)
		}
	}
	for _, name := range []string{"KEYTURN_LEDGER", "KEYTURN_ARCHIVE", "KEYTURN_ALERTS_TOPIC", "KEYTURN_OPERATIONS_TOPIC", "KEYTURN_API_KEY_SECRET", "KEYTURN_CHANNEL_SECRET", "KEYTURN_HEARTBEAT_ROLE", "KEYTURN_OWN_ROLES", "KEYTURN_OWN_RESOURCES", "KEYTURN_DECLARATIONS", "KEYTURN_DETECTION", "KEYTURN_ROTATION_API_KEY_SECRET"} {
		if !slices.Contains(set, name) {
			t.Errorf("%s is never set", name)
		}
	}
}

// What the module makes of its variables is what the code takes.
func TestNames_areTakenByTheAdapters(t *testing.T) {
	for _, err := range []error{
		google.CheckTopic("projects/acme-keyturn/topics/keyturn-alerts"), google.CheckSecret("projects/acme-keyturn/secrets/keyturn-api-key"),
		google.CheckBucket("acme-keyturn-keyturn-archive"), google.CheckBucket("example-com-acme-keyturn-archive"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	settings := struct{ Alerting alerting.Settings }{alerting.DefaultSettings()}
	if err := config.Load(&settings, []string{
		"KEYTURN_OWN_ROLES=keyturn-rotation@acme-keyturn.iam.gserviceaccount.com,keyturn-push@acme.example.com.iam.gserviceaccount.com",
		"KEYTURN_HEARTBEAT_ROLE=keyturn-heartbeat@acme-keyturn.iam.gserviceaccount.com",
	}); err != nil {
		t.Error(err)
	}
}

func TestFilters_fitAndTakeOwnAddresses(t *testing.T) {
	m := readModule(t, ".")
	if got := value(t, "filter_limit", m.locals["filter_limit"]).AsBigFloat().String(); got != "20000" || filter.Limit != 20_000 {
		t.Errorf("the module's limit for filters is %s, the generator's %d", got, filter.Limit)
	}
	if !strings.Contains(m.source["filters"], `\"`+filter.OwnPlaceholder+`\"`) {
		t.Errorf("the module does not replace %s", filter.OwnPlaceholder)
	}
	// Sixteen service accounts with the longest names there are.
	longest := strings.Repeat(`"`+strings.Repeat("x", 30+1+30+24)+`" OR `, 16)
	data, err := os.ReadFile("filters/alerting-data-access.txt")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(data) + len(longest); n > filter.Limit/2 {
		t.Errorf("with service accounts of its own the longest filter has %d characters, more than half of what one can have", n)
	}
}
