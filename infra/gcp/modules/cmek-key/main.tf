# Keys for one cluster of CockroachDB Cloud, and the service account that it acts as, as Cockroach Labs' page on CMEK asks
# (www.cockroachlabs.com/docs/cockroachcloud/managing-cmek). Terraform refuses to destroy them: without them the cluster cannot restart.

locals {
  locations = toset(values(var.regions))
}

resource "google_kms_key_ring" "cmek" {
  for_each = local.locations

  project  = var.project
  location = each.key
  name     = "crdb-${var.cluster}"

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key" "cmek" {
  for_each = local.locations

  key_ring                   = google_kms_key_ring.cmek[each.key].id
  name                       = "cmek"
  purpose                    = "ENCRYPT_DECRYPT"
  rotation_period            = "${var.rotation_days * 86400}s"
  destroy_scheduled_duration = "${var.destroy_days * 86400}s"
  labels                     = var.labels

  version_template {
    algorithm        = "GOOGLE_SYMMETRIC_ENCRYPTION"
    protection_level = var.protection_level
  }

  lifecycle {
    prevent_destroy = true
  }
}

# One that is made anew is not the one that the keys' policies name.
resource "google_service_account" "cmek" {
  project      = var.project
  account_id   = "crdb-${var.cluster}"
  display_name = "CMEK of the CockroachDB Cloud cluster ${var.cluster}"

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "use" {
  for_each = local.locations

  crypto_key_id = google_kms_crypto_key.cmek[each.key].id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = google_service_account.cmek.member
}

# Cockroach Labs' account of the cluster acts as the service account.
resource "google_service_account_iam_member" "act_as" {
  service_account_id = google_service_account.cmek.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:crl-kms-user-${substr(var.cluster_id, 24, 12)}@${var.account_id}.iam.gserviceaccount.com"
}
