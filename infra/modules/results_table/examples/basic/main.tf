terraform {
  required_version = ">= 1.9"
}

provider "aws" {
  region = "us-east-1"
}

module "results_table" {
  source = "../.."

  name           = "example-results"
  writer_seconds = 298

  provisioned_capacity = {
    read  = { min = 5, max = 100 }
    write = { min = 5, max = 100 }
  }
}

output "arn" {
  description = "What a web page needs dynamodb:GetItem on."
  value       = module.results_table.arn
}
