data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  prefix              = "tally-${var.stage}"
  queue_arn_prefix    = "arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}"
  event_arn_prefix    = "arn:${data.aws_partition.current.partition}:events:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}"
  alarm_arn_prefix    = "arn:${data.aws_partition.current.partition}:cloudwatch:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:alarm"
  function_arn_prefix = "arn:${data.aws_partition.current.partition}:lambda:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:function"
  seconds_per_day     = 86400

  # What the functions say of results, so it must be what happens: nothing expires without rules, and those of an existing bucket are its owner's.
  results_expiration_days = var.inbox_lifecycle_rules && var.existing_inbox_bucket == null ? var.results_retention_days : 0
}

module "inbox" {
  source = "./modules/inbox"

  name                    = coalesce(var.existing_inbox_bucket, "${local.prefix}-inbox-${data.aws_caller_identity.current.account_id}")
  existing                = var.existing_inbox_bucket != null
  force_destroy           = var.force_destroy
  lifecycle_rules         = var.inbox_lifecycle_rules
  object_expiration_days  = var.object_expiration_days
  results_expiration_days = local.results_expiration_days
  # A dead letter brought back reads its version of the object, so versions stay as long as rows do.
  noncurrent_version_days = var.retention_days
  kms_key_arn             = var.kms_key_arn
  access_log_bucket       = var.access_log_bucket
}

module "table" {
  source = "./modules/table"

  name                   = coalesce(var.existing_table, local.prefix)
  existing               = var.existing_table != null
  deletion_protection    = !var.force_destroy
  point_in_time_recovery = var.point_in_time_recovery
  # Auto scaling's own default would never be reached: see capacity.tf.
  provisioned_capacity = var.provisioned_capacity == null ? null : merge(var.provisioned_capacity, {
    target_utilization_percent = coalesce(var.provisioned_capacity.target_utilization_percent, local.target_utilization_percent)
  })
  kms_key_arn = var.kms_key_arn
}

# Results by their key, for the jobs that say KEY.
module "results_table" {
  source = "./modules/results_table"
  count  = var.results_table == null ? 0 : 1

  name                   = "${local.prefix}-results"
  deletion_protection    = !var.force_destroy
  point_in_time_recovery = var.point_in_time_recovery
  provisioned_capacity   = var.results_table.provisioned_capacity
  write_share            = var.results_table.write_share
  writer_seconds         = local.functions["save"].timeout_seconds - local.reserve_seconds
  kms_key_arn            = var.kms_key_arn
}

module "queue" {
  source   = "./modules/queue"
  for_each = local.queue_consumers

  name                          = try(var.existing_queues[each.key].name, "${local.prefix}-${each.key}")
  dlq_name                      = try(var.existing_queues[each.key].dlq_name, null)
  existing                      = contains(keys(var.existing_queues), each.key)
  arn_prefix                    = local.queue_arn_prefix
  consumer_timeout_seconds      = local.functions[each.value].timeout_seconds
  consumer_batch_size           = local.functions[each.value].batch_size
  consumer_window_seconds       = local.functions[each.value].window_seconds
  longest_message_seconds       = each.key == "heavy" ? var.heavy_row_seconds : 0
  visibility_timeout_seconds    = try(var.existing_queues[each.key].visibility_timeout_seconds, local.visibility_timeout_seconds[each.value])
  message_retention_seconds     = local.message_retention_seconds[each.key]
  dlq_message_retention_seconds = try(var.existing_queues[each.key].dlq_message_retention_seconds, var.dlq_retention_days * local.seconds_per_day)
  max_receive_count             = try(var.existing_queues[each.key].max_receive_count, lookup(local.max_receive_counts, each.key, var.max_receive_count))
  kms_key_arn                   = var.kms_key_arn

  # Its own, not the queue's: what dead_letters could not do now it does again in minutes, not when a heavy row would be over.
  dlq_consumer_timeout_seconds   = local.functions["dead_letters"].timeout_seconds
  dlq_visibility_timeout_seconds = try(var.existing_queues[each.key].dlq_visibility_timeout_seconds, local.visibility_timeout_seconds["dead_letters"])
}

# Copies of the messages that dead_letters has dealt with, to see what was in them. Nothing consumes it.
module "dead_letters" {
  source = "./modules/dead_letters"

  name                      = "${local.prefix}-dead-letters"
  arn_prefix                = local.queue_arn_prefix
  message_retention_seconds = var.dlq_retention_days * local.seconds_per_day
  kms_key_arn               = var.kms_key_arn
}

# Uploads that `plan` gave up on: S3 invokes it asynchronously. dead_letters has them planned again, or rejects them.
module "plan_failures" {
  source = "./modules/dead_letters"

  name                       = "${local.prefix}-plan-failures"
  arn_prefix                 = local.queue_arn_prefix
  message_retention_seconds  = var.dlq_retention_days * local.seconds_per_day
  consumer_timeout_seconds   = local.functions["dead_letters"].timeout_seconds
  visibility_timeout_seconds = local.visibility_timeout_seconds["dead_letters"]
  kms_key_arn                = var.kms_key_arn
}

# Positions of stream records that dispatch or settle gave up on.
module "stream_failures" {
  source = "./modules/dead_letters"

  name                      = "${local.prefix}-stream-failures"
  arn_prefix                = local.queue_arn_prefix
  message_retention_seconds = var.dlq_retention_days * local.seconds_per_day
  kms_key_arn               = var.kms_key_arn
}

module "completion" {
  source = "./modules/completion"

  name       = local.prefix
  arn_prefix = local.event_arn_prefix
  queue_arn  = module.completions.arn
  dlq_arn    = module.completions.dlq_arn
}

# What the caller's own consumer takes: the end of each batch.
module "completions" {
  source = "./modules/queue"

  name                          = "${local.prefix}-completions"
  arn_prefix                    = local.queue_arn_prefix
  consumer_timeout_seconds      = var.completions_consumer_timeout_seconds
  visibility_timeout_seconds    = 6 * var.completions_consumer_timeout_seconds
  message_retention_seconds     = var.queue_retention_days * local.seconds_per_day
  dlq_message_retention_seconds = var.dlq_retention_days * local.seconds_per_day
  max_receive_count             = var.max_receive_count
  kms_key_arn                   = var.kms_key_arn

  allowed_sender = {
    service    = "events.amazonaws.com"
    source_arn = module.completion.rule_arn
  }
}

# In older states it is within the module that announces.
moved {
  from = module.completion.module.queue
  to   = module.completions
}
