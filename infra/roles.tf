# What each function may do. The sid says why.
locals {
  read_upload = [
    { sid = "ReadUpload", actions = ["s3:GetObject", "s3:GetObjectVersion"], resources = ["${module.inbox.arn}/inbox/*"] },
    # Without it S3 answers 403 for an object that is not there, which reads like a missing right.
    { sid = "TellMissingFromForbidden", actions = ["s3:ListBucket"], resources = [module.inbox.arn] },
  ]

  consume_queue = {
    for queue in keys(local.queue_consumers) : queue => [
      {
        sid       = "ConsumeOwnQueue"
        actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
        resources = [module.queue[queue].arn]
      },
      # Asked after a failure only: does the own mapping report partial batches?
      { sid = "SeeOwnMapping", actions = ["lambda:ListEventSourceMappings"], resources = ["*"] },
    ]
  }

  read_stream = [
    {
      sid       = "ReadStream"
      actions   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
      resources = [module.table.stream_arn]
    },
    { sid = "FindStream", actions = ["dynamodb:ListStreams"], resources = ["*"] },
    { sid = "KeepFailedRecords", actions = ["sqs:SendMessage"], resources = [module.stream_failures.arn] },
  ]

  statements = {
    plan = concat(local.read_upload, [
      { sid = "WriteBatchAndChunks", actions = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"], resources = [module.table.arn] },
      { sid = "KeepFailedUploads", actions = ["sqs:SendMessage"], resources = [module.plan_failures.arn] },
    ])

    ingest = concat(local.read_upload, local.consume_queue["ingest"], [
      {
        sid       = "WriteRecordsAndRejections"
        actions   = ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        resources = [module.table.arn]
      },
    ])

    process = concat(local.consume_queue["work"], [
      { sid = "ReadRowTooLargeForMessage", actions = ["dynamodb:GetItem"], resources = [module.table.arn] },
      { sid = "SendOutcomes", actions = ["sqs:SendMessage"], resources = [module.queue["finished"].arn] },
    ])

    finish = concat(local.consume_queue["finished"], [
      # A transaction needs the rights of its actions; a late duplicate is told from a stray outcome by reading its chunk.
      { sid = "CountRows", actions = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"], resources = [module.table.arn] },
    ])

    dispatch = concat(local.read_stream, [
      { sid = "SendWhatWasWritten", actions = ["sqs:SendMessage"], resources = [module.queue["ingest"].arn, module.queue["work"].arn] },
    ])

    settle = concat(local.read_stream, [
      { sid = "CloseChunksAndBatches", actions = ["dynamodb:UpdateItem"], resources = [module.table.arn] },
      { sid = "AnnounceEndOfBatch", actions = ["events:PutEvents"], resources = [module.completion.bus_arn] },
    ])
  }
}

module "role" {
  source   = "./modules/function_role"
  for_each = local.functions

  function_name      = local.function_names[each.key]
  statements         = local.statements[each.key]
  log_retention_days = var.log_retention_days
}
