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
  value       = "${aws_dynamodb_table.this.arn}/index/${one(aws_dynamodb_table.this.global_secondary_index).name}"
}

output "stream_arn" {
  description = "ARN of the table's stream. A replaced table has another one."
  value       = aws_dynamodb_table.this.stream_arn
}

output "deletion_protection" {
  description = "Whether the table refuses to be deleted."
  value       = aws_dynamodb_table.this.deletion_protection_enabled
}
