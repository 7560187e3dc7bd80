# A mail at the end of each batch. It has names and counts, no row.

resource "aws_cloudwatch_event_rule" "mail" {
  count = local.mails

  name           = "${var.name}-mail"
  description    = "How batches end, by mail."
  event_bus_name = var.bus_name

  event_pattern = jsonencode(merge(
    { source = ["tally"], detail-type = ["Batch Completed", "Batch Stopped", "Batch Rejected"] },
    local.of_jobs,
  ))
}

resource "aws_cloudwatch_event_target" "mail" {
  count = local.mails

  event_bus_name = var.bus_name
  rule           = aws_cloudwatch_event_rule.mail[0].name
  target_id      = "mail"
  arn            = aws_sns_topic.mail[0].arn

  # A template that is one string has to be quoted as JSON is.
  input_transformer {
    input_paths = {
      what      = "$.detail-type"
      batch     = "$.detail.batch_id"
      attempt   = "$.detail.attempt"
      status    = "$.detail.status"
      rows      = "$.detail.rows"
      succeeded = "$.detail.succeeded"
      failed    = "$.detail.failed"
      rejected  = "$.detail.rejected"
    }
    input_template = "\"<what>: <batch>, attempt <attempt>, is <status>. <rows> rows: <succeeded> succeeded, <failed> failed, <rejected> rejected. Look at it: tally failures <batch>\""
  }

  dead_letter_config {
    arn = aws_sqs_queue.dlq.arn
  }
}

# EventBridge may not use the key that AWS manages for SNS (aws/sns): a topic with it gets no event. So it is a customer's key, or none.
resource "aws_sns_topic" "mail" {
  #checkov:skip=CKV_AWS_26:A key costs by the month, so it is a choice (kms_key_arn). A message has names and counts.
  count = local.mails

  name              = "${var.name}-mail"
  kms_master_key_id = var.kms_key_arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "DenyWithoutTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = local.topic_arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "RulePublishes"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = local.topic_arn
        Condition = { ArnEquals = { "aws:SourceArn" = local.mail_rule_arn } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "mail" {
  count = local.mails

  topic_arn = aws_sns_topic.mail[0].arn
  protocol  = "email"
  endpoint  = var.email
}
