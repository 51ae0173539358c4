output "ledger" {
  description = "KEYTURN_LEDGER for the command line."
  value       = local.ledger_url
}

output "archive" {
  description = "Where evidence is."
  value       = "gs://${local.archive_bucket}/${local.archive_prefix}"
}

output "secrets" {
  description = "Secrets that have no value yet: gcloud secrets versions add NAME --data-file=-"
  value       = sort(concat([local.api_key_secret], values(local.channel_secrets)))
}

output "service_accounts" {
  description = "E-mail addresses of keyturn's own service accounts."
  value       = local.emails
}

output "topics" {
  description = "Topics of alerts."
  value       = { for t in ["alerts", "operations"] : t => module.pubsub.topics[t] }
}
