# Renders every policy of a stage that uses all that there is: tests/iam compares them with what AWS knows.
mock_provider "aws" {
  source = "./tests/aws"
}

run "renders_every_policy" {
  variables {
    stage                = "alpha"
    deployed_file        = "tests/fixtures/not-deployed.json"
    provisioned_capacity = { read = { min = 100, max = 1000 }, write = { min = 2000, max = 4000 } }
    kms_key_arn          = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }
}
