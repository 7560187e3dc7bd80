# What tells an operator. Every description names its section of the runbook.
locals {
  runbook = "See docs/runbook.md#"

  # Every queue of what could not be done. The dead-letters queue needs no alarm: what is in there has raised one.
  failure_queues = merge(
    {
      for name, queue in module.queue : queue.dlq_name => {
        description = "Messages of the ${name} queue that ${local.queue_consumers[name]} gave up on. ${local.runbook}dead-letters-${name}."
        # dead_letters takes a dead letter within a second, long before anything counts it as waiting.
        consumed = true
      }
    },
    {
      (module.plan_failures.name)   = { description = "Uploads that plan gave up on. ${local.runbook}plan-failures.", consumed = true }
      (module.stream_failures.name) = { description = "Stream records that dispatch or settle gave up on. ${local.runbook}stream-failures." }
      (module.completions.dlq_name) = { description = "Completions that nobody took. ${local.runbook}completions-dead-letters." }
    },
  )

  # A message that is worked on counts as waiting, so no alarm comes before two deliveries have had their time.
  queue_ages = merge(
    {
      for name, queue in module.queue : queue.name => {
        description               = "Messages of the ${name} queue wait longer than they should. ${local.runbook}queue-behind."
        oldest_message_seconds    = max(60 * var.oldest_message_minutes, 2 * queue.visibility_timeout_seconds)
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

  # These run once in minutes, and dead_letters after others have failed: one failure is worth a look.
  seldom_run = ["plan", "dead_letters", "reconcile"]

  watched_functions = {
    for name in keys(local.functions) : local.function_names[name] => {
      errors_description    = "${name} fails again and again. ${local.runbook}function-errors."
      throttles_description = "Lambda refuses to run ${name}. ${local.runbook}function-throttles."
      behind_description    = contains(local.stream_consumers, name) ? "${name} is behind the table's stream. ${local.runbook}stream-behind." : null
      periods               = contains(local.seldom_run, name) ? 1 : 3
    }
  }
}

module "alarms" {
  source = "./modules/alarms"
  count  = var.alarms ? 1 : 0

  name                 = "${local.prefix}-alarms"
  alarm_arn_prefix     = local.alarm_arn_prefix
  kms_key_arn          = var.kms_key_arn
  failure_queues       = local.failure_queues
  queues               = local.queue_ages
  functions            = local.watched_functions
  iterator_age_seconds = 60 * var.iterator_age_minutes

  batches = {
    name              = local.prefix
    stage             = var.stage
    reconcile_minutes = var.reconcile_minutes
    description       = "Batches stand still, and reconcile could not mend them. ${local.runbook}batch-without-progress."
    # Before Chalice has deployed it, its silence says nothing.
    unseen = contains(local.deployed_functions, "reconcile") ? "reconcile does not run, so nobody would know of a batch that stands still. ${local.runbook}batch-without-progress." : null
  }
}

module "dashboard" {
  source = "./modules/dashboard"
  count  = var.dashboard ? 1 : 0

  name             = local.prefix
  region           = data.aws_region.current.id
  stage            = var.stage
  table_name       = module.table.name
  queues           = concat([for queue in module.queue : queue.name], [module.completions.name])
  failure_queues   = keys(local.failure_queues)
  functions        = values(local.function_names)
  stream_functions = [for name in local.stream_consumers : local.function_names[name]]
}
