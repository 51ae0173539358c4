# What must survive: the ledger, the evidence, and the secrets.

locals {
  bucket_prefix  = "${replace(var.project, "/[:.]/", "-")}-${var.name}"
  archive_bucket = coalesce(var.archive_bucket, "${local.bucket_prefix}-archive")
  archive_prefix = "evidence"
  # Names of objects as conditions have them: of compliance's runs and proofs, and of rotation's records (report.RunsFolder,
  # ledger.ProofsFolder, ledger.EvidenceFolder).
  runs              = "projects/_/buckets/${local.archive_bucket}/objects/${local.archive_prefix}/runs/"
  proofs            = "projects/_/buckets/${local.archive_bucket}/objects/${local.archive_prefix}/proofs/"
  records           = "projects/_/buckets/${local.archive_bucket}/objects/${local.archive_prefix}/evidence/"
  api_key_secret    = coalesce(var.api_key_secret, "${var.name}-api-key")
  compliance_secret = coalesce(var.compliance_api_key_secret, "${var.name}-compliance-api-key")
  channel_secrets   = { for name, c in var.channels : name => coalesce(c.secret, "${var.name}-notify-${name}") }
  database          = "projects/${var.project}/databases/${var.name}"

  # One collection for each kind of record. store_test.go compares them, and the fields, with the code.
  collections = ["alerting", "compliance", "control", "notify", "rotation"]
  # Nobody queries by these, and an indexed field holds no more than 1,500 bytes that count.
  unindexed = ["data", "expires", "id", "keys", "keys_gzip", "token", "version"]
}

resource "google_firestore_database" "ledger" {
  project                           = var.project
  name                              = var.name
  location_id                       = coalesce(var.firestore_location, var.region)
  type                              = "FIRESTORE_NATIVE"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = "DELETE_PROTECTION_ENABLED"
  deletion_policy                   = "ABANDON"
}

# Point-in-time recovery ends with the database, and backups do not.
resource "google_firestore_backup_schedule" "ledger" {
  project   = var.project
  database  = google_firestore_database.ledger.name
  retention = "${14 * 86400}s"

  daily_recurrence {}
}

resource "google_firestore_field" "unindexed" {
  for_each = { for pair in setproduct(local.collections, local.unindexed) : join("/", pair) => { collection = pair[0], field = pair[1] } }

  project    = var.project
  database   = google_firestore_database.ledger.name
  collection = each.value.collection
  field      = each.value.field

  index_config {}

  # Records that merely keep an alert from being repeated expire.
  dynamic "ttl_config" {
    for_each = each.value.field == "expires" ? ["expires"] : []
    content {}
  }
}

resource "google_storage_bucket" "archive" {
  project                     = var.project
  name                        = local.archive_bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false
  labels                      = var.labels

  retention_policy {
    retention_period = var.archive_days * 86400
    is_locked        = var.archive_locked
  }
}

# Without a value: a generated one would be sent to the Cloud API as if it were a key.

resource "google_secret_manager_secret" "api_key" {
  project   = var.project
  secret_id = local.api_key_secret
  labels    = var.labels

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
}

resource "google_secret_manager_secret" "compliance" {
  project   = var.project
  secret_id = local.compliance_secret
  labels    = var.labels

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
}

resource "google_secret_manager_secret" "channel" {
  for_each = local.channel_secrets

  project   = var.project
  secret_id = each.value
  labels    = var.labels

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
}
