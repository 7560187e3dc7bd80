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
  value       = module.dlq.name
}

output "dlq_arn" {
  description = "ARN of the dead-letter queue."
  value       = module.dlq.arn
}

output "dlq_url" {
  description = "URL of the dead-letter queue."
  value       = module.dlq.url
}

output "policy" {
  description = "Resource policy of the queue, as JSON."
  value       = aws_sqs_queue.this.policy
}
