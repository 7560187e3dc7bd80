# Queues: who waits how long for whom.
mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  deployed_file = "tests/fixtures/not-deployed.json"
}

run "hides_a_message_for_six_timeouts_of_its_consumer" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for name, queue in module.queue : name => queue.visibility_timeout_seconds
    } == { ingest = 360, work = 360, heavy = 5400, finished = 180, export = 1800, save = 1800 }
    error_message = "ingest and process run for 60 s, process_heavy for 900 s, finish for 30 s, export and save for 300 s."
  }

  assert {
    condition     = alltrue([for queue in module.queue : queue.dlq_visibility_timeout_seconds == 360])
    error_message = "dead_letters runs for 60 s, whichever queue the dead letter is of."
  }

  assert {
    condition     = module.plan_failures.visibility_timeout_seconds == 360
    error_message = "dead_letters consumes what plan gave up on too."
  }

  assert {
    condition     = module.completions.visibility_timeout_seconds == 6 * var.completions_consumer_timeout_seconds
    error_message = "The completions queue must follow the rule too."
  }
}

run "derives_visibility_and_chalice_timeout_from_one_override" {
  variables {
    stage              = "alpha"
    function_overrides = { process = { timeout_seconds = 100 } }
  }

  assert {
    condition     = module.queue["work"].visibility_timeout_seconds == 600
    error_message = "The queue must follow the function."
  }

  assert {
    condition     = jsondecode(output.chalice_config).stages.alpha.lambda_functions.process.lambda_timeout == 100
    error_message = "Chalice must deploy the same timeout."
  }

  assert {
    condition     = jsondecode(output.chalice_config).stages.alpha.lambda_functions.process.lambda_memory_size == 512
    error_message = "What is not overridden must stay."
  }
}

run "derives_the_visibility_of_dead_letters_from_their_handler" {
  variables {
    stage              = "alpha"
    function_overrides = { dead_letters = { timeout_seconds = 120 } }
  }

  assert {
    condition     = alltrue([for queue in module.queue : queue.dlq_visibility_timeout_seconds == 720]) && module.plan_failures.visibility_timeout_seconds == 720
    error_message = "The dead-letter queues must follow the function."
  }

  assert {
    condition     = module.queue["work"].visibility_timeout_seconds == 360
    error_message = "The queues must not."
  }
}

run "delivers_a_heavy_row_ten_times" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = { for name, queue in module.queue : name => queue.max_receive_count } == { ingest = 5, work = 5, heavy = 10, finished = 5, export = 5, save = 5 }
    error_message = "A heavy row that waits for its lease is received without having failed."
  }
}

run "never_delivers_a_heavy_row_less_often_than_others" {
  variables {
    stage             = "alpha"
    max_receive_count = 20
  }

  assert {
    condition     = alltrue([for queue in module.queue : queue.max_receive_count == 20])
    error_message = "max_receive_count over 10 is for every queue."
  }
}

run "hides_a_message_for_the_window_too" {
  variables {
    stage              = "alpha"
    function_overrides = { finish = { batch_size = 100, window_seconds = 5 } }
  }

  assert {
    condition     = module.queue["finished"].visibility_timeout_seconds == 6 * 30 + 5
    error_message = "A message waits for its window before it is worked on."
  }
}
