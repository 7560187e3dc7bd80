variable "function_overrides" {
  description = "Settings of single functions that differ from functions.tf, by function name."
  type = map(object({
    timeout_seconds        = optional(number)
    memory_mb              = optional(number)
    batch_size             = optional(number)
    window_seconds         = optional(number)
    maximum_concurrency    = optional(number)
    parallelization_factor = optional(number)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length(setsubtract(keys(var.function_overrides), keys(local.function_defaults))) == 0
    error_message = "function_overrides may name the functions in functions.tf only."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.timeout_seconds == null || try(f.timeout_seconds >= 1 && f.timeout_seconds <= 900, false)])
    error_message = "timeout_seconds must be between 1 and 900."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.memory_mb == null || try(f.memory_mb >= 128 && f.memory_mb <= 10240, false)])
    error_message = "memory_mb must be between 128 and 10240."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.batch_size == null || try(f.batch_size >= 1 && f.batch_size <= 10000, false)])
    error_message = "batch_size must be between 1 and 10000."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.window_seconds == null || try(f.window_seconds >= 0 && f.window_seconds <= 300, false)])
    error_message = "window_seconds must be between 0 and 300."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.maximum_concurrency == null || try(f.maximum_concurrency >= 2 && f.maximum_concurrency <= 1000, false)])
    error_message = "maximum_concurrency must be between 2 and 1000."
  }

  validation {
    condition     = alltrue([for f in values(var.function_overrides) : f.parallelization_factor == null || try(f.parallelization_factor >= 1 && f.parallelization_factor <= 10, false)])
    error_message = "parallelization_factor must be between 1 and 10."
  }

  # A function whose default names a setting has a use for it.
  validation {
    condition = alltrue(flatten([
      for name, f in var.function_overrides : [
        for setting, value in f : value == null || can(local.function_defaults[name][setting]) if contains(keys(local.function_defaults), name)
      ]
    ]))
    error_message = "maximum_concurrency is for functions of queues, parallelization_factor for those of the stream, batch_size and window_seconds for both."
  }

  # As it comes out, with the defaults of what is not overridden.
  validation {
    condition = alltrue([
      for name, f in var.function_overrides :
      coalesce(f.batch_size, try(local.function_defaults[name].batch_size, null), 1) <= 10
      || coalesce(f.window_seconds, try(local.function_defaults[name].window_seconds, null), 0) >= 1
    ])
    error_message = "A batch_size over 10 needs window_seconds of at least 1."
  }
}

variable "function_environment" {
  description = "More environment variables of every function, over Tally's own; for example AWS_ENDPOINT_URL, to send their requests through a proxy."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.function_environment) : can(regex("^[A-Za-z][A-Za-z0-9_]+$", name))])
    error_message = "Every name in function_environment must be letters, digits and underscores, at least two, and start with a letter."
  }

  validation {
    condition     = !anytrue([for name in keys(var.function_environment) : startswith(name, "TALLY_")])
    error_message = "function_environment must not name TALLY_ variables: those come from the stack itself."
  }
}
