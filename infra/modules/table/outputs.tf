output "name" {
  description = "Name of the table."
  value       = local.table.name
}

output "arn" {
  description = "ARN of the table."
  value       = local.table.arn
}

output "batches_index_arn" {
  description = "ARN of the index that lists batches."
  value       = "${local.table.arn}/index/batches"
}

output "stream_arn" {
  description = "ARN of the table's stream. A replaced table has another one."
  value       = local.table.stream_arn
}

output "deletion_protection" {
  description = "Whether the table refuses to be deleted."
  value       = local.table.deletion_protection_enabled
}

output "kms_key_arn" {
  description = "ARN of the key that encrypts the table; null for the account's aws/dynamodb."
  value       = var.kms_key_arn
}

output "billing_mode" {
  description = "PAY_PER_REQUEST or PROVISIONED."
  value       = local.table.billing_mode
}
