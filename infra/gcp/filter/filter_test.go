package filter_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/gcp/filter"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator/language"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const own = "keyturn-alerting@hub.iam.gserviceaccount.com"

// filters are those of the Terraform module, by the files that it reads.
var filters = map[string]struct {
	subscribes []cmek.Change
	options    filter.Options
}{
	"rotation":             {rotation.Subscribes, filter.Options{}},
	"alerting":             {alerting.Subscribes, filter.Options{}},
	"alerting-data-access": {alerting.Subscribes, filter.Options{DataAccess: true, Own: []string{filter.OwnPlaceholder}}},
}

func TestSink_isAsReviewed(t *testing.T) {
	for name, f := range filters {
		got := sink(t, f.subscribes, f.options)
		golden := filepath.Join("../filters", name+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(got+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got+"\n" != string(want) {
			t.Errorf("the filter of %s differs from %s (rewrite with -update):\n%s", name, golden, got)
		}
		if len(got) > filter.Limit/2 {
			t.Errorf("the filter of %s has %d characters, more than half of what one can have", name, len(got))
		}
	}
}

func sink(t *testing.T, subscribes []cmek.Change, o filter.Options) string {
	t.Helper()
	text, err := filter.Sink(subscribes, o)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// entries are the samples of the decoder that are log entries, by their names.
func entries(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../../events/testdata/google/*.json")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, ".want.json") && strings.Contains(string(data), `"logName"`) && !strings.HasPrefix(filepath.Base(file), "cloudevent-") {
			found[filepath.Base(file)] = string(data)
		}
	}
	if len(found) < 80 {
		t.Fatalf("%d samples are log entries", len(found))
	}
	return found
}

// selects evaluates the filter. It must mean the same whichever of AND and OR binds closer.
func selects(t *testing.T, text, entry string) bool {
	t.Helper()
	var decoded map[string]any
	if err := json.Unmarshal([]byte(entry), &decoded); err != nil {
		t.Fatal(err)
	}
	selected, err := language.Selects(text, decoded, language.Documented)
	if swapped, otherErr := language.Selects(text, decoded, language.Swapped); err != nil || otherErr != nil || swapped != selected {
		t.Errorf("the filter depends on whether AND or OR binds closer (%v, %v)", err, otherErr)
	}
	return selected
}

// What a function subscribes to is selected. What is selected is understood: of a kind with a row that the function subscribes to.
func TestSink_selectsWhatTheFunctionSubscribesTo(t *testing.T) {
	for name, f := range filters {
		text := sink(t, f.subscribes, f.options)
		count := 0
		for sample, entry := range entries(t) {
			decoded, err := events.Decode([]byte(entry))
			if err != nil {
				t.Fatalf("%s: %v", sample, err)
			}
			wanted := slices.ContainsFunc(decoded, func(e cmek.Event) bool {
				return slices.Contains(f.subscribes, e.Change) && (f.options.DataAccess || !strings.Contains(e.Source, "/data_access/"))
			})
			got := selects(t, text, entry)
			if wanted && !got {
				t.Errorf("the filter of %s passes over %s", name, sample)
			}
			if got && !rowFor(t, entry, f.subscribes) {
				t.Errorf("the filter of %s selects %s, and no row of the table says so", name, sample)
			}
			if got {
				count++
			}
		}
		if count == 0 {
			t.Errorf("the filter of %s selects nothing", name)
		}
	}
}

// rowFor reports whether a row of the table has the entry's kind, and a change that is subscribed to.
func rowFor(t *testing.T, entry string, subscribes []cmek.Change) bool {
	t.Helper()
	for record, err := range events.DecodeStream(strings.NewReader(entry)) {
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(events.Google(), func(row events.Row) bool {
			return row.String() == record.Source && (slices.Contains(subscribes, row.Change) || slices.Contains(subscribes, row.Failed))
		})
	}
	return false
}

// Each row that a function subscribes to selects an entry of its kind, and no entry that differs in one respect.
func TestSink_nearMissesAreNotSelected(t *testing.T) {
	all := entries(t)
	text := sink(t, alerting.Subscribes, filter.Options{DataAccess: true, Own: []string{own}})
	for _, sample := range []string{
		"iap-setiampolicy.json", "kms-getcryptokey.json", "iam-createserviceaccountkey.json", // of another service, of another method
	} {
		if selects(t, text, all[sample]) {
			t.Errorf("%s is selected", sample)
		}
	}
	base := all["kms-updatecryptokeyversion-disabled.json"]
	for what, edit := range map[string][2]string{
		"another service":         {`"serviceName": "cloudkms.googleapis.com"`, `"serviceName": "kmsinventory.googleapis.com"`},
		"no service":              {`"serviceName"`, `"service"`},
		"a longer name":           {`"methodName": "Update`, `"methodName": "XUpdate`},
		"a name that goes on":     {`Version",`, `Versions",`},
		"a name in another case":  {`"methodName": "Update`, `"methodName": "update`},
		"no name":                 {`"methodName"`, `"method"`},
		"the log of uses":         {`%2Factivity`, `%2Fdata_access`},
		"a log of somebody's own": {`cloudaudit.googleapis.com%2Factivity`, `cloudaudit.googleapis.com%2Factivity2`},
	} {
		entry := strings.ReplaceAll(base, edit[0], edit[1])
		if entry == base {
			t.Fatalf("%s: nothing to replace", what)
		}
		if selects(t, text, entry) {
			t.Errorf("an entry with %s is selected", what)
		}
	}
	full := strings.Replace(base, `"methodName": "`, `"methodName": "google.cloud.kms.v1.KeyManagementService.`, 1)
	if !selects(t, text, base) || !selects(t, text, full) {
		t.Error("the entry itself, or one with the method's full name, is not selected")
	}
	platform := all["hypothetical-kms-rotationevent-failed.json"]
	if !selects(t, text, platform) || selects(t, text, strings.Replace(platform, "cloudkms.googleapis.com%2F", "acme.example%2F", 1)) {
		t.Error("a platform log of Cloud KMS is not selected, or one of somebody else is")
	}
}

// keyturn's own use of keys is passed over. Its own changes are not: it has no permission to make any.
func TestSink_ownUseIsNotSelected(t *testing.T) {
	all := entries(t)
	text := sink(t, alerting.Subscribes, filter.Options{DataAccess: true, Own: []string{own}})
	use, change := all["kms-decrypt-by-somebody.json"], all["kms-destroycryptokeyversion.json"]
	by := func(entry, who string) string {
		return strings.NewReplacer("bob@acme.example", who, "ana@acme.example", who).Replace(entry)
	}
	for _, row := range []struct {
		what, entry string
		want        bool
	}{
		{"a use by somebody", use, true}, {"a use by keyturn", by(use, own), false}, {"a use by one of a longer name", by(use, "x"+own), true},
		{"a use by one of another project", by(use, "keyturn-alerting@other.iam.gserviceaccount.com"), true},
		{"a use by a caller who is left out", strings.Replace(use, `"principalEmail"`, `"email"`, 1), true},
		{"a change by somebody", change, true}, {"a change by keyturn", by(change, own), true},
	} {
		if got := selects(t, text, row.entry); got != row.want {
			t.Errorf("%s is selected: %t, want %t", row.what, got, row.want)
		}
	}
	without := sink(t, alerting.Subscribes, filter.Options{Own: []string{own}})
	if selects(t, without, use) || !selects(t, without, change) {
		t.Error("without Data Access logs a use is selected, or a change is not")
	}
}

// The module puts the addresses of its service accounts in the placeholder's place, joined by OR.
func TestSink_ownAddressesTakeThePlaceholdersPlace(t *testing.T) {
	emails := []string{own, "keyturn-rotation@hub.iam.gserviceaccount.com"}
	generated := sink(t, alerting.Subscribes, filter.Options{DataAccess: true, Own: []string{filter.OwnPlaceholder}})
	placeholder := `"` + filter.OwnPlaceholder + `"`
	if n := strings.Count(generated, placeholder); n != 1 {
		t.Fatalf("the placeholder stands in the filter %d times, want once", n)
	}
	got := strings.Replace(generated, placeholder, `"`+strings.Join(emails, `" OR "`)+`"`, 1)
	if want := sink(t, alerting.Subscribes, filter.Options{DataAccess: true, Own: emails}); got != want {
		t.Errorf("with its own addresses the module's filter is\n%s\nwant\n%s", got, want)
	}
}

func TestSink_refusesWhatIsNoAddress(t *testing.T) {
	for _, hostile := range []string{"", "x", `a@b" OR "`, "a@b)", "@b", "a@", "a b@c"} {
		if text, err := filter.Sink(alerting.Subscribes, filter.Options{DataAccess: true, Own: []string{hostile}}); err == nil {
			t.Errorf("%q became a part of a filter: %.80s", hostile, text)
		}
	}
	if text := sink(t, []cmek.Change{cmek.ChangeAlias}, filter.Options{}); text != "" {
		t.Errorf("the filter for what Google Cloud does not have is %q", text)
	}
}
