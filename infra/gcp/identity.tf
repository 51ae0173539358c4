# Service accounts and what each may do. A role of keyturn's own holds exactly the permissions of the calls that are made; a predefined one
# is used where it holds no more than that. permission_test.go compares all of it with the calls of the code.

locals {
  # The domain of a project that belongs to a domain is written in reverse.
  email_domain = "${join(".", reverse(split(":", var.project)))}.iam.gserviceaccount.com"
  accounts     = toset(concat(keys(local.functions), ["push", "tick", "build"], length(var.heartbeats) > 0 ? ["heartbeat"] : []))
  emails       = { for a in local.accounts : a => "${var.name}-${a}@${local.email_domain}" }

  # Functions that read keys and policies.
  readers_of_keys = toset(["rotation", "alerting", "compliance"])

  # Reading what decides about the use of keys, on a project.
  read_permissions = [
    "cloudkms.cryptoKeyVersions.list",
    "cloudkms.cryptoKeys.get",
    "cloudkms.cryptoKeys.getIamPolicy",
    "cloudkms.keyRings.getIamPolicy",
    "iam.roles.get",
    "iam.serviceAccounts.get",
    "iam.serviceAccounts.getIamPolicy",
    "resourcemanager.projects.get",
    "resourcemanager.projects.getIamPolicy",
    "resourcemanager.projects.searchPolicyBindings",
  ]
  # The same on what is above projects. A role of a project cannot hold these.
  read_above_permissions = [
    "iam.principalaccessboundarypolicies.get",
    "resourcemanager.folders.getIamPolicy",
    "resourcemanager.folders.searchPolicyBindings",
    "resourcemanager.organizations.getIamPolicy",
    "resourcemanager.organizations.searchPolicyBindings",
  ]
  # Data Access logs have no narrower permission: it holds for those of all services. A log view on the log bucket of each project would be
  # narrower, and is not to be had for the projects of a folder or an organization, nor where entries go to another bucket.
  use_log_permissions = [
    "logging.privateLogEntries.list",
  ]
  ledger_permissions = [
    "datastore.entities.create",
    "datastore.entities.get",
    "datastore.entities.list",
    "datastore.entities.update",
  ]
  pages_permissions = [
    "datastore.entities.create",
    "datastore.entities.get",
    "datastore.entities.update",
  ]
  archive_permissions = [
    "storage.objects.create",
    "storage.objects.get",
  ]
  # Without it Cloud Storage answers 403 for an object that does not exist, as for one that may not be read
  # (cloud.google.com/storage/docs/json_api/v1/status-codes).
  archive_list_permissions = [
    "storage.objects.list",
  ]
  heartbeat_permissions = [
    "cloudkms.cryptoKeys.update",
  ]

  build_bucket = "projects/_/buckets/gcf-v2-sources-${var.project_number}-${var.region}"

  # What the code calls is for people to read; ids of roles take no hyphens.
  role_prefix = replace(var.name, "-", "_")
}

resource "google_service_account" "account" {
  for_each = local.accounts

  project      = var.project
  account_id   = "${var.name}-${each.key}"
  display_name = "keyturn: ${each.key}"
}

# Keys and policies

resource "google_project_iam_custom_role" "read" {
  for_each = var.watched_projects

  project     = each.key
  role_id     = "${local.role_prefix}_read"
  title       = "keyturn: read keys and policies"
  description = "What keyturn reads of keys, service accounts and policies. It can neither use nor change any."
  permissions = local.read_permissions
}

resource "google_organization_iam_custom_role" "read" {
  count = var.organization == null ? 0 : 1

  org_id      = var.organization
  role_id     = "${local.role_prefix}_read"
  title       = "keyturn: read keys and policies"
  description = "What keyturn reads of keys, service accounts and policies. It can neither use nor change any."
  permissions = local.read_permissions
}

# Only on the organization, where all that is above a project can be read with one binding.
resource "google_organization_iam_custom_role" "read_above" {
  count = var.organization == null ? 0 : 1

  org_id      = var.organization
  role_id     = "${local.role_prefix}_read_above"
  title       = "keyturn: read policies above projects"
  description = "What keyturn reads of the allow policies of folders and of the organization, of roles, and of principal access boundaries."
  permissions = concat(local.read_above_permissions, ["iam.roles.get"])
}

resource "google_project_iam_member" "read" {
  for_each = { for pair in setproduct(var.watched_projects, local.readers_of_keys) : join("/", pair) => pair }

  project = each.value[0]
  role    = google_project_iam_custom_role.read[each.value[0]].id
  member  = google_service_account.account[each.value[1]].member
}

resource "google_folder_iam_member" "read" {
  for_each = { for pair in setproduct(var.watched_folders, local.readers_of_keys) : join("/", pair) => pair }

  folder = "folders/${each.value[0]}"
  role   = google_organization_iam_custom_role.read[0].id
  member = google_service_account.account[each.value[1]].member
}

resource "google_organization_iam_member" "read" {
  for_each = var.watch_organization ? local.readers_of_keys : []

  org_id = var.organization
  role   = google_organization_iam_custom_role.read[0].id
  member = google_service_account.account[each.key].member
}

resource "google_organization_iam_member" "read_above" {
  for_each = var.organization == null ? [] : local.readers_of_keys

  org_id = var.organization
  role   = google_organization_iam_custom_role.read_above[0].id
  member = google_service_account.account[each.key].member
}

# Deny policies are read with a role of Google's: where a role of one's own may hold the two permissions is not documented. The role itself is
# documented for organizations (cloud.google.com/iam/docs/deny-access), and refused where a role is not supported, which ends the apply.
locals {
  deny_reviewed_projects = var.organization == null && var.deny_reviewer_on_projects ? var.watched_projects : toset([])
}

resource "google_organization_iam_member" "read_denies" {
  for_each = var.organization == null ? [] : local.readers_of_keys

  org_id = var.organization
  role   = "roles/iam.denyReviewer"
  member = google_service_account.account[each.key].member
}

resource "google_project_iam_member" "read_denies" {
  for_each = { for pair in setproduct(local.deny_reviewed_projects, local.readers_of_keys) : join("/", pair) => pair }

  project = each.value[0]
  role    = "roles/iam.denyReviewer"
  member  = google_service_account.account[each.value[1]].member
}

# Uses of keys, for the proofs of re-encryptions

resource "google_project_iam_custom_role" "use_log" {
  for_each = var.watched_projects

  project     = each.key
  role_id     = "${local.role_prefix}_use_log"
  title       = "keyturn: read uses of keys"
  description = "Reads Data Access logs, in which the uses of keys are. It reads no other logs."
  permissions = local.use_log_permissions
}

resource "google_organization_iam_custom_role" "use_log" {
  count = var.organization == null ? 0 : 1

  org_id      = var.organization
  role_id     = "${local.role_prefix}_use_log"
  title       = "keyturn: read uses of keys"
  description = "Reads Data Access logs, in which the uses of keys are. It reads no other logs."
  permissions = local.use_log_permissions
}

resource "google_project_iam_member" "use_log" {
  for_each = var.watched_projects

  project = each.key
  role    = google_project_iam_custom_role.use_log[each.key].id
  member  = google_service_account.account["compliance"].member
}

resource "google_folder_iam_member" "use_log" {
  for_each = var.watched_folders

  folder = "folders/${each.key}"
  role   = google_organization_iam_custom_role.use_log[0].id
  member = google_service_account.account["compliance"].member
}

resource "google_organization_iam_member" "use_log" {
  count = var.watch_organization ? 1 : 0

  org_id = var.organization
  role   = google_organization_iam_custom_role.use_log[0].id
  member = google_service_account.account["compliance"].member
}

# The ledger. Firestore has no permissions for one collection: who may write the ledger may write all of it.

resource "google_project_iam_custom_role" "ledger" {
  project     = var.project
  role_id     = "${local.role_prefix}_ledger"
  title       = "keyturn: ledger"
  description = "Reads, queries and writes documents. Nothing is deleted."
  permissions = local.ledger_permissions
}

resource "google_project_iam_custom_role" "pages" {
  project     = var.project
  role_id     = "${local.role_prefix}_pages"
  title       = "keyturn: what was paged"
  description = "Reads and writes single documents."
  permissions = local.pages_permissions
}

resource "google_project_iam_member" "ledger" {
  for_each = toset(["rotation", "alerting", "compliance"])

  project = var.project
  role    = google_project_iam_custom_role.ledger.id
  member  = google_service_account.account[each.key].member

  condition {
    title      = "ledger only"
    expression = "resource.name == \"${local.database}\" || resource.name.startsWith(\"${local.database}/\")"
  }
}

resource "google_project_iam_member" "pages" {
  for_each = toset([for name, c in var.channels : "notify-${name}" if c.kind == "pagerduty"])

  project = var.project
  role    = google_project_iam_custom_role.pages.id
  member  = google_service_account.account[each.key].member

  condition {
    title      = "ledger only"
    expression = "resource.name == \"${local.database}\" || resource.name.startsWith(\"${local.database}/\")"
  }
}

# Evidence

resource "google_project_iam_custom_role" "archive" {
  project     = var.project
  role_id     = "${local.role_prefix}_archive"
  title       = "keyturn: evidence"
  description = "Creates and reads objects. None is replaced or deleted."
  permissions = local.archive_permissions
}

resource "google_storage_bucket_iam_member" "archive" {
  bucket = google_storage_bucket.archive.name
  role   = google_project_iam_custom_role.archive.id
  member = google_service_account.account["rotation"].member

  condition {
    title      = "evidence only"
    expression = "resource.name.startsWith(\"projects/_/buckets/${local.archive_bucket}/objects/${local.archive_prefix}/\")"
  }
}

# Of the archive, compliance has its runs and proofs, and reads rotation's records.
resource "google_storage_bucket_iam_member" "runs" {
  bucket = google_storage_bucket.archive.name
  role   = google_project_iam_custom_role.archive.id
  member = google_service_account.account["compliance"].member

  condition {
    title      = "compliance runs only"
    expression = "resource.name.startsWith(\"${local.runs}\")"
  }
}

resource "google_storage_bucket_iam_member" "proofs" {
  bucket = google_storage_bucket.archive.name
  role   = google_project_iam_custom_role.archive.id
  member = google_service_account.account["compliance"].member

  condition {
    title      = "proofs only"
    expression = "resource.name.startsWith(\"${local.proofs}\")"
  }
}

resource "google_storage_bucket_iam_member" "records" {
  bucket = google_storage_bucket.archive.name
  role   = google_project_iam_custom_role.deployment.id
  member = google_service_account.account["compliance"].member

  condition {
    title      = "records of re-encryptions only"
    expression = "resource.name.startsWith(\"${local.records}\")"
  }
}

# Names of objects, of the bucket as a whole: they are not what is listed by.
resource "google_project_iam_custom_role" "archive_list" {
  project     = var.project
  role_id     = "${local.role_prefix}_archive_list"
  title       = "keyturn: names in the archive"
  description = "Lists objects, and does not read them."
  permissions = local.archive_list_permissions
}

resource "google_storage_bucket_iam_member" "runs_list" {
  bucket = google_storage_bucket.archive.name
  role   = google_project_iam_custom_role.archive_list.id
  member = google_service_account.account["compliance"].member
}

resource "google_storage_bucket_iam_member" "declarations" {
  bucket = google_storage_bucket.source.name
  role   = google_project_iam_custom_role.deployment.id
  member = google_service_account.account["compliance"].member

  # Not the one object: a binding of a new name would take minutes to hold.
  condition {
    title      = "declarations only"
    expression = "resource.name.startsWith(\"projects/_/buckets/${local.source_bucket}/objects/declarations-\")"
  }
}

# Alerts. The role holds pubsub.topics.publish alone.

resource "google_pubsub_topic_iam_member" "alerts" {
  for_each = toset(["rotation", "alerting", "compliance"])

  project = var.project
  topic   = module.pubsub.topics["alerts"]
  role    = "roles/pubsub.publisher"
  member  = google_service_account.account[each.key].member
}

resource "google_pubsub_topic_iam_member" "operations" {
  for_each = toset(["rotation", "compliance"])

  project = var.project
  topic   = module.pubsub.topics["operations"]
  role    = "roles/pubsub.publisher"
  member  = google_service_account.account[each.key].member
}

# Secrets: each function its own. On a secret the role holds secretmanager.versions.access alone.

resource "google_secret_manager_secret_iam_member" "api_key" {
  for_each = toset(["rotation", "alerting"])

  project   = var.project
  secret_id = google_secret_manager_secret.api_key.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.account[each.key].member
}

# Its own service account at CockroachDB Cloud, and so requests of its own.
resource "google_secret_manager_secret_iam_member" "compliance" {
  project   = var.project
  secret_id = google_secret_manager_secret.compliance.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.account["compliance"].member
}

resource "google_secret_manager_secret_iam_member" "channel" {
  for_each = var.channels

  project   = var.project
  secret_id = google_secret_manager_secret.channel[each.key].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.account["notify-${each.key}"].member
}

# Invoking. Nobody else may: there is no binding for allUsers, and ingress is internal.

resource "google_cloud_run_service_iam_member" "push" {
  for_each = local.pushed

  project  = var.project
  location = var.region
  service  = google_cloudfunctions2_function.function[each.key].name
  role     = "roles/run.invoker"
  member   = google_service_account.account["push"].member
}

resource "google_cloud_run_service_iam_member" "tick" {
  for_each = local.ticks

  project  = var.project
  location = var.region
  service  = google_cloudfunctions2_function.function[each.key].name
  role     = "roles/run.invoker"
  member   = google_service_account.account["tick"].member
}

# The heartbeat may update its canary keys, which no cluster uses, and nothing else.

resource "google_project_iam_custom_role" "heartbeat" {
  for_each = var.heartbeats

  project     = each.key
  role_id     = "${local.role_prefix}_heartbeat"
  title       = "keyturn: heartbeat"
  description = "Sets the label of the canary key."
  permissions = local.heartbeat_permissions
}

resource "google_kms_crypto_key_iam_member" "heartbeat" {
  for_each = var.heartbeats

  crypto_key_id = google_kms_crypto_key.canary[each.key].id
  role          = google_project_iam_custom_role.heartbeat[each.key].id
  member        = google_service_account.account["heartbeat"].member
}

# Building the functions (cloud.google.com/functions/docs/building, "Custom service account").

resource "google_project_iam_member" "build" {
  for_each = toset(["roles/artifactregistry.writer", "roles/logging.logWriter"])

  project = var.project
  role    = each.key
  member  = google_service_account.account["build"].member
}

# Cloud Functions copies a source into a bucket of its own, which it makes with the first function of a region, and the build reads it from there
# (cloud.google.com/functions/docs/securing/build-custom-sa). So it cannot be bound there before.
resource "google_project_iam_member" "build_source" {
  project = var.project
  role    = "roles/storage.objectViewer"
  member  = google_service_account.account["build"].member

  condition {
    title      = "sources of functions only"
    expression = "resource.name == \"${local.build_bucket}\" || resource.name.startsWith(\"${local.build_bucket}/\")"
  }
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.account["build"].member
}

# Google's service agents

locals {
  pubsub_agent = "serviceAccount:service-${var.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  assets_agent = "serviceAccount:service-${var.project_number}@gcp-sa-cloudasset.iam.gserviceaccount.com"
}

# Signs pushes. Newer projects grant it by themselves.
resource "google_service_account_iam_member" "sign_pushes" {
  service_account_id = google_service_account.account["push"].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = local.pubsub_agent
}

# Puts away what could not be delivered.
resource "google_pubsub_topic_iam_member" "dead" {
  for_each = local.pushed

  project = var.project
  topic   = module.pubsub.dead_topics[each.key]
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead" {
  for_each = module.pubsub.pushes

  project      = var.project
  subscription = module.pubsub.push_subscriptions[each.key]
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

resource "google_pubsub_topic_iam_member" "assets" {
  count = var.asset_feed ? 1 : 0

  project = var.project
  topic   = module.pubsub.topics["assets"]
  role    = "roles/pubsub.publisher"
  member  = local.assets_agent
}
