variable "name" {
  description = "Name of the bucket, unique in all of AWS."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 63 lowercase letters, digits or hyphens, and start and end with a letter or digit."
  }
}

variable "existing" {
  description = "The bucket exists already and keeps its owner: it is looked up by name, and nothing of it is changed. Without versions, an upload over another ends the other's batch."
  type        = bool
  default     = false
  nullable    = false
}

variable "force_destroy" {
  description = "Delete the bucket with whatever is in it."
  type        = bool
  default     = false
  nullable    = false
}

variable "lifecycle_rules" {
  description = "Let replaced versions, unfinished multipart uploads, unpacked copies and, if asked for, uploads expire. Off for a bucket that lives for hours: the provider waits 55 s for the rules."
  type        = bool
  default     = true
  nullable    = false

  validation {
    condition     = var.lifecycle_rules || var.object_expiration_days == 0
    error_message = "lifecycle_rules must be on where object_expiration_days is set: nothing else lets an upload expire."
  }
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

variable "results_expiration_days" {
  description = "Days until files under results/ expire; 0 keeps them for good."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.results_expiration_days >= 0 && floor(var.results_expiration_days) == var.results_expiration_days
    error_message = "results_expiration_days must be a whole number, 0 to keep results."
  }

  validation {
    condition     = var.results_expiration_days == 0 || (var.lifecycle_rules && !var.existing)
    error_message = "results_expiration_days needs lifecycle_rules, and a bucket that is made here: nothing else lets results expire."
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

variable "kms_key_arn" {
  description = "ARN of a KMS key of yours that encrypts the objects; null for the one S3 has. Readers and writers of objects need its rights too."
  type        = string
  default     = null # null has a meaning here: the key S3 has

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, not of an alias."
  }
}

variable "access_log_bucket" {
  description = "Name of the bucket that gets this one's access log, under its name; null for none. It must let logging.s3.amazonaws.com write."
  type        = string
  default     = null # null has a meaning here: no log

  validation {
    condition     = var.access_log_bucket == null || var.access_log_bucket != var.name
    error_message = "access_log_bucket must be another bucket: a log of its own log never ends."
  }
}
