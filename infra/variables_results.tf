variable "export" {
  description = "Write the results of each batch that ends to files under results/ of the inbox bucket. A job may say EXPORT = False for its own."
  type        = bool
  default     = true
  nullable    = false
}

variable "results_retention_days" {
  description = "Days until files of results expire; 0 keeps them for good. Without effect on a bucket that was there already, and where inbox_lifecycle_rules is off."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.results_retention_days >= 0 && floor(var.results_retention_days) == var.results_retention_days
    error_message = "results_retention_days must be a whole number, 0 to keep results."
  }
}

variable "results_table" {
  description = "Table that takes the results of jobs that say KEY, one item a key; null for none, {} for one that is paid by request. write_share is the part of its write units that save takes, retention_days how long an item stays, 0 for good. See modules/results_table."
  type = object({
    provisioned_capacity = optional(object({
      read                       = object({ min = number, max = number })
      write                      = object({ min = number, max = number })
      target_utilization_percent = optional(number, 70)
    }))
    write_share    = optional(number, 0.95)
    retention_days = optional(number, 0)
  })
  default = null # null has a meaning here: none

  validation {
    condition     = var.results_table == null || var.export
    error_message = "results_table needs export: results are put into it once their files are complete."
  }

  validation {
    condition = var.results_table == null || try(
      var.results_table.retention_days >= 0 && floor(var.results_table.retention_days) == var.results_table.retention_days, false
    )
    error_message = "results_table.retention_days must be a whole number, 0 to keep results."
  }
}

variable "jobs_with_key" {
  description = "Names of the jobs that say KEY; `tally` sets it, so that they are not deployed without a table that takes their results."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = length(var.jobs_with_key) == 0 || var.results_table != null
    error_message = format(
      "%s: KEY needs a results table. Set results_table ({} for one that is paid by request, as in --var 'results_table={}'), or take KEY out of the job.",
      join(", ", [for job in var.jobs_with_key : "app/chalicelib/jobs/${job}.py"]),
    )
  }
}
