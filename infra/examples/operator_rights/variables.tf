variable "stage" {
  description = "The one stage that the policies are about."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?$", var.stage))
    error_message = "stage must be 1 to 20 lowercase letters, digits or hyphens, start with a letter and not end with a hyphen."
  }
}

variable "table" {
  description = "Name of the stage's table, if it is one of yours; null for the one that Terraform makes."
  type        = string
  default     = null # null has a meaning here: the stage's own

  validation {
    condition     = var.table == null || can(regex("^[A-Za-z0-9_.-]{3,255}$", var.table))
    error_message = "table must be the name of a table, without a wildcard."
  }
}

variable "inbox_bucket" {
  description = "Name of the stage's bucket, if it is one of yours; null for the one that Terraform makes."
  type        = string
  default     = null # null has a meaning here: the stage's own

  validation {
    condition     = var.inbox_bucket == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.inbox_bucket))
    error_message = "inbox_bucket must be the name of a bucket."
  }
}

variable "kms_key_arns" {
  description = "ARNs of the keys of yours that encrypt the stage; none where AWS's own do."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.kms_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "Every one of kms_key_arns must be the ARN of a key, not of an alias."
  }
}

variable "may_prove" {
  description = "Make a policy also for what `tally prove --aws` does to its stage beside deploying it. Off, there is none."
  type        = bool
  default     = false
  nullable    = false
}
