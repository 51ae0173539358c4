locals {
  # Which functions read the settings that an owner may choose. All others follow from the deployment.
  readers = {
    KEYTURN_CLOUD_API_VERSION = ["rotation", "alerting", "compliance"]
    KEYTURN_COMPLIANCE_AT     = ["compliance"]
    KEYTURN_CONCURRENCY       = ["rotation"]
    KEYTURN_CONFIRM           = ["rotation"]
    KEYTURN_ENRICH            = ["alerting"]
    KEYTURN_GRACE             = ["rotation"]
    KEYTURN_HEALTHY_FOR       = ["alerting"]
    KEYTURN_IN_FLIGHT         = ["rotation"]
    KEYTURN_LOG_LEVEL         = ["rotation", "alerting", "notify", "compliance"]
    KEYTURN_POLL              = ["rotation"]
    KEYTURN_RECHECK_EVERY     = ["alerting"]
    KEYTURN_SETTLE            = ["rotation"]
    KEYTURN_SWEEP_EVERY       = ["rotation"]
  }

  ledger_url = "firestore://${var.project}/${var.name}"
  secrets    = "projects/${var.project}/secrets"

  common = merge({
    KEYTURN_LEDGER           = local.ledger_url
    KEYTURN_ALERTS_TOPIC     = "projects/${var.project}/topics/${var.name}-alerts"
    KEYTURN_OPERATIONS_TOPIC = "projects/${var.project}/topics/${var.name}-operations"
    KEYTURN_API_KEY_SECRET   = "${local.secrets}/${local.api_key_secret}"
  }, var.cockroach_server == null ? {} : { COCKROACH_SERVER = var.cockroach_server })

  # Every name by which an entry of the audit log can call a part of the deployment. Whoever changes one is reported.
  own_resources = sort(distinct(concat(
    module.pubsub.names,
    [for f in keys(local.functions) : "${var.name}-${f}"],
    [for f in keys(local.ticks) : "${var.name}-${f}-tick"],
    [for f in keys(local.filters) : "${var.name}-${f}"],
    [for p in keys(var.heartbeats) : "${var.name}-heartbeat-${replace(p, "/[:.]/", "-")}"],
    [var.name], # ledger, and feed
    [for m in concat(keys(local.counters), keys(local.values)) : "${var.name}-${m}"],
    [local.api_key_secret, local.compliance_secret], local.audit_secrets, values(local.channel_secrets),
    # Deletions name alert policies and notification channels by number alone.
    [for p in google_monitoring_alert_policy.alarm : p.display_name], [for p in google_monitoring_alert_policy.alarm : basename(p.name)],
    [for c in google_monitoring_notification_channel.email : basename(c.name)],
  )))

  own_environment = merge({
    rotation = merge(local.common, {
      KEYTURN_MODE    = var.mode
      KEYTURN_ARCHIVE = "gs://${local.archive_bucket}/${local.archive_prefix}"
    })
    alerting = merge(local.common, {
      KEYTURN_ORGANIZATION_ID = var.cockroach_organization_id
      KEYTURN_OWN_ROLES       = join(",", sort(values(local.emails)))
      KEYTURN_OWN_RESOURCES   = join(",", local.own_resources)
    }, length(var.heartbeats) == 0 ? {} : { KEYTURN_HEARTBEAT_ROLE = local.emails["heartbeat"] })
    compliance = merge(local.common, local.audit_credential ? { KEYTURN_AUDIT_API_KEY_SECRET = "${local.secrets}/${local.audit_secrets[0]}" } : {}, {
      KEYTURN_API_KEY_SECRET = "${local.secrets}/${local.compliance_secret}"
      KEYTURN_ARCHIVE        = "gs://${local.archive_bucket}/${local.archive_prefix}"
      KEYTURN_DECLARATIONS   = "gs://${local.source_bucket}/${local.declarations_object}"
      KEYTURN_DETECTION      = "gs://${local.source_bucket}/${local.detection_object}"

      KEYTURN_ROTATION_API_KEY_SECRET = "${local.secrets}/${local.api_key_secret}"
    })
    }, {
    for name, c in var.channels : "notify-${name}" => merge({
      KEYTURN_CHANNEL        = c.kind
      KEYTURN_CHANNEL_SECRET = "${local.secrets}/${local.channel_secrets[name]}"
      },
      var.runbooks == null ? {} : { KEYTURN_RUNBOOKS = var.runbooks },
      c.url == null ? {} : { KEYTURN_CHANNEL_URL = c.url },
      c.min_severity == null ? {} : { KEYTURN_MIN_SEVERITY = c.min_severity },
      c.allow_private ? { KEYTURN_ALLOW_PRIVATE = "true" } : {},
      # Only pages are counted.
      c.kind == "pagerduty" ? { KEYTURN_LEDGER = local.ledger_url } : {},
    )
  })

  # Seconds that a request may take: a tick, or a push that waits for others. Pub/Sub and Scheduler wait a little longer for the answer.
  timeout_seconds = 60
  # A tick of compliance works for as long as it may: Cloud Run ends requests after 60 minutes at most, and Scheduler waits for 30.
  compliance_seconds = 840

  # pushed are the functions that messages are pushed to; compliance gets ticks only. An instance handles 8 to 10 events at a time and lets others wait, while a tick takes a minute: with a concurrency of 1, a tick would keep
  # pushes waiting and use up their attempts. notify holds the requests of all alerts that it sends as one message.
  functions = merge({
    rotation = { package = "rotation", entry_point = "Rotation", pushed = true, timeout = local.timeout_seconds, memory = "512Mi", concurrency = 16, description = "keyturn: follows key rotations through" }
    alerting = { package = "alerting", entry_point = "Alerting", pushed = true, timeout = local.timeout_seconds, memory = "512Mi", concurrency = 16, description = "keyturn: notifies at once when a key is at risk" }
    # A tick that comes while one is at work is answered at once.
    compliance = { package = "compliance", entry_point = "Compliance", pushed = false, timeout = local.compliance_seconds, memory = "512Mi", concurrency = 8, description = "keyturn: runs the compliance checks once a day" }
    }, {
    for name, c in var.channels : "notify-${name}" => { package = "notify", entry_point = "Notify", pushed = true, timeout = local.timeout_seconds, memory = "256Mi", concurrency = 250, description = "keyturn: carries alerts to ${name}" }
  })

  pushed   = { for f, v in local.functions : f => v if v.pushed }
  packages = toset(values(local.functions)[*].package)

  # What is declared for the checks, as an object whose name holds its hash: the manifest of each run has the same hash.
  source_bucket       = "${local.bucket_prefix}-source"
  declared            = var.declarations == null ? "{}" : jsonencode(yamldecode(file(var.declarations)).compliance)
  declarations_object = "declarations-${sha256(local.declared)}.json"
}

resource "google_storage_bucket" "source" {
  project                     = var.project
  name                        = local.source_bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = var.labels

  # Sources are named by their content, so one that is replaced is not a newer version of the other. None is needed once nothing is deployed from it.
  force_destroy = true
  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 30
    }
    action {
      type = "Delete"
    }
  }
  versioning {
    enabled = true
  }
}

# The name changes with the content, so that a new zip is a new deployment.
resource "google_storage_bucket_object" "source" {
  for_each = local.packages

  bucket = google_storage_bucket.source.name
  name   = "${each.key}-${filemd5("${var.dist}/${each.key}.zip")}.zip"
  source = "${var.dist}/${each.key}.zip"
}

resource "google_storage_bucket_object" "declarations" {
  bucket       = google_storage_bucket.source.name
  name         = local.declarations_object
  content      = local.declared
  content_type = "application/json"

  # The one before is there until the function has the name of this one.
  lifecycle {
    create_before_destroy = true
  }
}

# Not google_cloud_run_v2_service: its build_config builds nothing (issues 22263 and 23057 of the provider).
resource "google_cloudfunctions2_function" "function" {
  for_each = local.functions

  project     = var.project
  location    = var.region
  name        = "${var.name}-${each.key}"
  description = each.value.description
  labels      = var.labels

  build_config {
    runtime         = "go126"
    entry_point     = each.value.entry_point
    service_account = google_service_account.account["build"].id

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source[each.value.package].name
      }
    }
  }

  # The ledger's lease lets one tick work at a time, however many instances there are.
  service_config {
    service_account_email            = google_service_account.account[each.key].email
    available_cpu                    = "1"
    available_memory                 = each.value.memory
    max_instance_request_concurrency = each.value.concurrency
    max_instance_count               = 2
    min_instance_count               = 0
    timeout_seconds                  = each.value.timeout
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"
    all_traffic_on_latest_revision   = true

    environment_variables = merge(
      { KEYTURN_VERSION = var.release, KEYTURN_TIMEOUT = "${each.value.timeout}s" },
      { for k, v in var.settings : k => v if contains(local.readers[k], each.value.package) },
      local.own_environment[each.key],
    )
  }

  depends_on = [google_project_iam_member.build, google_project_iam_member.build_source, google_storage_bucket_iam_member.build, google_storage_bucket_object.declarations]
}
