variable "name" {
  description = "Name of the dashboard."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,255}$", var.name))
    error_message = "name must be 1 to 255 letters, digits, hyphens or underscores."
  }
}

variable "region" {
  description = "Region of what is shown."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must look like us-east-1."
  }
}

variable "stage" {
  description = "Value of the dimension stage in Tally's own metrics."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.stage) >= 1
    error_message = "stage must not be empty."
  }
}

variable "table_name" {
  description = "Name of the table."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_.-]{3,255}$", var.table_name))
    error_message = "table_name must be 3 to 255 letters, digits, underscores, dots or hyphens."
  }
}

variable "results_table" {
  description = "Name of the table of results by key; null for none."
  type        = string
  default     = null # null has a meaning here: none

  validation {
    condition     = var.results_table == null || can(regex("^[a-zA-Z0-9_.-]{3,255}$", var.results_table))
    error_message = "results_table must be 3 to 255 letters, digits, underscores, dots or hyphens."
  }
}

variable "queues" {
  description = "Names of the queues that carry work."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.queues) >= 1
    error_message = "queues must name at least one: CloudWatch refuses a graph without a metric."
  }
}

variable "failure_queues" {
  description = "Names of the queues that ought to be empty."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.failure_queues) >= 1
    error_message = "failure_queues must name at least one: CloudWatch refuses a graph without a metric."
  }
}

variable "functions" {
  description = "Names of the functions."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.functions) >= 1
    error_message = "functions must name at least one: CloudWatch refuses a graph without a metric."
  }
}

variable "stream_functions" {
  description = "Names of those functions that read the table's stream."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.stream_functions) >= 1 && length(setsubtract(var.stream_functions, var.functions)) == 0
    error_message = "stream_functions must name at least one, all of them among functions."
  }
}
