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
