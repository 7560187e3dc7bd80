output "name" {
  description = "Name of the queue."
  value       = aws_sqs_queue.this.name
}

output "arn" {
  description = "ARN of the queue."
  value       = aws_sqs_queue.this.arn
}

output "url" {
  description = "URL of the queue."
  value       = aws_sqs_queue.this.url
}

output "visibility_timeout_seconds" {
  description = "Seconds a received message is hidden from other readers."
  value       = aws_sqs_queue.this.visibility_timeout_seconds
}

output "redrive_allow_policy" {
  description = "Who may use the queue as a dead-letter queue, as JSON."
  value       = aws_sqs_queue.this.redrive_allow_policy
}

output "kms_key_arn" {
  description = "ARN of the key that encrypts the queue; null for the one SQS has."
  value       = aws_sqs_queue.this.kms_master_key_id
}
