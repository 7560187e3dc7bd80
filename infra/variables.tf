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

variable "provisioned_capacity" {
  description = "Capacity units of the table and of its index, between which auto scaling moves them to meet the target; null for on demand. See modules/table."
  type = object({
    read  = object({ min = number, max = number })
    write = object({ min = number, max = number })
    batches_index = optional(object({
      read  = object({ min = number, max = number })
      write = object({ min = number, max = number })
    }))
    target_utilization_percent = optional(number)
  })
  default = null # null has a meaning here: on demand
}

variable "kms_key_arn" {
  description = "ARN of a KMS key of yours that encrypts table, uploads, messages, logs and notifications; null for the keys AWS has. docs/adopting.md says what its policy must allow."
  type        = string
  default     = null # null has a meaning here: the keys AWS has

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, not of an alias."
  }

  validation {
    condition     = var.kms_key_arn == null || try(split(":", var.kms_key_arn)[3] == data.aws_region.current.id, true)
    error_message = "kms_key_arn must be a key of the region that the stage is in."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the policy that bounds what every function's role may be allowed; null for none."
  type        = string
  default     = null # null has a meaning here: no boundary

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy."
  }
}

variable "access_log_bucket" {
  description = "Name of the bucket that gets the access log of the inbox; null for none. It must let logging.s3.amazonaws.com write."
  type        = string
  default     = null # null has a meaning here: no log
}

variable "write_share" {
  description = "Part of the table's write units that rows may take: a half of it for all that ingest may run at once, a half for finish and dead_letters. Without effect on a table that is paid by request."
  type        = number
  default     = 0.8
  nullable    = false

  validation {
    condition     = var.write_share > 0 && var.write_share <= 1
    error_message = "write_share must be above 0 and at most 1."
  }
}

variable "retention_days" {
  description = "Days until rows, markers and replaced versions of an upload expire."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.retention_days > var.queue_retention_days + var.dlq_retention_days
    error_message = "retention_days must be greater than queue_retention_days + dlq_retention_days: a redrive may bring a row back that late."
  }
}

variable "export" {
  description = "Write the results of each batch that ends to files under results/ of the inbox bucket. A job may say EXPORT = False for its own."
  type        = bool
  default     = true
  nullable    = false
}

variable "results_retention_days" {
  description = "Days until files of results expire; 0 keeps them for good. Without effect on a bucket that was there already, and where inbox_lifecycle_rules is off."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.results_retention_days >= 0 && floor(var.results_retention_days) == var.results_retention_days
    error_message = "results_retention_days must be a whole number, 0 to keep results."
  }
}

variable "results_table" {
  description = "Table that takes the results of jobs that say KEY, one item a key; null for none, {} for one that is paid by request. write_share is the part of its write units that save takes, retention_days how long an item stays, 0 for good. See modules/results_table."
  type = object({
    provisioned_capacity = optional(object({
      read                       = object({ min = number, max = number })
      write                      = object({ min = number, max = number })
      target_utilization_percent = optional(number, 70)
    }))
    write_share    = optional(number, 0.95)
    retention_days = optional(number, 0)
  })
  default = null # null has a meaning here: none

  validation {
    condition     = var.results_table == null || var.export
    error_message = "results_table needs export: results are put into it once their files are complete."
  }

  validation {
    condition = var.results_table == null || try(
      var.results_table.retention_days >= 0 && floor(var.results_table.retention_days) == var.results_table.retention_days, false
    )
    error_message = "results_table.retention_days must be a whole number, 0 to keep results."
  }
}

variable "jobs_with_key" {
  description = "Names of the jobs that say KEY; `tally` sets it, so that they are not deployed without a table that takes their results."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = length(var.jobs_with_key) == 0 || var.results_table != null
    error_message = format(
      "%s: KEY needs a results table. Set results_table ({} for one that is paid by request, as in --var 'results_table={}'), or take KEY out of the job.",
      join(", ", [for job in var.jobs_with_key : "app/chalicelib/jobs/${job}.py"]),
    )
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

variable "inbox_lifecycle_rules" {
  description = "Let replaced versions of an upload, unfinished uploads and unpacked copies expire. Off for a local AWS, which expires nothing: the provider waits 55 s for the rules."
  type        = bool
  default     = true
  nullable    = false

  validation {
    condition     = var.inbox_lifecycle_rules || var.object_expiration_days == 0
    error_message = "inbox_lifecycle_rules must be on where object_expiration_days is set: nothing else lets an upload expire."
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
    condition     = length(setsubtract(keys(var.function_overrides), keys(local.function_defaults))) == 0
    error_message = "function_overrides may name the functions in functions.tf only."
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

  # A function whose default names a setting has a use for it.
  validation {
    condition = alltrue(flatten([
      for name, f in var.function_overrides : [
        for setting, value in f : value == null || can(local.function_defaults[name][setting]) if contains(keys(local.function_defaults), name)
      ]
    ]))
    error_message = "maximum_concurrency is for functions of queues, parallelization_factor for those of the stream, batch_size and window_seconds for both."
  }

  # As it comes out, with the defaults of what is not overridden.
  validation {
    condition = alltrue([
      for name, f in var.function_overrides :
      coalesce(f.batch_size, try(local.function_defaults[name].batch_size, null), 1) <= 10
      || coalesce(f.window_seconds, try(local.function_defaults[name].window_seconds, null), 0) >= 1
    ])
    error_message = "A batch_size over 10 needs window_seconds of at least 1."
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
