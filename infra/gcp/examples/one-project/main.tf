# Everything in one project: keys, clusters' service accounts, and keyturn.

terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.0, < 9.0"
    }
  }
}

variable "dist" {
  description = "Folder of the zips that make stage-gcp writes."
  type        = string
  default     = "../../../../dist/gcp"
}

provider "google" {
  project = "acme-data"
  region  = "us-east1"
}

module "keyturn" {
  source = "../.."

  project                   = "acme-data"
  project_number            = "123456789012"
  region                    = "us-east1"
  dist                      = var.dist
  watched_projects          = ["acme-data"]
  heartbeats                = { acme-data = "us-east1" }
  cockroach_organization_id = "0f2a6f60-1f3b-4c0e-9a52-5d1f6a7b8c9d"
  alert_emails              = ["oncall@example.com"]
  operations_emails         = ["platform@example.com"]
  operators                 = ["group:platform@example.com"]
  viewers                   = ["group:oncall@example.com"]
  auditors                  = ["group:audit@example.com"]
  declarations              = "${path.module}/declarations.yaml"
  channels                  = { slack = { kind = "slack" } }
}

module "payments_key" {
  source = "../../modules/cmek-key"

  project    = "acme-data"
  cluster    = "payments"
  cluster_id = "2f8a1c34-5b6d-4e7f-8091-a2b3c4d5e6f7"
  account_id = "crl-prod-abc"
  regions    = { us-east1 = "us-east1", us-west2 = "us-west2" }
}

output "region_specs" {
  value = module.payments_key.region_specs
}
