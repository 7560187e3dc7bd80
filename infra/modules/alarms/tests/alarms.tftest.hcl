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

run "alarms_on_what_each_metric_means" {
  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.this : name =>
      "${alarm.namespace} ${alarm.statistic} ${alarm.metric_name} of ${join(",", values(alarm.dimensions))} ${alarm.comparison_operator} ${alarm.threshold}"
      } == {
      tally-test-work-dlq-waiting      = "AWS/SQS Maximum ApproximateNumberOfMessagesVisible of tally-test-work-dlq GreaterThanThreshold 0"
      tally-test-plan-failures-waiting = "AWS/SQS Maximum ApproximateNumberOfMessagesVisible of tally-test-plan-failures GreaterThanThreshold 0"
      tally-test-work-dlq-received     = "AWS/SQS Sum NumberOfMessagesReceived of tally-test-work-dlq GreaterThanThreshold 0"
      tally-test-work-oldest           = "AWS/SQS Maximum ApproximateAgeOfOldestMessage of tally-test-work GreaterThanThreshold 3600"
      tally-test-settle-behind         = "AWS/Lambda Maximum IteratorAge of tally-test-settle GreaterThanThreshold 600000"
      tally-test-plan-errors           = "AWS/Lambda Sum Errors of tally-test-plan GreaterThanThreshold 0"
      tally-test-plan-throttles        = "AWS/Lambda Sum Throttles of tally-test-plan GreaterThanThreshold 0"
      tally-test-process-errors        = "AWS/Lambda Sum Errors of tally-test-process GreaterThanThreshold 0"
      tally-test-process-throttles     = "AWS/Lambda Sum Throttles of tally-test-process GreaterThanThreshold 0"
      tally-test-settle-errors         = "AWS/Lambda Sum Errors of tally-test-settle GreaterThanThreshold 0"
      tally-test-settle-throttles      = "AWS/Lambda Sum Throttles of tally-test-settle GreaterThanThreshold 0"
      tally-test-stalled               = "Tally Maximum BatchesStalled of test GreaterThanThreshold 0"
      tally-test-unseen                = "Tally SampleCount BatchesOpen of test LessThanThreshold 1"
    }
    error_message = "Every queue, function and stage must be watched for what can go wrong with it; a stream's age is in milliseconds."
  }

  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.this : one(keys(alarm.dimensions)) => alarm.namespace...
      } == {
      QueueName    = ["AWS/SQS", "AWS/SQS", "AWS/SQS", "AWS/SQS"]
      FunctionName = ["AWS/Lambda", "AWS/Lambda", "AWS/Lambda", "AWS/Lambda", "AWS/Lambda", "AWS/Lambda", "AWS/Lambda"]
      stage        = ["Tally", "Tally"]
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

run "alarms_on_a_message_that_a_consumer_took_at_once" {
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["tally-test-work-dlq-received"].datapoints_to_alarm == 1
      && aws_cloudwatch_metric_alarm.this["tally-test-work-dlq-received"].evaluation_periods == 3
    )
    error_message = "One message received is enough, and its coming back is no other alarm."
  }
}

run "bears_a_single_failure_unless_told" {
  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.evaluation_periods if endswith(name, "-errors") || endswith(name, "-throttles")
      } == {
      tally-test-plan-errors    = 1, tally-test-process-errors = 3, tally-test-settle-errors = 3
      tally-test-plan-throttles = 1, tally-test-process-throttles = 3, tally-test-settle-throttles = 3
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

run "stays_calm_while_nothing_is_reported_but_by_reconcile" {
  assert {
    condition = [
      for name, alarm in aws_cloudwatch_metric_alarm.this : name if alarm.treat_missing_data != "notBreaching"
      ] == ["tally-test-unseen"] && (
      aws_cloudwatch_metric_alarm.this["tally-test-unseen"].treat_missing_data == "breaching"
    )
    error_message = "An idle queue or function has no metrics, and that is no alarm; what watches the batches always reports."
  }
}

run "does_not_wait_for_a_reconcile_that_cannot_run_yet" {
  command = plan

  variables {
    batches = { name = "tally-test", stage = "test", reconcile_minutes = 5, description = "Batches stand still." }
  }

  assert {
    condition     = contains(keys(local.alarms), "tally-test-stalled") && !contains(keys(local.alarms), "tally-test-unseen")
    error_message = "Without a text for it there must be no alarm on silence."
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
