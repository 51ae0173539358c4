# Alert policies about keyturn itself, and the one that e-mails people when a critical alert is published.
#
# All are written in PromQL, in which "nothing was counted" can be written so that it holds where there is no data at all: "or vector(0)".
# The other kind of policy that there is for absence begins only after the first data.

locals {
  # Lines and fields of the functions' logs. lines_test.go compares them with the code.
  log_lines = {
    alert_sent    = "alert sent"
    heartbeat     = "heartbeat"
    oldest_open   = "oldest_open_seconds"
    panicked      = "handling message panicked"
    run_ended     = "compliance run ended"
    seconds_since = "seconds_since_event"
    secret        = "read secret"
    sweep_ended   = "sweep ended"
    unreadable    = "message cannot be understood"
  }

  # Three times the time from one sweep to the next, or 45 minutes if that is longer.
  sweep_every   = lookup(var.settings, "KEYTURN_SWEEP_EVERY", "15m")
  sweep_minutes = 3 * max(15, local.sweep_every == "1h" ? 60 : tonumber(trimsuffix(local.sweep_every, "m")))

  # Files of a release are below its tag, those of another commit below the end of its version, and all others below main.
  release_file = can(regex("^v[0-9]+[.][0-9]+[.][0-9]+(-[0-9A-Za-z.-]+)?$", var.release)) ? try(regex("[-.][0-9]{14}-([0-9a-f]{12})$", var.release)[0], var.release) : "main"
  runbooks     = coalesce(var.runbooks, "https://github.com/keyturn/keyturn/blob/${local.release_file}/")

  # Entries of the log of a function.
  log_of = { for f in keys(local.functions) : f => "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${var.name}-${f}\"" }

  # Metrics that are counted from the logs.
  counters = merge({
    sweeps-ended = {
      # A sweep that was given up has an error, and did not end.
      filter = "${local.log_of["rotation"]} AND jsonPayload.message=\"${local.log_lines.sweep_ended}\" AND NOT jsonPayload.error:*"
      labels = {}
    }
    runs-ended = {
      filter = "${local.log_of["compliance"]} AND jsonPayload.message=\"${local.log_lines.run_ended}\""
      labels = {}
    }
    heartbeats = {
      filter = "${local.log_of["alerting"]} AND jsonPayload.message=\"${local.log_lines.heartbeat}\""
      labels = { account = "EXTRACT(jsonPayload.account)" }
    }
    }, {
    for f in keys(local.pushed) : "${f}-poison" => {
      filter = "${local.log_of[f]} AND jsonPayload.message=(\"${local.log_lines.unreadable}\" OR \"${local.log_lines.panicked}\")"
      labels = {}
    }
    }, {
    # The text stands in an error, whatever field that is in.
    for f in keys(local.functions) : "${f}-secret-unreadable" => {
      filter = "${local.log_of[f]} AND \"${local.log_lines.secret}\""
      labels = {}
    }
    }, {
    # Ticks that the function answered, be it that they failed. Pushes are requests, too, so requests say nothing of ticks.
    for f in keys(local.ticks) : "${f}-ticks" => {
      filter = "resource.type=\"cloud_scheduler_job\" AND resource.labels.job_id=\"${var.name}-${f}-tick\" AND jsonPayload.\"@type\"=\"type.googleapis.com/google.cloud.scheduler.logging.AttemptFinished\" AND (severity<ERROR OR jsonPayload.status=\"INTERNAL\")"
      labels = {}
    }
    }, {
    for f in keys(local.ticks) : "${f}-tick-errors" => {
      filter = "resource.type=\"cloud_scheduler_job\" AND resource.labels.job_id=\"${var.name}-${f}-tick\" AND severity>=ERROR AND jsonPayload.\"@type\"=\"type.googleapis.com/google.cloud.scheduler.logging.AttemptFinished\""
      labels = {}
    }
  })

  values = {
    event-to-alert-seconds = {
      filter = "${local.log_of["alerting"]} AND jsonPayload.message=\"${local.log_lines.alert_sent}\" AND jsonPayload.${local.log_lines.seconds_since}:*"
      field  = local.log_lines.seconds_since
    }
    oldest-open-seconds = {
      filter = "${local.log_of["rotation"]} AND jsonPayload.message=\"${local.log_lines.sweep_ended}\" AND jsonPayload.${local.log_lines.oldest_open}:*"
      field  = local.log_lines.oldest_open
    }
  }

  # Metrics by their names in PromQL.
  promql = { for m in concat(keys(local.counters), keys(local.values)) : m => "logging_googleapis_com:user_${replace("${var.name}-${m}", "-", "_")}" }
}

resource "google_logging_metric" "counter" {
  for_each = local.counters

  project = var.project
  name    = "${var.name}-${each.key}"
  filter  = each.value.filter

  label_extractors = each.value.labels

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"

    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }
}

resource "google_logging_metric" "value" {
  for_each = local.values

  project         = var.project
  name            = "${var.name}-${each.key}"
  filter          = each.value.filter
  value_extractor = "EXTRACT(jsonPayload.${each.value.field})"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "s"
  }

  # A value counts as the upper bound of its bucket: the limits of the alarms are bounds.
  bucket_options {
    explicit_buckets {
      bounds = [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800]
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = setunion(var.alert_emails, var.operations_emails)

  project      = var.project
  type         = "email"
  display_name = "${var.name}: ${each.key}"
  labels       = { email_address = each.key }
  user_labels  = var.labels
}

locals {
  people = {
    alerts     = [for e in sort(var.alert_emails) : google_monitoring_notification_channel.email[e].name]
    operations = concat([for e in sort(var.operations_emails) : google_monitoring_notification_channel.email[e].name], var.notification_channels)
  }

  read_log = { for f in keys(local.functions) : f =>
    ["Read the log:", "gcloud logging read '${local.log_of[f]} AND severity>=ERROR' --project=${var.project} --freshness=1h"]
  }

  # What counts in a subscription or a service.
  subscription = { for s in concat(keys(module.pubsub.pushes), [for f in keys(local.pushed) : "${f}-dead"], ["alerts-critical", "operations-critical"]) :
    s => "monitored_resource=\"pubsub_subscription\",subscription_id=\"${var.name}-${s}\""
  }

  # Each alarm has a query that returns something while it is raised; for is how long it must do so.
  alarms = merge({
    for f in keys(local.pushed) : "${f}-dead-letters" => {
      severity = "high", runbook = "dead-letters", for = "0s"
      summary  = "Messages for ${f} could not be delivered or handled."
      impact   = "They wait in the subscription ${var.name}-${f}-dead for 7 days. What they report is not handled."
      steps    = concat(local.read_log[f], ["Fix the reason, then send the messages on as the runbook says."])
      query    = "max(pubsub_googleapis_com:subscription_num_undelivered_messages{${local.subscription["${f}-dead"]}}) > 0"
    }
    }, {
    for s, p in module.pubsub.pushes : "${s}-queue-old" => {
      severity = "high", runbook = "queue-old", for = "180s"
      summary  = "The oldest message of the subscription ${var.name}-${s} has waited for more than 120 s."
      impact   = "Messages are late, and none is lost yet."
      steps    = concat(local.read_log[p.function], ["Check that the function exists and can be invoked by the service account ${var.name}-push."])
      query    = "max(pubsub_googleapis_com:subscription_oldest_unacked_message_age{${local.subscription[s]}}) > 120"
    }
    }, {
    for s, p in module.pubsub.pushes : "${s}-errors" => {
      # One message that fails again and again fails three times within the first 5 minutes.
      severity = "high", runbook = "errors", for = "0s"
      summary  = "At least 3 pushes of the subscription ${var.name}-${s} failed within 5 minutes."
      impact   = "The messages are delivered again, and end in the dead-letter topic if that goes on."
      steps    = local.read_log[p.function]
      query    = "sum(increase(pubsub_googleapis_com:subscription_push_request_count{${local.subscription[s]},response_class!=\"ack\"}[5m])) > 2"
    }
    }, {
    for f in keys(local.pushed) : "${f}-poison" => {
      severity = "high", runbook = "poison", for = "0s"
      summary  = "${f} cannot read a message, or panics on it."
      impact   = "What the message reports is not handled; others are. It ends in the dead-letter topic."
      steps    = concat(local.read_log[f], ["Read the message in the dead-letter subscription: if keyturn should understand it, report a bug."])
      query    = "sum(increase(${local.promql["${f}-poison"]}{monitored_resource=\"cloud_run_revision\"}[5m])) > 0"
    }
    }, {
    for f, every in local.ticks : "${f}-tick-errors" => {
      severity = "medium", runbook = "tick-errors", for = "0s"
      summary  = "At least 3 ticks of ${f} failed within ${max(15, 4 * every)} minutes."
      impact   = "Some of its work is not done; the rest is."
      steps    = local.read_log[f]
      query    = "sum(increase(${local.promql["${f}-tick-errors"]}[${max(15, 4 * every)}m])) > 2"
    }
    }, {
    for f, every in local.ticks : "${f}-tick-silent" => {
      severity = "high", runbook = "tick-silent", for = "0s"
      summary  = "${f} has answered no tick for ${max(10, 3 * every)} minutes."
      impact   = "Nothing that is due is done."
      steps    = ["Check that the schedule ${var.name}-${f}-tick is enabled, and that it may invoke the function:", "gcloud scheduler jobs describe ${var.name}-${f}-tick --location=${var.region} --project=${var.project}", "Check that the function exists."]
      query    = "(sum(increase(${local.promql["${f}-ticks"]}[${max(10, 3 * every)}m])) or vector(0)) <= 0"
    }
    }, {
    for f in keys(local.functions) : "${f}-secret-unreadable" => {
      severity = "high", runbook = "secret-unreadable", for = "0s"
      summary  = "${f} cannot read its secret: it has no value yet, or the service account may not read it."
      impact   = startswith(f, "notify-") ? "Alerts do not reach this channel. They wait in its subscriptions." : f == "compliance" ? "The compliance checks do not run. Rotations and alerts do." : "Rotations are not followed, and alerts lack what the Cloud API knows."
      steps    = ["Save the value as secret.txt, and store it. Replace SECRET by the name in the log:", "gcloud secrets versions add SECRET --data-file=secret.txt --project=${var.project}", "If it has one, check the secret's policy, and that the version is enabled."]
      query    = "sum(increase(${local.promql["${f}-secret-unreadable"]}{monitored_resource=\"cloud_run_revision\"}[30m])) > 0"
    }
    }, {
    sweep-overdue = {
      severity = "high", runbook = "sweep-overdue", for = "0s"
      summary  = "No sweep over all clusters has ended for ${local.sweep_minutes} minutes."
      impact   = "Rotations that no event reported are not found, and what keyturn knows of the clusters is old."
      steps    = concat(local.read_log["rotation"], ["Check that the Cloud API answers and that the API key is valid:", "keyturn status"])
      query    = "(sum(increase(${local.promql["sweeps-ended"]}{monitored_resource=\"cloud_run_revision\"}[${local.sweep_minutes}m])) or vector(0)) <= 0"
    }
    # Together 26 hours. A query looks back for less than a day, because longer ones are not everywhere to be had.
    compliance-overdue = {
      severity = "medium", runbook = "compliance-overdue", for = "10800s"
      summary  = "No complete run of the compliance checks has ended for 26 hours."
      impact   = "Nobody knows whether what was proved before still holds. Rotations and alerts do not depend on it."
      steps    = concat(local.read_log["compliance"], ["A run that was given up is announced as incomplete, with how far it came."])
      query    = "(sum(increase(${local.promql["runs-ended"]}{monitored_resource=\"cloud_run_revision\"}[23h])) or vector(0)) <= 0"
    }
    event-to-alert = {
      severity = "medium", runbook = "event-to-alert", for = "0s"
      summary  = "An alert went out more than 300 s after its event."
      impact   = "People were notified late of a risk to a key."
      steps    = ["Check the age of the subscription ${var.name}-alerting, and whether Cloud Logging was late: the log's line \"${local.log_lines.alert_sent}\" has ${local.log_lines.seconds_since}."]
      query    = "histogram_quantile(1, sum by (le) (increase(${local.promql["event-to-alert-seconds"]}_bucket{monitored_resource=\"cloud_run_revision\"}[5m]))) > 300"
    }
    }, {
    # In observe mode work stays open: that is the mode.
    for name in var.mode == "follow" ? ["open-work-old"] : [] : name => {
      severity = "medium", runbook = "open-work-old", for = "0s"
      summary  = "A store key has waited for its re-encryption for more than 24 h."
      impact   = "It stays encrypted under an older version of its key."
      steps    = ["Read which, and why:", "keyturn status", "Once the reason is fixed, reopen what is blocked. Replace CLUSTER:", "keyturn retry CLUSTER"]
      query    = "histogram_quantile(1, sum by (le) (increase(${local.promql["oldest-open-seconds"]}_bucket{monitored_resource=\"cloud_run_revision\"}[60m]))) > 86400"
    }
    }, {
    for p, location in var.heartbeats : "heartbeat-${p}" => {
      severity = "high", runbook = "heartbeat", for = "0s"
      summary  = "For 2 hours alerting has not seen the canary key's label change in project ${p}."
      impact   = "Changes of keys there may go unnoticed."
      steps = [
        "Check the schedule:",
        "gcloud scheduler jobs describe ${var.name}-heartbeat-${replace(p, "/[:.]/", "-")} --location=${var.region} --project=${var.project}",
        "Check the sinks ${var.name}-rotation and ${var.name}-alerting of the project, its folder or its organization, and exclusions there.",
        "Check the subscription ${var.name}-alerting.",
      ]
      query = "(sum(increase(${local.promql["heartbeats"]}{monitored_resource=\"cloud_run_revision\",account=\"${p}\"}[120m])) or vector(0)) <= 0"
    }
    }, {
    critical-published = {
      severity = "critical", runbook = "critical-published", for = "0s"
      summary  = "keyturn published a critical alert: a key that a cluster needs is unusable, or about to be."
      impact   = "A cluster's nodes cannot restart, or its data can become unreadable. This message comes whether or not the channels work. It is about all alerts that follow one another within 10 minutes, and is repeated every 30 minutes while they do."
      steps    = ["List the open incidents, then each by its id with the recovery steps:", "keyturn alerts", "Without the command line, read the messages:", "gcloud pubsub subscriptions pull ${var.name}-alerts-critical --project=${var.project} --limit=10 --format='value(message.data.decode(base64))'"]
      query    = "max(pubsub_googleapis_com:subscription_num_undelivered_messages{monitored_resource=\"pubsub_subscription\",subscription_id=~\"${var.name}-(alerts|operations)-critical\"}) > 0"
    }
  })

  # Cloud Monitoring knows three.
  severities = { critical = "CRITICAL", high = "ERROR", medium = "WARNING" }
}

resource "google_monitoring_alert_policy" "alarm" {
  for_each = local.alarms

  project      = var.project
  display_name = "${var.name}-${each.key}"
  combiner     = "OR"
  severity     = local.severities[each.value.severity]
  user_labels  = var.labels

  notification_channels = local.people[each.key == "critical-published" ? "alerts" : "operations"]

  conditions {
    display_name = each.value.summary

    condition_prometheus_query_language {
      query               = each.value.query
      duration            = each.value.for
      evaluation_interval = "60s"
      # There is no metric before its first value.
      disable_metric_validation = true
    }
  }

  # Its incident is open while an alert of the last 10 minutes is held. So alerts that come one after the other are one incident, of which
  # people are reminded as often as Cloud Monitoring does at most; and that it closes says nothing of the key, so no message is sent. A rate limit
  # of notifications exists for policies on log entries alone (cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#AlertStrategy).
  dynamic "alert_strategy" {
    for_each = each.key == "critical-published" ? [local.people.alerts] : []
    content {
      notification_prompts = ["OPENED"]

      notification_channel_strategy {
        notification_channel_names = alert_strategy.value
        renotify_interval          = "1800s"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    subject   = "keyturn (${each.value.severity}): ${each.value.summary}"
    content = join("\n\n", concat(
      [each.value.summary, "**Impact**: ${each.value.impact}", "**Recovery steps**"],
      [for i, step in each.value.steps : "${i + 1}. ${step}"],
      ["**Runbook**: ${local.runbooks}infra/gcp/RUNBOOK.md#${each.value.runbook}"],
    ))

    links {
      display_name = "Runbook"
      url          = "${local.runbooks}infra/gcp/RUNBOOK.md#${each.value.runbook}"
    }
  }

  depends_on = [google_logging_metric.counter, google_logging_metric.value]
}
