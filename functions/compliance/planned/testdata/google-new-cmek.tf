variable "location" { type = string }
resource "google_kms_key_ring" "ring" {
  name     = "cmek-${var.location}"
  location = var.location
}
resource "google_kms_crypto_key" "key" {
  name            = "orders"
  key_ring        = google_kms_key_ring.ring.id
  rotation_period = "7776000s"
}
resource "google_kms_crypto_key_iam_member" "cluster" {
  crypto_key_id = google_kms_crypto_key.key.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:cluster-cmek@customer-keys.iam.gserviceaccount.com"
}
