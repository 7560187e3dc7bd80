data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  prefix              = "tally-${var.stage}"
  queue_arn_prefix    = "arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}"
  alarm_arn_prefix    = "arn:${data.aws_partition.current.partition}:cloudwatch:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:alarm"
  function_arn_prefix = "arn:${data.aws_partition.current.partition}:lambda:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:function"
  seconds_per_day     = 86400
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
  provisioned            = var.table_capacity
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
  max_receive_count             = lookup(local.max_receive_counts, each.key, var.max_receive_count)

  # Its own, not the queue's: what bury could not do now it does again in minutes, not when a heavy row would be over.
  dlq_consumer_timeout_seconds   = local.functions["bury"].timeout_seconds
  dlq_visibility_timeout_seconds = 6 * local.functions["bury"].timeout_seconds
}

# Copies of the messages that bury has dealt with, for whoever wants to know what was in them. Nothing consumes it.
module "buried" {
  source = "./modules/dead_letters"

  name                      = "${local.prefix}-buried"
  arn_prefix                = local.queue_arn_prefix
  message_retention_seconds = var.dlq_retention_days * local.seconds_per_day
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

# Every queue of what could not be done. The buried queue needs no alarm: what is in there has raised one.
module "alarms" {
  source = "./modules/alarms"
  count  = var.alarms ? 1 : 0

  name             = "${local.prefix}-alarms"
  alarm_arn_prefix = local.alarm_arn_prefix

  queues = merge(
    {
      for name, queue in module.queue :
      queue.dlq_name => "Messages of the ${name} queue that ${local.queue_consumers[name]} gave up on. See docs/runbook.md#dead-letters-${name}."
    },
    {
      (module.plan_failures.name)   = "Uploads that plan gave up on. See docs/runbook.md#plan-failures."
      (module.stream_failures.name) = "Stream records that dispatch or settle gave up on. See docs/runbook.md#stream-failures."
      (module.completion.dlq_name)  = "Completions that nobody took. See docs/runbook.md#completions-dead-letters."
    },
  )

  # bury takes a dead letter within a second, long before anything counts it as waiting.
  consumed_queues = [for queue in module.queue : queue.dlq_name]
}
