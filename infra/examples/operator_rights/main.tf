# What people need who look at one stage, examine it, and act on it with `tally`: a policy for each, for the roles or permission sets that
# you have. rights.json is the list; docs/deploy.md shows it, and tests/iam/test_operator_calls.py compares it with what each command calls.
data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  prefix    = "tally-${var.stage}"
  partition = data.aws_partition.current.partition
  place     = "${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}"

  # This folder stands alone, so it says again what infra/functions.tf says; tests/unit/test_operator_rights.py holds the two together.
  stage_functions = ["plan", "ingest", "process", "process_heavy", "finish", "dead_letters", "dispatch", "settle", "reconcile", "export", "save"]
  stage_queues    = ["ingest", "work", "heavy", "finished", "export", "save"]

  bucket   = "arn:${local.partition}:s3:::${coalesce(var.inbox_bucket, "${local.prefix}-inbox-${data.aws_caller_identity.current.account_id}")}"
  table    = "arn:${local.partition}:dynamodb:${local.place}:table/${coalesce(var.table, local.prefix)}"
  function = "arn:${local.partition}:lambda:${local.place}:function:${local.prefix}"
  queue    = "arn:${local.partition}:sqs:${local.place}:${local.prefix}"
  consumed = concat(local.stage_queues, ["completions"])

  # What rights.json calls a resource. Names are written in full: with tally-prod-* a stage prod would include a stage prod-eu.
  resources = {
    any           = ["*"] # where AWS has no narrower one
    table         = [local.table]
    index         = ["${local.table}/index/batches"]
    results_table = ["arn:${local.partition}:dynamodb:${local.place}:table/${local.prefix}-results"]
    bucket        = [local.bucket]
    inbox         = ["${local.bucket}/inbox/*"]
    uploads       = ["${local.bucket}/inbox/*", "${local.bucket}/unpacked/*"]
    corrections   = ["${local.bucket}/corrections/*"]
    results       = ["${local.bucket}/results/*"]
    queues        = [for name in local.consumed : "${local.queue}-${name}"]
    dead_letters  = [for name in concat([for name in local.consumed : "${name}-dlq"], ["dead-letters", "plan-failures", "stream-failures"]) : "${local.queue}-${name}"]
    copies        = ["${local.queue}-dead-letters"]
    functions     = [for name in local.stage_functions : "${local.function}-${name}"]
    plan          = ["${local.function}-plan"]
    process       = ["${local.function}-process"]
    dispatch      = ["${local.function}-dispatch"]
    # With the asterisk, which stands for the streams of the group.
    log_groups  = [for name in local.stage_functions : "arn:${local.partition}:logs:${local.place}:log-group:/aws/lambda/${local.prefix}-${name}:*"]
    roles       = [for name in local.stage_functions : "arn:${local.partition}:iam::${data.aws_caller_identity.current.account_id}:role/${local.prefix}-${name}"]
    bus         = ["arn:${local.partition}:events:${local.place}:event-bus/${local.prefix}"]
    schedule    = ["arn:${local.partition}:events:${local.place}:rule/${local.prefix}-reconcile-event"]
    alarm_topic = ["arn:${local.partition}:sns:${local.place}:${local.prefix}-alarms"]
    keys        = var.kms_key_arns
    completions = ["${local.queue}-completions"]
    mailbox     = ["${local.queue}-prove-mailbox"]
    # There are some forty, and nothing behind them.
    alarms = ["arn:${local.partition}:cloudwatch:${local.place}:alarm:${local.prefix}-*"]
  }

  rights = [
    for right in jsondecode(file("${path.module}/rights.json")) : merge(right, { on = flatten([for name in right.resources : local.resources[name]]) })
  ]

  policies = {
    for part in concat(["look", "examine", "act"], var.may_prove ? ["prove"] : []) : part => jsonencode({
      Version = "2012-10-17"
      Statement = [
        for right in local.rights : merge(
          { Sid = right.sid, Effect = "Allow", Action = right.actions, Resource = right.on },
          # The services use a key in the caller's name; nothing else of the caller's may.
          right.resources == ["keys"] ? { Condition = { StringLike = { "kms:ViaService" = ["dynamodb.*.amazonaws.com", "s3.*.amazonaws.com", "sqs.*.amazonaws.com"] } } } : {},
        ) if right.part == part && length(right.on) > 0
      ]
    })
  }
}

resource "aws_iam_policy" "this" {
  for_each = local.policies

  name        = "${local.prefix}-${each.key}"
  description = "Operators of the stage ${var.stage} of Tally: ${each.key}."
  policy      = each.value

  lifecycle {
    precondition {
      condition     = length(each.value) <= 6144
      error_message = "A policy has 6,144 characters at most."
    }
  }
}
