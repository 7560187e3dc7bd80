# What each function may do, and no more.
mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  deployed_file = "tests/fixtures/not-deployed.json"
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
      ingest        = ""
      process       = "finished work"
      process_heavy = "finished heavy"
      finish        = ""
      dispatch      = "heavy ingest stream-failures work"
      settle        = "export stream-failures"
      dead_letters  = "dead-letters heavy ingest work"
      reconcile     = "export heavy ingest work"
      export        = "save"
      save          = "save"
    }
    error_message = "Each function sends along its own arrow of the flow only."
  }
}

run "lets_only_those_that_look_after_a_plan_begin_one" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for name, statements in local.statements : name => join(" ", flatten([for s in statements : s.resources if contains(s.actions, "lambda:InvokeFunction")]))
      if anytrue([for s in statements : contains(s.actions, "lambda:InvokeFunction")])
      } == {
      plan         = "arn:aws:lambda:us-east-1:123456789012:function:tally-alpha-plan"
      dead_letters = "arn:aws:lambda:us-east-1:123456789012:function:tally-alpha-plan"
      reconcile    = "arn:aws:lambda:us-east-1:123456789012:function:tally-alpha-plan"
    }
    error_message = "A plan continues, or begins again, in another invocation of plan; nothing else invokes anything."
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
    provisioned_capacity = { read = { min = 5, max = 50 }, write = { min = 2500, max = 5000 } }
    write_share          = 0.5
  }

  assert {
    condition     = jsondecode(output.chalice_config).stages.alpha.environment_variables.TALLY_WRITE_SHARE == "0.5"
    error_message = "The functions must know their share."
  }

  assert {
    condition = toset([
      for name, statements in local.statements : name if anytrue([for s in statements : contains(s.actions, "dynamodb:DescribeTable")])
    ]) == toset(["ingest", "finish", "dead_letters"])
    error_message = "Those that write for each row must see the capacity, and no other."
  }
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
      dead_letters  = "finished-dlq heavy-dlq ingest-dlq plan-failures work-dlq"
      reconcile     = ""
      export        = "export"
      save          = "save"
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
    condition     = [for name, statements in local.statements : name if contains(flatten(statements[*].actions), "lambda:ListEventSourceMappings")] == ["dead_letters", "process", "process_heavy"]
    error_message = "A batch of one fails as a whole, unless it is a heavy row that is put back: nothing has to be asked."
  }
}

run "names_a_resource_for_every_right_that_aws_can_narrow" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = toset(flatten([for statements in local.statements : [for s in statements : s.actions if contains(s.resources, "*")]])) == toset(["dynamodb:ListStreams", "lambda:ListEventSourceMappings"])
    error_message = "Resource * is only for what AWS has no narrower one for."
  }
}

run "lets_only_reconcile_list_uploads_and_nothing_but_uploads" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for name, role in module.role : name => [for s in jsondecode(role.policy).Statement : s.Condition if contains(s.Action, "s3:ListBucketVersions")]
      if anytrue([for s in jsondecode(role.policy).Statement : contains(s.Action, "s3:ListBucketVersions")])
    } == { reconcile = [{ StringEquals = { "s3:prefix" = ["inbox/"] } }] }
    error_message = "reconcile compares the inbox with the batches, and has no need to see what else is in the bucket."
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
    } == { plan = "${module.inbox.arn}/unpacked/*", export = "${module.inbox.arn}/results/* ${module.inbox.arn}/inbox/*/chained/*" }
    error_message = "Only what was unpacked and results are written, each by one function, and in the inbox nothing but the files of chained jobs."
  }
}

run "lets_only_ingest_and_export_read_corrected_rows" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for name, statements in local.statements : name => join(" ", flatten([for s in statements : s.actions if contains(s.resources, "${module.inbox.arn}/corrections/*")]))
      if contains(flatten(statements[*].resources), "${module.inbox.arn}/corrections/*")
    } == { ingest = "s3:GetObject s3:GetObjectVersion", export = "s3:GetObject s3:GetObjectVersion" }
    error_message = "Corrections are written by an operator, and read where rows are."
  }
}

run "lets_only_process_heavy_and_save_delete_from_the_table" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = [
      for name, statements in local.statements : name if contains(flatten(statements[*].actions), "dynamodb:DeleteItem")
    ] == ["process_heavy", "save"]
    error_message = "Leases are given back; nothing else is ever deleted."
  }
}

run "lets_nothing_query_but_ingest_reconcile_dead_letters_export_and_save" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for name, statements in local.statements : name => flatten([for s in statements : s.resources if contains(s.actions, "dynamodb:Query")])
      if contains(flatten(statements[*].actions), "dynamodb:Query")
      } == {
      dead_letters = ["arn:aws:dynamodb:us-east-1:123456789012:table/t"]
      export       = ["arn:aws:dynamodb:us-east-1:123456789012:table/t"]
      ingest       = ["arn:aws:dynamodb:us-east-1:123456789012:table/t"]
      reconcile    = ["arn:aws:dynamodb:us-east-1:123456789012:table/t/index/batches", "arn:aws:dynamodb:us-east-1:123456789012:table/t"]
      save         = ["arn:aws:dynamodb:us-east-1:123456789012:table/t"]
    }
    error_message = "reconcile lists batches by the index and reads the markers of a chunk, dead_letters counts the failed plans of an upload, export and save read whole chunks, ingest the corrections of one; the others know the keys of what they read."
  }
}

run "gives_each_function_the_calls_of_its_work_on_the_table" {
  variables {
    stage = "alpha"
  }

  assert {
    condition = {
      for name, statements in local.statements : name => join(" ", sort(distinct([
        for action in flatten([for s in statements : s.actions if contains(s.resources, module.table.arn)]) : trimprefix(action, "dynamodb:")
      ])))
      } == {
      plan          = "GetItem PutItem UpdateItem"
      dispatch      = ""
      ingest        = "BatchGetItem BatchWriteItem GetItem PutItem Query UpdateItem"
      process       = "BatchGetItem UpdateItem"
      process_heavy = "BatchGetItem DeleteItem GetItem PutItem UpdateItem"
      finish        = "PutItem UpdateItem"
      settle        = "GetItem PutItem UpdateItem"
      dead_letters  = "GetItem PutItem Query UpdateItem"
      reconcile     = "BatchGetItem GetItem PutItem Query UpdateItem"
      export        = "BatchGetItem GetItem PutItem Query UpdateItem"
      save          = "DeleteItem GetItem PutItem Query UpdateItem"
    }
    error_message = "A function must have the calls that its code makes, and no other."
  }
}

run "lets_only_save_write_results_by_key" {
  variables {
    stage         = "alpha"
    results_table = { provisioned_capacity = { read = { min = 5, max = 50 }, write = { min = 5, max = 50 } } }
  }

  override_resource {
    target = module.results_table[0].aws_dynamodb_table.this
    values = { arn = "arn:aws:dynamodb:us-east-1:123456789012:table/r" }
  }

  assert {
    condition = {
      for name, statements in local.statements : name => flatten([for s in statements : s.actions if contains(s.resources, module.results_table[0].arn)])
      if contains(flatten(statements[*].resources), module.results_table[0].arn)
    } == { save = ["dynamodb:PutItem", "dynamodb:DescribeTable"] }
    error_message = "save puts results there and asks for the capacity; nothing else may touch the table."
  }
}

run "lets_save_see_no_capacity_of_a_table_that_has_none" {
  variables {
    stage         = "alpha"
    results_table = {}
  }

  override_resource {
    target = module.results_table[0].aws_dynamodb_table.this
    values = { arn = "arn:aws:dynamodb:us-east-1:123456789012:table/r" }
  }

  assert {
    condition     = flatten([for s in local.statements.save : s.actions if contains(s.resources, module.results_table[0].arn)]) == ["dynamodb:PutItem"]
    error_message = "A table that is paid by request has nothing to be paced by."
  }
}

run "lets_only_settle_reconcile_and_export_announce" {
  variables {
    stage = "alpha"
  }

  assert {
    condition     = [for name, statements in local.statements : name if contains(flatten(statements[*].actions), "events:PutEvents")] == ["export", "reconcile", "settle"]
    error_message = "The end of a batch is announced by settle, and by reconcile where settle's announcement was lost; its results by export."
  }
}
