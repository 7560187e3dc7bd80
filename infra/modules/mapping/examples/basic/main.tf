terraform {
  required_version = ">= 1.9"
}

provider "aws" {
  region = "us-east-1"
}

# To adopt mappings that Chalice made, add an import block for each; .chalice/deployed/<stage>.json has their UUIDs. See the README.
module "process" {
  source = "../.."

  function_name                    = "example-process"
  function_timeout_seconds         = 60
  event_source_arn                 = "arn:aws:sqs:us-east-1:123456789012:example-work"
  queue_visibility_timeout_seconds = 360
  batch_size                       = 10
  maximum_concurrency              = 50
}

module "dispatch" {
  source = "../.."

  function_name            = "example-dispatch"
  function_timeout_seconds = 30
  event_source_arn         = "arn:aws:dynamodb:us-east-1:123456789012:table/example/stream/2026-01-01T00:00:00.000"
  batch_size               = 1000
  window_seconds           = 1
  filters                  = [jsonencode({ eventName = ["INSERT"], dynamodb = { Keys = { sk = { S = ["chunk"] } } } })]

  stream = {
    parallelization_factor = 2
    on_failure_arn         = "arn:aws:sqs:us-east-1:123456789012:example-stream-failures"
  }
}

output "uuids" {
  description = "The mappings."
  value       = [module.process.uuid, module.dispatch.uuid]
}
