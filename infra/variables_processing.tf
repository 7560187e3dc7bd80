# The bits of 2,000 rows, done and heavy, are 500 bytes of a chunk item that must stay below 1 KiB: each count would cost double above.
variable "chunk_rows" {
  description = "Rows of a chunk at most; a job may say its own (CHUNK_ROWS). A chunk is what is stored, delivered and counted at once."
  type        = number
  default     = 1000
  nullable    = false

  validation {
    condition     = var.chunk_rows >= 1 && var.chunk_rows <= 2000 && floor(var.chunk_rows) == var.chunk_rows
    error_message = "chunk_rows must be a whole number between 1 and 2000: a chunk has a bit for each row and is to stay below 1 KiB."
  }
}

variable "chunk_bytes" {
  description = "Bytes of a chunk at most. A CSV record or a line may be longer, up to 1 MiB, and is then a chunk of its own."
  type        = number
  default     = 262144
  nullable    = false

  validation {
    condition     = var.chunk_bytes >= 1024 && var.chunk_bytes <= 1048576 && floor(var.chunk_bytes) == var.chunk_bytes
    error_message = "chunk_bytes must be a whole number between 1024 (1 KiB) and 1048576 (1 MiB)."
  }
}

variable "queue_retention_days" {
  description = "Days a message stays in its queue."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.queue_retention_days >= 1 && var.queue_retention_days <= 14
    error_message = "queue_retention_days must be between 1 and 14."
  }
}

variable "dlq_retention_days" {
  description = "Days a message stays in a dead-letter queue, counted from when it was first sent."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = var.dlq_retention_days > var.queue_retention_days && var.dlq_retention_days <= 14
    error_message = "dlq_retention_days must be greater than queue_retention_days and at most 14."
  }
}

variable "max_receive_count" {
  description = "Deliveries of a message before it goes to the dead-letter queue."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000
    error_message = "max_receive_count must be between 5 and 1000: Lambda's throttled receives count too."
  }
}

variable "reconcile_minutes" {
  description = "Minutes between two runs of reconcile, and without progress before it looks into a batch."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.reconcile_minutes >= 1 && var.reconcile_minutes <= 60 && floor(var.reconcile_minutes) == var.reconcile_minutes
    error_message = "reconcile_minutes must be a whole number between 1 and 60."
  }
}

variable "object_settling_minutes" {
  description = "Minutes for which an object that S3 answers 404 for counts as not visible yet, not as deleted; 0 on a local AWS."
  type        = number
  default     = 20
  nullable    = false

  # Ingest must ask again until then: it receives a message max_receive_count times before the chunk is given up.
  validation {
    condition = (
      var.object_settling_minutes >= 0 && floor(var.object_settling_minutes) == var.object_settling_minutes &&
      60 * var.object_settling_minutes <= (var.max_receive_count - 1) * local.visibility_timeout_seconds.ingest
    )
    error_message = "object_settling_minutes must be a whole number from 0, and at most (max_receive_count - 1) x ingest's visibility timeout."
  }
}

variable "heavy_row_seconds" {
  description = "Seconds the longest heavy row of your jobs takes, where that is known; 0 where it is not."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.heavy_row_seconds >= 0 && var.heavy_row_seconds <= local.functions["process_heavy"].timeout_seconds
    error_message = "heavy_row_seconds must be at most the timeout of process_heavy: its worker would be stopped first, each time."
  }
}

variable "completions_consumer_timeout_seconds" {
  description = "Seconds your consumer of the completions queue may run."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.completions_consumer_timeout_seconds >= 1 && var.completions_consumer_timeout_seconds <= 900
    error_message = "completions_consumer_timeout_seconds must be between 1 and 900."
  }
}
