# The half of the deployment that Google's Pub/Sub emulator can serve, for end-to-end tests: all topics and subscriptions, pushing to
# functions on this machine, unsigned.

terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.0, < 9.0"
    }
  }
}

variable "emulator" {
  description = "Address of the emulator, such as 127.0.0.1:8085."
  type        = string
}

variable "project" {
  description = "Project of the topics."
  type        = string
  default     = "acme-keyturn"
}

variable "channels" {
  description = "Names of the channels."
  type        = set(string)
  default     = ["slack"]
}

variable "endpoints" {
  description = "Addresses of the functions, by their names after the deployment's."
  type        = map(string)
}

provider "google" {
  project                = var.project
  access_token           = "none"
  pubsub_custom_endpoint = "http://${var.emulator}/v1/"
}

module "pubsub" {
  source = "../../modules/pubsub"

  project   = var.project
  name      = "keyturn"
  channels  = var.channels
  feed      = true
  endpoints = var.endpoints
  account   = null
}

output "topics" {
  value = module.pubsub.topics
}

output "push_subscriptions" {
  value = module.pubsub.push_subscriptions
}

output "names" {
  value = module.pubsub.names
}
