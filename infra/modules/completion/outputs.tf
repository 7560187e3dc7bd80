output "bus_name" {
  description = "Name of the event bus."
  value       = aws_cloudwatch_event_bus.this.name
}

output "bus_arn" {
  description = "ARN of the event bus."
  value       = aws_cloudwatch_event_bus.this.arn
}

output "rule_name" {
  description = "Name of the rule."
  value       = aws_cloudwatch_event_rule.this.name
}

output "queue_name" {
  description = "Name of the completions queue."
  value       = module.queue.name
}

output "queue_url" {
  description = "URL of the completions queue."
  value       = module.queue.url
}

output "dlq_name" {
  description = "Name of the dead-letter queue of the completions queue."
  value       = module.queue.dlq_name
}

output "queue_visibility_timeout_seconds" {
  description = "Seconds a received completion is hidden from other readers."
  value       = module.queue.visibility_timeout_seconds
}
