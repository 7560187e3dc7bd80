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
  own_key          = true

  failure_queues = {
    tally-test-work-dlq      = { description = "Messages nobody could process." }
    tally-test-plan-failures = { description = "Uploads nobody could plan." }
  }

  queues = {
    tally-test-work = { description = "Work waits.", oldest_message_seconds = 3600, message_retention_seconds = 345600 }
  }

  functions = {
    tally-test-process      = { errors_description = "process fails.", throttles_description = "process is throttled." }
    tally-test-settle       = { behind_description = "settle is behind." }
    tally-test-dead_letters = { errors_description = "dead_letters fails.", invoked_description = "dead_letters runs.", periods = 1 }
    tally-test-reconcile    = { silent_description = "reconcile does not run.", silent_minutes = 5 }
  }

  batches = { name = "tally-test", stage = "test", reconcile_minutes = 5, description = "Batches stand still." }
}

run "alarms_on_what_each_metric_means" {
  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.this : name =>
      "${alarm.namespace} ${alarm.statistic} ${alarm.metric_name} of ${join(",", values(alarm.dimensions))} ${alarm.comparison_operator} ${alarm.threshold}"
      } == {
      tally-test-work-dlq-waiting      = "AWS/SQS Maximum ApproximateNumberOfMessagesVisible of tally-test-work-dlq GreaterThanThreshold 0"
      tally-test-plan-failures-waiting = "AWS/SQS Maximum ApproximateNumberOfMessagesVisible of tally-test-plan-failures GreaterThanThreshold 0"
      tally-test-work-oldest           = "AWS/SQS Maximum ApproximateAgeOfOldestMessage of tally-test-work GreaterThanThreshold 3600"
      tally-test-settle-behind         = "AWS/Lambda Maximum IteratorAge of tally-test-settle GreaterThanThreshold 600000"
      tally-test-process-errors        = "AWS/Lambda Sum Errors of tally-test-process GreaterThanThreshold 0"
      tally-test-process-throttles     = "AWS/Lambda Sum Throttles of tally-test-process GreaterThanThreshold 0"
      tally-test-dead_letters-errors   = "AWS/Lambda Sum Errors of tally-test-dead_letters GreaterThanThreshold 0"
      tally-test-dead_letters-invoked  = "AWS/Lambda Sum Invocations of tally-test-dead_letters GreaterThanThreshold 0"
      tally-test-reconcile-silent      = "AWS/Lambda Sum Invocations of tally-test-reconcile LessThanThreshold 1"
      tally-test-stalled               = "Tally Maximum BatchesStalled of test GreaterThanThreshold 0"
    }
    error_message = "Every queue, function and stage must be watched for what can go wrong with it; a stream's age is in milliseconds."
  }

  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.this : one(keys(alarm.dimensions)) => alarm.namespace...
      } == {
      QueueName    = ["AWS/SQS", "AWS/SQS", "AWS/SQS"]
      FunctionName = ["AWS/Lambda", "AWS/Lambda", "AWS/Lambda", "AWS/Lambda", "AWS/Lambda", "AWS/Lambda"]
      stage        = ["Tally"]
    }
    error_message = "A metric has the dimension its service reports it with, and no other."
  }
}

run "alarms_as_soon_as_a_message_waits" {
  assert {
    condition = alltrue([
      for name, alarm in aws_cloudwatch_metric_alarm.this : alarm.period * alarm.evaluation_periods == 300 if endswith(name, "-waiting")
    ])
    error_message = "One visible message within five minutes is enough."
  }
}

run "alarms_on_a_run_that_ought_not_to_be" {
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["tally-test-dead_letters-invoked"].datapoints_to_alarm == 1
      && aws_cloudwatch_metric_alarm.this["tally-test-dead_letters-invoked"].evaluation_periods == 3
    )
    error_message = "One run is enough, and the next for the same message is no other alarm."
  }
}

run "bears_a_single_failure_unless_told" {
  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.evaluation_periods if endswith(name, "-errors") || endswith(name, "-throttles")
      } == {
      tally-test-dead_letters-errors = 1, tally-test-process-errors = 3, tally-test-process-throttles = 3
    }
    error_message = "Redelivery repairs a single failure; what runs seldom alarms on one."
  }
}

run "alarms_on_batches_that_reconcile_cannot_repair" {
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["tally-test-stalled"].period == 300
      && aws_cloudwatch_metric_alarm.this["tally-test-stalled"].datapoints_to_alarm == 2
    )
    error_message = "Two runs of reconcile that found a batch standing still must alarm."
  }
}

run "stays_calm_while_nothing_is_reported_but_by_a_schedule" {
  assert {
    condition = [
      for name, alarm in aws_cloudwatch_metric_alarm.this : name if alarm.treat_missing_data != "notBreaching"
      ] == ["tally-test-reconcile-silent"] && (
      aws_cloudwatch_metric_alarm.this["tally-test-reconcile-silent"].treat_missing_data == "breaching"
      && aws_cloudwatch_metric_alarm.this["tally-test-reconcile-silent"].period == 300
    )
    error_message = "An idle queue or function has no metrics, and that is no alarm; what a schedule calls always has."
  }
}

run "tells_the_topic_and_what_to_do" {
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_actions == toset(["arn:aws:sns:us-east-1:123456789012:tally-test-alarms"])])
    error_message = "Every alarm must publish to the topic."
  }

  assert {
    condition = jsondecode(output.descriptions) == {
      tally-test-work-dlq-waiting      = "Messages nobody could process."
      tally-test-plan-failures-waiting = "Uploads nobody could plan."
      tally-test-work-oldest           = "Work waits."
      tally-test-settle-behind         = "settle is behind."
      tally-test-process-errors        = "process fails."
      tally-test-process-throttles     = "process is throttled."
      tally-test-dead_letters-errors   = "dead_letters fails."
      tally-test-dead_letters-invoked  = "dead_letters runs."
      tally-test-reconcile-silent      = "reconcile does not run."
      tally-test-stalled               = "Batches stand still."
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

run "pays_for_no_key_unless_told" {
  command = plan

  variables {
    own_key = false
  }

  assert {
    condition     = length(aws_kms_key.this) == 0 && length(aws_kms_alias.this) == 0 && aws_sns_topic.this.kms_master_key_id == null
    error_message = "A key costs by the month, so it must be a choice; the key that AWS manages for SNS is one that alarms cannot use."
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
    functions = { tally-test-plan = { errors_description = "" } }
  }

  expect_failures = [var.functions]
}

run "rejects_more_than_an_hour_of_failures" {
  command = plan

  variables {
    functions = { tally-test-plan = { errors_description = "plan fails.", periods = 13 } }
  }

  expect_failures = [var.functions]
}

run "rejects_a_silence_that_no_alarm_can_see" {
  command = plan

  variables {
    functions = { tally-test-reconcile = { silent_description = "reconcile does not run.", silent_minutes = 481 } }
  }

  expect_failures = [var.functions]
}

run "rejects_a_silence_without_a_length" {
  command = plan

  variables {
    functions = { tally-test-reconcile = { silent_description = "reconcile does not run." } }
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
    batches = { name = "tally-test", stage = "test", reconcile_minutes = 5, description = "" }
  }

  expect_failures = [var.batches]
}

run "rejects_runs_too_far_apart_for_an_alarm" {
  command = plan

  variables {
    batches = { name = "tally-test", stage = "test", reconcile_minutes = 481, description = "Batches stand still." }
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
