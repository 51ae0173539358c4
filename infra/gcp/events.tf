# How changes of keys arrive: log sinks with generated filters, one for each function, at every project, folder and organization that is watched.

module "pubsub" {
  source = "./modules/pubsub"

  project   = var.project
  name      = var.name
  channels  = toset(keys(var.channels))
  feed      = var.asset_feed
  endpoints = { for f in keys(local.pushed) : f => google_cloudfunctions2_function.function[f].service_config[0].uri }
  account   = google_service_account.account["push"].email
  labels    = var.labels

  timeout_seconds = local.timeout_seconds
}

locals {
  # Written by the tests of infra/gcp/filter from the table of what is understood, and from what the functions subscribe to.
  filters = {
    rotation = trimspace(file("${path.module}/filters/rotation.txt"))
    alerting = trimspace(var.data_access ? replace(
      file("${path.module}/filters/alerting-data-access.txt"),
      "\"own@keyturn.invalid\"", join(" OR ", [for e in sort(values(local.emails)) : "\"${e}\""]),
    ) : file("${path.module}/filters/alerting.txt"))
  }
  # The limit of Cloud Logging, in characters.
  filter_limit = 20000

  project_sinks      = { for pair in setproduct(var.watched_projects, keys(local.filters)) : join("/", pair) => { project = pair[0], function = pair[1] } }
  folder_sinks       = { for pair in setproduct(var.watched_folders, keys(local.filters)) : join("/", pair) => { folder = pair[0], function = pair[1] } }
  organization_sinks = toset(var.watch_organization ? keys(local.filters) : [])

  feed_assets = ["cloudkms.googleapis.com/CryptoKey", "cloudkms.googleapis.com/CryptoKeyVersion"]
}

resource "google_logging_project_sink" "events" {
  for_each = local.project_sinks

  project                = each.value.project
  name                   = "${var.name}-${each.value.function}"
  description            = "What keyturn's ${each.value.function} subscribes to"
  destination            = "pubsub.googleapis.com/${module.pubsub.topics["${each.value.function}-events"]}"
  filter                 = local.filters[each.value.function]
  unique_writer_identity = true

  lifecycle {
    precondition {
      condition     = length(local.filters[each.value.function]) <= local.filter_limit
      error_message = "The filter is longer than Cloud Logging takes."
    }
  }
}

resource "google_logging_folder_sink" "events" {
  for_each = local.folder_sinks

  folder           = each.value.folder
  name             = "${var.name}-${each.value.function}"
  description      = "What keyturn's ${each.value.function} subscribes to"
  destination      = "pubsub.googleapis.com/${module.pubsub.topics["${each.value.function}-events"]}"
  filter           = local.filters[each.value.function]
  include_children = true

  lifecycle {
    precondition {
      condition     = length(local.filters[each.value.function]) <= local.filter_limit
      error_message = "The filter is longer than Cloud Logging takes."
    }
  }
}

resource "google_logging_organization_sink" "events" {
  for_each = local.organization_sinks

  org_id           = var.organization
  name             = "${var.name}-${each.key}"
  description      = "What keyturn's ${each.key} subscribes to"
  destination      = "pubsub.googleapis.com/${module.pubsub.topics["${each.key}-events"]}"
  filter           = local.filters[each.key]
  include_children = true

  lifecycle {
    precondition {
      condition     = length(local.filters[each.key]) <= local.filter_limit
      error_message = "The filter is longer than Cloud Logging takes."
    }
  }
}

# Sinks publish with identities of their own.

resource "google_pubsub_topic_iam_member" "project_sink" {
  for_each = local.project_sinks

  project = var.project
  topic   = module.pubsub.topics["${each.value.function}-events"]
  role    = "roles/pubsub.publisher"
  member  = google_logging_project_sink.events[each.key].writer_identity
}

resource "google_pubsub_topic_iam_member" "folder_sink" {
  for_each = local.folder_sinks

  project = var.project
  topic   = module.pubsub.topics["${each.value.function}-events"]
  role    = "roles/pubsub.publisher"
  member  = google_logging_folder_sink.events[each.key].writer_identity
}

resource "google_pubsub_topic_iam_member" "organization_sink" {
  for_each = local.organization_sinks

  project = var.project
  topic   = module.pubsub.topics["${each.key}-events"]
  role    = "roles/pubsub.publisher"
  member  = google_logging_organization_sink.events[each.key].writer_identity
}

# A second path, if asked for. A message says that something changed; keyturn reads what.

resource "google_cloud_asset_project_feed" "keys" {
  for_each = var.asset_feed ? var.watched_projects : []

  project         = each.key
  billing_project = var.project
  feed_id         = var.name
  content_type    = "RESOURCE"
  asset_types     = local.feed_assets

  feed_output_config {
    pubsub_destination {
      topic = module.pubsub.topics["assets"]
    }
  }

  depends_on = [google_pubsub_topic_iam_member.assets]
}

resource "google_cloud_asset_folder_feed" "keys" {
  for_each = var.asset_feed ? var.watched_folders : []

  folder          = each.key
  billing_project = var.project
  feed_id         = var.name
  content_type    = "RESOURCE"
  asset_types     = local.feed_assets

  feed_output_config {
    pubsub_destination {
      topic = module.pubsub.topics["assets"]
    }
  }

  depends_on = [google_pubsub_topic_iam_member.assets]
}

resource "google_cloud_asset_organization_feed" "keys" {
  count = var.asset_feed && var.watch_organization ? 1 : 0

  org_id          = var.organization
  billing_project = var.project
  feed_id         = var.name
  content_type    = "RESOURCE"
  asset_types     = local.feed_assets

  feed_output_config {
    pubsub_destination {
      topic = module.pubsub.topics["assets"]
    }
  }

  depends_on = [google_pubsub_topic_iam_member.assets]
}
