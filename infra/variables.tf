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
