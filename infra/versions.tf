terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

# Region, endpoint and credentials come from the environment: AWS_REGION, AWS_ENDPOINT_URL, AWS_PROFILE ...
provider "aws" {
  default_tags {
    tags = {
      Project   = "tally"
      Stage     = var.stage
      ManagedBy = "terraform"
    }
  }
}
