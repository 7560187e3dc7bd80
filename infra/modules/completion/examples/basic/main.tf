terraform {
  required_version = ">= 1.9"
}

provider "aws" {
  region = "us-east-1"
}

data "aws_caller_identity" "current" {}

# A queue that is there already. Its policy must let events.amazonaws.com send on behalf of module.completion.rule_arn.
module "completion" {
  source = "../.."

  name       = "example"
  arn_prefix = "arn:aws:events:us-east-1:${data.aws_caller_identity.current.account_id}"
  queue_arn  = "arn:aws:sqs:us-east-1:${data.aws_caller_identity.current.account_id}:example-completions"
  dlq_arn    = "arn:aws:sqs:us-east-1:${data.aws_caller_identity.current.account_id}:example-completions-dlq"
}

output "bus_name" {
  description = "Where the end of a batch is announced."
  value       = module.completion.bus_name
}
