mock_provider "aws" {}

override_resource {
  target = aws_kms_key.this
  values = { arn = "arn:aws:kms:us-east-1:123456789012:key/own" }
}

override_resource {
  target = aws_sns_topic.this
  values = { arn = "arn:aws:sns:us-east-1:123456789012:tally-test-alarms" }
}

variables {
  name             = "tally-test-alarms"
  alarm_arn_prefix = "arn:aws:cloudwatch:us-east-1:123456789012:alarm"

  queues = {
    tally-test-work-dlq      = "Messages nobody could process."
    tally-test-plan-failures = "Uploads nobody could plan."
  }

  consumed_queues = ["tally-test-work-dlq"]
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

run "stays_calm_while_a_queue_reports_nothing" {
  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.waiting), values(aws_cloudwatch_metric_alarm.received)) : alarm.treat_missing_data == "notBreaching"
    ])
    error_message = "An idle queue has no metrics; that is no alarm."
  }
}

run "tells_the_topic_and_what_to_do" {
  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.waiting), values(aws_cloudwatch_metric_alarm.received)) :
      alarm.alarm_actions == toset(["arn:aws:sns:us-east-1:123456789012:tally-test-alarms"])
      && alarm.alarm_description == var.queues[alarm.dimensions.QueueName]
    ])
    error_message = "Every alarm must publish to the topic and carry its queue's description."
  }
}

run "encrypts_with_a_key_that_alarms_may_use" {
  assert {
    condition     = aws_sns_topic.this.kms_master_key_id == "arn:aws:kms:us-east-1:123456789012:key/own" && aws_kms_key.this.enable_key_rotation
    error_message = "CloudWatch may not use the key AWS manages for SNS, so the topic has one of its own."
  }

  assert {
    condition = [for s in jsondecode(aws_kms_key.this.policy).Statement : s if try(s.Principal.Service, "") != ""] == [{
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
    condition     = [for s in jsondecode(aws_kms_key.this.policy).Statement : s.Principal.AWS if try(s.Principal.AWS, "") != ""] == ["arn:aws:iam::123456789012:root"]
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

run "rejects_a_consumed_queue_it_does_not_know" {
  command = plan

  variables {
    consumed_queues = ["tally-test-other"]
  }

  expect_failures = [var.consumed_queues]
}

run "rejects_an_alarm_that_says_nothing" {
  command = plan

  variables {
    queues = { tally-test-work-dlq = "" }
  }

  expect_failures = [var.queues]
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
