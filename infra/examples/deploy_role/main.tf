# The role that a pipeline deploys one stage with. An administrator applies this once for each stage, with a state of its own:
# anyone who can change the role could do anything.
data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

# An account has one for all its repositories.
data "aws_iam_openid_connect_provider" "github" {
  url = "https://${local.issuer}"
}

locals {
  issuer      = "token.actions.githubusercontent.com"
  environment = var.environment == "" ? var.stage : var.environment
  name        = "${local.prefix}-deploy"
}

resource "aws_iam_role" "this" {
  name                 = local.name
  description          = "Deploys the stage ${var.stage} of Tally from ${var.repository}."
  max_session_duration = 3600
  permissions_boundary = var.role_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DeploysFromOneEnvironmentOnly"
      Effect    = "Allow"
      Principal = { Federated = data.aws_iam_openid_connect_provider.github.arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "${local.issuer}:aud" = "sts.amazonaws.com"
          "${local.issuer}:sub" = "repo:${var.repository}:environment:${local.environment}"
        }
      }
    }]
  })
}

# One policy a subject: within the role they may have 10,240 characters together, as policies of their own 6,144 each.
resource "aws_iam_policy" "this" {
  for_each = local.policies

  name        = "${local.name}-${each.key}"
  description = "What deploying the stage ${var.stage} of Tally takes: ${each.key}."
  policy      = each.value

  lifecycle {
    precondition {
      condition     = length(each.value) <= 6144
      error_message = "A policy has 6,144 characters at most."
    }
  }
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = aws_iam_policy.this

  role       = aws_iam_role.this.name
  policy_arn = each.value.arn
}
