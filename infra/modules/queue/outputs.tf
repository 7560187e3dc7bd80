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

output "dlq_name" {
  description = "Name of the dead-letter queue."
  value       = aws_sqs_queue.dlq.name
}

output "dlq_arn" {
  description = "ARN of the dead-letter queue."
  value       = aws_sqs_queue.dlq.arn
}

output "dlq_url" {
  description = "URL of the dead-letter queue."
  value       = aws_sqs_queue.dlq.url
}

output "dlq_visibility_timeout_seconds" {
  description = "Seconds a received dead letter is hidden from other readers."
  value       = aws_sqs_queue.dlq.visibility_timeout_seconds
}

output "max_receive_count" {
  description = "Deliveries before a message goes to the dead-letter queue."
  value       = jsondecode(aws_sqs_queue.this.redrive_policy).maxReceiveCount
}

output "policy" {
  description = "Resource policy of the queue, as JSON."
  value       = aws_sqs_queue.this.policy
}

output "kms_key_arn" {
  description = "ARN of the key that encrypts both queues; null for the one SQS has."
  value       = aws_sqs_queue.this.kms_master_key_id
}
