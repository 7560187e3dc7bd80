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

output "least_read_units" {
  description = "Read units provisioned at least, the index's included; 0 on demand."
  value       = try(var.provisioned_capacity.read.min + var.provisioned_capacity.batches_index.read.min, 0)
}

output "least_write_units" {
  description = "Write units provisioned at least, the index's included; 0 on demand."
  value       = try(var.provisioned_capacity.write.min + var.provisioned_capacity.batches_index.write.min, 0)
}

output "scaled" {
  description = "How many capacities auto scaling moves, each with alarms of its own."
  value       = length(aws_appautoscaling_policy.this)
}

output "target_utilization_percent" {
  description = "What auto scaling keeps the use of each capacity at; null on demand."
  value       = one(var.provisioned_capacity[*].target_utilization_percent)
}
