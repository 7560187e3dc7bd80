# What a stage is called, keeps and tells its functions.
mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  deployed_file = "tests/fixtures/not-deployed.json"
}

run "names_everything_of_a_stage_after_it" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = output.event_bus_name == "tally-alpha" && output.table_name == "tally-alpha" && alltrue([
      for name in
      concat(
        [module.table.name, module.inbox.name, module.completion.rule_name, module.completions.name],
        [module.plan_failures.name, module.stream_failures.name, module.dead_letters.name],
        [module.alarms[0].topic_name], keys(jsondecode(module.alarms[0].descriptions)),
        flatten([for q in module.queue : [q.name, q.dlq_name]]),
        [for r in module.role : r.name],
        [for r in module.role : trimprefix(r.log_group_name, "/aws/lambda/")],
      ) :
      name == "tally-alpha" || startswith(name, "tally-alpha-")
    ])
    error_message = "Every name must start with tally-<stage>."
  }
}

run "shares_no_name_with_another_stage" {
  variables {
    stage = "beta"
  }

  assert {
    condition = alltrue([
      for name in
      concat(
        [module.table.name, module.inbox.name, module.completion.rule_name, module.completions.name],
        [module.plan_failures.name, module.stream_failures.name, module.dead_letters.name],
        [module.alarms[0].topic_name], keys(jsondecode(module.alarms[0].descriptions)),
        flatten([for q in module.queue : [q.name, q.dlq_name]]),
        [for r in module.role : r.name],
        [for r in module.role : trimprefix(r.log_group_name, "/aws/lambda/")],
      ) :
      name == "tally-beta" || startswith(name, "tally-beta-")
    ])
    error_message = "Every name must start with tally-<stage>."
  }

  assert {
    condition = alltrue([
      for o in ["table_name", "inbox_bucket", "event_bus_name"] :
      { table_name = output.table_name, inbox_bucket = output.inbox_bucket, event_bus_name = output.event_bus_name }[o]
      != run.names_everything_of_a_stage_after_it[o]
    ])
    error_message = "Two stages must not meet."
  }
}

run "encrypts_with_the_customers_key" {
  variables {
    stage       = "alpha"
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/customer"
  }

  assert {
    condition = alltrue([
      for role in module.role :
      [for s in jsondecode(role.policy).Statement : s.Resource if contains(s.Action, "kms:Decrypt")] == [["arn:aws:kms:us-east-1:123456789012:key/customer"]]
    ])
    error_message = "Every function must be able to use the key, and no other."
  }

  assert {
    condition = alltrue(concat(
      [for queue in concat(values(module.queue), [module.completions]) : queue.kms_key_arn == var.kms_key_arn],
      [for queue in [module.dead_letters, module.plan_failures, module.stream_failures] : queue.kms_key_arn == var.kms_key_arn],
      [module.table.kms_key_arn == var.kms_key_arn, module.inbox.kms_key_arn == var.kms_key_arn],
    ))
    error_message = "Table, uploads and every queue must be encrypted with it."
  }
}

run "renders_every_variable_the_functions_read" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = toset(keys(jsondecode(output.chalice_config).stages.alpha.environment_variables)) == toset([
      "TALLY_STAGE", "TALLY_TABLE", "TALLY_STREAM_ARN", "TALLY_INBOX_BUCKET", "TALLY_EVENT_BUS", "TALLY_QUEUES", "TALLY_FUNCTIONS",
      "TALLY_RETENTION_DAYS", "TALLY_EXPORT", "TALLY_RESULTS_RETENTION_DAYS", "TALLY_CHUNK_ROWS", "TALLY_CHUNK_BYTES", "TALLY_RECONCILE_MINUTES", "TALLY_OBJECT_SETTLING_MINUTES", "TALLY_WRITE_SHARE", "TALLY_LOG_LEVEL",
      "POWERTOOLS_SERVICE_NAME",
    ])
    error_message = "The variables are a contract with the functions."
  }

  assert {
    condition     = alltrue([for v in values(jsondecode(output.chalice_config).stages.alpha.environment_variables) : v == tostring(v) && can(regex("", v))])
    error_message = "Every variable must be a string."
  }

  assert {
    condition = alltrue([
      for q in values(jsondecode(jsondecode(output.chalice_config).stages.alpha.environment_variables.TALLY_QUEUES)) : keys(q) == ["arn", "url"]
    ])
    error_message = "A queue is told by ARN and URL."
  }

  assert {
    condition = {
      for name, q in jsondecode(jsondecode(output.chalice_config).stages.alpha.environment_variables.TALLY_QUEUES) : name => reverse(split(":", q.arn))[0]
    } == { for name in ["ingest", "work", "heavy", "finished", "export", "save", "work-dlq", "dead-letters"] : name => name }
    error_message = "Every queue must be told under its own name."
  }

  assert {
    condition = toset(keys(jsondecode(jsondecode(output.chalice_config).stages.alpha.environment_variables.TALLY_FUNCTIONS))) == toset([
      "ingest", "process", "process_heavy", "finish", "dead_letters", "dispatch", "settle", "export", "save",
    ])
    error_message = "Every function with a mapping must be told its settings, and no other."
  }

  assert {
    condition     = jsondecode(output.chalice_config).stages.alpha.environment_variables.TALLY_RECONCILE_MINUTES == "5"
    error_message = "reconcile runs every five minutes."
  }
}

run "has_no_results_table_unless_told" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = length(module.results_table) == 0 && output.results_table_name == null && output.results_table_arn == null
    error_message = "A table that no job puts anything into must be a choice."
  }
}

run "tells_the_functions_of_the_results_table" {
  variables {
    stage         = "alpha"
    force_destroy = true
    jobs_with_key = ["reports"]
    kms_key_arn   = "arn:aws:kms:us-east-1:123456789012:key/customer"
    results_table = {
      provisioned_capacity = { read = { min = 5, max = 50 }, write = { min = 5, max = 50 } }
      retention_days       = 400
    }
  }

  assert {
    condition = jsondecode(jsondecode(output.chalice_config).stages.alpha.environment_variables.TALLY_RESULTS_TABLE) == {
      name = "tally-alpha-results", write_share = 0.95, retention_days = 400
    }
    error_message = "save must know the table, its share and how long an item stays."
  }

  assert {
    condition     = output.results_table_name == "tally-alpha-results" && !module.results_table[0].deletion_protection
    error_message = "Its name must be known; force_destroy is what turns protection off."
  }

  assert {
    condition     = local.standing.write_units == 5 && local.standing.read_units == 5 && local.standing.scaled == 2
    error_message = "What it costs while nothing runs must be counted."
  }

  assert {
    condition     = jsondecode(output.expected).results_table_name == "tally-alpha-results"
    error_message = "tally doctor must know it."
  }
}

run "gives_functions_the_callers_own_variables_and_chalice_none" {
  variables {
    stage                = "alpha"
    function_environment = { AWS_ENDPOINT_URL = "http://127.0.0.1:8080", POWERTOOLS_SERVICE_NAME = "other" }
  }

  assert {
    condition = (
      length(jsondecode(output.chalice_config).stages.alpha.lambda_functions) == 11
      && alltrue([
        for f in values(jsondecode(output.chalice_config).stages.alpha.lambda_functions) :
        f.environment_variables == { AWS_ENDPOINT_URL = "http://127.0.0.1:8080", POWERTOOLS_SERVICE_NAME = "other" }
      ])
    )
    error_message = "Every function must have them; Chalice lays a function's variables over the stage's."
  }

  assert {
    condition     = !contains(keys(jsondecode(output.chalice_config).stages.alpha.environment_variables), "AWS_ENDPOINT_URL")
    error_message = "Chalice has the stage's variables itself while it deploys: an endpoint there would be its own."
  }
}

run "adopts_nothing_before_chalice_has_deployed" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = output.adopted_mappings == 0 && length(aws_lambda_function_event_invoke_config.plan) == 0 && length(aws_lambda_event_source_mapping.dead_letters) == 0
    error_message = "Without a deployed file there is nothing to adopt, and no function to map queues to."
  }
}

run "protects_the_table_unless_data_may_go" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = module.table.deletion_protection
    error_message = "force_destroy is what turns protection off."
  }

  assert {
    condition     = module.inbox.has_lifecycle_rules
    error_message = "Replaced versions of uploads expire unless told otherwise."
  }
}

run "lets_uploads_stay_when_told" {
  variables {
    stage                 = "alpha"
    inbox_lifecycle_rules = false
  }

  assert {
    condition     = !module.inbox.has_lifecycle_rules
    error_message = "The root must hand the choice on."
  }
}

run "provisions_capacity_when_told" {
  variables {
    stage                = "alpha"
    provisioned_capacity = { read = { min = 5, max = 500 }, write = { min = 1500, max = 3000 } }
  }

  assert {
    condition     = module.table.billing_mode == "PROVISIONED"
    error_message = "The root must hand the capacity on."
  }
}

run "tells_doctor_what_feeds_each_function" {
  variables {
    stage = "alpha"
  }

  # From the first apply on, before Chalice has deployed anything.
  assert {
    condition = toset([for m in jsondecode(output.expected).mappings : "${m.function} ${m.source_arn}"]) == toset(concat(
      [for name in local.stream_consumers : "${name} ${module.table.stream_arn}"],
      [for queue, consumer in local.queue_consumers : "${consumer} ${module.queue[queue].arn}"],
      [for queue in local.queues_of_rows : "dead_letters ${module.queue[queue].dlq_arn}"],
      ["dead_letters ${module.plan_failures.arn}"],
    ))
    error_message = "Every stream reader, every queue's consumer and dead_letters must be in it once for each source."
  }

  assert {
    condition = alltrue([
      for m in jsondecode(output.expected).mappings :
      (m.stream != null) == contains(local.stream_consumers, m.function) && (m.stream == null) == (length(m.filters) == 0)
    ])
    error_message = "Readers of the stream, and only they, must have filters and a destination."
  }

  assert {
    condition = alltrue([
      for name, statements in local.statements :
      jsondecode(output.expected).functions[name].statements[*].sid == statements[*].sid
    ])
    error_message = "The rights of every role must be in it."
  }
}
