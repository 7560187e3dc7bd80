# A stage that must keep what it has: its table refuses to be deleted, and can be brought back to any second of 35 days.
#   terraform apply -var-file=examples/prod.example.tfvars
stage                  = "prod"
force_destroy          = false
point_in_time_recovery = true
kms_key_arn            = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
access_log_bucket      = "example-access-logs"
log_retention_days     = 365
retention_days         = 90
object_expiration_days = 365

# Leave this out for on demand, which suits a load that comes in bursts and costs nothing while nothing runs. docs/capacity.md has the arithmetic: a row
# of the sample costs 0.08 write units and 0.02 read units, so that 1,200 rows a second run at the minimum, until auto scaling has seen them for two minutes,
# and ten times as many at the maximum. 200 write units are $94 a month.
provisioned_capacity = {
  read  = { min = 50, max = 500 }
  write = { min = 200, max = 2000 }
}

# The longest row of any job: the plan fails when process_heavy may not run that long.
heavy_row_seconds = 600

function_overrides = {
  process       = { timeout_seconds = 120, maximum_concurrency = 200 }
  process_heavy = { timeout_seconds = 900, maximum_concurrency = 50 }
  # Few writers with much time: each must get its largest item through at its part of the minimum. The plan fails where it could not.
  ingest       = { maximum_concurrency = 8 }
  finish       = { timeout_seconds = 120, maximum_concurrency = 8 }
  dead_letters = { timeout_seconds = 120, maximum_concurrency = 2 }
}
