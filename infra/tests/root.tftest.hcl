# The whole root, twice, on a mocked AWS. Every queue has an ARN of its own, so that a right given on the wrong queue shows.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_region" {
    defaults = { id = "us-east-1" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::inbox" }
  }

  mock_resource "aws_dynamodb_table" {
    defaults = {
      arn        = "arn:aws:dynamodb:us-east-1:123456789012:table/t"
      stream_arn = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2026-01-01T00:00:00.000"
    }
  }

  mock_resource "aws_cloudwatch_event_bus" {
    defaults = { arn = "arn:aws:events:us-east-1:123456789012:event-bus/b" }
  }

  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:us-east-1:123456789012:rule/b/r" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:g" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/r" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/k" }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:123456789012:t" }
  }

  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:us-east-1:123456789012:other" }
  }
}

override_resource {
  target = module.queue["ingest"].aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:ingest" }
}

override_resource {
  target = module.queue["work"].aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:work" }
}

override_resource {
  target = module.queue["heavy"].aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:heavy" }
}

override_resource {
  target = module.queue["heavy"].aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:heavy-dlq" }
}

override_resource {
  target = module.buried.aws_sqs_queue.this
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:buried" }
}

override_resource {
  target = module.queue["finished"].aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:finished" }
}

override_resource {
  target = module.queue["ingest"].aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:ingest-dlq" }
}

override_resource {
  target = module.queue["work"].aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:work-dlq" }
}

override_resource {
  target = module.queue["finished"].aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:finished-dlq" }
}

override_resource {
  target = module.plan_failures.aws_sqs_queue.this
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:plan-failures" }
}

override_resource {
  target = module.stream_failures.aws_sqs_queue.this
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:stream-failures" }
}

override_resource {
  target = module.completions.aws_sqs_queue.this[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:completions" }
}

override_resource {
  target = module.completions.aws_sqs_queue.dlq[0]
  values = { arn = "arn:aws:sqs:us-east-1:123456789012:completions-dlq" }
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
    } == { ingest = 360, work = 360, heavy = 5400, finished = 180 }
    error_message = "ingest and process run for 60 s, process_heavy for 900 s, finish for 30 s."
  }

  assert {
    condition     = alltrue([for queue in module.queue : queue.dlq_visibility_timeout_seconds == 360])
    error_message = "bury runs for 60 s, whichever queue the dead letter is of."
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

run "derives_the_visibility_of_dead_letters_from_bury" {
  variables {
    stage              = "alpha"
    function_overrides = { bury = { timeout_seconds = 120 } }
  }

  assert {
    condition     = alltrue([for queue in module.queue : queue.dlq_visibility_timeout_seconds == 720])
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
    condition     = { for name, queue in module.queue : name => queue.max_receive_count } == { ingest = 5, work = 5, heavy = 10, finished = 5 }
    error_message = "A heavy row that waits for its claim is received without having failed."
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
      stream-failures-waiting = "stream-failures"
    }
    error_message = "Every queue of failures must alarm and name its part of the runbook; what bury consumes must alarm on receipt too."
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
    condition     = [for name, function in local.watched_functions : trimprefix(name, "tally-alpha-") if function.periods == 1] == ["bury", "plan", "reconcile"]
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
      [for queue in [module.buried, module.plan_failures, module.stream_failures] : queue.kms_key_arn == var.kms_key_arn],
      [module.table.kms_key_arn == var.kms_key_arn, module.inbox.kms_key_arn == var.kms_key_arn],
    ))
    error_message = "Table, uploads and every queue must be encrypted with it."
  }
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
        [module.plan_failures.name, module.stream_failures.name, module.buried.name],
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
        [module.plan_failures.name, module.stream_failures.name, module.buried.name],
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

run "renders_every_variable_the_functions_read" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = toset(keys(jsondecode(output.chalice_config).stages.alpha.environment_variables)) == toset([
      "TALLY_STAGE", "TALLY_TABLE", "TALLY_STREAM_ARN", "TALLY_INBOX_BUCKET", "TALLY_EVENT_BUS", "TALLY_QUEUES", "TALLY_FUNCTIONS",
      "TALLY_RETENTION_DAYS", "TALLY_CHUNK_ROWS", "TALLY_CHUNK_BYTES", "TALLY_PACK_ROWS", "TALLY_RECONCILE_MINUTES", "TALLY_WRITE_SHARE", "TALLY_LOG_LEVEL",
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
    } == { for name in ["ingest", "work", "heavy", "finished", "work-dlq", "buried"] : name => name }
    error_message = "Every queue must be told under its own name."
  }

  assert {
    condition = toset(keys(jsondecode(jsondecode(output.chalice_config).stages.alpha.environment_variables.TALLY_FUNCTIONS))) == toset([
      "ingest", "process", "process_heavy", "finish", "bury", "dispatch", "settle",
    ])
    error_message = "Every function with a mapping must be told its settings, and no other."
  }

  assert {
    condition     = jsondecode(output.chalice_config).stages.alpha.environment_variables.TALLY_RECONCILE_MINUTES == "5"
    error_message = "reconcile runs every five minutes."
  }
}

run "gives_functions_the_callers_own_variables_and_chalice_none" {
  variables {
    stage                = "alpha"
    function_environment = { AWS_ENDPOINT_URL = "http://127.0.0.1:8080", POWERTOOLS_SERVICE_NAME = "other" }
  }

  assert {
    condition = (
      length(jsondecode(output.chalice_config).stages.alpha.lambda_functions) == 9
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

run "lets_chalice_manage_no_role" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = alltrue([
      for f in values(jsondecode(output.chalice_config).stages.alpha.lambda_functions) : f.manage_iam_role == false && f.iam_role_arn != ""
    ])
    error_message = "Terraform owns the roles."
  }
}

run "bounds_every_role" {
  variables {
    stage                    = "alpha"
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
  }

  assert {
    condition     = alltrue([for role in module.role : role.permissions_boundary_arn == "arn:aws:iam::123456789012:policy/boundary"])
    error_message = "No function may have more than the boundary allows."
  }
}

run "lets_each_function_send_only_where_its_work_goes" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for name, statements in local.statements : name => join(" ", sort([
        for arn in flatten([for s in statements : s.resources if contains(s.actions, "sqs:SendMessage")]) : reverse(split(":", arn))[0]
      ]))
      } == {
      plan          = "plan-failures"
      ingest        = "heavy work"
      process       = "finished work"
      process_heavy = "finished heavy"
      finish        = ""
      dispatch      = "heavy ingest stream-failures work"
      settle        = "stream-failures"
      bury          = "buried heavy work"
      reconcile     = "heavy ingest work"
    }
    error_message = "Each function sends along its own arrow of the flow only."
  }
}

run "lets_only_plan_and_reconcile_begin_a_plan" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for name, statements in local.statements : name => join(" ", flatten([for s in statements : s.resources if contains(s.actions, "lambda:InvokeFunction")]))
      if anytrue([for s in statements : contains(s.actions, "lambda:InvokeFunction")])
      } == {
      plan      = "arn:aws:lambda:us-east-1:123456789012:function:tally-alpha-plan"
      reconcile = "arn:aws:lambda:us-east-1:123456789012:function:tally-alpha-plan"
    }
    error_message = "A plan goes on in another invocation of plan; nothing else invokes anything."
  }
}

run "paces_no_writer_of_a_table_that_is_paid_by_request" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = jsondecode(output.chalice_config).stages.alpha.environment_variables.TALLY_WRITE_SHARE == "0"
    error_message = "Such a table has no capacity to share."
  }

  assert {
    condition     = !anytrue([for s in flatten(values(local.statements)) : contains(s.actions, "dynamodb:DescribeTable")])
    error_message = "Nobody has to know the capacity."
  }
}

run "paces_the_writers_of_rows_of_a_provisioned_table" {
  variables {
    stage                = "alpha"
    provisioned_capacity = { read = { min = 5, max = 50 }, write = { min = 50, max = 500 } }
    write_share          = 0.5
  }

  assert {
    condition     = jsondecode(output.chalice_config).stages.alpha.environment_variables.TALLY_WRITE_SHARE == "0.5"
    error_message = "The functions must know their share."
  }

  assert {
    condition = toset([
      for name, statements in local.statements : name if anytrue([for s in statements : contains(s.actions, "dynamodb:DescribeTable")])
    ]) == toset(["ingest", "finish", "bury"])
    error_message = "Those that write for each row must see the capacity, and no other."
  }
}

run "rejects_a_share_over_the_whole" {
  command = plan

  variables {
    stage       = "alpha"
    write_share = 1.1
  }

  expect_failures = [var.write_share]
}

run "lets_each_function_consume_only_its_own_queue" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for name, statements in local.statements : name => join(" ", sort([
        for arn in flatten([for s in statements : s.resources if contains(s.actions, "sqs:DeleteMessage")]) : reverse(split(":", arn))[0]
      ]))
      } == {
      plan          = ""
      ingest        = "ingest"
      process       = "work"
      process_heavy = "heavy"
      finish        = "finished"
      dispatch      = ""
      settle        = ""
      bury          = "finished-dlq heavy-dlq ingest-dlq work-dlq"
      reconcile     = ""
    }
    error_message = "Each queue has one consumer."
  }
}

run "lets_functions_see_mappings_only_where_a_batch_can_fail_in_part" {
  variables {
    stage              = "alpha"
    function_overrides = { process = { batch_size = 2 }, finish = { batch_size = 1 } }
  }

  assert {
    condition     = [for name, statements in local.statements : name if contains(flatten(statements[*].actions), "lambda:ListEventSourceMappings")] == ["bury", "process", "process_heavy"]
    error_message = "A batch of one fails as a whole, unless it is a heavy row that is put back: nothing has to be asked."
  }
}

run "names_a_resource_for_every_right_that_aws_can_narrow" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = toset(flatten([for statements in local.statements : [for s in statements : s.actions if contains(s.resources, "*")]])) == toset(["lambda:ListEventSourceMappings"])
    error_message = "Resource * is only for what AWS has no narrower one for."
  }
}

run "lets_only_process_heavy_hide_messages" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for name, statements in local.statements : name => flatten([for s in statements : s.resources if contains(s.actions, "sqs:ChangeMessageVisibility")])
      if contains(flatten(statements[*].actions), "sqs:ChangeMessageVisibility")
    } == { process_heavy = ["arn:aws:sqs:us-east-1:123456789012:heavy"] }
    error_message = "Lambda's poller does not need it; the heartbeat of a heavy row does."
  }
}

run "lets_nothing_scan_the_table_or_write_uploads" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = alltrue([
      for a in flatten([for statements in local.statements : statements[*].actions]) : !contains(["dynamodb:Scan", "s3:DeleteObject"], a)
    ])
    error_message = "Nothing scans the table or deletes uploads."
  }

  assert {
    condition = {
      for name, statements in local.statements : name => join(" ", flatten([for s in statements : s.resources if contains(s.actions, "s3:PutObject")]))
      if anytrue([for s in statements : contains(s.actions, "s3:PutObject")])
    } == { plan = "${module.inbox.arn}/unpacked/*" }
    error_message = "Only what was unpacked is written, beside the inbox, by the one that has the time."
  }
}

run "lets_only_process_heavy_delete_from_the_table" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = [
      for name, statements in local.statements : name if contains(flatten(statements[*].actions), "dynamodb:DeleteItem")
    ] == ["process_heavy"]
    error_message = "Claims are given back; nothing else is ever deleted."
  }
}

run "lets_nothing_query_but_chunks_that_are_read_again" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for name, statements in local.statements : name => flatten([for s in statements : s.resources if contains(s.actions, "dynamodb:Query")])
      if contains(flatten(statements[*].actions), "dynamodb:Query")
      } == {
      ingest    = ["arn:aws:dynamodb:us-east-1:123456789012:table/t"]
      bury      = ["arn:aws:dynamodb:us-east-1:123456789012:table/t"]
      reconcile = ["arn:aws:dynamodb:us-east-1:123456789012:table/t/index/batches", "arn:aws:dynamodb:us-east-1:123456789012:table/t"]
    }
    error_message = "reconcile lists batches by the index and reads the items of one; ingest and bury look which rows of a chunk were read before."
  }
}

run "lets_only_settle_and_reconcile_announce" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = [for name, statements in local.statements : name if contains(flatten(statements[*].actions), "events:PutEvents")] == ["reconcile", "settle"]
    error_message = "The end of a batch is announced by settle, and by reconcile where settle's announcement was lost."
  }
}

run "adopts_nothing_before_chalice_has_deployed" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = output.adopted_mappings == 0 && length(aws_lambda_function_event_invoke_config.plan) == 0 && length(aws_lambda_event_source_mapping.bury) == 0
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
}

run "provisions_capacity_when_told" {
  variables {
    stage                = "alpha"
    provisioned_capacity = { read = { min = 5, max = 500 }, write = { min = 10, max = 1000 } }
  }

  assert {
    condition     = module.table.billing_mode == "PROVISIONED"
    error_message = "The root must hand the capacity on."
  }
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

run "takes_what_is_there_already" {
  command = plan

  variables {
    stage                 = "alpha"
    existing_inbox_bucket = "uploads-of-ours"
    existing_table        = "counts-of-ours"
    existing_queues = {
      work = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 400
        dlq_visibility_timeout_seconds = 360
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 1209600
        max_receive_count              = 8
      }
    }
  }

  override_data {
    target = module.table.data.aws_dynamodb_table.this[0]
    values = {
      arn              = "arn:aws:dynamodb:us-east-1:123456789012:table/counts-of-ours"
      stream_arn       = "arn:aws:dynamodb:us-east-1:123456789012:table/counts-of-ours/stream/2026-01-01T00:00:00.000"
      hash_key         = "pk"
      range_key        = "sk"
      stream_enabled   = true
      stream_view_type = "NEW_AND_OLD_IMAGES"

      global_secondary_index = [{ name = "batches", hash_key = "listing", range_key = "created_at" }]
      ttl                    = [{ enabled = true, attribute_name = "expires_at" }]
    }
  }

  override_data {
    target = module.inbox.data.aws_s3_bucket.this[0]
    values = { arn = "arn:aws:s3:::uploads-of-ours" }
  }

  override_data {
    target = module.queue["work"].data.aws_sqs_queue.this[0]
    values = { arn = "arn:aws:sqs:us-east-1:123456789012:orders" }
  }

  override_data {
    target = module.queue["work"].data.aws_sqs_queue.dlq[0]
    values = { arn = "arn:aws:sqs:us-east-1:123456789012:orders-dead" }
  }

  assert {
    condition     = output.inbox_bucket == "uploads-of-ours" && output.table_name == "counts-of-ours" && module.table.stream_arn == "arn:aws:dynamodb:us-east-1:123456789012:table/counts-of-ours/stream/2026-01-01T00:00:00.000"
    error_message = "Bucket and table must be those given."
  }

  assert {
    condition     = local.consumed_queue_arns["process"] == "arn:aws:sqs:us-east-1:123456789012:orders" && module.queue["work"].dlq_arn == "arn:aws:sqs:us-east-1:123456789012:orders-dead"
    error_message = "process must consume the queue given, bury its dead-letter queue."
  }

  assert {
    condition     = contains(keys(local.failure_queues), "orders-dead") && contains(keys(local.queue_ages), "orders") && contains(keys(local.queue_ages), "tally-alpha-ingest")
    error_message = "Alarms must watch the queues given, and those that are made here."
  }
}

run "rejects_an_existing_queue_that_nothing_consumes" {
  command = plan

  variables {
    stage = "alpha"
    existing_queues = {
      orders = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 400
        dlq_visibility_timeout_seconds = 360
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 1209600
        max_receive_count              = 8
      }
    }
  }

  expect_failures = [var.existing_queues]
}

run "rejects_an_existing_queue_visible_before_its_consumer_is_done" {
  command = plan

  variables {
    stage = "alpha"
    existing_queues = {
      work = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 359
        dlq_visibility_timeout_seconds = 360
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 1209600
        max_receive_count              = 8
      }
    }
  }

  expect_failures = [var.existing_queues]
}

run "rejects_existing_dead_letters_visible_before_bury_is_done" {
  command = plan

  variables {
    stage = "alpha"
    existing_queues = {
      work = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 360
        dlq_visibility_timeout_seconds = 359
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 1209600
        max_receive_count              = 8
      }
    }
  }

  expect_failures = [var.existing_queues]
}

run "rejects_existing_dead_letters_forgotten_before_their_queue" {
  command = plan

  variables {
    stage = "alpha"
    existing_queues = {
      work = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 360
        dlq_visibility_timeout_seconds = 360
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 345600
        max_receive_count              = 8
      }
    }
  }

  expect_failures = [var.existing_queues]
}

run "rejects_an_existing_queue_with_few_deliveries_of_heavy_rows" {
  command = plan

  variables {
    stage = "alpha"
    existing_queues = {
      heavy = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 5400
        dlq_visibility_timeout_seconds = 360
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 1209600
        max_receive_count              = 9
      }
    }
  }

  expect_failures = [var.existing_queues]
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

run "rejects_packs_larger_than_a_chunk" {
  command = plan

  variables {
    stage     = "alpha"
    pack_rows = 501
  }

  expect_failures = [var.pack_rows]
}

run "rejects_an_empty_chunk" {
  command = plan

  variables {
    stage      = "alpha"
    chunk_rows = 0
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
    function_overrides = { dispatch = { window_seconds = 0 } }
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
