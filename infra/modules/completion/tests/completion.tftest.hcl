mock_provider "aws" {}

override_resource {
  target = aws_cloudwatch_event_rule.this
  values = {
    arn = "arn:aws:events:us-east-1:123456789012:rule/tally-test/tally-test-completions"
  }
}

override_resource {
  target = module.queue.aws_sqs_queue.this
  values = {
    arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-completions"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/tally-test-completions"
  }
}

override_resource {
  target = module.queue.module.dlq.aws_sqs_queue.this
  values = {
    arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-completions-dlq"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/tally-test-completions-dlq"
  }
}

variables {
  name       = "tally-test"
  arn_prefix = "arn:aws:sqs:us-east-1:123456789012"
}

run "matches_the_two_ends_of_a_batch_and_nothing_else" {
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this.event_pattern) == {
      source      = ["tally"]
      detail-type = ["Batch Completed", "Batch Rejected"]
    }
    error_message = "The rule must match Tally's two closing events."
  }
}

run "listens_on_its_own_bus" {
  assert {
    condition = (
      aws_cloudwatch_event_bus.this.name == "tally-test"
      && aws_cloudwatch_event_rule.this.event_bus_name == "tally-test"
      && aws_cloudwatch_event_target.this.event_bus_name == "tally-test"
    )
    error_message = "Bus, rule and target must belong together."
  }
}

run "delivers_to_the_queue_and_keeps_what_it_cannot_deliver" {
  assert {
    condition = (
      aws_cloudwatch_event_target.this.arn == "arn:aws:sqs:us-east-1:123456789012:tally-test-completions"
      && aws_cloudwatch_event_target.this.dead_letter_config[0].arn == "arn:aws:sqs:us-east-1:123456789012:tally-test-completions-dlq"
    )
    error_message = "The target is the queue, its dead letters go to the queue's own dead-letter queue."
  }
}

run "lets_only_this_rule_send" {
  assert {
    condition = [
      for s in jsondecode(module.queue.policy).Statement : [s.Principal.Service, s.Action, s.Condition.ArnEquals["aws:SourceArn"]] if s.Effect == "Allow"
    ] == [["events.amazonaws.com", "sqs:SendMessage", "arn:aws:events:us-east-1:123456789012:rule/tally-test/tally-test-completions"]]
    error_message = "EventBridge may send on behalf of this rule; nobody else may."
  }
}

run "rejects_the_default_bus" {
  command = plan

  variables {
    name = "default"
  }

  expect_failures = [var.name]
}

run "rejects_a_name_without_room_for_the_suffix" {
  command = plan

  variables {
    name = join("", [for i in range(53) : "b"])
  }

  expect_failures = [var.name]
}
