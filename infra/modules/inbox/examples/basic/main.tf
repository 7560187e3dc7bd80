terraform {
  required_version = ">= 1.9"
}

provider "aws" {
  region = "us-east-1"
}

module "inbox" {
  source = "../.."

  name                   = "example-inbox-123456789012"
  object_expiration_days = 90
}

output "name" {
  description = "Where to upload."
  value       = module.inbox.name
}
