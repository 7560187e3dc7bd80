variable "function_name" {
  description = "Name of the Lambda function."
  type        = string
  nullable    = false
}

variable "event_source_arn" {
  description = "ARN of the queue or stream."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:sqs:", var.event_source_arn)) != can(regex("^arn:[a-z-]+:dynamodb:.*/stream/", var.event_source_arn))
    error_message = "event_source_arn must be the ARN of an SQS queue or of a DynamoDB stream."
  }
}

variable "maximum_concurrency" {
  description = "Invocations of the function this queue may cause at once; null for no limit."
  type        = number
  default     = null # null has a meaning here: no limit

  validation {
    condition     = var.maximum_concurrency == null || can(regex(":sqs:", var.event_source_arn))
    error_message = "maximum_concurrency is for queues only; a stream has parallelization_factor."
  }

  validation {
    condition     = try(var.maximum_concurrency >= 2 && var.maximum_concurrency <= 1000, var.maximum_concurrency == null)
    error_message = "maximum_concurrency must be between 2 and 1000."
  }
}

variable "filters" {
  description = "Event patterns as JSON; a record that fits none is never delivered. Empty delivers all."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.filters) <= 5
    error_message = "filters must be at most 5."
  }

  validation {
    condition     = alltrue([for f in var.filters : can(jsondecode(f))])
    error_message = "Every filter must be JSON."
  }
}

variable "stream" {
  description = "What a stream needs beyond a queue: retries of a batch before it goes to on_failure_arn, and batches of one shard at once. Null for a queue."
  type = object({
    maximum_retry_attempts = optional(number, 100)
    parallelization_factor = optional(number, 1)
    on_failure_arn         = string
  })
  default = null # null has a meaning here: a queue

  validation {
    condition     = (var.stream != null) == can(regex(":dynamodb:", var.event_source_arn))
    error_message = "stream must be set for a DynamoDB stream, and only for one."
  }

  validation {
    condition     = var.stream == null || try(var.stream.parallelization_factor >= 1 && var.stream.parallelization_factor <= 10, false)
    error_message = "stream.parallelization_factor must be between 1 and 10."
  }

  validation {
    condition     = var.stream == null || try(var.stream.maximum_retry_attempts >= 0 && var.stream.maximum_retry_attempts <= 10000, false)
    error_message = "stream.maximum_retry_attempts must be between 0 and 10000: an endless retry blocks the shard."
  }
}
