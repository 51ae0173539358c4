package gcp_test

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// grants say to whom each binding of the module gives its role, by address: service accounts by their names after the deployment's, and
// everybody else by what they are. notify is each function of a channel, notify-pagerduty those of PagerDuty's.
var grants = map[string]string{
	"google_project_iam_member.read":                     "rotation alerting compliance",
	"google_folder_iam_member.read":                      "rotation alerting compliance",
	"google_organization_iam_member.read":                "rotation alerting compliance",
	"google_organization_iam_member.read_above":          "rotation alerting compliance",
	"google_organization_iam_member.read_denies":         "rotation alerting compliance",
	"google_project_iam_member.read_denies":              "rotation alerting compliance",
	"google_project_iam_member.use_log":                  "compliance",
	"google_folder_iam_member.use_log":                   "compliance",
	"google_organization_iam_member.use_log":             "compliance",
	"google_project_iam_member.ledger":                   "rotation alerting compliance",
	"google_project_iam_member.pages":                    "notify-pagerduty",
	"google_storage_bucket_iam_member.archive":           "rotation",
	"google_storage_bucket_iam_member.runs":              "compliance",
	"google_storage_bucket_iam_member.runs_list":         "compliance",
	"google_storage_bucket_iam_member.proofs":            "compliance",
	"google_storage_bucket_iam_member.records":           "compliance",
	"google_storage_bucket_iam_member.declarations":      "compliance",
	"google_storage_bucket_iam_member.detection":         "compliance",
	"google_project_iam_member.detection":                "compliance",
	"google_folder_iam_member.detection":                 "compliance",
	"google_organization_iam_member.detection":           "compliance",
	"google_pubsub_subscription_iam_member.detection":    "compliance",
	"google_secret_manager_secret_iam_member.age":        "compliance",
	"google_secret_manager_secret_iam_member.audit":      "compliance",
	"google_pubsub_topic_iam_member.alerts":              "rotation alerting compliance",
	"google_pubsub_topic_iam_member.operations":          "rotation compliance",
	"google_secret_manager_secret_iam_member.api_key":    "rotation alerting",
	"google_secret_manager_secret_iam_member.compliance": "compliance",
	"google_secret_manager_secret_iam_member.channel":    "notify notify-pagerduty",
	"google_cloud_run_service_iam_member.push":           "push",
	"google_cloud_run_service_iam_member.tick":           "tick",
	"google_kms_crypto_key_iam_member.heartbeat":         "heartbeat",
	"google_project_iam_member.build":                    "build",
	"google_project_iam_member.build_source":             "build",
	"google_storage_bucket_iam_member.build":             "build",
	"google_service_account_iam_member.sign_pushes":      "agent:pubsub",
	"google_pubsub_topic_iam_member.dead":                "agent:pubsub",
	"google_pubsub_subscription_iam_member.dead":         "agent:pubsub",
	"google_pubsub_topic_iam_member.assets":              "agent:assets",
	"google_pubsub_topic_iam_member.project_sink":        "sink",
	"google_pubsub_topic_iam_member.folder_sink":         "sink",
	"google_pubsub_topic_iam_member.organization_sink":   "sink",
	"google_project_iam_member.people":                   "viewer operator",
	"google_project_iam_member.look":                     "viewer",
	"google_project_iam_member.operate":                  "operator",
	"google_project_iam_member.keys":                     "viewer operator",
	"google_folder_iam_member.keys":                      "viewer operator",
	"google_organization_iam_member.keys":                "viewer operator",
	"google_storage_bucket_iam_member.deployment":        "viewer operator",
	"google_storage_bucket_iam_member.operate":           "operator",
	"google_storage_bucket_iam_member.operate_list":      "operator",
	"google_storage_bucket_iam_member.audit_deployment":  "auditor",
	"google_storage_bucket_iam_member.audit":             "auditor",
	"google_storage_bucket_iam_member.audit_list":        "auditor",
	"google_pubsub_topic_iam_member.operate":             "operator",
	"google_project_iam_member.operate_read":             "operator",
	"google_folder_iam_member.operate_read":              "operator",
	"google_organization_iam_member.operate_read":        "operator",
	"google_organization_iam_member.operate_read_above":  "operator",
	"google_project_iam_member.operate_read_denies":      "operator",
	"google_organization_iam_member.operate_read_denies": "operator",
}

// predefined are the permissions of Google's roles that are used, as far as they have an effect on the resource that they are granted on
// (cloud.google.com/iam/docs/roles-permissions).
var predefined = map[string]string{
	"roles/artifactregistry.writer":              "artifactregistry.repositories.uploadArtifacts artifactregistry.repositories.downloadArtifacts",
	"roles/iam.denyReviewer":                     "iam.denypolicies.get iam.denypolicies.list",
	"roles/iam.serviceAccountOpenIdTokenCreator": "iam.serviceAccounts.getOpenIdToken",
	"roles/logging.logWriter":                    "logging.logEntries.create",
	"roles/pubsub.publisher":                     "pubsub.topics.publish",
	"roles/pubsub.subscriber":                    "pubsub.subscriptions.consume",
	"roles/run.invoker":                          "run.routes.invoke",
	"roles/secretmanager.secretAccessor":         "secretmanager.versions.access",
	"roles/storage.objectViewer":                 "storage.objects.get storage.objects.list",
}

const bindings = `google_[a-z_]+_iam_(member|binding|policy|audit_config)`

// rolesOf returns the permissions of each role that a binding grants.
func rolesOf(t *testing.T, m module, b block) map[string][]string {
	t.Helper()
	roles := map[string][]string{}
	role := b.text["role"]
	if role == "each.key" { // a list of Google's
		for _, name := range regexp.MustCompile(`roles/[a-zA-Z.]+`).FindAllString(b.text["for_each"], -1) {
			roles[name] = strings.Fields(predefined[name])
		}
	} else if name := strings.Trim(role, `"`); name != role {
		roles[name] = strings.Fields(predefined[name])
	} else if custom := regexp.MustCompile(`^(google_(?:project|organization)_iam_custom_role\.[a-z_]+)(?:\[[^]]+(?:\[\d\])?\])?\.id$`).FindStringSubmatch(role); custom != nil {
		roles[custom[1]] = permissionsOf(t, m, custom[1])
	}
	for name, permissions := range roles {
		if len(permissions) == 0 {
			t.Errorf("%s: what %s may do is not known", b.address(), name)
		}
	}
	if len(roles) == 0 {
		t.Errorf("%s: %q is no role of the module or of Google", b.address(), role)
	}
	return roles
}

var localsIn = regexp.MustCompile(`local\.([a-z_]+)`)

// permissionsOf are those of a role of the module.
func permissionsOf(t *testing.T, m module, address string) (permissions []string) {
	t.Helper()
	written := m.resource(t, address).text["permissions"]
	for _, local := range localsIn.FindAllStringSubmatch(written, -1) {
		permissions = append(permissions, m.list(t, local[1])...)
	}
	for _, literal := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(written, -1) {
		permissions = append(permissions, literal[1])
	}
	return permissions
}

// permitted are the permissions of each service account, with where each is granted.
func permitted(t *testing.T, m module) map[string]map[string][]string {
	t.Helper()
	all := map[string]map[string][]string{}
	for _, b := range m.resources(bindings) {
		for _, account := range strings.Fields(grants[b.address()]) {
			for _, permissions := range rolesOf(t, m, b) {
				for _, permission := range permissions {
					if all[account] == nil {
						all[account] = map[string][]string{}
					}
					all[account][permission] = append(all[account][permission], b.address())
				}
			}
		}
	}
	return all
}

// Every binding is written out in a golden file, for people to review: to whom, what, where, under which condition.
func TestBindings_areAsReviewed(t *testing.T) {
	m := readModule(t, ".")
	var lines []string
	seen := map[string]bool{}
	for _, b := range m.resources(bindings) {
		seen[b.address()] = true
		if grants[b.address()] == "" {
			t.Errorf("%s is not in the table of grants", b.address())
		}
		if !strings.HasSuffix(b.labels[0], "_iam_member") {
			t.Errorf("%s takes away what others granted", b.address())
		}
		line := b.address() + "\n  to " + grants[b.address()] + ": " + b.text["member"]
		for name, permissions := range sorted(rolesOf(t, m, b)) {
			slices.Sort(permissions)
			line += "\n  may " + strings.Join(permissions, " ") + "\n    as " + name
		}
		for name, text := range sorted(b.text) {
			if !slices.Contains([]string{"member", "role"}, name) {
				line += "\n  " + name + " = " + text
			}
		}
		for _, condition := range b.inner("condition") {
			line += "\n  if " + condition.text["expression"]
		}
		lines = append(lines, line)
	}
	for address := range grants {
		if !seen[address] {
			t.Errorf("%s is in the table of grants, and not in the module", address)
		}
	}
	golden := filepath.Join("testdata", "bindings.txt")
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the bindings differ from %s (rewrite with -update):\n%s", golden, got)
	}
}

// The table of grants names the member that is written.
func TestGrants_nameTheMember(t *testing.T) {
	m := readModule(t, ".")
	each := map[string]string{ // what is iterated over, as far as it chooses the account
		`local.readers_of_keys`: "rotation alerting compliance", `toset(["rotation", "alerting"])`: "rotation alerting",
		`toset(["rotation", "alerting", "compliance"])`: "rotation alerting compliance", `toset(["rotation", "compliance"])`: "rotation compliance", `var.channels`: "notify notify-pagerduty",
		`toset([for name, c in var.channels : "notify-${name}" if c.kind == "pagerduty"])`: "notify-pagerduty",
	}
	if got := textsOf(t, "readers_of_keys", value(t, "readers_of_keys", argument(t, m.locals["readers_of_keys"]))); !slices.Equal(got, []string{"rotation", "alerting", "compliance"}) {
		t.Errorf("keys are read by %v", got)
	}
	literal := regexp.MustCompile(`^google_service_account\.account\["([a-z]+)"\]\.member$`)
	chosen := regexp.MustCompile(`^google_service_account\.account\[(each\.key|each\.value\[1\]|"notify-\$\{each\.key\}")\]\.member$`)
	for _, b := range m.resources(bindings) {
		member, want := b.text["member"], grants[b.address()]
		switch found := literal.FindStringSubmatch(member); {
		case found != nil:
			if want != found[1] {
				t.Errorf("%s grants to %s, the table says %s", b.address(), found[1], want)
			}
		case chosen.MatchString(member):
			over := ""
			for text := range each {
				if strings.Contains(b.text["for_each"], text) && len(text) > len(over) {
					over = text
				}
			}
			if each[over] != want {
				t.Errorf("%s grants to each of %s, which are %q; the table says %q", b.address(), b.text["for_each"], each[over], want)
			}
		case slices.Contains([]string{"each.key", "each.value[1]"}, member):
			over := map[string]string{"local.members": "viewer operator", "var.viewers": "viewer", "var.operators": "operator", "var.auditors": "auditor"}
			if got := over[people.FindString(b.text["for_each"])]; got != want {
				t.Errorf("%s grants to %s, who are %q; the table says %q", b.address(), b.text["for_each"], got, want)
			}
		case member == "local.pubsub_agent" && want == "agent:pubsub", member == "local.assets_agent" && want == "agent:assets":
		case regexp.MustCompile(`^google_logging_[a-z]+_sink\.events\[each\.key\]\.writer_identity$`).MatchString(member) && want == "sink":
		default:
			t.Errorf("%s grants to %s, the table says %s", b.address(), member, want)
		}
	}
}

var people = regexp.MustCompile(`local\.members|var\.viewers|var\.operators|var\.auditors`)

// No service account may change a key, use one, or say who may. The heartbeat may update its canary key, and nothing but it.
func TestNobodyMayChangeOrUseKeys(t *testing.T) {
	m := readModule(t, ".")
	allowed := regexp.MustCompile(`^cloudkms\.(cryptoKeys|cryptoKeyVersions|keyRings)\.(get|list|getIamPolicy)$`)
	for account, permissions := range permitted(t, m) {
		for permission, where := range permissions {
			switch {
			case !strings.HasPrefix(permission, "cloudkms."), allowed.MatchString(permission):
			case account == "heartbeat" && permission == "cloudkms.cryptoKeys.update" && slices.Equal(where, []string{"google_kms_crypto_key_iam_member.heartbeat"}):
			default:
				t.Errorf("%s may %s by %v", account, permission, where)
			}
			if strings.Contains(permission, "setIamPolicy") || strings.Contains(permission, ".delete") || strings.Contains(permission, "actAs") || strings.HasSuffix(permission, "getAccessToken") {
				t.Errorf("%s may %s by %v", account, permission, where)
			}
		}
	}
	if got := m.resource(t, "google_kms_crypto_key_iam_member.heartbeat").text["crypto_key_id"]; got != "google_kms_crypto_key.canary[each.key].id" {
		t.Errorf("the heartbeat may update %s", got)
	}
	for _, b := range m.blocks {
		if strings.Contains(b.written, "allUsers") || strings.Contains(b.written, "allAuthenticatedUsers") {
			t.Errorf("%s %s names everybody", b.kind, b.address())
		}
	}
}

// Each function has a service account of its own, and what is granted on a project as a whole holds for the ledger only.
func TestFunctions_haveTheirOwnAccountAndLedger(t *testing.T) {
	m := readModule(t, ".")
	function := m.resource(t, "google_cloudfunctions2_function.function")
	if got := function.inner("service_config")[0].text["service_account_email"]; got != "google_service_account.account[each.key].email" {
		t.Errorf("functions act as %s", got)
	}
	for _, address := range []string{"google_project_iam_member.ledger", "google_project_iam_member.pages", "google_project_iam_member.look", "google_project_iam_member.operate"} {
		conditions := m.resource(t, address).inner("condition")
		if len(conditions) != 1 || !strings.Contains(conditions[0].text["expression"], "local.database") {
			t.Errorf("%s is not limited to the ledger's database", address)
		}
	}
}

// What is granted on a bucket holds for what the account is about: compliance reaches its runs and proofs, and may read rotation's records; those
// who audit reach the runs.
func TestCompliance_reachesItsOwnFoldersAndDeclarationsOnly(t *testing.T) {
	m := readModule(t, ".")
	for local, folder := range map[string]string{"runs": report.RunsFolder, "proofs": ledger.ProofsFolder, "records": ledger.EvidenceFolder} {
		if got, want := m.source[local], `"projects/_/buckets/${local.archive_bucket}/objects/${local.archive_prefix}/`+folder+`"`; got != want {
			t.Errorf("the %s are below %s, want %s", local, got, want)
		}
	}
	for _, permissions := range rolesOf(t, m, m.resource(t, "google_storage_bucket_iam_member.records")) {
		if !slices.Equal(permissions, []string{"storage.objects.get"}) {
			t.Errorf("compliance may %v of rotation's records", permissions)
		}
	}
	only := map[string]string{
		"google_storage_bucket_iam_member.runs":             `"resource.name.startsWith(\"${local.runs}\")"`,
		"google_storage_bucket_iam_member.proofs":           `"resource.name.startsWith(\"${local.proofs}\")"`,
		"google_storage_bucket_iam_member.records":          `"resource.name.startsWith(\"${local.records}\")"`,
		"google_storage_bucket_iam_member.audit":            `"resource.name.startsWith(\"${local.runs}\")"`,
		"google_storage_bucket_iam_member.declarations":     `"resource.name.startsWith(\"projects/_/buckets/${local.source_bucket}/objects/declarations-\")"`,
		"google_storage_bucket_iam_member.detection":        `"resource.name == \"projects/_/buckets/${local.source_bucket}/objects/${local.detection_object}\""`,
		"google_storage_bucket_iam_member.audit_deployment": `"resource.name == \"projects/_/buckets/${local.source_bucket}/objects/${google_storage_bucket_object.deployment.name}\""`,
		// Names alone, and with a condition they could not be listed.
		"google_storage_bucket_iam_member.runs_list":  "",
		"google_storage_bucket_iam_member.audit_list": "",
	}
	for _, b := range m.resources("google_storage_bucket_iam_member") {
		if to := grants[b.address()]; to != "compliance" && to != "auditor" {
			continue
		}
		got := ""
		for _, condition := range b.inner("condition") {
			got = condition.text["expression"]
		}
		want, known := only[b.address()]
		if delete(only, b.address()); !known || got != want {
			t.Errorf("%s holds if %s, want %s", b.address(), got, want)
		}
		for name, permissions := range rolesOf(t, m, b) {
			if want == "" && !slices.Equal(permissions, []string{"storage.objects.list"}) {
				t.Errorf("%s has no condition, and %s may %v", b.address(), name, permissions)
			}
		}
	}
	for address := range only {
		t.Errorf("there is no %s", address)
	}
	if got := m.source["declarations_object"]; !strings.HasPrefix(got, `"declarations-${sha256(local.declared)}`) {
		t.Errorf("the object of the declarations is named %s", got)
	}
	// Whoever audits is granted nothing anywhere else.
	for permission, where := range permitted(t, m)["auditor"] {
		for _, address := range where {
			if !strings.HasPrefix(address, "google_storage_bucket_iam_member.audit") {
				t.Errorf("an auditor may %s by %s", permission, address)
			}
		}
	}
}

// argument is the one of toset(...).
func argument(t *testing.T, expr hclExpression) hclExpression {
	t.Helper()
	call, ok := expr.(*hclCall)
	if !ok || call.Name != "toset" || len(call.Args) != 1 {
		t.Fatalf("%v is not toset of one list", expr)
	}
	return call.Args[0]
}

// sorted walks a map in the order of its keys.
func sorted[V any](m map[string]V) func(func(string, V) bool) {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
