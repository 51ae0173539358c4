# keyturn in a project of its own, keys and service accounts in others.

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
  region  = "europe-west3"
}

module "keyturn" {
  source = "../.."

  project                   = "acme-keyturn"
  project_number            = "123456789012"
  region                    = "europe-west3"
  dist                      = var.dist
  watched_projects          = ["acme-keys", "acme-identities"]
  heartbeats                = { acme-keys = "europe-west3" }
  asset_feed                = true
  data_access               = true
  mode                      = "follow"
  settings                  = { KEYTURN_IN_FLIGHT = "5", KEYTURN_SWEEP_EVERY = "30m" }
  cockroach_organization_id = "0f2a6f60-1f3b-4c0e-9a52-5d1f6a7b8c9d"
  alert_emails              = ["oncall@example.com"]
  operations_emails         = ["platform@example.com"]
  labels                    = { team = "platform" }

  channels = {
    slack     = { kind = "slack", min_severity = "low" }
    pagerduty = { kind = "pagerduty", url = "https://events.eu.pagerduty.com/v2/enqueue" }
    siem      = { kind = "webhook", url = "https://siem.example.com/keyturn", allow_private = true, secret = "siem-signing-key" }
  }
}
