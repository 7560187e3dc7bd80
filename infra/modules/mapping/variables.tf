variable "function_name" {
  description = "Name of the Lambda function."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.function_name))
    error_message = "function_name must be 1 to 64 letters, digits, hyphens or underscores."
  }
}

variable "function_timeout_seconds" {
  description = "Seconds the function may run."
  type        = number
  nullable    = false

  validation {
    condition     = var.function_timeout_seconds >= 1 && var.function_timeout_seconds <= 900
    error_message = "function_timeout_seconds must be between 1 and 900."
  }
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

variable "queue_visibility_timeout_seconds" {
  description = "Seconds a received message of the queue is hidden from other readers; null for a stream."
  type        = number
  default     = null # null has a meaning here: a stream

  validation {
    condition     = (var.queue_visibility_timeout_seconds != null) == can(regex(":sqs:", var.event_source_arn))
    error_message = "queue_visibility_timeout_seconds must be set for a queue, and only for one."
  }

  validation {
    condition     = try(var.queue_visibility_timeout_seconds >= var.window_seconds + var.function_timeout_seconds, var.queue_visibility_timeout_seconds == null)
    error_message = "queue_visibility_timeout_seconds must be at least window_seconds + function_timeout_seconds: a message would come again while it is worked on."
  }
}

variable "batch_size" {
  description = "Messages or stream records that one run of the function takes at most."
  type        = number
  nullable    = false

  validation {
    condition     = var.batch_size >= 1 && var.batch_size <= 10000
    error_message = "batch_size must be between 1 and 10000."
  }

  validation {
    condition     = var.batch_size <= 10 || var.window_seconds >= 1
    error_message = "batch_size over 10 needs window_seconds of at least 1."
  }
}

variable "window_seconds" {
  description = "Seconds that messages or stream records are gathered for one run."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.window_seconds >= 0 && var.window_seconds <= 300
    error_message = "window_seconds must be between 0 and 300."
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
  description = "Event patterns as JSON; a stream record that fits none is never delivered. Empty delivers all."
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

  validation {
    condition     = var.stream == null || can(regex("^arn:[a-z-]+:(sqs|sns|s3):", var.stream.on_failure_arn))
    error_message = "stream.on_failure_arn must be the ARN of a queue, a topic or a bucket."
  }
}
