variable "name" {
  description = "Name of the bus; the rule is <name>-completions."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,52}$", var.name)) && var.name != "default"
    error_message = "name must be 1 to 52 letters, digits, hyphens or underscores, and not the account's default bus."
  }
}

variable "arn_prefix" {
  description = "ARN of everything that EventBridge has in this account and region, without the name: arn:<partition>:events:<region>:<account>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:events:[a-z0-9-]+:[0-9]{12}$", var.arn_prefix))
    error_message = "arn_prefix must look like arn:aws:events:us-east-1:123456789012."
  }
}

variable "queue_arn" {
  description = "ARN of the queue that receives the events. Its policy must let events.amazonaws.com send on behalf of rule_arn."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", var.queue_arn))
    error_message = "queue_arn must be the ARN of a standard SQS queue."
  }
}

variable "dlq_arn" {
  description = "ARN of the queue that keeps events EventBridge could not deliver within a day. Its policy must let events.amazonaws.com send too."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", var.dlq_arn))
    error_message = "dlq_arn must be the ARN of a standard SQS queue."
  }

  validation {
    condition     = var.dlq_arn != var.queue_arn
    error_message = "dlq_arn must be another queue than queue_arn: what one refuses, it refuses again."
  }
}
