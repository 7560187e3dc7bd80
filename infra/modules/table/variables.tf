variable "name" {
  description = "Name of the table."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_.-]{3,255}$", var.name))
    error_message = "name must be 3 to 255 letters, digits, underscores, dots or hyphens."
  }
}

variable "existing" {
  description = "The table exists already and keeps its owner: it is looked up by name and checked; keys, stream, index and TTL must be as here."
  type        = bool
  default     = false
  nullable    = false
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

variable "provisioned_capacity" {
  description = "Capacity units, read and write, of the table and of its index, between which auto scaling moves them to meet the target; null for on demand."
  type = object({
    read  = object({ min = number, max = number })
    write = object({ min = number, max = number })
    batches_index = optional(object({
      read  = object({ min = number, max = number })
      write = object({ min = number, max = number })
    }), { read = { min = 1, max = 50 }, write = { min = 5, max = 50 } })
    target_utilization_percent = optional(number, 70)
  })
  default = null # null has a meaning here: on demand

  validation {
    condition     = var.provisioned_capacity == null || !var.existing
    error_message = "provisioned_capacity is for a table made here; an existing one keeps its own."
  }

  validation {
    condition = var.provisioned_capacity == null || try(alltrue([
      for units in [var.provisioned_capacity.read, var.provisioned_capacity.write, var.provisioned_capacity.batches_index.read, var.provisioned_capacity.batches_index.write] :
      units.min >= 1 && floor(units.min) == units.min && floor(units.max) == units.max
    ]), false)
    error_message = "Every min and max of provisioned_capacity must be a whole number of at least 1."
  }

  validation {
    condition = var.provisioned_capacity == null || try(alltrue([
      for units in [var.provisioned_capacity.read, var.provisioned_capacity.write, var.provisioned_capacity.batches_index.read, var.provisioned_capacity.batches_index.write] :
      units.max >= units.min
    ]), false)
    error_message = "Every max of provisioned_capacity must be at least its min."
  }

  validation {
    condition     = var.provisioned_capacity == null || try(var.provisioned_capacity.target_utilization_percent >= 20 && var.provisioned_capacity.target_utilization_percent <= 90, false)
    error_message = "provisioned_capacity.target_utilization_percent must be between 20 and 90."
  }
}

variable "kms_key_arn" {
  description = "ARN of a KMS key of yours that encrypts the table; null for the account's aws/dynamodb. Readers and writers need its rights too."
  type        = string
  default     = null # null has a meaning here: the account's aws/dynamodb

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, not of an alias."
  }
}
