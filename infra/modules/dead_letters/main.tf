locals {
  arn = "${var.arn_prefix}:${var.name}"

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
  message_retention_seconds  = var.message_retention_seconds
  visibility_timeout_seconds = var.visibility_timeout_seconds
  max_message_size           = 262144
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn

  redrive_allow_policy = (
    length(var.source_queue_arns) > 0
    ? jsonencode({ redrivePermission = "byQueue", sourceQueueArns = var.source_queue_arns })
    : jsonencode({ redrivePermission = "denyAll" })
  )

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat([local.deny_without_tls], local.allow_sender)
  })
}
