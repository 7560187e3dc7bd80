# Created by Chalice, adopted by an import block of the root: this sets what a Chalice decorator cannot say.
resource "aws_lambda_event_source_mapping" "this" {
  function_name    = var.function_name
  event_source_arn = var.event_source_arn

  # Said for a mapping that this makes itself; of one that Chalice made, the decorator's stand.
  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.window_seconds
  starting_position                  = var.stream == null ? null : "TRIM_HORIZON"

  # A queue handler answers with the messages that failed; a stream handler raises.
  function_response_types = var.stream == null ? ["ReportBatchItemFailures"] : []

  # One bad record costs bisections, not its shard; what fails to the end goes to the destination.
  bisect_batch_on_function_error = var.stream == null ? null : true
  maximum_retry_attempts         = one(var.stream[*].maximum_retry_attempts)
  parallelization_factor         = one(var.stream[*].parallelization_factor)

  dynamic "destination_config" {
    for_each = var.stream[*]

    content {
      on_failure {
        destination_arn = destination_config.value.on_failure_arn
      }
    }
  }

  dynamic "filter_criteria" {
    for_each = length(var.filters) > 0 ? [var.filters] : []

    content {
      dynamic "filter" {
        for_each = filter_criteria.value

        content {
          pattern = filter.value
        }
      }
    }
  }

  dynamic "scaling_config" {
    for_each = var.maximum_concurrency[*]

    content {
      maximum_concurrency = scaling_config.value
    }
  }

  lifecycle {
    # A lost .chalice/deployed/<stage>.json must not take live mappings with it. A mapping that Chalice deleted is not destroyed, only forgotten.
    prevent_destroy = true

    # What Chalice sets.
    ignore_changes = [
      batch_size,
      event_source_arn,
      function_name,
      maximum_batching_window_in_seconds,
      starting_position,
    ]
  }
}
