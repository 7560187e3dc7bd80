# What no stage may be given.
mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  deployed_file = "tests/fixtures/not-deployed.json"
}

run "rejects_a_share_over_the_whole" {
  command = plan

  variables {
    stage       = "alpha"
    write_share = 1.1
  }

  expect_failures = [var.write_share]
}

run "rejects_a_key_of_another_region" {
  command = plan

  variables {
    stage       = "alpha"
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/customer"
  }

  expect_failures = [var.kms_key_arn]
}

run "rejects_a_boundary_that_is_no_policy" {
  command = plan

  variables {
    stage                    = "alpha"
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "rejects_a_heavy_row_longer_than_its_worker_may_run" {
  command = plan

  variables {
    stage              = "alpha"
    heavy_row_seconds  = 301
    function_overrides = { process_heavy = { timeout_seconds = 300 } }
  }

  expect_failures = [var.heavy_row_seconds]
}

run "rejects_a_stage_that_breaks_names" {
  command = plan

  variables {
    stage = "Prod_1"
  }

  expect_failures = [var.stage]
}

run "rejects_items_that_expire_before_a_redrive_can_bring_them_back" {
  command = plan

  variables {
    stage          = "alpha"
    retention_days = 18
  }

  expect_failures = [var.retention_days]
}

run "rejects_uploads_that_expire_before_their_rows" {
  command = plan

  variables {
    stage                  = "alpha"
    object_expiration_days = 29
  }

  expect_failures = [var.object_expiration_days]
}

run "rejects_uploads_that_expire_without_lifecycle_rules" {
  command = plan

  variables {
    stage                  = "alpha"
    object_expiration_days = 90
    inbox_lifecycle_rules  = false
  }

  expect_failures = [var.inbox_lifecycle_rules]
}

run "rejects_dead_letters_forgotten_before_their_queue" {
  command = plan

  variables {
    stage                = "alpha"
    queue_retention_days = 14
  }

  expect_failures = [var.dlq_retention_days]
}

run "rejects_a_queue_retention_over_14_days" {
  command = plan

  variables {
    stage                = "alpha"
    queue_retention_days = 15
  }

  expect_failures = [var.queue_retention_days]
}

run "rejects_fewer_than_five_deliveries" {
  command = plan

  variables {
    stage             = "alpha"
    max_receive_count = 4
  }

  expect_failures = [var.max_receive_count]
}

run "rejects_an_empty_chunk" {
  command = plan

  variables {
    stage      = "alpha"
    chunk_rows = 0
  }

  expect_failures = [var.chunk_rows]
}

run "rejects_a_chunk_whose_bits_take_a_kibibyte" {
  command = plan

  variables {
    stage      = "alpha"
    chunk_rows = 2001
  }

  expect_failures = [var.chunk_rows]
}

run "rejects_chunks_of_a_few_bytes" {
  command = plan

  variables {
    stage       = "alpha"
    chunk_bytes = 100
  }

  expect_failures = [var.chunk_bytes]
}

run "rejects_a_log_level_python_does_not_know" {
  command = plan

  variables {
    stage     = "alpha"
    log_level = "VERBOSE"
  }

  expect_failures = [var.log_level]
}

run "rejects_an_override_of_an_unknown_function" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { procss = { memory_mb = 256 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_a_timeout_over_15_minutes" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { plan = { timeout_seconds = 901 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_less_memory_than_lambda_has" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { plan = { memory_mb = 64 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_a_concurrency_limit_of_one" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { process = { maximum_concurrency = 1 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_a_concurrency_limit_for_a_stream" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { settle = { maximum_concurrency = 5 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_more_than_ten_batches_of_a_shard_at_once" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { settle = { parallelization_factor = 11 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_a_window_over_five_minutes" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { settle = { window_seconds = 301 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_a_batch_over_10000" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { settle = { batch_size = 10001 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_a_consumer_of_completions_slower_than_lambda_allows" {
  command = plan

  variables {
    stage                                = "alpha"
    completions_consumer_timeout_seconds = 901
  }

  expect_failures = [var.completions_consumer_timeout_seconds]
}

run "rejects_a_batch_over_ten_without_a_window" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { process = { batch_size = 11 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_a_stream_without_the_window_its_batch_needs" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { dispatch = { batch_size = 11 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_a_batch_size_for_a_function_without_a_mapping" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { reconcile = { batch_size = 5 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_a_concurrency_limit_for_a_schedule" {
  command = plan

  variables {
    stage              = "alpha"
    function_overrides = { reconcile = { maximum_concurrency = 5 } }
  }

  expect_failures = [var.function_overrides]
}

run "rejects_reconciling_without_a_pause" {
  command = plan

  variables {
    stage             = "alpha"
    reconcile_minutes = 0
  }

  expect_failures = [var.reconcile_minutes]
}

run "rejects_reconciling_less_than_hourly" {
  command = plan

  variables {
    stage             = "alpha"
    reconcile_minutes = 61
  }

  expect_failures = [var.reconcile_minutes]
}

run "rejects_half_minutes" {
  command = plan

  variables {
    stage             = "alpha"
    reconcile_minutes = 1.5
  }

  expect_failures = [var.reconcile_minutes]
}

run "rejects_waiting_longer_for_an_object_than_ingest_asks_for_it" {
  command = plan

  # 4 more receives of a message, 6 minutes apart.
  variables {
    stage                   = "alpha"
    object_settling_minutes = 25
  }

  expect_failures = [var.object_settling_minutes]
}

run "rejects_half_a_minute_for_an_object" {
  command = plan

  variables {
    stage                   = "alpha"
    object_settling_minutes = 0.5
  }

  expect_failures = [var.object_settling_minutes]
}

run "rejects_another_value_for_tallys_own_variable" {
  command = plan

  variables {
    stage                = "alpha"
    function_environment = { TALLY_TABLE = "other" }
  }

  expect_failures = [var.function_environment]
}

run "rejects_a_variable_lambda_would_refuse" {
  command = plan

  variables {
    stage                = "alpha"
    function_environment = { "not-a-name" = "x" }
  }

  expect_failures = [var.function_environment]
}

run "rejects_results_by_key_without_an_export" {
  command = plan

  variables {
    stage         = "alpha"
    export        = false
    results_table = {}
  }

  expect_failures = [var.results_table]
}

run "rejects_half_a_day_of_results_by_key" {
  command = plan

  variables {
    stage         = "alpha"
    results_table = { retention_days = 0.5 }
  }

  expect_failures = [var.results_table]
}

run "rejects_a_job_with_a_key_without_a_results_table" {
  command = plan

  variables {
    stage         = "alpha"
    jobs_with_key = ["reports"]
  }

  expect_failures = [var.jobs_with_key]
}
