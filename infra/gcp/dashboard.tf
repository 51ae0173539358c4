# One page that shows whether keyturn is healthy.

locals {
  graphs = [
    { title = "Seconds from an event to its alert", queries = ["histogram_quantile(1, sum by (le) (increase(${local.promql["event-to-alert-seconds"]}_bucket[5m])))"] },
    { title = "Age of the oldest open re-encryption (s)", queries = ["histogram_quantile(1, sum by (le) (increase(${local.promql["oldest-open-seconds"]}_bucket[60m])))"] },
    { title = "Published to the topics", queries = ["sum by (topic_id) (increase(pubsub_googleapis_com:topic_send_message_operation_count{monitored_resource=\"pubsub_topic\",topic_id=~\"${var.name}-(alerts|operations)\"}[5m]))"] },
    { title = "Oldest message of the subscriptions (s)", queries = ["max by (subscription_id) (pubsub_googleapis_com:subscription_oldest_unacked_message_age{monitored_resource=\"pubsub_subscription\",subscription_id=~\"${var.name}-.*\"})"] },
    { title = "Dead letters", queries = ["max by (subscription_id) (pubsub_googleapis_com:subscription_num_undelivered_messages{monitored_resource=\"pubsub_subscription\",subscription_id=~\"${var.name}-.*-dead\"})"] },
    { title = "Requests by answer", queries = ["sum by (service_name, response_code_class) (increase(run_googleapis_com:request_count{monitored_resource=\"cloud_run_revision\",service_name=~\"${var.name}-.*\"}[5m]))"] },
    { title = "Longest request (ms)", queries = ["histogram_quantile(0.99, sum by (service_name, le) (increase(run_googleapis_com:request_latencies_bucket{monitored_resource=\"cloud_run_revision\",service_name=~\"${var.name}-.*\"}[5m])))"] },
    { title = "Instances", queries = ["max by (service_name) (run_googleapis_com:container_instance_count{monitored_resource=\"cloud_run_revision\",service_name=~\"${var.name}-.*\"})"] },
    { title = "Compliance runs that ended in a day", queries = ["sum(increase(${local.promql["runs-ended"]}[1d]))"] },
    { title = "Sweeps that ended in an hour", queries = ["sum(increase(${local.promql["sweeps-ended"]}[1h]))"] },
  ]
}

resource "google_monitoring_dashboard" "health" {
  project = var.project

  dashboard_json = jsonencode({
    displayName = var.name
    labels      = { for k, v in var.labels : k => "" }
    mosaicLayout = {
      columns = 48
      tiles = [for i, g in local.graphs : {
        xPos = i % 3 * 16, yPos = floor(i / 3) * 16, width = 16, height = 16
        widget = {
          title = g.title
          xyChart = {
            dataSets = [for q in g.queries : { plotType = "LINE", timeSeriesQuery = { prometheusQuery = q } }]
          }
        }
      }]
    }
  })
}
