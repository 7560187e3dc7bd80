# What it takes to apply infra/ and to deploy app/. Names are written in full wherever data, code or rights are behind them: with
# tally-prod-* the role of a stage prod would reach into a stage prod-eu.
locals {
  prefix    = "tally-${var.stage}"
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.id

  # This folder stands alone, so it says again what infra/functions.tf says; tests/unit/test_deploy_role.py holds the two together.
  stage_functions = ["plan", "ingest", "process", "process_heavy", "finish", "dead_letters", "dispatch", "settle", "reconcile", "export", "save"]
  stage_queues    = ["ingest", "work", "heavy", "finished", "export", "save"]

  function_names = [for name in local.stage_functions : "${local.prefix}-${name}"]
  queue_names = [
    for name in concat(
      flatten([for queue in concat(local.stage_queues, ["completions"]) : [queue, "${queue}-dlq"]]),
      ["dead-letters", "plan-failures", "stream-failures"],
    ) : "${local.prefix}-${name}"
  ]

  bucket = "arn:${local.partition}:s3:::${local.prefix}-inbox-${local.account}"
  # The second has the results of jobs that say KEY.
  tables    = [for name in [local.prefix, "${local.prefix}-results"] : "arn:${local.partition}:dynamodb:${local.region}:${local.account}:table/${name}"]
  queues    = [for name in local.queue_names : "arn:${local.partition}:sqs:${local.region}:${local.account}:${name}"]
  bus       = "arn:${local.partition}:events:${local.region}:${local.account}:event-bus/${local.prefix}"
  functions = [for name in local.function_names : "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${name}"]
  mappings  = "arn:${local.partition}:lambda:${local.region}:${local.account}:event-source-mapping:*"
  # AWS names them with and without the asterisk, by action.
  log_groups = flatten([for name in local.function_names : [for end in ["", ":*"] : "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${name}${end}"]])
  roles      = [for name in local.function_names : "arn:${local.partition}:iam::${local.account}:role/${name}"]
  topic      = "arn:${local.partition}:sns:${local.region}:${local.account}:${local.prefix}-alarms"
  keys       = "arn:${local.partition}:kms:${local.region}:${local.account}:key/*"
  key_alias  = "arn:${local.partition}:kms:${local.region}:${local.account}:alias/${local.prefix}-alarms"
  scaling    = "arn:${local.partition}:application-autoscaling:${local.region}:${local.account}:scalable-target/*"
  # On the stage's own bus, and the schedule that Chalice makes on the default one.
  rules = [
    "arn:${local.partition}:events:${local.region}:${local.account}:rule/${local.prefix}/${local.prefix}-completions",
    "arn:${local.partition}:events:${local.region}:${local.account}:rule/${local.prefix}-reconcile-event",
  ]
  # There are some forty, and nothing behind them.
  alarms    = "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${local.prefix}-*"
  dashboard = "arn:${local.partition}:cloudwatch::${local.account}:dashboard/${local.prefix}"

  state      = "arn:${local.partition}:s3:::${var.state_bucket}"
  state_keys = [for key in [var.state_key, "${var.state_key}.tflock"] : "${local.state}/${var.workspace_key_prefix}/${var.stage}/${key}"]

  # Of a role that is made or given a boundary: the new one; of any other call: the one that the role has.
  bounded = { StringEquals = { "iam:PermissionsBoundary" = [local.boundary_arn] } }

  # What infra/ tags everything with.
  tagged = { StringEquals = { "aws:RequestTag/Project" = ["tally"], "aws:RequestTag/Stage" = [var.stage] } }

  statements = {
    state = concat(
      [
        { sid = "ListStates", actions = ["s3:ListBucket"], resources = [local.state], condition = { StringLike = { "s3:prefix" = [var.state_key, "${var.workspace_key_prefix}/*"] } } },
        { sid = "KeepState", actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], resources = local.state_keys, condition = {} },
        # Terraform looks for a state outside any workspace before it goes to the stage's.
        { sid = "LookForDefaultState", actions = ["s3:GetObject"], resources = ["${local.state}/${var.state_key}"], condition = {} },
      ],
      # The state's, and the table's, whose use DynamoDB grants to itself in the role's name.
      length(var.kms_key_arns) == 0 ? [] : [
        { sid = "UseKeysOfYours", actions = ["kms:DescribeKey", "kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant"], resources = var.kms_key_arns, condition = {} },
      ],
    )

    data = [
      {
        sid = "SetUpInbox"
        actions = [
          "s3:CreateBucket", "s3:ListBucket", "s3:GetAccelerateConfiguration", "s3:GetBucketAcl", "s3:GetBucketCORS", "s3:GetBucketLocation",
          "s3:GetBucketLogging", "s3:GetBucketNotification", "s3:GetBucketObjectLockConfiguration", "s3:GetBucketOwnershipControls",
          "s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock", "s3:GetBucketRequestPayment", "s3:GetBucketTagging", "s3:GetBucketVersioning",
          "s3:GetBucketWebsite", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration",
          "s3:PutBucketLogging", "s3:PutBucketNotification", "s3:PutBucketOwnershipControls", "s3:PutBucketPolicy",
          "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration",
          "s3:PutLifecycleConfiguration",
        ]
        resources = [local.bucket]
        condition = {}
      },
      {
        sid = "SetUpTable"
        actions = [
          "dynamodb:CreateTable", "dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive",
          "dynamodb:ListTagsOfResource", "dynamodb:TagResource", "dynamodb:UntagResource", "dynamodb:UpdateContinuousBackups",
          "dynamodb:UpdateTable", "dynamodb:UpdateTimeToLive",
        ]
        resources = local.tables
        condition = {}
      },
      {
        sid = "ScaleTable"
        actions = [
          "application-autoscaling:DeleteScalingPolicy", "application-autoscaling:DeregisterScalableTarget",
          "application-autoscaling:PutScalingPolicy", "application-autoscaling:RegisterScalableTarget",
        ]
        resources = [local.scaling]
        condition = { StringEquals = { "application-autoscaling:service-namespace" = "dynamodb" } }
      },
      # A target's name is a number, and neither of these knows the namespace.
      {
        sid       = "TagScaling"
        actions   = ["application-autoscaling:ListTagsForResource", "application-autoscaling:TagResource"]
        resources = [local.scaling]
        condition = {}
      },
      {
        sid       = "SeeScaling"
        actions   = ["application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingPolicies"]
        resources = ["*"]
        condition = {}
      },
      {
        sid       = "LetDynamoDBScale"
        actions   = ["iam:CreateServiceLinkedRole"]
        resources = ["arn:${local.partition}:iam::${local.account}:role/aws-service-role/dynamodb.application-autoscaling.amazonaws.com/*"]
        condition = { StringEquals = { "iam:AWSServiceName" = "dynamodb.application-autoscaling.amazonaws.com" } }
      },
      {
        sid       = "SetUpQueues"
        actions   = ["sqs:CreateQueue", "sqs:GetQueueAttributes", "sqs:ListQueueTags", "sqs:SetQueueAttributes", "sqs:TagQueue", "sqs:UntagQueue"]
        resources = local.queues
        condition = {}
      },
    ]

    functions = [
      {
        sid = "DeployFunctions"
        actions = [
          "lambda:CreateFunction", "lambda:DeleteFunctionConcurrency", "lambda:DeleteFunctionEventInvokeConfig",
          "lambda:GetFunction", "lambda:GetFunctionConfiguration", "lambda:GetFunctionEventInvokeConfig",
          "lambda:GetFunctionRecursionConfig", "lambda:GetPolicy", "lambda:ListTags", "lambda:PutFunctionConcurrency",
          "lambda:PutFunctionEventInvokeConfig", "lambda:PutFunctionRecursionConfig", "lambda:RemovePermission", "lambda:TagResource",
          "lambda:UntagResource", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration", "lambda:UpdateFunctionEventInvokeConfig",
        ]
        resources = local.functions
        condition = {}
      },
      # What lives of the stage, for Chalice's record of it.
      { sid = "SeeWhatLives", actions = ["events:ListRules", "lambda:GetAccountSettings", "lambda:ListEventSourceMappings", "lambda:ListFunctions"], resources = ["*"], condition = {} },
      {
        sid       = "RunFunctionsAsTheirRoles"
        actions   = ["iam:PassRole"]
        resources = local.roles
        condition = { StringEquals = { "iam:PassedToService" = "lambda.amazonaws.com" } }
      },
    ]

    triggers = [
      # Nobody but these services is let in: another account could run the functions, and with them what their roles may do.
      {
        sid       = "LetEventsIn"
        actions   = ["lambda:AddPermission"]
        resources = local.functions
        condition = { StringEquals = { "lambda:Principal" = ["events.amazonaws.com", "s3.amazonaws.com"] } }
      },
      # What is not there yet has no name: AWS knows only the function that it is for.
      {
        sid       = "MakeMappings"
        actions   = ["lambda:CreateEventSourceMapping"]
        resources = ["*"]
        condition = { ArnEquals = { "lambda:FunctionArn" = local.functions } }
      },
      {
        sid       = "MapQueuesAndStream"
        actions   = ["lambda:DeleteEventSourceMapping", "lambda:GetEventSourceMapping", "lambda:UpdateEventSourceMapping"]
        resources = [local.mappings]
        condition = { ArnEquals = { "lambda:FunctionArn" = local.functions } }
      },
      # A mapping's name is a number, and its tags do not tell its function.
      { sid = "TagMappings", actions = ["lambda:ListTags", "lambda:TagResource", "lambda:UntagResource"], resources = [local.mappings], condition = {} },
      {
        sid       = "AnnounceAndSchedule"
        actions   = ["events:CreateEventBus", "events:DescribeEventBus", "events:ListTagsForResource", "events:TagResource", "events:UntagResource"]
        resources = [local.bus]
        condition = {}
      },
      {
        sid = "SetUpRules"
        actions = [
          "events:DeleteRule", "events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule", "events:PutRule",
          "events:PutTargets", "events:RemoveTargets", "events:TagResource", "events:UntagResource",
        ]
        resources = local.rules
        condition = {}
      },
    ]

    roles = [
      {
        sid = "GrantWithinBoundary"
        actions = [
          "iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy",
          "iam:UpdateRole",
        ]
        resources = local.roles
        condition = local.bounded
      },
      {
        sid = "SetUpRoles"
        actions = [
          "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies",
          "iam:TagRole", "iam:UntagRole",
        ]
        resources = local.roles
        condition = {}
      },
    ]

    observability = [
      {
        sid = "SetUpLogs"
        actions = [
          "logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:DisassociateKmsKey", "logs:ListTagsForResource", "logs:PutRetentionPolicy",
          "logs:TagResource", "logs:UntagResource",
        ]
        resources = local.log_groups
        condition = {}
      },
      { sid = "SeeLogGroups", actions = ["logs:DescribeLogGroups"], resources = ["*"], condition = {} },
      {
        sid       = "SetUpAlarms"
        actions   = ["cloudwatch:DeleteAlarms", "cloudwatch:ListTagsForResource", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:UntagResource"]
        resources = [local.alarms]
        condition = {}
      },
      { sid = "SeeAlarms", actions = ["cloudwatch:DescribeAlarms"], resources = ["*"], condition = {} },
      { sid = "SetUpDashboard", actions = ["cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:PutDashboard"], resources = [local.dashboard], condition = {} },
      {
        sid       = "SetUpAlarmTopic"
        actions   = ["sns:CreateTopic", "sns:GetTopicAttributes", "sns:ListTagsForResource", "sns:SetTopicAttributes", "sns:TagResource", "sns:UntagResource"]
        resources = [local.topic]
        condition = {}
      },
      # The topic's own key. No condition tells it from other keys that could not be made true of those, so the role may make one and
      # turn it on, but neither use, delete nor change the policy of any.
      { sid = "MakeAlarmKey", actions = ["kms:CreateKey"], resources = ["*"], condition = local.tagged },
      # A key that is made with tags asks for this too. Nothing here is granted by a tag.
      { sid = "TagAlarmKey", actions = ["kms:TagResource"], resources = [local.keys], condition = local.tagged },
      {
        sid       = "SetUpAlarmKey"
        actions   = ["kms:CreateAlias", "kms:DescribeKey", "kms:EnableKeyRotation", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags"]
        resources = [local.keys]
        condition = {}
      },
      { sid = "NameAlarmKey", actions = ["kms:CreateAlias", "kms:DeleteAlias"], resources = [local.key_alias], condition = {} },
      { sid = "SeeAliases", actions = ["kms:ListAliases"], resources = ["*"], condition = {} },
    ]

    # Data and what keeps it. Without these a plan that would replace any of it fails.
    destruction = [
      { sid = "EmptyInbox", actions = ["s3:DeleteObject", "s3:DeleteObjectVersion"], resources = ["${local.bucket}/*"], condition = {} },
      { sid = "TakeInboxDown", actions = ["s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:ListBucketVersions"], resources = [local.bucket], condition = {} },
      { sid = "TakeTableDown", actions = ["dynamodb:DeleteTable"], resources = local.tables, condition = {} },
      { sid = "TakeQueuesDown", actions = ["sqs:DeleteQueue"], resources = local.queues, condition = {} },
      { sid = "TakeBusDown", actions = ["events:DeleteEventBus"], resources = [local.bus], condition = {} },
    ]

    # A policy of its own: with the longest stage's name the two do not fit into one.
    destruction_of_functions = [
      { sid = "TakeFunctionsDown", actions = ["lambda:DeleteFunction"], resources = local.functions, condition = {} },
      { sid = "TakeRolesDown", actions = ["iam:DeleteRole"], resources = local.roles, condition = {} },
      { sid = "TakeLogsDown", actions = ["logs:DeleteLogGroup"], resources = local.log_groups, condition = {} },
      { sid = "TakeAlarmTopicDown", actions = ["sns:DeleteTopic"], resources = [local.topic], condition = {} },
    ]
  }

  policies = {
    for subject, statements in local.statements : subject => jsonencode({
      Version = "2012-10-17"
      Statement = [
        for s in statements : merge(
          { Sid = s.sid, Effect = "Allow", Action = s.actions, Resource = s.resources },
          length(keys(s.condition)) == 0 ? {} : { Condition = s.condition },
        )
      ]
    }) if !startswith(subject, "destruction") || var.may_destroy
  }
}
