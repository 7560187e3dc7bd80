output "name" {
  description = "Name of the table."
  value       = aws_dynamodb_table.this.name
}

output "arn" {
  description = "ARN of the table: who reads results needs dynamodb:GetItem on it."
  value       = aws_dynamodb_table.this.arn
}

output "deletion_protection" {
  description = "Whether the table refuses to be deleted."
  value       = aws_dynamodb_table.this.deletion_protection_enabled
}

output "billing_mode" {
  description = "PAY_PER_REQUEST or PROVISIONED."
  value       = aws_dynamodb_table.this.billing_mode
}

output "write_share" {
  description = "Part of the table's write units that its writer takes; 0 on demand, where nothing is paced."
  value       = local.provisioned ? var.write_share : 0
}

output "least_read_units" {
  description = "Read units provisioned at least; 0 on demand."
  value       = try(var.provisioned_capacity.read.min, 0)
}

output "least_write_units" {
  description = "Write units provisioned at least; 0 on demand."
  value       = try(var.provisioned_capacity.write.min, 0)
}

output "scaled" {
  description = "How many capacities auto scaling moves, each with alarms of its own."
  value       = length(aws_appautoscaling_policy.this)
}
