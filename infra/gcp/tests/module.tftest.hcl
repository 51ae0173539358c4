# What the module makes, on a provider that makes nothing. terraform test needs the provider's schema, and no account.

mock_provider "google" {
  mock_resource "google_cloudfunctions2_function" {
    defaults = {
      service_config = { uri = "https://function.example.com" }
    }
  }
  mock_resource "google_service_account" {
    defaults = {
      name   = "projects/acme-keyturn/serviceAccounts/keyturn-mock@acme-keyturn.iam.gserviceaccount.com"
      id     = "projects/acme-keyturn/serviceAccounts/keyturn-mock@acme-keyturn.iam.gserviceaccount.com"
      member = "serviceAccount:keyturn-mock@acme-keyturn.iam.gserviceaccount.com"
    }
  }
  mock_resource "google_logging_project_sink" {
    defaults = { writer_identity = "serviceAccount:sink@gcp-sa-logging.iam.gserviceaccount.com" }
  }
  mock_resource "google_logging_folder_sink" {
    defaults = { writer_identity = "serviceAccount:sink@gcp-sa-logging.iam.gserviceaccount.com" }
  }
  mock_resource "google_logging_organization_sink" {
    defaults = { writer_identity = "serviceAccount:sink@gcp-sa-logging.iam.gserviceaccount.com" }
  }
  mock_resource "google_kms_crypto_key" {
    defaults = {
      id               = "projects/acme-keys/locations/us-east1/keyRings/keyturn-canary/cryptoKeys/canary"
      effective_labels = { keyturn-heartbeat = "on", goog-terraform-provisioned = "true" }
    }
  }
  mock_resource "google_kms_key_ring" {
    defaults = { id = "projects/acme-keys/locations/us-east1/keyRings/keyturn-canary" }
  }
  mock_resource "google_monitoring_alert_policy" {
    defaults = { name = "projects/acme-keyturn/alertPolicies/12345678901234567890" }
  }
  mock_resource "google_monitoring_notification_channel" {
    defaults = { name = "projects/acme-keyturn/notificationChannels/987" }
  }
}

variables {
  project                   = "acme-keyturn"
  project_number            = "123456789012"
  region                    = "us-east1"
  dist                      = "tests/dist"
  watched_projects          = ["acme-keys"]
  cockroach_organization_id = "0f2a6f60-1f3b-4c0e-9a52-5d1f6a7b8c9d"
  alert_emails              = ["oncall@example.com"]
  operations_emails         = ["platform@example.com"]
  channels                  = { slack = { kind = "slack" }, pagerduty = { kind = "pagerduty" } }
}

run "one_function_each_and_no_other_invokers" {
  assert {
    condition     = toset(keys(google_cloudfunctions2_function.function)) == toset(["rotation", "alerting", "compliance", "notify-slack", "notify-pagerduty"])
    error_message = "The functions differ."
  }
  assert {
    condition = alltrue([for f in google_cloudfunctions2_function.function :
      f.build_config[0].runtime == "go126" && f.service_config[0].ingress_settings == "ALLOW_INTERNAL_ONLY" && f.service_config[0].available_cpu == "1" &&
      f.service_config[0].max_instance_count <= 2 && f.service_config[0].max_instance_request_concurrency >= 8 && f.service_config[0].timeout_seconds <= (f.name == "keyturn-compliance" ? 840 : 60)
    ])
    error_message = "A function can be reached from outside, or cannot serve pushes beside a tick."
  }
  assert {
    condition     = google_cloudfunctions2_function.function["notify-slack"].build_config[0].entry_point == "Notify" && google_cloudfunctions2_function.function["rotation"].build_config[0].entry_point == "Rotation"
    error_message = "The entry points differ from the code's."
  }
  assert {
    condition     = google_cloudfunctions2_function.function["rotation"].service_config[0].environment_variables["KEYTURN_MODE"] == "observe"
    error_message = "A new installation must observe."
  }
  assert {
    condition = (
      google_cloudfunctions2_function.function["alerting"].service_config[0].environment_variables["KEYTURN_LEDGER"] == "firestore://acme-keyturn/keyturn" &&
      google_cloudfunctions2_function.function["rotation"].service_config[0].environment_variables["KEYTURN_ARCHIVE"] == "gs://acme-keyturn-keyturn-archive/evidence" &&
      google_cloudfunctions2_function.function["notify-slack"].service_config[0].environment_variables["KEYTURN_CHANNEL_SECRET"] == "projects/acme-keyturn/secrets/keyturn-notify-slack" &&
      !contains(keys(google_cloudfunctions2_function.function["notify-slack"].service_config[0].environment_variables), "KEYTURN_LEDGER")
    )
    error_message = "The environment differs."
  }
  assert {
    condition     = alltrue([for m in concat(values(google_cloud_run_service_iam_member.push), values(google_cloud_run_service_iam_member.tick)) : startswith(m.member, "serviceAccount:") && m.role == "roles/run.invoker"])
    error_message = "Somebody else may invoke a function."
  }
}

run "sources_can_be_built" {
  assert {
    condition = (
      google_project_iam_member.build_source.condition[0].expression == "resource.name == \"projects/_/buckets/gcf-v2-sources-123456789012-us-east1\" || resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-123456789012-us-east1/\")" &&
      google_project_iam_member.build_source.role == "roles/storage.objectViewer" && google_project_iam_member.build_source.member == google_storage_bucket_iam_member.build.member
    )
    error_message = "The build cannot read the source from the bucket of Cloud Functions, or reads more than that."
  }
}

run "own_resources_are_known_to_alerting" {
  assert {
    condition = length(setsubtract(
      concat(
        ["keyturn-rotation", "keyturn-alerting", "keyturn-rotation-events", "keyturn-alerts", "keyturn-alerting-dead", "keyturn-notify-slack-alerts", "keyturn-alerts-critical"],
        ["keyturn-rotation-tick", "keyturn-compliance", "keyturn-compliance-tick", "keyturn-compliance-api-key", "keyturn-api-key", "keyturn-notify-pagerduty", "keyturn", "keyturn-critical-published", "keyturn-rotation-poison", "keyturn-oldest-open-seconds", "12345678901234567890", "987"],
      ),
      split(",", google_cloudfunctions2_function.function["alerting"].service_config[0].environment_variables["KEYTURN_OWN_RESOURCES"])
    )) == 0
    error_message = "Alerting would not report changes of the deployment itself."
  }
  assert {
    condition     = contains(split(",", google_cloudfunctions2_function.function["alerting"].service_config[0].environment_variables["KEYTURN_OWN_ROLES"]), "keyturn-rotation@acme-keyturn.iam.gserviceaccount.com")
    error_message = "Alerting does not know keyturn's own service accounts."
  }
}

run "sinks_of_a_project" {
  assert {
    condition     = toset(keys(google_logging_project_sink.events)) == toset(["acme-keys/rotation", "acme-keys/alerting"]) && length(google_logging_folder_sink.events) + length(google_logging_organization_sink.events) == 0
    error_message = "The sinks differ."
  }
  assert {
    condition     = alltrue([for s in google_logging_project_sink.events : s.unique_writer_identity && length(s.filter) > 100 && length(s.filter) <= 20000 && !strcontains(s.filter, "data_access")])
    error_message = "A sink has no filter, or one that selects Data Access logs."
  }
}

run "data_access_leaves_out_our_own_use" {
  variables {
    data_access = true
  }
  assert {
    condition     = strcontains(google_logging_project_sink.events["acme-keys/alerting"].filter, "\"keyturn-alerting@acme-keyturn.iam.gserviceaccount.com\" OR ") && !strcontains(google_logging_project_sink.events["acme-keys/alerting"].filter, "keyturn.invalid")
    error_message = "The filter does not leave out keyturn's own service accounts."
  }
}

run "organization_and_folders" {
  variables {
    watched_projects   = []
    watched_folders    = ["55"]
    organization       = "77"
    watch_organization = true
    asset_feed         = true
  }
  assert {
    condition     = alltrue([for s in google_logging_organization_sink.events : s.include_children && s.org_id == "77"]) && length(google_logging_organization_sink.events) == 2
    error_message = "The organization's sinks leave out its projects."
  }
  assert {
    condition     = jsonencode([for part in ["projects", "folders", "organization"] : jsondecode(google_storage_bucket_object.deployment.content)["watched_${part}"]]) == jsonencode([[], ["55"], "77"])
    error_message = "What is published of what is watched differs."
  }
  assert {
    condition     = alltrue([for s in google_logging_folder_sink.events : s.include_children && s.folder == "55"]) && length(google_logging_folder_sink.events) == 2
    error_message = "The folder's sinks leave out its projects."
  }
  assert {
    condition     = length(google_organization_iam_member.read) == 3 && length(google_organization_iam_member.read_denies) == 3 && length(google_folder_iam_member.read) == 3 && length(google_project_iam_member.read_denies) == 0 && length(google_organization_iam_member.use_log) == 1 && length(google_folder_iam_member.use_log) == 1 && length(google_project_iam_member.use_log) == 0
    error_message = "The roles that read are not bound where they are needed."
  }
  assert {
    condition     = google_cloud_asset_organization_feed.keys[0].content_type == "RESOURCE" && google_cloud_asset_folder_feed.keys["55"].content_type == "RESOURCE"
    error_message = "A feed without content names resources only."
  }
}

run "what_must_survive" {
  assert {
    condition     = google_firestore_database.ledger.delete_protection_state == "DELETE_PROTECTION_ENABLED" && google_firestore_database.ledger.point_in_time_recovery_enablement == "POINT_IN_TIME_RECOVERY_ENABLED"
    error_message = "The ledger can be lost."
  }
  assert {
    condition     = google_firestore_field.unindexed["rotation/data"].index_config != null && length(google_firestore_field.unindexed["alerting/expires"].ttl_config) == 1 && length(google_firestore_field.unindexed["alerting/data"].ttl_config) == 0
    error_message = "Data is indexed, or nothing expires."
  }
  assert {
    condition     = google_storage_bucket.archive.retention_policy[0].retention_period == "34560000" && !google_storage_bucket.archive.force_destroy
    error_message = "Evidence can be deleted."
  }
}

run "heartbeat_changes_the_canary_key_only" {
  variables {
    heartbeats = { acme-keys = "us-east1" }
  }
  assert {
    condition     = google_cloud_scheduler_job.heartbeat["acme-keys"].http_target[0].uri == "https://cloudkms.googleapis.com/v1/projects/acme-keys/locations/us-east1/keyRings/keyturn-canary/cryptoKeys/canary?updateMask=labels"
    error_message = "The heartbeat calls something else."
  }
  assert {
    condition     = jsondecode(base64decode(google_cloud_scheduler_job.heartbeat["acme-keys"].http_target[0].body)).labels["keyturn-heartbeat"] == "on"
    error_message = "The heartbeat does not set its label."
  }
  assert {
    condition     = google_project_iam_custom_role.heartbeat["acme-keys"].permissions == toset(["cloudkms.cryptoKeys.update"])
    error_message = "The heartbeat may do more than it does."
  }
  assert {
    condition     = google_cloudfunctions2_function.function["alerting"].service_config[0].environment_variables["KEYTURN_HEARTBEAT_ROLE"] == "keyturn-heartbeat@acme-keyturn.iam.gserviceaccount.com"
    error_message = "Alerting does not know the heartbeat."
  }
  assert {
    condition     = contains(keys(google_monitoring_alert_policy.alarm), "heartbeat-acme-keys")
    error_message = "Nobody notices that the heartbeat is missing."
  }
}

run "ticks_are_signed" {
  assert {
    condition = alltrue([for j in google_cloud_scheduler_job.tick :
      j.schedule == (j.name == "keyturn-compliance-tick" ? "*/15 * * * *" : "* * * * *") && j.http_target[0].http_method == "POST" && base64decode(j.http_target[0].body) == "{\"keyturn\":\"tick\"}" &&
      j.http_target[0].oidc_token[0].audience == j.http_target[0].uri && j.retry_config[0].retry_count == 0
    ]) && length(google_cloud_scheduler_job.tick) == 3
    error_message = "The ticks differ."
  }
}

run "people_are_reached_directly" {
  assert {
    condition     = strcontains(google_monitoring_alert_policy.alarm["critical-published"].conditions[0].condition_prometheus_query_language[0].query, "critical") && length(google_monitoring_alert_policy.alarm["critical-published"].notification_channels) == 1
    error_message = "No e-mail is sent for a critical alert."
  }
  assert {
    condition = (
      google_monitoring_alert_policy.alarm["critical-published"].alert_strategy[0].notification_prompts == tolist(["OPENED"])
      && google_monitoring_alert_policy.alarm["critical-published"].alert_strategy[0].notification_channel_strategy[0].renotify_interval == "1800s"
      && alltrue([for k, p in google_monitoring_alert_policy.alarm : length(p.alert_strategy) == 0 if k != "critical-published"])
    )
    error_message = "People are not reminded of critical alerts, or are told that a policy's incident closed."
  }
  assert {
    condition     = alltrue([for p in google_monitoring_alert_policy.alarm : length(p.notification_channels) > 0 && can(regex("infra/gcp/RUNBOOK[.]md#[a-z-]+$", p.documentation[0].links[0].url))])
    error_message = "An alert policy notifies nobody, or has no runbook."
  }
  assert {
    condition     = !contains(keys(google_monitoring_alert_policy.alarm), "open-work-old")
    error_message = "In observe mode work stays open."
  }
}

run "people_may_use_the_command_line" {
  variables {
    operators = ["group:platform@example.com"]
    viewers   = ["user:oncall@example.com"]
  }
  assert {
    condition     = length(google_project_iam_member.people) == 2 && length(google_project_iam_member.look) == 1 && length(google_project_iam_member.operate) == 1 && length(google_pubsub_topic_iam_member.operate) == 2 && length(google_project_iam_member.keys) == 2 && length(google_project_iam_member.operate_read) == 1 && length(google_project_iam_member.operate_read_denies) == 0
    error_message = "The bindings of people differ."
  }
  assert {
    condition     = jsondecode(google_storage_bucket_object.deployment.content).ledger == "firestore://acme-keyturn/keyturn" && length(jsondecode(google_storage_bucket_object.deployment.content).push_subscriptions) == 6
    error_message = "What is published differs."
  }
  assert {
    condition     = jsonencode([for part in ["projects", "folders", "organization"] : jsondecode(google_storage_bucket_object.deployment.content)["watched_${part}"]]) == jsonencode([["acme-keys"], [], ""])
    error_message = "What is published of what is watched differs."
  }
}

# Google documents the role for organizations only: a project is not given it unless somebody says so.
run "deny_policies_of_projects_are_not_read_unasked" {
  assert {
    condition     = length(google_project_iam_member.read_denies) == 0 && length(google_organization_iam_member.read_denies) == 0
    error_message = "Roles for deny policies are granted where no organization is set."
  }
}

run "deny_policies_of_projects_are_read_if_asked_for" {
  variables {
    operators                 = ["group:platform@example.com"]
    deny_reviewer_on_projects = true
  }
  assert {
    condition     = length(google_project_iam_member.read_denies) == 3 && length(google_project_iam_member.operate_read_denies) == 1 && length(google_organization_iam_member.read_denies) == 0
    error_message = "The roles for deny policies of projects differ."
  }
}

run "deny_policies_of_an_organization_are_read_from_there" {
  variables {
    organization              = "123456789012"
    operators                 = ["group:platform@example.com"]
    deny_reviewer_on_projects = true
  }
  assert {
    condition     = length(google_project_iam_member.read_denies) == 0 && length(google_project_iam_member.operate_read_denies) == 0 && length(google_organization_iam_member.read_denies) == 3 && length(google_organization_iam_member.operate_read_denies) == 1
    error_message = "The roles for deny policies of an organization differ."
  }
}

run "compliance_runs_on_ticks_alone" {
  assert {
    condition = (
      google_cloudfunctions2_function.function["compliance"].service_config[0].timeout_seconds == 840 && google_cloudfunctions2_function.function["compliance"].service_config[0].environment_variables["KEYTURN_TIMEOUT"] == "840s" &&
      google_cloud_scheduler_job.tick["compliance"].attempt_deadline == "850s" && google_cloudfunctions2_function.function["rotation"].service_config[0].environment_variables["KEYTURN_TIMEOUT"] == "60s"
    )
    error_message = "A tick of compliance has not the time that it is given."
  }
  assert {
    condition     = !contains(keys(google_cloud_run_service_iam_member.push), "compliance") && contains(keys(google_cloud_run_service_iam_member.tick), "compliance") && !contains(keys(google_pubsub_topic_iam_member.dead), "compliance") && !strcontains(google_storage_bucket_object.deployment.content, "compliance-dead")
    error_message = "Pub/Sub may call compliance, or it has dead letters."
  }
  assert {
    condition = (
      google_cloudfunctions2_function.function["compliance"].service_config[0].environment_variables["KEYTURN_API_KEY_SECRET"] == "projects/acme-keyturn/secrets/keyturn-compliance-api-key" &&
      google_cloudfunctions2_function.function["rotation"].service_config[0].environment_variables["KEYTURN_API_KEY_SECRET"] == "projects/acme-keyturn/secrets/keyturn-api-key" &&
      google_cloudfunctions2_function.function["compliance"].service_config[0].environment_variables["KEYTURN_ARCHIVE"] == "gs://acme-keyturn-keyturn-archive/evidence" &&
      !contains(keys(google_cloudfunctions2_function.function["compliance"].service_config[0].environment_variables), "KEYTURN_MODE")
    )
    error_message = "The environment of compliance differs."
  }
  assert {
    condition     = google_secret_manager_secret_iam_member.compliance.secret_id == "keyturn-compliance-api-key" && toset(keys(google_secret_manager_secret_iam_member.api_key)) == toset(["rotation", "alerting"])
    error_message = "Compliance shares its secret."
  }
  assert {
    condition     = google_storage_bucket_object.declarations.content == "{}" && google_storage_bucket_object.declarations.name == "declarations-${sha256("{}")}.json"
    error_message = "Nothing is declared, and something else is deployed."
  }
  assert {
    condition     = google_storage_bucket_iam_member.runs.condition[0].expression == "resource.name.startsWith(\"projects/_/buckets/acme-keyturn-keyturn-archive/objects/evidence/runs/\")"
    error_message = "Compliance may write elsewhere in the archive."
  }
  assert {
    condition = (
      contains(keys(google_monitoring_alert_policy.alarm), "compliance-overdue") && contains(keys(google_monitoring_alert_policy.alarm), "compliance-tick-errors") && contains(keys(google_monitoring_alert_policy.alarm), "compliance-secret-unreadable") &&
      !contains(keys(google_monitoring_alert_policy.alarm), "compliance-dead-letters") && !contains(keys(google_monitoring_alert_policy.alarm), "compliance-poison") &&
      strcontains(google_monitoring_alert_policy.alarm["compliance-tick-silent"].conditions[0].condition_prometheus_query_language[0].query, "[45m]") && strcontains(google_monitoring_alert_policy.alarm["rotation-tick-silent"].conditions[0].condition_prometheus_query_language[0].query, "[10m]") &&
      strcontains(google_monitoring_alert_policy.alarm["compliance-overdue"].conditions[0].condition_prometheus_query_language[0].query, "[23h]") && google_monitoring_alert_policy.alarm["compliance-overdue"].conditions[0].condition_prometheus_query_language[0].duration == "10800s"
    )
    error_message = "The alert policies of compliance differ."
  }
  # Pushes are requests, too: they would hide that no tick comes.
  assert {
    condition     = alltrue([for f in ["rotation", "alerting", "compliance"] : startswith(google_monitoring_alert_policy.alarm["${f}-tick-silent"].conditions[0].condition_prometheus_query_language[0].query, "(sum(increase(logging_googleapis_com:user_keyturn_${f}_ticks[")])
    error_message = "An alert policy about ticks that do not come counts something else."
  }
}

run "declarations_are_an_object_with_its_hash" {
  variables {
    declarations = "tests/declarations.yaml"
    settings     = { KEYTURN_COMPLIANCE_AT = "2h" }
  }
  assert {
    condition     = google_storage_bucket_object.declarations.name == "declarations-${sha256(google_storage_bucket_object.declarations.content)}.json" && google_cloudfunctions2_function.function["compliance"].service_config[0].environment_variables["KEYTURN_DECLARATIONS"] == "gs://acme-keyturn-keyturn-source/${google_storage_bucket_object.declarations.name}"
    error_message = "The function reads another object."
  }
  assert {
    condition     = jsondecode(google_storage_bucket_object.declarations.content).thresholds.cryptoperiod_days == 90 && jsondecode(google_storage_bucket_object.declarations.content).accounts[0] == "111122223333" && jsondecode(google_storage_bucket_object.declarations.content).exceptions[0].expires == "2027-06-30T00:00:00Z"
    error_message = "Something else is declared."
  }
  assert {
    condition     = google_cloudfunctions2_function.function["compliance"].service_config[0].environment_variables["KEYTURN_COMPLIANCE_AT"] == "2h" && !contains(keys(google_cloudfunctions2_function.function["rotation"].service_config[0].environment_variables), "KEYTURN_COMPLIANCE_AT")
    error_message = "The time of the day does not reach compliance, or reaches another function."
  }
}

run "declarations_without_their_section_are_refused" {
  command = plan
  variables {
    declarations = "tests/cmek_key.tftest.hcl"
  }
  expect_failures = [var.declarations]
}

run "auditors_read_the_runs" {
  variables {
    auditors = ["group:audit@example.com"]
  }
  assert {
    condition     = length(google_storage_bucket_iam_member.audit) == 1 && length(google_storage_bucket_iam_member.audit_list) == 1 && length(google_storage_bucket_iam_member.audit_deployment) == 1 && length(google_project_iam_member.people) + length(google_project_iam_member.look) + length(google_project_iam_member.keys) == 0
    error_message = "The bindings of auditors differ."
  }
  assert {
    condition     = google_storage_bucket_iam_member.audit_deployment["group:audit@example.com"].condition[0].expression == "resource.name == \"projects/_/buckets/acme-keyturn-keyturn-source/objects/deployment.json\""
    error_message = "Auditors read more of the source than what is published."
  }
}

run "everybody_is_nobody" {
  command = plan
  variables {
    operators = ["allUsers"]
    auditors  = ["allAuthenticatedUsers"]
  }
  expect_failures = [var.operators, var.auditors]
}

run "sweeps_may_be_rarer" {
  variables {
    mode     = "follow"
    settings = { KEYTURN_SWEEP_EVERY = "1h", KEYTURN_IN_FLIGHT = "5" }
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.alarm["sweep-overdue"].conditions[0].condition_prometheus_query_language[0].query, "[180m]") && contains(keys(google_monitoring_alert_policy.alarm), "open-work-old")
    error_message = "The alarm does not follow the setting."
  }
  assert {
    condition     = google_cloudfunctions2_function.function["rotation"].service_config[0].environment_variables["KEYTURN_IN_FLIGHT"] == "5" && !contains(keys(google_cloudfunctions2_function.function["alerting"].service_config[0].environment_variables), "KEYTURN_IN_FLIGHT")
    error_message = "A setting does not reach its function, or reaches another."
  }
}

run "runbooks_are_those_of_the_release" {
  command = plan
  variables {
    release = "v1.2.3"
  }
  assert {
    condition     = startswith(google_monitoring_alert_policy.alarm["sweep-overdue"].documentation[0].links[0].url, "https://github.com/keyturn/keyturn/blob/v1.2.3/infra/gcp/RUNBOOK.md#")
    error_message = "The runbook is not the release's."
  }
}

run "runbooks_of_a_commit" {
  command = plan
  variables {
    release = "v1.2.4-0.20261129063320-0123456789ab"
  }
  assert {
    condition     = startswith(google_monitoring_alert_policy.alarm["sweep-overdue"].documentation[0].links[0].url, "https://github.com/keyturn/keyturn/blob/0123456789ab/infra/")
    error_message = "The runbook is not the commit's."
  }
}

run "runbooks_of_your_own" {
  command = plan
  variables {
    release  = "v1.2.3"
    runbooks = "https://wiki.example.com/keyturn/"
  }
  assert {
    condition     = startswith(google_monitoring_alert_policy.alarm["sweep-overdue"].documentation[0].links[0].url, "https://wiki.example.com/keyturn/infra/gcp/RUNBOOK.md#")
    error_message = "The runbook is not where it was said to be."
  }
}

run "refused" {
  command = plan
  variables {
    project                   = "123456"
    project_number            = "acme"
    region                    = "us"
    name                      = "k"
    labels                    = { A = "b" }
    watched_projects          = ["Acme"]
    organization              = "organizations/1"
    heartbeats                = { acme-keys = "US" }
    mode                      = "on"
    cockroach_organization_id = "acme"
    cockroach_server          = "http://cockroachlabs.example"
    settings                  = { KEYTURN_MODE = "follow" }
    alert_emails              = []
    operations_emails         = ["nobody"]
    channels                  = { irc = { kind = "irc" } }
    runbooks                  = "http://example.com"
    api_key_secret            = "projects/p/secrets/s"
    compliance_api_key_secret = "projects/p/secrets/s"
    declarations              = "nowhere.yaml"
    archive_days              = 0
    dist                      = " "
    notification_channels     = ["987"]
    firestore_location        = "US"
    archive_bucket            = "B"
    release                   = "v 1"
  }
  expect_failures = [
    var.project, var.project_number, var.region, var.name, var.labels, var.watched_projects, var.organization, var.heartbeats,
    var.mode, var.cockroach_organization_id, var.cockroach_server, var.settings, var.alert_emails, var.operations_emails, var.channels, var.runbooks,
    var.api_key_secret, var.compliance_api_key_secret, var.declarations, var.archive_days, var.dist, var.notification_channels, var.firestore_location, var.archive_bucket, var.release,
  ]
}

run "nothing_watched_is_refused" {
  command = plan
  variables {
    watched_projects = []
  }
  expect_failures = [var.watch_organization]
}

run "folders_without_organization_are_refused" {
  command = plan
  variables {
    watched_folders = ["55"]
  }
  expect_failures = [var.watched_folders]
}

run "names_of_folders_are_refused" {
  command = plan
  variables {
    organization    = "77"
    watched_folders = ["folders/55"]
  }
  expect_failures = [var.watched_folders]
}
