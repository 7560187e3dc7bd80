variable "stage" {
  description = "Name of this copy of the system; also the Chalice stage. Part of every name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$", var.stage))
    error_message = "stage must be 1 to 20 lowercase letters, digits or hyphens, start with a letter and not end with a hyphen."
  }
}

variable "deployed_file" {
  description = "What `chalice deploy` wrote for this stage; empty for ../app/.chalice/deployed/<stage>.json. Need not exist yet."
  type        = string
  default     = ""
  nullable    = false
}

variable "force_destroy" {
  description = "Let `terraform destroy` take the data too: the filled bucket and the table. Off, the table is protected from deletion."
  type        = bool
  default     = false
  nullable    = false
}

variable "point_in_time_recovery" {
  description = "Keep continuous backups of the table."
  type        = bool
  default     = true
  nullable    = false
}

variable "table_capacity" {
  description = "Read and write units a second of the table, and of its index; null to pay by request."
  type = object({
    read_units  = number
    write_units = number
  })
  default = null

  validation {
    condition     = var.table_capacity == null || try(min(var.table_capacity.read_units, var.table_capacity.write_units) >= 1, false)
    error_message = "table_capacity must have at least 1 read_units and 1 write_units, or be null to pay by request."
  }
}

variable "write_share" {
  description = "Part of the table's write units that rows may take, shared evenly among all that ingest, finish and bury may run at once. Without effect on a table that is paid by request."
  type        = number
  default     = 0.8
  nullable    = false

  validation {
    condition     = var.write_share > 0 && var.write_share <= 1
    error_message = "write_share must be above 0 and at most 1."
  }
}

variable "retention_days" {
  description = "Days until records, markers and replaced versions of an upload expire."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.retention_days > var.queue_retention_days + var.dlq_retention_days
    error_message = "retention_days must be greater than queue_retention_days + dlq_retention_days: a redrive may bring a row back that late."
  }
}

variable "object_expiration_days" {
  description = "Days until an upload expires; 0 keeps it for good."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.object_expiration_days == 0 || var.object_expiration_days >= var.retention_days
    error_message = "object_expiration_days must be 0 or at least retention_days."
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

variable "chunk_rows" {
  description = "Rows of a chunk at most. A chunk's rows and markers share one partition."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = var.chunk_rows >= 1 && var.chunk_rows <= 10000 && floor(var.chunk_rows) == var.chunk_rows
    error_message = "chunk_rows must be a whole number between 1 and 10000."
  }
}

variable "chunk_bytes" {
  description = "Bytes of a chunk at most."
  type        = number
  default     = 262144
  nullable    = false

  validation {
    condition     = var.chunk_bytes >= 1024 && var.chunk_bytes <= 67108864 && floor(var.chunk_bytes) == var.chunk_bytes
    error_message = "chunk_bytes must be a whole number between 1024 (1 KiB) and 67108864 (64 MiB)."
  }
}

variable "pack_rows" {
  description = "Rows of a work message at most. All of them must be processed within the timeout of process."
  type        = number
  default     = 250
  nullable    = false

  validation {
    condition     = var.pack_rows >= 1 && var.pack_rows <= var.chunk_rows && floor(var.pack_rows) == var.pack_rows
    error_message = "pack_rows must be a whole number between 1 and chunk_rows."
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

variable "alarms" {
  description = "Have alarms, the topic they publish to and its key. Off for a local AWS, which measures no queues and shows half of an alarm as drift."
  type        = bool
  default     = true
  nullable    = false
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

variable "function_overrides" {
  description = "Settings of single functions that differ from functions.tf, by function name."
  type = map(object({
    timeout_seconds        = optional(number)
    memory_mb              = optional(number)
    batch_size             = optional(number)
    window_seconds         = optional(number)
    maximum_concurrency    = optional(number)
    parallelization_factor = optional(number)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length(setsubtract(keys(var.function_overrides), ["plan", "ingest", "process", "process_heavy", "finish", "bury", "dispatch", "settle", "reconcile"])) == 0
    error_message = "function_overrides knows plan, ingest, process, process_heavy, finish, bury, dispatch, settle and reconcile."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.timeout_seconds == null || try(f.timeout_seconds >= 1 && f.timeout_seconds <= 900, false)])
    error_message = "timeout_seconds must be between 1 and 900."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.memory_mb == null || try(f.memory_mb >= 128 && f.memory_mb <= 10240, false)])
    error_message = "memory_mb must be between 128 and 10240."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.batch_size == null || try(f.batch_size >= 1 && f.batch_size <= 10000, false)])
    error_message = "batch_size must be between 1 and 10000."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.window_seconds == null || try(f.window_seconds >= 0 && f.window_seconds <= 300, false)])
    error_message = "window_seconds must be between 0 and 300."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.maximum_concurrency == null || try(f.maximum_concurrency >= 2 && f.maximum_concurrency <= 1000, false)])
    error_message = "maximum_concurrency must be between 2 and 1000."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.parallelization_factor == null || try(f.parallelization_factor >= 1 && f.parallelization_factor <= 10, false)])
    error_message = "parallelization_factor must be between 1 and 10."
  }

  validation {
    condition = alltrue([
      for name, f in var.function_overrides :
      (f.maximum_concurrency == null || contains(["ingest", "process", "process_heavy", "finish", "bury"], name))
      && (f.parallelization_factor == null || contains(["dispatch", "settle"], name))
      && (f.batch_size == null && f.window_seconds == null || !contains(["plan", "reconcile"], name))
    ])
    error_message = "maximum_concurrency is for ingest, process, process_heavy, finish and bury, parallelization_factor for dispatch and settle, batches for all but plan and reconcile."
  }
}

variable "function_environment" {
  description = "More environment variables of every function, over Tally's own; for example AWS_ENDPOINT_URL, to send their requests through a proxy."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.function_environment) : can(regex("^[A-Za-z][A-Za-z0-9_]+$", name))])
    error_message = "Every name in function_environment must be letters, digits and underscores, at least two, and start with a letter."
  }

  validation {
    condition     = !anytrue([for name in keys(var.function_environment) : startswith(name, "TALLY_")])
    error_message = "function_environment must not name TALLY_ variables: those come from the stack itself."
  }
}
