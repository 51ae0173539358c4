# A cluster's keys, on a provider that makes nothing.

mock_provider "google" {
  mock_resource "google_kms_key_ring" {
    defaults = { id = "projects/acme-keys/locations/us-east1/keyRings/crdb-payments" }
  }
  mock_resource "google_kms_crypto_key" {
    defaults = { id = "projects/acme-keys/locations/us-east1/keyRings/crdb-payments/cryptoKeys/cmek" }
  }
  mock_resource "google_service_account" {
    defaults = {
      name   = "projects/acme-keys/serviceAccounts/crdb-payments@acme-keys.iam.gserviceaccount.com"
      email  = "crdb-payments@acme-keys.iam.gserviceaccount.com"
      member = "serviceAccount:crdb-payments@acme-keys.iam.gserviceaccount.com"
    }
  }
}

variables {
  project    = "acme-keys"
  cluster    = "payments"
  cluster_id = "2f8a1c34-5b6d-4e7f-8091-a2b3c4d5e6f7"
  account_id = "crl-prod-abc"
  regions    = { us-east1 = "us-east1", us-west2 = "us-east1" }
}

# plan, since Terraform could not remove what it made: the keys refuse.
run "what_cockroach_labs_asks_for" {
  command = plan
  module {
    source = "./modules/cmek-key"
  }
  assert {
    condition     = google_service_account_iam_member.act_as.member == "serviceAccount:crl-kms-user-a2b3c4d5e6f7@crl-prod-abc.iam.gserviceaccount.com" && google_service_account_iam_member.act_as.role == "roles/iam.serviceAccountTokenCreator"
    error_message = "The cluster cannot act as the service account."
  }
  assert {
    condition     = toset(keys(google_kms_crypto_key_iam_member.use)) == toset(["us-east1"]) && google_kms_crypto_key_iam_member.use["us-east1"].role == "roles/cloudkms.cryptoKeyEncrypterDecrypter"
    error_message = "The service account cannot use the key."
  }
  assert {
    condition     = google_kms_crypto_key.cmek["us-east1"].rotation_period == "7776000s" && google_kms_crypto_key.cmek["us-east1"].destroy_scheduled_duration == "2592000s"
    error_message = "The key is not rotated, or can be destroyed within a month."
  }
}

run "too_little_time_is_refused" {
  command = plan
  module {
    source = "./modules/cmek-key"
  }
  variables {
    destroy_days     = 29
    rotation_days    = 0
    cluster          = "P"
    cluster_id       = "payments"
    account_id       = "A"
    regions          = {}
    protection_level = "EXTERNAL"
  }
  expect_failures = [var.destroy_days, var.rotation_days, var.cluster, var.cluster_id, var.account_id, var.regions, var.protection_level]
}
