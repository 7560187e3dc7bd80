mock_provider "aws" {}

variables {
  name = "tally-test"
}

run "streams_both_images_of_every_change" {
  assert {
    condition     = aws_dynamodb_table.this[0].stream_enabled && aws_dynamodb_table.this[0].stream_view_type == "NEW_AND_OLD_IMAGES"
    error_message = "The stream is the outbox: it must carry new and old images."
  }
}

run "is_keyed_by_pk_and_sk_on_demand" {
  assert {
    condition = (
      aws_dynamodb_table.this[0].hash_key == "pk"
      && aws_dynamodb_table.this[0].range_key == "sk"
      && aws_dynamodb_table.this[0].billing_mode == "PAY_PER_REQUEST"
    )
    error_message = "Keys are pk and sk, capacity is on demand."
  }
}

run "lists_batches_by_creation_without_copying_them" {
  assert {
    condition = one(aws_dynamodb_table.this[0].global_secondary_index) == one([
      for i in aws_dynamodb_table.this[0].global_secondary_index : i
      if i.name == "batches" && i.hash_key == "listing" && i.range_key == "created_at" && i.projection_type == "KEYS_ONLY"
    ])
    error_message = "The one index is batches (listing, created_at), keys only."
  }
}

run "expires_items_at_expires_at" {
  assert {
    condition     = aws_dynamodb_table.this[0].ttl[0].enabled && aws_dynamodb_table.this[0].ttl[0].attribute_name == "expires_at"
    error_message = "TTL must read expires_at."
  }
}

run "is_protected_and_backed_up_by_default" {
  assert {
    condition = (
      aws_dynamodb_table.this[0].deletion_protection_enabled
      && aws_dynamodb_table.this[0].point_in_time_recovery[0].enabled
      && aws_dynamodb_table.this[0].server_side_encryption[0].enabled
    )
    error_message = "Deletion protection, recovery and encryption are on unless turned off."
  }
}

run "rejects_a_name_dynamodb_would_refuse" {
  command = plan

  variables {
    name = "tally test"
  }

  expect_failures = [var.name]
}

run "scales_nothing_on_demand" {
  command = plan

  assert {
    condition     = length(aws_appautoscaling_target.this) == 0 && length(aws_appautoscaling_policy.this) == 0
    error_message = "On demand needs no auto scaling."
  }
}

run "encrypts_with_the_customers_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/customer"
  }

  assert {
    condition     = one(aws_dynamodb_table.this[0].server_side_encryption).kms_key_arn == "arn:aws:kms:us-east-1:123456789012:key/customer"
    error_message = "The key must be the one given."
  }
}

run "may_be_deleted_and_forgotten_when_told" {
  command = plan

  variables {
    deletion_protection    = false
    point_in_time_recovery = false
  }

  assert {
    condition     = !output.deletion_protection && !aws_dynamodb_table.this[0].point_in_time_recovery[0].enabled
    error_message = "Both must be a choice."
  }
}

run "plans_the_example" {
  command = plan

  module {
    source = "./examples/basic"
  }
}

run "rejects_the_alias_of_a_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:alias/customer"
  }

  expect_failures = [var.kms_key_arn]
}

run "leaves_an_existing_table_as_it_is" {
  command = plan

  variables {
    existing = true
  }

  override_data {
    target = data.aws_dynamodb_table.this[0]
    values = {
      arn              = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test"
      hash_key         = "pk"
      range_key        = "sk"
      stream_enabled   = true
      stream_view_type = "NEW_AND_OLD_IMAGES"

      global_secondary_index = [{ name = "batches", hash_key = "listing", range_key = "created_at" }]
      ttl                    = [{ enabled = true, attribute_name = "expires_at" }]
    }
  }

  assert {
    condition     = length(aws_dynamodb_table.this) == 0 && output.arn == "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test"
    error_message = "Nothing must be made; the outputs are those of the table that is there."
  }
}

run "rejects_an_existing_table_with_other_keys" {
  command = plan

  variables {
    existing = true
  }

  override_data {
    target = data.aws_dynamodb_table.this[0]
    values = {
      arn              = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test"
      hash_key         = "id"
      range_key        = "sk"
      stream_enabled   = true
      stream_view_type = "NEW_AND_OLD_IMAGES"

      global_secondary_index = [{ name = "batches", hash_key = "listing", range_key = "created_at" }]
      ttl                    = [{ enabled = true, attribute_name = "expires_at" }]
    }
  }

  expect_failures = [data.aws_dynamodb_table.this]
}

run "rejects_an_existing_table_without_a_stream" {
  command = plan

  variables {
    existing = true
  }

  override_data {
    target = data.aws_dynamodb_table.this[0]
    values = {
      arn              = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test"
      hash_key         = "pk"
      range_key        = "sk"
      stream_enabled   = false
      stream_view_type = "NEW_AND_OLD_IMAGES"

      global_secondary_index = [{ name = "batches", hash_key = "listing", range_key = "created_at" }]
      ttl                    = [{ enabled = true, attribute_name = "expires_at" }]
    }
  }

  expect_failures = [data.aws_dynamodb_table.this]
}

run "rejects_an_existing_table_without_the_index" {
  command = plan

  variables {
    existing = true
  }

  override_data {
    target = data.aws_dynamodb_table.this[0]
    values = {
      arn              = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test"
      hash_key         = "pk"
      range_key        = "sk"
      stream_enabled   = true
      stream_view_type = "NEW_AND_OLD_IMAGES"

      global_secondary_index = [{ name = "other", hash_key = "listing", range_key = "created_at" }]
      ttl                    = [{ enabled = true, attribute_name = "expires_at" }]
    }
  }

  expect_failures = [data.aws_dynamodb_table.this]
}

run "rejects_an_existing_table_that_expires_otherwise" {
  command = plan

  variables {
    existing = true
  }

  override_data {
    target = data.aws_dynamodb_table.this[0]
    values = {
      arn              = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test"
      hash_key         = "pk"
      range_key        = "sk"
      stream_enabled   = true
      stream_view_type = "NEW_AND_OLD_IMAGES"

      global_secondary_index = [{ name = "batches", hash_key = "listing", range_key = "created_at" }]
      ttl                    = [{ enabled = true, attribute_name = "ttl" }]
    }
  }

  expect_failures = [data.aws_dynamodb_table.this]
}

run "rejects_capacity_for_an_existing_table" {
  command = plan

  variables {
    existing = true
    provisioned_capacity = {
      read  = { min = 5, max = 500 }
      write = { min = 10, max = 1000 }
    }
  }

  override_data {
    target = data.aws_dynamodb_table.this[0]
    values = {
      arn              = "arn:aws:dynamodb:us-east-1:123456789012:table/tally-test"
      hash_key         = "pk"
      range_key        = "sk"
      stream_enabled   = true
      stream_view_type = "NEW_AND_OLD_IMAGES"

      global_secondary_index = [{ name = "batches", hash_key = "listing", range_key = "created_at" }]
      ttl                    = [{ enabled = true, attribute_name = "expires_at" }]
    }
  }

  expect_failures = [var.provisioned_capacity]
}
