# Where keyturn runs

variable "project" {
  description = "Id of the project that keyturn runs in: functions, ledger, archive, topics, alert policies."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "The project must be a project's id, such as acme-keyturn, and not its number."
  }
}

variable "project_number" {
  description = "Number of that project: gcloud projects describe PROJECT --format='value(projectNumber)'. It names Google's service agents."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{6,20}$", var.project_number))
    error_message = "The project number must consist of digits."
  }
}

variable "region" {
  description = "Region of functions, schedules, ledger, archive and secrets, such as us-east1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "The region must be a single region, such as us-east1."
  }
}

variable "name" {
  description = "Name of the deployment. What it consists of begins with it."
  type        = string
  default     = "keyturn"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,10}[a-z0-9]$", var.name))
    error_message = "The name must be 4 to 12 lower-case letters, digits and hyphens: a database's name has 4 characters at least, and a service account's 30 at most."
  }
}

variable "labels" {
  description = "Labels of everything that can have labels."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for k, v in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", k)) && can(regex("^[a-z0-9_-]{0,63}$", v))])
    error_message = "Labels and their values must be lower-case letters, digits, underscores and hyphens, at most 63."
  }
}

variable "dist" {
  description = "Folder with rotation.zip, alerting.zip, compliance.zip and notify.zip, as make stage-gcp writes them."
  type        = string
  default     = "dist/gcp"

  validation {
    condition     = length(trimspace(var.dist)) > 0
    error_message = "Name the folder of the zips."
  }
}

# What it watches

variable "watched_projects" {
  description = "Ids of the projects with keys, or with service accounts that clusters act as. Each gets a sink, and a role with which keyturn reads keys and policies."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for p in var.watched_projects : can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", p))])
    error_message = "Watched projects must be ids of projects, such as acme-keys."
  }
}

variable "watched_folders" {
  description = "Numbers of the folders with such projects. Their sinks take in all that is below. They need organization."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for f in var.watched_folders : can(regex("^[0-9]{1,20}$", f))])
    error_message = "Watched folders must be numbers, without folders/."
  }
  validation {
    condition     = length(var.watched_folders) == 0 || var.organization != null
    error_message = "Set organization: the role for folders can only be defined there."
  }
}

variable "organization" {
  description = "Number of the organization that all of it belongs to; null if it belongs to none. With it, keyturn reads the policies of folders and of the organization, which decide about the use of keys, too."
  type        = string
  default     = null

  validation {
    condition     = var.organization == null || can(regex("^[0-9]{1,20}$", var.organization))
    error_message = "The organization must be a number, without organizations/."
  }
}

variable "deny_reviewer_on_projects" {
  description = "Whether roles/iam.denyReviewer is granted on each watched project, where organization is null. Google documents the role for organizations only, so apply may refuse it; without it, deny policies of the projects are not read, and what depends on them is judged unclear."
  type        = bool
  default     = false
}

variable "watch_organization" {
  description = "Whether the organization as a whole is watched: every project in it, and the policies of organization and folders, which are logged there."
  type        = bool
  default     = false

  validation {
    condition     = !var.watch_organization || var.organization != null
    error_message = "Set organization to watch it."
  }
  validation {
    condition     = var.watch_organization || length(var.watched_projects) + length(var.watched_folders) > 0
    error_message = "Nothing is watched: set watched_projects, watched_folders or watch_organization."
  }
}

variable "data_access" {
  description = "Whether sinks select the use of keys and service accounts, too: refused use is the first sign of lost access. The Data Access logs of cloudkms.googleapis.com and iamcredentials.googleapis.com must be enabled, which is up to you and costs log volume."
  type        = bool
  default     = false
}

variable "asset_feed" {
  description = "Whether Cloud Asset Inventory reports changes of keys as well. It is a second, slower path."
  type        = bool
  default     = false
}

variable "heartbeats" {
  description = "Projects, each with the location of a key ring that is made there for a canary key. Its label is set every hour, to prove that the log entries of the project arrive."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for l in values(var.heartbeats) : can(regex("^[a-z0-9-]+$", l))])
    error_message = "A heartbeat must be a project with a location of Cloud KMS, such as us-east1."
  }
}

# What it does

variable "mode" {
  description = "observe decides, records and reports; follow also re-encrypts store keys."
  type        = string
  default     = "observe"

  validation {
    condition     = contains(["observe", "follow"], var.mode)
    error_message = "The mode must be observe or follow."
  }
}

variable "cockroach_organization_id" {
  description = "Id of the organization at CockroachDB Cloud."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f-]{36}$", var.cockroach_organization_id))
    error_message = "The organization at CockroachDB Cloud must be a UUID."
  }
}

variable "cockroach_server" {
  description = "Base URL of the Cloud API; null for CockroachDB Cloud's own."
  type        = string
  default     = null

  validation {
    condition     = var.cockroach_server == null || can(regex("^https://[^/]+", var.cockroach_server))
    error_message = "The Cloud API must have an https URL."
  }
}

variable "settings" {
  description = "Settings of the functions by their variables, such as KEYTURN_SETTLE. The functions' READMEs list them."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for k in keys(var.settings) : contains(keys(local.readers), k)])
    error_message = "Unknown setting, or one that follows from the deployment. See local.readers in functions.tf for those that can be chosen."
  }
  validation {
    condition     = can(regex("^([1-9]|[1-5][0-9]|60)m$|^1h$", lookup(var.settings, "KEYTURN_SWEEP_EVERY", "15m")))
    error_message = "KEYTURN_SWEEP_EVERY must be 1m to 60m, or 1h: the alert policy sweep-overdue is made from it."
  }
}

variable "declarations" {
  description = "Path of keyturn.yaml, or of another YAML file: its section compliance is what the compliance checks compare with (limits, expected principals, exceptions). null for the defaults."
  type        = string
  default     = null

  validation {
    condition     = var.declarations == null || can(jsonencode(yamldecode(file(var.declarations)).compliance))
    error_message = "The declarations must be a YAML file with a section compliance."
  }
}

# Who is notified

variable "alert_emails" {
  description = "Addresses that get an e-mail when a critical alert is published, whatever becomes of the channels. At least one."
  type        = set(string)

  validation {
    condition     = length(var.alert_emails) > 0 && alltrue([for e in var.alert_emails : can(regex("^[^@, ]+@[^@, ]+$", e))])
    error_message = "Name at least one e-mail address."
  }
}

variable "operations_emails" {
  description = "Addresses that get the alert policies about keyturn itself. At least one."
  type        = set(string)

  validation {
    condition     = length(var.operations_emails) > 0 && alltrue([for e in var.operations_emails : can(regex("^[^@, ]+@[^@, ]+$", e))])
    error_message = "Name at least one e-mail address."
  }
}

variable "notification_channels" {
  description = "Resource names of further notification channels of Cloud Monitoring for the alert policies about keyturn itself."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for c in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", c))])
    error_message = "A notification channel must be named projects/PROJECT/notificationChannels/NUMBER."
  }
}

variable "channels" {
  description = "Channels of alerts by name. kind is slack, pagerduty or webhook; url is where a webhook goes, or PagerDuty's endpoint in the EU; min_severity is the least severity that is sent, by kind if left out; allow_private lets a webhook have a private address; secret is the name of its secret, NAME-notify-CHANNEL if left out."
  type = map(object({
    kind          = string
    url           = optional(string)
    min_severity  = optional(string)
    allow_private = optional(bool, false)
    secret        = optional(string)
  }))
  default = {}

  validation {
    condition     = alltrue([for k in keys(var.channels) : can(regex("^[a-z][a-z0-9-]{0,9}[a-z0-9]$", k))])
    error_message = "A channel's name must be 2 to 11 lower-case letters, digits and hyphens."
  }
  validation {
    condition     = alltrue([for c in values(var.channels) : contains(["slack", "pagerduty", "webhook"], c.kind)])
    error_message = "A channel's kind must be slack, pagerduty or webhook."
  }
  validation {
    condition     = alltrue([for c in values(var.channels) : (c.kind == "webhook") == (c.url != null) || c.kind == "pagerduty"])
    error_message = "A webhook must have a url, and slack none: its URL is the secret."
  }
  validation {
    condition     = alltrue([for c in values(var.channels) : c.url == null || can(regex("^https://[^/]+", c.url))])
    error_message = "A channel's url must be https."
  }
  validation {
    condition     = alltrue([for c in values(var.channels) : c.min_severity == null || contains(["critical", "high", "medium", "low", "info"], coalesce(c.min_severity, "none"))])
    error_message = "min_severity must be critical, high, medium, low or info."
  }
  validation {
    condition     = alltrue([for c in values(var.channels) : c.secret == null || can(regex("^[a-zA-Z0-9_-]{1,255}$", c.secret))])
    error_message = "A secret's name must be letters, digits, underscores and hyphens."
  }
}

variable "runbooks" {
  description = "URL below which the runbooks are, ending in a slash; the files of the deployed release if null."
  type        = string
  default     = null

  validation {
    condition     = var.runbooks == null || can(regex("^https://[^/]+/(.*/)?$", var.runbooks))
    error_message = "The URL of the runbooks must be https and end in a slash."
  }
}

# What it keeps

variable "api_key_secret" {
  description = "Name of the secret for the API key at CockroachDB Cloud; NAME-api-key if null. It is made without a value."
  type        = string
  default     = null

  validation {
    condition     = var.api_key_secret == null || can(regex("^[a-zA-Z0-9_-]{1,255}$", var.api_key_secret))
    error_message = "A secret's name must be letters, digits, underscores and hyphens."
  }
}

variable "compliance_api_key_secret" {
  description = "Name of the secret for the API key of the compliance checks' own service account at CockroachDB Cloud; NAME-compliance-api-key if null. It is made without a value."
  type        = string
  default     = null

  validation {
    condition     = var.compliance_api_key_secret == null || can(regex("^[a-zA-Z0-9_-]{1,255}$", var.compliance_api_key_secret))
    error_message = "A secret's name must be letters, digits, underscores and hyphens."
  }
}

variable "firestore_location" {
  description = "Location of the ledger; the region if null. It can never be changed."
  type        = string
  default     = null

  validation {
    condition     = var.firestore_location == null || can(regex("^[a-z0-9-]+$", var.firestore_location))
    error_message = "The location must be one of Firestore, such as us-east1 or nam5."
  }
}

variable "archive_bucket" {
  description = "Name of the bucket for evidence; PROJECT-NAME-archive if null. Names of buckets are unique in the world."
  type        = string
  default     = null

  validation {
    condition     = var.archive_bucket == null || can(regex("^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$", var.archive_bucket))
    error_message = "The bucket must have the name of a bucket of Cloud Storage."
  }
}

variable "archive_days" {
  description = "For how many days evidence cannot be deleted or overwritten."
  type        = number
  default     = 400

  validation {
    condition     = var.archive_days >= 1 && var.archive_days <= 3650 && floor(var.archive_days) == var.archive_days
    error_message = "archive_days must be a whole number from 1 to 3650."
  }
}

variable "archive_locked" {
  description = "Whether the retention of evidence is locked. Then nobody can shorten it, and the bucket cannot be removed until all of it has expired. It cannot be undone."
  type        = bool
  default     = false
}

variable "release" {
  description = "Version of keyturn that is deployed, such as v1.2.3 (keyturn version --short). Runbooks are linked to it."
  type        = string
  default     = "dev"

  validation {
    condition     = can(regex("^[0-9A-Za-z][0-9A-Za-z.+-]{0,127}$", var.release))
    error_message = "The release must be a version, such as v1.2.3."
  }
}

# People

variable "operators" {
  description = "Who may run every command of keyturn against this deployment, such as group:platform@example.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for m in var.operators : can(regex("^(user|group|serviceAccount|principal|principalSet):[^ ]+$", m))])
    error_message = "An operator must be a member of an IAM policy, such as group:platform@example.com."
  }
}

variable "viewers" {
  description = "Who may look only: status, alerts, plan."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for m in var.viewers : can(regex("^(user|group|serviceAccount|principal|principalSet):[^ ]+$", m))])
    error_message = "A viewer must be a member of an IAM policy, such as group:oncall@example.com."
  }
}

variable "auditors" {
  description = "Who may read the archived compliance runs, and nothing else."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for m in var.auditors : can(regex("^(user|group|serviceAccount|principal|principalSet):[^ ]+$", m))])
    error_message = "An auditor must be a member of an IAM policy, such as group:audit@example.com."
  }
}
