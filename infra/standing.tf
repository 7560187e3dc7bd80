# What costs by the month while nothing runs. `tally cost` prices it, by the table in tally/batch/prices.py.
locals {
  # The function of each event source mapping of a queue.
  queue_mappings = concat(
    values(local.queue_consumers),
    [for queue in local.queues_of_rows : "dead_letters"],
    ["dead_letters"], # of plan-failures
  )

  limited_mappings = [for name in local.queue_mappings : name if local.functions[name].maximum_concurrency != null]

  standing = {
    alarms             = try(length(jsondecode(module.alarms[0].descriptions)), 0)
    dashboards         = length(module.dashboard)
    keys               = var.alarms && var.alarm_key && var.kms_key_arn == null ? 1 : 0
    limited_mappings   = length(local.limited_mappings)
    unlimited_mappings = length(local.queue_mappings) - length(local.limited_mappings)
    stream_readers     = length(local.stream_consumers)
    reconcile_minutes  = var.reconcile_minutes
    reconcile_mb       = local.functions["reconcile"].memory_mb
    read_units         = sum(concat([module.table.least_read_units], module.results_table[*].least_read_units))
    write_units        = sum(concat([module.table.least_write_units], module.results_table[*].least_write_units))
    scaled             = sum(concat([module.table.scaled], module.results_table[*].scaled))
  }
}

output "standing" {
  description = "What the stage has that costs by the month while nothing runs, as JSON."
  value       = jsonencode(local.standing)
}
