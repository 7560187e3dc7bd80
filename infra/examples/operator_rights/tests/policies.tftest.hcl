# Renders every policy with all that it may be given: tests/iam compares them with what AWS knows, and with what commands call.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "000000000000" }
  }

  mock_data "aws_region" {
    defaults = { id = "us-east-1" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::000000000000:policy/p" }
  }
}

run "renders_every_policy" {
  variables {
    stage        = "test"
    may_prove    = true
    kms_key_arns = ["arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"]
  }
}
