# What a table with provisioned capacity has to have: docs/capacity.md has the arithmetic, bench/pacing.py the simulation.
locals {
  # How many mappings call a function: each may run maximum_concurrency of it.
  mappings_of = { for name in keys(local.function_defaults) : name => max(1, length([for each in local.queue_mappings : each if each == name])) }

  # What a function keeps of its time to answer (services._RESERVE_SECONDS).
  reserve_seconds = 2

  # The rows of a chunk are written at once: chunk_bytes where nothing compresses and some names, or one long record (store.items.MAX_ITEM_BYTES).
  largest_chunk_units = max(372, ceil(var.chunk_bytes / 1024) + 3)

  # A paced transaction counts 256 KiB of outcomes at most (store.table.MAX_PACED_BYTES), and changes the chunk; each kibibyte is two units.
  largest_transaction_units = 2 * (256 + 1) + 2

  # Rows have write_share of the table. A half is for all that ingest may run, a half for all that finish and dead_letters may run (services._WRITERS).
  half_share = var.write_share / 2

  writers = {
    ingest       = { units = local.largest_chunk_units, together = ["ingest"] }
    finish       = { units = local.largest_transaction_units, together = ["finish", "dead_letters"] }
    dead_letters = { units = local.largest_transaction_units, together = ["finish", "dead_letters"] }
  }

  # The least capacity at which one worker of a function writes its largest at its part of the half, within its time.
  least_write_units = {
    for name, writer in local.writers : name => ceil(
      writer.units / max(1, local.functions[name].timeout_seconds - local.reserve_seconds)
      * sum([for other in writer.together : local.mappings_of[other] * coalesce(local.functions[other].maximum_concurrency, 1)])
      / local.half_share
    )
  }

  # While only one of the two halves is asked for, the table is used by no more than that. A target above it is never reached, and nothing scales.
  paced_percent              = 100 * local.half_share
  target_utilization_percent = max(20, floor(0.875 * local.paced_percent))
}

# The checks are here and not with the variable: the defaults of functions.tf follow from it, which would be a circle.
output "least_write_units" {
  description = "Write units that provisioned_capacity must have at least, for every writer to get its largest item through within its time."
  value       = max(values(local.least_write_units)...)

  # A write that does not fit into its function's time is never begun: the message would come again until it is a dead letter.
  precondition {
    condition = var.provisioned_capacity == null || try(var.provisioned_capacity.write.min >= max(values(local.least_write_units)...), true)
    error_message = format(
      "provisioned_capacity.write.min must be at least %s: with less, %s could not write its largest item within its time. Or let fewer run (function_overrides: maximum_concurrency of ingest, finish, dead_letters), or longer (timeout_seconds). docs/capacity.md has the arithmetic.",
      max(values(local.least_write_units)...),
      join(" and ", [for name, units in local.least_write_units : "a worker of ${name} (${units})" if units > try(var.provisioned_capacity.write.min, 0)]),
    )
  }

  precondition {
    condition     = var.provisioned_capacity == null || try(coalesce(var.provisioned_capacity.target_utilization_percent, local.target_utilization_percent) < local.paced_percent, false)
    error_message = "provisioned_capacity.target_utilization_percent must be below ${local.paced_percent}, a half of write_share: where only ingest has work, or only finish, no more than that is ever used, so nothing would scale."
  }
}
