# What a mocked AWS answers, in every test file of the root.
mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}

mock_data "aws_region" {
  defaults = { id = "us-east-1" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::inbox" }
}

mock_resource "aws_dynamodb_table" {
  defaults = {
    arn        = "arn:aws:dynamodb:us-east-1:123456789012:table/t"
    stream_arn = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2026-01-01T00:00:00.000"
  }
}

mock_resource "aws_cloudwatch_event_bus" {
  defaults = { arn = "arn:aws:events:us-east-1:123456789012:event-bus/b" }
}

mock_resource "aws_cloudwatch_event_rule" {
  defaults = { arn = "arn:aws:events:us-east-1:123456789012:rule/b/r" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:g" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/r" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/k" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:us-east-1:123456789012:t" }
}

mock_resource "aws_sqs_queue" {
  defaults = { arn = "arn:aws:sqs:us-east-1:123456789012:other" }
}

# Every queue has an ARN of its own, so that a right given on the wrong queue shows.
override_resource {
  target = module.queue["ingest"].aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:ingest" }
}

override_resource {
  target = module.queue["work"].aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:work" }
}

override_resource {
  target = module.queue["heavy"].aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:heavy" }
}

override_resource {
  target = module.queue["heavy"].aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:heavy-dlq" }
}

override_resource {
  target = module.dead_letters.aws_sqs_queue.this
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:dead-letters" }
}

override_resource {
  target = module.queue["finished"].aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:finished" }
}

override_resource {
  target = module.queue["ingest"].aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:ingest-dlq" }
}

override_resource {
  target = module.queue["work"].aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:work-dlq" }
}

override_resource {
  target = module.queue["finished"].aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:finished-dlq" }
}

override_resource {
  target = module.queue["export"].aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:export" }
}

override_resource {
  target = module.queue["export"].aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:export-dlq" }
}

override_resource {
  target = module.queue["save"].aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:save" }
}

override_resource {
  target = module.queue["save"].aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:save-dlq" }
}

override_resource {
  target = module.plan_failures.aws_sqs_queue.this
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:plan-failures" }
}

override_resource {
  target = module.stream_failures.aws_sqs_queue.this
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:stream-failures" }
}

override_resource {
  target = module.completions.aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:completions" }
}

override_resource {
  target = module.completions.aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:completions-dlq" }
}
