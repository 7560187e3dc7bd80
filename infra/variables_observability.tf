variable "alarms" {
  description = "Have alarms and the topic they publish to. Off for a local AWS, which measures no queues and shows half of an alarm as drift."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarm_key" {
  description = "Make a KMS key that encrypts the alarms' notifications, where kms_key_arn names none: a dollar a month, and one more after each of its first two yearly rotations."
  type        = bool
  default     = false
  nullable    = false
}

variable "dashboard" {
  description = "Have a CloudWatch dashboard: three dollars a month."
  type        = bool
  default     = false
  nullable    = false
}

variable "oldest_message_minutes" {
  description = "Minutes a message of the queues work and heavy may wait before it alarms; a value below twice the queue's visibility timeout counts as that."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.oldest_message_minutes >= 1 && var.oldest_message_minutes < 1440 * var.queue_retention_days
    error_message = "oldest_message_minutes must be at least 1 and less than queue_retention_days: the message would be gone before anybody knew."
  }
}

variable "iterator_age_minutes" {
  description = "Minutes dispatch or settle may be behind the table's stream before it alarms."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.iterator_age_minutes >= 1 && var.iterator_age_minutes < 1440
    error_message = "iterator_age_minutes must be at least 1 and less than 1440: the stream forgets after 24 hours."
  }
}

variable "completions_oldest_message_minutes" {
  description = "Minutes a completion may wait for your consumer before it alarms; 0 for no alarm, where only rules of your own on the bus matter."
  type        = number
  default     = 1440
  nullable    = false

  validation {
    condition     = var.completions_oldest_message_minutes >= 0 && var.completions_oldest_message_minutes < 1440 * var.queue_retention_days
    error_message = "completions_oldest_message_minutes must be less than queue_retention_days: the completion would be gone before anybody knew."
  }
}

variable "log_level" {
  description = "Least level the functions log."
  type        = string
  default     = "INFO"
  nullable    = false

  validation {
    condition     = contains(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], var.log_level)
    error_message = "log_level must be DEBUG, INFO, WARNING, ERROR or CRITICAL."
  }
}

variable "log_retention_days" {
  description = "Days the functions' logs stay; a number CloudWatch Logs offers."
  type        = number
  default     = 30
  nullable    = false
}
