output "name" {
  description = "Name of the queue."
  value       = var.name
}

output "arn" {
  description = "ARN of the queue."
  value       = local.queue.arn
}

output "url" {
  description = "URL of the queue."
  value       = local.queue.url
}

output "visibility_timeout_seconds" {
  description = "Seconds a received message is hidden from other readers."
  value       = var.visibility_timeout_seconds
}

output "dlq_name" {
  description = "Name of the dead-letter queue."
  value       = local.dlq_name
}

output "dlq_arn" {
  description = "ARN of the dead-letter queue."
  value       = local.dlq.arn
}

output "dlq_url" {
  description = "URL of the dead-letter queue."
  value       = local.dlq.url
}

output "dlq_visibility_timeout_seconds" {
  description = "Seconds a received dead letter is hidden from other readers."
  value       = local.dlq_visibility_timeout_seconds
}

output "max_receive_count" {
  description = "Deliveries before a message goes to the dead-letter queue."
  value       = var.max_receive_count
}

output "policy" {
  description = "Resource policy of the queue, as JSON; null for a queue that is there already."
  value       = one(aws_sqs_queue.this[*].policy)
}

output "kms_key_arn" {
  description = "ARN of the key that encrypts both queues; null for the one SQS has."
  value       = var.kms_key_arn
}
