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

  period_seconds = 300
}

# A key of its own: CloudWatch may not use the one AWS manages for SNS (aws/sns), and an alarm on such a topic reaches nobody.
resource "aws_kms_key" "this" {
  count = var.kms_key_arn == null ? 1 : 0

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
  count = length(aws_kms_key.this)

  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this[0].key_id
}

resource "aws_sns_topic" "this" {
  name              = var.name
  kms_master_key_id = var.kms_key_arn == null ? aws_kms_key.this[0].arn : var.kms_key_arn

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
  for_each = var.failure_queues

  alarm_name          = "${each.key}-waiting"
  alarm_description   = each.value.description
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = each.key }
  statistic           = "Maximum"
  period              = local.period_seconds
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching" # a queue that was idle for hours reports nothing
  alarm_actions       = [aws_sns_topic.this.arn]
}

# Something came, and was taken before the other alarm could see it; or it is taken again and again.
resource "aws_cloudwatch_metric_alarm" "received" {
  for_each = { for name, queue in var.failure_queues : name => queue if queue.consumed }

  alarm_name          = "${each.key}-received"
  alarm_description   = each.value.description
  namespace           = "AWS/SQS"
  metric_name         = "NumberOfMessagesReceived"
  dimensions          = { QueueName = each.key }
  statistic           = "Sum"
  period              = local.period_seconds
  evaluation_periods  = 3 # a message that fails comes back after its visibility timeout: one alarm, not one each time
  datapoints_to_alarm = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}

# Work waits for longer than it should.
resource "aws_cloudwatch_metric_alarm" "oldest" {
  for_each = var.queues

  alarm_name          = "${each.key}-oldest"
  alarm_description   = each.value.description
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = each.key }
  statistic           = "Maximum"
  period              = local.period_seconds
  evaluation_periods  = 1
  threshold           = each.value.oldest_message_seconds
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}

# A consumer of a stream falls behind; what is older than 24 hours is gone.
resource "aws_cloudwatch_metric_alarm" "behind" {
  for_each = { for name, function in var.functions : name => function if function.behind_description != null }

  alarm_name          = "${each.key}-behind"
  alarm_description   = each.value.behind_description
  namespace           = "AWS/Lambda"
  metric_name         = "IteratorAge"
  dimensions          = { FunctionName = each.key }
  statistic           = "Maximum"
  period              = local.period_seconds
  evaluation_periods  = 1
  threshold           = 1000 * var.iterator_age_seconds
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}

# A function fails again and again; a single failure is what redelivery is for.
resource "aws_cloudwatch_metric_alarm" "errors" {
  for_each = var.functions

  alarm_name          = "${each.key}-errors"
  alarm_description   = each.value.errors_description
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = each.key }
  statistic           = "Sum"
  period              = local.period_seconds
  evaluation_periods  = each.value.periods
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}

# Lambda refuses to run a function: the account's concurrency, or the function's own, is used up.
resource "aws_cloudwatch_metric_alarm" "throttles" {
  for_each = var.functions

  alarm_name          = "${each.key}-throttles"
  alarm_description   = each.value.throttles_description
  namespace           = "AWS/Lambda"
  metric_name         = "Throttles"
  dimensions          = { FunctionName = each.key }
  statistic           = "Sum"
  period              = local.period_seconds
  evaluation_periods  = each.value.periods
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}

# reconcile found batches that had stood still, and found them again in its next run: it could not mend them.
resource "aws_cloudwatch_metric_alarm" "stalled" {
  count = var.batches == null ? 0 : 1

  alarm_name          = "${var.batches.name}-stalled"
  alarm_description   = var.batches.description
  namespace           = "Tally"
  metric_name         = "BatchesStalled"
  dimensions          = { stage = var.batches.stage }
  statistic           = "Maximum"
  period              = 60 * var.batches.reconcile_minutes
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}

# reconcile says at each run how many batches are open, be it none. Silence means that it does not run.
resource "aws_cloudwatch_metric_alarm" "unseen" {
  count = var.batches == null ? 0 : 1

  alarm_name          = "${var.batches.name}-unseen"
  alarm_description   = var.batches.unseen
  namespace           = "Tally"
  metric_name         = "BatchesOpen"
  dimensions          = { stage = var.batches.stage }
  statistic           = "SampleCount"
  period              = 60 * var.batches.reconcile_minutes
  evaluation_periods  = 3
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}

locals {
  alarms = concat(
    values(aws_cloudwatch_metric_alarm.waiting),
    values(aws_cloudwatch_metric_alarm.received),
    values(aws_cloudwatch_metric_alarm.oldest),
    values(aws_cloudwatch_metric_alarm.behind),
    values(aws_cloudwatch_metric_alarm.errors),
    values(aws_cloudwatch_metric_alarm.throttles),
    aws_cloudwatch_metric_alarm.stalled,
    aws_cloudwatch_metric_alarm.unseen,
  )
}
