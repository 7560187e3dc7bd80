variable "existing_inbox_bucket" {
  description = "Name of a bucket that is there already and is to take the uploads; null for one made here. docs/adopting.md says what it needs."
  type        = string
  default     = null # null has a meaning here: one made here
}

variable "existing_table" {
  description = "Name of a table that is there already, with keys, stream, index and TTL as in modules/table; null for one made here."
  type        = string
  default     = null # null has a meaning here: one made here
}

variable "existing_queues" {
  description = "Queues that are there already, by which they are (ingest, work, heavy, finished, export, save), and what their settings are. The others are made here."
  type = map(object({
    name                           = string
    dlq_name                       = string
    visibility_timeout_seconds     = number
    dlq_visibility_timeout_seconds = number
    message_retention_seconds      = number
    dlq_message_retention_seconds  = number
    max_receive_count              = number
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length(setsubtract(keys(var.existing_queues), keys(local.queue_consumers))) == 0
    error_message = "existing_queues may name the queues of queue_consumers in functions.tf only."
  }

  validation {
    condition = alltrue([
      for key, queue in var.existing_queues : queue.visibility_timeout_seconds >= try(local.visibility_timeout_seconds[local.queue_consumers[key]], 0)
    ])
    error_message = "visibility_timeout_seconds must be at least 6 x the timeout of the queue's function + its window."
  }

  validation {
    condition     = alltrue([for queue in values(var.existing_queues) : queue.dlq_visibility_timeout_seconds >= local.visibility_timeout_seconds["dead_letters"]])
    error_message = "dlq_visibility_timeout_seconds must be at least 6 x the timeout of dead_letters + its window."
  }

  validation {
    condition     = alltrue([for queue in values(var.existing_queues) : queue.dlq_message_retention_seconds > queue.message_retention_seconds])
    error_message = "dlq_message_retention_seconds must be greater than message_retention_seconds: a dead letter keeps its first send time."
  }

  validation {
    condition     = alltrue([for queue in values(var.existing_queues) : queue.dlq_message_retention_seconds < 86400 * var.retention_days])
    error_message = "dlq_message_retention_seconds must be less than retention_days: a dead letter would outlive the rows it is about."
  }

  validation {
    condition     = alltrue([for key, queue in var.existing_queues : queue.max_receive_count >= (key == "heavy" ? 10 : 5)])
    error_message = "max_receive_count must be at least 5, of heavy at least 10: throttled receives count too, and a heavy row is put back while it is leased."
  }
}
