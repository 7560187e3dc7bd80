# Provisioned capacity against what writers ask for.
mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  stage         = "alpha"
  deployed_file = "tests/fixtures/not-deployed.json"
}

run "rejects_a_minimum_at_which_a_worker_could_never_write_a_chunk" {
  command = plan

  # 372 units in 58 s by one of 10 that share 40 % of the table: 161. The writers of outcomes have time enough.
  variables {
    provisioned_capacity = {
      read  = { min = 50, max = 500 }
      write = { min = 160, max = 2500 }
    }
    function_overrides = {
      finish       = { timeout_seconds = 600, maximum_concurrency = 2 }
      dead_letters = { timeout_seconds = 600, maximum_concurrency = 2 }
    }
  }

  expect_failures = [output.least_write_units]
}

run "rejects_a_minimum_at_which_a_worker_could_never_count_its_outcomes" {
  command = plan

  # 516 units in 28 s by one of 20 + 5 x 2 that share 40 % of the table: 1,383.
  variables {
    provisioned_capacity = {
      read  = { min = 50, max = 500 }
      write = { min = 1382, max = 2500 }
    }
  }

  expect_failures = [output.least_write_units]
}

run "takes_the_least_at_which_every_worker_can_write" {
  command = plan

  variables {
    provisioned_capacity = {
      read  = { min = 50, max = 500 }
      write = { min = 1383, max = 2500 }
    }
  }

  assert {
    condition     = local.least_write_units == { ingest = 161, finish = 1383, dead_letters = 668 }
    error_message = "The largest write, in the function's time, at a writer's part of the share."
  }
}

run "asks_for_more_where_chunks_are_larger" {
  command = plan

  variables {
    chunk_bytes = 1048576
    provisioned_capacity = {
      read  = { min = 50, max = 500 }
      write = { min = 1500, max = 2500 }
    }
  }

  assert {
    condition     = local.least_write_units["ingest"] == 443
    error_message = "A chunk of a mebibyte that does not compress is 1,027 units."
  }
}

run "scales_below_what_one_half_of_the_share_can_use" {
  command = plan

  variables {
    provisioned_capacity = {
      read  = { min = 50, max = 500 }
      write = { min = 1500, max = 2500 }
    }
  }

  assert {
    condition     = module.table.target_utilization_percent == 35
    error_message = "While only ingest has work, 40 % of the table is all that is used."
  }
}

run "rejects_a_target_that_paced_writers_never_reach" {
  command = plan

  variables {
    provisioned_capacity = {
      read                       = { min = 50, max = 500 }
      write                      = { min = 1500, max = 2500 }
      target_utilization_percent = 70
    }
  }

  expect_failures = [output.least_write_units]
}

run "rejects_a_share_that_no_target_lies_below" {
  command = plan

  # Auto scaling takes 20 % at least.
  variables {
    write_share = 0.4
    provisioned_capacity = {
      read  = { min = 50, max = 500 }
      write = { min = 9000, max = 9000 }
    }
  }

  expect_failures = [output.least_write_units]
}
