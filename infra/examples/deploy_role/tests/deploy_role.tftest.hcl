mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_region" {
    defaults = { id = "us-east-1" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/r" }
  }

  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/p" }
  }
}

variables {
  stage        = "prod"
  repository   = "your-org/your-repo"
  state_bucket = "example-terraform-state"
}

run "trusts_one_environment_of_one_repository" {
  assert {
    condition = jsondecode(aws_iam_role.this.assume_role_policy).Statement == [{
      Sid       = "DeploysFromOneEnvironmentOnly"
      Effect    = "Allow"
      Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
          "token.actions.githubusercontent.com:sub" = "repo:your-org/your-repo:environment:prod"
        }
      }
    }]
    error_message = "A workflow of another repository, branch or environment must not get the role."
  }
}

run "trusts_an_environment_of_another_name" {
  variables {
    environment = "production"
  }

  assert {
    condition     = jsondecode(aws_iam_role.this.assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == "repo:your-org/your-repo:environment:production"
    error_message = "The environment must be the caller's."
  }
}

run "names_every_action" {
  variables {
    may_destroy = true
  }

  assert {
    condition     = alltrue([for action in flatten([for statements in local.statements : [for s in statements : s.actions]]) : can(regex("^[a-z0-9-]+:[A-Za-z0-9]+$", action))])
    error_message = "No action may have a wildcard."
  }
}

run "names_every_resource_that_aws_can_name" {
  assert {
    condition = toset(flatten([for statements in local.statements : [for s in statements : s.actions if contains(s.resources, "*")]])) == toset([
      "application-autoscaling:DescribeScalableTargets",
      "application-autoscaling:DescribeScalingPolicies",
      "cloudwatch:DescribeAlarms",
      "events:ListRules",
      "kms:CreateKey",
      "kms:ListAliases",
      "lambda:CreateEventSourceMapping",
      "lambda:GetAccountSettings",
      "lambda:ListEventSourceMappings",
      "lambda:ListFunctions",
      "logs:DescribeLogGroups",
    ])
    error_message = "Resource * is only for what AWS has no narrower one for, and that shows names at most, or makes what is new."
  }
}

run "reaches_nothing_of_a_stage_whose_name_begins_with_its_own" {
  variables {
    may_destroy = true
  }

  assert {
    condition = {
      for subject, statements in local.statements : subject => flatten([for s in statements : [
        for resource in s.resources : resource if strcontains(resource, "*") && strcontains(resource, "tally-prod") && !endswith(resource, "/*") && !endswith(resource, ":*")
      ]])
      } == {
      data        = []
      destruction = []

      destruction_of_functions = []
      functions                = []
      observability            = ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:tally-prod-*"]
      roles                    = []
      state                    = []
      triggers                 = []
    }
    error_message = "Only alarms are named by a prefix."
  }
}

run "maps_its_own_functions_only" {
  assert {
    condition = {
      for s in local.statements.triggers : s.sid => jsonencode(s.condition)
      if length(setintersection(s.actions, ["lambda:CreateEventSourceMapping", "lambda:DeleteEventSourceMapping", "lambda:UpdateEventSourceMapping"])) > 0
      } == {
      for sid in ["MakeMappings", "MapQueuesAndStream"] : sid => jsonencode({ ArnEquals = { "lambda:FunctionArn" = local.functions } })
    }
    error_message = "A mapping's ARN is a number: a condition must tell whose it is."
  }
}

run "uses_and_takes_no_key" {
  variables {
    may_destroy = true
  }

  assert {
    condition = toset([
      for action in flatten([for statements in local.statements : [for s in statements : s.actions]]) : action if startswith(action, "kms:")
      ]) == toset([
      "kms:CreateAlias", "kms:CreateKey", "kms:DeleteAlias", "kms:DescribeKey", "kms:EnableKeyRotation", "kms:GetKeyPolicy",
      "kms:GetKeyRotationStatus", "kms:ListAliases", "kms:ListResourceTags", "kms:TagResource",
    ])
    error_message = "A right to any key that goes beyond turning it on could be turned on another's data."
  }

  assert {
    condition = toset([
      for s in local.statements.observability : jsonencode(s.condition) if length(setintersection(s.actions, ["kms:CreateKey", "kms:TagResource"])) > 0
    ]) == toset([jsonencode({ StringEquals = { "aws:RequestTag/Project" = ["tally"], "aws:RequestTag/Stage" = ["prod"] } })])
    error_message = "A key may only be made, and tagged, as the stage's: a key that is made with tags asks for both rights."
  }
}

run "passes_its_own_roles_to_lambda_only" {
  assert {
    condition = [for s in local.statements.functions : { resources = s.resources, condition = jsonencode(s.condition) } if contains(s.actions, "iam:PassRole")] == [{
      resources = [for name in local.stage_functions : "arn:aws:iam::123456789012:role/tally-prod-${name}"]
      condition = jsonencode({ StringEquals = { "iam:PassedToService" = "lambda.amazonaws.com" } })
    }]
    error_message = "A role that could be passed elsewhere, or another's, would be somebody else's rights."
  }
}

run "changes_no_role_but_those_of_its_functions" {
  assert {
    condition = alltrue([
      for resource in flatten([for s in local.statements.roles : s.resources]) : contains(local.roles, resource)
    ])
    error_message = "A role that could change itself could do anything."
  }
}

run "grants_only_within_a_boundary_of_yours" {
  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
  }

  assert {
    condition     = output.permissions_boundary_arn == "arn:aws:iam::123456789012:policy/boundary" && length(aws_iam_policy.boundary) == 0
    error_message = "The boundary must be the caller's."
  }

  assert {
    condition = {
      for s in local.statements.roles : s.sid => jsonencode(s.condition)
      if anytrue([for action in s.actions : !can(regex("^iam:(Get|List|Tag|Untag)", action))])
    } == { GrantWithinBoundary = jsonencode({ StringEquals = { "iam:PermissionsBoundary" = ["arn:aws:iam::123456789012:policy/boundary"] } }) }
    error_message = "Whatever changes a role must be for a role within the boundary."
  }
}

run "grants_only_within_the_boundary_that_it_makes" {
  variables {
    may_destroy = true
  }

  assert {
    condition     = aws_iam_policy.boundary[0].name == "tally-prod-boundary" && output.permissions_boundary_arn == aws_iam_policy.boundary[0].arn
    error_message = "Without a boundary of the caller's there must be one."
  }

  assert {
    condition     = [for s in local.statements.roles : jsonencode(s.condition) if contains(s.actions, "iam:CreateRole")] == [jsonencode({ StringEquals = { "iam:PermissionsBoundary" = [aws_iam_policy.boundary[0].arn] } })]
    error_message = "A role without the boundary could be made."
  }

  assert {
    condition = length(setintersection(
      flatten([for statements in local.statements : [for s in statements : s.actions]]),
      ["iam:DeleteRolePermissionsBoundary", "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:DeletePolicy", "iam:AttachRolePolicy"],
    )) == 0
    error_message = "A boundary that can be taken away or rewritten bounds nothing."
  }

  assert {
    condition     = !anytrue([for action in flatten([for s in local.boundary : s.actions]) : can(regex("^(iam|sts|lambda:(Add|Create|Update)|organizations)", action))])
    error_message = "A function that could change rights could lift its own boundary."
  }

  assert {
    condition     = toset(flatten([for s in local.boundary : s.actions if contains(s.resources, "*")])) == toset(["dynamodb:ListStreams", "lambda:ListEventSourceMappings"])
    error_message = "The boundary must end at the stage, but for what AWS has no narrower resource for."
  }

  assert {
    condition     = length(aws_iam_policy.boundary[0].policy) <= 6144
    error_message = "A policy has 6,144 characters at most."
  }
}

run "is_bounded_itself_where_that_is_asked_for" {
  variables {
    role_boundary_arn = "arn:aws:iam::123456789012:policy/organisation"
  }

  assert {
    condition     = aws_iam_role.this.permissions_boundary == "arn:aws:iam::123456789012:policy/organisation"
    error_message = "The boundary must bound the role itself."
  }
}

run "lets_nobody_but_aws_services_invoke_its_functions" {
  assert {
    condition = [for s in local.statements.triggers : jsonencode(s.condition) if contains(s.actions, "lambda:AddPermission")] == [
      jsonencode({ StringEquals = { "lambda:Principal" = ["events.amazonaws.com", "s3.amazonaws.com"] } })
    ]
    error_message = "Another account could be let in."
  }
}

run "asks_no_condition_that_aws_does_not_know" {
  assert {
    condition = [for s in local.statements.data : jsonencode(s.condition) if contains(s.actions, "application-autoscaling:TagResource")] == [jsonencode({})] && [
      for s in local.statements.data : s.sid if contains(s.actions, "application-autoscaling:ListTagsForResource")
    ] == ["TagScaling"]
    error_message = "Tagging a target does not know the service's namespace: with that condition nobody may."
  }
}

run "deletes_no_data_unless_told" {
  assert {
    condition     = !anytrue([for name in keys(aws_iam_policy.this) : startswith(name, "destruction")])
    error_message = "A deployment destroys nothing that holds data."
  }

  assert {
    condition = length(setintersection(
      flatten([for subject, statements in local.statements : [for s in statements : s.actions] if !startswith(subject, "destruction") && subject != "state"]),
      ["dynamodb:DeleteTable", "lambda:DeleteFunction", "logs:DeleteLogGroup", "s3:DeleteBucket", "s3:DeleteObject", "s3:DeleteObjectVersion", "sqs:DeleteQueue", "sqs:PurgeQueue"],
    )) == 0
    error_message = "What destroys data must stand in policies of its own."
  }
}

run "takes_the_stage_down_when_told" {
  variables {
    may_destroy = true
  }

  assert {
    condition     = length([for name in keys(aws_iam_policy.this) : name if startswith(name, "destruction")]) == 2
    error_message = "The stage must be taken down with the role that deployed it."
  }
}

run "reads_no_upload_and_no_message" {
  variables {
    may_destroy = true
  }

  assert {
    condition = length(setintersection(
      flatten([for subject, statements in local.statements : [for s in statements : s.actions] if subject != "state"]),
      ["s3:GetObject", "s3:PutObject", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan", "sqs:ReceiveMessage", "sqs:SendMessage", "lambda:InvokeFunction"],
    )) == 0
    error_message = "Who deploys need not see what is processed."
  }
}

run "keeps_the_state_of_its_stage_only" {
  assert {
    condition = {
      for s in local.statements.state : s.sid => s.resources
      } == {
      ListStates          = ["arn:aws:s3:::example-terraform-state"]
      KeepState           = [for key in ["tally/prod/tally.tfstate", "tally/prod/tally.tfstate.tflock"] : "arn:aws:s3:::example-terraform-state/${key}"]
      LookForDefaultState = ["arn:aws:s3:::example-terraform-state/tally.tfstate"]
    }
    error_message = "The state of another stage names everything of it."
  }
}

run "uses_keys_when_told" {
  variables {
    kms_key_arns = ["arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
  }

  assert {
    condition     = one(flatten([for s in local.statements.state : s.resources if s.sid == "UseKeysOfYours"])) == "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    error_message = "The keys must be the caller's."
  }
}

run "fits_into_policies" {
  variables {
    stage       = "a-stage-of-20-letter"
    may_destroy = true
  }

  assert {
    condition     = max([for policy in local.policies : length(policy)]...) <= 6144
    error_message = "A policy has 6,144 characters at most, also where the stage has the longest name."
  }
}

run "rejects_a_stage_that_breaks_names" {
  command = plan

  variables {
    stage = "Prod"
  }

  expect_failures = [var.stage]
}

run "rejects_every_repository_of_an_owner" {
  command = plan

  variables {
    repository = "your-org/*"
  }

  expect_failures = [var.repository]
}

run "rejects_every_environment" {
  command = plan

  variables {
    environment = "*"
  }

  expect_failures = [var.environment]
}

run "rejects_every_state" {
  command = plan

  variables {
    state_key = "*"
  }

  expect_failures = [var.state_key]
}

run "rejects_a_prefix_that_ends_with_a_slash" {
  command = plan

  variables {
    workspace_key_prefix = "tally/"
  }

  expect_failures = [var.workspace_key_prefix]
}

run "rejects_a_bucket_that_is_none" {
  command = plan

  variables {
    state_bucket = "arn:aws:s3:::state"
  }

  expect_failures = [var.state_bucket]
}

run "rejects_an_alias_for_a_key" {
  command = plan

  variables {
    kms_key_arns = ["arn:aws:kms:us-east-1:123456789012:alias/state"]
  }

  expect_failures = [var.kms_key_arns]
}

run "rejects_a_boundary_that_is_no_policy" {
  command = plan

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "rejects_a_boundary_of_its_own_that_is_no_policy" {
  command = plan

  variables {
    role_boundary_arn = "boundary"
  }

  expect_failures = [var.role_boundary_arn]
}
