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

# CloudWatch may not use the key that AWS manages for SNS (aws/sns): an alarm on such a topic reaches nobody. So it is a customer's key or none; SNS
# keeps messages on encrypted disks either way.
resource "aws_kms_key" "this" {
  count = var.own_key && var.kms_key_arn == null ? 1 : 0

  description             = "Encrypts the notifications of ${var.name}."
  enable_key_rotation     = true
  deletion_window_in_days = 7

  # The policy lets the account do everything, so nobody is locked out. The check would want kms:PutKeyPolicy of who deploys: a right to any key.
  bypass_policy_lockout_safety_check = true

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
  #checkov:skip=CKV_AWS_26:A key costs by the month, so it is a choice (own_key, kms_key_arn). A notification has the alarm's name, text and value.
  name              = var.name
  kms_master_key_id = var.kms_key_arn == null ? one(aws_kms_key.this[*].arn) : var.kms_key_arn

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

locals {
  # What an alarm below does not say for itself: one value above zero within five minutes is enough.
  usual = {
    period      = local.period_seconds
    periods     = 1
    datapoints  = null
    threshold   = 0
    comparison  = "GreaterThanThreshold"
    when_silent = "notBreaching" # an idle queue or function reports nothing
  }

  alarms = merge(
    # Something waits, and nobody takes it.
    { for name, queue in var.failure_queues : "${name}-waiting" => merge(local.usual, {
      description = queue.description
      metric      = "AWS/SQS ApproximateNumberOfMessagesVisible Maximum"
      dimensions  = { QueueName = name }
    }) },

    # A function that runs only when something went wrong runs.
    { for name, function in var.functions : "${name}-invoked" => merge(local.usual, {
      description = function.invoked_description
      metric      = "AWS/Lambda Invocations Sum"
      dimensions  = { FunctionName = name }
      periods     = 3 # a message that fails comes back after its visibility timeout: one alarm, not one each time
      datapoints  = 1
    }) if function.invoked_description != null },

    # Work waits for longer than it should.
    { for name, queue in var.queues : "${name}-oldest" => merge(local.usual, {
      description = queue.description
      metric      = "AWS/SQS ApproximateAgeOfOldestMessage Maximum"
      dimensions  = { QueueName = name }
      threshold   = queue.oldest_message_seconds
    }) },

    # A consumer of a stream falls behind; what is older than 24 hours is gone.
    { for name, function in var.functions : "${name}-behind" => merge(local.usual, {
      description = function.behind_description
      metric      = "AWS/Lambda IteratorAge Maximum"
      dimensions  = { FunctionName = name }
      threshold   = 1000 * var.iterator_age_seconds
    }) if function.behind_description != null },

    # A function fails again and again; a single failure is what redelivery is for.
    { for name, function in var.functions : "${name}-errors" => merge(local.usual, {
      description = function.errors_description
      metric      = "AWS/Lambda Errors Sum"
      dimensions  = { FunctionName = name }
      periods     = function.periods
    }) if function.errors_description != null },

    # Lambda refuses to run a function: the account's concurrency, or the function's own, is used up.
    { for name, function in var.functions : "${name}-throttles" => merge(local.usual, {
      description = function.throttles_description
      metric      = "AWS/Lambda Throttles Sum"
      dimensions  = { FunctionName = name }
      periods     = function.periods
    }) if function.throttles_description != null },

    # reconcile found batches that had stood still, and found them again in its next run: it could not repair them.
    { for batches in var.batches[*] : "${batches.name}-stalled" => merge(local.usual, {
      description = batches.description
      metric      = "Tally BatchesStalled Maximum"
      dimensions  = { stage = batches.stage }
      period      = 60 * batches.reconcile_minutes
      periods     = 3
      datapoints  = 2
    }) },

    # A function that a schedule calls is not called.
    { for name, function in var.functions : "${name}-silent" => merge(local.usual, {
      description = function.silent_description
      metric      = "AWS/Lambda Invocations Sum"
      dimensions  = { FunctionName = name }
      period      = 60 * function.silent_minutes
      periods     = 3
      threshold   = 1
      comparison  = "LessThanThreshold"
      when_silent = "breaching"
    }) if function.silent_description != null },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = each.key
  alarm_description   = each.value.description
  namespace           = split(" ", each.value.metric)[0]
  metric_name         = split(" ", each.value.metric)[1]
  statistic           = split(" ", each.value.metric)[2]
  dimensions          = each.value.dimensions
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.datapoints
  threshold           = each.value.threshold
  comparison_operator = each.value.comparison
  treat_missing_data  = each.value.when_silent
  alarm_actions       = [aws_sns_topic.this.arn]
}
