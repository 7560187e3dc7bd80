locals {
  # A graph: its metrics, each [namespace, metric, dimension, value] with its own statistic or the graph's.
  graphs = concat([
    {
      title = "Rows by outcome", stat = "Sum", stacked = true
      metrics = [
        ["Tally", "RowsSucceeded", "stage", var.stage, { label = "succeeded", color = "#2ca02c" }],
        ["Tally", "RowsFailed", "stage", var.stage, { label = "failed", color = "#d62728" }],
        ["Tally", "RowsRejected", "stage", var.stage, { label = "rejected", color = "#ff7f0e" }],
      ]
    },
    {
      title = "Batches", stat = "Maximum", stacked = false
      metrics = [
        ["Tally", "BatchesOpen", "stage", var.stage, { label = "open" }],
        ["Tally", "BatchesStalled", "stage", var.stage, { label = "without progress", color = "#d62728" }],
        ["Tally", "BatchesCompleted", "stage", var.stage, { label = "completed", stat = "Sum", color = "#2ca02c" }],
      ]
    },
    {
      title = "Seconds a row", stat = "Average", stacked = false
      metrics = [
        ["Tally", "RowSeconds", "stage", var.stage, { label = "average" }],
        ["Tally", "RowSeconds", "stage", var.stage, { label = "slowest chunk", stat = "Maximum" }],
      ]
    },
    {
      title   = "Messages waiting", stat = "Maximum", stacked = false
      metrics = [for name in var.queues : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", name, { label = name }]]
    },
    {
      title   = "Seconds the oldest message waits", stat = "Maximum", stacked = false
      metrics = [for name in var.queues : ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", name, { label = name }]]
    },
    {
      title   = "What could not be done", stat = "Maximum", stacked = true
      metrics = [for name in var.failure_queues : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", name, { label = name }]]
    },
    {
      title   = "Errors", stat = "Sum", stacked = true
      metrics = [for name in var.functions : ["AWS/Lambda", "Errors", "FunctionName", name, { label = name }]]
    },
    {
      title   = "Throttles", stat = "Sum", stacked = true
      metrics = [for name in var.functions : ["AWS/Lambda", "Throttles", "FunctionName", name, { label = name }]]
    },
    {
      title   = "Functions running at once", stat = "Maximum", stacked = false
      metrics = [for name in var.functions : ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", name, { label = name }]]
    },
    {
      title   = "Milliseconds a run, 95 of 100", stat = "p95", stacked = false
      metrics = [for name in var.functions : ["AWS/Lambda", "Duration", "FunctionName", name, { label = name }]]
    },
    {
      title   = "Milliseconds behind the stream", stat = "Maximum", stacked = false
      metrics = [for name in var.stream_functions : ["AWS/Lambda", "IteratorAge", "FunctionName", name, { label = name }]]
    },
    {
      title = "Table", stat = "Sum", stacked = false
      metrics = [
        ["AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", var.table_name, { label = "write units" }],
        ["AWS/DynamoDB", "ConsumedReadCapacityUnits", "TableName", var.table_name, { label = "read units" }],
        ["AWS/DynamoDB", "TransactionConflict", "TableName", var.table_name, { label = "transaction conflicts" }],
        ["AWS/DynamoDB", "WriteThrottleEvents", "TableName", var.table_name, { label = "throttled writes", color = "#d62728" }],
      ]
    },
    ], [
    for name in var.results_table[*] : {
      title = "Results table", stat = "Sum", stacked = false
      metrics = [
        ["AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", name, { label = "write units" }],
        ["AWS/DynamoDB", "ConsumedReadCapacityUnits", "TableName", name, { label = "read units" }],
        ["AWS/DynamoDB", "WriteThrottleEvents", "TableName", name, { label = "throttled writes", color = "#d62728" }],
        ["AWS/DynamoDB", "ReadThrottleEvents", "TableName", name, { label = "throttled reads", color = "#ff7f0e" }],
      ]
    }
  ])

  columns = 3
  width   = 24 / local.columns
  height  = 6
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [
      for place, graph in local.graphs : {
        type   = "metric"
        x      = place % local.columns * local.width
        y      = floor(place / local.columns) * local.height
        width  = local.width
        height = local.height

        properties = {
          title   = graph.title
          region  = var.region
          view    = "timeSeries"
          stat    = graph.stat
          stacked = graph.stacked
          period  = 60
          metrics = graph.metrics
        }
      }
    ]
  })
}
