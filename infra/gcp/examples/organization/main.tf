# One organization as a whole: every project's log, and the policies of folders and of the organization.

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
  project = "acme-keyturn"
  region  = "us-east1"
}

module "keyturn" {
  source = "../.."

  project                   = "acme-keyturn"
  project_number            = "123456789012"
  region                    = "us-east1"
  dist                      = var.dist
  organization              = "987654321098"
  watch_organization        = true
  heartbeats                = { acme-keys = "us-east1", acme-keys-eu = "europe-west3" }
  archive_locked            = true
  cockroach_organization_id = "0f2a6f60-1f3b-4c0e-9a52-5d1f6a7b8c9d"
  alert_emails              = ["oncall@example.com"]
  operations_emails         = ["platform@example.com"]
  channels                  = { slack = { kind = "slack" }, pagerduty = { kind = "pagerduty" } }
}
