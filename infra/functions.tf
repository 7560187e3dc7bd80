# Said once, here: visibility timeouts, the Chalice configuration and the mapping settings all derive from this.
locals {
  function_defaults = {
    # As long as Lambda allows, for whoever goes on with a gzip file unpacks it from its beginning; 1769 MB is one whole processor.
    plan = { timeout_seconds = 900, memory_mb = 1769 }
    # One chunk at a time: ten in a row on one worker would keep nine from the others.
    ingest = { timeout_seconds = 60, memory_mb = 512, batch_size = 1, window_seconds = 0, maximum_concurrency = 20 }
    # One message at a time: it is a pack of rows already, and one that kills its worker takes no other with it.
    process = { timeout_seconds = 60, memory_mb = 512, batch_size = 1, window_seconds = 0, maximum_concurrency = 50 }
    # One row: as long as Lambda allows, and 1769 MB is one whole processor.
    process_heavy = { timeout_seconds = 900, memory_mb = 1769, batch_size = 1, window_seconds = 0, maximum_concurrency = 20 }
    finish        = { timeout_seconds = 30, memory_mb = 256, batch_size = 10, window_seconds = 0, maximum_concurrency = 20 }
    # Of each dead-letter queue: there is no hurry, and what floods one must not take what the live functions need.
    dead_letters = { timeout_seconds = 60, memory_mb = 256, batch_size = 10, window_seconds = 0, maximum_concurrency = 2 }
    dispatch     = { timeout_seconds = 30, memory_mb = 256, batch_size = 1000, window_seconds = 1, parallelization_factor = 2 }
    settle       = { timeout_seconds = 30, memory_mb = 256, batch_size = 500, window_seconds = 1, parallelization_factor = 2 }
    reconcile    = { timeout_seconds = 300, memory_mb = 512 }
  }

  # The defaults with var.function_overrides laid over them; what a function has no use for is null.
  functions = {
    for name, default in local.function_defaults : name => {
      for setting in ["timeout_seconds", "memory_mb", "batch_size", "window_seconds", "maximum_concurrency", "parallelization_factor"] :
      setting => try(coalesce(try(var.function_overrides[name][setting], null), try(default[setting], null)), null)
    }
  }

  # Who consumes which queue, and which functions read the table's stream.
  queue_consumers  = { ingest = "ingest", work = "process", heavy = "process_heavy", finished = "finish" }
  stream_consumers = ["dispatch", "settle"]

  # dead_letters consumes the dead-letter queue of every queue above, and what plan gave up on. Chalice maps it to the first, for a
  # decorator names one queue.
  dead_letters_mapped_by_chalice = "work"

  # A heavy row that waits for its lease, or for its retry, is received again: that is no failure, so it has more of them.
  max_receive_counts = { heavy = max(10, var.max_receive_count) }

  # Long enough for six runs and the wait before one, as AWS advises: throttled deliveries come again before the sixth is over.
  visibility_timeout_seconds = { for name, f in local.functions : name => 6 * f.timeout_seconds + coalesce(f.window_seconds, 0) }

  message_retention_seconds = {
    for queue in keys(local.queue_consumers) :
    queue => try(var.existing_queues[queue].message_retention_seconds, var.queue_retention_days * local.seconds_per_day)
  }

  function_names = { for name in keys(local.functions) : name => "${local.prefix}-${name}" }
}
