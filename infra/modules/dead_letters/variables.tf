variable "name" {
  description = "Name of the queue."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,80}$", var.name))
    error_message = "name must be 1 to 80 letters, digits, hyphens or underscores."
  }
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

variable "message_retention_seconds" {
  description = "Seconds a message stays, counted from when it was first sent to its source queue."
  type        = number
  default     = 1209600
  nullable    = false

  validation {
    condition     = var.message_retention_seconds >= 60 && var.message_retention_seconds <= 1209600
    error_message = "message_retention_seconds must be between 60 and 1209600 (14 days)."
  }
}

variable "visibility_timeout_seconds" {
  description = "Seconds a received message is hidden from other readers."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.visibility_timeout_seconds >= 0 && var.visibility_timeout_seconds <= 43200
    error_message = "visibility_timeout_seconds must be between 0 and 43200 (12 hours)."
  }

  validation {
    condition     = var.visibility_timeout_seconds >= 6 * coalesce(var.consumer_timeout_seconds, 0)
    error_message = "visibility_timeout_seconds must be at least 6 x consumer_timeout_seconds."
  }
}

variable "consumer_timeout_seconds" {
  description = "Seconds the consumer of this queue may run; null when nothing consumes it."
  type        = number
  default     = null # null has a meaning here: no consumer

  validation {
    condition     = var.consumer_timeout_seconds == null || try(var.consumer_timeout_seconds >= 1 && var.consumer_timeout_seconds <= 900, false)
    error_message = "consumer_timeout_seconds must be between 1 and 900."
  }
}

variable "source_queue_arns" {
  description = "ARNs of the only queues that may use this one as their dead-letter queue; empty for none."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.source_queue_arns) <= 10
    error_message = "source_queue_arns must name at most 10 queues."
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
