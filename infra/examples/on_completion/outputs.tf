output "function_name" {
  description = "Name of the function that handles events."
  value       = aws_lambda_function.this.function_name
}

output "queue_url" {
  description = "URL of the queue that its events wait in."
  value       = aws_sqs_queue.this.url
}

output "dlq_url" {
  description = "URL of the queue of events that could not be delivered or handled."
  value       = aws_sqs_queue.dlq.url
}

output "topic_arn" {
  description = "ARN of the topic that sends the mails; empty without email."
  value       = join("", aws_sns_topic.mail[*].arn)
}
