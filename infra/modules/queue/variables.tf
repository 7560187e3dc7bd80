variable "name" {
  description = "Name of the queue; its dead-letter queue is <name>-dlq unless dlq_name says another."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,76}$", var.name))
    error_message = "name must be 1 to 76 letters, digits, hyphens or underscores, so that -dlq fits."
  }
}

variable "dlq_name" {
  description = "Name of its dead-letter queue; null for <name>-dlq."
  type        = string
  default     = null # null has a meaning here: <name>-dlq

  validation {
    condition     = var.dlq_name == null || can(regex("^[A-Za-z0-9_-]{1,80}$", var.dlq_name))
    error_message = "dlq_name must be 1 to 80 letters, digits, hyphens or underscores."
  }

  validation {
    condition     = var.dlq_name == null || var.dlq_name != var.name
    error_message = "dlq_name must be another queue than name."
  }
}

variable "existing" {
  description = "Both queues exist already and keep their owner: they are looked up by name, and the settings said here are only checked against each other."
  type        = bool
  default     = false
  nullable    = false
}

variable "arn_prefix" {
  description = "ARN of every queue of this account and region, without the name: arn:<partition>:sqs:<region>:<account>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}$", var.arn_prefix))
    error_message = "arn_prefix must look like arn:aws:sqs:us-east-1:123456789012."
  }
}

variable "consumer_timeout_seconds" {
  description = "Seconds the consumer of this queue may run."
  type        = number
  nullable    = false

  validation {
    condition     = var.consumer_timeout_seconds >= 1 && var.consumer_timeout_seconds <= 900
    error_message = "consumer_timeout_seconds must be between 1 and 900."
  }
}

variable "consumer_batch_size" {
  description = "Messages one run of the consumer takes."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.consumer_batch_size >= 1 && var.consumer_batch_size <= 10000
    error_message = "consumer_batch_size must be between 1 and 10000."
  }

  validation {
    condition     = var.consumer_batch_size <= 10 || var.consumer_window_seconds >= 1
    error_message = "consumer_batch_size over 10 needs consumer_window_seconds of at least 1."
  }
}

variable "consumer_window_seconds" {
  description = "Seconds messages are gathered for a run of the consumer; hidden, but not worked on."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.consumer_window_seconds >= 0 && var.consumer_window_seconds <= 300
    error_message = "consumer_window_seconds must be between 0 and 300."
  }
}

variable "longest_message_seconds" {
  description = "Seconds the slowest message takes, where that is known; 0 where it is not."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.longest_message_seconds >= 0 && var.longest_message_seconds <= var.consumer_timeout_seconds
    error_message = "longest_message_seconds must be at most consumer_timeout_seconds: its worker would be stopped first, each time."
  }

  validation {
    condition     = var.longest_message_seconds <= var.visibility_timeout_seconds
    error_message = "longest_message_seconds must be at most visibility_timeout_seconds: it would be delivered again while it is worked on."
  }
}

variable "visibility_timeout_seconds" {
  description = "Seconds a received message is hidden from other readers."
  type        = number
  nullable    = false

  validation {
    condition     = var.visibility_timeout_seconds >= 6 * var.consumer_timeout_seconds + var.consumer_window_seconds
    error_message = "visibility_timeout_seconds must be at least 6 x consumer_timeout_seconds + consumer_window_seconds."
  }

  validation {
    condition     = var.visibility_timeout_seconds <= 43200
    error_message = "visibility_timeout_seconds must be at most 43200 (12 hours)."
  }
}

variable "max_receive_count" {
  description = "Deliveries before a message goes to the dead-letter queue."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000
    error_message = "max_receive_count must be between 5 and 1000: Lambda's throttled receives count too."
  }
}

variable "message_retention_seconds" {
  description = "Seconds a message stays in the queue."
  type        = number
  default     = 345600
  nullable    = false

  validation {
    condition     = var.message_retention_seconds >= 60 && var.message_retention_seconds <= 1209600
    error_message = "message_retention_seconds must be between 60 and 1209600 (14 days)."
  }

  validation {
    condition     = var.message_retention_seconds > var.visibility_timeout_seconds
    error_message = "message_retention_seconds must be greater than visibility_timeout_seconds: a message that comes again would be gone."
  }
}

variable "dlq_message_retention_seconds" {
  description = "Seconds a message stays in the dead-letter queue, counted from when it was first sent to the queue."
  type        = number
  default     = 1209600
  nullable    = false

  validation {
    condition     = var.dlq_message_retention_seconds > var.message_retention_seconds
    error_message = "dlq_message_retention_seconds must be greater than message_retention_seconds: a dead letter keeps its first send time."
  }

  validation {
    condition     = var.dlq_message_retention_seconds <= 1209600
    error_message = "dlq_message_retention_seconds must be at most 1209600 (14 days)."
  }
}

variable "dlq_consumer_timeout_seconds" {
  description = "Seconds the consumer of the dead-letter queue may run; null when nothing consumes it."
  type        = number
  default     = null # null has a meaning here: no consumer

  validation {
    condition     = try(var.dlq_consumer_timeout_seconds >= 1 && var.dlq_consumer_timeout_seconds <= 900, var.dlq_consumer_timeout_seconds == null)
    error_message = "dlq_consumer_timeout_seconds must be between 1 and 900."
  }
}

variable "dlq_visibility_timeout_seconds" {
  description = "Seconds a received dead letter is hidden from other readers; null for as long as in the queue."
  type        = number
  default     = null # null has a meaning here: the queue's

  validation {
    condition = (
      var.dlq_consumer_timeout_seconds == null
      || try(coalesce(var.dlq_visibility_timeout_seconds, var.visibility_timeout_seconds) >= 6 * var.dlq_consumer_timeout_seconds, false)
    )
    error_message = "dlq_visibility_timeout_seconds must be at least 6 x dlq_consumer_timeout_seconds."
  }

  validation {
    condition     = try(var.dlq_visibility_timeout_seconds >= 0 && var.dlq_visibility_timeout_seconds <= 43200, var.dlq_visibility_timeout_seconds == null)
    error_message = "dlq_visibility_timeout_seconds must be between 0 and 43200 (12 hours)."
  }
}

variable "max_message_size_bytes" {
  description = "Bytes a message may have."
  type        = number
  default     = 262144
  nullable    = false

  validation {
    condition     = var.max_message_size_bytes >= 1024 && var.max_message_size_bytes <= 262144
    error_message = "max_message_size_bytes must be between 1024 and 262144."
  }
}

variable "allowed_sender" {
  description = "AWS service and the one ARN on whose behalf it may send here; null for IAM identities only."
  type = object({
    service    = string
    source_arn = string
  })
  default = null # null has a meaning here: nobody

  validation {
    condition     = var.allowed_sender == null || can(regex("^[a-z0-9.-]+\\.amazonaws\\.com$", var.allowed_sender.service))
    error_message = "allowed_sender.service must be a service principal such as events.amazonaws.com."
  }
}

variable "kms_key_arn" {
  description = "ARN of a KMS key of yours that encrypts the messages; null for the one SQS has. Senders and receivers need its rights too."
  type        = string
  default     = null # null has a meaning here: the key SQS has

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, not of an alias."
  }
}
