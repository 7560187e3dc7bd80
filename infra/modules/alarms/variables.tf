variable "name" {
  description = "Name of the topic, and of the alias of its key."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,246}$", var.name))
    error_message = "name must be 1 to 246 letters, digits, hyphens or underscores."
  }
}

variable "alarm_arn_prefix" {
  description = "ARN of every alarm of this account and region, without the name: arn:<partition>:cloudwatch:<region>:<account>:alarm."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:cloudwatch:[a-z0-9-]+:[0-9]{12}:alarm$", var.alarm_arn_prefix))
    error_message = "alarm_arn_prefix must look like arn:aws:cloudwatch:us-east-1:123456789012:alarm."
  }
}

variable "kms_key_arn" {
  description = "ARN of a KMS key of yours that encrypts the notifications; null for one made here. Its policy must let cloudwatch.amazonaws.com use it."
  type        = string
  default     = null # null has a meaning here: one made here

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, not of an alias."
  }
}

variable "failure_queues" {
  description = "Queues that ought to be empty, by name: what a message in one means and where it says what to do, and whether a function consumes it. Such a message may be gone before it is counted as waiting, so its receipt alarms too."
  type = map(object({
    description = string
    consumed    = optional(bool, false)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for queue in values(var.failure_queues) : length(queue.description) >= 1 && length(queue.description) <= 1024])
    error_message = "Every description must have 1 to 1024 characters."
  }
}

variable "queues" {
  description = "Queues whose messages ought to be taken in time, by name: what it means when one waits longer than oldest_message_seconds, and how long the queue keeps a message."
  type = map(object({
    description               = string
    oldest_message_seconds    = number
    message_retention_seconds = number
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for queue in values(var.queues) : length(queue.description) >= 1 && length(queue.description) <= 1024])
    error_message = "Every description must have 1 to 1024 characters."
  }

  validation {
    condition     = alltrue([for queue in values(var.queues) : queue.oldest_message_seconds >= 60 && queue.oldest_message_seconds < queue.message_retention_seconds])
    error_message = "oldest_message_seconds must be at least 60 and less than message_retention_seconds: a message would be gone before anybody knew."
  }
}

variable "functions" {
  description = "Functions, by name: what it means when each of so many five-minute periods on end has an error or a throttle, and, of a stream's consumer, when it falls behind."
  type = map(object({
    errors_description    = string
    throttles_description = string
    behind_description    = optional(string)
    periods               = optional(number, 3)
  }))
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for function in values(var.functions) :
      alltrue([for text in compact([function.errors_description, function.throttles_description, coalesce(function.behind_description, "-")]) : length(text) <= 1024])
      && function.errors_description != "" && function.throttles_description != ""
    ])
    error_message = "Every description must have 1 to 1024 characters."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : function.periods >= 1 && function.periods <= 12 && floor(function.periods) == function.periods])
    error_message = "periods must be a whole number between 1 and 12 (an hour)."
  }
}

variable "iterator_age_seconds" {
  description = "Seconds a record may have waited in the stream when it is read."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.iterator_age_seconds >= 60 && var.iterator_age_seconds < 86400
    error_message = "iterator_age_seconds must be at least 60 and less than 86400: the stream forgets after 24 hours."
  }
}

variable "batches" {
  description = "The stage whose batches ought not to stand still: prefix of the alarm's name, value of the metric's stage, how often reconcile looks, what it means, and what it means when reconcile does not look (null: no alarm on that, as long as nothing is deployed that could). Null for none."
  type = object({
    name              = string
    stage             = string
    reconcile_minutes = number
    description       = string
    unseen            = optional(string)
  })
  default = null # null has a meaning here: none

  validation {
    condition     = var.batches == null || try(alltrue([for text in [var.batches.description, coalesce(var.batches.unseen, "-")] : length(text) >= 1 && length(text) <= 1024]), false)
    error_message = "Every description must have 1 to 1024 characters."
  }

  # CloudWatch looks back over a day at most.
  validation {
    condition     = var.batches == null || try(var.batches.reconcile_minutes >= 1 && 3 * var.batches.reconcile_minutes <= 1440, false)
    error_message = "batches.reconcile_minutes must be between 1 and 480: an alarm looks back over a day at most, and this one over three runs."
  }
}
