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
  description = "ARN of a KMS key of yours that encrypts the notifications; null for none, or for one made here (own_key). Its policy must let cloudwatch.amazonaws.com use it."
  type        = string
  default     = null # null has a meaning here: none, or one made here

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, not of an alias."
  }
}

variable "own_key" {
  description = "Make a KMS key that encrypts the notifications, unless kms_key_arn names one: a dollar a month, and one more after each of its first two yearly rotations."
  type        = bool
  default     = false
  nullable    = false
}

variable "failure_queues" {
  description = "Queues that ought to be empty, by name: what a message that waits in one means, and where it says what to do."
  type = map(object({
    description = string
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
  description = "Functions, by name, and what it means when one fails (an error in each of so many five-minute periods on end), is throttled likewise, falls behind its stream, runs at all, or has not run for three times silent_minutes. Each null is an alarm less."
  type = map(object({
    errors_description    = optional(string)
    throttles_description = optional(string)
    behind_description    = optional(string)
    invoked_description   = optional(string)
    silent_description    = optional(string)
    silent_minutes        = optional(number)
    periods               = optional(number, 3)
  }))
  default  = {}
  nullable = false

  validation {
    condition = alltrue(flatten([
      for f in values(var.functions) : [
        for text in [f.errors_description, f.throttles_description, f.behind_description, f.invoked_description, f.silent_description] :
        text == null || try(length(text) >= 1 && length(text) <= 1024, false)
      ]
    ]))
    error_message = "Every description must have 1 to 1024 characters, or be null."
  }

  # CloudWatch looks back over a day at most.
  validation {
    condition = alltrue([
      for f in values(var.functions) : f.silent_description == null || try(f.silent_minutes >= 1 && 3 * f.silent_minutes <= 1440, false)
    ])
    error_message = "silent_minutes must be between 1 and 480 where silent_description is set: an alarm looks back over a day at most, and this one over three runs."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : function.periods >= 1 && function.periods <= 12 && floor(function.periods) == function.periods])
    error_message = "periods must be a whole number between 1 and 12 (an hour)."
  }
}

variable "iterator_age_seconds" {
  description = "Seconds a stream record may have waited when it is read."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.iterator_age_seconds >= 60 && var.iterator_age_seconds < 86400
    error_message = "iterator_age_seconds must be at least 60 and less than 86400: the stream forgets after 24 hours."
  }
}

variable "batches" {
  description = "The stage whose batches ought not to stand still: prefix of the alarm's name, value of the metric's stage, how often reconcile looks, and what it means. Null for none."
  type = object({
    name              = string
    stage             = string
    reconcile_minutes = number
    description       = string
  })
  default = null # null has a meaning here: none

  validation {
    condition     = var.batches == null || try(length(var.batches.description) >= 1 && length(var.batches.description) <= 1024, false)
    error_message = "The description must have 1 to 1024 characters."
  }

  # CloudWatch looks back over a day at most.
  validation {
    condition     = var.batches == null || try(var.batches.reconcile_minutes >= 1 && 3 * var.batches.reconcile_minutes <= 1440, false)
    error_message = "batches.reconcile_minutes must be between 1 and 480: an alarm looks back over a day at most, and this one over three runs."
  }
}
