# What the checks compare the detection with, and what they read of it and of the credentials.

locals {
  detection_permissions = [
    "logging.buckets.get",
    "logging.sinks.get",
  ]
  subscription_permissions = [
    "pubsub.subscriptions.get",
  ]
  secret_age_permissions = [
    "secretmanager.versions.get",
  ]

  # The function finds the object by this name and does not wait for it: what it says of subscriptions follows from the functions.
  detection_object = "detection.json"
  # As functions/compliance reads it.
  detection = {
    sinks = concat(
      [for s in values(local.project_sinks) : { parent = "projects/${s.project}", function = s.function }],
      [for s in values(local.folder_sinks) : { parent = "folders/${s.folder}", function = s.function }],
      [for f in sort(local.organization_sinks) : { parent = "organizations/${var.organization}", function = f }],
    )
    functions = toset(keys(local.filters))
  }
}

resource "google_storage_bucket_object" "detection" {
  bucket       = google_storage_bucket.source.name
  name         = local.detection_object
  content_type = "application/json"
  content = jsonencode({
    sinks = [for s in local.detection.sinks : {
      parent      = s.parent
      name        = "${var.name}-${s.function}"
      destination = "pubsub.googleapis.com/${module.pubsub.topics["${s.function}-events"]}"
      filter      = sha256(local.filters[s.function])
    }]
    subscriptions = [for f in local.detection.functions : {
      name  = "projects/${var.project}/subscriptions/${module.pubsub.push_subscriptions[f]}"
      topic = module.pubsub.topics["${f}-events"]
    }]
    heartbeats = sort(keys(var.heartbeats))
  })
}

resource "google_storage_bucket_iam_member" "detection" {
  bucket = google_storage_bucket.source.name
  role   = google_project_iam_custom_role.deployment.id
  member = google_service_account.account["compliance"].member

  condition {
    title      = "detection only"
    expression = "resource.name == \"projects/_/buckets/${local.source_bucket}/objects/${local.detection_object}\""
  }
}

resource "google_project_iam_custom_role" "detection" {
  for_each = var.watched_projects

  project     = each.key
  role_id     = "${local.role_prefix}_detection"
  title       = "keyturn: read sinks and log buckets"
  description = "Reads how log sinks and the buckets of logs are configured, and no logs."
  permissions = local.detection_permissions
}

resource "google_organization_iam_custom_role" "detection" {
  count = var.organization == null ? 0 : 1

  org_id      = var.organization
  role_id     = "${local.role_prefix}_detection"
  title       = "keyturn: read sinks and log buckets"
  description = "Reads how log sinks and the buckets of logs are configured, and no logs."
  permissions = local.detection_permissions
}

resource "google_project_iam_member" "detection" {
  for_each = var.watched_projects

  project = each.key
  role    = google_project_iam_custom_role.detection[each.key].id
  member  = google_service_account.account["compliance"].member
}

resource "google_folder_iam_member" "detection" {
  for_each = var.watched_folders

  folder = "folders/${each.key}"
  role   = google_organization_iam_custom_role.detection[0].id
  member = google_service_account.account["compliance"].member
}

resource "google_organization_iam_member" "detection" {
  count = var.watch_organization ? 1 : 0

  org_id = var.organization
  role   = google_organization_iam_custom_role.detection[0].id
  member = google_service_account.account["compliance"].member
}

resource "google_project_iam_custom_role" "subscription" {
  project     = var.project
  role_id     = "${local.role_prefix}_subscription"
  title       = "keyturn: read a subscription"
  description = "Reads how a subscription is configured, and no messages."
  permissions = local.subscription_permissions
}

resource "google_pubsub_subscription_iam_member" "detection" {
  for_each = local.detection.functions

  project      = var.project
  subscription = module.pubsub.push_subscriptions[each.key]
  role         = google_project_iam_custom_role.subscription.id
  member       = google_service_account.account["compliance"].member
}

# How old the API keys are, and not what they are.

resource "google_project_iam_custom_role" "secret_age" {
  project     = var.project
  role_id     = "${local.role_prefix}_secret_age"
  title       = "keyturn: age of a secret"
  description = "Reads when a version of a secret was made, and not what it holds."
  permissions = local.secret_age_permissions
}

resource "google_secret_manager_secret_iam_member" "age" {
  for_each = toset([local.api_key_secret, local.compliance_secret])

  project   = var.project
  secret_id = each.key
  role      = google_project_iam_custom_role.secret_age.id
  member    = google_service_account.account["compliance"].member

  depends_on = [google_secret_manager_secret.api_key, google_secret_manager_secret.compliance]
}

# The audit log of the organization at Cockroach Labs takes an API key of its own, if one is declared (audit_credential).

locals {
  audit_credential = try(jsondecode(local.declared).audit_credential, false) == true
  audit_secrets    = local.audit_credential ? ["${var.name}-audit-api-key"] : []
}

resource "google_secret_manager_secret" "audit" {
  count = length(local.audit_secrets)

  project   = var.project
  secret_id = local.audit_secrets[count.index]
  labels    = var.labels

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
}

resource "google_secret_manager_secret_iam_member" "audit" {
  count = length(local.audit_secrets)

  project   = var.project
  secret_id = google_secret_manager_secret.audit[count.index].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.account["compliance"].member
}
