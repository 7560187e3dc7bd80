# State in S3, locked by a file beside it (Terraform 1.10 or newer; no DynamoDB table). Copy to infra/backend.tf, name your bucket, `terraform init`.
# The bucket must be versioned: the state names every queue and mapping, and an older version is the way back from a bad one.
# One key a stage comes from the workspace: <workspace_key_prefix>/<workspace>/<key>.
terraform {
  backend "s3" {
    bucket               = "example-terraform-state"
    key                  = "tally.tfstate"
    region               = "us-east-1"
    workspace_key_prefix = "tally"
    use_lockfile         = true
    encrypt              = true
  }
}
