# People: who may run keyturn's command line against this deployment. Viewers look (status, alerts, plan, doctor --viewer); operators do
# everything; auditors read the compliance runs (report) and nothing else. doctor tries each of these permissions: internal/google/hub has the same list, and a test compares the two.

locals {
  members = setunion(var.viewers, var.operators)

  # What shows whether the deployment is in order, on its project.
  people_permissions = [
    "monitoring.timeSeries.list",
    "pubsub.subscriptions.get",
  ]
  keys_permissions = [
    "cloudkms.cryptoKeyVersions.list",
    "cloudkms.cryptoKeys.get",
  ]
  look_permissions = [
    "datastore.entities.get",
    "datastore.entities.list",
  ]
  deployment_permissions = [
    "storage.objects.get",
  ]

  # What the deployment says of itself, for commands that are given its name alone. It holds no secrets.
  published = {
    format               = 1
    version              = var.release
    name                 = var.name
    project              = var.project
    region               = var.region
    mode                 = var.mode
    organization_id      = var.cockroach_organization_id
    server               = var.cockroach_server
    ledger               = local.ledger_url
    archive              = "gs://${local.archive_bucket}/${local.archive_prefix}"
    alerts_topic         = "projects/${var.project}/topics/${var.name}-alerts"
    operations_topic     = "projects/${var.project}/topics/${var.name}-operations"
    api_key_secret       = "${local.secrets}/${local.api_key_secret}"
    watched_projects     = sort(var.watched_projects)
    watched_folders      = sort(var.watched_folders)
    watched_organization = var.watch_organization ? var.organization : ""
    push_subscriptions   = [for s in sort(keys(module.pubsub.pushes)) : "projects/${var.project}/subscriptions/${var.name}-${s}"]
    dead_subscriptions   = [for f in sort(keys(local.pushed)) : "projects/${var.project}/subscriptions/${var.name}-${f}-dead"]
    settings             = var.settings
  }
}

# In the bucket of the functions' source, whose name follows from project and name: only who deploys may write there. Whoever can write what
# is published chooses the ledger that commands use, so the ledger itself is no place for it; the archive's bucket lets nothing be replaced.
resource "google_storage_bucket_object" "deployment" {
  bucket       = google_storage_bucket.source.name
  name         = "deployment.json"
  content      = jsonencode(local.published)
  content_type = "application/json"
}

resource "google_project_iam_custom_role" "people" {
  project     = var.project
  role_id     = "${local.role_prefix}_people"
  title       = "keyturn: people"
  description = "Reads the push subscriptions and their metrics."
  permissions = local.people_permissions
}

resource "google_project_iam_custom_role" "look" {
  project     = var.project
  role_id     = "${local.role_prefix}_look"
  title       = "keyturn: read the ledger"
  description = "Reads and queries documents."
  permissions = local.look_permissions
}

resource "google_project_iam_custom_role" "deployment" {
  project     = var.project
  role_id     = "${local.role_prefix}_deployment"
  title       = "keyturn: read objects"
  description = "Reads objects, and does not list them."
  permissions = local.deployment_permissions
}

resource "google_project_iam_custom_role" "keys" {
  for_each = var.watched_projects

  project     = each.key
  role_id     = "${local.role_prefix}_keys"
  title       = "keyturn: read keys"
  description = "Reads keys and their versions. It can neither use nor change any."
  permissions = local.keys_permissions
}

resource "google_organization_iam_custom_role" "keys" {
  count = var.organization == null ? 0 : 1

  org_id      = var.organization
  role_id     = "${local.role_prefix}_keys"
  title       = "keyturn: read keys"
  description = "Reads keys and their versions. It can neither use nor change any."
  permissions = local.keys_permissions
}

resource "google_project_iam_member" "people" {
  for_each = local.members

  project = var.project
  role    = google_project_iam_custom_role.people.id
  member  = each.key
}

resource "google_project_iam_member" "look" {
  for_each = var.viewers

  project = var.project
  role    = google_project_iam_custom_role.look.id
  member  = each.key

  condition {
    title      = "ledger only"
    expression = "resource.name == \"${local.database}\" || resource.name.startsWith(\"${local.database}/\")"
  }
}

resource "google_project_iam_member" "operate" {
  for_each = var.operators

  project = var.project
  role    = google_project_iam_custom_role.ledger.id
  member  = each.key

  condition {
    title      = "ledger only"
    expression = "resource.name == \"${local.database}\" || resource.name.startsWith(\"${local.database}/\")"
  }
}

resource "google_storage_bucket_iam_member" "deployment" {
  for_each = local.members

  bucket = google_storage_bucket.source.name
  role   = google_project_iam_custom_role.deployment.id
  member = each.key
}

# On the bucket as a whole: Cloud Storage says what may be done with a bucket, and not with objects that are not there.
resource "google_storage_bucket_iam_member" "operate" {
  for_each = var.operators

  bucket = google_storage_bucket.archive.name
  role   = google_project_iam_custom_role.archive.id
  member = each.key
}

resource "google_storage_bucket_iam_member" "operate_list" {
  for_each = var.operators

  bucket = google_storage_bucket.archive.name
  role   = google_project_iam_custom_role.archive_list.id
  member = each.key
}

resource "google_storage_bucket_iam_member" "audit_deployment" {
  for_each = var.auditors

  bucket = google_storage_bucket.source.name
  role   = google_project_iam_custom_role.deployment.id
  member = each.key

  condition {
    title      = "deployment only"
    expression = "resource.name == \"projects/_/buckets/${local.source_bucket}/objects/${google_storage_bucket_object.deployment.name}\""
  }
}

resource "google_storage_bucket_iam_member" "audit" {
  for_each = var.auditors

  bucket = google_storage_bucket.archive.name
  role   = google_project_iam_custom_role.deployment.id
  member = each.key

  condition {
    title      = "compliance runs only"
    expression = "resource.name.startsWith(\"${local.runs}\")"
  }
}

resource "google_storage_bucket_iam_member" "audit_list" {
  for_each = var.auditors

  bucket = google_storage_bucket.archive.name
  role   = google_project_iam_custom_role.archive_list.id
  member = each.key
}

resource "google_pubsub_topic_iam_member" "operate" {
  for_each = { for pair in setproduct(["alerts", "operations"], var.operators) : join("/", pair) => pair }

  project = var.project
  topic   = module.pubsub.topics[each.value[0]]
  role    = "roles/pubsub.publisher"
  member  = each.value[1]
}

resource "google_project_iam_member" "keys" {
  for_each = { for pair in setproduct(var.watched_projects, local.members) : join("/", pair) => pair }

  project = each.value[0]
  role    = google_project_iam_custom_role.keys[each.value[0]].id
  member  = each.value[1]
}

resource "google_folder_iam_member" "keys" {
  for_each = { for pair in setproduct(var.watched_folders, local.members) : join("/", pair) => pair }

  folder = "folders/${each.value[0]}"
  role   = google_organization_iam_custom_role.keys[0].id
  member = each.value[1]
}

resource "google_organization_iam_member" "keys" {
  for_each = var.watch_organization ? local.members : []

  org_id = var.organization
  role   = google_organization_iam_custom_role.keys[0].id
  member = each.key
}

# Operators also read what decides about the use of keys, as the functions do: no cluster is moved to a key that may not admit it.
resource "google_project_iam_member" "operate_read" {
  for_each = { for pair in setproduct(var.watched_projects, var.operators) : join("/", pair) => pair }

  project = each.value[0]
  role    = google_project_iam_custom_role.read[each.value[0]].id
  member  = each.value[1]
}

resource "google_folder_iam_member" "operate_read" {
  for_each = { for pair in setproduct(var.watched_folders, var.operators) : join("/", pair) => pair }

  folder = "folders/${each.value[0]}"
  role   = google_organization_iam_custom_role.read[0].id
  member = each.value[1]
}

resource "google_organization_iam_member" "operate_read" {
  for_each = var.watch_organization ? var.operators : []

  org_id = var.organization
  role   = google_organization_iam_custom_role.read[0].id
  member = each.key
}

resource "google_organization_iam_member" "operate_read_above" {
  for_each = var.organization == null ? [] : var.operators

  org_id = var.organization
  role   = google_organization_iam_custom_role.read_above[0].id
  member = each.key
}

resource "google_project_iam_member" "operate_read_denies" {
  for_each = { for pair in setproduct(local.deny_reviewed_projects, var.operators) : join("/", pair) => pair }

  project = each.value[0]
  role    = "roles/iam.denyReviewer"
  member  = each.value[1]
}

resource "google_organization_iam_member" "operate_read_denies" {
  for_each = var.organization == null ? [] : var.operators

  org_id = var.organization
  role   = "roles/iam.denyReviewer"
  member = each.key
}
