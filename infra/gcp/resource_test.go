package gcp_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// argumentsOf checks arguments as they are written, of the block and of those nested in it ("retry_policy.minimum_backoff").
func argumentsOf(t *testing.T, b block, want map[string]string) {
	t.Helper()
	for name, text := range want {
		at, path := b, strings.Split(name, ".")
		argument := path[len(path)-1]
		for _, outer := range path[:len(path)-1] {
			blocks := at.inner(outer)
			if len(blocks) != 1 {
				t.Errorf("%s has %d blocks %s, want 1", b.address(), len(blocks), outer)
				at = block{}
				break
			}
			at = blocks[0]
		}
		if at.text[argument] != text {
			t.Errorf("%s: %s is %s, want %s", b.address(), name, at.text[argument], text)
		}
	}
}

// The provider's own project is none of the deployment's: functions and bindings find everything in the project that is named. What is not
// here names its project by something else.
func TestResources_nameTheirProject(t *testing.T) {
	elsewhere := regexp.MustCompile(`^google_((cloud_asset_|logging_)?(folder|organization)_\w+|storage_bucket_(object|iam_member)|service_account_iam_member|kms_crypto_key(_iam_member)?)$`)
	for _, folder := range []string{".", "modules/pubsub", "modules/cmek-key"} {
		for _, r := range readModule(t, folder).resources("google_.*") {
			project := r.text["project"]
			switch isElsewhere := elsewhere.MatchString(r.labels[0]); {
			case isElsewhere && project != "":
				t.Errorf("%s in %s has a project, and need not be left out here", r.address(), folder)
			case !isElsewhere && project != "var.project" && project != "each.key" && !strings.HasPrefix(project, "each.value"):
				t.Errorf("%s in %s is in project %q", r.address(), folder, project)
			}
		}
	}
}

func TestSubscriptions_loseNothing(t *testing.T) {
	m := readModule(t, "modules/pubsub")
	argumentsOf(t, m.resource(t, "google_pubsub_subscription.push"), map[string]string{
		"expiration_policy.ttl": `""`, "message_retention_duration": "local.week",
		"retry_policy.minimum_backoff": `"10s"`, "retry_policy.maximum_backoff": `"600s"`,
		"dead_letter_policy.max_delivery_attempts": "100",
		"dead_letter_policy.dead_letter_topic":     "google_pubsub_topic.dead[each.value.function].id",
		"push_config.push_endpoint":                "var.endpoints[each.value.function]",
	})
	for _, name := range []string{"dead", "critical"} {
		argumentsOf(t, m.resource(t, "google_pubsub_subscription."+name), map[string]string{"expiration_policy.ttl": `""`})
	}
	if dead, topics := m.resource(t, "google_pubsub_subscription.dead"), m.resource(t, "google_pubsub_topic.dead"); dead.text["for_each"] != topics.text["for_each"] ||
		dead.text["topic"] != "google_pubsub_topic.dead[each.key].id" || dead.text["message_retention_duration"] != "local.week" {
		t.Error("a dead-letter topic has no subscription that keeps what it gets")
	}
	argumentsOf(t, m.resource(t, "google_pubsub_topic.topic"), map[string]string{"message_retention_duration": `endswith(each.key, "-events") ? local.week : null`})
	argumentsOf(t, m.resource(t, "google_pubsub_subscription.critical"), map[string]string{"message_retention_duration": `"600s"`})
	if got := value(t, "week", m.locals["week"]).AsString(); got != "604800s" {
		t.Errorf("a week is %s", got)
	}
	if alarms := readModule(t, ".").source["alarms"]; !strings.Contains(alarms, `for f in keys(local.pushed) : "${f}-dead-letters"`) {
		t.Error("no alert policy watches the dead letters of every function")
	}
}

func TestFunctions_areReachableFromInsideOnly(t *testing.T) {
	m := readModule(t, ".")
	argumentsOf(t, m.resource(t, "google_cloudfunctions2_function.function"), map[string]string{
		"build_config.runtime": `"go126"`, "build_config.service_account": `google_service_account.account["build"].id`,
		"service_config.ingress_settings": `"ALLOW_INTERNAL_ONLY"`, "service_config.available_cpu": `"1"`, "service_config.max_instance_count": "2",
		"service_config.service_account_email": "google_service_account.account[each.key].email",
	})
	concurrencies := regexp.MustCompile(`concurrency = (\d+)`).FindAllStringSubmatch(m.source["functions"], -1)
	if len(concurrencies) != 4 {
		t.Fatalf("%d functions have a concurrency, want 4", len(concurrencies))
	}
	for _, found := range concurrencies {
		if len(found[1]) == 1 && found[1] < "8" {
			t.Errorf("a function serves %s requests at a time: a tick would keep pushes waiting", found[1])
		}
	}
	entries := map[string]bool{}
	for _, found := range regexp.MustCompile(`entry_point = "([A-Za-z]+)"`).FindAllStringSubmatch(m.source["functions"], -1) {
		entries[found[1]] = true
	}
	if got := slices.Sorted(maps.Keys(entries)); !slices.Equal(got, []string{"Alerting", "Compliance", "Notify", "Rotation"}) {
		t.Errorf("the entry points are %v", got)
	}
}

// Only who is pushed to has a subscription, a topic of dead letters, and admits Pub/Sub; who gets ticks admits Scheduler, which waits for as
// long as the function works: for half an hour at most (cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs, attemptDeadline),
// and no tick begins before the one before it has ended.
func TestFunctions_areCalledByWhoeverCallsThem(t *testing.T) {
	m := readModule(t, ".")
	pushed := map[string]bool{}
	for _, found := range regexp.MustCompile(`entry_point = "([A-Za-z]+)", pushed = (true|false),`).FindAllStringSubmatch(m.source["functions"], -1) {
		pushed[found[1]] = found[2] == "true"
	}
	if want := map[string]bool{"Rotation": true, "Alerting": true, "Notify": true, "Compliance": false}; !maps.Equal(pushed, want) {
		t.Errorf("pushed to are %v, want %v", pushed, want)
	}
	for _, address := range []string{"google_cloud_run_service_iam_member.push", "google_pubsub_topic_iam_member.dead"} {
		argumentsOf(t, m.resource(t, address), map[string]string{"for_each": "local.pushed"})
	}
	seconds := func(local string) float64 {
		f, _ := value(t, local, m.locals[local]).AsBigFloat().Float64()
		return f
	}
	of := map[string]float64{"rotation": seconds("timeout_seconds"), "alerting": seconds("timeout_seconds"), "compliance": seconds("compliance_seconds")}
	ticks := value(t, "ticks", m.locals["ticks"]).AsValueMap()
	if got, want := slices.Sorted(maps.Keys(ticks)), slices.Sorted(maps.Keys(of)); !slices.Equal(got, want) {
		t.Errorf("ticks have %v, want %v", got, want)
	}
	for f, every := range ticks {
		minutes, _ := every.AsBigFloat().Float64()
		if of[f] > 60*minutes || of[f]+10 > 1800 || 60/int(minutes)*int(minutes) != 60 {
			t.Errorf("%s has a tick every %v minutes, and %v seconds for it", f, minutes, of[f])
		}
	}
	argumentsOf(t, m.resource(t, "google_cloud_scheduler_job.tick"), map[string]string{
		"schedule": `each.value == 1 ? "* * * * *" : "*/${each.value} * * * *"`, "attempt_deadline": `"${local.functions[each.key].timeout + 10}s"`,
	})
	argumentsOf(t, m.resource(t, "google_cloudfunctions2_function.function"), map[string]string{"service_config.timeout_seconds": "each.value.timeout"})
}

func TestWhatMustSurvive_isProtected(t *testing.T) {
	m := readModule(t, ".")
	argumentsOf(t, m.resource(t, "google_firestore_database.ledger"), map[string]string{
		"point_in_time_recovery_enablement": `"POINT_IN_TIME_RECOVERY_ENABLED"`, "delete_protection_state": `"DELETE_PROTECTION_ENABLED"`, "deletion_policy": `"ABANDON"`,
	})
	argumentsOf(t, m.resource(t, "google_storage_bucket.archive"), map[string]string{
		"retention_policy.is_locked": "var.archive_locked", "retention_policy.retention_period": "var.archive_days * 86400",
		"uniform_bucket_level_access": "true", "public_access_prevention": `"enforced"`, "force_destroy": "false",
	})
	// The alert about a database that was deleted says to restore its newest backup.
	argumentsOf(t, m.resource(t, "google_firestore_backup_schedule.ledger"), map[string]string{"database": "google_firestore_database.ledger.name", "retention": `"${14 * 86400}s"`})
	// Versions that are kept would keep the bucket.
	argumentsOf(t, m.resource(t, "google_storage_bucket.source"), map[string]string{"force_destroy": "true", "versioning.enabled": "true", "lifecycle_rule.condition.days_since_noncurrent_time": "30"})
	if versions := m.resources("google_secret_manager_secret_version"); len(versions) > 0 {
		t.Error("a secret has a value in Terraform's state")
	}
	for _, address := range []string{"google_kms_key_ring.cmek", "google_kms_crypto_key.cmek", "google_service_account.cmek"} {
		argumentsOf(t, readModule(t, "modules/cmek-key").resource(t, address), map[string]string{"lifecycle.prevent_destroy": "true"})
	}
}

// A plan needs no access to Google Cloud, and versions of the provider are those that were tried.
func TestModules_haveNoDataSourcesAndOneConstraint(t *testing.T) {
	for _, folder := range []string{".", "modules/pubsub", "modules/cmek-key", "tests/emulator", "examples/one-project", "examples/keys-elsewhere", "examples/organization"} {
		m := readModule(t, folder)
		constraint := ""
		for _, b := range m.blocks {
			if b.kind == "data" {
				t.Errorf("%s has the data source %s", folder, b.address())
			}
			for _, required := range b.inner("required_providers") {
				constraint = required.text["google"]
			}
			if b.kind == "variable" && (b.text["description"] == "" || b.text["type"] == "") {
				t.Errorf("%s: variable %s has no description or no type", folder, b.address())
			}
			if folder == "." && b.kind == "variable" && b.text["type"] != "bool" && len(b.inner("validation")) == 0 {
				t.Errorf("variable %s takes anything", b.address())
			}
			if b.kind == "output" && b.text["description"] == "" && (folder == "." || strings.HasPrefix(folder, "modules/")) {
				t.Errorf("%s: output %s has no description", folder, b.address())
			}
		}
		if !strings.Contains(constraint, `version = ">= 7.0, < 9.0"`) {
			t.Errorf("%s asks for the provider %s", folder, constraint)
		}
	}
}
