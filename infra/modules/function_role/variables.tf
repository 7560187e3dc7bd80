variable "function_name" {
  description = "Name of the Lambda function; the role has the same name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.function_name))
    error_message = "function_name must be 1 to 64 letters, digits, hyphens or underscores."
  }
}

variable "statements" {
  description = "What the function may do. The sid says why; a condition is an operator, a key and the values that the key may have."
  type = list(object({
    sid       = string
    actions   = list(string)
    resources = list(string)
    condition = optional(map(map(list(string))), {})
  }))
  nullable = false

  validation {
    condition     = alltrue([for s in var.statements : can(regex("^[A-Za-z0-9]+$", s.sid))])
    error_message = "Every sid must be letters and digits only."
  }

  validation {
    condition     = length(setintersection(var.statements[*].sid, ["WriteOwnLogs", "UseKeyThroughServices"])) == 0
    error_message = "The sids WriteOwnLogs and UseKeyThroughServices are the module's own."
  }

  validation {
    condition     = length(distinct(var.statements[*].sid)) == length(var.statements)
    error_message = "Every sid must be used once."
  }

  validation {
    condition     = alltrue([for s in var.statements : length(s.actions) > 0 && length(s.resources) > 0])
    error_message = "Every statement must name an action and a resource."
  }

  validation {
    condition     = alltrue([for a in flatten(var.statements[*].actions) : can(regex("^[a-z0-9-]+:[A-Za-z0-9]+$", a))])
    error_message = "Every action must be one action, such as sqs:SendMessage, without a wildcard."
  }

  # The actions of functions of Tally for which AWS knows no narrower resource.
  validation {
    condition = alltrue([
      for s in var.statements :
      !contains(s.resources, "*") || length(setsubtract(s.actions, ["dynamodb:ListStreams", "lambda:ListEventSourceMappings"])) == 0
    ])
    error_message = "Resource * is only for dynamodb:ListStreams and lambda:ListEventSourceMappings, in a statement of its own."
  }
}

variable "log_retention_days" {
  description = "Days the function's logs stay."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
      var.log_retention_days
    )
    error_message = "log_retention_days must be a number of days CloudWatch Logs offers, such as 7, 30 or 365."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the policy that bounds what the role may be allowed; null for none."
  type        = string
  default     = null # null has a meaning here: no boundary

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy."
  }
}

variable "kms_key_arn" {
  description = "ARN of a KMS key of yours that encrypts the logs and what the function reads and writes; null for none. The key's policy must let CloudWatch Logs use it."
  type        = string
  default     = null # null has a meaning here: no key of the customer's

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, not of an alias."
  }
}
