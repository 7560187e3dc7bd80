locals {
  # Built from their parts: the dead-letter queue names its source, which names it, and that would be a cycle. And a plan
  # shows both policies whole.
  dlq_name = coalesce(var.dlq_name, "${var.name}-dlq")
  arn      = "${var.arn_prefix}:${var.name}"
  dlq_arn  = "${var.arn_prefix}:${local.dlq_name}"

  # Made here, or there already.
  queue = one(concat(aws_sqs_queue.this, data.aws_sqs_queue.this))
  dlq   = one(concat(aws_sqs_queue.dlq, data.aws_sqs_queue.dlq))

  dlq_visibility_timeout_seconds = coalesce(var.dlq_visibility_timeout_seconds, var.visibility_timeout_seconds)

  # Without a key of the customer's, SQS encrypts with one of its own.
  sse_by_sqs = var.kms_key_arn == null ? true : null

  policies = {
    for arn in [local.arn, local.dlq_arn] : arn => jsonencode({
      Version = "2012-10-17"
      Statement = concat(
        [{
          Sid       = "DenyWithoutTls"
          Effect    = "Deny"
          Principal = "*"
          Action    = "sqs:*"
          Resource  = arn
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        }],
        [for sender in var.allowed_sender[*] : {
          Sid       = "AllowSender"
          Effect    = "Allow"
          Principal = { Service = sender.service }
          Action    = "sqs:SendMessage"
          Resource  = arn
          Condition = { ArnEquals = { "aws:SourceArn" = sender.source_arn } }
        }],
      )
    })
  }
}

# Everything inline: the provider waits about 25 s after each queue and each separate attribute resource.
resource "aws_sqs_queue" "this" {
  count = var.existing ? 0 : 1

  name                       = var.name
  visibility_timeout_seconds = var.visibility_timeout_seconds
  message_retention_seconds  = var.message_retention_seconds
  max_message_size           = var.max_message_size_bytes
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = local.sse_by_sqs
  kms_master_key_id          = var.kms_key_arn
  policy                     = local.policies[local.arn]

  redrive_policy = jsonencode({
    deadLetterTargetArn = local.dlq_arn
    maxReceiveCount     = var.max_receive_count
  })

  # SQS refuses a dead-letter queue that does not exist yet, so this queue comes second.
  depends_on = [aws_sqs_queue.dlq]
}

resource "aws_sqs_queue" "dlq" {
  count = var.existing ? 0 : 1

  name                       = local.dlq_name
  visibility_timeout_seconds = local.dlq_visibility_timeout_seconds
  message_retention_seconds  = var.dlq_message_retention_seconds
  max_message_size           = var.max_message_size_bytes
  sqs_managed_sse_enabled    = local.sse_by_sqs
  kms_master_key_id          = var.kms_key_arn
  policy                     = local.policies[local.dlq_arn]

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.arn]
  })
}

data "aws_sqs_queue" "this" {
  count = var.existing ? 1 : 0

  name = var.name
}

data "aws_sqs_queue" "dlq" {
  count = var.existing ? 1 : 0

  name = local.dlq_name
}

# In older states the dead-letter queue is a module of its own. It keeps its messages.
moved {
  from = module.dlq.aws_sqs_queue.this
  to   = aws_sqs_queue.dlq[0]
}

# Said, because Terraform does not conclude it for a queue that comes from another module.
moved {
  from = aws_sqs_queue.this
  to   = aws_sqs_queue.this[0]
}
