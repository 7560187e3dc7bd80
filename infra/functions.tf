# Said once, here: visibility timeouts, the Chalice configuration and the mapping settings all derive from this.
locals {
  function_defaults = {
    plan   = { timeout_seconds = 300, memory_mb = 512 }
    ingest = { timeout_seconds = 60, memory_mb = 512, batch_size = 10, window_seconds = 0, maximum_concurrency = 20 }
    # One message at a time: it is a pack of rows already, and one that kills its worker takes no other with it.
    process  = { timeout_seconds = 60, memory_mb = 512, batch_size = 1, window_seconds = 0, maximum_concurrency = 50 }
    finish   = { timeout_seconds = 30, memory_mb = 256, batch_size = 10, window_seconds = 0, maximum_concurrency = 20 }
    dispatch = { timeout_seconds = 30, memory_mb = 256, batch_size = 1000, window_seconds = 1, parallelization_factor = 2 }
    settle   = { timeout_seconds = 30, memory_mb = 256, batch_size = 500, window_seconds = 1, parallelization_factor = 2 }
  }

  # The defaults with var.function_overrides laid over them; what a function has no use for is null.
  functions = {
    for name, default in local.function_defaults : name => {
      for setting in ["timeout_seconds", "memory_mb", "batch_size", "window_seconds", "maximum_concurrency", "parallelization_factor"] :
      setting => try(coalesce(try(var.function_overrides[name][setting], null), try(default[setting], null)), null)
    }
  }

  # Who consumes which queue, and which functions read the table's stream.
  queue_consumers  = { ingest = "ingest", work = "process", finished = "finish" }
  consumed_queues  = { for queue, consumer in local.queue_consumers : consumer => queue }
  stream_consumers = ["dispatch", "settle"]

  function_names = { for name in keys(local.functions) : name => "${local.prefix}-${name}" }
}
