# What is there already, passed in.
mock_provider "aws" {
  source = "./tests/aws"
}

variables {
  deployed_file = "tests/fixtures/not-deployed.json"
}

run "takes_what_is_there_already" {
  command = plan

  variables {
    stage                 = "alpha"
    existing_inbox_bucket = "uploads-of-ours"
    existing_table        = "counts-of-ours"
    existing_queues = {
      work = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 400
        dlq_visibility_timeout_seconds = 360
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 1209600
        max_receive_count              = 8
      }
    }
  }

  override_data {
    target = module.table.data.aws_dynamodb_table.this[0]
    values = {
      arn              = "arn:aws:dynamodb:us-east-1:123456789012:table/counts-of-ours"
      stream_arn       = "arn:aws:dynamodb:us-east-1:123456789012:table/counts-of-ours/stream/2026-01-01T00:00:00.000"
      hash_key         = "pk"
      range_key        = "sk"
      stream_enabled   = true
      stream_view_type = "NEW_AND_OLD_IMAGES"

      global_secondary_index = [{ name = "batches", hash_key = "listing", range_key = "created_at" }]
      ttl                    = [{ enabled = true, attribute_name = "expires_at" }]
    }
  }

  override_data {
    target = module.inbox.data.aws_s3_bucket.this[0]
    values = { arn = "arn:aws:s3:::uploads-of-ours" }
  }

  override_data {
    target = module.queue["work"].data.aws_sqs_queue.this[0]
    values = { arn = "arn:aws:sqs:us-east-1:123456789012:orders" }
  }

  override_data {
    target = module.queue["work"].data.aws_sqs_queue.dlq[0]
    values = { arn = "arn:aws:sqs:us-east-1:123456789012:orders-dead" }
  }

  assert {
    condition     = output.inbox_bucket == "uploads-of-ours" && output.table_name == "counts-of-ours" && module.table.stream_arn == "arn:aws:dynamodb:us-east-1:123456789012:table/counts-of-ours/stream/2026-01-01T00:00:00.000"
    error_message = "Bucket and table must be those given."
  }

  assert {
    condition     = local.consumed_queue_arns["process"] == "arn:aws:sqs:us-east-1:123456789012:orders" && module.queue["work"].dlq_arn == "arn:aws:sqs:us-east-1:123456789012:orders-dead"
    error_message = "process must consume the queue given, dead_letters its dead-letter queue."
  }

  assert {
    condition     = contains(keys(local.failure_queues), "orders-dead") && contains(keys(local.queue_ages), "orders") && contains(keys(local.queue_ages), "tally-alpha-heavy")
    error_message = "Alarms must watch the queues given, and those that are made here."
  }
}

run "rejects_an_existing_queue_that_nothing_consumes" {
  command = plan

  variables {
    stage = "alpha"
    existing_queues = {
      orders = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 400
        dlq_visibility_timeout_seconds = 360
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 1209600
        max_receive_count              = 8
      }
    }
  }

  expect_failures = [var.existing_queues]
}

run "rejects_an_existing_queue_visible_before_its_consumer_is_done" {
  command = plan

  variables {
    stage = "alpha"
    existing_queues = {
      work = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 359
        dlq_visibility_timeout_seconds = 360
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 1209600
        max_receive_count              = 8
      }
    }
  }

  expect_failures = [var.existing_queues]
}

run "rejects_existing_dead_letters_visible_before_they_are_handled" {
  command = plan

  variables {
    stage = "alpha"
    existing_queues = {
      work = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 360
        dlq_visibility_timeout_seconds = 359
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 1209600
        max_receive_count              = 8
      }
    }
  }

  expect_failures = [var.existing_queues]
}

run "rejects_existing_dead_letters_forgotten_before_their_queue" {
  command = plan

  variables {
    stage = "alpha"
    existing_queues = {
      work = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 360
        dlq_visibility_timeout_seconds = 360
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 345600
        max_receive_count              = 8
      }
    }
  }

  expect_failures = [var.existing_queues]
}

run "rejects_an_existing_queue_with_few_deliveries_of_heavy_rows" {
  command = plan

  variables {
    stage = "alpha"
    existing_queues = {
      heavy = {
        name                           = "orders"
        dlq_name                       = "orders-dead"
        visibility_timeout_seconds     = 5400
        dlq_visibility_timeout_seconds = 360
        message_retention_seconds      = 345600
        dlq_message_retention_seconds  = 1209600
        max_receive_count              = 9
      }
    }
  }

  expect_failures = [var.existing_queues]
}
