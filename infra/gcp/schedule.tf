# Ticks and heartbeats.

locals {
  # How many minutes apart they are. The run of the day begins with one of compliance's, and goes on with those that follow.
  ticks = { rotation = 1, alerting = 1, compliance = 15 }
}

# A tick that fails is not repeated: the next one does its work.
resource "google_cloud_scheduler_job" "tick" {
  for_each = local.ticks

  project          = var.project
  region           = var.region
  name             = "${var.name}-${each.key}-tick"
  description      = "${each.value == 1 ? "Every minute" : "Every ${each.value} minutes"}: ${local.functions[each.key].description}"
  schedule         = each.value == 1 ? "* * * * *" : "*/${each.value} * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "${local.functions[each.key].timeout + 10}s"

  retry_config {
    retry_count = 0
  }

  http_target {
    http_method = "POST"
    uri         = google_cloudfunctions2_function.function[each.key].service_config[0].uri
    body        = base64encode(jsonencode({ keyturn = "tick" }))
    headers     = { "Content-Type" = "application/json" }

    oidc_token {
      service_account_email = google_service_account.account["tick"].email
      audience              = google_cloudfunctions2_function.function[each.key].service_config[0].uri
    }
  }
}

# A canary key has no use but to be changed. No cluster uses it, and nobody may use it.

resource "google_kms_key_ring" "canary" {
  for_each = var.heartbeats

  project  = each.key
  location = each.value
  name     = "${var.name}-canary"
}

resource "google_kms_crypto_key" "canary" {
  for_each = var.heartbeats

  key_ring                      = google_kms_key_ring.canary[each.key].id
  name                          = "canary"
  labels                        = merge(var.labels, { keyturn-heartbeat = "on" })
  destroy_scheduled_duration    = "86400s"
  skip_initial_version_creation = true
}

# The call is recorded whether or not it changes anything. Labels are set as a whole, so all of them are named.
resource "google_cloud_scheduler_job" "heartbeat" {
  for_each = var.heartbeats

  project          = var.project
  region           = var.region
  name             = "${var.name}-heartbeat-${replace(each.key, "/[:.]/", "-")}"
  description      = "Every hour: proves that log entries of ${each.key} arrive at keyturn"
  schedule         = "7 * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "30s"

  retry_config {
    retry_count = 3
  }

  http_target {
    http_method = "PATCH"
    uri         = "https://cloudkms.googleapis.com/v1/${google_kms_crypto_key.canary[each.key].id}?updateMask=labels"
    body        = base64encode(jsonencode({ labels = google_kms_crypto_key.canary[each.key].effective_labels }))
    headers     = { "Content-Type" = "application/json" }

    oauth_token {
      service_account_email = google_service_account.account["heartbeat"].email
      scope                 = "https://www.googleapis.com/auth/cloudkms"
    }
  }
}
