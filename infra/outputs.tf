output "chalice_config" {
  description = "The whole .chalice/config.json of this stage, as JSON."
  value = jsonencode({
    version  = "2.0"
    app_name = "tally"
    stages = {
      (var.stage) = {
        automatic_layer = false
        xray            = false

        environment_variables = merge({
          TALLY_STAGE                   = var.stage
          TALLY_TABLE                   = module.table.name
          TALLY_STREAM_ARN              = module.table.stream_arn
          TALLY_INBOX_BUCKET            = module.inbox.name
          TALLY_EVENT_BUS               = module.completion.bus_name
          TALLY_RETENTION_DAYS          = tostring(var.retention_days)
          TALLY_EXPORT                  = tostring(var.export)
          TALLY_RESULTS_RETENTION_DAYS  = tostring(local.results_expiration_days)
          TALLY_CHUNK_ROWS              = tostring(var.chunk_rows)
          TALLY_CHUNK_BYTES             = tostring(var.chunk_bytes)
          TALLY_RECONCILE_MINUTES       = tostring(var.reconcile_minutes)
          TALLY_OBJECT_SETTLING_MINUTES = tostring(var.object_settling_minutes)
          TALLY_WRITE_SHARE             = var.provisioned_capacity == null ? "0" : tostring(var.write_share)
          TALLY_LOG_LEVEL               = var.log_level

          # Where functions send, and what the decorators name.
          TALLY_QUEUES = jsonencode(merge(
            { for name, queue in module.queue : name => { url = queue.url, arn = queue.arn } },
            {
              "${local.dead_letters_mapped_by_chalice}-dlq" = {
                url = module.queue[local.dead_letters_mapped_by_chalice].dlq_url
                arn = module.queue[local.dead_letters_mapped_by_chalice].dlq_arn
              }
              dead-letters = { url = module.dead_letters.url, arn = module.dead_letters.arn }
            },
          ))

          # What the decorators say when Chalice creates a mapping; a function without a batch size has none.
          TALLY_FUNCTIONS = jsonencode({
            for name, f in local.functions : name => {
              batch_size                      = f.batch_size
              maximum_batching_window_seconds = f.window_seconds
              maximum_concurrency             = f.maximum_concurrency
              mappings                        = local.mappings_of[name]
            } if f.batch_size != null
          })

          POWERTOOLS_SERVICE_NAME = "tally"
          }, {
          for table in module.results_table : "TALLY_RESULTS_TABLE" => jsonencode({
            name           = table.name
            write_share    = table.write_share
            retention_days = var.results_table.retention_days
          })
        })

        lambda_functions = {
          for name, f in local.functions : name => {
            manage_iam_role    = false # on the stage it would demand one role for all
            iam_role_arn       = module.role[name].arn
            lambda_timeout     = f.timeout_seconds
            lambda_memory_size = f.memory_mb

            # Over the stage's. Not in the stage's: Chalice has those itself while it deploys, and an AWS_ENDPOINT_URL would lead it astray.
            environment_variables = var.function_environment
          }
        }
      }
    }
  })
}

output "stage" {
  description = "Name of this copy of the system."
  value       = var.stage
}

output "region" {
  description = "Region everything is in."
  value       = data.aws_region.current.id
}

output "table_name" {
  description = "Name of the table."
  value       = module.table.name
}

output "results_table_name" {
  description = "Name of the table of results by key. Null without one."
  value       = one(module.results_table[*].name)
}

output "results_table_arn" {
  description = "ARN of that table: who reads results needs dynamodb:GetItem on it. Null without one."
  value       = one(module.results_table[*].arn)
}

output "inbox_bucket" {
  description = "Name of the bucket that takes uploads, under inbox/<job>/."
  value       = module.inbox.name
}

output "event_bus_name" {
  description = "Name of the bus that carries Batch Completed, Batch Stopped, Batch Rejected and Batch Exported."
  value       = module.completion.bus_name
}

output "completions_queue_url" {
  description = "URL of the queue that receives the event of each batch's end."
  value       = module.completions.url
}

output "plan_failures_queue_url" {
  description = "URL of the queue of uploads that plan gave up on."
  value       = module.plan_failures.url
}

output "stream_failures_queue_url" {
  description = "URL of the queue of stream records that dispatch or settle gave up on."
  value       = module.stream_failures.url
}

output "dead_letters_queue_url" {
  description = "URL of the queue of copies of the messages that dead_letters has dealt with."
  value       = module.dead_letters.url
}

output "alarm_topic_arn" {
  description = "ARN of the topic that every alarm publishes to; subscribe those who have to act. Null without alarms."
  value       = one(module.alarms[*].topic_arn)
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard. Null without one."
  value       = one(module.dashboard[*].name)
}

output "adopted_mappings" {
  description = "Event source mappings Terraform has adopted from Chalice; 9 once it is done."
  value       = length(local.mappings)
}
