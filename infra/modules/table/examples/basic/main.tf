terraform {
  required_version = ">= 1.9"
}

provider "aws" {
  region = "us-east-1"
}

module "table" {
  source = "../.."

  name = "example"

  provisioned_capacity = {
    read  = { min = 10, max = 1000 }
    write = { min = 50, max = 4000 }
  }
}

output "stream_arn" {
  description = "What the consumers of the stream read."
  value       = module.table.stream_arn
}
