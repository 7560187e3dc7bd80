mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

override_resource {
  target = aws_cloudwatch_event_rule.this
  values = {
    arn = "arn:aws:events:us-east-1:123456789012:rule/tally-test/tally-test-completions"
  }
}

variables {
  name       = "tally-test"
  arn_prefix = "arn:aws:events:us-east-1:123456789012"
  queue_arn  = "arn:aws:sqs:us-east-1:123456789012:tally-test-completions"
  dlq_arn    = "arn:aws:sqs:us-east-1:123456789012:tally-test-completions-dlq"
}

run "matches_the_three_ends_of_a_batch_and_nothing_else" {
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this.event_pattern) == {
      source      = ["tally"]
      detail-type = ["Batch Completed", "Batch Stopped", "Batch Rejected"]
    }
    error_message = "The rule must match Tally's three closing events."
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

run "tells_the_rule_that_the_queue_must_let_send" {
  assert {
    condition     = output.rule_arn == aws_cloudwatch_event_rule.this.arn
    error_message = "The queue's policy needs the ARN of the rule."
  }
}

run "tells_it_before_there_is_a_rule" {
  command = plan

  variables {
    name = "tally-other"
  }

  assert {
    condition     = output.rule_arn == "arn:aws:events:us-east-1:123456789012:rule/tally-other/tally-other-completions"
    error_message = "A plan must show whom the queue's policy lets send."
  }
}

run "rejects_arns_of_another_service" {
  command = plan

  variables {
    arn_prefix = "arn:aws:sqs:us-east-1:123456789012"
  }

  expect_failures = [var.arn_prefix]
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

run "plans_the_example" {
  command = plan

  module {
    source = "./examples/basic"
  }

  assert {
    condition     = output.bus_name == "example"
    error_message = "The example must plan by itself."
  }
}

run "rejects_a_fifo_queue" {
  command = plan

  variables {
    queue_arn = "arn:aws:sqs:us-east-1:123456789012:tally-test.fifo"
  }

  expect_failures = [var.queue_arn]
}

run "rejects_a_destination_that_is_no_queue" {
  command = plan

  variables {
    dlq_arn = "arn:aws:sns:us-east-1:123456789012:tally-test"
  }

  expect_failures = [var.dlq_arn]
}

run "rejects_the_queue_as_its_own_dead_letter_queue" {
  command = plan

  variables {
    dlq_arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-completions"
  }

  expect_failures = [var.dlq_arn]
}
