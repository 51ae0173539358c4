variable "project" {
  description = "Id of the project of the keys and of the service account."
  type        = string
}

variable "cluster" {
  description = "Name of the cluster. Key rings, keys and service account are named after it."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{1,23}[a-z0-9])$", var.cluster))
    error_message = "The cluster's name must be 3 to 25 lower-case letters, digits and hyphens."
  }
}

variable "cluster_id" {
  description = "Id of the cluster at CockroachDB Cloud."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", var.cluster_id))
    error_message = "The cluster's id must be a UUID."
  }
}

variable "account_id" {
  description = "account_id of the cluster: the project at Cockroach Labs that it runs in (GET /api/v1/clusters/CLUSTER_ID)."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.account_id))
    error_message = "The account_id must be the id of a project."
  }
}

variable "regions" {
  description = "Regions of the cluster, each with the location of its key: a region, a multi-region, or global. Regions with one location share a key."
  type        = map(string)

  validation {
    condition     = length(var.regions) > 0 && alltrue([for r, l in var.regions : can(regex("^[a-z0-9-]+$", r)) && can(regex("^[a-z0-9-]+$", l))])
    error_message = "Name at least one region, such as us-east1 = \"us-east1\"."
  }
}

variable "rotation_days" {
  description = "Days from one automatic rotation to the next."
  type        = number
  default     = 90

  validation {
    condition     = var.rotation_days >= 1 && var.rotation_days <= 3650 && floor(var.rotation_days) == var.rotation_days
    error_message = "rotation_days must be a whole number from 1 to 3650."
  }
}

variable "destroy_days" {
  description = "Days from the order to destroy a version until it is destroyed. They are what is left to notice a mistake. They can never be changed."
  type        = number
  default     = 30

  validation {
    condition     = var.destroy_days >= 30 && var.destroy_days <= 120 && floor(var.destroy_days) == var.destroy_days
    error_message = "destroy_days must be a whole number from 30 to 120."
  }
}

variable "protection_level" {
  description = "SOFTWARE or HSM."
  type        = string
  default     = "SOFTWARE"

  validation {
    condition     = contains(["SOFTWARE", "HSM"], var.protection_level)
    error_message = "The protection level must be SOFTWARE or HSM."
  }
}

variable "labels" {
  description = "Labels of the keys."
  type        = map(string)
  default     = {}
}
