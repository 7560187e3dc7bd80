output "name" {
  description = "Name of the table."
  value       = aws_dynamodb_table.this.name
}

output "arn" {
  description = "ARN of the table."
  value       = aws_dynamodb_table.this.arn
}

output "batches_index_arn" {
  description = "ARN of the index that lists batches."
  value       = "${aws_dynamodb_table.this.arn}/index/batches"
}

output "stream_arn" {
  description = "ARN of the table's stream. A replaced table has another one."
  value       = aws_dynamodb_table.this.stream_arn
}

output "deletion_protection" {
  description = "Whether the table refuses to be deleted."
  value       = aws_dynamodb_table.this.deletion_protection_enabled
}

output "kms_key_arn" {
  description = "ARN of the key that encrypts the table; null for the account's aws/dynamodb."
  value       = var.kms_key_arn
}

output "billing_mode" {
  description = "PAY_PER_REQUEST or PROVISIONED."
  value       = aws_dynamodb_table.this.billing_mode
}
