terraform {
  required_version = ">= 1.9"
}

provider "aws" {
  region = "us-east-1"
}

data "aws_caller_identity" "current" {}

# The failure destination of an asynchronous function.
module "failures" {
  source = "../.."

  name       = "example-failures"
  arn_prefix = "arn:aws:sqs:us-east-1:${data.aws_caller_identity.current.account_id}"
}

output "name" {
  description = "The queue of what nobody could handle."
  value       = module.failures.name
}
