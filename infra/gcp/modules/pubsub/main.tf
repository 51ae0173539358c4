# Everything of Pub/Sub, with the addresses of the functions as inputs, so that all of it can be applied to an emulator.

locals {
  # What is published, by topic.
  topics = concat(["rotation-events", "alerting-events", "alerts", "operations"], var.feed ? ["assets"] : [])

  functions = toset(concat(["rotation", "alerting"], [for c in var.channels : "notify-${c}"]))

  # What is pushed to whom, by subscription. A topic of alerts carries nothing else: every message is for the channel.
  pushes = merge(
    { for f in ["rotation", "alerting"] : f => { function = f, topic = "${f}-events" } },
    { for f in ["rotation", "alerting"] : "${f}-assets" => { function = f, topic = "assets" } if var.feed },
    { for pair in setproduct(var.channels, ["alerts", "operations"]) :
      "notify-${pair[0]}-${pair[1]}" => { function = "notify-${pair[0]}", topic = pair[1] }
    },
  )

  # The most that a subscription keeps without being paid for by the topic, and the emulator's limit too.
  week = "604800s"
}

resource "google_pubsub_topic" "topic" {
  for_each = toset(local.topics)

  project = var.project
  name    = "${var.name}-${each.key}"
  labels  = var.labels

  # Events can be delivered again by seeking back. Topics of alerts keep nothing: it could keep the messages of the subscription for people,
  # and a second critical alert would be no news.
  message_retention_duration = endswith(each.key, "-events") ? local.week : null
}

resource "google_pubsub_topic" "dead" {
  for_each = local.functions

  project = var.project
  name    = "${var.name}-${each.key}-dead"
  labels  = var.labels
}

# Without a subscription a dead-letter topic would drop what it gets.
resource "google_pubsub_subscription" "dead" {
  for_each = local.functions

  project                    = var.project
  name                       = "${var.name}-${each.key}-dead"
  topic                      = google_pubsub_topic.dead[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = local.week
  labels                     = var.labels

  expiration_policy {
    ttl = ""
  }
}

# 100 attempts, of which all but the first few are 600 s apart, last most of a day: a function that cannot run for hours loses nothing.
resource "google_pubsub_subscription" "push" {
  for_each = local.pushes

  project                    = var.project
  name                       = "${var.name}-${each.key}"
  topic                      = google_pubsub_topic.topic[each.value.topic].id
  ack_deadline_seconds       = var.timeout_seconds + 10
  message_retention_duration = local.week
  labels                     = var.labels

  # A subscription that nobody uses for 31 days would expire.
  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead[each.value.function].id
    max_delivery_attempts = 100
  }

  push_config {
    push_endpoint = var.endpoints[each.value.function]

    dynamic "oidc_token" {
      for_each = var.account == null ? [] : [var.account]
      content {
        service_account_email = oidc_token.value
        audience              = var.endpoints[each.value.function]
      }
    }
  }
}

# The direct path to people. Pub/Sub sends no e-mail: an alert policy does, when this holds a message. Nobody takes messages from here: they
# expire after the shortest time that there is, so that the next critical alert is a new incident.
resource "google_pubsub_subscription" "critical" {
  for_each = toset(["alerts", "operations"])

  project                    = var.project
  name                       = "${var.name}-${each.key}-critical"
  topic                      = google_pubsub_topic.topic[each.key].id
  filter                     = "attributes.severity = \"critical\""
  message_retention_duration = "600s"
  labels                     = var.labels

  expiration_policy {
    ttl = ""
  }
}
