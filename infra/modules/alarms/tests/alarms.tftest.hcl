mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

override_resource {
  target = aws_kms_key.this[0]
  values = { arn = "arn:aws:kms:us-east-1:123456789012:key/own" }
}

override_resource {
  target = aws_sns_topic.this
  values = { arn = "arn:aws:sns:us-east-1:123456789012:tally-test-alarms" }
}

variables {
  name             = "tally-test-alarms"
  alarm_arn_prefix = "arn:aws:cloudwatch:us-east-1:123456789012:alarm"

  failure_queues = {
    tally-test-work-dlq      = { description = "Messages nobody could process.", consumed = true }
    tally-test-plan-failures = { description = "Uploads nobody could plan." }
  }

  queues = {
    tally-test-work = { description = "Work waits.", oldest_message_seconds = 3600, message_retention_seconds = 345600 }
  }

  functions = {
    tally-test-process = { errors_description = "process fails.", throttles_description = "process is throttled." }
    tally-test-plan    = { errors_description = "plan fails.", throttles_description = "plan is throttled.", periods = 1 }
    tally-test-settle  = { errors_description = "settle fails.", throttles_description = "settle is throttled.", behind_description = "settle is behind." }
  }

  batches = { name = "tally-test", stage = "test", reconcile_minutes = 5, description = "Batches stand still.", unseen = "Nobody looks." }
}

run "alarms_as_soon_as_a_message_waits" {
  assert {
    condition = alltrue([
      for queue, alarm in aws_cloudwatch_metric_alarm.waiting :
      alarm.namespace == "AWS/SQS"
      && alarm.metric_name == "ApproximateNumberOfMessagesVisible"
      && alarm.dimensions == tomap({ QueueName = queue })
      && alarm.statistic == "Maximum"
      && alarm.comparison_operator == "GreaterThanThreshold"
      && alarm.threshold == 0
      && alarm.period * alarm.evaluation_periods == 300
    ])
    error_message = "One visible message within five minutes is enough."
  }

  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.waiting) == ["tally-test-plan-failures", "tally-test-work-dlq"]
    error_message = "Every queue has this alarm."
  }
}

run "alarms_on_a_message_that_a_consumer_took_at_once" {
  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.received) == ["tally-test-work-dlq"]
    error_message = "Queues with a consumer have this alarm, others have no use for it."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.received["tally-test-work-dlq"].metric_name == "NumberOfMessagesReceived"
      && aws_cloudwatch_metric_alarm.received["tally-test-work-dlq"].statistic == "Sum"
      && aws_cloudwatch_metric_alarm.received["tally-test-work-dlq"].dimensions == tomap({ QueueName = "tally-test-work-dlq" })
      && aws_cloudwatch_metric_alarm.received["tally-test-work-dlq"].threshold == 0
      && aws_cloudwatch_metric_alarm.received["tally-test-work-dlq"].datapoints_to_alarm == 1
    )
    error_message = "One message received is enough."
  }
}

run "alarms_on_a_message_that_waits_too_long" {
  assert {
    condition = (
      keys(aws_cloudwatch_metric_alarm.oldest) == ["tally-test-work"]
      && aws_cloudwatch_metric_alarm.oldest["tally-test-work"].metric_name == "ApproximateAgeOfOldestMessage"
      && aws_cloudwatch_metric_alarm.oldest["tally-test-work"].dimensions == tomap({ QueueName = "tally-test-work" })
      && aws_cloudwatch_metric_alarm.oldest["tally-test-work"].statistic == "Maximum"
      && aws_cloudwatch_metric_alarm.oldest["tally-test-work"].threshold == 3600
    )
    error_message = "The age of the oldest message must be watched, in seconds."
  }
}

run "alarms_on_a_stream_consumer_that_is_behind" {
  assert {
    condition = (
      keys(aws_cloudwatch_metric_alarm.behind) == ["tally-test-settle"]
      && aws_cloudwatch_metric_alarm.behind["tally-test-settle"].metric_name == "IteratorAge"
      && aws_cloudwatch_metric_alarm.behind["tally-test-settle"].dimensions == tomap({ FunctionName = "tally-test-settle" })
      && aws_cloudwatch_metric_alarm.behind["tally-test-settle"].statistic == "Maximum"
      && aws_cloudwatch_metric_alarm.behind["tally-test-settle"].threshold == 600000
    )
    error_message = "Consumers of a stream, and only those, must be watched; the metric is in milliseconds."
  }
}

run "alarms_on_errors_and_throttles_of_every_function" {
  assert {
    condition = {
      for name, alarm in merge(
        { for name, alarm in aws_cloudwatch_metric_alarm.errors : "${name}/errors" => alarm },
        { for name, alarm in aws_cloudwatch_metric_alarm.throttles : "${name}/throttles" => alarm },
      ) : name => "${alarm.namespace} ${alarm.metric_name} ${alarm.dimensions.FunctionName} ${alarm.statistic} ${alarm.comparison_operator} ${alarm.threshold}"
      } == {
      "tally-test-plan/errors"       = "AWS/Lambda Errors tally-test-plan Sum GreaterThanThreshold 0"
      "tally-test-plan/throttles"    = "AWS/Lambda Throttles tally-test-plan Sum GreaterThanThreshold 0"
      "tally-test-process/errors"    = "AWS/Lambda Errors tally-test-process Sum GreaterThanThreshold 0"
      "tally-test-process/throttles" = "AWS/Lambda Throttles tally-test-process Sum GreaterThanThreshold 0"
      "tally-test-settle/errors"     = "AWS/Lambda Errors tally-test-settle Sum GreaterThanThreshold 0"
      "tally-test-settle/throttles"  = "AWS/Lambda Throttles tally-test-settle Sum GreaterThanThreshold 0"
    }
    error_message = "Every function must be watched for errors and for throttles."
  }
}

run "bears_a_single_failure_unless_told" {
  assert {
    condition     = { for name, alarm in aws_cloudwatch_metric_alarm.errors : name => alarm.evaluation_periods } == { tally-test-plan = 1, tally-test-process = 3, tally-test-settle = 3 }
    error_message = "Redelivery mends a single failure; what runs seldom alarms on one."
  }
}

run "alarms_on_batches_that_reconcile_cannot_mend" {
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.stalled[0].namespace == "Tally"
      && aws_cloudwatch_metric_alarm.stalled[0].metric_name == "BatchesStalled"
      && aws_cloudwatch_metric_alarm.stalled[0].dimensions == tomap({ stage = "test" })
      && aws_cloudwatch_metric_alarm.stalled[0].statistic == "Maximum"
      && aws_cloudwatch_metric_alarm.stalled[0].period == 300
      && aws_cloudwatch_metric_alarm.stalled[0].datapoints_to_alarm == 2
    )
    error_message = "Two runs of reconcile that found a batch standing still must alarm."
  }
}

run "alarms_when_reconcile_is_silent" {
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.unseen[0].namespace == "Tally"
      && aws_cloudwatch_metric_alarm.unseen[0].metric_name == "BatchesOpen"
      && aws_cloudwatch_metric_alarm.unseen[0].dimensions == tomap({ stage = "test" })
      && aws_cloudwatch_metric_alarm.unseen[0].statistic == "SampleCount"
      && aws_cloudwatch_metric_alarm.unseen[0].comparison_operator == "LessThanThreshold"
      && aws_cloudwatch_metric_alarm.unseen[0].threshold == 1
      && aws_cloudwatch_metric_alarm.unseen[0].treat_missing_data == "breaching"
    )
    error_message = "What watches the batches must be watched: no report is the alarm."
  }
}

run "stays_calm_while_nothing_is_reported" {
  assert {
    condition = alltrue([
      for alarm in local.alarms : alarm.treat_missing_data == "notBreaching" if alarm.alarm_name != "tally-test-unseen"
    ])
    error_message = "An idle queue or function has no metrics; that is no alarm."
  }
}

run "tells_the_topic_and_what_to_do" {
  assert {
    condition     = length(local.alarms) == 13 && alltrue([for alarm in local.alarms : alarm.alarm_actions == toset(["arn:aws:sns:us-east-1:123456789012:tally-test-alarms"])])
    error_message = "Every alarm must publish to the topic."
  }

  assert {
    condition = jsondecode(output.descriptions) == {
      tally-test-work-dlq-waiting      = "Messages nobody could process."
      tally-test-work-dlq-received     = "Messages nobody could process."
      tally-test-plan-failures-waiting = "Uploads nobody could plan."
      tally-test-work-oldest           = "Work waits."
      tally-test-settle-behind         = "settle is behind."
      tally-test-plan-errors           = "plan fails."
      tally-test-plan-throttles        = "plan is throttled."
      tally-test-process-errors        = "process fails."
      tally-test-process-throttles     = "process is throttled."
      tally-test-settle-errors         = "settle fails."
      tally-test-settle-throttles      = "settle is throttled."
      tally-test-stalled               = "Batches stand still."
      tally-test-unseen                = "Nobody looks."
    }
    error_message = "Every alarm must carry its own description."
  }
}

run "has_no_alarm_that_nobody_asked_for" {
  command = plan

  variables {
    failure_queues = {}
    queues         = {}
    functions      = {}
    batches        = null
  }

  assert {
    condition     = length(local.alarms) == 0
    error_message = "Each kind of alarm must be a choice."
  }
}

run "takes_the_customers_key_instead_of_one_of_its_own" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/customer"
  }

  assert {
    condition     = aws_sns_topic.this.kms_master_key_id == "arn:aws:kms:us-east-1:123456789012:key/customer" && length(aws_kms_key.this) == 0 && length(aws_kms_alias.this) == 0
    error_message = "The key must be the one given, and no other be paid for."
  }
}

run "plans_the_example" {
  command = plan

  module {
    source = "./examples/basic"
  }
}

run "encrypts_with_a_key_that_alarms_may_use" {
  assert {
    condition     = aws_sns_topic.this.kms_master_key_id == "arn:aws:kms:us-east-1:123456789012:key/own" && aws_kms_key.this[0].enable_key_rotation
    error_message = "CloudWatch may not use the key AWS manages for SNS, so the topic has one of its own."
  }

  assert {
    condition = [for s in jsondecode(aws_kms_key.this[0].policy).Statement : s if try(s.Principal.Service, "") != ""] == [{
      Sid       = "AlarmsEncrypt"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
      Resource  = "*"
      Condition = {
        ArnLike      = { "aws:SourceArn" = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:*" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "CloudWatch may use the key, on behalf of this account's alarms; no other service may."
  }

  assert {
    condition     = [for s in jsondecode(aws_kms_key.this[0].policy).Statement : s.Principal.AWS if try(s.Principal.AWS, "") != ""] == ["arn:aws:iam::123456789012:root"]
    error_message = "The account must be able to manage its key."
  }
}

run "lets_only_alarms_publish_and_only_over_tls" {
  assert {
    condition = [for s in jsondecode(aws_sns_topic.this.policy).Statement : [s.Principal.Service, s.Action, s.Resource] if s.Effect == "Allow"] == [
      ["cloudwatch.amazonaws.com", "sns:Publish", "arn:aws:sns:us-east-1:123456789012:tally-test-alarms"],
    ]
    error_message = "CloudWatch may publish to this topic; nobody else may."
  }

  assert {
    condition = one([
      for s in jsondecode(aws_sns_topic.this.policy).Statement : s if s.Effect == "Deny" && try(s.Condition.Bool["aws:SecureTransport"] == "false", false)
    ]).Resource == "arn:aws:sns:us-east-1:123456789012:tally-test-alarms"
    error_message = "The policy must deny plain HTTP on this topic."
  }
}

run "rejects_an_alarm_that_says_nothing" {
  command = plan

  variables {
    failure_queues = { tally-test-work-dlq = { description = "" } }
  }

  expect_failures = [var.failure_queues]
}

run "rejects_an_age_that_says_nothing" {
  command = plan

  variables {
    queues = { tally-test-work = { description = "", oldest_message_seconds = 3600, message_retention_seconds = 345600 } }
  }

  expect_failures = [var.queues]
}

run "rejects_an_age_that_no_message_reaches" {
  command = plan

  variables {
    queues = { tally-test-work = { description = "Work waits.", oldest_message_seconds = 345600, message_retention_seconds = 345600 } }
  }

  expect_failures = [var.queues]
}

run "rejects_an_age_under_a_minute" {
  command = plan

  variables {
    queues = { tally-test-work = { description = "Work waits.", oldest_message_seconds = 59, message_retention_seconds = 345600 } }
  }

  expect_failures = [var.queues]
}

run "rejects_a_function_alarm_that_says_nothing" {
  command = plan

  variables {
    functions = { tally-test-plan = { errors_description = "", throttles_description = "plan is throttled." } }
  }

  expect_failures = [var.functions]
}

run "rejects_more_than_an_hour_of_failures" {
  command = plan

  variables {
    functions = { tally-test-plan = { errors_description = "plan fails.", throttles_description = "plan is throttled.", periods = 13 } }
  }

  expect_failures = [var.functions]
}

run "rejects_an_iterator_age_that_no_record_reaches" {
  command = plan

  variables {
    iterator_age_seconds = 86400
  }

  expect_failures = [var.iterator_age_seconds]
}

run "rejects_a_batch_alarm_that_says_nothing" {
  command = plan

  variables {
    batches = { name = "tally-test", stage = "test", reconcile_minutes = 5, description = "", unseen = "Nobody looks." }
  }

  expect_failures = [var.batches]
}

run "rejects_runs_too_far_apart_for_an_alarm" {
  command = plan

  variables {
    batches = { name = "tally-test", stage = "test", reconcile_minutes = 481, description = "Batches stand still.", unseen = "Nobody looks." }
  }

  expect_failures = [var.batches]
}

run "rejects_the_alias_of_a_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:alias/customer"
  }

  expect_failures = [var.kms_key_arn]
}

run "rejects_a_prefix_of_another_service" {
  command = plan

  variables {
    alarm_arn_prefix = "arn:aws:sns:us-east-1:123456789012"
  }

  expect_failures = [var.alarm_arn_prefix]
}

run "rejects_a_name_sns_would_refuse" {
  command = plan

  variables {
    name = "tally.alarms"
  }

  expect_failures = [var.name]
}
