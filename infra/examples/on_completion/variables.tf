variable "name" {
  description = "What every resource is named: <name>, <name>-dlq, <name>-mail."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,58}$", var.name))
    error_message = "name must be 1 to 58 letters, digits, hyphens or underscores, so that -dlq and -mail fit."
  }
}

variable "bus_name" {
  description = "Name of the stage's event bus: Terraform's output event_bus_name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.bus_name)) && var.bus_name != "default"
    error_message = "bus_name must be the name of the stage's own bus, not the account's default bus."
  }
}

variable "detail_types" {
  description = "Which events the function gets. docs/events.md says what each is."
  type        = set(string)
  default     = ["Batch Completed", "Batch Stopped", "Batch Rejected", "Batch Exported"]
  nullable    = false

  validation {
    condition     = length(var.detail_types) > 0 && length(setsubtract(var.detail_types, ["Batch Completed", "Batch Stopped", "Batch Rejected", "Batch Exported"])) == 0
    error_message = "detail_types must be some of Batch Completed, Batch Stopped, Batch Rejected and Batch Exported."
  }
}

variable "jobs" {
  description = "Only events of these jobs; of all jobs if empty."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for job in var.jobs : can(regex("^[a-z][a-z0-9_]*$", job))])
    error_message = "jobs must be names of jobs, as their modules are called."
  }
}

variable "email" {
  description = "Who gets a mail at the end of each batch; AWS sends a mail that has to be confirmed first. null for nobody."
  type        = string
  default     = null # null has a meaning here: no topic

  validation {
    condition     = var.email == null || can(regex("^[^@\\s]+@[^@\\s]+$", var.email))
    error_message = "email must be an address."
  }
}

variable "package" {
  description = "The function's code as a zip file. README.md says how to make it."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists(var.package)
    error_message = "package must be a file that is there. Make it: zip -j on_completion.zip infra/examples/on_completion/function/*.py"
  }
}

variable "timeout_seconds" {
  description = "Seconds that the function may take for its messages."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.timeout_seconds >= 1 && var.timeout_seconds <= 900
    error_message = "timeout_seconds must be between 1 and 900."
  }
}

variable "remember_days" {
  description = "Days for which events are remembered, so that a copy does nothing. EventBridge and SQS deliver within 18 days at most."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.remember_days >= 18 && var.remember_days <= 3650
    error_message = "remember_days must be between 18 (a day in EventBridge, 14 in a queue, and a margin) and 3650."
  }
}

variable "log_retention_days" {
  description = "Days that the function's logs stay."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of the numbers that CloudWatch Logs takes."
  }
}

variable "kms_key_arn" {
  description = "A customer's key for the queues, the topic, the table and the logs. Its policy must let events.amazonaws.com and logs.<region>.amazonaws.com use it. null for keys of AWS."
  type        = string
  default     = null # null has a meaning here: keys of AWS

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key."
  }
}

variable "permissions_boundary_arn" {
  description = "Boundary of the function's role; null for none."
  type        = string
  default     = null # null has a meaning here: none

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy."
  }
}
