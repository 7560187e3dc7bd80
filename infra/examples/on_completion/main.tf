data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  partition = data.aws_partition.this.partition
  region    = data.aws_region.this.id
  account   = data.aws_caller_identity.this.account_id

  # Built from their parts, so that a plan shows every policy whole, and none is a cycle.
  rule_arn      = "arn:${local.partition}:events:${local.region}:${local.account}:rule/${var.bus_name}/${var.name}"
  mail_rule_arn = "arn:${local.partition}:events:${local.region}:${local.account}:rule/${var.bus_name}/${var.name}-mail"
  queue_arn     = "arn:${local.partition}:sqs:${local.region}:${local.account}:${var.name}"
  dlq_arn       = "arn:${local.partition}:sqs:${local.region}:${local.account}:${var.name}-dlq"
  topic_arn     = "arn:${local.partition}:sns:${local.region}:${local.account}:${var.name}-mail"
  log_group     = "/aws/lambda/${var.name}"
  log_group_arn = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group}"

  of_jobs    = length(var.jobs) == 0 ? {} : { detail = { job = sort(var.jobs) } }
  sse_by_sqs = var.kms_key_arn == null ? true : null
  mails      = var.email == null ? 0 : 1

  # Why an event can be in each of the two queues.
  senders = {
    (local.queue_arn) = [local.rule_arn]
    (local.dlq_arn)   = var.email == null ? [local.rule_arn] : [local.rule_arn, local.mail_rule_arn]
  }

  queue_policies = {
    for arn, rules in local.senders : arn => jsonencode({
      Version = "2012-10-17"
      Statement = [
        {
          Sid       = "DenyWithoutTls"
          Effect    = "Deny"
          Principal = "*"
          Action    = "sqs:*"
          Resource  = arn
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
        {
          Sid       = "RulesSend"
          Effect    = "Allow"
          Principal = { Service = "events.amazonaws.com" }
          Action    = "sqs:SendMessage"
          Resource  = arn
          Condition = { ArnEquals = { "aws:SourceArn" = rules } }
        },
      ]
    })
  }
}

# EventBridge keeps an event for a day if it cannot deliver it, the queue for fourteen: nothing is lost while the function is broken.
resource "aws_cloudwatch_event_rule" "this" {
  name           = var.name
  description    = "What Tally tells of batches, for the function ${var.name}."
  event_bus_name = var.bus_name
  event_pattern  = jsonencode(merge({ source = ["tally"], detail-type = sort(var.detail_types) }, local.of_jobs))
}

resource "aws_cloudwatch_event_target" "queue" {
  event_bus_name = var.bus_name
  rule           = aws_cloudwatch_event_rule.this.name
  target_id      = "queue"
  arn            = aws_sqs_queue.this.arn

  dead_letter_config {
    arn = aws_sqs_queue.dlq.arn
  }
}

resource "aws_sqs_queue" "this" {
  name                       = var.name
  visibility_timeout_seconds = 6 * var.timeout_seconds # as AWS recommends for a queue that Lambda reads
  message_retention_seconds  = 1209600
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = local.sse_by_sqs
  kms_master_key_id          = var.kms_key_arn
  policy                     = local.queue_policies[local.queue_arn]

  redrive_policy = jsonencode({
    deadLetterTargetArn = local.dlq_arn
    maxReceiveCount     = 5
  })

  depends_on = [aws_sqs_queue.dlq] # SQS refuses a dead-letter queue that does not exist yet
}

resource "aws_sqs_queue" "dlq" {
  name                      = "${var.name}-dlq"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = local.sse_by_sqs
  kms_master_key_id         = var.kms_key_arn
  policy                    = local.queue_policies[local.dlq_arn]

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.queue_arn]
  })
}

# Which events were handled.
resource "aws_dynamodb_table" "handled" {
  #checkov:skip=CKV_AWS_28:What is lost with it is which events were handled already: they would be handled a second time
  name         = var.name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "event_id"

  attribute {
    name = "event_id"
    type = "S"
  }

  ttl {
    enabled        = true
    attribute_name = "expires_at"
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:How long logs stay is the caller's to say
  #checkov:skip=CKV_AWS_158:A key is the caller's to give; CloudWatch encrypts with one of its own
  name              = local.log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_115:The mapping bounds how many run at once
  #checkov:skip=CKV_AWS_116:It is never invoked asynchronously; its messages have a dead-letter queue
  #checkov:skip=CKV_AWS_117:It needs nothing in a VPC
  #checkov:skip=CKV_AWS_272:Signing is a decision of the account's
  #checkov:skip=CKV_AWS_50:Tracing costs by the request; the logs have the event_id
  #checkov:skip=CKV_AWS_173:The variables are names
  function_name    = var.name
  description      = "Handles what Tally tells of batches, each event once."
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  handler          = "on_completion.handler"
  runtime          = "python3.12"
  architectures    = ["arm64"]
  memory_size      = 256
  timeout          = var.timeout_seconds
  role             = aws_iam_role.this.arn

  environment {
    variables = {
      TABLE           = aws_dynamodb_table.handled.name
      REMEMBER_DAYS   = var.remember_days
      TIMEOUT_SECONDS = var.timeout_seconds
    }
  }

  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.this]
}

resource "aws_lambda_event_source_mapping" "this" {
  event_source_arn        = aws_sqs_queue.this.arn
  function_name           = aws_lambda_function.this.arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = 2
  }
}

resource "aws_iam_role" "this" {
  name                 = var.name
  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "function"
  role = aws_iam_role.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "ReadsItsQueue"
          Effect   = "Allow"
          Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
          Resource = local.queue_arn
        },
        {
          Sid      = "RemembersEvents"
          Effect   = "Allow"
          Action   = ["dynamodb:UpdateItem"]
          Resource = aws_dynamodb_table.handled.arn
        },
        {
          Sid      = "WritesItsLog"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${local.log_group_arn}:*"
        },
      ],
      [for key in var.kms_key_arn[*] : {
        Sid      = "UsesTheKey"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = key
      }],
    )
  })
}
