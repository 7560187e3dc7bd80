locals {
  arn      = "${var.arn_prefix}:${var.name}"
  dlq_name = "${var.name}-dlq"

  dlq_visibility_timeout_seconds = coalesce(var.dlq_visibility_timeout_seconds, var.visibility_timeout_seconds)

  deny_without_tls = {
    Sid       = "DenyWithoutTls"
    Effect    = "Deny"
    Principal = "*"
    Action    = "sqs:*"
    Resource  = local.arn
    Condition = { Bool = { "aws:SecureTransport" = "false" } }
  }

  allow_sender = [
    for sender in var.allowed_sender[*] : {
      Sid       = "AllowSender"
      Effect    = "Allow"
      Principal = { Service = sender.service }
      Action    = "sqs:SendMessage"
      Resource  = local.arn
      Condition = { ArnEquals = { "aws:SourceArn" = sender.source_arn } }
    }
  ]
}

# Everything inline: the provider waits about 25 s after each queue and each separate attribute resource.
resource "aws_sqs_queue" "this" {
  name                       = var.name
  visibility_timeout_seconds = var.visibility_timeout_seconds
  message_retention_seconds  = var.message_retention_seconds
  max_message_size           = var.max_message_size_bytes
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true

  # SQS refuses a dead-letter queue that does not exist yet, so this queue comes second.
  redrive_policy = jsonencode({
    deadLetterTargetArn = module.dlq.arn
    maxReceiveCount     = var.max_receive_count
  })

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat([local.deny_without_tls], local.allow_sender)
  })
}

# It names its source by an ARN built from its parts, which leaves no cycle.
module "dlq" {
  source = "../dead_letters"

  name                       = local.dlq_name
  arn_prefix                 = var.arn_prefix
  message_retention_seconds  = var.dlq_message_retention_seconds
  visibility_timeout_seconds = local.dlq_visibility_timeout_seconds
  source_queue_arns          = [local.arn]
  allowed_sender             = var.allowed_sender
}
