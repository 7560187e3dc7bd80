# A stage as its variables file describes it, planned on a mocked AWS:
#   terraform test -test-directory=examples -var-file=examples/prod.example.tfvars
mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  deployed_file = "tests/fixtures/not-deployed.json"
}

run "plans" {
  command = plan

  assert {
    condition     = output.stage == var.stage && output.table_name == "tally-${var.stage}"
    error_message = "The stage must be the file's."
  }
}

run "keeps_its_data_if_it_is_to" {
  command = plan

  assert {
    condition     = module.table.deletion_protection == !var.force_destroy
    error_message = "Only a stage that may be thrown away may lose its table."
  }
}

run "tells_chalice_what_its_functions_are_to_be" {
  command = plan

  assert {
    condition = alltrue([
      for name, override in var.function_overrides :
      override.timeout_seconds == null || local.functions[name].timeout_seconds == override.timeout_seconds
    ])
    error_message = "What the file overrides must reach the functions."
  }

  assert {
    condition     = alltrue([for queue, consumer in local.queue_consumers : module.queue[queue].visibility_timeout_seconds >= 6 * local.functions[consumer].timeout_seconds])
    error_message = "Every queue must follow its consumer."
  }
}
