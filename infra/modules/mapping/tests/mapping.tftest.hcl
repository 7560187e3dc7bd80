# Plans only: a destroy after an apply would meet prevent_destroy.
mock_provider "aws" {}

variables {
  function_name                    = "tally-test-process"
  function_timeout_seconds         = 60
  event_source_arn                 = "arn:aws:sqs:us-east-1:123456789012:tally-test-work"
  queue_visibility_timeout_seconds = 360
  batch_size                       = 10
}

run "reports_the_failed_messages_of_a_queue" {
  command = plan

  assert {
    condition     = aws_lambda_event_source_mapping.this.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "Without this setting a partial answer counts as success and loses messages."
  }
}

run "limits_the_concurrency_of_a_queue" {
  command = plan

  variables {
    maximum_concurrency = 50
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this.scaling_config[0].maximum_concurrency == 50
    error_message = "The limit must be set."
  }
}

run "limits_nothing_unless_told" {
  command = plan

  assert {
    condition     = length(aws_lambda_event_source_mapping.this.scaling_config) == 0
    error_message = "No limit by default."
  }
}

run "keeps_a_bad_record_from_blocking_a_stream" {
  command = plan

  variables {
    event_source_arn                 = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test/stream/2026-01-01T00:00:00.000"
    queue_visibility_timeout_seconds = null
    stream                           = { on_failure_arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-stream-failures" }
  }

  assert {
    condition = (
      aws_lambda_event_source_mapping.this.bisect_batch_on_function_error
      && aws_lambda_event_source_mapping.this.maximum_retry_attempts == 100
      && aws_lambda_event_source_mapping.this.destination_config[0].on_failure[0].destination_arn == "arn:aws:sqs:us-east-1:123456789012:tally-test-stream-failures"
    )
    error_message = "A stream must bisect, end its retries and keep what failed."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this.starting_position == "TRIM_HORIZON"
    error_message = "What was written before the mapping must be delivered too."
  }

  assert {
    condition     = length(aws_lambda_event_source_mapping.this.function_response_types) == 0
    error_message = "A stream handler raises; it reports nothing."
  }
}

run "delivers_only_what_a_filter_names" {
  command = plan

  variables {
    filters = ["{\"body\":{\"a\":[1]}}", "{\"body\":{\"b\":[1]}}"]
  }

  assert {
    condition     = length(aws_lambda_event_source_mapping.this.filter_criteria[0].filter) == 2
    error_message = "Both filters must be set."
  }
}

run "rejects_a_source_that_is_neither_queue_nor_stream" {
  command = plan

  variables {
    event_source_arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s"
  }

  expect_failures = [var.event_source_arn]
}

run "rejects_stream_settings_for_a_queue" {
  command = plan

  variables {
    stream = { on_failure_arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-stream-failures" }
  }

  expect_failures = [var.stream]
}

run "rejects_a_stream_without_a_failure_destination" {
  command = plan

  variables {
    event_source_arn                 = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test/stream/2026-01-01T00:00:00.000"
    queue_visibility_timeout_seconds = null
  }

  expect_failures = [var.stream]
}

run "rejects_endless_retries" {
  command = plan

  variables {
    event_source_arn                 = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test/stream/2026-01-01T00:00:00.000"
    queue_visibility_timeout_seconds = null
    stream                           = { maximum_retry_attempts = -1, on_failure_arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-stream-failures" }
  }

  expect_failures = [var.stream]
}

run "rejects_more_than_ten_batches_of_a_shard_at_once" {
  command = plan

  variables {
    event_source_arn                 = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test/stream/2026-01-01T00:00:00.000"
    queue_visibility_timeout_seconds = null
    stream                           = { parallelization_factor = 11, on_failure_arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-stream-failures" }
  }

  expect_failures = [var.stream]
}

run "rejects_a_concurrency_of_one" {
  command = plan

  variables {
    maximum_concurrency = 1
  }

  expect_failures = [var.maximum_concurrency]
}

run "rejects_a_concurrency_limit_on_a_stream" {
  command = plan

  variables {
    event_source_arn                 = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test/stream/2026-01-01T00:00:00.000"
    queue_visibility_timeout_seconds = null
    stream                           = { on_failure_arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-stream-failures" }
    maximum_concurrency              = 5
  }

  expect_failures = [var.maximum_concurrency]
}

run "rejects_a_filter_that_is_not_json" {
  command = plan

  variables {
    filters = ["{body"]
  }

  expect_failures = [var.filters]
}

run "rejects_more_filters_than_lambda_takes" {
  command = plan

  variables {
    filters = [for i in range(6) : jsonencode({ body = { n = [i] } })]
  }

  expect_failures = [var.filters]
}

run "accepts_a_window_and_a_run_of_exactly_the_visibility" {
  command = plan

  variables {
    window_seconds = 300
    batch_size     = 100
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this.maximum_batching_window_in_seconds == 300 && aws_lambda_event_source_mapping.this.batch_size == 100
    error_message = "60 + 300 fits into 360."
  }
}

run "rejects_a_window_that_outlasts_visibility" {
  command = plan

  variables {
    window_seconds                   = 300
    queue_visibility_timeout_seconds = 359
  }

  expect_failures = [var.queue_visibility_timeout_seconds]
}

run "rejects_a_queue_without_a_visibility_timeout" {
  command = plan

  variables {
    queue_visibility_timeout_seconds = null
  }

  expect_failures = [var.queue_visibility_timeout_seconds]
}

run "rejects_a_visibility_timeout_for_a_stream" {
  command = plan

  variables {
    event_source_arn = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test/stream/2026-01-01T00:00:00.000"
    stream           = { on_failure_arn = "arn:aws:sqs:us-east-1:123456789012:tally-test-stream-failures" }
  }

  expect_failures = [var.queue_visibility_timeout_seconds]
}

run "rejects_a_batch_over_ten_without_a_window" {
  command = plan

  variables {
    batch_size = 11
  }

  expect_failures = [var.batch_size]
}

run "rejects_an_empty_batch" {
  command = plan

  variables {
    batch_size = 0
  }

  expect_failures = [var.batch_size]
}

run "rejects_a_window_over_five_minutes" {
  command = plan

  variables {
    window_seconds                   = 301
    queue_visibility_timeout_seconds = 900
  }

  expect_failures = [var.window_seconds]
}

run "rejects_a_function_slower_than_lambda_allows" {
  command = plan

  variables {
    function_timeout_seconds         = 901
    queue_visibility_timeout_seconds = 5406
  }

  expect_failures = [var.function_timeout_seconds]
}

run "rejects_a_function_name_lambda_would_refuse" {
  command = plan

  variables {
    function_name = "tally test"
  }

  expect_failures = [var.function_name]
}

run "rejects_a_failure_destination_that_lambda_does_not_know" {
  command = plan

  variables {
    event_source_arn                 = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test/stream/2026-01-01T00:00:00.000"
    queue_visibility_timeout_seconds = null
    stream                           = { on_failure_arn = "arn:aws:lambda:us-east-1:123456789012:function:f" }
  }

  expect_failures = [var.stream]
}

run "plans_the_example" {
  command = plan

  module {
    source = "./examples/basic"
  }
}
