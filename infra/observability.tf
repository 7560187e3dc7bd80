# What tells an operator. Every description names its section of the runbook.
locals {
  runbook = "See docs/runbook.md#"

  # An alarm costs by its metric and month, so each says what no other says in time. What is left out, and what tells it instead:
  #   errors of plan                   the upload comes to plan-failures within minutes, and dead_letters runs
  #   errors of dispatch and settle    the stream stands still, and they fall behind
  #   errors of finish                 its batches stand still; then its dead letters
  #   errors of export and save        their dead letters; no row waits for them
  #   throttles of all but the three   they wait, which is the same alarm as above; no row is given up for it
  #   age of ingest and finished       their batches stand still
  # tests/observability.tftest.hcl has the whole list.
  watched_functions = {
    for name, watched in {
      # Rows are given up when these are refused or fail five times.
      ingest        = ["errors", "throttles"]
      process       = ["errors", "throttles"]
      process_heavy = ["errors", "throttles"]
      dispatch      = ["behind"]
      settle        = ["behind"]
      dead_letters  = ["errors", "invoked"]
      reconcile     = ["errors", "silent"]
      } : local.function_names[name] => {
      errors_description    = contains(watched, "errors") ? "${name} fails again and again. ${local.runbook}function-errors." : null
      throttles_description = contains(watched, "throttles") ? "Lambda refuses to run ${name}. ${local.runbook}function-throttles." : null
      behind_description    = contains(watched, "behind") ? "${name} is behind the table's stream. ${local.runbook}stream-behind." : null
      # It takes a dead letter within a second, long before anything counts it as waiting: that it runs at all tells of one.
      invoked_description = contains(watched, "invoked") ? "Messages came to a dead-letter queue, or an upload to plan-failures, and ${name} runs. ${local.runbook}dead-letters." : null
      # Before Chalice has deployed it, its silence says nothing.
      silent_description = contains(watched, "silent") && contains(local.deployed_functions, name) ? "${name} does not run, so nobody would know of a batch that stands still. ${local.runbook}batch-without-progress." : null
      silent_minutes     = contains(watched, "silent") ? var.reconcile_minutes : null
      # These run once in minutes, and dead_letters after others have failed: one failure is worth a look.
      periods = contains(["dead_letters", "reconcile"], name) ? 1 : 3
    }
  }

  # Every queue of what could not be done. The dead-letters queue needs no alarm: what is in there has raised one.
  failure_queues = merge(
    {
      for name, queue in module.queue : queue.dlq_name => {
        description = "Messages of the ${name} queue that ${local.queue_consumers[name]} gave up on wait. ${local.runbook}dead-letters-${name}."
      }
    },
    {
      (module.plan_failures.name)   = { description = "Uploads that plan gave up on wait. ${local.runbook}plan-failures." }
      (module.stream_failures.name) = { description = "Stream records that dispatch or settle gave up on. ${local.runbook}stream-failures." }
      (module.completions.dlq_name) = { description = "Completions that nobody took. ${local.runbook}completions-dead-letters." }
    },
  )

  # Where work is late though its batch moves. A message that is worked on counts as waiting, so no alarm comes before two deliveries have had
  # their time.
  queue_ages = merge(
    {
      for name in ["work", "heavy"] : module.queue[name].name => {
        description               = "Messages of the ${name} queue wait longer than they should. ${local.runbook}queue-behind."
        oldest_message_seconds    = max(60 * var.oldest_message_minutes, 2 * module.queue[name].visibility_timeout_seconds)
        message_retention_seconds = local.message_retention_seconds[name]
      }
    },
    {
      for minutes in [var.completions_oldest_message_minutes] : module.completions.name => {
        description               = "Completions wait for your consumer. ${local.runbook}completions-waiting."
        oldest_message_seconds    = 60 * minutes
        message_retention_seconds = var.queue_retention_days * local.seconds_per_day
      } if minutes > 0
    },
  )
}

module "alarms" {
  source = "./modules/alarms"
  count  = var.alarms ? 1 : 0

  name                 = "${local.prefix}-alarms"
  alarm_arn_prefix     = local.alarm_arn_prefix
  kms_key_arn          = var.kms_key_arn
  own_key              = var.alarm_key
  failure_queues       = local.failure_queues
  queues               = local.queue_ages
  functions            = local.watched_functions
  iterator_age_seconds = 60 * var.iterator_age_minutes

  batches = {
    name              = local.prefix
    stage             = var.stage
    reconcile_minutes = var.reconcile_minutes
    description       = "Batches stand still, and reconcile could not repair them. ${local.runbook}batch-without-progress."
  }
}

module "dashboard" {
  source = "./modules/dashboard"
  count  = var.dashboard ? 1 : 0

  name             = local.prefix
  region           = data.aws_region.current.id
  stage            = var.stage
  table_name       = module.table.name
  results_table    = one(module.results_table[*].name)
  queues           = concat([for queue in module.queue : queue.name], [module.completions.name])
  failure_queues   = keys(local.failure_queues)
  functions        = values(local.function_names)
  stream_functions = [for name in local.stream_consumers : local.function_names[name]]
}
