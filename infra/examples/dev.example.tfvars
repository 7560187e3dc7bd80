# A stage to try things on: it may be thrown away with all its data.
#   terraform apply -var-file=examples/dev.example.tfvars
stage                  = "dev"
force_destroy          = true
point_in_time_recovery = false
dashboard              = false
log_level              = "DEBUG"
log_retention_days     = 7
queue_retention_days   = 2
dlq_retention_days     = 4
retention_days         = 7

function_overrides = {
  process       = { maximum_concurrency = 5 }
  process_heavy = { maximum_concurrency = 2 }
}
