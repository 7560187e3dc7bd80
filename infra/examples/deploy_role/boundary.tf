# What a function of the stage can be allowed at most. The pipeline writes the policies of the functions' roles, and may make or change only
# roles that carry this: so it cannot give a function, itself or anybody else more. It cannot change this policy.
locals {
  boundary_arn = var.permissions_boundary_arn == null ? aws_iam_policy.boundary[0].arn : var.permissions_boundary_arn

  boundary = concat(
    [
      {
        sid       = "ReadAndWriteTable"
        actions   = ["dynamodb:*"]
        resources = flatten([for table in local.tables : [table, "${table}/index/*", "${table}/stream/*"]])
      },
      { sid = "FindStreams", actions = ["dynamodb:ListStreams"], resources = ["*"] },
      {
        sid       = "ReadAndUnpackUploads"
        actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions", "s3:ListMultipartUploadParts", "s3:PutObject"]
        resources = [local.bucket, "${local.bucket}/*"]
      },
      {
        sid       = "ReceiveAndSend"
        actions   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage"]
        resources = local.queues
      },
      { sid = "Announce", actions = ["events:PutEvents"], resources = [local.bus] },
      { sid = "HandOver", actions = ["lambda:InvokeFunction"], resources = local.functions },
      { sid = "SeeMappings", actions = ["lambda:ListEventSourceMappings"], resources = ["*"] },
      { sid = "WriteLogs", actions = ["logs:CreateLogStream", "logs:PutLogEvents"], resources = [for name in local.log_groups : name if endswith(name, ":*")] },
    ],
    length(var.kms_key_arns) == 0 ? [] : [
      { sid = "UseKeysOfYours", actions = ["kms:Decrypt", "kms:GenerateDataKey"], resources = var.kms_key_arns },
    ],
  )
}

resource "aws_iam_policy" "boundary" {
  count = var.permissions_boundary_arn == null ? 1 : 0

  name        = "${local.prefix}-boundary"
  description = "What the functions of the stage ${var.stage} of Tally can be allowed at most."

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [for s in local.boundary : { Sid = s.sid, Effect = "Allow", Action = s.actions, Resource = s.resources }]
  })
}
