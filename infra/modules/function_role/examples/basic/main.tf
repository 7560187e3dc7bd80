terraform {
  required_version = ">= 1.9"
}

provider "aws" {
  region = "us-east-1"
}

module "role" {
  source = "../.."

  function_name = "example-process"
  statements = [
    { sid = "SendOutcomes", actions = ["sqs:SendMessage"], resources = ["arn:aws:sqs:us-east-1:123456789012:example-finished"] },
  ]
}

output "arn" {
  description = "What the function's iam_role_arn is to be."
  value       = module.role.arn
}
