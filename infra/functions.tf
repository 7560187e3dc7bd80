# Said once, here: visibility timeouts, the Chalice configuration and the mapping settings all derive from this.
locals {
  function_defaults = {
    # As long as Lambda allows, for a continuation of a gzip file unpacks it from its beginning; 1769 MB is one whole processor.
    plan = { timeout_seconds = 900, memory_mb = 1769 }
    # A chunk a message, a message at a time: ten in a row on one worker would keep nine from the others. A chunk takes a second at most. Ten of them
    # ask a new table for 3,500 write units a second, of its 4,000; twenty would be refused a thousand times for a fifth of the time (bench/capacity.py).
    ingest = { timeout_seconds = 60, memory_mb = 512, batch_size = 1, window_seconds = 0, maximum_concurrency = 10 }
    # A chunk a message, too: one that kills its worker takes no other with it. A worker sends rows back that would take it longer than some
    # ten seconds; the rest of its time is for the slowest single row.
    process = { timeout_seconds = 60, memory_mb = 512, batch_size = 1, window_seconds = 0, maximum_concurrency = 50 }
    # One row: as long as Lambda allows, and 1769 MB is one whole processor.
    process_heavy = { timeout_seconds = 900, memory_mb = 1769, batch_size = 1, window_seconds = 0, maximum_concurrency = 20 }
    # Ten messages are ten transactions at most, fewer where pieces of one chunk meet. A limit would protect nothing but a provisioned table, whose
    # share is divided by it: what comes in is limited by what process and process_heavy may run. A mapping with a limit always keeps five pollers, one
    # without goes down to two.
    finish = { timeout_seconds = 30, memory_mb = 256, batch_size = 10, window_seconds = 0, maximum_concurrency = var.provisioned_capacity == null ? null : 20 }
    # Of each dead-letter queue; likewise. What comes in are messages that a limited function gave up on.
    dead_letters = { timeout_seconds = 60, memory_mb = 256, batch_size = 10, window_seconds = 0, maximum_concurrency = var.provisioned_capacity == null ? null : 2 }
    # A batch waits for the stream five times: planned, ready, nothing remains of its chunks, nothing of it, ended. A window would be waited for
    # each time, and without one a batch has ten records at most. That is enough: a million rows in chunks of 1,000 are 2,000 records for dispatch,
    # between 200 and 2,000 invocations, less than a tenth of a cent; a shard's ten records take some 60 ms, so two batches at once send 150 chunks a second.
    # 60 s, for a chunk may hold 2,000 heavy rows, which are a message each.
    dispatch = { timeout_seconds = 60, memory_mb = 256, batch_size = 10, window_seconds = 0, parallelization_factor = 2 }
    # One batch of a shard at a time: transactions that close chunks of one batch meet on its item, and those that meet are cancelled, billed
    # and tried again. A shard's worker closes ten chunks with one transaction.
    settle    = { timeout_seconds = 30, memory_mb = 256, batch_size = 10, window_seconds = 0, parallelization_factor = 1 }
    reconcile = { timeout_seconds = 300, memory_mb = 512 }
    # A part of the results a message, seconds mostly; failed.csv takes minutes where millions of rows failed. A whole processor, for it compresses.
    # What comes in are a few messages a batch, so a limit would protect the reads of a provisioned table alone.
    export = { timeout_seconds = 300, memory_mb = 1769, batch_size = 1, window_seconds = 0, maximum_concurrency = var.provisioned_capacity == null ? null : 4 }
    # A batch a message. It waits for the results table's capacity mostly, and asks for the rest in time; one whose worker died comes again after six
    # timeouts, so they are no longer than that. One works at a time, by a lease, so a limit would protect nothing.
    save = { timeout_seconds = 300, memory_mb = 512, batch_size = 1, window_seconds = 0, maximum_concurrency = null }
  }

  # The defaults with var.function_overrides laid over them; what a function has no use for is null.
  functions = {
    for name, default in local.function_defaults : name => {
      for setting in ["timeout_seconds", "memory_mb", "batch_size", "window_seconds", "maximum_concurrency", "parallelization_factor"] :
      setting => try(coalesce(try(var.function_overrides[name][setting], null), try(default[setting], null)), null)
    }
  }

  # Who consumes which queue, and which functions read the table's stream.
  queue_consumers  = { ingest = "ingest", work = "process", heavy = "process_heavy", finished = "finish", export = "export", save = "save" }
  stream_consumers = ["dispatch", "settle"]

  # A dead letter of these is about no row that lacks an outcome: an operator has it sent again, once its reason is gone.
  queues_of_rows = setsubtract(keys(local.queue_consumers), ["export", "save"])

  # dead_letters consumes the dead-letter queue of every queue of rows, and what plan gave up on. Chalice maps it to the first, for a
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
