mock_provider "aws" {}

variables {
  name             = "tally-test"
  region           = "us-east-1"
  stage            = "test"
  table_name       = "tally-test"
  queues           = ["tally-test-work", "tally-test-heavy"]
  failure_queues   = ["tally-test-work-dlq"]
  functions        = ["tally-test-process", "tally-test-settle"]
  stream_functions = ["tally-test-settle"]
}

run "shows_rows_by_outcome_batches_and_seconds_a_row" {
  command = plan

  assert {
    condition = [
      for metric in flatten([for w in jsondecode(output.body).widgets : [for m in w.properties.metrics : { name = m[1], dimension = m[2], stage = m[3] } if m[0] == "Tally"]]) : metric
      ] == [
      for name in ["RowsSucceeded", "RowsFailed", "RowsRejected", "BatchesOpen", "BatchesStalled", "BatchesCompleted", "RowSeconds", "RowSeconds"] :
      { name = name, dimension = "stage", stage = "test" }
    ]
    error_message = "The functions' own metrics must be shown, of this stage."
  }
}

run "shows_every_queue_function_and_the_table" {
  command = plan

  assert {
    condition = {
      for w in jsondecode(output.body).widgets : w.properties.title => [for m in w.properties.metrics : m[3]] if !startswith(w.properties.metrics[0][0], "Tally")
      } == {
      "Messages waiting"                 = ["tally-test-work", "tally-test-heavy"]
      "Seconds the oldest message waits" = ["tally-test-work", "tally-test-heavy"]
      "What could not be done"           = ["tally-test-work-dlq"]
      "Errors"                           = ["tally-test-process", "tally-test-settle"]
      "Throttles"                        = ["tally-test-process", "tally-test-settle"]
      "Functions running at once"        = ["tally-test-process", "tally-test-settle"]
      "Milliseconds a run, 95 of 100"    = ["tally-test-process", "tally-test-settle"]
      "Milliseconds behind the stream"   = ["tally-test-settle"]
      "Table"                            = ["tally-test", "tally-test", "tally-test", "tally-test"]
    }
    error_message = "Each graph must show all it is about, and nothing else."
  }
}

run "shows_the_results_table_where_there_is_one" {
  command = plan

  variables {
    results_table = "tally-test-results"
  }

  assert {
    condition = [
      for w in jsondecode(output.body).widgets : join(" ", distinct([for m in w.properties.metrics : m[3]])) if w.properties.title == "Results table"
    ] == ["tally-test-results"]
    error_message = "The graph must be of the results table, and of nothing else."
  }
}

run "rejects_a_results_table_name_dynamodb_would_refuse" {
  command = plan

  variables {
    results_table = "t"
  }

  expect_failures = [var.results_table]
}

run "lays_no_graph_over_another" {
  command = plan

  variables {
    results_table = "tally-test-results"
  }

  assert {
    condition = (
      length(distinct([for w in jsondecode(output.body).widgets : [w.x, w.y]])) == length(jsondecode(output.body).widgets)
      && alltrue([for w in jsondecode(output.body).widgets : w.x + w.width <= 24 && w.x % w.width == 0 && w.y % w.height == 0])
    )
    error_message = "The graphs must fill a grid 24 wide."
  }
}

run "plans_the_example" {
  command = plan

  module {
    source = "./examples/basic"
  }

  assert {
    condition     = output.name == "example"
    error_message = "The example must plan by itself."
  }
}

run "rejects_a_name_cloudwatch_would_refuse" {
  command = plan

  variables {
    name = "tally test"
  }

  expect_failures = [var.name]
}

run "rejects_what_is_no_region" {
  command = plan

  variables {
    region = "virginia"
  }

  expect_failures = [var.region]
}

run "rejects_a_stage_without_a_name" {
  command = plan

  variables {
    stage = ""
  }

  expect_failures = [var.stage]
}

run "rejects_a_table_name_dynamodb_would_refuse" {
  command = plan

  variables {
    table_name = "t"
  }

  expect_failures = [var.table_name]
}

run "rejects_a_graph_without_queues" {
  command = plan

  variables {
    queues = []
  }

  expect_failures = [var.queues]
}

run "rejects_a_graph_without_failure_queues" {
  command = plan

  variables {
    failure_queues = []
  }

  expect_failures = [var.failure_queues]
}

run "rejects_a_graph_without_functions" {
  command = plan

  variables {
    functions        = []
    stream_functions = []
  }

  expect_failures = [var.functions]
}

run "rejects_a_stream_function_that_is_none" {
  command = plan

  variables {
    stream_functions = ["tally-test-other"]
  }

  expect_failures = [var.stream_functions]
}
