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

variable "provisioned" {
  description = "Read and write units a second of the table, and of its index; null to pay by request."
  type = object({
    read_units  = number
    write_units = number
  })
  default = null

  validation {
    condition     = var.provisioned == null || try(min(var.provisioned.read_units, var.provisioned.write_units) >= 1, false)
    error_message = "provisioned must have at least 1 read_units and 1 write_units, or be null to pay by request."
  }
}
