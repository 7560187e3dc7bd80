# Chalice creates the functions and the event source mappings. Once it has written .chalice/deployed/<stage>.json,
# the next apply adopts the mappings and sets what a decorator cannot say.
locals {
  deployed_file      = var.deployed_file != "" ? var.deployed_file : "${path.module}/../app/.chalice/deployed/${var.stage}.json"
  deployed_resources = fileexists(local.deployed_file) ? jsondecode(file(local.deployed_file)).resources : []

  # Keyed by function and UUID: a mapping that was deleted and created again is another instance, and is imported again.
  mappings = {
    for r in local.deployed_resources :
    "${trimprefix(reverse(split(":", r.lambda_arn))[0], "${local.prefix}-")}:${r.event_uuid}" => {
      function = trimprefix(reverse(split(":", r.lambda_arn))[0], "${local.prefix}-")
      uuid     = r.event_uuid
    }
    if contains(["sqs_event", "dynamodb_event"], r.resource_type)
  }

  # What a function of Chalice's mappings consumes.
  consumed_queue_arns = merge(
    { for queue, consumer in local.queue_consumers : consumer => module.queue[queue].arn },
    { dead_letters = module.queue[local.dead_letters_mapped_by_chalice].dlq_arn },
  )

  # What dead_letters consumes beside it.
  dead_letters_mapped_by_terraform = merge(
    { for queue in setsubtract(local.queues_of_rows, [local.dead_letters_mapped_by_chalice]) : queue => module.queue[queue].dlq_arn },
    { plan-failures = module.plan_failures.arn },
  )

  deployed_functions = [for r in local.deployed_resources : r.name if r.resource_type == "lambda_function"]

  # Which stream records a function gets: one that has all of a pattern's values, of any pattern. A record of a deletion has no new image, so none
  # does. Numbers are matched as the strings they are in a stream record.
  stream_patterns = {
    # A chunk whose rows are to be read, or to be processed. Its images while they are counted ask for nothing.
    dispatch = [
      { dynamodb = { NewImage = { sk = { S = ["chunk"] }, state = { S = ["planned", "ready"] } } } },
    ]
    settle = [
      # A chunk of which nothing remains, until it is closed; one whose rows were all rejected never leaves the state ready.
      { dynamodb = { NewImage = { sk = { S = ["chunk"] }, state = { S = ["ready", "counting"] }, remaining = { N = ["0"] } } } },
      # A batch in the one format that the functions know.
      { dynamodb = { NewImage = { sk = { S = ["batch"] }, format = { N = ["2"] } } } },
    ]
  }

  # Hours of tries before a record is given up, for what failed is often throttled; an endless retry would block the shard.
  stream_retry_attempts = 100

  filters = { for function, patterns in local.stream_patterns : function => [for pattern in patterns : jsonencode(pattern)] }
}

import {
  for_each = local.mappings
  to       = module.mapping[each.key].aws_lambda_event_source_mapping.this
  id       = each.value.uuid
}

module "mapping" {
  source   = "./modules/mapping"
  for_each = local.mappings

  function_name                    = local.function_names[each.value.function]
  function_timeout_seconds         = local.functions[each.value.function].timeout_seconds
  event_source_arn                 = contains(local.stream_consumers, each.value.function) ? module.table.stream_arn : local.consumed_queue_arns[each.value.function]
  queue_visibility_timeout_seconds = contains(local.stream_consumers, each.value.function) ? null : local.visibility_timeout_seconds[each.value.function]
  batch_size                       = local.functions[each.value.function].batch_size
  window_seconds                   = local.functions[each.value.function].window_seconds
  maximum_concurrency              = local.functions[each.value.function].maximum_concurrency
  filters                          = lookup(local.filters, each.value.function, [])

  stream = contains(local.stream_consumers, each.value.function) ? {
    parallelization_factor = local.functions[each.value.function].parallelization_factor
    maximum_retry_attempts = local.stream_retry_attempts
    on_failure_arn         = module.stream_failures.arn
  } : null
}

resource "aws_lambda_function_event_invoke_config" "plan" {
  count = contains(local.deployed_functions, "plan") ? 1 : 0

  function_name                = local.function_names["plan"]
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 21600

  destination_config {
    on_failure {
      destination = module.plan_failures.arn
    }
  }

  # Lambda checks that the role may send there.
  depends_on = [module.role]
}

# Lambda takes a function that one event has led to some sixteen times for a loop, and stops it: these go round on purpose, and come to an
# end. A plan hands over what is left of its file; a worker sends rows again that wait for their next attempt, that a deadline left over,
# or that are paused, each minute; a saver asks for the rest of its rows.
resource "aws_lambda_function_recursion_config" "this" {
  for_each = setintersection(local.deployed_functions, ["plan", "process", "process_heavy", "save"])

  function_name  = local.function_names[each.key]
  recursive_loop = "Allow"
}

# A Chalice function has one queue, so Terraform gives dead_letters the others. These are Terraform's from the start, and go when dead_letters goes:
# once `chalice delete` has emptied the deployed file, the next apply or destroy removes them.
resource "aws_lambda_event_source_mapping" "dead_letters" {
  for_each = { for queue, arn in local.dead_letters_mapped_by_terraform : queue => arn if contains(local.deployed_functions, "dead_letters") }

  function_name                      = local.function_names["dead_letters"]
  event_source_arn                   = each.value
  batch_size                         = local.functions["dead_letters"].batch_size
  maximum_batching_window_in_seconds = local.functions["dead_letters"].window_seconds
  function_response_types            = ["ReportBatchItemFailures"]

  dynamic "scaling_config" {
    for_each = local.functions["dead_letters"].maximum_concurrency[*]

    content {
      maximum_concurrency = scaling_config.value
    }
  }

  # Lambda checks that the role may receive there.
  depends_on = [module.role]
}
