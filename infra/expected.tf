# What `tally doctor` compares a stage with. Derived from what makes the stage: nothing is listed here a second time. It needs no record of Chalice,
# so it is complete after the first apply.
locals {
  # Which function is fed by what.
  expected_sources = concat(
    [for name in local.stream_consumers : { function = name, source_arn = module.table.stream_arn }],
    [for name, arn in local.consumed_queue_arns : { function = name, source_arn = arn }],
    [for arn in values(local.dead_letters_mapped_by_terraform) : { function = "dead_letters", source_arn = arn }],
  )

  expected_queues = merge(
    {
      for name, queue in module.queue : name => {
        url               = queue.url
        dlq_url           = queue.dlq_url
        dlq_arn           = queue.dlq_arn
        max_receive_count = queue.max_receive_count
        visibility_floor  = local.functions[local.queue_consumers[name]].timeout_seconds + coalesce(local.functions[local.queue_consumers[name]].window_seconds, 0)
      }
    },
    {
      completions = {
        url               = module.completions.url
        dlq_url           = module.completions.dlq_url
        dlq_arn           = module.completions.dlq_arn
        max_receive_count = module.completions.max_receive_count
        visibility_floor  = var.completions_consumer_timeout_seconds
      }
    },
  )
}

output "expected" {
  description = "What tally doctor compares the stage with, as JSON."
  value = jsonencode({
    account_id           = data.aws_caller_identity.current.account_id
    region               = data.aws_region.current.id
    table_name           = module.table.name
    stream_arn           = module.table.stream_arn
    results_table_name   = one(module.results_table[*].name)
    inbox_bucket         = module.inbox.name
    alarm_topic_arn      = one(module.alarms[*].topic_arn)
    reconcile_minutes    = var.reconcile_minutes
    queue_age_seconds    = 60 * var.oldest_message_minutes
    iterator_age_seconds = 60 * var.iterator_age_minutes

    functions = {
      for name, f in local.functions : name => {
        timeout_seconds = f.timeout_seconds
        memory_mb       = f.memory_mb
        role_arn        = module.role[name].arn
        statements = [
          for statement in local.statements[name] : {
            sid       = statement.sid
            actions   = statement.actions
            resources = statement.resources
            condition = try(statement.condition, {})
          }
        ]
      }
    }

    mappings = [
      for source in local.expected_sources : {
        function            = source.function
        source_arn          = source.source_arn
        batch_size          = local.functions[source.function].batch_size
        window_seconds      = coalesce(local.functions[source.function].window_seconds, 0)
        maximum_concurrency = local.functions[source.function].maximum_concurrency
        filters             = lookup(local.filters, source.function, [])
        stream = contains(local.stream_consumers, source.function) ? {
          parallelization_factor = local.functions[source.function].parallelization_factor
          maximum_retry_attempts = local.stream_retry_attempts
          on_failure_arn         = module.stream_failures.arn
        } : null
      }
    ]

    queues = local.expected_queues

    # What nobody could do waits here; dead_letters takes what comes to the first.
    failure_queues = {
      plan-failures   = module.plan_failures.url
      stream-failures = module.stream_failures.url
    }
  })
}
