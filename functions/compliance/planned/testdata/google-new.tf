terraform {
  required_providers { google = { source = "hashicorp/google", version = "7.45.0" } }
}
provider "google" {
  project = "customer-keys"
  region  = "us-east1"
}
module "orders" {
  source   = "./cmek"
  for_each = toset(["us-east1", "europe-west1"])
  location = each.key
}
resource "google_service_account" "cmek" {
  account_id = "cluster-cmek"
}
resource "google_service_account_iam_member" "cockroach" {
  service_account_id = google_service_account.cmek.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:crl-kms-user-000000000003@crl-prod-abc.iam.gserviceaccount.com"
}
