# What each function may do. The sid says why. The Lambda service itself uses some in a function's name: to poll its queue or stream
# (Poll...), to keep what failed (KeepFailed...) and to write its logs; `make test-iam` cannot exercise those.
locals {
  # Lambda's poller needs no other; what a function hides or sends itself it has a statement of its own for.
  poll_queue = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]

  read_upload = [
    { sid = "ReadUpload", actions = ["s3:GetObject", "s3:GetObjectVersion"], resources = ["${module.inbox.arn}/inbox/*", "${module.inbox.arn}/unpacked/*"] },
    # Without it S3 answers 403 for an object that is not there, which reads like a missing right.
    { sid = "TellMissingFromForbidden", actions = ["s3:ListBucket"], resources = [module.inbox.arn] },
  ]

  # Rows that an operator has corrected, in place of those of the upload.
  read_corrections = [
    { sid = "ReadCorrections", actions = ["s3:GetObject", "s3:GetObjectVersion"], resources = ["${module.inbox.arn}/corrections/*"] },
  ]

  # A plan whose time does not suffice has another invocation go on with it; a lost or failed one begins in another.
  hand_over_plan = [
    { sid = "HandOverPlan", actions = ["lambda:InvokeFunction"], resources = ["${local.function_arn_prefix}:${local.function_names["plan"]}"] },
  ]

  # How much the writers of rows have to share; asked of a table with provisioned capacity only.
  see_capacity = var.provisioned_capacity == null ? [] : [
    { sid = "SeeCapacity", actions = ["dynamodb:DescribeTable"], resources = [module.table.arn] },
  ]

  # Asked when a part of a batch failed, or a heavy row is put back: does the own mapping report that? AWS knows neither a resource nor a
  # condition for it.
  see_mappings = {
    for name, f in local.functions : name => coalesce(f.batch_size, 1) == 1 && name != "process_heavy" ? [] : [
      { sid = "SeeOwnMappings", actions = ["lambda:ListEventSourceMappings"], resources = ["*"] },
    ]
  }

  consume_queue = {
    for queue, consumer in local.queue_consumers : queue => concat(
      [{ sid = "PollOwnQueue", actions = local.poll_queue, resources = [module.queue[queue].arn] }],
      local.see_mappings[consumer],
    )
  }

  consume_dead_letters = concat(
    [{ sid = "PollDeadLetters", actions = local.poll_queue, resources = concat([for queue in local.queues_of_rows : module.queue[queue].dlq_arn], [module.plan_failures.arn]) }],
    local.see_mappings["dead_letters"],
  )

  read_stream = [
    {
      sid       = "PollStream"
      actions   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
      resources = [module.table.stream_arn]
    },
    # AWS knows neither a resource nor a condition for it.
    { sid = "PollListOfStreams", actions = ["dynamodb:ListStreams"], resources = ["*"] },
    { sid = "KeepFailedRecords", actions = ["sqs:SendMessage"], resources = [module.stream_failures.arn] },
  ]

  statements = {
    plan = concat(local.read_upload, [
      { sid = "WriteBatchAndChunks", actions = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"], resources = [module.table.arn] },
      # What is in a gzip upload becomes a plain object; a continuation sees the parts that are stored.
      {
        sid       = "UnpackUpload"
        actions   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        resources = ["${module.inbox.arn}/unpacked/*"]
      },
      { sid = "KeepFailedUploads", actions = ["sqs:SendMessage"], resources = [module.plan_failures.arn] },
    ], local.hand_over_plan)

    ingest = concat(local.read_upload, local.read_corrections, local.see_capacity, local.consume_queue["ingest"], [
      { sid = "ReadBatchAndChunk", actions = ["dynamodb:BatchGetItem"], resources = [module.table.arn] },
      # How the chunk is once some of its rows were read again, and what rows of it were corrected by.
      { sid = "ReadChunkAgain", actions = ["dynamodb:GetItem", "dynamodb:Query"], resources = [module.table.arn] },
      # Rows are written first. Then the chunk gets its totals, in a transaction with the marker of those rows that have an outcome already.
      {
        sid       = "WriteRowsAndTotals"
        actions   = ["dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        resources = [module.table.arn]
      },
    ])

    process = concat(local.consume_queue["work"], [
      { sid = "ReadBatchChunkAndRows", actions = ["dynamodb:BatchGetItem"], resources = [module.table.arn] },
      { sid = "NoteStartsAndRowsThatWait", actions = ["dynamodb:UpdateItem"], resources = [module.table.arn] },
      { sid = "SendOutcomes", actions = ["sqs:SendMessage"], resources = [module.queue["finished"].arn] },
      # Rows to be tried again, those of a message that is split, those of a paused batch, and what a deadline left over.
      { sid = "SendRowsAgain", actions = ["sqs:SendMessage"], resources = [module.queue["work"].arn] },
    ])

    process_heavy = concat(local.consume_queue["heavy"], [
      # As long as the row takes, or until another worker's lease on it ends.
      { sid = "HideOwnMessage", actions = ["sqs:ChangeMessageVisibility"], resources = [module.queue["heavy"].arn] },
      { sid = "ReadBatchChunkAndRows", actions = ["dynamodb:BatchGetItem"], resources = [module.table.arn] },
      { sid = "NoteStartsAndRowsThatWait", actions = ["dynamodb:UpdateItem"], resources = [module.table.arn] },
      # A lease is taken, extended, taken over and given back; a worker that finds it taken reads for how long.
      {
        sid       = "LeaseRow"
        actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"]
        resources = [module.table.arn]
      },
      { sid = "SendOutcomes", actions = ["sqs:SendMessage"], resources = [module.queue["finished"].arn] },
      { sid = "SendRowAgain", actions = ["sqs:SendMessage"], resources = [module.queue["heavy"].arn] },
    ])

    finish = concat(local.see_capacity, local.consume_queue["finished"], [
      # A transaction needs the rights of its actions. That the update asks for the item when its condition fails takes none of its own.
      { sid = "CountRows", actions = ["dynamodb:PutItem", "dynamodb:UpdateItem"], resources = [module.table.arn] },
    ])

    dispatch = concat(local.read_stream, [
      {
        sid       = "SendWhatWasWritten"
        actions   = ["sqs:SendMessage"]
        resources = [module.queue["ingest"].arn, module.queue["work"].arn, module.queue["heavy"].arn]
      },
    ])

    settle = concat(local.read_stream, [
      { sid = "CloseChunksAndBatches", actions = ["dynamodb:UpdateItem"], resources = [module.table.arn] },
      # The export of each attempt is begun once; a second call reads how the first one cut it.
      { sid = "BeginExports", actions = ["dynamodb:GetItem", "dynamodb:PutItem"], resources = [module.table.arn] },
      { sid = "AskForResults", actions = ["sqs:SendMessage"], resources = [module.queue["export"].arn] },
      { sid = "AnnounceEndOfBatch", actions = ["events:PutEvents"], resources = [module.completion.bus_arn] },
    ])

    # What plan gave up on is planned again.
    dead_letters = concat(local.see_capacity, local.consume_dead_letters, local.hand_over_plan, [
      # What the chunk says, and whether the worker of a heavy row lives; then the rows are counted as finish does it.
      # How often the plan of an upload has failed is counted by its items.
      {
        sid       = "FailRowsAndChunks"
        actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]
        resources = [module.table.arn]
      },
      { sid = "KeepCopies", actions = ["sqs:SendMessage"], resources = [module.dead_letters.arn] },
      # Dead letters that killed no worker: Lambda throttled their deliveries, or a service was out.
      {
        sid       = "SendLettersAgain"
        actions   = ["sqs:SendMessage"]
        resources = [module.queue["ingest"].arn, module.queue["work"].arn, module.queue["heavy"].arn]
      },
    ])

    export = concat(local.read_upload, local.read_corrections, local.consume_queue["export"], [
      # The whole partition of each chunk, and the items of the pieces; how far the export is, and whether its attempt still stands.
      {
        sid       = "ReadOutcomesAndMarkPieces"
        actions   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]
        resources = [module.table.arn]
      },
      { sid = "WriteResults", actions = ["s3:PutObject", "s3:AbortMultipartUpload"], resources = ["${module.inbox.arn}/results/*"] },
      # The results of a job that says THEN become a file of the next job, in this folder of its prefix and nowhere else in the inbox.
      { sid = "UploadForNextJob", actions = ["s3:PutObject", "s3:AbortMultipartUpload"], resources = ["${module.inbox.arn}/inbox/*/chained/*"] },
      { sid = "AnnounceResults", actions = ["events:PutEvents"], resources = [module.completion.bus_arn] },
      { sid = "AskForSaves", actions = ["sqs:SendMessage"], resources = [module.queue["save"].arn] },
    ])

    save = concat(local.consume_queue["save"], [
      # The whole partition of each chunk; how far the save is, whether its attempt still stands, and the lease that one saver has at a time.
      {
        sid       = "ReadOutcomesAndNoteProgress"
        actions   = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]
        resources = [module.table.arn]
      },
      # What a run had no time for, and what waits for another saver.
      { sid = "AskForTheRest", actions = ["sqs:SendMessage"], resources = [module.queue["save"].arn] },
      ],
      [for table in module.results_table : { sid = "WriteResultsByKey", actions = ["dynamodb:PutItem"], resources = [table.arn] }],
      [for table in module.results_table : { sid = "SeeCapacity", actions = ["dynamodb:DescribeTable"], resources = [table.arn] } if table.write_share > 0],
    )

    # A plan that died is continued, so the object is read again; unpacking a gzip one is left to plan.
    reconcile = concat(local.read_upload, local.hand_over_plan, [
      # Which uploads there are, to find those that have no batch.
      {
        sid       = "ListUploads"
        actions   = ["s3:ListBucketVersions"]
        resources = [module.inbox.arn]
        condition = { StringEquals = { "s3:prefix" = ["inbox/"] } }
      },
      { sid = "ListBatches", actions = ["dynamodb:Query"], resources = [module.table.batches_index_arn] },
      # Counts markers, sets a counter that they prove wrong, closes what is complete, and keeps how far each batch was.
      {
        sid       = "RecountAndRepair"
        actions   = ["dynamodb:Query", "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        resources = [module.table.arn]
      },
      {
        sid       = "SendWhatWasLost"
        actions   = ["sqs:SendMessage"]
        resources = [module.queue["ingest"].arn, module.queue["work"].arn, module.queue["heavy"].arn, module.queue["export"].arn]
      },
      { sid = "AnnounceEndOfBatch", actions = ["events:PutEvents"], resources = [module.completion.bus_arn] },
    ])
  }
}

module "role" {
  source   = "./modules/function_role"
  for_each = local.functions

  function_name            = local.function_names[each.key]
  statements               = local.statements[each.key]
  permissions_boundary_arn = var.permissions_boundary_arn
  log_retention_days       = var.log_retention_days
  kms_key_arn              = var.kms_key_arn
}
