output "topics" {
  description = "Resource names of the topics, by their names after the deployment's."
  value       = { for k, t in google_pubsub_topic.topic : k => t.id }
}

output "dead_topics" {
  description = "Resource names of the dead-letter topics, by function."
  value       = { for f, t in google_pubsub_topic.dead : f => t.id }
}

output "push_subscriptions" {
  description = "Names of the push subscriptions, by their names after the deployment's."
  value       = { for k, s in google_pubsub_subscription.push : k => s.name }
}

# What follows names resources and does not wait for them: the functions that they push to get these names.

output "pushes" {
  description = "Function and topic of each push subscription."
  value       = local.pushes
}

output "names" {
  description = "Names of all topics and subscriptions."
  value = sort(distinct(concat(
    [for t in local.topics : "${var.name}-${t}"],
    [for f in local.functions : "${var.name}-${f}-dead"],
    [for s in keys(local.pushes) : "${var.name}-${s}"],
    [for t in ["alerts", "operations"] : "${var.name}-${t}-critical"],
  )))
}
