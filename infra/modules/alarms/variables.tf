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

variable "queues" {
  description = "Queues that ought to be empty: what a message in one means and where it says what to do, by name of the queue."
  type        = map(string)
  nullable    = false

  validation {
    condition     = alltrue([for description in values(var.queues) : length(description) >= 1 && length(description) <= 1024])
    error_message = "Every description must have 1 to 1024 characters."
  }
}

variable "consumed_queues" {
  description = "Those of them that a function consumes. A message may be gone before it is counted as waiting, so its receipt alarms too."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(setsubtract(var.consumed_queues, keys(var.queues))) == 0
    error_message = "consumed_queues must be among queues."
  }
}
