locals {
  # arn, partition, cloudwatch, region, account, alarm
  arn       = split(":", var.alarm_arn_prefix)
  partition = local.arn[1]
  region    = local.arn[3]
  account   = local.arn[4]
  topic_arn = "arn:${local.partition}:sns:${local.region}:${local.account}:${var.name}"

  # CloudWatch on behalf of this account's alarms in this region.
  for_alarms = {
    StringEquals = { "aws:SourceAccount" = local.account }
    ArnLike      = { "aws:SourceArn" = "${var.alarm_arn_prefix}:*" }
  }
}

# A key of its own: CloudWatch may not use the one AWS manages for SNS (aws/sns), and an alarm on such a topic reaches nobody.
resource "aws_kms_key" "this" {
  description             = "Encrypts the notifications of ${var.name}."
  enable_key_rotation     = true
  deletion_window_in_days = 7

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AccountManagesKey"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "AlarmsEncrypt"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = local.for_alarms
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_sns_topic" "this" {
  name              = var.name
  kms_master_key_id = aws_kms_key.this.arn

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
        Sid       = "AlarmsPublish"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = local.topic_arn
        Condition = local.for_alarms
      },
    ]
  })
}

# Something waits, and nobody takes it.
resource "aws_cloudwatch_metric_alarm" "waiting" {
  for_each = var.queues

  alarm_name          = "${each.key}-waiting"
  alarm_description   = each.value
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = each.key }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching" # a queue that was idle for hours reports nothing
  alarm_actions       = [aws_sns_topic.this.arn]
}

# Something came, and was taken before the other alarm could see it; or it is taken again and again.
resource "aws_cloudwatch_metric_alarm" "received" {
  for_each = var.consumed_queues

  alarm_name          = "${each.key}-received"
  alarm_description   = var.queues[each.key]
  namespace           = "AWS/SQS"
  metric_name         = "NumberOfMessagesReceived"
  dimensions          = { QueueName = each.key }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3 # a message that fails comes back after its visibility timeout: one alarm, not one each time
  datapoints_to_alarm = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}
