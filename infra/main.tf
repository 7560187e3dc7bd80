data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  prefix           = "tally-${var.stage}"
  queue_arn_prefix = "arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}"
  seconds_per_day  = 86400
}

module "inbox" {
  source = "./modules/inbox"

  name                   = "${local.prefix}-inbox-${data.aws_caller_identity.current.account_id}"
  force_destroy          = var.force_destroy
  object_expiration_days = var.object_expiration_days
  # A dead letter brought back reads its version of the object, so versions stay as long as rows do.
  noncurrent_version_days = var.retention_days
}

module "table" {
  source = "./modules/table"

  name                   = local.prefix
  deletion_protection    = !var.force_destroy
  point_in_time_recovery = var.point_in_time_recovery
}

module "queue" {
  source   = "./modules/queue"
  for_each = local.queue_consumers

  name                          = "${local.prefix}-${each.key}"
  arn_prefix                    = local.queue_arn_prefix
  consumer_timeout_seconds      = local.functions[each.value].timeout_seconds
  visibility_timeout_seconds    = 6 * local.functions[each.value].timeout_seconds
  message_retention_seconds     = var.queue_retention_days * local.seconds_per_day
  dlq_message_retention_seconds = var.dlq_retention_days * local.seconds_per_day
  max_receive_count             = var.max_receive_count
}

# Uploads that `plan` gave up on: S3 invokes it asynchronously, and a lost event would be a lost upload.
module "plan_failures" {
  source = "./modules/dead_letters"

  name                      = "${local.prefix}-plan-failures"
  arn_prefix                = local.queue_arn_prefix
  message_retention_seconds = var.dlq_retention_days * local.seconds_per_day
}

# Positions of stream records that dispatch or settle gave up on.
module "stream_failures" {
  source = "./modules/dead_letters"

  name                      = "${local.prefix}-stream-failures"
  arn_prefix                = local.queue_arn_prefix
  message_retention_seconds = var.dlq_retention_days * local.seconds_per_day
}

module "completion" {
  source = "./modules/completion"

  name                          = local.prefix
  arn_prefix                    = local.queue_arn_prefix
  consumer_timeout_seconds      = var.completions_consumer_timeout_seconds
  message_retention_seconds     = var.queue_retention_days * local.seconds_per_day
  dlq_message_retention_seconds = var.dlq_retention_days * local.seconds_per_day
  max_receive_count             = var.max_receive_count
}
