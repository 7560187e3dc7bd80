output "topic_arn" {
  description = "ARN of the topic that the alarms publish to."
  value       = aws_sns_topic.this.arn
}

output "topic_name" {
  description = "Name of the topic."
  value       = aws_sns_topic.this.name
}

output "descriptions" {
  description = "What each alarm says, by name of the alarm, as JSON."
  value       = jsonencode({ for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.alarm_description })
}
