variable "name" {
  description = "Name of the bus; the rule and the queue are <name>-completions."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,52}$", var.name)) && var.name != "default"
    error_message = "name must be 1 to 52 letters, digits, hyphens or underscores, and not the account's default bus."
  }
}

variable "arn_prefix" {
  description = "ARN of every queue of this account and region, without the name: arn:<partition>:sqs:<region>:<account>."
  type        = string
  nullable    = false
}

variable "consumer_timeout_seconds" {
  description = "Seconds your consumer of the completions queue may run; its visibility timeout is 6 times this."
  type        = number
  default     = 60
  nullable    = false
}

variable "message_retention_seconds" {
  description = "Seconds a completion waits for its consumer."
  type        = number
  default     = 345600
  nullable    = false
}

variable "dlq_message_retention_seconds" {
  description = "Seconds a completion stays in the dead-letter queue, counted from when it was sent."
  type        = number
  default     = 1209600
  nullable    = false
}

variable "max_receive_count" {
  description = "Deliveries before a completion goes to the dead-letter queue."
  type        = number
  default     = 5
  nullable    = false
}
