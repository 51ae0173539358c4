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
  value       = sort(concat([local.api_key_secret, local.compliance_secret], local.audit_secrets, values(local.channel_secrets)))
}

output "declarations" {
  description = "What is declared for the compliance checks. The name holds the SHA-256, which the manifest of each run has, too."
  value       = "gs://${local.source_bucket}/${local.declarations_object}"
}

output "service_accounts" {
  description = "E-mail addresses of keyturn's own service accounts."
  value       = local.emails
}

output "topics" {
  description = "Topics of alerts."
  value       = { for t in ["alerts", "operations"] : t => module.pubsub.topics[t] }
}
