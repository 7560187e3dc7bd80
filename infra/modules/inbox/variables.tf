variable "name" {
  description = "Name of the bucket, unique in all of AWS."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 63 lowercase letters, digits or hyphens, and start and end with a letter or digit."
  }
}

variable "force_destroy" {
  description = "Delete the bucket with whatever is in it."
  type        = bool
  default     = false
  nullable    = false
}

variable "noncurrent_version_days" {
  description = "Days a replaced or deleted version stays. A batch reads its version until its last chunk is ingested."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.noncurrent_version_days >= 1 && floor(var.noncurrent_version_days) == var.noncurrent_version_days
    error_message = "noncurrent_version_days must be a whole number of at least 1."
  }
}

variable "object_expiration_days" {
  description = "Days until an uploaded object expires; 0 keeps it for good."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.object_expiration_days >= 0 && floor(var.object_expiration_days) == var.object_expiration_days
    error_message = "object_expiration_days must be a whole number, 0 to keep objects."
  }
}

variable "multipart_upload_days" {
  description = "Days until an unfinished multipart upload is aborted."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.multipart_upload_days >= 1 && floor(var.multipart_upload_days) == var.multipart_upload_days
    error_message = "multipart_upload_days must be a whole number of at least 1."
  }
}
