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

  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/p" }
  }
}

variables {
  stage = "prod"
}

run "has_a_policy_for_each_part" {
  assert {
    condition     = toset(keys(local.policies)) == toset(["look", "examine", "act"])
    error_message = "Without may_prove there must be three policies."
  }

  assert {
    condition     = output.prove_policy_arn == null && output.look_policy_arn != null && output.examine_policy_arn != null && output.act_policy_arn != null
    error_message = "Every policy must have an output."
  }

  assert {
    condition     = alltrue([for right in local.rights : contains(["look", "examine", "act", "prove"], right.part)])
    error_message = "A right of another part would be in no policy."
  }
}

run "proves_only_when_asked" {
  variables {
    may_prove = true
  }

  assert {
    condition     = output.prove_policy_arn != null
    error_message = "may_prove must make the policy."
  }
}

run "lets_nobody_who_only_looks_change_anything" {
  assert {
    condition = alltrue([
      for action in flatten([for right in local.rights : right.actions if contains(["look", "examine"], right.part)]) :
      can(regex(":(Batch)?(Get|List|Describe|Query|Filter|Simulate|Receive|Decrypt)", action)) || action == "sqs:ChangeMessageVisibility"
    ])
    error_message = "An action that changes something belongs to the part act. ChangeMessageVisibility shows what was read again."
  }
}

run "names_every_action" {
  assert {
    condition     = alltrue([for action in flatten([for right in local.rights : right.actions]) : can(regex("^[a-z0-9-]+:[A-Za-z0-9]+$", action))])
    error_message = "No action may have a wildcard."
  }
}

run "names_every_resource_that_aws_can_name" {
  assert {
    condition = toset(flatten([for right in local.rights : right.actions if contains(right.on, "*")])) == toset([
      "cloudwatch:DescribeAlarms", # with a narrower one CloudWatch leaves composite alarms out
      "cloudwatch:GetMetricData",
      "cloudwatch:GetMetricStatistics",
      "events:ListRules",
      "lambda:GetAccountSettings",
      "lambda:ListEventSourceMappings",
      "sns:Unsubscribe",
    ])
    error_message = "Only what AWS has no resource for may be about everything."
  }

  assert {
    condition = alltrue([
      for resource in flatten([for right in local.rights : right.on]) :
      resource == "*" || can(regex("[:/]tally-prod(-[a-z_-]+|-inbox-123456789012|/index/batches)?(:\\*|/(inbox|unpacked|results|corrections)/\\*)?$", resource)) || endswith(resource, "alarm:tally-prod-*")
    ])
    error_message = "A resource must be named in full: a stage prod-eu is another one."
  }
}

run "fits_with_the_longest_name" {
  variables {
    stage        = "abcdefghijklmnopqrst"
    may_prove    = true
    kms_key_arns = [for key in range(2) : "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-55555555555${key}"]
  }

  assert {
    condition     = max([for policy in local.policies : length(policy)]...) <= 6144
    error_message = "A policy has 6,144 characters at most."
  }
}

run "lets_services_alone_use_a_key" {
  variables {
    kms_key_arns = ["arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
  }

  assert {
    condition = alltrue([
      for statement in flatten([for policy in local.policies : jsondecode(policy).Statement]) :
      try(statement.Condition.StringLike["kms:ViaService"], null) != null if startswith(statement.Action[0], "kms:")
    ])
    error_message = "A key may be used through the services only."
  }
}

run "names_a_table_and_a_bucket_of_yours" {
  variables {
    table        = "orders"
    inbox_bucket = "uploads"
  }

  assert {
    condition     = local.resources.index == ["arn:aws:dynamodb:us-east-1:123456789012:table/orders/index/batches"] && local.resources.inbox == ["arn:aws:s3:::uploads/inbox/*"]
    error_message = "What is yours must be named."
  }
}

run "rejects_a_stage_with_a_wildcard" {
  command = plan

  variables {
    stage = "prod*"
  }

  expect_failures = [var.stage]
}

run "rejects_a_table_with_a_wildcard" {
  command = plan

  variables {
    table = "tally-*"
  }

  expect_failures = [var.table]
}

run "rejects_a_bucket_with_a_wildcard" {
  command = plan

  variables {
    inbox_bucket = "tally-*"
  }

  expect_failures = [var.inbox_bucket]
}

run "rejects_an_alias_of_a_key" {
  command = plan

  variables {
    kms_key_arns = ["arn:aws:kms:us-east-1:123456789012:alias/mine"]
  }

  expect_failures = [var.kms_key_arns]
}
