# Adoption on a mocked AWS, from a file as Chalice writes it. Plans only: a destroy after an apply would meet prevent_destroy.
# override_during needs Terraform 1.11; the configuration itself needs 1.9.
mock_provider "aws" {
  override_during = plan
  source          = "./tests/aws"
}

override_resource {
  target          = module.mapping["ingest:00000000-0000-4000-8000-000000000001"].aws_lambda_event_source_mapping.this
  override_during = plan
}

override_resource {
  target          = module.mapping["process:00000000-0000-4000-8000-000000000002"].aws_lambda_event_source_mapping.this
  override_during = plan
}

override_resource {
  target          = module.mapping["finish:00000000-0000-4000-8000-000000000003"].aws_lambda_event_source_mapping.this
  override_during = plan
}

override_resource {
  target          = module.mapping["dispatch:00000000-0000-4000-8000-000000000004"].aws_lambda_event_source_mapping.this
  override_during = plan
}

override_resource {
  target          = module.mapping["settle:00000000-0000-4000-8000-000000000005"].aws_lambda_event_source_mapping.this
  override_during = plan
}

override_resource {
  target          = module.mapping["process_heavy:00000000-0000-4000-8000-000000000006"].aws_lambda_event_source_mapping.this
  override_during = plan
}

override_resource {
  target          = module.mapping["dead_letters:00000000-0000-4000-8000-000000000007"].aws_lambda_event_source_mapping.this
  override_during = plan
}

override_resource {
  target          = module.mapping["export:00000000-0000-4000-8000-000000000008"].aws_lambda_event_source_mapping.this
  override_during = plan
}

override_resource {
  target          = module.mapping["save:00000000-0000-4000-8000-000000000009"].aws_lambda_event_source_mapping.this
  override_during = plan
}

variables {
  stage         = "alpha"
  deployed_file = "tests/fixtures/deployed.json"
}

run "adopts_every_mapping_chalice_created" {
  command = plan

  assert {
    condition     = output.adopted_mappings == 9 && length(module.mapping) == 9
    error_message = "Nine functions have a mapping."
  }
}

run "alarms_on_a_deployed_reconcile_that_is_silent" {
  command = plan

  assert {
    condition     = endswith(jsondecode(module.alarms[0].descriptions)["tally-alpha-reconcile-silent"], "docs/runbook.md#batch-without-progress.")
    error_message = "Once reconcile is deployed its silence must alarm."
  }
}

# tests/unit/tally/batch/test_tally_idle.py prices the same file.
run "says_what_costs_by_the_month_while_nothing_runs" {
  command = plan

  assert {
    condition     = jsondecode(output.standing) == jsondecode(file("tests/fixtures/standing.json"))
    error_message = "tests/fixtures/standing.json must say what a stage has by default."
  }

  assert {
    condition = local.standing.limited_mappings + local.standing.unlimited_mappings == length(aws_lambda_event_source_mapping.dead_letters) + length([
      for mapping in local.mappings : mapping if !contains(local.stream_consumers, mapping.function)
    ])
    error_message = "Every mapping of a queue is polled, and paid."
  }

  assert {
    condition     = alltrue([for mapping in aws_lambda_event_source_mapping.dead_letters : length(mapping.scaling_config) == 0])
    error_message = "A mapping with a maximum concurrency keeps five pollers; what protects nothing must not have one."
  }
}

run "limits_every_writer_of_a_table_with_provisioned_capacity" {
  command = plan

  variables {
    provisioned_capacity = {
      read  = { min = 50, max = 500 }
      write = { min = 1500, max = 5000 }
    }
  }

  assert {
    condition = (
      alltrue([for mapping in aws_lambda_event_source_mapping.dead_letters : one(mapping.scaling_config).maximum_concurrency == 2])
      && local.functions["finish"].maximum_concurrency == 20
    )
    error_message = "The share of a writer is divided by how many may run."
  }

  assert {
    condition = (
      local.standing.limited_mappings == 10 && local.standing.unlimited_mappings == 1 && local.standing.scaled == 4
      && local.standing.read_units == 51 && local.standing.write_units == 1505
    )
    error_message = "Provisioned units, and the alarms of auto scaling, cost while nothing runs."
  }
}

run "keys_mappings_by_function_and_uuid" {
  command = plan

  assert {
    condition     = contains(keys(local.mappings), "process:00000000-0000-4000-8000-000000000002")
    error_message = "A mapping created again must be another instance."
  }
}

run "gives_dead_letters_what_every_queue_and_plan_gave_up_on" {
  command = plan

  assert {
    condition = {
      for queue, mapping in aws_lambda_event_source_mapping.dead_letters : queue => reverse(split(":", mapping.event_source_arn))[0]
    } == { ingest = "ingest-dlq", heavy = "heavy-dlq", finished = "finished-dlq", plan-failures = "plan-failures" }
    error_message = "Terraform maps the queues of rows that the decorator does not name."
  }

  assert {
    condition     = local.consumed_queue_arns["dead_letters"] == "arn:aws:sqs:us-east-1:123456789012:work-dlq"
    error_message = "The decorator names work-dlq; its mapping is adopted."
  }
}

run "maps_dead_letters_as_chalice_would_and_reports_their_failures" {
  command = plan

  assert {
    condition = alltrue([
      for mapping in aws_lambda_event_source_mapping.dead_letters :
      mapping.function_name == "tally-alpha-dead_letters"
      && mapping.batch_size == 10
      && mapping.maximum_batching_window_in_seconds == 0
      && mapping.function_response_types == toset(["ReportBatchItemFailures"])
    ])
    error_message = "Every mapping of dead_letters must have dead_letters's settings, and a partial answer must not lose messages."
  }
}

run "maps_dead_letters_only_once_their_handler_is_deployed" {
  command = plan

  variables {
    deployed_file = "tests/fixtures/deployed-without-dead-letters.json"
  }

  assert {
    condition     = length(aws_lambda_event_source_mapping.dead_letters) == 0
    error_message = "There is nothing to map to before Chalice has created dead_letters."
  }
}

run "keeps_uploads_that_plan_gave_up_on" {
  command = plan

  assert {
    condition = (
      aws_lambda_function_event_invoke_config.plan[0].function_name == "tally-alpha-plan"
      && aws_lambda_function_event_invoke_config.plan[0].maximum_retry_attempts == 2
      && aws_lambda_function_event_invoke_config.plan[0].maximum_event_age_in_seconds == 21600
    )
    error_message = "plan is retried twice within six hours."
  }
}

run "lets_functions_go_round_that_do_so_on_purpose" {
  command = plan

  assert {
    condition = {
      for function, config in aws_lambda_function_recursion_config.this : function => "${config.function_name} ${config.recursive_loop}"
      } == {
      plan          = "tally-alpha-plan Allow"
      process       = "tally-alpha-process Allow"
      process_heavy = "tally-alpha-process_heavy Allow"
      save          = "tally-alpha-save Allow"
    }
    error_message = "Lambda would stop a plan, a paused row or a row's next attempt after some sixteen rounds, and no other function goes round."
  }
}

run "gives_dispatch_and_settle_the_records_that_ask_for_something" {
  command = plan

  assert {
    condition = { for function, filters in local.filters : function => [for filter in filters : jsondecode(filter)] } == {
      dispatch = [
        { dynamodb = { NewImage = { sk = { S = ["chunk"] }, state = { S = ["planned", "ready"] } } } },
      ]
      settle = [
        { dynamodb = { NewImage = { sk = { S = ["chunk"] }, state = { S = ["ready", "counting"] }, remaining = { N = ["0"] } } } },
        { dynamodb = { NewImage = { sk = { S = ["batch"] }, format = { N = ["2"] } } } },
      ]
    }
    error_message = "dispatch sees chunks to be read or processed, settle chunks of which nothing remains and batches that it knows."
  }

  # As Lambda matches: each attribute of a pattern has one of the values that the pattern lists.
  assert {
    condition = jsonencode({
      for sample in jsondecode(file("tests/fixtures/stream.json")) : sample.what => sort([
        for function, filters in local.filters : function if anytrue([
          for filter in filters : alltrue(flatten([
            for attribute, types in jsondecode(filter).dynamodb.NewImage : [
              for type, values in types : contains(values, try(sample.record.dynamodb.NewImage[attribute][type], "absent"))
            ]
          ]))
        ])
      ])
    }) == jsonencode({ for sample in jsondecode(file("tests/fixtures/stream.json")) : sample.what => sort(sample.to) })
    error_message = "Every record in tests/fixtures/stream.json must go where it says, and nowhere else."
  }
}
