# Alarms and the dashboard.
mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  deployed_file = "tests/fixtures/not-deployed.json"
}

run "alarms_on_everything_that_could_not_be_done" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for alarm, description in jsondecode(module.alarms[0].descriptions) : trimprefix(alarm, "tally-alpha-") => regex("docs/runbook.md#([a-z-]+)\\.$", description)[0]
      if endswith(alarm, "-waiting") || endswith(alarm, "-received")
      } == {
      ingest-dlq-waiting      = "dead-letters-ingest"
      ingest-dlq-received     = "dead-letters-ingest"
      work-dlq-waiting        = "dead-letters-work"
      work-dlq-received       = "dead-letters-work"
      heavy-dlq-waiting       = "dead-letters-heavy"
      heavy-dlq-received      = "dead-letters-heavy"
      finished-dlq-waiting    = "dead-letters-finished"
      finished-dlq-received   = "dead-letters-finished"
      completions-dlq-waiting = "completions-dead-letters"
      plan-failures-waiting   = "plan-failures"
      plan-failures-received  = "plan-failures"
      stream-failures-waiting = "stream-failures"
    }
    error_message = "Every queue of failures must alarm and name its part of the runbook; what dead_letters consumes must alarm on receipt too."
  }
}

run "alarms_on_every_queue_that_is_behind" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for alarm, description in jsondecode(module.alarms[0].descriptions) : trimprefix(alarm, "tally-alpha-") => regex("docs/runbook.md#([a-z-]+)\\.$", description)[0]
      if endswith(alarm, "-oldest")
      } == {
      ingest-oldest      = "queue-behind"
      work-oldest        = "queue-behind"
      heavy-oldest       = "queue-behind"
      finished-oldest    = "queue-behind"
      completions-oldest = "completions-waiting"
    }
    error_message = "Every queue that carries work must alarm on the age of its oldest message."
  }

  assert {
    condition = { for name, queue in local.queue_ages : trimprefix(name, "tally-alpha-") => queue.oldest_message_seconds } == {
      ingest = 3600, work = 3600, heavy = 10800, finished = 3600, completions = 86400
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
    condition     = !contains(keys(local.queue_ages), "tally-alpha-completions") && length(local.queue_ages) == 4
    error_message = "0 must mean no alarm for completions, and for them only."
  }
}

run "alarms_on_every_function" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = toset([
      for alarm, description in jsondecode(module.alarms[0].descriptions) : "${trimprefix(alarm, "tally-alpha-")} ${regex("docs/runbook.md#([a-z-]+)\\.$", description)[0]}"
      if endswith(alarm, "-errors") || endswith(alarm, "-throttles") || endswith(alarm, "-behind")
      ]) == toset(concat(
      [for name in keys(local.functions) : "${name}-errors function-errors"],
      [for name in keys(local.functions) : "${name}-throttles function-throttles"],
      ["dispatch-behind stream-behind", "settle-behind stream-behind"],
    ))
    error_message = "Every function must alarm on errors and throttles, a stream's consumer on its age too."
  }

  assert {
    condition     = [for name, function in local.watched_functions : trimprefix(name, "tally-alpha-") if function.periods == 1] == ["dead_letters", "plan", "reconcile"]
    error_message = "What runs seldom must alarm on one failure."
  }
}

run "alarms_on_a_batch_without_progress" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = endswith(jsondecode(module.alarms[0].descriptions)["tally-alpha-stalled"], "docs/runbook.md#batch-without-progress.")
    error_message = "A batch that reconcile cannot mend must alarm."
  }

  assert {
    condition     = !contains(keys(jsondecode(module.alarms[0].descriptions)), "tally-alpha-unseen")
    error_message = "The silence of a reconcile that is not deployed must not alarm."
  }
}

run "shows_every_queue_and_function" {
  variables {
    stage = "alpha"
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

run "has_no_dashboard_where_none_is_wanted" {
  variables {
    stage     = "alpha"
    dashboard = false
  }

  assert {
    condition     = length(module.dashboard) == 0 && output.dashboard_name == null && length(module.alarms) == 1
    error_message = "dashboard = false must leave out the dashboard and nothing else."
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
