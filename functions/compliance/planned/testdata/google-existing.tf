terraform {
  required_providers { google = { source = "hashicorp/google", version = "7.45.0" } }
}
provider "google" { project = "customer-keys" }
resource "google_kms_key_ring" "ring" {
  name     = "cmek"
  location = "us-east1"
}
resource "google_kms_crypto_key" "orders" {
  name                       = "orders"
  key_ring                   = google_kms_key_ring.ring.id
  rotation_period            = "7776000s"
  destroy_scheduled_duration = "2592000s"
}
resource "google_kms_crypto_key" "payments" {
  name                       = "payments"
  key_ring                   = google_kms_key_ring.ring.id
  rotation_period            = "7776000s"
  destroy_scheduled_duration = "2592000s"
}
resource "google_kms_crypto_key_iam_member" "cluster" {
  for_each      = { orders = google_kms_crypto_key.orders.id, payments = google_kms_crypto_key.payments.id }
  crypto_key_id = each.value
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:cluster-cmek@customer-keys.iam.gserviceaccount.com"
}
resource "google_service_account" "cmek" {
  account_id = "cluster-cmek"
}
resource "google_service_account_iam_member" "cockroach" {
  service_account_id = google_service_account.cmek.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:crl-kms-user-000000000003@crl-prod-abc.iam.gserviceaccount.com"
}
