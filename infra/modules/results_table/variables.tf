variable "name" {
  description = "Name of the table."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_.-]{3,255}$", var.name))
    error_message = "name must be 3 to 255 letters, digits, underscores, dots or hyphens."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the table until this is turned off."
  type        = bool
  default     = true
  nullable    = false
}

variable "point_in_time_recovery" {
  description = "Keep continuous backups of the last 35 days."
  type        = bool
  default     = true
  nullable    = false
}

variable "write_share" {
  description = "Part of the table's write units that its writer takes; the rest is for what else you write. Without effect on a table that is paid by request."
  type        = number
  default     = 0.95
  nullable    = false

  validation {
    condition     = var.write_share > 0 && var.write_share <= 1
    error_message = "write_share must be above 0 and at most 1."
  }
}

variable "writer_seconds" {
  description = "Seconds that one run of the writer has for writing."
  type        = number
  nullable    = false

  validation {
    condition     = var.writer_seconds > 0
    error_message = "writer_seconds must be above 0."
  }
}

variable "provisioned_capacity" {
  description = "Capacity units, read and write, between which auto scaling moves the table's to meet the target; null for on demand."
  type = object({
    read                       = object({ min = number, max = number })
    write                      = object({ min = number, max = number })
    target_utilization_percent = optional(number, 70)
  })
  default = null # null has a meaning here: on demand

  validation {
    condition = var.provisioned_capacity == null || try(alltrue([
      for units in [var.provisioned_capacity.read, var.provisioned_capacity.write] :
      units.min >= 1 && floor(units.min) == units.min && floor(units.max) == units.max
    ]), false)
    error_message = "Every min and max of provisioned_capacity must be a whole number of at least 1."
  }

  validation {
    condition = var.provisioned_capacity == null || try(alltrue([
      for units in [var.provisioned_capacity.read, var.provisioned_capacity.write] : units.max >= units.min
    ]), false)
    error_message = "Every max of provisioned_capacity must be at least its min."
  }

  validation {
    condition     = var.provisioned_capacity == null || try(var.provisioned_capacity.target_utilization_percent >= 20 && var.provisioned_capacity.target_utilization_percent <= 90, false)
    error_message = "provisioned_capacity.target_utilization_percent must be between 20 and 90."
  }

  # The writer never uses more than its share, so a target above it is never reached and nothing would scale.
  validation {
    condition     = var.provisioned_capacity == null || try(var.provisioned_capacity.target_utilization_percent < 100 * var.write_share, false)
    error_message = "provisioned_capacity.target_utilization_percent must be below 100 x write_share: the writer uses no more, so nothing would scale."
  }

  # The largest item, 400 KB, is 400 units at once. DynamoDB keeps what was not used for 300 seconds.
  validation {
    condition     = var.provisioned_capacity == null || try(300 * var.provisioned_capacity.write.min >= 400, false)
    error_message = "provisioned_capacity.write.min must be at least 2: with less, DynamoDB never has the 400 units of the largest item."
  }

  validation {
    condition     = var.provisioned_capacity == null || try(var.writer_seconds * var.write_share * var.provisioned_capacity.write.min >= 400, false)
    error_message = "provisioned_capacity.write.min x write_share x writer_seconds must be at least 400, the units of the largest item: the writer could never write one."
  }
}

variable "kms_key_arn" {
  description = "ARN of a KMS key of yours that encrypts the table; null for the account's aws/dynamodb. Who reads or writes needs its rights too."
  type        = string
  default     = null # null has a meaning here: the account's aws/dynamodb

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, not of an alias."
  }
}
