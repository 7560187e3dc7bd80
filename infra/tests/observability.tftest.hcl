# Alarms and the dashboard.
mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  deployed_file = "tests/fixtures/not-deployed.json"
}

# The whole list but reconcile-silent, which waits for a deployment (adoption.tftest.hcl): each costs by the month, and says what no other says in
# time.
run "alarms_on_what_no_other_alarm_tells" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for alarm, description in jsondecode(module.alarms[0].descriptions) : trimprefix(alarm, "tally-alpha-") => regex("docs/runbook.md#([a-z-]+)\\.$", description)[0]
      } == {
      ingest-dlq-waiting      = "dead-letters-ingest"
      work-dlq-waiting        = "dead-letters-work"
      heavy-dlq-waiting       = "dead-letters-heavy"
      finished-dlq-waiting    = "dead-letters-finished"
      export-dlq-waiting      = "dead-letters-export"
      save-dlq-waiting        = "dead-letters-save"
      plan-failures-waiting   = "plan-failures"
      stream-failures-waiting = "stream-failures"
      completions-dlq-waiting = "completions-dead-letters"
      dead_letters-invoked    = "dead-letters"
      work-oldest             = "queue-behind"
      heavy-oldest            = "queue-behind"
      completions-oldest      = "completions-waiting"
      dispatch-behind         = "stream-behind"
      settle-behind           = "stream-behind"
      ingest-errors           = "function-errors"
      process-errors          = "function-errors"
      process_heavy-errors    = "function-errors"
      dead_letters-errors     = "function-errors"
      reconcile-errors        = "function-errors"
      ingest-throttles        = "function-throttles"
      process-throttles       = "function-throttles"
      process_heavy-throttles = "function-throttles"
      stalled                 = "batch-without-progress"
    }
    error_message = "Every queue of failures, every consumer of the stream, every function that rows depend on and every batch must alarm, and name its part of the runbook."
  }

  assert {
    condition     = [for name, function in local.watched_functions : trimprefix(name, "tally-alpha-") if function.periods == 1] == ["dead_letters", "reconcile"]
    error_message = "What runs seldom must alarm on one failure."
  }
}

run "gives_two_deliveries_their_time" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = { for name, queue in local.queue_ages : trimprefix(name, "tally-alpha-") => queue.oldest_message_seconds } == {
      work = 3600, heavy = 10800, completions = 86400
    }
    error_message = "A heavy row may take two deliveries before it is late."
  }
}

run "leaves_completions_alone_that_nobody_consumes" {
  variables {
    stage                              = "alpha"
    completions_oldest_message_minutes = 0
  }

  assert {
    condition     = !contains(keys(local.queue_ages), "tally-alpha-completions") && length(local.queue_ages) == 2
    error_message = "0 must mean no alarm for completions, and for them only."
  }
}

run "shows_every_queue_and_function" {
  variables {
    stage     = "alpha"
    dashboard = true
  }

  assert {
    condition = alltrue([
      for name in concat(
        [for q in module.queue : q.name], [for q in module.queue : q.dlq_name], values(local.function_names),
        [module.completions.name, module.completions.dlq_name, module.plan_failures.name, module.stream_failures.name, module.table.name],
      ) : strcontains(module.dashboard[0].body, "\"${name}\"")
    ])
    error_message = "The dashboard must show every queue, every function and the table."
  }
}

run "shows_the_results_table_where_there_is_one" {
  variables {
    stage         = "alpha"
    dashboard     = true
    results_table = {}
  }

  assert {
    condition     = strcontains(module.dashboard[0].body, "\"tally-alpha-results\"")
    error_message = "The dashboard must show the results table."
  }
}

run "has_no_alarms_where_none_are_wanted" {
  variables {
    stage  = "alpha"
    alarms = false
  }

  assert {
    condition     = length(module.alarms) == 0 && output.alarm_topic_arn == null
    error_message = "alarms = false must leave topic and key out too."
  }
}

run "has_no_dashboard_unless_told" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = length(module.dashboard) == 0 && output.dashboard_name == null && length(module.alarms) == 1
    error_message = "A dashboard costs by the month, so it must be a choice."
  }
}

run "rejects_an_alarm_that_comes_after_the_message_is_gone" {
  command = plan

  variables {
    stage                  = "alpha"
    oldest_message_minutes = 5760
  }

  expect_failures = [var.oldest_message_minutes]
}

run "rejects_an_alarm_that_comes_after_the_completion_is_gone" {
  command = plan

  variables {
    stage                              = "alpha"
    completions_oldest_message_minutes = 5760
  }

  expect_failures = [var.completions_oldest_message_minutes]
}

run "rejects_an_alarm_that_comes_after_the_stream_forgot" {
  command = plan

  variables {
    stage                = "alpha"
    iterator_age_minutes = 1440
  }

  expect_failures = [var.iterator_age_minutes]
}
