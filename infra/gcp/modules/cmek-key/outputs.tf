output "region_specs" {
  description = "Body of POST /api/v1/clusters/CLUSTER_ID/cmek, and file of keyturn enable, as JSON: terraform output -raw."
  value = jsonencode({ region_specs = [for region in sort(keys(var.regions)) : {
    region = region
    key_spec = {
      type           = "GCP_CLOUD_KMS"
      uri            = google_kms_crypto_key.cmek[var.regions[region]].id
      auth_principal = google_service_account.cmek.email
    }
  }] })
  # The bindings come first: the cluster uses its key at once.
  depends_on = [google_kms_crypto_key_iam_member.use, google_service_account_iam_member.act_as]
}

output "keys" {
  description = "Resource names of the keys, by location."
  value       = { for l, k in google_kms_crypto_key.cmek : l => k.id }
}

output "service_account" {
  description = "E-mail address of the service account that the cluster acts as."
  value       = google_service_account.cmek.email
}
