variable "stage" {
  description = "The one stage that the role deploys."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?$", var.stage))
    error_message = "stage must be 1 to 20 lowercase letters, digits or hyphens, start with a letter and not end with a hyphen."
  }
}

variable "repository" {
  description = "The GitHub repository whose workflows may take the role, as owner/name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.repository))
    error_message = "repository must be one repository, as owner/name, without a wildcard."
  }
}

variable "environment" {
  description = "The environment of the repository that a workflow must run in; protect it with reviewers. The stage's name by default."
  type        = string
  default     = "" # the stage's
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]*$", var.environment))
    error_message = "environment must be one environment: letters, digits, hyphens and underscores, without a wildcard."
  }
}

variable "state_bucket" {
  description = "Name of the bucket that keeps Terraform's state of the stage."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "state_bucket must be the name of a bucket."
  }
}

variable "state_key" {
  description = "Key of the state within its workspace, as the backend says it."
  type        = string
  default     = "tally.tfstate"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9!_.()/-]+$", var.state_key))
    error_message = "state_key must be a key, without a wildcard."
  }
}

variable "workspace_key_prefix" {
  description = "Prefix of the workspaces' states, as the backend says it."
  type        = string
  default     = "tally"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9!_.()/-]+$", var.workspace_key_prefix)) && !endswith(var.workspace_key_prefix, "/")
    error_message = "workspace_key_prefix must be a prefix without a wildcard, and not end with a slash."
  }
}

variable "kms_key_arns" {
  description = "ARNs of the keys of yours that encrypt the stage or the state; none where AWS's own do."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.kms_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "Every one of kms_key_arns must be the ARN of a key, not of an alias."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of a policy of yours that every role which this one makes must carry; null for the one that is made here. Give the output of this name to the stage."
  type        = string
  default     = null # null has a meaning here: the boundary that is made here

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy."
  }
}

variable "role_boundary_arn" {
  description = "ARN of the policy that bounds this role itself, where your organisation asks for one; null for none."
  type        = string
  default     = null # null has a meaning here: no boundary

  validation {
    condition     = var.role_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/", var.role_boundary_arn))
    error_message = "role_boundary_arn must be the ARN of a policy."
  }
}

variable "may_destroy" {
  description = "Let the role take the stage down too, with its data; all but the key that it may have made for its alarms. Off, it deletes nothing that holds data."
  type        = bool
  default     = false
  nullable    = false
}
