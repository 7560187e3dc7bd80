terraform {
  required_version = ">= 1.9"
}

provider "aws" {
  region = "us-east-1"
}

data "aws_caller_identity" "current" {}

module "work" {
  source = "../.."

  name                       = "example-work"
  arn_prefix                 = "arn:aws:sqs:us-east-1:${data.aws_caller_identity.current.account_id}"
  consumer_timeout_seconds   = 60
  visibility_timeout_seconds = 360
}

output "url" {
  description = "Where to send work."
  value       = module.work.url
}

output "dlq_name" {
  description = "The queue of what nobody could handle."
  value       = module.work.dlq_name
}
