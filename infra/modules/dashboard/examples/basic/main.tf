terraform {
  required_version = ">= 1.9"
}

provider "aws" {
  region = "us-east-1"
}

module "dashboard" {
  source = "../.."

  name             = "example"
  region           = "us-east-1"
  stage            = "example"
  table_name       = "example"
  queues           = ["example-work"]
  failure_queues   = ["example-work-dlq"]
  functions        = ["example-process", "example-dispatch"]
  stream_functions = ["example-dispatch"]
}

output "name" {
  description = "What to look for in CloudWatch."
  value       = module.dashboard.name
}
